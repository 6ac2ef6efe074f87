from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from gan_faces import batch_of, random_faces, step_once

from augment.core.errors import InputError
from augment.faces.tensors import to_unit_range
from augment.networks import losses
from augment.translators import create_translator
from augment.translators.base import Batch
from augment.translators.icgan import Icgan, IcganSettings

pytestmark = pytest.mark.slow

SIZE = 32
TINY = {"width": 4, "encoder_width": 4, "latent_size": 6, "label_hidden": 8}


def tiny(**settings: Any) -> Icgan:
    translator = create_translator("icgan", num_classes=3, channels=1, size=SIZE, settings={**TINY, **settings})
    assert isinstance(translator, Icgan)
    return translator.train()


def batch_in(translator: Icgan, phase: str, *, count: int = 6) -> Batch:
    """A batch of one phase; as the loop does it, what does not learn in it is in evaluation mode."""
    moves = {moving.name: moving.trains for moving in translator.phases()}[phase]
    assert moves is not None
    for name, child in translator.named_children():
        child.train(name in moves)
    return replace(batch_of(translator, random_faces(count, size=SIZE)), phase=phase)


def logistic(scores: torch.Tensor, real: bool) -> float:
    """The mean cross-entropy of a sigmoid's output."""
    said = torch.sigmoid(scores.double())
    return -(said if real else 1 - said).log().mean().item()


# The architecture


def test_published_parameter_counts() -> None:
    """64 px, colour, the 18 attributes of the authors' CelebA. No convolution before a normalization has a bias."""
    with torch.device("meta"):
        network = Icgan(num_classes=18, channels=3, size=64, settings=IcganSettings())
    generator = 118 * 512 * 16 + 16 * (512 * 256 + 256 * 128 + 128 * 64 + 64 * 3) + 3 + 2 * (512 + 256 + 128 + 64)
    discriminator = 16 * (3 * 64 + (64 + 18) * 128 + 128 * 256 + 256 * 512) + 64 + 2 * (128 + 256 + 512)
    discriminator += 512 * 16 + 1
    trunk = 25 * (3 * 32 + 32 * 64 + 64 * 128 + 128 * 256) + 2 * (32 + 64 + 128 + 256)
    latent_encoder = trunk + 4096 * 4096 + 2 * 4096 + 4096 * 100 + 100
    label_encoder = trunk + 4096 * 512 + 2 * 512 + 512 * 18 + 18
    for part, expected in (
        ("generator", generator),
        ("discriminator", discriminator),
        ("latent_encoder", latent_encoder),
        ("label_encoder", label_encoder),
    ):
        assert sum(p.numel() for p in getattr(network, part).parameters()) == expected, part
    claimed = sum(p.numel() for p in network.generator_parameters())
    assert claimed == generator + latent_encoder + label_encoder


def test_published_layer_shapes() -> None:
    """As above, at a sixteenth of the width, which changes no edge: y joins z, and D after its first convolution."""
    network = Icgan(num_classes=18, channels=3, size=64, settings=IcganSettings(width=4, encoder_width=4))
    y = torch.eye(18)[:2]
    pictures = network.generator(torch.zeros(2, 100), y)
    assert pictures.shape == (2, 3, 64, 64)
    assert network.generator.project.in_features == 118
    assert [layer.in_channels for layer in network.generator.convolutions] == [32, 16, 8, 4]
    assert [layer.in_channels for layer in network.discriminator.trunk.convolutions] == [3, 4 + 18, 8, 16]
    assert {layer.kernel_size for layer in network.discriminator.trunk.convolutions} == {(4, 4)}
    assert {layer.kernel_size for layer in network.latent_encoder.trunk.convolutions} == {(5, 5)}
    assert network.discriminator(pictures, y).shape == (2, 1)
    assert network.latent_encoder(pictures).shape == (2, 100) and network.label_encoder(pictures).shape == (2, 18)
    assert len([module for module in network.latent_encoder.modules() if "BatchNorm" in type(module).__name__]) == 5


def test_defaults_are_the_published_values() -> None:
    settings = IcganSettings()
    assert (settings.width, settings.halvings, settings.kernel, settings.latent_size) == (64, 4, 4, 100)
    assert (settings.generator_conditioning, settings.discriminator_conditioning, settings.noise) == (
        "input",
        "first",
        "normal",
    )
    assert settings.wrong_labels and settings.encoder_share == pytest.approx(0.375)
    assert settings.lambda_r1 == settings.lambda_image == 0


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [32, 48, 64, 96])
def test_sizes_and_channels(size: int, channels: int) -> None:
    translator = create_translator("icgan", num_classes=3, channels=channels, size=size, settings=TINY)
    faces = random_faces(2, size=size, channels=channels)
    translated = translator.translate(faces, torch.tensor([1, 2]))
    assert translated.shape == faces.images.shape and translated.dtype == torch.uint8


def test_impossible_size_names_sizes_that_can() -> None:
    with pytest.raises(InputError, match="multiples of 16 from 32 on, near by 32 and 48"):
        create_translator("icgan", num_classes=3, channels=1, size=44)
    Icgan.check_size(48, IcganSettings())


# The phases and their losses


def test_the_phases() -> None:
    first, second = tiny().phases()
    assert (first.name, first.share, first.trains) == ("adversarial", 0.625, ("generator", "discriminator"))
    assert (second.name, second.share, second.trains) == ("encoders", 0.375, ("latent_encoder", "label_encoder"))


