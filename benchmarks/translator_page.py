"""The page and the table that `benchmarks.translators table` writes."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd

from benchmarks.translator_bench import JUDGE_FACES, SIZE


def translation_rows(results: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The table of translations; shares in 0..1."""
    rows = []
    for result in results:
        row = {
            "name": result["name"],
            "method": result["method"],
            "faces": result["faces"]["name"],
            "recognition_untranslated": result["untranslated"]["recognition"],
            "recognition_simulated": None,
            "recognition_translated": result["translated"]["recognition"],
            "difference": result["difference"]["value"],
            "difference_low": result["difference"]["low"],
            "difference_high": result["difference"]["high"],
            "probability_untranslated": result["untranslated"]["probability"],
            "probability_translated": result["translated"]["probability"],
            "identity_shift": result["identity_shift"],
            "seconds": result["seconds"],
            "processor_seconds": result.get("processor_seconds"),
            "generator_steps": result["steps"],
            "batch": result["training"]["batch_size"] if result["steps"] else None,
        }
        if result["faces"]["name"] == "turned":
            row["recognition_simulated"] = result["simulated"]["recognition"]
        row |= {f"translated_{name}": value for name, value in result["translated"]["per_class"].items()}
        rows.append(row)
    return rows


def markdown_table(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, Callable[[Mapping[str, Any]], str]]) -> str:
    lines = [" | ".join(columns), " | ".join("---" for _ in columns)]
    lines += [" | ".join(show(row) for show in columns.values()) for row in rows]
    return "\n".join(f"| {line} |" for line in lines)


def number(key: str, form: str) -> Callable[[Mapping[str, Any]], str]:
    """Shows a row's value; a missing one as nothing."""

    def show(row: Mapping[str, Any]) -> str:
        value = row.get(key)
        return "" if value is None or value != value else format(value, form)

    return show


def percent(key: str) -> Callable[[Mapping[str, Any]], str]:
    return number(key, ".1%")


def interval(row: Mapping[str, Any]) -> str:
    return f"{100 * row['difference']:+.1f} ({100 * row['difference_low']:+.1f} .. {100 * row['difference_high']:+.1f})"


TRANSLATION_COLUMNS: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "translator": lambda row: row["name"],
    "method": lambda row: row["method"],
    "faces": lambda row: row["faces"],
    "untranslated": percent("recognition_untranslated"),
    "translated": percent("recognition_translated"),
    "difference, points (95 %)": interval,
    "identity shift": number("identity_shift", ".3f"),
    "training, s": lambda row: f"{row['processor_seconds'] or row['seconds']:.0f}",
    "generator steps": lambda row: str(row["generator_steps"] or "fitted"),
    "batch": number("batch", ".0f"),
}
COST_COLUMNS: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "translator": lambda row: row["name"],
    "settings": lambda row: row["settings"],
    "parameters G": number("generator_parameters", ",.0f"),
    "parameters D": number("discriminator_parameters", ",.0f"),
    "batch": number("batch", ".0f"),
    "ms a generator step": number("milliseconds_a_step", ".0f"),
    "faces/s": number("images_per_second", ".0f"),
    "note": lambda row: "" if pd.isna(row.get("note")) else str(row["note"]).replace("|", "/"),
}


