"""What `prepare` says of faces that are not there, or that came while it read the others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small_faces import write_picture

from augment.core.errors import InputError
from augment.faces.table import read_class_names, read_faces
from pipeline.profile import compose_profile
from pipeline.stages import prepare as prepare_stage
from pipeline.stages.prepare import prepare

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parent.parent.parent


def workspace(folder: Path, *words: str) -> Path:
    for seed in range(40):
        write_picture(folder / "faces" / ("happy", "sad")[seed % 2] / f"s{seed // 2:02d}.png", seed)
    base = ["scale=smoke", "dataset=folder", "dataset.root=faces", "dataset.licence=made-up", "parsing.enabled=false"]
    (folder / "params.yaml").write_text(compose_profile(ROOT, [*base, *words]), encoding="utf-8")
    return folder


def test_what_went_into_the_quarantine_is_said_and_a_class_without_a_face_is_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = workspace(
        tmp_path, "++dataset.settings.class_names=[fear,happy,sad]", "dataset.quarantine=quarantine/list.jsonl"
    )
    (root / "faces" / "sad" / "broken.png").write_bytes(b"no picture")
    prepare(root)
    assert "there is no face of fear, which nothing can learn: left out" in caplog.text
    assert read_class_names(root / "artifacts" / "faces") == ("happy", "sad")
    assert read_faces(root / "artifacts" / "faces", columns=["label"]).column("label").unique().to_pylist() == [0, 1]
    assert "2 problems of the source are left out, and listed in" in caplog.text  # the picture, and fear's folder


def test_a_class_without_a_face_that_was_asked_for_is_refused(tmp_path: Path) -> None:
    root = workspace(
        tmp_path,
        "++dataset.settings.class_names=[fear,happy,sad]",
        "dataset.classes=[fear,happy,sad]",
        "dataset.quarantine=list.jsonl",
    )
    with pytest.raises(InputError, match=r"params\.yaml: dataset\.classes: there is no face of fear, .*take it out"):
        prepare(root)


def test_of_a_whole_data_set_nothing_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    prepare(workspace(tmp_path))
    assert "left out" not in caplog.text and "no face of" not in caplog.text


PEOPLE = r"dataset.settings.subject_pattern='(?P<subject>s\d+)'"


def test_that_nobody_is_known_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Then one person's faces may teach and test, which flatters every arm."""
    prepare(workspace(tmp_path / "unknown"))
    assert "no person is known" in caplog.text
    caplog.clear()
    prepare(workspace(tmp_path / "known", PEOPLE))
    assert "no person is known" not in caplog.text and "face of" not in caplog.text


def test_a_class_that_one_person_shows_is_not_measured_and_that_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = workspace(tmp_path, PEOPLE, "folds.folds=1")
    for seed in range(3):
        write_picture(root / "faces" / "angry" / f"s00_{seed}.png", 100 + seed)
    prepare(root)
    said = [split for split in ("validation", "test") if f"fold 0 has no {split} face of angry" in caplog.text]
    assert said, "three faces of one person are in one split, of three"


def changing(monkeypatch: pytest.MonkeyPatch, change: Callable[[], object]) -> None:
    """Lets something change after the faces were read."""
    convert = prepare_stage._convert

    def convert_and_change(*words: Any) -> Any:
        report = convert(*words)
        change()
        return report

    monkeypatch.setattr(prepare_stage, "_convert", convert_and_change)


@pytest.mark.parametrize("change", ["comes", "goes", "is another"])
def test_a_data_set_that_changes_while_it_is_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    """DVC takes its hash after the stage: a face that came in between would count as read, for good."""
    root = workspace(tmp_path)
    convert = prepare_stage._convert

    def happen() -> None:
        if change == "goes":
            (root / "faces" / "sad" / "s00.png").unlink()
        else:
            write_picture(root / "faces" / "sad" / ("new.png" if change == "comes" else "s00.png"), 99, 24)

    changing(monkeypatch, happen)
    name = "new" if change == "comes" else "s00"
    with pytest.raises(InputError, match=rf"1 file came, went or changed while it was read: .*{name}\.png"):
        prepare(root)
    assert not (root / "artifacts" / "faces").exists() and not (root / "artifacts" / "folds.parquet").exists()
    monkeypatch.setattr(prepare_stage, "_convert", convert)
    prepare(root)
    assert (root / "artifacts" / "faces").exists()


def test_what_no_source_reads_may_change_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = workspace(tmp_path, "dataset.quarantine=faces/bad.jsonl")  # which the stage itself writes
    (root / "faces" / "sad" / "broken.png").write_bytes(b"no picture")
    (root / "faces" / "sad" / "nowhere.png").symlink_to("nothing")
    changing(monkeypatch, lambda: (root / "faces" / ".DS_Store").write_bytes(b"a file manager's"))
    prepare(root)
    assert (root / "faces" / "bad.jsonl").is_file() and (root / "artifacts" / "faces").exists()
