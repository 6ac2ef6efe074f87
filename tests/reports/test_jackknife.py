"""Errors of distances between sets of faces, against what other people show, and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from reports.jackknife import (
    GroupedError,
    distance_interval,
    jackknife_error,
    mean_error,
    people_groups,
)
from reports.metrics.fid import frechet_distance_of_features

DIMENSION, PEOPLE, FACES = 8, 60, 4


def difference_of_means(one: np.ndarray, other: np.ndarray) -> float:
    return float(one.mean() - other.mean())


def draw(random: np.random.Generator, shift: float) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Features of people who differ from each other twice as much as their own faces do."""
    own = random.normal(size=(PEOPLE, 1, DIMENSION)) + random.normal(0, 0.5, (PEOPLE, FACES, DIMENSION))
    labels = np.tile(np.arange(FACES) % 2, PEOPLE)
    return own.reshape(-1, DIMENSION) + shift, labels, [f"p{i // FACES}" for i in range(PEOPLE * FACES)]


def test_of_a_mean_it_is_the_standard_error_of_groups() -> None:
    """Of equal groups the jackknife of a mean is the standard error of the groups' means."""
    random = np.random.default_rng(0)
    features, nobody = random.normal(size=(40, 1)), np.zeros((40, 1))
    labels, people = np.zeros(40, int), [f"p{i:02d}" for i in range(40)]
    found = jackknife_error(difference_of_means, [(features, labels, people), (nobody, labels, people)])
    groups = people_groups(labels, people, 20)
    means = [features[groups == group].mean() for group in range(20)]
    assert found is not None and found.groups == 20 and found.error == pytest.approx(stats.sem(means))


def test_groups_keep_people_whole_and_classes_alike() -> None:
    labels = np.array([0, 1] * 30 + [0] * 40)
    people = [f"both-{i // 2}" for i in range(60)] + [f"one-{i}" for i in range(40)]
    groups = people_groups(labels, people, 10)
    for person in set(people):
        assert len({int(groups[i]) for i, name in enumerate(people) if name == person}) == 1
    assert {tuple(np.bincount(labels[groups == group])) for group in range(10)} == {(7, 3)}
    unknown = people_groups(labels, [*people[:-1], None], 10)
    assert sorted(np.bincount(unknown)) == [10] * 10 and len({int(unknown[0]), int(unknown[2])}) == 2


def test_it_is_what_other_people_show_and_not_what_other_faces_would() -> None:
    """50 draws of people; negative control: faces taken for independent ones say much less."""
    values, errors, of_faces = [], [], []
    for draw_number in range(50):
        random = np.random.default_rng(draw_number)
        one, other = draw(random, 0.0), draw(random, 0.4)
        values.append(frechet_distance_of_features(one[0], other[0]))
        found = jackknife_error(frechet_distance_of_features, [one, other])
        alone = [(features, labels, [None] * len(labels)) for features, labels, _ in (one, other)]
        faces = jackknife_error(frechet_distance_of_features, alone)
        assert found is not None and faces is not None
        errors.append(found.error)
        of_faces.append(faces.error)
    spread = float(np.std(values, ddof=1))
    assert 0.85 * spread < np.mean(errors) < 1.7 * spread
    assert np.mean(of_faces) < 0.75 * np.mean(errors)


def test_few_people_have_no_error() -> None:
    random = np.random.default_rng(0)
    features, labels, people = draw(random, 0.0)
    nine = [f"p{int(name[1:]) % 9}" for name in people]
    assert jackknife_error(frechet_distance_of_features, [(features, labels, people), (features, labels, nine)]) is None
    twelve = [f"p{int(name[1:]) % 12}" for name in people]
    found = jackknife_error(frechet_distance_of_features, [(features, labels, people), (features, labels, twelve)])
    assert found is not None and found.groups == 12


def test_of_folds_and_intervals_by_hand() -> None:
    assert mean_error([GroupedError(3.0, 20), GroupedError(4.0, 15)]) == GroupedError(2.5, 15)
    assert mean_error([GroupedError(3.0, 20), None]) is None and mean_error([]) is None
    low, high = distance_interval({"frechet": 1.0, "frechet_error": 0.1, "groups": 20}, 0.95) or (0, 0)
    assert (low, high) == pytest.approx((1 - 0.2093, 1 + 0.2093), abs=1e-4)  # Student's t with 19 degrees of freedom
    assert (distance_interval({"frechet": 0.1, "frechet_error": 0.1, "groups": 20}, 0.95) or (1, 1))[0] == 0
    assert distance_interval({"frechet": 0.1, "frechet_error": None, "groups": None}, 0.95) is None
    assert distance_interval({"frechet": 0.1}, 0.95) is None, "scores that were written before"
