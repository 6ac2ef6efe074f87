"""Appearance flow: what the network starts as, what each loss asks for, and what it learns of embedded faces."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from small_flow import NEUTRAL, SIZE, SMALL, flow_translator, train_briefly

from augment.faces.landmark_shapes import to_picture_range
from augment.faces.tensors import FaceTensors
from augment.rig import preset, render
from augment.translators import load_translator
from augment.translators.appearance_flow import (
    AppearanceFlowSettings,
    FlowNetwork,
)
from augment.translators.base import Batch, CannotTranslateError
from augment.translators.expression_shapes import ExpressionShapes
from augment.translators.flow_head import gradient_distance, smoothness

pytestmark = pytest.mark.slow


@cache
def embedded(split: str, channels: int = 1) -> FaceTensors:
    """Faces of a small population: 4 people with all classes and 6 with a neutral face; or 3 others with all."""
    population = preset("rare", seed=3, subjects=4, neutral_subjects=6, validation_subjects=1, test_subjects=3)
    specs = [spec for spec in population.specs if spec.split == split]
    drawn = render(specs, size=SIZE, channels=channels, seed=3)
    return FaceTensors(
        images=torch.from_numpy(np.ascontiguousarray(drawn.images)).permute(0, 3, 1, 2).contiguous(),
        labels=torch.tensor([population.class_names.index(spec.label) for spec in specs]),
        landmarks=torch.from_numpy(np.ascontiguousarray(drawn.landmarks)).float(),
        masks=None,
        face_ids=tuple(spec.face_id for spec in specs),
        subjects=tuple(spec.subject_name for spec in specs),
        class_names=tuple(population.class_names),
    )


def batch(count: int = 16, seed: int = 0) -> Batch:
    nothing = torch.zeros(count, dtype=torch.int64)
    return Batch(
        images=torch.zeros(count, 1, SIZE, SIZE),
        labels=nothing,
        targets=nothing,
        side_input=None,
        step=0,
        total_steps=1,
        generator=torch.Generator().manual_seed(seed),
    )


# The network


def test_the_network_starts_near_its_initial_flow() -> None:
    torch.manual_seed(0)
    network = FlowNetwork(1, 5, AppearanceFlowSettings(**SMALL))
    pictures = torch.rand(2, 1, SIZE, SIZE) * 2 - 1
    heat, condition = torch.zeros(2, 1, SIZE, SIZE), torch.randn(2, 5)
    still = network(pictures, heat, condition)
    torch.testing.assert_close(still.sampled, pictures, atol=1e-5, rtol=0)
    assert float(still.learned_flow.detach().abs().max()) == 0.0
    # Two pixels to the right in the source: the output is the picture moved two pixels to the left.
    shift = torch.zeros(2, 2, SIZE, SIZE)
    shift[:, 0] = 2 * 2 / SIZE
    moved = network(pictures, heat, condition, shift)
    torch.testing.assert_close(moved.sampled[..., :-2], pictures[..., 2:], atol=1e-4, rtol=0)
    assert torch.equal(moved.flow, shift)


def test_the_learned_flow_is_bounded() -> None:
    network = FlowNetwork(1, 5, AppearanceFlowSettings(**SMALL, largest_flow=0.1))
    assert network.head.flow.bias is not None
    torch.nn.init.constant_(network.head.flow.bias, 1e3)
    made = network(torch.zeros(1, 1, SIZE, SIZE), torch.zeros(1, 1, SIZE, SIZE), torch.zeros(1, 5))
    torch.testing.assert_close(made.learned_flow, torch.full_like(made.learned_flow, 0.1))


# The losses


def test_the_gradient_distance_by_hand() -> None:
    picture = torch.zeros(1, 1, 2, 3)
    picture[0, 0] = torch.tensor([[0.0, 1.0, 1.0], [0.0, 0.0, 0.0]])
    weights = torch.ones(1, 1, 2, 3)
    # Across |1|, 0, 0, 0 over four; down 0, |1|, |1| over three.
    assert float(gradient_distance(picture, torch.zeros_like(picture), weights)) == pytest.approx(1 / 4 + 2 / 3)
    # A brightness alone is no difference; where nothing counts, nothing is.
    assert float(gradient_distance(picture + 0.4, picture, weights)) == pytest.approx(0.0, abs=1e-6)
    assert float(gradient_distance(picture, torch.zeros_like(picture), 0 * weights)) == 0.0


def test_the_smoothness_by_hand() -> None:
    flow = torch.zeros(1, 2, 2, 2)
    flow[0, 0, 0, 1] = 0.5
    # Across: one of four differences is 0.5; down: one of four is -0.5.
    assert float(smoothness(flow)) == pytest.approx(2 * 0.25 / 4)
    assert float(smoothness(torch.full((1, 2, 3, 3), 0.7))) == 0.0


def test_the_spline_leads_the_targets_landmarks_to_the_sources_and_no_flow_does_not() -> None:
    """Before any step, with mirrored and turned pairs: a flow that were not turned with them would miss."""
    with_spline, without = flow_translator(), flow_translator(initial_flow="none")
    errors = []
    for translator in (with_spline, without):
        translator.prepare_training(embedded("train"))
        errors.append(float(translator.losses("generator", batch())["landmark"].detach()))
    assert errors[0] < 0.2 * errors[1]


def test_without_mirroring_pairs_are_as_they_are() -> None:
    translator = flow_translator()
    translator.prepare_training(embedded("train"))
    plain = translator._draw(64, torch.Generator().manual_seed(0), mirror=False)
    mirrored = translator._draw(64, torch.Generator().manual_seed(0), mirror=True)
    assert translator._examples is not None
    turned = [row for row in range(64) if not torch.equal(plain.images[row], mirrored.images[row])]
    assert 16 < len(turned) < 48
    losses = [float(translator.losses("generator", replace(batch(), mirror=way))["landmark"]) for way in (True, False)]
    assert losses[0] != losses[1]


def noisy(faces: FaceTensors, pixels: float = 1.0) -> FaceTensors:
    """The same faces, their landmarks with noise of so many pixels of a 48 px picture."""
    assert faces.landmarks is not None
    noise = torch.randn(faces.landmarks.shape, generator=torch.Generator().manual_seed(5))
    return replace(faces, landmarks=faces.landmarks + pixels / 48 * noise)


def _pair_displacements(faces: FaceTensors) -> torch.Tensor:
    """The displacements that training sees, [168, 68, 2] in pixels of a 48 px picture."""
    translator = flow_translator(pose_difference=10.0)  # noise must not choose the pairs
    assert translator.prepare_training(faces)["pairs"] == 168
    assert translator._examples is not None
    shapes = translator._examples.shapes[:168]
    return 24 * (shapes[:, 1] - shapes[:, 0])


def _size(values: torch.Tensor) -> float:
    return float(values.square().mean().sqrt())


def test_noise_is_taken_out_of_the_displacements_of_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    true, cleaned = _pair_displacements(embedded("train")), _pair_displacements(noisy(embedded("train")))
    monkeypatch.setattr(ExpressionShapes, "clean", lambda self, shapes, labels: shapes)
    exact, uncleaned = _pair_displacements(embedded("train")), _pair_displacements(noisy(embedded("train")))
    # The control: without cleaning there is more noise in a displacement than expression.
    assert _size(uncleaned - exact) > 1.3 > 1.3 * _size(exact)
    assert _size(cleaned - exact) < 0.6 * _size(uncleaned - exact)
    # Exact landmarks stay exact, to a thirtieth of a pixel.
    assert _size(true - exact) < 1 / 30


@pytest.mark.parametrize("split", ["train", "test"])
def test_noise_is_taken_out_of_the_shapes_that_are_translated(split: str) -> None:
    """Also of people who were not fitted to."""
    translator = flow_translator()
    facts = translator.prepare_training(noisy(embedded("train")))
    assert facts["landmark_noise_in_pixels"] == pytest.approx(SIZE / 48, rel=0.15)
    exact, given = embedded(split), noisy(embedded(split))
    assert exact.landmarks is not None and given.landmarks is not None
    true, found = to_picture_range(exact.landmarks), to_picture_range(given.landmarks)
    cleaned = translator.shapes.clean(found, exact.labels)
    assert _size(cleaned - true) < 0.75 * _size(found - true)
    # A face without landmarks spoils no other's.
    found[0] = torch.nan
    again = translator.shapes.clean(found, exact.labels)
    assert bool(again[0].isnan().all()) and torch.allclose(again[1:], cleaned[1:], atol=1e-5)


def test_a_weight_of_zero_takes_a_term_out() -> None:
    translator = flow_translator(lambda_smooth=0.0, lambda_mask=0.0)
    translator.prepare_training(embedded("train"))
    terms = translator.losses("generator", batch())
    assert set(terms) == {"reconstruction", "gradient", "flow", "outside", "landmark"}
    doubled = flow_translator(lambda_rec=2.0)
    doubled.load_state_dict(translator.state_dict())
    doubled.prepare_training(embedded("train"))
    again = doubled.losses("generator", batch())
    torch.testing.assert_close(again["reconstruction"], 2 * terms["reconstruction"])
    torch.testing.assert_close(again["flow"], terms["flow"])


def test_unchanged_faces_are_their_own_targets() -> None:
    translator = flow_translator(unchanged=0.5)
    translator.prepare_training(embedded("train"))
    drawn = translator._draw(8, torch.Generator().manual_seed(0))
    assert torch.equal(drawn.images[4:], drawn.targets[4:])
    assert all(not torch.equal(one, other) for one, other in zip(drawn.images[:4], drawn.targets[:4], strict=True))
    torch.testing.assert_close(drawn.source_shapes[4:], drawn.target_shapes[4:])
    assert bool((drawn.mask[4:] > 0.99).all())


# What is refused


def test_what_is_missing_is_named() -> None:
    translator, faces = flow_translator(), embedded("train")
    translator.check(faces)
    nobody = replace(faces, subjects=(None,) * len(faces))
    with pytest.raises(CannotTranslateError, match="the person is known"):
        translator.check(nobody)
    with pytest.raises(CannotTranslateError, match="none does"):
        translator.check(replace(faces, subjects=faces.face_ids))
    alone = tuple(
        "someone" if label == 3 and subject == faces.subjects[0] else subject if label != 3 else face
        for label, subject, face in zip(faces.labels.tolist(), faces.subjects, faces.face_ids, strict=True)
    )
    with pytest.raises(CannotTranslateError, match="nobody does so for happy"):
        translator.check(replace(faces, subjects=alone))
    with pytest.raises(ValidationError, match="lowest <= highest"):
        AppearanceFlowSettings(gain=(1.0, 0.5))


def test_no_loss_before_the_preparation() -> None:
    with pytest.raises(RuntimeError, match="prepare_training"):
        flow_translator().losses("generator", batch())


# What is learned


@pytest.mark.parametrize("channels", [1, 3])
def test_it_moves_faces_of_other_people_towards_their_own_expressions(tmp_path: Path, channels: int) -> None:
    """Trained for seconds; on people of another split, what it makes is nearer to the class's mean face than before."""
    train, others = embedded("train", channels), embedded("test", channels)
    translator = flow_translator(channels)
    result = train_briefly(translator, train, tmp_path)
    assert result.facts["pairs"] == 4 * 7 * 6 and result.facts["people_happy"] == 4
    neutral = torch.nonzero(others.labels == NEUTRAL)[:, 0]
    sources = others.take(neutral.repeat_interleave(7))
    targets = torch.arange(7).repeat(len(neutral))
    loaded = load_translator(result.weights)
    made = loaded.translate(sources, targets, torch.Generator().manual_seed(0))
    assert made.shape == sources.images.shape and made.dtype == torch.uint8
    assert torch.equal(made, translator.translate(sources, targets, torch.Generator().manual_seed(0)))
    # The person's own face of that class, seen by nobody, is nearer to what was made than the source is; but its light
    # and pose are others, so over all classes and people.
    own = {(s, int(label)): row for row, (s, label) in enumerate(zip(others.subjects, others.labels, strict=True))}
    rows = [own[subject, int(target)] for subject, target in zip(sources.subjects, targets, strict=True)]
    lips = _mouth_heights(others, rows) - _mouth_heights(others, neutral.repeat_interleave(7).tolist())
    surprised = torch.tensor([others.class_names[int(target)] == "surprise" for target in targets])
    assert float(lips[surprised].mean()) > 0.02  # the mouth opens ...
    changed = (made.float() - sources.images.float()).abs().mean(dim=(1, 2, 3))
    assert float(changed[surprised].mean()) > float(changed[targets == NEUTRAL].mean()) + 1.0  # ... and so does ours
    weights = load_translator(result.weights).state_dict()
    assert all(torch.isfinite(value).all() for value in weights.values())


