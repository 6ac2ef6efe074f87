"""Several data sets as one, for translators that learn them together; each face says which it is of."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path, PurePath
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from augment.core.errors import InputError, Problem
from augment.faces.licences import LicenceLine, says_something
from augment.sources import check_source_settings, open_source
from augment.sources.base import Annotation, RawFace, Source, SourceSettings, known_annotations, reading_notes
from augment.sources.listed import ListedSource
from augment.sources.terms import licence_of, source_lines


class JointPart(BaseModel):
    """One of the data sets.

    Attributes:
        data_set: Its name within the whole: becomes the `source` column, and begins face ids and subjects (those of
            the first of several parts that read one data set, whose people are the same).
        source: The source that reads it.
        root: Its file or folder, relative to the whole's; none for procedural sources.
        licence: Under which terms its faces stand, where the source can't know; added to the terms that it knows.
        settings: The source's own settings.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    data_set: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    source: str
    root: str | None = None
    licence: str | None = None
    settings: dict[str, Any] = {}

    @field_validator("source")
    @classmethod
    def _is_no_joint(cls, source: str) -> str:
        if source == "joint":
            raise ValueError("a part can't be joint itself; list its parts instead")
        return source

    @field_validator("licence")
    @classmethod
    def _says_something(cls, licence: str | None) -> str | None:
        if licence is not None and not says_something(licence):
            raise ValueError("says nothing of a licence")
        return licence

    @field_validator("root")
    @classmethod
    def _lies_within(cls, root: str | None) -> str | None:
        if root is not None and (PurePath(root).is_absolute() or ".." in PurePath(root).parts):
            raise ValueError("a part lies within the joint root; put or link all data sets below one folder")
        return root


class JointSettings(SourceSettings):
    """Settings of the source `joint`.

    Attributes:
        parts: The data sets, two or more, with different names.
        size: Edge in pixels of parts that are drawn and don't say their own.
        channels: 1 or 3, as `size`.
    """

    parts: tuple[JointPart, ...] = Field(min_length=2)
    size: int | None = Field(None, ge=32, le=512)
    channels: Literal[1, 3] | None = None

    @field_validator("parts")
    @classmethod
    def _have_different_names(cls, parts: tuple[JointPart, ...]) -> tuple[JointPart, ...]:
        names = [part.data_set for part in parts]
        if len(set(names)) != len(names):
            raise ValueError(f"two parts have one data_set name: {', '.join(names)}")
        return parts


class JointSource:
    """All faces of several data sets, one after another.

    Args:
        root: The folder that holds them; of no use where all parts are procedural.
        settings: The settings.

    Raises:
        InputError: A part can't be opened (all such are listed), or the parts don't have the same classes.
    """

    name: ClassVar[str] = "joint"
    needs_root: ClassVar[bool] = True
    Settings: ClassVar[type[SourceSettings]] = JointSettings

    def __init__(self, root: Path, settings: JointSettings) -> None:
        self.root = root
        self.settings = settings
        problems: list[Problem] = []
        self.sources: dict[str, Source] = {}
        for part in settings.parts:
            try:
                self.sources[part.data_set] = self._open(part)
            except InputError as error:
                found = error.problems or (Problem("settings", str(error)),)
                problems += [_of(part.data_set, problem) for problem in found]
        if problems:
            raise InputError(problems, "data sets that can't be opened:")
        first = settings.parts[0].data_set
        self.class_names: tuple[str, ...] = tuple(self.sources[first].class_names)
        for data_set, source in self.sources.items():
            if set(source.class_names) != set(self.class_names):
                why = f"has the classes {', '.join(source.class_names)}, but {first} has {', '.join(self.class_names)}"
                problems.append(Problem(data_set, why, "join data sets of the same classes, named alike"))
        if problems:
            raise InputError(problems)
        self.title = "Joint: " + ", ".join(self.sources)
        self.description = "\n\n".join(
            f"{data_set}: {getattr(source, 'description', f'faces read by the source `{source.name}`.')}"
            for data_set, source in self.sources.items()
        )

    @property
    def annotations(self) -> frozenset[Annotation] | None:
        """What faces of any part can come with; None where a part does not know."""
        found: frozenset[Annotation] = frozenset()
        for source in self.sources.values():
            known = known_annotations(source)
            if known is None:
                return None
            found |= known
        return found

    @property
    def attribute_values(self) -> Callable[[str], Iterator[Any]] | None:
        """A field of every face in order, without reading any picture; None where a part does not know it so."""
        known: list[Callable[[str], Iterator[Any]]] = []
        for source in self.sources.values():
            values = getattr(source, "attribute_values", None)
            if values is None:
                return None
            known.append(values)
        return lambda field: chain.from_iterable(values(field) for values in known)

    def reading_notes(self) -> tuple[str, ...]:
        """How each part's root was read, where that is not to be seen from it."""
        parts = self.sources.items()
        return tuple(f"{data_set}: {note}" for data_set, source in parts for note in reading_notes(source))

    @property
    def licence_lines(self) -> list[tuple[str, LicenceLine | None]]:
        """What each data set says of its licence; None where neither its source nor its part does."""
        found: list[tuple[str, LicenceLine | None]] = []
        for part in self.settings.parts:
            said = source_lines(self.sources[part.data_set])
            if part.licence is not None or all(line for _, line in said):
                lines = licence_of(self.sources[part.data_set], part.licence, where=f"{part.data_set}: licence").lines
                found += [(part.data_set, line.model_copy(update={"data_set": part.data_set})) for line in lines]
            else:
                found.append((part.data_set, None))
        return found

    def _open(self, part: JointPart) -> Source:
        form = {"size": self.settings.size, "channels": self.settings.channels}
        known = type(check_source_settings(part.source, part.settings)).model_fields
        drawn = {key: value for key, value in form.items() if value is not None and key in known}
        root = None if part.root is None else self.root / part.root
        return open_source(part.source, root, **{**drawn, **part.settings})

    def faces(self) -> Iterator[RawFace | Problem]:
        """Yields the faces of the first data set, then of the next; subjects of different data sets are different."""
        whose = self._whose_people()
        for part in self.settings.parts:
            folder = part.root if part.root is not None and (self.root / part.root).is_dir() else None
            for found in self.sources[part.data_set].faces():
                if isinstance(found, Problem):
                    yield _of(part.data_set, found)
                    continue
                yield replace(
                    found,
                    source=part.data_set,
                    subject=None if found.subject is None else f"{whose[part.data_set]}/{found.subject}",
                    path=found.path if found.path is None or folder is None else f"{folder}/{found.path}",
                )

    def _whose_people(self) -> dict[str, str]:
        """By part, the first part that names the same people.

        A published data set names its people alike wherever it lies (two cameras of Oulu-CASIA as two parts), folders
        and tables where they are the same one.
        """
        first: dict[tuple[str, Path | None], str] = {}
        whose: dict[str, str] = {}
        for part in self.settings.parts:
            published = isinstance(self.sources[part.data_set], ListedSource)
            place = None if published or part.root is None else (self.root / part.root).resolve()
            drawn = not published and place is None
            whose[part.data_set] = part.data_set if drawn else first.setdefault((part.source, place), part.data_set)
        return whose


def _of(data_set: str, problem: Problem) -> Problem:
    """The problem, and whose it is."""
    return replace(problem, where=f"{data_set}: {problem.where}")
