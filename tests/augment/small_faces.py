"""Small pictures and tables of faces for tests: noise, so that no two look alike."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from PIL import Image

from augment.faces.images import encode_png
from augment.faces.shards import CardFacts
from augment.faces.table import face_schema, faces_from_rows

CLASSES = ("angry", "happy", "sad")
CARD = CardFacts("Made faces", "Noise.", "cc0-1.0")


def noise(seed: int, size: int = 16, channels: int = 1) -> np.ndarray:
    """A smooth random picture, uint8 [size, size] or [size, size, 3]: low frequencies, as photographs have."""
    generator = np.random.default_rng(seed)
    coarse = generator.integers(0, 256, (8, 8, channels), np.uint8)
    picture = Image.fromarray(coarse[:, :, 0] if channels == 1 else coarse)
    return np.asarray(picture.resize((size, size), Image.Resampling.BICUBIC))


def file_bytes(pixels: np.ndarray | Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    picture.save(buffer, format=kind, **options)
    return buffer.getvalue()


def write_picture(path: Path, seed: int, size: int = 16) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(file_bytes(noise(seed, size)))
    return path


def face_row(number: int, label: int = 0, **values: Any) -> dict[str, Any]:
    row = {
        "image": {"bytes": encode_png(noise(number)), "path": None},
        "label": label,
        "label_name": CLASSES[label],
        "face_id": f"made/{number}",
        "source": "made",
    }
    return row | values


def face_table(rows: Sequence[dict[str, Any]]) -> pa.Table:
    return faces_from_rows(rows, face_schema(CLASSES))


def fer_pixels(seed: int) -> str:
    return " ".join(map(str, noise(seed, 48).ravel()))


class JudgeBy:
    """A judge that says what a function of pictures says; nobody asks for its features."""

    def __init__(self, probabilities: Callable[[torch.Tensor], np.ndarray]) -> None:
        self.probabilities = probabilities

    def features(self, images: torch.Tensor) -> np.ndarray:
        raise AssertionError("nothing here wants features")
