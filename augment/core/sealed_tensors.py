"""Safetensors that carry their own SHA-256, so that weights are checked wherever they are copied to.

The digest stands in the file's metadata and covers all of the file but itself: a digest beside the file would be left
behind when weights are handed on, which is when they get damaged. A file without one was not written by this version
and is refused: nothing shows whether its content is what was written.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from augment.core.errors import InputError, Problem
from augment.core.files import atomic_path
from augment.core.regular_files import open_regular_file

_DIGEST = "sha256"
_LENGTH_BYTES = 8
_LARGEST_HEADER = 100 * 2**20  # safetensors' own limit


def save_tensors(tensors: Mapping[str, torch.Tensor], path: Path, about: Mapping[str, Any]) -> None:
    """Writes tensors and what they are as sealed safetensors, atomically.

    Args:
        tensors: By name, on any device. Copied: safetensors refuses tensors that share memory.
        path: Where to.
        about: JSON values, the metadata's `s2l`.
    """
    copies = {name: value.detach().to("cpu", copy=True).contiguous() for name, value in tensors.items()}
    data = save(copies, metadata={"s2l": json.dumps(about, sort_keys=True)})
    header, body = _parts(data)
    header["__metadata__"][_DIGEST] = _digest(header, body)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % _LENGTH_BYTES)
    with atomic_path(path) as scratch, scratch.open("wb") as file:
        file.write(len(text).to_bytes(_LENGTH_BYTES, "little"))
        file.write(text)
        file.write(body)


def load_tensors(path: Path, what: str, fix: str) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Reads what `save_tensors` wrote, and checks its digest.

    Args:
        path: The file.
        what: What it should be (`readable weights file`), for errors.
        fix: What the user can do about a file that is not whole.

    Returns:
        The tensors by name, on the CPU, and what they are.

    Raises:
        InputError: The file is absent, can't be read, is no safetensors file, carries no digest, or is not what was
            written.
    """
    data, about = _read(path, what, fix)
    try:
        return load(data), about
    except (SafetensorError, ValueError, KeyError) as error:
        raise InputError(Problem(str(path), f"is no {what}: {error}", fix)) from error


def read_about(path: Path, what: str, fix: str) -> dict[str, Any]:
    """What a file of `save_tensors` says of itself; the whole file is checked. Arguments and errors as there."""
    return _read(path, what, fix)[1]


def _read(path: Path, what: str, fix: str) -> tuple[bytes, dict[str, Any]]:
    try:
        with open_regular_file(path) as file:
            data = file.read()
        header, body = _parts(data)
        metadata = header.get("__metadata__", {})
        about = json.loads(metadata.get("s2l", "{}"))
    except FileNotFoundError as error:
        raise InputError(Problem(str(path), f"is no {what}: no such file", fix)) from error
    except (OSError, ValueError, RecursionError, AttributeError, TypeError) as error:
        raise InputError(Problem(str(path), f"is no {what}: {error}", fix)) from error
    if not isinstance(about, dict) or "s2l" not in metadata:
        raise InputError(Problem(str(path), f"is no {what}: its metadata do not say what it holds", fix))
    written = metadata.pop(_DIGEST, None)
    if written is None:
        why = "carries no SHA-256, so nobody can tell whether it is whole; it was written by an older version"
        raise InputError(Problem(str(path), why, fix))
    if written != _digest(header, body):
        why = "is damaged: its content is not what its SHA-256 says was written"
        raise InputError(Problem(str(path), why, f"copy it again, or {fix}"))
    return data, about


def _parts(data: bytes) -> tuple[dict[str, Any], memoryview]:
    """A safetensors file's header and the bytes of its tensors.

    Raises:
        ValueError: It is none.
    """
    length = int.from_bytes(data[:_LENGTH_BYTES], "little")
    if len(data) < _LENGTH_BYTES or not 0 < length <= min(len(data) - _LENGTH_BYTES, _LARGEST_HEADER):
        raise ValueError("the file is cut short or is no safetensors file")
    header = json.loads(data[_LENGTH_BYTES : _LENGTH_BYTES + length])
    if not isinstance(header, dict) or not isinstance(header.get("__metadata__", {}), dict):
        raise ValueError("its header is no JSON object")
    return header, memoryview(data)[_LENGTH_BYTES + length :]


def _digest(header: Mapping[str, Any], body: memoryview) -> str:
    digest = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
    digest.update(body)
    return digest.hexdigest()
