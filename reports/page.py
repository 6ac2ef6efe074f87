"""The page: one self-contained file that says at once whether the synthetic faces helped, by how much, how sure."""

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

from reports.figures import RenderedFigure, render_figures, row_shares
from reports.inputs import Headline, ReportData, find_headline
from reports.preparation import data_counts, data_facts, data_shortfalls
from reports.published import published_for
from reports.statistics import HELPED, HURT, UNCLEAR, Comparison
from reports.tables import accuracy_table, format_cell, score_table, signed

TEMPLATES = Path(__file__).parent / "templates"
SIGNS = {HELPED: "▲", HURT: "▼", UNCLEAR: "◆"}
TONES = {HELPED: "helped", HURT: "hurt"}


def render_page(data: ReportData, *, date: str = "", figures: Mapping[str, RenderedFigure] | None = None) -> str:
    """The page's HTML.

    Args:
        data: A run's results.
        date: Printed as it is; nothing else on the page depends on the time.
        figures: What `reports.figures.render_figures` drew; it is drawn here where None.

    Returns:
        HTML without any reference to another file or address: styles inline, pictures as data.
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
    """Everything that the template prints."""
    headline = find_headline(data)
    baseline = data.summaries[data.baseline]
    rows = data.predictions[data.baseline].rows
    faces = rows.drop_duplicates("face_id")
    subjects = faces["subject"].nunique() if faces["subject"].notna().all() else 0
    counts_by_class = np.bincount(faces["label"], minlength=len(data.class_names))
    amount = published_for("amount:5000")
    scores = _score_rows(data)
    context: dict[str, Any] = {
        "style": Markup((TEMPLATES / "style.css").read_text(encoding="utf-8")),
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
        "baseline_accuracy": f"{100 * baseline.accuracy:.1f}",
        "level": f"{data.settings.bootstrap.level * 100:g} %",
        "resamples": f"{data.settings.bootstrap.resamples:,}",
        "chance": f"{100 / len(data.class_names):.1f}",
        "majority": f"{100 * counts_by_class.max() / counts_by_class.sum():.1f}",
        "interval_words": _interval_words(data),
        "headline": _headline_words(data, headline),
        "forest": _forest(data),
        "accuracy": _accuracy_rows(data),
        "against_n": _picture(figures.get("accuracy_against_n")),
        "published_amount": (
            f"{amount['value'].iloc[0]:.2f} % on {amount['dataset'].iloc[0]} at {amount['row'].iloc[0]}"
            if len(amount) and any(data.arm(name).get("translator") == "lssl" for name in data.predictions)
            else ""
        ),
        "recalls": _recall_rows(data),
        "confusions": [
            {
                "arm": name,
                "accuracy": f"{100 * summary.accuracy:.1f}",
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
        "params": yaml.safe_dump(data.inputs.params, sort_keys=False, allow_unicode=True) if data.inputs.params else "",
    }
    context["sections"] = [
        (anchor, name)
        for anchor, name, shown in (
            ("differences", "How much, how sure", True),
            ("arms", "All arms", True),
            ("amount", "Accuracy against n", bool(context["against_n"])),
            ("classes", "Class by class", True),
            ("galleries", "Galleries", bool(context["galleries"])),
            ("scores", "Scores", bool(context["scores"])),
            ("selection", "Selection", bool(context["selection"])),
            ("curves", "Curves", bool(context["losses"] or context["classifier_curves"])),
            ("data", "Data", True),
            ("short", "What falls short", True),
            ("configuration", "How it was made", True),
        )
        if shown
    ]
    return context


def find_shortfalls(data: ReportData, headline: Headline) -> list[str]:
    """What a reader should hold against the figures; found in the results, not written by hand."""
    found = [f"{refusal.name}: refused: {refusal.reason}" for refusal in data.inputs.refused]
    found += [f"Arm {name} was not run: {reason}." for name, reason in data.not_run.items()]
    for name in data.synthetic_arms():
        comparison = data.comparisons.get(name)
        if comparison and comparison.verdict != HELPED:
            words = "did not clearly help" if comparison.verdict == UNCLEAR else "hurt"
            found.append(f"{name} {words}: {_difference_words(comparison)}.")
    if headline.verdict == HELPED and not headline.survives:
        found.append(
            f"{headline.arm} is the best of {sum(headline.counts.values())} synthetic arms; an interval that allows "
            "for the picking reaches nought."
        )
    found += _statistical_shortfalls(data)
    found += _score_shortfalls(data)
    return found + data_shortfalls(data.faces) + list(data.inputs.notes)


def _statistical_shortfalls(data: ReportData) -> list[str]:
    found = []
    seeds = min(summary.seeds for summary in data.summaries.values())
    if seeds < 3:
        names = [name for name, summary in data.summaries.items() if summary.seeds < 3]
        found.append(
            f"Fewer than three seeds in {', '.join(names)}: "
            + ("the interval does not cover the chance of training." if seeds == 1 else "the spread is a rough one.")
        )
    comparisons = list(data.comparisons.values())
    if comparisons and not comparisons[0].by_subject and data.settings.bootstrap.by_subject:
        found.append(
            "The faces don't name their subjects: faces were drawn one by one, and the intervals are too narrow where "
            "several are of one person."
        )
    if data.settings.split != "test":
        found.append(f"These are {data.settings.split} faces, which chose the checkpoints: the figures flatter.")
    return found


def _score_shortfalls(data: ReportData) -> list[str]:
    found: dict[str, None] = {}
    for name, scores in data.scores.items():
        for item in scores["unavailable"]:
            prefix = "" if item["name"].startswith("FID") else f"{name}: "
            found[f"{prefix}{item['name']}: not available: {item['reason']}."] = None
        recognition, moved = scores["recognition"], scores["movement"]
        untranslated = scores["untranslated"]
        if untranslated["real_accuracy"] < 1.5 / len(scores["class_names"]):
            found[
                f"The judge is right on {100 * untranslated['real_accuracy']:.1f} % of real faces, little more than "
                "chance: recognition, FCD and KCD say next to nothing. Train it longer."
            ] = None
        if recognition and recognition["accuracy_changed"] is not None:
            gain = recognition["accuracy_changed"] - untranslated["accuracy_changed"]
            if gain < 0.05:
                found[
                    f"{name}: the judge sees the wanted class in {100 * recognition['accuracy_changed']:.1f} % of "
                    f"faces translated to another class, in {100 * untranslated['accuracy_changed']:.1f} % without "
                    "translation: its outputs hardly show it."
                ] = None
        if moved and moved["unmoved_share"] is not None and moved["unmoved_share"] > 0.2:
            found[f"{name}: {100 * moved['unmoved_share']:.0f} % of its outputs hardly differ from the input."] = None
        for space in scores["distances"]:
            if space["short_of_synthetic"]:
                found[
                    f"{name}: fewer synthetic faces than real ones in some class; its {space['frechet_name']} is on "
                    f"{space['overall']['n']:,} faces."
                ] = None
    return list(found)


def _headline_words(data: ReportData, headline: Headline) -> dict[str, Any]:
    if headline.arm is None:
        return {
            "arm": None,
            "verdict": "",
            "answer": "No answer: no arm of real and synthetic faces was run.",
            "sentence": "Add an arm of kind synthetic and run again.",
            "points": [],
        }
    comparison = data.comparisons[headline.arm]
    total = sum(headline.counts.values())
    # The difference is paired: with other seeds than the arm's the two accuracies need not differ by it.
    accuracy = 100 * data.summaries[headline.arm].accuracy
    base = 100 * data.summaries[data.baseline].accuracy
    answers = {
        HELPED: "Yes: the synthetic faces helped." if headline.survives else "It seems so: the best arm helped.",
        UNCLEAR: "No clear difference.",
        HURT: "No: the synthetic faces hurt.",
    }
    units = f"{comparison.clusters:,} {'subjects' if comparison.by_subject else 'faces'}"
    seeds = f"{comparison.seeds} seed{'s' if comparison.seeds != 1 else ''}"
    points = []
    if total > 1:
        tally = [f"{count} {word}" for word, count in headline.counts.items() if count]
        points.append(
            f"Of {total} arms with synthetic faces: {', '.join(tally).replace(UNCLEAR, 'without clear difference')}."
        )
        adjusted = comparison.accuracy_adjusted
        points.append(
            f"Allowing for the best of {total} having been picked, the interval is "
            f"{signed(100 * adjusted.low)} to {signed(100 * adjusted.high)}"
            + (": the verdict stands." if headline.survives else ": the verdict does not stand.")
        )
    if headline.rival and headline.against_rival:
        words = {HELPED: "better", HURT: "worse", UNCLEAR: "no clear difference"}[headline.against_rival.verdict]
        points.append(
            f"Against the best other arm without synthetic faces, {headline.rival} "
            f"({100 * data.summaries[headline.rival].accuracy:.1f} %): "
            f"{_difference_words(headline.against_rival)} – {words}."
        )
    return {
        "arm": headline.arm,
        "verdict": headline.verdict,
        "answer": answers[headline.verdict],
        "difference": signed(100 * comparison.accuracy.value),
        "low": signed(100 * comparison.accuracy.low),
        "high": signed(100 * comparison.accuracy.high),
        "accuracy": f"{accuracy:.1f}",
        "baseline_accuracy": f"{base:.1f}",
        "sentence": (
            f"Classifiers trained on {data.describe(headline.arm)} (arm {headline.arm}) were "
            f"right on {accuracy:.1f} % of real {data.settings.split} faces, those of {data.baseline} on {base:.1f} %, "
            f"over {units} and {seeds}, paired face by face."
        ),
        "points": points,
    }


def _difference_words(comparison: Comparison) -> str:
    interval = comparison.accuracy
    return f"{signed(100 * interval.value)} points [{signed(100 * interval.low)} to {signed(100 * interval.high)}]"


def _interval_words(data: ReportData) -> str:
    comparisons = list(data.comparisons.values())
    if not comparisons:
        return ""
    level = f"{data.settings.bootstrap.level * 100:g} %"
    units = "subjects" if comparisons[0].by_subject else "faces"
    drawn = f"{units} and seeds" if any(comparison.seeds_drawn for comparison in comparisons) else units
    return f"{level} paired bootstrap intervals over {drawn}: both arms see the same faces with the same seeds."


def _forest(data: ReportData) -> dict[str, Any]:
    intervals = {name: comparison.accuracy for name, comparison in data.comparisons.items()}
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
                "verdict": interval.verdict,
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


def _accuracy_rows(data: ReportData) -> list[dict[str, Any]]:
    rows = []
    for row in accuracy_table(data).to_dict("records"):
        spread = row["seed_spread"] if pd.notna(row["seed_spread"]) else row["fold_spread"]
        shown = {str(key): format_cell(str(key), value) for key, value in row.items()}
        shown["synthetic_per_class"] = f"{row['synthetic_per_class']:,}" if row["synthetic_per_class"] else ""
        shown["spread"] = "" if pd.isna(spread) else f"{spread:.1f}"
        if pd.isna(row["difference"]):
            shown["difference"] = ""
        rows.append(shown)
    return rows


def _recall_rows(data: ReportData) -> list[dict[str, Any]]:
    rows = []
    for name, summary in data.summaries.items():
        comparison = data.comparisons.get(name)
        cells = []
        for label, recall in enumerate(summary.recalls):
            cell = _heat_cell(recall)
            interval = comparison.recalls[label] if comparison else None
            cell["difference"] = signed(100 * interval.value) if interval and not np.isnan(interval.value) else ""
            cell["sure"] = bool(interval and interval.verdict != UNCLEAR)
            cells.append(cell)
        rows.append({"arm": name, "cells": cells})
    return rows


def _heat_rows(confusion: np.ndarray, names: Sequence[str]) -> list[dict[str, Any]]:
    rows = []
    for label, shares in enumerate(row_shares(confusion)):
        cells = [_heat_cell(share) for share in shares]
        for column, cell in enumerate(cells):
            classes = (["over"] if cell["over"] else []) + (["diag"] if column == label else [])
            cell["css"] = " ".join(classes)
        rows.append({"name": names[label], "cells": cells})
    return rows


def _heat_cell(share: float) -> dict[str, Any]:
    if np.isnan(share):
        return {"share": None, "over": False, "text": "–"}
    return {"share": f"{share:.3f}", "over": share > 0.66, "text": f"{100 * share:.0f}"}


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
            cells.append(
                {
                    "value": _distance_text(kind, overall[kind]),
                    "floor": _distance_text(kind, overall[f"{kind}_floor"]),
                    "n": f"{overall['n']:,}",
                }
            )
        shown = {str(key): format_cell(str(key), value) for key, value in row.items()}
        shown["real_pairs"] = "" if pd.isna(row["movement_of_real_pairs"]) else shown["movement_of_real_pairs"]
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
            f"No FID: {'; '.join(reasons)}. In its place FCD, the same distance on the features of this project's own "
            "judge: comparable within this report, with no FID anywhere."
        )
    spaces_used = [space for scores in data.scores.values() for space in scores["distances"]]
    if any(space["overall"]["small_sample"] for space in spaces_used):
        smallest = min(space["overall"]["n"] for space in spaces_used)
        warnings.append(
            f"Fewer than 2,048 faces a side (n = {smallest:,}): the Fréchet distance is biased upwards; read it "
            "against its floor, and the kernel distance beside it."
        )
    if len({space["overall"]["n"] for space in spaces_used if space["space"] == "judge"}) > 1:
        warnings.append("The translators were scored on different n: their Fréchet distances must not be compared.")
    judged = [scores["untranslated"]["real_accuracy"] for scores in data.scores.values()]
    return {
        "rows": rows,
        "columns": names,
        "warnings": warnings,
        "judge_accuracy": f"{100 * float(np.mean(judged)):.1f}" if judged else "",
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
                "distance_names": [name for space in spaces for name in (space["frechet_name"], space["kernel_name"])],
                "by_class": by_class,
            }
        )
    return found


def _selection_rows(data: ReportData) -> list[dict[str, Any]]:
    """What the judge kept of each translator's faces, summed over folds."""
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
        words.append(f"published step {training['best_step']:,}, chosen on validation faces")
    if isinstance(training.get("seconds"), (int, float)):
        words.append(f"{training['seconds']:,.0f} s")
    if training.get("device"):
        words.append(f"on {training['device']}")
    if isinstance(training.get("images_per_second"), (int, float)):
        words.append(f"{training['images_per_second']:,.0f} images/s")
    return (", ".join(words) + " (fold 0).") if words else ""


def _picture(figure: RenderedFigure | None) -> dict[str, Any] | None:
    if figure is None:
        return None
    return {
        "light": base64.b64encode(figure.light).decode(),
        "dark": base64.b64encode(figure.dark).decode(),
        "width": figure.width,
        "height": figure.height,
    }
