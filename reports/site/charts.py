"""Vega-Lite specifications of the site's charts; https://vega.github.io/vega-lite/ (BSD 3-Clause) draws them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from reports.experiments.catalogue import REAL_TEST_FACES, Experiment
from reports.experiments.distances import DISTANCES
from reports.experiments.page import FiledRun, title_of
from reports.experiments.rows import ResultRow

SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"  # a name, which nothing fetches
Spec = dict[str, Any]
ROW_HEIGHT, LABEL_LIMIT = 28, 220  # pixels
CELLS = 224  # pixels of a confusion matrix, which with its names is as wide as a phone
CONFUSION = "confusion"


def charts_of(experiment: Experiment, run: FiledRun) -> list[Spec]:
    """The charts of one run, each with a `title` and a `description` for who can't see it."""
    found = [
        *(_measure(experiment, run, measure) for measure in experiment.measures),
        _differences(experiment, run),
        *_amounts(experiment, run),
        _distances(run),
        *(_confusion(name, row.classes, row.confusion, row.title) for name, row in run.rows.items() if row.confusion),
    ]
    return [chart for chart in found if chart is not None]


def _spec(title: str, description: str, values: Sequence[Mapping[str, Any]], **rest: Any) -> Spec:
    return {"$schema": SCHEMA, "title": title, "description": description, "data": {"values": values}, **rest}


def _bounds(row: ResultRow, measure: str) -> dict[str, float]:
    """A figure's interval; empty where the row has none."""
    return dict(zip(("low", "high"), row.intervals.get(measure, ()), strict=False))


def _measure(experiment: Experiment, run: FiledRun, measure: str) -> Spec | None:
    """Ours, with its interval where it has one, beside the published figure, row by row; None where ours has none."""
    published = experiment.published_values(measure)
    values: list[dict[str, Any]] = []
    for name, row in experiment.rows.items():
        ours = run.rows.get(name)
        if ours is not None and measure in ours.figures:
            figure = {"figure": round(ours.figures[measure], 3), **_bounds(ours, measure)}
            values.append({"row": row.title, "of": "ours", **figure})
        if name in published:
            values.append({"row": row.title, "figure": published[name], "of": "published"})
    if not any(value["of"] == "ours" for value in values):
        return None
    order = [row.title for row in experiment.rows.values()]
    whose = f"ours of {run.facts.data}"
    if any(value["of"] == "published" for value in values):
        whose += f", published of {experiment.published_data()}"
    position = {"type": "quantitative", "title": measure, "scale": {"zero": False}}
    # One legend for both, which takes the same domain.
    domain = [of for of in ("ours", "published") if any(value["of"] == of for value in values)]
    whose_of = {
        **{"field": "of", "type": "nominal", "title": None},
        **{"scale": {"domain": domain}, "legend": {"orient": "top"}},
    }
    interval = {
        "transform": [{"filter": "isValid(datum.low)"}],
        "mark": {"type": "rule", "strokeWidth": 3},
        "encoding": {
            "x": {"field": "low", **position},
            "x2": {"field": "high"},
            "tooltip": [{"field": field} for field in ("row", "of", "figure", "low", "high")],
        },
    }
    point = {
        "mark": {"type": "point", "filled": True, "size": 90},
        "encoding": {
            "x": {"field": "figure", **position},
            "shape": whose_of,
        },
    }
    return _spec(
        f"{measure}: {whose}",
        f"{measure} of every row; {whose}. The table of rows has the same numbers.",
        values,
        width="container",
        height=ROW_HEIGHT * len({value["row"] for value in values}),
        encoding={
            "y": {"field": "row", "type": "nominal", "sort": order, "title": None, "axis": {"labelLimit": LABEL_LIMIT}},
            "color": whose_of,
            "tooltip": [{"field": field} for field in ("row", "of", "figure")],
        },
        layer=[*([interval] if any("low" in value for value in values) else []), point],
    )


