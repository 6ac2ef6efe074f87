"""What tells one training run from another, so that none goes on from the checkpoint of another."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import json
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel

from augment.faces.tensors import FaceTensors
from augment.translators.base import Translator


def run_fingerprint(
    translator: Translator,
    train: FaceTensors,
    validation: FaceTensors | None,
    settings: BaseModel,
    seed: int,
    device: torch.device,
) -> dict[str, Any]:
    """Tells this run from others: all that a bit-identical result depends on, but for the initial weights."""
    return {
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
        "train_sha256": _hash_faces(train),
        "validation_sha256": None if validation is None else _hash_faces(validation),
        "code_sha256": _hash_code(type(translator)),
    }


def _hash_faces(faces: FaceTensors) -> str:
    """SHA-256 over all that a translator can see of faces."""
    digest = hashlib.sha256(json.dumps([faces.face_ids, faces.subjects, faces.class_names, faces.sources]).encode())
    for tensor in (faces.images, faces.labels, faces.landmarks, faces.masks, faces.yaw, faces.simulated):
        if tensor is None:
            digest.update(b"none")
        else:
            array = tensor.cpu().contiguous().numpy()
            digest.update(f"{array.dtype}{array.shape}".encode())
            digest.update(array.data)
    return digest.hexdigest()


def _hash_code(method: type[Translator]) -> str:
    """SHA-256 over the source of the loop and of the method, with all that they import from their own packages."""
    waiting = {"augment.training.loop", *(base.__module__ for base in method.__mro__ if issubclass(base, Translator))}
    packages = {name.partition(".")[0] for name in waiting}
    sources: dict[str, bytes] = {}
    while waiting:
        name = waiting.pop()
        spec = importlib.util.find_spec(name) if name != "__main__" else None
        if name in sources or spec is None or not spec.origin or not spec.origin.endswith(".py"):
            continue
        sources[name] = Path(spec.origin).read_bytes()
        package = name if spec.submodule_search_locations else name.rpartition(".")[0]
        waiting |= {found for found in _imports(sources[name], package) if found.partition(".")[0] in packages}
    digest = hashlib.sha256()
    for name in sorted(sources):
        digest.update(name.encode() + b"\0" + hashlib.sha256(sources[name]).digest())
    return digest.hexdigest()


def _imports(source: bytes, package: str) -> set[str]:
    """Names of the modules that a module imports, wherever in it; names from packages are taken for modules too."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            module = importlib.util.resolve_name("." * node.level + (node.module or ""), package or None)
            found.add(module)
            spec = importlib.util.find_spec(module) if module.partition(".")[0] == package.partition(".")[0] else None
            if spec is not None and spec.submodule_search_locations:
                found |= {f"{module}.{alias.name}" for alias in node.names}
    return found
