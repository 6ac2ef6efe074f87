"""Made faces that are copies of training faces: of the source, of any other, or of its mirror image."""

from __future__ import annotations

import torch
import torch.nn.functional as F

COPY_DIFFERENCE = 0.01
"""Root mean square difference of the pixels, as a share of the range, below which one picture is a copy of another."""

_BLOCKS = 12  # edge of the block means that rule out most pairs
_PAIRS_AT_A_TIME = 2048


class TrainingFaces:
    """Finds copies of training faces.

    The root mean square difference of two pictures is at least that of their block means, so that pairs are ruled out
    by one product of small matrices, and no copy is missed.

    Args:
        images: uint8 [N, C, H, W].
    """

    def __init__(self, images: torch.Tensor) -> None:
        self._images = images
        means = _block_means(images)
        self._means = torch.cat([means, means.flip(-1)]).flatten(1)
        self._squares = self._means.square().sum(dim=1)

    def copied_by(self, made: torch.Tensor) -> torch.Tensor:
        """Which pictures are copies of a training face or of its mirror image.

        Args:
            made: uint8 [n, C, H, W], on the training faces' device.

        Returns:
            bool [n] on the CPU.
        """
        means = _block_means(made).flatten(1)
        away = means.square().sum(dim=1)[:, None] + self._squares - 2.0 * means @ self._means.T
        # A little more than the limit: the product rounds.
        rows, columns = torch.nonzero(away <= COPY_DIFFERENCE**2 * means.shape[1] + 1e-3, as_tuple=True)
        copied = torch.zeros(len(made), dtype=torch.bool)
        for start in range(0, len(rows), _PAIRS_AT_A_TIME):
            row, column = rows[start : start + _PAIRS_AT_A_TIME], columns[start : start + _PAIRS_AT_A_TIME]
            face = self._images[column % len(self._images)]
            face = torch.where((column >= len(self._images))[:, None, None, None], face.flip(-1), face)
            difference = (made[row].float() - face.float()).div(255.0).square().mean(dim=(1, 2, 3)).sqrt()
            copied[row[difference <= COPY_DIFFERENCE].cpu()] = True
        return copied


def _block_means(images: torch.Tensor) -> torch.Tensor:
    """float32 [N, C, b, b] of blocks of equal size, so that the bound holds; of whole pixels where none fit."""
    edge = images.shape[-1]
    blocks = max(count for count in range(1, _BLOCKS + 1) if edge % count == 0)
    return F.avg_pool2d(images.float() / 255.0, edge // blocks)
