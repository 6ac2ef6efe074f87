from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from gan_faces import CLASS_NAMES, batch_of, changed, copy_of, random_faces, step_once

from augment.core.errors import InputError
from augment.faces.tensors import FaceTensors, to_unit_range
from augment.training.loop import train_translator
from augment.training.outputs import TIMING_FIELDS
from augment.training.settings import TrainingSettings
from augment.translators import create_translator, load_translator, save_translator, translator_settings
from augment.translators.base import CannotTranslateError, Translator
from augment.translators.ccyclegan import CCycleGan, CCycleGanSettings, map_norm, unpadded_edges

pytestmark = pytest.mark.slow

SIZE = 22  # the smallest picture of three convolutions
TINY = {"width": 4, "downs": 3}


def tiny(seed: int = 0, **settings: Any) -> CCycleGan:
    translator = create_translator(
        "ccyclegan", num_classes=3, channels=1, size=SIZE, settings={**TINY, **settings}, seed=seed
    )
    assert isinstance(translator, CCycleGan)
    return translator


def tiny_faces(count: int = 4) -> FaceTensors:
    return random_faces(count, size=SIZE)


# The architecture


def test_published_parameter_counts() -> None:
    """Figures 1 and 2a: 48 px, grey, 7 classes. Every convolution has a bias, every normalization gain and bias."""
    with torch.device("meta"):
        network = CCycleGan(num_classes=7, channels=1, size=48, settings=CCycleGanSettings())
    pairs = [(1, 64), (64, 128), (128, 256), (256, 512)]
    convolutions = sum(inner * outer * 16 + outer for inner, outer in pairs)
    encoder = convolutions + 2 * (64 + 128 + 256 + 512)
    assert sum(p.numel() for p in network.generator.encoder.parameters()) == encoder
    decoder = 519 * 512 + 512
    decoder += 512 * 256 * 16 + 3 * 256 + (256 + 256) * 128 * 16 + 3 * 128 + (128 + 128) * 64 * 16 + 3 * 64
    decoder += (64 + 64) * 1 * 16 + 1
    assert sum(p.numel() for p in network.generator.decoder.parameters()) == decoder
    assert sum(p.numel() for p in network.generator_parameters()) == encoder + decoder == 6_433_921
    discriminator = convolutions + 2 * (128 + 256 + 512) + 2 * (512 * 512 + 512) + (512 + 1) + (512 * 7 + 7)
    assert sum(p.numel() for p in network.discriminator_parameters()) == discriminator == 3_285_704


def test_published_layer_shapes() -> None:
    """At a sixteenth of the width, which changes no edge: 48 -> 23 -> 10 -> 4 -> 1 -> 4 -> 10 -> 23 -> 48."""
    network = CCycleGan(num_classes=7, channels=1, size=48, settings=CCycleGanSettings(width=4))
    pictures = torch.zeros(2, 1, 48, 48)
    maps = network.generator.encoder(pictures)
    assert [tuple(features.shape[1:]) for features in maps] == [(4, 23, 23), (8, 10, 10), (16, 4, 4), (32, 1, 1)]
    decoder = network.generator.decoder
    assert (decoder.reduce.in_channels, decoder.reduce.out_channels, decoder.reduce.kernel_size) == (39, 32, (1, 1))
    features, shapes = decoder.reduce(torch.zeros(2, 39, 1, 1)), []
    for block, skip in zip(decoder.blocks, reversed(maps[:-1]), strict=True):
        features = block(features, skip)
        shapes.append(tuple(features.shape[1:]))
    assert shapes == [(32, 4, 4), (16, 10, 10), (8, 23, 23)]  # each with the encoder's map of the same edge
    assert [block.get_submodule("convolution").output_padding for block in decoder.blocks] == [(0, 0), (0, 0), (1, 1)]
    assert decoder.head(features).shape == (2, 1, 48, 48)
    body = network.discriminator.body
    assert isinstance(body[0].norm, torch.nn.Identity) and not isinstance(body[1].norm, torch.nn.Identity)
    assert body(pictures).shape == (2, 32, 1, 1)
    source, attributes = network.discriminator(pictures)
    assert source.shape == (2, 1) and attributes.shape == (2, 7)


