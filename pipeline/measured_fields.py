"""What was measured on the way is no result: it is kept beside the stages' outputs, which equal runs share to the byte.

Else the same work, done again in another time, would look like another result to every stage after it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from augment.core.files import atomic_write_text

# By name, wherever they stand: `augment.training` and `classifiers` write them.
MEASURED_FIELDS = ("seconds", "images_per_second", "processor_seconds", "peak_memory_bytes")


def take_measurements(folder: Path) -> dict[str, Any]:
    """Takes times, rates and memory out of the JSON files of a folder, and JSON lines.

    Args:
        folder: A finished output that has not been moved to its place yet; its files are written anew.

    Returns:
        By file (relative to the folder), what was taken out: a mapping by key, nested ones joined by dots; of JSON
        lines a list of them.
    """
    taken: dict[str, Any] = {}
    for file in sorted(folder.rglob("*.json*")):
        text = file.read_text(encoding="utf-8")
        found: Any
        if file.suffix == ".jsonl":
            lines = [json.loads(line) for line in text.splitlines()]
            found = [_taken(line) for line in lines]
            text = "".join(json.dumps(line) + "\n" for line in lines)
        elif file.suffix == ".json":
            content = json.loads(text)
            found = _taken(content)
            text = json.dumps(content, indent=2) + "\n"
        else:
            continue
        if any(found):
            taken[file.relative_to(folder).as_posix()] = found
            atomic_write_text(file, text)
    return taken


def _taken(content: Any) -> dict[str, Any]:
    """Removes the measured fields of a value and of what it holds; gives them by their keys, joined by dots."""
    own: dict[str, Any] = {}
    parts: dict[str, Any] = {}
    if isinstance(content, list):
        parts = {str(index): value for index, value in enumerate(content)}
    elif isinstance(content, dict):
        own = {name: content.pop(name) for name in MEASURED_FIELDS if name in content}
        parts = content
    return own | {f"{key}.{name}": value for key, part in parts.items() for name, value in _taken(part).items()}
