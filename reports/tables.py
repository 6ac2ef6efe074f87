"""The report's tables, as data frames, CSV and Markdown. Percentages throughout; differences in points."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from augment.core.files import atomic_write_text
from reports.inputs import ReportData
from reports.jackknife import distance_interval
from reports.judged_faces import translation_predictions
from reports.papers.published import describe_published, published_for
from reports.statistics import (
    POWER,
    UNCLEAR,
    ArmSummary,
    Comparison,
    Interval,
    accuracy_interval,
    holm,
    p_value_of,
)

# Differences in points, and the ends of their intervals.
_SIGNED = {"low", "high", "calibrated_difference", "calibrated_low", "calibrated_high"} | {
    f"{prefix}difference{end}" for prefix in ("", "accuracy_", "balanced_") for end in ("", "_low", "_high")
}


def accuracy_table(data: ReportData) -> pd.DataFrame:
    """One row per arm: its training set, results, the paired difference, and published results.

    `difference`, `low`, `high`, `p_holm` and `verdict` are of the metric that the report leads with, named in `metric`.
    `synthetic_per_class` is empty where classes were filled up, each by another number.
    `detectable` is the smallest difference that the design detects (`reports.statistics.detectable_difference`);
    `p_holm` is the p-value of the difference, adjusted for the number of arms (`reports.statistics.holm`).
    `calibrated` and what follows are the same with class biases fitted on other test people (`reports.calibration`),
    from `calibrated_reference`, the strongest arm of real faces then.
    """
    rows = []
    for name, summary in data.summaries.items():
        settings = data.arm(name)
        row: dict[str, Any] = {
            "arm": name,
            "training": data.describe(name),
            "synthetic_per_class": None if settings.get("fill_to") else settings.get("per_class") or 0,
            "runs": summary.runs,
            "test_faces": data.predictions[name].rows["face_id"].nunique(),
            "accuracy": _percent(summary.accuracy),
            "seed_spread": _percent(summary.accuracy_seed_spread),
            "fold_spread": _percent(summary.accuracy_fold_spread),
            "balanced_accuracy": _percent(summary.balanced_accuracy),
            "balanced_seed_spread": _percent(summary.balanced_accuracy_seed_spread),
            "macro_f1": _percent(summary.macro_f1),
        }
        comparison = data.comparisons.get(name)
        row |= {
            "metric": data.metric,
            "difference": _percent(comparison.main.value) if comparison else None,
            "low": _percent(comparison.main.low) if comparison else None,
            "high": _percent(comparison.main.high) if comparison else None,
            "detectable": _percent(comparison.main.detectable) if comparison else None,
            "p_holm": comparison.adjusted_p_value if comparison else None,
            "verdict": comparison.cautious_verdict if comparison else "baseline",
            "accuracy_difference": _percent(comparison.accuracy.value) if comparison else None,
            "accuracy_difference_low": _percent(comparison.accuracy.low) if comparison else None,
            "accuracy_difference_high": _percent(comparison.accuracy.high) if comparison else None,
            "balanced_difference": _percent(comparison.balanced_accuracy.value) if comparison else None,
            "balanced_difference_low": _percent(comparison.balanced_accuracy.low) if comparison else None,
            "balanced_difference_high": _percent(comparison.balanced_accuracy.high) if comparison else None,
        }
        calibrated = data.calibrated.comparisons.get(name)
        row |= {
            "calibrated": _percent(data.calibrated.scores.get(name)),
            "calibrated_difference": _percent(calibrated.main.value) if calibrated else None,
            "calibrated_low": _percent(calibrated.main.low) if calibrated else None,
            "calibrated_high": _percent(calibrated.main.high) if calibrated else None,
            "calibrated_verdict": calibrated.cautious_verdict if calibrated else "",
            "calibrated_reference": data.calibrated.reference if calibrated else "",
        }
        row["data"] = data.inputs.data_name
        row["published"], row["published_data"] = describe_published(published_for(_published_key(name, data)))
        rows.append(row)
    # Whole numbers beside a missing one, which pandas would else make floats of.
    per_class = pd.array([row["synthetic_per_class"] for row in rows], dtype="Int64")
    return pd.DataFrame(rows).assign(synthetic_per_class=per_class)


def recall_table(data: ReportData) -> pd.DataFrame:
    """One row per arm and class: test faces, recall, and its paired difference from the baseline arm.

    `predicted_share` is the share of all test faces, in per cent, that the arm takes for the class.

    Verdicts are adjusted for the number of arms and classes together (`p_holm`).
    """
    rows = []
    cells = [(name, label) for name in data.comparisons for label in range(len(data.class_names))]
    p_values = [
        p_value_of(data.comparisons[name].recalls[label], data.comparisons[name].chosen_among) for name, label in cells
    ]
    adjusted = dict(zip(cells, holm(p_values), strict=True))
    for name, summary in data.summaries.items():
        faces = data.predictions[name].rows.drop_duplicates("face_id")["label"]
        shares = summary.confusion.sum(axis=0) / summary.confusion.sum()
        for label, class_name in enumerate(data.class_names):
            comparison = data.comparisons.get(name)
            interval = comparison.recalls[label] if comparison else None
            rows.append(
                {
                    "arm": name,
                    "class": class_name,
                    "test_faces": int((faces == label).sum()),
                    "recall": _percent(summary.recalls[label]),
                    "predicted_share": _percent(float(shares[label])),
                    "difference": _percent(interval.value) if interval else None,
                    "low": _percent(interval.low) if interval else None,
                    "high": _percent(interval.high) if interval else None,
                    "detectable": _percent(interval.detectable) if interval else None,
                    "p_holm": adjusted.get((name, label)),
                    "verdict": comparison.verdict_on(
                        interval, survives=adjusted[name, label] < 1 - data.settings.bootstrap.level
                    )
                    if comparison and interval
                    else "",
                }
            )
    return pd.DataFrame(rows)


def mixture_table(data: ReportData) -> pd.DataFrame:
    """One row per arm of two translators and arm of one of them: the paired difference of the first from the second."""
    return pd.DataFrame(
        [
            {
                "arm": mixture,
                "than": part,
                "metric": data.metric,
                "difference": _percent(comparison.main.value),
                "low": _percent(comparison.main.low),
                "high": _percent(comparison.main.high),
                "detectable": _percent(comparison.main.detectable),
                "p_holm": comparison.adjusted_p_value,
                "verdict": comparison.cautious_verdict,
            }
            for (mixture, part), comparison in data.mixtures.items()
        ]
    )


def score_table(data: ReportData) -> pd.DataFrame:
    """One row per translator: distances and their floors, recognition with and without translation, movement, lines.

    The columns of a distance contain its name: FID and KID, or FCD and KCD.
    """
    rows = []
    for name, scores in data.scores.items():
        row: dict[str, Any] = {"translator": name}
        for space in scores["distances"]:
            overall = space["overall"]
            frechet, kernel = space["frechet_name"], space["kernel_name"]
            low, high = distance_interval(overall, data.settings.bootstrap.level) or (None, None)
            row |= {
                f"{frechet}_n": overall["n"],
                f"{frechet}_of": space["of"],
                frechet: overall["frechet"],
                f"{frechet}_low": low,
                f"{frechet}_high": high,
                f"{frechet}_floor": overall["frechet_floor"],
                kernel: overall["kernel"],
                f"{kernel}_floor": overall["kernel_floor"],
                f"{frechet}_small_sample": overall["small_sample"],
            }
        recognition, moved = scores["recognition"] or {}, scores["movement"] or {}
        untranslated, lines = scores["untranslated"], scores["lines"] or {}
        translations = translation_predictions(scores)
        interval = None if translations is None else accuracy_interval(translations, data.settings.bootstrap)
        row |= {
            "translated_faces": scores["translated_faces"]["n"],
            "translated_of": scores["translated_faces"]["of"],
            "recognition": _percent(recognition.get("accuracy")),
            "recognition_low": _percent(interval.low if interval else None),
            "recognition_high": _percent(interval.high if interval else None),
            "recognition_changed": _percent(recognition.get("accuracy_changed")),
            "untranslated": _percent(untranslated["accuracy"]),
            "untranslated_changed": _percent(untranslated["accuracy_changed"]),
            "judge_on_real_test_faces": _percent(scores["judge_on_real"]["accuracy"]),
            "judged_test_faces": scores["judge_on_real"]["n"],
            "movement": _percent(moved.get("mean")),
            "unmoved": _percent(moved.get("unmoved_share")),
            "movement_of_real_pairs": _percent(moved.get("real_pairs")),
            "lines": lines.get("excess"),
            "lines_floor": lines.get("excess_floor"),
            "pairs_of_real_faces": moved.get("real_pairs_n"),
        }
        row["data"] = data.inputs.data_name
        row["published"], row["published_data"] = describe_published(
            published_for(f"recognition:{published_variant(name)}")
        )
        rows.append(row)
    return pd.DataFrame(rows)


def class_distance_table(data: ReportData) -> pd.DataFrame:
    """One row per translator, feature space and class: n, distances, floors."""
    rows = []
    for name, scores in data.scores.items():
        for space in scores["distances"]:
            for class_name in ("overall", *scores["class_names"]):
                found = space["overall"] if class_name == "overall" else space["per_class"][class_name]
                rows.append(
                    {
                        "translator": name,
                        "distance": space["frechet_name"],
                        "class": class_name,
                        "n": found["n"],
                        "frechet": found["frechet"],
                        "frechet_floor": found["frechet_floor"],
                        "kernel_distance": space["kernel_name"],
                        "kernel": found["kernel"],
                        "kernel_floor": found["kernel_floor"],
                        "small_sample": found["small_sample"],
                    }
                )
    return pd.DataFrame(rows)


def accuracy_against_n(data: ReportData) -> pd.DataFrame:
    """The accuracy for each number of synthetic faces, one series per translator and kind of mixing.

    Every series begins with the baseline arm at n = 0. Arms that fill classes up have no one number, and stand in none.
    Columns: series, arm, n, and for accuracy and balanced accuracy
    the value, its difference from the baseline arm, and a low and a high end: the baseline's value plus the ends of the
    difference's interval.
    """
    baseline = data.summaries[data.baseline]
    rows: list[dict[str, Any]] = []
    series: dict[str, list[str]] = {}
    for name in (name for name in data.synthetic_arms() if data.arm(name).get("fill_to") is None):
        series.setdefault(_series_name(data.arm(name), data), []).append(name)
    for label, names in series.items():
        rows.append({"series": label, "arm": data.baseline, "n": 0} | _scores_against_n(baseline, baseline, None))
        for name in sorted(names, key=lambda arm: data.arm(arm).get("per_class") or 0):
            if name == data.baseline:
                continue
            found = _scores_against_n(data.summaries[name], baseline, data.comparisons[name])
            rows.append({"series": label, "arm": name, "n": data.arm(name).get("per_class") or 0} | found)
    columns = ["series", "arm", "n", *_scores_against_n(baseline, baseline, None)]
    return pd.DataFrame(rows, columns=columns)


def _scores_against_n(summary: ArmSummary, baseline: ArmSummary, comparison: Comparison | None) -> dict[str, float]:
    """Both metrics of an arm in per cent, with the interval of the difference drawn around the baseline's value."""
    found: dict[str, float] = {}
    for metric, prefix in (("accuracy", ""), ("balanced_accuracy", "balanced_")):
        base = 100.0 * baseline.score(metric)  # type: ignore[arg-type]
        interval = Interval(0.0, 0.0, 0.0) if comparison is None else getattr(comparison, metric)
        found |= {
            metric: 100.0 * summary.score(metric),  # type: ignore[arg-type]
            f"{prefix}difference": 100.0 * interval.value,
            f"{metric}_low": base + 100.0 * interval.low,
            f"{metric}_high": base + 100.0 * interval.high,
        }
    return found


