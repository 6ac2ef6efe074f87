"""How far trainings in other processes are: steps that they count in a file, which their parent looks at."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm


@contextmanager
def followed(bar: tqdm[Any], path: Path, trainings: int, *, seconds: float = 1.0) -> Iterator[None]:
    """Within the block a bar shows how many steps several trainings have done together.

    Args:
        bar: Counts steps.
        path: A file for the counts, which is deleted at the end.
        trainings: How many there are; each counts at a place of its own (`count_steps`).
        seconds: Between two looks.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    steps = np.memmap(path, np.int64, "w+", shape=(trainings,))
    ended = threading.Event()

    def follow() -> None:
        shown = 0
        while True:
            last = ended.wait(seconds)
            done = int(steps.sum())
            bar.update(done - shown)
            shown = done
            if last:
                return

    follower = threading.Thread(target=follow, daemon=True)
    follower.start()
    try:
        yield
    finally:
        ended.set()
        follower.join()
        path.unlink(missing_ok=True)


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
