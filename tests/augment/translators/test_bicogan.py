from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from gan_faces import CLASS_NAMES, batch_of, changed, copy_of, random_faces, step_once
from torch.nn import functional as F

from augment.core.errors import InputError
from augment.networks import losses
from augment.translators import create_translator
from augment.translators.base import Batch, CannotTranslateError
from augment.translators.bicogan import Bicogan, BicoganSettings

pytestmark = pytest.mark.slow

TINY = {"width": 4, "halvings": 2, "latent_size": 5, "joint_features": 6}
FORMS: dict[str, dict[str, Any]] = {
    "gan": {"conditional": False, "bidirectional": False},
    "cgan": {"bidirectional": False},
    "bigan": {"conditional": False},
    "bicogan": {},
    "bicogan_wasserstein": {"adversarial": "wasserstein"},
    "bicogan_gradient_penalty": {"adversarial": "gradient_penalty"},
}


def tiny(form: str = "bicogan", **settings: object) -> Bicogan:
    """A small translator whose weights are large enough for its scores to differ visibly."""
    translator = create_translator(
        "bicogan", num_classes=3, channels=1, size=16, settings={**TINY, **FORMS[form], **settings}
    )
    assert isinstance(translator, Bicogan)
    generator = torch.Generator().manual_seed(0)
    for parameter in translator.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, 0, 0.2, generator=generator)
    return translator


def batch(*, step: int = 0, epoch: float = 0.0) -> Batch:
    return replace(batch_of(tiny(), random_faces(), step=step), epoch=epoch)


def noise_of(step: int = 0) -> torch.Tensor:
    """The z that the losses draw for `batch(step=step)`."""
    return torch.randn(4, TINY["latent_size"], generator=torch.Generator().manual_seed(step))


def parameters_of(module: torch.nn.Module | None) -> int:
    assert module is not None
    return sum(parameter.numel() for parameter in module.parameters())


# The networks


def test_parameter_counts_at_the_published_size() -> None:
    """48 px, grey, six classes; the text gives no layers, so DCGAN's are counted by hand."""
    with torch.device("meta"):
        bicogan = Bicogan(num_classes=6, channels=1, size=48, settings=BicoganSettings())
        bigan = Bicogan(num_classes=6, channels=1, size=48, settings=BicoganSettings(conditional=False))
    generator = (100 + 6) * 512 * 9 + 2 * (512 + 256 + 128 + 64)
    generator += 25 * (512 * 256 + 256 * 128 + 128 * 64) + 25 * 64 + 1
    assert parameters_of(bicogan.generator) == generator == 4_792_769
    trunk = 25 * (1 * 64 + 64 * 128 + 128 * 256 + 256 * 512)
    discriminator = trunk + 64 + 128 + 256 + 512 + (512 * 9 + 100 + 6 + 1) * 512 + 513
    assert parameters_of(bicogan.discriminator) == discriminator
    # The released encoder's summary says 4,766,052; the 896 biases right before its normalizations have no effect.
    released = trunk + 64 + 128 + 256 + 512 + 2 * (128 + 256 + 512) + (4608 + 1) * 100
    assert released == 4_766_052 and parameters_of(bigan.encoder) == released - (128 + 256 + 512)
    assert parameters_of(bicogan.encoder) == parameters_of(bigan.encoder) + (4608 + 1) * 6


def test_layer_shapes_at_the_published_size() -> None:
    """As above, at a sixteenth of the width: 24, 12, 6, 3 px, as in the released encoder and discriminator."""
    network = Bicogan(num_classes=6, channels=1, size=48, settings=BicoganSettings(width=4))
    assert network.encoder is not None
    for trunk in (network.encoder.trunk, network.discriminator.trunk):
        features, shapes = torch.zeros(1, 1, 48, 48), []
        for convolution in trunk.convolutions:
            features = convolution(features)
            shapes.append(tuple(features.shape[1:]))
        assert shapes == [(4, 24, 24), (8, 12, 12), (16, 6, 6), (32, 3, 3)]
    made = network.eval().generate(torch.zeros(2, 100), torch.tensor([0, 5]))
    latent, classes = network.encode(made)
    assert made.shape == (2, 1, 48, 48) and latent.shape == (2, 100) and classes.shape == (2, 6)
    assert network.discriminator(made, latent, classes)[0].shape == (2, 1)


