"""The command that tunes the classifier: on other people than a run is tested on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from click.testing import CliRunner

from augment.faces.tensors import FaceTensors
from benchmarks import classifier_tuning

pytestmark = pytest.mark.slow

SMALL = ("classifier.steps=2", "classifier.batch_size=8", "classifier.validate_every=1", "++classifier.select_by=last")


def call(tmp_path: Path, *arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(classifier_tuning.main, ["--cache", str(tmp_path), *arguments])
    return done.exit_code, done.output


def test_the_people_of_the_run_are_refused(tmp_path: Path) -> None:
    code, output = call(tmp_path, "--draw", "101", "--draw", "1")
    assert code == 2 and "draw 1 is the people of the run itself" in output
    assert not list(tmp_path.iterdir())


def test_a_key_that_is_none_is_refused(tmp_path: Path) -> None:
    code, output = call(tmp_path, "classifier.stepz=2")
    assert code == 2 and "stepz" in output


def test_draws_of_real_and_of_warped_faces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few = {"subjects": 4, "neutral_subjects": 4, "validation_subjects": 1, "test_subjects": 2}
    prepare = classifier_tuning.embedded_faces
    monkeypatch.setattr(
        classifier_tuning,
        "embedded_faces",
        lambda cache, settings, folds: prepare(cache, {**settings, **few}, folds),
    )
    made: list[tuple[int, int]] = []
    warped = classifier_tuning.warped_faces

    def record(*arguments: object) -> object:
        faces = warped(*arguments)  # type: ignore[arg-type]
        made.append((len(faces), len(faces.labels.unique())))
        return faces

    monkeypatch.setattr(classifier_tuning, "warped_faces", record)
    code, output = call(
        tmp_path, *("--draw", "101", "--arm", "real", "--arm", "warp", "--per-class", "3", "--curve"), *SMALL
    )
    assert code == 0, output
    assert made == [(21, 7)]
    lines = [line for line in output.splitlines() if "%" in line and "processor seconds" in line]
    assert [line.split(":")[0] for line in lines] == ["real", "warp"]
    assert "real, draw 101, seed 0: 2: " in output


def write_fer2013(path: Path) -> None:
    """Fourteen faces of each split in the challenge's form; the pixels of PrivateTest are all 255."""
    random = np.random.default_rng(0)
    lines = ["emotion,pixels,Usage"]
    for usage in ("Training", "PublicTest", "PrivateTest"):
        for number in range(14):
            pixels = random.integers(0, 200, 48 * 48)
            pixels[: 48 * (1 + number % 7)] = 200
            values = np.full(48 * 48, 255) if usage == "PrivateTest" else pixels
            values = values - np.arange(48 * 48) % (2 + number) * (usage == "PrivateTest")
            lines.append(f"{number % 7},{' '.join(map(str, values))},{usage}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def recorded_faces(monkeypatch: pytest.MonkeyPatch) -> list[FaceTensors]:
    """The sets of faces whose pictures are decoded from now on."""
    decoded: list[FaceTensors] = []
    decode = classifier_tuning.face_tensors

    def record(table: pa.Table) -> FaceTensors:
        decoded.append(decode(table))
        return decoded[-1]

    monkeypatch.setattr(classifier_tuning, "face_tensors", record)
    return decoded


def test_fer2013_is_scored_on_public_test_and_private_test_is_not_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_fer2013(tmp_path / "fer2013.csv")
    decoded = recorded_faces(monkeypatch)
    chosen = ("dataset=fer2013", f"dataset.root={tmp_path / 'fer2013.csv'}")
    code, output = call(tmp_path / "cache", *chosen, *SMALL)
    assert code == 0, output
    assert "real, validation faces: " in output
    assert [len(faces) for faces in decoded] == [14, 14]
    assert all(int(faces.images.max()) < 230 for faces in decoded)  # PrivateTest is brighter


def test_rare_classes_are_as_rare_as_in_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_fer2013(tmp_path / "fer2013.csv")
    decoded = recorded_faces(monkeypatch)
    chosen = ("dataset=fer2013", f"dataset.root={tmp_path / 'fer2013.csv'}", "dataset.rare={happy: 1, default: null}")
    code, output = call(tmp_path / "cache", *chosen, *SMALL)
    assert code == 0, output
    assert "balanced accuracy" in output
    train = decoded[0]
    assert torch.bincount(train.labels).tolist() == [1 if name == "happy" else 2 for name in train.class_names]


def test_rare_classes_of_embedded_draws_are_refused(tmp_path: Path) -> None:
    code, output = call(tmp_path, "dataset.rare=5")
    assert code == 2 and "dataset.rare" in output


def test_what_only_embedded_faces_have_is_refused_for_others(tmp_path: Path) -> None:
    code, output = call(tmp_path, "dataset=fer2013", "--arm", "warp")
    assert code == 2 and "for embedded faces" in output
