from dataclasses import replace

import numpy as np
import pytest

from augment.rig import EXPRESSIONS, FaceSpec, RigImages, render, simulated_frontal
from augment.rig.render import rotation

SIZE = 128
YAWS = (-45.0, -20.0, 0.0, 20.0, 45.0)


def face(subject: int, expression: str = "neutral", yaw: float = 0.0, **changes: object) -> FaceSpec:
    spec = FaceSpec(
        f"test/{subject}/{expression}/{yaw}", subject, expression, expression, 0, yaw, "normal", 0.9, None, None
    )
    return replace(spec, **changes)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def gallery() -> tuple[list[FaceSpec], RigImages]:
    """Frontal and turned faces, among them wide-open mouths."""
    specs = [
        face(subject, expression, yaw)
        for subject, expression in (
            (0, "neutral"),
            (1, "surprise"),
            (2, "happy"),
            (7, "surprise"),
            (9, "fear"),
            (10, "sad"),
        )
        for yaw in YAWS
    ]
    return specs, render(specs, size=SIZE, channels=3, seed=0)


def border_distance(mask: np.ndarray, label: int, points: np.ndarray) -> np.ndarray:
    """Distance in pixels from points [n, 2] (pixels) to the nearest edge between `label` and any other label."""
    inside = mask == label
    edges = []
    rows, columns = np.nonzero(inside[1:] != inside[:-1])
    edges.append(np.stack([columns + 0.5, rows + 1.0], 1))
    rows, columns = np.nonzero(inside[:, 1:] != inside[:, :-1])
    edges.append(np.stack([columns + 1.0, rows + 0.5], 1))
    edge = np.concatenate(edges)
    return np.sqrt(((points[:, None] - edge[None]) ** 2).sum(-1)).min(1)


def eroded(region: np.ndarray) -> np.ndarray:
    """Pixels whose four neighbours are in the region too."""
    out = region.copy()
    for axis in (0, 1):
        for shift in (-1, 1):
            out &= np.roll(region, shift, axis)
    return out


def fill_holes(region: np.ndarray) -> np.ndarray:
    """The region and whatever the outside cannot reach (4-connected)."""
    outside = np.zeros(np.add(region.shape, 2), bool)
    outside[0] = outside[-1] = outside[:, 0] = outside[:, -1] = True
    free = np.pad(~region, 1, constant_values=True)
    while True:
        grown = outside.copy()
        grown[1:] |= outside[:-1]
        grown[:-1] |= outside[1:]
        grown[:, 1:] |= outside[:, :-1]
        grown[:, :-1] |= outside[:, 1:]
        grown &= free
        if (grown == outside).all():
            return ~outside[1:-1, 1:-1]
        outside = grown


OUTER_LIP, MOUTH_CORNERS, INNER_LIP, EYES = np.arange(48, 60), [48, 54], np.arange(60, 68), np.arange(36, 48)


def landmark_errors(faces: RigImages, index: int, points: np.ndarray, label: int, shift: float = 0.0) -> np.ndarray:
    """Distances in pixels of the visible ones of some landmarks to the border of a mask label."""
    seen = points[faces.visible[index, points]]
    # An eye or a mouth that is nearly hidden leaves no border to compare with.
    if not seen.size or (faces.masks[index] == label).sum() <= 12:
        return np.zeros(0)
    return border_distance(faces.masks[index], label, faces.landmarks[index, seen] * SIZE + (0.0, shift))


def all_errors(specs: list[FaceSpec], faces: RigImages, turned: bool, shift: float = 0.0) -> dict[str, np.ndarray]:
    errors: dict[str, list[np.ndarray]] = {"outer": [], "inner": [], "eyes": []}
    for index, spec in enumerate(specs):
        if (spec.yaw != 0) != turned:
            continue
        # The corners are points: there the lips are thinner than a pixel.
        outer = np.setdiff1d(OUTER_LIP, MOUTH_CORNERS)
        errors["outer"].append(landmark_errors(faces, index, outer, 2, shift))
        errors["eyes"].append(landmark_errors(faces, index, EYES, 3, shift))
        height = (faces.landmarks[index, 66, 1] - faces.landmarks[index, 62, 1]) * SIZE
        if height > 2:  # a closed mouth has no inner border
            errors["inner"].append(landmark_errors(faces, index, INNER_LIP, 2, shift))
    return {name: np.concatenate(parts) for name, parts in errors.items()}


def test_landmarks_lie_on_the_borders_of_lips_and_eyes(gallery: tuple[list[FaceSpec], RigImages]) -> None:
    for name, error in all_errors(*gallery, turned=False).items():
        assert len(error) > 30 and error.max() < 1.5, (name, error.max())
        assert error.mean() < 0.5, (name, error.mean())
    for name, error in all_errors(*gallery, turned=True).items():
        assert len(error) > 90 and np.quantile(error, 0.95) < 1.5, (name, np.quantile(error, 0.95))
        assert error.mean() < 0.6, (name, error.mean())


