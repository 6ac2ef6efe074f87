"""Appearance flow: a network that says where each pixel comes from, learned from pairs of one person's faces.

The flow is that of Zhou, Tulsiani, Sun, Malik & Efros, "View Synthesis by Appearance Flow" (ECCV 2016, section 3): the
output's pixels are sampled from the input's, so that skin, hair and light stay the person's. What the input does not
show (teeth, the white of wide eyes, wrinkles) is painted by a residual inside a predicted mask, as in DeepWarp (Ganin,
Kononenko, Sungatullina & Lempitsky, ECCV 2016, section 3.5) and GANimation (Pumarola, Agudo, Martinez, Sanfeliu &
Moreno-Noguer, ECCV 2018, eq. 1). There is no discriminator: the other picture of the person says what is right. It is
none of the reproduced methods.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import nn

from augment.core import row_draws
from augment.core.errors import Problem
from augment.core.mixed_precision import in_float32
from augment.core.ranks import sharing_ranks
from augment.faces.landmark_shapes import to_picture_range, with_mirrored
from augment.faces.table import Attribute
from augment.faces.tensors import FaceTensors, has_valid_landmarks, to_bytes_range, to_unit_range
from augment.networks.heatmap import landmark_heatmap
from augment.networks.layers import UnsuitableSizeError
from augment.translators.base import (
    GENERATOR,
    Batch,
    CannotTranslateError,
    LearnedTranslator,
    Requirement,
    TranslatorSettings,
    Weight,
)
from augment.translators.embedded_people import check_taught, embedded_people
from augment.translators.expression_shapes import ExpressionShapes, neutral_label
from augment.translators.flow_head import (
    DETAIL_WIDTH,
    FEATURE_POINTS,
    FEATURE_SPREAD,
    LARGEST_FLOW,
    FlowHead,
    FlowOutput,
    flow_terms,
    weak_modulation,
)
from augment.translators.pairs import LEARNED_FROM_PAIRS, check_pairs, find_pairs, lay_on_sources
from augment.translators.strength import StrengthRange
from augment.translators.thin_plate_spline import displacement_field, sample_displaced

_HEAT = 0.025  # standard deviation of a landmark in the network's input, as a share of the edge
_HEAT_CHUNK = 256
_FIELD_EDGE = 24  # of the initial flow's grid in training; it is smooth


class AppearanceFlowSettings(TranslatorSettings):
    """Settings of the appearance flow.

    Attributes:
        teacher: Whose pairs teach: `own`, the training faces' people, or `embedded`, drawn people who show every class,
            framed as the training faces are (`augment.translators.embedded_people`): for photographs that show nobody
            twice. The training faces are then sources alone.
        teacher_people: How many embedded people.
        neutral_class: The class that expressions are measured from; see `ExpressionShapes`.
        initial_flow: `thin_plate` begins with the spline that takes the source's landmarks to the wanted ones, and
            learns what it lacks; `none` learns the whole flow, as in the paper.
        width: Features of the coarse part, at a quarter of the resolution.
        residual_blocks: Of the coarse part.
        detail_width: Features of the fine part, at half the resolution.
        condition_width: Features of the condition's embedding.
        largest_flow: Bound of the learned flow in half edges of the picture.
        components: Principal components of the resting shape in the condition.
        style_components: Principal components of the displacement in the condition.
        ridge: Penalty of the regression from the resting shape to the displacement.
        donors: At most so many people's styles are kept for each class.
        mixed_styles: Probability that a style is a mixture of two people's.
        gain: Bounds of the random strength of the expression.
        detail_gain: Bounds of the random factor on what is painted in made faces; 1 is as learned, which is too faint:
            an L1 distance is least where every mouth and wrinkle is painted as in the median.
        neutral_variation: Strength of the small random expression that a neutral target gets.
        pose_difference: Of the heads of a pair, at most, in face widths (0.1 is about 5 degrees of yaw).
        max_pairs: At most so many pairs are kept in memory.
        neutral_sources: Share of a batch's pairs whose source is a neutral face.
        unchanged: Share of a batch that is given as source and target alike.
        feature_weight: How much more brows, eyes and lips count in the reconstruction and its gradient.
        lambda_rec: Weight of the L1 distance to the target, inside the face.
        lambda_gradient: Weight of the L1 distance of the gradients, inside the face.
        lambda_flow: Weight of the L1 distance of the picture that the flow alone gives.
        lambda_outside: Weight of the L1 distance to the source, outside the face.
        lambda_landmark: Weight of the flow's error at the landmarks.
        lambda_smooth: Weight of the learned flow's squared differences between neighbours.
        lambda_mask: Weight of the mask's mean.
    """

    teacher: Literal["own", "embedded"] = "own"
    teacher_people: int = Field(default=400, ge=10, le=10_000)
    neutral_class: str = "neutral"
    initial_flow: Literal["thin_plate", "none"] = "thin_plate"
    width: int = Field(default=32, ge=8, multiple_of=8)
    residual_blocks: int = Field(default=3, ge=1)
    detail_width: int = Field(default=DETAIL_WIDTH, ge=4)
    condition_width: int = Field(default=64, ge=1)
    largest_flow: float = Field(default=LARGEST_FLOW, gt=0, le=2)
    components: int = Field(default=8, ge=0, le=40)
    style_components: int = Field(default=16, ge=0, le=64)
    ridge: float = Field(default=10.0, gt=0)
    donors: int = Field(default=64, ge=1)
    mixed_styles: float = Field(default=0.5, ge=0, le=1)
    gain: StrengthRange = (0.8, 1.15)
    detail_gain: StrengthRange = (0.9, 1.6)
    neutral_variation: float = Field(default=0.12, ge=0, le=1)
    pose_difference: float = Field(default=0.15, gt=0)
    max_pairs: int = Field(default=4096, ge=1)
    neutral_sources: float = Field(default=0.5, ge=0, le=1)
    unchanged: float = Field(default=0.125, ge=0, lt=1)
    feature_weight: float = Field(default=2.0, ge=0)
    lambda_rec: Weight = 1.0
    lambda_gradient: Weight = 1.0
    lambda_flow: Weight = 0.5
    lambda_outside: Weight = 0.5
    lambda_landmark: Weight = 1.0
    lambda_smooth: Weight = 2.0
    lambda_mask: Weight = 0.002


class _ModulatedBlock(nn.Module):
    """Two convolutions with a skip connection, their features scaled and shifted by the condition.

    Feature-wise linear modulation: Perez et al. 2018, arXiv 1709.07871, eq. 2.
    """

    def __init__(self, width: int, condition_width: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList([nn.GroupNorm(8, width), nn.GroupNorm(8, width)])
        self.convolutions = nn.ModuleList([nn.Conv2d(width, width, 3, padding=1) for _ in range(2)])
        self.modulation = weak_modulation(condition_width, 4 * width)

    def forward(self, features: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        modulation = self.modulation(condition)[:, :, None, None].chunk(4, dim=1)
        found = features
        for place in range(2):
            scale, shift = modulation[2 * place : 2 * place + 2]
            normed = self.norms[place](found) * (1 + scale) + shift
            found = self.convolutions[place](F.leaky_relu(normed, 0.1))
        return features + found


class FlowNetwork(nn.Module):
    """Flow from a coarse grid; mask and residual from a finer one. It starts as the initial flow alone, nearly.

    Args:
        channels: Of the pictures.
        condition_size: Numbers in the condition.
        settings: Widths and bounds.
    """

    def __init__(self, channels: int, condition_size: int, settings: AppearanceFlowSettings) -> None:
        super().__init__()
        width = settings.width
        self.embedding = nn.Sequential(
            nn.Linear(condition_size, settings.condition_width),
            nn.LeakyReLU(0.1),
            nn.Linear(settings.condition_width, settings.condition_width),
            nn.LeakyReLU(0.1),
        )
        self.stem = nn.Conv2d(16 * (channels + 3), width, 3, padding=1)
        self.blocks = nn.ModuleList(
            [_ModulatedBlock(width, settings.condition_width) for _ in range(settings.residual_blocks)]
        )
        self.head = FlowHead(
            channels=channels,
            seen_channels=channels + 1,
            width=width,
            condition_width=settings.condition_width,
            detail_width=settings.detail_width,
            largest_flow=settings.largest_flow,
        )

    def forward(
        self,
        images: torch.Tensor,
        heat: torch.Tensor,
        condition: torch.Tensor,
        initial_flow: torch.Tensor | None = None,
        mode: Literal["bilinear", "bicubic"] = "bilinear",
    ) -> FlowOutput:
        """Translates pictures.

        Args:
            images: float32 [N, C, H, W], -1..1.
            heat: float32 [N, 1, H, W], -1..1, landmarks drawn where the output shall have them.
            condition: float32 [N, condition_size].
            initial_flow: float32 [N, 2, H, W], to which the learned flow is added; 0 by default.
            mode: Interpolation of the output; the network looks at a bilinear one.
        """
        size = images.shape[2]
        initial = images.new_zeros(len(images), 2, size, size) if initial_flow is None else initial_flow
        moved = images if initial_flow is None else sample_displaced(images, initial, "bilinear")
        embedded = self.embedding(condition)
        features = self.stem(F.pixel_unshuffle(torch.cat([moved, heat, 4.0 * initial], dim=1), 4))
        for block in self.blocks:
            features = block(features, embedded)
        features = F.leaky_relu(features, 0.1)
        return self.head(images, torch.cat([moved, heat], dim=1), features, embedded, initial_flow, mode)


@dataclass(frozen=True)
class _Examples:
    """What the training draws from; P pairs, then N faces that are given as their own targets.

    Attributes:
        faces: uint8 [N, C, H, W].
        sources: int64 [P + N], rows of `faces`.
        targets: uint8 [P + N, C, H, W].
        weights: uint8 [P + N, 2, H, W]: the face, and where its features are.
        heat: uint8 [P + N, 1, H, W], where the network is told the landmarks.
        field: float16 [P + N, 2, g, g], the initial flow.
        shapes: float32 [P + N, 2, 68, 2], landmarks of source and target in the source's frame, -1..1.
        conditions: float32 [2, P + N, condition_size]: as it is, and mirrored.
        pools: int64, on the CPU: rows of pairs with a neutral source, with any other, and of faces that are their own
            targets. Where all pairs are of one kind, both kinds are all pairs.
    """

    faces: torch.Tensor
    sources: torch.Tensor
    targets: torch.Tensor
    weights: torch.Tensor
    heat: torch.Tensor
    field: torch.Tensor
    shapes: torch.Tensor
    conditions: torch.Tensor
    pools: tuple[torch.Tensor, torch.Tensor, torch.Tensor]


class AppearanceFlow(LearnedTranslator):
    """Learns from pairs of one person's faces to move pixels, and to paint what is not there to be moved.

    **How.** A pair is a person's face and that of another class, laid on it and lit as it is
    (`augment.translators.pairs`). The network is told the source's and the target's class, the displacement of the
    landmarks between them (its style, by principal components), the resting shape, and a picture of the wanted
    landmarks. It gives a flow, which is added to the thin-plate spline of the landmarks, and a mask with a residual.
    To make a face, the displacement is drawn: what a regression expects of the class on that resting shape, plus the
    style of one or two other people (`augment.translators.expression_shapes`).

    **What it needs.** Landmarks; people who are known by name and show two classes, among them every class as a target,
    or embedded people as teachers (`teacher`). Where that is missing it refuses. Sources may be of any class; neutral
    ones are best, see `preferred_sources`.

    **Noise.** A pair's displacement carries the landmarks' noise of two faces; learned from as it is, it teaches to
    blur. So the noise is estimated and taken out of the shapes before a pair is laid, and out of every source
    (`ExpressionShapes.clean`): of one pixel on 48 px faces, in a displacement, more than half.

    **Honesty.** What counts as noise is what landmarks do independently of each other. A detector that misplaces a
    whole mouth, or every face in the same way, is believed.
    """

    name: ClassVar[str] = "appearance_flow"
    Settings: ClassVar[type[TranslatorSettings]] = AppearanceFlowSettings
    settings: AppearanceFlowSettings

    def __init__(
        self, *, num_classes: int, channels: int, size: int, settings: TranslatorSettings | None = None
    ) -> None:
        settings = settings if settings is not None else AppearanceFlowSettings()
        if not isinstance(settings, AppearanceFlowSettings):
            raise TypeError(f"settings must be AppearanceFlowSettings, not {type(settings).__name__}")
        if size % 4 or size < 16:
            fix = "sizes that can are the multiples of 4 from 16 on"
            raise UnsuitableSizeError(
                Problem("size", f"pictures of {size} px can't be halved twice to 4 px or more", fix)
            )
        super().__init__(num_classes=num_classes, channels=channels, size=size, settings=settings)
        self.shapes = ExpressionShapes(
            num_classes,
            components=settings.components,
            style_components=settings.style_components,
            donors=settings.donors,
            ridge=settings.ridge,
        )
        condition_size = 2 * num_classes + settings.style_components + settings.components
        self.network = FlowNetwork(channels, condition_size, settings)
        self._examples: _Examples | None = None

    @classmethod
    def attributes_for(cls, settings: TranslatorSettings) -> frozenset[Attribute]:
        """Expressions alone, since it learns from pairs."""
        return LEARNED_FROM_PAIRS

    @classmethod
    def requires_for(cls, settings: TranslatorSettings) -> frozenset[Requirement]:
        """Landmarks, and the sources' own classes, which are part of the condition."""
        return frozenset({"landmarks", "own_class"})

    def check(self, faces: FaceTensors) -> None:
        """Refuses faces that give no pairs, or none of some class.

        Raises:
            CannotTranslateError: Says what is missing, and what would fix it.
        """
        self.check_form(faces)
        if self.settings.teacher == "embedded":
            check_taught(faces, self.name)
            return
        pairs = check_pairs(faces, self.name, pose_difference=self.settings.pose_difference)
        missing = sorted(set(faces.labels.tolist()) - set(faces.labels[pairs[:, 1]].tolist()))
        if missing:
            raise CannotTranslateError(
                f"{self.name} learns each class from people who show it beside another one, and nobody does so for "
                f"{', '.join(faces.class_names[label] for label in missing)}. Leave the class out, add such faces, use "
                "fewer folds, or use a translator that needs no pairs (warp, stargan, lssl)."
            )

    def usable_sources(self, faces: FaceTensors) -> torch.Tensor:
        """Which faces `translate` accepts: those with landmarks. bool [N]."""
        if faces.landmarks is None:
            return torch.zeros(len(faces), dtype=torch.bool, device=faces.labels.device)
        return has_valid_landmarks(faces.landmarks)

    def preferred_sources(self, labels: torch.Tensor, class_names: Sequence[str]) -> torch.Tensor:
        """Which faces make the best sources: neutral ones, or all where the data has no neutral class. bool [N]."""
        neutral = neutral_label(class_names, self.settings.neutral_class)
        return torch.ones_like(labels, dtype=torch.bool) if neutral < 0 else labels == neutral

    # ---- training

    def networks(self) -> Mapping[str, Iterable[nn.Parameter]]:
        """The one network."""
        return {GENERATOR: self.network.parameters()}

    @torch.no_grad()
    def prepare_training(self, faces: FaceTensors) -> Mapping[str, Any]:
        """Fits the shape model, and lays the pairs on each other: the faces' own, or embedded people's.

        Returns:
            The number of pairs, and what `ExpressionShapes.fit` tells.
        """
        settings = self.settings
        if settings.teacher == "embedded":
            faces = embedded_people(faces, people=settings.teacher_people)
        neutral = neutral_label(faces.class_names, settings.neutral_class)
        facts = self.shapes.fit(faces, neutral)
        assert faces.landmarks is not None
        # Before anything is laid on anything: a flow that leads from noise to noise teaches to blur.
        faces = self.shapes.cleaned(faces)
        assert faces.landmarks is not None
        shapes = to_picture_range(faces.landmarks)
        index = find_pairs(faces, pose_difference=settings.pose_difference, most=settings.max_pairs)
        pairs = lay_on_sources(faces, index, reference=self.shapes.reference)
        assert faces.landmarks is not None
        valid = torch.nonzero(has_valid_landmarks(faces.landmarks))[:, 0]
        own = valid[: settings.max_pairs]
        sources = torch.cat([pairs.sources, own])
        both = torch.stack([shapes[sources], torch.cat([pairs.landmarks, shapes[own]])], dim=1)
        masks = torch.cat([pairs.masks, torch.full_like(pairs.masks[:1], 255).expand(len(own), -1, -1, -1)])
        features = _heat_bytes(both[:, 1, FEATURE_POINTS], self.size, FEATURE_SPREAD)
        edge = min(_FIELD_EDGE, self.size)
        field = both.new_zeros(len(both), 2, edge, edge)
        if settings.initial_flow == "thin_plate":
            moved = both[: len(index), 0] - both[: len(index), 1]
            field[: len(index)] = displacement_field(both[: len(index), 1], moved, edge)
        labels = torch.cat([faces.labels[pairs.targets], faces.labels[own]])
        neutral_source = faces.labels[pairs.sources] == neutral
        everything = torch.arange(len(both), device=both.device)
        pools = [everything[: len(index)][neutral_source], everything[: len(index)][~neutral_source]]
        pools = [pool if len(pool) else everything[: len(index)] for pool in pools]
        self._examples = _Examples(
            faces=faces.images,
            sources=sources,
            targets=torch.cat([pairs.images, faces.images[own]]),
            weights=torch.cat([masks, features], dim=1),
            heat=_heat_bytes(both[:, 1], self.size, _HEAT),
            field=field.half(),
            shapes=both,
            conditions=torch.stack(self._pair_conditions(both, faces, sources, labels)),
            pools=(pools[0].cpu(), pools[1].cpu(), everything[len(index) :].cpu()),
        )
        return {"pairs": len(index), **facts}

    def _pair_conditions(
        self, shapes: torch.Tensor, faces: FaceTensors, sources: torch.Tensor, labels: torch.Tensor
    ) -> list[torch.Tensor]:
        """Conditions of pairs of shapes [M, 2, 68, 2], as they are and mirrored."""
        maps = self.shapes.align(shapes[:, 0])
        aligned, wanted = maps.apply(shapes[:, 0]), maps.apply(shapes[:, 1])
        own = faces.labels[sources]
        resting = aligned - self.shapes.own_displacement(aligned, own)
        both = [part.chunk(2) for part in (with_mirrored(wanted - aligned), with_mirrored(resting))]
        return [
            self._condition(labels, own, moved, self.shapes.scores(base)) for moved, base in zip(*both, strict=True)
        ]

    def _condition(
        self, targets: torch.Tensor, labels: torch.Tensor, moved: torch.Tensor, scores: torch.Tensor
    ) -> torch.Tensor:
        classes = [F.one_hot(part, self.num_classes).to(scores.dtype) for part in (targets, labels)]
        return torch.cat([*classes, self.shapes.style(moved), scores], dim=1)

    def losses(self, network: str, batch: Batch) -> dict[str, torch.Tensor]:
        """The terms of the regression; the batch gives its size and its randomness, the faces are the pairs'."""
        settings = self.settings
        drawn = self._draw(len(batch.labels), batch.generator, mirror=batch.mirror)
        made = self.network(drawn.images, drawn.heat, drawn.condition, drawn.initial_flow)
        counted = drawn.mask * (1 + settings.feature_weight * drawn.features)
        weights = {
            "reconstruction": settings.lambda_rec,
            "gradient": settings.lambda_gradient,
            "flow": settings.lambda_flow,
            "outside": settings.lambda_outside,
            "landmark": settings.lambda_landmark,
            "smooth": settings.lambda_smooth,
            "mask": settings.lambda_mask,
        }
        terms = flow_terms(
            made,
            images=drawn.images,
            targets=drawn.targets,
            mask=drawn.mask,
            counted=counted,
            source_shapes=drawn.source_shapes,
            target_shapes=drawn.target_shapes,
        )
        return {name: weight * terms[name] for name, weight in weights.items() if weight > 0}

    @torch.no_grad()
    @in_float32
    def _draw(self, count: int, generator: torch.Generator | None, *, mirror: bool = True) -> _Drawn:
        """Draws a batch of pairs; each is moved, lit and, if allowed, mirrored at random, source and target alike."""
        examples = self._examples
        if examples is None:
            raise RuntimeError(f"{self.name}: prepare_training(faces) comes before the first loss")
        device = examples.faces.device
        ranks = sharing_ranks()
        whole = count * ranks.count
        unchanged = round(self.settings.unchanged * whole)
        neutral = round(self.settings.neutral_sources * (whole - unchanged))
        counts = (neutral, whole - unchanged - neutral, unchanged)
        index = torch.cat(
            [
                pool[torch.randint(len(pool), (number,), generator=generator)]
                for pool, number in zip(examples.pools, counts, strict=True)
            ]
        )
        index = ranks.own(index).to(device)
        uniform = row_draws.rand(count, 7, generator=generator).to(device)
        mirrored = (uniform[:, 0] < 0.5) & mirror
        images = to_unit_range(examples.faces[examples.sources[index]])
        channels = images.shape[1]
        field = F.interpolate(
            examples.field[index].float(), size=(self.size, self.size), mode="bicubic", align_corners=False
        )
        planes = torch.cat(
            [
                images,
                to_unit_range(examples.targets[index]),
                to_unit_range(examples.heat[index]),
                examples.weights[index].float() / 255.0,
                field,
            ],
            dim=1,
        )
        planes = torch.where(mirrored[:, None, None, None], planes.flip(-1), planes)
        shapes = examples.shapes[index].flatten(0, 1)
        shapes = torch.where(
            mirrored.repeat_interleave(2)[:, None, None], with_mirrored(shapes)[len(shapes) :], shapes
        ).view(count, 2, -1, 2)
        # From a pixel of the result to its place: turned by up to 8 degrees, scaled by 7 %, moved by 3 %.
        centred = uniform[:, 1:] - 0.5
        angle, scale = 0.28 * centred[:, 0], 1 + 0.14 * centred[:, 1]
        cosine, sine = scale * angle.cos(), scale * angle.sin()
        linear = torch.stack([torch.stack([cosine, -sine], 1), torch.stack([sine, cosine], 1)], 1)
        shift = 0.12 * centred[:, 2:4]
        planes = F.grid_sample(
            planes,
            F.affine_grid(torch.cat([linear, shift[:, :, None]], 2), [count, 1, self.size, self.size], False),
            mode="bicubic",
            padding_mode="border",
            align_corners=False,
        )
        inverse = torch.linalg.inv(linear)
        shapes = (shapes - shift[:, None, None]) @ inverse.transpose(1, 2)[:, None]
        images, targets, heat, weights, field = planes.split([channels, channels, 1, 2, 2], dim=1)
        # A flow is a difference of places: it is mirrored and turned with them.
        field = torch.where(mirrored[:, None, None, None], field * field.new_tensor([-1.0, 1.0])[:, None, None], field)
        field = torch.einsum("nij,njhw->nihw", inverse, field)
        contrast, brightness = 1 + 0.5 * centred[:, 4], 0.3 * centred[:, 5]
        light = [part[:, None, None, None] for part in (contrast, brightness)]
        condition = torch.where(mirrored[:, None], examples.conditions[1, index], examples.conditions[0, index])
        return _Drawn(
            images=(images * light[0] + light[1]).clamp(-1, 1),
            targets=(targets * light[0] + light[1]).clamp(-1, 1),
            heat=heat.clamp(-1, 1),
            mask=weights[:, :1].clamp(0, 1),
            features=weights[:, 1:].clamp(0, 1),
            initial_flow=field if self.settings.initial_flow == "thin_plate" else None,
            source_shapes=shapes[:, 0],
            target_shapes=shapes[:, 1],
            condition=condition,
        )

    # ---- translating

    @torch.no_grad()
    def translate(
        self, faces: FaceTensors, targets: torch.Tensor, generator: torch.Generator | None = None
    ) -> torch.Tensor:
        """Makes faces of wanted classes; see the base class.

        Raises:
            CannotTranslateError: A face has no landmarks.
        """
        usable = self.usable_sources(faces)
        if not bool(usable.all()):
            lacking = [faces.face_ids[row] for row in torch.nonzero(~usable)[:, 0].tolist()]
            raise CannotTranslateError(
                f"{self.name} needs landmarks on every source; {len(lacking)} have none, the first is {lacking[0]}. "
                "Choose sources with landmarks, or annotate them."
            )
        drawing = generator if generator is not None else torch.Generator().manual_seed(0)
        targets = targets.to(faces.images.device)

        def make(rows: slice) -> torch.Tensor:
            part = faces.take(torch.arange(rows.start, rows.stop, device=faces.images.device))
            return to_bytes_range(self._translate(part, targets[rows], drawing))

        return self.made_in_batches(len(faces), make)

    def _translate(self, faces: FaceTensors, targets: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Made faces float32 [N, C, H, W], about -1..1."""
        assert faces.landmarks is not None
        settings = self.settings
        drawn = self.shapes.draw(
            to_picture_range(faces.landmarks),
            faces.labels,
            targets,
            generator,
            mixed=settings.mixed_styles,
            gain=settings.gain,
            neutral_variation=settings.neutral_variation,
        )
        flow = None
        if settings.initial_flow == "thin_plate":
            flow = displacement_field(drawn.wanted, drawn.shapes - drawn.wanted, self.size)
        made = self.network(
            to_unit_range(faces.images),
            landmark_heatmap((drawn.wanted + 1) / 2, self.size, _HEAT),
            self._condition(targets, faces.labels, drawn.displacements, drawn.scores),
            flow,
            mode="bicubic",
        )
        low, high = self.settings.detail_gain
        factor = low + (high - low) * torch.rand(len(targets), 1, 1, 1, generator=generator).to(made.images.device)
        return made.sampled + factor * (made.images - made.sampled)


@dataclass(frozen=True)
class _Drawn:
    """A batch of pairs: pictures float32 [N, ., H, W], shapes float32 [N, 68, 2] in -1..1."""

    images: torch.Tensor
    targets: torch.Tensor
    heat: torch.Tensor
    mask: torch.Tensor
    features: torch.Tensor
    initial_flow: torch.Tensor | None
    source_shapes: torch.Tensor
    target_shapes: torch.Tensor
    condition: torch.Tensor


def _heat_bytes(shapes: torch.Tensor, size: int, spread: float) -> torch.Tensor:
    """Heatmaps uint8 [N, 1, size, size] of points [N, K, 2] in -1..1, some faces at a time: a byte a pixel is kept."""
    parts = shapes.split(_HEAT_CHUNK)
    return torch.cat([to_bytes_range(landmark_heatmap((part + 1) / 2, size, spread)) for part in parts])
