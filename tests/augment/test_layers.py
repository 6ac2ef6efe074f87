from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from augment.core.errors import InputError
from augment.networks.layers import (
    ConditionalInstanceNorm,
    DownBlock,
    InstanceNorm,
    PatchDiscriminator,
    ResidualBlock,
    SubPixelUpBlock,
    TransposedUpBlock,
    UnsuitableSizeError,
    check_halvings,
    concat_label_planes,
    discriminator_downs,
    one_hot,
)


def randomize(module: torch.nn.Module) -> None:
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, generator=torch.Generator().manual_seed(parameter.numel()))


def test_conditional_instance_norm_is_instance_norm_with_a_gain_and_bias_per_class() -> None:
    norm = ConditionalInstanceNorm(3, 4)
    randomize(norm)
    features = torch.randn(4, 3, 5, 6) * 3 + 1
    labels = torch.tensor([2, 0, 3, 2])
    result = norm(features, one_hot(labels, 4))
    plain = F.instance_norm(features)
    affine = norm.affine.weight[:, labels].T + norm.affine.bias
    expected = plain * (1 + affine[:, :3, None, None]) + affine[:, 3:, None, None]
    assert torch.allclose(result, expected, atol=1e-5)


def test_conditional_instance_norm_starts_the_same_for_all_classes_and_can_learn_to_differ() -> None:
    norm = ConditionalInstanceNorm(2, 3)
    features = torch.randn(1, 2, 4, 4)
    first, second = (norm(features, one_hot(torch.tensor([label]), 3)) for label in (0, 1))
    assert torch.equal(first, second)
    assert torch.allclose(first, F.instance_norm(features), atol=1e-5)
    (first * torch.randn(1, 2, 4, 4)).sum().backward()
    gradient = norm.affine.weight.grad
    assert gradient is not None and gradient[:, 0].abs().sum() > 0 and (gradient[:, 1:] == 0).all()


def test_conditional_instance_norm_treats_each_sample_alone() -> None:
    norm = ConditionalInstanceNorm(3, 4)
    randomize(norm)
    features, condition = torch.randn(5, 3, 4, 4), one_hot(torch.tensor([0, 1, 2, 3, 0]), 4)
    together = norm(features, condition)
    alone = torch.cat([norm(features[i : i + 1], condition[i : i + 1]) for i in range(5)])
    assert torch.allclose(together, alone, atol=1e-5)


def test_label_planes_vanish_in_instance_norm_but_for_the_border() -> None:
    """The measured fact behind `conditioning="instance_norm"`."""
    block = DownBlock(1 + 3, 8, kernel=7, stride=1)
    image = torch.randn(1, 1, 32, 32)
    out = [block(concat_label_planes(image, one_hot(torch.tensor([k]), 3))) for k in (0, 1)]
    with torch.no_grad():
        raw = [block.convolution(concat_label_planes(image, one_hot(torch.tensor([k]), 3))) for k in (0, 1)]
    difference = raw[0] - raw[1]
    inside = difference[:, :, 3:-3, 3:-3]
    assert (inside - inside.mean((2, 3), keepdim=True)).abs().max() < 1e-5  # constant over space, away from the border
    assert (out[0] - out[1]).abs().max() > 0  # the border


def test_instance_norm_has_two_parameters_a_channel() -> None:
    norm = InstanceNorm(7)
    assert sum(p.numel() for p in norm.parameters()) == 14
    features = torch.randn(2, 7, 5, 5)
    assert torch.allclose(norm(features), F.instance_norm(features), atol=1e-6)


@pytest.mark.parametrize("condition_size", [0, 3])
def test_block_shapes(condition_size: int) -> None:
    features = torch.randn(2, 8, 12, 12)
    condition = one_hot(torch.tensor([0, 2]), 3)
    assert DownBlock(8, 16, condition_size=condition_size)(features, condition).shape == (2, 16, 6, 6)
    wide = DownBlock(8, 16, kernel=7, stride=1, condition_size=condition_size)
    assert wide(features, condition).shape == (2, 16, 12, 12)
    assert ResidualBlock(8, condition_size=condition_size)(features, condition).shape == (2, 8, 12, 12)
    assert TransposedUpBlock(8, 4, condition_size=condition_size)(features, condition).shape == (2, 4, 24, 24)
    assert SubPixelUpBlock(8, 4, condition_size=condition_size)(features, condition).shape == (2, 4, 24, 24)


def test_residual_block_with_zero_gain_is_the_identity() -> None:
    block = ResidualBlock(4)
    torch.nn.init.zeros_(block.second_norm.weight)
    features = torch.randn(1, 4, 5, 5)
    assert torch.equal(block(features), features)


def test_published_discriminator_at_128() -> None:
    network = PatchDiscriminator(3, 128, 5, width=64, downs=6)
    source, attributes = network(torch.randn(1, 3, 128, 128))
    assert source.shape == (1, 1, 2, 2) and attributes.shape == (1, 5)
    widths = [3, 64, 128, 256, 512, 1024, 2048]
    expected = sum(16 * a * b + b for a, b in pairwise(widths))
    expected += 2048 * 9 + 2048 * 5 * 2 * 2
    assert sum(p.numel() for p in network.parameters()) == expected == 44_762_048


def test_discriminator_judges_each_sample_alone() -> None:
    network = PatchDiscriminator(1, 32, 3, width=4, downs=4)
    pictures = torch.randn(3, 1, 32, 32)
    together = network(pictures)[0]
    alone = torch.cat([network(pictures[i : i + 1])[0] for i in range(3)])
    assert torch.allclose(together, alone, atol=1e-5)


def test_discriminator_downs_at_known_sizes() -> None:
    assert {s: discriminator_downs(s) for s in (32, 40, 48, 64, 96, 128, 256)} == {
        32: 4,
        40: 3,
        48: 4,
        64: 5,
        96: 5,
        128: 6,
        256: 6,
    }


@given(st.integers(8, 400), st.integers(1, 7))
def test_sizes_are_taken_or_refused_with_sizes_that_work(size: int, downs: int) -> None:
    if size % 2**downs == 0 and size // 2**downs >= 2:
        check_halvings(size, downs, "downs")
        return
    with pytest.raises(InputError, match="can't be halved") as caught:
        check_halvings(size, downs, "downs")
    assert isinstance(caught.value, UnsuitableSizeError) and isinstance(caught.value, ValueError)
    text = str(caught.value)
    nearby = text.split("near by ")[1].split(";")[0]
    for word in nearby.split(" and "):
        check_halvings(int(word), downs, "downs")
    if "downs <= " in text:
        check_halvings(size, int(text.split("downs <= ")[1].rstrip(") ")), "downs")
