"""Crops: the square by hand, and everything on the picture moving with it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from embedded import embedded_face
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from augment.faces.crops import CropSettings, FaceSquare, crop_image, crop_landmarks, crop_mask, face_square


def points_at(
    left: tuple[float, float], right: tuple[float, float], nose: tuple[float, float], height: int, width: int
) -> np.ndarray:
    """68 points: eyes as single places, the rest at the nose's base; pixels in, shares of the picture out."""
    points = np.tile(np.array(nose, np.float64), (68, 1))
    points[36:42], points[42:48] = left, right
    return (points / [width, height]).astype(np.float32)


def test_a_face_from_the_front_by_hand() -> None:
    """Eyes 20 apart about (50, 30); the nose's base 14 below, less than 20 / 1.25."""
    points = points_at((40, 30), (60, 30), (50, 44), height=100, width=120)
    square = face_square(points, 100, 120, margin=0.25)
    assert square is not None
    assert square.centre == pytest.approx((50, 30 + 0.8 * 20), abs=1e-4)
    assert square.edge == pytest.approx(2.2 * 20 * 1.5, rel=1e-6) and square.angle == pytest.approx(0, abs=1e-6)
    # The left eye lies 10 left and 16 above the centre of a square of 66.
    moved = crop_landmarks(points, square)
    assert moved.dtype == np.float32
    assert moved[36] == pytest.approx([0.5 - 10 / 66, 0.5 - 16 / 66], abs=1e-6)
    assert moved[33] == pytest.approx([0.5, 0.5 - 2 / 66], abs=1e-6)


def test_a_turned_head_is_measured_down_to_its_nose() -> None:
    points = points_at((45, 30), (55, 30), (48, 46), height=100, width=100)
    square = face_square(points, 100, 100, margin=0.0)
    assert square is not None
    unit = 1.25 * 16  # longer than the eyes' distance of 10
    assert square.edge == pytest.approx(2.2 * unit, rel=1e-6)
    assert square.centre == pytest.approx((50, 30 + 0.8 * unit), abs=1e-4)


def test_a_face_on_its_side_by_hand() -> None:
    """The face looks along the picture's left-right: its right eye lies straight below its left one."""
    points = points_at((60, 40), (60, 60), (46, 50), height=100, width=100)
    square = face_square(points, 100, 100, margin=0.0)
    assert square is not None
    assert square.angle == pytest.approx(np.pi / 2)
    assert square.centre == pytest.approx((60 - 0.8 * 20, 50), abs=1e-4)  # down the face is left on the picture
    moved = crop_landmarks(points, square)
    assert moved[36, 1] == pytest.approx(moved[42, 1], abs=1e-6) and moved[36, 0] < moved[42, 0]
    assert moved[33, 1] > moved[36, 1]
    # Not turned, the square lies about the same place, as large.
    level = face_square(points, 100, 100, align=False, margin=0.0)
    assert level == replace(square, angle=0.0)


@pytest.mark.parametrize(
    "points",
    [
        points_at((40, 30), (40, 30), (50, 44), 100, 100),
        points_at((-900, 30), (900, 30), (50, 44), 100, 100),
        np.full((68, 2), np.nan, np.float32),
    ],
    ids=["eyes in one place", "larger than the picture", "unknown"],
)
def test_points_that_are_no_faces_give_no_square(points: np.ndarray) -> None:
    assert face_square(points, 100, 100) is None


def test_a_square_that_is_the_picture_leaves_it_as_it_is() -> None:
    image, landmarks, mask = embedded_face("happy", 1, size=48)
    square = FaceSquare(centre=(24, 24), edge=48, angle=0.0, height=48, width=48)
    assert np.array_equal(crop_image(image, square, 48), image)
    assert np.array_equal(crop_mask(mask, square, 48), mask)
    assert crop_landmarks(landmarks, square) == pytest.approx(landmarks, abs=1e-6)


def test_whole_pixels_are_cut_exactly_and_the_edge_is_repeated() -> None:
    image = np.arange(64, dtype=np.uint8).reshape(8, 8) * 3
    inner = FaceSquare(centre=(5, 4), edge=4, angle=0.0, height=8, width=8)
    assert np.array_equal(crop_image(image, inner, 4), image[2:6, 3:7])
    outer = FaceSquare(centre=(1, 4), edge=4, angle=0.0, height=8, width=8)  # one column to the left of the picture
    assert np.array_equal(crop_image(image, outer, 4), image[2:6][:, [0, 0, 1, 2]])
    assert np.array_equal(crop_mask(image, outer, 4), image[2:6][:, [0, 0, 1, 2]])
    beside = FaceSquare(centre=(-90, 4), edge=4, angle=0.0, height=8, width=8)
    assert np.array_equal(crop_image(image, beside, 4), image[2:6][:, [0, 0, 0, 0]])


def test_a_quarter_turn_is_exact() -> None:
    generator = np.random.default_rng(0)
    image = generator.integers(0, 256, (12, 12, 3), np.uint8)
    square = FaceSquare(centre=(6, 6), edge=12, angle=np.pi / 2, height=12, width=12)
    # The crop's upper side runs down the picture's right side.
    expected = np.rot90(image)
    assert np.array_equal(crop_image(image, square, 12), expected)
    assert np.array_equal(crop_mask(image[:, :, 0], square, 12), expected[:, :, 0])
    assert not np.array_equal(crop_image(image, replace(square, angle=-np.pi / 2), 12), expected)


def test_nothing_aliases() -> None:
    """Stripes of one pixel, an eighth of the size: grey. Every eighth pixel alone would be black or white."""
    image = np.zeros((256, 256), np.uint8)
    image[:, ::2] = 255
    square = FaceSquare(centre=(128, 128), edge=256, angle=0.1, height=256, width=256)
    inside = crop_image(image, square, 32)[6:-6, 6:-6]
    assert np.abs(inside.astype(float) - 127.5).max() < 12


