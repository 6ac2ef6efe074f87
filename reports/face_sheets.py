"""Faces as a sheet with labels."""

from __future__ import annotations

import base64
from collections.abc import Sequence

import torch
from matplotlib.figure import Figure

from augment.faces.images import encode_png
from reports.figures import LIGHT, draw_gallery


def draw_face_sheet(
    rows: Sequence[Sequence[torch.Tensor]], columns: Sequence[str], row_labels: Sequence[str]
) -> Figure:
    """Faces in rows and columns; the first column stands apart.

    Args:
        rows: Of each row the faces, uint8 [C, H, W], grey or colour, all of one size.
        columns: Labels above.
        row_labels: Labels at the left.
    """
    tiles = torch.stack([torch.stack([tile.expand(3, -1, -1).cpu() for tile in row]) for row in rows])
    count, width, _, size, _ = tiles.shape
    sheet = tiles.permute(0, 3, 1, 4, 2).reshape(count * size, width * size, 3).numpy()
    gallery = {
        "png": base64.b64encode(encode_png(sheet)).decode(),
        "columns": list(columns),
        "row_labels": list(row_labels),
        "size": size,
    }
    return draw_gallery(gallery, LIGHT)
