"""DCGAN (Radford et al. 2016, arXiv 1511.06434) in blocks: generator, discriminator, encoder, what they are made of.

The papers that go through a latent share them. A condition is a vector [N, K] (one-hot classes, or anything else);
every network takes it as its last argument and does without where `condition_size` is 0.

Text and released code leave a few things open. Convolutions right before a normalization have no bias, as it would be
removed; the text says where normalization stands (everywhere but at the generator's output and the discriminator's
input), and the code's weights N(0, 0.02), gains N(1, 0.02) and biases 0 are kept.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn
from torch.nn import functional as F

from augment.core import row_draws
from augment.networks.batch_norm import batch_norm
from augment.networks.layers import check_halvings, concat_label_planes

Noise = Literal["uniform", "normal"]
GeneratorConditioning = Literal["input", "every", "batch_norm"]
TrunkConditioning = Literal["input", "first", "every"]

WEIGHT_DEVIATION = 0.02


def draw_latent(count: int, latent_size: int, noise: Noise, generator: torch.Generator | None = None) -> torch.Tensor:
    """Noise float32 [count, latent_size] on the CPU, uniform in -1..1 or standard normal.

    Args:
        count: Number of samples.
        latent_size: Length of z.
        noise: Which distribution.
        generator: A CPU generator, the source of randomness.
    """
    if noise == "uniform":
        return 2 * row_draws.rand(count, latent_size, generator=generator) - 1
    return row_draws.randn(count, latent_size, generator=generator)


class BatchNorm(nn.Module):
    """Batch normalization (Ioffe and Szegedy 2015) of [N, C] or [N, C, H, W].

    While training it normalizes by the batch, and takes the batch into its running statistics only if its own gain
    learns: a generator that is frozen while the discriminator steps stays as it is, to the last buffer.

    Args:
        features: Number of channels C.
        condition_size: Length K of a condition that adds to gain and bias (de Vries et al. 2017); 0 = none.
        records: Whether there are running statistics, used in evaluation; without, the batch's own are used always. A
            discriminator needs none: it is not used after training.
        momentum: Share of the newest batch in the running statistics.
        eps: Added to the variance.
    """

    running_mean: torch.Tensor | None
    running_var: torch.Tensor | None

    def __init__(
        self,
        features: int,
        *,
        condition_size: int = 0,
        records: bool = True,
        momentum: float = 0.1,
        eps: float = 1e-5,
    ) -> None:
        super().__init__()
        self.momentum = momentum
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(features))
        self.bias = nn.Parameter(torch.zeros(features))
        self.class_gain: nn.Parameter | None = None
        self.class_bias: nn.Parameter | None = None
        if condition_size:
            self.class_gain = nn.Parameter(torch.zeros(condition_size, features))
            self.class_bias = nn.Parameter(torch.zeros(condition_size, features))
        self.register_buffer("running_mean", torch.zeros(features) if records else None)
        self.register_buffer("running_var", torch.ones(features) if records else None)

    def forward(self, features: torch.Tensor, condition: torch.Tensor | None = None) -> torch.Tensor:
        """Normalizes over N (and H, W), then scales and shifts; without `condition_size` the condition is ignored."""
        own = self.training or self.running_mean is None
        recorded = not own or self.weight.requires_grad
        normalized = batch_norm(
            features,
            self.running_mean if recorded else None,
            self.running_var if recorded else None,
            self.weight,
            self.bias,
            own,
            self.momentum,
            self.eps,
        )
        if self.class_gain is None or self.class_bias is None or condition is None:
            return normalized
        shape = (*features.shape[:2], *[1] * (features.ndim - 2))
        gain, bias = (condition @ table for table in (self.class_gain, self.class_bias))
        return normalized * (1 + gain.view(shape)) + bias.view(shape)


def initialize(network: nn.Module) -> None:
    """Draws a network's weights as DCGAN does: N(0, 0.02), gains of batch normalization N(1, 0.02), biases 0."""
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
            nn.init.normal_(module.weight, 0.0, WEIGHT_DEVIATION)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, BatchNorm):
            nn.init.normal_(module.weight, 1.0, WEIGHT_DEVIATION)


