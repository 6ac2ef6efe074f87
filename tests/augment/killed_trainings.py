"""Trainings that end in the middle, as if their process were killed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from augment.core.training_checkpoints import ResumableState, TrainingCheckpoints


class KilledError(Exception):
    """In the place of a kill: nothing of the training is left but what lies on disk."""


class Killed(TrainingCheckpoints):
    """Checkpoints at every step, and a kill after that of a step; 0 never kills."""

    def __init__(self, folder: Path, fingerprint: Mapping[str, Any], step: int = 0) -> None:
        super().__init__(folder, fingerprint, seconds=0, share=1)
        self.step = step

    def keep(self, state: ResumableState) -> None:
        super().keep(state)
        if state.step == self.step:
            raise KilledError
