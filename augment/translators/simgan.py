"""SimGAN (Shrivastava et al. 2017, arXiv 1612.07828): makes simulated frontal faces look real.

The refiner sees no photograph: a source gives its simulated frontal face, and what comes out is that face, refined. The
paper leaves open the padding (zeros here, so that any size works), the activations (ReLU), lambda and the size of the
image pool; the authors released no code. `attribute_loss` is the form that LSSL compares with (Bozorgtabar et al.
2019, section 3.2): its discriminator has a class head, and the refiner is conditioned on the wanted class. That text
keeps "the rest of network unchanged", with which one input has one output; its figure 7 shows one for each class.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, Literal

import torch
from pydantic import Field, model_validator
from torch import nn
from torch.nn import functional as F

from augment.faces.tensors import FaceTensors, to_bytes_range
from augment.networks import losses
from augment.networks.image_pool import ImagePool
from augment.networks.layers import ResidualBlock, concat_label_planes, one_hot, squash
from augment.translators.base import Batch, Phase, TranslatorSettings, Weight
from augment.translators.simulated_faces import FromSimulatedFaces, SimulatedFacesSettings


class SimGanSettings(SimulatedFacesSettings):
    """Settings of SimGAN; the defaults are the published values, for its eyes' networks.

    Where the paper takes all real pictures, whose simulated ones are turned as they are, real faces are frontal here
    (`frontal_yaw`). Published besides (for the training loop): batches of 512 in public reimplementations, one
    discriminator step.
    """

    attribute_loss: bool = Field(
        default=False,
        description="as LSSL compares with: the discriminator classifies, the refiner is conditioned on the wanted "
        "class; false = as published, and a refined face has its source's class",
    )
    width: int = Field(default=64, ge=4, le=512, description="features of the refiner")
    residual_blocks: int = Field(default=4, ge=0, le=32, description="of the refiner")
    discriminator_width: int = Field(
        default=96,
        ge=12,
        le=768,
        description="features of the discriminator's first convolution; the next have 2/3, 1/3 and 1/3 of it",
    )
    conditioning: Literal["concat", "instance_norm"] = Field(
        default="concat",
        description="how the refiner is conditioned on the class: label planes, or conditional instance normalization "
        "in its residual blocks (not in the paper, which has no normalization)",
    )
    image_skip: bool = Field(
        default=False,
        description="output = clamp(input + residual, -1, 1) instead of tanh; the residual starts at 0, "
        "so that training starts from the identity; not in the paper",
    )
    lambda_adversarial: Weight = Field(default=1.0, description="adversarial loss, in both networks, eq. 1 and 2")
    lambda_reg: Weight = Field(
        default=8.0,
        description="self-regularization, eq. 4; the paper gives no value. A public reimplementation has 0.5 where "
        "both terms are sums; a local patch stands for sixteen pixels, which makes it 8 where both are means",
    )
    lambda_cls: Weight = Field(default=1.0, description="attribute classification in both networks (attribute_loss)")
    classification: Literal["binary", "softmax"] = Field(
        default="binary", description="summed binary cross-entropies (LSSL eq. 2 and 3) or soft-max (attribute_loss)"
    )
    image_pool_size: int = Field(
        default=512,
        ge=0,
        description="size of the image pool of refined faces (B), from which half of each batch of the discriminator "
        "comes; the paper gives no value; 0 = none",
    )
    refiner_steps: int = Field(
        default=2,
        ge=1,
        description="the refiner's steps per discriminator step (K_g): 2 in the paper's first version and in public "
        "reimplementations, 50 in its second; the discriminator sits out the others",
    )
    refiner_share: float = Field(
        default=0.1,
        ge=0,
        lt=1,
        description="share of the run in which the refiner is trained by self-regularization alone; 1,000 steps in the "
        "paper, a tenth of a public reimplementation's run",
    )
    discriminator_share: float = Field(
        default=0.02,
        ge=0,
        lt=1,
        description="share of the run in which the discriminator is then trained alone; 200 steps in the paper",
    )
    lambda_r1: Weight = Field(
        default=0.0, description="R1's gamma on the discriminator's mean score of a real face; not in the paper"
    )
    lambda_r1_attributes: Weight = Field(
        default=0.0, description="R1's gamma on the true class's score of a real face; not in the paper"
    )
    r1_every: int = Field(default=16, ge=1, description="R1 comes every so many steps, with its weight times as much")

    @model_validator(mode="after")
    def _leaves_time_for_both(self) -> SimGanSettings:
        if self.refiner_share + self.discriminator_share >= 1:
            raise ValueError("refiner_share and discriminator_share leave no steps for both networks together")
        if not self.lambda_adversarial and not (self.attribute_loss and self.lambda_cls):
            raise ValueError("lambda_adversarial is 0, which leaves the discriminator no task")
        if self.refiner_share and not self.lambda_reg:
            raise ValueError("with lambda_reg 0 the refiner has nothing to learn alone; set refiner_share to 0 too")
        return self


class RefinerBlock(nn.Module):
    """x + conv(ReLU(conv(x))) with 3x3 convolutions.

    Without normalization, as the paper names none, and so without a ReLU after the sum, which the paper doesn't name
    either: once a step has made all its inputs negative, no gradient would pass any more.
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(features, features, 3, padding=1)
        self.second = nn.Conv2d(features, features, 3, padding=1)

    def forward(self, features: torch.Tensor, condition: torch.Tensor | None = None) -> torch.Tensor:
        """[N, C, H, W] to the same shape; `condition` is ignored."""
        return features + self.second(F.relu(self.first(features)))


