"""Describes the quality of each fold's parsing network, for the page."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from augment.core.json_files import read_json_object
from augment.faces.table import MASK_CLASSES

_SCORED_ON = {
    "validation": "{faces:,} validation faces with masks",
    "train": "the {faces:,} training faces",
    "held_out": "{faces:,} embedded faces of held-out people",
}


def parsing_notes(directory: Path) -> tuple[str, ...]:
    """Notes on the parsing networks of a run.

    Args:
        directory: The parsing stage's output; contains `fold-<k>/report.json`.

    Returns:
        One note per fold: the teachers, intersection over union by part, areas and failures on the run's own faces; or
        why there is no network.
    """
    return tuple(
        _note(file.parent.name, read_json_object(file)) for file in sorted(directory.glob("fold-*/report.json"))
    )


def _note(fold: str, facts: Mapping[str, Any]) -> str:
    if not facts["available"]:
        return f"No parsing network ({fold}): {facts['reason']}."
    teachers = facts["teachers"]
    taught = " and ".join(
        f"{teacher['name']} ({teacher['faces']:,} faces, "
        + (f"{teacher['share']:.0%} of the samples, " if len(teachers) > 1 else "")
        + f"{teacher['augmentation']} augmentation)"
        for teacher in teachers
    )
    sentences = [f"Parsing network, {fold}: trained on {taught}", _scored(facts["scored_on"], facts)]
    if facts["held_out"] and facts["scored_on"] != "held_out":
        sentences.append(_scored("held_out", facts["held_out"]))
    own = facts["own"]
    if own and own["faces"]:
        areas = ", ".join(f"{part} {own['areas'][part]:.1%}" for part in MASK_CLASSES)
        failures, least = own["failures"], own["least_shares"]
        missed = ", ".join(f"{part} {failures[part]:.1%}" for part in MASK_CLASSES if part in least)
        below = ", ".join(f"{part} below {least[part]:.1%}" for part in MASK_CLASSES if part in least)
        sentences.append(
            f"on the run's {own['faces']:,} validation faces it labels {areas} of the picture, and fails on "
            f"{failures['any']:.1%} of them ({missed}; failures: {below} of the picture)"
        )
    return "; ".join(sentences) + "."


def _scored(where: str, scores: Mapping[str, Any]) -> str:
    parts = ", ".join(f"{part} {scores['intersection_over_union'][part]:.2f}" for part in MASK_CLASSES)
    return f"intersection over union on {_SCORED_ON[where].format(faces=scores['faces'])}: {parts}"
