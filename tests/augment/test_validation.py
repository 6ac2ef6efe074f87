from __future__ import annotations

import numpy as np
import pytest
import torch
from small_faces import JudgeBy

from augment.faces.tensors import FaceTensors
from augment.training.validation import checkpoint_validation
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
