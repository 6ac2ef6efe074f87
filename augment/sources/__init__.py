"""The data sets that can be read: one file each, opened by name."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from augment.core.errors import InputError, Problem
from augment.sources.base import RawFace, Source, SourceSettings
from augment.sources.opening import checked_settings, open_class

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


def source_settings(name: str) -> type[SourceSettings]:
    """The settings that a source has.

    Raises:
        InputError: The source is unknown.
    """
    settings: type[SourceSettings] = _source_class(name).Settings
    return settings


def check_source_settings(name: str, settings: Mapping[str, Any]) -> SourceSettings:
    """Validates a source's settings without opening it.

    Raises:
        InputError: The source or a setting is unknown, or a value is out of bounds; lists what exists.
    """
    return checked_settings(_source_class(name), name, settings)


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
    return open_class(_source_class(name), name, root, settings)
