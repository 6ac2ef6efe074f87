"""The parsing network P: which pixels are skin, lips, eyes. Trained first on masks, then frozen (LSSL section 3.1).

A U-Net (Ronneberger et al. 2015) of depthwise-separable blocks (Howard et al. 2017; Sandler et al. 2018). It is taught
in `augment.parsing.training`; whose masks teach it, `augment.parsing.teachers` says.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import nn
from torch.nn import functional as F

from augment.core.errors import InputError, Problem
from augment.core.sealed_tensors import load_tensors, save_tensors
from augment.faces.table import MASK_CLASSES
from augment.networks.layers import check_halvings


class ParsingSettings(BaseModel):
    """How the parsing network is built and trained."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    width: int = Field(
        default=32, ge=4, le=256, description="features of the first level; each level below has twice as many"
    )
    levels: int = Field(default=3, ge=1, le=6, description="halvings between the top and the bottom of the U")
    blocks: int = Field(
        default=1, ge=1, le=8, description="blocks of each level, on the way down and on the way up; U-Net's are 2"
    )
    steps: int = Field(default=2000, ge=1, description="optimizer steps")
    batch_size: int = Field(default=16, ge=1, description="faces per step")
    learning_rate: float = Field(default=3e-3, gt=0, le=1, description="peak of a one-cycle schedule of AdamW")
    brightness: float = Field(
        default=0.3, ge=0, le=1, description="greatest shift of brightness, in units of the range -1..1"
    )
    contrast: float = Field(default=0.4, ge=0, lt=1, description="greatest relative change of contrast")
    noise: float = Field(
        default=0.05, ge=0, le=1, description="greatest standard deviation of added noise, range -1..1"
    )


class _ParsingForm(BaseModel):
    """What a file of weights says of its network."""

    model_config = ConfigDict(strict=True)

    channels: Literal[1, 3]
    size: int = Field(ge=1, le=4096)
    settings: dict[str, Any]


class DepthwiseSeparableBlock(nn.Module):
    """3x3 depthwise convolution -> batch norm -> ReLU -> 1x1 convolution -> batch norm -> ReLU (MobileNet)."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(in_features, in_features, 3, padding=1, groups=in_features, bias=False)
        self.depthwise_norm = nn.BatchNorm2d(in_features)
        self.pointwise = nn.Conv2d(in_features, out_features, 1, bias=False)
        self.pointwise_norm = nn.BatchNorm2d(out_features)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """[N, in_features, H, W] to [N, out_features, H, W]."""
        hidden = F.relu(self.depthwise_norm(self.depthwise(features)))
        return F.relu(self.pointwise_norm(self.pointwise(hidden)))


def _level(in_features: int, out_features: int, blocks: int) -> nn.Module:
    """The blocks of one level: the first changes the number of features."""
    first = DepthwiseSeparableBlock(in_features, out_features)
    if blocks == 1:  # by itself: its weights keep the names that they have in files
        return first
    return nn.Sequential(first, *(DepthwiseSeparableBlock(out_features, out_features) for _ in range(blocks - 1)))


class ParsingNetwork(nn.Module):
    """P: pictures to a score for each part and pixel.

    Args:
        channels: 1 or 3.
        size: Edge of the pictures in pixels, divisible by 2 ** levels.
        settings: Width, levels and blocks.

    Raises:
        InputError: The size can't be halved so often.
    """

    def __init__(self, *, channels: int, size: int, settings: ParsingSettings) -> None:
        super().__init__()
        check_halvings(size, settings.levels, "parsing.levels")
        self.channels = channels
        self.size = size
        self.settings = settings
        widths = [settings.width * 2**level for level in range(settings.levels + 1)]
        # The first convolution is a plain one: a depthwise one would see one or three features only.
        self.stem = nn.Conv2d(channels, widths[0], 3, padding=1)
        self.down = nn.ModuleList(
            _level(widths[max(level - 1, 0)], width, settings.blocks) for level, width in enumerate(widths)
        )
        self.up = nn.ModuleList(
            _level(widths[level] + widths[level + 1], widths[level], settings.blocks)
            for level in reversed(range(settings.levels))
        )
        self.head = nn.Conv2d(widths[0], len(MASK_CLASSES), 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Scores (logits) [N, 4, H, W] in the order of `MASK_CLASSES`, of images float [N, C, H, W] in -1..1."""
        features = F.relu(self.stem(images))
        passed: list[torch.Tensor] = []
        for level, block in enumerate(self.down):
            features = block(F.max_pool2d(features, 2) if level else features)
            passed.append(features)
        passed.pop()
        for block in self.up:
            # Nearest neighbours where U-Net convolves upwards: the 3x3 convolution of the block comes next anyway.
            wider = F.interpolate(features, scale_factor=2.0, mode="nearest")
            features = block(torch.cat([passed.pop(), wider], dim=1))
        return self.head(features)


def freeze_parsing(network: ParsingNetwork) -> ParsingNetwork:
    """Puts the network in eval mode and takes its parameters out of every gradient."""
    return network.eval().requires_grad_(False)


def save_parsing(network: ParsingNetwork, path: Path) -> None:
    """Writes weights and settings as safetensors, atomically."""
    # One block is left unsaid, so that a file is the same as before there could be more.
    unsaid = {"blocks"} if network.settings.blocks == 1 else None
    header = {
        "kind": "parsing",
        "channels": network.channels,
        "size": network.size,
        "settings": network.settings.model_dump(mode="json", exclude=unsaid),
    }
    save_tensors(network.state_dict(), path, header)


def load_parsing(path: Path, device: torch.device | str = "cpu") -> ParsingNetwork:
    """Reads a network written by `save_parsing`; it comes frozen.

    Raises:
        InputError: The file is absent, damaged, or holds something else.
    """
    tensors, header = load_tensors(path, "readable parsing network", "train it again")
    if header.get("kind") != "parsing":
        raise InputError(Problem(str(path), "holds no parsing network", "give the file that save_parsing wrote"))
    try:
        form = _ParsingForm.model_validate(header)
        settings = ParsingSettings.model_validate(form.settings)
        network = ParsingNetwork(channels=form.channels, size=form.size, settings=settings)
        network.load_state_dict(tensors)
    except (ValidationError, RuntimeError) as error:
        raise InputError(Problem(str(path), f"is no readable parsing network: {error}", "train it again")) from error
    return freeze_parsing(network).to(device)
