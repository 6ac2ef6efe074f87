"""Schedules of the learning rate."""

from __future__ import annotations

import torch


def one_cycle(
    optimizer: torch.optim.Optimizer, *, peak: float, steps: int, rise: float, cycle_momentum: bool = False
) -> torch.optim.lr_scheduler.OneCycleLR:
    """One cycle (Smith and Topin 2019): up to a peak, then down to nought, cosine both ways.

    Args:
        optimizer: Whose learning rate is set.
        peak: The highest learning rate.
        steps: Of the whole cycle, 2 or more; torch refuses to be stepped beyond it.
        rise: Share of the steps that go up, in 0..1 without its ends.
        cycle_momentum: Whether momentum goes the other way, as in the paper (of Adam: its first beta).
    """
    if rise * steps == 1.0:
        rise *= 1 + 1e-9  # torch divides by the rise's length less 1
    return torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=peak, total_steps=steps, pct_start=rise, cycle_momentum=cycle_momentum
    )
