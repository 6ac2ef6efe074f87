"""What changes in a classifier's training, for checkpoints of it (`augment.core.training_checkpoints`).

What is cheap to do over is not kept: the draws of a stream are taken again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from augment.core.checkpoints import Checkpoint
from augment.networks.moments import read_moments, restore_moments
from augment.training.ema import MovingAverage
from augment.training.stopwatch import Stopwatch


@dataclass
class TrainingState:
    """All that changes in a classifier's training, but for the streams that it draws faces from.

    Attributes:
        model: The network, on the device that it is trained on.
        optimizer: Its optimizer.
        scheduler: Of the learning rate.
        scaler: Of the loss, in float16.
        average: Of the weights.
        generator: Of the augmentations.
        stopwatch: Began with this session.
        step: Optimizer steps done.
        sums: Since the last look at the validation faces: the loss, the share of faces that were told right, and the
            first step whose loss was not finite (0: none). On the device: to read them would make a GPU wait.
        history: A row for each look.
        best: The weights that are kept, by their names; empty before there are any.
        best_step: Steps done when they were.
        best_score: Their score on the validation faces.
    """

    model: torch.nn.Module
    optimizer: torch.optim.Optimizer
    scheduler: torch.optim.lr_scheduler.LRScheduler
    scaler: torch.amp.GradScaler
    average: MovingAverage
    generator: torch.Generator
    stopwatch: Stopwatch
    step: int = 0
    sums: dict[str, torch.Tensor] = field(init=False)
    history: list[dict[str, float]] = field(default_factory=list)
    best: dict[str, torch.Tensor] = field(default_factory=dict)
    best_step: int = 0
    best_score: float = -1.0

    def __post_init__(self) -> None:
        kinds = {"loss": torch.float32, "right": torch.float32, "first_bad": torch.int64}
        self.sums = {name: torch.zeros((), dtype=kind, device=self._device) for name, kind in kinds.items()}

    @property
    def steps_since_look(self) -> int:
        """Steps done since the last look at the validation faces."""
        return self.step - (int(self.history[-1]["step"]) if self.history else 0)

    def add(self, loss: torch.Tensor, right: torch.Tensor) -> None:
        """Counts a step: its loss, and the share of its faces that were told right, on the device."""
        self.step += 1
        with torch.no_grad():
            bad = ~torch.isfinite(loss)
            first = self.sums["first_bad"]
            first.copy_(torch.where((first == 0) & bad, self.step, first))
            self.sums["loss"] += loss
            self.sums["right"] += right

    def look(self, row: dict[str, float]) -> None:
        """Ends the interval at a look, and keeps its row."""
        self.history.append(row)
        for total in self.sums.values():
            total.zero_()

    def tensors(self) -> dict[str, torch.Tensor]:
        """By `<group>/<name>`: weights, their average, the best ones, moments, sums, the state of the generator."""
        groups: dict[str, Mapping[str, torch.Tensor]] = {
            "model": self.model.state_dict(),
            "average": self.average.values,
            "best": self.best,
            "optimizer": read_moments(self.optimizer, self._names),
            "sums": self.sums,
        }
        tensors = {f"{group}/{name}": value for group, values in groups.items() for name, value in values.items()}
        return tensors | {"chance": self.generator.get_state()}

    def values(self) -> dict[str, Any]:
        """What is no tensor, as JSON values."""
        return {
            "average_updates": self.average.updates,
            "best_step": self.best_step,
            "best_score": self.best_score,
            "scheduler": self.scheduler.state_dict(),
            "scaler": self.scaler.state_dict(),
            "seconds": self.stopwatch.seconds,
            "processor_seconds": self.stopwatch.processor_seconds,
        }

    def log(self) -> list[dict[str, float]]:
        """A row for each look."""
        return self.history

    def load(self, checkpoint: Checkpoint) -> None:
        """Puts everything back to where it was."""
        values = checkpoint.state
        self.model.load_state_dict(checkpoint.group("model"))
        for kept, tensors in (("average", self.average.values), ("sums", self.sums)):
            found = checkpoint.group(kept)
            for name, value in tensors.items():
                value.copy_(found[name])
        self.average.updates = values["average_updates"]
        restore_moments(self.optimizer, self._names, checkpoint.group("optimizer"))
        self.scheduler.load_state_dict(values["scheduler"])
        for group, learning_rate in zip(self.optimizer.param_groups, self.scheduler.get_last_lr(), strict=True):
            group["lr"] = learning_rate
        self.scaler.load_state_dict(values["scaler"])
        self.generator.set_state(checkpoint.tensors["chance"])
        self.best = {name: value.to(self._device) for name, value in checkpoint.group("best").items()}
        self.best_step, self.best_score = values["best_step"], values["best_score"]
        self.history = [json.loads(line) for line in checkpoint.log.splitlines()]
        self.stopwatch.before, self.stopwatch.processor_before = values["seconds"], values["processor_seconds"]
        self.step = checkpoint.step

    @property
    def _device(self) -> torch.device:
        return next(self.model.parameters()).device

    @property
    def _names(self) -> list[str]:
        names = {id(parameter): name for name, parameter in self.model.named_parameters()}
        return [names[id(parameter)] for group in self.optimizer.param_groups for parameter in group["params"]]
