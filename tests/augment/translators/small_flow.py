"""An appearance flow that is small enough to be trained for seconds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from augment.faces.tensors import FaceTensors
from augment.training.loop import train_translator
from augment.training.publish import TrainingResult
from augment.training.settings import TrainingSettings
from augment.translators import create_translator
from augment.translators.appearance_flow import AppearanceFlow

SIZE, NEUTRAL = 32, 4
SMALL = {"width": 16, "residual_blocks": 1, "detail_width": 12, "condition_width": 32}


def flow_translator(channels: int = 1, **settings: Any) -> AppearanceFlow:
    made = create_translator(
        "appearance_flow", num_classes=7, channels=channels, size=SIZE, settings={**SMALL, **settings}
    )
    assert isinstance(made, AppearanceFlow)
    return made


def train_briefly(translator: AppearanceFlow, faces: FaceTensors, folder: Path) -> TrainingResult:
    """Sixty steps."""
    settings = TrainingSettings(
        steps=60,
        batch_size=16,
        generator_learning_rate=4e-3,
        betas=(0.9, 0.99),
        ema_decay=0.9,
        log_every=20,
        sample_every=60,
        sample_faces=2,
        checkpoint_every=60,
    )
    return train_translator(translator, faces, None, settings, out=folder / "out", scratch=folder / "scratch", seed=0)
