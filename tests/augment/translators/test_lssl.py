from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from gan_faces import TINY, batch_of, random_faces, step_once

from augment.core.errors import InputError
from augment.parsing.network import ParsingNetwork, ParsingSettings, freeze_parsing
from augment.translators import create_translator
from augment.translators.base import CannotTranslateError
from augment.translators.lssl import Lssl, LsslSettings

pytestmark = pytest.mark.slow


def tiny(*, parsing: bool = True, channels: int = 1, **settings: object) -> Lssl:
    translator = create_translator("lssl", num_classes=3, channels=channels, size=16, settings={**TINY, **settings})
    assert isinstance(translator, Lssl)
    if parsing:
        translator.attach_parsing(parsing_network(channels))
    return translator


def parsing_network(channels: int = 1) -> ParsingNetwork:
    torch.manual_seed(0)
    return ParsingNetwork(channels=channels, size=16, settings=ParsingSettings(width=4, levels=2))


def test_published_parameter_counts() -> None:
    """Section 4.1 at 128 px, colour, seven expressions."""
    with torch.device("meta"):
        network = Lssl(num_classes=7, channels=3, size=128, settings=LsslSettings())
    encoder = 4 * 64 * 49 + 2 * 64
    encoder += sum(16 * n * 2 * n + 2 * 2 * n for n in (64, 128, 256, 512))
    encoder += 6 * (2 * 9 * 1024 * 1024 + 4 * 1024)
    decoder = sum(9 * a * 4 * b + 4 * b + 2 * b for a, b in ((1031, 512), (512, 256), (256, 128), (128, 64)))
    decoder += 64 * 3 * 49 + 64 * 1 * 49
    assert sum(p.numel() for p in network.generator.encoder.parameters()) == encoder
    assert sum(p.numel() for p in network.generator.decoder.parameters()) == decoder
    widths = [4, 64, 128, 256, 512, 1024, 2048]
    discriminator = sum(16 * a * b + b for a, b in pairwise(widths)) + 2048 * 9 + 2048 * 7 * 4
    assert sum(p.numel() for p in network.discriminator_parameters()) == discriminator


def test_published_layer_shapes() -> None:
    """Latent of h/16, four sub-pixel blocks, patches of 2 x 2; at a sixteenth of the width, which changes no edge."""
    network = Lssl(num_classes=7, channels=3, size=128, settings=LsslSettings(width=4))
    pictures, condition = torch.zeros(1, 4, 128, 128), torch.zeros(1, 7)
    assert network.generator.encoder(pictures).shape == (1, 64, 8, 8)
    assert sum(type(block).__name__ == "ResidualBlock" for block in network.generator.encoder.blocks) == 6
    shapes = []
    features = torch.zeros(1, 64 + 7, 8, 8)
    for block in network.generator.decoder.blocks:
        features = block(features, condition)
        shapes.append(tuple(features.shape[1:]))
    assert shapes == [(32, 16, 16), (16, 32, 32), (8, 64, 64), (4, 128, 128)]
    assert network.generator(pictures, condition).shape == (1, 4, 128, 128)
    source, attributes = network.discriminator(pictures)
    assert source.shape == (1, 1, 2, 2) and attributes.shape == (1, 7)


def test_defaults_are_the_published_values() -> None:
    settings = LsslSettings()
    assert (settings.width, settings.downs, settings.residual_blocks, settings.decoder_residual_blocks) == (64, 4, 6, 0)
    assert (settings.lambda_bi, settings.lambda_id, settings.lambda_parsing) == (10, 10, 10)
    assert (settings.lambda_gp, settings.lambda_cls) == (10, 1)
    assert (settings.adversarial, settings.classification, settings.conditioning) == (
        "wasserstein",
        "binary",
        "concat",
    )
    assert settings.side_input and not settings.image_skip


@pytest.mark.parametrize("side_input", [True, False])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [32, 48, 64, 128, 256])
def test_sizes_and_channels(size: int, channels: int, side_input: bool) -> None:
    settings = {"width": 4, "residual_blocks": 1, "side_input": side_input}
    translator = create_translator("lssl", num_classes=3, channels=channels, size=size, settings=settings)
    faces = random_faces(2, size=size, channels=channels, landmarks=side_input)
    translated = translator.translate(faces, torch.tensor([1, 2]))
    assert translated.shape == faces.images.shape and translated.dtype == torch.uint8


