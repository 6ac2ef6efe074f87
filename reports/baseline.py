"""The arm that the others are compared with: one that is named, or the strongest of real faces alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from reports.predictions import Predictions
from reports.settings import BootstrapSettings, Metric
from reports.statistics import ArmSummary, Comparison, compare_with

SYNTHETIC_KINDS = ("synthetic", "synthetic_only")
# They are given the test faces' landmarks, which no other arm sees, and which are exact in embedded faces: shown, but
# no measure of what learns from pictures.
LANDMARK_KINDS = ("landmark_lda",)


@dataclass(frozen=True)
class Baseline:
    """The arm that others are compared with.

    Attributes:
        arm: Its name.
        chosen_among: The number of arms of which it is the best on the test faces; 1 for one that was named before.
    """

    arm: str
    chosen_among: int


def real_only_arms(arms: Mapping[str, Mapping[str, Any]], names: Iterable[str]) -> list[str]:
    """Those of the arms that train without synthetic faces, and see of a test face its picture alone."""
    others = (None, *SYNTHETIC_KINDS, *LANDMARK_KINDS)
    return [name for name in names if name == "real" or arms.get(name, {}).get("kind") not in others]


def landmark_arms(arms: Mapping[str, Mapping[str, Any]], names: Iterable[str]) -> list[str]:
    """Those of the arms that are given the landmarks of a test face in place of its picture."""
    return [name for name in names if arms.get(name, {}).get("kind") in LANDMARK_KINDS]


def choose_baseline(
    arms: Mapping[str, Mapping[str, Any]],
    summaries: Mapping[str, ArmSummary],
    metric: Metric,
    *,
    named: str | None = None,
) -> Baseline | None:
    """The named arm; else, of the arms without synthetic faces, the one with the highest score, the first of equals.

    The latter is picked on the test faces, which biases the comparison against the synthetic arms: a gain is harder to
    show, and for a loss the choice is adjusted (`reports.statistics.compare_pairs`).

    Args:
        arms: Settings of each arm.
        summaries: Of the arms that were tested.
        metric: What the strongest has most of.
        named: The arm to compare with, whatever the others reach; None chooses one.

    Returns:
        None if none is named and there is none of real faces alone.
    """
    if named is not None:
        return Baseline(named, 1)
    rivals = real_only_arms(arms, summaries)
    return Baseline(max(rivals, key=lambda name: summaries[name].score(metric)), len(rivals)) if rivals else None


def compare_with_baseline(
    baseline: Baseline,
    predictions: Mapping[str, Predictions],
    names: Iterable[str],
    settings: BootstrapSettings,
    metric: Metric,
) -> dict[str, Comparison]:
    """Compares arms with the baseline.

    Args:
        baseline: What all are compared with.
        predictions: Of all arms, the baseline among them.
        names: Of the arms to compare; the baseline's own is passed over.
        settings: Of the intervals.
        metric: What verdicts are of.
    """
    others = {name: predictions[name] for name in names if name != baseline.arm}
    return compare_with(predictions[baseline.arm], others, settings, metric=metric, chosen_among=baseline.chosen_among)
