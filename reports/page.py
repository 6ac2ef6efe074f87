"""The page: one self-contained file that shows whether the synthetic faces helped, by how much, and how surely."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from augment.core.precision import PrecisionChoice
from reports.baseline import landmark_arms, real_only_arms
from reports.colours import heat_step, heat_style
from reports.cost import record_facts, record_rows
from reports.figures import RenderedFigure, render_figures, row_shares
from reports.inputs import Headline, ReportData, find_headline
from reports.jackknife import distance_interval
from reports.papers.published import published_for
from reports.preparation import data_counts, data_facts
from reports.shortfalls import describe_sample, find_shortfalls
from reports.statistics import (
    HELPED,
    HURT,
    METRIC_ARTICLES,
    METRIC_WORDS,
    ONE_TRAINING,
    POWER,
    SEEMS,
    UNBALANCED,
    UNCLEAR,
    Comparison,
)
from reports.tables import (
    accuracy_against_n,
    accuracy_table,
    format_cell,
    format_detectable,
    format_difference,
    format_p_value,
    mixture_table,
    score_table,
    signed,
)

TEMPLATES = Path(__file__).parent / "templates"
SIGNS = {ONE_TRAINING: "◇", HELPED: "▲", HURT: "▼", UNCLEAR: "◆", SEEMS[HELPED]: "△", SEEMS[HURT]: "▽"}
TONES = {HELPED: "helped", HURT: "hurt"}


def render_page(data: ReportData, *, date: str = "", figures: Mapping[str, RenderedFigure] | None = None) -> str:
    """The page's HTML.

    Args:
        data: A run's results.
        date: Printed unchanged; nothing else on the page depends on the time.
        figures: From `reports.figures.render_figures`; None draws them here.

    Returns:
        HTML without references to other files or addresses: inline styles, images as data.
    """
    figures = render_figures(data) if figures is None else figures
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(tone=lambda verdict: TONES.get(verdict, "unclear"), sign=lambda v: SIGNS.get(v, "◆"))
    return environment.get_template("index.html.j2").render(page_context(data, figures, date=date)) + "\n"


def page_context(data: ReportData, figures: Mapping[str, RenderedFigure], *, date: str = "") -> dict[str, Any]:
    """The template's variables."""
    headline = find_headline(data)
    baseline = data.summaries[data.baseline]
    rows = data.predictions[data.baseline].rows
    faces = rows.drop_duplicates("face_id")
    subjects = faces["subject"].nunique() if faces["subject"].notna().all() else 0
    counts_by_class = np.bincount(faces["label"], minlength=len(data.class_names))
    amount = published_for("amount:5000")
    scores = _score_rows(data)
    context: dict[str, Any] = {
        "style": Markup((TEMPLATES / "style.css").read_text(encoding="utf-8") + heat_style()),
        "title": data.settings.title,
        "data_name": data.inputs.data_name,
        "date": date,
        "split": data.settings.split,
        "test_faces": f"{len(faces):,}",
        "test_subjects": f"{subjects:,}" if subjects else "",
        "test_counts": [f"{count:,}" for count in counts_by_class],
        "class_names": data.class_names,
        "folds": baseline.folds,
        "seeds": baseline.seeds,
        "baseline": data.baseline,
        "metric": data.metric,
        "metric_words": METRIC_WORDS[data.metric],
        "metric_reason": _metric_reason(data, counts_by_class),
        "baseline_score": f"{100 * baseline.score(data.metric):.1f}",
        "level": f"{data.settings.bootstrap.level * 100:g} %",
        "longer": any(data.arm(name).get("steps_factor", 1) != 1 for name in data.predictions),
        "chance": f"{100 / len(data.class_names):.1f}",
        "majority": f"{100 * counts_by_class.max() / counts_by_class.sum():.1f}",
        "intervals": _describe_intervals(data),
        "design": _design(data),
        "headline": _headline(data, headline),
        "forest": _forest(data),
        "accuracy": _accuracy_rows(data),
        "calibrated": bool(data.calibrated.comparisons),
        "mixtures": _mixture_rows(data),
        "against_n": _picture(figures.get("accuracy_against_n")),
        "single_n": _series_of_one_n(data),
        "published_amount": (
            f"Published ({amount['paper'].iloc[0]}, {amount['table'].iloc[0]}): {amount['value'].iloc[0]:.2f} % on "
            f"{amount['dataset'].iloc[0]} at {amount['row'].iloc[0]}"
            if len(amount) and any(data.arm(name).get("translator") for name in data.predictions)
            else ""
        ),
        "recalls": _recall_rows(data),
        "confusions": [
            {
                "arm": name,
                "score": f"{100 * summary.score(data.metric):.1f}",
                "rows": _heat_rows(summary.confusion, data.class_names),
            }
            for name, summary in data.summaries.items()
        ],
        "galleries": _galleries(data),
        "scores": scores["rows"],
        "score_columns": scores["columns"],
        "score_warnings": scores["warnings"],
        "judge_accuracy": scores["judge_accuracy"],
        "recognition": _recognition(data),
        "selection": _selection_rows(data),
        "losses": _losses(data, figures),
        "classifier_curves": _picture(figures.get("classifiers")),
        "counts": data_counts(data.faces),
        "data_facts": data_facts(data.faces),
        "shortfalls": find_shortfalls(data, headline),
        "command": data.inputs.command,
        "environment": list(data.inputs.environment.items()),
        "record_facts": [
            *(record_facts(data.inputs.record) if data.inputs.record else []),
            *_precision_facts(data.inputs.precisions),
        ],
        "record_rows": record_rows(data.inputs.record) if data.inputs.record else [],
        "params": yaml.safe_dump(data.inputs.params, sort_keys=False, allow_unicode=True) if data.inputs.params else "",
    }
    context["sections"] = [
        (anchor, name)
        for anchor, name, shown in (
            ("differences", "Differences", True),
            ("arms", "All arms", True),
            ("mixtures", "Two translators", bool(context["mixtures"])),
            ("amount", "Accuracy against n", bool(context["against_n"])),
            ("classes", "Classes", True),
            ("galleries", "Galleries", bool(context["galleries"])),
            ("scores", "Scores", bool(context["scores"])),
            ("selection", "Selection", bool(context["selection"])),
            ("curves", "Curves", bool(context["losses"] or context["classifier_curves"])),
            ("data", "Data", True),
            ("short", "Limitations", True),
            ("configuration", "Configuration", True),
        )
        if shown
    ]
    return context


