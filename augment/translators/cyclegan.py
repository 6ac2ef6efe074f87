"""CycleGAN (Zhu et al. 2017, arXiv 1703.10593): one pair of classes at a time, and a bundle of pairs as one translator.

Every pair joins the hub, a class such as neutral, with one other class. Where the text is silent (biases, reflection
padding at the borders, normalization without gain and bias, the buffer's rule), the released code is followed.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from typing import Any, ClassVar, Generic, Literal, TypeVar, cast

import torch
from pydantic import Field
from torch import nn
from torch.nn import functional as F

from augment.core.errors import Problem
from augment.faces.tensors import FaceTensors, to_bytes_range, to_unit_range
from augment.networks import losses
from augment.networks.image_pool import ImagePool
from augment.networks.layers import UnsuitableSizeError, check_halvings, squash
from augment.translators.base import (
    AdversarialTranslator,
    Batch,
    CannotTranslateError,
    Requirement,
    TranslatorSettings,
    Weight,
)

Part = TypeVar("Part", bound=nn.Module)


class CycleGanNetworkSettings(TranslatorSettings):
    """Settings of CycleGAN's networks and losses; the defaults are the published values.

    Published besides (section 4, for the training loop): batch 1, Adam with 2e-4 and beta1 0.5, 200 epochs per pair
    with linear decay over the last 100, one discriminator step per generator step. A bundle needs a pair's steps times
    its pairs.
    """

    width: int = Field(default=64, ge=4, le=512, description="features of the generators' first convolution")
    downs: int = Field(default=2, ge=1, le=6, description="how often a generator halves the picture")
    residual_blocks: int | None = Field(
        default=None, ge=0, le=32, description="null: nine for pictures of 256 px and more, six below, as published"
    )
    outer_kernel: Literal[3, 5, 7] = Field(
        default=7, description="edge of a generator's first and last convolution; 7 as published"
    )
    discriminator_width: int | None = Field(default=None, ge=4, le=512, description="null: as width")
    discriminator_downs: int = Field(
        default=3, ge=1, le=6, description="3 makes patches of 70 x 70 px as published, 2 of 34 x 34, 1 of 16 x 16"
    )
    discriminator_norm: bool = Field(
        default=True,
        description="instance normalization in the discriminators; false is not in the paper: where a map has a few "
        "pixels only, it takes away most of what a discriminator could see",
    )
    image_skip: bool = Field(
        default=False,
        description="output = clamp(input + residual, -1, 1) instead of tanh; the residual starts at 0, "
        "so that training starts from the identity; not in the paper",
    )
    weight_deviation: float | None = Field(
        default=0.02,
        gt=0,
        description="of the normal distribution that initial weights are drawn from; null (not in the paper) = by the "
        "size of each convolution: with the published one and without normalization a narrow discriminator's scores "
        "hardly depend on its input",
    )
    adversarial: Literal["least_squares", "non_saturating"] = Field(
        default="least_squares", description="least squares as published, or non-saturating logistic"
    )
    sources_as_fakes: bool = Field(
        default=False,
        description="half of a discriminator's fake faces are real faces of the class that its generator starts from: "
        "else a generator that leaves faces unchanged gets no gradient while these pass; not in the paper",
    )
    lambda_cycle: Weight = Field(default=10.0, description="cycle consistency, eq. 2")
    cycle_every: int = Field(
        default=1, ge=1, description="the ways back are computed every so many steps; 1 as published"
    )
    lambda_identity: Weight = Field(
        default=0.0,
        description="a generator leaves faces of its output class as they are (section 5.2: half of lambda_cycle, for "
        "paintings only)",
    )
    image_pool_size: int = Field(
        default=50,
        ge=0,
        description="size of each discriminator's image pool of earlier outputs; 0 = it sees the newest only",
    )
    lambda_r1: Weight = Field(
        default=0.0, description="R1's gamma on each discriminator's mean score of a face; not in the paper"
    )
    r1_every: int = Field(default=16, ge=1, description="R1 comes every so many steps, with its weight times as much")


class CycleGanSettings(CycleGanNetworkSettings):
    """Settings of a bundle of CycleGANs."""

    hub: str = Field(default="neutral", description="the class that every pair has; each other class makes one pair")


class ReflectedConvolution(nn.Module):
    """Convolution with reflection padding -> instance normalization -> ReLU, the last two where they are asked for.

    A convolution that is normalized has no bias: the normalization would remove it (the released code has one there).
    """

    def __init__(
        self, in_features: int, out_features: int, kernel: int, *, norm: bool = True, relu: bool = True
    ) -> None:
        super().__init__()
        self.padding = kernel // 2
        self.norm, self.relu = norm, relu
        self.convolution = nn.Conv2d(in_features, out_features, kernel, bias=not norm)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """[N, C, H, W] to [N, out_features, H, W]."""
        hidden = self.convolution(F.pad(features, (self.padding,) * 4, mode="reflect"))
        hidden = F.instance_norm(hidden) if self.norm else hidden
        return F.relu(hidden) if self.relu else hidden


class ResampledConvolution(nn.Module):
    """3x3 convolution of stride 2 (d), or a transposed one (u) -> instance normalization -> ReLU."""

    def __init__(self, in_features: int, out_features: int, *, up: bool) -> None:
        super().__init__()
        self.convolution: nn.Module = (
            nn.ConvTranspose2d(in_features, out_features, 3, 2, 1, output_padding=1, bias=False)
            if up
            else nn.Conv2d(in_features, out_features, 3, 2, 1, bias=False)
        )

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """[N, C, H, W] to half or twice the edge."""
        return F.relu(F.instance_norm(self.convolution(features)))


class ReflectedResidualBlock(nn.Module):
    """x + norm(conv(ReLU(norm(conv(x))))) with 3x3 convolutions and reflection padding (R)."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.first = ReflectedConvolution(features, features, 3)
        self.second = ReflectedConvolution(features, features, 3, relu=False)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """[N, C, H, W] to the same shape."""
        return features + self.second(self.first(features))


