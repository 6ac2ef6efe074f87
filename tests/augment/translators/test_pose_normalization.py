from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from gan_faces import TINY, batch_of, random_faces, step_once

from augment.core.errors import InputError
from augment.faces.tensors import FaceTensors, to_unit_range
from augment.parsing.network import ParsingNetwork, ParsingSettings
from augment.training.batches import BatchMaker
from augment.translators import create_translator
from augment.translators.base import Batch, CannotTranslateError
from augment.translators.lssl import LsslSettings
from augment.translators.pose_normalization import LsslPose, LsslPoseSettings

pytestmark = pytest.mark.slow


def tiny(*, parsing: bool = True, channels: int = 1, **settings: object) -> LsslPose:
    translator = create_translator(
        "lssl_pose", num_classes=3, channels=channels, size=16, settings={**TINY, **settings}, seed=0
    )
    assert isinstance(translator, LsslPose)
    if parsing:
        torch.manual_seed(0)
        translator.attach_parsing(
            ParsingNetwork(channels=channels, size=16, settings=ParsingSettings(width=4, levels=2))
        )
    return translator


def turned_faces(count: int = 6, *, size: int = 16, channels: int = 1) -> FaceTensors:
    """Noise, turned by 0, 0, 0, 40, 40, 40, 0 ... degrees, each with a simulated face."""
    faces = random_faces(count, size=size, channels=channels, landmarks=False)
    generator = torch.Generator().manual_seed(9)
    simulated = torch.randint(1, 256, faces.images.shape, dtype=torch.uint8, generator=generator)
    return replace(faces, simulated=simulated, yaw=40.0 * (torch.arange(count) // 3 % 2))


def posed_batch(translator: LsslPose, faces: FaceTensors, *, step: int = 0) -> Batch:
    examples = torch.rand(faces.images.shape, generator=torch.Generator().manual_seed(3)) * 2 - 1
    return replace(batch_of(translator, faces, step=step), examples=examples)


def test_published_parameter_counts() -> None:
    """LSSL's networks at 128 px, colour, seven expressions; s is a picture, and the discriminator sees one picture."""
    with torch.device("meta"):
        network = LsslPose(num_classes=7, channels=3, size=128, settings=LsslPoseSettings())
    encoder = (3 + 3) * 64 * 49 + 2 * 64
    encoder += sum(16 * n * 2 * n + 2 * 2 * n for n in (64, 128, 256, 512))
    encoder += 6 * (2 * 9 * 1024 * 1024 + 4 * 1024)
    decoder = sum(9 * a * 4 * b + 4 * b + 2 * b for a, b in ((1031, 512), (512, 256), (256, 128), (128, 64)))
    decoder += 2 * 64 * 3 * 49
    assert sum(p.numel() for p in network.generator.encoder.parameters()) == encoder
    assert sum(p.numel() for p in network.generator.decoder.parameters()) == decoder
    widths = [3, 64, 128, 256, 512, 1024, 2048]
    discriminator = sum(16 * a * b + b for a, b in pairwise(widths)) + 2048 * 9 + 2048 * 7 * 4
    assert sum(p.numel() for p in network.discriminator_parameters()) == discriminator


def test_published_layer_shapes() -> None:
    network = LsslPose(num_classes=7, channels=3, size=128, settings=LsslPoseSettings(width=4))
    pictures = torch.zeros(1, 6, 128, 128)
    assert network.generator.encoder(pictures).shape == (1, 64, 8, 8)
    assert network.generator(pictures, torch.zeros(1, 7)).shape == (1, 6, 128, 128)
    source, attributes = network.discriminator(pictures[:, :3])
    assert source.shape == (1, 1, 2, 2) and attributes.shape == (1, 7)


def test_defaults_are_those_of_lssl() -> None:
    of_lssl, own = LsslSettings().model_dump(), LsslPoseSettings().model_dump()
    assert set(of_lssl) - set(own) == {"side_input", "side_sigma", "discriminator_input"}
    assert own == {key: value for key, value in of_lssl.items() if key in own} | {"frontal_yaw": 10.0}


def test_terms_equal_the_equations() -> None:
    translator = tiny()
    batch = posed_batch(translator, turned_faces())
    assert batch.side_input is not None and batch.examples is not None
    x, s, real = batch.side_input, batch.images, batch.examples
    both = torch.cat([x, s], 1)
    wanted, simulated_class = translator.condition(batch.targets), translator.condition(batch.labels)
    encoder, decoder = translator.generator.encoder, translator.generator.decoder
    latent = encoder(both)
    translated = decoder(latent, wanted, both)
    back = encoder(translated)
    cycled = decoder(back, simulated_class, translated)
    source, attributes = translator.discriminator(translated[:, :1])
    network = translator._parsing[0]
    p, p_translated = network(x).softmax(1), network(translated[:, :1]).log_softmax(1)

    def cross_entropy(scores: torch.Tensor) -> torch.Tensor:
        yes, no = torch.nn.functional.logsigmoid(scores), torch.nn.functional.logsigmoid(-scores)
        return -(wanted * yes + (1 - wanted) * no).sum() / len(x)

    expected = {
        "adversarial": -source.mean(),
        "classification": cross_entropy(attributes),
        "identity": 10 * (translated[:, :1] - x).abs().mean(),
        "parsing": -10 * (p * p_translated).sum(1).mean(),
        "bidirectional": 10
        * ((cycled[:, :1] - x).abs().mean() + (cycled[:, 1:] - s).abs().mean() + (back - latent).abs().mean()),
    }
    terms = translator.generator_losses(batch)
    assert set(terms) == set(expected)
    for name, value in expected.items():
        assert terms[name].item() == pytest.approx(value.item(), rel=1e-4), name

    real_source, real_attributes = translator.discriminator(real)
    weight = torch.rand(len(x), generator=torch.Generator().manual_seed(0)).view(-1, 1, 1, 1)
    point = (weight * real + (1 - weight) * translated[:, :1].detach()).requires_grad_()
    slope = torch.autograd.grad(translator.discriminator(point)[0].sum(), point)[0].flatten(1).norm(dim=1)
    expected = {
        "adversarial": source.mean() - real_source.mean(),
        "classification": cross_entropy(real_attributes),  # the examples' classes are the wanted ones
        "gradient_penalty": 10 * (slope - 1).square().mean(),
    }
    terms = translator.discriminator_losses(posed_batch(translator, turned_faces()))
    assert set(terms) == set(expected)
    for name, value in expected.items():
        assert terms[name].item() == pytest.approx(value.item(), rel=1e-4, abs=1e-6), name


def test_the_photographs_label_is_used_nowhere() -> None:
    """The table's label is read as the simulated face's, and of it only the way back conditioning."""
    translator = tiny(lambda_r1=1.0, r1_attributes=True, r1_every=1)
    changed: set[str] = set()
    for name in ("discriminator_losses", "generator_losses"):
        terms = []
        for shift in (0, 1):
            batch = posed_batch(translator, turned_faces())
            batch = replace(batch, labels=(batch.labels + shift) % 3)
            terms.append(getattr(translator, name)(batch))
        changed |= {f"{name}.{term}" for term in terms[0] if not torch.equal(terms[0][term], terms[1][term])}
    assert changed == {"generator_losses.bidirectional"}


def test_the_discriminator_sees_one_picture() -> None:
    translator = tiny()
    before = translator.discriminator_losses(posed_batch(translator, turned_faces()))
    with torch.no_grad():
        translator.generator.decoder.side_head.weight.normal_()  # type: ignore[union-attr, operator]
    after = translator.discriminator_losses(posed_batch(translator, turned_faces()))
    assert all(torch.equal(before[name], after[name]) for name in before)
    batch = replace(posed_batch(translator, turned_faces()), examples=torch.zeros(6, 1, 16, 16))
    assert not torch.equal(translator.discriminator_losses(batch)["adversarial"], before["adversarial"])


def test_the_output_depends_on_both_pictures_and_on_the_class() -> None:
    translator = tiny()
    faces = turned_faces()
    assert faces.simulated is not None
    made = translator.translate(faces, faces.labels)
    assert made.shape == faces.images.shape and made.dtype == torch.uint8
    by_hand = translator.generator(
        torch.cat([to_unit_range(faces.simulated), to_unit_range(faces.images)], 1), translator.condition(faces.labels)
    )
    assert (made.float() - (by_hand[:, :1] + 1) * 127.5).abs().max() <= 0.5001
    for other in (
        replace(faces, images=faces.images.flip(0)),
        replace(faces, simulated=faces.simulated.flip(0)),
    ):
        assert not torch.equal(translator.translate(other, faces.labels), made)
    assert not torch.equal(translator.translate(faces, faces.labels.flip(0)), made)
    assert translator.translate(faces.take([]), faces.labels[:0]).shape == (0, 1, 16, 16)


def test_with_image_skip_training_starts_from_the_simulated_face() -> None:
    translator = tiny(image_skip=True)
    faces = turned_faces()
    assert faces.simulated is not None
    assert torch.equal(translator.translate(faces, faces.labels), faces.simulated)


def test_examples_are_frontal_faces_of_the_wanted_class_and_both_pictures_are_mirrored_together() -> None:
    translator = tiny()
    faces = turned_faces(24)
    faces = replace(faces, simulated=faces.images.maximum(torch.tensor(1, dtype=torch.uint8)))
    assert faces.yaw is not None
    pictures = to_unit_range(faces.images)
    batches = BatchMaker(translator, faces, batch_size=8, balanced_sources=False, balanced_targets=True, mirror=True)
    generator = torch.Generator().manual_seed(0)
    turned_sources, mirrored_examples = 0, 0
    for step in range(4):
        batch = batches.draw(generator, step=step, total_steps=4)
        assert batch.side_input is not None and batch.examples is not None
        assert (batch.side_input - batch.images).abs().max() < 0.01
        for image, example, target in zip(batch.images, batch.examples, batch.targets, strict=True):
            turned_sources += any(
                face.yaw and (torch.equal(image, own) or torch.equal(image.flip(-1), own))
                for own, face in ((pictures[row], faces.take([row])) for row in range(24))
            )
            straight = [row for row in range(24) if torch.equal(example, pictures[row])]
            mirrored = [row for row in range(24) if torch.equal(example.flip(-1), pictures[row])]
            mirrored_examples += len(mirrored)
            (row,) = straight + mirrored
            assert faces.labels[row] == target and faces.yaw[row] == 0
    assert 0 < turned_sources < 32 and 0 < mirrored_examples < 32


def test_frontal_is_what_the_setting_says_and_what_is_not_known() -> None:
    faces = replace(turned_faces(5), yaw=torch.tensor([-10.0, 10.5, float("nan"), 40.0, 0.0]))
    assert tiny().example_faces(faces).tolist() == [True, False, True, False, True]
    assert tiny(frontal_yaw=15.0).example_faces(faces).tolist() == [True, True, True, False, True]
    assert tiny(frontal_yaw=None).example_faces(faces).all()
    assert tiny().example_faces(replace(faces, yaw=None)).all()


def test_a_step_moves_its_own_network_only_and_the_parsing_network_stays() -> None:
    translator = tiny()
    frozen = {name: value.clone() for name, value in translator._parsing[0].state_dict().items()}
    batch = posed_batch(translator, turned_faces())
    for part in ("discriminator", "generator"):
        before = {name: value.clone() for name, value in translator.state_dict().items()}
        step_once(translator, batch, part)
        moved = {name for name, value in translator.state_dict().items() if not torch.equal(value, before[name])}
        assert moved == {name for name in before if name.startswith(f"{part}.")}
    assert all(torch.equal(frozen[name], value) for name, value in translator._parsing[0].state_dict().items())


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [32, 48, 64, 128, 256])
def test_sizes_and_channels(size: int, channels: int) -> None:
    settings = {"width": 4, "residual_blocks": 1}
    translator = create_translator("lssl_pose", num_classes=3, channels=channels, size=size, settings=settings)
    faces = turned_faces(2, size=size, channels=channels)
    assert translator.translate(faces, torch.tensor([1, 2])).shape == faces.images.shape
    with pytest.raises(InputError, match="multiples of 16"):
        create_translator("lssl_pose", num_classes=3, channels=channels, size=size + 4)


def test_what_is_missing_is_said_with_its_fix() -> None:
    faces = turned_faces()
    assert faces.simulated is not None
    bare = replace(faces, simulated=None)
    for refused in (tiny().check, tiny().check_sources, tiny().side_input):
        with pytest.raises(CannotTranslateError, match=r"6 of 6 faces have no simulated .*simulated=true"):
            refused(bare)
    assert not tiny().usable_sources(bare).any()
    some = replace(faces, simulated=faces.simulated * (torch.arange(6) != 2).view(-1, 1, 1, 1))
    assert tiny().usable_sources(some).tolist() == [True, True, False, True, True, True]
    tiny().check(some)
    with pytest.raises(CannotTranslateError, match="1 of 6 faces have no simulated frontal face, the first is face-2"):
        tiny().translate(some, some.labels)
    tiny().translate(some.take([0, 1, 3]), some.labels[:3])
    sideways = replace(faces, yaw=torch.tensor([0.0, 30, 0, 0, 40, 0]))
    with pytest.raises(CannotTranslateError, match=r"at most 10 degrees in happy\. .*frontal_yaw higher"):
        tiny().check(sideways)
    tiny(frontal_yaw=None).check(sideways)
    with pytest.raises(CannotTranslateError, match=r"lssl_pose: the parsing loss .*lambda_parsing=0"):
        tiny(parsing=False).check(faces)
    tiny(parsing=False, lambda_parsing=0).check(faces)
    with pytest.raises(CannotTranslateError, match="made for pictures of 16 px"):
        tiny().translate(turned_faces(size=32), torch.zeros(6, dtype=torch.int64))
    with pytest.raises(CannotTranslateError, match="no examples"):
        tiny().discriminator_losses(batch_of(tiny(), faces))
    with pytest.raises(CannotTranslateError, match="no simulated faces"):
        tiny().generator_losses(replace(posed_batch(tiny(), faces), side_input=None))
    for setting in ("side_input", "side_sigma", "discriminator_input"):
        with pytest.raises(InputError, match=setting):
            create_translator("lssl_pose", num_classes=3, channels=1, size=16, settings={setting: 0.1})
