"""Flow matching from source faces to faces of a wanted class, on straight paths, with few steps.

Rectified flow (Liu, Gong & Liu, "Flow Straight and Fast", arXiv 2209.03003) and conditional flow matching (Lipman et
al., "Flow Matching for Generative Modeling", arXiv 2210.02747) learn the velocity of the straight paths between two
distributions; both need no adversary and no inversion. Here the paths go from a source face to a face of the wanted
class. Which face that is, the coupling, decides what is learned: another face of the same person where the data has
such pairs, else the faces that are nearest within a batch (mini-batch optimal transport; Tong et al., arXiv
2302.00482). The network sees the source too, and the paths begin at the source with noise on it (data-dependent
couplings; Albergo et al., arXiv 2310.03725): without noise, source and point of a path together tell its end, and what
is learned is the mean picture of all ends, which is blurred.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import nn
from torch.nn import functional as F

from augment.core import row_draws
from augment.core.ranks import sharing_ranks
from augment.faces.table import Attribute
from augment.faces.tensors import FaceTensors, to_bytes_range, to_unit_range
from augment.networks.layers import DownBlock, ResidualBlock, TransposedUpBlock, check_halvings, one_hot
from augment.translators.base import (
    Batch,
    CannotTranslateError,
    LearnedTranslator,
    Requirement,
    TranslatorSettings,
    Weight,
)
from augment.translators.pair_batches import PairBatches
from augment.translators.pairs import LEARNED_FROM_PAIRS, check_pairs, find_pairs
from augment.translators.strength import StrengthRange, strengthened

_TIME_FEATURES = 8
_TRANSPORT_EDGE = 12  # pixels, of the small pictures by which the nearest faces are found


class FlowMatchingSettings(TranslatorSettings):
    """Settings of flow matching; there is no published form for faces at this size, the defaults are ours."""

    width: int = Field(default=16, ge=4, le=512, description="features of the first convolution")
    downs: int = Field(default=2, ge=1, le=6, description="how often the network halves the picture")
    residual_blocks: int = Field(default=2, ge=0, le=32, description="at the lowest resolution")
    coupling: Literal["auto", "pairs", "optimal_transport"] = Field(
        default="auto",
        description="which face a path leads to: one of the same person (pairs), or the nearest within a batch "
        "(optimal_transport); auto: pairs where the faces have any",
    )
    source_noise: float = Field(
        default=0.1, ge=0, le=2, description="standard deviation of the noise on the source, in units of -1..1"
    )
    integration_steps: int = Field(default=4, ge=1, le=100, description="Euler's, when a face is made")
    identity_share: float = Field(
        default=0.125,
        ge=0,
        lt=1,
        description="share of a batch whose path leads to the source itself, in its own class: so faces without a "
        "pair are learned from too",
    )
    variation: float = Field(
        default=1.0, ge=0, le=3, description="how much pairs are turned, scaled and lit at random; 0 = not"
    )
    strength: StrengthRange = Field(
        default=(1.0, 1.0),
        description="factor on what a translation changes in its source, drawn evenly from [lowest, highest] for each "
        "face",
    )
    neutral_class: str = Field(default="neutral", description="the class whose faces are the best sources")
    lambda_velocity: Weight = Field(default=50.0, description="mean squared error of the velocity")


class EndNetwork(nn.Module):
    """Point of the path, source, time and class to where the path ends: StarGAN's encoder-decoder, with a mask.

    The end is (1 - mask) source + mask picture, as in GANimation (arXiv 1807.09251, eq. 1): what the class does not
    change is copied, and noise on the path can't stay there. Class and time enter every normalization.

    Args:
        num_classes: Number of classes.
        channels: 1 or 3.
        size: Edge of the pictures, a multiple of 2 ** downs.
        settings: The method's settings.
    """

    def __init__(self, *, num_classes: int, channels: int, size: int, settings: FlowMatchingSettings) -> None:
        super().__init__()
        check_halvings(size, settings.downs, "downs")
        self.num_classes = num_classes
        self.channels = channels
        condition = num_classes + _TIME_FEATURES
        widths = [settings.width * 2**level for level in range(settings.downs + 1)]
        self.blocks = nn.ModuleList()
        self.blocks.append(DownBlock(2 * channels, widths[0], kernel=5, stride=1, condition_size=condition))
        self.blocks.extend(DownBlock(inner, 2 * inner, condition_size=condition) for inner in widths[:-1])
        self.blocks.extend(ResidualBlock(widths[-1], condition_size=condition) for _ in range(settings.residual_blocks))
        self.blocks.extend(
            TransposedUpBlock(2 * inner, inner, condition_size=condition) for inner in reversed(widths[:-1])
        )
        self.head = nn.Conv2d(widths[0], channels + 1, 5, padding=2)
        assert self.head.bias is not None
        nn.init.zeros_(self.head.bias)
        nn.init.constant_(self.head.bias[channels:], -2.0)  # a mask of 0.12: mostly the source

    def forward(
        self, points: torch.Tensor, sources: torch.Tensor, times: torch.Tensor, targets: torch.Tensor
    ) -> torch.Tensor:
        """Ends of the paths, float [N, C, H, W] in -1..1.

        Args:
            points: float [N, C, H, W], where the paths are.
            sources: float [N, C, H, W], -1..1, where they come from, without noise.
            times: float32 [N], 0..1.
            targets: int64 [N], the wanted classes.
        """
        condition = torch.cat([one_hot(targets, self.num_classes), _time_features(times)], dim=1)
        features = torch.cat([points, sources], dim=1)
        for block in self.blocks:
            features = block(features, condition)
        found = self.head(features)
        picture, mask = torch.tanh(found[:, : self.channels]), torch.sigmoid(found[:, self.channels :])
        return torch.lerp(sources, picture.to(sources.dtype), mask.to(sources.dtype))


class FlowMatching(LearnedTranslator):
    """Follows a learned velocity from the source face to a face of the wanted class.

    One network, one loss: the mean squared error between its velocity and x_1 - x_0 at a random time of the straight
    path x_t = (1 - t) x_0 + t x_1, where x_0 is the source with noise on it and x_1 a face of the wanted class.
    """

    name: ClassVar[str] = "flow_matching"
    Settings: ClassVar[type[TranslatorSettings]] = FlowMatchingSettings
    settings: FlowMatchingSettings

    def __init__(self, *, num_classes: int, channels: int, size: int, settings: FlowMatchingSettings) -> None:
        super().__init__(num_classes=num_classes, channels=channels, size=size, settings=settings)
        self.ends = EndNetwork(num_classes=num_classes, channels=channels, size=size, settings=settings)
        self._pairs: PairBatches | None = None

    @classmethod
    def attributes_for(cls, settings: TranslatorSettings) -> frozenset[Attribute]:
        """Expressions alone, where it learns from pairs."""
        assert isinstance(settings, FlowMatchingSettings)
        return LEARNED_FROM_PAIRS if settings.coupling != "optimal_transport" else super().attributes_for(settings)

    @classmethod
    def requires_for(cls, settings: TranslatorSettings) -> frozenset[Requirement]:
        """Landmarks where the settings ask for pairs."""
        assert isinstance(settings, FlowMatchingSettings)
        return frozenset({"landmarks"} if settings.coupling == "pairs" else ())

    def check(self, faces: FaceTensors) -> None:
        """Refuses training faces without pairs where the settings ask for pairs.

        Raises:
            CannotTranslateError: Says what is missing.
        """
        super().check(faces)
        if self.settings.coupling == "pairs":
            check_pairs(faces, self.name)

    def prepare_training(self, faces: FaceTensors) -> Mapping[str, Any]:
        """Lays the same-person pairs on each other, where there are any and the settings want them."""
        coupling = self.settings.coupling
        self._pairs = None
        if coupling == "pairs" or (coupling == "auto" and len(find_pairs(faces))):
            self._pairs = PairBatches(faces)
        return {
            "coupling": "optimal_transport" if self._pairs is None else "pairs",
            "pairs": 0 if self._pairs is None else len(self._pairs),
        }

    def example_faces(self, faces: FaceTensors) -> torch.Tensor | None:
        """All faces, as ends of paths, where there are no pairs."""
        return None if self._pairs is not None else torch.ones(len(faces), dtype=torch.bool, device=faces.labels.device)

    def preferred_sources(self, labels: torch.Tensor, class_names: Sequence[str]) -> torch.Tensor | None:
        """Neutral faces, where the data has them."""
        neutral = self.settings.neutral_class
        return None if neutral not in class_names else labels == list(class_names).index(neutral)

    def networks(self) -> Mapping[str, Iterable[nn.Parameter]]:
        """One network."""
        return {"flow": self.ends.parameters()}

    def velocity(
        self, points: torch.Tensor, sources: torch.Tensor, times: torch.Tensor, targets: torch.Tensor
    ) -> torch.Tensor:
        """The velocity [N, C, H, W] at points of the paths: (x_1 - x_t) / (1 - t), as on a straight path to x_1.

        Args:
            points: float [N, C, H, W].
            sources: float [N, C, H, W], -1..1, without noise.
            times: float32 [N], 0 <= t < 1.
            targets: int64 [N], the wanted classes.
        """
        ends = self.ends(points, sources, times, targets).float()
        return (ends - points) / (1 - times.view(-1, 1, 1, 1))

    def losses(self, network: str, batch: Batch) -> dict[str, torch.Tensor]:
        """The term `velocity`: eq. 1 of Liu et al., eq. 9 of Lipman et al. with straight paths.

        The squared error counts (1 - t)^2 times, which makes it that of the end; times are drawn as u^2 of an even u.
        Late on a path its end is nearly seen, and nothing is learned about the class.
        """
        sources, ends, targets = self.coupled(batch)
        noise = row_draws.randn(*sources.shape, generator=batch.generator).to(sources.device)
        times = row_draws.rand(len(sources), generator=batch.generator).square().to(sources.device)
        starts = sources + self.settings.source_noise * noise
        remaining = 1 - times.view(-1, 1, 1, 1)
        points = torch.lerp(ends, starts, remaining)
        error = self.velocity(points, sources, times, targets) - (ends - starts)
        return {"velocity": self.settings.lambda_velocity * (remaining * error).square().mean()}

    @torch.no_grad()
    def coupled(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Where a batch's paths begin and end: sources and ends [N, C, H, W] in -1..1, and the ends' classes [N].

        Raises:
            CannotTranslateError: The batch has no examples, and there are no pairs.
        """
        ranks = sharing_ranks()
        whole = len(batch.images) * ranks.count
        count = whole - round(self.settings.identity_share * whole)
        changes = len(ranks.own(torch.arange(count)))  # of this rank's rows
        own = batch.images[changes:], batch.images[changes:], batch.labels[changes:]
        if self._pairs is not None:
            drawn = self._pairs.draw(count, batch.generator, mirror=batch.mirror, variation=self.settings.variation)
            changed = drawn.sources, drawn.wanted, drawn.targets
        else:
            if batch.examples is None:
                raise CannotTranslateError(
                    "flow_matching: the batch has neither pairs nor examples; call prepare_training(faces) first"
                )
            sources, examples, targets = (
                ranks.gather(rows)[:count] for rows in (batch.images, batch.examples, batch.targets)
            )
            order = ranks.own(optimal_transport(sources, examples))
            changed = ranks.own(sources), examples[order], targets[order]
        sources, ends, targets = (torch.cat(parts) for parts in zip(changed, own, strict=True))
        return sources, ends, targets

    @torch.no_grad()
    def translate(
        self, faces: FaceTensors, targets: torch.Tensor, generator: torch.Generator | None = None
    ) -> torch.Tensor:
        """Makes faces of wanted classes by Euler steps; the noise, and so the result, depends on `generator`.

        Raises:
            CannotTranslateError: The faces have another form than the network.
        """
        self.check_form(faces)
        device, steps = faces.images.device, self.settings.integration_steps
        generator = generator if generator is not None else torch.Generator().manual_seed(0)
        noise = self.settings.source_noise * torch.randn(faces.images.shape, generator=generator)

        def make(rows: slice) -> torch.Tensor:
            sources = to_unit_range(faces.images[rows])
            points, wanted = sources + noise[rows].to(device), targets[rows].to(device)
            for step in range(steps):
                times = torch.full((len(sources),), step / steps, device=device)
                points = points + self.velocity(points, sources, times, wanted) / steps
            return to_bytes_range(points)

        made = self.made_in_batches(len(faces), make)
        return strengthened(faces.images, made, self.settings.strength, generator)


