"""How exactly a paired difference is known, over other people and other trainings, who all meet each other.

The difference of two arms is a mean over people (or faces) and over trainings (the seeds of each fold), which are
crossed. Three things make it vary: whom the test faces show, which trainings were run, and what one training does with
one person. Drawing people and trainings again, crossed, counts the third up to three times (Owen, "The pigeonhole
bootstrap", 2007), and few trainings too little. Here each is estimated for itself, as in an analysis of variance: the
variance over people, plus that over trainings, minus what both hold of the third. Cameron, Gelbach and Miller, "Robust
inference with multiway clustering", 2011, do so for statistics of any kind, by their linearization.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Estimate:
    """A difference, and how exactly it is known.

    Attributes:
        value: The difference; NaN where there is no face.
        standard_error: Over other people and other trainings; NaN with fewer than two people.
        degrees_of_freedom: Of its variance (Satterthwaite, "An approximate distribution of estimates of variance
            components", 1946), for quantiles of t.
        people: How many people (or faces) it is of.
    """

    value: float
    standard_error: float
    degrees_of_freedom: float
    people: int


def crossed_estimates(counts: Sequence[np.ndarray], *, over_trainings: bool) -> list[Estimate]:
    """Differences of accuracy, of balanced accuracy, and of each class's recall.

    Args:
        counts: For each fold, float [people, seeds, 3, K]: the arm's hits, the other arm's hits, and all faces, by
            class. People are the same in all folds; who has no face in one counts nothing there.
        over_trainings: Whether trainings are drawn too; else the error is over people alone.

    Returns:
        2 + K estimates.
    """
    gains = [fold[:, :, 0] - fold[:, :, 1] for fold in counts]
    faces = [fold[:, :, 2] for fold in counts]
    gained, seen = (np.sum([fold.sum(axis=(0, 1)) for fold in folds], axis=0) for folds in (gains, faces))
    present = seen > 0
    recalls = np.divide(gained, seen, out=np.full(len(seen), np.nan), where=present)
    shares = np.divide(1, seen, out=np.zeros(len(seen)), where=present)
    # Each is a weighted sum of gains. Its linearization takes off what the figure itself explains of them: accuracy is
    # one ratio for all classes, balanced accuracy a mean of ratios, one for each class.
    accuracy = np.full(len(seen), gained.sum() / seen.sum())
    figures = [(np.full(len(seen), 1 / seen.sum()), accuracy), (shares / present.sum(), recalls)]
    figures += [(np.where(np.arange(len(seen)) == label, shares, 0.0), recalls) for label in range(len(seen))]
    found = []
    for weights, explained in figures:
        of = present & (weights > 0)
        if not of.any():
            found.append(Estimate(float("nan"), float("nan"), float("nan"), 0))
            continue
        parts = [
            (gain[:, :, of] - explained[of] * face[:, :, of]) @ weights[of]
            for gain, face in zip(gains, faces, strict=True)
        ]
        counted = [face[:, :, of].sum(axis=2) for face in faces]
        found.append(_estimate(float(gained[of] @ weights[of]), parts, counted, over_trainings))
    return found


def _estimate(value: float, parts: Sequence[np.ndarray], faces: Sequence[np.ndarray], over_trainings: bool) -> Estimate:
    """From what each person and training of each fold adds to the difference, [people, seeds], summing to 0."""
    there = np.sum([fold.sum(axis=1) for fold in faces], axis=0) > 0
    people = int(there.sum())
    if people < 2:
        return Estimate(float(value), float("nan"), float("nan"), people)
    of_people = people / (people - 1) * float(np.sum(np.sum([part.sum(axis=1) for part in parts], axis=0) ** 2))
    trainings: list[tuple[float, int]] = []  # variance and its degrees of freedom, by fold
    both: list[tuple[float, int]] = []
    for part, fold in zip(parts, faces, strict=True):
        seeds = part.shape[1]
        if not over_trainings or seeds < 2:
            continue
        deviations = part.sum(axis=0) - part.sum() / seeds
        trainings.append((seeds / (seeds - 1) * float(np.sum(deviations**2)), seeds - 1))
        rows = fold.sum(axis=1) > 0
        count = int(rows.sum())
        if count < 2:
            continue
        weight = fold[rows].sum(axis=1) / fold.sum()
        rest = part[rows] - part[rows].mean(axis=1, keepdims=True) - weight[:, None] * deviations
        freedom = (count - 1) * (seeds - 1)
        both.append((count * seeds / freedom * float(np.sum(rest**2)), freedom))
    of_trainings, of_both = sum(variance for variance, _ in trainings), sum(variance for variance, _ in both)
    # No component is negative: the whole is at least what either margin shows.
    variance = max(of_people + of_trainings - of_both, of_people, of_trainings)
    spread = [(of_people, people - 1), *trainings, *both]
    uncertainty = sum(part**2 / freedom for part, freedom in spread)
    freedom = variance**2 / uncertainty if uncertainty > 0 else people - 1
    return Estimate(float(value), float(np.sqrt(variance)), float(max(freedom, 1.0)), people)
