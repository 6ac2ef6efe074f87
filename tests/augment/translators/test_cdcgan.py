from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from gan_faces import batch_of, copy_of, random_faces, step_once

from augment.core.errors import InputError
from augment.faces.tensors import to_unit_range
from augment.training.samples import translate_to_all
from augment.translators import create_translator
from augment.translators.base import Batch, CannotTranslateError, Translator
from augment.translators.cdcgan_encoder import Cdcgan, CdcganSettings

pytestmark = pytest.mark.slow

SIZE = 32
TINY = {"width": 4, "latent_size": 6}
ADDED = {"generator_conditioning": "batch_norm", "discriminator_conditioning": "projection", "lambda_r1": 1.0}


def tiny(**settings: Any) -> Cdcgan:
    translator = create_translator("cdcgan", num_classes=3, channels=1, size=SIZE, settings={**TINY, **settings})
    assert isinstance(translator, Cdcgan)
    return translator.train()


def lively(**settings: Any) -> Cdcgan:
    """With weights so large that z, faces and classes are seen in what comes out; fresh ones give all but grey."""
    translator = tiny(**settings)
    with torch.no_grad():
        for parameter in translator.parameters():
            if parameter.ndim >= 2:
                parameter.mul_(10)
    return translator


def batch_in(translator: Cdcgan, phase: str, *, step: int = 0) -> Batch:
    """A batch of one phase; as the loop does it, what does not learn in it is in evaluation mode."""
    moves = {moving.name: moving.trains for moving in translator.phases()}[phase]
    assert moves is not None
    for name, child in translator.named_children():
        child.train(name in moves)
    return replace(batch_of(translator, random_faces(6, size=SIZE), step=step), phase=phase)


def changed(module: torch.nn.Module, before: dict[str, torch.Tensor]) -> set[str]:
    """The child modules of which anything changed, weights or statistics."""
    now = module.state_dict()
    return {name.partition(".")[0] for name in before if not torch.equal(now[name], before[name])}


def noise_of(translator: Cdcgan, batch: Batch) -> torch.Tensor:
    """The z that a loss draws first from the batch's generator, uniform in -1..1."""
    generator = torch.Generator().manual_seed(batch.step)
    return 2 * torch.rand(len(batch.images), translator.settings.latent_size, generator=generator) - 1


def logistic(scores: torch.Tensor, real: bool) -> float:
    """The mean cross-entropy of a sigmoid's output."""
    said = torch.sigmoid(scores.double())
    return -(said if real else 1 - said).log().mean().item()


# The architecture


def test_published_parameter_counts() -> None:
    """48 px, grey, 7 classes: 3 x 3 x 512 from z and y, four 5x5 convolutions each way, y before every layer."""
    with torch.device("meta"):
        network = Cdcgan(num_classes=7, channels=1, size=48, settings=CdcganSettings())
    generator = (100 + 7) * 512 * 3 * 3 + 2 * (512 + 256 + 128 + 64)
    generator += 25 * ((512 + 7) * 256 + (256 + 7) * 128 + (128 + 7) * 64 + (64 + 7) * 1) + 1
    discriminator = 25 * ((1 + 7) * 64 + (64 + 7) * 128 + (128 + 7) * 256 + (256 + 7) * 512) + 64
    discriminator += 2 * (128 + 256 + 512) + (512 * 3 * 3 + 7) + 1
    encoder = 25 * (1 * 64 + 64 * 128 + 128 * 256 + 256 * 512) + 64 + 2 * (128 + 256 + 512)
    encoder += 512 * 3 * 3 * 100 + 100
    for part, expected in (("generator", generator), ("discriminator", discriminator), ("encoder", encoder)):
        assert sum(p.numel() for p in getattr(network, part).parameters()) == expected, part
    assert sum(p.numel() for p in network.generator_parameters()) == generator + encoder == 9_641_108
    assert sum(p.numel() for p in network.discriminator_parameters()) == discriminator == 4_476_872


