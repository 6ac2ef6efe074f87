"""The faces that the judge learns from first, by the stages `prepare` and `judge`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from augment.core.errors import InputError
from augment.faces.images import decode_image
from augment.faces.table import read_faces
from pipeline.check import check
from pipeline.core.stage_runs import run_stage
from pipeline.core.workspace import Artifacts
from pipeline.profile import compose_profile

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent.parent
FIRST = "judge.pretraining"


def workspace(tmp_path: Path, *words: str) -> Artifacts:
    """Embedded faces in a folder with these parameters."""
    text = compose_profile(ROOT, ["scale=smoke", "dataset=rig_mug", "dataset.settings.subjects=6", *words])
    tmp_path.mkdir(exist_ok=True)
    (tmp_path / "params.yaml").write_text(text, encoding="utf-8")
    return Artifacts(tmp_path)


def folder_of(faces: dict[str, list[Image.Image]], root: Path) -> list[str]:
    """Class folders of pictures, and the words that name them as what the judge learns from first."""
    for name, pictures in faces.items():
        (root / name).mkdir(parents=True)
        for number, picture in enumerate(pictures):
            picture.save(root / name / f"{number:03d}.jpg", quality=90)
    return [f"{FIRST}.steps=4", f"{FIRST}.source=folder", f"{FIRST}.root={root}", f"+{FIRST}.licence=CC0"]


def noise(count: int, seed: int) -> list[Image.Image]:
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 256, (count, 6, 6)).astype(np.uint8)
    return [Image.fromarray(picture).resize((48, 48), Image.Resampling.BICUBIC) for picture in coarse]


def read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def test_without_pretraining_there_is_a_note_and_no_face(tmp_path: Path) -> None:
    artifacts = workspace(tmp_path)
    run_stage("prepare", tmp_path)
    assert read_json(artifacts.pretraining / "about.json") == {"title": None}
    assert not (artifacts.pretraining / "faces").exists()
    run_stage("judge", tmp_path)
    assert not (artifacts.judge / "pretraining").exists()
    workspace(tmp_path, f"{FIRST}.steps=4", f"+{FIRST}.settings.preset=rafd", f"+{FIRST}.settings.subjects=2")
    with pytest.raises(InputError, match=r"has no faces to learn from first .*run s2l prepare"):
        run_stage("judge", tmp_path)


def test_the_run_s_own_pictures_are_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    workspace(tmp_path / "first")
    run_stage("prepare", tmp_path / "first")
    own = read_faces(Artifacts(tmp_path / "first").faces, columns=["image", "label_name", "face_id"]).to_pylist()
    shown = {row["face_id"]: Image.fromarray(decode_image(row["image"]["bytes"]).squeeze()) for row in own}
    copied = [row["face_id"] for row in own if row["label_name"] == "happy"][:3]
    happy = [shown[copied[0]], ImageOps.mirror(shown[copied[1]]), shown[copied[2]].resize((64, 64))]
    words = folder_of({"happy": [*happy, *noise(20, 0)], "sad": noise(20, 1)}, tmp_path / "others")

    artifacts = workspace(tmp_path / "second", *words)
    run_stage("prepare", tmp_path / "second")
    about = read_json(artifacts.pretraining / "about.json")
    assert about["title"] and sorted(about["left_out"].values()) == sorted(copied)
    assert "3 of 43 pictures" in caplog.text and "are left out" in caplog.text
    run_stage("judge", tmp_path / "second")
    facts = read_json(artifacts.judge / "pretraining" / "judge.json")
    assert facts["training_faces"] + facts["held_out"]["count"] == 40
    assert read_json(artifacts.judge / "fold-0" / "judge.json")["pretraining"]["title"] == about["title"]


def test_the_same_people_and_the_same_pictures_are_refused(tmp_path: Path) -> None:
    workspace(tmp_path, f"{FIRST}.steps=4", f"+{FIRST}.settings.preset=mug", f"+{FIRST}.settings.subjects=4")
    with pytest.raises(
        InputError, match=r"judge\.pretraining: 4 people are the run's own \(mug-0000, .*another data set"
    ):
        run_stage("prepare", tmp_path)
    assert not Artifacts(tmp_path).faces.exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("classes=[happy]", r"judge\.pretraining: classes: 1 class, .*two or more"),
        ("classes=[]", r"judge\.pretraining: classes: no class is left"),
        ("classes=[happy, bogus]", r"judge\.pretraining: classes: unknown: bogus \(the source rig has .*happy"),
        ("settings={preset: nope}", r"judge\.pretraining: preset: 'nope' is no preset"),
        ("settings={preset: mug, foo: 3}", r"judge\.pretraining: preset mug: refuses its settings"),
    ],
)
def test_settings_of_the_pretraining_are_refused_by_its_name(change: str, said: str, tmp_path: Path) -> None:
    workspace(tmp_path, f"{FIRST}.steps=4", f"+{FIRST}.{change}")
    with pytest.raises(InputError, match=said):
        check(tmp_path)


def test_a_folder_needs_a_licence(tmp_path: Path) -> None:
    words = folder_of({"happy": noise(3, 0), "sad": noise(3, 1)}, tmp_path / "others")
    workspace(tmp_path, *words[:-1])
    with pytest.raises(InputError, match=r"judge\.pretraining: licence"):
        check(tmp_path)


def test_pictures_that_cannot_be_read_go_to_a_quarantine_of_their_own(tmp_path: Path) -> None:
    words = folder_of({"happy": noise(12, 0), "sad": noise(12, 1)}, tmp_path / "others")
    (tmp_path / "others" / "sad" / "bad.jpg").write_bytes(b"no picture")
    workspace(tmp_path, *words)
    with pytest.raises(InputError, match=r"judge\.pretraining: .*bad\.jpg"):
        run_stage("prepare", tmp_path)
    workspace(tmp_path, *words, "dataset.quarantine=left.jsonl")
    run_stage("prepare", tmp_path)
    assert "bad.jpg" in (tmp_path / "pretraining-left.jsonl").read_text(encoding="utf-8")