class DcganGenerator(nn.Module):
    """z (and a condition) -> fully connected -> fractional-strided convolutions -> tanh; batch norm and ReLU between.

    Args:
        latent_size: Length of z.
        channels: Channels of the pictures.
        size: Their edge, a multiple of 2 ** halvings.
        width: Features before the last convolution; twice as many at every halving of the edge.
        halvings: Number of fractional-strided convolutions.
        kernel: Their edge: 5 in the paper's figure 1 and the TensorFlow code, 4 in the Torch code.
        condition_size: Length of the condition; 0 = none.
        conditioning: Where the condition enters: concatenated to z (`input`), to z and to the features before every
            convolution (`every`), or to z and through all batch normalizations (`batch_norm`).

    Raises:
        UnsuitableSizeError: The size can't be halved so often.
    """

    def __init__(
        self,
        *,
        latent_size: int,
        channels: int,
        size: int,
        width: int = 64,
        halvings: int = 4,
        kernel: Literal[4, 5] = 5,
        condition_size: int = 0,
        conditioning: GeneratorConditioning = "input",
    ) -> None:
        super().__init__()
        check_halvings(size, halvings, "halvings")
        self.edge = size // 2**halvings
        self.concat_planes = conditioning == "every" and condition_size > 0
        added = condition_size if self.concat_planes else 0
        in_norm = condition_size if conditioning == "batch_norm" else 0
        widths = [width * 2**level for level in reversed(range(halvings))]
        self.project = nn.Linear(latent_size + condition_size, widths[0] * self.edge**2, bias=False)
        self.norms = nn.ModuleList(BatchNorm(features, condition_size=in_norm) for features in widths)
        self.convolutions = nn.ModuleList()
        for level, inner in enumerate(widths):
            last = level == halvings - 1
            outer = channels if last else widths[level + 1]
            # The padding gives exactly twice the edge with either kernel.
            padding = (kernel - 1) // 2
            self.convolutions.append(
                nn.ConvTranspose2d(inner + added, outer, kernel, 2, padding, output_padding=kernel % 2, bias=last)
            )
        initialize(self)

    def forward(self, latent: torch.Tensor, condition: torch.Tensor | None = None) -> torch.Tensor:
        """z [N, latent_size] and condition [N, K] to pictures [N, channels, size, size] in -1..1."""
        joined = latent if condition is None else torch.cat([latent, condition.to(latent.dtype)], dim=1)
        features = self.project(joined).unflatten(1, (-1, self.edge, self.edge))
        for norm, convolution in zip(self.norms, self.convolutions, strict=True):
            features = F.relu(norm(features, condition))
            if self.concat_planes and condition is not None:
                features = concat_label_planes(features, condition)
            features = convolution(features)
        return torch.tanh(features)


