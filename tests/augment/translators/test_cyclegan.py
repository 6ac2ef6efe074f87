from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from gan_faces import CLASS_NAMES, changed, copy_of, random_faces, step_once

from augment.core.errors import InputError
from augment.faces.tensors import to_bytes_range, to_unit_range
from augment.training.loop import train_translator
from augment.training.settings import TrainingSettings
from augment.translators import create_translator, load_translator
from augment.translators.base import Batch, CannotTranslateError
from augment.translators.cyclegan import CycleGan, CycleGanDiscriminator, CycleGanGenerator, CycleGanSettings

pytestmark = pytest.mark.slow

TINY = {"width": 4, "residual_blocks": 1, "image_pool_size": 4, "discriminator_downs": 2}
ANGRY, HAPPY, NEUTRAL = range(3)


def tiny(**settings: object) -> CycleGan:
    translator = create_translator("cyclegan", num_classes=3, channels=1, size=16, settings={**TINY, **settings})
    assert isinstance(translator, CycleGan)
    return translator


def strong(**settings: object) -> CycleGan:
    """With weights that make each generator's output differ clearly from the others'."""
    translator = tiny(**settings)
    for place, parameter in enumerate(translator.generator.parameters()):
        torch.nn.init.normal_(parameter, 0, 0.3, generator=torch.Generator().manual_seed(place))
    return translator


def pair_batch(other: int = HAPPY, *, step: int = 0, count: int = 3, phase_seed: int = 0) -> Batch:
    """Neutral faces, and as many of another class as examples."""
    faces = random_faces(2 * count)
    return Batch(
        images=to_unit_range(faces.images[:count]),
        labels=torch.full((count,), NEUTRAL),
        targets=torch.full((count,), other),
        side_input=None,
        step=step,
        total_steps=100,
        generator=torch.Generator().manual_seed(phase_seed),
        examples=to_unit_range(faces.images[count:]),
    )


def test_published_parameter_counts() -> None:
    """The released code reports 11.378 M and 2.765 M at 256 px, with biases before normalizations; ours has none."""
    with torch.device("meta"):
        network = CycleGan(num_classes=2, channels=3, size=256, settings=CycleGanSettings())
    generator = 3 * 64 * 49 + 9 * 64 * 128 + 9 * 128 * 256 + 9 * 2 * 9 * 256 * 256
    generator += 9 * 256 * 128 + 9 * 128 * 64 + 64 * 3 * 49 + 3
    dead = 64 + 128 + 256 + 9 * 2 * 256 + 128 + 64
    assert generator + dead == 11_378_179
    discriminator = 16 * 3 * 64 + 64 + 16 * 64 * 128 + 16 * 128 * 256 + 16 * 256 * 512 + 16 * 512 + 1
    assert discriminator + 128 + 256 + 512 == 2_764_737
    assert sum(p.numel() for p in network.generator_parameters()) == 2 * generator
    assert sum(p.numel() for p in network.discriminator_parameters()) == 2 * discriminator


