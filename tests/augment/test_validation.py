from __future__ import annotations

import numpy as np
import pytest
import torch
from small_faces import JudgeBy

from augment.faces.tensors import FaceTensors
from augment.training.validation import checkpoint_validation, class_probabilities, relative_distance
from augment.translators.base import Translator, TranslatorSettings


class Painter(Translator):
    """Paints the target's number into every pixel, or copies."""

    name = "painter"
    Settings = TranslatorSettings

    def __init__(self, paints: bool) -> None:
        super().__init__(num_classes=3, channels=1, size=4, settings=TranslatorSettings())
        self.paints = paints

    def translate(self, faces, targets, generator=None):
        return targets.to(torch.uint8).view(-1, 1, 1, 1).expand_as(faces.images) if self.paints else faces.images


def faces(labels: list[int]) -> FaceTensors:
    number = torch.tensor(labels)
    images = number.to(torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 4, 4).contiguous()
    names = tuple(f"f{row}" for row in range(len(labels)))
    return FaceTensors(images, number, None, None, names, (None,) * len(labels), ("a", "b", "c"))


def judge(images: torch.Tensor) -> np.ndarray:
    """Sees the number: 0.8 for it, the rest for the others."""
    seen = images[:, 0, 0, 0].long().numpy()
    return np.where(np.arange(3) == seen[:, None], 0.8, 0.1)


def test_translated_scores_what_the_judge_says_of_the_target() -> None:
    validate = checkpoint_validation(JudgeBy(judge), faces([0, 0, 1, 2]), seed=0)
    assert validate is not None
    assert validate(Painter(paints=True), 1) == pytest.approx(0.8)


def test_a_copy_scores_only_what_other_classes_get() -> None:
    """Faces that are of the target already are left out: a copy would score by them."""
    validate = checkpoint_validation(JudgeBy(judge), faces([0, 0, 1, 2]), seed=0)
    assert validate is not None
    assert validate(Painter(paints=False), 1) == pytest.approx(0.1)


def test_a_translator_that_keeps_its_sources_class_is_asked_for_that_class_alone() -> None:
    class Keeper(Painter):
        keeps_class = True  # type: ignore[assignment]

    validate = checkpoint_validation(JudgeBy(judge), faces([0, 0, 1, 2]), seed=0)
    assert validate is not None
    assert validate(Keeper(paints=False), 1) == pytest.approx(0.8)


def test_faces_that_the_translator_does_not_accept_are_left_out() -> None:
    class Picky(Painter):
        def usable_sources(self, faces):
            return faces.labels == 0

        def translate(self, faces, targets, generator=None):
            assert bool((faces.labels == 0).all())
            return super().translate(faces, targets, generator)

    validate = checkpoint_validation(JudgeBy(judge), faces([0, 0, 1, 2]), seed=0)
    assert validate is not None
    assert validate(Picky(paints=True), 1) == pytest.approx(0.8)


def test_every_class_counts_alike() -> None:
    def only_class_two(images: torch.Tensor) -> np.ndarray:
        return np.tile([0.0, 0.0, 1.0], (len(images), 1))

    validate = checkpoint_validation(JudgeBy(only_class_two), faces([2] * 9 + [0, 1]), seed=0)
    assert validate is not None
    assert validate(Painter(paints=True), 1) == pytest.approx(1 / 3)


def test_one_class_gives_nothing_to_choose_by() -> None:
    assert checkpoint_validation(JudgeBy(judge), faces([1, 1]), seed=0) is None


class Eyes:
    """A judge whose features are a picture's mean and its spread, and who takes any spread for class two."""

    def probabilities(self, images: torch.Tensor) -> np.ndarray:
        features = self.features(images)
        fooled = features[:, 1] > 0.5
        rounded = np.clip(np.round(features[:, 0]), 0, 2)
        return np.where(
            fooled[:, None], np.array([0.0, 0.0, 1.0]), np.where(np.arange(3) == rounded[:, None], 0.8, 0.1)
        )

    def features(self, images: torch.Tensor) -> np.ndarray:
        values = images.float().flatten(1)
        return torch.stack([values.mean(dim=1), values.std(dim=1)], dim=1).numpy()


