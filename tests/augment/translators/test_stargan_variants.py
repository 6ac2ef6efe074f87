"""The variants of Chang and Wang: perceptual loss, skips, dropout, joint training."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import torch
from gan_faces import TINY, batch_of, random_faces, step_once
from torch.nn import functional as F

from augment.core.errors import InputError
from augment.faces.tensors import FaceTensors
from augment.networks import losses
from augment.networks.layers import PatchDiscriminator
from augment.training.batches import BatchMaker
from augment.training.samples import translate_to_all
from augment.translators import create_translator
from augment.translators.base import Batch, CannotTranslateError
from augment.translators.columns import own_columns, sheet_columns
from augment.translators.stargan import StarGan, StarGanSettings

pytestmark = pytest.mark.slow

ALL = [
    {},
    {"perceptual": True},
    {"perceptual": True, "skip": True},
    {"dropout": 0.5},
    {"skip": True},
    {"skip": True, "dropout": 0.5},
]
JOINT = {"data_sets": ["photo", "drawn"]}


def tiny(**settings: Any) -> StarGan:
    translator = create_translator("stargan", num_classes=3, channels=1, size=16, settings={**TINY, **settings})
    assert isinstance(translator, StarGan)
    return translator


def of_two_data_sets(count: int = 4) -> FaceTensors:
    return replace(random_faces(count), sources=tuple(("photo", "drawn")[row % 2] for row in range(count)))


def joint_batch(translator: StarGan, faces: FaceTensors, *, step: int = 0) -> Batch:
    domains = translator.domains(faces)
    assert domains is not None
    return replace(batch_of(translator, faces, step=step), domains=domains, target_domains=1 - domains)


def stir(translator: StarGan) -> StarGan:
    """Random weights everywhere, so that no normalization and no head hides what comes before it."""
    for parameter in translator.generator.parameters():
        torch.nn.init.normal_(parameter, 0, 0.3, generator=torch.Generator().manual_seed(parameter.numel()))
    return translator


# As published


@pytest.mark.parametrize("settings", ALL)
def test_published_parameter_counts(settings: dict[str, Any]) -> None:
    """64 px, colour (their loader reads FER2013's grey files as RGB), 7 classes: no variant adds a parameter."""
    with torch.device("meta"):
        network = StarGan(
            num_classes=7, channels=3, size=64, settings=StarGanSettings(discriminator_downs=6, **settings)
        )
    by_hand = 10 * 64 * 49 + 2 * 64 + 64 * 128 * 16 + 2 * 128 + 128 * 256 * 16 + 2 * 256
    by_hand += 6 * (2 * 256 * 256 * 9 + 4 * 256)
    by_hand += 256 * 128 * 16 + 2 * 128 + 128 * 64 * 16 + 2 * 64 + 64 * 3 * 49
    assert sum(p.numel() for p in network.generator_parameters()) == by_hand == 8_436_800
    edges = [3, 64, 128, 256, 512, 1024, 2048]
    by_hand = sum(16 * inner * outer + outer for inner, outer in pairwise(edges))
    by_hand += 2048 * 9 + 2048 * 7  # the source's 3x3, and the classes' h/64 x w/64 of figure 4
    assert sum(p.numel() for p in network.discriminator_parameters()) == by_hand == 44_735_424


def test_published_layer_shapes() -> None:
    """As above, at a sixteenth of the width; figure 4's halvings end at one pixel."""
    settings = StarGanSettings(width=4, discriminator_downs=6, skip=True, dropout=0.5)
    network = StarGan(num_classes=7, channels=3, size=64, settings=settings)
    shapes: list[tuple[int, ...]] = []
    for block in network.generator.blocks:
        block.register_forward_hook(lambda module, given, made: shapes.append(tuple(made.shape[1:])))
    pictures = torch.zeros(2, 3, 64, 64)
    assert network.generator(pictures, torch.zeros(2, 7)).shape == pictures.shape
    assert shapes == [(4, 64, 64), (8, 32, 32), *[(16, 16, 16)] * 7, (8, 32, 32), (4, 64, 64)]
    features = network.discriminator.first_features(pictures, 4)
    assert [tuple(f.shape[1:]) for f in features] == [(4, 32, 32), (8, 16, 16), (16, 8, 8), (32, 4, 4)]
    source, attributes = network.discriminator(pictures)
    assert source.shape == (2, 1, 1, 1) and attributes.shape == (2, 7)


def test_defaults_are_stargan_with_the_published_amounts_at_hand() -> None:
    settings = StarGanSettings()
    assert not settings.perceptual and not settings.skip and not settings.dropout and not settings.data_sets
    assert (settings.perceptual_after, settings.lambda_perceptual, settings.translate_to) == (0.2, 10, "own")
    assert not settings.cross_data_sets


# Perceptual


def test_perceptual_loss_by_hand() -> None:
    source = [torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]]), torch.tensor([[[[5.0]], [[-1.0]]]])]
    cycled = [torch.tensor([[[[1.0, 0.0], [3.0, 5.0]]]]), torch.tensor([[[[2.0]], [[0.0]]]])]
    assert losses.perceptual(source, cycled).item() == pytest.approx((0 + 2 + 0 + 1) / 4 + (3 + 1) / 2)
    # Differences of opposite sign don't cancel, as they would with the sum inside the norm taken by its letter.
    opposite = losses.perceptual([torch.zeros(1), torch.zeros(1)], [torch.ones(1), -torch.ones(1)])
    assert opposite.item() == pytest.approx(2)