def _metric_reason(data: ReportData, counts: np.ndarray) -> str:
    """Why the page leads with balanced accuracy; empty if it does not."""
    if data.metric == "accuracy":
        return ""
    present = counts[counts > 0]
    ratio = present.max() / present.min()
    if data.settings.metric == "auto":
        why = f"the largest class has {ratio:.1f} times as many {data.settings.split} faces as the smallest"
        return (
            f"Balanced accuracy, the mean recall of the classes, comes first, because {why} (more than {UNBALANCED:g})."
        )
    return "Balanced accuracy, the mean recall of the classes, comes first (report.metric)."


def _headline(data: ReportData, headline: Headline) -> dict[str, Any]:
    if headline.arm is None:
        return {
            "arm": None,
            "verdict": "",
            "answer": "No result: no arm of real and synthetic faces was run.",
            "sentence": "Add an arm of kind synthetic and run again.",
            "points": [],
        }
    comparison = headline.comparisons[headline.arm]
    interval = comparison.main
    # The difference is paired: it equals that of the two scores only if both arms have the same seeds.
    score = 100 * data.summaries[headline.arm].score(data.metric)
    base = 100 * data.summaries[headline.reference].score(data.metric)
    units = f"{comparison.clusters:,} {'subjects' if comparison.by_subject else 'faces'}"
    seeds = f"{comparison.seeds} seed{'s' if comparison.seeds != 1 else ''}"
    return {
        "arm": headline.arm,
        "verdict": comparison.cautious_verdict,
        "answer": _answer(headline, comparison),
        "difference": signed(100 * interval.value),
        "low": signed(100 * interval.low),
        "high": signed(100 * interval.high),
        "reference": headline.reference,
        "score": f"{score:.1f}",
        "reference_score": f"{base:.1f}",
        "sentence": (
            f"Classifiers trained on {data.describe(headline.arm)} (arm {headline.arm}) have "
            f"{METRIC_ARTICLES[data.metric]} {METRIC_WORDS[data.metric]} of {score:.1f} % on real "
            f"{data.settings.split} faces, those of {headline.reference} "
            f"{base:.1f} %, over {units} and {seeds}, paired face by face."
        ),
        "points": _headline_points(data, headline, comparison),
    }


