"""A small classifier of faces for the classification loss on generated faces, robust against patterns."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from augment.core import row_draws
from augment.networks.batch_norm import BatchNorm2d


class ClassNetwork(nn.Module):
    """Three 3x3 convolutions with batch normalization and pooling, dropout and a linear layer, at half the edge.

    A generator that follows a classifier's gradient finds patterns that satisfy it and show no class. Two measures
    against that: it works on the picture at half its edge, so that single pixels count little, and Gaussian noise is
    added to all that it sees, in training and later. Gradients of a classifier trained under noise point to what people
    see as the class (Kaur, Cohen & Lipton 2019, arXiv 1910.08640).

    Args:
        channels: 1 or 3.
        size: Edge of the pictures in pixels; at least 16.
        num_classes: Number of classes.
        width: Features of the first convolution.
        noise: Standard deviation of the noise, in units of -1..1.
    """

    def __init__(self, channels: int, size: int, num_classes: int, *, width: int, noise: float) -> None:
        super().__init__()
        self.noise = noise
        edge = size // 2
        layers: list[nn.Module] = []
        features = channels
        for level in range(3):
            wider = width * 2**level
            layers += [nn.Conv2d(features, wider, 3, padding=1, bias=False), BatchNorm2d(wider), nn.ReLU()]
            layers.append(nn.MaxPool2d(2, ceil_mode=True))
            features, edge = wider, -(-edge // 2)
        self.body = nn.Sequential(*layers)
        self.scores = nn.Sequential(nn.Flatten(), nn.Dropout(0.3), nn.Linear(features * edge**2, num_classes))

    def forward(self, pictures: torch.Tensor, generator: torch.Generator | None = None) -> torch.Tensor:
        """Class scores (logits) [N, K] of pictures float [N, C, H, W] in -1..1.

        Args:
            pictures: The pictures.
            generator: A CPU generator, the source of the noise; None = no noise.
        """
        if generator is not None and self.noise:
            noise = row_draws.randn(*pictures.shape, generator=generator).to(pictures.device, pictures.dtype)
            pictures = pictures + self.noise * noise
        return self.scores(self.body(F.avg_pool2d(pictures, 2))).float()