def test_shifted_landmarks_are_caught(gallery: tuple[list[FaceSpec], RigImages]) -> None:
    for turned in (False, True):
        for name, error in all_errors(*gallery, turned=turned, shift=3.0).items():
            assert error.mean() > 1.0, name
            assert error.max() > 1.5, name


def test_masks_lie_where_the_picture_shows_lips_and_eyes(gallery: tuple[list[FaceSpec], RigImages]) -> None:
    specs, faces = gallery
    shares, moved_shares = [], []
    for spec, image, mask in zip(specs, faces.images.astype(float), faces.masks, strict=True):
        redness = image[..., 0] - image[..., 1:].mean(-1)
        relative = redness / image.mean(-1).clip(20)
        lips, skin, eyes = eroded(mask == 2), eroded(mask == 1), mask == 3
        if lips.sum() >= 20:
            # Lips are redder than the skin around the mouth, pixel by pixel and not only on average.
            rows, columns = np.nonzero(mask == 2)
            around = skin[rows.min() - 6 : rows.max() + 6, columns.min() - 6 : columns.max() + 6]
            nearby = relative[rows.min() - 6 : rows.max() + 6, columns.min() - 6 : columns.max() + 6]
            share = (relative[lips] > np.median(nearby[around])).mean()
            assert share > 0.8, spec.face_id
            shares.append(share)
            # The same count where the mask is not: six rows higher.
            moved = eroded(np.roll(mask, -6, axis=0) == 2)
            moved_shares.append((relative[moved] > np.median(nearby[around])).mean())
        if eyes.sum() >= 60:
            # Eyes hold the white, which no skin is, and the pupil.
            saturation = (image.max(-1) - image.min(-1)) / image.max(-1).clip(20)
            assert np.quantile(saturation[eyes], 0.2) < 0.8 * np.median(saturation[skin]), spec.face_id
            assert image[eyes].mean(-1).min() < 90, spec.face_id
    assert np.mean(shares) > 0.93
    assert np.mean(moved_shares) < 0.75


def test_there_are_no_holes(gallery: tuple[list[FaceSpec], RigImages]) -> None:
    for spec, mask in zip(*(gallery[0], gallery[1].masks), strict=True):
        face_region = mask > 0
        holes = fill_holes(face_region) & ~face_region
        # Gaps between locks of hair and skin are real background: they touch the hair, above or beside the face.
        rows, columns = np.nonzero(face_region)
        middle = slice(int(np.quantile(columns, 0.2)), int(np.quantile(columns, 0.8)))
        low = slice(int(np.quantile(rows, 0.25)), None)
        assert not holes[low, middle].any(), spec.face_id
        # The mouth is a hole of the lips, never of the face; and no label is peppered over another one.
        for label, allowed in ((2, 1), (3, 0)):
            assert (fill_holes(mask == label) & (mask == 0)).sum() <= allowed, spec.face_id


def test_open_mouths_show_no_neck(gallery: tuple[list[FaceSpec], RigImages]) -> None:
    specs, faces = gallery
    for spec, points, image, mask in zip(specs, faces.landmarks, faces.images, faces.masks, strict=True):
        if spec.expression != "surprise" or spec.yaw != 0:
            continue
        points = points * SIZE
        assert points[66, 1] - points[62, 1] > 6
        middle = round(points[62, 0])
        opening = slice(int(points[62, 1]) + 2, int(points[66, 1]) - 1)
        assert (mask[opening, middle] == 1).all()
        assert image[opening, middle].astype(float).min() < 70  # the dark of the mouth


@pytest.mark.parametrize("size", [48, 160])
def test_a_face_does_not_depend_on_its_neighbours(size: int) -> None:
    specs = [face(subject, expression, 10.0 * subject) for subject in range(3) for expression in ("happy", "sad")]
    together = render(specs, size=size, channels=1, seed=5)
    reverse = render(specs[::-1], size=size, channels=1, seed=5)
    for index, spec in enumerate(specs):
        alone = render([spec], size=size, channels=1, seed=5)
        for name in ("images", "landmarks", "masks", "visible"):
            assert np.array_equal(getattr(alone, name)[0], getattr(together, name)[index])
            assert np.array_equal(getattr(alone, name)[0], getattr(reverse, name)[len(specs) - 1 - index])


def test_seed_subject_and_name_each_matter() -> None:
    spec = face(4, "happy")
    base = render([spec], size=48, channels=1, seed=0)
    assert not np.array_equal(base.images, render([spec], size=48, channels=1, seed=1).images)
    assert not np.array_equal(base.images, render([replace(spec, face_id="other")], size=48, channels=1, seed=0).images)
    other = render([replace(spec, subject=5)], size=48, channels=1, seed=0)
    assert np.abs(base.landmarks - other.landmarks).max() > 0.01


