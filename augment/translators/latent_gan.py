"""What conditional DCGAN + encoder and IcGAN share: a conditional GAN from noise, then encoders, then transfer.

First G(z|y) and D are trained from noise. Then they are frozen, and encoders are trained to invert G. A face is
translated by decoding its latent with another class. A subclass says where the class enters, builds its encoders and
writes the generator's losses of both phases.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from itertools import chain
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import nn

from augment.core import row_draws
from augment.faces.tensors import FaceTensors, to_bytes_range, to_unit_range
from augment.networks import losses
from augment.networks.dcgan import (
    DcganDiscriminator,
    DcganGenerator,
    DcganTrunk,
    GeneratorConditioning,
    Noise,
    draw_latent,
)
from augment.networks.layers import one_hot
from augment.translators.base import AdversarialTranslator, Batch, Phase, TranslatorSettings, Weight

DiscriminatorConditioning = Literal["input", "first", "every", "projection"]

ADVERSARIAL = "adversarial"  # the first phase's name


class LatentGanSettings(TranslatorSettings):
    """Settings that both methods have in common; the defaults are published values or, where noted, switched off."""

    width: int = Field(
        default=64, ge=4, le=512, description="features next to the picture; each halving of the edge doubles them"
    )
    discriminator_width: int | None = Field(default=None, ge=4, le=512, description="null: as width")
    halvings: int = Field(
        default=4, ge=1, le=8, description="fractional-strided convolutions of G, strided ones of D and encoders"
    )
    kernel: Literal[4, 5] = Field(default=5, description="edge of the convolutions of G and D")
    latent_size: int = Field(default=100, ge=1, le=4096, description="length of z")
    noise: Noise = Field(default="uniform", description="distribution of z")
    generator_conditioning: GeneratorConditioning = Field(
        default="input",
        description="where the class enters G: beside z, before every layer, or beside z and by the gains of the batch "
        "normalizations (not in the papers)",
    )
    discriminator_conditioning: DiscriminatorConditioning = Field(
        default="input",
        description="where the class enters D: beside the picture, after the first convolution, before every layer, or "
        "by an inner product with the last features (Miyato and Koyama 2018; not in the papers)",
    )
    wrong_labels: bool = Field(default=False, description="D also sees real faces with a wrong class, as fakes (IcGAN)")
    encoder_share: float = Field(default=0.5, gt=0, lt=1, description="of the generator steps: the encoders' phase")
    latent: Literal["encoded", "noise"] = Field(
        default="encoded", description="what is decoded: the source face's latent, or fresh noise (sources unused)"
    )
    discriminator_norm: bool = Field(
        default=True, description="batch normalization in D; false is not in the papers, but goes better with R1"
    )
    lambda_r1: Weight = Field(default=0.0, description="R1's gamma, on real faces; not in the papers")
    r1_every: int = Field(default=16, ge=1, description="R1 comes every so many steps, with its weight times as much")


class LatentGan(AdversarialTranslator):
    """A conditional DCGAN with encoders; the first phase is common to both methods, the second is the subclass's.

    Args:
        num_classes: Number of classes.
        channels: 1 or 3.
        size: Edge of the pictures in pixels.
        settings: The method's settings.

    Raises:
        UnsuitableSizeError: The size can't be halved as often as the settings ask.
    """

    Settings: ClassVar[type[TranslatorSettings]] = LatentGanSettings
    ENCODING: ClassVar[str] = "encoder"  # the second phase's name
    encoder_names: ClassVar[tuple[str, ...]] = ()  # of the child modules that are trained in it
    settings: LatentGanSettings

    def __init__(self, *, num_classes: int, channels: int, size: int, settings: LatentGanSettings) -> None:
        super().__init__(num_classes=num_classes, channels=channels, size=size, settings=settings)
        self.generator = DcganGenerator(
            latent_size=settings.latent_size,
            channels=channels,
            size=size,
            width=settings.width,
            halvings=settings.halvings,
            kernel=settings.kernel,
            condition_size=num_classes,
            conditioning=settings.generator_conditioning,
        )
        conditioning = settings.discriminator_conditioning
        trunk = DcganTrunk(
            channels=channels,
            size=size,
            width=settings.discriminator_width or settings.width,
            halvings=settings.halvings,
            kernel=settings.kernel,
            normalized=settings.discriminator_norm,
            records=False,
            condition_size=0 if conditioning == "projection" else num_classes,
            conditioning="input" if conditioning == "projection" else conditioning,
        )
        self.discriminator = DcganDiscriminator(trunk, projected=num_classes if conditioning == "projection" else 0)
        self.build_encoders()

    @abstractmethod
    def build_encoders(self) -> None:
        """Makes the child modules of `encoder_names`."""

    @abstractmethod
    def encode(self, pictures: torch.Tensor) -> torch.Tensor:
        """Latents [N, latent_size] of pictures [N, C, H, W] in -1..1."""

    def phases(self) -> tuple[Phase, ...]:
        """G and D, then the encoders beside a frozen G."""
        share = self.settings.encoder_share
        return (
            Phase(ADVERSARIAL, 1 - share, ("generator", "discriminator")),
            Phase(self.ENCODING, share, self.encoder_names),
        )

    def condition(self, labels: torch.Tensor) -> torch.Tensor:
        """Classes int64 [N] as the vector y [N, K]."""
        return one_hot(labels, self.num_classes)

    def generator_parameters(self) -> Iterable[nn.Parameter]:
        """G's and the encoders'."""
        encoders = (getattr(self, name).parameters() for name in self.encoder_names)
        return chain(self.generator.parameters(), *encoders)

    def discriminator_parameters(self) -> Iterable[nn.Parameter]:
        """D's."""
        return self.discriminator.parameters()

    def generate(self, targets: torch.Tensor, generator: torch.Generator | None = None) -> torch.Tensor:
        """G(z|y) [N, C, H, W] in -1..1, of fresh noise and the classes int64 [N]."""
        return self.generated_pairs(targets, generator)[1]

    def generated_pairs(
        self, targets: torch.Tensor, generator: torch.Generator | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Fresh noise z [N, latent_size], and G(z|y) as `generate` gives it."""
        latent = self._draw_latent(len(targets), generator)
        return latent, self.generator(latent, self.condition(targets))

    def discriminator_losses(self, batch: Batch) -> dict[str, torch.Tensor]:
        """Terms `adversarial` and, every so many steps, `r1`; none in the second phase."""
        if batch.phase == self.ENCODING:
            return {}
        settings = self.settings
        with torch.no_grad():
            fake = self.generate(batch.targets, batch.generator).to(batch.images.dtype)
        own = self.condition(batch.labels)
        # Real and fake apart, as in DCGAN's code: batch normalization would else mix their statistics.
        features = self.discriminator.trunk(batch.images, own)
        real_scores = self.discriminator.judge(features, own)
        fake_scores = self.discriminator(fake, self.condition(batch.targets))
        if settings.wrong_labels:
            mismatched = self._mismatched_scores(batch, features)
            terms = {"adversarial": losses.matching_aware_discriminator(real_scores, mismatched, fake_scores)}
        else:
            terms = {"adversarial": losses.non_saturating_discriminator(real_scores, fake_scores)}
        if weight := losses.lazy_weight(settings.lambda_r1, batch.step, settings.r1_every):
            penalty = losses.r1_penalty(lambda pictures: self.discriminator(pictures, own), batch.images)
            terms["r1"] = weight * penalty
        return terms

    @torch.no_grad()
    def translate(
        self, faces: FaceTensors, targets: torch.Tensor, generator: torch.Generator | None = None
    ) -> torch.Tensor:
        """Decodes faces' latents with wanted classes; with `latent: noise` it samples, and the faces are not used.

        Raises:
            CannotTranslateError: The pictures have another form than those that the networks are made for.
        """
        self.check(faces)
        if self.settings.latent == "noise":
            return self.sample(targets, generator)
        return self.made_in_batches(
            len(faces), lambda rows: self._decode(self.encode(to_unit_range(faces.images[rows])), targets[rows])
        )

    @torch.no_grad()
    def sample(self, targets: torch.Tensor, generator: torch.Generator | None = None) -> torch.Tensor:
        """Makes faces of wanted classes from noise alone.

        Args:
            targets: int64 [N], the wanted classes.
            generator: A CPU generator, the source of the noise.

        Returns:
            uint8 [N, C, H, W] on this module's device.
        """
        return self._decoded(self._draw_latent(len(targets), generator), targets)

    @torch.no_grad()
    def samples_of_phase(self, phase: str, count: int, generator: torch.Generator) -> torch.Tensor | None:
        """In the first phase: each row one noise decoded with every class (conditional DCGAN + encoder, figure 5).

        Encoders know nothing until their own phase: what they give is next to 0 for any face, and all rows are alike.
        """
        if phase != ADVERSARIAL:
            return None
        latents = self._draw_latent(count, generator).repeat_interleave(self.num_classes, dim=0)
        targets = torch.arange(self.num_classes).repeat(count)
        made = self._decoded(latents, targets)
        return made.reshape(count, self.num_classes, *made.shape[1:])

    def _decoded(self, latents: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return self.made_in_batches(len(targets), lambda rows: self._decode(latents[rows], targets[rows]))

    def _decode(self, latent: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return to_bytes_range(self.generator(latent, self.condition(targets.to(latent.device))))

    def _draw_latent(self, count: int, generator: torch.Generator | None) -> torch.Tensor:
        drawn = draw_latent(count, self.settings.latent_size, self.settings.noise, generator)
        return drawn.to(self.generator.project.weight.device)

    def _mismatched_scores(self, batch: Batch, features: torch.Tensor) -> torch.Tensor:
        """Source scores of the real faces as faces of another class, any but their own."""
        shift = row_draws.randint(1, self.num_classes, len(features), generator=batch.generator)
        wrong = self.condition((batch.labels + shift.to(batch.labels.device)) % self.num_classes)
        if self.settings.discriminator_conditioning != "projection":
            features = self.discriminator.trunk(batch.images, wrong)
        return self.discriminator.judge(features, wrong)
