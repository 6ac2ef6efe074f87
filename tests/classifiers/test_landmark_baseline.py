"""Linear discriminant analysis of landmarks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.covariance import ledoit_wolf

from augment.core.errors import InputError
from augment.faces.landmark_shapes import STABLE_POINTS
from augment.faces.tensors import FaceTensors
from classifiers.landmark_baseline import aligned_shapes, train_landmark_lda

CLASS_NAMES = ("low", "middle", "high")
MEAN = np.random.default_rng(7).uniform(0.35, 0.65, (68, 2))


def faces(labels: list[int] | np.ndarray, *, seed: int, noise: float = 0.004, moved: bool = True) -> FaceTensors:
    """The corner of the mouth lies as high as the class; place, size and rotation of the face vary."""
    random = np.random.default_rng(seed)
    labels = np.asarray(labels)
    points = np.repeat(MEAN[None], len(labels), axis=0)
    points[:, 48, 1] += 0.05 * labels
    points += random.normal(0, noise, points.shape)
    if moved:
        angle, size = random.uniform(-0.5, 0.5, len(labels)), random.uniform(0.7, 1.3, len(labels))
        turn = np.stack([np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)], 1).reshape(-1, 2, 2)
        points = (points - 0.5) @ turn * size[:, None, None] + 0.5 + random.uniform(-0.1, 0.1, (len(labels), 1, 2))
    return FaceTensors(
        images=torch.zeros(len(labels), 1, 8, 8, dtype=torch.uint8),
        labels=torch.from_numpy(labels.astype(np.int64)),
        landmarks=torch.from_numpy(points.astype(np.float32)),
        masks=None,
        face_ids=tuple(map(str, range(len(labels)))),
        subjects=(None,) * len(labels),
        class_names=CLASS_NAMES,
    )


EVEN = np.arange(60) % 3


def test_it_learns_the_shape_wherever_the_face_lies() -> None:
    row = train_landmark_lda(faces(EVEN, seed=0), faces(EVEN, seed=1))
    test = faces(EVEN, seed=2)
    found = row.probabilities(test)
    assert found.shape == (60, 3) and found.dtype == np.float32
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)
    assert (found.argmax(axis=1) == EVEN).mean() > 0.9 and row.validation_score > 0.9
    again = train_landmark_lda(faces(EVEN, seed=0), faces(EVEN, seed=1)).probabilities(test)
    assert np.array_equal(found, again)


def test_without_a_rule_there_is_nothing_to_learn() -> None:
    train = faces(EVEN, seed=0)
    blind = replace(train, labels=train.labels[torch.randperm(60, generator=torch.Generator().manual_seed(0))])
    found = train_landmark_lda(blind, faces(EVEN, seed=1)).probabilities(faces(EVEN, seed=2))
    assert (found.argmax(axis=1) == EVEN).mean() < 0.6


def test_shapes_are_laid_on_the_reference_by_their_stable_points() -> None:
    reference = torch.from_numpy(2 * MEAN - 1).float()
    still = aligned_shapes(faces(EVEN, seed=0, noise=0, moved=True), reference).reshape(60, 68, 2)
    assert 48 not in STABLE_POINTS
    np.testing.assert_allclose(np.delete(still, 48, axis=1), 0, atol=1e-4)  # of place, size, rotation nothing is left
    np.testing.assert_allclose(still[:, 48, 1], 2 * 0.05 * EVEN, atol=1e-4)


def test_scores_are_those_of_the_shrunk_covariance() -> None:
    """Written out: log-odds of two classes are linear in the shape, w = S^-1 (m1 - m0), with equal priors."""
    labels = np.repeat([0, 1], [30, 10])
    train, test = faces(labels, seed=0, noise=0.03), faces(labels, seed=2, noise=0.03)
    row = train_landmark_lda(train, faces(labels, seed=1))
    shapes = aligned_shapes(train, row.reference)
    means = [shapes[labels == label].mean(axis=0) for label in (0, 1)]
    covariance = np.zeros((136, 136))
    for label in (0, 1):  # each class's, shrunk on standardized coordinates, weighted by its prior
        own = shapes[labels == label]
        scale = own.std(axis=0)
        covariance += 0.5 * scale[:, None] * ledoit_wolf((own - own.mean(axis=0)) / scale)[0] * scale[None]
    weights = np.linalg.lstsq(covariance, means[1] - means[0], rcond=None)[0]
    expected = (aligned_shapes(test, row.reference) - (means[0] + means[1]) / 2) @ weights
    found = row.probabilities(test).astype(np.float64)
    inner = np.abs(expected) < 8  # beyond, float32 has no digits left
    assert inner.sum() > 20
    np.testing.assert_allclose(np.log(found[inner, 1] / found[inner, 0]), expected[inner], rtol=1e-2, atol=1e-2)
    # As frequent as in training, a class of a quarter of the faces loses log(3).
    counted = train_landmark_lda(train, faces(labels, seed=1), class_balanced=False).machine
    np.testing.assert_allclose(counted.priors_, [0.75, 0.25])


def test_classes_and_faces_that_are_missing() -> None:
    train = faces(EVEN % 2, seed=0)  # none of the third class
    row = train_landmark_lda(train, faces(EVEN, seed=1))
    test = faces(EVEN, seed=2)
    assert test.landmarks is not None
    test.landmarks[0] = torch.nan
    found = row.probabilities(test)
    assert np.isfinite(found).all() and (found[:, 2] == 0).all()
    assert (row.probabilities(replace(test, landmarks=None)) == found[0]).all()  # the mean shape's
    assert row.probabilities(test.take([])).shape == (0, 3)
    # Faces without landmarks are left out of training.
    assert train.landmarks is not None
    holes = faces(EVEN, seed=3)
    assert holes.landmarks is not None
    whole = train_landmark_lda(holes.take(range(40)), test)
    holes.landmarks[40:] = torch.nan
    assert np.array_equal(train_landmark_lda(holes, test).probabilities(test), whole.probabilities(test))


def test_what_it_cannot_be_trained_on() -> None:
    good = faces(EVEN, seed=0)
    for train in (replace(good, landmarks=None), faces([1] * 9, seed=0)):
        with pytest.raises(InputError, match=r"fewer than two classes.*landmarks=dlib"):
            train_landmark_lda(train, good)
    with pytest.raises(InputError, match="validation faces: there are none"):
        train_landmark_lda(good, good.take([]))
