"""The preparation's report (`augment.prepare.prepare.PreparationReport`), formatted for the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from augment.faces.fold_choice import SET_ASIDE
from augment.faces.licences import Licence
from augment.faces.table import SPLITS


def data_counts(report: Mapping[str, Any]) -> dict[str, Any] | None:
    """Faces by class and split of the folds that the run used, with totals; None if the report has no counts.

    With several folds each cell contains the minimum and the maximum over folds. Without folds the counts are those of
    the source's own splits.
    """
    folds: Sequence[Mapping[str, Mapping[str, int]]] = (report.get("folds") or {}).get("counts") or [
        report.get("counts") or {}
    ]
    present = {split for counts in folds for by_split in counts.values() for split in by_split}
    if not present:
        return None
    splits = [split for split in (*SPLITS, *sorted(present - set(SPLITS))) if split in present]
    rows = [
        _row(name, [[int(counts[name].get(split, 0)) for counts in folds] for split in splits]) for name in folds[0]
    ]
    totals = [
        [sum(int(by_split.get(split, 0)) for by_split in counts.values()) for counts in folds] for split in splits
    ]
    words = {"none": "not in a split of the source", SET_ASIDE: "set aside"}
    shown = [words.get(split, split) for split in splits]
    return {"splits": shown, "rows": [*rows, _row("all", totals)], "folds": len(folds)}


def splits_fact(report: Mapping[str, Any]) -> str:
    """The origin of the run's splits, in a sentence; empty if the report does not contain it."""
    choice = (report.get("folds") or {}).get("choice")
    return f"{choice['sentence'][:1].upper()}{choice['sentence'][1:]}." if choice else ""


def set_aside_fact(report: Mapping[str, Any]) -> str:
    """How many training faces were set aside (`augment.faces.rare`), in a sentence; empty if none were."""
    folds: Sequence[Mapping[str, Mapping[str, int]]] = (report.get("folds") or {}).get("counts") or ()
    if not any(by_split.get(SET_ASIDE) for counts in folds for by_split in counts.values()):
        return ""

    def words(kept: Sequence[int], aside: Sequence[int]) -> str:
        both = [of_kept + of_aside for of_kept, of_aside in zip(kept, aside, strict=True)]
        return f"{_least_to_most(aside)} of {_least_to_most(both)}"

    kept = {name: [counts[name]["train"] for counts in folds] for name in folds[0]}
    aside = {name: [counts[name].get(SET_ASIDE, 0) for counts in folds] for name in folds[0]}
    whole = words(*([sum(of_fold) for of_fold in zip(*by.values(), strict=True)] for by in (kept, aside)))
    by_class = ", ".join(f"{name} {words(kept[name], aside[name])}" for name in kept if any(aside[name]))
    return f"{whole} real training faces were set aside and used by no stage (dataset.rare): {by_class}."


def _new_folds(report: Mapping[str, Any]) -> bool:
    """Whether the run uses new folds, not the source's own splits, by which the report counts."""
    choice = (report.get("folds") or {}).get("choice")
    return choice is not None and choice["kind"] == "subjects"


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
    if sentence := splits_fact(report):
        facts.append(("splits", sentence))
    if aside := set_aside_fact(report):
        facts.append(("training faces set aside", aside))
    if subjects := report.get("subjects"):
        folds = (report.get("folds") or {}).get("subjects") or [subjects]
        present = list(dict.fromkeys(split for fold in folds for split in fold))
        each = [f"{split} {_least_to_most([fold.get(split, 0) for fold in folds])}" for split in present]
        facts.append(("subjects", ", ".join(each)))
    if reading := report.get("reading"):
        facts.append(("how the source was read", "; ".join(reading)))
    if spellings := report.get("subject_spellings"):
        shown = "; ".join(f"{name} ({', '.join(map(repr, others))})" for name, others in spellings.items())
        facts.append(("subjects with several spellings, each read as one person", shown))
    if columns := report.get("columns"):
        facts.append(("annotations", ", ".join(f"{name} of {count:,}" for name, count in columns.items() if count)))
    if left_out := report.get("left_out"):
        facts.append(("classes left out", _by_split(left_out)))
    facts += _annotation_facts(report.get("annotation") or {})
    facts.append(("rows in quarantine", f"{report.get('problems', 0):,}"))
    facts.append(("blank pictures", f"{report.get('blank_pictures', 0):,}"))
    facts.append(
        (
            "duplicates",
            f"{report.get('duplicate_faces', 0):,} faces have a byte-identical copy, "
            f"{report.get('near_duplicate_faces', 0):,} an identical or near-identical one",
        )
    )
    across = report.get("duplicates_across") or []
    facts.append(
        (
            "duplicates across the source's own splits (not used)"
            if across and _new_folds(report)
            else "duplicates across splits",
            "; ".join(f"{pair['second']} with {pair['first']}: {pair['exact']:,} ({pair['near']:,})" for pair in across)
            + " identical (or near-identical)"
            if across
            else "none",
        )
    )
    return facts