def test_perceptual_loss_gives_real_features_no_gradient() -> None:
    source, cycled = torch.zeros(2, requires_grad=True), torch.ones(2, requires_grad=True)
    losses.perceptual([source], [cycled]).backward()
    assert source.grad is None and cycled.grad is not None


def test_first_features_are_those_behind_each_leaky_relu() -> None:
    network = PatchDiscriminator(1, 32, 3, width=4, downs=4)
    pictures = torch.rand(2, 1, 32, 32)
    expected = []
    hidden = pictures
    for layer in range(4):
        hidden = F.leaky_relu(network.body[2 * layer](hidden), 0.01)
        expected.append(hidden)
    for count in (2, 4, 6):
        found = network.first_features(pictures, count)
        assert len(found) == min(count, 4)
        assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=False))


@pytest.mark.parametrize(("total", "first"), [(100, 20), (35, 7), (200, 40), (5, 1)])
def test_features_take_the_pixels_place_at_exactly_the_fifth(total: int, first: int) -> None:
    """0.2 * 35 is 7.000000000000001 in floating point; step 7 is the first of the second stretch nevertheless."""
    translator = tiny(perceptual=True)
    batch = batch_of(translator, random_faces(2))
    for step in (0, first - 1, first, total - 1):
        terms = translator.generator_losses(replace(batch, step=step, total_steps=total))
        assert ("perceptual" in terms) == (step >= first)
        assert ("reconstruction" in terms) == (step < first)


def test_perceptual_term_equals_the_formula() -> None:
    translator = tiny(perceptual=True, lambda_perceptual=3.0)
    batch = batch_of(translator, random_faces(), step=50)
    x = batch.images
    fake = translator.generator(x, translator.condition(batch.targets))
    cycled = translator.generator(fake, translator.condition(batch.labels))
    expected, real, made = 0.0, x, cycled
    for layer in translator.discriminator.body[:8]:  # three convolutions here: fewer than four
        real, made = layer(real), layer(made)
        if isinstance(layer, torch.nn.LeakyReLU):
            expected += (real - made).abs().mean().item()
    assert translator.generator_losses(batch)["perceptual"].item() == pytest.approx(3 * expected, rel=1e-4)


def test_perceptual_teaches_the_generator_and_leaves_the_discriminator() -> None:
    translator = tiny(perceptual=True, lambda_adversarial=1e-6, lambda_cls=0)
    batch = batch_of(translator, random_faces(), step=50)
    before = {name: value.clone() for name, value in translator.discriminator.state_dict().items()}
    first = step_once(translator, batch, "generator", 5e-3)
    for _ in range(30):
        last = step_once(translator, batch, "generator", 5e-3)
    assert last["perceptual"] < 0.8 * first["perceptual"]
    assert all(torch.equal(value, before[name]) for name, value in translator.discriminator.state_dict().items())