def test_published_layer_shapes() -> None:
    """As above, at a sixteenth of the width, which changes no edge."""
    network = Cdcgan(num_classes=7, channels=1, size=48, settings=CdcganSettings(width=4))
    y, latent = torch.eye(7)[:2], torch.zeros(2, 100)
    shapes: dict[str, list[tuple[int, ...]]] = {"generator": [], "discriminator": [], "encoder": []}
    for part, found in shapes.items():
        trunk = getattr(network, part)
        for convolution in getattr(trunk, "trunk", trunk).convolutions:
            convolution.register_forward_hook(lambda _, given, made, found=found: found.append(tuple(made.shape[1:])))
    pictures = network.generator(latent, y)
    assert pictures.shape == (2, 1, 48, 48)
    assert network.discriminator(pictures, y).shape == (2, 1) and network.encoder(pictures).shape == (2, 100)
    assert network.generator.project.out_features == 32 * 3 * 3
    assert shapes["generator"] == [(16, 6, 6), (8, 12, 12), (4, 24, 24), (1, 48, 48)]
    assert shapes["discriminator"] == shapes["encoder"] == [(4, 24, 24), (8, 12, 12), (16, 6, 6), (32, 3, 3)]


def test_defaults_are_the_published_values() -> None:
    settings = CdcganSettings()
    assert (settings.width, settings.halvings, settings.kernel, settings.latent_size) == (64, 4, 5, 100)
    assert (settings.noise, settings.latent, settings.discriminator_norm) == ("uniform", "encoded", True)
    assert settings.generator_conditioning == settings.discriminator_conditioning == "every"
    assert settings.lambda_r1 == settings.lambda_latent == 0 and not settings.wrong_labels
    network = Cdcgan(num_classes=3, channels=1, size=SIZE, settings=CdcganSettings(width=4))
    assert network.discriminator.trunk.slope == network.encoder.trunk.slope == 0.2


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [32, 48, 64, 96])
def test_sizes_and_channels(size: int, channels: int) -> None:
    translator = create_translator("cdcgan", num_classes=3, channels=channels, size=size, settings=TINY)
    faces = random_faces(2, size=size, channels=channels)
    translated = translator.translate(faces, torch.tensor([1, 2]))
    assert translated.shape == faces.images.shape and translated.dtype == torch.uint8


def test_impossible_size_names_sizes_that_can() -> None:
    with pytest.raises(
        InputError, match="multiples of 16 from 32 on, near by 48 and 64; or keep 50 px with halvings <= 1"
    ):
        create_translator("cdcgan", num_classes=3, channels=1, size=50)
    with pytest.raises(ValueError, match="multiples of 16 from 32 on"):
        Cdcgan.check_size(40, CdcganSettings())
    Cdcgan.check_size(48, CdcganSettings())
    Cdcgan.check_size(40, CdcganSettings(halvings=3))


# The phases and their losses


def test_the_phases() -> None:
    first, second = tiny(encoder_share=0.25).phases()
    assert (first.name, first.share, first.trains) == ("adversarial", 0.75, ("generator", "discriminator"))
    assert (second.name, second.share, second.trains) == ("encoder", 0.25, ("encoder",))


def test_adversarial_terms_equal_the_formulas() -> None:
    translator = tiny()
    batch = batch_in(translator, "adversarial")
    y, own = torch.eye(3)[batch.targets], torch.eye(3)[batch.labels]
    fake = translator.generator(noise_of(translator, batch), y)
    fake_scores = translator.discriminator(fake, y)
    real_scores = translator.discriminator(batch.images, own)
    terms = translator.discriminator_losses(batch)
    assert set(terms) == {"adversarial"}
    expected = logistic(real_scores, True) + logistic(fake_scores, False)
    assert terms["adversarial"].item() == pytest.approx(expected, rel=1e-4)
    # Real and fake in one pass would share their statistics: another number.
    joined = translator.discriminator(torch.cat([batch.images, fake]), torch.cat([own, y]))
    together = logistic(joined[:6], True) + logistic(joined[6:], False)
    assert together != pytest.approx(expected, rel=2e-4)
    batch = batch_in(translator, "adversarial")
    terms = translator.generator_losses(batch)
    assert set(terms) == {"adversarial"}
    assert terms["adversarial"].item() == pytest.approx(logistic(fake_scores, True), rel=1e-4)


