"""Pictures moved by a field that a network finds: an expression is a movement more than a change of colour."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F


class FlowField(nn.Module):
    """A convolution from features to a smooth field of displacements; it starts at 0.

    Appearance flow (Zhou et al. 2016, arXiv 1605.03557), sampled as spatial transformers do (Jaderberg et al. 2015,
    arXiv 1506.02025).

    Args:
        features: Channels of the features.
        reach: The longest displacement along an axis, in units of half an edge.
    """

    def __init__(self, features: int, reach: float = 0.35) -> None:
        super().__init__()
        self.reach = reach
        self.convolution = nn.Conv2d(features, 2, 3, padding=1)
        nn.init.zeros_(self.convolution.weight)
        assert self.convolution.bias is not None
        nn.init.zeros_(self.convolution.bias)

    def forward(self, features: torch.Tensor, size: int) -> torch.Tensor:
        """Features [N, F, h, w] to a field float32 [N, 2, size, size]: where from, relative to each pixel, x then y."""
        coarse = self.reach * torch.tanh(self.convolution(features).float() / (5 * self.reach))
        return F.interpolate(coarse, size=(size, size), mode="bilinear", align_corners=False)


def moved(pictures: torch.Tensor, field: torch.Tensor) -> torch.Tensor:
    """Takes each pixel from where a field says; beyond the edge, the edge.

    Args:
        pictures: float [N, C, H, W].
        field: float [N, 2, H, W], displacements x, y in units of half an edge.

    Returns:
        float [N, C, H, W].
    """
    height, width = pictures.shape[2:]
    columns = (2 * torch.arange(width, device=pictures.device) + 1) / width - 1
    rows = (2 * torch.arange(height, device=pictures.device) + 1) / height - 1
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    grid = torch.stack([x, y], dim=-1) + field.permute(0, 2, 3, 1).float()
    sampled = F.grid_sample(pictures.float(), grid, mode="bilinear", padding_mode="border", align_corners=False)
    return sampled.to(pictures.dtype)


def landmark_error(field: torch.Tensor, sources: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Mean absolute error of a field at landmarks: at a target's point it should lead to the source's.

    Args:
        field: float [N, 2, H, W], in units of half an edge.
        sources: float [N, L, 2], x y in 0..1.
        targets: float [N, L, 2], x y in 0..1.
    """
    found = F.grid_sample(field, 2 * targets[:, None] - 1, padding_mode="border", align_corners=False)[:, :, 0]
    return (found.transpose(1, 2) - 2 * (sources - targets)).abs().mean()


def field_roughness(field: torch.Tensor) -> torch.Tensor:
    """Mean squared difference of neighbouring displacements [N, 2, H, W]."""
    return field.diff(dim=3).square().mean() + field.diff(dim=2).square().mean()