def test_a_weight_of_zero_spares_the_way_back() -> None:
    translator = tiny(perceptual=True, lambda_perceptual=0)
    faces = random_faces(2)
    assert "reconstruction" in translator.generator_losses(batch_of(translator, faces, step=0))
    assert {"reconstruction", "perceptual"}.isdisjoint(
        translator.generator_losses(batch_of(translator, faces, step=50))
    )


# Skip


@pytest.mark.parametrize(("downs", "residual_blocks"), [(2, 2), (1, 0), (3, 1)])
def test_skips_join_layers_of_one_shape(downs: int, residual_blocks: int) -> None:
    translator = stir(tiny(skip=True, downs=downs, residual_blocks=residual_blocks))
    network = translator.generator
    x, condition = torch.rand(2, 1, 16, 16), torch.eye(3)[:2]
    blocks = list(network.blocks)
    planes = condition[:, :, None, None].expand(-1, -1, 16, 16)
    down, features = [], torch.cat([x, planes], dim=1)
    for block in blocks[: downs + 1]:
        features = block(features)
        down.append(features)
    for block in blocks[downs + 1 : downs + 1 + residual_blocks]:
        features = block(features)
    features = features + down[-1]
    for block, same in zip(blocks[len(blocks) - downs :], reversed(down[:-1]), strict=True):
        features = block(features)
        assert features.shape == same.shape
        features = features + same
    expected = x + torch.tanh(network.head(features))
    assert torch.allclose(network(x, condition), expected, atol=1e-6)
    assert expected.max() > 1  # so that nothing is clamped on the way


def test_without_skip_nothing_is_added() -> None:
    with_skip, without = stir(tiny(skip=True)), stir(tiny())
    assert with_skip.state_dict().keys() == without.state_dict().keys()
    without.load_state_dict(with_skip.state_dict())
    x, condition = torch.rand(2, 1, 16, 16), torch.eye(3)[:2]
    assert not torch.allclose(with_skip.generator(x, condition), without.generator(x, condition), atol=1e-2)


def test_image_skip_adds_the_input_once() -> None:
    translator = tiny(skip=True, image_skip=True)
    faces = random_faces()
    assert torch.equal(translator.translate(faces, faces.labels), faces.images)


# Dropout


def dropped_by(translator: StarGan, monkeypatch: pytest.MonkeyPatch) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """(what came in, what came out) of every dropout in one pass of a generator in evaluation mode."""
    found: list[tuple[torch.Tensor, torch.Tensor]] = []
    dropout = F.dropout

    def noting(features: torch.Tensor, share: float, training: bool) -> torch.Tensor:
        assert share == 0.5 and training
        made = dropout(features, share, training=training)
        found.append((features, made))
        return made

    monkeypatch.setattr(F, "dropout", noting)
    translator.eval()
    translator.generator(torch.rand(2, 1, 16, 16), torch.eye(3)[:2])
    return found


def test_dropout_stands_behind_the_first_and_the_last_activation(monkeypatch: pytest.MonkeyPatch) -> None:
    found = dropped_by(tiny(dropout=0.5), monkeypatch)
    assert [tuple(given.shape) for given, _ in found] == [(2, 4, 16, 16)] * 2


@pytest.mark.parametrize("skip", [False, True])
def test_features_may_be_dropped_in_training_alone_as_in_the_released_code(skip: bool) -> None:
    translator = stir(tiny(dropout=0.5, skip=skip, dropout_when_translating=False))
    pictures, condition = torch.rand(2, 1, 16, 16), torch.eye(3)[:2]

    def makes_one(training: bool) -> bool:
        translator.train(training)
        return torch.equal(*(translator.generator(pictures, condition) for _ in range(2)))

    assert makes_one(False) and not makes_one(True)
    faces = random_faces(3)
    first, second = (translator.translate(faces, faces.labels, torch.Generator().manual_seed(seed)) for seed in (1, 2))
    assert torch.equal(first, second)


def test_dropout_stands_in_the_residual_blocks_with_skip(monkeypatch: pytest.MonkeyPatch) -> None:
    found = dropped_by(tiny(dropout=0.5, skip=True, residual_blocks=3), monkeypatch)
    assert [tuple(given.shape) for given, _ in found] == [(2, 16, 4, 4)] * 3


