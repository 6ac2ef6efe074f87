"""The 68 landmarks (iBUG order) as fixed points of the mesh.

A landmark is a weighted mean of four grid vertices, so it moves with the skin and is exact by construction. Landmarks
of lids and lips lie on the rows that bound the eye and lip labels.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from augment.rig.geometry import (
    EYE_HALF_WIDTH,
    EYE_X,
    EYE_Y,
    MOUTH_HALF_WIDTH,
    MOUTH_Y,
    Array,
    HeadMesh,
    half_width,
    head_mesh,
)

_EYE_WIDTH, _MOUTH_WIDTH = float(half_width(EYE_Y)), float(half_width(MOUTH_Y))

# The jaw from the ear to the chin: azimuth in degrees and height, for the left half (landmarks 0..8).
_JAW = (
    (-86, 0.02), (-85, -0.14), (-83, -0.30), (-80, -0.45), (-75, -0.585), (-66, -0.71), (-52, -0.82), (-30, -0.915),
    (0, -0.96),
)  # fmt: skip
# The brow's upper edge region: x and height, outer to inner.
BROW = ((0.475, 0.225), (0.40, 0.272), (0.305, 0.285), (0.21, 0.268), (0.125, 0.243))
_NOSE_RIDGE = (0.09, -0.03, -0.15, -0.275)
_NOSE_BASE = ((-0.125, -0.355), (-0.065, -0.378), (0.0, -0.385), (0.065, -0.378), (0.125, -0.355))


def _points() -> list[tuple[float, float | str]]:
    """(phi, height or the name of a border row) of the 68 landmarks."""
    points: list[tuple[float, float | str]] = [(float(np.radians(phi)), y) for phi, y in _JAW]
    points += [(-phi, y) for phi, y in points[7::-1]]
    brow = [(-float(np.arcsin(x / half_width(y))), y) for x, y in BROW]
    points += brow + [(-phi, y) for phi, y in brow[::-1]]
    points += [(0.0, y) for y in _NOSE_RIDGE]
    points += [(float(np.arcsin(x / half_width(y))), y) for x, y in _NOSE_BASE]

    def eye(offset: float) -> float:
        return float(np.arcsin((EYE_X + offset * EYE_HALF_WIDTH) / _EYE_WIDTH))

    left = [(1.0, "upper_lid"), (0.36, "upper_lid"), (-0.40, "upper_lid"), (-1.0, "upper_lid")]
    left += [(-0.34, "lower_lid"), (0.34, "lower_lid")]
    points += [(-eye(offset), row) for offset, row in left]
    right = [left[3], left[2], left[1], left[0], left[5], left[4]]
    points += [(eye(offset), row) for offset, row in right]

    def mouth(x: float) -> float:
        return float(np.arcsin(x * MOUTH_HALF_WIDTH / _MOUTH_WIDTH))

    points += [(mouth(x), "outer_upper") for x in (-1.0, -0.62, -0.27, 0.0, 0.27, 0.62, 1.0)]
    points += [(mouth(x), "outer_lower") for x in (0.62, 0.30, 0.0, -0.30, -0.62)]
    points += [(mouth(x), "inner_upper") for x in (-0.90, -0.35, 0.0, 0.35, 0.90)]
    points += [(mouth(x), "inner_lower") for x in (0.35, 0.0, -0.35)]
    return points


def place_on_grid(mesh: HeadMesh, phi: float, target: float | str) -> tuple[Array, Array]:
    """The four grid vertices around an address and their weights, [4] each.

    Args:
        mesh: The mesh.
        phi: The azimuth in radians.
        target: The height, or the name of a border row.
    """
    column = int(np.clip(np.searchsorted(mesh.column_phi, phi) - 1, 0, mesh.columns - 2))
    right = (phi - mesh.column_phi[column]) / (mesh.column_phi[column + 1] - mesh.column_phi[column])
    if isinstance(target, str):
        row, down = mesh.row_of[target], 0.0
    else:
        heights = mesh.grid_y[:, column] * (1 - right) + mesh.grid_y[:, column + 1] * right
        row = int(np.clip(np.searchsorted(-heights, -target) - 1, 0, mesh.rows - 2))
        down = (heights[row] - target) / max(heights[row] - heights[row + 1], 1e-9)
    corner = row * mesh.columns + column
    below = mesh.columns if down else 0
    weights = [(1 - right) * (1 - down), right * (1 - down), (1 - right) * down, right * down]
    return np.array([corner, corner + 1, corner + below, corner + below + 1]), np.array(weights)


@cache
def landmark_weights(detail: int) -> tuple[Array, Array]:
    """Vertex indices [68, 4] (int32) and weights [68, 4] (float32) of the landmarks."""
    mesh = head_mesh(detail)
    places = [place_on_grid(mesh, phi, target) for phi, target in _points()]
    indices, weights = (np.stack(part) for part in zip(*places, strict=True))
    return indices.astype(np.int32), weights.astype(np.float32)