def data_shortfalls(report: Mapping[str, Any]) -> list[str]:
    """Limitations of the data."""
    found = []
    if problems := report.get("problems"):
        found.append(f"{problems:,} rows of the source could not be read as faces and are in quarantine.")
    choice = (report.get("folds") or {}).get("choice") or {}
    if choice.get("overridden"):
        found.append(splits_fact(report))
    if aside := set_aside_fact(report):
        found.append(f"{aside} Results on all faces of this data set are no comparison.")
    for pair in report.get("duplicates_across") or []:
        if pair["near"] and not _new_folds(report):
            found.append(
                f"{pair['near']:,} {pair['second']} faces are near-identical to one of {pair['first']} "
                f"({pair['exact']:,} byte-identical), in the source's own splits."
            )
    if conflicting := report.get("duplicates_with_other_label"):
        found.append(f"{conflicting:,} groups of identical pictures have different labels.")
    annotation = report.get("annotation") or {}
    if without := annotation.get("without_landmarks"):
        found.append(
            f"{without:,} of {annotation['faces']:,} faces have no landmarks: they have no side input, and translators "
            "that need landmarks skip them."
        )
    if whole := annotation.get("left_whole"):
        found.append(f"{whole:,} faces could not be cropped; the central squares of their pictures are used.")
    if blank := report.get("blank_pictures"):
        found.append(f"{blank:,} pictures are blank.")
    return found


def _annotation_facts(annotation: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Annotations computed from the pictures (`augment.prepare.annotation.AnnotationReport`)."""
    if not annotation:
        return []
    facts = []
    faces, found = annotation["faces"], sum(annotation["found"].values())
    if annotation["detector"] != "none":
        looked = found + annotation["unsteady"] + annotation["not_found"]
        share = f" ({found / looked:.1%}; {_by_split(annotation['found'])})" if found else ""
        words = f"{annotation['detector']} found {found:,} of {looked:,} faces{share}"
        if by_class := annotation["without_landmarks_by_class"]:
            words += f"; faces without landmarks: {_by_split(by_class)}"
        if unsteady := annotation["unsteady"]:
            words += f"; for {unsteady:,} the landmarks were not stable"
        if several := annotation["several_faces"]:
            words += f"; {several:,} pictures contain several faces"
        facts.append(("landmark detection", words))
    if annotation["cropped"] or annotation["left_whole"]:
        facts.append(("cropped to the face", f"{annotation['cropped']:,} of {faces:,}"))
    if fit := annotation["fit_error"]:
        facts.append(
            (
                "simulated faces fitted",
                f"{annotation['simulated']:,}; root mean square distance to the landmarks {fit['mean']:.1%} of the "
                f"distance between the eyes (median {fit['median']:.1%}, 95th percentile {fit['percentile_95']:.1%})",
            )
        )
    return facts


def _row(name: str, numbers: list[list[int]]) -> dict[str, Any]:
    """A row of the table of counts; `numbers` are by split, then by fold."""
    totals = [sum(of_fold) for of_fold in zip(*numbers, strict=True)]
    return {"name": name, "cells": [_least_to_most(each) for each in numbers], "total": _least_to_most(totals)}


def _least_to_most(numbers: Sequence[int]) -> str:
    least, most = min(numbers), max(numbers)
    return f"{least:,}" if least == most else f"{least:,} to {most:,}"


def _by_split(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.items())
