"""CCycleGAN (Tesei 2019): an unpadded U-Net split into encoder and decoder, and a discriminator of two tasks.

Where the text and the released code differ, the text is followed, but for the pictures' range: -1..1 as in the code,
whose output is tanh; the text's 0..1 would halve the reconstruction term (eq. 3), and with it lambda_cyc of the grid.
What the text leaves open or says in a way that can't be built is as in the released code, with the reason beside it.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import nn
from torch.nn import functional as F

from augment.core import row_draws
from augment.core.errors import Problem
from augment.faces.tensors import FaceTensors, to_bytes_range, to_unit_range
from augment.networks import losses
from augment.networks.layers import InstanceNorm, UnsuitableSizeError, one_hot, squash
from augment.translators.base import AdversarialTranslator, Batch, TranslatorSettings, Weight

SLOPE = 0.2  # of every LeakyReLU


class CCycleGanSettings(TranslatorSettings):
    """Settings of CCycleGAN; the defaults are the published values.

    A weight of 0 turns a term off and saves its cost. The adversarial term has weight 1 (eq. 4).
    """

    width: int = Field(default=64, ge=4, le=512, description="filters of the first convolution of G and D; 64 to 512")
    downs: int = Field(default=4, ge=2, le=7, description="convolutions from the picture to the latent; 4")
    discriminator_width: int | None = Field(default=None, ge=4, le=512, description="null: as width")
    discriminator_norm: bool = Field(
        default=True,
        description="instance normalization in D, which hides from it how strong a pattern is; false is not in the "
        "paper",
    )
    classification: Literal["binary", "softmax"] = Field(
        default="binary", description="D_cl's last activation: sigmoid (summed binary cross-entropies) or soft-max"
    )
    fake_classes: Literal["none", "wanted", "ignored"] = Field(
        default="none",
        description="D_cl's target for a made face: no class at all (soft-max can't give it and learns "
        "nothing), the wanted one (eq. 2 as printed), or made faces are left out of its loss",
    )
    other_labels: int | None = Field(
        default=None,
        ge=1,
        description="other labels decoded for each face, drawn at random; null: all of them, as published",
    )
    lambda_cyc: Weight = Field(default=1.0, description="L1 between a face and its decoding with its own label, eq. 3")
    lambda_cl: Weight = Field(default=1.0, description="classification in both networks, eq. 2")
    image_skip: bool = Field(
        default=False,
        description="output = clamp(input + residual, -1, 1) instead of tanh; the residual starts at 0; not in the "
        "paper",
    )
    lambda_id: Weight = Field(default=0.0, description="L1 between output and input; not in the paper")
    lambda_r1: Weight = Field(
        default=0.0, description="R1's gamma: weight of the squared gradient on real faces; not in the paper"
    )
    r1_attributes: bool = Field(default=False, description="R1 on the true class's score too; not in the paper")
    r1_every: int = Field(default=16, ge=1, description="R1 comes every so many steps, with its weight times as much")


def unpadded_edges(size: int, downs: int) -> list[int]:
    """Edges of the maps that unpadded 4x4 convolutions of stride 2 make of a picture, the last one's to be 1.

    48 px give 23, 10, 4, 1. What an odd edge loses, the decoder's output padding of one gives back, so that every size
    that ends at 1x1 works, not the published 48 px alone.

    Raises:
        UnsuitableSizeError: They do not end at 1x1; says which sizes do.
    """
    edges = [size]
    for _ in range(downs):
        edges.append(edges[-1] // 2 - 1)
    if edges[-1] == 1:
        return edges[1:]
    smallest, largest = _suitable_sizes(downs)
    raise UnsuitableSizeError(
        Problem(
            f"downs = {downs}",
            f"{downs} unpadded 4x4 convolutions of stride 2 do not take pictures of {size} px to 1x1",
            f"sizes that can are {smallest} to {largest} px; "
            + ", ".join("{1} to {2} with downs = {0}".format(n, *_suitable_sizes(n)) for n in (3, 4, 5) if n != downs),
        )
    )


def _suitable_sizes(downs: int) -> tuple[int, int]:
    """The smallest and the largest picture that ends at 1x1: before each convolution an edge is 2 n + 2 or 2 n + 3."""
    return 3 * 2**downs - 2, 4 * 2**downs - 3


def map_norm(features: int, edge: int) -> nn.Module:
    """Instance normalization of maps of more than a pixel; of a 1x1 map, normalization over its features.

    Instance normalization, which the text names, takes the mean over a channel's pixels: of a 1x1 map it leaves zeros.
    The released code's layer normalizes over all of a sample's values instead, and its latents need that.
    """
    return InstanceNorm(features) if edge > 1 else nn.GroupNorm(1, features)


class UnpaddedDown(nn.Module):
    """C-LR-N of fig. 1: unpadded 4x4 convolution of stride 2 -> LeakyReLU -> normalization.

    Args:
        in_features: Channels of the input.
        out_features: Channels of the output.
        edge: Edge of the output in pixels.
        normalized: False for the discriminator's first (fig. 2a).
    """

    def __init__(self, in_features: int, out_features: int, edge: int, *, normalized: bool = True) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(in_features, out_features, 4, 2)
        self.norm = map_norm(out_features, edge) if normalized else nn.Identity()

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """[N, C, H, W] to [N, out_features, edge, edge]."""
        return self.norm(F.leaky_relu(self.convolution(features), SLOPE))


class UnpaddedUp(nn.Module):
    """CT-N of fig. 1: 4x4 transposed convolution of stride 2 -> ReLU -> instance normalization, then the skip.

    The caption's "no stride, and no padding, except for the first one where it is used padding one" can't give 48 px
    back from 1x1; with stride 2 and an output padding of one where the encoder rounded down (48 px: the outermost of
    the three, as in the released code) every map has its counterpart's edge, and nothing is left to be cropped.
    """

    def __init__(self, in_features: int, out_features: int, edge: int) -> None:
        super().__init__()
        self.convolution = nn.ConvTranspose2d(in_features, out_features, 4, 2, output_padding=edge % 2)
        self.norm = InstanceNorm(out_features)

    def forward(self, features: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        """[N, C, H, W] and the encoder's map [N, S, edge, edge] to [N, out_features + S, edge, edge]."""
        return torch.cat([self.norm(F.relu(self.convolution(features))), skip], dim=1)