def test_defaults_are_the_published_values() -> None:
    settings = CCycleGanSettings()
    assert (settings.width, settings.downs, settings.classification) == (64, 4, "binary")
    assert settings.lambda_cyc == settings.lambda_cl == 1 and settings.other_labels is None
    assert settings.discriminator_norm and not settings.image_skip
    assert settings.lambda_id == settings.lambda_r1 == 0


def test_settings_of_other_works_are_refused() -> None:
    with pytest.raises(InputError, match=r"translators\.ccyclegan\.lambda_gp: is not a setting"):
        translator_settings("ccyclegan", {"lambda_gp": 10})
    with pytest.raises(InputError, match=r"translators\.stargan\.lambda_cyc: is not a setting"):
        translator_settings("stargan", {"lambda_cyc": 1})


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("size", "downs"), [(46, 4), (47, 4), (48, 4), (61, 4), (22, 3), (29, 3), (94, 5), (125, 5)])
def test_sizes_that_end_at_one_pixel(size: int, downs: int, channels: int) -> None:
    settings = {"width": 4, "downs": downs}
    translator = create_translator("ccyclegan", num_classes=3, channels=channels, size=size, settings=settings)
    faces = random_faces(2, size=size, channels=channels)
    translated = translator.translate(faces, torch.tensor([1, 2]))
    assert translated.shape == faces.images.shape and translated.dtype == torch.uint8


def test_the_error_names_all_sizes_that_can() -> None:
    can = []
    for size in range(8, 200):
        try:
            unpadded_edges(size, 4)
            can.append(size)
        except InputError as error:
            assert "46 to 61 px" in str(error)
    assert can == list(range(46, 62))
    with pytest.raises(InputError, match=r"pictures of 64 px .* 46 to 61 px; 22 to 29 with downs = 3, 94 to 125 with"):
        create_translator("ccyclegan", num_classes=3, channels=1, size=64)
    with pytest.raises(ValueError, match="22 to 29 px; 46 to 61 with downs = 4"):
        CCycleGan.check_size(48, CCycleGanSettings(downs=3))
    CCycleGan.check_size(48, CCycleGanSettings())


def test_the_latent_outlives_its_normalization() -> None:
    """Instance normalization of a 1x1 map would leave nothing of the face; the latent's own mean is taken instead."""
    features = torch.tensor([1.0, 2.0, 3.0, 6.0]).view(1, 4, 1, 1)
    deviation = math.sqrt((4 + 1 + 0 + 9) / 4)
    expected = torch.tensor([-2.0, -1.0, 0.0, 3.0]) / deviation
    assert torch.allclose(map_norm(4, 1)(features).flatten(), expected, atol=1e-4)
    by_channel = features - features.mean((2, 3), keepdim=True)
    assert not by_channel.any()  # the trap
    maps = torch.randn(2, 4, 5, 5) * 3 + 1
    assert torch.allclose(map_norm(4, 5)(maps).mean((2, 3)), torch.zeros(2, 4), atol=1e-5)
    encoder = tiny().generator.encoder
    latents = encoder(to_unit_range(tiny_faces().images))[-1]
    assert (latents[0] - latents[1]).abs().max() > 0.1


# Encode once, decode for all other labels


def test_all_other_labels_or_some() -> None:
    translator = create_translator("ccyclegan", num_classes=7, channels=1, size=SIZE, settings=TINY)
    assert isinstance(translator, CCycleGan)
    labels = torch.tensor([0, 3, 6])
    assert [sorted(row) for row in translator.other_labels(labels).tolist()] == [
        [1, 2, 3, 4, 5, 6],
        [0, 1, 2, 4, 5, 6],
        [0, 1, 2, 3, 4, 5],
    ]
    few = create_translator("ccyclegan", num_classes=7, channels=1, size=SIZE, settings={**TINY, "other_labels": 2})
    assert isinstance(few, CCycleGan)
    labels = torch.arange(7).repeat(100)
    drawn = few.other_labels(labels, torch.Generator().manual_seed(1))
    assert drawn.shape == (700, 2) and (drawn != labels[:, None]).all() and (drawn[:, 0] != drawn[:, 1]).all()
    assert torch.equal(drawn, few.other_labels(labels, torch.Generator().manual_seed(1)))
    for label in range(7):  # 100 faces draw 2 of 6: each other label about 33 times
        assert drawn[labels == label].flatten().bincount(minlength=7).tolist()[label] == 0
        assert min(count for count in drawn[labels == label].flatten().bincount(minlength=7).tolist() if count) > 15


