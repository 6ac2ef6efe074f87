from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from gan_faces import changed, copy_of, random_faces, step_once
from torch.nn import functional as F

from augment.core.errors import InputError
from augment.faces.tensors import FaceTensors, to_bytes_range, to_unit_range
from augment.networks import losses
from augment.training.loop import train_translator
from augment.training.settings import TrainingSettings
from augment.translators import create_translator, load_translator
from augment.translators.base import Batch, CannotTranslateError
from augment.translators.simgan import LocalDiscriminator, Refiner, SimGan, SimGanSettings

pytestmark = pytest.mark.slow

TINY = {"width": 8, "residual_blocks": 1, "discriminator_width": 12, "image_pool_size": 4}


def tiny(**settings: object) -> SimGan:
    translator = create_translator("simgan", num_classes=3, channels=1, size=16, settings={**TINY, **settings})
    assert isinstance(translator, SimGan)
    return translator


def simulated_faces(count: int = 6, *, size: int = 16, channels: int = 1) -> FaceTensors:
    """Noise with simulated faces of noise; every other face is turned by 30 degrees, one's turn is not known."""
    faces = random_faces(count, size=size, channels=channels)
    yaw = torch.tensor([0.0, 30.0] * count)[:count]
    yaw[count - 1] = float("nan")
    return replace(faces, simulated=faces.images.flip(0).bitwise_or(1), yaw=yaw)


def batch_of(translator: SimGan, faces: FaceTensors, *, step: int = 0, phase: str = "adversarial") -> Batch:
    """All faces as one batch, each wanted as the class after its own; their mirror pictures are the examples."""
    return Batch(
        images=to_unit_range(faces.images),
        labels=faces.labels,
        targets=(faces.labels + 1) % 3,
        side_input=translator.side_input(faces),
        step=step,
        total_steps=100,
        generator=torch.Generator().manual_seed(step),
        phase=phase,
        examples=to_unit_range(faces.images.flip(-1)),
    )


def test_published_parameter_counts() -> None:
    """Section 3.1, grey eyes: four blocks of two 3x3 convolutions of 64; 96, 64, 32, 32 and 2 features."""
    with torch.device("meta"):
        network = SimGan(num_classes=7, channels=1, size=48, settings=SimGanSettings())
        conditioned = SimGan(num_classes=7, channels=1, size=48, settings=SimGanSettings(attribute_loss=True))
    refiner = 9 * 64 + 64 + 8 * (9 * 64 * 64 + 64) + 64 + 1
    discriminator = 9 * 96 + 96 + 9 * 96 * 64 + 64 + 9 * 64 * 32 + 32 + 32 * 32 + 32 + 32 * 2 + 2
    assert sum(p.numel() for p in network.generator_parameters()) == refiner == 296_129
    assert sum(p.numel() for p in network.discriminator_parameters()) == discriminator == 75_906
    assert sum(p.numel() for p in conditioned.generator_parameters()) == refiner + 7 * 9 * 64
    assert sum(p.numel() for p in conditioned.discriminator_parameters()) == discriminator + 7 * (32 * 12 * 12 + 1)


def test_published_layer_shapes() -> None:
    """Pictures of 55 x 35 as in the paper, which any network here takes but for an attribute head's."""
    settings = SimGanSettings()
    eyes = torch.zeros(1, 1, 35, 55)
    assert Refiner(channels=1, condition_size=0, settings=settings)(eyes).shape == eyes.shape
    network = LocalDiscriminator(channels=1, size=55, classes=0, settings=settings)
    shapes, features = [], eyes
    for layer in network.body:
        features = layer(features)
        if not isinstance(layer, torch.nn.ReLU):
            shapes.append(tuple(features.shape[1:]))
    assert shapes == [(96, 18, 28), (64, 9, 14), (64, 9, 14), (32, 9, 14), (32, 9, 14)]
    scores, attributes = network(eyes)
    assert scores.shape == (1, 2, 9, 14) and attributes is None