class CCycleGanEncoder(nn.Module):
    """G_enc: a picture to its maps, of which the last is the latent; it is conditioned on no class."""

    def __init__(self, channels: int, size: int, settings: CCycleGanSettings) -> None:
        super().__init__()
        edges = unpadded_edges(size, settings.downs)
        widths = [channels, *(settings.width * 2**level for level in range(settings.downs))]
        self.blocks = nn.ModuleList(
            UnpaddedDown(*pair, edge) for pair, edge in zip(pairwise(widths), edges, strict=True)
        )

    def forward(self, pictures: torch.Tensor) -> list[torch.Tensor]:
        """Pictures [N, C, H, W] in -1..1 to maps [N, width 2^level, h, h], finest first."""
        maps = []
        features = pictures
        for block in self.blocks:
            features = block(features)
            maps.append(features)
        return maps


class CCycleGanDecoder(nn.Module):
    """G_dec: the encoder's maps and a wanted class to a picture.

    The class is concatenated to the latent (512 + 7 = 519), a 1x1 convolution makes 512 of it, transposed convolutions
    follow. The released code has a fully connected layer of 519 before the 1x1 convolution, which the text lacks.
    """

    def __init__(self, *, num_classes: int, channels: int, size: int, settings: CCycleGanSettings) -> None:
        super().__init__()
        self.image_skip = settings.image_skip
        edges = unpadded_edges(size, settings.downs)
        widths = [settings.width * 2**level for level in range(settings.downs)]
        self.reduce = nn.Conv2d(widths[-1] + num_classes, widths[-1], 1)
        self.blocks = nn.ModuleList()
        features = widths[-1]
        for width, edge in zip(reversed(widths[:-1]), reversed(edges[:-1]), strict=True):
            self.blocks.append(UnpaddedUp(features, width, edge))
            features = 2 * width
        # Fig. 1 stops at the three CT-N; as in the released code a fourth transposed convolution makes the picture.
        self.head = nn.ConvTranspose2d(features, channels, 4, 2, output_padding=size % 2)
        if settings.image_skip:
            for parameter in self.head.parameters():
                nn.init.zeros_(parameter)

    def forward(self, maps: list[torch.Tensor], condition: torch.Tensor, pictures: torch.Tensor) -> torch.Tensor:
        """Decodes to pictures [N, C, H, W] in -1..1; `pictures` are the inputs, used by `image_skip` only."""
        latent = maps[-1]
        features = self.reduce(torch.cat([latent, condition.to(latent.dtype)[:, :, None, None]], dim=1))
        for block, skip in zip(self.blocks, reversed(maps[:-1]), strict=True):
            features = block(features, skip)
        return squash(self.head(features), pictures, self.image_skip)


