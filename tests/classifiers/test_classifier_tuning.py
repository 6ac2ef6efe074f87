"""The command that tunes the classifier: on other people than a run is tested on."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

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
