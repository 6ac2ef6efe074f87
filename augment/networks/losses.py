"""Losses that translators share: one short function each, with the equation that it is.

"LSSL" is Bozorgtabar et al. 2019 (arXiv 1905.00286), "StarGAN" Choi et al. 2018 (arXiv 1711.09020). All losses are
scalars, computed in float32 whatever the networks' precision; weights (lambda) are the callers'. Source scores are a
discriminator's raw outputs of any shape [N, ...], high for real.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch.nn import functional as F

from augment.core import row_draws
from augment.networks.layers import one_hot

Adversarial = Literal["wasserstein", "non_saturating", "least_squares"]
Classification = Literal["binary", "softmax"]
Critic = Callable[[torch.Tensor], torch.Tensor]


def wasserstein_discriminator(real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
    """E[D(fake)] - E[D(real)]: LSSL eq. 1 (StarGAN eq. 8), negated because it is minimized."""
    return fake.float().mean() - real.float().mean()


def wasserstein_generator(fake: torch.Tensor) -> torch.Tensor:
    """-E[D(fake)]: the part of LSSL eq. 1 (StarGAN eq. 8) that depends on the generator."""
    return -fake.float().mean()


def non_saturating_discriminator(real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
    """E[softplus(D(fake))] + E[softplus(-D(real))]: logistic loss (Goodfellow et al. 2014, eq. 1) on raw scores."""
    return F.softplus(fake.float()).mean() + F.softplus(-real.float()).mean()


def non_saturating_generator(fake: torch.Tensor) -> torch.Tensor:
    """E[softplus(-D(fake))]: maximize log D(G(x)) rather than minimize log(1 - D(G(x))) (Goodfellow et al. 2014)."""
    return F.softplus(-fake.float()).mean()


def least_squares_discriminator(real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
    """(E[(D(real) - 1)^2] + E[D(fake)^2]) / 2: CycleGAN's in place of its eq. 1 (Zhu et al. 2017, section 4).

    Halved as there, "which slows down the rate at which D learns, relative to G".
    """
    return ((real.float() - 1).square().mean() + fake.float().square().mean()) / 2


def least_squares_generator(fake: torch.Tensor) -> torch.Tensor:
    """E[(D(G(x)) - 1)^2]: CycleGAN's, section 4; not halved."""
    return (fake.float() - 1).square().mean()


def non_saturating_encoder(real: torch.Tensor) -> torch.Tensor:
    """E[softplus(D(x, E(x)))]: maximize log(1 - D(x, E(x))), the encoder's side of BiGAN's game with labels swapped.

    Args:
        real: D's scores of real faces with their encodings.
    """
    return F.softplus(real.float()).mean()


def wasserstein_encoder(real: torch.Tensor) -> torch.Tensor:
    """E[D(x, E(x))]: the encoder's side of BiGAN's game with a Wasserstein critic."""
    return real.float().mean()


_DISCRIMINATOR_LOSSES: dict[Adversarial, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "wasserstein": wasserstein_discriminator,
    "non_saturating": non_saturating_discriminator,
    "least_squares": least_squares_discriminator,
}
_GENERATOR_LOSSES: dict[Adversarial, Callable[[torch.Tensor], torch.Tensor]] = {
    "wasserstein": wasserstein_generator,
    "non_saturating": non_saturating_generator,
    "least_squares": least_squares_generator,
}


