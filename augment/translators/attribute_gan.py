"""What LSSL and StarGAN share: a class-conditional generator, and a discriminator with a source and an attribute head.

A subclass builds `generator`, says what a picture is (`pictures`: the image alone, or image and side input stacked)
and writes the losses of both networks.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field, model_validator
from torch import nn

from augment.faces.tensors import FaceTensors, to_bytes_range, to_unit_range
from augment.networks import losses
from augment.networks.class_network import ClassNetwork
from augment.networks.layers import PatchDiscriminator, discriminator_downs, one_hot
from augment.translators.base import (
    GENERATOR,
    AdversarialTranslator,
    Batch,
    CannotTranslateError,
    Phase,
    TranslatorSettings,
    Weight,
)
from augment.translators.pair_batches import PairBatches
from augment.translators.pairs import check_pairs

_SIDE_SHARE = 0.1
CLASS_NETWORK, WARM_START = "class_network", "warm_start"  # names of a network and of a phase


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

    # For few steps; none of these is in the papers
    attention_mask: bool = Field(
        default=False,
        description="output = (1 - mask) input + mask picture, as in GANimation (arXiv 1807.09251, eq. 1), so that "
        "what the class does not change is copied",
    )
    lambda_mask: Weight = Field(default=0.0, description="mean of the mask; GANimation eq. 3, second term")
    lambda_mask_smoothness: Weight = Field(default=0.0, description="GANimation eq. 3, first term")
    class_network_share: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="share of the run in which a class network is trained on real faces; it then takes the place of "
        "the discriminator's classes in the generator's classification loss; 0 = none",
    )
    class_network_width: int = Field(default=32, ge=4, le=512, description="features of its first convolution")
    class_network_noise: float = Field(
        default=0.3, ge=0, le=2, description="standard deviation of the noise on all that it sees, in units of -1..1"
    )
    warm_start_share: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="share of the run in which the generator learns alone, by `warm_start`; the adversarial losses "
        "begin after it; 0 = at once",
    )
    warm_start: Literal["pairs", "reconstruction"] = Field(
        default="pairs",
        description="what it learns then: faces of the same person (needs landmarks and people who show several "
        "classes), or its own input in the input's class",
    )
    adversarial_learning_rate: float = Field(
        default=1.0, gt=0, le=10, description="factor on the learning rates after the warm start, or the class network"
    )
    lambda_pair: Weight = Field(
        default=50.0,
        description="mean squared difference from the same person's face of the wanted class, in the warm start and "
        "after it",
    )
    pair_variation: float = Field(
        default=1.0, ge=0, le=3, description="how much pairs are turned, scaled and lit at random; 0 = not"
    )

    @model_validator(mode="after")
    def _shares_leave_room(self) -> AttributeGanSettings:
        if self.class_network_share + self.warm_start_share >= 1:
            raise ValueError("class_network_share and warm_start_share must leave a part of the run: sum below 1")
        return self

    @property
    def learns_from_pairs(self) -> bool:
        """Whether same-person pairs are needed."""
        return self.warm_start_share > 0 and self.warm_start == "pairs"

    @model_validator(mode="after")
    def _discriminator_has_a_task(self) -> AttributeGanSettings:
        if not self.lambda_adversarial and not self.lambda_cls:
            raise ValueError("lambda_adversarial and lambda_cls are both 0, which leaves the discriminator no task")
        return self


class MaskedGenerator(nn.Module, ABC):
    """A generator, called `generator(pictures, condition) -> pictures`, that can tell its mask."""

    @abstractmethod
    def with_mask(self, pictures: torch.Tensor, condition: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """What `forward` gives, and the mask [N, 1, H, W] in 0..1; None without `attention_mask`."""


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
    generator: MaskedGenerator
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
        self.class_network: ClassNetwork | None = None
        if settings.class_network_share:
            self.class_network = ClassNetwork(
                channels,
                size,
                num_classes,
                width=settings.class_network_width,
                noise=settings.class_network_noise,
            )
        self._pairs: PairBatches | None = None

    def phases(self) -> tuple[Phase, ...]:
        """The class network, the warm start, and the losses of the paper, as far as the settings have them."""
        settings, phases = self.settings, []
        if settings.class_network_share:
            phases.append(Phase(CLASS_NETWORK, settings.class_network_share, (CLASS_NETWORK,)))
        if settings.warm_start_share:
            phases.append(Phase(WARM_START, settings.warm_start_share, ("generator",), usable=True))
        if not phases:
            return super().phases()
        rest = 1.0 - settings.class_network_share - settings.warm_start_share
        return (
            *phases,
            Phase(
                "adversarial", rest, ("generator", "discriminator"), learning_rate=settings.adversarial_learning_rate
            ),
        )

    def networks(self) -> Mapping[str, Iterable[nn.Parameter]]:
        """The discriminator, the generator, and the class network where the settings have one."""
        networks = dict(super().networks())
        if self.class_network is not None:
            networks[CLASS_NETWORK] = self.class_network.parameters()
        return networks

    def losses(self, network: str, batch: Batch) -> dict[str, torch.Tensor]:
        """The terms of a network: the discriminator's, the generator's by phase, or the class network's."""
        if network == CLASS_NETWORK:
            assert self.class_network is not None
            scores = self.class_network(batch.images, batch.generator)
            return {"classification": losses.softmax_classes(scores, batch.labels)}
        if network == GENERATOR and batch.phase == WARM_START:
            return self.warm_start_losses(batch)
        terms = super().losses(network, batch)
        if network == GENERATOR and self._pairs is not None:
            terms |= self.pair_losses(batch)
        return terms

    def prepare_training(self, faces: FaceTensors) -> Mapping[str, Any]:
        """Lays same-person pairs on each other, where the settings learn from them."""
        self._pairs = PairBatches(faces) if self.settings.learns_from_pairs else None
        return {} if self._pairs is None else {"pairs": len(self._pairs)}

    def warm_start_losses(self, batch: Batch) -> dict[str, torch.Tensor]:
        """Terms of the warm start: those of pairs, or `reconstruction` of each face in its own class."""
        if self.settings.learns_from_pairs:
            return self.pair_losses(batch)
        pictures = self.pictures(batch.images, batch.side_input)
        made = self.generator(pictures, self.condition(batch.labels))
        return {"reconstruction": losses.identity(made, pictures)}

    def pair_losses(self, batch: Batch) -> dict[str, torch.Tensor]:
        """The term `pair`: mean squared difference from the same person's face of the wanted class.

        An eighth of the pairs are faces of the batch with themselves, in their own class: so the generator sees people
        of whom there are no pairs.

        Raises:
            CannotTranslateError: There are no pairs; the training loop calls `prepare_training` first.
        """
        settings = self.settings
        if self._pairs is None:
            raise CannotTranslateError(f"{self.name}: pairs are missing; call prepare_training(faces) first")
        own = max(1, len(batch.images) // 8)
        drawn = self._pairs.draw(len(batch.images) - own, batch.generator, variation=settings.pair_variation)
        unchanged = self.pictures(batch.images, batch.side_input)[:own]
        sources = self.pictures(drawn.sources, self.landmark_input(drawn.source_landmarks))
        wanted = self.pictures(drawn.wanted, self.landmark_input(drawn.target_landmarks))
        sources, wanted = torch.cat([sources, unchanged]), torch.cat([wanted, unchanged])
        made = self.generator(sources, self.condition(torch.cat([drawn.targets, batch.labels[:own]])))
        error = losses.squared_error(made[:, : self.channels], wanted[:, : self.channels])
        if made.shape[1] > self.channels:
            # Points of a heatmap that move by a pixel make ten times the error that pixels of a face make.
            error = error + _SIDE_SHARE * losses.squared_error(made[:, self.channels :], wanted[:, self.channels :])
        # Squared, where the papers' other terms are l1: most pixels of a pair are equal, and of a difference whose
        # place is uncertain the median is no difference. With l1 a generator that starts at the identity stays there
        # (tried: 150 steps left 99 % of the squared error to pairs of other people, the same with squares 94 %, and
        # with a mask 79 %).
        return {"pair": settings.lambda_pair * error}

    def landmark_input(self, landmarks: torch.Tensor) -> torch.Tensor | None:
        """The side input of faces with these landmarks, [N, 68, 2] in 0..1; None for methods without one."""
        return None

    def mask_losses(self, mask: torch.Tensor | None) -> dict[str, torch.Tensor]:
        """Terms `mask` and `mask_smoothness`; those with weight 0 are absent."""
        terms: dict[str, torch.Tensor] = {}
        if mask is not None and self.settings.lambda_mask:
            terms["mask"] = self.settings.lambda_mask * mask.float().mean()
        if mask is not None and self.settings.lambda_mask_smoothness:
            terms["mask_smoothness"] = self.settings.lambda_mask_smoothness * losses.mask_smoothness(mask)
        return terms

    def classification_loss(self, images: torch.Tensor, attributes: torch.Tensor, batch: Batch) -> torch.Tensor:
        """The generator's classification loss without its weight.

        Args:
            images: Translated images [N, C, H, W].
            attributes: The discriminator's attribute scores of them [N, K].
            batch: The step's batch.
        """
        if self.class_network is not None:
            return losses.softmax_classes(self.class_network(images, batch.generator), batch.targets)
        return losses.classification(self.settings.classification, attributes, batch.targets)

    @property
    def picture_channels(self) -> int:
        """Channels of the generator's input: the image, and the side input where there is one."""
        return self.channels

    @property
    def judged_channels(self) -> int:
        """Channels of the discriminator's input."""
        return self.picture_channels

    @abstractmethod
    def build_generator(self) -> MaskedGenerator:
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
        """Refuses training faces that can't be translated either, and those without pairs where pairs are needed.

        Raises:
            CannotTranslateError: Says what is wrong.
        """
        self.check_sources(faces)
        if self.settings.learns_from_pairs:
            try:
                check_pairs(faces, self.name)
            except CannotTranslateError as error:
                remedy = "set the translator's warm_start=reconstruction or warm_start_share=0"
                raise CannotTranslateError(f"{error} Or {remedy}") from error

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
    # A class network is trained in the place of these.
    has_classes = not settings.class_network_share
    if settings.lambda_cls and has_classes:
        loss = losses.classification(settings.classification, attributes[: len(real)], labels)
        terms["classification"] = settings.lambda_cls * loss
    if settings.lambda_gp:
        critic = losses.class_aware_critic(discriminator, None)
        terms["gradient_penalty"] = settings.lambda_gp * losses.gradient_penalty(critic, real, fake, batch.generator)
    if weight := losses.lazy_weight(settings.lambda_r1, batch.step, settings.r1_every):
        critic = losses.class_aware_critic(discriminator, labels if settings.r1_attributes and has_classes else None)
        terms["r1"] = weight * losses.r1_penalty(critic, real)
    return terms


def mask_head(settings: AttributeGanSettings) -> nn.Conv2d:
    """A generator's convolution for the mask's logits; it starts at a mask of 0.12, most of the input."""
    kernel = settings.outer_kernel
    convolution = nn.Conv2d(settings.width, 1, kernel, padding=kernel // 2)
    assert convolution.bias is not None
    nn.init.constant_(convolution.bias, -2.0)
    return convolution


def head(channels: int, settings: AttributeGanSettings) -> nn.Conv2d:
    """A generator's output convolution; with `image_skip` it starts at 0, so that the output is the input."""
    kernel = settings.outer_kernel
    convolution = nn.Conv2d(settings.width, channels, kernel, padding=kernel // 2, bias=False)
    if settings.image_skip:
        nn.init.zeros_(convolution.weight)
    return convolution
