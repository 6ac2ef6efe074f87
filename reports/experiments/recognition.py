"""Recognition of rows' faces, with intervals and paired differences."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from reports.experiments.catalogue import REAL_TEST_FACES, TURNED_FACES, Experiment
from reports.experiments.differences import difference_of
from reports.experiments.rows import Difference
from reports.judged_faces import real_predictions, translation_predictions, turned_predictions
from reports.predictions import Predictions
from reports.settings import BootstrapSettings
from reports.statistics import HELPED, HURT, SEEMS, accuracy_interval, compare_with

RECOGNITION = "recognition"
OTHER_CLASSES = "recognition, other classes"
WORDS = {
    HELPED: "recognized more often",
    HURT: "recognized less often",
    SEEMS[HELPED]: "seems to be recognized more often",
    SEEMS[HURT]: "seems to be recognized less often",
}


@dataclass
class Recognition:
    """One row's faces as a judge of real faces sees them.

    Attributes:
        figures: By measure, in per cent.
        intervals: Likewise, lowest and highest.
        differences: By measure, from the best published row that was run and has the same pictures to recognize.
    """

    figures: dict[str, float] = field(default_factory=dict)
    intervals: dict[str, tuple[float, float]] = field(default_factory=dict)
    differences: dict[str, Difference] = field(default_factory=dict)


def recognition_of_rows(
    experiment: Experiment, scores: Mapping[str, Mapping[str, Any]], settings: BootstrapSettings
) -> dict[str, Recognition]:
    """The recognition of an experiment's rows that have any: translators, real test faces, and turned faces.

    Args:
        experiment: Says which rows there are, and how the paper orders them.
        scores: Translator -> its scores as written.
        settings: Of the intervals.
    """
    found: dict[str, Recognition] = {}
    for measure, judged in _predictions(experiment, scores).items():
        rows = {name: replace(predictions, arm=name) for name, predictions in judged.items()}
        for name, predictions in rows.items():
            row = found.setdefault(name, Recognition())
            interval = accuracy_interval(predictions, settings)
            row.figures[measure] = round(100 * interval.value, 4)
            row.intervals[measure] = (round(100 * interval.low, 4), round(100 * interval.high, 4))
        for name, difference in _differences(experiment, measure, rows, settings).items():
            found[name].differences[measure] = difference
    for name, row in found.items():
        changed = ((scores.get(name) or {}).get("recognition") or {}).get("accuracy_changed")
        if changed is not None:
            row.figures[OTHER_CLASSES] = round(100 * changed, 4)
    return found


def _predictions(experiment: Experiment, scores: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Predictions]]:
    """Measure -> row -> what the judge saw."""
    found: dict[str, dict[str, Predictions]] = {}
    some = next(iter(scores.values()), None)  # one judge for all translators
    for name in experiment.rows:
        if name == REAL_TEST_FACES and some is not None:
            found.setdefault(RECOGNITION, {})[name] = real_predictions(some)
        elif name in scores and (translations := translation_predictions(scores[name])) is not None:
            found.setdefault(RECOGNITION, {})[name] = translations
        for score in scores.values() if name in TURNED_FACES else [scores[name]] if name in scores else []:
            kind = name if name in TURNED_FACES else "normalized"
            for degrees, turned in turned_predictions(score, kind).items():
                found.setdefault(f"accuracy at {degrees} degrees", {})[name] = turned
    return found


def _differences(
    experiment: Experiment, measure: str, rows: Mapping[str, Predictions], settings: BootstrapSettings
) -> dict[str, Difference]:
    """Each row's difference from the best published one, over the pictures that both have."""
    if measure not in experiment.measures:
        return {}
    order = [name for group in experiment.published_groups(measure) for name in group]
    best = next((name for name in order if name in rows and name != REAL_TEST_FACES), None)
    if best is None:
        return {}
    pictures = set(rows[best].rows["face_id"])
    others = {name: row for name, row in rows.items() if name != best and pictures & set(row.rows["face_id"])}
    compared = compare_with(rows[best], others, settings, of_trainings=False)
    return {name: difference_of(comparison, rows[name], rows[best], WORDS) for name, comparison in compared.items()}