def test_the_encoders_terms_equal_the_formulas() -> None:
    translator = tiny(lambda_latent=0.5)
    batch = batch_in(translator, "encoder")
    x, own = batch.images, torch.eye(3)[batch.labels]
    # Eq. 14 with x for its misprinted z; y is the face's own class, not the wanted one.
    terms = translator.generator_losses(batch)
    reconstruction = (x - translator.generator(translator.encoder(x), own)).square().mean()
    wanted = (x - translator.generator(translator.encoder(x), torch.eye(3)[batch.targets])).square().mean()
    assert terms["reconstruction"].item() == pytest.approx(reconstruction.item(), rel=1e-4)
    assert terms["reconstruction"].item() != pytest.approx(wanted.item(), rel=1e-5)
    latent = noise_of(translator, batch)
    found = translator.encoder(translator.generator(latent, torch.eye(3)[batch.targets]))
    assert terms["latent"].item() == pytest.approx(0.5 * (latent - found).square().mean().item(), rel=1e-4)
    plain = tiny()
    assert set(plain.generator_losses(batch_in(plain, "encoder"))) == {"reconstruction"}
    assert plain.discriminator_losses(batch_in(plain, "encoder")) == {}


@pytest.mark.parametrize("conditioning", ["every", "projection"])
def test_lazy_r1_is_that_of_the_true_class(conditioning: str) -> None:
    translator = tiny(discriminator_conditioning=conditioning, lambda_r1=0.3, r1_every=8)
    batch = batch_in(translator, "adversarial")
    x = batch.images.clone().requires_grad_()
    scores = translator.discriminator(x, torch.eye(3)[batch.labels])
    gradient = torch.autograd.grad(scores.sum(), x)[0]
    terms = translator.discriminator_losses(batch)
    assert set(terms) == {"adversarial", "r1"}
    assert terms["r1"].item() == pytest.approx(0.3 * 8 * gradient.square().sum().item() / 2 / 6, rel=1e-4)
    assert "r1" not in translator.discriminator_losses(batch_in(translator, "adversarial", step=1))


@pytest.mark.parametrize("conditioning", ["every", "projection"])
def test_wrong_classes_as_fakes(conditioning: str) -> None:
    """A switch here, IcGAN's default; a projected class shares the convolutions, to the same end."""
    translator = tiny(discriminator_conditioning=conditioning, wrong_labels=True)
    batch = batch_in(translator, "adversarial")
    y = torch.eye(3)[batch.targets]
    latent = noise_of(translator, batch)
    terms = translator.discriminator_losses(batch)
    chance = torch.Generator().manual_seed(batch.step)
    torch.rand(latent.shape, generator=chance)
    wrong = (batch.labels + torch.randint(1, 3, (6,), generator=chance)) % 3
    discriminator = translator.discriminator
    right, mismatched = (discriminator(batch.images, torch.eye(3)[of]) for of in (batch.labels, wrong))
    fakes = discriminator(translator.generator(latent, y), y)
    expected = logistic(right, True) + 0.5 * logistic(mismatched, False) + 0.5 * logistic(fakes, False)
    assert terms["adversarial"].item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("settings", [{}, ADDED])
def test_a_step_moves_its_own_network_only(settings: dict[str, Any]) -> None:
    """Weights and statistics: D's step leaves G's batch normalizations too, G's step those of D."""
    translator = tiny(**settings)
    for phase, part, expected in (
        ("adversarial", "discriminator", "discriminator"),
        ("adversarial", "generator", "generator"),
        ("encoder", "generator", "encoder"),
    ):
        batch = batch_in(translator, phase)
        before = copy_of(translator)
        learning = translator.generator_parameters
        if phase == "encoder":  # as the loop does it: what a phase does not move is frozen
            translator.generator_parameters = translator.encoder.parameters  # type: ignore[method-assign]
            translator.generator.requires_grad_(False)
        step_once(translator, batch, part)
        translator.generator_parameters = learning  # type: ignore[method-assign]
        assert changed(translator, before) == {expected}
        names = [name for name in before if name.startswith(f"{expected}.")]
        now = translator.state_dict()
        assert all(not torch.equal(now[name], before[name]) for name in names if "class_" not in name)


