"""How far trainings in other processes are: steps that they count in a file, which their parent looks at."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np


@contextmanager
def followed(update: Callable[[int], Any], trainings: int, *, seconds: float = 1.0) -> Iterator[Path]:
    """Within the block a bar shows how many steps several trainings have done together.

    Args:
        update: Called with the number of steps since the last call: the `update` of a bar that counts steps.
        trainings: How many there are; each counts at a place of its own (`count_steps`).
        seconds: Between two looks.

    Yields:
        The file of the counts.
    """
    folder = TemporaryDirectory(prefix="s2l-steps-", ignore_cleanup_errors=True)  # Windows: a file that is mapped
    path = Path(folder.name) / "steps"
    steps = np.memmap(path, np.int64, "w+", shape=(trainings,))
    ended = threading.Event()

    def follow() -> None:
        shown = 0
        while True:
            last = ended.wait(seconds)
            done = int(steps.sum())
            update(done - shown)
            shown = done
            if last:
                return

    follower = threading.Thread(target=follow, daemon=True)
    follower.start()
    try:
        yield path
    finally:
        ended.set()
        follower.join()
        folder.cleanup()


def count_steps(path: Path, number: int) -> Callable[[int], None]:
    """What a training calls with the number of steps that it has done.

    Args:
        path: The file of `followed`.
        number: Of the training, from 0.
    """
    steps = np.memmap(path, np.int64, "r+")

    def count(step: int) -> None:
        steps[number] = step

    return count
