"""What LSSL and StarGAN share: a class-conditional generator, and a discriminator with a source and an attribute head.

A subclass builds `generator`, says what a picture is (`pictures`: the image alone, or image and side input stacked)
and writes the losses of both networks.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field, model_validator
from torch import nn

from augment.core.ranks import sharing_ranks
from augment.faces.landmark_shapes import to_picture_range
from augment.faces.table import Attribute
from augment.faces.tensors import FaceTensors, has_valid_landmarks, to_bytes_range, to_unit_range
from augment.networks import losses
from augment.networks.class_network import ClassNetwork
from augment.networks.layers import PatchDiscriminator, discriminator_downs, one_hot
from augment.translators.base import (
    GENERATOR,
    AdversarialTranslator,
    Batch,
    CannotTranslateError,
    Phase,
    Requirement,
    TranslatorSettings,
    Weight,
)
from augment.translators.expression_shapes import ExpressionShapes, neutral_label
from augment.translators.flow_head import FlowHead, FlowOutput, feature_heat, flow_terms
from augment.translators.pair_batches import PairBatches, varied
from augment.translators.pairs import LEARNED_FROM_PAIRS, check_pairs
from augment.translators.strength import StrengthRange, strengthened
from augment.translators.thin_plate_spline import displacement_field, sample_displaced

_SIDE_SHARE = 0.1
_FIELD_EDGE = 24  # of the initial flow's grid in training; it is smooth
# As in appearance_flow, where they were found.
_FLOW_PAIR_WEIGHTS = {
    "reconstruction": 1.0,
    "gradient": 1.0,
    "flow": 0.5,
    "outside": 0.5,
    "landmark": 1.0,
    "smooth": 2.0,
    "mask": 0.002,
}
_FLOW_PAIR_FEATURES = 2.0  # how much more brows, eyes and lips count
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
    output: Literal["picture", "flow"] = Field(
        default="picture",
        description="what the generator gives: a picture (published), or a flow that moves the input's pixels and a "
        "residual inside a mask, as appearance_flow does. With flow the input is first warped to landmarks that are "
        "drawn for the wanted class, so that landmarks, people who show several classes and the sources' own classes "
        "are needed; pairs are then compared by appearance_flow's losses",
    )
    neutral_class: str = Field(
        default="neutral", description="with output flow: the class that expressions are measured from"
    )
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
    class_network_variation: float = Field(
        default=1.0, ge=0, le=3, description="how much the faces that it learns are turned, scaled and lit at random"
    )
    class_network_noise: float = Field(
        default=0.1, ge=0, le=2, description="standard deviation of the noise on all that it sees, in units of -1..1"
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

    strength: StrengthRange = Field(
        default=(1.0, 1.0),
        description="factor on what a translation changes in its source, drawn evenly from [lowest, highest] for each "
        "face; a generator that learned from pairs makes weak expressions",
    )

    @model_validator(mode="after")
    def _shares_leave_room(self) -> AttributeGanSettings:
        if self.class_network_share + self.warm_start_share >= 1:
            raise ValueError("class_network_share and warm_start_share must leave a part of the run: sum below 1")
        return self

    @model_validator(mode="after")
    def _flow_has_its_form(self) -> AttributeGanSettings:
        if self.output != "flow":
            return self
        if self.downs != 2:
            raise ValueError("output flow works on a grid of a quarter of the edge: set downs to 2")
        if self.conditioning != "instance_norm":
            raise ValueError("output flow takes the class by its normalizations: set conditioning to instance_norm")
        if self.attention_mask or self.image_skip:
            raise ValueError(
                "output flow has its own mask and begins as its input: set attention_mask and image_skip to false"
            )
        if not self.learns_from_pairs:
            raise ValueError("output flow is learned from pairs: set warm_start to pairs and warm_start_share above 0")
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
    """A generator, called `generator(pictures, condition) -> pictures`, that can tell its mask.

    With `output: flow` it is given an initial flow too, float32 [N, 2, H, W] (`augment.translators.flow_head`).
    """

    @abstractmethod
    def with_mask(
        self, pictures: torch.Tensor, condition: torch.Tensor, initial_flow: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """What `forward` gives, and the mask [N, 1, H, W] in 0..1; None where there is none."""

    @abstractmethod
    def with_flow(
        self,
        pictures: torch.Tensor,
        condition: torch.Tensor,
        initial_flow: torch.Tensor | None = None,
        mode: Literal["bilinear", "bicubic"] = "bilinear",
    ) -> FlowOutput:
        """What a generator with `output: flow` gives for the images; others have no such output.

        Args:
            pictures: float [N, C (+ S), H, W], -1..1.
            condition: float32 [N, K].
            initial_flow: float32 [N, 2, H, W]; None = 0.
            mode: Interpolation of what is sampled.
        """


def _divided(batch: Batch) -> tuple[int, Batch]:
    """How many rows of a batch are pairs, and the batch of the others, an eighth: its first faces.

    Where ranks share the batch, the number is of all of them, and the others' batch is this rank's part.
    """
    ranks = sharing_ranks()
    whole = len(batch.images) * ranks.count
    others = max(1, whole // 8)
    pairs = whole - others
    return pairs, batch.of_rows(lambda rows: ranks.own(ranks.gather(rows)[:others], first=pairs))


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
        self.shapes = ExpressionShapes(num_classes) if settings.output == "flow" else None
        self._pairs: PairBatches | None = None

    @classmethod
    def attributes_for(cls, settings: TranslatorSettings) -> frozenset[Attribute]:
        """Expressions alone, where it learns from pairs."""
        assert isinstance(settings, AttributeGanSettings)
        learns = settings.learns_from_pairs or settings.output == "flow"
        return LEARNED_FROM_PAIRS if learns else super().attributes_for(settings)

    @classmethod
    def requires_for(cls, settings: TranslatorSettings) -> frozenset[Requirement]:
        """Landmarks where the warm start learns from pairs; with a flow, the sources' own classes too."""
        assert isinstance(settings, AttributeGanSettings)
        if settings.output == "flow":
            return frozenset({"landmarks", "own_class"})
        return frozenset({"landmarks"} if settings.learns_from_pairs else ())

    def usable_sources(self, faces: FaceTensors) -> torch.Tensor:
        """Which faces `translate` accepts, bool [N]: with a flow those with landmarks, else all."""
        if self.settings.output != "flow":
            return super().usable_sources(faces)
        if faces.landmarks is None:
            return torch.zeros(len(faces), dtype=torch.bool, device=faces.labels.device)
        return has_valid_landmarks(faces.landmarks)

    def preferred_sources(self, labels: torch.Tensor, class_names: Sequence[str]) -> torch.Tensor | None:
        """With a flow neutral faces, where the data has them; else no source is better than another."""
        neutral = neutral_label(class_names, self.settings.neutral_class)
        return labels == neutral if self.settings.output == "flow" and neutral >= 0 else None

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
            # Few faces are memorized (tried, 225 to 300 steps: 16 % of validation faces are recognised after learning
            # faces as they come with average pooling, 36 % after varied ones with maximum pooling; 14 % is chance).
            images = varied(batch.images, batch.generator, self.settings.class_network_variation)
            scores = self.class_network(images, batch.generator)
            return {"classification": losses.softmax_classes(scores, batch.labels)}
        if network == GENERATOR and batch.phase == WARM_START:
            return self.warm_start_losses(batch)
        terms = super().losses(network, batch)
        if network == GENERATOR and self._pairs is not None:
            terms |= self.pair_losses(batch)
        return terms

    def prepare_training(self, faces: FaceTensors) -> Mapping[str, Any]:
        """Lays same-person pairs on each other, where the settings learn from them.

        With a flow the shape model is fitted first, and the landmarks' noise is taken out of the pairs: a flow that
        leads from noise to noise teaches to blur.
        """
        facts: dict[str, Any] = {}
        if self.shapes is not None:
            facts |= self.shapes.fit(faces, neutral_label(faces.class_names, self.settings.neutral_class))
            faces = self.shapes.cleaned(faces)
        self._pairs = PairBatches(faces) if self.settings.learns_from_pairs else None
        return facts if self._pairs is None else {"pairs": len(self._pairs), **facts}

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
        if settings.output == "flow":
            return self._flow_pair_losses(self._pairs, batch)
        pairs, unchanged_rows = _divided(batch)
        drawn = self._pairs.draw(pairs, batch.generator, mirror=batch.mirror, variation=settings.pair_variation)
        unchanged = self.pictures(unchanged_rows.images, unchanged_rows.side_input)
        sources = self.pictures(drawn.sources, self.landmark_input(drawn.source_landmarks))
        wanted = self.pictures(drawn.wanted, self.landmark_input(drawn.target_landmarks))
        sources, wanted = torch.cat([sources, unchanged]), torch.cat([wanted, unchanged])
        made = self.generator(sources, self.condition(torch.cat([drawn.targets, unchanged_rows.labels])))
        error = losses.squared_error(made[:, : self.channels], wanted[:, : self.channels])
        if made.shape[1] > self.channels:
            # Points of a heatmap that move by a pixel make ten times the error that pixels of a face make.
            error = error + _SIDE_SHARE * losses.squared_error(made[:, self.channels :], wanted[:, self.channels :])
        # Squared, where the papers' other terms are l1: most pixels of a pair are equal, and of a difference whose
        # place is uncertain the median is no difference. With l1 a generator that starts at the identity stays there
        # (tried: 150 steps left 99 % of the squared error to pairs of other people, the same with squares 94 %, and
        # with a mask 79 %).
        return {"pair": settings.lambda_pair * error}

    def _flow_pair_losses(self, pairs: PairBatches, batch: Batch) -> dict[str, torch.Tensor]:
        """The terms of `flow_terms` for the generator's flow, times `lambda_pair` and appearance_flow's weights."""
        settings = self.settings
        count, own = _divided(batch)
        drawn = pairs.draw(
            count, batch.generator, mirror=batch.mirror, variation=settings.pair_variation, interpolation="bicubic"
        )
        unchanged, own_points = own.images, own.landmarks
        assert own_points is not None
        points = [torch.cat([part, own_points]) for part in (drawn.source_landmarks, drawn.target_landmarks)]
        sources, wanted = to_picture_range(points[0]), to_picture_range(points[1])
        images = torch.cat([drawn.sources, unchanged])
        mask = torch.cat([drawn.masks, torch.ones_like(unchanged[:, :1])])
        made = self.generator.with_flow(
            self.pictures(images, self.landmark_input(points[0])),
            self.condition(torch.cat([drawn.targets, own.labels])),
            displacement_field(wanted, sources - wanted, self.size, largest_grid=_FIELD_EDGE),
        )
        terms = flow_terms(
            made,
            images=images,
            targets=torch.cat([drawn.wanted, unchanged]),
            mask=mask,
            counted=mask * (1 + _FLOW_PAIR_FEATURES * feature_heat(wanted, self.size)),
            source_shapes=sources,
            target_shapes=wanted,
        )
        return {f"pair_{name}": settings.lambda_pair * _FLOW_PAIR_WEIGHTS[name] * term for name, term in terms.items()}

    @torch.no_grad()
    def initial_flows(self, batch: Batch) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        """The splines to landmarks drawn for the wanted classes, and back: float32 [N, 2, H, W]; None without a flow.

        Raises:
            CannotTranslateError: The batch has no landmarks.
        """
        if self.shapes is None:
            return None, None
        if batch.landmarks is None or batch.generator is None:
            raise CannotTranslateError(f"{self.name}: the batch has no landmarks, or no generator to draw others by")
        ranks = sharing_ranks()
        # How many numbers are drawn depends on the classes, so each rank draws for all.
        landmarks, labels, targets = map(ranks.gather, (batch.landmarks, batch.labels, batch.targets))
        drawn = self.shapes.draw(to_picture_range(landmarks), labels, targets, batch.generator)
        shapes, wanted = ranks.own(drawn.shapes), ranks.own(drawn.wanted)
        there = displacement_field(wanted, shapes - wanted, self.size, largest_grid=_FIELD_EDGE)
        return there, displacement_field(shapes, wanted - shapes, self.size, largest_grid=_FIELD_EDGE)

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
        """Makes faces of wanted classes; deterministic, unless `strength` is a range: it is drawn from `generator`.

        With a flow the landmarks that a face shall have are drawn too, and `strength` counts for what is painted alone:
        of what is moved, more would be a double picture.

        Raises:
            CannotTranslateError: The faces lack what the settings need.
        """
        self.check_sources(faces)
        if self.shapes is not None:
            return self._translate_by_flow(self.shapes, faces, targets.to(faces.images.device), generator)
        made = self.translate_by(faces, self.condition(targets.to(faces.images.device)))
        return strengthened(faces.images, made, self.settings.strength, generator)

    def _translate_by_flow(
        self, shapes: ExpressionShapes, faces: FaceTensors, targets: torch.Tensor, generator: torch.Generator | None
    ) -> torch.Tensor:
        """Faces uint8 [N, C, H, W], moved and painted; all draws come from `generator`."""
        usable = self.usable_sources(faces)
        if not bool(usable.all()):
            lacking = [faces.face_ids[row] for row in torch.nonzero(~usable)[:, 0].tolist()]
            raise CannotTranslateError(
                f"{self.name} needs landmarks on every source; {len(lacking)} have none, the first is {lacking[0]}. "
                "Choose sources with landmarks, annotate them, or set the translator's output=picture"
            )
        drawing = generator if generator is not None else torch.Generator().manual_seed(0)
        lowest, highest = self.settings.strength

        def make(rows: slice) -> torch.Tensor:
            part = faces.take(torch.arange(rows.start, rows.stop, device=faces.images.device))
            assert part.landmarks is not None
            drawn = shapes.draw(to_picture_range(part.landmarks), part.labels, targets[rows], drawing)
            made = self.generator.with_flow(
                self.pictures(to_unit_range(part.images), self.side_input(part)),
                self.condition(targets[rows]),
                displacement_field(drawn.wanted, drawn.shapes - drawn.wanted, self.size),
                mode="bicubic",
            )
            factor = lowest + (highest - lowest) * torch.rand(len(part), 1, 1, 1, generator=drawing)
            painted = factor.to(made.images.device) * (made.images - made.sampled)
            return to_bytes_range(made.sampled + painted)

        return self.made_in_batches(len(faces), make)

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


def flow_head(channels: int, picture_channels: int, condition_size: int, settings: AttributeGanSettings) -> FlowHead:
    """A generator's output as a flow, from its features at a quarter of the edge."""
    return FlowHead(
        channels=channels,
        seen_channels=picture_channels,
        width=4 * settings.width,
        condition_width=condition_size,
    )


def warped(pictures: torch.Tensor, initial_flow: torch.Tensor | None) -> torch.Tensor:
    """Pictures [N, C, H, W] as the initial flow moves them; as they are without one."""
    return pictures if initial_flow is None else sample_displaced(pictures, initial_flow, "bilinear")