def test_defaults_are_the_published_values() -> None:
    settings = BicoganSettings()
    assert settings.conditional and settings.bidirectional and settings.adversarial == "minimax"
    assert (settings.clip, settings.lambda_gp, settings.latent_size, settings.judged_class) == (
        0.01,
        10,
        100,
        "encoded",
    )
    assert settings.lambda_cls == settings.lambda_rec == settings.lambda_r1 == 0
    assert (
        settings.generator_conditioning == "input"
        and settings.discriminator_weights == "dcgan"
        and settings.latent is None
    )


@pytest.mark.parametrize(
    ("form", "with_encoder", "joined", "keeps_class"),
    [("gan", False, 0, True), ("cgan", False, 3, False), ("bigan", True, 5, True), ("bicogan", True, 8, False)],
)
def test_the_forms_have_their_networks(form: str, with_encoder: bool, joined: int, keeps_class: bool) -> None:
    translator = tiny(form)
    assert (translator.encoder is not None) == with_encoder and translator.keeps_class == keeps_class
    joint = translator.discriminator.joint
    assert (joint is not None) == bool(joined)
    assert joint is None or joint.in_features == translator.discriminator.trunk.features + joined
    assert translator.generator.project.in_features == 5 + (0 if keeps_class else 3)


def test_the_discriminator_sees_whether_x_and_z_belong_together() -> None:
    """The released one adds up what it has of x, z, c: two faces that swap their z leave the scores' sum as it is."""
    translator = tiny("bigan")
    discriminator = translator.discriminator
    generator = torch.Generator().manual_seed(0)
    x, z = torch.randn(2, 1, 16, 16, generator=generator), 20 * torch.randn(2, 5, generator=generator)

    def difference() -> float:
        together, swapped = (discriminator(x, part)[0].sum() for part in (z, z.flip(0)))
        return float((together - swapped).detach().abs())

    linked = difference()
    assert linked > 1e-2
    joint = discriminator.joint
    assert joint is not None
    # Negative control: where the hidden layer is linear, the discriminator is as the released one.
    with torch.no_grad():
        joint.bias.fill_(1000)
    assert difference() < 1e-2 * linked


def test_a_narrow_discriminator_is_not_blind_with_weights_after_he() -> None:
    """Features of noise after four convolutions of 16 .. 128 channels, by the two ways to begin."""
    pictures = torch.randn(4, 1, 48, 48, generator=torch.Generator().manual_seed(0))
    sizes = {}
    for weights in ("dcgan", "he"):
        settings = {"width": 16, "discriminator_weights": weights}
        translator = create_translator("bicogan", num_classes=3, channels=1, size=48, settings=settings)
        assert isinstance(translator, Bicogan)
        sizes[weights] = translator.discriminator.trunk(pictures).square().mean().sqrt().item()
    assert sizes["dcgan"] < 0.1 and 0.5 < sizes["he"] < 2


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [32, 48, 64, 128])
def test_sizes_and_channels(size: int, channels: int) -> None:
    settings = {"width": 4, "latent_size": 5}
    translator = create_translator("bicogan", num_classes=3, channels=channels, size=size, settings=settings)
    faces = random_faces(2, size=size, channels=channels)
    translated = translator.translate(faces, torch.tensor([1, 2]))
    assert translated.shape == faces.images.shape and translated.dtype == torch.uint8


def test_impossible_size_names_sizes_that_can() -> None:
    with pytest.raises(InputError, match="multiples of 16 from 32 on, near by 48 and 64"):
        create_translator("bicogan", num_classes=3, channels=1, size=50)
    with pytest.raises(ValueError, match="halvings"):
        Bicogan.check_size(40, BicoganSettings())
    Bicogan.check_size(48, BicoganSettings())


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"latent": "encoded", "bidirectional": False}, "latent=encoded needs an encoder"),
        ({"lambda_rec": 1.0, "bidirectional": False}, "lambda_rec needs an encoder"),
        ({"lambda_cls": 1.0, "conditional": False}, "lambda_cls needs classes"),
        ({"lambda_translated": 1.0}, "lambda_translated needs a class head"),
        ({"judged_class": "label", "conditional": False}, "judged_class=label needs conditional=true"),
        ({"adversarial": "hinge"}, "minimax"),
        ({"clip": 0}, "greater than 0"),
    ],
)
def test_settings_that_do_not_fit_together_are_refused(settings: dict[str, Any], why: str) -> None:
    with pytest.raises(InputError, match=why):
        create_translator("bicogan", num_classes=3, channels=1, size=16, settings={**TINY, **settings})


# The losses


