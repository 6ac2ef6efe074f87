"""Makes the rows of an experiment from a run's predictions and scores."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sklearn.metrics import confusion_matrix

from augment.core.files import atomic_write_bytes
from augment.core.json_files import read_json_object
from reports.baseline import choose_baseline, compare_with_baseline
from reports.experiments.arm_intervals import accuracy_intervals
from reports.experiments.catalogue import REAL_TEST_FACES, Experiment
from reports.experiments.differences import difference_of
from reports.experiments.distances import distance_figures, read_distances
from reports.experiments.recognition import Recognition, recognition_of_rows
from reports.experiments.rows import SHEETS, Difference, Gallery, ResultRow, RunFacts
from reports.jackknife import distance_interval
from reports.judged_faces import real_predictions
from reports.predictions import Predictions, read_all_predictions
from reports.settings import ReportSettings
from reports.statistics import choose_metric, summarize_arm


@dataclass(frozen=True)
class RunResults:
    """Where a run's results lie.

    Attributes:
        predictions: Arm -> its Parquet file.
        scores: Translator -> its JSON file.
        refused: Arm or translator -> why it was not run.
        arms: Arm -> its settings.
        settings: Of the report.
        distances: Translator -> its distances in the course of training, a file that may be absent.
    """

    predictions: Mapping[str, Path]
    scores: Mapping[str, Path]
    refused: Mapping[str, str]
    arms: Mapping[str, Mapping[str, Any]]
    settings: ReportSettings
    distances: Mapping[str, Path] = field(default_factory=dict)


@dataclass(frozen=True)
class _ArmFigures:
    """What learning from a row's faces gives: figures and their intervals by measure, and what else the row says."""

    figures: dict[str, float] = field(default_factory=dict)
    intervals: dict[str, tuple[float, float]] = field(default_factory=dict)
    about: dict[str, Any] = field(default_factory=dict)


def rows_of_run(experiment: Experiment, results: RunResults, run: RunFacts) -> list[ResultRow]:
    """The rows of an experiment that a run has results for, in the experiment's order.

    Raises:
        InputError: Results are missing or can't be paired.
    """
    scores = {name: read_json_object(path) for name, path in results.scores.items()}
    found = read_all_predictions(dict(results.predictions), split=results.settings.split) if results.predictions else {}
    arms = _arm_figures(experiment, found, results)
    recognized = recognition_of_rows(experiment, scores, results.settings.bootstrap)
    trainings = distance_figures(read_distances(results.distances))
    rows = []
    for name, row in experiment.rows.items():
        about: dict[str, Any] = {"experiment": experiment.name, "row": name, "title": row.title, "run": run}
        recognition = recognized.get(name, Recognition())
        arm = arms.get(name, _ArmFigures())
        figures = {**arm.figures, **recognition.figures, **_distances(name, scores)}
        figures |= {key: round(value, 4) for key, value in trainings.get(name, {}).items()}
        intervals = {**arm.intervals, **recognition.intervals, **_distance_intervals(name, scores, results.settings)}
        about |= {"intervals": intervals, "recognized": recognition.differences}
        if figures:
            about |= _confusion(name, scores)
            about["data_sets"] = [
                {**found_of, "accuracy": round(100 * found_of["accuracy"], 4)}
                for found_of in (scores.get(name) or {}).get("recognition_of_data_sets", ())
                if found_of["accuracy"] is not None
            ]
            about |= {"gallery": _gallery(name, scores), "per_class": results.arms.get(name, {}).get("per_class")}
            rows.append(ResultRow(**about, figures=figures, **arm.about))
        elif name in results.refused:
            rows.append(ResultRow(**about, figures={}, refused=results.refused[name]))
    return rows


def write_sheets(rows: Sequence[ResultRow], results: RunResults, folder: Path) -> None:
    """Writes the galleries of rows that have one to `sheets/` below a folder."""
    for row in rows:
        if row.gallery is not None:
            png = base64.b64decode(read_json_object(results.scores[row.row])["gallery"]["png"])
            atomic_write_bytes(folder / SHEETS / row.gallery.file, png)


def _confusion(name: str, scores: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """What the judge recognizes in a row's faces, counted; empty where it saw none of them."""
    if name == REAL_TEST_FACES and scores:
        score = next(iter(scores.values()))  # one judge for all translators
        classes, rows = score["class_names"], real_predictions(score).rows
        counts = confusion_matrix(rows["label"], rows["predicted"], labels=range(len(classes)))
        return {"classes": classes, "confusion": counts.tolist()}
    confusion = ((scores.get(name) or {}).get("recognition") or {}).get("confusion")
    return {} if confusion is None else {"classes": scores[name]["class_names"], "confusion": confusion}


def _gallery(name: str, scores: Mapping[str, Mapping[str, Any]]) -> Gallery | None:
    sheet = (scores.get(name) or {}).get("gallery")
    if not sheet or not sheet["publishable"]:
        return None
    return Gallery(file=f"{name}.png", columns=sheet["columns"], row_labels=sheet["row_labels"], size=sheet["size"])


def _arm_figures(
    experiment: Experiment, predictions: Mapping[str, Predictions], results: RunResults
) -> dict[str, _ArmFigures]:
    """Arm -> its figures; empty without predictions."""
    if not predictions:
        return {}
    settings = results.settings
    summaries = {name: summarize_arm(arm) for name, arm in predictions.items()}
    metric = choose_metric(next(iter(predictions.values())), settings)
    baseline = choose_baseline(results.arms, summaries, metric, named=experiment.compared_with)
    rows = {name: arm for name, arm in predictions.items() if name in experiment.rows}
    differences: dict[str, Difference] = {}
    if baseline is not None and baseline.arm in predictions:
        compared = compare_with_baseline(baseline, predictions, rows, settings.bootstrap, metric)
        differences = {
            name: difference_of(comparison, predictions[name], predictions[baseline.arm])
            for name, comparison in compared.items()
        }
    found = {}
    for name in rows:
        summary = summaries[name]
        spread = summary.spread(metric)
        values = {
            "accuracy": 100 * summary.accuracy,
            "balanced accuracy": 100 * summary.balanced_accuracy,
            "macro F1": 100 * summary.macro_f1,
            **({} if spread is None else {"seed spread": 100 * spread}),
        }
        faces = int(predictions[name].rows["face_id"].nunique())
        about = {"difference": differences.get(name), "folds": summary.folds, "test_faces": faces}
        figures = {key: round(value, 4) for key, value in values.items()}
        found[name] = _ArmFigures(figures, accuracy_intervals(predictions[name], settings.bootstrap), about)
    return found


def _distance_intervals(
    name: str, scores: Mapping[str, Mapping[str, Any]], settings: ReportSettings
) -> dict[str, tuple[float, float]]:
    """The intervals of a translator's distances, where their errors are known."""
    found = {}
    for space in (scores.get(name) or {"distances": []})["distances"]:
        interval = distance_interval(space["overall"], settings.bootstrap.level)
        if interval is not None:
            found[space["frechet_name"]] = (round(interval[0], 4), round(interval[1], 4))
    return found


def _distances(name: str, scores: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """A translator's distances to real faces."""
    found: dict[str, float | None] = {}
    score = scores.get(name) or {"distances": []}
    for space in score["distances"]:
        for part, distances in [
            ("", space["overall"]),
            *((f" {c}", space["per_class"][c]) for c in score["class_names"]),
        ]:
            found[f"{space['frechet_name']}{part}"] = distances["frechet"]
        found[f"{space['frechet_name']} floor"] = space["overall"]["frechet_floor"]
    return {key: round(value, 4) for key, value in found.items() if value is not None}
