"""Reads and checks the files of a run for the report."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from augment.core.errors import InputError, Problem
from augment.core.json_files import read_json_object
from augment.core.precision import PrecisionChoice
from reports.baseline import SYNTHETIC_KINDS, Baseline, choose_baseline, compare_with_baseline, real_only_arms
from reports.calibration import Calibrated, compare_calibrated
from reports.cost import RunRecord
from reports.mixtures import compare_mixtures
from reports.predictions import Predictions, read_all_predictions
from reports.settings import SCORES_VERSION, Metric, ReportSettings
from reports.statistics import (
    HELPED,
    HURT,
    UNCLEAR,
    ArmSummary,
    Comparison,
    choose_metric,
    summarize_arm,
)


class Refusal(BaseModel):
    """A translator (or another part) that can't work on these faces, and why."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    reason: str


class ReportInputs(BaseModel):
    """Paths of a run's results, by name. Results missing from a mapping are omitted, and the report says so."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    data_name: str = Field(description="Name of the faces, for example `FER2013` or `embedded faces (rare)`.")
    predictions: dict[str, Path] = Field(min_length=1, description="Arm -> predictions, Parquet.")
    arms: dict[str, dict[str, Any]] = Field(description="Arm -> its settings (kind, translator, per_class ...).")
    faces_report: Path | None = Field(default=None, description="The preparation's report, JSON.")
    histories: dict[str, Path] = Field(default={}, description="Arm -> training curves, JSON lines.")
    scores: dict[str, Path] = Field(default={}, description="Translator -> scores, JSON.")
    translators: dict[str, Path] = Field(default={}, description="Translator -> folder with fold-<k>/.")
    selections: dict[str, Path] = Field(default={}, description="Translator -> folder with fold-<k>/report.json.")
    timings: dict[str, Path] = Field(
        default={}, description="Translator -> its training's times and memory by file, JSON."
    )
    precisions: dict[str, PrecisionChoice] = Field(default={}, description="Arm -> precision of its networks.")
    refused: tuple[Refusal, ...] = ()
    refused_arms: dict[str, str] = Field(default={}, description="Arm that was refused -> reason.")
    notes: tuple[str, ...] = Field(default=(), description="Further limitations to list on the page.")
    params: dict[str, Any] = Field(default={}, description="All parameters of the run.")
    environment: dict[str, str] = Field(default={}, description="Machine and versions; see `reports.environment`.")
    command: str = Field(default="", description="The command that made the run.")
    record: RunRecord | None = Field(default=None, description="Code, wall times and memory, if recorded.")


@dataclass(frozen=True)
class ReportData:
    """A run's results in memory.

    Attributes:
        inputs: The paths they were read from.
        settings: The report's settings.
        metric: What the page leads with, and what verdicts are of.
        class_names: Names of the classes.
        predictions: By arm, in the order of the arms' settings.
        summaries: By arm.
        comparisons: By arm, all but the baseline arm.
        calibrated: The same with class biases fitted on other test people.
        mixtures: By arm of two translators and arm of one of them: the difference of the first from the second.
        baseline: The baseline arm's name.
        not_run: Arms without predictions, and why.
        faces: The preparation's report; empty if there is none.
        scores: By translator.
        selections: By translator, one report per fold.
        trainings: By translator, fold 0's training.json; empty if there is none.
        logs: By translator, fold 0's log; one row per interval.
        histories: By arm, one row per evaluation on the validation faces.
    """

    inputs: ReportInputs
    settings: ReportSettings
    metric: Metric
    class_names: tuple[str, ...]
    predictions: dict[str, Predictions]
    summaries: dict[str, ArmSummary]
    comparisons: dict[str, Comparison]
    calibrated: Calibrated
    mixtures: dict[tuple[str, str], Comparison]
    baseline: str
    not_run: dict[str, str]
    faces: dict[str, Any]
    scores: dict[str, dict[str, Any]]
    selections: dict[str, list[dict[str, Any]]]
    trainings: dict[str, dict[str, Any]]
    logs: dict[str, pd.DataFrame]
    histories: dict[str, pd.DataFrame]

    def arm(self, name: str) -> Mapping[str, Any]:
        """An arm's settings; empty if it is not in params.yaml."""
        return self.inputs.arms.get(name, {})

    def selects(self, translator: str) -> bool:
        """Whether the judge selected among this translator's faces."""
        return any(report["enabled"] for report in self.selections.get(translator, []))

    def describe(self, name: str) -> str:
        """A description of an arm."""
        settings = self.arm(name)
        return describe_arm(name, settings, selection=self.selects(str(settings.get("translator"))))

    def synthetic_arms(self) -> list[str]:
        """Arms that train on real and synthetic faces together."""
        return [name for name in self.predictions if self.arm(name).get("kind") == "synthetic"]


