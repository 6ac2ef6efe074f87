"""A classifier's training between two looks at the validation faces: kept on disk, and gone on from.

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

SECONDS_BETWEEN = 60.0


@dataclass
class TrainingState:
    """All that changes in a classifier's training, but for the streams that it draws faces from.

    Attributes:
        model: The network.
        optimizer: Its optimizer.
        scheduler: Of the learning rate.
        scaler: Of the loss, in float16.
        average: Of the weights.
        generator: Of the augmentations.
        step: Optimizer steps done.
        history: A row for each look at the validation faces.
        best: The weights that are kept, by their names; empty before there are any.
        best_step: Steps done when they were.
        best_score: Their score on the validation faces.
        seconds_before: Wall time of earlier sessions.
        processor_seconds_before: Processor time of earlier sessions.
        began: When this session began, by `time.perf_counter`.
        began_processor: Likewise, by `time.process_time`.
    """

    model: torch.nn.Module
    optimizer: torch.optim.Optimizer
    scheduler: torch.optim.lr_scheduler.LRScheduler
    scaler: torch.amp.GradScaler
    average: MovingAverage
    generator: torch.Generator
    step: int = 0
    history: list[dict[str, float]] = field(default_factory=list)
    best: dict[str, torch.Tensor] = field(default_factory=dict)
    best_step: int = 0
    best_score: float = -1.0
    seconds_before: float = 0.0
    processor_seconds_before: float = 0.0
    began: float = field(default_factory=time.perf_counter)
    began_processor: float = field(default_factory=time.process_time)

    @property
    def seconds(self) -> float:
        """Wall time so far."""
        return self.seconds_before + time.perf_counter() - self.began

    @property
    def processor_seconds(self) -> float:
        """Processor time of this process so far."""
        return self.processor_seconds_before + time.process_time() - self.began_processor

    def tensors(self) -> dict[str, torch.Tensor]:
        """By `<group>/<name>`: weights, their average, the best ones, the moments, the state of the generator."""
        moments = self.optimizer.state_dict()["state"]
        groups: dict[str, Mapping[str, torch.Tensor]] = {
            "model": self.model.state_dict(),
            "average": self.average.values,
            "best": self.best,
            **{f"optimizer/{index}": _tensors_of(values) for index, values in moments.items()},
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
            "seconds": self.seconds,
            "processor_seconds": self.processor_seconds,
        }

    def load(self, checkpoint: Checkpoint) -> None:
        """Puts everything back to where it was."""
        values = checkpoint.state
        self.model.load_state_dict(checkpoint.group("model"))
        averaged = checkpoint.group("average")
        for name, value in self.average.values.items():
            value.copy_(averaged[name])
        self.average.updates = values["average_updates"]
        parameters = [parameter for group in self.optimizer.param_groups for parameter in group["params"]]
        moments = {
            index: {
                # In the parameter's own memory layout, which fused optimizers count on.
                name: torch.empty_like(parameter).copy_(value) if value.shape == parameter.shape else value
                for name, value in checkpoint.group(f"optimizer/{index}").items()
            }
            for index, parameter in enumerate(parameters)
        }
        self.optimizer.load_state_dict(
            {
                "state": {index: found for index, found in moments.items() if found},
                "param_groups": self.optimizer.state_dict()["param_groups"],
            }
        )
        self.scheduler.load_state_dict(values["scheduler"])
        for group, learning_rate in zip(self.optimizer.param_groups, self.scheduler.get_last_lr(), strict=True):
            group["lr"] = learning_rate
        self.scaler.load_state_dict(values["scaler"])
        self.generator.set_state(checkpoint.tensors["chance"])
        device = next(self.model.parameters()).device
        self.best = {name: value.to(device) for name, value in checkpoint.group("best").items()}
        self.best_step, self.best_score = values["best_step"], values["best_score"]
        self.history = [json.loads(line) for line in checkpoint.log.splitlines()]
        self.seconds_before, self.processor_seconds_before = values["seconds"], values["processor_seconds"]
        self.step = checkpoint.step


class TrainingCheckpoints:
    """Where a training is kept, so that it goes on where it was killed, to the same network.

    One is written at a look at the validation faces, when `seconds` have passed since the last one: short trainings
    write none.

    Args:
        folder: This training's alone; the caller's to delete once the network is safe (`forget`).
        fingerprint: JSON values: all that the training depends on. What was kept by another one is deleted.
        seconds: Between two checkpoints, at least.
    """

    def __init__(self, folder: Path, fingerprint: Mapping[str, Any], seconds: float = SECONDS_BETWEEN) -> None:
        self.folder = Path(folder)
        self.fingerprint = fingerprint
        self.seconds = seconds
        self._last = time.perf_counter()

    def resume(self, state: TrainingState, ranks: Ranks) -> None:
        """Puts a training to where its newest checkpoint has it; leaves it at its start where there is none.

        Damaged checkpoints are passed over with a warning.
        """
        checkpoint = ranks.from_first(self._newest)
        if checkpoint is not None:
            state.load(checkpoint)

    def keep(self, state: TrainingState, ranks: Ranks) -> None:
        """Writes a checkpoint, if it is time."""
        if not ranks.from_first(lambda: time.perf_counter() - self._last >= self.seconds):
            return
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
        self._last = time.perf_counter()

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


def _tensors_of(values: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    return {name: value for name, value in values.items() if isinstance(value, torch.Tensor)}
