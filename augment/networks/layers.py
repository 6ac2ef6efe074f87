"""Blocks that translators share: class-conditional normalization, up and down, residual, discriminator.

Every block of a generator is called with `(features, condition)`, so that a network is the same text whether its
classes enter by concatenation or by conditional instance normalization.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from augment.core.errors import InputError, Problem


class UnsuitableSizeError(InputError, ValueError):
    """The pictures' size is one that the networks can't halve as often as they must."""


def one_hot(labels: torch.Tensor, num_classes: int) -> torch.Tensor:
    """Class indices int64 [N] as float32 [N, num_classes]."""
    return F.one_hot(labels, num_classes).to(torch.float32)


def concat_label_planes(features: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
    """Replicates a condition [N, K] in space and concatenates it to features [N, C, H, W]: [N, C + K, H, W].

    Instance normalization right after the next convolution removes whatever is constant over space, so such planes
    act only through the border effects of zero padding (`conditioning="instance_norm"` is the remedy).
    """
    planes = condition.to(features.dtype)[:, :, None, None].expand(-1, -1, *features.shape[2:])
    return torch.cat([features, planes], dim=1)


class InstanceNorm(nn.Module):
    """Instance normalization (Ulyanov et al. 2016) with one gain and bias per channel, whatever the condition."""

    def __init__(self, features: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(features))
        self.bias = nn.Parameter(torch.zeros(features))

    def forward(self, features: torch.Tensor, condition: torch.Tensor | None = None) -> torch.Tensor:
        """Normalizes [N, C, H, W] over space; `condition` is ignored."""
        return F.instance_norm(features, weight=self.weight, bias=self.bias, eps=self.eps)


class ConditionalInstanceNorm(nn.Module):
    """Instance normalization whose gain and bias depend on the condition (Dumoulin et al. 2017).

    Gain = 1 + W_g c and bias = b + W_b c: for a one-hot c this is one gain and bias per class, and other vectors
    (several attributes at once, a data set mask) work too. W starts at zero, so that all classes start alike.

    Args:
        features: Number of channels.
        condition_size: Length K of the condition.
        eps: Added to the variance.
    """

    def __init__(self, features: int, condition_size: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        self.affine = nn.Linear(condition_size, 2 * features)
        nn.init.zeros_(self.affine.weight)
        nn.init.zeros_(self.affine.bias)

    def forward(self, features: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        """Normalizes [N, C, H, W] over space, then scales and shifts by the condition [N, K]."""
        count, channels, height, width = features.shape
        gain, bias = self.affine(condition).float().chunk(2, dim=1)
        # Batch normalization of one "sample" of N x C channels is instance normalization with an own gain and bias
        # for each sample: one fused call instead of four passes over the features.
        normalized = F.batch_norm(
            features.reshape(1, count * channels, height, width),
            None,
            None,
            (1.0 + gain).reshape(-1),
            bias.reshape(-1),
            training=True,
            eps=self.eps,
        )
        return normalized.view(count, channels, height, width)


def normalization(features: int, condition_size: int) -> InstanceNorm | ConditionalInstanceNorm:
    """Conditional instance normalization where there is a condition (`condition_size` > 0), plain otherwise."""
    return ConditionalInstanceNorm(features, condition_size) if condition_size else InstanceNorm(features)


def squash(hidden: torch.Tensor, pictures: torch.Tensor, image_skip: bool) -> torch.Tensor:
    """A generator's last step: tanh as published, or the input plus a residual, clamped to -1..1 (`image_skip`)."""
    return (pictures + hidden).clamp(-1, 1) if image_skip else torch.tanh(hidden)


def rectify(features: torch.Tensor, slope: float) -> torch.Tensor:
    """ReLU; LeakyReLU where `slope`, that of negative values, is above 0."""
    return F.leaky_relu(features, slope) if slope else F.relu(features)