class CycleGanGenerator(nn.Module):
    """c7s1-64, d128, d256, six or nine R256, u128, u64, c7s1-3 (appendix 7.2).

    Args:
        channels: 1 or 3.
        size: Edge in pixels.
        settings: The method's settings.

    Raises:
        UnsuitableSizeError: The size can't be halved `downs` times.
    """

    def __init__(self, *, channels: int, size: int, settings: CycleGanNetworkSettings) -> None:
        super().__init__()
        check_halvings(size, settings.downs, "downs")
        self.image_skip = settings.image_skip
        count = settings.residual_blocks
        if count is None:
            count = 9 if size >= 256 else 6
        width = settings.width
        widths = [width * 2**level for level in range(settings.downs + 1)]
        self.blocks = nn.Sequential(
            ReflectedConvolution(channels, width, settings.outer_kernel),
            *(ResampledConvolution(inner, 2 * inner, up=False) for inner in widths[:-1]),
            *(ReflectedResidualBlock(widths[-1]) for _ in range(count)),
            *(ResampledConvolution(2 * inner, inner, up=True) for inner in reversed(widths[:-1])),
        )
        self.head = ReflectedConvolution(width, channels, settings.outer_kernel, norm=False, relu=False)
        initialize(self, settings.weight_deviation)
        if settings.image_skip:
            nn.init.zeros_(self.head.convolution.weight)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Images [N, C, H, W] in -1..1 to images of the other class."""
        return squash(self.head(self.blocks(images)), images, self.image_skip)


class CycleGanDiscriminator(nn.Module):
    """PatchGAN C64-C128-C256-C512, then one score per patch (appendix 7.2): 4x4 convolutions, LeakyReLU of slope 0.2.

    The first has no normalization; all but the last C, and the scores' convolution, have stride 2.

    Args:
        channels: 1 or 3.
        size: Edge in pixels.
        settings: The method's settings.

    Raises:
        UnsuitableSizeError: Nothing would be left to score after `discriminator_downs` halvings.
    """

    def __init__(self, *, channels: int, size: int, settings: CycleGanNetworkSettings) -> None:
        super().__init__()
        downs = settings.discriminator_downs
        # The two convolutions of stride 1 take a pixel each, and a normalization needs more than one.
        if size < 3 * 2**downs:
            possible = [fewer for fewer in range(1, downs) if size >= 3 * 2**fewer]
            remedy = f"; or keep {size} px with discriminator_downs <= {possible[-1]}" if possible else ""
            raise UnsuitableSizeError(
                Problem(
                    f"discriminator_downs = {downs}",
                    f"pictures of {size} px leave the discriminator no patch to score",
                    f"sizes that can are those from {3 * 2**downs} px on{remedy}",
                )
            )
        width = settings.discriminator_width or settings.width
        self.norm = settings.discriminator_norm
        widths = [channels, *(width * min(2**level, 8) for level in range(downs + 1))]
        self.convolutions = nn.ModuleList(
            nn.Conv2d(
                widths[level],
                widths[level + 1],
                4,
                1 if level == downs else 2,
                1,
                bias=level == 0 or not settings.discriminator_norm,
            )
            for level in range(downs + 1)
        )
        self.scores = nn.Conv2d(widths[-1], 1, 4, 1, 1)
        initialize(self, settings.weight_deviation)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Scores [N, 1, h, w] of images [N, C, H, W], one per patch; high = real, no sigmoid."""
        features = images
        for level, convolution in enumerate(self.convolutions):
            features = convolution(features)
            if level and self.norm:
                features = F.instance_norm(features)
            features = F.leaky_relu(features, 0.2)
        return self.scores(features)


