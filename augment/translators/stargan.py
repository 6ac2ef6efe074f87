"""StarGAN (Choi et al. 2018, arXiv 1711.09020), as published, with the switches of its variants.

The variants, perceptual loss, skip connections, dropout, and joint training on several data sets, are those of Chang
and Wang, "Facial Expression Generation": 64 px, batch 32, all else as StarGAN. Where their text is silent, their
released code decides; of the variants, that code holds skip + dropout (the other lines are commented out). It
steps D twice for each batch, by its losses and then by the penalty; the text has one loss (eq. 1 and 4), and so D has
one step here.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field, model_validator
from torch import nn
from torch.nn import functional as F

from augment.core.seeding import seeded
from augment.faces.tensors import FaceTensors
from augment.networks import losses
from augment.networks.layers import (
    DownBlock,
    ResidualBlock,
    TransposedUpBlock,
    check_halvings,
    concat_label_planes,
    one_hot,
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
from augment.translators.base import Batch, CannotTranslateError, TranslatorSettings, Weight
from augment.translators.flow_head import FlowHead, FlowOutput
from augment.translators.strength import strengthened

LEAKY_SLOPE = 0.01  # of the variants with dropout; the text gives none, the released code this
PERCEPTUAL_LAYERS = 4  # the discriminator's first: "low-level and mid-level features"
OWN = "own"  # `translate_to`: each face's own data set


class StarGanSettings(AttributeGanSettings):
    """Settings of StarGAN; the defaults are the published values, with the variants' switches off."""

    classification: Literal["binary", "softmax"] = Field(
        default="softmax", description="soft-max over exclusive classes, as for RaFD; binary as for CelebA's attributes"
    )
    lambda_rec: Weight = Field(default=10.0, description="reconstruction, eq. 4")
    lambda_id: Weight = Field(default=0.0, description="L1 between output and input; not in the paper")

    # Chang and Wang's variants
    perceptual: bool = Field(
        default=False,
        description="late in a run, the cycle reconstruction is compared by D's features instead of its pixels",
    )
    perceptual_after: float = Field(
        default=0.2, ge=0, le=1, description="share of the run after which they do; 40 of 200 epochs as published"
    )
    lambda_perceptual: Weight = Field(default=10.0, description="perceptual reconstruction, eq. 5 of the variants")
    skip: bool = Field(
        default=False,
        description="adds each down-sampling layer's output to the up-sampling layer of its shape, and the input to "
        "the output",
    )
    dropout: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="share of the generator's features that are dropped; 0.5 as published, with leaky ReLUs",
    )
    # "At both training and test phase", section 3.4 of the variants; their released code tests with G.eval(), which
    # switches it off.
    dropout_when_translating: bool = Field(
        default=True,
        description="whether features are dropped when it translates too, its source of randomness, as the text has "
        "it; false: in training alone, as in the released code",
    )
    data_sets: tuple[str, ...] = Field(
        default=(), description="names of the data sets of a joint training, as in the faces' sources"
    )
    cross_data_sets: bool = Field(
        default=False,
        description="training draws the wanted data set too, instead of each face's own; future work to the authors, "
        "whose model translated badly from one data set to the other",
    )
    translate_to: str = Field(default=OWN, description="the data set that faces are made of: own, or one of data_sets")

    @model_validator(mode="after")
    def _data_sets_agree(self) -> StarGanSettings:
        names = self.data_sets
        if len(names) == 1 or len(set(names)) != len(names) or OWN in names:
            raise ValueError(f"data_sets: name none or two or more, each once, and none {OWN!r}; got {list(names)}")
        if self.translate_to not in (OWN, *names):
            raise ValueError(f"translate_to: {self.translate_to!r} is none of {', '.join((OWN, *names))}")
        if self.cross_data_sets and not names:
            raise ValueError("cross_data_sets needs data_sets")
        if self.output == "flow" and (self.skip or self.dropout):
            raise ValueError("output flow has no up-sampling layers: set skip to false and dropout to 0")
        if names and self.warm_start_share:
            raise ValueError("warm_start_share: a warm start knows one data set; set it to 0, or data_sets to []")
        return self


