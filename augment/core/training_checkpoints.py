"""A training that is kept on disk by the clock, and gone on from.

Trainings of a minute are begun anew where they are killed; those of half an hour (a classifier of FER2013 at `long`,
ResNets, the parsing network at `paper`) go on. Translators keep theirs by steps (`augment.training.loop`).
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch

from augment.core.checkpoints import Checkpoint, clear_leftovers, newest_checkpoint, write_checkpoint
from augment.core.errors import InputError
from augment.core.ranks import current_ranks

SECONDS_BETWEEN = 60.0
SHARE_OF_WRITING = 0.05


class ResumableState(Protocol):
    """All that changes in a training, but for what is cheap to do over.

    Attributes:
        step: Optimizer steps done.
    """

    step: int

    def tensors(self) -> dict[str, torch.Tensor]:
        """By name, on any device."""
        ...

    def values(self) -> dict[str, Any]:
        """What is no tensor, as JSON values."""
        ...

    def log(self) -> Sequence[Mapping[str, float]]:
        """The rows that the training has logged so far."""
        ...

    def load(self, checkpoint: Checkpoint) -> None:
        """Puts everything back to where it was."""
        ...


class TrainingCheckpoints:
    """Where a training is kept, so that it goes on where it was killed, to the same network.

    One is written when `seconds` have passed since the last one: short trainings write none.

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

    def resume(self, state: ResumableState) -> None:
        """Puts a training to where its newest checkpoint has it; leaves it at its start where there is none.

        Damaged checkpoints are passed over with a warning.
        """
        checkpoint = current_ranks().from_first(self._newest)
        if checkpoint is not None:
            state.load(checkpoint)

    def keep(self, state: ResumableState) -> None:
        """Writes a checkpoint, if it is time. Called after each step; by all ranks, where they share the training."""
        ranks = current_ranks()
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
                log="".join(json.dumps(dict(row)) + "\n" for row in state.log()),
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
