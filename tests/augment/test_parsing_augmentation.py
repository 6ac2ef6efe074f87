from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError

from augment.faces.augmentation import TrainingAugmentation
from augment.faces.table import MASK_CLASSES
from augment.faces.tensors import FaceTensors, to_unit_range
from augment.parsing.augmentation import AppearanceAugmentation, _block_artefacts, augment_appearance
from augment.parsing.teachers import embedded_faces

STILL = TrainingAugmentation(share=0)
NOTHING: dict[str, Any] = {
    "probability": 1.0,
    "mirror": False,
    "geometry": STILL,
    "background": False,
    "occluders": 0,
    "light": 0.0,
    "grey": 0.0,
    "tint": 0.0,
    "gamma": (1.0, 1.0),
    "contrast": (1.0, 1.0),
    "brightness": 0.0,
    "blur": 0.0,
    "resample": 1.0,
    "noise": 0.0,
    "quality": 100,
}
# What changes the picture alone, each by itself.
LOOKS: dict[str, dict[str, Any]] = {
    "light": {"light": 0.9},
    "grey": {"grey": 1.0},
    "tint": {"tint": 0.3},
    "gamma": {"gamma": (1.5, 1.8)},
    "contrast": {"contrast": (0.4, 0.6)},
    "brightness": {"brightness": 0.3},
    "blur": {"blur": 0.03},
    "resample": {"resample": 0.4},
    "noise": {"noise": 0.1},
    "quality": {"quality": 10},
}


@pytest.fixture(scope="module")
def faces() -> FaceTensors:
    return embedded_faces(24, size=48, channels=3, people="looks")


def augmented(faces: FaceTensors, seed: int = 0, **changes: Any) -> tuple[torch.Tensor, torch.Tensor]:
    assert faces.masks is not None
    settings = AppearanceAugmentation(**(NOTHING | changes))
    return augment_appearance(faces.images, faces.masks, settings, torch.Generator().manual_seed(seed))


def changed(faces: FaceTensors, images: torch.Tensor) -> torch.Tensor:
    """Where a picture differs by half a grey level or more: bool [N, H, W]."""
    return ((images - to_unit_range(faces.images)).abs() > 1 / 255).any(1)


def test_nothing_switched_on_changes_nothing(faces: FaceTensors) -> None:
    images, masks = augmented(faces)
    assert images.dtype == torch.float32 and not changed(faces, images).any()
    assert faces.masks is not None and torch.equal(masks, faces.masks)


@pytest.mark.parametrize("name", LOOKS)
def test_looks_change_pictures_and_leave_masks(faces: FaceTensors, name: str) -> None:
    images, masks = augmented(faces, **LOOKS[name])
    assert changed(faces, images).flatten(1).any(1).float().mean() > 0.7  # some draw next to nothing
    assert faces.masks is not None and torch.equal(masks, faces.masks)
    assert images.min() >= -1 and images.max() <= 1


def test_every_look_is_tried_alone() -> None:
    moving = {"probability", "mirror", "geometry", "background", "occluders", "occluder_size"}
    assert set(AppearanceAugmentation.model_fields) == set(LOOKS) | moving


def test_another_background_leaves_the_face_alone(faces: FaceTensors) -> None:
    images, masks = augmented(faces, background=True)
    assert faces.masks is not None and torch.equal(masks, faces.masks)
    behind = faces.masks == 0
    assert not (changed(faces, images) & ~behind).any()
    assert float(changed(faces, images)[behind].float().mean()) > 0.8


def test_what_is_occluded_is_background_and_the_rest_as_it_was(faces: FaceTensors) -> None:
    images, masks = augmented(faces, occluders=3)
    assert faces.masks is not None
    hidden = (faces.masks != 0) & (masks == 0)
    assert hidden.flatten(1).any(1).float().mean() > 0.5
    assert torch.equal(masks[~hidden], faces.masks[~hidden])  # no part comes from nowhere
    still_seen = masks != 0
    assert not (changed(faces, images) & still_seen).any()
    assert float(changed(faces, images)[hidden].float().mean()) > 0.8


def test_unknown_pixels_stay_unknown_behind_an_occluder(faces: FaceTensors) -> None:
    assert faces.masks is not None
    unknown = torch.full_like(faces.masks, 255)
    settings = AppearanceAugmentation(**(NOTHING | {"occluders": 4, "background": True}))
    images, masks = augment_appearance(faces.images, unknown, settings, torch.Generator().manual_seed(0))
    assert torch.equal(masks, unknown) and changed(faces, images).any()