def test_published_layer_shapes() -> None:
    """c7s1-64, d128, d256, R256 ..., u128, u64, c7s1-3 at a sixteenth of the width; nine blocks from 256 px on."""
    for size, blocks in ((128, 6), (256, 9)):
        network = CycleGanGenerator(channels=3, size=size, settings=CycleGanSettings(width=4))
        features, shapes = torch.zeros(1, 3, size, size), []
        for block in network.blocks:
            features = block(features)
            shapes.append((features.shape[1], size // features.shape[2]))
        assert shapes == [(4, 1), (8, 2), (16, 4), *[(16, 4)] * blocks, (8, 2), (4, 1)]
        assert network(torch.zeros(1, 3, size, size)).shape == (1, 3, size, size)


def test_the_discriminator_sees_patches_of_70_pixels() -> None:
    """C64-C128-C256-C512: a score depends on 70 x 70 pixels and on nothing else."""
    network = CycleGanDiscriminator(channels=3, size=256, settings=CycleGanSettings(width=4, discriminator_norm=False))
    convolutions = [layer for layer in network.convolutions if isinstance(layer, torch.nn.Conv2d)]
    assert [layer.out_channels for layer in convolutions] == [4, 8, 16, 32]
    assert [layer.stride[0] for layer in convolutions] == [2, 2, 2, 1]
    picture = torch.randn(1, 3, 256, 256, requires_grad=True)
    scores = network(picture)
    assert scores.shape == (1, 1, 30, 30)
    scores[0, 0, 15, 15].backward()
    assert picture.grad is not None
    rows = torch.nonzero(picture.grad.abs().sum((0, 1, 3)))[:, 0]
    assert int(rows.max() - rows.min()) + 1 == 70
    for downs, edge in ((1, 16), (2, 34)):
        small = CycleGanSettings(width=4, discriminator_norm=False, discriminator_downs=downs)
        picture = torch.randn(1, 1, 96, 96, requires_grad=True)
        scores = CycleGanDiscriminator(channels=1, size=96, settings=small)(picture)
        scores[0, 0, scores.shape[2] // 2, scores.shape[2] // 2].backward()
        assert picture.grad is not None
        rows = torch.nonzero(picture.grad.abs().sum((0, 1, 3)))[:, 0]
        assert int(rows.max() - rows.min()) + 1 == edge


def test_defaults_are_the_published_values() -> None:
    settings = CycleGanSettings()
    assert (settings.width, settings.downs, settings.outer_kernel, settings.discriminator_downs) == (64, 2, 7, 3)
    assert (settings.lambda_cycle, settings.lambda_identity, settings.image_pool_size) == (10, 0, 50)
    assert settings.adversarial == "least_squares" and settings.discriminator_norm
    assert not settings.image_skip and settings.lambda_r1 == 0 and settings.cycle_every == 1
    weights = torch.cat([p.flatten() for p in CycleGanGenerator(channels=1, size=64, settings=settings).parameters()])
    assert weights.std().item() == pytest.approx(0.02, rel=0.02)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [32, 48, 64, 96, 128])
def test_sizes_and_channels(size: int, channels: int) -> None:
    settings = {"width": 4, "residual_blocks": 1, "image_pool_size": 2}
    translator = create_translator("cyclegan", num_classes=3, channels=channels, size=size, settings=settings)
    faces = random_faces(3, size=size, channels=channels)
    translated = translator.translate(faces, torch.tensor([1, 2, 0]))
    assert translated.shape == faces.images.shape and translated.dtype == torch.uint8


def test_impossible_size_names_sizes_that_can() -> None:
    with pytest.raises(InputError, match="multiples of 4 from 8 on, near by 48 and 52; or keep 50 px with downs <= 1"):
        create_translator("cyclegan", num_classes=3, channels=1, size=50)
    with pytest.raises(ValueError, match=r"from 24 px on; or keep 16 px with discriminator_downs <= 2"):
        CycleGan.check_size(16, CycleGanSettings())
    CycleGan.check_size(24, CycleGanSettings())
    with pytest.raises(InputError, match="is not a setting of this translator"):
        tiny(lambda_rec=1)


def test_a_bundle_has_a_pair_for_each_class_but_the_hub() -> None:
    translator = tiny()
    translator.check(random_faces(6))
    assert len(translator.generator) == len(translator.discriminator) == len(translator.image_pool) == 2
    assert [translator.batch_classes(step) for step in range(4)] == [(2, 0), (2, 1), (2, 0), (2, 1)]
    translator = tiny(hub="angry")
    translator.check(random_faces(6))
    assert [translator.batch_classes(step) for step in range(3)] == [(0, 1), (0, 2), (0, 1)]
    with pytest.raises(ValueError, match="call check"):
        tiny().batch_classes(0)
    assert translator.example_faces(random_faces(4)).all()


def test_terms_equal_the_equations() -> None:
    translator = strong(lambda_identity=5)
    batch = pair_batch(HAPPY)
    assert batch.examples is not None
    x, y = batch.images, batch.examples
    g, f = translator.generators[1].leaving, translator.generators[1].returning
    d_y, d_x = translator.discriminators[1].leaving, translator.discriminators[1].returning
    expected = {
        "leaving": (d_y(g(x)) - 1).square().mean(),
        "returning": (d_x(f(y)) - 1).square().mean(),
        "cycle": 10 * ((f(g(x)) - x).abs().mean() + (g(f(y)) - y).abs().mean()),
        "identity": 5 * ((g(y) - y).abs().mean() + (f(x) - x).abs().mean()),
    }
    terms = translator.generator_losses(batch)
    assert set(terms) == set(expected)
    for name, value in expected.items():
        assert terms[name].item() == pytest.approx(value.item(), rel=1e-4), name
    expected = {
        "leaving": ((d_y(y) - 1).square().mean() + d_y(g(x)).square().mean()) / 2,
        "returning": ((d_x(x) - 1).square().mean() + d_x(f(y)).square().mean()) / 2,
    }
    terms = translator.discriminator_losses(batch)
    assert set(terms) == set(expected)
    for name, value in expected.items():
        assert terms[name].item() == pytest.approx(value.item(), rel=1e-4), name


def test_sources_as_fakes() -> None:
    translator = strong(sources_as_fakes=True)
    batch = pair_batch(HAPPY)
    assert batch.examples is not None
    x, y = batch.images, batch.examples
    judge = translator.discriminators[1].leaving
    fake = torch.cat([translator.generators[1].leaving(x), x])
    by_hand = ((judge(y) - 1).square().mean() + judge(fake).square().mean()) / 2
    assert translator.discriminator_losses(batch)["leaving"].item() == pytest.approx(by_hand.item(), rel=1e-4)
    assert not CycleGanSettings().sources_as_fakes


def test_losses_by_hand() -> None:
    from augment.networks import losses

    real, fake = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.5, -0.5]])
    assert losses.least_squares_discriminator(real, fake).item() == pytest.approx((0.5 + 0.25) / 2)
    assert losses.least_squares_generator(fake).item() == pytest.approx((0.25 + 2.25) / 2)


