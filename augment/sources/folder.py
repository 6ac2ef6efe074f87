"""Pictures in folders: one folder per class, with or without train, validation and test folders above them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from pydantic import field_validator, model_validator

from augment.core.errors import InputError, Problem
from augment.core.regular_files import read_regular_file
from augment.faces.frames import frames_problem
from augment.faces.images import UndecodableImageError, decode_image
from augment.sources.base import Annotation, RawFace, SourceSettings
from augment.sources.class_folders import SPLIT_FOLDERS, ClassFolder, find_class_folders, find_subject_folders
from augment.sources.class_names import close_name, name_problems, natural_key, shown_name
from augment.sources.face_problem import file_problem
from augment.sources.folder_walk import FolderWalk, is_ignored

__all__ = ["IMAGE_EXTENSIONS", "SPLIT_FOLDERS", "FolderSettings", "FolderSource", "is_ignored", "read_picture"]

IMAGE_EXTENSIONS = frozenset(
    {".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".dib", ".tif", ".tiff", ".webp", ".gif", ".pgm", ".ppm"}
    | {".pbm", ".pnm", ".tga", ".jp2", ".avif"}
)
_SHOWN = 8  # names of ignored files in one note


class FolderSettings(SourceSettings):
    """Settings of the source `folder`.

    Attributes:
        subject_pattern: A regular expression with a group named `subject`, searched in each file's path below its class
            folder (with `/`), such as `(?P<subject>S\\d+)_`. Without it the subjects are unknown.
        subject_folders: Whether the class folders lie in a folder of each person, `S01/happy/1.png`, whose name is the
            subject.
        class_names: The classes in label order; the folder names by default, sorted as people count (`2` before `10`).
    """

    subject_pattern: str | None = None
    subject_folders: bool = False
    class_names: tuple[str, ...] | None = None

    @field_validator("subject_pattern")
    @classmethod
    def _has_subject_group(cls, pattern: str | None) -> str | None:
        if pattern is not None:
            try:
                groups = re.compile(pattern).groupindex
            except re.error as error:
                raise ValueError(f"is no regular expression: {error}") from error
            if "subject" not in groups:
                raise ValueError("has no group named subject; write (?P<subject>...)")
        return pattern

    @field_validator("class_names")
    @classmethod
    def _are_unique(cls, names: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if names is not None and (not names or len(set(names)) != len(names)):
            raise ValueError("must be different names, at least one")
        problems = name_problems({name: [name] for name in names or ()}, shown_name, "in class_names")
        if problems:
            raise ValueError("; ".join(map(str, problems)))
        return names

    @model_validator(mode="after")
    def _people_are_named_once(self) -> FolderSettings:
        if self.subject_folders and self.subject_pattern is not None:
            raise ValueError("subject_pattern and subject_folders both name the people: give one of them")
        return self


def read_picture(path: Path, where: str, *, real: bool = True) -> np.ndarray | Problem:
    """Decodes a picture file: uint8 [H, W] or [H, W, 3], or the problem, which names the file as `where`.

    Args:
        path: The file.
        where: How a problem names it.
        real: Whether the picture is to stand for a real face, and may bear no mark of a synthetic one.
    """
    try:
        data = read_regular_file(path)
        image = decode_image(data)
    except UndecodableImageError as error:
        return Problem(where, f"does not decode: {error}", "replace or delete the file")
    except OSError as error:
        return Problem(where, f"can't be read: {error.strerror or error}")
    return (file_problem(data, where) if real else frames_problem(data, where)) or image


@dataclass(frozen=True)
class _Listed:
    """A picture file, before it is read."""

    path: Path
    where: str
    label_name: str
    subject: str | None
    split: str | None


class FolderSource:
    """One folder per class: `happy/1.png`, or `train/happy/1.png` and `test/happy/2.png`.

    Folders below a class folder belong to the class. Extensions are read in any case. Hidden and system files are
    ignored and counted; every other file that is no picture is a problem, and so is a class folder without one.
    Links are followed inside the root (`augment.sources.folder_walk`), and a wrapper about the class folders is gone
    through (`augment.sources.class_folders`).

    Args:
        root: The folder that holds the class or the split folders.
        settings: The settings.

    Raises:
        InputError: The layout is none of the above, can be read in two ways, or writes a class in several ways.
    """

    name: ClassVar[str] = "folder"
    needs_root: ClassVar[bool] = True
    annotations: ClassVar[frozenset[Annotation]] = frozenset()
    Settings: ClassVar[type[SourceSettings]] = FolderSettings
    layout: ClassVar[str] = (
        "happy/1.png                a folder per class\n"
        "sad/deeper/2.jpg\n"
        "or below folders of splits, which are kept:\n"
        "train/happy/1.png, validation/happy/2.png, test/happy/3.png\n"
        "or test/happy/3.png beside happy/1.png: what has no split trains\n"
        "or, with subject_folders, S01/happy/1.png: a folder per person"
    )

    def __init__(self, root: Path, settings: FolderSettings) -> None:
        self.root = root
        self.settings = settings
        if not root.is_dir():
            raise InputError(
                Problem(str(root), "is not a folder", "the source folder wants one folder per class in it")
            )
        self._walk = FolderWalk(root)
        find = find_subject_folders if settings.subject_folders else find_class_folders
        self._layout = find(self._walk)
        found = sorted({folder.path.name for folder in self._layout.folders}, key=natural_key)
        self.class_names: tuple[str, ...] = settings.class_names or tuple(found)
        self._pattern = re.compile(settings.subject_pattern) if settings.subject_pattern else None
        self._listed: list[_Listed | Problem] | None = None

    def __len__(self) -> int:
        return sum(not isinstance(item, Problem) for item in self._list())

    def attribute_values(self, field: str) -> Iterator[Any]:
        """A field of `RawFace` (split, subject ...) of every picture file in order, without reading any."""
        return (getattr(item, field, None) for item in self._list() if not isinstance(item, Problem))

    def reading_notes(self) -> tuple[str, ...]:
        """How the root was read, where that is not to be seen from it: wrappers gone through, files ignored."""
        self._list()
        ignored: Counter[str] = self._walk.ignored
        if not ignored:
            return self._layout.notes
        shown = ", ".join(f"{name} {count:,}" for name, count in ignored.most_common(_SHOWN))
        more = f" ... {ignored.total():,} in all" if len(ignored) > _SHOWN else ""
        return (*self._layout.notes, f"hidden and system files are ignored: {shown}{more}")

    def faces(self) -> Iterator[RawFace | Problem]:
        """Yields every picture in the order of the paths, and every problem."""
        for item in self._list():
            if isinstance(item, Problem):
                yield item
                continue
            image = read_picture(item.path, item.where)
            if isinstance(image, Problem):
                yield image
                continue
            yield RawFace(item.where, image, item.label_name, subject=item.subject, split=item.split, path=item.where)

    def _list(self) -> list[_Listed | Problem]:
        if self._listed is None:
            self._listed = list(self._list_faces())
        return self._listed

    def _list_faces(self) -> Iterator[_Listed | Problem]:
        yield from self._layout.problems
        names = [folder.path.name for folder in self._layout.folders]
        for name in self.class_names:
            if name not in names:
                yield Problem(f"class_names: {name}", "has no folder", "take it out of class_names, or add its folder")
        for folder in self._layout.folders:
            yield from self._class_faces(folder)

    def _class_faces(self, listed: ClassFolder) -> Iterator[_Listed | Problem]:
        folder = listed.path
        place = self._walk.where(folder) + "/"
        if folder.name not in self.class_names:
            fix = f"rename it, or add it to class_names ({', '.join(self.class_names)})"
            if close := close_name(folder.name, self.class_names):
                fix = f"rename it to {shown_name(close)}, as class_names has it"
            yield Problem(place, "is an unknown class", fix)
            return
        anything = False
        for path in self._walk.below(folder):
            anything = True
            if isinstance(path, Problem):
                yield path
                continue
            where = self._walk.where(path)
            if path.suffix.lower() not in IMAGE_EXTENSIONS:
                yield Problem(where, "is no picture file", f"{path.suffix or 'no extension'} is not a known format")
                continue
            subject = listed.subject
            if self._pattern is not None:
                # Below the class folder: a class in a name would make another person of everybody in every class.
                match = self._pattern.search(path.relative_to(folder).as_posix())
                if match is None or not match.group("subject"):
                    fix = f"correct subject_pattern {self._pattern.pattern!r}, or rename the file"
                    yield Problem(where, "names no subject", fix)
                    continue
                subject = match.group("subject")
            yield _Listed(path, where, folder.name, subject, listed.split)
        if not anything:
            yield Problem(place, "is a class folder without pictures", "fill it or delete it")