class Refiner(nn.Module):
    """R: 3x3 convolution, four residual blocks of 64 features, 1x1 convolution, tanh; nothing is made smaller.

    A class enters as planes beside the picture, or through every normalization.
    """

    def __init__(self, *, channels: int, condition_size: int, settings: SimGanSettings) -> None:
        super().__init__()
        self.image_skip = settings.image_skip
        self.concat = settings.conditioning == "concat"
        width = settings.width
        self.first = nn.Conv2d(channels + (condition_size if self.concat else 0), width, 3, padding=1)
        self.blocks = nn.ModuleList(
            RefinerBlock(width) if self.concat else ResidualBlock(width, condition_size=condition_size)
            for _ in range(settings.residual_blocks)
        )
        self.head = nn.Conv2d(settings.width, channels, 1)
        if settings.image_skip:
            for parameter in self.head.parameters():
                nn.init.zeros_(parameter)

    def forward(self, simulated: torch.Tensor, condition: torch.Tensor | None = None) -> torch.Tensor:
        """Simulated faces [N, C, H, W] in -1..1, and the wanted condition [N, K] if there is one, to refined faces."""
        pictures = concat_label_planes(simulated, condition) if self.concat and condition is not None else simulated
        features = F.relu(self.first(pictures))
        for block in self.blocks:
            features = block(features, condition)
        return squash(self.head(features), simulated, self.image_skip)