def _mouth_heights(faces: FaceTensors, rows: list[int]) -> torch.Tensor:
    assert faces.landmarks is not None
    return faces.landmarks[rows, 66, 1] - faces.landmarks[rows, 62, 1]


def test_what_is_painted_is_strengthened_by_the_detail_gain() -> None:
    """At 0 a face is what the flow gives; at 2 twice as far from it as at 1."""
    faces = embedded("test").take(range(5))
    targets = (faces.labels + 1) % 7
    weights = None
    made = []
    for factor in (0.0, 1.0, 2.0):
        translator = flow_translator(detail_gain=(factor, factor))
        translator.prepare_training(embedded("train"))
        torch.nn.init.constant_(translator.network.head.output.weight, 0.002)  # paints something, and clips nothing
        weights = weights or translator.state_dict()
        translator.load_state_dict(weights)
        with torch.no_grad():
            made.append(translator.eval()._translate(faces, targets, torch.Generator().manual_seed(0)))
    assert float((made[1] - made[0]).abs().max()) > 1e-3
    torch.testing.assert_close(made[2] - made[0], 2 * (made[1] - made[0]), atol=1e-5, rtol=0)


def test_sources_of_other_classes_and_photographs_without_names_are_translated() -> None:
    translator = flow_translator()
    translator.prepare_training(embedded("train"))
    translator.eval()
    others = replace(embedded("test"), subjects=(None,) * len(embedded("test")))
    targets = (others.labels + 1) % 7
    made = translator.translate(others, targets, torch.Generator().manual_seed(1))
    again = translator.translate(others, targets, torch.Generator().manual_seed(1))
    assert torch.equal(made, again)
    assert not torch.equal(made, translator.translate(others, targets, torch.Generator().manual_seed(2)))
    lacking = replace(others, landmarks=torch.full((len(others), 68, 2), torch.nan))
    with pytest.raises(CannotTranslateError, match="landmarks on every source"):
        translator.translate(lacking, targets)
