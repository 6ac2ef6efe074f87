from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from embedded import embedded_face

from augment.core.errors import InputError
from augment.faces.table import read_faces
from augment.faces.tensors import FaceTensors, face_tensors, to_unit_range
from augment.parsing.network import ParsingNetwork, ParsingSettings
from augment.prepare.annotation import AnnotationSettings
from augment.prepare.prepare import prepare_faces
from augment.rig import FaceSpec, render
from augment.rig.fitting import FitSettings
from augment.rig.simulated_face import SimulatedFace, simulate_frontal
from augment.sources import open_source
from augment.translators import create_translator
from augment.translators.base import Batch, CannotTranslateError
from augment.translators.pose_normalization import LsslPose

pytestmark = pytest.mark.slow

SIZE = 64
EXACT = FitSettings(landmark_noise=1e-3, contour="points")
LEFT_CORNER, RIGHT_CORNER = 48, 54  # of the mouth, in the picture


def photograph(yaw: float = 0.0, subject: int = 0, expression: str = "neutral") -> tuple[np.ndarray, np.ndarray]:
    image, landmarks, _ = embedded_face(expression, subject, yaw=yaw, size=SIZE, channels=1)
    return image.copy(), landmarks.copy()


def at(face: SimulatedFace, landmark: int) -> float:
    """Brightest of the pixels about a landmark of the simulated face."""
    column, row = np.floor(face.landmarks[landmark] * len(face.image)).astype(int)
    return float(face.image[row - 1 : row + 2, column - 1 : column + 2].max())


def cheeks(face: SimulatedFace) -> tuple[float, float]:
    """Means of a patch of the left and of the right cheek, between the eye and the mouth's corner."""
    found = []
    for eye, corner in ((36, 48), (45, 54)):
        column, row = np.floor((face.landmarks[eye] + face.landmarks[corner]) / 2 * len(face.image)).astype(int)
        found.append(float(face.image[row - 2 : row + 3, column - 1 : column + 2].mean()))
    return found[0], found[1]


def test_channels_and_size_are_as_asked() -> None:
    grey, landmarks = photograph(20.0)
    face = simulate_frontal(grey, landmarks, size=48)
    assert face.image.shape == (48, 48) and face.image.dtype == np.uint8
    colour = simulate_frontal(np.repeat(grey[:, :, None], 3, 2), landmarks, size=48)
    assert colour.image.shape == (48, 48, 3)
    assert all(np.array_equal(colour.image[:, :, channel], face.image) for channel in range(3))
    red = np.stack([grey, np.zeros_like(grey), np.zeros_like(grey)], 2)
    only_red = simulate_frontal(red, landmarks, size=48).image
    assert np.array_equal(only_red[:, :, 0], face.image) and not only_red[:, :, 1:].any()
    assert simulate_frontal(grey, landmarks, size=128).image.shape == (128, 128)
    assert face.identity.shape == (35,) and face.action_units.shape == (30,)
    assert face.identity.dtype == face.action_units.dtype == face.landmarks.dtype == np.float32
    assert abs(face.yaw - 20) < 6 and face.error == face.fit.error < 0.02


def test_there_is_nothing_but_the_face() -> None:
    image, landmarks = photograph(-30.0)
    face = simulate_frontal(np.maximum(image, 1), landmarks, size=SIZE)
    assert not face.image[0].any() and not face.image[:, 0].any() and not face.image[:, -1].any()
    height, width = np.nonzero(face.image)
    points = face.landmarks * SIZE
    # From the chin to the forehead, from jaw to jaw: no neck, no ears, no skull.
    assert abs(height.max() - points[8, 1]) < 3 and height.min() < points[17:27, 1].min() - 4
    assert abs(width.min() - points[:17, 0].min()) < 3 and abs(width.max() - points[:17, 0].max()) < 3
    inside = points[17:].astype(int)
    assert face.image[inside[:, 1], inside[:, 0]].all()


@pytest.mark.parametrize(("subject", "expression"), [(0, "surprise"), (4, "neutral"), (7, "happy")])
def test_framed_as_the_rig_frames_its_simulated_faces(subject: int, expression: str) -> None:
    spec = FaceSpec("framed", subject, expression, expression, 0, 25.0, "normal", 0.9, None, None)
    drawn = render([spec, spec.simulated_frontal], size=SIZE, channels=1, seed=0)
    face = simulate_frontal(drawn.images[0, :, :, 0], drawn.landmarks[0], size=SIZE, settings=EXACT)
    assert np.abs(face.landmarks - drawn.landmarks[1]).max() * SIZE < 1.5
    # And not as the photograph is.
    assert np.abs(face.landmarks - drawn.landmarks[0]).max() * SIZE > 5


