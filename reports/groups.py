"""Results by group of test faces: whether an arm helps one group and hurts another, which a mean over all hides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from augment.core.errors import InputError, Problem
from reports.predictions import Predictions
from reports.settings import BootstrapSettings, Metric
from reports.statistics import FEW_PEOPLE, Comparison, compare_arms, holm, p_value_of, summarize_arm

UNKNOWN = "unknown"


def results_by_group(
    predictions: Mapping[str, Predictions],
    group_of: Mapping[str, str],
    baseline: str,
    settings: BootstrapSettings,
    *,
    metric: Metric = "accuracy",
    chosen_among: int = 1,
) -> pd.DataFrame:
    """Scores of each arm in each group, and differences from one arm, paired within the group.

    Args:
        predictions: By arm.
        group_of: Face -> group; faces that are not in it are in `unknown`.
        baseline: The arm that others are compared with.
        settings: Of the bootstrap.
        metric: What is compared.
        chosen_among: The number of arms of which the baseline is the best on these faces.

    Returns:
        Columns group, faces, people, arm, score, worst_class, worst_recall, difference, low, high, p_holm, verdict,
        note; scores and differences in per cent. Verdicts are adjusted for the number of arms and groups together.

    Raises:
        InputError: There is no such arm, or no test face is in any group.
    """
    if baseline not in predictions:
        raise InputError(Problem(baseline, "is no arm with predictions", f"there are {', '.join(predictions)}"))
    faces = pd.unique(pd.concat([arm.rows["face_id"] for arm in predictions.values()]))
    if not any(face in group_of for face in faces):
        raise InputError(Problem("the groups", "have no test face", "name the faces or people of this run"))
    groups = sorted({group_of.get(face, UNKNOWN) for face in faces}, key=lambda name: (name == UNKNOWN, name))
    rows: list[dict[str, Any]] = []
    compared: dict[int, Comparison] = {}  # by the row
    others = [arm for arm in predictions if arm != baseline]
    for group in groups:
        parts = {name: _of_group(arm, group_of, group) for name, arm in predictions.items()}
        for name, part in parts.items():
            if part.rows.empty:
                continue
            summary = summarize_arm(part)
            recalls = np.array(summary.recalls, float)
            worst = int(np.nanargmin(recalls))
            people = part.rows["subject"].nunique()
            row: dict[str, Any] = {
                "group": group,
                "faces": part.rows["face_id"].nunique(),
                "people": people or None,
                "arm": name,
                "score": 100 * summary.score(metric),
                "worst_class": part.class_names[worst],
                "worst_recall": 100 * float(recalls[worst]),
                "note": "few people: the interval says little" if 0 < people < FEW_PEOPLE else "",
            }
            if name != baseline and not parts[baseline].rows.empty:
                count = len(others) * len(groups)
                found = compare_arms(part, parts[baseline], settings, candidates=count, metric=metric)
                main = found.main
                row |= {"difference": 100 * main.value, "low": 100 * main.low, "high": 100 * main.high}
                compared[len(rows)] = found
            rows.append(row)
    adjusted = holm([p_value_of(found.main, chosen_among) for found in compared.values()])
    for (place, found), p_value in zip(compared.items(), adjusted, strict=True):
        survives = bool(p_value < 1 - settings.level)
        rows[place] |= {"p_holm": p_value, "verdict": replace(found, survives=survives).cautious_verdict}
    columns = ["group", "faces", "people", "arm", "score", "worst_class", "worst_recall"]
    return pd.DataFrame(rows, columns=[*columns, "difference", "low", "high", "p_holm", "verdict", "note"])


def _of_group(arm: Predictions, group_of: Mapping[str, str], group: str) -> Predictions:
    chosen = arm.rows["face_id"].map(lambda face: group_of.get(face, UNKNOWN)) == group
    return replace(arm, rows=arm.rows[chosen].reset_index(drop=True))
