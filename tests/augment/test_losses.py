from __future__ import annotations

import math

import pytest
import torch

from augment.networks import losses


def test_wasserstein_terms() -> None:
    real, fake = torch.tensor([[1.0, 3.0]]), torch.tensor([[0.5, -1.5]])
    assert losses.wasserstein_discriminator(real, fake).item() == pytest.approx(-0.5 - 2.0)
    assert losses.wasserstein_generator(fake).item() == pytest.approx(0.5)


def test_non_saturating_terms_are_cross_entropies_of_the_sigmoid() -> None:
    real, fake = torch.tensor([0.7, -0.2]), torch.tensor([1.5, 0.0])

    def sigmoid(value: float) -> float:
        return 1 / (1 + math.exp(-value))

    expected = -(math.log(sigmoid(0.7)) + math.log(sigmoid(-0.2))) / 2
    expected -= (math.log(1 - sigmoid(1.5)) + math.log(1 - sigmoid(0.0))) / 2
    assert losses.non_saturating_discriminator(real, fake).item() == pytest.approx(expected, rel=1e-5)
    expected = -(math.log(sigmoid(1.5)) + math.log(sigmoid(0.0))) / 2
    assert losses.non_saturating_generator(fake).item() == pytest.approx(expected, rel=1e-5)


def test_losses_are_float32_on_half_scores() -> None:
    real, fake = torch.randn(4).half(), torch.randn(4).half()
    assert losses.wasserstein_discriminator(real, fake).dtype == torch.float32
    assert losses.non_saturating_generator(fake).dtype == torch.float32
    assert losses.softmax_classes(torch.randn(2, 3).bfloat16(), torch.tensor([0, 1])).dtype == torch.float32


def test_gradient_penalty_of_a_linear_critic() -> None:
    # D(x) = <w, x>: the gradient is w at every point, so the penalty is (|w| - 1)^2 over all values of a sample.
    weights = torch.arange(1.0, 13.0).view(3, 2, 2)
    real, fake = torch.randn(5, 3, 2, 2), torch.randn(5, 3, 2, 2)
    value = losses.gradient_penalty(lambda x: (x * weights).sum((1, 2, 3)), real, fake)
    expected = (math.sqrt(sum(k * k for k in range(1, 13))) - 1) ** 2
    assert value.item() == pytest.approx(expected, rel=1e-5)
    # Negative control: the norm over channels only (a known mistake) is another number.
    per_pixel = (weights.norm(dim=0) - 1).square().mean().item()
    assert abs(per_pixel - expected) > 1


def test_gradient_penalty_draws_one_point_per_sample() -> None:
    # D(x) = |x|^2 / 2: the gradient is the point itself, which shows where on its line each sample was taken.
    real, fake = torch.ones(6, 1, 2, 2), torch.zeros(6, 1, 2, 2)
    seen: list[torch.Tensor] = []

    def critic(x: torch.Tensor) -> torch.Tensor:
        seen.append(x.detach())
        return x.square().flatten(1).sum(1) / 2

    value = losses.gradient_penalty(critic, real, fake, torch.Generator().manual_seed(3))
    weight = torch.rand(6, generator=torch.Generator().manual_seed(3))
    assert value.item() == pytest.approx((2 * weight - 1).square().mean().item(), rel=1e-5)
    point = seen[0]
    assert len({round(v, 6) for v in point[:, 0, 0, 0].tolist()}) == 6  # not one weight for the batch
    assert torch.equal(point, point[:, :, :1, :1].expand_as(point))  # nor one for each pixel


def test_gradient_penalty_teaches_the_critic_and_nothing_else() -> None:
    critic = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.LeakyReLU(0.01), torch.nn.Conv2d(4, 1, 1))
    real = torch.randn(2, 1, 6, 6, requires_grad=True)
    fake = torch.randn(2, 1, 6, 6, requires_grad=True)
    losses.gradient_penalty(critic, real, fake).backward()
    assert real.grad is None and fake.grad is None
    assert critic[0].weight.grad is not None and critic[0].weight.grad.abs().sum() > 0


def test_penalties_leave_autocast() -> None:
    critic = torch.nn.Conv2d(1, 1, 3)
    kinds: list[torch.dtype] = []

    def watched(x: torch.Tensor) -> torch.Tensor:
        scores = critic(x)
        kinds.append(scores.dtype)
        return scores

    x = torch.randn(2, 1, 6, 6)
    with torch.autocast("cpu", torch.bfloat16):
        assert critic(x).dtype == torch.bfloat16
        losses.gradient_penalty(watched, x.bfloat16(), x.bfloat16())
        losses.r1_penalty(watched, x)
    assert kinds == [torch.float32, torch.float32]


