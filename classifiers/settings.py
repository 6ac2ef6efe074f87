"""Settings of the arms. They stand apart from what trains: to read them should load no torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

if TYPE_CHECKING:
    from classifiers.training import ClassifierSettings


AugmentationName = Literal["none", "flip", "classical", "randaugment", "mixup", "cutmix"]


ArmKind = Literal["real", "oversampled", "synthetic", "synthetic_only", "hog", "lbp", "landmark_lda"]


SYNTHETIC_KINDS = ("synthetic", "synthetic_only")


FILLING_KINDS = ("synthetic", "oversampled")


ClassicalKind = Literal["hog", "lbp", "landmark_lda"]


CLASSICAL_KINDS: tuple[ClassicalKind, ...] = get_args(ClassicalKind)


class Arm(BaseModel):
    """One way to make the classifier's training set.

    Attributes:
        kind: real; oversampled (real, every class drawn alike or, with
            `fill_to`, repeated up to a number); synthetic (real and synthetic); synthetic_only; on real
            faces without a network: hog or lbp (features of the picture, support vector machine) and landmark_lda
            (positions of the landmarks, linear discriminant analysis; for faces that have landmarks).
        augmentation: Of training faces; None: as the classifier's settings say. Real and classical augmentation is
            kind `real` with `classical`.
        translator: Whose faces; for synthetic kinds.
        second_translator: Another translator, whose faces are half of them; for arms of `arms.mixed`.
        per_class: How many synthetic faces of each class, over both translators where there are two, which take turns
            with the sources, so that arms of one and of two differ in nothing else; for synthetic kinds.
        fill_to: Only classes of fewer real training faces get more, up to this number; for kind `synthetic` in place of
            `per_class`, and for `oversampled`, which repeats real faces. Batches then draw from all faces alike, so
            that the two differ in nothing but what a class is filled with.
        share: Of each batch that is synthetic; with `fill_to`, of the faces that fill a class up (the others are real
            ones, repeated; 1 is synthetic ones alone). For kind `synthetic`. Measured elsewhere: about half is a good
            start.
        selected: Whether only faces that selection kept are used; for synthetic kinds.
        class_balanced: Whether batches draw every class alike; None: as the classifier's settings say.
        steps_factor: Factor on the classifier's steps, for an arm that trains longer than the others. In a synthetic
            arm only a part of each batch is real; 2 on real faces shows what more steps alone give.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: ArmKind
    augmentation: AugmentationName | None = None
    translator: str | None = None
    second_translator: str | None = None
    per_class: int | None = Field(default=None, ge=1)
    fill_to: int | None = Field(default=None, ge=2)
    share: float = Field(default=0.5, gt=0, le=1)
    selected: bool = True
    class_balanced: bool | None = None
    steps_factor: float = Field(default=1.0, gt=0, le=100)

    @model_validator(mode="after")
    def _fits_kind(self) -> Arm:
        problems = []
        filling = ", or fill_to a number up to which classes are filled" if self.kind in FILLING_KINDS else ""
        if self.kind in SYNTHETIC_KINDS:
            if not self.translator:
                problems.append(f"translator: kind {self.kind} needs one (for example warp)")
            if self.per_class is None and self.fill_to is None:
                problems.append(
                    f"per_class: kind {self.kind} needs a number of faces per class (for example 500){filling}"
                )
            if self.per_class is not None and self.fill_to is not None:
                problems.append("per_class: fill_to says how many; leave one of them out")
            if self.kind == "synthetic" and self.share == 1 and self.fill_to is None:
                problems.append("share: less than 1 leaves real faces in a batch; for 1, use kind synthetic_only")
        else:
            problems += [
                f"{key}: kind {self.kind} uses no synthetic faces; leave it out, or use kind synthetic"
                for key in ("translator", "second_translator", "per_class", "share", "selected")
                if key in self.model_fields_set and getattr(self, key) is not None
            ]
        if self.fill_to is not None and self.kind not in FILLING_KINDS:
            problems.append(f"fill_to: kind {self.kind} fills no class up; use {' or '.join(FILLING_KINDS)}")
        if self.second_translator is not None and self.second_translator == self.translator:
            problems.append(f"second_translator: is the first one, {self.translator}; leave it out, or name another")
        if self.second_translator is not None and self.per_class is not None and self.per_class < 2:
            problems.append("per_class: two translators make at least 2 faces per class")
        if self.kind == "synthetic_only" and "share" in self.model_fields_set:
            problems.append("share: the whole batch is synthetic in kind synthetic_only; leave it out")
        if self.kind == "oversampled" and self.fill_to is None and self.class_balanced is False:
            problems.append("class_balanced: kind oversampled is balanced; leave it out, or use kind real")
        if self.kind in CLASSICAL_KINDS:
            problems += [
                f"{key}: kind {self.kind} has no batches to change; leave it out"
                for key in ("augmentation", "class_balanced")
                if getattr(self, key) is not None
            ]
            if self.steps_factor != 1:
                problems.append(f"steps_factor: kind {self.kind} has no steps; leave it out")
        if problems:
            raise ValueError("; ".join(problems))
        return self

    @property
    def is_synthetic(self) -> bool:
        """Whether it needs a translator's faces."""
        return self.kind in SYNTHETIC_KINDS

    @property
    def translators(self) -> tuple[str, ...]:
        """Whose faces it learns from: none, one or two translators."""
        return tuple(name for name in (self.translator, self.second_translator) if name is not None)

    @property
    def group(self) -> Literal["real", "synthetic", "mixed"]:
        """Under which of the parameters' groups of arms it stands: by the number of its translators."""
        return ("real", "synthetic", "mixed")[len(self.translators)]

    def amounts(self, real: Sequence[int]) -> tuple[tuple[int, ...], ...]:
        """How many faces of each class each of its translators gives; the first gives one more where the sum is odd.

        Args:
            real: Real training faces of each class, which matter to `fill_to` alone.

        Returns:
            For each translator a number for each class.
        """
        if self.fill_to is None:
            totals = [self.per_class or 0] * len(real)
        else:
            totals = [math.ceil(self._exact_share * max(self.fill_to - count, 0)) for count in real]
        makers = len(self.translators)
        return tuple(tuple(total // makers + (place < total % makers) for total in totals) for place in range(makers))

    def most_to_fill(self, real: int, made: int) -> int:
        """The greatest `fill_to` for which a class needs no more of each translator's faces than there are.

        Args:
            real: Real training faces of the class.
            made: Faces of it by each translator.
        """
        return real + math.floor(made * len(self.translators) / self._exact_share)

    @property
    def _exact_share(self) -> Fraction:
        """As it was written: 0.17 of 300 is 51, where floats round up to 52."""
        return Fraction(str(self.share))

    def steps(self, settings: ClassifierSettings) -> int | None:
        """Optimizer steps of its classifier, at least 1; None for kinds without a network."""
        return None if self.kind in CLASSICAL_KINDS else max(1, round(settings.steps * self.steps_factor))

    def balanced(self, settings: ClassifierSettings) -> bool:
        """Whether its batches draw every class alike."""
        if self.kind == "oversampled" and self.fill_to is None:
            return True
        return settings.class_balanced if self.class_balanced is None else self.class_balanced
