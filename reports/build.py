"""Builds the report's folder: page, tables, figures, and the metrics and plots that DVC reads."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pandas as pd

from augment.core.files import atomic_write_bytes, atomic_write_text
from augment.core.replacing import folder_in_place
from reports.cost import record_metrics
from reports.figures import LIGHT, draw_confusions, draw_differences, draw_gallery, png_bytes, render_figures
from reports.inputs import ReportData, ReportInputs, load_report_data, loss_terms
from reports.page import render_page
from reports.settings import ReportSettings
from reports.tables import (
    accuracy_against_n,
    accuracy_table,
    class_distance_table,
    mixture_table,
    published_table,
    recall_table,
    score_table,
    write_tables,
)


def build_report(inputs: ReportInputs, settings: ReportSettings, out: Path, *, date: str = "") -> None:
    """Writes the report of a run, atomically.

    Args:
        inputs: Paths of the results.
        settings: The report's settings.
        out: The folder to write, which is replaced. It contains `index.html`, `data.json` (the faces' source and
            licence), `metrics.json` (for `dvc metrics show`), `tables/*.csv` and `*.md`, `figures/*.png`, and
            `plots/*.csv` (for `dvc plots show`: `confusion/<arm>.csv` with columns actual and predicted,
            `accuracy_against_n.csv`, `losses/<translator>.csv`, `classifiers.csv`).
        date: Printed on the page unchanged. Without it the same results give the same bytes.

    Raises:
        InputError: Results are missing or inconsistent, or `out` contains files that this tool did not write.
    """
    data = load_report_data(inputs, settings)
    with folder_in_place(out) as scratch:
        _write_report(data, scratch, date)


def report_metrics(data: ReportData) -> dict[str, Any]:
    """Metrics for `dvc metrics show`, by arm and by translator, as shares in 0..1 (distances unscaled).

    `metric` names what `difference`, `low`, `high` and `detectable` are of: accuracy or balanced accuracy.
    `run` contains the commit, wall time and memory, if they are known. What has no number, as the smallest difference
    that a design without any spread detects, is left out: NaN is not JSON.
    """
    arms: dict[str, dict[str, float]] = {}
    for name, summary in data.summaries.items():
        arms[name] = {
            "accuracy": summary.accuracy,
            "balanced_accuracy": summary.balanced_accuracy,
            "macro_f1": summary.macro_f1,
        }
        if (spread := summary.spread(data.metric)) is not None:
            arms[name]["seed_spread"] = spread
        if name in data.comparisons:
            interval = data.comparisons[name].main
            arms[name] |= {
                "difference": interval.value,
                "low": interval.low,
                "high": interval.high,
                "detectable": interval.detectable,
            }
    translators: dict[str, dict[str, float]] = {}
    for name, scores in data.scores.items():
        found: dict[str, Any] = {}
        for space in scores["distances"]:
            found[space["frechet_name"]] = space["overall"]["frechet"]
            found[space["kernel_name"]] = space["overall"]["kernel"]
        if scores["recognition"]:
            found["recognition"] = scores["recognition"]["accuracy"]
        if scores["movement"]:
            found["movement"] = scores["movement"]["mean"]
        found["judge_on_real"] = scores["judge_on_real"]["accuracy"]
        translators[name] = {key: value for key, value in found.items() if value is not None}
    metrics: dict[str, Any] = {"arms": arms}
    if translators:
        metrics["translators"] = translators
    rounded = {"metric": data.metric, **_rounded(metrics)}
    return {**rounded, "run": record_metrics(data.inputs.record)} if data.inputs.record else rounded


def _write_report(data: ReportData, folder: Path, date: str) -> None:
    tables = {
        "accuracy": accuracy_table(data),
        "recall": recall_table(data),
        "accuracy_against_n": accuracy_against_n(data),
        "published": published_table(),
    }
    if data.mixtures:
        tables["mixtures"] = mixture_table(data)
    if data.scores:
        tables |= {"scores": score_table(data), "distances": class_distance_table(data)}
    write_tables(tables, folder / "tables")
    figures = render_figures(data)
    for name, rendered in figures.items():
        atomic_write_bytes(folder / "figures" / f"{name}.png", rendered.light)
    atomic_write_bytes(folder / "figures" / "confusions.png", png_bytes(draw_confusions(data, LIGHT)))
    if data.comparisons:
        atomic_write_bytes(folder / "figures" / "differences.png", png_bytes(draw_differences(data, LIGHT)))
    for name, scores in data.scores.items():
        if gallery := scores.get("gallery"):
            mark = "" if gallery["publishable"] else "-do-not-publish"
            atomic_write_bytes(
                folder / "figures" / f"gallery-{name}{mark}.png", png_bytes(draw_gallery(gallery, LIGHT))
            )
    _write_plots(data, folder / "plots")
    facts = {key: data.faces.get(key) for key in ("source", "licence")}
    atomic_write_text(folder / "data.json", json.dumps(facts, indent=1) + "\n")
    atomic_write_text(folder / "metrics.json", json.dumps(report_metrics(data), indent=1, allow_nan=False) + "\n")
    atomic_write_text(folder / "index.html", render_page(data, date=date, figures=figures))


def _write_plots(data: ReportData, folder: Path) -> None:
    names = dict(enumerate(data.class_names))
    for arm, predictions in data.predictions.items():
        pairs = pd.DataFrame(
            {"actual": predictions.rows["label"].map(names), "predicted": predictions.rows["predicted"].map(names)}
        )
        _write_csv(folder / "confusion" / f"{arm}.csv", pairs)
    _write_csv(folder / "accuracy_against_n.csv", accuracy_against_n(data))
    for name, log in data.logs.items():
        if terms := loss_terms(log):
            _write_csv(folder / "losses" / f"{name}.csv", log[["step", *terms]])
    curves = [
        history.groupby("step", as_index=False)["accuracy"].mean().assign(arm=name)
        for name, history in data.histories.items()
        if {"step", "accuracy"} <= set(history.columns)
    ]
    if curves:
        _write_csv(folder / "classifiers.csv", pd.concat(curves, ignore_index=True)[["arm", "step", "accuracy"]])


def _write_csv(path: Path, table: pd.DataFrame) -> None:
    atomic_write_text(path, table.to_csv(index=False, float_format="%.6g", lineterminator="\n"))


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        rounded = {key: _rounded(inner) for key, inner in value.items()}
        return {key: inner for key, inner in rounded.items() if isinstance(inner, dict) or math.isfinite(inner)}
    return round(float(value), 6)
