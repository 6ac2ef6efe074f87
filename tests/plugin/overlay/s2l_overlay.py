"""A translator of one learned picture per class, which is added to the face."""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import nn

from augment.faces.tensors import to_bytes_range, to_unit_range
from augment.translators import AdversarialTranslator, Batch, FaceTensors, TranslatorSettings


class OverlaySettings(TranslatorSettings):
    """What params.yaml may say below `settings`."""

    lambda_faint: float = Field(default=3.0, ge=0, description="price of a change: its mean square")


class Overlay(AdversarialTranslator):
    """Adds to a face the picture of the wanted class; a linear discriminator tells real from made, and the classes."""

    name = "overlay"
    Settings = OverlaySettings
    settings: OverlaySettings

    def __init__(self, *, num_classes: int, channels: int, size: int, settings: OverlaySettings) -> None:
        super().__init__(num_classes=num_classes, channels=channels, size=size, settings=settings)
        self.generator = nn.Linear(num_classes, channels * size * size, bias=False)
        self.discriminator = nn.Linear(channels * size * size, 1 + num_classes)
        nn.init.zeros_(self.generator.weight)

    def generator_parameters(self) -> Iterable[nn.Parameter]:
        return self.generator.parameters()

    def discriminator_parameters(self) -> Iterable[nn.Parameter]:
        return self.discriminator.parameters()

    def generate(self, images: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
        """Images float [N, C, H, W] in -1..1 with the pictures of classes int64 [N] added."""
        wanted = F.one_hot(classes, self.num_classes).to(images.dtype)
        return (images + torch.tanh(self.generator(wanted)).view_as(images)).clamp(-1, 1)

    def judge(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """How real images are [N], and of which class [N, K]."""
        scores = self.discriminator(images.flatten(1)).float()
        return scores[:, 0], scores[:, 1:]

    def discriminator_losses(self, batch: Batch) -> dict[str, torch.Tensor]:
        with torch.no_grad():
            made = self.generate(batch.images, batch.targets)
        real, classes = self.judge(batch.images)
        return {
            "adversarial": F.softplus(-real).mean() + F.softplus(self.judge(made)[0]).mean(),
            "classification": F.cross_entropy(classes, batch.labels),
        }

    def generator_losses(self, batch: Batch) -> dict[str, torch.Tensor]:
        made = self.generate(batch.images, batch.targets)
        real, classes = self.judge(made)
        return {
            "adversarial": F.softplus(-real).mean(),
            "classification": F.cross_entropy(classes, batch.targets),
            "faint": self.settings.lambda_faint * (made - batch.images).square().mean(),
        }

    @torch.no_grad()
    def translate(
        self, faces: FaceTensors, targets: torch.Tensor, generator: torch.Generator | None = None
    ) -> torch.Tensor:
        return to_bytes_range(self.generate(to_unit_range(faces.images), targets))
