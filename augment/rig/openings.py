"""The openings of the face, eyes and mouth: parted where lids or lips would cross, the ground between them spanned."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from augment.rig.geometry import Array, head_mesh, lip_curves
from augment.rig.rasterizer import settle_opening


@dataclass(frozen=True)
class Opening:
    """An eye's or the mouth's rows, its columns, and the smallest gap and the depth of its ground there [columns]."""

    upper_row: int
    lower_row: int
    columns: Array
    gap: Array
    hollow: Array


@cache
def openings(detail: int) -> tuple[Opening, ...]:
    """The eyes (both) and the mouth of the mesh of a level of detail."""
    mesh = head_mesh(detail)
    eye, mouth = np.flatnonzero(mesh.eye_columns), np.flatnonzero(mesh.mouth_columns)
    span = np.sqrt(np.clip(1 - lip_curves(mesh.column_phi[mouth])[0] ** 2, 0, 1))
    # A closed mouth keeps a thin dark line, closed lids the line of the lashes.
    row, lash = mesh.row_of, np.full(len(eye), 0.006)
    return (
        Opening(row["upper_lid"], row["lower_lid"], eye, lash, lash),
        Opening(row["inner_upper"], row["inner_lower"], mouth, 0.011 * span, 0.075 * span),
    )


def hold_openings_apart(vertices: Array, detail: int) -> None:
    """Parts lids and lips that would cross, and spans eyes and mouth between them, in place.

    Args:
        vertices: The face grid's vertices, perhaps with more after them [V, 3].
        detail: Of their mesh.
    """
    width = head_mesh(detail).columns
    for opening in openings(detail):
        settle_opening(
            vertices, opening.columns, width, opening.upper_row, opening.lower_row, opening.gap, opening.hollow
        )