def test_r1_and_the_way_back_come_by_a_pairs_own_turns() -> None:
    translator = tiny(lambda_r1=0.5, r1_every=2, cycle_every=2, discriminator_norm=False)
    faces = random_faces(6)
    translator.check(faces)
    found = []
    for step in range(6):
        batch = pair_batch(translator.batch_classes(step)[1], step=step)
        found.append(("r1" in translator.discriminator_losses(batch), "cycle" in translator.generator_losses(batch)))
    assert found == [(True, True)] * 2 + [(False, False)] * 2 + [(True, True)] * 2
    batch = pair_batch(ANGRY)
    assert batch.examples is not None
    total = torch.zeros(())
    for judge, real in (("leaving", batch.examples), ("returning", batch.images)):
        x = real.clone().requires_grad_()
        score = getattr(translator.discriminators[0], judge)(x).mean((1, 2, 3)).sum()
        total += torch.autograd.grad(score, x)[0].square().sum() / 2 / len(x)
    assert translator.discriminator_losses(batch)["r1"].item() == pytest.approx(0.5 * 2 * total.item(), rel=1e-4)


def test_a_step_moves_its_own_pairs_own_network_only() -> None:
    translator = strong(lambda_identity=1)
    before = copy_of(translator)
    step_once(translator, pair_batch(HAPPY), "discriminator")
    moved = changed(translator, before)
    assert {name for name in moved if name.startswith("image_pool.")} == {
        f"image_pool.1.{direction}.{what}" for direction in ("leaving", "returning") for what in ("images", "count")
    }
    assert {name for name in moved if not name.startswith("image_pool.")} == {
        name for name in before if name.startswith("discriminator.1.")
    }
    before = copy_of(translator)
    step_once(translator, pair_batch(HAPPY), "generator")
    assert changed(translator, before) == {name for name in before if name.startswith("generator.1.")}


def test_the_discriminator_sees_earlier_outputs() -> None:
    translator = strong(image_pool_size=3)
    first = [translator.discriminator_losses(pair_batch())["leaving"].item() for _ in range(2)]
    assert first[0] == first[1] or int(translator.pools[1].leaving.count) == 3
    kept = translator.pools[1].leaving.images.clone()
    assert torch.allclose(kept, translator.generators[1].leaving(pair_batch().images), atol=1e-6)
    for parameter in translator.generators[1].leaving.parameters():
        torch.nn.init.zeros_(parameter.data)  # its outputs are now grey
    losses = {translator.discriminator_losses(pair_batch(phase_seed=seed))["leaving"].item() for seed in range(6)}
    assert len(losses) > 1  # which old ones are shown is chance
    assert not translator.pools[0].leaving.count


def test_translation_goes_through_the_hub() -> None:
    translator = strong()
    faces = random_faces(9)
    targets = torch.tensor([0, 0, 0, 1, 1, 1, 2, 2, 2])
    translated = translator.translate(faces, targets)
    x = to_unit_range(faces.images)
    pairs = translator.generators
    leave = {ANGRY: pairs[0].leaving, HAPPY: pairs[1].leaving}
    back = {ANGRY: pairs[0].returning, HAPPY: pairs[1].returning}
    with torch.no_grad():
        for row, (own, target) in enumerate(zip(faces.labels.tolist(), targets.tolist(), strict=True)):
            picture = x[row : row + 1]
            if own == target == NEUTRAL:
                picture = back[ANGRY](leave[ANGRY](picture))
            else:
                picture = back[own](picture) if own != NEUTRAL else picture
                picture = leave[target](picture) if target != NEUTRAL else picture
            assert (to_bytes_range(picture).int() - translated[row].int()).abs().max() <= 1, (own, target)


