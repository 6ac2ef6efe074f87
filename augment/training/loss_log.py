"""Loss terms of a run: each is checked to be finite, and the means of an interval are kept."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch

# Steps whose terms may wait on a CUDA device before they are looked at: reading them waits for the device.
PENDING_STEPS = 8


class LossTerms:
    """Loss terms: each is checked to be finite, and the interval's means are kept.

    On the CPU a term is checked before its step is made. On CUDA that would wait for the device at every step, so the
    terms of a few steps are fetched at once; the first bad step is still known.
    """

    def __init__(self, *, synchronous: bool) -> None:
        self._synchronous = synchronous
        self._pending: list[tuple[int, list[str], torch.Tensor]] = []
        self._sums: dict[str, float] = {}
        self._counts: dict[str, int] = {}

    def record(self, step: int, names: list[str], values: torch.Tensor) -> None:
        """Takes in terms [len(names)] of a step."""
        self._pending.append((step, names, values))

    def look(self, *, flush: bool) -> tuple[int, str, float] | None:
        """Fetches what is due; returns step, name and value of the first term that is not finite."""
        if not self._pending or not (
            flush or self._synchronous or self._pending[-1][0] - self._pending[0][0] >= PENDING_STEPS
        ):
            return None
        fetched = iter(torch.cat([values for _, _, values in self._pending]).tolist())
        pending, self._pending = self._pending, []
        for step, names, _ in pending:
            for name in names:
                value = next(fetched)
                if not math.isfinite(value):
                    return step, name, value
                self._sums[name] = self._sums.get(name, 0.0) + value
                self._counts[name] = self._counts.get(name, 0) + 1
        return None

    def means_and_reset(self) -> dict[str, float]:
        """Each term's mean over the interval's steps in which it took part."""
        means = {name: self._sums[name] / self._counts[name] for name in sorted(self._sums)}
        self._sums, self._counts = {}, {}
        return means

    def state(self) -> dict[str, Any]:
        """The interval so far, as JSON values (floats survive JSON exactly)."""
        return {"sums": self._sums, "counts": self._counts}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Goes on where `state` was taken."""
        self._sums, self._counts = dict(state["sums"]), dict(state["counts"])
