"""LSSL: learn to synthesize and synthesize to learn (Bozorgtabar et al. 2019, arXiv 1905.00286), section 3.1.

Where the text and the released code differ, the text is followed (a parsing loss, binary cross-entropies, image and
side input mirrored together, eq. 4's pixels alone in the identity term, where the code adds the side input's, and one
step of Adam for D's losses and penalty together, where the code makes two), but for "five convolutional layers with the
stride size of two": the first has a stride of one, as in the code. What the text leaves open (features but the
decoder's, kernel sizes, residual blocks before the class enters) is as in the released code. Pose normalization,
section 3.2, is in `pose_normalization.py`.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import nn

from augment.faces.tensors import FaceTensors
from augment.networks import losses
from augment.networks.heatmap import landmark_heatmap
from augment.networks.layers import (
    DownBlock,
    ResidualBlock,
    SubPixelUpBlock,
    check_halvings,
    concat_label_planes,
    squash,
)
from augment.translators.attribute_gan import (
    AttributeGan,
    AttributeGanSettings,
    MaskedGenerator,
    attribute_discriminator_losses,
    flow_head,
    head,
    mask_head,
    warped,
)
from augment.translators.base import Batch, CannotTranslateError, Requirement, TranslatorSettings, Weight
from augment.translators.flow_head import FlowHead, FlowOutput
from augment.translators.thin_plate_spline import sample_displaced


class LsslNetworkSettings(AttributeGanSettings):
    """Settings of LSSL's networks and losses, in both of its forms; the defaults are the published values."""

    downs: int = Field(default=4, ge=1, le=6, description="how often the encoder halves the picture")
    residual_blocks: int = Field(default=6, ge=0, le=32, description="of the encoder, before the class enters")
    decoder_residual_blocks: int = Field(
        default=0, ge=0, le=32, description="after the class has entered; 0 as published"
    )
    lambda_bi: Weight = Field(default=10.0, description="bidirectional loss on image, side input and latent, eq. 6")
    lambda_id: Weight = Field(default=10.0, description="identity loss, eq. 4")
    lambda_parsing: Weight = Field(default=10.0, description="parsing loss, eq. 5; needs a trained parsing network")


class LsslSettings(LsslNetworkSettings):
    """Settings of LSSL; the defaults are the published values."""

    side_input: bool = Field(default=True, description="landmark heatmaps beside the image; needs faces with landmarks")
    side_sigma: float = Field(
        default=0.02, gt=0, le=0.5, description="of a landmark's Gaussian, as a share of the edge"
    )
    discriminator_input: Literal["pair", "image"] = Field(
        default="pair",
        description="(x, s) as published (fig. 3a), or x alone as in pose normalization (fig. 3b); with few faces a "
        "pair lets the generator show the class in s' alone and leave x unchanged",
    )


class LsslEncoder(nn.Module):
    """(x, s) to a latent [N, width 2^downs, h / 2^downs, w / 2^downs], not conditioned on the wanted class."""

    def __init__(self, picture_channels: int, settings: LsslNetworkSettings) -> None:
        super().__init__()
        widths = [settings.width * 2**level for level in range(settings.downs + 1)]
        self.blocks = nn.Sequential(
            DownBlock(picture_channels, settings.width, kernel=settings.outer_kernel, stride=1),
            *(DownBlock(inner, 2 * inner) for inner in widths[:-1]),
            *(ResidualBlock(widths[-1]) for _ in range(settings.residual_blocks)),
        )

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """Encodes pictures [N, C (+ S), H, W]."""
        return self.blocks(pictures)


