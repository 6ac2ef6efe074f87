"""StarGAN (Choi et al. 2018, arXiv 1711.09020), as published, with switches."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import nn

from augment import losses
from augment.layers import DownBlock, ResidualBlock, TransposedUpBlock, check_halvings, concat_label_planes
from augment.translators.attribute_gan import AttributeGan, AttributeGanSettings, Weight, head, squash
from augment.translators.base import Batch, TranslatorSettings


class StarGanSettings(AttributeGanSettings):
    """Settings of StarGAN; the defaults are the published values."""

    classification: Literal["binary", "softmax"] = Field(
        default="softmax", description="soft-max over exclusive classes, as for RaFD; binary as for CelebA's attributes"
    )
    lambda_rec: Weight = Field(default=10.0, description="reconstruction, eq. 4")
    lambda_id: Weight = Field(default=0.0, description="L1 between output and input; not in the paper")


class StarGanGenerator(nn.Module):
    """7x7 convolution, strided 4x4 convolutions, residual blocks, transposed 4x4 convolutions, 7x7 convolution.

    Table 4 of the paper: 64, 128, 256 features, six residual blocks, 128, 64. With `conditioning="concat"` the class
    enters as planes beside the image; with `"instance_norm"` through every normalization.
    """

    def __init__(self, *, num_classes: int, channels: int, size: int, settings: StarGanSettings) -> None:
        super().__init__()
        check_halvings(size, settings.downs, "downs")
        self.concat = settings.conditioning == "concat"
        self.image_skip = settings.image_skip
        heard = 0 if self.concat else num_classes
        width = settings.width
        widths = [width * 2**level for level in range(settings.downs + 1)]
        self.blocks = nn.ModuleList()
        first = channels + num_classes if self.concat else channels
        self.blocks.append(DownBlock(first, width, kernel=settings.outer_kernel, stride=1, condition_size=heard))
        self.blocks.extend(DownBlock(inner, 2 * inner, condition_size=heard) for inner in widths[:-1])
        self.blocks.extend(ResidualBlock(widths[-1], condition_size=heard) for _ in range(settings.residual_blocks))
        self.blocks.extend(TransposedUpBlock(2 * inner, inner, condition_size=heard) for inner in reversed(widths[:-1]))
        self.head = head(channels, settings)

    def forward(self, pictures: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        """Pictures [N, C, H, W] in -1..1 and the wanted condition [N, K] to translated pictures of the same shape."""
        features = concat_label_planes(pictures, condition) if self.concat else pictures
        for block in self.blocks:
            features = block(features, condition)
        return squash(self.head(features), pictures, self.image_skip)


class StarGan(AttributeGan):
    """One generator for all classes, bound to its input by the way back (cycle reconstruction)."""

    name: ClassVar[str] = "stargan"
    Settings: ClassVar[type[TranslatorSettings]] = StarGanSettings
    settings: StarGanSettings

    def build_generator(self) -> nn.Module:
        """Makes the generator."""
        return StarGanGenerator(
            num_classes=self.num_classes, channels=self.channels, size=self.size, settings=self.settings
        )

    def consistency_losses(
        self, batch: Batch, pictures: torch.Tensor, latent: torch.Tensor | None, translated: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """`reconstruction` (eq. 4), every `cycle_every`-th step."""
        if not self.settings.lambda_rec or batch.step % self.settings.cycle_every:
            return {}
        cycled = self.generator(translated, self.condition(batch.labels))
        return {"reconstruction": self.settings.lambda_rec * losses.reconstruction(pictures, cycled)}