def _differences(experiment: Experiment, run: FiledRun) -> Spec | None:
    """Differences with their intervals."""
    values = [
        {
            "row": row.title,
            "difference": row.difference.value,
            "low": row.difference.low,
            "high": row.difference.high,
            "verdict": row.difference.verdict,
        }
        for row in run.rows.values()
        if row.difference
    ]
    if not values:
        return None
    first = next(row.difference for row in run.rows.values() if row.difference)
    against = title_of(experiment, first.against)
    y = {"field": "row", "type": "nominal", "sort": None, "title": None, "axis": {"labelLimit": LABEL_LIMIT}}
    x = {"type": "quantitative", "title": f"points of {first.metric} from {against}"}
    tooltip = [{"field": field} for field in ("row", "difference", "low", "high", "verdict")]
    return _spec(
        "Learning from the faces: differences with 95 % intervals",
        f"Difference of each row from {against}, in points of {first.metric}. The table of rows has the same numbers.",
        values,
        width="container",
        height=ROW_HEIGHT * len(values),
        encoding={"y": y, "tooltip": tooltip},
        layer=[
            {"mark": {"type": "rule", "strokeDash": [4, 4]}, "encoding": {"x": {"datum": 0}, "y": None}},
            {
                "mark": {"type": "rule", "strokeWidth": 3},
                "encoding": {"x": {"field": "low", **x}, "x2": {"field": "high"}},
            },
            {"mark": {"type": "point", "filled": True, "size": 80}, "encoding": {"x": {"field": "difference", **x}}},
        ],
    )


def _amounts(experiment: Experiment, run: FiledRun) -> list[Spec]:
    """Figures against the number of synthetic faces, where rows say it in their names (`lssl_500`)."""
    numbered = {}
    for name, row in run.rows.items():
        maker, _, number = name.rpartition("_")
        if maker and number.isdecimal() and "accuracy" in row.figures:
            # The title without its last part: "LSSL" of "LSSL, 500 per class".
            numbered[name] = {"translator": row.title.rpartition(", ")[0] or maker, "per class": int(number)}
    if len({place["per class"] for place in numbered.values()}) < 2:
        return []
    curves = [_accuracy_curve(run, numbered)]
    if any(run.rows[name].difference for name in numbered):
        curves.append(_difference_curve(experiment, run, numbered))
    return curves


def _accuracy_curve(run: FiledRun, numbered: Mapping[str, Mapping[str, Any]]) -> Spec:
    """Accuracy, with its interval where the row has one, and a line for every arm without synthetic faces."""
    values: list[dict[str, Any]] = []
    for name, row in run.rows.items():
        if "accuracy" not in row.figures or (name not in numbered and row.per_class is not None):
            continue
        place = numbered.get(name, {"translator": row.title})
        values.append({**place, "accuracy": row.figures["accuracy"], **_bounds(row, "accuracy")})
    position = {"type": "quantitative", "title": "accuracy", "scale": {"zero": False}}
    return _curve(
        "Accuracy against the number of synthetic faces",
        "Accuracy for each number of synthetic faces of a class; the axis of numbers is logarithmic, and dashed lines "
        "are of rows without synthetic faces. The table of rows has the same numbers.",
        values,
        figure="accuracy",
        position=position,
        beside=[
            {
                "transform": [{"filter": "!isValid(datum['per class'])"}],
                "mark": {"type": "rule", "strokeDash": [6, 4], "strokeWidth": 2},
                "encoding": {"x": None, "y": {"field": "accuracy", **position}},
            }
        ],
    )


def _difference_curve(experiment: Experiment, run: FiledRun, numbered: Mapping[str, Mapping[str, Any]]) -> Spec:
    """The same rows' differences from real faces alone, which are paired and so known better."""
    differences = {name: found for name in numbered if (found := run.rows[name].difference)}
    first = next(iter(differences.values()))
    against = title_of(experiment, first.against)
    values = [
        {
            **numbered[name],
            "difference": found.value,
            "low": found.low,
            "high": found.high,
            "verdict": found.verdict,
        }
        for name, found in differences.items()
    ]
    return _curve(
        f"Difference from {against}, against the number of synthetic faces",
        f"Difference in points of {first.metric} from {against}, for each number of synthetic faces of a class; the "
        "axis of numbers is logarithmic. The table of rows has the same numbers.",
        values,
        figure="difference",
        position={"type": "quantitative", "title": f"points of {first.metric}"},
        beside=[
            {
                "mark": {"type": "rule", "strokeDash": [4, 4]},
                "encoding": {"x": None, "y": {"datum": 0}, "color": None, "tooltip": None},
            }
        ],
    )


