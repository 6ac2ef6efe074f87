"""Pictures moved by affine maps, a map for each of a batch."""

from __future__ import annotations

from typing import Literal

import torch
from torch.nn import functional as F

from augment.core.mixed_precision import in_float32

Interpolation = Literal["bilinear", "bicubic", "nearest"]
Padding = Literal["zeros", "border", "reflection"]


@in_float32
def sample_affine(
    pictures: torch.Tensor, origins: torch.Tensor, *, padding: Padding, interpolation: Interpolation = "bilinear"
) -> torch.Tensor:
    """Takes each pixel of a picture from where its affine map says.

    Args:
        pictures: Floating point [N, C, H, W].
        origins: [N, 2, 3], from a pixel of the result to its place in the picture, both in -1..1 from edge to edge, x
            to the right and y downwards; on any device.
        padding: What lies beyond the picture, in the words of `torch.nn.functional.grid_sample`.
        interpolation: Between pixels.

    Returns:
        [N, C, H, W] of the pictures' type.
    """
    grid = F.affine_grid(origins.to(pictures.device, pictures.dtype), list(pictures.shape), align_corners=False)
    return F.grid_sample(pictures, grid, mode=interpolation, padding_mode=padding, align_corners=False)