def published_table() -> pd.DataFrame:
    """All published results in this project."""
    from reports.papers.published import read_published

    return read_published().drop(columns="matches")


def write_tables(tables: Mapping[str, pd.DataFrame], folder: Path) -> None:
    """Writes each table as `<name>.csv` (six digits) and `<name>.md` (formatted)."""
    for name, table in tables.items():
        atomic_write_text(folder / f"{name}.csv", table.to_csv(index=False, float_format="%.6g", lineterminator="\n"))
        atomic_write_text(folder / f"{name}.md", markdown_table(table))


def markdown_table(table: pd.DataFrame) -> str:
    """A GitHub Markdown table; numbers right-aligned, missing values as an en dash."""
    if table.empty:
        return "_No rows._\n"
    columns = list(table.columns)
    numeric = [pd.api.types.is_numeric_dtype(table[column]) for column in columns]
    lines = [
        "| " + " | ".join(column.replace("_", " ") for column in columns) + " |",
        "| " + " | ".join("--:" if right else "---" for right in numeric) + " |",
    ]
    for values in table.itertuples(index=False):
        cells = [format_cell(column, value) for column, value in zip(columns, values, strict=True)]
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def format_cell(column: str, value: Any) -> str:
    """Formats one value: one decimal for percentages, signs on differences, an en dash for missing."""
    if value is None or value is pd.NA or (isinstance(value, float) and np.isnan(value)):
        return "–"
    if isinstance(value, (bool, np.bool_)):
        return "yes" if value else "no"
    if isinstance(value, (int, np.integer)):
        return f"{value:,}"
    if isinstance(value, (float, np.floating)):
        if column == "p_holm":
            return format_p_value(float(value))
        if column.startswith(("KID", "KCD", "kernel")):
            return f"{value:.4f}"
        if column.startswith(("FID", "FCD", "frechet")):
            return f"{value:.2f}"
        if column in _SIGNED:
            return signed(float(value))
        return f"{value:.1f}"
    return str(value)


