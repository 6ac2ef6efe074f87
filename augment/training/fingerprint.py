"""What tells one training run from another, so that none goes on from the checkpoint of another."""

from __future__ import annotations

from typing import Any

import torch
from pydantic import BaseModel

from augment.core.code_hash import hash_code
from augment.faces.face_hash import hash_faces
from augment.faces.tensors import FaceTensors
from augment.translators.base import Translator


def run_fingerprint(
    translator: Translator,
    train: FaceTensors,
    validation: FaceTensors | None,
    settings: BaseModel,
    seed: int,
    device: torch.device,
    ranks: int = 1,
) -> dict[str, Any]:
    """Tells this run from others: all that a bit-identical result depends on, but for the initial weights."""
    return {
        **({"ranks": ranks} if ranks > 1 else {}),
        "translator": translator.name,
        "translator_settings": translator.settings.model_dump(mode="json"),
        "form": {
            "num_classes": translator.num_classes,
            "channels": translator.channels,
            "size": translator.size,
        },
        "training": settings.model_dump(mode="json"),
        "seed": seed,
        "device": device.type,
        "torch": torch.__version__,
        "train_sha256": hash_faces(train),
        "validation_sha256": hash_faces(validation),
        "code_sha256": hash_code(_modules(type(translator))),
    }


def network_facts(translator: Translator, settings: BaseModel) -> dict[str, Any]:
    """What the work of a step depends on beside the machine: which precision is faster depends on it."""
    return {
        "translator": translator.name,
        "translator_settings": translator.settings.model_dump(mode="json"),
        "form": {"num_classes": translator.num_classes, "channels": translator.channels, "size": translator.size},
        "training": settings.model_dump(mode="json", include={"batch_size", "discriminator_steps", "augmentation"}),
    }


def _modules(method: type[Translator]) -> set[str]:
    """Where the loop and a method's own code begin."""
    return {"augment.training.loop", *(base.__module__ for base in method.__mro__ if issubclass(base, Translator))}
