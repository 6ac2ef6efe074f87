"""JSON files of stages: written whole, and read with a word on what is wrong where they can't be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from augment.core.errors import InputError, Problem
from augment.core.files import atomic_write_text


def read_json_object(path: Path) -> dict[str, Any]:
    """Reads a JSON object.

    Raises:
        InputError: The file is absent, can't be read (as one that was cut short), or holds something else.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(Problem(str(path), "no such file", "run the stage that writes it")) from error
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(Problem(str(path), f"is no JSON: {error}", "run the stage that writes it again")) from error
    if not isinstance(content, dict):
        raise InputError(Problem(str(path), "is no JSON object", "run the stage that writes it again"))
    return content


def write_json(path: Path, values: Any) -> None:
    """Writes JSON, atomically; what JSON has no form for (paths, dates) as text."""
    atomic_write_text(path, json.dumps(values, indent=2, sort_keys=True, default=str) + "\n")
