"""Pictures in folders: one folder a class, with or without train, validation and test folders above them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np
from pydantic import field_validator

from augment.images import UndecodableImageError, decode_image
from augment.problems import InputError, Problem
from augment.regular_files import read_regular_file
from augment.sources.base import RawFace, SourceSettings

SPLIT_FOLDERS = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
}
IMAGE_EXTENSIONS = frozenset(
    {".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".dib", ".tif", ".tiff", ".webp", ".gif", ".pgm", ".ppm"}
    | {".pbm", ".pnm", ".tga", ".jp2", ".avif"}
)
_SYSTEM_FILES = frozenset({"thumbs.db", "desktop.ini", "__macosx"})


class FolderSettings(SourceSettings):
    """Settings of the source `folder`.

    Attributes:
        subject_pattern: A regular expression with a group named `subject`, searched in each file's path relative to
            the root (with `/`), such as `(?P<subject>S\\d+)_`. Without it the subjects are unknown.
        class_names: The classes in label order; the sorted folder names by default.
    """

    subject_pattern: str | None = None
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
        return names


def is_ignored(path: Path) -> bool:
    """Whether a file or folder is the system's own, hidden from people: `.DS_Store`, `Thumbs.db`, `__MACOSX` ..."""
    return path.name.startswith(".") or path.name.lower() in _SYSTEM_FILES


def read_picture(path: Path, where: str) -> np.ndarray | Problem:
    """Decodes a picture file: uint8 [H, W] or [H, W, 3], or the problem, which names the file as `where`."""
    try:
        return decode_image(read_regular_file(path))
    except UndecodableImageError as error:
        return Problem(where, f"does not decode: {error}", "replace or delete the file")
    except OSError as error:
        return Problem(where, f"can't be read: {error.strerror or error}")


class FolderSource:
    """One folder a class: `happy/1.png`, or `train/happy/1.png` and `test/happy/2.png`.

    Folders below a class folder belong to the class. Extensions are read in any case. Hidden and system files are
    ignored; every other file that is no picture is a problem, and so is a class folder without one.

    Args:
        root: The folder that holds the class or the split folders.
        settings: The settings.

    Raises:
        InputError: The layout is none of the above.
    """

    name: ClassVar[str] = "folder"
    needs_root: ClassVar[bool] = True
    Settings: ClassVar[type[SourceSettings]] = FolderSettings
    layout: ClassVar[str] = (
        "happy/1.png                a folder a class\n"
        "sad/deeper/2.jpg\n"
        "or below folders of splits:\n"
        "train/happy/1.png, validation/happy/2.png, test/happy/3.png"
    )

    def __init__(self, root: Path, settings: FolderSettings) -> None:
        self.root = root
        self.settings = settings
        if not root.is_dir():
            raise InputError(Problem(str(root), "is not a folder", "the source folder wants one folder a class in it"))
        entries = sorted(path for path in root.iterdir() if not is_ignored(path))
        folders = [path for path in entries if path.is_dir()]
        if not folders:
            looked_for = "looked for <class>/*.png and for train/<class>/*.png; the folder holds no folders"
            raise InputError(Problem(str(root), "has no layout that this source knows", looked_for))
        splits = [path for path in folders if path.name.lower() in SPLIT_FOLDERS]
        self._stray = [path for path in entries if not path.is_dir()]
        self._class_folders: list[tuple[str | None, Path]] = []
        if splits:
            self._stray += [path for path in folders if path not in splits]
            for split in splits:
                inside = sorted(path for path in split.iterdir() if not is_ignored(path))
                self._stray += [path for path in inside if not path.is_dir()]
                self._class_folders += [(SPLIT_FOLDERS[split.name.lower()], path) for path in inside if path.is_dir()]
        else:
            self._class_folders = [(None, path) for path in folders]
        if not self._class_folders:
            looked_for = f"looked for <class>/*.png in {', '.join(path.name for path in splits)}"
            raise InputError(Problem(str(root), "has no class folders", looked_for))
        found = sorted({path.name for _, path in self._class_folders})
        self.class_names: tuple[str, ...] = settings.class_names or tuple(found)
        self._pattern = re.compile(settings.subject_pattern) if settings.subject_pattern else None

    def faces(self) -> Iterator[RawFace | Problem]:
        """Yields every picture in the order of the paths, and every problem."""
        for path in self._stray:
            kind = "folder beside the split folders" if path.is_dir() else "file outside the class folders"
            yield Problem(self._relative(path), f"is a {kind}", "move it away, or quarantine it")
        for name in self.class_names:
            if not any(path.name == name for _, path in self._class_folders):
                yield Problem(f"class_names: {name}", "has no folder", "take it out of class_names, or add its folder")
        for split, folder in self._class_folders:
            yield from self._class_faces(split, folder)

    def _relative(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()

    def _class_faces(self, split: str | None, folder: Path) -> Iterator[RawFace | Problem]:
        if folder.name not in self.class_names:
            mend = f"rename it, or add it to class_names ({', '.join(self.class_names)})"
            yield Problem(self._relative(folder) + "/", "is an unknown class", mend)
            return
        pictures = 0
        for path in sorted(folder.rglob("*")):
            inside = path.relative_to(folder)
            if any(is_ignored(Path(part)) for part in inside.parts) or path.is_dir():
                continue
            where = self._relative(path)
            pictures += 1
            if path.suffix.lower() not in IMAGE_EXTENSIONS:
                yield Problem(where, "is no picture file", f"{path.suffix or 'no extension'} is not a known format")
                continue
            try:
                where.encode()
            except UnicodeEncodeError:
                yield Problem(ascii(where), "has a name that is not UTF-8", "rename the file")
                continue
            subject = None
            if self._pattern is not None:
                match = self._pattern.search(where)
                if match is None or not match.group("subject"):
                    mend = f"settle subject_pattern {self._pattern.pattern!r}, or rename the file"
                    yield Problem(where, "names no subject", mend)
                    continue
                subject = match.group("subject")
            image = read_picture(path, where)
            if isinstance(image, Problem):
                yield image
                continue
            yield RawFace(where, image, folder.name, subject=subject, split=split, path=where)
        if not pictures:
            yield Problem(self._relative(folder) + "/", "is a class folder without pictures", "fill it or delete it")