@pytest.mark.parametrize("skip", [False, True])
def test_dropout_comes_behind_leaky_relus(skip: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative features are there, a hundredth of their size; the kept ones are doubled."""
    for given, made in dropped_by(tiny(dropout=0.5, skip=skip), monkeypatch):
        assert given.min() < 0 and -given.min() < 0.05 * given.max()
        kept = made != 0
        assert torch.equal(made[kept], 2 * given[kept])


def test_half_of_the_features_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    for _, made in dropped_by(tiny(dropout=0.5, width=32), monkeypatch):
        count = made.numel()
        assert abs((made == 0).float().mean().item() - 0.5) < 4 * 0.5 / count**0.5


def test_no_relu_of_the_generator_but_a_leaky_one_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(F, "relu", lambda features: pytest.fail("a ReLU"))
    x, condition = torch.rand(2, 1, 16, 16), torch.eye(3)[:2]
    slopes = []
    leaky = F.leaky_relu

    def noting(features: torch.Tensor, slope: float) -> torch.Tensor:
        slopes.append(slope)
        return leaky(features, slope)

    monkeypatch.setattr(F, "leaky_relu", noting)
    tiny(dropout=0.5, residual_blocks=2).generator(x, condition)
    assert slopes == [0.01] * 7  # one each of five blocks with one, and of two residual blocks


@pytest.mark.parametrize("settings", [{}, {"skip": True}, {"perceptual": True, "skip": True}])
def test_without_dropout_relus_are_plain(settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(F, "leaky_relu", lambda features, slope: pytest.fail("a leaky ReLU"))
    tiny(**settings).generator(torch.rand(2, 1, 16, 16), torch.eye(3)[:2])


@pytest.mark.parametrize("skip", [False, True])
def test_the_generator_given_is_the_only_source_of_randomness(skip: bool) -> None:
    translator = stir(tiny(dropout=0.5, skip=skip))
    faces = random_faces(6)
    targets = (faces.labels + 1) % 3

    def made(seed: int | None, stream: int) -> torch.Tensor:
        torch.manual_seed(stream)
        before = torch.get_rng_state()
        found = translator.translate(faces, targets, None if seed is None else torch.Generator().manual_seed(seed))
        assert torch.equal(torch.get_rng_state(), before)
        return found

    assert torch.equal(made(1, 5), made(1, 6))
    assert not torch.equal(made(1, 5), made(2, 5))
    assert torch.equal(made(None, 5), made(None, 6))
    translator.train()
    assert torch.equal(made(1, 5), made(1, 6)) and translator.training


def test_one_generator_gives_one_source_several_faces() -> None:
    translator = stir(tiny(dropout=0.5, skip=True))
    source = random_faces(1).take([0, 0, 0])
    generator = torch.Generator().manual_seed(0)
    first, second = (translator.translate(source, torch.ones(3, dtype=torch.int64), generator) for _ in range(2))
    pictures = [picture.numpy().tobytes() for picture in torch.cat([first, second])]
    assert len(set(pictures)) == 6


def test_without_dropout_the_generator_is_left_alone() -> None:
    translator = tiny()
    faces = random_faces()
    generator = torch.Generator().manual_seed(0)
    before = generator.get_state()
    one = translator.translate(faces, faces.labels, generator)
    assert torch.equal(generator.get_state(), before)
    assert torch.equal(one, translator.translate(faces, faces.labels))


def test_training_draws_from_the_global_stream() -> None:
    """The loop seeds it before each step."""
    translator = stir(tiny(dropout=0.5))
    batch = batch_of(translator, random_faces())

    def terms(stream: int) -> dict[str, float]:
        torch.manual_seed(stream)
        return {name: value.item() for name, value in translator.generator_losses(batch).items()}

    assert terms(1) == terms(1) != terms(2)


# All of them


@pytest.mark.parametrize("settings", [*ALL, {**JOINT, "skip": True, "dropout": 0.5, "perceptual": True}])
@pytest.mark.parametrize("conditioning", ["concat", "instance_norm"])
def test_a_step_moves_its_own_network_only(settings: dict[str, Any], conditioning: str) -> None:
    translator = stir(tiny(conditioning=conditioning, **settings))
    faces = of_two_data_sets()
    batch = (joint_batch if translator.settings.data_sets else batch_of)(translator, faces, step=50)
    for part in ("discriminator", "generator"):
        before = {name: value.clone() for name, value in translator.state_dict().items()}
        step_once(translator, batch, part)
        moved = {name for name, value in translator.state_dict().items() if not torch.equal(value, before[name])}
        assert moved == {name for name in before if name.startswith(f"{part}.")}


# Joint


def test_the_generator_hears_class_and_data_set_and_the_discriminator_tells_classes() -> None:
    translator = tiny(**JOINT)
    condition = translator.domain_condition(torch.tensor([2, 0]), torch.tensor([0, 1]))
    assert condition.tolist() == [[0, 0, 1, 1, 0], [1, 0, 0, 0, 1]]
    assert translator.generator.state_dict()["blocks.0.convolution.weight"].shape[1] == 1 + 3 + 2
    assert translator.discriminator.attributes.out_channels == 3
    with_norm = tiny(conditioning="instance_norm", **JOINT)
    assert with_norm.generator.state_dict()["blocks.0.norm.affine.weight"].shape[1] == 5
    assert tiny().domain_condition(torch.tensor([1]), None).tolist() == [[0, 1, 0]]


@pytest.mark.parametrize("cross", [False, True])
def test_what_is_heard_on_the_way_there_and_back(cross: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """There: the wanted class in the own data set, or in the drawn one. Back: own class, own data set."""
    translator = tiny(**JOINT, cross_data_sets=cross)
    batch = joint_batch(translator, of_two_data_sets())
    assert batch.domains is not None and batch.domains.tolist() == [0, 1, 0, 1]
    conditions: list[torch.Tensor] = []
    generate = translator.generator.with_mask

    def recorded(pictures: torch.Tensor, condition: torch.Tensor, *rest: Any) -> Any:
        conditions.append(condition)
        return generate(pictures, condition, *rest)

    monkeypatch.setattr(translator.generator, "with_mask", recorded)
    translator.generator_losses(batch)
    translator.discriminator_losses(batch)
    there, back, judged = conditions
    assert torch.equal(there, judged)
    assert there[:, :3].argmax(1).tolist() == batch.targets.tolist()
    assert there[:, 3:].argmax(1).tolist() == ([1, 0, 1, 0] if cross else [0, 1, 0, 1])
    assert torch.equal(back, translator.domain_condition(batch.labels, batch.domains))


def test_the_discriminator_hears_nothing_of_data_sets() -> None:
    """A face's classification does not depend on its data set."""
    translator = tiny(**JOINT)
    batch = joint_batch(translator, of_two_data_sets())
    assert batch.domains is not None
    other = replace(batch, domains=1 - batch.domains)
    one, two = (translator.discriminator_losses(b)["classification"].item() for b in (batch, other))
    assert one == two


def test_translate_stays_in_the_own_data_set_or_goes_where_it_is_told() -> None:
    faces = of_two_data_sets()
    targets = (faces.labels + 1) % 3
    own = stir(tiny(**JOINT))
    photo, drawn = (own.translate_to(faces, targets, torch.full((4,), place)) for place in (0, 1))
    assert not torch.equal(photo, drawn)
    expected = torch.where(torch.tensor([True, False, True, False])[:, None, None, None], photo, drawn)
    assert torch.equal(own.translate(faces, targets), expected)
    named = tiny(**JOINT, translate_to="drawn")
    named.load_state_dict(own.state_dict())
    assert torch.equal(named.translate(faces, targets), drawn)
    assert torch.equal(named.translate(replace(faces, sources=None), targets), drawn)  # any face can be its source


def uneven_faces(photos: int = 90, drawings: int = 10) -> FaceTensors:
    """Many photographs of classes 0 and 1, few drawings of class 2."""
    count = photos + drawings
    sources = ("photo",) * photos + ("drawn",) * drawings
    labels = torch.cat([torch.arange(photos) % 2, torch.full((drawings,), 2)])
    return replace(random_faces(count), sources=sources, labels=labels)


def joint_batches(**changes: Any) -> list[Batch]:
    options: dict[str, Any] = {"balanced_sources": False, "balanced_targets": False} | changes
    maker = BatchMaker(tiny(**JOINT), uneven_faces(), mirror=False, **({"batch_size": 8} | options))
    generator = torch.Generator().manual_seed(0)
    return [maker.draw(generator, step=step, total_steps=30) for step in range(30)]


def test_a_joint_batch_has_as_many_faces_of_each_data_set() -> None:
    for batch in joint_batches():
        assert batch.domains is not None and batch.domains.tolist() == [0, 1] * 4
    odd = torch.cat([batch.domains for batch in joint_batches(batch_size=3) if batch.domains is not None]).bincount()
    assert odd.sum() == 90 and (odd - 45).abs().max() < 15, "one more of either, by turns of chance"
    # with classes drawn evenly, two of three are photographs'
    evenly = torch.cat([batch.labels for batch in joint_batches(balanced_sources=True)]).bincount()
    assert (evenly - 80).abs().max() < 35


def test_labels_are_shuffled_within_a_data_set() -> None:
    """As the variants' code does: no photograph is asked for a class that only drawings have."""
    batches = joint_batches()
    for batch in batches:
        assert batch.domains is not None
        for domain in (0, 1):
            of = batch.domains == domain
            assert batch.labels[of].sort().values.tolist() == batch.targets[of].sort().values.tolist()
    assert any(not torch.equal(batch.labels, batch.targets) for batch in batches), "they are shuffled"


def test_a_joint_sheet_has_every_class_of_every_data_set() -> None:
    translator = stir(tiny(**JOINT))
    faces = of_two_data_sets()
    columns = sheet_columns(translator, faces.class_names)
    assert [column.heading for column in columns] == [
        f"{data_set}: {name}" for data_set in JOINT["data_sets"] for name in faces.class_names
    ]
    assert own_columns(translator, faces) == [int(label) + 3 * (row % 2) for row, label in enumerate(faces.labels)]
    made = translate_to_all(translator, faces, torch.Generator().manual_seed(0))
    for place, column in enumerate(columns):
        wanted = torch.full((4,), column.label), torch.full((4,), column.domain)
        assert torch.equal(made[:, place], translator.translate_to(faces, *wanted))
    assert own_columns(translator, replace(faces, sources=("comic",) * 4)) == [-1] * 4, "none is its own"
    plain = tiny()
    assert [column.heading for column in sheet_columns(plain, faces.class_names)] == list(faces.class_names)
    assert own_columns(plain, faces) == faces.labels.tolist()


def test_joint_faces_are_checked() -> None:
    translator = tiny(**JOINT)
    faces = of_two_data_sets()
    translator.check(faces)
    assert tiny().domains(faces) is None
    with pytest.raises(CannotTranslateError, match="photo, drawn together, and these faces don't say"):
        translator.check(replace(faces, sources=None))
    with pytest.raises(CannotTranslateError, match=r"there are faces of comic, painted, which .*\(photo, drawn\)"):
        translator.check(replace(faces, sources=("photo", "comic", "drawn", "painted")))
    with pytest.raises(CannotTranslateError, match="no training face is of drawn"):
        translator.check(replace(faces, sources=("photo",) * 4))
    with pytest.raises(CannotTranslateError, match="is not told which one is wanted"):
        translator.generator_losses(batch_of(translator, faces))
    with pytest.raises(CannotTranslateError, match="these faces don't say"):
        translator.translate(replace(faces, sources=None), faces.labels)
    none = translator.translate(faces.take([]), torch.zeros(0, dtype=torch.int64))
    assert none.shape == (0, 1, 16, 16)


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"data_sets": ["photo"]}, "none or two or more"),
        ({"data_sets": ["photo", "photo"]}, "each once"),
        ({"data_sets": ["photo", "own"]}, "none 'own'"),
        ({**JOINT, "translate_to": "comic"}, "'comic' is none of own, photo, drawn"),
        ({"translate_to": "photo"}, "'photo' is none of own"),
        ({"cross_data_sets": True}, "needs data_sets"),
        ({"dropout": 1.0}, "dropout"),
        ({"perceptual_after": 1.5}, "perceptual_after"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, Any], why: str) -> None:
    with pytest.raises(InputError, match=why):
        tiny(**settings)
