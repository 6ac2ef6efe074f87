from __future__ import annotations

import pytest
import torch
from gan_faces import CLASS_NAMES, TINY, batch_of, changed, copy_of, random_faces, step_once

from augment.core.errors import InputError
from augment.faces.tensors import to_unit_range
from augment.networks import losses
from augment.translators import create_translator
from augment.translators.stargan import StarGan, StarGanSettings

pytestmark = pytest.mark.slow


def tiny(**settings: object) -> StarGan:
    translator = create_translator("stargan", num_classes=3, channels=1, size=16, settings={**TINY, **settings})
    assert isinstance(translator, StarGan)
    return translator


def test_published_parameter_counts() -> None:
    """Tables 4 and 5 of the paper: 128 px, colour, 5 classes."""
    with torch.device("meta"):
        network = StarGan(num_classes=5, channels=3, size=128, settings=StarGanSettings())
    by_hand = 8 * 64 * 49 + 2 * 64 + 64 * 128 * 16 + 2 * 128 + 128 * 256 * 16 + 2 * 256
    by_hand += 6 * (2 * 256 * 256 * 9 + 4 * 256)
    by_hand += 256 * 128 * 16 + 2 * 128 + 128 * 64 * 16 + 2 * 64 + 64 * 3 * 49
    assert sum(p.numel() for p in network.generator_parameters()) == by_hand == 8_430_528
    assert sum(p.numel() for p in network.discriminator_parameters()) == 44_762_048


def test_published_layer_shapes() -> None:
    """As above, at a sixteenth of the width, which changes no edge."""
    network = StarGan(num_classes=5, channels=3, size=128, settings=StarGanSettings(width=4))
    pictures, condition = torch.zeros(1, 3, 128, 128), torch.zeros(1, 5)
    shapes = []
    features = torch.zeros(1, 3 + 5, 128, 128)
    for block in network.generator.blocks:
        features = block(features, condition)
        shapes.append(tuple(features.shape[1:]))
    assert shapes == [(4, 128, 128), (8, 64, 64), *[(16, 32, 32)] * 7, (8, 64, 64), (4, 128, 128)]
    assert network.generator(pictures, condition).shape == (1, 3, 128, 128)
    source, attributes = network.discriminator(pictures)
    assert source.shape == (1, 1, 2, 2) and attributes.shape == (1, 5)


def test_defaults_are_the_published_values() -> None:
    settings = StarGanSettings()
    assert (settings.width, settings.downs, settings.residual_blocks, settings.outer_kernel) == (64, 2, 6, 7)
    assert (settings.lambda_gp, settings.lambda_cls, settings.lambda_rec) == (10, 1, 10)
    assert (settings.conditioning, settings.adversarial, settings.classification) == (
        "concat",
        "wasserstein",
        "softmax",
    )
    assert not settings.image_skip and settings.lambda_id == settings.lambda_r1 == 0


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [32, 48, 64, 96, 128, 256])
def test_sizes_and_channels(size: int, channels: int) -> None:
    settings = {"width": 4, "residual_blocks": 1}
    translator = create_translator("stargan", num_classes=3, channels=channels, size=size, settings=settings)
    faces = random_faces(2, size=size, channels=channels)
    translated = translator.translate(faces, torch.tensor([1, 2]))
    assert translated.shape == faces.images.shape and translated.dtype == torch.uint8


def test_impossible_size_names_sizes_that_can() -> None:
    with pytest.raises(InputError, match="multiples of 4 from 8 on, near by 48 and 52; or keep 50 px with downs <= 1"):
        create_translator("stargan", num_classes=3, channels=1, size=50)
    with pytest.raises(ValueError, match="discriminator_downs = 6"):
        StarGan.check_size(48, StarGanSettings(discriminator_downs=6))
    StarGan.check_size(48, StarGanSettings())


