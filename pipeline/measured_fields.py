"""Removes measured times, rates and memory from a stage's JSON outputs, so that equal runs have equal bytes.

Otherwise a repeated run would look like a new result to every later stage. `pipeline.core.stage_records` writes the
time and memory of the whole stage; here are the fields that training loops wrote inside its outputs.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from augment.core.files import atomic_write_text

# At any depth of a file; `augment` and `classifiers` write them.
MEASURED_FIELDS = ("seconds", "images_per_second", "processor_seconds", "peak_memory_bytes", "bfloat16_speed")


def take_measurements(folder: Path) -> dict[str, Any]:
    """Removes times, rates and memory from the JSON and JSON lines files of a folder.

    Args:
        folder: A finished output that has not been moved to its destination yet; its files are rewritten.

    Returns:
        The removed fields by file (relative to the folder): a mapping by key, nested keys joined by dots; for JSON
        lines a list of mappings.
    """
    removed: dict[str, Any] = {}
    for file in sorted(folder.rglob("*.json*")):
        text = file.read_text(encoding="utf-8")
        found: Any
        if file.suffix == ".jsonl":
            lines = [json.loads(line) for line in text.splitlines()]
            found = [_remove_measured(line) for line in lines]
            text = "".join(json.dumps(line) + "\n" for line in lines)
        elif file.suffix == ".json":
            content = json.loads(text)
            found = _remove_measured(content)
            text = json.dumps(content, indent=2) + "\n"
        else:
            continue
        if any(found):
            removed[file.relative_to(folder).as_posix()] = found
            atomic_write_text(file, text)
    return removed


def _remove_measured(content: Any) -> dict[str, Any]:
    """Removes the measured fields of a value, at any depth; returns them by their keys, joined by dots."""
    own: dict[str, Any] = {}
    parts: dict[str, Any] = {}
    if isinstance(content, list):
        parts = {str(index): value for index, value in enumerate(content)}
    elif isinstance(content, dict):
        own = {name: content.pop(name) for name in MEASURED_FIELDS if name in content}
        parts = content
    return own | {
        f"{key}.{name}": value for key, part in parts.items() for name, value in _remove_measured(part).items()
    }