def test_r1_by_hand() -> None:
    # D(x) = |x|^2 / 2, so R1 = E|x|^2 / 2: half of (1 + 4) and of (9 + 16), averaged.
    real = torch.tensor([[[[1.0, 2.0]]], [[[3.0, 4.0]]]])
    value = losses.r1_penalty(lambda x: x.square().flatten(1).sum(1) / 2, real)
    assert value.item() == pytest.approx((5 + 25) / 2 / 2)


def test_binary_attributes_sum_over_attributes_and_average_over_faces() -> None:
    scores = torch.tensor([[0.3, -1.0, 2.0], [0.0, 0.5, -0.5]])
    attributes = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    by_hand = 0.0
    for row in range(2):
        for column in range(3):
            p = 1 / (1 + math.exp(-scores[row, column].item()))
            by_hand -= math.log(p) if attributes[row, column] else math.log(1 - p)
    value = losses.binary_attributes(scores, attributes).item()
    assert value == pytest.approx(by_hand / 2, rel=1e-5)
    # Negative control: the library's default mean also divides by the number of attributes.
    default = torch.nn.functional.binary_cross_entropy_with_logits(scores, attributes).item()
    assert default == pytest.approx(value / 3, rel=1e-5)


def test_softmax_classes_by_hand() -> None:
    scores, labels = torch.tensor([[1.0, 2.0, 0.5], [0.0, 0.0, 3.0]]), torch.tensor([1, 0])
    first = -math.log(math.exp(2.0) / (math.exp(1.0) + math.exp(2.0) + math.exp(0.5)))
    second = -math.log(1 / (2 + math.exp(3.0)))
    assert losses.softmax_classes(scores, labels).item() == pytest.approx((first + second) / 2, rel=1e-5)


def test_l1_losses() -> None:
    a, b = torch.tensor([[1.0, -1.0]]), torch.tensor([[0.5, 1.0]])
    assert losses.identity(a, b).item() == pytest.approx(1.25)
    assert losses.reconstruction(a, b).item() == pytest.approx(1.25)


def test_parsing_by_hand_and_at_rest() -> None:
    source = torch.tensor([[[[0.0]], [[math.log(3.0)]]]])  # P(x) = (1/4, 3/4) at the only pixel
    translated = torch.tensor([[[[math.log(2.0)]], [[0.0]]]], requires_grad=True)  # P(x') = (2/3, 1/3)
    value = losses.parsing(source, translated)
    assert value.item() == pytest.approx(-(0.25 * math.log(2 / 3) + 0.75 * math.log(1 / 3)), rel=1e-5)
    value.backward()
    assert translated.grad is not None and translated.grad.abs().sum() > 0.1
    # At rest where the maps agree; hard labels would still push.
    same = source.clone().requires_grad_()
    losses.parsing(source, same).backward()
    assert same.grad is not None and same.grad.abs().max() < 1e-6
    hard = source.clone().requires_grad_()
    torch.nn.functional.cross_entropy(hard, source.argmax(1)).backward()
    assert hard.grad is not None and hard.grad.abs().max() > 0.1


def test_parsing_target_gets_no_gradient() -> None:
    source = torch.randn(1, 4, 3, 3, requires_grad=True)
    translated = torch.randn(1, 4, 3, 3, requires_grad=True)
    losses.parsing(source, translated).backward()
    assert source.grad is None and translated.grad is not None


def test_bidirectional_sums_its_three_terms() -> None:
    image, cycled = torch.zeros(1, 1, 2, 2), torch.full((1, 1, 2, 2), 0.5)
    side, cycled_side = torch.zeros(1, 1, 2, 2), torch.full((1, 1, 2, 2), -0.25)
    latent, translated = torch.zeros(1, 8, 1, 1), torch.full((1, 8, 1, 1), 2.0)
    full = losses.bidirectional(image, cycled, side, cycled_side, latent, translated)
    assert full.item() == pytest.approx(0.5 + 0.25 + 2.0)
    assert losses.bidirectional(image, cycled, None, None, latent, translated).item() == pytest.approx(2.5)
