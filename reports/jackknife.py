"""How exactly a distance between sets of faces is known, by leaving out a group of people at a time.

The delete-a-group jackknife (Kott, "The delete-a-group jackknife", 2001; Efron and Tibshirani, "An Introduction to the
Bootstrap", 1993, chapter 11). Drawing faces again, as a bootstrap does, would bring copies, which make a set look
narrower than it is and so change the distance itself. A Frechet distance of few faces is not linear in them, and its
error comes out too large by a tenth to a half (tests/reports/test_jackknife.py): an interval that is too wide.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import t as students_t

GROUPS = 20
FEWEST_PEOPLE = 10  # in a set; of fewer an error says little


@dataclass(frozen=True)
class GroupedError:
    """A standard error.

    Attributes:
        error: Over other people.
        groups: From how many groups; its degrees of freedom are one less.
    """

    error: float
    groups: int


def people_groups(labels: np.ndarray, subjects: Sequence[str | None], groups: int) -> np.ndarray:
    """Deals people to groups, such that all groups have similar shares of each class.

    Args:
        labels: int [N], of faces.
        subjects: Whom each shows; where any is unknown each face stands for itself.
        groups: How many there are.

    Returns:
        int [N], 0..groups-1.
    """
    labels, people = np.asarray(labels), people_of(subjects)
    members: dict[int, list[int]] = {}
    for position, person in enumerate(people):
        members.setdefault(int(person), []).append(position)
    found = np.empty(len(labels), int)
    order = sorted(members, key=lambda person: (sorted(labels[members[person]].tolist()), members[person][0]))
    for place, person in enumerate(order):
        found[members[person]] = place % groups
    return found


def people_of(subjects: Sequence[str | None]) -> np.ndarray:
    """Numbers of people, int [N]; each face its own where any face's person is unknown."""
    if any(subject is None for subject in subjects):
        return np.arange(len(subjects))
    return np.unique(np.asarray(subjects, dtype=str), return_inverse=True)[1]


def jackknife_error(
    figure: Callable[..., float], sets: Sequence[tuple[np.ndarray, np.ndarray, Sequence[str | None]]]
) -> GroupedError | None:
    """The standard error of a figure of several sets, from which a group of people each is left out in turn.

    Args:
        figure: Of features [N, D] of each set.
        sets: Features [N, D], labels [N] and subjects of each.

    Returns:
        None where a set shows fewer than ten people.
    """
    fewest = min(len(np.unique(people_of(subjects))) for _, _, subjects in sets)
    if fewest < FEWEST_PEOPLE:
        return None
    count = min(GROUPS, fewest)
    dealt = [people_groups(labels, subjects, count) for _, labels, subjects in sets]
    without = np.array(
        [
            figure(*(features[groups != left_out] for (features, _, _), groups in zip(sets, dealt, strict=True)))
            for left_out in range(count)
        ]
    )
    return GroupedError(float(np.sqrt((count - 1) / count * np.sum((without - without.mean()) ** 2))), count)


def mean_error(folds: Sequence[GroupedError | None]) -> GroupedError | None:
    """The error of the mean over folds; None where that of a fold is unknown.

    Real test people are others in each fold. The people of synthetic faces' sources are training people, most of whom
    folds share: their part of the error is taken for smaller than it is.
    """
    known = [fold for fold in folds if fold is not None]
    if not known or len(known) < len(folds):
        return None
    error = float(np.sqrt(sum(fold.error**2 for fold in known))) / len(known)
    return GroupedError(error, min(fold.groups for fold in known))


def distance_interval(overall: Mapping[str, Any], level: float) -> tuple[float, float] | None:
    """The interval of a Frechet distance, by Student's t, not below 0; None where its error is unknown.

    Args:
        overall: Of a translator's scores, `frechet` with `frechet_error` and `groups`.
        level: Coverage, 0..1.
    """
    value, error = overall["frechet"], overall.get("frechet_error")
    if value is None or error is None:
        return None
    half = float(students_t.ppf((1 + level) / 2, overall["groups"] - 1)) * error
    return max(value - half, 0.0), value + half
