"""BiCoGAN on faces (Sherman and Mamia, "Generating Realistic Facial Expressions with Bidirectional Conditional GAN").

One method in six forms, in the text's order: GAN, conditional GAN (Mirza and Osindero 2014), BiGAN (Donahue et
al. 2016), BiCoGAN (Jaiswal et al. 2018, arXiv 1711.07461), and BiCoGAN as a Wasserstein GAN with clipped weights
(Arjovsky et al. 2017) or a gradient penalty (Gulrajani et al. 2017). G makes a face from a latent z and a class c; what
makes a translator of it is the encoder, which finds the z of a given face.

The text names no layers. They are DCGAN's (`augment.networks.dcgan`); the encoder has the sizes of the released one,
but with LeakyReLUs between, as that one is linear save for its normalization. The released code also has an encoder of
z alone and no extrinsic factor loss, multiplies z with an embedding of c, and its discriminator adds up what it has of
x, z and c in one linear layer, so that it can't see whether they belong together. In all of that the text is followed:
E gives (z, c), G is conditioned on [z c], and D has a hidden layer where x, z and c meet.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from typing import ClassVar, Literal

import torch
from pydantic import Field, model_validator
from torch import nn
from torch.nn import functional as F

from augment.faces.tensors import FaceTensors, to_bytes_range, to_unit_range
from augment.networks import losses
from augment.networks.dcgan import DcganEncoder, DcganGenerator, DcganTrunk, draw_latent, initialize
from augment.networks.layers import one_hot
from augment.translators.base import (
    DISCRIMINATOR,
    AdversarialTranslator,
    Batch,
    CannotTranslateError,
    TranslatorSettings,
    Weight,
)


class BicoganSettings(TranslatorSettings):
    """Settings of the BiCoGAN family; the defaults are the published BiCoGAN.

    The text gives neither the extrinsic factor loss's alpha, rho and phi nor the size of z: 100 is the released code's,
    the weight's three numbers are ours (from 1 to 10 within 23 epochs).
    """

    conditional: bool = Field(default=True, description="G, D and, where there is one, E are conditioned on classes")
    bidirectional: bool = Field(default=True, description="an encoder is trained beside G, and D sees (x, z)")
    adversarial: Literal["minimax", "wasserstein", "gradient_penalty"] = Field(
        default="minimax",
        description="minimax: logistic; wasserstein: with clipped weights; gradient_penalty: Wasserstein with a "
        "penalty on lines between real and made (x, z, c)",
    )
    alpha: Weight = Field(
        default=1.0,
        description="the extrinsic factor loss's weight min(alpha e^(rho t), phi) at t = 0; 0: no such loss",
    )
    rho: Weight = Field(
        default=0.1,
        description="its rate of increase an epoch, t: a pass of E's own batches; where D steps several times for one "
        "of E (training.discriminator_steps, the two critic forms), D makes as many passes in one t",
    )
    phi: Weight = Field(default=10.0, description="its greatest value")
    clip: float = Field(default=0.01, gt=0, description="wasserstein: the greatest absolute value of D's weights")
    lambda_gp: Weight = Field(default=10.0, description="gradient_penalty: its weight")

    width: int = Field(default=64, ge=4, le=512, description="features of the convolution next to the picture")
    discriminator_width: int | None = Field(default=None, ge=4, le=512, description="null: as width")
    halvings: int = Field(default=4, ge=1, le=6, description="how often the networks halve the picture")
    kernel: Literal[4, 5] = Field(default=5, description="edge of all convolutions")
    latent_size: int = Field(default=100, ge=1, le=4096, description="length of z")
    joint_features: int = Field(default=512, ge=1, le=8192, description="D's hidden layer where x, z and c meet")
    latent: Literal["encoded", "noise"] | None = Field(
        default=None,
        description="z of a translation: E_z of the source, or noise; null: encoded where there is an encoder",
    )

    # Not in the paper
    judged_class: Literal["encoded", "label"] = Field(
        default="encoded",
        description="the class that D sees beside a real face: E_c(x), or its label (as in the released code), which "
        "spares D the easy way of telling probabilities from certainty; label is not in the paper",
    )
    generator_conditioning: Literal["input", "batch_norm"] = Field(
        default="input",
        description="c enters G beside z, or through every batch normalization too; the latter is not in the paper",
    )
    discriminator_weights: Literal["dcgan", "he"] = Field(
        default="dcgan",
        description="D's first weights: N(0, 0.02), or of a deviation that keeps the features' size (He et al. 2015): "
        "without normalization a narrow D else begins next to blind; he is not in the paper",
    )
    lambda_cls: Weight = Field(
        default=0.0,
        description="cross-entropy of a class head on D's convolutions, with real faces' labels for D and with wanted "
        "classes for G (Odena et al. 2017); 0 = no head; not in the paper",
    )
    lambda_translated: Weight = Field(
        default=0.0,
        description="the class head's cross-entropy of the translation G(E_z(x), c) with the wanted c, for G and E; "
        "not in the paper",
    )
    lambda_rec: Weight = Field(
        default=0.0, description="L1 between x and G(E_z(x), c) with the face's own c; not in the paper"
    )
    lambda_r1: Weight = Field(
        default=0.0,
        description="R1's gamma: weight of the squared gradient on real (x, z, c), of the true class's score "
        "too where there is a class head; not in the paper",
    )
    r1_every: int = Field(default=16, ge=1, description="R1 comes every so many steps, with its weight times as much")

    @model_validator(mode="after")
    def _has_what_it_uses(self) -> BicoganSettings:
        if self.latent == "encoded" and not self.bidirectional:
            raise ValueError("latent=encoded needs an encoder: set bidirectional=true, or latent=noise")
        if self.lambda_rec and not self.bidirectional:
            raise ValueError("lambda_rec needs an encoder: set bidirectional=true, or lambda_rec=0")
        if self.lambda_cls and not self.conditional:
            raise ValueError("lambda_cls needs classes: set conditional=true, or lambda_cls=0")
        if self.lambda_translated and not (self.lambda_cls and self.bidirectional):
            raise ValueError("lambda_translated needs a class head and an encoder: set lambda_cls, bidirectional=true")
        if self.judged_class == "label" and not self.conditional:
            raise ValueError("judged_class=label needs conditional=true")
        return self


class JointDiscriminator(nn.Module):
    """D(x[, z][, c]): convolutions for x, then a hidden layer that joins what they found with z and c.

    There is no normalization: a gradient penalty is a statement on single samples, and the released code has none
    either. Where there is neither z nor c the hidden layer is absent, as in DCGAN.

    Args:
        channels: Channels of the pictures.
        size: Their edge.
        joined: Length of z and c together; 0 = x alone.
        attributes: Number of classes of the class head; 0 = none, as published.
        settings: The method's settings.
    """

    def __init__(self, *, channels: int, size: int, joined: int, attributes: int, settings: BicoganSettings) -> None:
        super().__init__()
        width = settings.discriminator_width or settings.width
        self.trunk = DcganTrunk(
            channels=channels,
            size=size,
            width=width,
            halvings=settings.halvings,
            kernel=settings.kernel,
            normalized=False,
        )
        found = self.trunk.features
        self.joint = nn.Linear(found + joined, settings.joint_features) if joined else None
        # A Wasserstein critic's constant cancels out, and would never move.
        bias = settings.adversarial == "minimax"
        self.score = nn.Linear(settings.joint_features if joined else found, 1, bias=bias)
        self.attributes = nn.Linear(found, attributes) if attributes else None
        for layer in (self.joint, self.score, self.attributes):
            if layer is not None:
                initialize(layer)
        if settings.discriminator_weights == "he":
            for parameter in self.parameters():
                if parameter.ndim > 1:
                    nn.init.kaiming_normal_(parameter, a=0.2)

    def forward(self, pictures: torch.Tensor, *factors: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Judges pictures [N, C, H, W] with their factors z [N, L], c [N, K], in this order.

        Returns:
            Scores [N, 1] (high = real; no sigmoid), and the class head's logits [N, attributes] or None.
        """
        found = features = self.trunk(pictures)
        if self.joint is not None:
            joined = torch.cat([found, *(factor.to(found.dtype) for factor in factors)], dim=1)
            features = F.leaky_relu(self.joint(joined), 0.2)
        return self.score(features), None if self.attributes is None else self.attributes(found)

    def classify(self, pictures: torch.Tensor) -> torch.Tensor:
        """The class head's logits [N, attributes] of pictures alone; there must be a head."""
        assert self.attributes is not None
        return self.attributes(self.trunk(pictures))


