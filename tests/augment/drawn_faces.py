"""Simple faces whose masks are known to the pixel."""

from __future__ import annotations

import numpy as np
import torch

from augment.faces.tensors import FaceTensors


def drawn_faces(count: int, *, seed: int = 0, channels: int = 1, size: int = 16) -> FaceTensors:
    """Discs (skin) with two bright eyes and a dark mouth at random places, and their exact masks."""
    chance = np.random.default_rng(seed)
    images = np.zeros((count, channels, size, size), np.uint8)
    masks = np.zeros((count, size, size), np.uint8)
    rows, columns = np.mgrid[:size, :size]
    for image, mask in zip(images, masks, strict=True):
        row, column = chance.uniform(6.5, 8.5, 2)
        mask[(rows - row) ** 2 + (columns - column) ** 2 < 40] = 1
        top, left, mouth = int(row) - 2, int(column), int(row) + 2
        mask[mouth : mouth + 2, left - 2 : left + 3] = 2
        mask[top : top + 2, left - 4 : left - 1] = 3
        mask[top : top + 2, left + 2 : left + 5] = 3
        image[:] = np.array([20, 130, 70, 230])[mask] + chance.integers(-10, 11, (size, size))
    return FaceTensors(
        images=torch.from_numpy(images),
        labels=torch.zeros(count, dtype=torch.int64),
        landmarks=None,
        masks=torch.from_numpy(masks),
        face_ids=tuple(f"drawn-{seed}-{row}" for row in range(count)),
        subjects=(None,) * count,
        class_names=("neutral", "happy"),
    )