def adversarial_discriminator(kind: Adversarial, real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
    """The discriminator's adversarial loss of this kind, from its scores of real and fake faces."""
    return _DISCRIMINATOR_LOSSES[kind](real, fake)


def adversarial_generator(kind: Adversarial, fake: torch.Tensor) -> torch.Tensor:
    """The generator's adversarial loss of this kind, from the discriminator's scores of fake faces."""
    return _GENERATOR_LOSSES[kind](fake)


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
        generator: A CPU generator, the source of the random points.
    """
    weight = row_draws.rand(len(real), generator=generator).to(real.device).view(-1, *[1] * (real.ndim - 1))
    point = (weight * real.detach().float() + (1 - weight) * fake.detach().float()).requires_grad_()
    return (_input_gradient(critic, point).flatten(1).norm(dim=1) - 1).square().mean()


def r1_penalty(critic: Critic, real: torch.Tensor) -> torch.Tensor:
    """E[||grad D(x)||_2^2] / 2 on real samples: R1 with gamma = 1 (Mescheder et al. 2018, eq. 9), in float32.

    For its weight where it is applied lazily see `lazy_weight`.
    """
    return _input_gradient(critic, real.detach().float().requires_grad_()).square().flatten(1).sum(1).mean() / 2


def lazy_weight(weight: float, step: int, every: int) -> float:
    """Weight at a step of a regularizer that is applied every `every`-th step: `weight * every` then, else 0.

    Lazy regularization: Karras et al. 2020 (StyleGAN2, arXiv 1912.04958), section 3.1.
    """
    return weight * every if step % every == 0 else 0.0


def class_aware_critic(
    discriminator: Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor | None]], labels: torch.Tensor | None
) -> Critic:
    """A critic for penalties: a discriminator's source score, and the score of the true class added to it.

    Args:
        discriminator: Pictures to source scores [N, ...] and class scores [N, K]; None = it has no class scores.
        labels: int64 [N], the true classes; None = the source score alone.
    """

    def critic(pictures: torch.Tensor) -> torch.Tensor:
        source, attributes = discriminator(pictures)
        if labels is None or attributes is None:
            return source
        return source.flatten(1).sum(1) + attributes.gather(1, labels[:, None])[:, 0]

    return critic


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


def classification(kind: Classification, scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """`binary_attributes` with one attribute per class, or `softmax_classes`.

    Args:
        kind: Which.
        scores: Logits [N, K].
        labels: int64 [N].
    """
    if kind == "binary":
        return binary_attributes(scores, one_hot(labels, scores.shape[1]))
    return softmax_classes(scores, labels)


def identity(translated: torch.Tensor, source: torch.Tensor) -> torch.Tensor:
    """Mean |x' - x|: LSSL eq. 4, here and below with the l1 norm as a mean, so that lambda holds at any size."""
    return F.l1_loss(translated.float(), source.float())


def mask_smoothness(mask: torch.Tensor) -> torch.Tensor:
    """Total variation, squared, of a mask [N, 1, H, W]: the first term of GANimation's eq. 3, as a mean over pixels."""
    mask = mask.float()
    return mask.diff(dim=3).square().mean() + mask.diff(dim=2).square().mean()


def parsing(source_scores: torch.Tensor, translated_scores: torch.Tensor) -> torch.Tensor:
    """Pixel-wise soft-max loss between P(x) and P(x'): LSSL eq. 5.

    The target is P(x) as probabilities, not as hard labels: the gradient is then 0 where the two maps agree, while
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
    side_input: torch.Tensor | None,
    cycled_side_input: torch.Tensor | None,
    latent: torch.Tensor,
    translated_latent: torch.Tensor,
) -> torch.Tensor:
    """|x - x_hat| + |s - s_hat| + |Enc(x, s) - Enc(x', s')|, each a mean: LSSL eq. 6.

    The term on s is absent where there is no side input.
    """
    total = F.l1_loss(cycled_image.float(), image.float()) + F.l1_loss(translated_latent.float(), latent.float())
    if side_input is not None and cycled_side_input is not None:
        total = total + F.l1_loss(cycled_side_input.float(), side_input.float())
    return total


def local_adversarial(scores: torch.Tensor, *, real: bool) -> torch.Tensor:
    """Soft-max cross-entropy over the local patches of SimGAN's discriminator (Shrivastava et al. 2017, section 2.2).

    A patch has two scores, refined (0) and real (1). D: real pictures with `real=True`, refined ones with `real=False`
    (eq. 2); R: refined ones with `real=True` (eq. 3). The paper sums over patches; the mean, here as in
    `self_regularization`, keeps the balance of the two at any size.

    Args:
        scores: Logits [N, 2, h, w].
        real: The wanted answer.
    """
    wanted = torch.full_like(scores[:, 0], int(real), dtype=torch.int64)
    return F.cross_entropy(scores.float(), wanted)


def self_regularization(refined: torch.Tensor, simulated: torch.Tensor) -> torch.Tensor:
    """Mean |R(x) - x|: the second term of SimGAN's eq. 4, with the identity for its feature map psi."""
    return F.l1_loss(refined.float(), simulated.float())


def perceptual(source_features: Sequence[torch.Tensor], cycled_features: Sequence[torch.Tensor]) -> torch.Tensor:
    """Sum over layers l of mean |D_l(x) - D_l(G(G(x, c), c'))|: eq. 5 of StarGAN's variants (Chang and Wang).

    The text's sums stand inside the norm, where layers of different shapes can't be added up; their released code adds
    the layers' means, and so it is computed here.

    Args:
        source_features: D_l(x), one tensor per layer, of any shapes; no gradient flows into them.
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

    The papers sum over pixels or entries; the mean, as in their code, keeps a weight at any size.
    """
    return F.mse_loss(predicted.float(), wanted.float())


def extrinsic_factor_weight(epoch: float, alpha: float, rho: float, phi: float) -> float:
    """min(alpha e^(rho t), phi), t in epochs: gamma, the weight of BiCoGAN's extrinsic factor loss (Jaiswal et al.)."""
    return min(alpha * math.exp(min(rho * epoch, 700.0)), phi)  # e^710 is beyond a float
