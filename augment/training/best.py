"""The choice of the weights that are published: those of the best validation score."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch


class BestWeights:
    """The validation scores of a run, and the weights of the highest one; of two equal scores the earlier counts.

    Attributes:
        scores: (steps, score) of every validation.
        step: The steps after which `weights` were taken; 0 before the first.
        score: Their score; None without validation.
        weights: By name, on the CPU; None before the first.
    """

    def __init__(self) -> None:
        self.scores: list[tuple[int, float]] = []
        self.step = 0
        self.score: float | None = None
        self.weights: dict[str, torch.Tensor] | None = None

    def offer(self, step: int, score: float, weights: Callable[[], dict[str, torch.Tensor]]) -> None:
        """Records a score, and takes the weights if it is the highest yet."""
        self.scores.append((step, score))
        if self.score is None or score > self.score:
            self.step, self.score, self.weights = step, score, weights()

    def state(self) -> dict[str, Any]:
        """All but the weights, as JSON values."""
        return {"best_step": self.step, "best_score": self.score, "scores": self.scores}

    def load(self, state: Mapping[str, Any], weights: dict[str, torch.Tensor] | None) -> None:
        """Restores what `state` and `weights` were."""
        self.step, self.score = state["best_step"], state["best_score"]
        self.scores = [(step, score) for step, score in state["scores"]]
        self.weights = weights