def test_the_discriminator_sees_fakes_and_wrong_classes_at_half_each() -> None:
    translator = tiny()
    batch = batch_in(translator, "adversarial")
    chance = torch.Generator().manual_seed(batch.step)
    y = torch.eye(3)[batch.targets]
    fake = translator.generator(torch.randn(6, 6, generator=chance), y)
    wrong = (batch.labels + torch.randint(1, 3, (6,), generator=chance)) % 3
    assert (wrong != batch.labels).all() and len(set(((wrong - batch.labels) % 3).tolist())) == 2
    right, mismatched = (translator.discriminator(batch.images, torch.eye(3)[of]) for of in (batch.labels, wrong))
    fakes = translator.discriminator(fake, y)
    terms = translator.discriminator_losses(batch)
    assert set(terms) == {"adversarial"}
    expected = logistic(right, True) + 0.5 * logistic(mismatched, False) + 0.5 * logistic(fakes, False)
    assert terms["adversarial"].item() == pytest.approx(expected, rel=1e-4)
    plain = tiny(wrong_labels=False)
    terms = plain.discriminator_losses(batch_in(plain, "adversarial"))
    assert terms["adversarial"].item() == pytest.approx(logistic(right, True) + logistic(fakes, False), rel=1e-4)
    terms = translator.generator_losses(batch_in(translator, "adversarial"))
    assert set(terms) == {"adversarial"}
    assert terms["adversarial"].item() == pytest.approx(logistic(fakes, True), rel=1e-4)


def test_the_encoders_terms_equal_the_formulas() -> None:
    translator = tiny(lambda_image=0.5)
    batch = batch_in(translator, "encoders")
    x, own = batch.images, torch.eye(3)[batch.labels]
    latent = torch.randn(6, 6, generator=torch.Generator().manual_seed(batch.step))
    generated = translator.generator(latent, torch.eye(3)[batch.targets])
    back = translator.generator(translator.latent_encoder(x), own)
    terms = translator.generator_losses(batch)
    expected = {
        "latent": (latent - translator.latent_encoder(generated)).square().mean(),
        "label": (own - translator.label_encoder(x)).square().mean(),
        "image": 0.5 * (x - back).square().mean(),
    }
    assert set(terms) == set(expected)
    for name, value in expected.items():
        assert terms[name].item() == pytest.approx(value.item(), rel=1e-4), name
    plain = tiny()
    assert set(plain.generator_losses(batch_in(plain, "encoders"))) == {"latent", "label"}
    assert plain.discriminator_losses(batch_in(plain, "encoders")) == {}


def test_losses_by_hand() -> None:
    """softplus(-log 3) = log(4/3), softplus(0) = log 2, softplus(log 3) = log 4."""
    certain, unsure = torch.full((2, 1), math.log(3)), torch.zeros(2, 1)
    found = losses.matching_aware_discriminator(certain, unsure, certain)
    assert found.item() == pytest.approx(math.log(4 / 3) + (math.log(2) + math.log(4)) / 2, rel=1e-5)
    assert losses.matching_aware_discriminator(certain, unsure, unsure).item() == pytest.approx(
        losses.non_saturating_discriminator(certain, unsure).item(), rel=1e-6
    )
    error = losses.squared_error(torch.tensor([[1.0, 2.0], [0.0, -1.0]]), torch.tensor([[0.0, 4.0], [0.0, 1.0]]))
    assert error.item() == pytest.approx((1 + 4 + 0 + 4) / 4)


def test_each_encoder_learns_from_its_own_term() -> None:
    """E_z sees generated faces only, E_y real ones only; neither G nor D has a gradient."""
    translator = tiny()
    translator.generator.requires_grad_(False)
    translator.discriminator.requires_grad_(False)
    for term, mine, other in (
        ("latent", translator.latent_encoder, translator.label_encoder),
        ("label", translator.label_encoder, translator.latent_encoder),
    ):
        translator.zero_grad()
        translator.generator_losses(batch_in(translator, "encoders"))[term].backward()
        assert all(parameter.grad is not None for parameter in mine.parameters())
        assert all(parameter.grad is None for parameter in other.parameters())
        assert all(parameter.grad is None for parameter in translator.generator.parameters())


def test_a_step_moves_its_own_network_only() -> None:
    """Weights and statistics: D's step leaves G's batch normalizations too."""
    translator = tiny()
    for part in ("discriminator", "generator"):
        before = {name: value.clone() for name, value in translator.state_dict().items()}
        step_once(translator, batch_in(translator, "adversarial"), part)
        now = translator.state_dict()
        assert {name.partition(".")[0] for name in before if not torch.equal(now[name], before[name])} == {part}


# Editing


def test_translate_keeps_z_and_replaces_y() -> None:
    translator = tiny()
    faces = random_faces(5, size=SIZE)
    targets = torch.tensor([1, 2, 0, 0, 1])
    translated, rebuilt = translator.translate(faces, targets), translator.reconstruct(faces)
    translator.eval()
    pictures = to_unit_range(faces.images)
    with torch.no_grad():
        latent = translator.latent_encoder(pictures)
        wanted = translator.generator(latent, torch.eye(3)[targets])
        understood = translator.generator(latent, translator.label_encoder(pictures))
    for found, expected in ((translated, wanted), (rebuilt, understood)):
        assert torch.equal(found, ((expected + 1) * 127.5).round().to(torch.uint8))


def test_from_noise() -> None:
    translator = tiny(latent="noise")
    faces = random_faces(4, size=SIZE)
    one, two = (translator.translate(faces, faces.labels, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(one, two)
    assert torch.equal(one, translator.sample(faces.labels, torch.Generator().manual_seed(3)))