def test_the_encoder_learns_to_invert_the_generator() -> None:
    translator = lively()
    batch = batch_in(translator, "encoder")
    translator.generator.requires_grad_(False)
    optimizer = torch.optim.Adam(translator.encoder.parameters(), lr=1e-2)
    with torch.no_grad():  # faces that G can make
        batch = replace(batch, images=translator.generate(batch.labels, batch.generator))
    found = []
    for _ in range(60):
        optimizer.zero_grad()
        loss = translator.generator_losses(batch)["reconstruction"]
        loss.backward()
        optimizer.step()
        found.append(loss.item())
    assert found[-1] < 0.3 * found[0]


# Transfer and sampling


def test_translate_is_the_generator_on_the_encoders_latent() -> None:
    translator = lively()
    faces = random_faces(5, size=SIZE)
    targets = torch.tensor([1, 2, 0, 0, 1])
    translated = translator.translate(faces, targets)
    assert not torch.equal(translated, translator.translate(faces, (targets + 1) % 3))
    assert not torch.equal(translated[3], translated[2])
    translator.eval()
    with torch.no_grad():
        pictures = translator.generator(translator.encoder(to_unit_range(faces.images)), torch.eye(3)[targets])
    assert torch.equal(translated, ((pictures + 1) * 127.5).round().to(torch.uint8))


def test_translate_and_sample_from_noise() -> None:
    translator = lively(latent="noise")
    faces, others = random_faces(4, size=SIZE), random_faces(5, size=SIZE).take([1, 2, 3, 4])
    targets = torch.tensor([0, 1, 2, 0])

    def chance(seed: int = 1) -> torch.Generator:
        return torch.Generator().manual_seed(seed)

    one = translator.translate(faces, targets, chance())
    assert torch.equal(one, translator.translate(others, targets, chance()))  # the source is not looked at
    assert torch.equal(one, translator.sample(targets, chance()))
    assert not torch.equal(one, translator.sample(targets, chance(2)))
    assert one.shape == faces.images.shape and one.dtype == torch.uint8
    assert torch.equal(lively().sample(targets, chance()), one)  # a public method, whatever `latent` says


def test_samples_of_the_first_phase_are_decoded_noise() -> None:
    """Figure 5. Encoders that have not learned give next to one latent for all faces, so all rows would be alike."""
    translator = lively()
    translator.encoder.load_state_dict(tiny().encoder.state_dict())
    faces = random_faces(4, size=SIZE)
    translations = translate_to_all(translator, faces, torch.Generator().manual_seed(0)).float()
    made = translator.samples_of_phase("adversarial", 4, torch.Generator().manual_seed(0))
    assert made is not None and made.shape == (4, 3, 1, SIZE, SIZE) and made.dtype == torch.uint8
    between = (made[0].float() - made[1].float()).abs().mean()
    assert between > 10 * (translations[0] - translations[1]).abs().mean()
    noise = 2 * torch.rand(4, translator.settings.latent_size, generator=torch.Generator().manual_seed(0)) - 1
    translator.eval()
    with torch.no_grad():  # one noise in a row, one class in a column
        pictures = translator.generator(noise[2].expand(3, -1), torch.eye(3))
    assert torch.equal(made[2], ((pictures + 1) * 127.5).round().to(torch.uint8))
    assert translator.samples_of_phase(Cdcgan.ENCODING, 4, torch.Generator()) is None


def test_batches_of_any_size_and_the_modes_stay() -> None:
    translator = lively()
    translator.generator.eval()
    faces = random_faces(70, size=SIZE)
    together = translator.translate(faces, faces.labels)
    assert translator.training and translator.encoder.training and not translator.generator.training
    alone = translator.translate(faces.take([66]), faces.labels[66:67])
    assert (together[66:67].int() - alone.int()).abs().max() <= 1
    none = translator.translate(faces.take([]), torch.zeros(0, dtype=torch.int64))
    assert none.shape == (0, 1, SIZE, SIZE) and none.dtype == torch.uint8
    assert translator.sample(torch.zeros(0, dtype=torch.int64)).shape == (0, 1, SIZE, SIZE)


def test_faces_of_another_form_are_refused() -> None:
    translator: Translator = tiny()
    with pytest.raises(CannotTranslateError, match="made for pictures of 32 px and 1 channels, got 48 px and 3"):
        translator.translate(random_faces(2, size=48, channels=3), torch.tensor([0, 1]))