class Fooling(Painter):
    """Paints classes 0 and 1 as they are, but in the place of class 2 a pattern, around the source's own value."""

    def translate(self, faces, targets, generator=None):
        painted = super().translate(faces, targets, generator)
        rows, columns = torch.meshgrid(torch.arange(4), torch.arange(4), indexing="ij")
        pattern = (faces.images.int() + 2 * ((rows + columns) % 2)).to(torch.uint8)
        return torch.where((targets == 2).view(-1, 1, 1, 1), pattern, painted)


def scores(rule: str) -> tuple[float, float]:
    """What a rule says of the translator that paints classes, and of the one that paints a pattern."""
    train, validation = faces([0, 1, 2] * 6), faces([0, 1, 2] * 3)
    validate = checkpoint_validation(Eyes(), validation, seed=0, train=train, rule=rule)
    assert validate is not None
    return validate(Painter(paints=True), 1), validate(Fooling(paints=True), 1)


def test_recognition_is_won_by_a_pattern_and_the_other_rules_are_not() -> None:
    honest, fooling = scores("recognition")
    assert fooling > honest  # 1.0 for class two by the pattern, where the class itself has 0.8
    for rule in ("utility", "recognition_and_distance"):
        honest, fooling = scores(rule)
        assert honest > 1.1 * fooling, rule


def test_recognition_and_distance_by_hand() -> None:
    """Painted faces are real ones: distance 0. A copy is as far as its source: half of its recognition."""
    validate = checkpoint_validation(Eyes(), faces([0, 1, 2] * 3), seed=0, rule="recognition_and_distance")
    assert validate is not None
    assert validate(Painter(paints=True), 1) == pytest.approx(0.8)
    assert validate(Painter(paints=False), 1) == pytest.approx(0.1 / 2)


def test_the_relative_distance_by_hand() -> None:
    real = np.array([[1.0], [3.0]])  # mean 2, standard deviation 1
    sources = np.array([[-2.0], [-2.0]])  # 4 and 1 away: 17
    assert relative_distance(real[::-1], sources, real) == 0.0
    assert relative_distance(sources, sources, real) == pytest.approx(1.0)
    # Mean 3 and standard deviation 3: 1 and 2 away, squared 5.
    assert relative_distance(np.array([[0.0], [6.0]]), sources, real) == pytest.approx(5 / 17)


def test_utility_of_copies_is_no_more_than_guessing() -> None:
    validate = checkpoint_validation(Eyes(), faces([0, 1, 2] * 3), seed=0, train=faces([0, 1, 2] * 6), rule="utility")
    assert validate is not None
    # A copy of a face is of another class than it is said to be: what is learned is wrong.
    assert validate(Painter(paints=False), 1) < 1 / 3
    assert validate(Painter(paints=True), 1) > 0.6


def test_utility_does_not_depend_on_torchs_random_state() -> None:
    validate = checkpoint_validation(Eyes(), faces([0, 1, 2] * 3), seed=0, train=faces([0, 1, 2] * 6), rule="utility")
    assert validate is not None
    found = set()
    for seed in (1, 2):
        torch.manual_seed(seed)
        with torch.no_grad():
            found.add(validate(Painter(paints=True), 1))
    assert len(found) == 1


def test_utility_asks_for_training_faces() -> None:
    with pytest.raises(ValueError, match="give train"):
        checkpoint_validation(Eyes(), faces([0, 1]), seed=0, rule="utility")


def test_class_probabilities_have_their_boundary_between_the_classes() -> None:
    """Two clouds on a line: their middle is undecided, and their ends are decided."""
    features = np.array([[-1.0], [-0.9], [0.9], [1.0]])
    found = class_probabilities(features, np.array([0, 0, 1, 1]), np.array([[-1.0], [0.0], [1.0]]), 2)
    assert found[:, 1] == pytest.approx([found[0, 1], 0.5, 1 - found[0, 1]], abs=1e-3)
    assert found[0, 1] < 0.2 and found.sum(axis=1) == pytest.approx(1.0)


def test_class_probabilities_of_a_class_that_nobody_shows_are_0() -> None:
    features = np.array([[-1.0], [-0.9], [0.9], [1.0]])
    found = class_probabilities(features, np.array([0, 0, 2, 2]), features, 3)
    assert not found[:, 1].any() and (found.argmax(axis=1) == [0, 0, 2, 2]).all()
    assert (class_probabilities(features, np.array([1, 1, 1, 1]), features, 3) == [0.0, 1.0, 0.0]).all()