def test_impossible_size_names_sizes_that_can() -> None:
    with pytest.raises(
        InputError, match="multiples of 16 from 32 on, near by 32 and 48; or keep 40 px with downs <= 3"
    ):
        create_translator("lssl", num_classes=3, channels=1, size=40)


def test_terms_equal_the_equations() -> None:
    translator = tiny()
    batch = batch_of(translator, random_faces())
    assert batch.side_input is not None
    x, s = batch.images, batch.side_input
    both = torch.cat([x, s], 1)
    wanted, own = translator.condition(batch.targets), translator.condition(batch.labels)
    encoder, decoder = translator.generator.encoder, translator.generator.decoder
    latent = encoder(both)
    translated = decoder(latent, wanted, both)
    back = encoder(translated)
    cycled = decoder(back, own, translated)
    source, attributes = translator.discriminator(translated)
    network = translator._parsing[0]
    p, p_translated = network(x).softmax(1), network(translated[:, :1]).log_softmax(1)
    log_yes, log_no = torch.nn.functional.logsigmoid(attributes), torch.nn.functional.logsigmoid(-attributes)
    expected = {
        "adversarial": -source.mean(),
        "classification": -(wanted * log_yes + (1 - wanted) * log_no).sum() / len(x),
        "identity": 10 * (translated[:, :1] - x).abs().mean(),
        "parsing": -10 * (p * p_translated).sum(1).mean(),
        "bidirectional": 10
        * ((cycled[:, :1] - x).abs().mean() + (cycled[:, 1:] - s).abs().mean() + (back - latent).abs().mean()),
    }
    terms = translator.generator_losses(batch)
    assert set(terms) == set(expected)
    for name, value in expected.items():
        assert terms[name].item() == pytest.approx(value.item(), rel=1e-4), name
    terms = translator.discriminator_losses(batch)
    assert set(terms) == {"adversarial", "classification", "gradient_penalty"}
    real_source, real_attributes = translator.discriminator(both)
    yes, no = torch.nn.functional.logsigmoid(real_attributes), torch.nn.functional.logsigmoid(-real_attributes)
    assert terms["adversarial"].item() == pytest.approx((source.mean() - real_source.mean()).item(), rel=1e-4, abs=1e-6)
    by_hand = -(own * yes + (1 - own) * no).sum() / len(x)
    assert terms["classification"].item() == pytest.approx(by_hand.item(), rel=1e-4)


@pytest.mark.parametrize(
    ("weight", "absent"),
    [
        ("lambda_bi", "bidirectional"),
        ("lambda_id", "identity"),
        ("lambda_parsing", "parsing"),
        ("lambda_cls", "classification"),
        ("lambda_adversarial", "adversarial"),
    ],
)
def test_each_loss_is_switched_off_by_its_weight(weight: str, absent: str) -> None:
    full = tiny()
    assert absent in full.generator_losses(batch_of(full, random_faces()))
    translator = tiny(**{weight: 0})
    terms = translator.generator_losses(batch_of(translator, random_faces()))
    assert len(terms) == 4 and absent not in terms


def test_the_way_back_comes_every_so_many_steps() -> None:
    translator = tiny(cycle_every=3)
    faces = random_faces()
    at = [translator.generator_losses(batch_of(translator, faces, step=step)) for step in range(4)]
    assert ["bidirectional" in terms for terms in at] == [True, False, False, True]


def test_without_side_input_nothing_sees_landmarks() -> None:
    translator = tiny(side_input=False)
    faces = random_faces(landmarks=False)
    translator.check(faces)
    assert translator.side_input(faces) is None and translator.picture_channels == 1
    batch = batch_of(translator, faces)
    assert "bidirectional" in step_once(translator, batch, "generator")
    step_once(translator, batch, "discriminator")


def test_the_side_input_reaches_the_output_and_the_discriminator() -> None:
    translator = tiny()
    faces = random_faces()
    assert faces.landmarks is not None
    moved = replace(faces, landmarks=faces.landmarks.flip(0))
    assert not torch.equal(translator.translate(faces, faces.labels), translator.translate(moved, faces.labels))
    here, there = batch_of(translator, faces), batch_of(translator, moved)
    both = [translator.discriminator(translator.pictures(b.images, b.side_input))[0] for b in (here, there)]
    assert not torch.equal(*both)


def test_a_discriminator_of_single_images_sees_no_landmarks() -> None:
    translator = tiny(discriminator_input="image")
    assert translator.discriminator.body[0].in_channels == 1
    batch = batch_of(translator, random_faces())
    step_once(translator, batch, "discriminator")
    assert set(step_once(translator, batch, "generator")) == {
        "adversarial",
        "classification",
        "identity",
        "parsing",
        "bidirectional",
    }