def _curve(
    title: str,
    description: str,
    values: Sequence[Mapping[str, Any]],
    *,
    figure: str,
    position: Mapping[str, Any],
    beside: Sequence[Mapping[str, Any]],
) -> Spec:
    """A line with points for each translator, and their intervals, over the number of faces.

    Args:
        title: Of the chart.
        description: In words.
        values: With `translator`, `figure`, and for points `per class`; some with `low` and `high`.
        figure: The field that is drawn.
        position: Of the vertical axis.
        beside: Further layers.
    """
    fields = dict.fromkeys(name for value in values for name in value)
    number = {"field": "per class", "type": "quantitative", "scale": {"type": "log"}, "title": "faces per class"}
    interval = {
        "transform": [{"filter": "isValid(datum['per class']) && isValid(datum.low)"}],
        "mark": {"type": "rule", "strokeWidth": 3, "opacity": 0.5},
        "encoding": {"x": number, "y": {"field": "low", **position}, "y2": {"field": "high"}},
    }
    line = {
        "transform": [{"filter": "isValid(datum['per class'])"}],
        "mark": {"type": "line", "point": {"size": 70}},
        "encoding": {"x": number, "y": {"field": figure, **position}},
    }
    return _spec(
        title,
        description,
        values,
        width="container",
        height=260,
        encoding={
            "color": {
                "field": "translator",
                "type": "nominal",
                "title": None,
                "legend": {"orient": "top", "columns": 1, "labelLimit": 420},
            },
            "tooltip": [{"field": field} for field in fields],
        },
        layer=[*beside, *([interval] if "low" in fields else []), line],
    )


def _distances(run: FiledRun) -> Spec | None:
    """Distances of each class's faces in the course of the trainings."""
    file = run.folder / DISTANCES
    if not file.is_file():
        return None
    table = pd.read_csv(file)
    titles = {name: row.title for name, row in run.rows.items()}
    columns = ("training", "class", "step", "distance")
    table["training"] = table["translator"].map(lambda name: titles.get(name, name))
    return _spec(
        "Distance of each class's faces from real ones, in the course of the training",
        "One panel for each class, one line for each training; smoothed.",
        [dict(zip(columns, values, strict=True)) for values in table[list(columns)].itertuples(index=False)],
        columns=3,
        facet={"field": "class", "type": "nominal", "title": None},
        spec={
            "width": 220,
            "height": 140,
            "mark": {"type": "line", "point": {"size": 18}},
            "encoding": {
                "x": {"field": "step", "type": "quantitative"},
                "y": {"field": "distance", "type": "quantitative", "scale": {"zero": False}},
                "color": {
                    "field": "training",
                    "type": "nominal",
                    "title": None,
                    "scale": {"scheme": "tableau10"},
                    "legend": {"orient": "bottom", "columns": 2, "labelLimit": 320},
                },
                "tooltip": [{"field": "training"}, {"field": "class"}, {"field": "step"}, {"field": "distance"}],
            },
        },
        resolve={"scale": {"y": "independent"}},
    )


def _confusion(name: str, classes: tuple[str, ...], counts: Any, title: str) -> Spec:
    """Translated test faces by wanted and recognized class; real ones by their own."""
    counted = np.asarray(counts)
    totals = counted.sum(axis=1)
    values = [
        {
            "wanted": wanted,
            "recognized": seen,
            "faces": int(counted[i, j]),
            "share": round(float(counted[i, j] / max(totals[i], 1)), 4),
        }
        for i, wanted in enumerate(classes)
        for j, seen in enumerate(classes)
    ]
    axis = {"type": "nominal", "sort": list(classes)}
    faces = "real" if name == REAL_TEST_FACES else "translated"
    return _spec(
        f"{title}: what is recognized in {faces} faces",
        f"Confusion matrix of {title}, by wanted and recognized class; a table below the charts has its numbers.",
        values,
        width=CELLS,
        height=CELLS,
        layer=[
            {
                "mark": "rect",
                "encoding": {
                    "color": {
                        "field": "share",
                        "type": "quantitative",
                        "scale": {"domain": [0, 1], "scheme": "blues"},
                        "title": None,
                        # Beside the cells it would be cut off on a phone.
                        "legend": {"orient": "bottom", "gradientLength": 200},
                    }
                },
            },
            # So that they can be read without a pointer, too.
            {
                "mark": {"type": "text", "fontSize": 10},
                "encoding": {
                    "text": {"field": "share", "type": "quantitative", "format": ".0%"},
                    "color": {"condition": {"test": "datum.share > 0.5", "value": "white"}, "value": "black"},
                },
            },
        ],
        encoding={
            "x": {"field": "recognized", **axis},
            "y": {"field": "wanted", **axis},
            "tooltip": [
                {"field": "wanted"},
                {"field": "recognized"},
                {"field": "faces"},
                {"field": "share", "format": ".1%"},
            ],
        },
        usermeta={"row": name, "kind": CONFUSION},
    )
