"""Losses that translators share: one short function each, with the equation that it is.

"LSSL" is Bozorgtabar et al. 2019 (arXiv 1905.00286), "StarGAN" Choi et al. 2018 (arXiv 1711.09020). All losses are
scalars, computed in float32 whatever the networks' precision; weights (lambda) are the callers'. Source scores are a
discriminator's raw outputs of any shape [N, ...], high for real.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.nn import functional as F

Critic = Callable[[torch.Tensor], torch.Tensor]


def wasserstein_discriminator(real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
    """E[D(fake)] - E[D(real)]: LSSL eq. 1 (StarGAN eq. 8), negated because it is minimized."""
    return fake.float().mean() - real.float().mean()


def wasserstein_generator(fake: torch.Tensor) -> torch.Tensor:
    """-E[D(fake)]: the part of LSSL eq. 1 (StarGAN eq. 8) that the generator moves."""
    return -fake.float().mean()


def non_saturating_discriminator(real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
    """E[softplus(D(fake))] + E[softplus(-D(real))]: logistic loss (Goodfellow et al. 2014, eq. 1) on raw scores."""
    return F.softplus(fake.float()).mean() + F.softplus(-real.float()).mean()


def non_saturating_generator(fake: torch.Tensor) -> torch.Tensor:
    """E[softplus(-D(fake))]: maximize log D(G(x)) rather than minimize log(1 - D(G(x))) (Goodfellow et al. 2014)."""
    return F.softplus(-fake.float()).mean()


def gradient_penalty(
    critic: Critic, real: torch.Tensor, fake: torch.Tensor, generator: torch.Generator | None = None
) -> torch.Tensor:
    """E[(||grad D(x_hat)||_2 - 1)^2] on lines between real and fake: L_gp of LSSL eq. 1 (Gulrajani et al. 2017).

    Each sample has its own point on its line, and the norm is taken over all of a sample's values. Where D scores
    patches, the gradient is that of their sum, as in the released code of StarGAN and LSSL. Runs in float32 outside
    autocast: the double backward of half precision overflows.

    Args:
        critic: [N, C, H, W] to source scores [N, ...].
        real: [N, C, H, W].
        fake: [N, C, H, W]; no gradient flows into it.
        generator: A CPU generator, the source of chance.
    """
    weight = torch.rand(len(real), generator=generator).to(real.device).view(-1, *[1] * (real.ndim - 1))
    point = (weight * real.detach().float() + (1 - weight) * fake.detach().float()).requires_grad_()
    return (_input_gradient(critic, point).flatten(1).norm(dim=1) - 1).square().mean()


def r1_penalty(critic: Critic, real: torch.Tensor) -> torch.Tensor:
    """E[||grad D(x)||_2^2] / 2 on real samples: R1 with gamma = 1 (Mescheder et al. 2018, eq. 9), in float32.

    Applied lazily (Karras et al. 2020), every k-th step, its weight is multiplied by k by the caller.
    """
    return _input_gradient(critic, real.detach().float().requires_grad_()).square().flatten(1).sum(1).mean() / 2


def _input_gradient(critic: Critic, point: torch.Tensor) -> torch.Tensor:
    with torch.enable_grad(), torch.autocast(point.device.type, enabled=False):
        return torch.autograd.grad(critic(point).sum(), point, create_graph=True)[0]


def binary_attributes(scores: torch.Tensor, attributes: torch.Tensor) -> torch.Tensor:
    """Binary cross-entropies summed over attributes, mean over the batch: LSSL eq. 2 (real) and 3 (fake).

    Args:
        scores: Logits [N, K].
        attributes: 0 or 1, [N, K].
    """
    return F.binary_cross_entropy_with_logits(scores.float(), attributes.float(), reduction="none").sum(1).mean()


def softmax_classes(scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """-log D_cls(c | x), for classes that exclude each other: StarGAN eq. 2 (real) and 3 (fake).

    Args:
        scores: Logits [N, K].
        labels: int64 [N].
    """
    return F.cross_entropy(scores.float(), labels)


def identity(translated: torch.Tensor, source: torch.Tensor) -> torch.Tensor:
    """Mean |x' - x|: LSSL eq. 4, here and below with the l1 norm as a mean, so that lambda holds at any size."""
    return F.l1_loss(translated.float(), source.float())


def parsing(source_scores: torch.Tensor, translated_scores: torch.Tensor) -> torch.Tensor:
    """Pixel-wise soft-max loss between P(x) and P(x'): LSSL eq. 5.

    The target is P(x) as probabilities, not as hard labels: the loss is then at rest where the two maps agree, while
    hard labels would still push every border pixel of x' towards a certainty that x itself does not show.

    Args:
        source_scores: P(x), logits [N, K, H, W]; no gradient flows into it.
        translated_scores: P(x'), logits [N, K, H, W].
    """
    return F.cross_entropy(translated_scores.float(), source_scores.detach().float().softmax(1))


def reconstruction(source: torch.Tensor, cycled: torch.Tensor) -> torch.Tensor:
    """Mean |x - G(G(x, c), c')|: StarGAN eq. 4 (eq. 3 of the StarGAN variants)."""
    return F.l1_loss(cycled.float(), source.float())


def bidirectional(
    image: torch.Tensor,
    cycled_image: torch.Tensor,
    side: torch.Tensor | None,
    cycled_side: torch.Tensor | None,
    latent: torch.Tensor,
    translated_latent: torch.Tensor,
) -> torch.Tensor:
    """|x - x_hat| + |s - s_hat| + |Enc(x, s) - Enc(x', s')|, each a mean: LSSL eq. 6.

    The term on s is absent where there is no side input.
    """
    total = F.l1_loss(cycled_image.float(), image.float()) + F.l1_loss(translated_latent.float(), latent.float())
    if side is not None and cycled_side is not None:
        total = total + F.l1_loss(cycled_side.float(), side.float())
    return total
