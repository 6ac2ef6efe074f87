"""Conditional DCGAN + encoder (Fan, Liu and Wang, "Human Emotion Generation with Generative Adversarial Networks").

Three phases: G and D are trained to make faces from noise; E is trained to invert G; transfer decodes E(x) with
another class.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field

from augment.networks import losses
from augment.networks.dcgan import DcganEncoder, DcganTrunk, GeneratorConditioning
from augment.translators.base import Batch, TranslatorSettings, Weight
from augment.translators.latent_gan import DiscriminatorConditioning, LatentGan, LatentGanSettings


class CdcganSettings(LatentGanSettings):
    """Settings of the conditional DCGAN with an encoder; the defaults are the published values.

    For what it does not say the text refers to DCGAN: z of 100 uniform numbers, 5x5 convolutions, 64 features next to
    the picture (as the TensorFlow code has it; the DCGAN paper's figure shows 128). It gives the training of E no
    length: as long as that of G. Where the class enters is not said either: before every layer of G and D, as in the
    conditional DCGAN that TensorFlow's users had at the time.
    """

    generator_conditioning: GeneratorConditioning = Field(
        default="every", description="where the class enters G; batch_norm is not in the paper"
    )
    discriminator_conditioning: DiscriminatorConditioning = Field(
        default="every", description="where the class enters D; projection is not in the paper"
    )
    lambda_latent: Weight = Field(
        default=0.0,
        description="eq. 13, E(G(z|y)) = z, as a loss of E; the paper states it as the aim and trains on eq. 14 only",
    )


class Cdcgan(LatentGan):
    """G(z|y) by a conditional DCGAN, z = E(x) by an encoder that is trained as G's inverse."""

    name: ClassVar[str] = "cdcgan"
    Settings: ClassVar[type[TranslatorSettings]] = CdcganSettings
    encoder_names: ClassVar[tuple[str, ...]] = ("encoder",)
    settings: CdcganSettings

    def build_encoders(self) -> None:
        """Makes E: like D, which it resembles but for the length of what comes out; it takes no class (eq. 1)."""
        settings = self.settings
        trunk = DcganTrunk(
            channels=self.channels,
            size=self.size,
            width=settings.discriminator_width or settings.width,
            halvings=settings.halvings,
            kernel=settings.kernel,
        )
        self.encoder = DcganEncoder(trunk, settings.latent_size)

    def encode(self, pictures: torch.Tensor) -> torch.Tensor:
        """E(x) [N, latent_size] of pictures [N, C, H, W] in -1..1."""
        return self.encoder(pictures)

    def generator_losses(self, batch: Batch) -> dict[str, torch.Tensor]:
        """First phase: `adversarial`, of G. Second phase, of E: `reconstruction` (eq. 14) and `latent` (eq. 13).

        Terms with weight 0 are absent. Eq. 14 prints (x - G(E(z)))^2. E takes faces, so that E(z) is read as E(x); G is
        conditioned on x's own class.
        """
        if batch.phase != self.ENCODING:
            fake = self.generate(batch.targets, batch.generator)
            scores = self.discriminator(fake, self.condition(batch.targets))
            return {"adversarial": losses.non_saturating_generator(scores)}
        own = self.condition(batch.labels)
        reconstructed = self.generator(self.encode(batch.images), own)
        terms = {"reconstruction": losses.squared_error(reconstructed, batch.images)}
        if self.settings.lambda_latent:
            with torch.no_grad():
                latent, generated = self.generated_pairs(batch.targets, batch.generator)
            terms["latent"] = self.settings.lambda_latent * losses.squared_error(self.encode(generated), latent)
        return terms
