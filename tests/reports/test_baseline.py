"""Which arm is compared with, and of how many it is the best."""

from __future__ import annotations

import numpy as np

from reports.baseline import Baseline, choose_baseline
from reports.statistics import ArmSummary

ARMS = {
    "real": {"kind": "real"},
    "oversampled": {"kind": "oversampled"},
    "warp": {"kind": "synthetic"},
    "warp_only": {"kind": "synthetic_only"},
    "landmarks": {"kind": "landmark_lda"},
    "hog": {"kind": "hog"},
}


def summary(name: str, accuracy: float, balanced: float) -> ArmSummary:
    return ArmSummary(name, 1, 1, 1, accuracy, None, None, balanced, None, balanced, None, (), np.zeros((2, 2)))


SUMMARIES = {
    name: summary(name, accuracy, balanced)
    for name, accuracy, balanced in (
        ("warp", 0.9, 0.9),
        ("landmarks", 0.8, 0.8),
        ("warp_only", 0.8, 0.8),
        ("real", 0.6, 0.4),
        ("oversampled", 0.5, 0.5),
        ("hog", 0.6, 0.3),
    )
}


def test_the_strongest_of_real_faces_alone_is_chosen_by_the_metric_and_counted_among_its_rivals() -> None:
    assert choose_baseline(ARMS, SUMMARIES, "accuracy") == Baseline("real", 3)  # the first of equals
    assert choose_baseline(ARMS, SUMMARIES, "balanced_accuracy") == Baseline("oversampled", 3)


def test_one_that_is_named_was_not_chosen_on_the_test_faces() -> None:
    for name in ("hog", "warp"):
        assert choose_baseline(ARMS, SUMMARIES, "accuracy", named=name) == Baseline(name, 1)


def test_synthetic_faces_and_landmarks_alone_leave_nothing_to_compare_with() -> None:
    others = {name: SUMMARIES[name] for name in ("warp", "warp_only", "landmarks")}
    assert choose_baseline(ARMS, others, "accuracy") is None
    assert choose_baseline({}, {"unknown": SUMMARIES["hog"]}, "accuracy") is None  # nobody knows what it learned from