def signed(points: float) -> str:
    """A difference in points with its sign, a minus sign for a hyphen, and no negative zero."""
    text = f"{points:+.1f}"
    return "0.0" if text in ("+0.0", "-0.0") else text.replace("-", "\N{MINUS SIGN}")


def format_difference(interval: Interval, *, value: bool = True) -> str:
    """A difference with its interval, in points: `+1.8 points [−1.9 to +5.2]`; without `value` only the interval."""
    bounds = f"{signed(100 * interval.low)} to {signed(100 * interval.high)}"
    return f"{signed(100 * interval.value)} points [{bounds}]" if value else f"[{bounds}]"


def format_detectable(interval: Interval) -> str:
    """The detectable difference, if the observed one is not clear or smaller; empty if it is firm."""
    if interval.firm or not interval.detectable > 0:
        return ""
    detectable = f"{100 * interval.detectable:.1f} points"
    power = f"with {100 * POWER:.0f} % power"
    return (
        f"this design can detect {detectable} {power}"
        if interval.verdict == UNCLEAR
        else f"below the {detectable} that this design detects {power}"
    )


def format_p_value(p_value: float) -> str:
    """A p-value with three decimals, `< 0.001` below."""
    return "unknown" if np.isnan(p_value) else "< 0.001" if p_value < 0.001 else f"{p_value:.3f}"


def published_variant(name: str) -> str:
    """A translator's name in the published rows."""
    return name.replace("-", "_")


def _published_key(name: str, data: ReportData) -> str:
    settings = data.arm(name)
    kind = settings.get("kind")
    if kind == "synthetic" and (settings.get("second_translator") or settings.get("fill_to")):
        return ""  # nobody has published any
    if kind == "synthetic":
        return f"utility:{published_variant(str(settings.get('translator')))}"
    if kind in ("hog", "lbp"):
        return str(kind)
    return "real" if name == "real" else ""


def _series_name(settings: Mapping[str, Any], data: ReportData) -> str:
    words = [str(settings.get("translator"))]
    selects = data.selects(words[0])
    if settings.get("second_translator"):
        words[0] += f" and {settings['second_translator']}"
    if selects:
        words.append("selected" if settings.get("selected", True) else "not selected")
    share = settings.get("share")
    if share is not None and share != 0.5:
        words.append(f"share {share:g}")
    augmentation = settings.get("augmentation")
    if augmentation:
        words.append(str(augmentation))
    return ", ".join(words)


def _percent(value: float | None) -> float | None:
    return None if value is None else 100.0 * value
