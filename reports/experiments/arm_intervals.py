"""How exactly the accuracy of a single arm is known, over other people and other trainings."""

from __future__ import annotations

from dataclasses import replace

from reports.predictions import Predictions
from reports.settings import BootstrapSettings
from reports.statistics import compare_arms


def accuracy_intervals(arm: Predictions, settings: BootstrapSettings) -> dict[str, tuple[float, float]]:
    """The intervals of an arm's accuracy and balanced accuracy, in per cent, by measure.

    They say where the figure of other people and trainings would lie. Two arms are tested on the same faces, so their
    difference is known better than these let one think: it has an interval of its own (`Comparison`).

    Args:
        arm: Its predictions.
        settings: Of the intervals.
    """
    # An accuracy is the paired difference from an arm that is never right.
    wrong = (arm.rows["label"] + 1) % len(arm.class_names)
    never_right = replace(arm, arm=f"{arm.arm}, never right", rows=arm.rows.assign(predicted=wrong))
    found = compare_arms(arm, never_right, settings)
    intervals = {"accuracy": found.accuracy, "balanced accuracy": found.balanced_accuracy}
    return {
        measure: (round(100 * max(interval.low, 0.0), 4), round(100 * interval.high, 4))
        for measure, interval in intervals.items()
    }