@pytest.mark.parametrize("yaw", [-30.0, 30.0])
def test_nearer_to_the_frontal_photograph_than_the_profile_is(yaw: float) -> None:
    moment = FaceSpec("profile", 2, "happy", "happy", 0, yaw, "normal", 0.9, None, None)
    drawn = render([moment, replace(moment, yaw=0.0)], size=SIZE, channels=1, seed=0)
    pictures = drawn.images[:, :, :, 0].astype(float)
    turned, front = (
        simulate_frontal(image.astype(np.uint8), points, size=SIZE)
        for image, points in zip(pictures, drawn.landmarks, strict=True)
    )
    both = (turned.image > 0) & (front.image > 0)
    assert both.sum() > 0.97 * max((turned.image > 0).sum(), (front.image > 0).sum())
    simulated = np.corrcoef(turned.image[both], front.image[both])[0, 1]
    assert simulated > 0.8
    shift = np.rint((drawn.landmarks[0, 17:] - front.landmarks[17:]).mean(0) * SIZE).astype(int)
    plain = np.roll(pictures[0], (-shift[1], -shift[0]), (0, 1))
    assert np.corrcoef(plain[both], front.image[both])[0, 1] < simulated - 0.2


def painted(yaw: float, landmark: int) -> SimulatedFace:
    """A grey photograph with a white patch where a landmark is."""
    image, landmarks = photograph(yaw, 5)
    image[:] = 90
    column, row = np.floor(landmarks[landmark] * SIZE).astype(int)
    image[row - 1 : row + 2, column - 1 : column + 2] = 250
    return simulate_frontal(image, landmarks, size=SIZE, settings=EXACT)


def test_colours_land_where_the_geometry_says() -> None:
    for yaw in (0.0, 10.0):
        left, right = painted(yaw, LEFT_CORNER), painted(yaw, RIGHT_CORNER)
        assert at(left, LEFT_CORNER) > 200 and at(right, RIGHT_CORNER) > 200
        # Both halves are seen, so nothing is mirrored.
        assert at(left, RIGHT_CORNER) < 110 and at(right, LEFT_CORNER) < 110
    for landmark in (19, 33, 39, 8):
        assert at(painted(20.0, landmark), landmark) > (150 if landmark == 8 else 200)


def test_the_half_turned_away_is_the_other_one_mirrored() -> None:
    near, far = painted(45.0, LEFT_CORNER), painted(-45.0, RIGHT_CORNER)
    assert at(near, LEFT_CORNER) > 200 and at(near, RIGHT_CORNER) > 150
    assert at(far, RIGHT_CORNER) > 200 and at(far, LEFT_CORNER) > 150
    # The more it is turned, the less of it is seen.
    shares = [simulate_frontal(*photograph(yaw, 5), size=SIZE).seen for yaw in (0.0, 20.0, 45.0)]
    assert 1 >= shares[0] > 0.97 and shares[0] > shares[1] > shares[2] and 0.5 < shares[2] < 0.85
    mirrored = simulate_frontal(*photograph(-45.0, 5), size=SIZE).seen
    assert mirrored == pytest.approx(shares[2], abs=0.06)


def test_a_wall_behind_the_face_does_not_bleed_in() -> None:
    for yaw in (0.0, 45.0):
        _, landmarks, mask = embedded_face("neutral", 5, yaw=yaw, size=128, channels=1)
        flat = np.where(mask > 0, 90, 255).astype(np.uint8)
        drawn = simulate_frontal(flat, landmarks, size=SIZE, settings=EXACT)
        rows = np.arange(SIZE)[:, None] / SIZE
        face = (drawn.image > 0) & (rows > drawn.landmarks[17:27, 1].min())  # hair counts as wall
        assert np.abs(drawn.image[face].astype(int) - 90).mean() < 6
        assert (drawn.image[face] > 150).mean() < 0.015


def test_what_lies_outside_the_picture_is_not_made_up_from_its_edge() -> None:
    image, landmarks = photograph(0.0, 5)
    middle = int(landmarks[30, 0] * SIZE) + 4
    cut = image[:, :middle].copy()
    points = landmarks * (SIZE / middle, 1.0)
    cut[:, -2:] = 255  # the edge: smeared over the missing half, it would be white
    face = simulate_frontal(cut, points, size=SIZE, settings=EXACT)
    whole = simulate_frontal(image, landmarks, size=SIZE, settings=EXACT)
    left, right = cheeks(face)
    assert 0.45 < face.seen < 0.7 < whole.seen
    assert left == pytest.approx(cheeks(whole)[0], abs=12)
    assert right == pytest.approx(left, abs=25) and right < 200
    nothing = simulate_frontal(cut, points + 5.0, size=SIZE, settings=EXACT)
    assert nothing.seen == 0 and not nothing.image.any()