class DownBlock(nn.Module):
    """Convolution -> instance normalization -> ReLU; `stride=2` with a 4x4 kernel halves the edge.

    The convolution has no bias: the normalization would remove it. The ReLU is leaky where `slope` is above 0.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        kernel: int = 4,
        stride: int = 2,
        condition_size: int = 0,
        slope: float = 0.0,
    ) -> None:
        super().__init__()
        self.slope = slope
        padding = (kernel - 1) // 2
        self.convolution = nn.Conv2d(in_features, out_features, kernel, stride, padding, bias=False)
        self.norm = normalization(out_features, condition_size)

    def forward(self, features: torch.Tensor, condition: torch.Tensor | None = None) -> torch.Tensor:
        """[N, C, H, W] to [N, out_features, H / stride, W / stride]."""
        return rectify(self.norm(self.convolution(features), condition), self.slope)


class ResidualBlock(nn.Module):
    """x + norm(conv(ReLU(norm(conv(x))))) with 3x3 convolutions (He et al. 2016, as StarGAN and LSSL use it).

    The ReLU is leaky where `slope` is above 0, and what it gives is dropped out with the probability `dropout`: where
    `noise`, in evaluation mode too.
    """

    def __init__(
        self, features: int, *, condition_size: int = 0, slope: float = 0.0, dropout: float = 0.0, noise: bool = True
    ) -> None:
        super().__init__()
        self.slope = slope
        self.dropout = dropout
        self.noise = noise
        self.first = nn.Conv2d(features, features, 3, padding=1, bias=False)
        self.first_norm = normalization(features, condition_size)
        self.second = nn.Conv2d(features, features, 3, padding=1, bias=False)
        self.second_norm = normalization(features, condition_size)

    def forward(self, features: torch.Tensor, condition: torch.Tensor | None = None) -> torch.Tensor:
        """[N, C, H, W] to the same shape."""
        hidden = rectify(self.first_norm(self.first(features), condition), self.slope)
        if self.dropout:
            hidden = F.dropout(hidden, self.dropout, training=self.training or self.noise)
        return features + self.second_norm(self.second(hidden), condition)


class TransposedUpBlock(nn.Module):
    """4x4 transposed convolution of stride 2 -> instance normalization -> ReLU, leaky where `slope` > 0 (StarGAN)."""

    def __init__(self, in_features: int, out_features: int, *, condition_size: int = 0, slope: float = 0.0) -> None:
        super().__init__()
        self.slope = slope
        self.convolution = nn.ConvTranspose2d(in_features, out_features, 4, 2, 1, bias=False)
        self.norm = normalization(out_features, condition_size)

    def forward(self, features: torch.Tensor, condition: torch.Tensor | None = None) -> torch.Tensor:
        """[N, C, H, W] to [N, out_features, 2 H, 2 W]."""
        return rectify(self.norm(self.convolution(features), condition), self.slope)


class SubPixelUpBlock(nn.Module):
    """3x3 convolution -> pixel shuffle -> instance normalization -> ReLU (LSSL; Shi et al. 2016)."""

    def __init__(self, in_features: int, out_features: int, *, condition_size: int = 0) -> None:
        super().__init__()
        # Four sub-pixels per channel are normalized together, so that each one's bias has an effect.
        self.convolution = nn.Conv2d(in_features, 4 * out_features, 3, padding=1)
        self.norm = normalization(out_features, condition_size)

    def forward(self, features: torch.Tensor, condition: torch.Tensor | None = None) -> torch.Tensor:
        """[N, C, H, W] to [N, out_features, 2 H, 2 W]."""
        return F.relu(self.norm(F.pixel_shuffle(self.convolution(features), 2), condition))


class PatchDiscriminator(nn.Module):
    """PatchGAN (Isola et al. 2017) with a source head and an attribute head, as in StarGAN and LSSL.

    4x4 convolutions of stride 2, each with a LeakyReLU of slope 0.01 and twice the features of the one before; no
    normalization, as a gradient penalty is a statement on single samples.

    Args:
        channels: Channels of what is judged (image, and side input where there is one).
        size: Edge in pixels, divisible by 2 ** downs.
        num_classes: Number of attributes.
        width: Features of the first convolution.
        downs: Number of convolutions.
    """

    def __init__(self, channels: int, size: int, num_classes: int, *, width: int, downs: int) -> None:
        super().__init__()
        # One patch is enough to judge: StarGAN's variants halve 64 px six times.
        check_halvings(size, downs, "discriminator_downs", least=1)
        layers: list[nn.Module] = []
        features = channels
        for level in range(downs):
            layers += [nn.Conv2d(features, width * 2**level, 4, 2, 1), nn.LeakyReLU(0.01)]
            features = width * 2**level
        self.body = nn.Sequential(*layers)
        # 3x3 as in StarGAN, and in the code of LSSL and of StarGAN's variants. The variants' text has a kernel as large
        # as what is left of the picture: a pixel at their 64 px, of which 3x3 with padding sees no more.
        self.source = nn.Conv2d(features, 1, 3, padding=1, bias=False)
        # StarGAN's head. LSSL's is fully connected (figure 5, in its code with a bias), which is this and a number for
        # each attribute.
        self.attributes = nn.Conv2d(features, num_classes, size // 2**downs, bias=False)

    def forward(self, pictures: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Judges pictures [N, channels, size, size].

        Returns:
            Source scores [N, 1, h, w], one per patch (high = real; no sigmoid), and attribute scores [N, num_classes]
            (logits).
        """
        features = self.body(pictures)
        return self.source(features), self.attributes(features).flatten(1)

    def first_features(self, pictures: torch.Tensor, count: int) -> list[torch.Tensor]:
        """What the first `count` convolutions give, each after its LeakyReLU; all of them where there are fewer."""
        found = []
        for layer in self.body[: 2 * count]:
            pictures = layer(pictures)
            if isinstance(layer, nn.LeakyReLU):
                found.append(pictures)
        return found


def discriminator_downs(size: int) -> int:
    """How often a discriminator halves pictures of this size: six times as published, fewer where they are small.

    At least 2 x 2 patches are left, and every halving is exact: 128 and 256 px give 6, 64 px 5, 48 and 32 px 4.
    """
    downs = 0
    while downs < 6 and size % 2 ** (downs + 1) == 0 and size // 2 ** (downs + 1) >= 2:
        downs += 1
    return downs


def check_halvings(size: int, downs: int, key: str, *, least: int = 2) -> None:
    """Refuses a picture size that can't be halved `downs` times down to at least 2 x 2.

    Args:
        size: Edge in pixels.
        downs: Number of halvings.
        key: The setting that says `downs`, for the error.
        least: The smallest edge that may be left; instance normalization needs 2.

    Raises:
        UnsuitableSizeError: Says which sizes can, and which `downs` would do for this one.
    """
    step = 2**downs
    if size % step == 0 and size // step >= least:
        return
    lower, upper = size // step * step, (size // step + 1) * step
    fitting = [str(edge) for edge in (lower, upper) if edge >= least * step] or [str(least * step)]
    possible = max((n for n in range(1, 9) if size % 2**n == 0 and size // 2**n >= least), default=0)
    remedy = f"{key} <= {possible}" if possible else "an even size"
    raise UnsuitableSizeError(
        Problem(
            f"{key} = {downs}",
            f"pictures of {size} px can't be halved {downs} times to {least} px or more",
            f"sizes that can are the multiples of {step} from {least * step} on, near by {' and '.join(fitting)}; "
            f"or keep {size} px with {remedy}",
        )
    )
