"""Thin-plate splines for batches of landmarks (Bookstein, "Principal warps", IEEE PAMI 1989)."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F

from augment.core.mixed_precision import in_float32


def border_anchors(per_edge: int = 5, margin: float = 1.15) -> torch.Tensor:
    """Points on a square around the picture that hold its frame still.

    Args:
        per_edge: Points on each edge, corners counted.
        margin: Half the square's edge; the picture spans -1..1.

    Returns:
        float32 [4 * (per_edge - 1), 2], x y.
    """
    line = torch.linspace(-margin, margin, per_edge)
    y, x = torch.meshgrid(line, line, indexing="ij")
    points = torch.stack([x, y], dim=-1).reshape(-1, 2)
    return points[points.abs().amax(dim=1) > 0.999 * margin]


def pixel_centres(size: int, device: torch.device | str | None = None) -> torch.Tensor:
    """Centres of a size x size picture's pixels, row by row: float32 [size * size, 2], x y in -1..1."""
    line = (torch.arange(size, device=device, dtype=torch.float32) + 0.5) * (2.0 / size) - 1.0
    y, x = torch.meshgrid(line, line, indexing="ij")
    return torch.stack([x, y], dim=-1).reshape(-1, 2)


def _kernel(squared_distance: torch.Tensor) -> torch.Tensor:
    """U(r) = r^2 log r^2 (Bookstein's eq. 1 up to its sign), with its limit 0 at r = 0."""
    squared_distance = squared_distance.clamp(min=1e-12)
    return squared_distance * squared_distance.log()


def thin_plate_coefficients(centres: torch.Tensor, values: torch.Tensor, regularization: float = 0.0) -> torch.Tensor:
    """Solves for the splines that take given values at given points.

    Args:
        centres: [N, K, 2], where the values are given; K >= 3, not all on one line.
        values: [N, K, V].
        regularization: Added to the kernel's diagonal. 0 interpolates; more bends less (and lets two centres lie on
            one spot, as the inner lips of a closed mouth do).

    Returns:
        float32 [N, K + 3, V]: the kernel's weights, then the affine part (constant, x, y).
    """
    # Solved in double precision: closed lips put centres within a thousandth of each other.
    precision = torch.float32 if centres.device.type == "mps" else torch.float64
    points, wanted = centres.to(precision), values.to(precision)
    count, k, _ = points.shape
    system = points.new_zeros(count, k + 3, k + 3)
    differences = points[:, :, None] - points[:, None]
    system[:, :k, :k] = _kernel(differences.square().sum(-1))
    system[:, :k, :k].diagonal(dim1=1, dim2=2).add_(regularization)
    system[:, :k, k] = 1.0
    system[:, :k, k + 1 :] = points
    system[:, k:, :k] = system[:, :k, k:].transpose(1, 2)
    right = torch.cat([wanted, wanted.new_zeros(count, 3, wanted.shape[2])], dim=1)
    return torch.linalg.solve(system, right).to(torch.float32)


@in_float32
def thin_plate_values(coefficients: torch.Tensor, centres: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    """Evaluates splines.

    Args:
        coefficients: [N, K + 3, V] from `thin_plate_coefficients`.
        centres: [N, K, 2], the same as there.
        points: [P, 2], shared by the batch.

    Returns:
        float32 [N, P, V].
    """
    count, k, _ = centres.shape
    centres = centres.to(torch.float32)
    # |p - c|^2 by its expansion: one matrix product instead of an [N, P, K, 2] array.
    norms = points.square().sum(1)[None, :, None] + centres.square().sum(2)[:, None, :]
    squared = torch.baddbmm(norms, points.expand(count, -1, -1), centres.transpose(1, 2), alpha=-2.0)
    squared.clamp_(min=1e-12)
    weights = squared.mul_(squared.log())
    affine = torch.cat([torch.ones_like(points[:, :1]), points], dim=1)
    return torch.baddbmm((affine @ coefficients[:, k:]), weights, coefficients[:, :k])


def displacement_field(
    centres: torch.Tensor, values: torch.Tensor, size: int, *, regularization: float = 1e-3, largest_grid: int = 64
) -> torch.Tensor:
    """Spreads displacements of landmarks over a picture; the frame around it stays where it is.

    Args:
        centres: [N, K, 2], landmarks, x y in -1..1.
        values: [N, K, V], displacements there.
        size: Edge of the picture in pixels.
        regularization: See `thin_plate_coefficients`.
        largest_grid: Larger pictures get the field of a grid of this edge, enlarged bicubically: the field is smooth,
            and evaluating it costs K logarithms a pixel.

    Returns:
        float32 [N, V, size, size].
    """
    count, _, channels = values.shape
    anchors = border_anchors().to(centres)[None].expand(count, -1, -1)
    centres = torch.cat([centres, anchors], dim=1)
    values = torch.cat([values, values.new_zeros(count, anchors.shape[1], channels)], dim=1)
    coefficients = thin_plate_coefficients(centres, values, regularization)
    edge = min(size, largest_grid)
    field = thin_plate_values(coefficients, centres, pixel_centres(edge, centres.device))
    field = field.transpose(1, 2).reshape(count, channels, edge, edge)
    if edge != size:
        field = F.interpolate(field, size=(size, size), mode="bicubic", align_corners=False)
    return field


def sample_displaced(
    images: torch.Tensor, displacement: torch.Tensor, mode: Literal["bilinear", "bicubic"] = "bicubic"
) -> torch.Tensor:
    """Samples pictures where a displacement field points (backward warping).

    Args:
        images: float32 [N, C, H, W]; H, W may differ from the field's.
        displacement: float32 [N, 2, size, size]: what to add to a pixel's own x y (-1..1) to find its source.
        mode: Interpolation. Bicubic overshoots the pictures' range a little.

    Returns:
        float32 [N, C, size, size].
    """
    size = displacement.shape[2]
    own = pixel_centres(size, displacement.device).view(1, size, size, 2)
    grid = own + displacement.permute(0, 2, 3, 1)
    return F.grid_sample(images, grid, mode=mode, padding_mode="border", align_corners=False)


def warp_to(
    images: torch.Tensor,
    source: torch.Tensor,
    target: torch.Tensor,
    size: int,
    *,
    regularization: float = 1e-3,
    mode: Literal["bilinear", "bicubic"] = "bicubic",
) -> torch.Tensor:
    """Warps pictures so that landmarks `source` come to lie at `target`.

    Args:
        images: float32 [N, C, H, W].
        source: [N, K, 2], landmarks in the pictures, x y in -1..1.
        target: [N, K, 2], where they shall lie in the result, x y in -1..1.
        size: Edge of the result in pixels.
        regularization: See `thin_plate_coefficients`.
        mode: Interpolation.

    Returns:
        float32 [N, C, size, size].
    """
    field = displacement_field(target, source - target, size, regularization=regularization)
    return sample_displaced(images, field, mode)
