"""The distances that a validation writes: of made-up faces whose features are known."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from augment.faces.tensors import FaceTensors
from augment.training.distances import DistanceLog
from augment.training.validation import diagonal_distance

LEVELS = (40, 120, 200)


class MeanJudge:
    """Its only feature is a picture's brightness."""

    def probabilities(self, images: torch.Tensor) -> np.ndarray:
        return np.zeros((len(images), 3))

    def features(self, images: torch.Tensor) -> np.ndarray:
        return images.float().mean(dim=(1, 2, 3)).numpy()[:, None]


class Shifter:
    """Paints the target's level, `off` too bright."""

    keeps_class = False
    off = 0

    def usable_sources(self, faces: FaceTensors) -> torch.Tensor:
        return torch.ones(len(faces), dtype=torch.bool)

    def translate(self, faces: FaceTensors, targets: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        levels = torch.tensor(LEVELS)[targets] + self.off
        return levels.to(torch.uint8).view(-1, 1, 1, 1).expand_as(faces.images).clone()


def faces() -> FaceTensors:
    labels = torch.tensor([0, 0, 1, 1, 2])  # of the last class one face only, which has no spread
    return FaceTensors(
        images=torch.tensor(LEVELS, dtype=torch.uint8)[labels].view(-1, 1, 1, 1).expand(-1, 1, 4, 4).clone(),
        labels=labels,
        landmarks=None,
        masks=None,
        face_ids=tuple("abcde"),
        subjects=(None,) * 5,
        class_names=("angry", "happy", "sad"),
    )


def log(file: Path) -> DistanceLog:
    return DistanceLog(lambda translator, step: step / 100, MeanJudge(), faces(), file, seed=0)  # type: ignore[arg-type]


def lines(file: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_distance_of_every_class_and_the_score_unchanged(tmp_path: Path) -> None:
    file, translator = tmp_path / "distances.jsonl", Shifter()
    validate = log(file)
    translator.off = 3
    assert validate(translator, 10) == 0.1  # type: ignore[arg-type]
    translator.off = 0
    assert validate(translator, 20) == 0.2  # type: ignore[arg-type]
    assert lines(file) == [
        {"step": 10, "distances": {"angry": 9.0, "happy": 9.0}},
        {"step": 20, "distances": {"angry": 0.0, "happy": 0.0}},
    ]


def test_a_class_may_be_called_step(tmp_path: Path) -> None:
    file = tmp_path / "distances.jsonl"
    named = replace(faces(), class_names=("angry", "step", "sad"))
    validate = DistanceLog(lambda translator, step: 0.0, MeanJudge(), named, file, seed=0)  # type: ignore[arg-type]
    for step in (10, 20):
        validate(Shifter(), step)  # type: ignore[arg-type]
    assert [(line["step"], set(line["distances"])) for line in lines(file)] == [
        (10, {"angry", "step"}),
        (20, {"angry", "step"}),
    ]


def test_a_step_that_a_resumed_training_comes_to_again_is_written_once(tmp_path: Path) -> None:
    file, translator = tmp_path / "distances.jsonl", Shifter()
    for step in (10, 20, 30):
        log(file)(translator, step)  # type: ignore[arg-type]
    undisturbed = file.read_bytes()
    for step in (20, 30):  # the checkpoint was of step 15
        log(file)(translator, step)  # type: ignore[arg-type]
    assert file.read_bytes() == undisturbed


def test_diagonal_distance_by_hand() -> None:
    """Means 1 and 3, standard deviations 1 and 2: 4 + 1."""
    assert diagonal_distance(np.array([[0.0], [2.0]]), np.array([[1.0], [5.0]])) == pytest.approx(5.0)