class Pair(nn.Module, Generic[Part]):
    """One part for each direction of a pair: `leaving` the hub (the paper's G), and `returning` to it (F)."""

    leaving: Part
    returning: Part

    def __init__(self, leaving: Part, returning: Part) -> None:
        super().__init__()
        self.leaving = leaving
        self.returning = returning


class CycleGanModel(AdversarialTranslator):
    """Pairs of generators between two sets of pictures, with their discriminators and image pools, trained in turns.

    Args:
        pairs: How many.
        num_classes: Number of classes.
        channels: 1 or 3.
        size: Edge of the pictures in pixels.
        settings: The method's settings.

    Raises:
        UnsuitableSizeError: The size is too small or can't be halved as often as the settings ask.
    """

    settings: CycleGanNetworkSettings

    def __init__(
        self, *, pairs: int, num_classes: int, channels: int, size: int, settings: CycleGanNetworkSettings
    ) -> None:
        super().__init__(num_classes=num_classes, channels=channels, size=size, settings=settings)
        form: dict[str, Any] = {"channels": channels, "size": size, "settings": settings}
        self.generator = nn.ModuleList(Pair(CycleGanGenerator(**form), CycleGanGenerator(**form)) for _ in range(pairs))
        self.discriminator = nn.ModuleList(
            Pair(CycleGanDiscriminator(**form), CycleGanDiscriminator(**form)) for _ in range(pairs)
        )
        self.image_pool = nn.ModuleList(
            Pair(
                ImagePool(settings.image_pool_size, channels, size), ImagePool(settings.image_pool_size, channels, size)
            )
            for _ in range(pairs)
        )

    @property
    def generators(self) -> list[Pair[CycleGanGenerator]]:
        """The pairs' generators; pair p is of the p-th class, the hub left out."""
        return cast(list[Pair[CycleGanGenerator]], self.generator)

    @property
    def discriminators(self) -> list[Pair[CycleGanDiscriminator]]:
        """The pairs' discriminators, each filed under the direction whose outputs it judges."""
        return cast(list[Pair[CycleGanDiscriminator]], self.discriminator)

    @property
    def pools(self) -> list[Pair[ImagePool]]:
        """The pairs' image pools, filed like the discriminators that see them."""
        return cast(list[Pair[ImagePool]], self.image_pool)

    def generator_parameters(self) -> Iterable[nn.Parameter]:
        """All generators'; Adam skips the pairs that get no gradient in a step."""
        return self.generator.parameters()

    def discriminator_parameters(self) -> Iterable[nn.Parameter]:
        """All discriminators'."""
        return self.discriminator.parameters()

    @abstractmethod
    def pair_of(self, batch: Batch) -> int:
        """The number of the pair that a batch is of."""

    @abstractmethod
    def sides_of(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """The pictures of the pair's two sides, [N, C, H, W] in -1..1: what `leaving` leaves, and where it leads."""

    def discriminator_losses(self, batch: Batch) -> dict[str, torch.Tensor]:
        """Terms `leaving` and `returning`, of the discriminators of either direction's outputs, and `r1`.

        Eq. 1 for both directions, by least squares; `r1` is absent where its weight is 0.
        """
        settings, pair = self.settings, self.pair_of(batch)
        hub, other = self.sides_of(batch)
        generators, judges, pools = self.generators[pair], self.discriminators[pair], self.pools[pair]
        terms: dict[str, torch.Tensor] = {}
        penalties = []
        # By a pair's own turns: else a number of pairs that divides `r1_every` would leave most pairs without it.
        turn = batch.step // len(self.discriminators)
        r1_weight = losses.lazy_weight(settings.lambda_r1, turn, settings.r1_every)
        for direction, source, real in (("leaving", hub, other), ("returning", other, hub)):
            judge = getattr(judges, direction)
            with torch.no_grad():
                fake = getattr(generators, direction)(source).to(real.dtype)
            fake = getattr(pools, direction).swap(fake, batch.generator)
            if settings.sources_as_fakes:
                fake = torch.cat([fake, source])
            real_scores, fake_scores = judge(torch.cat([real, fake])).split([len(real), len(fake)])
            terms[direction] = losses.adversarial_discriminator(settings.adversarial, real_scores, fake_scores)
            if r1_weight:
                penalties.append(losses.r1_penalty(_mean_score(judge), real))
        if penalties:
            terms["r1"] = r1_weight * torch.stack(penalties).sum()
        return terms

    def generator_losses(self, batch: Batch) -> dict[str, torch.Tensor]:
        """Terms `leaving` and `returning` (adversarial), `cycle` (eq. 2), `identity`; those with weight 0 are absent.

        Eq. 3: the two generators of a pair are trained together.
        """
        settings, pair = self.settings, self.pair_of(batch)
        hub, other = self.sides_of(batch)
        generators, judges = self.generators[pair], self.discriminators[pair]
        leaving, returning = generators.leaving, generators.returning
        left, returned = leaving(hub), returning(other)
        terms = {
            "leaving": losses.adversarial_generator(settings.adversarial, judges.leaving(left)),
            "returning": losses.adversarial_generator(settings.adversarial, judges.returning(returned)),
        }
        # By a pair's own turns, as for R1.
        if settings.lambda_cycle and batch.step // len(self.discriminators) % settings.cycle_every == 0:
            terms["cycle"] = settings.lambda_cycle * (
                losses.reconstruction(hub, returning(left)) + losses.reconstruction(other, leaving(returned))
            )
        if settings.lambda_identity:
            terms["identity"] = settings.lambda_identity * (
                losses.identity(leaving(other), other) + losses.identity(returning(hub), hub)
            )
        return terms


class CycleGan(CycleGanModel):
    """K - 1 CycleGANs between a hub class and each other class, trained in turns, used as one translator.

    A face of the hub is translated by one generator, a face that shall become the hub by one too, and any other face
    by two: to the hub and on. A face that is asked for its own class goes to the hub and back, the cycle of the paper;
    one of the hub goes to the first other class and back.

    Args:
        num_classes: Number of classes.
        channels: 1 or 3.
        size: Edge of the pictures in pixels.
        settings: The method's settings.

    Raises:
        UnsuitableSizeError: The size is too small or can't be halved as often as the settings ask.
    """

    name: ClassVar[str] = "cyclegan"
    Settings: ClassVar[type[TranslatorSettings]] = CycleGanSettings
    settings: CycleGanSettings

    def __init__(self, *, num_classes: int, channels: int, size: int, settings: CycleGanSettings) -> None:
        super().__init__(
            pairs=num_classes - 1, num_classes=num_classes, channels=channels, size=size, settings=settings
        )
        self._hub: int | None = None

    @classmethod
    def requires_for(cls, settings: TranslatorSettings) -> frozenset[Requirement]:
        """The faces' own classes, which say by which pair they are translated."""
        return frozenset({"own_class"})

    def batch_classes(self, step: int) -> tuple[int, int]:
        """The pairs take turns: the hub's faces, and the class of this step's pair.

        Raises:
            ValueError: `check` has not yet been called, which finds the hub among the class names.
        """
        if self._hub is None:
            raise ValueError("cyclegan: call check(training faces) first; it says which class the hub is")
        pair = step % len(self.generator)
        return self._hub, pair + (pair >= self._hub)

    def example_faces(self, faces: FaceTensors) -> torch.Tensor:
        """All faces: a batch's examples are its pair's other class."""
        return torch.ones(len(faces), dtype=torch.bool, device=faces.labels.device)

    @torch.no_grad()
    def translate(
        self, faces: FaceTensors, targets: torch.Tensor, generator: torch.Generator | None = None
    ) -> torch.Tensor:
        """Makes faces of wanted classes; it is deterministic, `generator` is ignored.

        Raises:
            CannotTranslateError: The faces have another form or other classes than the networks are made for.
        """
        hub = self._find_hub(faces)
        targets = targets.to(faces.labels.device)
        return self.made_in_batches(
            len(faces), lambda rows: self._through_hub(faces.images[rows], faces.labels[rows], targets[rows], hub)
        )

    def check(self, faces: FaceTensors) -> None:
        """Refuses training faces without a hub, or without a face of some class; remembers which class the hub is.

        Raises:
            CannotTranslateError: Says what is missing.
        """
        hub = self._find_hub(faces)
        counts = torch.bincount(faces.labels.cpu(), minlength=self.num_classes)
        missing = [name for name, count in zip(faces.class_names, counts.tolist(), strict=True) if not count]
        if missing:
            raise CannotTranslateError(
                f"cyclegan needs training faces of every class, as each makes a pair with {self.settings.hub}; none is "
                f"{', '.join(missing)}. Add such faces, leave the classes out, or use fewer folds"
            )
        self._hub = hub

    def _find_hub(self, faces: FaceTensors) -> int:
        """The hub's label among the faces' classes."""
        self.check_form(faces)
        names = faces.class_names
        if len(names) != self.num_classes:
            raise CannotTranslateError(f"cyclegan: made for {self.num_classes} classes, got {len(names)}")
        if self.settings.hub not in names:
            raise CannotTranslateError(
                f"cyclegan: its hub, {self.settings.hub!r}, is none of the classes {', '.join(names)}. Set the "
                f"translator's hub to one of them, for example hub={names[0]}"
            )
        return names.index(self.settings.hub)

    def pair_of(self, batch: Batch) -> int:
        """All faces of a batch are of one pair, as `batch_classes` asked."""
        hub, other = int(batch.labels[0]), int(batch.targets[0])
        return other - (other > hub)

    def sides_of(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """Faces of the hub, and of the pair's other class.

        Raises:
            CannotTranslateError: The batch has no examples.
        """
        if batch.examples is None:
            raise CannotTranslateError("cyclegan: the batch has no examples, real faces of the pair's other class")
        return batch.images, batch.examples

    def _through_hub(self, images: torch.Tensor, own: torch.Tensor, targets: torch.Tensor, hub: int) -> torch.Tensor:
        """Translates uint8 [N, C, H, W]: all that are elsewhere to the hub, then all that shall be elsewhere on."""
        pictures = to_unit_range(images)
        # There is no generator from the hub to itself: such faces make the first pair's cycle.
        first = int(hub == 0)
        circling = (own == hub) & (targets == hub)
        onward = torch.where(circling, first, targets)
        pictures = self._move(pictures, onward, hub, "leaving", own == hub)
        pictures = self._move(pictures, torch.where(circling, first, own), hub, "returning", (own != hub) | circling)
        pictures = self._move(pictures, targets, hub, "leaving", (own != hub) & (targets != hub))
        return to_bytes_range(pictures)

    def _move(
        self, pictures: torch.Tensor, others: torch.Tensor, hub: int, direction: str, which: torch.Tensor
    ) -> torch.Tensor:
        """Sends the pictures at `which` through their pairs' generators of a direction; `others` tells the pairs."""
        moved = pictures.clone()
        for other in others[which].unique().tolist():
            rows = which & (others == other)
            moved[rows] = getattr(self.generators[other - (other > hub)], direction)(pictures[rows]).to(pictures.dtype)
        return moved


def _mean_score(judge: nn.Module) -> losses.Critic:
    """Of a face, over its patches: R1 of their sum would grow with the square of their number."""
    return lambda images: judge(images).flatten(1).mean(1)


def initialize(network: nn.Module, deviation: float | None) -> None:
    """Weights from N(0, deviation^2), biases 0 (appendix 7.1); None leaves them as they are made."""
    for module in network.modules():
        if deviation is None or not isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            continue
        nn.init.normal_(module.weight, 0.0, deviation)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