def dotted(height: int, width: int, points: np.ndarray) -> np.ndarray:
    """A dark picture with a bright soft dot at each point, in 0..1."""
    rows, columns = np.mgrid[:height, :width] + 0.5
    picture = np.zeros((height, width))
    for x, y in points * [width, height]:
        picture = np.maximum(picture, 255 * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 8))
    return picture.astype(np.uint8)


@settings(max_examples=25)
@given(
    angle=st.floats(-3.1, 3.1),
    edge=st.floats(50, 150),
    x=st.floats(40, 110),
    y=st.floats(40, 80),
    size=st.sampled_from([48, 96, 160]),
)
def test_landmarks_and_mask_move_with_the_picture(angle: float, edge: float, x: float, y: float, size: int) -> None:
    """A dot on the picture lies where its moved landmark says, and so does its area in the mask."""
    height, width = 120, 150
    dot = np.array([[(x + 8) / width, (y - 5) / height]])
    image = dotted(height, width, dot)
    square = FaceSquare(centre=(x, y), edge=edge, angle=angle, height=height, width=width)
    moved = crop_landmarks(np.tile(dot, (68, 1)).astype(np.float32), square)[0]
    crop = crop_image(image, square, size).astype(float)
    rows, columns = np.mgrid[:size, :size] + 0.5
    seen = np.array([(crop * columns).sum(), (crop * rows).sum()]) / crop.sum() / size
    pixel = 1 / min(size, edge)
    assert seen == pytest.approx(moved, abs=0.6 * pixel)
    mask = crop_mask((image > 64).astype(np.uint8), square, size)
    centre = (np.argwhere(mask)[:, ::-1] + 0.5).mean(axis=0) / size
    assert centre == pytest.approx(moved, abs=1.0 * pixel)


def test_a_mask_of_another_resolution_covers_the_same_picture() -> None:
    mask = np.zeros((30, 40), np.uint8)
    mask[10:15, 20:30] = 2
    square = FaceSquare(centre=(60, 50), edge=80, angle=0.4, height=120, width=160)
    fine = mask.repeat(4, 0).repeat(4, 1)
    assert np.array_equal(crop_mask(mask, square, 64), crop_mask(fine, square, 64))


def turned(image: np.ndarray, points: np.ndarray, mask: np.ndarray, degrees: float) -> tuple[np.ndarray, ...]:
    """The picture turned about its centre by Pillow (positive = its right side goes down), and the points with it."""
    size = image.shape[0]
    picture = Image.fromarray(image).rotate(-degrees, Image.Resampling.BICUBIC, fillcolor=(90, 90, 90))
    areas = Image.fromarray(mask).rotate(-degrees, Image.Resampling.NEAREST)
    angle = np.radians(degrees)
    matrix = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    moved = ((points * size - size / 2) @ matrix.T + size / 2) / size
    return np.asarray(picture), moved.astype(np.float32), np.asarray(areas)


@pytest.mark.parametrize("degrees", [-35.0, 20.0, 90.0, 170.0])
def test_a_turned_face_comes_out_upright(degrees: float) -> None:
    """What the crop of the turned face shows is what the crop of the upright one shows; turned the wrong way, not."""
    small, landmarks, mask = embedded_face("surprise", 2, size=128)
    around = ((64, 64), (64, 64))
    image, mask = np.pad(small, (*around, (0, 0)), mode="edge"), np.pad(mask, around)
    landmarks = (landmarks + 0.5) / 2
    upright = face_square(landmarks, 256, 256)
    image_turned, landmarks_turned, mask_turned = turned(image, landmarks, mask, degrees)
    square = face_square(landmarks_turned, 256, 256)
    assert upright is not None and square is not None
    assert np.degrees(square.angle - upright.angle) == pytest.approx(degrees, abs=0.01)
    wanted = crop_image(image, upright, 64).astype(float)

    def difference(other: FaceSquare) -> float:
        return float(np.abs(crop_image(image_turned, other, 64) - wanted).mean())

    assert difference(square) < 3
    wrong = replace(square, angle=upright.angle - np.radians(degrees))
    assert difference(wrong) > 4 * difference(square)
    assert crop_landmarks(landmarks_turned, square) == pytest.approx(crop_landmarks(landmarks, upright), abs=1e-3)
    areas = crop_mask(mask_turned, square, 64)
    assert (areas == crop_mask(mask, upright, 64)).mean() > 0.97
    eyes = crop_landmarks(landmarks_turned, square)[36:48].reshape(2, 6, 2).mean(axis=1)
    assert eyes[0, 1] == pytest.approx(eyes[1, 1], abs=1e-5) and eyes[0, 0] < eyes[1, 0]
    assert np.abs(eyes[:, 0] - 0.5).sum() < 0.5 and eyes[0, 1] < 0.5


def test_the_square_holds_the_face_and_does_not_tell_the_expression() -> None:
    edges = []
    for expression in ("neutral", "surprise", "happy", "angry"):
        _, landmarks, _ = embedded_face(expression, 4, size=64)
        square = face_square(landmarks, 64, 64)
        assert square is not None
        moved = crop_landmarks(landmarks, square)
        assert moved.min() > 0.02 and moved.max() < 1
        edges.append(square.edge)
    assert max(edges) / min(edges) < 1.06


def test_settings_refuse_what_can_not_be() -> None:
    with pytest.raises(ValueError, match="margin"):
        CropSettings(margin=-0.5)
    with pytest.raises(ValueError, match="size"):
        CropSettings(size=4)
    with pytest.raises(ValueError, match="edge"):
        CropSettings(edge=4)  # type: ignore[call-arg]