def results_page(results: Sequence[Mapping[str, Any]], costs: Sequence[Mapping[str, Any]], gallery: str) -> str:
    """The page of the results, Markdown.

    Args:
        results: Of finished runs.
        costs: Rows of cost.csv; none where it is not there.
        gallery: Where the sheets lie, seen from the page; empty where there are none.
    """
    names = [result["name"] for result in results]
    rows = translation_rows(results)
    machines = sorted({result["environment"]["machine"] for result in results})
    versions = sorted({result["torch"] for result in results})
    judged = sorted({(result["faces"]["name"], result["judge"]["accuracy"]) for result in results})
    accuracies = ", ".join(f"{accuracy:.1%} of the {name} test faces" for name, accuracy in judged)
    sources = {result["faces"]["name"]: result["faces"]["source"] for result in results}
    faces = "\n".join(
        f"- {name}: embedded faces, `{json.dumps(source)}`, {SIZE} px, grey." for name, source in sources.items()
    )
    people = sorted({source["seed"] for source in sources.values()})
    found_on = "these very people" if 0 in people else "other people (seed 0)"
    options = "" if people == [0] else f" --people {people[0]}"
    text = f"""# What translators learn at one small budget

Each translator was trained by the one loop with its recipe for a CPU, one thread, without validation: the last averaged
weights count. Then it translated test faces of people whom it never saw, to every class but their own (one that keeps
its source's class: to their own). A judge that no translator and no choice of a checkpoint ever met says what it sees.
It learned from {JUDGE_FACES["subjects"]} other embedded people with all seven expressions, and knows the class of
{accuracies}. The recipes were found on {found_on}.

*untranslated* and *translated* are the shares of the same faces that the judge takes for the wanted class, the mean
over classes; the interval is over people, paired. *identity shift* is the mean absolute difference of the
pixels from the source's, as a share of their range. Seconds are processor time of the one thread.

{markdown_table(rows, TRANSLATION_COLUMNS)}

"""
    for row in rows:
        if row["recognition_simulated"] is not None:
            text += (
                f"{row['name']}: of its sources' simulated faces the judge takes {row['recognition_simulated']:.1%} "
                "for the wanted class.\n\n"
            )
    seeds = ", ".join(sorted({str(result["seed"]) for result in results}))
    text += f"""{faces}
- Seed {seeds}, torch {", ".join(versions)}, {"; ".join(machines)}.

`translation.csv` holds the figures, class by class too. They come from

    python -m benchmarks.translators run {" ".join(names)}{options}
    python -m benchmarks.translators table
"""
    if gallery:
        text += f"\nTest faces translated to every class: [{gallery}]({gallery}).\n"
    if costs:
        text += f"""
## What a step costs

One core, {SIZE} px, grey, by processor time: a generator step with its discriminator step, the mean of 16 steps (2 with
the published settings), and faces translated a second. *published* are the method's own settings, at batch 8.

{markdown_table(costs, COST_COLUMNS)}

    python -m benchmarks.translators cost
"""
    return text


BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"


def with_figures(page: str, results: Sequence[Mapping[str, Any]], costs: Sequence[Mapping[str, Any]]) -> str:
    """A page with the figures between its two marks, which stay.

    Args:
        page: Markdown with the marks.
        results: Of finished runs.
        costs: Rows of cost.csv; none where it is not there.

    Raises:
        ValueError: The marks are missing.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page lacks the marks {BEGIN} and {END}")
    by_recipe = {row["name"]: row for row in costs if row["settings"] == "recipe"}
    rows = [{**by_recipe.get(row["name"], {}), **row} for row in translation_rows(results)]
    columns = {
        "recipe": lambda row: f"`{row['name']}`",
        "untranslated": percent("recognition_untranslated"),
        "translated": percent("recognition_translated"),
        "difference, points (95 %)": interval,
        "identity shift": number("identity_shift", ".3f"),
        "parameters G": number("generator_parameters", ",.0f"),
        "parameters D": number("discriminator_parameters", ",.0f"),
        "batch": number("batch", ".0f"),
        "ms per step": number("milliseconds_a_step", ".0f"),
        "training, s": lambda row: f"{row['processor_seconds'] or row['seconds']:.0f}",
        "faces/s": number("images_per_second", ".0f"),
    }
    published = [row for row in costs if row["settings"] == "published"]
    wide = {
        "method": lambda row: f"`{row['method']}`",
        "parameters G": number("generator_parameters", ",.0f"),
        "parameters D": number("discriminator_parameters", ",.0f"),
        "ms per step": number("milliseconds_a_step", ",.0f"),
        "faces/s": number("images_per_second", ".0f"),
        "note": lambda row: "" if pd.isna(row.get("note")) else str(row["note"]).replace("|", "/"),
    }
    text = f"""
## What most of them learn in three minutes of one core

By the recipes in `conf/recipe/` (narrow networks, with what few faces need), {SIZE} px grey embedded faces, one thread,
about 180 seconds of processor time each; judged by a judge that no translator met. `python -m benchmarks.translators`
measured it; [data, seeds, machine and the classes one by one](../results/translators/README.md).

{markdown_table(rows, columns)}

*untranslated*: the same faces as they are. `lssl_pose` and `simgan` learn from other faces, turned ones with simulated
faces beside them. `gan` and `bigan` are conditioned on no class, so that they are asked for their sources' own, and
lower it. A high figure says that a face is easy for a judge; not that it teaches one, nor that it is still the same
person: what goes through a short latent (`cdcgan`, `icgan`, `bicogan`) is drawn anew, as the identity shift says.
"""
    if published:
        text += f"""
The published settings at {SIZE} px, batch 8, one discriminator step a generator step, one core:

{markdown_table(published, wide)}
"""
    return f"{before}{BEGIN}\n{text}\n{END}{after}"
