"""Data sets on disk whose faces lie in folders of strict names, and sequences of numbered frames in such folders.

Names are taken as the data set writes them. A name that differs in its case alone is a problem that says the right one:
were it taken, the faces of two copies of one data set would have different ids.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from augment.core.errors import InputError, Problem
from augment.sources.folder import is_ignored
from augment.sources.listed import ListedFace

_ARCHIVES = re.compile(r"\.(zip|rar|7z|tar|tgz|gz|bz2|xz|z\d\d|part\d*|crdownload|aria2|filepart|download)$", re.I)
OTHER_CASE = "is written in another case than the data set's"
_SHOWN = 5  # names in one problem


def is_archive(name: str) -> bool:
    """Whether a file's name is that of an archive, or of a download that has not ended."""
    return _ARCHIVES.search(name) is not None


def printable(name: str) -> str:
    """A name for problems: readable where a file system gave what is no UTF-8."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return ascii(name)[1:-1]
    return name


def enumerate_names(names: Sequence[str]) -> str:
    """`a, b, c`, cut after a few with how many there are."""
    shown = ", ".join(map(printable, names[:_SHOWN]))
    return shown if len(names) <= _SHOWN else f"{shown} ... {len(names)} in all"


def enumerate_numbers(numbers: Sequence[int]) -> str:
    """Ascending numbers with runs shortened: `3, 5-7`."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return enumerate_names([f"{first}" if first == last else f"{first}-{last}" for first, last in runs])


def find_bases(root: Path, holds: Callable[[set[str]], bool], depth: int = 4) -> list[Path]:
    """The folders nearest to the root whose folders satisfy a condition; archives unpack into folders of their name.

    Args:
        root: Where the search starts; may itself be the folder.
        holds: Says of the names of a folder's folders whether it is one.
        depth: How many levels are searched.

    Returns:
        All such folders of the first level that has any, sorted.
    """
    level = [root]
    for _ in range(depth):
        inside = {folder: _folders(folder) for folder in level}
        found = [folder for folder, folders in inside.items() if holds({path.name for path in folders})]
        if found:
            return sorted(found)
        level = [path for folders in inside.values() for path in folders]
    return []


def several_copies(root: Path, bases: Sequence[Path]) -> InputError:
    """The refusal of a root in which a data set lies more than once, in each of the bases."""
    why = f"holds more than one copy: {enumerate_names([path.relative_to(root).as_posix() for path in bases])}"
    return InputError(Problem(str(root), why, "name the folder of one of them"))


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not is_ignored(path))


def archives_in(root: Path, depth: int = 2) -> list[str]:
    """Archives that lie in a folder or below it, relative to it: what a user forgot to unpack."""
    patterns = ["/".join(["*"] * (level + 1)) for level in range(depth)]
    found = [path for pattern in patterns for path in root.glob(pattern) if path.is_file() and is_archive(path.name)]
    return sorted(path.relative_to(root).as_posix() for path in found if not is_ignored(path))


def unknown_layout(root: Path, title: str, looked_for: str) -> list[Problem]:
    """The problems of a root that holds no layout which the source knows; names the archives that lie there."""
    problems = [Problem(str(root), f"has no layout of {title} that this source knows", f"looked for {looked_for}")]
    problems += [
        Problem(printable(name), "is an archive that is not unpacked", "unpack it") for name in archives_in(root)
    ]
    return problems


@dataclass(frozen=True)
class NameRule:
    """How a data set names the folders (or files) of one level.

    Attributes:
        pattern: What a whole name looks like.
        what: What the names stand for, with an example, for problems: `a subject (P001 to P080)`.
        proper: Brings a name that fits but for its case to its right case.
        other: Names that belong there and are not read.
    """

    pattern: re.Pattern[str]
    what: str
    proper: Callable[[str], str]
    other: frozenset[str] = frozenset()

    @staticmethod
    def of_names(names: Iterable[str], what: str, other: Iterable[str] = ()) -> NameRule:
        """The rule that a name is one of some."""
        right = {name.lower(): name for name in names}
        pattern = re.compile("|".join(re.escape(name) for name in right.values()))
        return NameRule(pattern, what, lambda name: right[name.lower()], frozenset(other))

    def judge(self, name: str) -> str | None:
        """The name as it should be written, or None where it is no such name."""
        if self.pattern.fullmatch(name):
            return name
        if re.fullmatch(self.pattern.pattern, name, re.I):
            return self.proper(name)
        return None