def _answer(headline: Headline, comparison: Comparison) -> str:
    interval = comparison.main
    if comparison.trained_once:
        return "Not known: each classifier was trained once, and another training may differ by as much."
    if headline.verdict == UNCLEAR:
        if not interval.detectable > 0:
            return "No clear difference."
        return f"No clear difference; this design can detect {100 * interval.detectable:.1f} points."
    if headline.verdict == HURT:
        firm = comparison.firm and headline.survives
        return "No: the synthetic faces hurt." if firm else "Probably not: even the best arm seems to hurt."
    if not (comparison.firm and headline.survives):
        return "Probably: the best arm seems to help."
    by_verdict: dict[str, list[str]] = {}
    for name, found in headline.comparisons.items():
        by_verdict.setdefault(found.cautious_verdict, []).append(name)
    if set(by_verdict) == {HELPED}:
        return "Yes: the synthetic faces helped."
    words = {UNCLEAR: "made no clear difference", SEEMS[HELPED]: "seem to help", SEEMS[HURT]: "seem to hurt"}
    helped, *others = [
        f"those of {_listed(by_verdict[verdict])} {words.get(verdict, verdict)}"
        for verdict in (HELPED, SEEMS[HELPED], UNCLEAR, SEEMS[HURT], HURT)
        if verdict in by_verdict
    ]
    return "; ".join([f"Yes, {helped}", *others]) + "."


def _after_holm(headline: Headline, comparison: Comparison) -> str:
    """What the adjustment does to the verdict; empty where each arm was trained once, and there is none."""
    if comparison.trained_once:
        return ""
    return f": the verdict {'holds' if headline.survives else 'does not hold'}"


def _listed(names: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def _headline_points(data: ReportData, headline: Headline, comparison: Comparison) -> list[str]:
    points = []
    if design := format_detectable(comparison.main):
        design = design if comparison.verdict == UNCLEAR else f"the observed difference is {design}"
        points.append(f"{design[:1].upper()}{design[1:]}.")
    total = sum(headline.counts.values())
    if total > 1:
        tally: dict[str, int] = {}
        for found in headline.comparisons.values():
            word = {UNCLEAR: "without a clear difference"}.get(found.cautious_verdict, found.cautious_verdict)
            tally[word] = tally.get(word, 0) + 1
        tally = {word if count == 1 else word.replace("seems", "seem"): count for word, count in tally.items()}
        points.append(
            f"Of {total} arms with synthetic faces: {', '.join(f'{count} {word}' for word, count in tally.items())}."
        )
        widest = format_difference(comparison.main_adjusted, value=False)[1:-1]
        points.append(
            f"Adjusted for the number of arms (Holm), p is {format_p_value(comparison.adjusted_p_value)}"
            f"{_after_holm(headline, comparison)}. An interval that allows for picking the best of "
            f"{comparison.candidates} comparisons (Bonferroni) is {widest}."
        )
    points += _calibrated_point(data, headline, comparison)
    rivals = real_only_arms(data.inputs.arms, data.summaries)
    if len(rivals) > 1:
        points.append(
            f"{headline.reference} is the strongest of {len(rivals)} arms without synthetic faces, and so the "
            "reference."
        )
    if given := landmark_arms(data.inputs.arms, data.summaries):
        verb = "is" if len(given) == 1 else "are"
        points.append(
            f"{' and '.join(given)} {verb} given the landmarks of a test face in place of its picture (of embedded "
            "faces exact ones), and so no reference for arms that see pictures."
        )
    if headline.reference != data.baseline:
        points.append(
            f"The differences below are from {data.baseline} (report.baseline_arm), which is weaker than "
            f"{headline.reference}."
        )
    return points


def _describe_intervals(data: ReportData) -> str:
    comparisons = list(data.comparisons.values())
    if not comparisons:
        return ""
    level = f"{data.settings.bootstrap.level * 100:g} %"
    units = "subjects" if comparisons[0].by_subject else "faces"
    drawn = f"{units} and seeds" if any(comparison.seeds_drawn for comparison in comparisons) else units
    return f"{level} paired intervals over {drawn}: both arms are tested on the same faces with the same seeds."


def _design(data: ReportData) -> dict[str, str]:
    """The sizes and the power of the comparisons."""
    comparisons = list(data.comparisons.values())
    if not comparisons:
        return {}
    units = "subjects" if comparisons[0].by_subject else "faces"
    numbers = {
        units: max(comparison.clusters for comparison in comparisons),
        "seeds": max(comparison.seeds for comparison in comparisons),
        "folds": data.summaries[data.baseline].folds,
    }
    # The singular for 1: "1 seed".
    sizes = [f"{number:,} {name if number != 1 else name[:-1]}" for name, number in numbers.items()]
    return {"sizes": ", ".join(sizes), "power": f"{100 * POWER:.0f} %"}


def _series_of_one_n(data: ReportData) -> str:
    """Whether `all`, `some` or no series of accuracy against n has only one n, so that no line is drawn."""
    table = accuracy_against_n(data)
    single = (table[table["n"] > 0].groupby("series").size() == 1).tolist()
    return "all" if single and all(single) else "some" if any(single) else ""


def _forest(data: ReportData) -> dict[str, Any]:
    intervals = {name: comparison.main for name, comparison in data.comparisons.items()}
    low = 100 * min([0.0, *(interval.low for interval in intervals.values())])
    high = 100 * max([0.0, *(interval.high for interval in intervals.values())])
    margin = max(0.04 * (high - low), 0.2)
    low, high = low - margin, high + margin

    def place(points: float) -> float:
        return round(100 * (points - low) / (high - low), 2)

    step = next(step for step in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50) if (high - low) / step <= 7)
    ticks = np.arange(np.ceil(low / step), np.floor(high / step) + 1) * step
    return {
        "zero": place(0),
        "ticks": [{"at": place(tick), "text": _tick_text(tick)} for tick in ticks],
        "rows": [
            {
                "arm": name,
                "training": data.describe(name),
                "verdict": data.comparisons[name].cautious_verdict,
                "detectable": f"{100 * interval.detectable:.1f}" if interval.detectable > 0 else "",
                "left": place(100 * interval.low),
                "width": round(place(100 * interval.high) - place(100 * interval.low), 2),
                "at": place(100 * interval.value),
                "difference": signed(100 * interval.value),
                "low": signed(100 * interval.low),
                "high": signed(100 * interval.high),
            }
            for name, interval in intervals.items()
        ],
    }