def painted(masks: torch.Tensor) -> torch.Tensor:
    """Pictures that say their masks: background 0, skin 80, lips 160, eyes 240."""
    return (masks * 80)[:, None].repeat(1, 3, 1, 1)


def test_moves_take_mask_and_picture_alike(faces: FaceTensors) -> None:
    assert faces.masks is not None
    geometry = AppearanceAugmentation().geometry.model_copy(update={"share": 1.0})
    settings = AppearanceAugmentation(**(NOTHING | {"geometry": geometry, "mirror": True}))
    generator = torch.Generator().manual_seed(3)
    images, masks = augment_appearance(painted(faces.masks), faces.masks, settings, generator)
    shown = ((images[:, 0] + 1) * 127.5 / 80).round().long()
    assert float((masks != faces.masks).float().mean()) > 0.05
    # Bilinear against nearest: they may differ on the edges of parts alone.
    assert float((shown == masks.long()).float().mean()) > 0.93
    control = ((painted(faces.masks)[:, 0] / 80).round().long() == masks.long()).float().mean()
    assert float(control) < 0.9


def test_mirrored_alike(faces: FaceTensors) -> None:
    assert faces.masks is not None
    images, masks = augmented(faces, mirror=True)
    flipped = [not torch.equal(a, b) for a, b in zip(masks, faces.masks, strict=True)]
    assert 4 < sum(flipped) < 20
    originals = to_unit_range(faces.images)
    for row, turned in enumerate(flipped):
        assert torch.allclose(images[row], originals[row].flip(2) if turned else originals[row], atol=1e-2)
        assert torch.equal(masks[row], faces.masks[row].flip(1) if turned else faces.masks[row])


def test_blocks_are_those_of_jpeg() -> None:
    faces = embedded_faces(6, size=64, channels=1, people="looks")
    for quality in (20, 50, 80):
        ours = _block_artefacts(faces.images / 255, torch.full((6, 1, 1, 1), float(quality)), [0, 0])
        for mine, picture in zip(ours, faces.images, strict=True):
            buffer = io.BytesIO()
            Image.fromarray(picture[0].numpy()).save(buffer, "JPEG", quality=quality)
            theirs = np.asarray(Image.open(buffer), np.float64)
            lost = np.abs(theirs - picture[0].numpy()).mean()
            # Rounding of DC terms apart, as libjpeg's.
            assert np.abs((mine[0] * 255).clamp(0, 255).round().numpy() - theirs).mean() < 0.1 * lost
    shifted = _block_artefacts(faces.images / 255, torch.full((6, 1, 1, 1), 20.0), [3, 5])
    assert shifted.shape == faces.images.shape and not torch.allclose(shifted, ours)


def test_same_seed_same_look_and_no_other_randomness(faces: FaceTensors) -> None:
    assert faces.masks is not None
    torch.manual_seed(1)
    state = torch.random.get_rng_state()
    made = [
        augment_appearance(faces.images, faces.masks, AppearanceAugmentation(), torch.Generator().manual_seed(seed))
        for seed in (0, 0, 1)
    ]
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(made[0][0], made[1][0]) and torch.equal(made[0][1], made[1][1])
    assert not torch.equal(made[0][0], made[2][0])


@pytest.mark.parametrize(("channels", "size"), [(1, 16), (1, 50), (3, 64)])
def test_any_form(channels: int, size: int) -> None:
    faces = embedded_faces(5, size=size, channels=channels, people="looks")
    assert faces.masks is not None
    before = faces.images.clone()
    images, masks = augment_appearance(
        faces.images, faces.masks, AppearanceAugmentation(probability=1.0), torch.Generator().manual_seed(0)
    )
    assert images.shape == faces.images.shape and bool(torch.isfinite(images).all())
    assert masks.dtype == torch.uint8 and int(masks.max()) < len(MASK_CLASSES)
    assert torch.equal(faces.images, before)


@pytest.mark.parametrize(
    "wrong", [{"gamma": [0, 1]}, {"resample": 0}, {"probability": 2}, {"sharpness": 1}, {"quality": 0}]
)
def test_impossible_settings_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        AppearanceAugmentation(**wrong)
