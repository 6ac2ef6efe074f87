"""What LSSL and StarGAN have for few steps: a class network, a warm start, late adversarial losses, a mask."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from gan_faces import TINY, batch_of, random_faces
from paired_faces import paired_faces
from safetensors.torch import load_file

from augment.core.errors import InputError
from augment.networks.class_network import ClassNetwork
from augment.networks.heatmap import landmark_heatmap
from augment.networks.losses import mask_smoothness
from augment.training.loop import train_translator
from augment.training.phases import schedule_phases
from augment.training.settings import TrainingSettings
from augment.translators import create_translator
from augment.translators.attribute_gan import AttributeGan
from augment.translators.base import CannotTranslateError
from augment.translators.flow_head import FlowHead
from augment.translators.pair_batches import PairBatches
from augment.translators.thin_plate_spline import sample_displaced

pytestmark = pytest.mark.slow

METHODS = ("stargan", "lssl")
PHASED = {"class_network_share": 0.25, "warm_start_share": 0.5}
WITHOUT_PARSING = {"lssl": {"lambda_parsing": 0.0}, "stargan": {}}


def tiny(method: str, *, size: int = 16, **settings: object) -> AttributeGan:
    translator = create_translator(
        method,
        num_classes=3,
        channels=1,
        size=size,
        settings={**TINY, **WITHOUT_PARSING[method], **settings},  # type: ignore[dict-item]
    )
    assert isinstance(translator, AttributeGan)
    return translator


@pytest.mark.parametrize("method", METHODS)
def test_published_forms_have_none_of_it(method: str) -> None:
    translator = tiny(method)
    assert [phase.name for phase in translator.phases()] == ["whole"]
    assert set(translator.networks()) == {"discriminator", "generator"}
    assert not any("class_network" in name or "mask" in name for name in translator.state_dict())
    assert translator.prepare_training(paired_faces(size=16)) == {}
    assert "pair" not in translator.losses("generator", batch_of(translator, random_faces()))


@pytest.mark.parametrize("method", METHODS)
def test_phases_come_in_order_and_the_warm_start_may_be_published(method: str) -> None:
    phases = schedule_phases(tiny(method, **PHASED), 16)
    assert [(phase.name, phase.start, phase.stop) for phase in phases] == [
        ("class_network", 0, 4),
        ("warm_start", 4, 12),
        ("adversarial", 12, 16),
    ]
    assert [phase.usable for phase in phases] == [False, True, True]
    assert [phase.trains for phase in phases] == [("class_network",), ("generator",), ("generator", "discriminator")]


def test_only_one_of_the_two_leaves_two_phases() -> None:
    assert [phase.name for phase in tiny("stargan", warm_start_share=0.5).phases()] == ["warm_start", "adversarial"]
    phases = tiny("stargan", class_network_share=0.2, adversarial_learning_rate=0.3).phases()
    assert [(phase.share, phase.learning_rate) for phase in phases] == [(0.2, 1.0), (0.8, 0.3)]


@pytest.mark.parametrize("method", METHODS)
def test_the_pair_term_compares_with_the_same_person(method: str) -> None:
    people = paired_faces(size=16)
    translator = tiny(method, **PHASED, pair_variation=0.0, lambda_pair=7.0)
    assert translator.prepare_training(people) == {"pairs": 24}
    batch = replace(batch_of(translator, people.take(range(8))), phase="warm_start")
    terms = translator.losses("generator", batch)
    assert set(terms) == {"pair"}
    drawn = PairBatches(people).draw(7, torch.Generator().manual_seed(0))
    sources, wanted = torch.cat([drawn.sources, batch.images[:1]]), torch.cat([drawn.wanted, batch.images[:1]])
    if method == "lssl":
        assert batch.side_input is not None
        maps = [landmark_heatmap(points, 16, 0.02) for points in (drawn.source_landmarks, drawn.target_landmarks)]
        sources, wanted = (
            torch.cat([images, torch.cat([map_, batch.side_input[:1]])], dim=1)
            for images, map_ in zip((sources, wanted), maps, strict=True)
        )
    condition = translator.condition(torch.cat([drawn.targets, batch.labels[:1]]))
    error = (translator.generator(sources, condition) - wanted).square()
    expected = 7 * (error[:, :1].mean() + (0.1 * error[:, 1:].mean() if method == "lssl" else 0.0))
    assert torch.allclose(terms["pair"], expected, rtol=1e-5)
    # Squared: with l1 a generator that starts at the identity stays there.
    assert not torch.allclose(terms["pair"], 7 * (translator.generator(sources, condition) - wanted).abs().mean())


@pytest.mark.parametrize("method", METHODS)
def test_after_the_warm_start_the_papers_losses_and_the_pairs_add_up(method: str) -> None:
    people = paired_faces(size=16)
    translator, published = tiny(method, **PHASED), tiny(method)
    translator.prepare_training(people)
    batch = replace(batch_of(translator, people.take(range(8))), phase="adversarial")
    papers = set(published.losses("generator", batch))
    assert {"adversarial", "classification"} < papers
    assert set(translator.losses("generator", batch)) == papers | {"pair"}


@pytest.mark.parametrize("method", METHODS)
def test_reconstruction_is_of_the_own_class(method: str) -> None:
    translator = tiny(method, warm_start="reconstruction", **PHASED)
    batch = replace(batch_of(translator, random_faces()), phase="warm_start")
    translator.check(random_faces())  # no pairs are needed
    translator.prepare_training(random_faces())
    terms = translator.losses("generator", batch)
    pictures = translator.pictures(batch.images, batch.side_input)
    made = translator.generator(pictures, translator.condition(batch.labels))
    assert set(terms) == {"reconstruction"}
    assert torch.allclose(terms["reconstruction"], (made - pictures).abs().mean())


@pytest.mark.parametrize("method", METHODS)
def test_the_class_network_takes_the_place_of_the_discriminators_classes(method: str) -> None:
    translator = tiny(
        method,
        warm_start="reconstruction",
        class_network_noise=0.0,
        class_network_variation=0.0,
        lambda_gp=0.0,
        **PHASED,
    )
    translator.eval()
    assert translator.class_network is not None
    batch = replace(batch_of(translator, random_faces()), phase="adversarial")
    # The discriminator's own head goes on learning real faces, as published; the generator does not ask it.
    assert set(translator.losses("discriminator", batch)) == {"adversarial", "classification"}
    pictures = translator.pictures(batch.images, batch.side_input)
    made = translator.generator(pictures, translator.condition(batch.targets))[:, :1]
    expected = torch.nn.functional.cross_entropy(translator.class_network(made), batch.targets)
    found = translator.losses("generator", batch)["classification"]
    asked = translator.discriminator(translator.generator(pictures, translator.condition(batch.targets)))[1]
    assert torch.allclose(found, expected, rtol=1e-5)
    assert not torch.allclose(found, torch.nn.functional.cross_entropy(asked, batch.targets), rtol=1e-3)
    terms = translator.losses("class_network", batch)
    own = torch.nn.functional.cross_entropy(translator.class_network(batch.images), batch.labels)
    assert torch.allclose(terms["classification"], own, rtol=1e-5)  # real faces and their own classes


def test_the_class_network_hardly_sees_a_pattern_of_single_pixels() -> None:
    """A checkerboard averages out at half the edge, a broad change of the same size does not."""
    torch.manual_seed(0)
    network = ClassNetwork(1, 48, 3, width=8, noise=0.3).eval()
    face = torch.zeros(1, 1, 48, 48)
    rows, columns = torch.meshgrid(torch.arange(48), torch.arange(48), indexing="ij")
    checkers = 0.2 * ((rows + columns) % 2 * 2.0 - 1).view(1, 1, 48, 48)
    broad = 0.2 * (rows // 12 % 2 * 2.0 - 1).view(1, 1, 48, 48)
    still = network(face)
    assert (network(face + checkers) - still).abs().max() < 1e-5
    assert (network(face + broad) - still).abs().max() > 1e-2
    noisy = [network(face, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)]
    assert torch.equal(noisy[0], noisy[1]) and not torch.equal(noisy[0], noisy[2])


@pytest.mark.parametrize("method", METHODS)
def test_a_mask_of_zero_copies_and_a_mask_of_one_paints(method: str) -> None:
    translator = tiny(method, attention_mask=True)
    plain = tiny(method)
    generator: Any = translator.generator
    mask_head = generator.mask_head if method == "stargan" else generator.decoder.mask_head
    shared = plain.generator.state_dict()
    generator.load_state_dict({**translator.generator.state_dict(), **shared})
    batch = batch_of(translator, random_faces())
    pictures = translator.pictures(batch.images, batch.side_input)
    condition = translator.condition(batch.targets)
    torch.nn.init.zeros_(mask_head.weight)
    made = plain.generator(pictures, condition)[:, :1]
    for bias, share in ((-100.0, 0.0), (100.0, 1.0), (0.0, 0.5)):
        torch.nn.init.constant_(mask_head.bias, bias)
        found, mask = generator.with_mask(pictures, condition)
        assert torch.allclose(found[:, :1], (1 - share) * batch.images + share * made, atol=1e-5)
        assert mask.shape == (len(pictures), 1, 16, 16) and torch.allclose(mask, torch.tensor(share))
    if method == "lssl":  # the heatmap is not masked
        assert torch.allclose(found[:, 1:], plain.generator(pictures, condition)[:, 1:], atol=1e-5)


def test_mask_terms_by_hand() -> None:
    mask = torch.tensor([[0.0, 1.0], [0.0, 0.5]]).view(1, 1, 2, 2)
    # Across: 1 and 0.5, squared mean 0.625; down: 0 and -0.5, squared mean 0.125.
    assert float(mask_smoothness(mask)) == pytest.approx(0.75)
    translator = tiny("stargan", attention_mask=True, lambda_mask=2.0, lambda_mask_smoothness=4.0)
    terms = translator.mask_losses(mask)
    assert float(terms["mask"]) == pytest.approx(2 * 0.375)
    assert float(terms["mask_smoothness"]) == pytest.approx(3.0)
    batch = batch_of(translator, random_faces())
    assert {"mask", "mask_smoothness"} < set(translator.losses("generator", batch))


@pytest.mark.parametrize("method", METHODS)
def test_faces_without_pairs_are_refused_with_what_would_do(method: str) -> None:
    assert "landmarks" in tiny(method, **PHASED).requires
    assert "landmarks" not in tiny("stargan", warm_start="reconstruction", **PHASED).requires
    with pytest.raises(CannotTranslateError, match=f"{method} learns from pairs.*warm_start=reconstruction"):
        tiny(method, **PHASED).check(random_faces())


@pytest.mark.parametrize(
    ("method", "settings", "why"),
    [
        ("stargan", {"class_network_share": 0.5, "warm_start_share": 0.5}, "sum below 1"),
        ("stargan", {"warm_start_share": 0.5, "data_sets": ["a", "b"]}, "a warm start knows one data set"),
        ("lssl_pose", {"warm_start_share": 0.5}, "must be 0"),
        ("lssl_pose", {"class_network_share": 0.5}, "must be 0"),
        ("lssl_pose", {"output": "flow", "downs": 2}, "must be 0|output flow|output must be picture"),
    ],
)
def test_settings_that_cannot_be_are_refused(method: str, settings: dict[str, Any], why: str) -> None:
    with pytest.raises(InputError, match=why):
        create_translator(method, num_classes=3, channels=1, size=16, settings=settings)


@pytest.mark.parametrize("form", [{"attention_mask": True}, {"output": "flow", "conditioning": "instance_norm"}])
@pytest.mark.parametrize("method", METHODS)
def test_broken_off_in_every_phase_and_resumed_is_bit_identical(
    method: str, form: dict[str, Any], tmp_path: Path
) -> None:
    people = paired_faces(size=16)
    settings = TrainingSettings(
        steps=8, batch_size=4, discriminator_steps=2, generator_learning_rate=1e-3, discriminator_learning_rate=1e-3,
        ema_decay=0.5, log_every=1, sample_every=100, checkpoint_every=1, validate_every=2,
    )  # fmt: skip

    def train(folder: Path, break_at: int | None = None) -> list[int]:
        translator = tiny(method, **PHASED, **form)
        losses, scored = translator.losses, []

        def breaking(network: str, batch: Any) -> dict[str, torch.Tensor]:
            if break_at is not None and network != "discriminator" and batch.step == break_at:
                raise ConnectionError("broken off")
            return losses(network, batch)

        def validate(_: Any, step: int) -> float:
            scored.append(step)
            return -float(step)

        translator.losses = breaking  # type: ignore[method-assign]
        train_translator(
            translator, people, None, settings, out=folder / "out", scratch=folder / "s", seed=1, validate=validate
        )
        return scored

    # The class network's phase is not scored; the first of the warm start is the best by this score.
    assert train(tmp_path / "whole") == [4, 6, 8]
    whole = load_file(tmp_path / "whole" / "out" / "weights.safetensors")
    for break_at in (1, 4, 7):
        with pytest.raises(ConnectionError):
            train(tmp_path / str(break_at), break_at)
        train(tmp_path / str(break_at))
        resumed = load_file(tmp_path / str(break_at) / "out" / "weights.safetensors")
        assert whole.keys() == resumed.keys()
        assert all(torch.equal(value, resumed[name]) for name, value in whole.items())


FLOW = {
    "output": "flow",
    "conditioning": "instance_norm",
    "class_network_share": 0.25,
    "warm_start_share": 0.5,
}


def _flow_batch(translator: AttributeGan, phase: str) -> Any:
    people = paired_faces(size=16).take(range(8))
    return replace(batch_of(translator, people), phase=phase, landmarks=people.landmarks)


@pytest.mark.parametrize("method", METHODS)
def test_half_precision_leaves_the_flow_where_it_is(method: str) -> None:
    translator = tiny(method, **FLOW)
    translator.prepare_training(paired_faces(size=16))
    batch = _flow_batch(translator, "adversarial")
    plain = translator.initial_flows(replace(batch, generator=torch.Generator().manual_seed(0)))
    with torch.autocast("cpu", torch.bfloat16):
        mixed = translator.initial_flows(replace(batch, generator=torch.Generator().manual_seed(0)))
    assert all(torch.equal(one, other) for one, other in zip(plain, mixed, strict=True))


@pytest.mark.parametrize("method", METHODS)
def test_a_flow_begins_as_the_warped_source(method: str) -> None:
    """Before any step what is made is the source, sampled where the spline leads: nothing is blurred."""
    translator = tiny(method, **FLOW)
    translator.prepare_training(paired_faces(size=16))
    translator.eval()
    batch = _flow_batch(translator, "adversarial")
    there, back = translator.initial_flows(batch)
    assert there is not None and back is not None and float(there.abs().max()) > 0
    pictures = translator.pictures(batch.images, batch.side_input)
    made = translator.generator.with_flow(pictures, translator.condition(batch.targets), there)
    torch.testing.assert_close(made.sampled, sample_displaced(batch.images, there, "bilinear"), atol=1e-5, rtol=0)
    assert float(made.learned_flow.detach().abs().max()) == 0.0
    # With no flow it is the source itself; with the other one it is not.
    still = translator.generator.with_flow(pictures, translator.condition(batch.targets))
    torch.testing.assert_close(still.sampled, batch.images, atol=1e-5, rtol=0)
    assert not torch.allclose(made.sampled, batch.images, atol=1e-3)


@pytest.mark.parametrize("method", METHODS)
def test_a_flows_pairs_have_the_terms_of_appearance_flow(method: str) -> None:
    translator = tiny(method, **FLOW, lambda_pair=2.0)
    translator.prepare_training(paired_faces(size=16))
    names = {"reconstruction", "gradient", "flow", "outside", "landmark", "smooth", "mask"}
    warm = translator.losses("generator", _flow_batch(translator, "warm_start"))
    assert set(warm) == {f"pair_{name}" for name in names}
    twice = tiny(method, **FLOW, lambda_pair=4.0)
    twice.load_state_dict(translator.state_dict())
    twice.prepare_training(paired_faces(size=16))
    double = twice.losses("generator", _flow_batch(twice, "warm_start"))
    assert all(torch.allclose(double[name], 2 * term) for name, term in warm.items())
    late = set(translator.losses("generator", _flow_batch(translator, "adversarial")))
    assert {"adversarial", "classification"} | set(warm) < late


@pytest.mark.parametrize("method", METHODS)
def test_strength_of_a_flow_counts_for_what_is_painted_alone(method: str) -> None:
    """Strength 0 leaves the moved source; a factor on the whole change would leave the source."""
    people = paired_faces(size=16)
    made = {}
    for strength in (0.0, 1.0):
        translator = tiny(method, **FLOW, strength=(strength, strength))
        translator.prepare_training(people)
        torch.nn.init.constant_(_head_of(translator).output.weight, 0.05)
        made[strength] = translator.translate(people, (people.labels + 1) % 3, torch.Generator().manual_seed(1))
    assert not torch.equal(made[0.0], people.images)
    assert not torch.equal(made[0.0], made[1.0])


def _head_of(translator: AttributeGan) -> FlowHead:
    generator: Any = translator.generator
    return generator.flow_head if translator.name == "stargan" else generator.decoder.flow_head


@pytest.mark.parametrize("method", METHODS)
def test_a_flow_needs_landmarks_and_own_classes(method: str) -> None:
    translator = tiny(method, **FLOW)
    assert {"landmarks", "own_class"} <= translator.requires
    people = paired_faces(size=16)
    assert people.landmarks is not None
    unknown = people.landmarks.clone()
    unknown[0] = torch.nan
    lacking = replace(people, landmarks=unknown)
    assert translator.usable_sources(lacking).tolist() == [False] + [True] * (len(people) - 1)
    translator.prepare_training(people)
    with pytest.raises(CannotTranslateError, match="needs landmarks on every source; 1 have none"):
        translator.translate(lacking, people.labels)


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"downs": 3}, "set downs to 2"),
        ({"attention_mask": True}, "attention_mask and image_skip to false"),
        ({"warm_start_share": 0.0}, "warm_start_share above 0"),
        ({"conditioning": "concat"}, "instance_norm"),
        ({"dropout": 0.5}, "dropout to 0"),
    ],
)
def test_a_flow_refuses_what_it_has_no_place_for(settings: dict[str, Any], why: str) -> None:
    with pytest.raises(InputError, match=why):
        tiny("stargan", **{**FLOW, **settings})