def _tick_text(points: float) -> str:
    text = "0" if abs(points) < 1e-9 else f"{points:+g}"
    return text.replace("-", "\N{MINUS SIGN}")


def _calibrated_point(data: ReportData, headline: Headline, comparison: Comparison) -> list[str]:
    """What is left of the difference without thresholds between classes."""
    calibrated = headline.calibrated.get(str(headline.arm))
    if calibrated is None:
        return []
    reference = str(data.calibrated.reference)
    base = data.calibrated.scores[reference]
    words = "as before" if calibrated.cautious_verdict == comparison.cautious_verdict else calibrated.cautious_verdict
    return [
        "Part of a difference may be thresholds between classes, which need no synthetic faces. With class biases "
        f"fitted on other test people for all, {reference} has {100 * base:.1f} %"
        f"{'' if reference == headline.reference else ', the most of real faces then'}, and "
        f"{headline.arm} differs from it by {format_difference(calibrated.main)}: {words}."
    ]


def _accuracy_rows(data: ReportData) -> list[dict[str, Any]]:
    rows = []
    for row in accuracy_table(data).to_dict("records"):
        # Folds differ in their faces, so their spread is of accuracy alone.
        spread = row["seed_spread"] if pd.notna(row["seed_spread"]) else row["fold_spread"]
        balanced_spread = row["balanced_seed_spread"]
        shown = {str(key): format_cell(str(key), value) for key, value in row.items()}
        per_class = row["synthetic_per_class"]
        shown["synthetic_per_class"] = "" if pd.isna(per_class) or not per_class else f"{per_class:,}"
        shown["spread"] = "" if pd.isna(spread) else f"{spread:.1f}"
        shown["balanced_spread"] = "" if pd.isna(balanced_spread) else f"{balanced_spread:.1f}"
        if pd.isna(row["difference"]):
            shown["difference"] = ""
        shown["detectable"] = "" if pd.isna(row["detectable"]) else f"{row['detectable']:.1f}"
        rows.append(shown)
    return rows


def _mixture_rows(data: ReportData) -> list[dict[str, str]]:
    return [
        {str(key): format_cell(str(key), value) for key, value in row.items()}
        for row in mixture_table(data).to_dict("records")
    ]


def _recall_rows(data: ReportData) -> list[dict[str, Any]]:
    rows = []
    for name, summary in data.summaries.items():
        comparison = data.comparisons.get(name)
        cells = []
        for label, recall in enumerate(summary.recalls):
            cell = _heat_cell(recall)
            interval = comparison.recalls[label] if comparison else None
            cell["difference"] = signed(100 * interval.value) if interval and not np.isnan(interval.value) else ""
            cell["css"] = cell["heat"]
            cell["clear"] = bool(interval and interval.verdict != UNCLEAR)
            cells.append(cell)
        rows.append({"arm": name, "cells": cells})
    return rows


