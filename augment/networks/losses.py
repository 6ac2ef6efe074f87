"""Losses that translators share: one short function each, with the equation that it is.

"LSSL" is Bozorgtabar et al. 2019 (arXiv 1905.00286), "StarGAN" Choi et al. 2018 (arXiv 1711.09020). All losses are
scalars, computed in float32 whatever the networks' precision; weights (lambda) are the callers'. Source scores are a
discriminator's raw outputs of any shape [N, ...], high for real.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

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


def least_squares_discriminator(real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
    """(E[(D(real) - 1)^2] + E[D(fake)^2]) / 2: CycleGAN's in place of its eq. 1 (Zhu et al. 2017, section 4).

    Halved as there, "which slows down the rate at which D learns, relative to G".
    """
    return ((real.float() - 1).square().mean() + fake.float().square().mean()) / 2


def least_squares_generator(fake: torch.Tensor) -> torch.Tensor:
    """E[(D(G(x)) - 1)^2]: CycleGAN's, section 4; not halved."""
    return (fake.float() - 1).square().mean()


def local_adversarial(scores: torch.Tensor, *, real: bool) -> torch.Tensor:
    """Soft-max cross-entropy over the local patches of SimGAN's discriminator (Shrivastava et al. 2017, section 2.2).

    A patch has two scores, refined (0) and real (1). D: real pictures with `real=True`, refined ones with `real=False`
    (eq. 2); R: refined ones with `real=True` (eq. 3). The paper sums over patches; the mean, here as in
    `self_regularization`, keeps the balance of the two at any size.

    Args:
        scores: Logits [N, 2, h, w].
        real: What the patches shall be taken for.
    """
    wanted = torch.full_like(scores[:, 0], int(real), dtype=torch.int64)
    return F.cross_entropy(scores.float(), wanted)


def self_regularization(refined: torch.Tensor, simulated: torch.Tensor) -> torch.Tensor:
    """Mean |R(x) - x|: the second term of SimGAN's eq. 4, with the identity for its feature map psi."""
    return F.l1_loss(refined.float(), simulated.float())


def perceptual(source_features: Sequence[torch.Tensor], cycled_features: Sequence[torch.Tensor]) -> torch.Tensor:
    """Sum over layers l of mean |D_l(x) - D_l(G(G(x, c), c'))|: eq. 5 of StarGAN's variants (Chang and Wang).

    The text's sums stand inside the norm, where layers of different shapes can't be added up; their released code adds
    the layers' means, and so it is read here.

    Args:
        source_features: D_l(x), one tensor a layer, of any shapes; no gradient flows into them.
        cycled_features: D_l of the reconstruction, of the same shapes.
    """
    pairs = zip(source_features, cycled_features, strict=True)
    return torch.stack([F.l1_loss(cycled.float(), source.detach().float()) for source, cycled in pairs]).sum()


def matching_aware_discriminator(real: torch.Tensor, mismatched: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
    """D(real, y) against the mean of D(real, wrong y) and D(fake, y), logistic (Reed et al. 2016; IcGAN's code).

    With real faces of wrong classes in the place of fakes, this is `non_saturating_discriminator`.
    """
    others = (F.softplus(mismatched.float()).mean() + F.softplus(fake.float()).mean()) / 2
    return F.softplus(-real.float()).mean() + others


def squared_error(predicted: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Mean squared difference: eq. 14 of the conditional DCGAN, ||z - E_z||^2 and ||y - E_y||^2 of IcGAN (section 3.1).

    The papers sum over pixels or entries; the mean, with which their code is at one, keeps a weight at any size.
    """
    return F.mse_loss(predicted.float(), wanted.float())


def non_saturating_encoder(real: torch.Tensor) -> torch.Tensor:
    """E[softplus(D(x, E(x)))]: maximize log(1 - D(x, E(x))), the encoder's side of BiGAN's game with labels swapped.

    Args:
        real: D's scores of real faces with what the encoder made of them.
    """
    return F.softplus(real.float()).mean()


def wasserstein_encoder(real: torch.Tensor) -> torch.Tensor:
    """E[D(x, E(x))]: the encoder's side of BiGAN's game with a Wasserstein critic."""
    return real.float().mean()


def extrinsic_factor_weight(epoch: float, alpha: float, rho: float, phi: float) -> float:
    """min(alpha e^(rho t), phi), t in epochs: gamma, the weight of BiCoGAN's extrinsic factor loss (Jaiswal et al.)."""
    return min(alpha * math.exp(min(rho * epoch, 700.0)), phi)  # e^710 is beyond a float