def test_another_hub_files_the_pairs_anew() -> None:
    translator = strong(hub="happy")
    faces = random_faces(3)
    translated = translator.translate(faces, torch.full((3,), HAPPY))
    with torch.no_grad():
        angry = translator.generators[0].returning(to_unit_range(faces.images[:1]))
        neutral = translator.generators[1].returning(to_unit_range(faces.images[2:3]))
    assert (to_bytes_range(angry).int() - translated[0].int()).abs().max() <= 1
    assert (to_bytes_range(neutral).int() - translated[2].int()).abs().max() <= 1


def test_translate_takes_batches_of_any_size_and_leaves_the_mode() -> None:
    translator = strong().train()
    faces = random_faces(70)
    targets = faces.labels.roll(1)
    together = translator.translate(faces, targets)
    assert translator.training and not together.requires_grad
    alone = translator.translate(faces.take([66]), targets[66:67])
    assert (together[66:67].int() - alone.int()).abs().max() <= 1
    assert translator.translate(faces.take([]), torch.zeros(0, dtype=torch.int64)).shape == (0, 1, 16, 16)


def test_image_skip_starts_from_the_identity() -> None:
    faces = random_faces(9)
    targets = torch.tensor([0, 0, 0, 1, 1, 1, 2, 2, 2])
    assert torch.equal(tiny(image_skip=True).translate(faces, targets), faces.images)
    assert not torch.equal(tiny().translate(faces, targets), faces.images)


def test_what_is_missing_is_said_with_its_fix() -> None:
    translator = tiny(hub="calm")
    with pytest.raises(CannotTranslateError, match=r"'calm', is none of the classes angry, .* hub=angry"):
        translator.check(random_faces())
    faces = random_faces()
    with pytest.raises(CannotTranslateError, match=r"every class.* none is neutral"):
        tiny().check(faces.take([0, 1]))
    with pytest.raises(CannotTranslateError, match=r"made for pictures of 16 px and 1 channels, got 32 px and 3"):
        tiny().translate(random_faces(size=32, channels=3), torch.zeros(4, dtype=torch.int64))
    with pytest.raises(CannotTranslateError, match="made for 3 classes, got 2"):
        tiny().check(replace(faces.take([0, 1]), class_names=CLASS_NAMES[:2]))
    with pytest.raises(CannotTranslateError, match="no examples"):
        tiny().generator_losses(replace(pair_batch(), examples=None))
    tiny().check(faces)


def test_the_pair_learns() -> None:
    translator = tiny(image_skip=True, discriminator_norm=False, adversarial="non_saturating", image_pool_size=0)
    batch = pair_batch()
    first = step_once(translator, batch, "discriminator")
    for _ in range(40):
        last = step_once(translator, batch, "discriminator")
    assert last["leaving"] < 0.5 * first["leaving"]
    first = step_once(translator, batch, "generator", 1e-2)
    for _ in range(40):
        last = step_once(translator, batch, "generator", 1e-2)
    assert last["leaving"] < 0.7 * first["leaving"] and last["returning"] < 0.7 * first["returning"]


def test_the_loop_trains_every_pair_and_the_history_is_in_no_weights_file(tmp_path: Path) -> None:
    translator = tiny()
    before = copy_of(translator)
    training = TrainingSettings(steps=4, batch_size=2, discriminator_steps=1, ema_decay=0, sample_faces=1)
    faces = random_faces(9)
    result = train_translator(translator, faces, None, training, out=tmp_path / "out", scratch=tmp_path / "s", seed=1)
    moved = changed(translator, before)
    assert {name for name in before if name.startswith("generator.")} <= moved
    assert {f"image_pool.{pair}.leaving.count" for pair in range(2)} <= moved
    again = load_translator(result.weights)
    assert isinstance(again, CycleGan)
    targets = faces.labels.roll(1)
    assert torch.equal(again.translate(faces, targets), translator.translate(faces, targets))


def test_bfloat16_autocast_gives_finite_float32_terms() -> None:
    translator = strong(lambda_r1=1.0, lambda_identity=1)
    with torch.autocast("cpu", torch.bfloat16):
        for _ in range(3):
            terms = translator.discriminator_losses(pair_batch()) | translator.generator_losses(pair_batch())
            assert all(value.dtype == torch.float32 and torch.isfinite(value) for value in terms.values())
