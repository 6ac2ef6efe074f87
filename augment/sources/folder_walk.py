"""What lies in a folder of people's own: regular files and folders, sorted; everything else is named or counted.

Links to files and folders are followed inside the root only. A link that leads outside, or nowhere, or back to where
it lies, a pipe, a socket, a device, and a name that is not UTF-8 are problems, one each; none of them is opened.
"""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from augment.core.errors import Problem

# What systems and programs leave beside people's files, in small letters.
_SYSTEM_NAMES = frozenset(
    {"thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "icon\r"}  # Windows, macOS
    | {"__macosx", "@eadir", "#recycle", "@recycle", "$recycle.bin", "system volume information", "lost+found"}
    | {"thumbnails"}
)
_KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def is_ignored(path: Path) -> bool:
    """Whether a file or folder is the system's own: `.DS_Store`, `Thumbs.db`, `__MACOSX`, `@eaDir`, any hidden one."""
    return path.name.startswith(".") or path.name.lower() in _SYSTEM_NAMES


def printable_path(path: Path, root: Path) -> str:
    """A path below the root as problems name it: with `/`, and readable where it is not UTF-8."""
    where = path.relative_to(root).as_posix()
    return where if _is_utf8(where) else ascii(where)[1:-1]


def leads_outside(path: Path, root: Path) -> bool:
    """Whether a path, with every link on its way followed, lies outside the root (whose own links don't count)."""
    return not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(root))


@dataclass(frozen=True)
class Level:
    """What lies directly in a folder.

    Attributes:
        folders: Folders, and links to folders inside the root, sorted by name.
        files: Regular files, and links to such inside the root, sorted by name.
        problems: What is neither.
    """

    folders: tuple[Path, ...]
    files: tuple[Path, ...]
    problems: tuple[Problem, ...]


class FolderWalk:
    """Looks into the folders below a root.

    Args:
        root: The folder; it may itself be a link.

    Attributes:
        ignored: What was passed over, by name (`._*` for all that macOS calls so); each thing once, however often its
            folder is looked into.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._real_root = os.path.realpath(root)
        self._ignored: set[Path] = set()

    @property
    def ignored(self) -> Counter[str]:
        """What was passed over, by name."""
        return Counter("._*" if path.name.startswith("._") else path.name for path in sorted(self._ignored))

    def where(self, path: Path) -> str:
        """How problems name a path."""
        return printable_path(path, self.root)

    def level(self, folder: Path) -> Level:
        """Looks into one folder, not deeper."""
        folders, files, problems = [], [], []
        try:
            entries = sorted(folder.iterdir())
        except OSError as error:
            return Level((), (), (Problem(self.where(folder) + "/", f"can't be read: {error.strerror or error}"),))
        for path in entries:
            if is_ignored(path):
                self._ignored.add(path)
                continue
            problem = self._problem_of(path)
            if problem is not None:
                problems.append(problem)
            elif path.is_dir():
                folders.append(path)
            else:
                files.append(path)
        return Level(tuple(folders), tuple(files), tuple(problems))

    def below(self, folder: Path) -> Iterator[Path | Problem]:
        """Yields every regular file in and below a folder, in the order of the paths, and every problem.

        A folder is read once, however many links lead to it, so that links can't make the walk endless.
        """
        read: set[str] = set()
        found: list[Path] = []
        problems: list[Problem] = []
        links = self._real_files(folder, read, found, problems)
        # Afterwards, so that it is the links to a folder that are told off, and not the folder itself.
        while links:
            link = links.pop(0)
            if os.path.realpath(link) in read:
                why = "is a link to a folder whose pictures are taken already"
                problems.append(Problem(self.where(link), why, "delete the link"))
            else:
                links += self._real_files(link, read, found, problems)
        yield from problems
        yield from sorted(found)

    def _real_files(self, folder: Path, read: set[str], found: list[Path], problems: list[Problem]) -> list[Path]:
        """Takes the files below a folder without following links to folders, which are returned."""
        links: list[Path] = []
        waiting = [folder]
        while waiting:
            current = waiting.pop()
            read.add(os.path.realpath(current))
            level = self.level(current)
            found += level.files
            problems += level.problems
            for path in level.folders:
                (links if path.is_symlink() else waiting).append(path)
        return sorted(links)

    def _problem_of(self, path: Path) -> Problem | None:
        where = self.where(path)
        if not _is_utf8(path.name):
            return Problem(where, "has a name that is not UTF-8", "rename it")
        try:
            is_link = path.is_symlink()
            if is_link:
                real = os.path.realpath(path)
                if Path(real) in (own := Path(os.path.realpath(path.parent)), *own.parents):
                    return Problem(where, "is a link to a folder that it lies in", "delete the link")
                if not Path(real).is_relative_to(self._real_root):
                    fix = "copy what it leads to into the root, or name a root that holds both"
                    return Problem(where, "is a link that leads outside the root", fix)
            mode = path.stat().st_mode
        except FileNotFoundError:
            return Problem(where, "is a link that leads nowhere", "delete the link")
        except OSError as error:
            return Problem(where, f"can't be read: {error.strerror or error}")
        if stat.S_ISDIR(mode) or stat.S_ISREG(mode):
            return None
        kind = _KINDS.get(stat.S_IFMT(mode), "no regular file")
        return Problem(where, f"is {'a link to ' * is_link}{kind}", "delete it: only files and folders are read")


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
