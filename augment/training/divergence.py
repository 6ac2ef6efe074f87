"""The error of a training that diverged."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import torch


class TrainingDivergedError(FloatingPointError):
    """A loss, a weight or a score is no longer finite.

    Attributes:
        step: The generator step at which it was seen, from 0.
        term: Which term, for example `discriminator/adversarial`.
        checkpoint: The last good checkpoint's folder; None if there is none yet.
        checkpoint_step: The number of finished steps that it holds.
    """

    def __init__(self, step: int, term: str, value: float, checkpoint: Path | None, checkpoint_step: int) -> None:
        self.step = step
        self.term = term
        self.checkpoint = checkpoint
        self.checkpoint_step = checkpoint_step
        good = (
            f"the last good checkpoint is {checkpoint}, after {checkpoint_step} steps"
            if checkpoint
            else "there is no checkpoint yet"
        )
        self._arguments = (step, term, value, checkpoint, checkpoint_step)
        super().__init__(
            f"training diverged at step {step}: {term} is {value}; {good}. Lower the learning rates or the weight of "
            "this loss and train anew in an empty scratch folder: the same run would diverge again"
        )

    def __reduce__(self) -> tuple[type[TrainingDivergedError], tuple[int, str, float, Path | None, int]]:
        # By default an error is made again from its message, in the process that it is sent to.
        return type(self), self._arguments


def first_non_finite(weights: Mapping[str, torch.Tensor]) -> tuple[str, float] | None:
    """Name and value (NaN) of the first tensor that holds a number that is not finite; None if all are finite.

    A finite loss can still have spoiled the weights in the step that followed; such weights are never a checkpoint.
    """
    floating = {name: value for name, value in weights.items() if value.is_floating_point()}
    finite = torch.stack([torch.isfinite(value).all() for value in floating.values()]).tolist()
    spoiled = [name for name, good in zip(floating, finite, strict=True) if not good]
    return (f"weight {spoiled[0]}", math.nan) if spoiled else None
