"""Crops of faces: the square about a face, turned by its eyes, cut out with everything that lies on the picture."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field

# In units of the eyes' distance, of the embedded faces from the front: the points reach from 0.4 above the eyes (the
# brows) to 1.8 below (the chin) and 1.0 to both sides, and the nose's base lies 0.77 below.
_EDGE = 2.2
_BELOW_EYES = 0.8  # the square's centre; a dropped jaw needs more room than a brow
_NOSE_TO_EYES = 1.25
_LEFT_EYE, _RIGHT_EYE, _NOSE_BASE = slice(36, 42), slice(42, 48), 33
_LARGEST = 4.0  # a square of more than so many of the picture's longer edges is no face's
_SPLINE_REACH = 12  # pixels beyond which a cubic spline forgets


class CropSettings(BaseModel):
    """How a picture is cropped to its face.

    Attributes:
        by: `none`: pictures stay whole (`prepare` then takes the central square); `face`: the square about the face.
        align: Turn the picture so that the eyes are level; else it is cut without turning.
        margin: What is added to every side, as a share of the edge of the square that just holds brows, chin and jaw.
        size: Edge of the crop in pixels; the run's image size by default.
        not_found: What happens to faces without landmarks, own or found: `whole`: the picture stays whole; `problem`:
            a problem of the row, as a file that does not decode is.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    by: Literal["none", "face"] = "none"
    align: bool = True
    margin: float = Field(default=0.2, ge=-0.3, le=2)
    size: int | None = Field(default=None, ge=16, le=2048)
    not_found: Literal["whole", "problem"] = "whole"

    def square(self, landmarks: np.ndarray | None, height: int, width: int) -> FaceSquare | None:
        """The square that a picture is cropped to; None where it stays whole (see `face_square`)."""
        if self.by == "none" or landmarks is None:
            return None
        return face_square(landmarks, height, width, align=self.align, margin=self.margin)


@dataclass(frozen=True)
class FaceSquare:
    """A square on a picture.

    Attributes:
        centre: x, y in pixels of the picture; the first pixel's centre is at 0.5.
        edge: In pixels of the picture.
        angle: How far the square's upper side is turned, in radians; positive = its right end is lower.
        height: Of the picture, in pixels.
        width: Of the picture, in pixels.
    """

    centre: tuple[float, float]
    edge: float
    angle: float
    height: int
    width: int

    @property
    def axes(self) -> np.ndarray:
        """The square's x and y directions as columns, float64 [2, 2]."""
        cosine, sine = math.cos(self.angle), math.sin(self.angle)
        return np.array([[cosine, -sine], [sine, cosine]])


def face_square(
    landmarks: np.ndarray, height: int, width: int, *, align: bool = True, margin: float = 0.2
) -> FaceSquare | None:
    """The square about a face, by its eyes' centres.

    Its size is that of the eyes' distance, or of the way from the eyes to the nose's base where that is longer than
    faces from the front have it: the eyes of a turned head come near each other, the nose's base stays. Neither moves
    with the mouth, so that a crop does not tell the expression.

    Args:
        landmarks: float [68, 2], x y in 0..1 of the picture (iBUG order).
        height: Of the picture, in pixels.
        width: Of the picture, in pixels.
        align: Turn the square by the line through the eyes.
        margin: What is added to every side, as a share of the square that just holds the points.

    Returns:
        The square; None where the points are no face's (eyes in one place, or far larger than the picture).
    """
    points = np.asarray(landmarks, np.float64) * [width, height]
    left, right = points[_LEFT_EYE].mean(axis=0), points[_RIGHT_EYE].mean(axis=0)
    across = right - left
    distance = float(np.hypot(*across))
    if not math.isfinite(distance) or distance < 1e-3 or not np.isfinite(points[_NOSE_BASE]).all():
        return None
    down = np.array([-across[1], across[0]]) / distance
    to_nose = float((points[_NOSE_BASE] - (left + right) / 2) @ down)
    unit = max(distance, _NOSE_TO_EYES * to_nose)
    edge = _EDGE * unit * (1 + 2 * margin)
    if edge > _LARGEST * max(height, width):
        return None
    x, y = (left + right) / 2 + _BELOW_EYES * unit * down
    return FaceSquare(
        centre=(float(x), float(y)),
        edge=edge,
        angle=math.atan2(across[1], across[0]) if align else 0.0,
        height=height,
        width=width,
    )