def _heat_rows(confusion: np.ndarray, names: Sequence[str]) -> list[dict[str, Any]]:
    rows = []
    for label, shares in enumerate(row_shares(confusion)):
        cells = [_heat_cell(share) for share in shares]
        for column, cell in enumerate(cells):
            cell["css"] = f"{cell['heat']} diag".strip() if column == label else cell["heat"]
        rows.append({"name": names[label], "cells": cells})
    return rows


def _heat_cell(share: float) -> dict[str, Any]:
    if np.isnan(share):
        return {"heat": "", "text": "–"}
    return {"heat": f"h{heat_step(share)}", "text": f"{100 * share:.0f}"}


def _score_rows(data: ReportData) -> dict[str, Any]:
    table = score_table(data).to_dict("records")
    names = list(
        dict.fromkeys(
            column
            for scores in data.scores.values()
            for space in scores["distances"]
            for column in (space["frechet_name"], space["kernel_name"])
        )
    )
    rows = []
    for row, scores in zip(table, data.scores.values(), strict=True):
        cells: list[dict[str, str] | None] = []
        spaces = {space["frechet_name"]: space for space in scores["distances"]}
        spaces |= {space["kernel_name"]: space for space in scores["distances"]}
        for name in names:
            space = spaces.get(name)
            if space is None:
                cells.append(None)
                continue
            overall = space["overall"]
            kind = "frechet" if name == space["frechet_name"] else "kernel"
            known = distance_interval(overall, data.settings.bootstrap.level) if kind == "frechet" else None
            cells.append(
                {
                    "value": _distance_text(kind, overall[kind]),
                    "interval": " to ".join(_distance_text(kind, bound) for bound in known) if known else "",
                    "floor": _distance_text(kind, overall[f"{kind}_floor"]),
                    "n": f"{overall['n']:,}" + (f" of {space['of']:,}" if space["of"] > overall["n"] else ""),
                }
            )
        shown = {str(key): format_cell(str(key), value) for key, value in row.items()}
        pairs = (
            f"{shown['movement_of_real_pairs']} ({scores['movement']['real_pairs_n']:,})" if scores["movement"] else ""
        )
        shown["real_pairs"] = "" if pd.isna(row["movement_of_real_pairs"]) else pairs
        shown["sample"] = describe_sample(scores)
        rows.append({**shown, "distances": cells})
    warnings = []
    if data.scores and "FID" not in names:
        reasons = sorted(
            {
                item["reason"]
                for scores in data.scores.values()
                for item in scores["unavailable"]
                if item["name"].startswith("FID")
            }
        )
        warnings.append(
            f"No FID: {'; '.join(reasons)}. FCD is shown instead, the same distance on the features of the "
            "judge: it is comparable within this report, and with no FID."
        )
    if any(
        (scores.get("inception_precision") or {}).get("used", "float32") != "float32" for scores in data.scores.values()
    ):
        warnings.append(
            "Inception's features were computed in bfloat16 (scores.inception_precision), which moves FID a little."
        )
    spaces_used = [space for scores in data.scores.values() for space in scores["distances"]]
    if any(space["overall"]["small_sample"] for space in spaces_used):
        smallest = min(space["overall"]["n"] for space in spaces_used)
        warnings.append(
            f"Fewer than 2,048 faces per set (n = {smallest:,}): the Fréchet distance is biased upwards; "
            "compare it with its floor, and use the kernel distance."
        )
    if len({space["overall"]["n"] for space in spaces_used if space["space"] == "judge"}) > 1:
        warnings.append("The translators were scored on different n: their Fréchet distances must not be compared.")
    # All translators have the same judge and test faces.
    judge = next((scores["judge_on_real"] for scores in data.scores.values()), None)
    return {
        "rows": rows,
        "columns": names,
        "warnings": warnings,
        "judge_accuracy": f"{100 * judge['accuracy']:.1f} % on all {judge['n']:,} real test faces" if judge else "",
    }


def _distance_text(kind: str, value: float | None) -> str:
    if value is None:
        return "–"
    text = f"{1000 * value:.2f}" if kind == "kernel" else f"{value:.2f}"
    return text.replace("-", "\N{MINUS SIGN}")