class Bicogan(AdversarialTranslator):
    """The BiCoGAN family. `conditional` and `bidirectional` make GAN, conditional GAN, BiGAN and BiCoGAN.

    To translate is to generate: G(z, c) with the wanted class c and z = E_z(x), or z from noise where there is no
    encoder or `latent` says so; the latter has nothing of its source.

    Without classes nothing is translated: BiGAN reconstructs its source, which keeps its class, and GAN makes a face of
    no particular class, which the judge's selection has to label. `keeps_class` is True for both, so that sources come
    from the target's class; for GAN that is a matter of form, and recognition is no better than guessing.

    Args:
        num_classes: Number of classes.
        channels: 1 or 3.
        size: Edge of the pictures in pixels, a multiple of 16 (2 ** halvings) from 32 on.
        settings: The method's settings.

    Raises:
        UnsuitableSizeError: The size can't be halved so often.
    """

    name: ClassVar[str] = "bicogan"
    Settings: ClassVar[type[TranslatorSettings]] = BicoganSettings
    settings: BicoganSettings

    def __init__(self, *, num_classes: int, channels: int, size: int, settings: BicoganSettings) -> None:
        super().__init__(num_classes=num_classes, channels=channels, size=size, settings=settings)
        classes = num_classes if settings.conditional else 0
        self.generator = DcganGenerator(
            latent_size=settings.latent_size,
            channels=channels,
            size=size,
            width=settings.width,
            halvings=settings.halvings,
            kernel=settings.kernel,
            condition_size=classes,
            conditioning=settings.generator_conditioning,
        )
        self.encoder: DcganEncoder | None = None
        if settings.bidirectional:
            trunk = DcganTrunk(
                channels=channels,
                size=size,
                width=settings.width,
                halvings=settings.halvings,
                kernel=settings.kernel,
            )
            self.encoder = DcganEncoder(trunk, settings.latent_size + classes)
        joined = classes + (settings.latent_size if settings.bidirectional else 0)
        self.discriminator = JointDiscriminator(
            channels=channels,
            size=size,
            joined=joined,
            attributes=classes if settings.lambda_cls else 0,
            settings=settings,
        )

    @property
    def keeps_class(self) -> bool:
        """True for GAN and BiGAN, which are conditioned on no class."""
        return not self.settings.conditional

    def generator_parameters(self) -> Iterable[nn.Parameter]:
        """G and E, which play against D together."""
        encoder = () if self.encoder is None else self.encoder.parameters()
        return chain(self.generator.parameters(), encoder)

    def discriminator_parameters(self) -> Iterable[nn.Parameter]:
        """D."""
        return self.discriminator.parameters()

    def after_step(self, network: str) -> None:
        """Clips D's weights to -clip..clip where the form is `wasserstein` (Arjovsky et al. 2017, algorithm 1).

        Not those of a class head, which is no part of the critic.
        """
        if network == DISCRIMINATOR and self.settings.adversarial == "wasserstein":
            for name, parameter in self.discriminator.named_parameters():
                if not name.startswith("attributes."):
                    parameter.clamp_(-self.settings.clip, self.settings.clip)

    def generate(self, latent: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """G(z, c): z [N, L] and classes int64 [N] to pictures in -1..1; an unconditional G ignores the classes."""
        return self.generator(latent, self._condition(labels)).float()

    def encode(self, pictures: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """E(x): z float32 [N, L], and the logits of c [N, K] ([N, 0] where E gives no classes).

        Raises:
            CannotTranslateError: There is no encoder.
        """
        if self.encoder is None:
            raise CannotTranslateError("bicogan: this form has no encoder; set the translator's bidirectional=true")
        encoded = self.encoder(pictures).float()
        return encoded[:, : self.settings.latent_size], encoded[:, self.settings.latent_size :]

    def discriminator_losses(self, batch: Batch) -> dict[str, torch.Tensor]:
        """Terms `adversarial`, `gradient_penalty` where it is the form's, and those that are not in the paper."""
        settings = self.settings
        with torch.no_grad():
            real = self._real(batch, None if self.encoder is None else self.encode(batch.images))
            fake = self._fake(batch)
        # Without batch statistics real and made may share one pass.
        scores, attributes = self.discriminator(*(torch.cat(pair) for pair in zip(real, fake, strict=True)))
        terms = {"adversarial": losses.adversarial_discriminator(self._game, *scores.chunk(2))}
        if settings.adversarial == "gradient_penalty" and settings.lambda_gp:
            critic = losses.class_aware_critic(self._judge_packed, None)
            penalty = losses.gradient_penalty(critic, _pack(real), _pack(fake), batch.generator)
            terms["gradient_penalty"] = settings.lambda_gp * penalty
        if attributes is not None:
            loss_of_classes = losses.softmax_classes(attributes[: len(batch.labels)], batch.labels)
            terms["classification"] = settings.lambda_cls * loss_of_classes
        if weight := losses.lazy_weight(settings.lambda_r1, batch.step, settings.r1_every):
            critic = losses.class_aware_critic(self._judge_packed, batch.labels)
            terms["r1"] = weight * losses.r1_penalty(critic, _pack(real))
        return terms

    def generator_losses(self, batch: Batch) -> dict[str, torch.Tensor]:
        """Terms `adversarial` (of G), `encoder` (of E), `extrinsic_factor` (of E) and those that are not in the paper.

        G and E minimize what D maximizes, with D's labels swapped rather than its sign, as BiGAN does: against a
        discriminator that is sure, the printed objective's gradient vanishes. The extrinsic factor loss stands in the
        printed objective with a plus under min over G, E: it is a loss, and as E_c(x) of a real x has nothing of G, it
        is E's alone (Jaiswal et al.: it guides the encoder).
        """
        settings = self.settings
        scores, attributes = self.discriminator(*self._fake(batch))
        terms = {"adversarial": losses.adversarial_generator(self._game, scores)}
        if attributes is not None:
            terms["classification"] = settings.lambda_cls * losses.softmax_classes(attributes, batch.targets)
        if self.encoder is None:
            return terms
        latent, class_scores = encoded = self.encode(batch.images)
        real_loss = losses.wasserstein_encoder if self._game == "wasserstein" else losses.non_saturating_encoder
        terms["encoder"] = real_loss(self.discriminator(*self._real(batch, encoded))[0])
        if settings.conditional and settings.alpha:
            weight = losses.extrinsic_factor_weight(batch.epoch, settings.alpha, settings.rho, settings.phi)
            terms["extrinsic_factor"] = weight * losses.softmax_classes(class_scores, batch.labels)
        if settings.lambda_rec:
            decoded = self.generate(latent, batch.labels)
            terms["reconstruction"] = settings.lambda_rec * losses.identity(decoded, batch.images)
        if settings.lambda_translated:
            attributes = self.discriminator.classify(self.generate(latent, batch.targets))
            terms["translated"] = settings.lambda_translated * losses.softmax_classes(attributes, batch.targets)
        return terms

    @torch.no_grad()
    def translate(
        self, faces: FaceTensors, targets: torch.Tensor, generator: torch.Generator | None = None
    ) -> torch.Tensor:
        """Makes faces of wanted classes; `generator` gives z where it is noise (None: always the same).

        Raises:
            CannotTranslateError: The pictures have another form than those that the networks are made for.
        """
        self.check(faces)
        noise = None
        if self.settings.latent == "noise" or self.encoder is None:
            generator = torch.Generator().manual_seed(0) if generator is None else generator
            noise = draw_latent(len(faces), self.settings.latent_size, "normal", generator).to(faces.images.device)

        def make(rows: slice) -> torch.Tensor:
            latent = self.encode(to_unit_range(faces.images[rows]))[0] if noise is None else noise[rows]
            return to_bytes_range(self.generate(latent, targets[rows].to(latent.device)))

        return self.made_in_batches(len(faces), make)

    @property
    def _game(self) -> losses.Adversarial:
        """Which adversarial loss the form has."""
        return "non_saturating" if self.settings.adversarial == "minimax" else "wasserstein"

    def _condition(self, labels: torch.Tensor) -> torch.Tensor | None:
        return one_hot(labels, self.num_classes) if self.settings.conditional else None

    def _real(self, batch: Batch, encoded: tuple[torch.Tensor, torch.Tensor] | None) -> tuple[torch.Tensor, ...]:
        """What D sees of real faces, (x[, E_z(x)][, E_c(x) or the label]), with their encodings."""
        condition = self._condition(batch.labels)
        if encoded is None:
            return (batch.images,) if condition is None else (batch.images, condition)
        latent, class_scores = encoded
        if condition is None:
            return batch.images, latent
        return batch.images, latent, condition if self.settings.judged_class == "label" else class_scores.softmax(dim=1)

    def _fake(self, batch: Batch) -> tuple[torch.Tensor, ...]:
        """What D sees of made faces, (G(z, c)[, z][, c]) with z from noise and c the wanted classes."""
        count, device = len(batch.images), batch.images.device
        latent = draw_latent(count, self.settings.latent_size, "normal", batch.generator).to(device)
        made = [self.generate(latent, batch.targets)]
        if self.encoder is not None:
            made.append(latent)
        condition = self._condition(batch.targets)
        if condition is not None:
            made.append(condition)
        return tuple(made)

    def _judge_packed(self, packed: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """D of what `_pack` made, for the penalties."""
        pixels = self.channels * self.size**2
        pictures = packed[:, :pixels].view(-1, self.channels, self.size, self.size)
        return self.discriminator(pictures, packed[:, pixels:])


def _pack(seen: tuple[torch.Tensor, ...]) -> torch.Tensor:
    """(x[, z][, c]) as one tensor [N, C H W (+ L) (+ K)]: a penalty's line and gradient run through all of them."""
    return torch.cat([part.float().flatten(1) for part in seen], dim=1)
