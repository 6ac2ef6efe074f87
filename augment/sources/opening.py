"""Opening a data set whose class is known: its settings and its root are checked first."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from augment.core.errors import InputError, Problem
from augment.sources.base import Source, SourceSettings


def checked_settings(source_class: Any, name: str, settings: Mapping[str, Any]) -> SourceSettings:
    """Validates a source's settings without opening it.

    Args:
        source_class: The source's class; it has `Settings`.
        name: Its name, for errors.
        settings: What the user gives.

    Raises:
        InputError: A setting is unknown, or a value is out of bounds; lists what exists.
    """
    model: type[SourceSettings] = source_class.Settings
    try:
        return model(**settings)
    except ValidationError as error:
        problems = []
        for item in error.errors():
            key = ".".join(str(part) for part in item["loc"]) or "settings"
            if item["type"] == "extra_forbidden":
                known = ", ".join(model.model_fields) or "none"
                problems.append(Problem(key, f"is no setting of the source {name}", f"its settings are: {known}"))
            else:
                problems.append(Problem(key, f"{item['msg']}, got {item['input']!r}"))
        raise InputError(problems, f"settings of the source {name}:") from error


def open_class(source_class: Any, name: str, root: str | Path | None, settings: Mapping[str, Any]) -> Source:
    """Opens a data set of a known class.

    Args:
        source_class: The source's class.
        name: Its name, for errors.
        root: The file or folder that holds the data; procedural sources take none.
        settings: The source's own settings.

    Raises:
        InputError: A setting is unknown, the root is missing, or its layout is none that the source knows.
    """
    checked = checked_settings(source_class, name, settings)
    if not source_class.needs_root:
        if root is not None:
            raise InputError(Problem("root", f"the source {name} reads no files", "leave root out"))
        return source_class(checked)
    if root is None:
        raise InputError(Problem("root", f"the source {name} needs one", "name the file or folder that holds the data"))
    root = Path(root).expanduser()
    if not root.exists():
        raise InputError(Problem(str(root), "does not exist", "name the file or folder that holds the data"))
    if not root.is_dir() and not root.is_file():
        raise InputError(Problem(str(root), "is neither a file nor a folder", "name the file or folder of the data"))
    return source_class(root, checked)
