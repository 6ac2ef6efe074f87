from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from augment.networks.dcgan import (
    BatchNorm,
    DcganDiscriminator,
    DcganEncoder,
    DcganGenerator,
    DcganTrunk,
    draw_latent,
    initialize,
)
from augment.networks.layers import UnsuitableSizeError, one_hot


def seeded(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


def count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


# The published networks


def test_published_generator() -> None:
    """DCGAN's figure 1, at its 1024 features next to z, 64 px and colour."""
    with torch.device("meta"):
        network = DcganGenerator(latent_size=100, channels=3, size=64, width=128)
    widths = [1024, 512, 256, 128]
    expected = 100 * 1024 * 4 * 4 + sum(2 * features for features in widths)
    expected += 25 * (1024 * 512 + 512 * 256 + 256 * 128 + 128 * 3) + 3
    assert count(network) == expected == 18_855_043


def test_published_generator_shapes() -> None:
    """As above, at a sixteenth of the width, which changes no edge."""
    network = DcganGenerator(latent_size=100, channels=3, size=64, width=8)
    edges: list[tuple[int, ...]] = []
    for convolution in network.convolutions:
        convolution.register_forward_hook(lambda _, given, made: edges.append((*given[0].shape[1:], *made.shape[1:])))
    pictures = network(seeded(2, 100))
    assert pictures.shape == (2, 3, 64, 64) and pictures.abs().max() <= 1
    assert edges == [(64, 4, 4, 32, 8, 8), (32, 8, 8, 16, 16, 16), (16, 16, 16, 8, 32, 32), (8, 32, 32, 3, 64, 64)]


@pytest.mark.parametrize("kernel", [4, 5])
def test_published_discriminator(kernel: int) -> None:
    trunk = DcganTrunk(channels=3, size=64, width=64, kernel=kernel, records=False)  # type: ignore[arg-type]
    network = DcganDiscriminator(trunk)
    widths = [64, 128, 256, 512]
    expected = kernel**2 * (3 * 64 + 64 * 128 + 128 * 256 + 256 * 512) + 64  # a bias where there is no batch norm
    expected += 2 * sum(widths[1:]) + 512 * 4 * 4 + 1
    assert count(network) == expected
    assert network(seeded(2, 3, 64, 64)).shape == (2, 1)
    assert not list(network.buffers())


@pytest.mark.parametrize("kernel", [4, 5])
@pytest.mark.parametrize("size", [32, 48, 64, 96, 128])
def test_every_multiple_of_16_from_32_on(size: int, kernel: int) -> None:
    generator = DcganGenerator(latent_size=8, channels=1, size=size, width=4, kernel=kernel)  # type: ignore[arg-type]
    pictures = generator(seeded(2, 8))
    assert pictures.shape == (2, 1, size, size)
    trunk = DcganTrunk(channels=1, size=size, width=4, kernel=kernel)  # type: ignore[arg-type]
    assert trunk(pictures).shape == (2, trunk.features) == (2, 32 * (size // 16) ** 2)


@pytest.mark.parametrize("size", [16, 40, 50])
def test_other_sizes_are_refused(size: int) -> None:
    for build in (
        lambda: DcganGenerator(latent_size=8, channels=1, size=size),
        lambda: DcganTrunk(channels=1, size=size),
    ):
        with pytest.raises(UnsuitableSizeError, match="multiples of 16 from 32 on"):
            build()


def test_weights_are_drawn_as_published() -> None:
    torch.manual_seed(0)
    generator = DcganGenerator(
        latent_size=100, channels=1, size=32, width=16, condition_size=3, conditioning="batch_norm"
    )
    encoder = DcganEncoder(DcganTrunk(channels=1, size=32, width=16), 100, hidden=64)
    for network in (generator, encoder):
        for name, parameter in network.named_parameters():
            if parameter.ndim >= 2 and "class_" not in name:
                assert parameter.std().item() == pytest.approx(0.02, rel=0.15), name
                assert abs(parameter.mean().item()) < 4 * 0.02 / math.sqrt(parameter.numel()), name
            elif "norm" in name and name.endswith("weight"):
                assert abs(parameter.mean().item() - 1) < 0.02 and 0 < parameter.std().item() < 0.04, name
            else:
                assert not parameter.any(), name


def test_initialize_leaves_gains_of_classes_alike() -> None:
    norm = BatchNorm(3, condition_size=2)
    initialize(norm)
    features = seeded(4, 3, 5, 5)
    first, second = (norm(features, one_hot(torch.full((4,), label), 2)) for label in (0, 1))
    assert torch.equal(first, second) and not torch.equal(norm.weight, torch.ones(3))


def test_noise() -> None:
    uniform, normal = (
        draw_latent(2000, 10, noise, torch.Generator().manual_seed(0))  # type: ignore[arg-type]
        for noise in ("uniform", "normal")
    )
    assert uniform.shape == normal.shape == (2000, 10) and uniform.dtype == torch.float32
    assert -1 <= uniform.min() < -0.99 and 0.99 < uniform.max() < 1
    assert uniform.std().item() == pytest.approx(1 / math.sqrt(3), rel=0.02)
    assert normal.std().item() == pytest.approx(1, rel=0.02) and normal.max() > 3
    assert torch.equal(normal, draw_latent(2000, 10, "normal", torch.Generator().manual_seed(0)))


# Batch normalization


@pytest.mark.parametrize("shape", [(6, 3), (6, 3, 4, 5)])
def test_batch_norm_is_torchs(shape: tuple[int, ...]) -> None:
    ours = BatchNorm(3)
    theirs = torch.nn.BatchNorm1d(3) if len(shape) == 2 else torch.nn.BatchNorm2d(3)
    initialize(ours)
    theirs.load_state_dict({**ours.state_dict(), "num_batches_tracked": torch.tensor(0)})
    for _ in range(3):
        features = 3 * seeded(*shape) + 2
        assert torch.allclose(ours(features), theirs(features), atol=1e-6)
    ours.eval(), theirs.eval()
    assert torch.allclose(ours(features), theirs(features), atol=1e-6)
    assert set(ours.state_dict()) == {"weight", "bias", "running_mean", "running_var"}


def test_a_frozen_batch_norm_records_nothing() -> None:
    """torch's own would: a generator that stands still while D steps would drift in its statistics."""
    ours, theirs = BatchNorm(3), torch.nn.BatchNorm2d(3)
    features = seeded(4, 3, 5, 5) + 1
    for norm in (ours, theirs):
        norm.requires_grad_(False)(features)
    assert not ours.running_mean.any()  # type: ignore[union-attr]
    assert theirs.running_mean is not None and theirs.running_mean.any()
    assert torch.allclose(ours(features).mean((0, 2, 3)), torch.zeros(3), atol=1e-5)  # the batch's own, as before
    ours.requires_grad_(True)(features)
    assert torch.allclose(ours.running_mean, 0.1 * features.mean((0, 2, 3)), atol=1e-6)  # type: ignore[arg-type]


def test_gain_and_bias_by_class() -> None:
    norm = BatchNorm(3, condition_size=4)
    with torch.no_grad():
        for parameter in norm.parameters():
            parameter.copy_(seeded(*parameter.shape))
    features, labels = seeded(5, 3, 4, 4), torch.tensor([2, 0, 3, 2, 1])
    plain = F.batch_norm(features, None, None, norm.weight, norm.bias, True)
    assert norm.class_gain is not None and norm.class_bias is not None
    expected = plain * (1 + norm.class_gain[labels, :, None, None]) + norm.class_bias[labels, :, None, None]
    assert torch.allclose(norm(features, one_hot(labels, 4)), expected, atol=1e-5)


# Where the condition enters


def planes(features: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
    return torch.cat([features, condition[:, :, None, None].expand(-1, -1, *features.shape[2:])], 1)


def test_a_generator_conditioned_at_every_layer_by_hand() -> None:
    network = DcganGenerator(
        latent_size=5, channels=1, size=16, width=4, halvings=2, condition_size=3, conditioning="every"
    )
    latent, y = seeded(2, 5), one_hot(torch.tensor([0, 2]), 3)
    hidden = (torch.cat([latent, y], 1) @ network.project.weight.T).view(2, 8, 4, 4)
    for norm, convolution in zip(network.norms, network.convolutions, strict=True):
        hidden = planes(F.relu(norm(hidden)), y)
        hidden = F.conv_transpose2d(hidden, convolution.weight, convolution.bias, 2, 2, 1)
    assert torch.allclose(network(latent, y), hidden.tanh(), atol=1e-6)


def test_a_discriminator_that_hears_at_every_layer_by_hand() -> None:
    trunk = DcganTrunk(channels=1, size=16, width=4, halvings=2, condition_size=3, conditioning="every", records=False)
    network = DcganDiscriminator(trunk)
    pictures, y = seeded(4, 1, 16, 16), one_hot(torch.tensor([0, 2, 1, 1]), 3)
    first, second = trunk.convolutions
    hidden = F.leaky_relu(F.conv2d(planes(pictures, y), first.weight, first.bias, 2, 2), 0.2)
    hidden = F.leaky_relu(trunk.norms[1](F.conv2d(planes(hidden, y), second.weight, None, 2, 2)), 0.2)
    flat = torch.cat([hidden.flatten(1), y], 1)
    assert torch.allclose(network(pictures, y), network.source(flat), atol=1e-6)


def test_a_projected_condition_by_hand() -> None:
    trunk = DcganTrunk(channels=1, size=16, width=4, halvings=2)
    network = DcganDiscriminator(trunk, projected=3)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(seeded(*parameter.shape))
    pictures, labels = seeded(4, 1, 16, 16), torch.tensor([0, 2, 1, 1])
    features = trunk(pictures)
    assert network.projection is not None
    of_class = features @ network.projection.weight[labels].T + network.projection.bias[labels]
    expected = features @ network.source.weight.T + network.source.bias + of_class.diagonal()[:, None]
    assert torch.allclose(network(pictures, one_hot(labels, 3)), expected, rtol=1e-4)
    assert torch.equal(network.judge(features, one_hot(labels, 3)), network(pictures, one_hot(labels, 3)))


@pytest.mark.parametrize(("conditioning", "joins"), [("input", [0]), ("first", [1]), ("every", [0, 1, 2, 3, 4])])
def test_where_a_trunk_hears(conditioning: str, joins: list[int]) -> None:
    trunk = DcganTrunk(channels=1, size=32, width=4, condition_size=3, conditioning=conditioning)  # type: ignore[arg-type]
    assert [level for level, join in enumerate(trunk.joins) if join] == joins
    entering = [convolution.in_channels for convolution in trunk.convolutions]
    plain = [1, 4, 8, 16]
    assert [found - features for found, features in zip(entering, plain, strict=True)] == [
        3 * (level in joins) for level in range(4)
    ]
    assert trunk.features == 32 * 2 * 2 + 3 * (4 in joins)


@pytest.mark.parametrize("conditioning", ["input", "every", "batch_norm"])
def test_the_class_reaches_the_pictures(conditioning: str) -> None:
    torch.manual_seed(0)
    network = DcganGenerator(latent_size=5, channels=1, size=32, width=4, condition_size=3, conditioning=conditioning)  # type: ignore[arg-type]
    latent = seeded(4, 5)
    one, other = (network(latent, one_hot(torch.tensor(labels), 3)) for labels in ([0, 1, 2, 0], [1, 1, 2, 0]))
    assert (one[0] - other[0]).abs().max() > 1e-4


def test_without_a_condition() -> None:
    generator = DcganGenerator(latent_size=5, channels=1, size=32, width=4)
    trunk = DcganTrunk(channels=1, size=32, width=4)
    pictures = generator(seeded(3, 5))
    y = one_hot(torch.tensor([0, 1, 2]), 3)
    assert torch.equal(trunk(pictures), trunk(pictures, y))  # a class that nobody asked for is not heard


# Encoder


def test_encoder_with_a_hidden_layer_by_hand() -> None:
    encoder = DcganEncoder(DcganTrunk(channels=1, size=32, width=4, slope=0.0, first_norm=True), 7, hidden=6)
    pictures = seeded(4, 1, 32, 32)
    assert encoder.hidden is not None and encoder.hidden_norm is not None
    features = encoder.trunk(pictures)
    assert (features >= 0).all()  # a ReLU
    hidden = F.relu(
        F.batch_norm(features @ encoder.hidden.weight.T, None, None, encoder.hidden_norm.weight, None, True)
    )
    assert torch.allclose(encoder(pictures), encoder.output(hidden), atol=1e-6)
    assert sum(isinstance(module, BatchNorm) for module in encoder.modules()) == 5


def test_evaluation_looks_at_each_sample_alone() -> None:
    generator = DcganGenerator(latent_size=5, channels=1, size=32, width=4, condition_size=3, conditioning="batch_norm")
    encoder = DcganEncoder(DcganTrunk(channels=1, size=32, width=4), 5)
    latent, y = seeded(4, 5), one_hot(torch.tensor([0, 1, 2, 0]), 3)
    encoder(generator(latent, y))
    generator.eval(), encoder.eval()
    together = encoder(generator(latent, y))
    alone = torch.cat([encoder(generator(latent[row : row + 1], y[row : row + 1])) for row in range(4)])
    assert torch.allclose(together, alone, atol=1e-5)