def test_defaults_are_the_published_values() -> None:
    settings = SimGanSettings()
    assert (settings.width, settings.residual_blocks, settings.discriminator_width) == (64, 4, 96)
    assert settings.refiner_steps == 2 and settings.refiner_share == 5 * settings.discriminator_share  # 1,000 and 200
    assert not settings.attribute_loss and not settings.image_skip and settings.conditioning == "concat"
    assert settings.lambda_r1 == settings.lambda_r1_attributes == 0
    assert tiny().keeps_class and not tiny(attribute_loss=True).keeps_class


@pytest.mark.parametrize("attribute_loss", [True, False])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [32, 48, 50, 64, 71, 128])
def test_any_size_and_channels(size: int, channels: int, attribute_loss: bool) -> None:
    settings = TINY | {"attribute_loss": attribute_loss}
    translator = create_translator("simgan", num_classes=3, channels=channels, size=size, settings=settings)
    assert isinstance(translator, SimGan)
    faces = simulated_faces(2, size=size, channels=channels)
    translated = translator.translate(faces, torch.tensor([1, 2]))
    assert translated.shape == faces.images.shape and translated.dtype == torch.uint8
    translator.discriminator_losses(batch_of(translator, faces))
    SimGan.check_size(size, SimGanSettings(attribute_loss=attribute_loss))


def test_terms_equal_the_equations() -> None:
    translator = tiny(image_pool_size=0)
    batch = batch_of(translator, simulated_faces())
    assert batch.side_input is not None and batch.examples is not None
    x, y = batch.side_input, batch.examples
    refined = translator.refiner(x)
    # D(z) is the probability that a patch is refined, as in the paper.
    d_refined = translator.discriminator(refined)[0].softmax(1)[:, 0]
    d_real = translator.discriminator(y)[0].softmax(1)[:, 0]
    terms = translator.generator_losses(batch)
    expected = {
        "adversarial": -(1 - d_refined).log().mean(),
        "self_regularization": 8 * (refined - x).abs().mean(),
    }
    assert set(terms) == set(expected)
    for name, value in expected.items():
        assert terms[name].item() == pytest.approx(value.item(), rel=1e-4), name
    terms = translator.discriminator_losses(batch)
    assert set(terms) == {"adversarial"}
    by_hand = -d_refined.log().mean() - (1 - d_real).log().mean()
    assert terms["adversarial"].item() == pytest.approx(by_hand.item(), rel=1e-4)
    # Taking real and refined for each other is the known trap.
    swapped = -d_real.log().mean() - (1 - d_refined).log().mean()
    assert abs(swapped.item() - by_hand.item()) > 1e-4


def test_losses_by_hand() -> None:
    scores = torch.tensor([[[[1.0, 0.0]], [[0.0, 2.0]]]])  # two patches: refined 1 against real 0, and 0 against 2
    loss = losses.local_adversarial(scores, real=True).item()
    assert loss == pytest.approx((1.313262 + 0.126928) / 2, abs=1e-5)
    assert losses.local_adversarial(scores, real=False).item() == pytest.approx((0.313262 + 2.126928) / 2, abs=1e-5)
    regular = losses.self_regularization(torch.tensor([1.0, 0.5]), torch.tensor([0.0, 1.0])).item()
    assert regular == pytest.approx(0.75)