def match_folders(
    folder: Path, where: str, rule: NameRule, *, files_matter: bool = True
) -> tuple[list[Path], list[Problem]]:
    """The folders that a rule names, sorted, and a problem for everything else that lies there.

    Args:
        folder: The folder to look into.
        where: Its name in problems.
        rule: What its folders are called.
        files_matter: Whether files are problems; not where readme files and archives may well lie.
    """
    found: list[Path] = []
    problems: list[Problem] = []
    for path in sorted(folder.iterdir()):
        here = printable(f"{where}/{path.name}".lstrip("/"))
        if is_ignored(path) or path.name in rule.other:
            continue
        if not path.is_dir():
            if files_matter:
                problems.append(stray_file(here, path.name))
            continue
        right = rule.judge(path.name)
        if right is None:
            problems.append(Problem(f"{here}/", f"is not {rule.what}", "rename it, or move it away"))
        elif right != path.name:
            fix = f"there is a {right} too: compare them" if (folder / right).exists() else f"rename it to {right}"
            problems.append(Problem(f"{here}/", OTHER_CASE, fix))
        else:
            found.append(path)
    return found, problems


def stray_file(where: str, name: str) -> Problem:
    """The problem of a file that should not lie where it lies."""
    where = printable(where)
    if is_archive(name):
        fix = "unpack it, or download it again; move it away if it is unpacked"
        return Problem(where, "is an archive or a download that has not ended", fix)
    return Problem(where, "is a file that the data set does not have there", "move it away, or quarantine it")


@dataclass(frozen=True)
class Frames:
    """The frames of a sequence.

    Attributes:
        names: File name by frame number, ascending.
        problems: What is wrong with the folder.
    """

    names: dict[int, str]
    problems: tuple[Problem, ...]


def read_frames(folder: Path, where: str, rule: NameRule) -> Frames:
    """Lists a sequence's frames from the names of its files.

    Args:
        folder: The sequence's folder.
        where: Its name in problems.
        rule: What a frame's file is called; its pattern has a group `number`.

    Returns:
        The frames, with a problem for files that are none (one for all that are of a kind), for a frame that is there
        twice, for a gap in the numbers, and for a folder without any frame.
    """
    names: dict[int, str] = {}
    problems: list[Problem] = []
    other_case: list[str] = []
    strangers: list[str] = []
    for path in sorted(folder.iterdir()):
        if is_ignored(path) or path.name in rule.other:
            continue
        right = None if path.is_dir() else rule.judge(path.name)
        if right is None and is_archive(path.name):
            problems.append(stray_file(f"{where}/{path.name}", path.name))
        elif right is None:
            strangers.append(path.name + "/" * path.is_dir())
        elif right != path.name:
            other_case.append(path.name)
        else:
            match = rule.pattern.fullmatch(path.name)
            assert match is not None
            number = int(match["number"])
            if number in names:
                why = f"is frame {number} like {names[number]}"
                problems.append(Problem(f"{where}/{path.name}", why, "delete one of them"))
            else:
                names[number] = path.name
    if strangers:
        why = f"holds what is not {rule.what}: {enumerate_names(strangers)}"
        problems.append(Problem(f"{where}/", why, "rename it, or move it away"))
    if other_case:
        why = f"holds frames that are written in another case than the data set's: {enumerate_names(other_case)}"
        problems.append(Problem(f"{where}/", why, f"rename {other_case[0]} to {rule.proper(other_case[0])}, and so on"))
    names = dict(sorted(names.items()))
    if not names:
        if not problems:
            problems.append(Problem(f"{where}/", "holds no frames", "copy it again"))
        return Frames(names, tuple(problems))
    first, last = min(names), max(names)
    gap = [number for number in range(first, last) if number not in names]
    if gap:
        why = f"lacks the frames {enumerate_numbers(gap)} between {first} and {last}"
        problems.append(Problem(f"{where}/", why, "copy the sequence again"))
    return Frames(names, tuple(problems))


def last_frames(numbers: Sequence[int], count: int) -> list[int]:
    """The last so many frames: the peak of a sequence that ends with it."""
    return list(numbers[-count:])


def middle_frames(numbers: Sequence[int], count: int) -> list[int]:
    """So many frames about the middle one: the apex of a sequence that rises from the neutral face and falls back."""
    start = (len(numbers) - count) // 2
    return list(numbers[max(start, 0) : max(start, 0) + count])


def too_few_frames(where: str, found: int, needed: int) -> Problem:
    """The problem of a sequence that ends too early for what the settings ask of it."""
    frames = "1 frame" if found == 1 else f"{found} frames"
    return Problem(f"{where}/", f"has {frames}, and {needed} are needed", "copy it again, or lower peak_frames")


def sequence_count(faces: Iterable[ListedFace]) -> int:
    """How many folders some faces come from."""
    return len({face.path.rpartition("/")[0] for face in faces})