@torch.no_grad()
def optimal_transport(sources: torch.Tensor, ends: torch.Tensor) -> torch.Tensor:
    """Assigns each source an end so that the summed squared distance of small pictures is least.

    Whatever the classes: faces of one class are a little nearer to each other, so that a source's own class is its end
    more often than by chance (16.7 % for 14.3 of FER2013's faces, disgust 20.2, in batches of 28).

    Args:
        sources: float [N, C, H, W].
        ends: float [N, C, H, W].

    Returns:
        int64 [N], for each source the row of its end; every end is taken once.
    """
    from scipy.optimize import linear_sum_assignment  # slow to import, and needed without pairs only

    small = [
        F.interpolate(part.float(), size=(_TRANSPORT_EDGE,) * 2, mode="area").flatten(1) for part in (sources, ends)
    ]
    cost = torch.cdist(small[0], small[1]).square()
    _, columns = linear_sum_assignment(cost.cpu().numpy())
    return torch.from_numpy(columns).to(sources.device)


def _time_features(times: torch.Tensor) -> torch.Tensor:
    """Cosines and sines [N, 8] of times [N] in 0..1, of half a turn, one, two and four."""
    angles = math.pi * times[:, None] * 2.0 ** torch.arange(_TIME_FEATURES // 2, device=times.device)
    return torch.cat([torch.cos(angles), torch.sin(angles)], dim=1)