def test_the_extrinsic_factor_weight_grows_by_epochs_and_is_clipped() -> None:
    """min(alpha e^(rho t), phi) by hand: 0.5 e^(0.2 x 5) = 1.359; 0.5 e^3 = 10.04 is cut to 8."""
    assert losses.extrinsic_factor_weight(0, 0.5, 0.2, 8) == 0.5
    assert losses.extrinsic_factor_weight(5, 0.5, 0.2, 8) == pytest.approx(1.35914)
    assert losses.extrinsic_factor_weight(15, 0.5, 0.2, 8) == losses.extrinsic_factor_weight(1e9, 0.5, 0.2, 8) == 8
    translator = tiny(alpha=0.5, rho=0.2, phi=8)
    at = {epoch: translator.generator_losses(batch(epoch=epoch))["extrinsic_factor"].item() for epoch in (0, 5, 30)}
    assert at[5] / at[0] == pytest.approx(1.35914 / 0.5, rel=1e-4) and at[30] / at[0] == pytest.approx(16, rel=1e-4)
    # Negative control: counted in steps it would not have grown by now.
    late = translator.generator_losses(batch(step=500))["extrinsic_factor"].item()
    assert late == pytest.approx(at[0], rel=1e-4)


def test_the_extrinsic_factor_loss_is_the_encoders_alone_and_is_minimized() -> None:
    translator = tiny()
    term = translator.generator_losses(batch())["extrinsic_factor"]
    _, scores = translator.encode(batch().images)
    expected = -scores.log_softmax(1)[torch.arange(4), batch().labels].mean()
    assert term.item() == pytest.approx(expected.item(), rel=1e-4)
    term.backward()
    assert all(parameter.grad is None for parameter in translator.generator.parameters())
    assert all(parameter.grad is None for parameter in translator.discriminator.parameters())
    assert translator.encoder is not None
    first = translator.generator_losses(batch())["extrinsic_factor"].item()
    torch.optim.SGD(translator.encoder.parameters(), lr=0.05).step()
    assert translator.generator_losses(batch())["extrinsic_factor"].item() < first


@pytest.mark.parametrize("form", ["gan", "cgan", "bigan", "bicogan", "bicogan_wasserstein"])
def test_terms_equal_the_formulas(form: str) -> None:
    translator = tiny(form)
    x, own, wanted, z = batch().images, batch().labels, batch().targets, noise_of()
    made = translator.generate(z, wanted)
    real, fake = [x], [made]
    terms = translator.generator_losses(batch())
    if translator.encoder is not None:
        latent, scores = translator.encode(x)
        real.append(latent)
        fake.append(z)
        if translator.settings.conditional:
            real.append(scores.exp() / scores.exp().sum(1, keepdim=True))
    elif translator.settings.conditional:
        real.append(torch.eye(3)[own])
    if translator.settings.conditional:
        fake.append(torch.eye(3)[wanted])
    real_score, fake_score = (translator.discriminator(*seen)[0] for seen in (real, fake))
    if form == "bicogan_wasserstein":
        expected = {"adversarial": -fake_score.mean(), "encoder": real_score.mean()}
        of_discriminator = fake_score.mean() - real_score.mean()
    else:
        expected = {"adversarial": -fake_score.sigmoid().log().mean()}
        expected["encoder"] = -(1 - real_score.sigmoid()).log().mean()
        of_discriminator = -real_score.sigmoid().log().mean() - (1 - fake_score.sigmoid()).log().mean()
    if translator.encoder is None:
        del expected["encoder"]
    elif translator.settings.conditional:
        expected["extrinsic_factor"] = F.cross_entropy(scores, own)
    assert set(terms) == set(expected)
    for name, value in expected.items():
        assert terms[name].item() == pytest.approx(value.item(), rel=1e-4), name
    terms = translator.discriminator_losses(batch())
    assert set(terms) == {"adversarial"}
    assert terms["adversarial"].item() == pytest.approx(of_discriminator.item(), rel=1e-4)


def test_labels_are_swapped_as_the_printed_objective_would_stall() -> None:
    """Against a sure discriminator the swapped form still pushes, the printed log(1 - D) does not."""
    translator = tiny("bigan")
    with torch.no_grad():
        translator.discriminator.score.bias.fill_(-15)
    term = translator.generator_losses(batch())["adversarial"]
    swapped = torch.autograd.grad(term, translator.generator.project.weight)[0].norm()
    scores = translator.discriminator(translator.generate(noise_of(), batch().targets), noise_of())[0]
    printed = torch.autograd.grad((1 - scores.sigmoid()).log().mean(), translator.generator.project.weight)[0].norm()
    assert swapped > 1e-4 and printed < 1e-3 * swapped