def test_a_face_is_encoded_once_and_decoded_often() -> None:
    translator = tiny()
    pictures = to_unit_range(tiny_faces().images)
    seen = []
    translator.generator.encoder.register_forward_hook(lambda module, given, made: seen.append(len(given[0])))
    decoded = translator.decode(pictures, torch.tensor([[0, 1, 2]] * 4))
    assert seen == [4] and decoded.shape == (4, 3, 1, SIZE, SIZE)
    for label in range(3):
        alone = translator.decode(pictures, torch.full((4, 1), label))
        assert torch.allclose(decoded[:, label], alone[:, 0], atol=1e-6)
    assert (decoded[:, 0] - decoded[:, 1]).abs().max() > 1e-3


# The losses


def cross_entropies(scores: torch.Tensor, targets: torch.Tensor) -> float:
    """Binary cross-entropies summed over classes, mean over faces, from probabilities."""
    said = torch.sigmoid(scores.double())
    each = -(targets * said.log() + (1 - targets) * (1 - said).log())
    return each.sum(1).mean().item()


def test_the_discriminators_terms_equal_the_formulas() -> None:
    translator = tiny(lambda_cl=0.5)
    batch = batch_of(translator, tiny_faces())
    x, own = batch.images, batch.labels
    made, wanted = [], []
    for face, label in zip(x, own.tolist(), strict=True):
        for other in range(3):
            if other != label:
                made.append(translator.decode(face[None], torch.tensor([[other]]))[0])
                wanted.append(other)
    fake = torch.cat(made)
    assert fake.shape == (8, 1, SIZE, SIZE)
    real_source, real_classes = translator.discriminator(x)
    fake_source, fake_classes = translator.discriminator(fake)
    terms = translator.discriminator_losses(batch)
    assert set(terms) == {"adversarial", "classification"}
    adversarial = -torch.sigmoid(real_source).log().mean() - (1 - torch.sigmoid(fake_source)).log().mean()
    assert terms["adversarial"].item() == pytest.approx(adversarial.item(), rel=1e-4)
    of_real = cross_entropies(real_classes, torch.eye(3)[own])
    for fakes_as, of_fakes in (
        ("none", cross_entropies(fake_classes, torch.zeros(8, 3))),
        ("wanted", cross_entropies(fake_classes, torch.eye(3)[wanted])),
        ("ignored", 0.0),
    ):
        found = tiny(lambda_cl=0.5, fake_classes=fakes_as).discriminator_losses(batch)["classification"]
        assert found.item() == pytest.approx(0.5 * (of_real + of_fakes), rel=1e-4), fakes_as


def test_the_generators_terms_equal_the_formulas() -> None:
    translator = tiny(lambda_cl=0.5, lambda_cyc=2.0, lambda_id=0.25)
    batch = batch_of(translator, tiny_faces())
    x, own = batch.images, batch.labels
    wanted = translator.other_labels(own)
    fake = translator.decode(x, wanted)
    source, classes = translator.discriminator(fake.flatten(0, 1))
    back = translator.decode(x, own[:, None])[:, 0]
    terms = translator.generator_losses(batch)
    expected = {
        "adversarial": -torch.sigmoid(source).log().mean().item(),
        "classification": 0.5 * cross_entropies(classes, torch.eye(3)[wanted.flatten()]),
        "reconstruction": 2.0 * (back - x).abs().mean().item(),
        "identity": 0.25 * (fake - x[:, None]).abs().mean().item(),
    }
    assert set(terms) == set(expected)
    for name, value in expected.items():
        assert terms[name].item() == pytest.approx(value, rel=1e-4), name
    # The saturating form of eq. 1 is another number: the choice is seen here.
    assert terms["adversarial"].item() != pytest.approx((1 - torch.sigmoid(source)).log().mean().item(), rel=1e-2)