def test_terms_equal_the_formulas() -> None:
    translator = tiny(lambda_id=0.5)
    batch = batch_of(translator, random_faces())
    x, wanted, own = batch.images, translator.condition(batch.targets), translator.condition(batch.labels)
    fake = translator.generator(x, wanted)
    source, attributes = translator.discriminator(fake)
    real_source, real_attributes = translator.discriminator(x)
    terms = translator.generator_losses(batch)
    assert set(terms) == {"adversarial", "classification", "identity", "reconstruction"}
    expected = {
        "adversarial": -source.mean(),
        "classification": torch.nn.functional.cross_entropy(attributes, batch.targets),
        "identity": 0.5 * (fake - x).abs().mean(),
        "reconstruction": 10 * (translator.generator(fake, own) - x).abs().mean(),
    }
    for name, value in expected.items():
        assert terms[name].item() == pytest.approx(value.item(), rel=1e-4), name
    terms = translator.discriminator_losses(batch_of(translator, random_faces()))
    assert set(terms) == {"adversarial", "classification", "gradient_penalty"}
    penalty = losses.gradient_penalty(
        lambda z: translator.discriminator(z)[0], x, fake, torch.Generator().manual_seed(0)
    )
    expected = {
        "adversarial": source.mean() - real_source.mean(),
        "classification": torch.nn.functional.cross_entropy(real_attributes, batch.labels),
        "gradient_penalty": 10 * penalty,
    }
    for name, value in expected.items():
        assert terms[name].item() == pytest.approx(value.item(), rel=1e-4), name


def test_non_saturating_with_lazy_r1() -> None:
    translator = tiny(adversarial="non_saturating", lambda_gp=0, lambda_r1=0.3, r1_every=8)
    faces = random_faces()
    at = {step: translator.discriminator_losses(batch_of(translator, faces, step=step)) for step in (0, 1, 8)}
    assert [("r1" in at[step]) for step in (0, 1, 8)] == [True, False, True]
    assert "gradient_penalty" not in at[0]
    x = to_unit_range(faces.images)
    r1 = losses.r1_penalty(lambda z: translator.discriminator(z)[0], x)
    assert at[0]["r1"].item() == pytest.approx(0.3 * 8 * r1.item(), rel=1e-4)
    fake = translator.generator(x, translator.condition((faces.labels + 1) % 3))
    expected = torch.nn.functional.softplus(-translator.discriminator(fake)[0]).mean()
    terms = translator.generator_losses(batch_of(translator, faces))
    assert terms["adversarial"].item() == pytest.approx(expected.item(), rel=1e-4)


def test_r1_on_the_true_class() -> None:
    translator = tiny(lambda_gp=0, lambda_r1=1.0, r1_every=1, r1_attributes=True)
    batch = batch_of(translator, random_faces())
    x = batch.images.clone().requires_grad_()
    source, attributes = translator.discriminator(x)
    score = source.sum() + sum(attributes[row, label] for row, label in enumerate(batch.labels.tolist()))
    gradient = torch.autograd.grad(score, x)[0]
    expected = gradient.square().sum().item() / 2 / len(x)
    assert translator.discriminator_losses(batch)["r1"].item() == pytest.approx(expected, rel=1e-4)
    plain = tiny(lambda_gp=0, lambda_r1=1.0, r1_every=1).discriminator_losses(batch)["r1"].item()
    assert plain != pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize(
    ("settings", "part", "absent"),
    [
        ({"lambda_cls": 0}, "generator", "classification"),
        ({"lambda_cls": 0}, "discriminator", "classification"),
        ({"lambda_rec": 0}, "generator", "reconstruction"),
        ({"lambda_gp": 0}, "discriminator", "gradient_penalty"),
        ({"lambda_adversarial": 0}, "generator", "adversarial"),
        ({}, "generator", "identity"),
        ({}, "discriminator", "r1"),
    ],
)
def test_a_weight_of_zero_takes_the_term_out(settings: dict[str, float], part: str, absent: str) -> None:
    translator = tiny(**settings)
    batch = batch_of(translator, random_faces())
    terms = translator.generator_losses(batch) if part == "generator" else translator.discriminator_losses(batch)
    assert absent not in terms and terms


