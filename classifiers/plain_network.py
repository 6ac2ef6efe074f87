"""A plain convolutional network for small pictures: 3 x 3 convolutions and max-pooling, without shortcuts.

The form is VGG's (Simonyan & Zisserman 2015, section 2.1) with batch normalization (Ioffe & Szegedy 2015) and one last
layer in the place of three. It needs nothing but torch. A second form weighs channels by what all of the map shows
(squeeze and excitation; Hu et al. 2018) and looks at every pixel once before a stride of 2 leaves three of four out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

import torch
from torch import nn

PLAIN_WIDTHS = (32, 64, 128, 128)
PLAIN_CONVOLUTIONS = (1, 1, 1, 1)
PLAIN_DROPOUT = 0.3
# Edge of the map that the last layer sees, which so knows brow from mouth: what four poolings leave of 48 px.
_CELLS = 3


class PlainNetwork(nn.Module):
    """Stages of 3 x 3 convolutions, each with batch normalization and ReLU; 2 x 2 max-pooling ends a stage.

    The last convolution of a stage is pooled before it is normalized, which leaves a quarter of the values to normalize
    and takes a fifth off a step on a CPU.

    Args:
        num_classes: Number of classes.
        channels: Of the pictures.
        widths: Channels of each stage.
        convolutions: Convolutions in each stage, as many numbers as there are widths.
        stride: Of the first convolution; 2 halves the map of every stage, for a quarter of the work.
        dropout: Probability that a feature is left out before the last layer, in training.
        stem_width: Channels of a convolution before the first stage, which keeps the map as large as the picture; None:
            there is none.
        excitation: Makes what weighs the channels at the end of a stage, of how many there are; None: nothing does.
    """

    def __init__(
        self,
        *,
        num_classes: int,
        channels: int,
        widths: Sequence[int] = PLAIN_WIDTHS,
        convolutions: Sequence[int] = PLAIN_CONVOLUTIONS,
        stride: int = 1,
        dropout: float = PLAIN_DROPOUT,
        stem_width: int | None = None,
        excitation: Callable[[int], nn.Module] | None = None,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = channels
        if stem_width is not None:
            layers += [nn.Conv2d(before, stem_width, 3, padding=1, bias=False), nn.BatchNorm2d(stem_width)]
            layers.append(nn.ReLU(inplace=True))
            before = stem_width
        for stage, (width, count) in enumerate(zip(widths, convolutions, strict=True)):
            for number in range(count):
                step = stride if stage == number == 0 else 1
                # Batch normalization has a bias of its own.
                layers.append(nn.Conv2d(before, width, 3, stride=step, padding=1, bias=False))
                if number == count - 1:
                    layers.append(nn.MaxPool2d(2))
                layers += [nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
                before = width
            if excitation is not None:
                layers.append(excitation(width))
        self.stages = nn.Sequential(*layers)
        self.pool = nn.AdaptiveAvgPool2d(_CELLS)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(before * _CELLS**2, num_classes)

    def forward_features(self, images: torch.Tensor) -> torch.Tensor:
        """Maps float [N, widths[-1], H / 2^stages, W / 2^stages] of normalised pictures [N, C, H, W]."""
        return cast(torch.Tensor, self.stages(images))

    def forward_head(self, maps: torch.Tensor, pre_logits: bool = False) -> torch.Tensor:
        """Logits [N, num_classes] of maps; with `pre_logits` the maps' means, float [N, widths[-1]].

        The last layer sees nine cells of each map. Distances between distributions of features compare the means: of
        nine times as many features, a few hundred faces would not give the covariances.
        """
        if pre_logits:
            return maps.mean(dim=(2, 3))
        cells = maps if maps.shape[2:] == (_CELLS, _CELLS) else self.pool(maps)  # of 48 px there is nothing to pool
        return cast(torch.Tensor, self.fc(self.dropout(cells.flatten(1))))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits [N, num_classes] of normalised pictures float [N, C, H, W]."""
        return self.forward_head(self.forward_features(images))