@dataclass(frozen=True)
class Headline:
    """The report's main result: whether synthetic faces help.

    Attributes:
        arm: The best arm of real and synthetic faces; None if no such arm was run.
        reference: The arm that it is compared with: the strongest one without synthetic faces, for a fair comparison.
        comparisons: Every synthetic arm against the reference.
        calibrated: The same with class biases fitted on other test people; empty where the reference is not the
            baseline, or it can't be calibrated.
        verdict: helped, hurt, no clear difference, or empty.
        counts: Number of synthetic arms by verdict.
        survives: Whether the verdict holds when it is adjusted for the number of arms (Holm).
    """

    arm: str | None
    reference: str
    comparisons: dict[str, Comparison]
    calibrated: dict[str, Comparison]
    verdict: str
    counts: dict[str, int]
    survives: bool


def load_report_data(inputs: ReportInputs, settings: ReportSettings) -> ReportData:
    """Reads a run's results and computes the statistics.

    Raises:
        InputError: A file is missing or unreadable, the baseline arm has no predictions, or arms can't be paired.
    """
    order = [name for name in inputs.arms if name in inputs.predictions]
    order += [name for name in inputs.predictions if name not in inputs.arms]
    predictions = read_all_predictions({name: inputs.predictions[name] for name in order}, split=settings.split)
    summaries = {name: summarize_arm(arm) for name, arm in predictions.items()}
    metric = choose_metric(next(iter(predictions.values())), settings)
    baseline = _baseline(inputs, settings, summaries, metric)
    comparisons = compare_with_baseline(baseline, predictions, predictions, settings.bootstrap, metric)
    rivals = [baseline.arm] if settings.baseline_arm is not None else real_only_arms(inputs.arms, predictions)
    return ReportData(
        inputs=inputs,
        settings=settings,
        metric=metric,
        class_names=predictions[baseline.arm].class_names,
        predictions=predictions,
        summaries=summaries,
        comparisons=comparisons,
        calibrated=compare_calibrated(predictions, rivals, settings.bootstrap, metric),
        mixtures=compare_mixtures(predictions, inputs.arms, settings.bootstrap, metric=metric),
        baseline=baseline.arm,
        not_run=_not_run(inputs),
        faces=read_json_object(inputs.faces_report) if inputs.faces_report else {},
        scores={name: _read_scores(path) for name, path in inputs.scores.items()},
        selections={
            name: [read_json_object(file) for file in sorted(path.glob("fold-*/report.json"))]
            for name, path in inputs.selections.items()
        },
        trainings={
            name: read_json_object(path / "fold-0" / "training.json") | _measured(inputs.timings.get(name))
            for name, path in inputs.translators.items()
            if (path / "fold-0" / "training.json").is_file()
        },
        logs={
            name: read_json_lines(path / "fold-0" / "log.jsonl")
            for name, path in inputs.translators.items()
            if (path / "fold-0" / "log.jsonl").is_file()
        },
        histories={name: read_json_lines(path) for name, path in inputs.histories.items()},
    )


def find_headline(data: ReportData) -> Headline:
    """Compares the best synthetic arm with the strongest arm without synthetic faces.

    If the latter is not the baseline arm, the synthetic arms are compared with it separately.
    """
    strongest = choose_baseline(data.inputs.arms, data.summaries, data.metric) or Baseline(data.baseline, 1)
    reference = strongest.arm
    arms = [name for name in data.synthetic_arms() if name not in (data.baseline, reference)]
    if reference == data.baseline:
        comparisons = {name: data.comparisons[name] for name in arms}
    else:
        comparisons = compare_with_baseline(strongest, data.predictions, arms, data.settings.bootstrap, data.metric)
    counts = {word: sum(found.verdict == word for found in comparisons.values()) for word in (HELPED, HURT, UNCLEAR)}
    if not arms:
        return Headline(None, reference, comparisons, {}, "", counts, False)
    best = max(arms, key=lambda name: comparisons[name].main.value)
    verdict = comparisons[best].verdict
    return Headline(
        arm=best,
        reference=reference,
        comparisons=comparisons,
        calibrated=data.calibrated.comparisons if reference == data.baseline else {},
        verdict=verdict,
        counts=counts,
        survives=comparisons[best].survives or verdict == UNCLEAR,
    )