def test_openings_are_sampled_as_wide_as_they_are() -> None:
    gaps = []
    for expression in ("neutral", "surprise"):
        image, landmarks = photograph(25.0, 3, expression)
        face = simulate_frontal(image, landmarks, size=SIZE)
        gaps.append(float(face.landmarks[66, 1] - face.landmarks[62, 1]))
        photographed = float(landmarks[66, 1] - landmarks[62, 1])
        assert gaps[-1] == pytest.approx(photographed, abs=0.02)
    assert gaps[0] < 0.015 < 0.06 < gaps[1]


def test_the_same_photograph_gives_the_same_face_and_is_left_alone() -> None:
    image, landmarks = photograph(-20.0, 1)
    before = image.copy(), landmarks.copy()
    first, second = (simulate_frontal(image, landmarks, size=SIZE) for _ in range(2))
    assert np.array_equal(first.image, second.image) and first.error == second.error
    assert np.array_equal(image, before[0]) and np.array_equal(landmarks, before[1])


def test_bad_input_is_listed() -> None:
    image, landmarks = photograph()
    with pytest.raises(InputError) as caught:
        simulate_frontal(image.astype(np.float32), landmarks, size=4)
    assert len(caught.value.problems) == 2
    assert "float32" in str(caught.value) and "size: 4 is outside 8..1024" in str(caught.value)
    for shape in ((8, 8, 4), (8,), (0, 8)):
        with pytest.raises(InputError, match="image"):
            simulate_frontal(np.zeros(shape, np.uint8), landmarks, size=SIZE)
    with pytest.raises(InputError, match="not finite"):
        simulate_frontal(image, np.full_like(landmarks, np.nan), size=SIZE)
    with pytest.raises(InputError, match="show no face"):
        simulate_frontal(image, np.zeros_like(landmarks), size=SIZE)
    # A scatter of points is no face, but says so by its error.
    scatter = np.random.default_rng(0).random((68, 2)).astype(np.float32)
    assert simulate_frontal(image, scatter, size=SIZE).error > 0.1
    tiny = simulate_frontal(np.full((1, 1), 77, np.uint8), landmarks, size=SIZE)
    assert set(np.unique(tiny.image[16:48, 24:40])) == {77}


def prepared(folder: Path, *, simulated: bool) -> FaceTensors:
    source = open_source("rig", preset="mug", subjects=1, size=48, channels=1)
    report = prepare_faces(
        source, folder, image_size=16, channels=1, annotation=AnnotationSettings(simulated=simulated)
    )
    assert report.faces == 7 and report.columns["simulated"] == (7 if simulated else 0)
    return face_tensors(read_faces(folder))


def test_pose_normalization_trains_on_fitted_faces(tmp_path: Path) -> None:
    """`lssl_pose` takes a table whose simulated faces were fitted, and takes a step; without them it refuses."""
    translator = create_translator(
        "lssl_pose", num_classes=7, channels=1, size=16, settings={"width": 4, "downs": 2, "residual_blocks": 1}, seed=0
    )
    assert isinstance(translator, LsslPose)
    translator.attach_parsing(ParsingNetwork(channels=1, size=16, settings=ParsingSettings(width=4, levels=2)))
    with pytest.raises(CannotTranslateError, match="no simulated frontal face"):
        translator.check(prepared(tmp_path / "without", simulated=False))
    faces = prepared(tmp_path / "with", simulated=True)
    assert faces.has_simulated.all()
    translator.check(faces)
    images = to_unit_range(faces.images)
    batch = Batch(
        images=images,
        labels=faces.labels,
        targets=faces.labels,
        side_input=translator.side_input(faces),
        step=0,
        total_steps=2,
        generator=torch.Generator().manual_seed(0),
        examples=images,
    )
    for parameters, terms in (
        (translator.discriminator_parameters, translator.discriminator_losses),
        (translator.generator_parameters, translator.generator_losses),
    ):
        moving = list(parameters())
        before = [parameter.detach().clone() for parameter in moving]
        total = torch.stack(list(terms(batch).values())).sum()
        assert torch.isfinite(total)
        with torch.no_grad():
            for parameter, slope in zip(moving, torch.autograd.grad(total, moving, allow_unused=True), strict=True):
                parameter -= 0.01 * (torch.zeros_like(parameter) if slope is None else slope)
        assert any(not torch.equal(was, now) for was, now in zip(before, moving, strict=True))
    assert translator.translate(faces, faces.labels).shape == faces.images.shape
