"""The training of a translator that is fitted at once, without gradient steps."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import torch

from augment.core.files import atomic_write_bytes, atomic_write_text
from augment.core.seeding import derive_seed
from augment.faces.tensors import FaceTensors
from augment.training.publish import TrainingResult, publish
from augment.training.samples import sample_sheet, sheet_faces
from augment.training.settings import TrainingSettings
from augment.translators.base import FittedTranslator, Translator


def fit_translator(
    translator: FittedTranslator,
    train: FaceTensors,
    settings: TrainingSettings,
    *,
    out: Path,
    seed: int,
    validate: Callable[[Translator, int], float] | None,
) -> TrainingResult:
    """Fits a translator and publishes it; the arguments are those of `augment.training.loop.train_translator`."""
    began = time.monotonic()
    facts = dict(translator.fit(train))
    seconds = time.monotonic() - began
    translator.eval()
    atomic_write_text(out / "log.jsonl", json.dumps({"step": 0, "facts": facts, "seconds": round(seconds, 3)}) + "\n")
    shutil.rmtree(out / "samples", ignore_errors=True)
    generator = torch.Generator().manual_seed(derive_seed(seed, "samples"))
    sheet = sample_sheet(translator, sheet_faces(translator, train, settings.sample_faces), generator)
    atomic_write_bytes(out / "samples" / "step-000000.png", sheet)
    score = float(validate(translator, 0)) if validate is not None else None
    return publish(
        translator,
        train,
        settings,
        out=out,
        seed=seed,
        steps=0,
        best_step=0,
        best_score=score,
        scores=[] if score is None else [(0, score)],
        seconds=seconds,
        facts=facts,
        measured={"facts": facts},
        resumed_from=None,
    )