def test_the_latent_does_not_know_the_wanted_class() -> None:
    for conditioning in ("concat", "instance_norm"):
        translator = tiny(conditioning=conditioning, decoder_residual_blocks=1)
        names = {name for name, _ in translator.generator.encoder.named_parameters()}
        assert not any("affine" in name for name in names)


def test_a_step_moves_its_own_network_only_and_the_parsing_network_stays() -> None:
    translator = tiny()
    network = translator._parsing[0]
    frozen = {name: value.clone() for name, value in network.state_dict().items()}
    batch = batch_of(translator, random_faces())
    for part in ("discriminator", "generator"):
        before = {name: value.clone() for name, value in translator.state_dict().items()}
        step_once(translator, batch, part)
        moved = {name for name, value in translator.state_dict().items() if not torch.equal(value, before[name])}
        # A 16 px picture leaves 4 x 4 latents: every tensor of the stepped network gets a gradient.
        assert moved == {name for name in before if name.startswith(f"{part}.")}
    assert all(torch.equal(frozen[name], value) for name, value in network.state_dict().items())
    assert not network.training
    translator.train()
    assert not network.training and not any(p.requires_grad for p in network.parameters())


def test_the_parsing_network_is_no_part_of_the_translator() -> None:
    bare, with_network = tiny(parsing=False), tiny()
    assert set(bare.state_dict()) == set(with_network.state_dict())
    assert len(list(bare.parameters())) == len(list(with_network.parameters()))


def test_the_parsing_loss_moves_the_generator_alone() -> None:
    translator = tiny(lambda_bi=0, lambda_id=0, lambda_cls=0, lambda_adversarial=1e-9)
    translator.attach_parsing(freeze_parsing(parsing_network()))
    batch = batch_of(translator, random_faces())
    first = step_once(translator, batch, "generator")
    assert set(first) == {"parsing", "adversarial"}
    for _ in range(20):
        last = step_once(translator, batch, "generator")
    assert last["parsing"] < first["parsing"]


def test_what_is_missing_is_said_with_its_fix() -> None:
    faces = random_faces(landmarks=False)
    with pytest.raises(CannotTranslateError, match="side_input=false"):
        tiny().check(faces)
    with pytest.raises(CannotTranslateError, match="side_input=false"):
        tiny().translate(faces, faces.labels)
    empty = replace(random_faces(), landmarks=torch.full((4, 68, 2), float("nan")))
    with pytest.raises(CannotTranslateError, match="side_input=false"):
        tiny().check(empty)
    with pytest.raises(CannotTranslateError, match="lambda_parsing=0"):
        tiny(parsing=False).check(random_faces())
    grey = tiny(channels=3, parsing=False)
    grey.attach_parsing(parsing_network(1))
    with pytest.raises(CannotTranslateError, match="reads 1 channels, the pictures have 3"):
        grey.check(random_faces(channels=3))
    with pytest.raises(CannotTranslateError, match=r"made for pictures of 16 px and 1 channels, got 32 px and 3"):
        tiny().translate(random_faces(size=32, channels=3), torch.zeros(4, dtype=torch.int64))
    with pytest.raises(InputError, match="no task"):
        tiny(lambda_adversarial=0, lambda_cls=0)
    tiny(parsing=False, lambda_parsing=0).check(random_faces())
    tiny().check(random_faces())


def test_single_faces_may_lack_landmarks() -> None:
    translator = tiny()
    faces = random_faces()
    assert faces.landmarks is not None
    landmarks = faces.landmarks.clone()
    landmarks[1:] = float("nan")
    some = replace(faces, landmarks=landmarks)
    translator.check(some)
    assert translator.translate(some, some.labels).shape == faces.images.shape
    assert translator.translate(some.take([1, 2]), some.labels[1:3]).shape[0] == 2


def test_bfloat16_autocast_gives_finite_float32_terms() -> None:
    translator = tiny(conditioning="instance_norm", decoder_residual_blocks=1, image_skip=True)
    batch = batch_of(translator, random_faces())
    with torch.autocast("cpu", torch.bfloat16):
        terms = translator.discriminator_losses(batch) | translator.generator_losses(batch)
    assert all(value.dtype == torch.float32 and torch.isfinite(value) for value in terms.values())
