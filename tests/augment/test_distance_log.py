"""The distances that a validation writes: of made-up faces whose features are known."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import augment.training.distances
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


# As many faces of each class

COUNTS = (20, 200, 400)  # real faces of the classes, all of one distribution
SIZE = 32


class PixelJudge(MeanJudge):
    """Its features are the pixels, and it keeps how many pictures it saw."""

    def __init__(self) -> None:
        self.seen: list[int] = []

    def features(self, images: torch.Tensor) -> np.ndarray:
        self.seen.append(len(images))
        return images.flatten(1).float().numpy()


class Drawer(Shifter):
    """Draws noise of the real faces' own distribution, whatever the class."""

    def translate(self, faces: FaceTensors, targets: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        return torch.randint(0, 256, faces.images.shape, generator=generator, dtype=torch.uint8)


def noise(counts: tuple[int, ...], seed: int = 7) -> FaceTensors:
    labels = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    pixels = torch.randint(0, 256, (len(labels), 1, SIZE, SIZE), generator=torch.Generator().manual_seed(seed))
    return FaceTensors(
        images=pixels.to(torch.uint8),
        labels=labels,
        landmarks=None,
        masks=None,
        face_ids=tuple(f"f{place}" for place in range(len(labels))),
        subjects=(None,) * len(labels),
        class_names=("rare", "usual", "frequent")[: len(counts)],
    )


def distances_of(validation: FaceTensors, folder: Path, translator: Drawer | None = None) -> dict[str, float]:
    file = folder / "distances.jsonl"
    logged = DistanceLog(lambda *_: 0.0, PixelJudge(), validation, file, seed=0)  # type: ignore[arg-type]
    logged(translator or Drawer(), 10)  # type: ignore[arg-type]
    return lines(file)[-1]["distances"]  # type: ignore[return-value]


def test_classes_of_one_distribution_have_one_level_however_many_faces_they_have(tmp_path: Path) -> None:
    """Of all their faces, as it was once done, the rare class has several times the distance of the frequent one."""
    validation = noise(COUNTS)
    features = PixelJudge().features(validation.images)
    made = PixelJudge().features(noise((180,), seed=8).images)
    labels = validation.labels.numpy()
    of_all = [diagonal_distance(made, features[labels == label]) for label in range(len(COUNTS))]
    assert of_all[0] > 3 * of_all[1] > 3 * of_all[2]
    found = distances_of(validation, tmp_path)
    assert max(found.values()) < 1.2 * min(found.values())


def test_every_class_has_as_many_translated_faces_as_that_with_the_fewest_sources(tmp_path: Path) -> None:
    """210 sources, of which those of a class itself are not translated to it: of the frequent one most."""
    judge = PixelJudge()
    validation = noise(COUNTS)
    DistanceLog(lambda *_: 0.0, judge, validation, tmp_path / "a", seed=0)(Drawer(), 10)  # type: ignore[arg-type]
    _, *made = judge.seen
    assert len(made) == 3 and len(set(made)) == 1 and 50 < made[0] < 210 * (1 - 400 / 620) + 20


def test_the_same_faces_are_taken_again(tmp_path: Path) -> None:
    validation = noise((20, 40))
    for place in ("a", "b"):
        (tmp_path / place).mkdir()
    assert distances_of(validation, tmp_path / "a") == distances_of(validation, tmp_path / "b")


def test_fewer_faces_are_the_first_of_more() -> None:
    rows = {"rare": np.array([7, 3, 9]), "frequent": np.array([4, 8, 1, 6, 2]), "single": np.array([5])}
    found = augment.training.distances._as_many_of_each(rows)
    assert {name: some.tolist() for name, some in found.items()} == {"rare": [7, 3, 9], "frequent": [4, 8, 1]}
    fewer = augment.training.distances._as_many_of_each({**rows, "rare": rows["rare"][:2]})
    assert {name: some.tolist() for name, some in fewer.items()} == {"rare": [7, 3], "frequent": [4, 8]}
    assert augment.training.distances._as_many_of_each({"single": rows["single"]}) == {}


def test_a_class_of_one_face_has_no_distance_and_takes_none_from_others(tmp_path: Path) -> None:
    translator = Drawer()
    translator.keeps_class = True
    validation = noise((1, 30, 40))  # of one real face there is no spread
    assert set(distances_of(validation, tmp_path, translator)) == {"usual", "frequent"}
