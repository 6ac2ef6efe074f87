"""IcGAN (Perarnau et al. 2016, arXiv 1611.06355): a conditional GAN, then an encoder for z and one for y.

A face is edited by decoding E_z(x) with another y. The text is short on training; the authors' code fills it in.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field

from augment.faces.tensors import FaceTensors, to_bytes_range, to_unit_range
from augment.networks import losses
from augment.networks.dcgan import DcganEncoder, DcganTrunk, Noise
from augment.translators.base import Batch, TranslatorSettings, Weight
from augment.translators.latent_gan import DiscriminatorConditioning, LatentGan, LatentGanSettings


class IcganSettings(LatentGanSettings):
    """Settings of IcGAN; the defaults are those of the paper and, where it is silent, of the authors' code.

    y beside z in G and after D's first convolution were the places that the paper found best. The encoders' widths and
    fully connected layers and the 25 + 15 epochs are the code's. Its own Adam for the encoders (1e-4, beta1 0.1) has no
    place here: the loop's goes through all phases.
    """

    kernel: Literal[4, 5] = Field(default=4, description="edge of the convolutions of G and D; the encoders have 5")
    noise: Noise = Field(default="normal", description="distribution of z")
    discriminator_conditioning: DiscriminatorConditioning = Field(
        default="first", description="where the class enters D; projection is not in the paper"
    )
    encoder_share: float = Field(default=15 / 40, gt=0, lt=1, description="of the generator steps: the encoders' phase")
    wrong_labels: bool = Field(default=True, description="D also sees real faces with a wrong class, as fakes")
    encoder_width: int = Field(default=32, ge=4, le=512, description="features of the encoders' first convolution")
    latent_hidden: int | None = Field(
        default=None, ge=1, description="length of E_z's fully connected layer; null: of its input (4096 at 64 px)"
    )
    label_hidden: int = Field(default=512, ge=1, description="length of E_y's fully connected layer")
    lambda_image: Weight = Field(
        default=0.0, description="squared error between real x and G(E_z(x), y), for E_z; not in the paper"
    )


class Icgan(LatentGan):
    """G(z, y) by a conditional GAN; independent encoders E_z and E_y (the paper's IND, which its code trains)."""

    name: ClassVar[str] = "icgan"
    Settings: ClassVar[type[TranslatorSettings]] = IcganSettings
    ENCODING: ClassVar[str] = "encoders"
    encoder_names: ClassVar[tuple[str, ...]] = ("latent_encoder", "label_encoder")
    settings: IcganSettings

    def build_encoders(self) -> None:
        """Makes E_z and E_y: four 5x5 convolutions with batch norm and ReLU, and two fully connected layers each."""
        trunk = self._encoder_trunk()
        hidden = self.settings.latent_hidden or trunk.features
        self.latent_encoder = DcganEncoder(trunk, self.settings.latent_size, hidden=hidden)
        self.label_encoder = DcganEncoder(self._encoder_trunk(), self.num_classes, hidden=self.settings.label_hidden)

    def encode(self, pictures: torch.Tensor) -> torch.Tensor:
        """E_z(x) [N, latent_size] of pictures [N, C, H, W] in -1..1."""
        return self.latent_encoder(pictures)

    def generator_losses(self, batch: Batch) -> dict[str, torch.Tensor]:
        """First phase: `adversarial`, of G. Second phase, of the encoders: `latent`, `label` (section 3.1), `image`.

        Terms with weight 0 are absent. E_z is trained on generated faces, whose z is known, E_y on real ones, whose y
        is known.
        """
        if batch.phase != self.ENCODING:
            fake = self.generate(batch.targets, batch.generator)
            scores = self.discriminator(fake, self.condition(batch.targets))
            return {"adversarial": losses.non_saturating_generator(scores)}
        with torch.no_grad():
            latent, generated = self.generated_pairs(batch.targets, batch.generator)
        own = self.condition(batch.labels)
        terms = {
            "latent": losses.squared_error(self.latent_encoder(generated), latent),
            "label": losses.squared_error(self.label_encoder(batch.images), own),
        }
        if self.settings.lambda_image:
            reconstructed = self.generator(self.encode(batch.images), own)
            terms["image"] = self.settings.lambda_image * losses.squared_error(reconstructed, batch.images)
        return terms

    @torch.no_grad()
    def reconstruct(self, faces: FaceTensors) -> torch.Tensor:
        """G(E_z(x), E_y(x)): reconstructions, uint8 [N, C, H, W]."""
        self.check(faces)

        def make(rows: slice) -> torch.Tensor:
            pictures = to_unit_range(faces.images[rows])
            return to_bytes_range(self.generator(self.latent_encoder(pictures), self.label_encoder(pictures)))

        return self.made_in_batches(len(faces), make)

    def _encoder_trunk(self) -> DcganTrunk:
        return DcganTrunk(
            channels=self.channels,
            size=self.size,
            width=self.settings.encoder_width,
            halvings=self.settings.halvings,
            slope=0.0,
            first_norm=True,
        )