def test_the_way_back_comes_every_so_many_steps() -> None:
    translator = tiny(cycle_every=4)
    faces = random_faces()
    present = [
        "reconstruction" in translator.generator_losses(batch_of(translator, faces, step=step)) for step in range(6)
    ]
    assert present == [True, False, False, False, True, False]


def test_a_step_moves_its_own_network_only() -> None:
    translator = tiny()
    batch = batch_of(translator, random_faces())
    before = copy_of(translator)
    step_once(translator, batch, "discriminator")
    moved = changed(translator, before)
    assert moved == {name for name in before if name.startswith("discriminator.")}
    before = copy_of(translator)
    step_once(translator, batch, "generator")
    moved = changed(translator, before)
    assert moved and all(name.startswith("generator.") for name in moved)
    assert {name for name in before if name.startswith("generator.")} == moved


def test_the_discriminator_learns_to_tell_real_from_fake_and_the_classes() -> None:
    translator = tiny(adversarial="non_saturating", lambda_gp=0)
    batch = batch_of(translator, random_faces())
    first = step_once(translator, batch, "discriminator")
    for _ in range(30):
        last = step_once(translator, batch, "discriminator")
    assert last["adversarial"] < 0.5 * first["adversarial"] and last["classification"] < 0.5 * first["classification"]


def test_the_generator_learns_to_please_a_discriminator() -> None:
    translator = tiny(conditioning="instance_norm", image_skip=True, lambda_rec=1)
    batch = batch_of(translator, random_faces())
    for _ in range(30):
        step_once(translator, batch, "discriminator")
    first = step_once(translator, batch, "generator", 2e-2)
    for _ in range(40):
        last = step_once(translator, batch, "generator", 2e-2)
    assert last["classification"] < first["classification"] and last["adversarial"] < first["adversarial"]


def test_image_skip_starts_from_the_identity() -> None:
    faces = random_faces()
    targets = (faces.labels + 1) % len(CLASS_NAMES)
    assert torch.equal(tiny(image_skip=True).translate(faces, targets), faces.images)
    assert not torch.equal(tiny().translate(faces, targets), faces.images)


@pytest.mark.parametrize("conditioning", ["concat", "instance_norm"])
def test_the_target_matters(conditioning: str) -> None:
    translator = tiny(conditioning=conditioning)
    for parameter in translator.generator.parameters():
        torch.nn.init.normal_(parameter, 0, 0.3, generator=torch.Generator().manual_seed(parameter.numel()))
    faces = random_faces()
    one, other = (translator.translate(faces, torch.full((4,), label)) for label in (0, 1))
    assert not torch.equal(one, other)


def test_translate_takes_batches_of_any_size_and_leaves_the_mode() -> None:
    translator = tiny(conditioning="instance_norm").train()
    faces = random_faces(70)
    together = translator.translate(faces, faces.labels)
    assert translator.training and not together.requires_grad
    alone = translator.translate(faces.take([66]), faces.labels[66:67])
    assert (together[66:67].int() - alone.int()).abs().max() <= 1
    assert translator.translate(faces.take([]), torch.zeros(0, dtype=torch.int64)).shape == (0, 1, 16, 16)


def test_bfloat16_autocast_gives_finite_float32_terms() -> None:
    translator = tiny(conditioning="instance_norm", lambda_r1=1.0)
    batch = batch_of(translator, random_faces())
    with torch.autocast("cpu", torch.bfloat16):
        terms = translator.discriminator_losses(batch) | translator.generator_losses(batch)
    assert all(value.dtype == torch.float32 and torch.isfinite(value) for value in terms.values())
