"""`s2l trace`: where a face comes from, and the same face again, bit for bit."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from click.testing import CliRunner, Result
from made_up_faces import write_workspace
from small_faces import CLASSES

from augment.core.errors import InputError
from augment.core.files import sha256_of_file
from augment.core.seals import seal_folder
from augment.faces.images import decode_image, encode_png
from augment.faces.table import read_faces
from augment.synthesis.generate import SynthesisSettings, synthesize
from augment.synthesis.remake import FaceName, parse_face_id
from augment.translators import create_translator, save_translator
from pipeline.cli import main
from pipeline.core.workspace import Artifacts
from pipeline.publishing.marks import mark_of, marked_png
from pipeline.publishing.trace import find_face, remake_face_of, trace_face
from pipeline.stages.folds import faces_of_fold

SETTINGS = SynthesisSettings(per_class=12, block_size=5)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with faces by a network with drawn weights, which need not be good ones."""
    root = write_workspace(tmp_path_factory.mktemp("run"))
    artifacts = Artifacts(root)
    values = yaml.safe_load((root / "params.yaml").read_text())
    values["translators"] = {"stargan": {"method": "stargan", "settings": {"width": 4, "residual_blocks": 1}}}
    values["synthesis"] = SETTINGS.model_dump(mode="json") | {"per_class": 7, "per_class_of": {"stargan": 12}}
    (root / "params.yaml").write_text(yaml.safe_dump(values))
    translator = create_translator(
        "stargan", num_classes=3, channels=1, size=16, settings=values["translators"]["stargan"]["settings"]
    ).eval()
    weights = artifacts.translator("stargan") / "fold-0" / "weights.safetensors"
    save_translator(translator, weights, class_names=CLASSES)
    synthesize(
        translator,
        faces_of_fold(artifacts, 0)["train"],
        SETTINGS,
        out=artifacts.synthetic("stargan") / "fold-0",
        seed=values["seed"],
        fold=0,
        translator_name="stargan",
        weights_sha256=sha256_of_file(weights),
        configuration_hash="0",
        class_names=CLASSES,
        licence="cc0-1.0",
    )
    seal_folder(artifacts.synthetic("stargan"))
    return root


@pytest.fixture
def s2l(run: Path, monkeypatch: pytest.MonkeyPatch) -> object:
    monkeypatch.chdir(run)

    def invoke(*words: str) -> Result:
        return CliRunner().invoke(main, list(words))

    return invoke


@pytest.mark.parametrize("number", [0, 4, 5, 11])
@pytest.mark.parametrize("label", CLASSES)
def test_a_face_comes_out_again_bit_for_bit(run: Path, s2l: object, tmp_path: Path, label: str, number: int) -> None:
    face_id = f"stargan-f0-{label}-{number:06d}"
    result = s2l("trace", face_id, "--remake", str(tmp_path / "again.png"))  # type: ignore[operator]
    assert result.exit_code == 0, result.output
    stored = {row["face_id"]: row for row in read_faces(Artifacts(run).synthetic("stargan") / "fold-0").to_pylist()}
    again = (tmp_path / "again.png").read_bytes()
    assert np.array_equal(decode_image(again), decode_image(stored[face_id]["image"]["bytes"]))
    assert stored[face_id]["source_id"] in result.output and stored[face_id]["weights_sha256"] in result.output
    mark = mark_of(again)
    assert mark is not None and mark["face_id"] == face_id == find_face(run, str(tmp_path / "again.png")).face_id


def test_other_settings_make_another_face_which_is_said(run: Path, s2l: object, tmp_path: Path) -> None:
    """The control: a remake does not only hand the stored picture back."""
    text = (run / "params.yaml").read_text()
    values = yaml.safe_load(text)
    try:
        values["synthesis"]["exclude_same_class"] = False
        (run / "params.yaml").write_text(yaml.safe_dump(values))
        result = s2l("trace", "stargan-f0-sad-000006", "--remake", str(tmp_path / "x.png"))  # type: ignore[operator]
    finally:
        (run / "params.yaml").write_text(text)
    assert result.exit_code == 1 and "is made from" in result.output


def test_other_weights_are_refused(run: Path, s2l: object, tmp_path: Path) -> None:
    weights = Artifacts(run).translator("stargan") / "fold-0" / "weights.safetensors"
    data = weights.read_bytes()
    try:
        weights.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
        result = s2l("trace", "stargan-f0-sad-000006", "--remake", str(tmp_path / "x.png"))  # type: ignore[operator]
        assert result.exit_code == 1 and "which are not at" in result.output
        assert (
            "the file there now is another one"
            in trace_face(run, find_face(run, "stargan-f0-sad-000006")).facts["weights"]
        )
    finally:
        weights.write_bytes(data)


def test_a_real_face_has_its_split_and_is_not_made(run: Path, s2l: object, tmp_path: Path) -> None:
    found = trace_face(run, find_face(run, "made/3/1")).facts
    assert found["kind"] == "real, of made" and found["person"] == "person 3" and "(fold 0)" in found["split"]
    result = s2l("trace", "made/3/1", "--remake", str(tmp_path / "x.png"))  # type: ignore[operator]
    assert result.exit_code == 1 and "nothing makes" in result.output and not (tmp_path / "x.png").exists()


