"""The preparation's report (`augment.prepare.PreparationReport`), as the page shows it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from augment.faces import SPLITS
from augment.licences import Licence


def data_counts(report: Mapping[str, Any]) -> dict[str, Any] | None:
    """Faces by class and split, with totals; None where the report has no counts."""
    counts = report.get("counts")
    if not counts:
        return None
    present = {split for by_split in counts.values() for split in by_split}
    splits = [split for split in (*SPLITS, *sorted(present - set(SPLITS))) if split in present]
    rows = [_row(name, [int(by_split.get(split, 0)) for split in splits]) for name, by_split in counts.items()]
    totals = [sum(int(by_split.get(split, 0)) for by_split in counts.values()) for split in splits]
    shown = ["without a split of the source's own" if split == "none" else split for split in splits]
    return {"splits": shown, "rows": [*rows, _row("all", totals)]}


def data_facts(report: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Source, licence, size, subjects, quarantined rows, duplicates: pairs of name and value."""
    if not report:
        return []
    facts = []
    if report.get("source"):
        facts.append(("source", str(report["source"])))
    if report.get("licence"):
        facts.append(("licence", Licence.model_validate(report["licence"]).line))
    if report.get("image_size"):
        colour = "grey" if report.get("channels") == 1 else "colour"
        facts.append(("pictures", f"{report['image_size']} x {report['image_size']} px, {colour}"))
    if subjects := report.get("subjects"):
        facts.append(("subjects", _by_split(subjects)))
    if spellings := report.get("subject_spellings"):
        shown = "; ".join(f"{name} ({', '.join(map(repr, others))})" for name, others in spellings.items())
        facts.append(("subjects written in several ways, each taken for one person", shown))
    if columns := report.get("columns"):
        facts.append(("also known", ", ".join(f"{name} of {count:,}" for name, count in columns.items() if count)))
    if left_out := report.get("left_out"):
        facts.append(("classes left out", _by_split(left_out)))
    facts += _annotation_facts(report.get("annotation") or {})
    facts.append(("rows in quarantine", f"{report.get('problems', 0):,}"))
    facts.append(("blank pictures", f"{report.get('blank_pictures', 0):,}"))
    facts.append(
        (
            "duplicates",
            f"{report.get('duplicate_faces', 0):,} faces have a byte-identical twin, "
            f"{report.get('near_duplicate_faces', 0):,} an identical or near-identical one",
        )
    )
    across = report.get("duplicates_across") or []
    facts.append(
        (
            "duplicates across splits",
            "; ".join(f"{pair['second']} with {pair['first']}: {pair['exact']:,} ({pair['near']:,})" for pair in across)
            + " identical (or near-identical)"
            if across
            else "none",
        )
    )
    return facts


def data_shortfalls(report: Mapping[str, Any]) -> list[str]:
    """What in the data speaks against the figures."""
    found = []
    if problems := report.get("problems"):
        found.append(f"{problems:,} rows of the source could not be faces and lie in quarantine.")
    for pair in report.get("duplicates_across") or []:
        if pair["near"]:
            found.append(
                f"{pair['near']:,} {pair['second']} faces are near-identical to one of {pair['first']} "
                f"({pair['exact']:,} byte for byte): the source's own splits have it so."
            )
    if conflicting := report.get("duplicates_with_other_label"):
        found.append(f"{conflicting:,} groups of identical pictures bear different labels.")
    annotation = report.get("annotation") or {}
    if without := annotation.get("without_landmarks"):
        found.append(
            f"{without:,} of {annotation['faces']:,} faces have no landmarks: they have no side input, and translators "
            "that need landmarks pass them over."
        )
    if whole := annotation.get("left_whole"):
        found.append(f"{whole:,} faces could not be cropped: theirs are the central squares of their pictures.")
    if blank := report.get("blank_pictures"):
        found.append(f"{blank:,} pictures show nothing.")
    return found


def _annotation_facts(annotation: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What was looked for in the pictures (`augment.annotate.AnnotationReport`)."""
    if not annotation:
        return []
    facts = []
    faces, found = annotation["faces"], sum(annotation["found"].values())
    if annotation["detector"] != "none":
        looked = found + annotation["unsteady"] + annotation["not_found"]
        share = f" ({found / looked:.1%}; {_by_split(annotation['found'])})" if found else ""
        words = f"{annotation['detector']} found {found:,} of {looked:,} faces{share}"
        if by_class := annotation["without_landmarks_by_class"]:
            words += f"; without landmarks stay {_by_split(by_class)}"
        if unsteady := annotation["unsteady"]:
            words += f"; of {unsteady:,} the points were too unsteady"
        if several := annotation["several_faces"]:
            words += f"; {several:,} pictures show several faces"
        facts.append(("landmarks looked for", words))
    if annotation["cropped"] or annotation["left_whole"]:
        facts.append(("cropped to the face", f"{annotation['cropped']:,} of {faces:,}"))
    if fit := annotation["fit_error"]:
        facts.append(
            (
                "simulated faces fitted",
                f"{annotation['simulated']:,}; root mean square distance to the landmarks {fit['mean']:.1%} of the "
                f"eyes' distance (median {fit['median']:.1%}, 95 of 100 below {fit['percentile_95']:.1%})",
            )
        )
    return facts


def _row(name: str, numbers: list[int]) -> dict[str, Any]:
    return {"name": name, "cells": [f"{number:,}" for number in numbers], "total": f"{sum(numbers):,}"}


def _by_split(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.items())
