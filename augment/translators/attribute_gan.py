"""What LSSL and StarGAN share: a class-conditional generator, and a discriminator with a source and an attribute head.

A subclass builds `generator`, says what a picture is (`pictures`: the image alone, or image and side input stacked)
and adds its own generator terms in `consistency_losses`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field, model_validator
from torch import nn

from augment.faces.tensors import FaceTensors, to_bytes_range, to_unit_range
from augment.networks import losses
from augment.networks.layers import PatchDiscriminator, discriminator_downs, one_hot
from augment.translators.base import Batch, LearnedTranslator, TranslatorSettings

Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class AttributeGanSettings(TranslatorSettings):
    """Settings that LSSL and StarGAN have in common; the defaults are the published values.

    A weight of 0 turns a term off and saves its cost.
    """

    width: int = Field(
        default=64, ge=4, le=512, description="features of the first convolution of generator and discriminator"
    )
    downs: int = Field(default=2, ge=1, le=6, description="how often the generator halves the picture")
    residual_blocks: int = Field(default=6, ge=0, le=32, description="at the lowest resolution")
    outer_kernel: Literal[3, 5, 7] = Field(
        default=7,
        description="edge of the generator's first and last convolution; 7 as published, half of its cost at 48 px",
    )
    discriminator_width: int | None = Field(default=None, ge=4, le=512, description="null: as width")
    discriminator_downs: int | None = Field(
        default=None, ge=1, le=8, description="null: six as published, fewer where the pictures are too small for six"
    )
    conditioning: Literal["concat", "instance_norm"] = Field(
        default="concat",
        description="how the class enters: label planes (published) or conditional instance normalization",
    )
    image_skip: bool = Field(
        default=False,
        description="output = clamp(input + residual, -1, 1) instead of tanh; the residual starts at 0, "
        "so that training starts from the identity",
    )
    adversarial: Literal["wasserstein", "non_saturating"] = Field(
        default="wasserstein", description="the adversarial loss: Wasserstein as published, or non-saturating logistic"
    )
    classification: Literal["binary", "softmax"] = Field(
        default="binary", description="summed binary cross-entropies (LSSL eq. 2) or soft-max (StarGAN eq. 2)"
    )
    lambda_adversarial: Weight = Field(default=1.0, description="adversarial loss, in both networks")
    lambda_cls: Weight = Field(default=1.0, description="attribute classification, in both networks")
    lambda_gp: Weight = Field(default=10.0, description="gradient penalty on lines between real and fake")
    lambda_r1: Weight = Field(default=0.0, description="R1's gamma: weight of the squared gradient on real faces")
    r1_attributes: bool = Field(
        default=False,
        description="R1 on the true class's score too: with few faces the class is else pleased by a pattern that "
        "nobody sees; not in the papers",
    )
    r1_every: int = Field(default=16, ge=1, description="R1 comes every so many steps, with its weight times as much")
    cycle_every: int = Field(default=1, ge=1, description="the way back is computed every so many steps")
    lambda_id: Weight = Field(default=0.0, description="L1 between output and input")

    @model_validator(mode="after")
    def _discriminator_has_a_task(self) -> AttributeGanSettings:
        if not self.lambda_adversarial and not self.lambda_cls:
            raise ValueError("lambda_adversarial and lambda_cls are both 0, which leaves the discriminator no task")
        return self


class AttributeGan(LearnedTranslator):
    """Generator + PatchGAN discriminator with an attribute head, their adversarial and classification losses.

    Args:
        num_classes: Number of classes.
        channels: 1 or 3.
        size: Edge of the pictures in pixels.
        settings: The method's settings.

    Raises:
        InputError: The size can't be halved as often as the settings ask.
    """

    Settings: ClassVar[type[TranslatorSettings]] = AttributeGanSettings
    settings: AttributeGanSettings
    generator: nn.Module
    discriminator: PatchDiscriminator

    def __init__(self, *, num_classes: int, channels: int, size: int, settings: AttributeGanSettings) -> None:
        super().__init__(num_classes=num_classes, channels=channels, size=size, settings=settings)
        downs = settings.discriminator_downs
        self.generator = self.build_generator()
        self.discriminator = PatchDiscriminator(
            self.judged_channels,
            size,
            num_classes,
            width=settings.discriminator_width or settings.width,
            downs=discriminator_downs(size) if downs is None else downs,
        )

    @property
    def picture_channels(self) -> int:
        """Channels of what the generator sees: the image, and the side input where there is one."""
        return self.channels

    @property
    def judged_channels(self) -> int:
        """Channels of what the discriminator sees."""
        return self.picture_channels

    @abstractmethod
    def build_generator(self) -> nn.Module:
        """Makes the generator, called `generator(pictures, condition) -> pictures`."""

    @abstractmethod
    def consistency_losses(
        self, batch: Batch, pictures: torch.Tensor, latent: torch.Tensor | None, translated: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """The generator's terms beside adversarial, classification and identity, named and weighted.

        Args:
            batch: The step's batch.
            pictures: [N, C (+ S), H, W], as `pictures` made them.
            latent: What `encode_and_decode` gave beside the translated pictures.
            translated: [N, C (+ S), H, W].
        """

    def encode_and_decode(
        self, pictures: torch.Tensor, condition: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Translated pictures, and the latent between where the method's losses look at it."""
        return self.generator(pictures, condition), None

    def pictures(self, images: torch.Tensor, side: torch.Tensor | None) -> torch.Tensor:
        """What the networks see: images float [N, C, H, W], with the side input stacked where the method has one."""
        return images

    def judged(self, pictures: torch.Tensor) -> torch.Tensor:
        """The part of pictures [N, C (+ S), H, W] that the discriminator sees."""
        return pictures

    def real_pictures(self, batch: Batch, pictures: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """What the discriminator takes for real, [N, C (+ S), H, W], and its classes int64 [N].

        Args:
            batch: The step's batch.
            pictures: [N, C (+ S), H, W], as `pictures` made them.
        """
        return self.judged(pictures), batch.labels

    def condition(self, labels: torch.Tensor) -> torch.Tensor:
        """Classes int64 [N] as a vector [N, K]."""
        return one_hot(labels, self.num_classes)

    def wanted_condition(self, batch: Batch) -> torch.Tensor:
        """What the generator hears on the way to the batch's wanted classes."""
        return self.condition(batch.targets)

    def generator_parameters(self) -> Iterable[nn.Parameter]:
        """What the generator's optimizer moves."""
        return self.generator.parameters()

    def discriminator_parameters(self) -> Iterable[nn.Parameter]:
        """What the discriminator's optimizer moves."""
        return self.discriminator.parameters()

    def discriminator_losses(self, batch: Batch) -> dict[str, torch.Tensor]:
        """Terms `adversarial`, `classification`, `gradient_penalty`, `r1`; those with weight 0 are absent.

        LSSL eq. 7, second line; StarGAN eq. 5.
        """
        settings = self.settings
        pictures = self.pictures(batch.images, batch.side)
        with torch.no_grad():
            fake = self.judged(self.generator(pictures, self.wanted_condition(batch)).to(pictures.dtype))
        real, labels = self.real_pictures(batch, pictures)
        # The discriminator has no batch statistics, so that real and fake may share one pass.
        source, attributes = self.discriminator(torch.cat([real, fake]))
        real_source, fake_source = source.chunk(2)
        terms: dict[str, torch.Tensor] = {}
        if settings.lambda_adversarial:
            wasserstein = settings.adversarial == "wasserstein"
            loss = losses.wasserstein_discriminator if wasserstein else losses.non_saturating_discriminator
            terms["adversarial"] = settings.lambda_adversarial * loss(real_source, fake_source)
        if settings.lambda_cls:
            terms["classification"] = settings.lambda_cls * self._classification(attributes[: len(real)], labels)
        if settings.lambda_gp:
            terms["gradient_penalty"] = settings.lambda_gp * losses.gradient_penalty(
                self._source_scores, real, fake, batch.generator
            )
        if settings.lambda_r1 and batch.step % settings.r1_every == 0:
            weight = settings.lambda_r1 * settings.r1_every
            terms["r1"] = weight * losses.r1_penalty(self._regularized_scores(labels), real)
        return terms

    def generator_losses(self, batch: Batch) -> dict[str, torch.Tensor]:
        """Terms `adversarial`, `classification` and those of `consistency_losses`; those with weight 0 are absent.

        LSSL eq. 7, first line; StarGAN eq. 6.
        """
        settings = self.settings
        pictures = self.pictures(batch.images, batch.side)
        translated, latent = self.encode_and_decode(pictures, self.wanted_condition(batch))
        terms: dict[str, torch.Tensor] = {}
        if settings.lambda_adversarial or settings.lambda_cls:
            source, attributes = self.discriminator(self.judged(translated))
            if settings.lambda_adversarial:
                wasserstein = settings.adversarial == "wasserstein"
                loss = losses.wasserstein_generator if wasserstein else losses.non_saturating_generator
                terms["adversarial"] = settings.lambda_adversarial * loss(source)
            if settings.lambda_cls:
                terms["classification"] = settings.lambda_cls * self._classification(attributes, batch.targets)
        if settings.lambda_id:
            terms["identity"] = settings.lambda_id * losses.identity(translated[:, : self.channels], batch.images)
        return terms | self.consistency_losses(batch, pictures, latent, translated)

    @torch.no_grad()
    def translate(
        self, faces: FaceTensors, targets: torch.Tensor, generator: torch.Generator | None = None
    ) -> torch.Tensor:
        """Makes faces of wanted classes; there is no chance in it, `generator` is ignored.

        Raises:
            CannotTranslateError: The faces lack what the settings need.
        """
        self.check_sources(faces)
        return self.translate_by(faces, self.condition(targets.to(faces.images.device)))

    @torch.no_grad()
    def translate_by(self, faces: FaceTensors, conditions: torch.Tensor) -> torch.Tensor:
        """Translates N faces by what the generator hears, [N, K]: uint8 [N, C, H, W], made in evaluation mode."""
        return self.made_in_batches(len(faces), lambda rows: self._translate_batch(faces, conditions, rows))

    def check(self, faces: FaceTensors) -> None:
        """Refuses training faces that can't be translated either.

        Raises:
            CannotTranslateError: Says what is wrong.
        """
        self.check_sources(faces)

    def check_sources(self, faces: FaceTensors) -> None:
        """Refuses source faces that can't be translated; unlike `check`, it asks nothing that only training needs.

        Raises:
            CannotTranslateError: The pictures have another form than those that the networks are made for.
        """
        self.check_form(faces)

    def _translate_batch(self, faces: FaceTensors, conditions: torch.Tensor, rows: slice) -> torch.Tensor:
        part = faces.take(torch.arange(len(faces))[rows])
        pictures = self.pictures(to_unit_range(part.images), self.side_input(part))
        translated = self.generator(pictures, conditions[rows])
        return to_bytes_range(translated[:, : self.channels])

    def _source_scores(self, pictures: torch.Tensor) -> torch.Tensor:
        return self.discriminator(pictures)[0]

    def _regularized_scores(self, labels: torch.Tensor) -> losses.Critic:
        def scores(pictures: torch.Tensor) -> torch.Tensor:
            source, attributes = self.discriminator(pictures)
            if not self.settings.r1_attributes:
                return source
            return source.flatten(1).sum(1) + attributes.gather(1, labels[:, None])[:, 0]

        return scores

    def _classification(self, scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        if self.settings.classification == "binary":
            return losses.binary_attributes(scores, self.condition(labels))
        return losses.softmax_classes(scores, labels)


def squash(hidden: torch.Tensor, pictures: torch.Tensor, image_skip: bool) -> torch.Tensor:
    """A generator's last step: tanh as published, or the input plus a residual, clamped to -1..1 (`image_skip`)."""
    return (pictures + hidden).clamp(-1, 1) if image_skip else torch.tanh(hidden)


def head(channels: int, settings: AttributeGanSettings) -> nn.Conv2d:
    """A generator's output convolution; with `image_skip` it starts at 0, so that the output is the input."""
    kernel = settings.outer_kernel
    convolution = nn.Conv2d(settings.width, channels, kernel, padding=kernel // 2, bias=False)
    if settings.image_skip:
        nn.init.zeros_(convolution.weight)
    return convolution
