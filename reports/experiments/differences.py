"""Paired differences of two rows, as rows keep them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy.stats import binomtest

from reports.experiments.rows import Difference
from reports.predictions import Predictions
from reports.statistics import Comparison


def difference_of(
    comparison: Comparison,
    arm: Predictions,
    baseline: Predictions,
    words: Mapping[str, str] | None = None,
) -> Difference:
    """A row's difference from another, in points.

    Args:
        comparison: Of the two.
        arm: The row's predictions.
        baseline: The other's.
        words: Verdicts by those of an arm, where these don't fit.
    """
    interval = comparison.main
    p_value = comparison.adjusted_p_value
    return Difference(
        against=baseline.arm,
        metric=comparison.metric.replace("_", " "),
        value=round(100 * interval.value, 4),
        low=round(100 * interval.low, 4),
        high=round(100 * interval.high, 4),
        p_holm=None if np.isnan(p_value) else float(f"{p_value:.6g}"),
        verdict=(words or {}).get(comparison.cautious_verdict, comparison.cautious_verdict),
        p_mcnemar=tuple(float(f"{value:.6g}") for value in mcnemar(arm, baseline)),
    )


def mcnemar(arm: Predictions, baseline: Predictions) -> list[float]:
    """The exact McNemar test of two arms, seed by seed, over the faces that both were tested on (McNemar 1947).

    Args:
        arm: One arm.
        baseline: The other.

    Returns:
        For each seed that both have, in order, the two-sided p-value that a face which one arm alone recognizes is
        as likely of either arm; 1 where there is no such face.
    """
    key = ["fold", "seed", "face_id"]
    paired = arm.rows.merge(baseline.rows, on=key, suffixes=("", "_baseline"))
    right = paired["predicted"] == paired["label"]
    right_baseline = paired["predicted_baseline"] == paired["label_baseline"]
    values = []
    for _, rows in paired.groupby("seed").indices.items():
        gained = int((right & ~right_baseline).to_numpy()[rows].sum())
        lost = int((~right & right_baseline).to_numpy()[rows].sum())
        values.append(float(binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0)
    return values