class StarGanGenerator(MaskedGenerator):
    """7x7 convolution, strided 4x4 convolutions, residual blocks, transposed 4x4 convolutions, 7x7 convolution.

    Table 4 of the paper: 64, 128, 256 features, six residual blocks, 128, 64. With `conditioning="concat"` the
    condition enters as planes beside the image; with `"instance_norm"` through every normalization.

    Args:
        condition_size: Length K of the condition.
        channels: 1 or 3.
        size: Edge of the pictures in pixels.
        settings: The method's settings.
    """

    def __init__(self, *, condition_size: int, channels: int, size: int, settings: StarGanSettings) -> None:
        super().__init__()
        check_halvings(size, settings.downs, "downs")
        self.concat = settings.conditioning == "concat"
        self.image_skip = settings.image_skip
        self.skip = settings.skip
        self.downs = settings.downs
        slope = LEAKY_SLOPE if settings.dropout else 0.0
        # Section 3.4: noise at both ends, or, with skips, in the residual blocks in their place.
        self.outer_dropout = 0.0 if settings.skip else settings.dropout
        self.noise = settings.dropout_when_translating
        inner_dropout = settings.dropout if settings.skip else 0.0
        in_norm = 0 if self.concat else condition_size  # length of the condition of the normalizations
        width, first = settings.width, channels + condition_size if self.concat else channels
        widths = [width * 2**level for level in range(settings.downs + 1)]
        self.blocks = nn.ModuleList()
        self.blocks.append(
            DownBlock(first, width, kernel=settings.outer_kernel, stride=1, condition_size=in_norm, slope=slope)
        )
        self.blocks.extend(DownBlock(inner, 2 * inner, condition_size=in_norm, slope=slope) for inner in widths[:-1])
        self.blocks.extend(
            ResidualBlock(widths[-1], condition_size=in_norm, slope=slope, dropout=inner_dropout, noise=self.noise)
            for _ in range(settings.residual_blocks)
        )
        self.flow_head: FlowHead | None = None
        if settings.output == "flow":
            self.flow_head = flow_head(channels, channels, condition_size, settings)
            return
        self.blocks.extend(
            TransposedUpBlock(2 * inner, inner, condition_size=in_norm, slope=slope) for inner in reversed(widths[:-1])
        )
        self.head = head(channels, settings)
        self.mask_head = mask_head(settings) if settings.attention_mask else None

    def forward(
        self, pictures: torch.Tensor, condition: torch.Tensor, initial_flow: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Pictures [N, C, H, W] in -1..1 and the wanted condition [N, K] to translated pictures of the same shape.

        With `skip` alone they lie in -2..2: the input is added to what tanh gives, as in the released code (the text
        draws the skips within the network only, but means to "directly learn residual features"), and it is left to
        the discriminator to keep them in range. `image_skip` adds the input in its own way.
        """
        return self.with_mask(pictures, condition, initial_flow)[0]

    def with_flow(
        self,
        pictures: torch.Tensor,
        condition: torch.Tensor,
        initial_flow: torch.Tensor | None = None,
        mode: Literal["bilinear", "bicubic"] = "bilinear",
    ) -> FlowOutput:
        """What a generator with `output: flow` gives; see the base class."""
        assert self.flow_head is not None
        moved = warped(pictures, initial_flow)
        features = concat_label_planes(moved, condition) if self.concat else moved
        for block in self.blocks:
            features = block(features, condition)
        return self.flow_head(pictures, moved, features, condition, initial_flow, mode)

    def with_mask(
        self, pictures: torch.Tensor, condition: torch.Tensor, initial_flow: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """What `forward` gives, and the mask [N, 1, H, W] in 0..1; None without `attention_mask` or a flow."""
        if self.flow_head is not None:
            moved = self.with_flow(pictures, condition, initial_flow)
            return moved.images, moved.mask
        features = concat_label_planes(pictures, condition) if self.concat else pictures
        last = len(self.blocks) - 1
        passed_on = []
        for place, block in enumerate(self.blocks):
            features = block(features, condition)
            # The last activation is read as the last before the output's tanh: dropping pixels would show.
            if self.outer_dropout and place in (0, last):
                features = F.dropout(features, self.outer_dropout, training=self.training or self.noise)
            if not self.skip:
                continue
            if place <= self.downs:
                passed_on.append(features)
            if place >= last - self.downs:  # the bottleneck's end, then every up-sampling layer
                features = features + passed_on.pop()
        hidden = self.head(features)
        if self.skip and not self.image_skip:
            made = pictures + torch.tanh(hidden)
        else:
            made = squash(hidden, pictures, self.image_skip)
        if self.mask_head is None:
            return made, None
        mask = torch.sigmoid(self.mask_head(features))
        return torch.lerp(pictures, made.to(pictures.dtype), mask.to(pictures.dtype)), mask


class StarGan(AttributeGan):
    """One generator for all classes, tied to its input by cycle reconstruction.

    Trained on several data sets (`data_sets`), the generator is conditioned on the wanted class and data set; the
    discriminator tells the classes and real from fake, and not the data sets. A batch has faces of all data sets, and
    every term is its mean (eq. 4); the released code takes the gradient penalty of one data set, by turns.
    """

    name: ClassVar[str] = "stargan"
    Settings: ClassVar[type[TranslatorSettings]] = StarGanSettings
    settings: StarGanSettings
    generator: StarGanGenerator

    def build_generator(self) -> MaskedGenerator:
        """Makes the generator."""
        return StarGanGenerator(
            condition_size=self.num_classes + len(self.settings.data_sets),
            channels=self.channels,
            size=self.size,
            settings=self.settings,
        )

    @property
    def data_sets(self) -> tuple[str, ...]:
        """Those of a joint training."""
        return self.settings.data_sets

    def domain_condition(self, labels: torch.Tensor, domains: torch.Tensor | None) -> torch.Tensor:
        """The generator's condition: the class [N, K], and, with M data sets, the mask vector too: [N, K + M].

        Args:
            labels: int64 [N].
            domains: int64 [N], positions in `data_sets`; ignored where there are none.

        Raises:
            CannotTranslateError: There are data sets, and `domains` is None.
        """
        names = self.settings.data_sets
        if not names:
            return self.condition(labels)
        if domains is None:
            raise CannotTranslateError(
                f"{self.name}: learns the data sets {', '.join(names)} together, and is not told which one is wanted. "
                "Give domains(faces), or set the translator's data_sets=[]"
            )
        return torch.cat([self.condition(labels), one_hot(domains, len(names))], dim=1)

    def domains(self, faces: FaceTensors) -> torch.Tensor | None:
        """The faces' data sets as positions in `data_sets`, int64 [N]; None where there are none.

        Raises:
            CannotTranslateError: The faces don't say their data set, or are of one that is not listed.
        """
        names = self.settings.data_sets
        if not names:
            return None
        if faces.sources is None and len(faces):
            raise CannotTranslateError(
                f"{self.name}: learns the data sets {', '.join(names)} together, and these faces don't say which they "
                "are of. Read them by the source joint, name the wanted one in the translator's translate_to, or set "
                "its data_sets=[]"
            )
        places = {name: place for place, name in enumerate(names)}
        found = faces.sources or ()
        if unknown := sorted(set(found) - set(places)):
            raise CannotTranslateError(
                f"{self.name}: there are faces of {', '.join(unknown)}, which the translator's data_sets "
                f"({', '.join(names)}) don't list. List what is to be learned together, or leave these faces out"
            )
        return torch.tensor([places[name] for name in found], dtype=torch.int64, device=faces.images.device)

    def check(self, faces: FaceTensors) -> None:
        """Refuses training faces of unknown data sets, and a data set without faces.

        Raises:
            CannotTranslateError: Says what is wrong.
        """
        super().check(faces)
        domains = self.domains(faces)
        if domains is None:
            return
        present = set(domains.tolist())
        absent = [name for place, name in enumerate(self.settings.data_sets) if place not in present]
        if absent:
            raise CannotTranslateError(
                f"{self.name}: no training face is of {', '.join(absent)}, which the translator's data_sets list. Add "
                "such faces, or leave the name out"
            )

    @torch.no_grad()
    def translate(
        self, faces: FaceTensors, targets: torch.Tensor, generator: torch.Generator | None = None
    ) -> torch.Tensor:
        """Makes faces of wanted classes, of the data set that `translate_to` of the settings says.

        With dropout (`dropout_when_translating`), `generator` is the source of randomness: another seed gives other
        faces. Without, it is ignored.

        Raises:
            CannotTranslateError: The faces lack what the settings need.
        """
        wanted = self.settings.translate_to
        if wanted == OWN:
            domains = self.domains(faces)
        else:
            domains = torch.full_like(targets, self.settings.data_sets.index(wanted))
        return self.translate_to(faces, targets, domains, generator)

    @torch.no_grad()
    def translate_to(
        self,
        faces: FaceTensors,
        targets: torch.Tensor,
        domains: torch.Tensor | None,
        generator: torch.Generator | None = None,
    ) -> torch.Tensor:
        """As the base class has it; with dropout `generator` is the source of randomness, as in `translate`.

        Raises:
            CannotTranslateError: The faces have another form than the networks, or `domains` is None and must not be.
        """
        if self.settings.output == "flow":
            return super().translate(faces, targets, generator)
        self.check_sources(faces)
        device = faces.images.device
        conditions = self.domain_condition(targets.to(device), None if domains is None else domains.to(device))
        if not (self.settings.dropout and self.settings.dropout_when_translating):
            made = self.translate_by(faces, conditions)
            return strengthened(faces.images, made, self.settings.strength, generator)
        generator = generator if generator is not None else torch.Generator().manual_seed(0)
        # Dropout takes no generator: the global generator is seeded from ours, and restored afterwards.
        with seeded(int(torch.randint(2**62, (), generator=generator)), device):
            made = self.translate_by(faces, conditions)
        return strengthened(faces.images, made, self.settings.strength, generator)

    def discriminator_losses(self, batch: Batch) -> dict[str, torch.Tensor]:
        """Terms `adversarial`, `classification`, `gradient_penalty`, `r1` (eq. 5); those with weight 0 are absent."""
        with torch.no_grad():
            there, _ = self.initial_flows(batch)
            fake = self.generator(batch.images, self._wanted_condition(batch), there).to(batch.images.dtype)
        return attribute_discriminator_losses(
            self.discriminator, self.settings, real=batch.images, labels=batch.labels, fake=fake, batch=batch
        )

    def generator_losses(self, batch: Batch) -> dict[str, torch.Tensor]:
        """Eq. 6: terms `adversarial`, `classification`, `identity`, `reconstruction`; those with weight 0 are absent.

        Every `cycle_every`-th step reconstructs the input. With `perceptual` its term is `reconstruction` (eq. 4) at
        first and `perceptual` (the variants' eq. 5) later on.
        """
        settings = self.settings
        real = batch.images
        condition = self._wanted_condition(batch)
        there, back = self.initial_flows(batch)
        fake, mask = self.generator.with_mask(real, condition, there)
        source, classes = self.discriminator(fake)
        terms = self.mask_losses(mask)
        if settings.lambda_adversarial:
            loss = losses.adversarial_generator(settings.adversarial, source)
            terms["adversarial"] = settings.lambda_adversarial * loss
        if settings.lambda_cls:
            terms["classification"] = settings.lambda_cls * self.classification_loss(fake, classes, batch)
        if settings.lambda_id:
            terms["identity"] = settings.lambda_id * losses.identity(fake, real)

        by_features = settings.perceptual and batch.step >= round(settings.perceptual_after * batch.total_steps)
        weight = settings.lambda_perceptual if by_features else settings.lambda_rec
        if not weight or batch.step % settings.cycle_every:
            return terms
        cycled = self.generator(fake, self.domain_condition(batch.labels, batch.domains), back)
        if by_features:
            with torch.no_grad():
                wanted = self.discriminator.first_features(real, PERCEPTUAL_LAYERS)
            found = self.discriminator.first_features(cycled, PERCEPTUAL_LAYERS)
            terms["perceptual"] = weight * losses.perceptual(wanted, found)
        else:
            terms["reconstruction"] = weight * losses.reconstruction(real, cycled)
        return terms

    def _wanted_condition(self, batch: Batch) -> torch.Tensor:
        """The wanted classes in each face's own data set, as published, or in a drawn one (`cross_data_sets`)."""
        domains = batch.target_domains if self.settings.cross_data_sets else batch.domains
        return self.domain_condition(batch.targets, domains)