def test_softmax_classes() -> None:
    translator = tiny(classification="softmax")
    batch = batch_of(translator, tiny_faces())
    said = translator.discriminator(batch.images)[1].softmax(1)
    expected = -torch.stack([row[label] for row, label in zip(said, batch.labels.tolist(), strict=True)]).log().mean()
    terms = translator.discriminator_losses(batch)  # soft-max can't say that a made face has no class
    assert terms["classification"].item() == pytest.approx(expected.item(), rel=1e-4)
    wanted = translator.other_labels(batch.labels)
    said = translator.discriminator(translator.decode(batch.images, wanted).flatten(0, 1))[1].softmax(1)
    expected = -said.gather(1, wanted.view(-1, 1)).log().mean()
    assert translator.generator_losses(batch)["classification"].item() == pytest.approx(expected.item(), rel=1e-4)
    of_fakes = tiny(classification="softmax", fake_classes="wanted").discriminator_losses(batch)["classification"]
    assert of_fakes.item() == pytest.approx((terms["classification"] + expected).item(), rel=1e-4)


def test_targets_of_the_batch_are_not_used() -> None:
    translator = tiny()
    batch = batch_of(translator, tiny_faces())
    other = batch_of(translator, tiny_faces())
    other.targets.copy_(batch.labels)
    for part in ("discriminator_losses", "generator_losses"):
        one, two = getattr(translator, part)(batch), getattr(translator, part)(other)
        assert all(torch.equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize(
    ("settings", "part", "absent"),
    [
        ({"lambda_cl": 0}, "generator", "classification"),
        ({"lambda_cl": 0}, "discriminator", "classification"),
        ({"lambda_cyc": 0}, "generator", "reconstruction"),
        ({}, "generator", "identity"),
        ({}, "discriminator", "r1"),
    ],
)
def test_a_weight_of_zero_takes_the_term_out(settings: dict[str, Any], part: str, absent: str) -> None:
    translator = tiny(**settings)
    batch = batch_of(translator, tiny_faces())
    terms = translator.generator_losses(batch) if part == "generator" else translator.discriminator_losses(batch)
    assert absent not in terms and terms


def test_lazy_r1_on_source_and_true_class() -> None:
    settings: dict[str, Any] = {"lambda_r1": 0.3, "r1_every": 8}
    at = {step: tiny(**settings).discriminator_losses(batch_of(tiny(), tiny_faces(), step=step)) for step in (0, 1, 8)}
    assert [("r1" in at[step]) for step in (0, 1, 8)] == [True, False, True]
    for attributes in (False, True):
        translator = tiny(**settings, r1_attributes=attributes)
        batch = batch_of(translator, tiny_faces())
        x = batch.images.clone().requires_grad_()
        source, classes = translator.discriminator(x)
        score = source.sum()
        if attributes:
            score = score + sum(classes[row, label] for row, label in enumerate(batch.labels.tolist()))
        gradient = torch.autograd.grad(score, x)[0]
        expected = 0.3 * 8 * gradient.square().sum().item() / 2 / len(x)
        assert translator.discriminator_losses(batch)["r1"].item() == pytest.approx(expected, rel=1e-4)


def test_bfloat16_autocast_gives_finite_float32_terms() -> None:
    translator = tiny(lambda_r1=1.0, lambda_id=1.0)
    batch = batch_of(translator, tiny_faces())
    with torch.autocast("cpu", torch.bfloat16):
        terms = translator.discriminator_losses(batch) | translator.generator_losses(batch)
    assert all(value.dtype == torch.float32 and torch.isfinite(value) for value in terms.values())


# Learning


def test_a_step_moves_its_own_network_only() -> None:
    translator = tiny()
    batch = batch_of(translator, tiny_faces())
    before = copy_of(translator)
    step_once(translator, batch, "discriminator")
    assert changed(translator, before) == {name for name in before if name.startswith("discriminator.")}
    before = copy_of(translator)
    step_once(translator, batch, "generator")
    moved = changed(translator, before)
    assert moved == {name for name in before if name.startswith("generator.")}
    assert any(".encoder." in name for name in moved) and any(".decoder." in name for name in moved)


def test_the_discriminator_learns_both_tasks() -> None:
    translator = tiny()
    batch = batch_of(translator, tiny_faces())
    first = step_once(translator, batch, "discriminator")
    for _ in range(40):
        last = step_once(translator, batch, "discriminator")
    assert last["adversarial"] < 0.5 * first["adversarial"] and last["classification"] < 0.5 * first["classification"]


def test_the_generator_learns_to_please_a_discriminator() -> None:
    translator = tiny(fake_classes="ignored")
    batch = batch_of(translator, tiny_faces())
    for _ in range(20):
        step_once(translator, batch, "discriminator")
    first = step_once(translator, batch, "generator")
    for _ in range(60):
        last = step_once(translator, batch, "generator")
    assert all(last[name] < first[name] for name in ("adversarial", "classification", "reconstruction"))


def train(folder: Path, steps: int, interrupt_at: int | None = None) -> Path:
    """Eight steps by the loop, with all randomness that this translator has; killed once it has come so far."""

    def validate(judged: Translator, step: int) -> float:
        if step == interrupt_at:
            raise KeyboardInterrupt
        return 0.0

    settings = TrainingSettings(
        steps=steps,
        batch_size=4,
        discriminator_steps=2,
        generator_learning_rate=1e-3,
        checkpoint_every=2,
        validate_every=3,
        sample_every=4,
        sample_faces=2,
        log_every=1,
    )
    translator = tiny(other_labels=1, lambda_r1=0.3, r1_every=2)
    out = folder / "out"
    train_translator(
        translator, tiny_faces(9), None, settings, out=out, scratch=folder / "scratch", seed=3, validate=validate
    )
    return out


def test_interrupted_and_resumed_is_bit_identical(tmp_path: Path) -> None:
    whole = train(tmp_path / "whole", 8)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "cut", 8, interrupt_at=6)
    resumed = train(tmp_path / "cut", 8)

    def log(out: Path) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
        return [{key: value for key, value in line.items() if key not in TIMING_FIELDS} for line in lines]

    assert log(resumed) == log(whole) and len(log(whole)) == 8
    for name in ("weights.safetensors", "samples/step-000008.png"):
        assert (resumed / name).read_bytes() == (whole / name).read_bytes()
    faces = tiny_faces()
    one, two = (load_translator(out / "weights.safetensors").translate(faces, faces.labels) for out in (whole, resumed))
    assert torch.equal(one, two)


