from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError

from classifiers.augmentations import AugmentationSettings, augment_images, mix_batch, transform_affine

STILL = AugmentationSettings(
    flip=0, rotation=0, translation=0, scale=(1, 1), brightness=0, contrast=(1, 1), operations=1, magnitude=0
)


def batch(count: int = 8, channels: int = 1, size: int = 12) -> torch.Tensor:
    return torch.randint(
        0, 256, (count, channels, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(1)
    )


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def affine(
    images: torch.Tensor, degrees: float = 0, x: float = 0, y: float = 0, scale: float = 1, aspect: float = 1
) -> torch.Tensor:
    count = len(images)
    return transform_affine(
        images,
        degrees=torch.full((count,), float(degrees)),
        shift=torch.tensor([[float(x), float(y)]]).expand(count, 2),
        scale=torch.full((count,), float(scale)),
        aspect=torch.full((count,), float(aspect)),
    )


def test_none_keeps_every_value() -> None:
    images = batch()
    assert torch.equal((augment_images(images, "none", STILL, seeded()) * 255).round().to(torch.uint8), images)


def test_flip_mirrors_about_the_vertical() -> None:
    images = batch()
    always = STILL.model_copy(update={"flip": 1.0})
    assert torch.equal(augment_images(images, "flip", always, seeded()), images.flip(3) / 255.0)
    some = augment_images(images, "flip", STILL.model_copy(update={"flip": 0.5}), seeded())
    mirrored = [bool((some[row] == (images.flip(3) / 255.0)[row]).all()) for row in range(len(images))]
    kept = [bool((some[row] == (images / 255.0)[row]).all()) for row in range(len(images))]
    assert all(one != other for one, other in zip(mirrored, kept, strict=True)) and any(mirrored) and any(kept)


def test_classical_without_strength_changes_nothing() -> None:
    images = batch()
    torch.testing.assert_close(augment_images(images, "classical", STILL, seeded()), images / 255.0, atol=1e-5, rtol=0)


def test_affine_turns_shifts_and_scales_as_it_says() -> None:
    images = torch.rand(2, 1, 8, 8, generator=seeded())
    torch.testing.assert_close(affine(images), images)
    torch.testing.assert_close(affine(images, degrees=90), torch.rot90(images, 1, (2, 3)), atol=1e-5, rtol=0)
    right = affine(images, x=2 * 2 / 8)  # two pixels of eight
    torch.testing.assert_close(right[..., 2:], images[..., :-2], atol=1e-5, rtol=0)
    torch.testing.assert_close(right[..., :1], images[..., :1], atol=1e-5, rtol=0)  # the edge is replicated
    down = affine(images, y=2 * 1 / 8)
    torch.testing.assert_close(down[..., 1:, :], images[..., :-1, :], atol=1e-5, rtol=0)
    ramp = torch.linspace(-1, 1, 9)[None, None, None].expand(1, 1, 9, 9)
    torch.testing.assert_close(affine(ramp, scale=2), ramp / 2, atol=1e-5, rtol=0)
    # shift comes after scale: a magnified picture moves by as many pixels
    torch.testing.assert_close(affine(ramp, scale=2, x=2 / 9)[..., 1:], ramp[..., :-1] / 2, atol=1e-5, rtol=0)


def test_aspect_widens_the_face_along_its_own_axes() -> None:
    across = torch.linspace(-1, 1, 9)[None, None, None].expand(1, 1, 9, 9)
    down = across.transpose(2, 3)
    torch.testing.assert_close(affine(across, aspect=4), across / 2, atol=1e-5, rtol=0)  # twice as wide
    torch.testing.assert_close(
        affine(down, aspect=4)[:, :, 2:7], 2 * down[:, :, 2:7], atol=1e-4, rtol=0
    )  # half as high
    # Turned by a quarter, the face's width lies along the picture's height: turned last, not first.
    torch.testing.assert_close(
        affine(across, degrees=90, aspect=4), torch.rot90(across / 2, 1, (2, 3)), atol=1e-5, rtol=0
    )
    widths = AugmentationSettings(**{**STILL.model_dump(), "aspect": (0.5, 2.0)})
    ramps = (255 * (across * 0.2 + 0.5)).to(torch.uint8).expand(200, 1, 9, 9)
    out = augment_images(ramps, "classical", widths, seeded())[:, 0, 4]
    slope = (out[:, 5] - out[:, 3]) / (ramps[0, 0, 4, 5] - ramps[0, 0, 4, 3]) * 255
    assert 0.5**0.5 - 0.02 < slope.min() < 0.78 and 1.3 < slope.max() < 2**0.5 + 0.02


def test_shading_is_a_slope_of_brightness_in_every_direction() -> None:
    images = torch.full((300, 1, 21, 21), 100, dtype=torch.uint8)
    out = augment_images(images, "classical", STILL.model_copy(update={"shading": 0.4}), seeded())[:, 0] / (100 / 255)
    torch.testing.assert_close(out[:, 10, 10], torch.ones(300))  # none in the middle
    x, y = out[:, 10, 20] - 1, out[:, 20, 10] - 1
    torch.testing.assert_close(out[:, 20, 20] - 1, x + y)
    strength = (x**2 + y**2).sqrt()
    assert 0.35 < strength.max() <= 0.4 + 1e-5 and strength.min() < 0.05
    for one, other in ((1, 1), (1, -1), (-1, 1), (-1, -1)):
        assert 50 < ((x * one > 0) & (y * other > 0)).sum() < 100


def test_erasing_paints_rectangles_over_with_the_mean() -> None:
    images = batch(400, size=24).clamp(1, 254)
    images[:, :, :, 0] = 255
    settings = STILL.model_copy(update={"erasing": 0.5})
    out = augment_images(images, "classical", settings, seeded())
    same = augment_images(images, "classical", STILL, seeded())
    changed = (out != same)[:, 0]
    hit = changed.flatten(1).any(1)
    assert 0.4 < hit.float().mean() < 0.6
    mean = same.mean((1, 2, 3))
    for row in torch.nonzero(hit)[:, 0].tolist():
        rows, columns = torch.nonzero(changed[row].any(1))[:, 0], torch.nonzero(changed[row].any(0))[:, 0]
        box = out[row, 0, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        torch.testing.assert_close(box, mean[row].expand_as(box))
    shares = changed[hit].float().mean((1, 2))
    assert 0 < shares.min() < 0.05 and 0.15 < shares.max() < 0.25
    # A picture's rectangle does not depend on what the picture is.
    other = augment_images(255 - images, "classical", settings, seeded())
    assert torch.equal(
        (other != augment_images(255 - images, "classical", STILL, seeded()))[:, 0].flatten(1).any(1), hit
    )


def test_brightness_and_contrast_stay_within_their_ranges() -> None:
    images = torch.full((400, 1, 4, 4), 128, dtype=torch.uint8)
    settings = STILL.model_copy(update={"brightness": 0.2})
    moved = augment_images(images, "classical", settings, seeded())[:, 0, 0, 0] - 128 / 255
    assert moved.abs().max() <= 0.2 + 1e-6 and moved.min() < -0.19 and moved.max() > 0.19
    images[:, :, :2] = 64
    settings = STILL.model_copy(update={"contrast": (0.5, 1.5)})
    out = augment_images(images, "classical", settings, seeded())
    ratio = (out[:, 0, 3, 0] - out[:, 0, 0, 0]) / (64 / 255)
    assert 0.5 <= ratio.min() < 0.52 and 1.48 < ratio.max() <= 1.5 + 1e-5
    torch.testing.assert_close(out.mean((1, 2, 3)), images.float().mean((1, 2, 3)) / 255)


@pytest.mark.parametrize("kind", ["none", "flip", "classical"])
def test_a_picture_is_augmented_by_its_place_alone(kind: str) -> None:
    images = batch()
    others = images.clone()
    others[4:] = 255 - others[4:]
    one = augment_images(images, kind, AugmentationSettings(), seeded())  # type: ignore[arg-type]
    two = augment_images(others, kind, AugmentationSettings(), seeded())  # type: ignore[arg-type]
    assert torch.equal(one[:4], two[:4])


@pytest.mark.parametrize("kind", ["classical", "randaugment"])
@pytest.mark.parametrize("channels", [1, 3])
def test_seeds_repeat_and_differ_and_leave_the_global_generator(kind: str, channels: int) -> None:
    images = batch(channels=channels, size=24)
    strong = AugmentationSettings(magnitude=9)
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    first = augment_images(images, kind, strong, seeded(1))  # type: ignore[arg-type]
    assert torch.equal(torch.rand(2), expected)
    torch.rand(5)
    assert torch.equal(augment_images(images, kind, strong, seeded(1)), first)  # type: ignore[arg-type]
    assert not torch.equal(augment_images(images, kind, strong, seeded(2)), first)  # type: ignore[arg-type]
    assert first.shape == images.shape and first.dtype == torch.float32
    assert first.min() >= 0 and first.max() <= 1


def test_randaugment_draws_for_each_group() -> None:
    images = batch(1, size=24).expand(64, 1, 24, 24)
    settings = AugmentationSettings(flip=0, groups=64, magnitude=20)
    found = {row.numpy().tobytes() for row in augment_images(images, "randaugment", settings, seeded())}
    assert len(found) > 10
    settings = settings.model_copy(update={"groups": 1})
    assert len({row.numpy().tobytes() for row in augment_images(images, "randaugment", settings, seeded())}) == 1


def levels(count: int = 16, size: int = 20) -> torch.Tensor:
    """Face i is all of one brightness, i / count: a pixel says which face it is of."""
    return (torch.arange(count) / count).view(-1, 1, 1, 1).expand(count, 1, size, size).contiguous()


def test_mixup_weights_faces_and_labels_alike() -> None:
    images, labels = levels(), torch.arange(16)
    mixed, shares = mix_batch(images, labels, 16, "mixup", AugmentationSettings(mixup_alpha=1.0), seeded(3))
    assert mixed.shape == images.shape and shares.shape == (16, 16)
    torch.testing.assert_close(shares.sum(1), torch.ones(16))
    # Each face's brightness is that which its labels' shares say: the wrong weights, 1 - s for s, would not fit.
    torch.testing.assert_close(mixed[:, 0, 0, 0], shares @ (torch.arange(16) / 16))
    wrong = torch.where(shares > 0, 1 - shares, shares) @ (torch.arange(16) / 16)
    assert not torch.allclose(mixed[:, 0, 0, 0], wrong, atol=1e-3)
    assert ((shares > 0).sum(1) == 2).all()
    assert ((shares > 0).sum(0) == 2).all()  # every face is in two of the mixed ones


def test_cutmix_weights_labels_by_area() -> None:
    images, labels = levels(), torch.arange(16)
    for seed in range(5):
        mixed, shares = mix_batch(images, labels, 16, "cutmix", AugmentationSettings(), seeded(seed))
        owners = (mixed[:, 0] * 16).round().long()
        areas = torch.stack([(owners == face).float().mean((1, 2)) for face in range(16)], dim=1)
        torch.testing.assert_close(shares, areas, atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_real_and_synthetic_faces_are_mixed_with_each_other(kind: str) -> None:
    labels = torch.arange(16)  # of a batch whose first half is real
    across = 0
    for seed in range(20):
        _, shares = mix_batch(levels(), labels, 16, kind, AugmentationSettings(), seeded(seed))  # type: ignore[arg-type]
        halves = (shares[:, :8].sum(1) > 0) & (shares[:, 8:].sum(1) > 0)
        across += int(halves.sum())
    # 8 of 15 partners are of the other half; neighbours of an unshuffled batch would be so at its two seams alone.
    assert 0.4 < across / (20 * 16) < 0.65


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_mixing_comes_from_the_generator_alone(kind: str) -> None:
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    images, labels = levels(), torch.arange(16)
    first, other = (mix_batch(images, labels, 16, kind, AugmentationSettings(), seeded(n)) for n in (1, 2))  # type: ignore[arg-type]
    assert torch.equal(torch.rand(2), expected)
    again = mix_batch(images, labels, 16, kind, AugmentationSettings(), seeded(1))  # type: ignore[arg-type]
    assert torch.equal(first[0], again[0]) and torch.equal(first[1], again[1])
    assert not torch.equal(first[0], other[0])
    # Before they are mixed, faces are augmented as `classical` does it.
    pictures = batch()
    one, two = (augment_images(pictures, name, AugmentationSettings(), seeded()) for name in (kind, "classical"))  # type: ignore[arg-type]
    assert torch.equal(one, two)


@pytest.mark.parametrize(
    "wrong",
    [
        {"mixup_alpha": 0},
        {"flip": 1.5},
        {"scale": (1.2, 0.8)},
        {"contrast": (0, 1)},
        {"aspect": (1.2, 1.1)},
        {"zoom": 1},
    ],
)
def test_impossible_strengths_are_refused(wrong: dict) -> None:
    with pytest.raises(ValidationError):
        AugmentationSettings(**wrong)
