"""Checkpoints of a run: folders written atomically, and a fingerprint that says whose they are.

A checkpoint is a folder `checkpoint-<step>` with `tensors.safetensors` (weights, moments, random states), `state.json`
(step, fingerprint, all that is no tensor) and `log.jsonl` (the run's log so far: the run's outputs may be deleted
before it is resumed, as DVC does). It is built under a hidden name, flushed, sealed (`augment.core.seals`) and renamed.
"""

from __future__ import annotations

import json
import os
import shutil
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from augment.core.errors import InputError, Problem
from augment.core.seals import seal_folder, seal_problems

_PREFIX = "checkpoint-"
_TENSORS, _STATE, _LOG = "tensors.safetensors", "state.json", "log.jsonl"


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that was read back.

    Attributes:
        path: Its folder.
        step: The number of finished steps.
        tensors: By name, on the CPU.
        state: JSON values.
        log: The log's text up to this step.
    """

    path: Path
    step: int
    tensors: dict[str, torch.Tensor]
    state: dict[str, Any]
    log: str

    def group(self, name: str) -> dict[str, torch.Tensor]:
        """The tensors whose names begin with `name/`, by the rest of their names; empty if there are none."""
        prefix = f"{name}/"
        return {key[len(prefix) :]: value for key, value in self.tensors.items() if key.startswith(prefix)}


def checkpoint_folders(scratch: Path) -> list[Path]:
    """The finished checkpoints of a scratch folder, oldest first."""
    return sorted(path for path in Path(scratch).glob(f"{_PREFIX}*") if path.is_dir())


def clear_leftovers(scratch: Path) -> None:
    """Deletes what killed runs left half-written. Only for the holder of the scratch folder's lock."""
    for path in Path(scratch).glob(f".{_PREFIX}*"):
        shutil.rmtree(path, ignore_errors=True)


def write_checkpoint(
    scratch: Path,
    step: int,
    *,
    tensors: Mapping[str, torch.Tensor],
    state: Mapping[str, Any],
    fingerprint: Mapping[str, Any],
    log: str,
    keep: int = 2,
) -> Path:
    """Writes a checkpoint atomically, and deletes all but the newest.

    Args:
        scratch: The run's scratch folder.
        step: The number of finished steps.
        tensors: By name, on any device.
        state: JSON values.
        fingerprint: JSON values that tell this run from others.
        log: The log's text up to this step.
        keep: How many checkpoints stay.

    Returns:
        The checkpoint's folder.
    """
    scratch = Path(scratch)
    target = scratch / f"{_PREFIX}{step:08d}"
    part = scratch / f".{target.name}.{os.getpid()}.part"
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    # A copy each: tensors that share storage (tied weights) are refused by safetensors.
    copies = {name: value.detach().to("cpu", copy=True).contiguous() for name, value in tensors.items()}
    save_file(copies, part / _TENSORS)
    _flush(part / _TENSORS)
    (part / _LOG).write_text(log, encoding="utf-8")
    _flush(part / _LOG)
    content = {
        "step": step,
        "fingerprint": fingerprint,
        "tensors_bytes": (part / _TENSORS).stat().st_size,
        "state": state,
    }
    (part / _STATE).write_text(json.dumps(content, indent=1), encoding="utf-8")
    _flush(part / _STATE)
    seal_folder(part)
    if target.exists():  # damaged, else the run would have gone on from it
        _remove(target)
    part.rename(target)
    _flush(scratch)
    for old in checkpoint_folders(scratch)[:-keep]:
        _remove(old)
    return target


def newest_checkpoint(scratch: Path, fingerprint: Mapping[str, Any]) -> Checkpoint | None:
    """Reads the newest checkpoint that is valid; damaged ones are passed over with a warning.

    Args:
        scratch: The run's scratch folder.
        fingerprint: Of the run that wants to go on.

    Returns:
        The checkpoint; None if there is none.

    Raises:
        InputError: The checkpoint is another run's; the message names what differs.
    """
    for folder in reversed(checkpoint_folders(scratch)):
        try:
            damaged = seal_problems(folder, "")
            if damaged:
                raise ValueError(f"{Path(damaged[0].where).name} {damaged[0].why}")
            content = json.loads((folder / _STATE).read_text(encoding="utf-8"))
            if (folder / _TENSORS).stat().st_size != content["tensors_bytes"]:
                raise ValueError(f"{_TENSORS} is not as long as it was")
            step, state, written = int(content["step"]), content["state"], content["fingerprint"]
            log = (folder / _LOG).read_text(encoding="utf-8")
        except (OSError, ValueError, KeyError, TypeError) as error:
            warnings.warn(f"{folder} is damaged and is passed over: {error}", stacklevel=2)
            continue
        differences = fingerprint_differences(written, fingerprint)
        if differences:
            raise InputError(
                [Problem(key, why) for key, why in differences.items()],
                f"{folder} is a checkpoint of another run; delete {scratch} to start anew, or restore:",
            )
        try:
            tensors = load_file(folder / _TENSORS)
        except (OSError, SafetensorError) as error:
            warnings.warn(f"{folder} is damaged and is passed over: {error}", stacklevel=2)
            continue
        return Checkpoint(folder, step, tensors, state, log)
    return None


def fingerprint_differences(written: Mapping[str, Any], now: Mapping[str, Any], where: str = "") -> dict[str, str]:
    """What differs between two fingerprints, as dotted key -> reason."""
    differences: dict[str, str] = {}
    # Through JSON, so that a tuple equals the list that it was read back as.
    then, current = json.loads(json.dumps(written)), json.loads(json.dumps(now))
    for key in sorted({*then, *current}):
        path = f"{where}.{key}" if where else str(key)
        old, new = then.get(key), current.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            differences |= fingerprint_differences(old, new, path)
        elif key not in then or key not in current or old != new:
            differences[path] = f"{json.dumps(old)} in the checkpoint, {json.dumps(new)} now"
    return differences


def _remove(folder: Path) -> None:
    """Deletes a checkpoint; a kill half-way leaves a hidden folder, never half a checkpoint."""
    hidden = folder.with_name(f".{folder.name}.{os.getpid()}.old")
    shutil.rmtree(hidden, ignore_errors=True)
    folder.rename(hidden)
    shutil.rmtree(hidden, ignore_errors=True)


def _flush(path: Path) -> None:
    """Flushes a file to disk; a folder too, where the system can."""
    if path.is_dir() and os.name != "posix":
        return
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
