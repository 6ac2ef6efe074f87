"""What a training publishes: `weights.safetensors`, `training.json`, and the result that its caller gets."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from augment.core.files import atomic_write_text, sha256_of_file
from augment.faces.tensors import FaceTensors
from augment.training.settings import TrainingSettings
from augment.translators.base import LearnedTranslator, Translator


@dataclass(frozen=True)
class TrainingResult:
    """The result of a training.

    Attributes:
        weights: The published weights' file; read it with `augment.translators.load_translator`.
        weights_sha256: Of that file.
        steps: Steps made; 0 for a fitted translator.
        best_step: The steps after which the published weights were taken.
        best_score: Their validation score; None without validation.
        scores: (steps, score) of every validation.
        facts: What `fit` of a fitted translator or `prepare_training` of a learned one returned.
        seconds: Of training, over all sessions of a resumed run.
        resumed_from: The steps of the checkpoint from which this session went on; None if it began anew.
    """

    weights: Path
    weights_sha256: str
    steps: int
    best_step: int
    best_score: float | None
    scores: tuple[tuple[int, float], ...]
    facts: Mapping[str, Any]
    seconds: float
    resumed_from: int | None


def publish(
    translator: Translator,
    train: FaceTensors,
    settings: TrainingSettings,
    *,
    out: Path,
    seed: int,
    steps: int,
    best_step: int,
    best_score: float | None,
    scores: list[tuple[int, float]],
    seconds: float,
    facts: Mapping[str, Any],  # what `fit` or `prepare_training` returned
    measured: Mapping[str, Any],  # further fields of training.json
    resumed_from: int | None,
) -> TrainingResult:
    """Writes the translator's weights and the report of its training.

    Returns:
        Where the weights are, and how the run went.
    """
    from augment.translators import save_translator  # the registry imports the methods; a loop needs none of them

    weights = out / "weights.safetensors"
    save_translator(translator, weights, class_names=train.class_names)
    digest = sha256_of_file(weights)
    device = train.images.device
    counts = torch.bincount(train.labels.cpu(), minlength=len(train.class_names)).tolist()
    report = {
        "translator": translator.name,
        "translator_settings": translator.settings.model_dump(mode="json"),
        "settings": settings.model_dump(mode="json") if isinstance(translator, LearnedTranslator) else None,
        "seed": seed,
        "faces": dict(zip(train.class_names, counts, strict=True)),
        "steps": steps,
        "best_step": best_step,
        "best_score": best_score,
        "scores": scores,
        "seconds": round(seconds, 3),
        **measured,
        "weights_sha256": digest,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "torch": torch.__version__,
        "peak_memory_bytes": _peak_memory(device),
    }
    atomic_write_text(out / "training.json", json.dumps(report, indent=1) + "\n")
    return TrainingResult(
        weights=weights,
        weights_sha256=digest,
        steps=steps,
        best_step=best_step,
        best_score=best_score,
        scores=tuple(scores),
        facts=facts,
        seconds=seconds,
        resumed_from=resumed_from,
    )


def _peak_memory(device: torch.device) -> int:
    """Bytes: the device's allocations on CUDA, the process's resident set on the CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        import resource
    except ImportError:  # Windows
        import psutil

        return psutil.Process().memory_info().peak_wset
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return resident if sys.platform == "darwin" else resident * 1024
