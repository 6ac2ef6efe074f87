"""What is left of a difference between arms when neither owes it to its thresholds between classes.

Where classes are unbalanced, a classifier leans to the frequent ones. More faces of the rare ones move its thresholds
back, and so does a bias added to each class's score, which needs no face that isn't there. So each classifier is given
the biases that suit it, fitted on other test people than those that it is then asked for. (Such biases are those of
Alexandari, Kundaje and Shrikumar, "Maximum Likelihood with Bias-Corrected Calibration is Hard-To-Beat at Label Shift
Adaptation", 2020.) What differs after that is in the order of the scores.

No verdict rests on it and nothing is chosen by it: the biases see labels of test faces, of other people.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy.special import log_softmax

from reports.predictions import PROBABILITIES, Predictions
from reports.settings import BootstrapSettings, Metric
from reports.statistics import FEW_PEOPLE, Comparison, compare_with, summarize_arm

PARTS = 5  # biases of each are fitted on the four others
_STEPS = 20  # of Newton's method, which needs five
_LEAST = 1e-7  # a probability that a classifier can be taken to mean


@dataclass(frozen=True)
class Calibrated:
    """Arms with class biases fitted on other test people.

    Attributes:
        scores: The metric of each arm that can be calibrated, 0..1.
        reference: The arm that the others are compared with; None where it can't be calibrated.
        comparisons: Of the others of these with it; empty where there is none.
    """

    scores: dict[str, float]
    reference: str | None
    comparisons: dict[str, Comparison]


def compare_calibrated(
    predictions: Mapping[str, Predictions], rivals: Sequence[str], settings: BootstrapSettings, metric: Metric
) -> Calibrated:
    """Compares arms with the strongest of some, each with class biases fitted on other test people.

    Which arm of real faces is the strongest may change with the biases: one that leans to the frequent classes gains
    most. So it is chosen anew among them.

    Args:
        predictions: Of all arms, by name.
        rivals: The arms of which the strongest, calibrated, is what the others are compared with.
        settings: Of the intervals.
        metric: What the biases are fitted for, and verdicts are of.
    """
    fitted = {name: found for name, arm in predictions.items() if (found := calibrate(arm, metric)) is not None}
    scores = {name: summarize_arm(arm).score(metric) for name, arm in fitted.items()}
    known = [name for name in rivals if name in scores]
    if not known:
        return Calibrated(scores, None, {})
    strongest = max(known, key=lambda name: scores[name])
    reference = fitted.pop(strongest)
    compared = compare_with(reference, fitted, settings, metric=metric, chosen_among=len(known))
    return Calibrated(scores, strongest, compared)


def calibrate(predictions: Predictions, metric: Metric) -> Predictions | None:
    """An arm's predictions with class biases fitted, for each classifier, on other test people.

    Args:
        predictions: With probabilities.
        metric: For `balanced_accuracy` each class weighs the same in the fit, else each face.

    Returns:
        The same faces with other classes; None without probabilities, or with fewer than ten people in a fold.
    """
    rows = predictions.rows
    if PROBABILITIES not in rows or _people(rows).groupby(rows["fold"]).nunique().min() < FEW_PEOPLE:
        return None
    predicted = pd.Series(-1, index=rows.index, dtype=np.int64)
    for _, cell in rows.groupby(["fold", "seed"]):
        scores = np.log(np.clip(np.stack(list(cell[PROBABILITIES])).astype(np.float64), _LEAST, None))
        labels, parts = cell["label"].to_numpy(int), _parts(_people(cell))
        for part in np.unique(parts):
            others = parts != part
            biases = fit_biases(scores[others], labels[others], balanced=metric == "balanced_accuracy")
            predicted[cell.index[~others]] = (scores[~others] + biases).argmax(axis=1)
    return replace(predictions, rows=rows.assign(predicted=predicted))


def fit_biases(scores: np.ndarray, labels: np.ndarray, *, balanced: bool) -> np.ndarray:
    """Biases of classes under which the labels are most likely, with a standard normal prior of each.

    Args:
        scores: Log-probabilities [N, K].
        labels: int [N].
        balanced: Whether each class that occurs weighs the same; else each face does.

    Returns:
        float [K].
    """
    classes = scores.shape[1]
    counts = np.bincount(labels, minlength=classes)
    weights = (len(labels) / (counts > 0).sum() / counts[labels]) if balanced else np.ones(len(labels))
    wanted = np.bincount(labels, weights=weights, minlength=classes)
    biases = np.zeros(classes)
    for _ in range(_STEPS):
        found = np.exp(log_softmax(scores + biases, axis=1))
        slope = wanted - weights @ found - biases
        weighted = weights[:, None] * found
        curve = np.diag(weighted.sum(axis=0)) - weighted.T @ found + np.eye(classes)
        step = np.linalg.solve(curve, slope)
        biases += step / max(1.0, np.abs(step).max())  # at most one in a step: far from its end Newton's overshoots
    return biases


def _people(rows: pd.DataFrame) -> pd.Series:
    """Who a face shows: its subject, and where that is unknown the face itself."""
    return rows["subject"].where(rows["subject"].notna(), rows["face_id"])


def _parts(people: pd.Series) -> np.ndarray:
    """Numbers 0..PARTS-1 [rows]: the same for all faces of a person, in every arm and for every seed."""
    codes, known = pd.factorize(people, sort=True)
    return np.random.default_rng(0).permutation(len(known))[codes] % PARTS
