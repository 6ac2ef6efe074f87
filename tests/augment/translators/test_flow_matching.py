"""Flow matching: straight paths, their coupling, what the network is left to find, and Euler's steps."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from gan_faces import batch_of, random_faces
from paired_faces import paired_faces

from augment.core.errors import InputError
from augment.faces.tensors import to_unit_range
from augment.translators import create_translator
from augment.translators.base import CannotTranslateError
from augment.translators.flow_matching import FlowMatching, optimal_transport

pytestmark = pytest.mark.slow


def tiny(**settings: object) -> FlowMatching:
    translator = create_translator(
        "flow_matching", num_classes=3, channels=1, size=16, settings={"width": 8, "blocks": 1, **settings}
    )
    assert isinstance(translator, FlowMatching)
    return translator


class Constant(torch.nn.Module):
    """An end that is the same everywhere, and what it was asked."""

    def __init__(self, end: float) -> None:
        super().__init__()
        self.end = end
        self.asked: list[tuple[torch.Tensor, ...]] = []

    def forward(
        self, points: torch.Tensor, sources: torch.Tensor, times: torch.Tensor, targets: torch.Tensor
    ) -> torch.Tensor:
        self.asked.append((points, sources, times, targets))
        return torch.full_like(points, self.end)


def with_constant_end(end: float, **settings: object) -> tuple[FlowMatching, Constant]:
    translator, constant = tiny(**settings), Constant(end)
    translator.ends = constant  # type: ignore[assignment]
    return translator, constant


def test_the_loss_is_the_squared_error_of_the_velocity_of_a_straight_path() -> None:
    translator, constant = with_constant_end(0.25, source_noise=0.5, identity_share=0.0, lambda_velocity=1.0)
    batch = replace(batch_of(translator, random_faces(6)), examples=to_unit_range(random_faces(6).images.flip(0)))
    loss = translator.losses("flow", batch)["velocity"]
    points, sources, times, targets = constant.asked[0]
    replay = torch.Generator().manual_seed(0)
    starts = sources + 0.5 * torch.randn(sources.shape, generator=replay)
    assert torch.equal(times, torch.rand(6, generator=replay).square())
    time = times[:, None, None, None]
    # What lies on the path at time t says where it ends: x_1 = (x_t - (1 - t) x_0) / t.
    ends = (points - (1 - time) * starts) / time
    velocity = (0.25 - points) / (1 - time)
    expected = ((1 - time) * (velocity - (ends - starts))).square().mean()
    assert torch.allclose(loss, expected, rtol=1e-3)
    without_noise = ((1 - time) * (velocity - (ends - sources))).square().mean()
    assert not torch.allclose(loss, without_noise, rtol=1e-2)  # a known slip: the path begins at the noisy source
    assert batch.examples is not None
    nearest = torch.cdist(ends.flatten(1), batch.examples.flatten(1)).argmin(dim=1)
    assert torch.equal(targets, batch.targets[nearest])  # an end brings its own class


def test_a_mask_of_zero_gives_the_source_without_its_noise() -> None:
    translator, faces = tiny(source_noise=0.5), random_faces(3)
    head = translator.ends.head
    torch.nn.init.zeros_(head.weight)
    assert head.bias is not None
    torch.nn.init.constant_(head.bias, -100.0)
    made = translator.translate(faces, torch.tensor([0, 1, 2]))
    assert (made.int() - faces.images.int()).abs().max() <= 1
    torch.nn.init.constant_(head.bias, 100.0)  # a mask of one, a picture of 1
    assert bool((translator.translate(faces, torch.tensor([0, 1, 2])) == 255).all())


def test_euler_steps_follow_the_straight_path_to_its_end() -> None:
    translator, constant = with_constant_end(0.6, source_noise=0.0, integration_steps=4)
    faces = random_faces(2)
    faces = replace(faces, images=torch.full_like(faces.images, 102))  # -0.2
    made = translator.translate(faces, torch.tensor([0, 1]))
    assert made.unique().tolist() == [204]  # 0.6
    assert [float(times[0]) for _, _, times, _ in constant.asked] == [0.0, 0.25, 0.5, 0.75]
    at = [float(points.mean()) for points, _, _, _ in constant.asked]
    assert at == pytest.approx([-0.2, 0.0, 0.2, 0.4], abs=1e-5)


def test_noise_comes_from_the_generator_alone() -> None:
    translator = tiny(source_noise=0.3)
    faces, targets = random_faces(3), torch.tensor([1, 2, 0])
    one, again, other = (translator.translate(faces, targets, torch.Generator().manual_seed(s)) for s in (1, 1, 2))
    assert torch.equal(one, again) and not torch.equal(one, other)


def test_optimal_transport_takes_every_end_once_at_the_least_cost() -> None:
    """On a line: nearest first would give 0 -> 1 and leave 2 -> -9; together the other way is nearer."""
    line = torch.tensor([0.0, 2.0]), torch.tensor([1.0, -9.0])
    sources, ends = (values.view(2, 1, 1, 1).expand(2, 1, 12, 12) for values in line)
    assert optimal_transport(sources, ends).tolist() == [1, 0]
    nearest = (line[0][:, None] - line[1][None]).abs().argmin(dim=1)
    assert nearest.tolist() == [0, 0]  # one end twice


def test_coupling_follows_the_faces() -> None:
    people, strangers = paired_faces(size=16), random_faces(6)
    auto = tiny()
    assert auto.prepare_training(people)["coupling"] == "pairs" and auto.example_faces(people) is None
    assert auto.prepare_training(strangers)["coupling"] == "optimal_transport"
    wanted = auto.example_faces(strangers)
    assert wanted is not None and bool(wanted.all())
    assert tiny(coupling="optimal_transport").prepare_training(people)["pairs"] == 0
    with pytest.raises(CannotTranslateError, match="flow_matching learns from pairs"):
        tiny(coupling="pairs").check(strangers)


def test_a_share_of_the_paths_leads_home() -> None:
    translator = tiny(identity_share=0.5)
    people = paired_faces(size=16)
    translator.prepare_training(people)
    batch = batch_of(translator, people.take([0, 1, 2, 3]))
    sources, ends, targets = translator.coupled(batch)
    assert torch.equal(sources[2:], ends[2:]) and torch.equal(targets[2:], batch.labels[2:])
    assert torch.equal(sources[2:], batch.images[2:]) and not torch.equal(sources[:2], ends[:2])


def test_it_learns_the_class_of_pairs() -> None:
    """Targets of class 0 are darker than their sources, those of class 1 brighter."""
    torch.manual_seed(0)
    people = paired_faces(size=16, brightness=(-60, 60, 0))
    translator = tiny(width=16, variation=0.0)
    translator.prepare_training(people)
    optimizer = torch.optim.Adam(translator.parameters(), 3e-3)
    generator = torch.Generator().manual_seed(0)
    neutral = people.take(torch.nonzero(people.labels == 2)[:, 0])
    for _ in range(80):
        rows = torch.randint(len(people), (8,), generator=generator)
        batch = replace(batch_of(translator, people.take(rows)), generator=generator)
        optimizer.zero_grad()
        translator.losses("flow", batch)["velocity"].backward()
        optimizer.step()
    mouth = (slice(None), slice(None), slice(10, 13), slice(6, 10))
    means = [
        float(
            (translator.translate(neutral, torch.full((len(neutral),), label)).float() - neutral.images)[mouth].mean()
        )
        for label in range(3)
    ]
    assert means[0] < means[2] - 5 and means[1] > means[2] + 5


def test_a_size_that_cannot_be_quartered_is_refused() -> None:
    with pytest.raises(InputError, match="multiples of 4"):
        create_translator("flow_matching", num_classes=3, channels=1, size=46)
