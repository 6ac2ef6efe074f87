"""Seals: the file `.s2l` in a folder that this tool wrote names each of its files with its SHA-256.

It is in `sha256sum`'s format (`sha256sum -c .s2l` checks a folder without this tool), and says two things: that the
folder is the tool's to replace, all but what somebody else has put there, and what its files held when they were
written. Files that are handed on alone carry their digest inside: weights (`augment.core.sealed_tensors`), folds
(`augment.faces.splits`).
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from augment.core.errors import InputError, Problem
from augment.core.files import LEFTOVER, atomic_write_text, sha256_of_file

SEAL = ".s2l"
# What file managers put into every folder that somebody looks at.
_LITTER = {".DS_Store", "Thumbs.db", "desktop.ini"}
_LINE = re.compile(r"([0-9a-f]{64}) [ *](.+)")
_SHOWN = 5
_NOT_YET = "0" * 64  # the SHA-256 of no file
# A file changed within one tick of the file system's clock looks the same: younger ones are read again.
_SETTLED_NANOSECONDS = 2 * 10**9

_digests: dict[tuple[str, int, int, int, int], str] = {}


def file_digest(path: Path) -> str:
    """The SHA-256 of a file in hexadecimal; a file that has not changed is read once a process."""
    status = Path(path).stat()
    key = (str(path), status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
    if key not in _digests:
        digest = sha256_of_file(path)
        if time.time_ns() - max(status.st_mtime_ns, status.st_ctime_ns) < _SETTLED_NANOSECONDS:
            return digest
        _digests[key] = digest
    return _digests[key]


def folder_files(folder: Path) -> dict[str, Path]:
    """A folder's files by relative name, at any depth, without its own seal, half-written files and litter."""
    found = {}
    for path in sorted(Path(folder).rglob("*")):
        relative = path.relative_to(folder)
        if path.is_dir() and not path.is_symlink():
            continue
        if relative.as_posix() == SEAL or path.name in _LITTER or any(LEFTOVER.fullmatch(p) for p in relative.parts):
            continue
        found[relative.as_posix()] = path
    return found


def write_seal(folder: Path, digests: Mapping[str, str]) -> None:
    """Writes a folder's seal, atomically.

    Args:
        folder: The folder.
        digests: SHA-256 by relative name.
    """
    lines = [f"{digest}  {name}\n" for name, digest in sorted(digests.items())]
    atomic_write_text(Path(folder) / SEAL, "".join(lines))


def seal_folder(folder: Path) -> None:
    """Seals a folder as it stands: reads every file of it."""
    write_seal(folder, {name: file_digest(path) for name, path in folder_files(folder).items()})


def read_seal(folder: Path) -> dict[str, str] | None:
    """A folder's seal, SHA-256 by relative name; None where it has none, or one that can't be read.

    Args:
        folder: The folder.
    """
    try:
        lines = (Path(folder) / SEAL).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return None
    found = [_LINE.fullmatch(line) for line in lines]
    return {match[2]: match[1] for match in found if match} if all(found) else None


def seal_problems(folder: Path, fix: str, *, names: Iterable[str] | None = None) -> list[Problem]:
    """What differs between a sealed folder and its seal: files that are gone, changed, or were added.

    Args:
        folder: The folder.
        fix: What the user can do about it.
        names: The relative names to look at; all by default.

    Returns:
        One problem a file; one for the folder where it has no seal. Empty where all is as it was written.
    """
    folder = Path(folder)
    seal = read_seal(folder)
    if seal is None:
        why = f"has no {SEAL} that could be read, so nobody can tell whether its files are whole"
        return [Problem(str(folder), why, fix)]
    there = folder_files(folder)
    problems = []
    for name in sorted({*seal, *there} if names is None else names):
        if name not in there:
            problems.append(Problem(str(folder / name), "is missing", fix))
        elif name not in seal:
            problems.append(Problem(str(folder / name), f"was added later: {folder / SEAL} does not list it", fix))
        elif file_digest(there[name]) != seal[name]:
            why = f"is not what was written: its SHA-256 is not the one in {folder / SEAL}"
            problems.append(Problem(str(folder / name), why, fix))
    return problems


