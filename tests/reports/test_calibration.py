"""Differences between arms without their thresholds between classes."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.special import softmax

from reports.calibration import calibrate, compare_calibrated, fit_biases
from reports.predictions import Predictions
from reports.settings import BootstrapSettings
from reports.statistics import HELPED, HURT, UNCLEAR, compare_with, summarize_arm

NAMES = ("neutral", "happy", "sad")
PEOPLE, FACES, SEEDS = 60, 9, 3
LEANING = np.array([1.5, 0.0, -0.5])  # to neutral, as a classifier that has seen little else


def made_up(arm: str, *, signal: float, leaning: np.ndarray | float = 0.0) -> Predictions:
    """Predictions whose scores are the true class's `signal`, noise that all arms share, and a leaning."""
    rows = []
    for seed in range(SEEDS):
        noise = np.random.default_rng(1000 + seed).normal(size=(PEOPLE * FACES, len(NAMES)))
        labels = np.arange(PEOPLE * FACES) % len(NAMES)
        scores = signal * np.eye(len(NAMES))[labels] + noise + leaning
        rows += [
            {
                "fold": 0,
                "seed": seed,
                "face_id": f"face-{face:04d}",
                "subject": f"person-{face // FACES}",
                "label": int(labels[face]),
                "predicted": int(scores[face].argmax()),
                "probabilities": softmax(scores[face]),
            }
            for face in range(len(labels))
        ]
    return Predictions(arm, NAMES, pd.DataFrame(rows))


def test_biases_are_where_the_penalized_likelihood_is_flat() -> None:
    random = np.random.default_rng(0)
    scores, labels = random.normal(size=(200, 3)), random.integers(0, 3, 200)
    biases = fit_biases(scores, labels, balanced=False)
    found = softmax(scores + biases, axis=1).sum(axis=0)
    assert np.bincount(labels) - found - biases == pytest.approx(np.zeros(3), abs=1e-9)


def test_biases_of_two_classes_are_those_of_the_shares() -> None:
    """Without anything to see, the labels' shares are the most likely ones: log(3) between 3 and 1."""
    labels = np.repeat([0, 1], [30_000, 10_000])
    biases = fit_biases(np.zeros((40_000, 2)), labels, balanced=False)
    assert biases[0] - biases[1] == pytest.approx(np.log(3), abs=1e-3)
    assert fit_biases(np.zeros((40_000, 2)), labels, balanced=True) == pytest.approx([0, 0], abs=1e-6)


def test_a_class_that_never_occurs_and_scores_far_apart_leave_finite_biases() -> None:
    scores = np.array([[-16.0, 0.0, -16.0]] * 20 + [[0.0, -16.0, -16.0]] * 20)
    biases = fit_biases(scores, np.repeat([0, 1], 20), balanced=True)
    assert np.isfinite(biases).all() and np.abs(biases).max() < 16


def test_a_gain_by_thresholds_alone_is_gone_and_another_stays() -> None:
    arms = {
        "real": made_up("real", signal=1.5, leaning=LEANING),
        "thresholds": made_up("thresholds", signal=1.5),
        "better": made_up("better", signal=2.5, leaning=LEANING),
    }
    raw = compare_with(arms["real"], {name: arms[name] for name in ("thresholds", "better")}, BootstrapSettings())
    assert {name: found.verdict for name, found in raw.items()} == {"thresholds": HELPED, "better": HELPED}
    found = compare_calibrated(arms, ["real"], BootstrapSettings(), "accuracy")
    assert found.comparisons["thresholds"].verdict == UNCLEAR
    assert abs(found.comparisons["thresholds"].main.value) < 0.01 < raw["thresholds"].main.value
    assert found.comparisons["better"].verdict == HELPED
    assert found.scores["real"] == pytest.approx(found.scores["thresholds"], abs=0.01)
    assert "real" not in found.comparisons


def test_the_reference_is_the_strongest_of_real_faces_once_all_are_calibrated() -> None:
    """The arm that leans most to the frequent classes gains most by its biases: what is left is against that one."""
    arms = {
        "leaning": made_up("leaning", signal=2.2, leaning=2 * LEANING),
        "straight": made_up("straight", signal=1.5),
        "synthetic": made_up("synthetic", signal=1.9),
    }
    scores = {name: summarize_arm(arm).accuracy for name, arm in arms.items()}
    assert scores["leaning"] < scores["straight"] < scores["synthetic"]
    found = compare_calibrated(arms, ["leaning", "straight"], BootstrapSettings(), "accuracy")
    assert found.reference == "leaning" and set(found.comparisons) == {"straight", "synthetic"}
    assert found.comparisons["synthetic"].verdict == HURT
    assert {one.chosen_among for one in found.comparisons.values()} == {2}
    # Negative control: against the arm that is the strongest without biases, synthetic faces would help.
    against = compare_calibrated(arms, ["straight"], BootstrapSettings(), "accuracy")
    assert against.reference == "straight" and against.comparisons["synthetic"].verdict == HELPED
    nobody = compare_calibrated(arms, ["none"], BootstrapSettings(), "accuracy")
    assert nobody.reference is None and nobody.comparisons == {} and set(nobody.scores) == set(arms)


def test_a_persons_labels_change_nothing_of_what_is_said_of_that_person() -> None:
    """Negative control: they change what is said of others."""
    arm = made_up("real", signal=0.5, leaning=LEANING)
    before = calibrate(arm, "accuracy")
    assert before is not None
    for person in ("person-0", "person-17"):
        own = arm.rows["subject"] == person
        changed = arm.rows.assign(label=arm.rows["label"].where(~own, 0))
        after = calibrate(Predictions("real", NAMES, changed), "accuracy")
        assert after is not None
        assert after.rows["predicted"][own].equals(before.rows["predicted"][own])
    turned = arm.rows.assign(label=arm.rows["label"].where(arm.rows["label"] < 2, 0))
    other = calibrate(Predictions("real", NAMES, turned), "accuracy")
    assert other is not None and not other.rows["predicted"].equals(before.rows["predicted"])


def test_of_an_unknown_person_the_face_stands_for_itself() -> None:
    arm = made_up("real", signal=0.5, leaning=LEANING)
    alone = calibrate(Predictions("real", NAMES, arm.rows.assign(subject=None)), "balanced_accuracy")
    assert alone is not None and (alone.rows["predicted"] >= 0).all()


def test_without_probabilities_or_people_there_is_nothing_to_fit() -> None:
    arm = made_up("real", signal=0.5)
    assert calibrate(Predictions("real", NAMES, arm.rows.drop(columns="probabilities")), "accuracy") is None
    few = arm.rows[arm.rows["subject"].isin([f"person-{number}" for number in range(9)])].reset_index(drop=True)
    assert calibrate(Predictions("real", NAMES, few), "accuracy") is None
    folds = few.assign(fold=1)
    assert calibrate(Predictions("real", NAMES, pd.concat([arm.rows, folds], ignore_index=True)), "accuracy") is None
    bare = {"real": Predictions("real", NAMES, few), "other": arm}
    assert compare_calibrated(bare, ["real"], BootstrapSettings(), "accuracy").comparisons == {}
