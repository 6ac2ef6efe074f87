"""That a data set is the same when all of it has been read as when reading began."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from augment.core.errors import InputError, Problem
from augment.sources.folder_walk import is_ignored


@contextmanager
def unchanged(roots: Sequence[Path], *, but: Collection[Path] = ()) -> Iterator[None]:
    """Refuses a data set whose files come, go or change within the block.

    To whoever takes a hash of the data afterwards, as DVC does, faces that came while it was read would count as read.

    Args:
        roots: Files and folders; what can't be looked into is the source's to name.
        but: Files that the block itself writes.

    Raises:
        InputError: Files came, went or changed.
    """
    before = _state_of(roots, but)
    yield
    after = _state_of(roots, but)
    changed = sorted(path for path in {*before, *after} if before.get(path) != after.get(path))
    if changed:
        shown = ", ".join(changed[:3]) + (", ..." if len(changed) > 3 else "")
        why = f"{len(changed):,} file{'s' if len(changed) > 1 else ''} came, went or changed while it was read: {shown}"
        raise InputError(Problem("the data set", why, "run it again; landmarks that were found are kept"))


def _state_of(roots: Sequence[Path], but: Collection[Path]) -> dict[str, tuple[int, int]]:
    """Size in bytes and time of change in nanoseconds of every file, those that links lead to among them."""
    found: dict[str, tuple[int, int]] = {}
    seen = {os.path.realpath(path) for path in but}
    waiting = list(roots)
    while waiting:
        path = waiting.pop()
        real = os.path.realpath(path)
        if real in seen:
            continue
        seen.add(real)
        try:
            if path.is_dir():
                waiting += [entry for entry in path.iterdir() if not is_ignored(entry)]
            else:
                about = path.stat()
                found[str(path)] = (about.st_size, about.st_mtime_ns)
        except OSError:
            continue
    return found
