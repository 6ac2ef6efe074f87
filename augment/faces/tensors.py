"""Faces as tensors: a split held in memory as uint8, on the device that learns from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from augment.core.errors import InputError, Problem
from augment.faces.images import UndecodableImageError, decode_image, fit_image
from augment.faces.landmark_bounds import (
    LANDMARK_COUNT,
    LEAST_SPREAD,
    MARGIN,
    STILL_POINTS,
    landmarks_fault,
    row_landmarks,
)
from augment.faces.table import MASK_CLASSES, MIRROR_ORDER, NO_MASK, class_names

MIRROR_LANDMARKS = torch.tensor(MIRROR_ORDER)


@dataclass(frozen=True)
class FaceTensors:
    """N faces on one device.

    Attributes:
        images: uint8 [N, C, H, W].
        labels: int64 [N].
        landmarks: float32 [N, 68, 2], x y in 0..1 of the picture; rows of NaN where a face has none; None where no
            face has any.
        masks: uint8 [N, H, W], indices into `MASK_CLASSES`; 255 where a face has none; None where no face has any.
        face_ids: N stable names.
        subjects: N subject names, None where unknown.
        class_names: Names of the labels.
        yaw: float32 [N], degrees, positive to the picture's right; NaN where unknown; None where no face has one.
        simulated: uint8 [N, C, H, W], the simulated frontal faces; black where a face has none; None where no face has
            any.
        sources: N names of the data sets that the faces are of; None where unknown.
    """

    images: torch.Tensor
    labels: torch.Tensor
    landmarks: torch.Tensor | None
    masks: torch.Tensor | None
    face_ids: tuple[str, ...]
    subjects: tuple[str | None, ...]
    class_names: tuple[str, ...]
    yaw: torch.Tensor | None = None
    simulated: torch.Tensor | None = None
    sources: tuple[str, ...] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def channels(self) -> int:
        """1 for grey, 3 for colour."""
        return self.images.shape[1]

    @property
    def size(self) -> int:
        """Edge of the pictures in pixels."""
        return self.images.shape[2]

    @property
    def has_simulated(self) -> torch.Tensor:
        """Which faces have a simulated face (one that is black all over is none): bool [N]."""
        if self.simulated is None:
            return torch.zeros(len(self), dtype=torch.bool, device=self.labels.device)
        return (self.simulated != 0).flatten(1).any(dim=1)  # of bytes, torch's any is no bool

    def turned_at_most(self, degrees: float | None) -> torch.Tensor:
        """Which faces are turned to a side by at most so many degrees, or by an unknown angle: bool [N]; None: all."""
        if degrees is None or self.yaw is None:
            return torch.ones(len(self), dtype=torch.bool, device=self.labels.device)
        return ~(self.yaw.abs() > degrees)

    def classes_without(self, allowed: torch.Tensor) -> list[str]:
        """Names of the classes that have faces here, but none among the allowed ones, bool [N]; in label order."""
        missing = set(self.labels.tolist()) - set(self.labels[allowed].tolist())
        return [self.class_names[label] for label in sorted(missing)]

    def to(self, device: torch.device | str) -> FaceTensors:
        """The same faces on another device."""
        moved: dict[str, Any] = {
            field.name: value.to(device)
            for field in fields(self)
            if isinstance(value := getattr(self, field.name), torch.Tensor)
        }
        return replace(self, **moved)

    def take(self, index: Sequence[int] | np.ndarray | torch.Tensor) -> FaceTensors:
        """The faces at these positions, in this order."""
        positions = torch.as_tensor(np.asarray(index) if not isinstance(index, torch.Tensor) else index)
        positions = positions.to(self.images.device, torch.int64)
        listed = positions.tolist()
        return FaceTensors(
            images=self.images[positions],
            labels=self.labels[positions],
            landmarks=None if self.landmarks is None else self.landmarks[positions],
            masks=None if self.masks is None else self.masks[positions],
            face_ids=tuple(self.face_ids[i] for i in listed),
            subjects=tuple(self.subjects[i] for i in listed),
            class_names=self.class_names,
            yaw=None if self.yaw is None else self.yaw[positions],
            simulated=None if self.simulated is None else self.simulated[positions],
            sources=None if self.sources is None else tuple(self.sources[i] for i in listed),
        )


def face_tensors(table: pa.Table, *, size: int | None = None, channels: int | None = None) -> FaceTensors:
    """Decodes a table of faces.

    Args:
        table: Rows of the face schema; `landmarks`, `mask`, `subject`, `yaw`, `simulated` and `source` may be absent.
        size: Edge in pixels; the first picture's by default. Pictures of another size are fitted.
        channels: 1 or 3; the first picture's by default.

    Returns:
        The faces on the CPU.

    Raises:
        InputError: Landmarks are no face's (`augment.faces.landmark_bounds`), or a picture can't be decoded.
    """
    names = class_names(table.schema)
    pictures = [
        _decoded(table, row, "picture", value["bytes"]) for row, value in enumerate(table.column("image").to_pylist())
    ]
    if size is None:
        size = pictures[0].shape[0] if pictures else 1
    if channels is None:
        channels = 3 if pictures and pictures[0].ndim == 3 else 1
    images = np.zeros((len(pictures), size, size, channels), np.uint8)
    for row, picture in enumerate(pictures):
        images[row] = fit_image(picture, size, channels)

    def column(name: str) -> list[Any]:
        return table.column(name).to_pylist() if name in table.column_names else [None] * len(pictures)

    landmarks = masks = None
    found = column("landmarks")
    if any(value is not None for value in found):
        points = np.full((len(found), LANDMARK_COUNT, 2), np.nan, np.float32)
        problems = []
        for row, value in enumerate(found):
            if value is None:
                continue
            given = row_landmarks(value)
            fault = landmarks_fault(given)
            if fault is not None:
                problems.append(Problem(_where(table, row), f"landmarks {fault}", "prepare the faces again"))
            else:
                points[row] = given
        if problems:
            raise InputError(problems)
        landmarks = torch.from_numpy(points)
    found = column("mask")
    if any(value is not None for value in found):
        areas = np.full((len(found), size, size), NO_MASK, np.uint8)
        for row, value in enumerate(found):
            if value is not None:
                areas[row] = _fit_mask(_decoded(table, row, "mask", value), size)
        masks = torch.from_numpy(areas)
    yaw = simulated = sources = None
    found = column("yaw")
    if any(value is not None for value in found):
        yaw = torch.tensor([np.nan if value is None else value for value in found], dtype=torch.float32)
    found = column("simulated")
    if any(value is not None for value in found):
        frontal = np.zeros((len(found), size, size, channels), np.uint8)
        for row, value in enumerate(found):
            if value is not None:
                frontal[row] = fit_image(_decoded(table, row, "simulated face", value), size, channels)
        simulated = torch.from_numpy(frontal).permute(0, 3, 1, 2).contiguous()
    found = column("source")
    if found and all(value is not None for value in found):
        sources = tuple(found)
    return FaceTensors(
        images=torch.from_numpy(images).permute(0, 3, 1, 2).contiguous(),
        labels=torch.from_numpy(table.column("label").to_numpy().astype(np.int64)),
        landmarks=landmarks,
        masks=masks,
        face_ids=tuple(table.column("face_id").to_pylist()),
        subjects=tuple(column("subject")),
        class_names=names,
        yaw=yaw,
        simulated=simulated,
        sources=sources,
    )


def _where(table: pa.Table, row: int) -> str:
    return f"row {row} of the table of faces ({table.column('face_id')[row].as_py()})"


def _decoded(table: pa.Table, row: int, what: str, data: bytes) -> np.ndarray:
    try:
        return decode_image(data)
    except UndecodableImageError as error:
        why = f"its {what} can't be decoded: {error}"
        raise InputError(Problem(_where(table, row), why, "run the stage that wrote the table again")) from error


def _fit_mask(mask: np.ndarray, size: int) -> np.ndarray:
    if mask.shape != (size, size):
        rows = np.minimum((np.arange(size) + 0.5) * mask.shape[0] / size, mask.shape[0] - 1).astype(int)
        columns = np.minimum((np.arange(size) + 0.5) * mask.shape[1] / size, mask.shape[1] - 1).astype(int)
        mask = mask[rows][:, columns]
    return np.minimum(mask, len(MASK_CLASSES) - 1)


def has_valid_landmarks(landmarks: torch.Tensor) -> torch.Tensor:
    """Which faces have landmarks that can be a face's, as `augment.faces.landmark_bounds` says it.

    Args:
        landmarks: float32 [N, 68, 2], x y in 0..1 of the picture; NaN where a face has none.

    Returns:
        bool [N].
    """
    inside = ((landmarks >= -MARGIN) & (landmarks <= 1 + MARGIN)).all(dim=2).all(dim=1)  # NaN is neither
    still = landmarks[:, list(STILL_POINTS)]
    spread = (still.amax(dim=1) - still.amin(dim=1)).amax(dim=1)
    return inside & (spread >= LEAST_SPREAD)


def to_unit_range(images: torch.Tensor) -> torch.Tensor:
    """uint8 0..255 to float32 -1..1."""
    return images.to(torch.float32) / 127.5 - 1.0


def to_bytes_range(images: torch.Tensor) -> torch.Tensor:
    """Float -1..1 to uint8 0..255, rounded and clamped."""
    return ((images.float() + 1.0) * 127.5).round().clamp(0, 255).to(torch.uint8)


def mirror_landmarks(landmarks: torch.Tensor) -> torch.Tensor:
    """Landmarks [N, 68, 2] of the mirrored picture: x becomes 1 - x and left and right points change names."""
    mirrored = landmarks[:, MIRROR_LANDMARKS.to(landmarks.device)]
    return torch.stack([1.0 - mirrored[..., 0], mirrored[..., 1]], dim=-1)