def _recognition(data: ReportData) -> list[dict[str, Any]]:
    found = []
    for name, scores in data.scores.items():
        confusion = scores["recognition"]["confusion"] if scores["recognition"] else None
        spaces = scores["distances"]
        by_class = []
        for class_name in scores["class_names"]:
            cells = []
            for space in spaces:
                values = space["per_class"][class_name]
                for kind in ("frechet", "kernel"):
                    text = _distance_text(kind, values[kind])
                    cells.append(f"{text} ({_distance_text(kind, values[f'{kind}_floor'])})")
            by_class.append({"name": class_name, "n": spaces[0]["per_class"][class_name]["n"], "cells": cells})
        found.append(
            {
                "name": name,
                "rows": _heat_rows(np.array(confusion), scores["class_names"]) if confusion else [],
                "sample": describe_sample(scores),
                "distance_names": [name for space in spaces for name in (space["frechet_name"], space["kernel_name"])],
                "by_class": by_class,
            }
        )
    return found


def _selection_rows(data: ReportData) -> list[dict[str, Any]]:
    """The selection of each translator's faces, summed over folds."""
    rows = []
    for name, reports in data.selections.items():
        faces = {label: sum(report["faces"].get(label, 0) for report in reports) for label in data.class_names}
        kept = {label: sum(report["kept"].get(label, 0) for report in reports) for label in data.class_names}
        reasons: dict[str, int] = {}
        for report in reports:
            for by_reason in report["rejected"].values():
                for reason, count in by_reason.items():
                    reasons[reason] = reasons.get(reason, 0) + count
        agreement = [value for report in reports for value in report["agreement"].values()]
        rows.append(
            {
                "name": name,
                "enabled": any(report["enabled"] for report in reports),
                "faces": f"{sum(faces.values()):,}",
                "kept": f"{sum(kept.values()):,}",
                "cells": [f"{100 * kept[c] / faces[c]:.0f}" if faces[c] else "–" for c in data.class_names],
                "reasons": ", ".join(f"{reason} {count:,}" for reason, count in reasons.items() if count) or "–",
                "agreement": f"{100 * float(np.mean(agreement)):.1f}" if agreement else "–",
            }
        )
    return rows


def _galleries(data: ReportData) -> list[dict[str, Any]]:
    found = []
    for name, scores in data.scores.items():
        gallery = scores.get("gallery")
        if gallery:
            found.append({"name": name, **gallery, "sources": ", ".join(gallery["sources"])})
    return found


def _losses(data: ReportData, figures: Mapping[str, RenderedFigure]) -> list[dict[str, Any]]:
    found = []
    for name in data.inputs.translators:
        training = data.trainings.get(name, {})
        image = _picture(figures.get(f"losses-{name}"))
        facts = _training_facts(training)
        if image or facts:
            found.append({"name": name, "image": image, "facts": facts})
    return found


def _training_facts(training: Mapping[str, Any]) -> str:
    words = []
    if training.get("steps"):
        words.append(f"{training['steps']:,} steps")
    if training.get("best_step"):
        words.append(f"checkpoint of step {training['best_step']:,}, chosen on validation faces")
    if isinstance(training.get("seconds"), (int, float)):
        words.append(f"{training['seconds']:,.0f} s")
    if training.get("device"):
        words.append(f"on {training['device']}")
    if precision := training.get("precision"):
        # The measured speed lies with the other measurements, by its dotted name.
        measured = {"bfloat16_speed": training.get("precision.bfloat16_speed", precision.get("bfloat16_speed"))}
        words.append(f"in {PrecisionChoice.model_validate({**precision, **measured}).sentence}")
    if isinstance(training.get("images_per_second"), (int, float)):
        words.append(f"{training['images_per_second']:,.0f} images/s")
    return (", ".join(words) + " (fold 0).") if words else ""


def _precision_facts(precisions: Mapping[str, PrecisionChoice]) -> list[tuple[str, str]]:
    """The precision of the classifiers: one sentence where all arms have the same."""
    arms: dict[str, list[str]] = {}
    for arm, choice in precisions.items():
        arms.setdefault(choice.sentence, []).append(arm)
    if len(arms) < 2:
        return [("precision of the classifiers", sentence) for sentence in arms]
    shown = "; ".join(f"{', '.join(names)}: {sentence}" for sentence, names in arms.items())
    return [("precision of the classifiers", shown)]


def _picture(figure: RenderedFigure | None) -> dict[str, Any] | None:
    if figure is None:
        return None
    return {
        "light": base64.b64encode(figure.light).decode(),
        "dark": base64.b64encode(figure.dark).decode(),
        "width": figure.width,
        "height": figure.height,
    }
