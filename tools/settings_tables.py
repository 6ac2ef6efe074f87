"""Settings classes as Markdown tables: key, type, default, bounds, description."""

from __future__ import annotations

import re
import textwrap
import types
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Union

import annotated_types
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

HEADER = ("| key | type | default | bounds | what it is |", "| --- | --- | --- | --- | --- |")
NO_DEFAULT = "needed"


def settings_table(model: type[BaseModel], given: Mapping[str, Any] | None = None) -> list[str]:
    """The rows of a settings class, without those of the classes in it.

    Args:
        model: The settings class.
        given: Values shown, with a dagger, for keys that have no default of their own.

    Returns:
        Lines of Markdown; one sentence where the class has no settings.
    """
    if not model.model_fields:
        return ["No settings.", ""]
    said, rows = documented(model), []
    for key, field in model.model_fields.items():
        cells = (shown_type(field.annotation), _default(key, field, given or {}), bounds(field), said[key])
        rows.append(f"| `{key}` | " + " | ".join(map(cell, cells)) + " |")
    return [*HEADER, *rows, ""]


def documented(model: type[BaseModel]) -> dict[str, str]:
    """What is said of each key: its description, else its entry in the docstring, else what its own class says."""
    entries: dict[str, str] = {}
    for base in reversed(model.__mro__):
        entries |= attribute_docs(base.__doc__ or "")
    said = {}
    for key, field in model.model_fields.items():
        inner = inner_model(field.annotation)
        of_class = (inner.__doc__ or "").strip().partition("\n\n")[0] if inner else ""
        said[key] = " ".join((field.description or entries.get(key) or of_class).split())
    return said


def attribute_docs(docstring: str) -> dict[str, str]:
    """The entries of a docstring's `Attributes:`, by name."""
    _, _, section = docstring.partition("Attributes:\n")
    entries = re.split(r"^(\w+): ", textwrap.dedent(section), flags=re.MULTILINE)[1:]
    return {name: " ".join(text.split()) for name, text in zip(entries[::2], entries[1::2], strict=True)}


def inner_model(annotation: Any) -> type[BaseModel] | None:
    """The settings class within an annotation: itself, optional, or the values of a mapping or a list."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    found = (inner_model(part) for part in typing.get_args(annotation))
    return next((model for model in found if model is not None), None)


def inner_sections(model: type[BaseModel]) -> Iterator[tuple[str, type[BaseModel]]]:
    """The keys of a class that are sections of their own: path and class; NAME stands for a name of the user's."""
    for key, field in model.model_fields.items():
        inner = inner_model(field.annotation)
        if inner is not None:
            yield (f"{key}.NAME" if typing.get_origin(field.annotation) is dict else key), inner


def shown_type(annotation: Any) -> str:
    """A type as someone who writes YAML thinks of it."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        return shown_type(arguments[0])
    if origin is Literal:
        return ", ".join(f"`{yaml_like(choice)}`" for choice in arguments)
    if origin in (Union, types.UnionType):
        kinds = [shown_type(part) for part in arguments if part is not type(None)]
        return " or ".join([*kinds, *(["null"] if type(None) in arguments else [])])
    if inner_model(annotation) is not None:
        many = {dict: "a section for each name", list: "list of sections", tuple: "list of sections"}
        return many.get(origin, "section")
    if origin is tuple and Ellipsis not in arguments:
        return f"[{', '.join(shown_type(part) for part in arguments)}]"
    if origin in (list, tuple, set, frozenset):
        return f"list of {shown_type(arguments[0])}"
    if origin is dict:
        return f"mapping of {shown_type(arguments[1])}" if arguments[1] is not Any else "mapping"
    names = {int: "int", float: "float", bool: "bool", str: "text", Path: "path", Any: "any"}
    return names.get(annotation, getattr(annotation, "__name__", str(annotation)))


def bounds(field: FieldInfo) -> str:
    """The bounds of a value or of a list's length, and the pattern of a text."""
    limits, pattern = _limits(field.metadata)
    for part in typing.get_args(field.annotation):  # those of an optional value, or of the items of a list
        if typing.get_origin(part) is Annotated:
            inner, inner_pattern = _limits(list(typing.get_args(part)[1:]))
            limits, pattern = limits + inner, pattern or inner_pattern
    return ", ".join([*limits, *([f"`{pattern}`"] if pattern else [])])


def _limits(metadata: list[Any]) -> tuple[list[str], str]:
    limits, pattern = [], ""
    for item in metadata:
        if isinstance(item, FieldInfo):
            inner, pattern = _limits(item.metadata)
            limits += inner
        for kind, name, sign in (
            (annotated_types.Gt, "gt", ">"),
            (annotated_types.Ge, "ge", "≥"),
            (annotated_types.Lt, "lt", "<"),
            (annotated_types.Le, "le", "≤"),
        ):
            if isinstance(item, kind):
                limits.append(f"{sign} {yaml_like(getattr(item, name))}")
        if isinstance(item, annotated_types.MinLen):
            limits.append(f"at least {item.min_length}")
        if isinstance(item, annotated_types.MaxLen):
            limits.append(f"at most {item.max_length}")
        pattern = getattr(item, "pattern", None) or pattern
    return limits, pattern


def _default(key: str, field: FieldInfo, given: Mapping[str, Any]) -> str:
    if inner_model(field.annotation) is not None and not isinstance(field.default, (list, tuple, type(None))):
        return "" if typing.get_origin(field.annotation) is not dict or not field.is_required() else NO_DEFAULT
    default = field.get_default(call_default_factory=True)
    if default is not PydanticUndefined:
        return f"`{yaml_like(default)}`"
    return f"`{yaml_like(given[key])}` †" if key in given else NO_DEFAULT


def yaml_like(value: Any) -> str:
    """A value as params.yaml writes it."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, tuple | list):
        return "[" + ", ".join(map(yaml_like, value)) + "]"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {yaml_like(inner)}" for key, inner in value.items()) + "}"
    return f"{value:g}" if isinstance(value, float) else str(value)


def cell(text: str) -> str:
    """Text that a Markdown table can hold."""
    return " ".join(text.replace("|", "\\|").split())