class DcganTrunk(nn.Module):
    """Strided convolutions, flattened at the end: what discriminator and encoder have in common.

    Args:
        channels: Channels of the pictures.
        size: Their edge, a multiple of 2 ** halvings.
        width: Features of the first convolution; twice as many at every halving of the edge.
        halvings: Number of convolutions.
        kernel: Their edge.
        slope: Of the LeakyReLUs: 0.2 in DCGAN; 0 is a ReLU.
        first_norm: Whether the first convolution is normalized too; DCGAN's discriminator spares it.
        normalized: Whether there is batch normalization at all.
        records: See `BatchNorm`.
        condition_size: Length of the condition; 0 = none.
        conditioning: Where the condition is concatenated: to the picture (`input`), after the first convolution
            (`first`), or to the picture, after every convolution and to the output (`every`).

    Attributes:
        features: Length of what comes out.

    Raises:
        UnsuitableSizeError: The size can't be halved so often.
    """

    def __init__(
        self,
        *,
        channels: int,
        size: int,
        width: int = 64,
        halvings: int = 4,
        kernel: Literal[4, 5] = 5,
        slope: float = 0.2,
        first_norm: bool = False,
        normalized: bool = True,
        records: bool = True,
        condition_size: int = 0,
        conditioning: TrunkConditioning = "input",
    ) -> None:
        super().__init__()
        check_halvings(size, halvings, "halvings")
        self.slope = slope
        # Entry i: the condition joins what enters convolution i, the last entry: what comes out.
        self.joins = [
            condition_size > 0 and {"input": level == 0, "first": level == 1, "every": True}[conditioning]
            for level in range(halvings + 1)
        ]
        widths = [width * 2**level for level in range(halvings)]
        self.convolutions = nn.ModuleList()
        self.norms = nn.ModuleList()
        for level, (outer, inner) in enumerate(zip([channels, *widths[:-1]], widths, strict=True)):
            with_norm = normalized and (first_norm or level > 0)
            self.convolutions.append(
                nn.Conv2d(
                    outer + condition_size * self.joins[level],
                    inner,
                    kernel,
                    2,
                    (kernel - 1) // 2,
                    bias=not with_norm,
                )
            )
            self.norms.append(BatchNorm(inner, records=records) if with_norm else nn.Identity())
        self.features = widths[-1] * (size // 2**halvings) ** 2 + condition_size * self.joins[-1]
        initialize(self)

    def forward(self, pictures: torch.Tensor, condition: torch.Tensor | None = None) -> torch.Tensor:
        """Pictures [N, channels, size, size] and condition [N, K] to [N, features]."""
        features = pictures
        for level, (convolution, norm) in enumerate(zip(self.convolutions, self.norms, strict=True)):
            if self.joins[level] and condition is not None:
                features = concat_label_planes(features, condition)
            features = F.leaky_relu(norm(convolution(features)), self.slope)
        flat = features.flatten(1)
        if self.joins[-1] and condition is not None:
            flat = torch.cat([flat, condition.to(flat.dtype)], dim=1)
        return flat


class DcganDiscriminator(nn.Module):
    """A trunk and one fully connected output for real or not.

    With batch normalization its scores depend on the whole batch, so that real and fake faces go through it apart.

    Args:
        trunk: The convolutions, with the condition or without.
        projected: Length of a condition that enters by its inner product with a linear function of the features
            (Miyato and Koyama 2018); 0 = none, as published.
    """

    def __init__(self, trunk: DcganTrunk, *, projected: int = 0) -> None:
        super().__init__()
        self.trunk = trunk
        self.source = nn.Linear(trunk.features, 1)
        self.projection = nn.Linear(trunk.features, projected) if projected else None
        for head in (self.source, self.projection):
            if head is not None:
                initialize(head)

    def forward(self, pictures: torch.Tensor, condition: torch.Tensor | None = None) -> torch.Tensor:
        """Judges pictures [N, C, H, W] as pictures of a condition [N, K]: scores [N, 1], high = real; no sigmoid."""
        return self.judge(self.trunk(pictures, condition), condition)

    def judge(self, features: torch.Tensor, condition: torch.Tensor | None = None) -> torch.Tensor:
        """As `forward`, from the trunk's features, which several conditions share where the trunk has no condition."""
        scores = self.source(features)
        if self.projection is not None and condition is not None:
            scores = scores + (self.projection(features) * condition).sum(1, keepdim=True)
        return scores


class DcganEncoder(nn.Module):
    """A trunk and one fully connected output of any length, unbounded; before it a hidden layer where asked for.

    Args:
        trunk: The convolutions.
        outputs: Length of what comes out.
        hidden: Length of a fully connected layer between, batch-normalized and with the trunk's activation; 0 = none.
    """

    def __init__(self, trunk: DcganTrunk, outputs: int, *, hidden: int = 0) -> None:
        super().__init__()
        self.trunk = trunk
        self.hidden = nn.Linear(trunk.features, hidden, bias=False) if hidden else None
        self.hidden_norm = BatchNorm(hidden) if hidden else None
        self.output = nn.Linear(hidden or trunk.features, outputs)
        for layer in (self.hidden, self.hidden_norm, self.output):
            if layer is not None:
                initialize(layer)

    def forward(self, pictures: torch.Tensor, condition: torch.Tensor | None = None) -> torch.Tensor:
        """Pictures [N, C, H, W] (and condition [N, K] where the trunk takes one) to [N, outputs]."""
        features = self.trunk(pictures, condition)
        if self.hidden is not None and self.hidden_norm is not None:
            features = F.leaky_relu(self.hidden_norm(self.hidden(features)), self.trunk.slope)
        return self.output(features)
