"""Results of a run by group of its test faces: by a column of the table of faces, or by a file of the user's."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from augment.core.errors import InputError, Problem
from augment.core.files import atomic_write_text
from augment.faces.table import read_faces
from pipeline.core.stage_inputs import StageInput, check_inputs
from pipeline.core.workspace import Artifacts
from pipeline.parameters.whole import load_parameters
from pipeline.stages.refusals import refusal_in
from reports.baseline import choose_baseline
from reports.groups import results_by_group
from reports.predictions import read_all_predictions
from reports.statistics import choose_metric, summarize_arm
from reports.tables import markdown_table

COLUMNS = ("yaw", "illumination", "intensity", "source")


def group_results(root: Path, by: str, out: Path | None = None, baseline: str | None = None) -> str:
    """Says what each arm reaches in each group of test faces, and how it differs there from the baseline.

    Args:
        root: The workspace of a finished run.
        by: A column of the table of faces (yaw, illumination, intensity, source), or a CSV file with a column `group`
            beside `face_id` or `subject`.
        out: The CSV file to write; None: none.
        baseline: The arm to compare with; None: the strongest one of real faces.

    Returns:
        The table, in Markdown.

    Raises:
        InputError: The run has no arm, there is no such column, or the file can't be read or knows none of its faces.
    """
    parameters, artifacts = load_parameters(root / "params.yaml"), Artifacts(root)
    check_inputs([StageInput(artifacts.faces, "s2l prepare")])
    arms = parameters.arms.all()
    there = [name for name in arms if refusal_in(artifacts.arm(name)) is None]
    check_inputs([StageInput(artifacts.arm(name), f"s2l classify {name}") for name in there])
    paths = {name: artifacts.arm(name) / "predictions.parquet" for name in there}
    predictions = read_all_predictions(paths, split=parameters.report.split)
    metric = choose_metric(next(iter(predictions.values())), parameters.report)
    summaries = {name: summarize_arm(arm) for name, arm in predictions.items()}
    settings = {name: arm.model_dump(mode="json") for name, arm in arms.items()}
    compared = choose_baseline(settings, summaries, metric, named=baseline)
    if compared is None:
        raise InputError(Problem("the run", "has no arm of real faces", "name one: --baseline"))
    groups, bootstrap = _groups(artifacts.faces, by), parameters.report.bootstrap
    table = results_by_group(
        predictions, groups, compared.arm, bootstrap, metric=metric, chosen_among=compared.chosen_among
    )
    if out is not None:
        atomic_write_text(out, table.to_csv(index=False, float_format="%.6g", lineterminator="\n"))
    return (
        f"{metric.replace('_', ' ')} in per cent; differences from {compared.arm}\n\n{markdown_table(_shown(table))}\n"
    )


def _groups(faces: Path, by: str) -> dict[str, str]:
    """Face -> group."""
    if by in COLUMNS:
        table = read_faces(faces, columns=["face_id", by])
        rows = zip(table.column("face_id").to_pylist(), table.column(by).to_pylist(), strict=True)
        known = ((face, value) for face, value in rows if value is not None)
        found = {face: f"{by} {value:g}" if isinstance(value, float) else str(value) for face, value in known}
        if not found:
            raise InputError(Problem(by, "is unknown of all faces", f"use another of {', '.join(COLUMNS)}, or a file"))
        return found
    path = Path(by)
    if not path.is_file():
        fix = f"use {', '.join(COLUMNS)}, or a CSV file with the columns group and face_id or subject"
        raise InputError(Problem(by, "is neither a column nor a file", fix))
    try:
        given = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise InputError(Problem(by, f"can't be read as CSV: {error}", "save it as CSV, in UTF-8")) from error
    key = next((name for name in ("face_id", "subject") if name in given.columns), None)
    if key is None or "group" not in given.columns:
        why = f"has the columns {', '.join(map(str, given.columns))}"
        raise InputError(Problem(by, why, "it must have group, and face_id or subject"))
    twice = given[given.duplicated(key) & ~given.duplicated([key, "group"])]
    if len(twice):
        raise InputError(Problem(f"{by}, {key} {twice[key].iloc[0]!r}", "is in two groups", "give it one"))
    group = dict(zip(given[key], given["group"], strict=True))
    table = read_faces(faces, columns=["face_id", "subject"])
    people = zip(table.column("face_id").to_pylist(), table.column("subject").to_pylist(), strict=True)
    return {face: group[name] for face, person in people if (name := face if key == "face_id" else person) in group}


def _shown(table: pd.DataFrame) -> pd.DataFrame:
    """The table for people: differences with their interval in one column."""
    shown = table[["group", "faces", "people", "arm"]].copy()
    shown["people"] = ["" if pd.isna(count) else f"{count:.0f}" for count in table["people"]]
    shown["score"] = [f"{value:.1f}" for value in table["score"]]
    worst = zip(table["worst_class"], table["worst_recall"], strict=True)
    shown["worst class"] = [f"{name} {recall:.1f}" for name, recall in worst]
    bounds = zip(table["difference"], table["low"], table["high"], strict=True)
    shown["difference [95 % interval]"] = [
        "" if pd.isna(value) else f"{value:+.1f} [{low:+.1f}, {high:+.1f}]" for value, low, high in bounds
    ]
    shown["p (Holm)"] = ["" if pd.isna(p) else f"{p:.3f}" for p in table["p_holm"]]
    shown["verdict"] = table["verdict"].fillna("")
    if table["note"].astype(bool).any():
        shown["note"] = table["note"]
    return shown
