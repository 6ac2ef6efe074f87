from __future__ import annotations

import time
from pathlib import Path

import pytest

from classifiers.followed import count_steps, followed


def test_a_bar_follows_what_trainings_count() -> None:
    seen: list[int] = []
    with followed(seen.append, 2, seconds=0.01) as counts:
        first, second = count_steps(counts, 0), count_steps(counts, 1)
        for step in range(1, 8):
            first(step)
        second(4)
        deadline = time.monotonic() + 10
        while sum(seen) < 11 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert sum(seen) == 11  # while they go on
        second(10)
    assert sum(seen) == 17 and not counts.parent.exists()


def test_nothing_is_left_where_a_training_fails() -> None:
    places: list[Path] = []
    with pytest.raises(ArithmeticError), followed(lambda steps: None, 1) as counts:
        places.append(counts)
        raise ArithmeticError
    assert not places[0].parent.exists()
