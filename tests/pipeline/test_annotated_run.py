"""Embedded faces as a folder of photographs: `prepare` finds landmarks, crops and counts, and warp runs on them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from embedded import embedded_face, write_face
from small_faces import file_bytes

from augment.core.errors import InputError
from augment.faces.licences import is_public
from augment.faces.table import read_faces
from augment.prepare.landmarks import LandmarkDetector, landmarks_installed
from pipeline.check import check
from pipeline.core.stage_runs import run_stage
from pipeline.parameters.whole import load_parameters
from pipeline.profile import compose_profile
from pipeline.stages.prepare import prepare
from reports.preparation import data_facts, data_shortfalls

pytestmark = [
    pytest.mark.skipif(not landmarks_installed(), reason="the extra `landmarks` is not installed"),
    pytest.mark.slow,
]

ROOT = Path(__file__).parent.parent.parent
CLASSES = ("happy", "neutral", "sad")
BLANK = "train/happy/blank.png"


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("annotated")
    for split, subjects in (("train", range(6)), ("test", range(6, 8))):
        for name in CLASSES:
            for subject in subjects:
                write_face(root / "faces" / split / name / f"s{subject:02d}.png", name, subject, size=64)
    noise = np.random.default_rng(0).integers(0, 256, (40, 60), np.uint8)
    (root / "faces" / BLANK).write_bytes(file_bytes(noise))
    write_parameters(root)
    run_stage("prepare", root)
    return root


def write_parameters(root: Path, *overrides: str) -> None:
    data = f"dataset.root={root / 'faces'}"
    fixed = ["scale=smoke", "dataset=folder", data, "dataset.licence=cc0-1.0", "folds.kind=source", "folds.folds=1"]
    fixed += ["landmarks=dlib", "dataset.annotation.crop.by=face", "runtime.threads=1"]
    (root / "params.yaml").write_text(compose_profile(ROOT, [*fixed, *overrides]), encoding="utf-8")


def test_the_table_holds_what_was_found(workspace: Path) -> None:
    faces = workspace / "artifacts" / "faces"
    rows = {row["face_id"]: row for row in read_faces(faces).to_pylist()}
    assert len(rows) == 25
    errors = []
    for face_id, row in rows.items():
        if face_id.endswith(BLANK):
            assert row["landmarks"] is None
            continue
        points = np.reshape(row["landmarks"], (68, 2))
        eyes = points[36:48].reshape(2, 6, 2).mean(axis=1)
        errors.append(eyes[0, 1] - eyes[1, 1])
        assert points.min() > 0 and points.max() < 1 and 0.25 < eyes[1, 0] - eyes[0, 0] < 0.4
    assert len(errors) == 24 and np.abs(errors).max() < 1e-3  # level
    report = json.loads((faces / "report.json").read_text())
    found = report["annotation"]
    assert (found["faces"], found["cropped"], found["left_whole"]) == (25, 24, 1)
    assert (found["not_found"], found["unsteady"], sum(found["found"].values())) == (1, 0, 24)
    lines = [json.loads(line) for line in (faces / "faces_without_landmarks.jsonl").read_text().splitlines()]
    assert lines == [{"face_id": f"folder/{BLANK}", "path": BLANK}]
    lines = [line["line"] for line in report["licence"]["lines"]]
    assert "cc0-1.0" in lines and any("excludes commercial use" in line for line in lines), "the predictor's weights"
    assert not is_public(faces)
    facts = dict(data_facts(report))
    assert facts["landmark detection"].startswith("dlib found 24 of 25 faces (96.0%; hog ")
    assert "faces without landmarks: happy 1" in facts["landmark detection"]
    assert facts["cropped to the face"] == "24 of 25"
    assert any(line.startswith("1 of 25 faces have no landmarks") for line in data_shortfalls(report))


def test_a_second_run_detects_nothing_again(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = (workspace / "artifacts" / "faces" / "report.json").read_bytes()

    def never(self: LandmarkDetector, image: np.ndarray) -> None:
        raise AssertionError("it was detected before")

    monkeypatch.setattr(LandmarkDetector, "detect", never)
    write_parameters(workspace, "seed=5")
    run_stage("prepare", workspace)
    assert (workspace / "artifacts" / "faces" / "report.json").read_bytes() == before


def test_warp_runs_on_photographs(workspace: Path) -> None:
    for stage in ("parsing", "judge"):
        run_stage(stage, workspace)
    run_stage("train", workspace, name="warp")
    folder = workspace / "artifacts" / "translators" / "warp.s2l"
    assert not (folder / "refused.json").exists() and (folder / "fold-0" / "weights.safetensors").is_file()


def test_without_crops_the_points_are_those_of_the_picture(workspace: Path, tmp_path: Path) -> None:
    (tmp_path / "faces").symlink_to(workspace / "faces")
    write_parameters(tmp_path, "dataset.annotation.crop.by=none", "dataset.image_size=64")
    (tmp_path / ".ckpt").symlink_to(workspace / ".ckpt")
    run_stage("prepare", tmp_path)
    rows = {row["face_id"]: row for row in read_faces(tmp_path / "artifacts" / "faces").to_pylist()}
    own = embedded_face("sad", 3, size=64)[1]
    found = np.reshape(rows["folder/train/sad/s03.png"]["landmarks"], (68, 2))
    assert np.linalg.norm(found - own, axis=1).mean() < 0.1 * np.linalg.norm(own[36] - own[45])


def test_the_packages_are_asked_for_before_any_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("augment.prepare.annotation.landmarks_installed", lambda: False)
    write_face(tmp_path / "faces" / "train" / "happy" / "s.png", "happy")
    write_parameters(tmp_path)
    for stage in (check, prepare):
        with pytest.raises(InputError, match=r"landmarks\.detector: dlib: .*uv sync --extra landmarks"):
            stage(tmp_path)


@pytest.mark.parametrize("scale", ["smoke", "cpu", "long", "gpu", "paper"])
@pytest.mark.parametrize("dataset", ["fer2013", "folder"])
def test_landmarks_give_lssl_its_side_input_back(tmp_path: Path, dataset: str, scale: str) -> None:
    chosen = [f"dataset={dataset}", f"scale={scale}"]
    without, with_landmarks = (
        yaml.safe_load(compose_profile(ROOT, [*chosen, *further])) for further in ([], ["landmarks=dlib"])
    )
    assert without["dataset"]["annotation"]["landmarks"] == {"detector": "none"}
    assert with_landmarks["dataset"]["annotation"]["landmarks"] == {"detector": "dlib"}
    for name, entry in with_landmarks["translators"].items():
        settings = dict(entry.get("settings", {}))
        if entry["method"] == "lssl" and name != "lssl_without_side":
            assert settings.pop("side_input", True) is True
        before = {key: value for key, value in without["translators"][name].get("settings", {}).items()}
        if entry["method"] == "lssl" and name != "lssl_without_side":
            before.pop("side_input", None)
        assert settings == before, name
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(with_landmarks))
    assert load_parameters(tmp_path / "params.yaml").dataset.annotation.landmarks.detector == "dlib"
