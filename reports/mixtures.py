"""Arms of two translators' faces against arms of one of the two: is the second one worth its training?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reports.predictions import Predictions
from reports.settings import BootstrapSettings, Metric
from reports.statistics import Comparison, compare_pairs

_TRANSLATORS = ("translator", "second_translator")


def mixtures_and_parts(arms: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Each arm of two translators, with each arm of one of them that is trained alike otherwise.

    Args:
        arms: The arms' settings, by name.
    """

    def trained(name: str) -> dict[str, Any]:
        return {key: value for key, value in arms[name].items() if key not in _TRANSLATORS}

    return [
        (mixture, part)
        for mixture, settings in arms.items()
        if settings.get("second_translator") is not None
        for part, other in arms.items()
        if other.get("second_translator") is None
        and other.get("translator") in {settings[key] for key in _TRANSLATORS}
        and trained(part) == trained(mixture)
    ]


def compare_mixtures(
    predictions: Mapping[str, Predictions],
    arms: Mapping[str, Mapping[str, Any]],
    settings: BootstrapSettings,
    *,
    metric: Metric = "accuracy",
) -> dict[tuple[str, str], Comparison]:
    """The paired difference of each mixture from each of its parts, with verdicts adjusted for their number (Holm).

    Args:
        predictions: Of the arms that were run.
        arms: The arms' settings.
        settings: Of the bootstrap.
        metric: What verdicts are of.
    """
    pairs = {
        (mixture, part): (predictions[mixture], predictions[part])
        for mixture, part in mixtures_and_parts(arms)
        if mixture in predictions and part in predictions
    }
    return compare_pairs(pairs, settings, metric=metric)