def test_selection_and_the_report_are_told_where_they_are(run: Path) -> None:
    found = trace_face(run, find_face(run, "warp-f0-sad-000007")).facts  # made up, and not kept
    assert found["selection"].startswith("rejected") and "none of that name any more" in found["translator"]
    assert found["code"] == "unknown: there is no report"
    report = Artifacts(run).report
    report.mkdir()
    (report / "metrics.json").write_text(json.dumps({"run": {"commit": "abc", "tree": "unchanged"}}))
    assert trace_face(run, find_face(run, "warp-f0-sad-000000")).facts["code"] == "abc (tree unchanged)"


@pytest.mark.parametrize(
    ("face", "said"),
    [
        ("nobody", "artifacts/faces"),
        ("stargan-f0-sad-000012", "is no face of this run"),
        ("stargan-f1-sad-000000", "fold-1"),
    ],
)
def test_faces_that_there_are_not(run: Path, face: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        trace_face(run, find_face(run, face))


def test_a_picture_without_a_mark_is_none(run: Path) -> None:
    face = read_faces(Artifacts(run).faces).to_pylist()[0]["image"]["bytes"]
    (run / "plain.png").write_bytes(face)
    with pytest.raises(InputError, match="has no mark"):
        find_face(run, str(run / "plain.png"))
    with pytest.raises(InputError, match="is not there"):
        find_face(run, "nowhere.png")
    assert find_face(run, "made/3/1").face_id == "made/3/1"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"weights_sha256": "0" * 64}, "of another run: its mark says another weights_sha256"),
        ({"seed": 99, "source_id": "made/0/0"}, "of another run: its mark says another .*seed"),
    ],
)
def test_the_mark_of_another_runs_face_is_not_taken_for_this_runs(
    run: Path, s2l: object, tmp_path: Path, change: dict[str, object], said: str
) -> None:
    """Every run numbers its faces alike: the id alone says nothing."""
    rows = {row["face_id"]: row for row in read_faces(Artifacts(run).synthetic("stargan") / "fold-0").to_pylist()}
    row = rows["stargan-f0-sad-000003"]
    picture = tmp_path / "face.png"
    picture.write_bytes(marked_png(row["image"]["bytes"], row))
    assert find_face(run, str(picture)).face_id == row["face_id"]
    picture.write_bytes(marked_png(row["image"]["bytes"], {**row, **change}))
    with pytest.raises(InputError, match=said):
        find_face(run, str(picture))
    picture.write_bytes(marked_png(encode_png(np.zeros((16, 16), np.uint8)), row))
    result = s2l("trace", str(picture), "--remake", str(tmp_path / "again.png"))  # type: ignore[operator]
    assert result.exit_code == 1 and "has not its pixels" in result.output and not (tmp_path / "again.png").exists()


@pytest.mark.parametrize("face", ["stargan-f0-sad-000003", "made/3/1"])
def test_a_damaged_table_is_named_and_not_believed(run: Path, s2l: object, face: str) -> None:
    artifacts = Artifacts(run)
    table = artifacts.synthetic("stargan") / "fold-0" if face.startswith("stargan") else artifacts.faces
    file = next((table / "data").glob("*.parquet"))
    data = file.read_bytes()
    try:
        for damaged in (data[:200], data[:-300] + bytes([data[-300] ^ 1]) + data[-299:]):
            file.write_bytes(damaged)
            result = s2l("trace", face)  # type: ignore[operator]
            assert result.exit_code == 1 and file.name in result.output and "SHA-256" in result.output
            assert "again, or `dvc repro`" in result.output
    finally:
        file.write_bytes(data)


def test_nothing_is_overwritten_by_a_face_and_no_name_leads_out(run: Path, tmp_path: Path) -> None:
    face_id = "stargan-f0-sad-000000"
    notes = tmp_path / "notes.png"
    notes.write_text("mine")
    for out in (notes, run / "artifacts" / "faces" / "README.md", run / "artifacts" / "new.png", tmp_path):
        with pytest.raises(InputError, match=r"not touched|run's own"):
            remake_face_of(run, find_face(run, face_id), out)
    assert notes.read_text() == "mine" and not (run / "artifacts" / "new.png").exists()
    for _ in range(2):  # a face of its own may be made again
        assert remake_face_of(run, find_face(run, face_id), tmp_path / "face.png")
    with pytest.raises(InputError, match="looked in artifacts/faces \\("):
        trace_face(run, find_face(run, "../../../elsewhere-f0-sad-000000"))


def test_ids_are_read_as_they_are_written() -> None:
    assert parse_face_id("a-f1-b-f0-c-d-000012") == FaceName("a-f1-b", 0, "c-d", 12)
    assert parse_face_id("x-f0-y-1234567") == FaceName("x", 0, "y", 1234567)
    assert parse_face_id("rig/rafd/s0000/angry") is None