# Translating


def test_image_skip_starts_from_the_identity() -> None:
    faces = tiny_faces()
    targets = (faces.labels + 1) % len(CLASS_NAMES)
    assert torch.equal(tiny(image_skip=True).translate(faces, targets), faces.images)
    assert not torch.equal(tiny().translate(faces, targets), faces.images)


def test_the_target_matters() -> None:
    translator = tiny()
    faces = tiny_faces()
    one, other = (translator.translate(faces, torch.full((4,), label)) for label in (0, 1))
    assert not torch.equal(one, other)


def test_translate_takes_batches_of_any_size_and_leaves_the_mode() -> None:
    translator = tiny().train()
    faces = tiny_faces(70)
    together = translator.translate(faces, faces.labels)
    assert translator.training and not together.requires_grad
    alone = translator.translate(faces.take([66]), faces.labels[66:67])
    assert (together[66:67].int() - alone.int()).abs().max() <= 1
    assert translator.translate(faces.take([]), torch.zeros(0, dtype=torch.int64)).shape == (0, 1, SIZE, SIZE)
    with pytest.raises(CannotTranslateError, match="made for pictures of 22 px and 1 channels, got 48 px"):
        translator.translate(random_faces(2, size=48), torch.tensor([0, 1]))


def test_the_same_weights_give_the_same_images_again(tmp_path: Path) -> None:
    translator = tiny(seed=5)
    faces = tiny_faces()
    pictures = translator.translate(faces, faces.labels)
    save_translator(translator, tmp_path / "w.safetensors", class_names=faces.class_names)
    assert torch.equal(load_translator(tmp_path / "w.safetensors").translate(faces, faces.labels), pictures)
    assert torch.equal(tiny(seed=5).translate(faces, faces.labels), pictures)
    assert not torch.equal(tiny(seed=6).translate(faces, faces.labels), pictures)