def is_sealed(folder: Path) -> bool:
    """Whether a folder has a seal and holds exactly what it says."""
    return not seal_problems(folder, "")


def claim_folder(folder: Path) -> None:
    """Makes a folder the tool's own before files grow in it one by one; one of ours stays as it is.

    Raises:
        InputError: It holds something, and no seal: its files are somebody else's.
    """
    folder = Path(folder)
    _check_own(folder)
    folder.mkdir(parents=True, exist_ok=True)
    if read_seal(folder) is None:
        write_seal(folder, {})


def announce_files(folder: Path, names: Iterable[str]) -> None:
    """Lists files in a folder's seal that others will write, so that they are the tool's own from the first byte.

    What lies under these names is deleted, so that a file that is there later has come since. Until `add_to_seal` is
    called with their digest, or `seal_announced`, they are not what was written.
    """
    names = list(names)
    for name in names:
        (Path(folder) / name).unlink(missing_ok=True)
    write_seal(folder, {**(read_seal(folder) or {}), **dict.fromkeys(names, _NOT_YET)})


def seal_announced(folder: Path) -> None:
    """Takes announced files that are there for what was written: they came whole, by renaming, before a kill."""
    seal = read_seal(folder) or {}
    here = [name for name, digest in seal.items() if digest == _NOT_YET and (Path(folder) / name).is_file()]
    if here:
        write_seal(folder, seal | {name: sha256_of_file(Path(folder) / name) for name in here})


def add_to_seal(folder: Path, name: str, digest: str) -> None:
    """Adds a file to a folder's seal, or changes its digest; for one writer at a time."""
    write_seal(folder, {**(read_seal(folder) or {}), name: digest})


def remove_sealed_files(folder: Path, names: Iterable[str]) -> None:
    """Deletes files of a claimed folder that its seal lists; others are left alone.

    Raises:
        InputError: A name is not in the seal: the file is somebody else's.
    """
    folder, seal = Path(folder), read_seal(folder) or {}
    names = list(names)
    strangers = [name for name in names if name not in seal]
    if strangers:
        why = f"lies among the tool's own files, and {folder / SEAL} does not list it"
        raise InputError([Problem(str(folder / name), why, "move it elsewhere") for name in strangers])
    for name in names:
        (folder / name).unlink(missing_ok=True)
    if names:
        write_seal(folder, {name: digest for name, digest in seal.items() if name not in names})


def check_replaceable(folder: Path) -> None:
    """Sees that a folder may be replaced: it is absent, empty, or the tool's own with nothing of somebody else's in it.

    Raises:
        InputError: It may not; names what would have been lost.
    """
    folder = Path(folder)
    _check_own(folder)
    if not folder.is_dir():
        return
    seal = read_seal(folder) or {}
    strangers = [name for name in folder_files(folder) if name not in seal]
    if strangers:
        shown = ", ".join(strangers[:_SHOWN]) + ", ..." * (len(strangers) > _SHOWN)
        raise InputError(
            Problem(
                str(folder),
                f"would be replaced, and holds files that this tool did not write: {shown}",
                "move them elsewhere, or name another folder",
            )
        )


def _check_own(folder: Path) -> None:
    if folder.is_dir():
        if read_seal(folder) is None and folder_files(folder):
            raise InputError(
                Problem(
                    str(folder),
                    f"holds files, and no {SEAL} that says that this tool wrote them; it is not touched",
                    "name another folder, or move or delete this one yourself",
                )
            )
    elif folder.exists():
        raise InputError(Problem(str(folder), "is a file, and a folder is to be written", "name another folder"))