def test_the_gradient_penalty_is_on_x_z_and_c_together() -> None:
    translator = tiny("bicogan_gradient_penalty")
    terms = translator.discriminator_losses(batch())
    assert set(terms) == {"adversarial", "gradient_penalty"}
    x, wanted, z = batch().images, batch().targets, noise_of()
    latent, scores = translator.encode(x)
    real = (x, latent, scores.softmax(1))
    fake = (translator.generate(z, wanted), z, torch.eye(3)[wanted])
    generator = torch.Generator().manual_seed(0)
    torch.randn(4, 5, generator=generator)  # z came first
    weight = torch.rand(4, generator=generator)
    points = []
    for one, other in zip(real, fake, strict=True):
        share = weight.view(-1, *[1] * (one.ndim - 1))
        points.append((share * one + (1 - share) * other).detach().requires_grad_())
    gradients = torch.autograd.grad(translator.discriminator(*points)[0].sum(), points)
    squares = [gradient.flatten(1).square().sum(1) for gradient in gradients]
    expected = 10 * (sum(squares).sqrt() - 1).square().mean()  # type: ignore[union-attr]
    assert terms["gradient_penalty"].item() == pytest.approx(expected.item(), rel=1e-4)
    of_pictures = 10 * (squares[0].sqrt() - 1).square().mean()  # negative control: x alone
    assert terms["gradient_penalty"].item() != pytest.approx(of_pictures.item(), rel=1e-3)


def test_judged_class_label_shows_the_discriminator_the_label() -> None:
    translator = tiny(judged_class="label")
    latent, _ = translator.encode(batch().images)
    score = translator.discriminator(batch().images, latent, torch.eye(3)[batch().labels])[0]
    expected = F.softplus(score).mean().item()
    assert translator.generator_losses(batch())["encoder"].item() == pytest.approx(expected, rel=1e-4)
    encoded = tiny().generator_losses(batch())["encoder"].item()
    assert encoded != pytest.approx(expected, rel=1e-4)


def test_the_terms_that_are_not_in_the_paper() -> None:
    translator = tiny(lambda_cls=2.0, lambda_rec=3.0, lambda_translated=0.7, lambda_r1=0.5, r1_every=4)
    x, own, wanted, z = batch().images, batch().labels, batch().targets, noise_of()
    terms = translator.generator_losses(batch())
    attributes = translator.discriminator(translator.generate(z, wanted), z, torch.eye(3)[wanted])[1]
    assert attributes is not None
    assert terms["classification"].item() == pytest.approx(2 * F.cross_entropy(attributes, wanted).item(), rel=1e-4)
    latent, scores = translator.encode(x)
    rebuilt = 3 * (translator.generate(latent, own) - x).abs().mean()
    assert terms["reconstruction"].item() == pytest.approx(rebuilt.item(), rel=1e-4)

    attributes = translator.discriminator.classify(translator.generate(latent, wanted))
    assert terms["translated"].item() == pytest.approx(0.7 * F.cross_entropy(attributes, wanted).item(), rel=1e-4)

    at = {step: translator.discriminator_losses(batch(step=step)) for step in (0, 1, 4)}
    assert [("r1" in at[step]) for step in (0, 1, 4)] == [True, False, True]
    points = [part.detach().requires_grad_() for part in (x, latent, scores.softmax(1))]
    found, attributes = translator.discriminator(*points)
    assert attributes is not None
    assert at[0]["classification"].item() == pytest.approx(2 * F.cross_entropy(attributes, own).item(), rel=1e-4)
    score = found.sum() + attributes[torch.arange(4), own].sum()
    gradients = torch.autograd.grad(score, points)
    r1 = sum(gradient.square().sum() for gradient in gradients) / 2 / 4
    assert at[0]["r1"].item() == pytest.approx(0.5 * 4 * float(r1), rel=1e-4)


def test_weights_are_clipped_after_each_discriminator_step_of_the_wasserstein_form_alone() -> None:
    for form, clipped in (("bicogan_wasserstein", True), ("bicogan", False), ("bicogan_gradient_penalty", False)):
        translator = tiny(form)
        step_once(translator, batch(), "discriminator")
        before = copy_of(translator)
        with torch.no_grad():
            translator.after_step("discriminator")
        largest = max(float(p.detach().abs().max()) for p in translator.discriminator.parameters())
        assert (largest <= 0.01 + 1e-9) == clipped, form
        moved = changed(translator, before)
        assert bool(moved) == clipped and all(name.startswith("discriminator.") for name in moved)


