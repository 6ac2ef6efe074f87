"""The names of a table's classes, where `datasets` looks for them: in the Parquet file, and in the card beside it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from augment.core.errors import InputError, Problem
from augment.faces.licences import card_values


def check_label_names(names: Any) -> tuple[str, ...]:
    """Names of classes as they must be.

    Args:
        names: What stands where names should.

    Raises:
        ValueError: They are no list of different, non-empty texts; says which.
    """
    if not isinstance(names, list | tuple) or not names:
        raise ValueError("are no list of names")
    for position, name in enumerate(names):
        if not isinstance(name, str):
            raise ValueError(f"have {'null' if name is None else repr(name)[:40]} at {position}, which is no name")
        if not name.strip() or not name.isprintable():
            raise ValueError(f"have {name[:40]!r} at {position}, which is no name")
        if name in names[:position]:
            raise ValueError(f"have {name[:40]!r} twice")
    return tuple(names)


def names_in_schema(schema: pa.Schema, column: str, where: str) -> tuple[str, ...] | None:
    """The names that `datasets` wrote into a Parquet file.

    Args:
        schema: Of the file.
        column: The labels'.
        where: The file, for errors.

    Returns:
        None where it names none.

    Raises:
        InputError: What it names can't be names.
    """
    try:
        feature = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"][column]
        if "names" not in feature:
            return None
        names = feature["names"]
    except (KeyError, TypeError, ValueError, RecursionError):  # a foreign table's metadata may be anything
        return None
    return _checked(names, f"{where}, column {column}", "its metadata's class names")


def names_in_card(folders: Sequence[Path], column: str) -> tuple[str, ...] | None:
    """The names in the first card (README.md, its YAML's `dataset_info`) that there is.

    Args:
        folders: Where the card may lie.
        column: The labels'.

    Returns:
        None where no card names any.

    Raises:
        InputError: What it names can't be names, or its configurations name different ones.
    """
    for folder in folders:
        found: dict[tuple[str, ...], str] = {}
        for configuration, names in _names_by_configuration(card_values(folder), column):
            said = f"the class names of {configuration}" if configuration else "its class names"
            found.setdefault(_checked(names, f"README.md, column {column}", said), configuration)
        if len(found) > 1:
            why = f"its configurations name different classes: {', '.join(map(str, found.values()))}"
            fix = "read one of them, and give its class_names, in the order of the numbers"
            raise InputError(Problem(f"README.md, column {column}", why, fix))
        if found:
            return next(iter(found))
    return None


def _names_by_configuration(card: Mapping[str, Any], column: str) -> Iterator[tuple[str, Any]]:
    infos = card.get("dataset_info")
    for info in infos if isinstance(infos, list) else [infos]:
        if not isinstance(info, dict):
            continue
        features = info.get("features")
        for feature in features if isinstance(features, list) else []:
            kind = feature.get("dtype") if isinstance(feature, dict) and feature.get("name") == column else None
            label = kind.get("class_label") if isinstance(kind, dict) else None
            if isinstance(label, dict) and "names" in label:
                yield str(info.get("config_name", "")), _in_order(label["names"])


def _in_order(names: Any) -> Any:
    """A card numbers its names: `{'0': angry, '1': happy}`."""
    if not isinstance(names, dict):
        return names
    numbered = {str(number): name for number, name in names.items()}
    return [numbered.get(str(number)) for number in range(len(numbered))]


def _checked(names: Any, where: str, what: str) -> tuple[str, ...]:
    try:
        return check_label_names(names)
    except ValueError as error:
        fix = "give class_names, in the order of the numbers"
        raise InputError(Problem(where, f"{what} {error}", fix)) from error