@pytest.mark.parametrize("classification", ["binary", "softmax"])
def test_attribute_terms(classification: str) -> None:
    translator = tiny(attribute_loss=True, classification=classification, image_pool_size=0)
    batch = batch_of(translator, simulated_faces())
    assert batch.side_input is not None and batch.examples is not None
    wanted = F.one_hot(batch.targets, 3).float()
    refined = translator.refiner(batch.side_input, wanted)
    found = []
    for pictures in (batch.examples, refined):
        attributes = translator.discriminator(pictures)[1]
        assert attributes is not None
        if classification == "softmax":
            found.append(F.cross_entropy(attributes, batch.targets).item())
        else:
            both = wanted * F.logsigmoid(attributes) + (1 - wanted) * F.logsigmoid(-attributes)
            found.append(-both.sum(1).mean().item())
    # The discriminator learns from real faces alone, whose classes are the wanted ones; the refiner from its own.
    assert translator.discriminator_losses(batch)["classification"].item() == pytest.approx(found[0], rel=1e-4)
    terms = translator.generator_losses(batch)
    assert terms["classification"].item() == pytest.approx(found[1], rel=1e-4)
    assert set(terms) == {"adversarial", "self_regularization", "classification"}


def test_the_wanted_class_conditions_it_with_the_attribute_loss_alone() -> None:
    faces = simulated_faces()
    for attribute_loss in (False, True):
        translator = tiny(attribute_loss=attribute_loss)
        one, other = (translator.translate(faces, torch.full((6,), label)) for label in (0, 1))
        assert torch.equal(one, other) != attribute_loss


def test_the_photograph_is_not_looked_at() -> None:
    translator = tiny()
    faces = simulated_faces()
    assert faces.simulated is not None
    other = replace(faces, images=faces.images.flip(0))
    assert torch.equal(translator.translate(faces, faces.labels), translator.translate(other, faces.labels))
    refined = translator.refiner(to_unit_range(faces.simulated))
    assert torch.equal(translator.translate(faces, faces.labels), to_bytes_range(refined))


def test_phases_come_as_published() -> None:
    translator = tiny(attribute_loss=True)
    assert [(phase.name, phase.trains) for phase in translator.phases()] == [
        ("refiner", ("refiner",)),
        ("discriminator", ("discriminator", "image_pool")),
        ("adversarial", None),
    ]
    assert sum(phase.share for phase in translator.phases()) == pytest.approx(1)
    assert [phase.name for phase in tiny(refiner_share=0, discriminator_share=0).phases()] == ["adversarial"]
    batch = batch_of(translator, simulated_faces(), phase="refiner")
    assert set(translator.generator_losses(batch)) == {"self_regularization"}
    with pytest.raises(InputError, match="leave no steps for both"):
        tiny(refiner_share=0.5, discriminator_share=0.5)


def test_the_refiner_steps_more_often_than_the_discriminator() -> None:
    translator = tiny(refiner_steps=3, lambda_r1=0.1, r1_every=2)
    faces = simulated_faces()
    at = [translator.discriminator_losses(batch_of(translator, faces, step=step)) for step in range(8)]
    assert [bool(terms) for terms in at] == [True, False, False, True, False, False, True, False]
    assert ["r1" in terms for terms in at if terms] == [True, False, True]
    alone = batch_of(translator, faces, step=1, phase="discriminator")
    assert translator.discriminator_losses(alone)


def test_r1_on_real_faces() -> None:
    settings = {"lambda_r1": 0.5, "lambda_r1_attributes": 0.2, "r1_every": 2, "refiner_steps": 1}
    translator = tiny(attribute_loss=True, **settings)
    batch = batch_of(translator, simulated_faces())
    assert batch.examples is not None
    x = batch.examples.clone().requires_grad_()
    scores, attributes = translator.discriminator(x)
    assert attributes is not None
    realness = (scores[:, 1] - scores[:, 0]).mean((1, 2)).sum()
    classes = attributes.gather(1, batch.targets[:, None]).sum()
    terms = translator.discriminator_losses(batch)
    for name, score, weight in (("r1", realness, 0.5), ("r1_attributes", classes, 0.2)):
        gradient = torch.autograd.grad(score, x, retain_graph=True)[0]
        expected = weight * 2 * gradient.square().sum().item() / 2 / len(x)
        assert terms[name].item() == pytest.approx(expected, rel=1e-4), name
    assert "r1_attributes" not in tiny(**settings).discriminator_losses(batch)