def test_channels_share_geometry_and_grey_is_the_luminance() -> None:
    spec = [face(3, "angry")]
    grey, colour = (render(spec, size=64, channels=channels, seed=0) for channels in (1, 3))
    assert grey.images.shape == (1, 64, 64, 1) and colour.images.shape == (1, 64, 64, 3)
    assert np.array_equal(grey.landmarks, colour.landmarks) and np.array_equal(grey.masks, colour.masks)
    luminance = colour.images[0].astype(float) @ (0.299, 0.587, 0.114)
    assert np.abs(luminance - grey.images[0, ..., 0]).mean() < 8  # both carry grain


@pytest.mark.parametrize("size", [32, 96, 97, 200, 512])
def test_any_size(size: int) -> None:
    faces = render([face(0, "happy", 15.0)], size=size, channels=3, seed=0)
    assert faces.images.shape == (1, size, size, 3) and faces.masks.shape == (1, size, size)
    assert faces.images.dtype == faces.masks.dtype == np.uint8 and faces.landmarks.dtype == np.float32
    assert set(np.unique(faces.masks)) == {0, 1, 2, 3}


def test_geometry_scales_with_the_image() -> None:
    small, large = (render([face(1, "happy")], size=size, channels=1, seed=0) for size in (64, 192))
    assert np.abs(small.landmarks - large.landmarks).max() < 0.01


def test_yaw_turns_the_face_to_the_right_of_the_image() -> None:
    left, front, right = (
        render([face(0, "neutral", yaw)], size=64, channels=1, seed=0).landmarks[0] for yaw in (-45, 0, 45)
    )

    def nose(points: np.ndarray) -> float:
        return float(points[30, 0] - points[[0, 16], 0].mean())

    assert nose(left) < -0.1 < nose(front) < 0.1 < nose(right)
    assert (rotation(0.5, 0, 0) @ (0, 0, 1))[0] > 0


def test_illumination_dims() -> None:
    levels = []
    for light in ("normal", "weak", "dark"):
        specs = [face(s, illumination=light) for s in range(6)]
        faces = render(specs, size=48, channels=1, seed=0)
        levels.append(faces.images[..., 0][faces.masks == 1].mean())
    assert levels[0] > 1.2 * levels[1] > 1.2 * 1.2 * levels[2]


def test_simulated_frontal_is_the_same_moment_in_a_flat_look() -> None:
    spec = face(6, "surprise", 45.0, take=3)
    twin = simulated_frontal(spec)
    assert spec.simulated_frontal == twin and twin.yaw == 0 and twin.subject == spec.subject
    again = render([twin, replace(twin, face_id="elsewhere")], size=64, channels=3, seed=0)
    assert np.array_equal(again.images[0], again.images[1])  # nothing but the performance is left in it
    assert (again.images[0][again.masks[0] == 0] == 0).mean() > 0.5
    # The mouth opens as wide as in the profile's own frontal view.
    frontal = render([replace(spec, yaw=0.0)], size=64, channels=3, seed=0)
    openings = [points[66, 1] - points[62, 1] for points in (again.landmarks[0], frontal.landmarks[0])]
    assert abs(openings[0] - openings[1]) < 0.02


def test_drawn_faces_are_flat() -> None:
    faces = render([face(s, "happy", style="drawn") for s in range(3)], size=96, channels=3, seed=0)
    photos = render([face(s, "happy") for s in range(3)], size=96, channels=3, seed=0)

    def tones(images: np.ndarray, masks: np.ndarray) -> float:
        return float(np.mean([len(np.unique(i[m == 1] // 8, axis=0)) for i, m in zip(images, masks, strict=True)]))

    assert tones(faces.images, faces.masks) < tones(photos.images, photos.masks)


def test_faces_stay_in_the_image() -> None:
    specs = [face(s, e, yaw) for s in range(12) for e in ("neutral", "surprise") for yaw in (-45.0, 0.0, 45.0)]
    points = render(specs, size=32, channels=1, seed=2).landmarks
    assert ((points > -0.05) & (points < 1.08)).all()
    assert (points[:, 17:] > 0.02).all() and (points[:, 17:] < 0.98).all()


def test_every_expression_renders_and_errors_say_what_exists() -> None:
    assert tuple(sorted(EXPRESSIONS)) == EXPRESSIONS and len(EXPRESSIONS) == 8
    spec = face(0)
    for changes, text in (
        ({"expression": "bored"}, "contempt"),
        ({"illumination": "sunny"}, "weak"),
        ({"style": "oil"}, "drawn"),
        ({"yaw": 90.0}, "yaw"),
        ({"intensity": 2.0}, "intensity"),
    ):
        with pytest.raises(ValueError, match=text):
            render([replace(spec, **changes)], size=48, channels=1, seed=0)
    with pytest.raises(ValueError, match="32"):
        render([spec], size=16, channels=1, seed=0)
    with pytest.raises(ValueError, match="channels"):
        render([spec], size=48, channels=2, seed=0)
    assert render([], size=48, channels=1, seed=0).images.shape == (0, 48, 48, 1)
