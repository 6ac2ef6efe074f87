"""What LSSL and StarGAN share: a class-conditional generator, and a discriminator with a source and an attribute head.

A subclass builds `generator`, says what a picture is (`pictures`: the image alone, or image and side input stacked)
and writes the losses of both networks.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from typing import ClassVar, Literal

import torch
from pydantic import Field, model_validator
from torch import nn

from augment.faces.tensors import FaceTensors, to_bytes_range, to_unit_range
from augment.networks import losses
from augment.networks.layers import PatchDiscriminator, discriminator_downs, one_hot
from augment.translators.base import AdversarialTranslator, Batch, TranslatorSettings, Weight


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
        description="R1 on the true class's score too: with few faces a pattern that nobody sees can else satisfy "
        "the class; not in the papers",
    )
    r1_every: int = Field(default=16, ge=1, description="R1 comes every so many steps, with its weight times as much")
    cycle_every: int = Field(default=1, ge=1, description="the cycle reconstruction is computed every so many steps")
    lambda_id: Weight = Field(default=0.0, description="L1 between output and input")

    @model_validator(mode="after")
    def _discriminator_has_a_task(self) -> AttributeGanSettings:
        if not self.lambda_adversarial and not self.lambda_cls:
            raise ValueError("lambda_adversarial and lambda_cls are both 0, which leaves the discriminator no task")
        return self


class AttributeGan(AdversarialTranslator):
    """Generator + PatchGAN discriminator with an attribute head, and how faces go through them.

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
        """Channels of the generator's input: the image, and the side input where there is one."""
        return self.channels

    @property
    def judged_channels(self) -> int:
        """Channels of the discriminator's input."""
        return self.picture_channels

    @abstractmethod
    def build_generator(self) -> nn.Module:
        """Makes the generator, called `generator(pictures, condition) -> pictures`."""

    def pictures(self, images: torch.Tensor, side_input: torch.Tensor | None) -> torch.Tensor:
        """The generator's input: images float [N, C, H, W], with the side input stacked where the method has one."""
        return images

    def condition(self, labels: torch.Tensor) -> torch.Tensor:
        """Classes int64 [N] as a vector [N, K]."""
        return one_hot(labels, self.num_classes)

    def generator_parameters(self) -> Iterable[nn.Parameter]:
        """The generator's."""
        return self.generator.parameters()

    def discriminator_parameters(self) -> Iterable[nn.Parameter]:
        """The discriminator's."""
        return self.discriminator.parameters()

    @torch.no_grad()
    def translate(
        self, faces: FaceTensors, targets: torch.Tensor, generator: torch.Generator | None = None
    ) -> torch.Tensor:
        """Makes faces of wanted classes; it is deterministic, `generator` is ignored.

        Raises:
            CannotTranslateError: The faces lack what the settings need.
        """
        self.check_sources(faces)
        return self.translate_by(faces, self.condition(targets.to(faces.images.device)))

    @torch.no_grad()
    def translate_by(self, faces: FaceTensors, conditions: torch.Tensor) -> torch.Tensor:
        """Translates N faces by conditions [N, K]: uint8 [N, C, H, W], made in evaluation mode."""
        return self.made_in_batches(len(faces), lambda rows: self._translate_batch(faces, conditions, rows))

    def check(self, faces: FaceTensors) -> None:
        """Refuses training faces that can't be translated either.

        Raises:
            CannotTranslateError: Says what is wrong.
        """
        self.check_sources(faces)

    def check_sources(self, faces: FaceTensors) -> None:
        """Refuses source faces that can't be translated; unlike `check`, it requires nothing that only training needs.

        Raises:
            CannotTranslateError: The pictures have another form than those that the networks are made for.
        """
        self.check_form(faces)

    def _translate_batch(self, faces: FaceTensors, conditions: torch.Tensor, rows: slice) -> torch.Tensor:
        part = faces.take(torch.arange(len(faces))[rows])
        pictures = self.pictures(to_unit_range(part.images), self.side_input(part))
        translated = self.generator(pictures, conditions[rows])
        return to_bytes_range(translated[:, : self.channels])


def attribute_discriminator_losses(
    discriminator: PatchDiscriminator,
    settings: AttributeGanSettings,
    *,
    real: torch.Tensor,
    labels: torch.Tensor,
    fake: torch.Tensor,
    batch: Batch,
) -> dict[str, torch.Tensor]:
    """The discriminator's terms: LSSL eq. 7, second line; StarGAN eq. 5.

    Args:
        discriminator: The discriminator.
        settings: Kinds and weights of the terms.
        real: [N, C, H, W], as the discriminator sees them.
        labels: int64 [N], the real pictures' classes.
        fake: [N, C, H, W], translated pictures; no gradient flows into them.
        batch: The step's batch, for its step and its generator.

    Returns:
        Terms `adversarial`, `classification`, `gradient_penalty`, `r1`; those with weight 0 are absent.
    """
    # The discriminator has no batch statistics, so that real and fake may share one pass.
    source, attributes = discriminator(torch.cat([real, fake]))
    real_source, fake_source = source.chunk(2)
    terms: dict[str, torch.Tensor] = {}
    if settings.lambda_adversarial:
        loss = losses.adversarial_discriminator(settings.adversarial, real_source, fake_source)
        terms["adversarial"] = settings.lambda_adversarial * loss
    if settings.lambda_cls:
        loss = losses.classification(settings.classification, attributes[: len(real)], labels)
        terms["classification"] = settings.lambda_cls * loss
    if settings.lambda_gp:
        critic = losses.class_aware_critic(discriminator, None)
        terms["gradient_penalty"] = settings.lambda_gp * losses.gradient_penalty(critic, real, fake, batch.generator)
    if weight := losses.lazy_weight(settings.lambda_r1, batch.step, settings.r1_every):
        critic = losses.class_aware_critic(discriminator, labels if settings.r1_attributes else None)
        terms["r1"] = weight * losses.r1_penalty(critic, real)
    return terms


def head(channels: int, settings: AttributeGanSettings) -> nn.Conv2d:
    """A generator's output convolution; with `image_skip` it starts at 0, so that the output is the input."""
    kernel = settings.outer_kernel
    convolution = nn.Conv2d(settings.width, channels, kernel, padding=kernel // 2, bias=False)
    if settings.image_skip:
        nn.init.zeros_(convolution.weight)
    return convolution