def describe_arm(name: str, settings: Mapping[str, Any], *, selection: bool = False) -> str:
    """A description of an arm.

    Args:
        name: Of the arm; the description of an arm without known settings.
        settings: Its settings.
        selection: Whether selection was on for its translator's faces.
    """
    kind = settings.get("kind")
    per_class = settings.get("per_class")
    amount = f"{per_class:,} per class" if isinstance(per_class, int) else "synthetic"
    makers = " and ".join(str(settings[key]) for key in ("translator", "second_translator") if settings.get(key))
    filled, share = settings.get("fill_to"), settings.get("share", 0.5)
    repeated = "rare classes repeated to balance"
    added = f"real faces + {amount} by {makers}"
    if filled is not None:
        repeated = f"classes of fewer than {filled:,} repeated up to it"
        alone = "" if share == 1 else f" ({100 * share:g} %) and by repeated ones"
        added = f"real faces, classes of fewer than {filled:,} filled up to it by {makers}{alone}"
    words = {
        "real": "real faces",
        "oversampled": f"real faces, {repeated}",
        "synthetic": added,
        "synthetic_only": f"{amount} by {makers}, no real faces",
        "hog": "real faces; HOG features, support vector machine",
        "lbp": "real faces; LBP features, support vector machine",
        "landmark_lda": "real faces; landmarks alone, linear discriminant analysis",
    }.get(str(kind), name)
    if selection and kind in SYNTHETIC_KINDS:
        words += ", selected by the judge" if settings.get("selected", True) else ", not selected"
    augmentation = settings.get("augmentation")
    if augmentation and augmentation != "none":
        words += f", {augmentation} augmentation"
    factor = settings.get("steps_factor", 1)
    if factor != 1:
        words += f", {factor:g} times the steps"
    return words


def read_json_lines(path: Path) -> pd.DataFrame:
    """Reads JSON lines; an incomplete last line of a killed run is skipped.

    Raises:
        InputError: The file is missing, or a line before the last is not JSON.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise InputError(Problem(str(path), "can't be read", "run the stage that writes it")) from error
    rows = []
    for number, line in enumerate(lines, 1):
        try:
            rows.append(json.loads(line))
        except ValueError as error:
            if number < len(lines):
                raise InputError(Problem(f"{path} line {number}", "is not JSON", "run its stage again")) from error
    return pd.DataFrame(rows)


def _baseline(
    inputs: ReportInputs, settings: ReportSettings, summaries: Mapping[str, ArmSummary], metric: Metric
) -> Baseline:
    names, named = list(inputs.predictions), settings.baseline_arm
    if named is not None and named not in names:
        raise InputError(Problem("report.baseline_arm", f"{named!r} has no predictions", f"one of {', '.join(names)}"))
    found = choose_baseline(inputs.arms, summaries, metric, named=named)
    if found is None:
        raise InputError(Problem("arms", "none is of kind real, so there is no baseline to compare with", "add `real`"))
    return found


def _not_run(inputs: ReportInputs) -> dict[str, str]:
    reasons = {refusal.name: refusal.reason for refusal in inputs.refused}
    missing = {}
    for name, arm in inputs.arms.items():
        if name in inputs.predictions:
            continue
        refused = [arm[key] for key in ("translator", "second_translator") if arm.get(key) in reasons]
        if refused:
            missing[name] = f"its translator {refused[0]} was refused"
        elif name in inputs.refused_arms:
            missing[name] = inputs.refused_arms[name]
        else:
            missing[name] = "the report was given no predictions"
    return missing


def _read_scores(path: Path) -> dict[str, Any]:
    scores = read_json_object(path)
    if scores.get("version") != SCORES_VERSION:
        why = f"is of version {scores.get('version')}, and this report reads version {SCORES_VERSION}"
        raise InputError(Problem(str(path), why, "run the stage that writes it (assess) again"))
    return scores


def _measured(timings: Path | None) -> dict[str, Any]:
    """Times and memory of fold 0's training."""
    return {} if timings is None else dict(read_json_object(timings).get("fold-0/training.json", {}))


def loss_terms(log: pd.DataFrame) -> list[str]:
    """The loss terms of a translator's log: its numeric columns except counters, rates and times."""
    other = {"step", "seconds", "images_per_second", "validation_score", "score"}
    return [
        column
        for column in log.columns
        if column not in other and "learning_rate" not in column and pd.api.types.is_numeric_dtype(log[column])
    ]