class LocalDiscriminator(nn.Module):
    """D: fully convolutional, two scores (refined, real) for each local patch.

    3x3 of stride 2 (96 features), 3x3 of stride 2 (64), 3x3 maximum of stride 1, 3x3 (32), 1x1 (32), 1x1 (2). For
    `attribute_loss` a convolution over the whole map of the last 32 features gives each class a score, as the attribute
    head of LSSL's own discriminator does.

    Args:
        channels: 1 or 3.
        size: Edge in pixels.
        classes: Number of classes that it tells; 0 = no attribute head.
        settings: The method's settings.
    """

    def __init__(self, *, channels: int, size: int, classes: int, settings: SimGanSettings) -> None:
        super().__init__()
        first = settings.discriminator_width
        second, third = first * 2 // 3, first // 3
        self.body = nn.Sequential(
            nn.Conv2d(channels, first, 3, 2, 1),
            nn.ReLU(),
            nn.Conv2d(first, second, 3, 2, 1),
            nn.ReLU(),
            nn.MaxPool2d(3, 1, 1),
            nn.Conv2d(second, third, 3, 1, 1),
            nn.ReLU(),
            nn.Conv2d(third, third, 1),
            nn.ReLU(),
        )
        self.source = nn.Conv2d(third, 2, 1)
        self.attributes = nn.Conv2d(third, classes, -(-size // 4)) if classes else None

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Judges images [N, C, H, W].

        Returns:
            Logits [N, 2, h, w] of refined and real, one pair per patch, and [N, classes] of the classes, None without
            an attribute head.
        """
        features = self.body(images)
        return self.source(features), None if self.attributes is None else self.attributes(features).flatten(1)


class SimGan(FromSimulatedFaces):
    """Refiner and local discriminator, self-regularization, an image pool of refined faces.

    Real faces are `Batch.examples`, simulated ones `Batch.side_input`; the photograph in `Batch.images` is not used.

    Args:
        num_classes: Number of classes.
        channels: 1 or 3.
        size: Edge of the pictures in pixels; any.
        settings: The method's settings.
    """

    name: ClassVar[str] = "simgan"
    Settings: ClassVar[type[TranslatorSettings]] = SimGanSettings
    settings: SimGanSettings

    def __init__(self, *, num_classes: int, channels: int, size: int, settings: SimGanSettings) -> None:
        super().__init__(num_classes=num_classes, channels=channels, size=size, settings=settings)
        classes = num_classes if settings.attribute_loss else 0
        self.refiner = Refiner(channels=channels, condition_size=classes, settings=settings)
        self.discriminator = LocalDiscriminator(channels=channels, size=size, classes=classes, settings=settings)
        self.image_pool = ImagePool(settings.image_pool_size, channels, size)

    @property
    def keeps_class(self) -> bool:
        """True as published: a refined face has the class of its simulated face."""
        return not self.settings.attribute_loss

    def generator_parameters(self) -> Iterable[nn.Parameter]:
        """The refiner's."""
        return self.refiner.parameters()

    def discriminator_parameters(self) -> Iterable[nn.Parameter]:
        """The discriminator's."""
        return self.discriminator.parameters()

    def phases(self) -> tuple[Phase, ...]:
        """The refiner alone, the discriminator alone, both (section 3.1); without those whose share is 0."""
        alone, judged = self.settings.refiner_share, self.settings.discriminator_share
        phases = (
            Phase("refiner", alone, trains=("refiner",)),
            Phase("discriminator", judged, trains=("discriminator", "image_pool")),
            Phase("adversarial", 1.0 - alone - judged),
        )
        return tuple(phase for phase in phases if phase.share)

    def discriminator_losses(self, batch: Batch) -> dict[str, torch.Tensor]:
        """Terms `adversarial` (eq. 2), with `attribute_loss` `classification` of real faces, `r1`, `r1_attributes`.

        Those with weight 0 are absent; there are none in the steps in which the refiner alone is trained.
        """
        settings = self.settings
        if batch.phase != "discriminator" and batch.step % settings.refiner_steps:
            return {}
        real, simulated = self.examples_of(batch), self.simulated_of(batch)
        with torch.no_grad():
            refined = self.refiner(simulated, self._condition(batch.targets)).to(simulated.dtype)
        shown = self.image_pool.mix(refined, batch.generator)
        real_scores, attributes = self.discriminator(real)
        terms: dict[str, torch.Tensor] = {}
        if settings.lambda_adversarial:
            refined_scores, _ = self.discriminator(shown)
            terms["adversarial"] = settings.lambda_adversarial * (
                losses.local_adversarial(refined_scores, real=False) + losses.local_adversarial(real_scores, real=True)
            )
        if attributes is not None and settings.lambda_cls:
            loss = losses.classification(settings.classification, attributes, batch.targets)
            terms["classification"] = settings.lambda_cls * loss
        own_step = batch.step // settings.refiner_steps  # of the discriminator, which sits out the others
        if weight := losses.lazy_weight(settings.lambda_r1, own_step, settings.r1_every):
            terms["r1"] = weight * losses.r1_penalty(self._realness, real)
        weight = losses.lazy_weight(settings.lambda_r1_attributes, own_step, settings.r1_every)
        if attributes is not None and weight:
            terms["r1_attributes"] = weight * losses.r1_penalty(self._class_score(batch.targets), real)
        return terms

    def generator_losses(self, batch: Batch) -> dict[str, torch.Tensor]:
        """Terms `adversarial` (eq. 3), `self_regularization` (eq. 4), and `classification` with `attribute_loss`.

        Those with weight 0 are absent; the phase `refiner` has self-regularization alone.
        """
        settings, simulated = self.settings, self.simulated_of(batch)
        refined = self.refiner(simulated, self._condition(batch.targets))
        terms: dict[str, torch.Tensor] = {}
        if settings.lambda_reg:
            terms["self_regularization"] = settings.lambda_reg * losses.self_regularization(refined, simulated)
        if batch.phase == "refiner":
            return terms
        scores, attributes = self.discriminator(refined)
        if settings.lambda_adversarial:
            terms["adversarial"] = settings.lambda_adversarial * losses.local_adversarial(scores, real=True)
        if attributes is not None and settings.lambda_cls:
            loss = losses.classification(settings.classification, attributes, batch.targets)
            terms["classification"] = settings.lambda_cls * loss
        return terms

    @torch.no_grad()
    def translate(
        self, faces: FaceTensors, targets: torch.Tensor, generator: torch.Generator | None = None
    ) -> torch.Tensor:
        """Refines the faces' simulated faces; it is deterministic, `generator` is ignored.

        Args:
            faces: Sources with simulated faces.
            targets: The wanted classes; ignored without `attribute_loss`.
            generator: Ignored.

        Raises:
            CannotTranslateError: A source has no simulated face, or another form than the networks are made for.
        """
        self.check_sources(faces)
        targets = targets.to(faces.images.device)

        def make(rows: slice) -> torch.Tensor:
            part = faces.take(torch.arange(rows.start, rows.stop))
            return to_bytes_range(self.refiner(self.side_input(part), self._condition(targets[rows])))

        return self.made_in_batches(len(faces), make)

    def _condition(self, targets: torch.Tensor) -> torch.Tensor | None:
        return one_hot(targets, self.num_classes) if self.settings.attribute_loss else None

    def _realness(self, images: torch.Tensor) -> torch.Tensor:
        """How real faces look, [N], over their patches: R1 of their sum would grow with the square of their number."""
        scores = self.discriminator(images)[0]
        return (scores[:, 1] - scores[:, 0]).flatten(1).mean(1)

    def _class_score(self, labels: torch.Tensor) -> losses.Critic:
        def score(images: torch.Tensor) -> torch.Tensor:
            attributes = self.discriminator(images)[1]
            return attributes.gather(1, labels[:, None])[:, 0]

        return score
