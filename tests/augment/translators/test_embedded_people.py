"""Embedded people as teachers: framed as the photographs are, and enough where these show nobody twice."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from small_flow import NEUTRAL, SIZE, flow_translator, train_briefly

from augment.faces.tensors import FaceTensors
from augment.rig import preset, preset_names
from augment.translators import load_translator
from augment.translators.appearance_flow import AppearanceFlow
from augment.translators.base import CannotTranslateError
from augment.translators.embedded_people import check_taught, embedded_people

SEVEN = ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")


def photographs(count: int = 12, channels: int = 1, classes: tuple[str, ...] = SEVEN) -> FaceTensors:
    """Noise with landmarks, of no known people: the eyes at 0.3, the nose 0.2 below, in the middle; one has none."""
    generator = torch.Generator().manual_seed(5)
    landmarks = torch.rand(count, 68, 2, generator=generator)
    landmarks[:, 36:42] = torch.tensor([0.3, 0.3])
    landmarks[:, 42:48] = torch.tensor([0.7, 0.3])
    landmarks[:, 31:36] = torch.tensor([0.5, 0.5])
    landmarks[0] = torch.nan
    return FaceTensors(
        images=torch.randint(0, 256, (count, channels, SIZE, SIZE), dtype=torch.uint8, generator=generator),
        labels=torch.arange(count) % len(classes),
        landmarks=landmarks,
        masks=None,
        face_ids=tuple(f"photograph-{number}" for number in range(count)),
        subjects=(None,) * count,
        class_names=classes,
    )


@pytest.mark.parametrize("channels", [1, 3])
def test_resting_faces_are_framed_as_the_photographs_are(channels: int) -> None:
    faces = embedded_people(photographs(channels=channels), people=10)
    assert faces.images.shape == (70, channels, SIZE, SIZE) and faces.images.dtype == torch.uint8
    assert faces.labels.tolist() == list(range(7)) * 10 and faces.class_names == SEVEN
    assert faces.landmarks is not None
    resting = faces.landmarks[NEUTRAL::7]
    eyes, nose = resting[:, 36:48].mean(1), resting[:, 31:36].mean(1)
    # The points have noise of 2 % of the eyes' distance, which five or twelve of them average.
    torch.testing.assert_close((eyes + nose) / 2, torch.tensor([0.5, 0.4]).expand(10, 2), atol=0.02, rtol=0)
    torch.testing.assert_close((nose - eyes)[:, 1], torch.full((10,), 0.2), atol=0.02, rtol=0)
    grey = faces.images.float().mean(1)[NEUTRAL::7]
    assert float(grey.std(dim=(1, 2)).min()) > 20  # there is something to see, over the whole range


def test_a_person_is_in_every_class_and_in_no_preset() -> None:
    faces = embedded_people(photographs(), people=11)
    assert [set(faces.subjects[row : row + 7]) for row in range(0, 77, 7)] == [
        {faces.subjects[row]} for row in range(0, 77, 7)
    ]
    assert len(set(faces.subjects)) == 11 and len(set(faces.face_ids)) == 77
    taken = {spec.subject for name in preset_names() for spec in preset(name, seed=0).specs}
    assert max(taken) < 900_000_000


def test_the_same_photographs_give_the_same_people_and_nothing_else_draws() -> None:
    state = torch.random.get_rng_state()
    first, again = (embedded_people(photographs(), people=10) for _ in range(2))
    assert torch.equal(first.images, again.images) and first.landmarks is not None and again.landmarks is not None
    assert torch.equal(first.landmarks, again.landmarks)
    assert torch.equal(state, torch.random.get_rng_state())
    # Only the frames of the photographs count: their pixels and labels teach nothing.
    others = replace(photographs(), images=torch.zeros(12, 1, SIZE, SIZE, dtype=torch.uint8))
    assert torch.equal(first.images, embedded_people(others, people=10).images)


def test_what_embedded_people_can_not_teach_is_named() -> None:
    check_taught(photographs(), "appearance_flow")
    with pytest.raises(CannotTranslateError, match="not bored, proud"):
        check_taught(photographs(classes=("bored", "happy", "proud")), "appearance_flow")
    for landmarks in (None, torch.full((12, 68, 2), torch.nan)):
        with pytest.raises(CannotTranslateError, match="landmarks=dlib"):
            check_taught(replace(photographs(), landmarks=landmarks), "appearance_flow")


def taught_by(teacher: str) -> AppearanceFlow:
    return flow_translator(teacher=teacher, teacher_people=10)


def test_photographs_of_unknown_people_name_the_way_out() -> None:
    with pytest.raises(CannotTranslateError, match="teacher: embedded"):
        taught_by("own").check(photographs())
    taught_by("embedded").check(photographs())


@pytest.mark.slow
def test_it_learns_from_embedded_people_alone(tmp_path: Path) -> None:
    """Trained for a second on photographs that are noise, it opens the mouth of a drawn face that it never saw."""
    translator = taught_by("embedded")
    result = train_briefly(translator, photographs(), tmp_path)
    assert result.facts["people_surprise"] == 10
    faces = embedded_people(photographs(), people=14).take(range(70 + NEUTRAL, 98, 7))  # four whom it has not met
    loaded = load_translator(result.weights)
    changed = [
        float((loaded.translate(faces, torch.full((4,), target)).float() - faces.images.float()).abs().mean())
        for target in (SEVEN.index("surprise"), NEUTRAL)
    ]
    assert changed[0] > changed[1] + 1.0