class LsslDecoder(nn.Module):
    """Latent and wanted class to (x', s'): sub-pixel blocks, then a 7x7 head for the image and one for s'."""

    def __init__(self, num_classes: int, channels: int, side_channels: int, settings: LsslNetworkSettings) -> None:
        super().__init__()
        self.concat = settings.conditioning == "concat"
        self.image_skip = settings.image_skip
        in_norm = 0 if self.concat else num_classes  # length of the condition of the normalizations
        # 512, 256, 128, 64: the encoder's. The released code halves what comes in, class planes and all (1031 to 515,
        # 257, 128, 64), so that widths depend on the number of classes.
        widths = [settings.width * 2**level for level in range(settings.downs + 1)]
        deepest = widths[-1] + (num_classes if self.concat else 0)
        self.blocks = nn.ModuleList(
            ResidualBlock(deepest, condition_size=in_norm) for _ in range(settings.decoder_residual_blocks)
        )
        self.channels = channels
        self.flow_head: FlowHead | None = None
        if settings.output == "flow":
            self.flow_head = flow_head(channels, channels + side_channels, num_classes, settings)
            return
        for inner in reversed(widths[:-1]):
            self.blocks.append(
                SubPixelUpBlock(deepest if inner == widths[-2] else 2 * inner, inner, condition_size=in_norm)
            )
        self.image_head = head(channels, settings)
        self.side_head = head(side_channels, settings) if side_channels else None
        self.mask_head = mask_head(settings) if settings.attention_mask else None

    def forward(
        self,
        latent: torch.Tensor,
        condition: torch.Tensor,
        pictures: torch.Tensor,
        initial_flow: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Decodes to pictures [N, C (+ S), H, W] in -1..1; `pictures` are the inputs, for `image_skip` and the mask."""
        return self.with_mask(latent, condition, pictures, initial_flow)[0]

    def with_flow(
        self,
        latent: torch.Tensor,
        condition: torch.Tensor,
        pictures: torch.Tensor,
        initial_flow: torch.Tensor | None = None,
        mode: Literal["bilinear", "bicubic"] = "bilinear",
    ) -> FlowOutput:
        """What a decoder with `output: flow` gives for the images of the inputs."""
        assert self.flow_head is not None
        features = concat_label_planes(latent, condition) if self.concat else latent
        for block in self.blocks:
            features = block(features, condition)
        moved = warped(pictures, initial_flow)
        return self.flow_head(pictures[:, : self.channels], moved, features, condition, initial_flow, mode)

    def with_mask(
        self,
        latent: torch.Tensor,
        condition: torch.Tensor,
        pictures: torch.Tensor,
        initial_flow: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """What `forward` gives, and the mask [N, 1, H, W] in 0..1; None without `attention_mask` or a flow."""
        if self.flow_head is not None:
            moved = self.with_flow(latent, condition, pictures, initial_flow)
            # Nothing is painted in a heatmap: its points move with the pixels.
            side = sample_displaced(pictures[:, self.channels :], moved.flow, "bilinear")
            return torch.cat([moved.images, side], dim=1), moved.mask
        features = concat_label_planes(latent, condition) if self.concat else latent
        for block in self.blocks:
            features = block(features, condition)
        hidden = self.image_head(features)
        if self.side_head is not None:
            hidden = torch.cat([hidden, self.side_head(features)], dim=1)
        made = squash(hidden, pictures, self.image_skip)
        if self.mask_head is None:
            return made, None
        mask = torch.sigmoid(self.mask_head(features))
        # The image alone: a heatmap's points move, and leave nothing that could be copied.
        channels = self.image_head.out_channels
        made, mask = made.to(pictures.dtype), mask.to(pictures.dtype)
        image = torch.lerp(pictures[:, :channels], made[:, :channels], mask)
        return torch.cat([image, made[:, channels:]], dim=1), mask


class LsslGenerator(MaskedGenerator):
    """G_dec(G_enc(x, s), y)."""

    def __init__(
        self, *, num_classes: int, channels: int, side_channels: int, size: int, settings: LsslNetworkSettings
    ) -> None:
        super().__init__()
        check_halvings(size, settings.downs, "downs")
        self.encoder = LsslEncoder(channels + side_channels, settings)
        self.decoder = LsslDecoder(num_classes, channels, side_channels, settings)

    def forward(
        self, pictures: torch.Tensor, condition: torch.Tensor, initial_flow: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Pictures [N, C (+ S), H, W] in -1..1 and the wanted condition [N, K] to translated pictures."""
        return self.with_mask(pictures, condition, initial_flow)[0]

    def with_mask(
        self, pictures: torch.Tensor, condition: torch.Tensor, initial_flow: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """What `forward` gives, and the mask [N, 1, H, W] in 0..1; None without `attention_mask` or a flow."""
        latent = self.encoder(warped(pictures, initial_flow))
        return self.decoder.with_mask(latent, condition, pictures, initial_flow)

    def with_flow(
        self,
        pictures: torch.Tensor,
        condition: torch.Tensor,
        initial_flow: torch.Tensor | None = None,
        mode: Literal["bilinear", "bicubic"] = "bilinear",
    ) -> FlowOutput:
        """What a generator with `output: flow` gives; see the base class."""
        latent = self.encoder(warped(pictures, initial_flow))
        return self.decoder.with_flow(latent, condition, pictures, initial_flow, mode)


class LsslModel(AttributeGan):
    """What both forms of LSSL share: the networks, whose input is an image x and a side input s, and the five losses.

    A subclass says how many channels s has (`side_channels`), how it is stacked with x (`pictures`) and how many
    channels of (x, s) the discriminator sees (`judged_channels`).

    The parsing network is no part of the translator: attach it before training (`attach_parsing`). It is neither in
    `state_dict` nor among the parameters, and is not needed to translate.
    """

    Settings: ClassVar[type[TranslatorSettings]] = LsslNetworkSettings
    settings: LsslNetworkSettings
    generator: LsslGenerator

    def __init__(self, *, num_classes: int, channels: int, size: int, settings: LsslNetworkSettings) -> None:
        super().__init__(num_classes=num_classes, channels=channels, size=size, settings=settings)
        # In a list, where nn.Module does not look for submodules.
        self._parsing: list[nn.Module] = []

    @property
    @abstractmethod
    def side_channels(self) -> int:
        """Channels of the side input s; 0 = there is none."""

    @property
    def picture_channels(self) -> int:
        """Channels of (x, s)."""
        return self.channels + self.side_channels

    def build_generator(self) -> MaskedGenerator:
        """Makes the encoder-decoder."""
        return LsslGenerator(
            num_classes=self.num_classes,
            channels=self.channels,
            side_channels=self.side_channels,
            size=self.size,
            settings=self.settings,
        )

    def attach_parsing(self, network: nn.Module) -> None:
        """Takes the trained parsing network P ([N, C, H, W] in -1..1 to logits [N, K, H, W]); it is frozen here."""
        self._parsing = [network.eval().requires_grad_(False)]

    def check_parsing(self) -> None:
        """Refuses a parsing loss without a network that suits the pictures.

        Raises:
            CannotTranslateError: Says what is missing and which setting does without.
        """
        if not self.settings.lambda_parsing:
            return
        if not self._parsing:
            raise CannotTranslateError(
                f"{self.name}: the parsing loss (lambda_parsing = {self.settings.lambda_parsing:g}) needs a trained "
                "parsing network, and none is attached. Train one on faces with masks "
                "(augment.parsing.training.train_parsing) and give it to attach_parsing, "
                "or set the translator's lambda_parsing=0"
            )
        known = getattr(self._parsing[0], "channels", self.channels)
        if known != self.channels:
            raise CannotTranslateError(
                f"{self.name}: the parsing network reads {known} channels, the pictures have {self.channels}. Train it "
                "on faces of the same form, or set the translator's lambda_parsing=0"
            )

    def discriminator_losses(self, batch: Batch) -> dict[str, torch.Tensor]:
        """Terms `adversarial`, `classification`, `gradient_penalty`, `r1`; those with weight 0 are absent.

        Eq. 7, second line. Real are the batch's own pictures and classes.
        """
        pictures = self.pictures(batch.images, batch.side_input)
        with torch.no_grad():
            there, _ = self.initial_flows(batch)
            translated = self.generator(pictures, self.condition(batch.targets), there).to(pictures.dtype)
        seen = self.judged_channels  # of (x, s), the image first
        return attribute_discriminator_losses(
            self.discriminator,
            self.settings,
            real=pictures[:, :seen],
            labels=batch.labels,
            fake=translated[:, :seen],
            batch=batch,
        )

    def generator_losses(self, batch: Batch) -> dict[str, torch.Tensor]:
        """Terms `adversarial`, `classification`, `identity`, `parsing`, `bidirectional`.

        Eq. 7, first line; terms with weight 0 are absent. `bidirectional`, with the cycle reconstruction, comes every
        `cycle_every`-th step.
        """
        settings, channels = self.settings, self.channels
        encoder, decoder = self.generator.encoder, self.generator.decoder
        pictures = self.pictures(batch.images, batch.side_input)  # (x, s)
        there, back = self.initial_flows(batch)
        latent = encoder(warped(pictures, there))
        translated, mask = decoder.with_mask(latent, self.condition(batch.targets), pictures, there)  # (x', s')
        source, classes = self.discriminator(translated[:, : self.judged_channels])
        terms = self.mask_losses(mask)
        if settings.lambda_adversarial:
            loss = losses.adversarial_generator(settings.adversarial, source)
            terms["adversarial"] = settings.lambda_adversarial * loss
        if settings.lambda_cls:
            loss = self.classification_loss(translated[:, :channels], classes, batch)
            terms["classification"] = settings.lambda_cls * loss
        if settings.lambda_id:
            terms["identity"] = settings.lambda_id * losses.identity(translated[:, :channels], batch.images)
        if settings.lambda_parsing:
            terms["parsing"] = settings.lambda_parsing * self._parsing_loss(batch.images, translated[:, :channels])
        if settings.lambda_bi and batch.step % settings.cycle_every == 0:
            translated_latent = encoder(warped(translated, back))
            cycled = decoder(translated_latent, self.condition(batch.labels), translated, back)
            terms["bidirectional"] = settings.lambda_bi * losses.bidirectional(
                batch.images,
                cycled[:, :channels],
                batch.side_input if self.side_channels else None,
                cycled[:, channels:] if self.side_channels else None,
                latent,
                translated_latent,
            )
        return terms

    def _parsing_loss(self, images: torch.Tensor, translated: torch.Tensor) -> torch.Tensor:
        if not self._parsing:
            raise CannotTranslateError(
                f"{self.name}: lambda_parsing > 0 needs attach_parsing(network); or set the translator's "
                "lambda_parsing=0"
            )
        network = self._parsing[0].to(images.device)
        with torch.no_grad():
            target = network(images)
        return losses.parsing(target, network(translated))


class Lssl(LsslModel):
    """LSSL: five losses, each switched off by a weight of 0; side input and parsing network are optional."""

    name: ClassVar[str] = "lssl"
    Settings: ClassVar[type[TranslatorSettings]] = LsslSettings
    settings: LsslSettings

    @property
    def side_channels(self) -> int:
        """Channels of the side input: 1 heatmap, or 0."""
        return 1 if self.settings.side_input else 0

    @property
    def judged_channels(self) -> int:
        """Channels of what the discriminator sees: (x, s), or x alone."""
        return self.channels if self.settings.discriminator_input == "image" else self.picture_channels

    @classmethod
    def requires_for(cls, settings: TranslatorSettings) -> frozenset[Requirement]:
        """Landmarks where the side input is on (single source faces may lack them: a heatmap of -1), and for pairs."""
        assert isinstance(settings, LsslSettings)
        return super().requires_for(settings) | ({"landmarks"} if settings.side_input else set())

    def check(self, faces: FaceTensors) -> None:
        """Refuses training faces without landmarks where the side input is on, and a parsing loss without a network.

        Raises:
            CannotTranslateError: Says what is missing and which setting does without.
        """
        super().check(faces)
        if self.settings.side_input and faces.landmarks is not None and not torch.isfinite(faces.landmarks).any():
            self.check_sources(replace(faces, landmarks=None))
        self.check_parsing()

    def check_sources(self, faces: FaceTensors) -> None:
        """Refuses faces without landmarks where the side input is on; single faces may lack them (a null heatmap).

        Raises:
            CannotTranslateError: The faces come without landmarks, or in another form than the networks are made for.
        """
        super().check_sources(faces)
        if self.settings.side_input and len(faces) and faces.landmarks is None:
            raise CannotTranslateError(
                "lssl: the side input needs landmarks, and none of these faces has any. Use a source with landmarks, "
                "or set the translator's side_input=false"
            )

    def side_input(self, faces: FaceTensors) -> torch.Tensor | None:
        """Landmark heatmaps float32 [N, 1, H, W] in -1..1; None where the side input is off."""
        if not self.settings.side_input:
            return None
        if faces.landmarks is None:
            return torch.full((len(faces), 1, self.size, self.size), -1.0, device=faces.images.device)
        return landmark_heatmap(faces.landmarks, self.size, self.settings.side_sigma)

    def landmark_input(self, landmarks: torch.Tensor) -> torch.Tensor | None:
        """Landmark heatmaps [N, 1, H, W] in -1..1 of landmarks [N, 68, 2] in 0..1; None where the input is off."""
        return landmark_heatmap(landmarks, self.size, self.settings.side_sigma) if self.settings.side_input else None

    def pictures(self, images: torch.Tensor, side_input: torch.Tensor | None) -> torch.Tensor:
        """(x, s) stacked: float [N, C + 1, H, W]; the image alone where the side input is off."""
        if not self.settings.side_input:
            return images
        if side_input is None:
            raise CannotTranslateError(
                "lssl: the batch has no side input; build it with side_input(faces), or set "
                "the translator's side_input=false"
            )
        return torch.cat([images, side_input.to(images.dtype)], dim=1)
