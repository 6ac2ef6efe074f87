"""What the site gives away of a run as CSV: numbers as numbers, a table for each kind, one value a row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from reports.experiments.catalogue import Experiment
from reports.experiments.distances import DISTANCES
from reports.experiments.page import FiledRun
from reports.experiments.rows import Difference


def tables_of(experiment: Experiment, run: FiledRun) -> dict[str, pd.DataFrame]:
    """A run's tables by file name without ending; those that would be empty are left out.

    Returns:
        `figures` (every figure, with its interval and the published one where there is one), `differences` (of what
        learns from a row's faces, in points), `recognized` (how much more of a row's faces are recognized than of
        another's, in points), `data_sets` (recognition by data set), `confusions` (translated test faces, counted) and
        `distances` (in the course of training).
    """
    tables = {
        "figures": _figures(experiment, run),
        "differences": [
            {"row": row.title, **_difference(row.difference)} for row in run.rows.values() if row.difference
        ],
        "recognized": [
            {"row": row.title, "measure": measure, **_difference(difference)}
            for row in run.rows.values()
            for measure, difference in row.recognized.items()
        ],
        "data_sets": [{"row": row.title, **found.model_dump()} for row in run.rows.values() for found in row.data_sets],
        "confusions": [
            {"row": row.title, "wanted": wanted, "recognized": seen, "faces": count}
            for row in run.rows.values()
            for wanted, counts in zip(row.classes, row.confusion or (), strict=False)
            for seen, count in zip(row.classes, counts, strict=True)
        ],
    }
    found = {name: pd.DataFrame(rows) for name, rows in tables.items() if rows}
    if (run.folder / DISTANCES).is_file():
        found["distances"] = pd.read_csv(run.folder / DISTANCES)
    return found


def _figures(experiment: Experiment, run: FiledRun) -> list[dict[str, Any]]:
    """Each row's every figure; published ones of rows that were not run, too."""
    published = {measure: experiment.published_values(measure) for measure in experiment.measures}
    datasets = experiment.published_data()
    rows: list[dict[str, Any]] = []
    for name in [*experiment.rows, *(name for name in run.rows if name not in experiment.rows)]:
        ours = run.rows.get(name)
        title = experiment.rows[name].title if name in experiment.rows else run.rows[name].title
        figures: Mapping[str, float] = ours.figures if ours else {}
        for measure in dict.fromkeys([*experiment.measures, *figures]):
            theirs = published.get(measure, {}).get(name)
            if measure not in figures and theirs is None:
                continue
            low, high = ours.intervals.get(measure, (None, None)) if ours else (None, None)
            about = {"row": title, "measure": measure, "ours": figures.get(measure), "low": low, "high": high}
            about |= {"data": run.facts.data, "published": theirs}
            rows.append(about | {"published_data": "" if theirs is None else datasets})
    return rows


def _difference(difference: Difference) -> dict[str, Any]:
    found = difference.model_dump()
    return found | {"p_mcnemar": " ".join(f"{value:.6g}" for value in found["p_mcnemar"])}