def crop_landmarks(landmarks: np.ndarray, square: FaceSquare) -> np.ndarray:
    """Landmarks [68, 2] in 0..1 of the picture, as float32 in 0..1 of the crop."""
    points = np.asarray(landmarks, np.float64) * [square.width, square.height]
    return ((points - square.centre) @ square.axes / square.edge + 0.5).astype(np.float32)


def crop_image(image: np.ndarray, square: FaceSquare, size: int) -> np.ndarray:
    """Cuts the square out of the picture.

    The picture is read by cubic splines at its own resolution or finer, then brought to the size by box-filtered
    Lanczos, so that nothing aliases. Beyond the picture its edge is repeated.

    Args:
        image: uint8 [H, W] or [H, W, 3].
        square: Where to cut.
        size: Edge of the crop in pixels.

    Returns:
        uint8 [size, size] or [size, size, 3].
    """
    from scipy.ndimage import affine_transform  # half a second, which no stage owes that crops nothing

    fine = size * max(1, math.ceil(square.edge / size))
    reach = square.edge / 2 * np.abs(square.axes).sum(axis=1)  # of the square's corners, along x and y
    low = np.floor(square.centre - reach).astype(int) - _SPLINE_REACH
    high = np.ceil(square.centre + reach).astype(int) + _SPLINE_REACH
    # At least one row and column is kept where the square lies off the picture: its edge is what is repeated.
    low = np.clip(low, 0, np.array([square.width, square.height]) - 1)
    high = np.clip(high, low + 1, [square.width, square.height])
    part = image[low[1] : high[1], low[0] : high[0]]
    step = square.axes * (square.edge / fine)
    first = np.asarray(square.centre) - low + step @ np.full(2, 0.5 - fine / 2) - 0.5
    # scipy counts rows first, and pixels by their centres.
    matrix, offset = step[::-1, ::-1], first[::-1]
    channels = part[:, :, None] if part.ndim == 2 else part
    cut = np.stack(
        [
            affine_transform(
                channels[:, :, channel].astype(np.float32), matrix, offset, (fine, fine), order=3, mode="nearest"
            )
            for channel in range(channels.shape[2])
        ],
        axis=2,
    )
    pixels = np.clip(np.rint(cut), 0, 255).astype(np.uint8)
    pixels = pixels[:, :, 0] if image.ndim == 2 else pixels
    if fine != size:
        pixels = np.asarray(Image.fromarray(pixels).resize((size, size), Image.Resampling.LANCZOS))
    return pixels


def crop_mask(mask: np.ndarray, square: FaceSquare, size: int) -> np.ndarray:
    """Cuts the square out of a mask, uint8 [size, size]: nearest neighbour, its edge repeated as the picture's is.

    Args:
        mask: uint8 [h, w], over the same picture, of any resolution.
        square: Where to cut.
        size: Edge of the crop in pixels.
    """
    places = (np.arange(size) + 0.5) / size - 0.5
    across, down = np.meshgrid(places, places)
    points = np.stack([across, down], axis=-1) @ square.axes.T * square.edge + square.centre
    scale = np.array([mask.shape[1] / square.width, mask.shape[0] / square.height])
    columns, rows = np.moveaxis(np.floor(points * scale).astype(int), -1, 0)
    return mask[np.clip(rows, 0, mask.shape[0] - 1), np.clip(columns, 0, mask.shape[1] - 1)].astype(np.uint8)
