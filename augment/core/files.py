"""Atomic file writes: scratch name, flush to disk, rename."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# What a killed run leaves beside its result: half-written (`part`), or the older result, moved aside (`old`).
LEFTOVER = re.compile(r"\.(?P<name>.+)\.(?P<process>\d+)\.(?P<kind>part|old)", re.DOTALL)

_looked_through: dict[Path, dict[str, list[Path]]] = {}


def scratch_name(path: Path, kind: str = "part") -> Path:
    """The hidden name beside `path` under which this process builds it (`part`) or moves it aside (`old`)."""
    return path.with_name(f".{path.name}.{os.getpid()}.{kind}")


def is_leftover_of(path: Path, name: str) -> bool:
    """Whether a file or folder was left beside `name` by a process that is gone, or earlier by this one."""
    match = LEFTOVER.fullmatch(path.name)
    return match is not None and match["name"] == name and not _is_alive(int(match["process"]))


def _is_alive(process: int) -> bool:
    if process == os.getpid():
        return False
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def _remove_stale_parts(path: Path) -> None:
    """Deletes what killed runs left half-written under this file's name. A folder is listed once a process."""
    if path.parent not in _looked_through:
        found: dict[str, list[Path]] = {}
        with os.scandir(path.parent) as entries:
            for entry in entries:
                match = LEFTOVER.fullmatch(entry.name)
                if match is not None and match["kind"] == "part" and entry.is_file(follow_symlinks=False):
                    found.setdefault(match["name"], []).append(path.parent / entry.name)
        _looked_through[path.parent] = found
    for stale in _looked_through[path.parent].pop(path.name, ()):
        if is_leftover_of(stale, path.name):
            stale.unlink(missing_ok=True)


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Gives a scratch path beside `path`; renames it to `path` when the block ends well, deletes it otherwise.

    What killed runs left half-written under the same name is deleted on the way.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_stale_parts(path)
    scratch = scratch_name(path)
    try:
        yield scratch
        with scratch.open("rb") as file:
            os.fsync(file.fileno())
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)


def atomic_write_bytes(path: Path, data: bytes) -> None:
    """Writes `data` to `path`, atomically."""
    with atomic_path(path) as scratch:
        scratch.write_bytes(data)


def atomic_write_text(path: Path, text: str) -> None:
    """Writes UTF-8 `text` to `path`, atomically."""
    atomic_write_bytes(path, text.encode("utf-8"))


def sha256_of_file(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