# Steps


@pytest.mark.parametrize("form", FORMS)
def test_a_step_moves_its_own_networks_only(form: str) -> None:
    translator = tiny(form).train()
    before = copy_of(translator)
    step_once(translator, batch(), "discriminator")
    assert changed(translator, before) == {name for name in before if name.startswith("discriminator.")}
    before = copy_of(translator)
    step_once(translator, batch(), "generator")
    # Biases and statistics of batch normalization of G and E move too: nothing of both stays.
    assert changed(translator, before) == {name for name in before if name.startswith(("generator.", "encoder."))}


def test_encoder_and_generator_learn_to_deceive_the_discriminator() -> None:
    translator = tiny("bigan")
    for _ in range(20):
        step_once(translator, batch(), "discriminator")
    first = step_once(translator, batch(), "generator")
    for _ in range(30):
        last = step_once(translator, batch(), "generator")
    assert last["adversarial"] < first["adversarial"] and last["encoder"] < first["encoder"]
    at_rest = math.log(2)
    assert first["adversarial"] > at_rest and first["encoder"] > at_rest


def test_the_encoder_learns_the_classes() -> None:
    translator = tiny()
    first = step_once(translator, batch(), "generator")
    for _ in range(30):
        last = step_once(translator, batch(), "generator")
    assert last["extrinsic_factor"] < 0.5 * first["extrinsic_factor"]


# Translating


def test_encoded_latents_come_from_the_source_and_noise_from_the_generator() -> None:
    faces = random_faces()
    targets = (faces.labels + 1) % len(CLASS_NAMES)
    other = replace(faces, images=faces.images.flip(0))

    def seeded(seed: int) -> torch.Generator:
        return torch.Generator().manual_seed(seed)

    for form, from_source in (("bicogan", True), ("bigan", True), ("cgan", False), ("gan", False)):
        translator = tiny(form)
        same_noise = torch.equal(
            translator.translate(faces, targets, seeded(0)), translator.translate(faces, targets, seeded(1))
        )
        same_source = torch.equal(
            translator.translate(faces, targets, seeded(0)), translator.translate(other, targets, seeded(0))
        )
        assert same_noise == from_source and same_source != from_source, form
    noisy = tiny(latent="noise")
    one, two = (noisy.translate(faces, targets, seeded(seed)) for seed in (0, 1))
    assert not torch.equal(one, two)
    assert torch.equal(noisy.translate(faces, targets), noisy.translate(other, targets))


def test_a_translation_is_the_generators_picture_of_the_encoders_latent() -> None:
    translator = tiny().eval()
    faces, targets = random_faces(), torch.tensor([1, 2, 0, 1])
    latent, _ = translator.encode(faces.images.float() / 127.5 - 1)
    made = ((translator.generate(latent, targets) + 1) * 127.5).round().to(torch.uint8)
    assert torch.equal(translator.translate(faces, targets), made)


@pytest.mark.parametrize("form", ["gan", "bigan", "cgan", "bicogan"])
@pytest.mark.parametrize("conditioning", ["input", "batch_norm"])
def test_the_target_matters_where_it_is_conditioned_on_classes(form: str, conditioning: str) -> None:
    translator = tiny(form, generator_conditioning=conditioning)
    faces = random_faces()
    one, other = (translator.translate(faces, torch.full((4,), label)) for label in (0, 1))
    assert torch.equal(one, other) == translator.keeps_class


def test_translate_takes_batches_of_any_size_and_leaves_the_mode() -> None:
    translator = tiny().train()
    faces = random_faces(70)
    together = translator.translate(faces, faces.labels)
    assert translator.training and not together.requires_grad
    alone = translator.translate(faces.take([66]), faces.labels[66:67])
    assert (together[66:67].int() - alone.int()).abs().max() <= 1
    assert translator.translate(faces.take([]), torch.zeros(0, dtype=torch.int64)).shape == (0, 1, 16, 16)


def test_faces_of_another_form_are_refused() -> None:
    with pytest.raises(CannotTranslateError, match="made for pictures of 16 px and 1 channels, got 32 px"):
        tiny().translate(random_faces(size=32), torch.zeros(4, dtype=torch.int64))
    with pytest.raises(CannotTranslateError, match="bidirectional=true"):
        tiny("cgan").encode(torch.zeros(1, 1, 16, 16))