def test_the_class_may_enter_through_normalization() -> None:
    translator = tiny(attribute_loss=True, conditioning="instance_norm")
    faces = simulated_faces()
    before = copy_of(translator)
    step_once(translator, batch_of(translator, faces), "generator")
    affine = {name for name in changed(translator, before) if "affine" in name}
    assert affine == {name for name in before if "affine" in name} and affine
    one, other = (translator.translate(faces, torch.full((6,), label)) for label in (0, 1))
    assert not torch.equal(one, other)
    assert tiny(conditioning="instance_norm").translate(faces, faces.labels).shape == faces.images.shape


def test_half_of_what_the_discriminator_sees_is_from_the_history() -> None:
    translator = tiny(image_pool_size=3, refiner_steps=1)
    faces = simulated_faces()
    translator.discriminator_losses(batch_of(translator, faces))
    assert int(translator.image_pool.count) == 3
    kept = translator.refiner(translator.side_input(faces)[:3])
    assert torch.allclose(translator.image_pool.images, kept, atol=1e-6)
    for parameter in translator.refiner.head.parameters():
        torch.nn.init.zeros_(parameter.data)  # it now makes grey pictures
    batch = batch_of(translator, faces)
    assert batch.examples is not None
    old = losses.local_adversarial(translator.discriminator(kept)[0], real=False)
    new = losses.local_adversarial(translator.discriminator(torch.zeros_like(kept))[0], real=False)
    real = losses.local_adversarial(translator.discriminator(batch.examples)[0], real=True)
    by_hand = ((old + new) / 2 + real).item()
    assert translator.discriminator_losses(batch)["adversarial"].item() == pytest.approx(by_hand, rel=1e-4)


def test_a_step_moves_its_own_network_only() -> None:
    translator = tiny(attribute_loss=True)
    batch = batch_of(translator, simulated_faces())
    before = copy_of(translator)
    step_once(translator, batch, "discriminator")
    moved = changed(translator, before)
    assert moved == {name for name in before if name.startswith(("discriminator.", "image_pool."))}
    before = copy_of(translator)
    step_once(translator, batch, "generator")
    assert changed(translator, before) == {name for name in before if name.startswith("refiner.")}


def test_frontal_faces_are_the_examples() -> None:
    faces = simulated_faces()
    assert tiny().example_faces(faces).tolist() == [True, False, True, False, True, True]
    assert tiny(frontal_yaw=30).example_faces(faces).all()
    assert tiny(frontal_yaw=None).example_faces(faces).all()
    assert tiny().example_faces(replace(faces, yaw=None)).all()
    tiny().check(faces)
    with pytest.raises(CannotTranslateError, match=r"at most 10 degrees in happy\. .* frontal_yaw higher, or to null"):
        tiny().check(faces.take([0, 1, 2]))


def test_what_is_missing_is_said_with_its_fix() -> None:
    faces = simulated_faces()
    assert faces.simulated is not None
    some = faces.simulated.clone()
    some[[1, 4]] = 0
    partly, without = replace(faces, simulated=some), replace(faces, simulated=None)
    assert tiny().usable_sources(partly).tolist() == [True, False, True, True, False, True]
    assert not tiny().usable_sources(without).any() and tiny().usable_sources(faces).all()
    tiny().check(partly)
    with pytest.raises(CannotTranslateError, match=r"6 of 6 faces have no .*dataset\.settings\.simulated=true"):
        tiny().check(without)
    with pytest.raises(CannotTranslateError, match="6 of 6 faces have no simulated"):
        tiny().side_input(without)
    with pytest.raises(CannotTranslateError, match="2 of 6 faces have no simulated frontal face, the first is face-1"):
        tiny().translate(partly, faces.labels)
    with pytest.raises(CannotTranslateError, match="made for pictures of 16 px and 1 channels, got 32 px and 3"):
        tiny().translate(simulated_faces(size=32, channels=3), faces.labels)
    batch = batch_of(tiny(), faces)
    with pytest.raises(CannotTranslateError, match="no simulated faces"):
        tiny().generator_losses(replace(batch, side_input=None))
    with pytest.raises(CannotTranslateError, match="no examples"):
        tiny().discriminator_losses(replace(batch, examples=None))
    with pytest.raises(InputError, match="no task"):
        tiny(lambda_adversarial=0)
    with pytest.raises(InputError, match="nothing to learn alone"):
        tiny(lambda_reg=0)
    with pytest.raises(InputError, match="is not a setting of this translator"):
        tiny(lambda_cycle=1)


