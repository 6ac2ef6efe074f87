"""Refusals: a translator that can't work on these faces writes the reason as its result, for the report."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from augment.core.json_files import read_json_object, write_json
from augment.core.replacing import folder_in_place
from pipeline.core.sections import OnRefusal, StageParameters
from pipeline.core.workspace import REFUSAL_FILE

LOG = logging.getLogger(__name__)


class RefusableEntry(StageParameters):
    """The part of a translator's entry that later stages read: what to do if it can't work on these faces."""

    on_refusal: OnRefusal = "report"


def refusal_in(folder: Path) -> dict[str, Any] | None:
    """The refusal in a stage's output; None if it has another result."""
    file = folder / REFUSAL_FILE
    return read_json_object(file) if file.is_file() else None


def pass_refusal_on(source: Path, *outs: Path) -> bool:
    """Copies a translator's refusal, if there is one, into a later stage's outputs, so that the report shows it."""
    refusal = refusal_in(source)
    if refusal is None:
        return False
    LOG.warning(f"translator {refusal['name']} was refused: {refusal['reason']}")
    for out in outs:
        with folder_in_place(out) as built:
            write_json(built / REFUSAL_FILE, refusal)
    return True
