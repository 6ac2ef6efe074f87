"""The output of networks that move pixels: a flow from a coarse grid, and a residual inside a mask from a finer one.

The flow is that of Zhou, Tulsiani, Sun, Malik & Efros, "View Synthesis by Appearance Flow" (ECCV 2016, section 3): the
output's pixels are sampled from the input's, so that nothing that is only moved is blurred. What the input does not
show is painted by a residual inside a predicted mask (DeepWarp, Ganin et al., ECCV 2016, section 3.5; GANimation,
Pumarola et al., ECCV 2018, eq. 1).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import nn

from augment.networks.heatmap import landmark_heatmap
from augment.translators.thin_plate_spline import sample_displaced

LARGEST_FLOW = 0.35  # in half edges of the picture
DETAIL_WIDTH = 24
FEATURE_POINTS = [*range(17, 27), *range(36, 68)]  # brows, eyes and lips: where expressions show
FEATURE_SPREAD = 0.04  # how far around them a picture counts more, as a share of the edge


@dataclass(frozen=True)
class FlowOutput:
    """What the network gives for N faces.

    Attributes:
        images: float32 [N, C, H, W], about -1..1: sampled + mask * residual. The papers blend, sampled (1 - mask) +
            mask * painted; with painted = sampled + residual that is the same, and begins as the flow alone: a painted
            grey face is worse than none, so that the blended mask closes in the first steps and opens slowly.
        sampled: float32 [N, C, H, W], what the flow alone gives.
        flow: float32 [N, 2, H, W]: what to add to a pixel's own x y (-1..1) to find its source, the initial flow
            counted.
        learned_flow: float32 [N, 2, h, w], the network's own part, on its coarse grid.
        mask: float32 [N, 1, H, W], 0..1.
    """

    images: torch.Tensor
    sampled: torch.Tensor
    flow: torch.Tensor
    learned_flow: torch.Tensor
    mask: torch.Tensor


class FlowHead(nn.Module):
    """Features on a grid of a quarter of the picture's edge to a flow, a mask and a residual.

    It starts as the initial flow alone, nearly: the learned flow is 0, the mask a quarter, the residual small.

    Args:
        channels: Of the images, 1 or 3.
        seen_channels: Of what the finer part sees beside the sampled image.
        width: Of the features.
        condition_width: Of the condition.
        detail_width: Features of the finer part, at half the resolution.
        largest_flow: Bound of the learned flow in half edges of the picture.
    """

    def __init__(
        self,
        *,
        channels: int,
        seen_channels: int,
        width: int,
        condition_width: int,
        detail_width: int = DETAIL_WIDTH,
        largest_flow: float = LARGEST_FLOW,
    ) -> None:
        super().__init__()
        self.largest_flow = largest_flow
        self.flow = nn.Conv2d(width, 2, 3, padding=1)
        for parameter in self.flow.parameters():
            nn.init.zeros_(parameter)
        self.upsampling = nn.Conv2d(width, 64, 3, padding=1)
        self.detail_modulation = weak_modulation(condition_width, 2 * detail_width)
        seen = 16 + 4 * (channels + seen_channels)
        self.detail = nn.ModuleList(
            [nn.Conv2d(seen, detail_width, 3, padding=1), nn.Conv2d(detail_width, detail_width, 3, padding=1)]
        )
        self.output = nn.Conv2d(detail_width, 4 * (1 + channels), 3, padding=1)
        assert self.output.bias is not None
        nn.init.normal_(self.output.weight, std=0.01)
        nn.init.zeros_(self.output.bias)
        with torch.no_grad():
            self.output.bias[:4] = -1.0  # a mask of about a quarter

    def forward(
        self,
        images: torch.Tensor,
        seen: torch.Tensor,
        features: torch.Tensor,
        condition: torch.Tensor,
        initial_flow: torch.Tensor | None,
        mode: Literal["bilinear", "bicubic"] = "bilinear",
    ) -> FlowOutput:
        """Moves and paints images.

        Args:
            images: float32 [N, C, H, W], -1..1.
            seen: float32 [N, seen_channels, H, W], in the output's frame.
            features: float [N, width, H / 4, W / 4].
            condition: float32 [N, condition_width].
            initial_flow: float32 [N, 2, H, W], to which the learned flow is added; None = 0.
            mode: Interpolation of the sampled image.
        """
        size = images.shape[2]
        initial = images.new_zeros(len(images), 2, size, size) if initial_flow is None else initial_flow
        # A fifth of the gain at the start: the flow is the most sensitive output.
        learned = self.largest_flow * torch.tanh(0.2 / self.largest_flow * self.flow(features).float())
        flow = initial + F.interpolate(learned, size=(size, size), mode="bilinear", align_corners=False)
        sampled = sample_displaced(images, flow, mode)
        fine = F.pixel_shuffle(self.upsampling(features), 2)
        fine = torch.cat([fine, *(F.pixel_unshuffle(part, 2) for part in (sampled, seen))], dim=1)
        scale, shift = self.detail_modulation(condition)[:, :, None, None].chunk(2, dim=1)
        fine = F.leaky_relu(self.detail[0](fine) * (1 + scale) + shift, 0.1)
        fine = F.leaky_relu(self.detail[1](fine), 0.1)
        painted = F.pixel_shuffle(self.output(fine).float(), 2)
        mask, residual = torch.sigmoid(painted[:, :1]), 2.0 * torch.tanh(painted[:, 1:])
        return FlowOutput(sampled + mask * residual, sampled, flow, learned, mask)


def weak_modulation(condition_width: int, outputs: int) -> nn.Linear:
    """A linear layer by which a condition scales and shifts features, with a small influence at the start."""
    layer = nn.Linear(condition_width, outputs)
    nn.init.normal_(layer.weight, std=0.05)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer


def flow_terms(
    made: FlowOutput,
    *,
    images: torch.Tensor,
    targets: torch.Tensor,
    mask: torch.Tensor,
    counted: torch.Tensor,
    source_shapes: torch.Tensor,
    target_shapes: torch.Tensor,
) -> dict[str, torch.Tensor]:
    """How far what was made is from the same person's other face, as terms without their weights.

    Args:
        made: What the network gave.
        images: float32 [N, C, H, W], -1..1, the sources.
        targets: float32 [N, C, H, W], -1..1.
        mask: float32 [N, 1, H, W], 0..1, where the face is.
        counted: float32 [N, 1, H, W], how much each pixel counts.
        source_shapes: float32 [N, 68, 2], landmarks of the sources, x y in -1..1.
        target_shapes: float32 [N, 68, 2], landmarks of the targets.

    Returns:
        `reconstruction` (L1), `gradient` (L1 of the differences between neighbours), `flow` (L1 of what the flow alone
        gives), `outside` (L1 to the source, outside the face), `landmark` (the flow where the target's landmarks are
        must lead to the source's), `smooth` (of the learned flow) and `mask` (its mean).
    """
    at = F.grid_sample(made.flow, target_shapes[:, None], mode="bilinear", padding_mode="border", align_corners=False)[
        :, :, 0
    ].transpose(1, 2)
    inside = (target_shapes.abs().amax(dim=2, keepdim=True) < 1).float()
    return {
        "reconstruction": ((made.images - targets).abs() * counted).mean(),
        "gradient": gradient_distance(made.images, targets, counted),
        "flow": ((made.sampled - targets).abs() * counted).mean(),
        "outside": ((made.images - images).abs() * (1 - mask)).mean(),
        "landmark": ((at - (source_shapes - target_shapes)).abs() * inside).mean(),
        "smooth": smoothness(made.learned_flow),
        "mask": made.mask.mean(),
    }


def feature_heat(shapes: torch.Tensor, size: int) -> torch.Tensor:
    """Where brows, eyes and lips are: float32 [N, 1, size, size] in 0..1, of shapes [N, 68, 2] in -1..1."""
    return (landmark_heatmap((shapes[:, FEATURE_POINTS] + 1) / 2, size, FEATURE_SPREAD) + 1) / 2


def gradient_distance(images: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Weighted L1 distance of the differences between neighbours, across plus down."""
    difference = images - targets
    across = (difference.diff(dim=3).abs() * weights[..., 1:]).mean()
    return across + (difference.diff(dim=2).abs() * weights[..., 1:, :]).mean()


def smoothness(flow: torch.Tensor) -> torch.Tensor:
    """Mean squared difference between neighbours, across plus down."""
    return flow.diff(dim=3).square().mean() + flow.diff(dim=2).square().mean()
