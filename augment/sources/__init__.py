"""The data sets that can be read: one file each, opened by name."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from augment.core.errors import InputError, Problem
from augment.sources.base import RawFace, Source, SourceSettings

__all__ = ["RawFace", "Source", "SourceSettings", "check_source_settings", "open_source", "source_names"]

# Modules are imported when they are opened: `rig` brings a renderer that the others have no need of.
_SOURCES = {
    "affectnet": ("augment.sources.affectnet", "AffectNetSource"),
    "bu3dfe": ("augment.sources.bu3dfe", "Bu3dfeSource"),
    "ck_plus": ("augment.sources.ck_plus", "CkPlusSource"),
    "fer2013": ("augment.sources.fer2013", "Fer2013Source"),
    "ferg": ("augment.sources.ferg", "FergSource"),
    "folder": ("augment.sources.folder", "FolderSource"),
    "helen": ("augment.sources.helen", "HelenSource"),
    "jaffe": ("augment.sources.jaffe", "JaffeSource"),
    "joint": ("augment.sources.joint", "JointSource"),
    "mug": ("augment.sources.mug", "MugSource"),
    "oulu_casia": ("augment.sources.oulu_casia", "OuluCasiaSource"),
    "parquet": ("augment.sources.parquet", "ParquetSource"),
    "raf_db": ("augment.sources.raf_db", "RafDbSource"),
    "rafd": ("augment.sources.rafd", "RafdSource"),
    "rig": ("augment.sources.rig", "RigSource"),
}


def source_names() -> tuple[str, ...]:
    """The names that `open_source` knows."""
    return tuple(sorted(_SOURCES))


def _source_class(name: str) -> Any:
    if name not in _SOURCES:
        raise InputError(Problem("source", f"{name!r} is no source", f"use one of {', '.join(source_names())}"))
    module, attribute = _SOURCES[name]
    return getattr(importlib.import_module(module), attribute)


def check_source_settings(name: str, settings: Mapping[str, Any]) -> SourceSettings:
    """Validates a source's settings without opening it.

    Raises:
        InputError: The source or a setting is unknown, or a value is out of bounds; lists what exists.
    """
    model: type[SourceSettings] = _source_class(name).Settings
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


def open_source(name: str, root: str | Path | None = None, **settings: Any) -> Source:
    """Opens a data set.

    Args:
        name: One of `source_names()`.
        root: The file or folder that holds it; procedural sources take none.
        **settings: The source's own settings; see its `Settings`.

    Returns:
        A source whose `faces()` can be read as often as wanted.

    Raises:
        InputError: The source or a setting is unknown, the root is missing, or its layout is none that the source
            knows; the error says what was looked for.
    """
    checked = check_source_settings(name, settings)
    source_class = _source_class(name)
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
