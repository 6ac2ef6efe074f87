"""Which faces per batch is made of: endless, seeded draws, balanced by class or not."""

from __future__ import annotations

import numpy as np


class DrawStream:
    """An endless sequence of positions into a set of faces.

    Unbalanced, it is one shuffled pass over all faces after the other. Balanced, every run of as many draws as there
    are classes holds each class once, in shuffled order, and each class goes through its own faces in shuffled passes:
    a class of 20 faces is seen as often as one of 2,000. Classes without a face are left out.

    The sequence depends on the labels and the seed alone, not on how many draws are taken at a time: arms that share
    seed and real faces see the same real faces in the same order, an arm with half of its batch synthetic at half the
    pace.

    Args:
        labels: int [N], N > 0.
        balanced: Whether classes are drawn alike.
        seed: Not negative.
    """

    _BLOCKS = 64

    def __init__(self, labels: np.ndarray, *, balanced: bool, seed: int) -> None:
        if len(labels) == 0:
            raise ValueError("there is no face to draw")
        self._random = np.random.default_rng(seed)
        groups = [np.flatnonzero(labels == label) for label in np.unique(labels)] if balanced else []
        self._groups = groups or [np.arange(len(labels))]
        self._queues = [np.empty(0, np.int64) for _ in self._groups]
        self._ready = np.empty(0, np.int64)

    def take(self, count: int) -> np.ndarray:
        """The next `count` positions, int64."""
        parts = [self._ready]
        have = len(self._ready)
        while have < count:
            parts.append(self._blocks())
            have += len(parts[-1])
        ready = np.concatenate(parts)
        self._ready = ready[count:]
        return ready[:count]

    def _blocks(self) -> np.ndarray:
        order = self._random.permuted(np.tile(np.arange(len(self._groups)), (self._BLOCKS, 1)), axis=1).ravel()
        positions = np.empty(len(order), np.int64)
        for group in range(len(self._groups)):
            positions[order == group] = self._from_group(group, self._BLOCKS)
        return positions

    def _from_group(self, group: int, count: int) -> np.ndarray:
        while len(self._queues[group]) < count:
            shuffled = self._random.permutation(self._groups[group])
            self._queues[group] = np.concatenate([self._queues[group], shuffled])
        taken, self._queues[group] = self._queues[group][:count], self._queues[group][count:]
        return taken