def test_translate_takes_batches_of_any_size_and_leaves_the_mode() -> None:
    translator = tiny(attribute_loss=True).train()
    faces = simulated_faces(70)
    together = translator.translate(faces, faces.labels)
    assert translator.training and not together.requires_grad
    alone = translator.translate(faces.take([66]), faces.labels[66:67])
    assert (together[66:67].int() - alone.int()).abs().max() <= 1
    assert translator.translate(faces.take([]), torch.zeros(0, dtype=torch.int64)).shape == (0, 1, 16, 16)


def test_image_skip_starts_from_the_simulated_face() -> None:
    faces = simulated_faces()
    assert faces.simulated is not None
    assert torch.equal(tiny(image_skip=True).translate(faces, faces.labels), faces.simulated)
    assert not torch.equal(tiny().translate(faces, faces.labels), faces.simulated)


def test_both_networks_learn() -> None:
    translator = tiny(attribute_loss=True, image_skip=True, image_pool_size=0, lambda_reg=1)
    batch = batch_of(translator, simulated_faces())
    first = step_once(translator, batch, "discriminator")
    for _ in range(60):
        last = step_once(translator, batch, "discriminator")
    assert last["adversarial"] < 0.7 * first["adversarial"] and last["classification"] < 0.5 * first["classification"]
    first = step_once(translator, batch, "generator", 1e-2)
    for _ in range(60):
        last = step_once(translator, batch, "generator", 1e-2)
    assert last["adversarial"] < first["adversarial"] and last["classification"] < first["classification"]


def test_the_loop_goes_through_the_phases(tmp_path: Path) -> None:
    """The refiner alone, the discriminator alone, then both; the history is in no weights file."""
    translator = tiny(refiner_share=0.3, discriminator_share=0.3, refiner_steps=1)
    training = TrainingSettings(steps=10, batch_size=4, discriminator_steps=1, ema_decay=0, log_every=1, sample_faces=1)
    faces = simulated_faces(9)
    result = train_translator(translator, faces, None, training, out=tmp_path / "out", scratch=tmp_path / "s", seed=1)
    lines = (tmp_path / "out" / "log.jsonl").read_text().splitlines()
    adversarial = ["generator/adversarial" in line for line in lines], ["discriminator/adv" in line for line in lines]
    assert adversarial == ([False] * 6 + [True] * 4, [False] * 3 + [True] * 7)
    assert int(translator.image_pool.count) == 4
    again = load_translator(result.weights)
    assert isinstance(again, SimGan) and not int(again.image_pool.count)
    assert torch.equal(again.translate(faces, faces.labels), translator.translate(faces, faces.labels))


def test_bfloat16_autocast_gives_finite_float32_terms() -> None:
    translator = tiny(attribute_loss=True, lambda_r1=1.0, refiner_steps=1)
    batch = batch_of(translator, simulated_faces())
    with torch.autocast("cpu", torch.bfloat16):
        for _ in range(2):
            terms = translator.discriminator_losses(batch) | translator.generator_losses(batch)
            assert all(value.dtype == torch.float32 and torch.isfinite(value) for value in terms.values())
