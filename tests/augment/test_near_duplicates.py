"""One picture, moved a little: found; faces of two people, or two expressions of one: not."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from augment.faces.near_duplicates import NEAR_DUPLICATE_LIKENESS, likeness, near_duplicate_pairs, view_of
from augment.rig import preset, render

pytestmark = pytest.mark.slow

SIZE = 48


@pytest.fixture(scope="module")
def faces() -> tuple[np.ndarray, list[str]]:
    """Views of embedded faces, and whose they are."""
    specs = preset("rare", seed=5, subjects=8, neutral_subjects=40, validation_subjects=2, test_subjects=4).specs
    images = render(specs, size=SIZE, channels=1, seed=5).images[:, :, :, 0]
    return images, [str(spec.subject_name) for spec in specs]


def shifted(right: int, down: int) -> Callable[[np.ndarray], np.ndarray]:
    return lambda picture: ndimage.shift(picture, (down, right), order=0, mode="nearest")


def turned(degrees: float) -> Callable[[np.ndarray], np.ndarray]:
    return lambda picture: np.asarray(Image.fromarray(picture).rotate(degrees, Image.Resampling.BICUBIC))


def cropped(pixels: int) -> Callable[[np.ndarray], np.ndarray]:
    box = (pixels, pixels, SIZE - pixels, SIZE - pixels)
    return lambda picture: np.asarray(Image.fromarray(picture).crop(box).resize((SIZE, SIZE), Image.Resampling.BICUBIC))


def mirrored(picture: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(picture[:, ::-1])


MOVES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "shifted by 1": shifted(1, 0),
    "shifted by 2": shifted(0, -2),
    "shifted by 2 and 2": shifted(2, 2),
    "mirrored": mirrored,
    "cropped by 4 %": cropped(1),
    "cropped by 8 %": cropped(2),
    "turned by 2 degrees": turned(2),
    "turned by 4 degrees": turned(-4),
    "mirrored and turned": lambda picture: turned(2)(mirrored(picture)),
    "cropped, shifted and turned": lambda picture: turned(-2)(shifted(1, -1)(cropped(1)(picture))),
    "darker": lambda picture: (picture * 0.7).astype(np.uint8),
}


@pytest.mark.parametrize("move", MOVES)
def test_a_moved_picture_is_found_and_no_other(faces: tuple[np.ndarray, list[str]], move: str) -> None:
    views, _ = faces
    found = near_duplicate_pairs(np.stack([MOVES[move](picture) for picture in views[::2]]), views)
    assert set(map(tuple, found.tolist())) <= {(number, 2 * number) for number in range(len(views[::2]))}
    assert len(found) >= 0.97 * len(views[::2])


def test_neither_other_people_nor_other_expressions_are_near_duplicates(faces: tuple[np.ndarray, list[str]]) -> None:
    views, people = faces
    assert len(near_duplicate_pairs(views)) == 0
    # The control: of one person, pairs come near enough to be looked at, and are told apart by their expressions.
    same = np.array([(a, b) for a in range(len(views)) for b in range(a) if people[a] == people[b]])
    other = np.array([(a, b) for a in range(len(views)) for b in range(a) if people[a] != people[b]])[::7]
    assert 0.9 < likeness(views, views, same).max() < NEAR_DUPLICATE_LIKENESS
    assert likeness(views, views, other).max() < likeness(views, views, same).max()


def test_pairs_within_a_set_come_once_and_in_order(faces: tuple[np.ndarray, list[str]]) -> None:
    views = faces[0][:6]
    together = np.concatenate([views, views[[4]], np.stack([mirrored(picture) for picture in views[:2]])])
    assert near_duplicate_pairs(together).tolist() == [[0, 7], [1, 8], [4, 6]]
    assert near_duplicate_pairs(views[:1]).tolist() == []
    assert near_duplicate_pairs(np.zeros((0, SIZE, SIZE), np.uint8)).tolist() == []


def frames(picture: np.ndarray, number: int, random: np.random.Generator) -> list[np.ndarray]:
    """The picture as a hand-held camera films it: turned, nearer and farther, moved, with grain."""
    found = []
    for _ in range(number):
        angle, scale = np.deg2rad(random.normal(0, 3)), np.exp(random.normal(0, 0.05))
        matrix = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) / scale
        centre = np.full(2, (SIZE - 1) / 2)
        moved = ndimage.affine_transform(
            picture.astype(float), matrix, centre - matrix @ centre + random.normal(0, 2, 2), order=1, mode="nearest"
        )
        found.append(np.clip(moved + random.normal(0, 3, moved.shape), 0, 255).astype(np.uint8))
    return found


def test_pairs_do_not_depend_on_the_order_of_the_pictures(faces: tuple[np.ndarray, list[str]]) -> None:
    """An export is written in another order than its faces were read in, and is checked again in that one."""
    random = np.random.default_rng(0)
    views = np.stack([frame for picture in faces[0][:12] for frame in frames(picture, 20, random)])
    pairs = near_duplicate_pairs(views)
    assert len(pairs) > 600  # of 2,280
    for order in (np.arange(len(views))[::-1], random.permutation(len(views))):
        again = np.sort(order[near_duplicate_pairs(views[order])], axis=1)
        assert sorted(map(tuple, again.tolist())) == list(map(tuple, pairs.tolist()))


def test_pictures_that_show_nothing_have_no_near_duplicates() -> None:
    flat = np.stack([np.full((SIZE, SIZE), level, np.uint8) for level in (0, 0, 100)])
    faint = flat + np.random.default_rng(0).integers(0, 2, flat.shape, np.uint8)
    for views in (flat, faint):
        assert len(near_duplicate_pairs(views)) == 0
        assert likeness(views, views, np.array([[0, 1], [1, 2]])).tolist() == [0.0, 0.0]


def test_a_view_has_one_size() -> None:
    large = Image.fromarray(np.arange(90 * 60, dtype=np.uint16).reshape(90, 60).astype(np.uint8))
    assert view_of(large).shape == (SIZE, SIZE) and view_of(large).dtype == np.uint8
