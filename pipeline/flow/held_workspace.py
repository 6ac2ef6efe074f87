"""One flow at a time in a workspace, and which one it is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

from filelock import FileLock, Timeout

from augment.core.errors import InputError, Problem
from augment.core.files import atomic_write_text
from pipeline.running_stages import flow_lock


def holder_file(root: Path) -> Path:
    """Where who holds a workspace notes itself."""
    return flow_lock(root).with_suffix(".pid")


def write_holder(file: Path, process: int, run: UUID | None) -> None:
    """Notes which process and which run hold a workspace.

    Args:
        file: Beside the lock of the workspace.
        process: Its number.
        run: Id of the flow run; None where there is none.
    """
    atomic_write_text(file, f"{process} {run or ''}".strip())


def read_holder(file: Path) -> tuple[int | None, UUID | None]:
    """The process and the run that held a workspace last, as far as the file tells."""
    try:
        words = file.read_text(encoding="utf-8").split()
        return int(words[0]), UUID(words[1]) if len(words) > 1 else None
    except (OSError, ValueError, IndexError):
        return None, None


@contextmanager
def held_workspace(root: Path, place: str | None = None) -> Iterator[Path]:
    """Holds a workspace against a second flow; the lock goes with the process, however that ends.

    Args:
        root: The workspace.
        place: As messages name it; None: by its path.

    Yields:
        The file in which who holds it notes itself (`write_holder`).

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
