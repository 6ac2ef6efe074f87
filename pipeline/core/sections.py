"""Base classes of the sections of params.yaml; reads the file, with errors that name the key and the fix."""

from __future__ import annotations

import difflib
import math
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from augment.core.errors import InputError, Problem
from augment.core.yaml_text import parse_yaml
from pipeline.core.groups import GROUPS
from pipeline.core.project import is_project, where_to_run

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", description="lower-case letters, digits, underscores")]
OnRefusal = Literal["report", "stop"]
Model = TypeVar("Model", bound=BaseModel)
Entry = TypeVar("Entry")


class Section(BaseModel):
    """A part of params.yaml; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class StageParameters(BaseModel):
    """The sections of params.yaml that one stage reads, one per field; other sections are ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True)


def load_sections(path: Path, model: type[Model]) -> Model:
    """Reads the sections of params.yaml that a stage needs.

    Args:
        path: The file.
        model: Its fields are the sections.

    Raises:
        InputError: The file can't be read, or lists every key of these sections that is unknown, missing, of a wrong
            type or out of bounds, with the fix.
    """
    return parse_sections(read_values(path), model, where=Path(path).name)


def parse_sections(values: Mapping[str, Any], model: type[Model], *, where: str) -> Model:
    """Checks sections.

    Args:
        values: Nested mappings as YAML gives them.
        model: Its fields are the sections.
        where: The name of the values in errors.

    Raises:
        InputError: Lists every problem.
    """
    try:
        found = model.model_validate(values)
    except ValidationError as error:
        problems = [_problem_of(details, model, where) for details in error.errors()]
        raise InputError(problems, f"{where} can't be run:") from error
    if problems := _not_finite(found.model_dump(), where):
        raise InputError(list(dict.fromkeys(problems)), f"{where} can't be run:")
    return found


def named(entries: Mapping[str, Entry], name: str, what: str) -> Entry:
    """The entry of this name.

    Args:
        entries: A section whose keys are the user's names.
        name: Which one.
        what: What the entries are (`arm`), for the error.

    Raises:
        InputError: There is none.
    """
    if name not in entries:
        known = f"is none of {', '.join(entries)}" if entries else f"is not there: this run has no {what}s"
        raise InputError(Problem(f"{what} {name}", known))
    return entries[name]


def read_values(path: Path) -> dict[str, Any]:
    """The content of params.yaml, unchecked.

    Raises:
        InputError: It is not there, or can't be read.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        folder = path.resolve().parent
        fix = "write it with `s2l profile`"
        if not is_project(folder):
            fix = f"{where_to_run(folder)}, where `s2l profile` writes it"
        raise InputError(Problem(str(path), "is not there", fix)) from error
    except UnicodeDecodeError as error:
        raise InputError(Problem(str(path), f"is not UTF-8: {error.reason}", "write it with `s2l profile`")) from error
    except OSError as error:
        raise InputError(Problem(str(path), f"can't be read: {error.strerror}")) from error
    values = parse_yaml(text, path.name)
    if not isinstance(values, dict):
        raise InputError(Problem(str(path), "is not a mapping of keys", "write it with `s2l profile`"))
    return values


def _problem_of(details: Any, model: type[BaseModel], where: str) -> Problem:
    """Converts one of pydantic's errors."""
    location = [str(part) for part in details["loc"] if part != "[key]"]
    path = ".".join(location)
    given = details.get("input")
    if location and location[0] in GROUPS and len(location) == 1 and isinstance(given, str):
        fix = f"`s2l profile {location[0]}={given}` chooses from conf/{location[0]} and rewrites params.yaml"
        return Problem(f"{where}: {path}", f"{given!r} is an option of a group, not a value of a key", fix)
    if details["type"] == "extra_forbidden":
        known = keys_at(model, location[:-1])
        close = difflib.get_close_matches(location[-1], known, n=1)
        fix = f"did you mean {close[0]}?" if close else f"known keys: {', '.join(sorted(known))}"
        return Problem(f"{where}: {path}", "unknown key", fix)
    if details["type"] == "missing":
        return Problem(f"{where}: {path}", "is missing", "`s2l profile` writes every key")
    if details["type"] == "too_short":
        has, least = details["ctx"]["actual_length"], details["ctx"]["min_length"]
        return Problem(f"{where}: {path}", f"has {has} entries", f"give at least {least}; `s2l profile` writes them")
    if details["type"] == "string_pattern_mismatch":
        return Problem(
            f"{where}: {path}", f"{given!r} is not of the form that is read", _form_at(model, details["loc"])
        )
    message = details["msg"].removeprefix("Value error, ")
    shown = f", not {given!r}" if isinstance(given, (str, int, float, bool)) and repr(given) not in message else ""
    if given is None:
        shown = ", not null"
    return Problem(f"{where}: {path}", message[:1].lower() + message[1:] + shown)


def _not_finite(values: Any, path: str, joint: str = ": ") -> list[Problem]:
    """Infinities and NaN, which pass a bound such as "greater than 0"; YAML reads `1e999` as one."""
    if isinstance(values, float) and not math.isfinite(values):
        return [Problem(path, f"{values} is not a finite number")]
    inner: list[tuple[Any, Any]] = []
    if isinstance(values, Mapping):
        inner = list(values.items())
    elif isinstance(values, (list, tuple)):
        inner = list(enumerate(values))
    return [problem for key, value in inner for problem in _not_finite(value, f"{path}{joint}{key}", ".")]


def keys_at(model: type[BaseModel], location: Sequence[str]) -> list[str]:
    """The keys of a section, found by a path through models and mappings of models.

    Args:
        model: The outermost section.
        location: The section's path, such as `["translators", "lssl", "training"]`.
    """
    found = _section_at(model, location)
    return [] if found is None else list(found.model_fields)


def _form_at(model: type[BaseModel], location: Sequence[str | int]) -> str:
    """What a key that is text in a form of its own takes, in the words of its description."""
    if location[-1] == "[key]":
        return "a name is lower-case letters, digits and underscores, a letter first"
    section = _section_at(model, [str(part) for part in location[:-1]])
    field = section.model_fields.get(str(location[-1])) if section is not None else None
    return f"use {field.description}" if field is not None and field.description else ""


def _section_at(model: type[BaseModel], location: Sequence[str]) -> type[BaseModel] | None:
    current: Any = model
    for part in location:
        if isinstance(current, type) and issubclass(current, BaseModel):
            field = current.model_fields.get(part)
            current = _model_in(field.annotation) if field else None
        else:
            current = _model_in(typing.get_args(current)[1]) if typing.get_args(current) else None
    return current if isinstance(current, type) and issubclass(current, BaseModel) else None


def _model_in(annotation: Any) -> Any:
    """Strips Annotated and optional from a field's annotation."""
    if typing.get_origin(annotation) is Annotated:
        return _model_in(typing.get_args(annotation)[0])
    for part in typing.get_args(annotation):
        if isinstance(part, type) and issubclass(part, BaseModel) and typing.get_origin(annotation) is not dict:
            return part
    return annotation
