"""How exactly a paired difference is known, over other people and other trainings, who all meet each other.

The difference of two arms is a mean over people (or faces) and over trainings (the seeds of each fold), which are
crossed. Three things make it vary: whom the test faces show, which trainings were run, and what one training does with
one person. Drawing people and trainings again, crossed, counts the third up to three times (Owen, "The pigeonhole
bootstrap", 2007), and few trainings too little. Here each is estimated for itself, as in an analysis of variance: the
variance over people, plus that over trainings, minus what both hold of the third. Cameron, Gelbach and Miller, "Robust
inference with multiway clustering", 2011, do so for statistics of any kind, by their linearization.

Folds differ by more than their people: by the faces that classifiers and translators learned from, which all people and
trainings of a fold share. So the variance is at least what the folds' own differences show, with as many degrees of
freedom as there are folds, less one: of three and more, for two tell next to nothing. That is too little still by what
folds share of their training faces (Nadeau and Bengio, "Inference for the generalization error", 2003).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

# Folds that tell how folds differ: of two, Student's t has one degree of freedom, and any difference is possible.
FEWEST_FOLDS = 3


@dataclass(frozen=True)
class Estimate:
    """A difference, and how exactly it is known.

    Attributes:
        value: The difference; NaN where there is no face.
        standard_error: Over other people and other trainings; NaN with fewer than two people.
        degrees_of_freedom: Of its variance (Satterthwaite, "An approximate distribution of estimates of variance
            components", 1946), for quantiles of t.
        people: How many people (or faces) it is of.
        moved: For how many of them it is not 0.
    """

    value: float
    standard_error: float
    degrees_of_freedom: float
    people: int
    moved: int


def crossed_estimates(counts: Sequence[np.ndarray], *, over_trainings: bool, over_folds: bool = True) -> list[Estimate]:
    """Differences of accuracy, of balanced accuracy, and of each class's recall.

    Args:
        counts: For each fold, float [people, seeds, 3, K]: the arm's hits, the other arm's hits, and all faces, by
            class. People are the same in all folds; who has no face in one counts nothing there.
        over_trainings: Whether trainings are drawn too; else the error is over people alone.
        over_folds: Whether the error is over other training faces too, where there are three folds or more.

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
            found.append(Estimate(float("nan"), float("nan"), float("nan"), 0, 0))
            continue
        parts = [
            (gain[:, :, of] - explained[of] * face[:, :, of]) @ weights[of]
            for gain, face in zip(gains, faces, strict=True)
        ]
        shown = [face[:, :, of] @ weights[of] for face in faces]
        by_person = np.sum([(gain[:, :, of] @ weights[of]).sum(axis=1) for gain in gains], axis=0)
        moved = int(np.count_nonzero(np.abs(by_person) > 1e-12))
        estimate = _estimate(float(gained[of] @ weights[of]), parts, shown, moved, over_trainings)
        found.append(_at_least_of_folds(estimate, parts, shown) if over_folds else estimate)
    return found


def _at_least_of_folds(estimate: Estimate, parts: Sequence[np.ndarray], shares: Sequence[np.ndarray]) -> Estimate:
    """An estimate whose error is no smaller than what its folds show of one; arguments as of `_estimate`."""
    share = np.array([fold.sum() for fold in shares])
    there = int(np.count_nonzero(share))
    if there < FEWEST_FOLDS or np.isnan(estimate.standard_error):
        return estimate
    sums = np.array([part.sum() for part in parts])
    error = float(np.sqrt(np.sum(sums**2 / np.maximum(1 - share, 1e-12))))
    if error <= estimate.standard_error:
        return estimate
    return replace(estimate, standard_error=error, degrees_of_freedom=float(there - 1))


def _estimate(
    value: float, parts: Sequence[np.ndarray], shares: Sequence[np.ndarray], moved: int, over_trainings: bool
) -> Estimate:
    """From what each person and training of each fold adds to the difference, and from their shares of the faces.

    Args:
        value: The difference.
        parts: For each fold [people, seeds], which sum to 0 over all folds.
        shares: For each fold [people, seeds], which sum to 1.
        moved: How many people the difference is not 0 for.
        over_trainings: See `crossed_estimates`.
    """
    share = np.sum([fold.sum(axis=1) for fold in shares], axis=0)
    people = int(np.count_nonzero(share))
    if people < 2:
        return Estimate(value, float("nan"), float("nan"), people, moved)
    # Who has many of the faces pulls the mean to himself, and so looks nearer to it than he is: each square is divided
    # by 1 - share, and unequal shares are worth fewer people (Bell and McCaffrey, "Bias reduction in standard errors
    # for linear regression with multi-stage samples", 2002). Of equal shares both are those of a sample variance.
    sums = np.sum([part.sum(axis=1) for part in parts], axis=0)
    of_people = float(np.sum(sums**2 / np.maximum(1 - share, 1e-12)))
    of_equal_worth = float(np.sum(share**2) ** 2 / np.sum(share**4))
    people_freedom = max(of_equal_worth - 1, 1.0)
    trainings: list[tuple[float, int]] = []  # variance and its degrees of freedom, by fold
    both: list[tuple[float, int]] = []
    for part, fold in zip(parts, shares, strict=True):
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
    spread = [(of_people, people_freedom), *trainings, *both]
    uncertainty = sum(part**2 / freedom for part, freedom in spread)
    freedom = variance**2 / uncertainty if uncertainty > 0 else people_freedom
    return Estimate(value, float(np.sqrt(variance)), float(max(freedom, 1.0)), people, moved)