class CCycleGanGenerator(nn.Module):
    """G_dec(G_enc(x) | y)."""

    def __init__(self, *, num_classes: int, channels: int, size: int, settings: CCycleGanSettings) -> None:
        super().__init__()
        self.encoder = CCycleGanEncoder(channels, size, settings)
        self.decoder = CCycleGanDecoder(num_classes=num_classes, channels=channels, size=size, settings=settings)

    def forward(self, pictures: torch.Tensor, conditions: torch.Tensor) -> torch.Tensor:
        """Encodes each picture once and decodes it for each of its wanted classes.

        Args:
            pictures: [N, C, H, W] in -1..1.
            conditions: [N, L, K].

        Returns:
            [N, L, C, H, W] in -1..1.
        """
        count, wanted, _ = conditions.shape
        maps = [features.repeat_interleave(wanted, 0) for features in self.encoder(pictures)]
        decoded = self.decoder(maps, conditions.flatten(0, 1), pictures.repeat_interleave(wanted, 0))
        return decoded.view(count, wanted, *decoded.shape[1:])


class CCycleGanDiscriminator(nn.Module):
    """D_rf and D_cl of fig. 2a: shared unpadded convolutions, then a fully connected block for each task."""

    def __init__(self, *, num_classes: int, channels: int, size: int, settings: CCycleGanSettings) -> None:
        super().__init__()
        width = settings.discriminator_width or settings.width
        widths = [channels, *(width * 2**level for level in range(settings.downs))]
        self.body = nn.Sequential(
            *(
                UnpaddedDown(*pair, edge, normalized=settings.discriminator_norm and level > 0)
                for level, (pair, edge) in enumerate(
                    zip(pairwise(widths), unpadded_edges(size, settings.downs), strict=True)
                )
            )
        )
        self.source = self._block(widths[-1], 1)
        self.attributes = self._block(widths[-1], num_classes)

    @staticmethod
    def _block(features: int, outputs: int) -> nn.Sequential:
        # The text does not say how wide the blocks are: as wide as what they read, as in the released code.
        return nn.Sequential(nn.Linear(features, features), nn.LeakyReLU(SLOPE), nn.Linear(features, outputs))

    def forward(self, pictures: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Judges pictures [N, C, H, W].

        Returns:
            Source scores [N, 1] (high = real) and class scores [N, K], both before the last activation.
        """
        features = self.body(pictures).flatten(1)
        return self.source(features), self.attributes(features)


class CCycleGan(AdversarialTranslator):
    """Each face is encoded once and decoded for all other labels, in D's step as in G's; batches' targets are unused.

    Args:
        num_classes: Number of classes.
        channels: 1 or 3.
        size: Edge of the pictures in pixels; 46 to 61 with the published four convolutions.
        settings: The method's settings.

    Raises:
        UnsuitableSizeError: The pictures do not end at a 1x1 latent.
    """

    name: ClassVar[str] = "ccyclegan"
    Settings: ClassVar[type[TranslatorSettings]] = CCycleGanSettings
    settings: CCycleGanSettings

    def __init__(self, *, num_classes: int, channels: int, size: int, settings: CCycleGanSettings) -> None:
        super().__init__(num_classes=num_classes, channels=channels, size=size, settings=settings)
        self.generator = CCycleGanGenerator(num_classes=num_classes, channels=channels, size=size, settings=settings)
        self.discriminator = CCycleGanDiscriminator(
            num_classes=num_classes, channels=channels, size=size, settings=settings
        )

    def other_labels(self, labels: torch.Tensor, generator: torch.Generator | None = None) -> torch.Tensor:
        """The labels that faces do not have, int64 [N, K - 1], or so many of them as the settings say, drawn anew.

        Args:
            labels: int64 [N], the faces' own.
            generator: A CPU generator; used only where not all of them are taken.
        """
        steps = torch.arange(1, self.num_classes, device=labels.device).expand(len(labels), -1)
        taken = self.settings.other_labels
        if taken is not None and taken < self.num_classes - 1:
            order = row_draws.rand(*steps.shape, generator=generator).argsort(dim=1)[:, :taken].to(labels.device)
            steps = steps.gather(1, order)
        return (labels[:, None] + steps) % self.num_classes

    def decode(self, pictures: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Pictures [N, C, H, W] in -1..1 decoded for labels int64 [N, L]: [N, L, C, H, W]."""
        conditions = one_hot(labels.flatten(), self.num_classes).view(*labels.shape, self.num_classes)
        return self.generator(pictures, conditions)

    def generator_parameters(self) -> Iterable[nn.Parameter]:
        """The encoder's and the decoder's."""
        return self.generator.parameters()

    def discriminator_parameters(self) -> Iterable[nn.Parameter]:
        """The discriminator's."""
        return self.discriminator.parameters()

    def discriminator_losses(self, batch: Batch) -> dict[str, torch.Tensor]:
        """Terms `adversarial` (eq. 1), `classification` (eq. 2), `r1`; those with weight 0 are absent.

        Real and made faces weigh alike, as the two expectations of eq. 1 and 2 do; the released code pools each face
        with its six translations instead. With sigmoids eq. 2's -log D_cl(x)_y alone would let all outputs rise to 1;
        as in the released code the targets of the other classes' outputs are 0. They are summed, so that the wanted
        class's term weighs what eq. 2 gives it; the released code takes the mean for D, a seventh, and for G the
        cross-entropy of the sigmoids. For what D_cl learns of made faces see `_class_loss_of_fakes`.
        """
        settings = self.settings
        real = batch.images
        wanted = self.other_labels(batch.labels, batch.generator)
        with torch.no_grad():
            fake = self.decode(real, wanted).flatten(0, 1).to(real.dtype)
        # The normalizations look at one sample at a time, so that real and made faces may share one pass.
        source, attributes = self.discriminator(torch.cat([real, fake]))
        count = len(real)
        terms = {"adversarial": losses.non_saturating_discriminator(source[:count], source[count:])}
        if settings.lambda_cl:
            classes = losses.classification(settings.classification, attributes[:count], batch.labels)
            classes = classes + self._class_loss_of_fakes(attributes[count:], wanted.flatten())
            terms["classification"] = settings.lambda_cl * classes
        if weight := losses.lazy_weight(settings.lambda_r1, batch.step, settings.r1_every):
            critic = losses.class_aware_critic(self.discriminator, batch.labels if settings.r1_attributes else None)
            terms["r1"] = weight * losses.r1_penalty(critic, real)
        return terms

    def generator_losses(self, batch: Batch) -> dict[str, torch.Tensor]:
        """Terms `adversarial` (eq. 1), `classification` (eq. 2), `reconstruction` (eq. 3), `identity`.

        Those with weight 0 are absent. Eq. 1 as written, minimizing log(1 - D), has no gradient while D is sure;
        -log D is minimized instead, as in the released code.
        """
        settings = self.settings
        pictures = batch.images
        wanted = self.other_labels(batch.labels, batch.generator)
        decoded = self.decode(
            pictures, torch.cat([wanted, batch.labels[:, None]], 1) if settings.lambda_cyc else wanted
        )
        fake = decoded[:, : wanted.shape[1]]
        source, attributes = self.discriminator(fake.flatten(0, 1))
        terms = {"adversarial": losses.non_saturating_generator(source)}
        if settings.lambda_cl:
            classes = losses.classification(settings.classification, attributes, wanted.flatten())
            terms["classification"] = settings.lambda_cl * classes
        if settings.lambda_cyc:
            terms["reconstruction"] = settings.lambda_cyc * losses.reconstruction(pictures, decoded[:, -1])
        if settings.lambda_id:
            terms["identity"] = settings.lambda_id * losses.identity(fake, pictures[:, None].expand_as(fake))
        return terms

    def _class_loss_of_fakes(self, scores: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        """The second term of eq. 2 as D_cl learns it, of scores [M, K].

        As printed it rewards D_cl for giving a made face the wanted class, whatever it shows, and D_cl and G don't
        compete. In the released code made faces have no class at all, which makes it the game of eq. 5: `none`.
        Soft-max can't give "no class"; the cross-entropy with a target of zeros is 0.
        """
        if self.settings.fake_classes == "wanted":
            return losses.classification(self.settings.classification, scores, wanted)
        if self.settings.fake_classes == "none" and self.settings.classification == "binary":
            return losses.binary_attributes(scores, torch.zeros_like(scores))
        return scores.new_zeros(())

    @torch.no_grad()
    def translate(
        self, faces: FaceTensors, targets: torch.Tensor, generator: torch.Generator | None = None
    ) -> torch.Tensor:
        """Makes faces of wanted classes; it is deterministic, `generator` is ignored.

        Raises:
            CannotTranslateError: The pictures have another form than those that the networks are made for.
        """
        self.check(faces)

        def make(rows: slice) -> torch.Tensor:
            pictures = to_unit_range(faces.images[rows])
            return to_bytes_range(self.decode(pictures, targets[rows, None].to(pictures.device))[:, 0])

        return self.made_in_batches(len(faces), make)
