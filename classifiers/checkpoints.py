"""A classifier's training, kept on disk where it takes minutes, and gone on from.

Networks of a minute are trained anew where they are killed; those of half an hour (FER2013 at `long`, ResNets) go on.
What is cheap to do over is not kept: the draws of a stream are taken again.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from augment.core.errors import InputError
from augment.core.ranks import Ranks
from augment.training.checkpoints import Checkpoint, clear_leftovers, newest_checkpoint, write_checkpoint
from augment.training.ema import MovingAverage
from augment.training.moments import read_moments, restore_moments
from augment.training.stopwatch import Stopwatch

SECONDS_BETWEEN = 60.0
SHARE_OF_WRITING = 0.05


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


class TrainingCheckpoints:
    """Where a training is kept, so that it goes on where it was killed, to the same network.

    One is written when `seconds` have passed since the last one: short trainings write none. Ranks that share a
    training write at looks at the validation faces alone, for they would have to ask each other at each step.

    Args:
        folder: This training's alone; the caller's to delete once the network is safe (`forget`).
        fingerprint: JSON values: all that the training depends on. What was kept by another one is deleted.
        seconds: Between two checkpoints, at least.
        share: Of the time, that writing takes at most; of a large network on a slow disk, fewer are written.
    """

    def __init__(
        self,
        folder: Path,
        fingerprint: Mapping[str, Any],
        *,
        seconds: float = SECONDS_BETWEEN,
        share: float = SHARE_OF_WRITING,
    ) -> None:
        self.folder = Path(folder)
        self.fingerprint = fingerprint
        self.seconds = seconds
        self.share = share
        self._due = time.monotonic() + seconds

    def resume(self, state: TrainingState, ranks: Ranks) -> None:
        """Puts a training to where its newest checkpoint has it; leaves it at its start where there is none.

        Damaged checkpoints are passed over with a warning.
        """
        checkpoint = ranks.from_first(self._newest)
        if checkpoint is not None:
            state.load(checkpoint)

    def keep(self, state: TrainingState, ranks: Ranks) -> None:
        """Writes a checkpoint, if it is time; called after each step."""
        if not ranks.alone and state.steps_since_look:
            return
        if not ranks.from_first(lambda: time.monotonic() >= self._due):
            return
        began = time.monotonic()
        ranks.from_first(
            lambda: write_checkpoint(
                self.folder,
                state.step,
                tensors=state.tensors(),
                state=state.values(),
                fingerprint=self.fingerprint,
                log="".join(json.dumps(row) + "\n" for row in state.history),
            )
        )
        now = time.monotonic()
        self._due = now + max(self.seconds, (now - began) * (1 / self.share - 1))

    def forget(self) -> None:
        """Deletes what was kept."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _newest(self) -> Checkpoint | None:
        clear_leftovers(self.folder)
        try:
            return newest_checkpoint(self.folder, self.fingerprint)
        except InputError:  # other settings, faces or code
            self.forget()
            return None
