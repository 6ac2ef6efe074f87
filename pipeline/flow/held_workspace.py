"""One flow at a time in a workspace."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from augment.core.errors import InputError, Problem
from pipeline.flow.lost_runs import read_holder
from pipeline.running_stages import flow_lock


def holder_file(root: Path) -> Path:
    """Where who holds a workspace notes itself."""
    return flow_lock(root).with_suffix(".pid")


@contextmanager
def held_workspace(root: Path, place: str | None = None) -> Iterator[Path]:
    """Holds a workspace against a second flow; the lock goes with the process, however that ends.

    Args:
        root: The workspace.
        place: As messages name it; None: by its path.

    Yields:
        The file in which who holds it notes itself (`pipeline.flow.lost_runs.write_holder`).

    Raises:
        InputError: Another flow, or a worker of one, holds it.
    """
    file, holder = flow_lock(root), holder_file(root)
    file.parent.mkdir(exist_ok=True)
    lock = FileLock(file)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        why = f"another flow runs here (process {read_holder(holder)[0] or 'unknown'})"
        raise InputError(Problem(place or str(root), why, "wait for it, or stop it")) from error
    try:
        yield holder
    finally:
        lock.release()
