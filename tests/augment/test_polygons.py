from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from skimage.draw import polygon2mask

from augment.faces.landmark_shapes import face_outline
from augment.faces.table import MASK_CLASSES, NO_MASK
from augment.faces.tensors import FaceTensors, mirror_landmarks
from augment.parsing.polygons import polygon_masks
from augment.parsing.teachers import embedded_faces

SIZE = 48
# Least intersection over union with the exact masks, over known pixels; people whom the numbers were not chosen on.
LEAST = {"background": 0.98, "skin": 0.95, "lips": 0.80, "eyes": 0.85}


def overlap(drawn: torch.Tensor, exact: torch.Tensor) -> dict[str, float]:
    known = drawn != NO_MASK
    values = {}
    for number, part in enumerate(MASK_CLASSES):
        first, second = (drawn == number) & known, (exact == number) & known
        values[part] = float((first & second).sum() / (first | second).sum())
    return values


@pytest.fixture(scope="module")
def faces() -> FaceTensors:
    return embedded_faces(200, size=SIZE, channels=1, people="held out")


def turned(faces: FaceTensors, least: float, most: float) -> list[int]:
    assert faces.yaw is not None
    angles = faces.yaw.abs()
    return ((angles >= least) & (angles <= most)).nonzero()[:, 0].tolist()


@pytest.mark.parametrize(("least", "most"), [(0, 10), (10, 30), (30, 60)])
def test_agrees_with_exact_masks(faces: FaceTensors, least: float, most: float) -> None:
    some = faces.take(turned(faces, least, most))
    assert len(some) > 20 and some.landmarks is not None and some.masks is not None
    drawn = polygon_masks(some.landmarks, SIZE)
    found = overlap(drawn, some.masks)
    assert all(found[part] > value for part, value in LEAST.items()), found
    # Silence would be easy: most of a frontal picture is known, and of a turned one a good part.
    assert float((drawn == NO_MASK).float().mean()) < (0.45 if most <= 10 else 0.65)
    assert float((drawn[some.masks >= 2] >= 2).float().mean()) > 0.8


def test_other_faces_landmarks_agree_with_nothing(faces: FaceTensors) -> None:
    """The control: what is compared above depends on whose landmarks they are, the small parts above all."""
    assert faces.landmarks is not None and faces.masks is not None
    found = overlap(polygon_masks(faces.landmarks.roll(7, 0), SIZE), faces.masks)
    assert found["lips"] < 0.5 and found["eyes"] < 0.4


def test_what_no_landmark_tells_is_unknown(faces: FaceTensors) -> None:
    """Where a fringe ends no landmark says: the forehead between the lifted brows and well above them is unknown."""
    assert faces.landmarks is not None
    frontal = faces.landmarks[turned(faces, 0, 5)]
    drawn = polygon_masks(frontal, SIZE)
    for points, mask in zip(frontal, drawn, strict=True):
        brows, chin = points[17:27].mean(0), points[8]
        column = int(brows[0] * SIZE)
        line = int((brows[1] - 0.35 * (chin[1] - brows[1])) * SIZE)
        if line >= 0:
            assert mask[line, column] == NO_MASK
        assert mask[int(points[30, 1] * SIZE), int(points[30, 0] * SIZE)] == MASK_CLASSES.index("skin")


def test_turned_faces_are_known_less_widely(faces: FaceTensors) -> None:
    assert faces.landmarks is not None
    unknown = [
        float((polygon_masks(faces.landmarks[turned(faces, *between)], SIZE) == NO_MASK).float().mean())
        for between in ((0, 5), (10, 20), (25, 60))
    ]
    assert unknown == sorted(unknown)


def test_parts_are_the_polygons_of_their_points() -> None:
    """A large face, where pixels are small: skin, lips and eyes against another library's polygons."""
    size = 256
    faces = embedded_faces(30, size=size, channels=1, people="held out")
    faces = faces.take(turned(faces, 0, 8))
    assert len(faces) > 6 and faces.landmarks is not None
    drawn = polygon_masks(faces.landmarks, size).numpy()
    for points, mask in zip(faces.landmarks.numpy(), drawn, strict=True):
        corners = points[:, ::-1] * size - 0.5

        def inside(rows: slice | np.ndarray, corners: np.ndarray = corners) -> np.ndarray:
            return polygon2mask((size, size), corners[rows])

        eyes = inside(slice(36, 42)) | inside(slice(42, 48))
        lips = inside(slice(48, 60)) & ~inside(slice(60, 68)) & ~eyes
        for part, expected in (("eyes", eyes), ("lips", lips)):
            found = mask == MASK_CLASSES.index(part)
            assert (found & expected).sum() > 0.95 * expected.sum()
            assert (found & ~expected).sum() < 0.25 * expected.sum() + 30  # pixels that are covered by a third
        outline = face_outline(torch.from_numpy(points)[None] * 2 - 1, 0.1)[0].numpy()
        corners_of_skin = ((outline[:, ::-1] + 1) / 2) * size - 0.5
        skin = mask == MASK_CLASSES.index("skin")
        hull = polygon2mask((size, size), corners_of_skin)
        assert (skin & ~hull).sum() < 0.05 * skin.sum()  # between the brows, where the outline bends inwards
        assert skin.sum() > 0.6 * hull.sum()


def test_the_inside_of_an_open_mouth_is_skin() -> None:
    faces = embedded_faces(200, size=96, channels=1, people="held out")
    assert faces.landmarks is not None
    gap = faces.landmarks[:, 66, 1] - faces.landmarks[:, 62, 1]
    row = int(gap.argmax())
    mask = polygon_masks(faces.landmarks[row][None], 96)[0]
    middle = (faces.landmarks[row, 62] + faces.landmarks[row, 66]) / 2 * 96
    assert gap[row] * 96 > 8
    assert mask[int(middle[1]), int(middle[0])] == MASK_CLASSES.index("skin")
    lower = (faces.landmarks[row, 57] + faces.landmarks[row, 66]) / 2 * 96
    assert mask[int(lower[1]), int(lower[0])] == MASK_CLASSES.index("lips")


def test_mirrored_landmarks_give_mirrored_masks(faces: FaceTensors) -> None:
    assert faces.landmarks is not None
    points = faces.landmarks[:40]
    straight, mirrored = polygon_masks(points, SIZE), polygon_masks(mirror_landmarks(points), SIZE)
    assert float((straight.flip(2) != mirrored).float().mean()) < 1e-3  # rounding at edges


def test_faces_without_landmarks_have_no_mask(faces: FaceTensors) -> None:
    assert faces.landmarks is not None
    points = faces.landmarks[:3].clone()
    points[1] = math.nan
    points[2, 5, 0] = math.nan
    drawn = polygon_masks(points, 16)
    assert drawn.shape == (3, 16, 16) and drawn.dtype == torch.uint8
    assert bool((drawn[1:] == NO_MASK).all()) and bool((drawn[0] != NO_MASK).any())
    assert polygon_masks(points[:0], 16).shape == (0, 16, 16)


def test_points_outside_the_picture_are_no_trouble(faces: FaceTensors) -> None:
    assert faces.landmarks is not None
    drawn = polygon_masks(faces.landmarks[:4] * 3 - 1, SIZE)
    assert set(drawn.unique().tolist()) <= {0, 1, 2, 3, NO_MASK}
    assert bool((polygon_masks(faces.landmarks[:1] + 5, SIZE) == 0).all())
