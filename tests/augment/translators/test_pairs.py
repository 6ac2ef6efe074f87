"""Pairs of one person's faces: which are found, and how a target is laid on its source and lit as it is."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from paired_faces import face_shape
from torch.nn import functional as F

from augment.faces.affine import sample_affine
from augment.faces.tensors import FaceTensors, to_bytes_range
from augment.translators.base import CannotTranslateError
from augment.translators.pairs import check_pairs, find_pairs, gaussian_blur, lay_on_sources, relight

CLASSES = ("angry", "happy", "neutral")


def faces(
    subjects: tuple[str | None, ...], labels: tuple[int, ...], *, channels: int = 1, size: int = 40
) -> FaceTensors:
    generator = torch.Generator().manual_seed(0)
    count = len(labels)
    coarse = torch.rand(count, channels, 8, 8, generator=generator) * 1.4 - 0.7
    smooth = F.interpolate(coarse, size=(size, size), mode="bicubic", align_corners=False).clamp(-1, 1)
    return FaceTensors(
        images=to_bytes_range(smooth),
        labels=torch.tensor(labels),
        landmarks=face_shape() + 0.004 * torch.randn(count, 68, 2, generator=generator),
        masks=None,
        face_ids=tuple(f"face-{row}" for row in range(count)),
        subjects=subjects,
        class_names=CLASSES,
    )


def test_pairs_are_of_one_person_and_two_classes() -> None:
    some = faces(("a", "b", "a", None, "b", "a", None), (2, 2, 0, 0, 2, 1, 1))
    found = find_pairs(some)
    # Of a all ordered pairs of rows 0, 2, 5, by the target's class; b shows one class; two persons are not known.
    assert found.tolist() == [[0, 2], [0, 5], [2, 5], [2, 0], [5, 2], [5, 0]]


def test_of_a_class_the_face_nearest_in_light_is_the_target() -> None:
    some = faces(("a",) * 4, (2, 0, 0, 0))
    images = some.images.clone()
    images[2] = images[0]
    some = replace(some, images=images, landmarks=face_shape().expand(4, -1, -1).clone())
    assert [pair for pair in find_pairs(some).tolist() if pair[0] == 0] == [[0, 2]]
    assert [pair for pair in find_pairs(some).tolist() if pair[1] == 0] == [[1, 0], [2, 0], [3, 0]]


def test_heads_turned_differently_are_no_pair() -> None:
    some = faces(("a", "a"), (2, 0))
    assert some.landmarks is not None
    turned = some.landmarks.clone()
    turned[1, 30, 0] += 0.2 * 0.6  # the tip of the nose, a fifth of the face's width
    assert len(find_pairs(some)) == 2
    assert len(find_pairs(replace(some, landmarks=turned))) == 0
    assert len(find_pairs(replace(some, landmarks=turned), pose_difference=0.3)) == 2


def test_faces_without_landmarks_are_left_out_and_the_number_is_bounded() -> None:
    some = faces(("a", "a", "a", "b", "b", "b"), (0, 1, 2, 0, 1, 2))
    assert some.landmarks is not None
    some.landmarks[1] = torch.nan
    everyone = find_pairs(some)
    assert len(everyone) == 2 + 6 and not bool((everyone == 1).any())
    few = find_pairs(some, most=3, seed=1)
    assert len(few) == 3 and torch.equal(few, find_pairs(some, most=3, seed=1))
    assert all(pair in everyone.tolist() for pair in few.tolist())
    assert not all(torch.equal(few, find_pairs(some, most=3, seed=seed)) for seed in range(2, 8))


@pytest.mark.parametrize(("channels", "size"), [(1, 40), (3, 48)])
def test_a_target_is_laid_on_its_source(channels: int, size: int) -> None:
    """The target is the source's picture, moved and lit otherwise: laid back and relit, it is the source's picture."""
    some = faces(("a", "a"), (2, 0), channels=channels, size=size)
    angle, scale, shift = 0.15, 1.1, torch.tensor([0.06, -0.04])
    turn = scale * torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    own = face_shape() * 2 - 1
    moved = own @ turn.T + shift
    back = torch.linalg.inv(turn)
    picture = some.images[:1].float() / 127.5 - 1
    other = sample_affine(picture, torch.cat([back, -(back @ shift)[:, None]], 1)[None], padding="border")
    darker = (other + 1) * 0.6 - 1
    some = replace(
        some,
        images=torch.cat([some.images[:1], to_bytes_range(darker)]),
        landmarks=torch.stack([own, moved]) / 2 + 0.5,
    )
    laid = lay_on_sources(some, torch.tensor([[0, 1]]))
    torch.testing.assert_close(laid.landmarks[0], own, atol=1e-4, rtol=0)
    inside = (laid.masks[0, 0] == 255).expand(channels, -1, -1)
    assert int(inside.sum()) > 0.1 * inside.numel()
    difference = (laid.images[0].float() - some.images[0].float()).abs()[inside].mean()
    assert difference < 6
    # The control: as it came, the target is another picture.
    assert (some.images[1].float() - some.images[0].float()).abs()[inside].mean() > 3 * difference
    assert laid.images.shape == (1, channels, size, size) and laid.masks.shape == (1, 1, size, size)
    assert torch.equal(laid.images, lay_on_sources(some, torch.tensor([[0, 1]])).images)


def test_relighting_undoes_a_factor_but_no_expression() -> None:
    flat = torch.zeros(1, 1, 48, 48)
    everywhere = torch.ones(1, 1, 48, 48)
    # Flat pictures: the ratio of light (0.5 + 1) / (-0.25 + 1) = 2 takes -0.25 to 0.5.
    torch.testing.assert_close(relight(flat - 0.25, flat + 0.5, everywhere, 8.0), flat + 0.5, atol=2e-3, rtol=0)
    # Beyond the ratio's bounds, 2.8: (0.1 x 2.8) - 1.
    torch.testing.assert_close(relight(flat - 0.9, flat + 0.8, everywhere, 8.0), flat - 0.72, atol=1e-4, rtol=0)
    # A dark spot as small as a mouth stays dark.
    spot = flat.clone()
    spot[..., 22:26, 20:28] = -0.9
    assert float(relight(spot, flat, everywhere, 8.0)[..., 22:26, 20:28].mean()) < -0.85


def test_the_blur_is_a_gaussian() -> None:
    point = torch.zeros(1, 2, 33, 33)
    point[:, :, 16, 16] = 1.0
    blurred = gaussian_blur(point, 3.0)
    assert float(blurred.sum()) == pytest.approx(2.0, abs=1e-5)
    # Along a line it falls as exp(-d^2 / 2 sigma^2).
    assert float(blurred[0, 1, 16, 19] / blurred[0, 1, 16, 16]) == pytest.approx(math.exp(-0.5), rel=1e-5)
    assert float(blurred[0, 0, 16, 16 + 7]) == 0.0  # cut at 2 sigma
    torch.testing.assert_close(gaussian_blur(torch.full((1, 1, 9, 9), 0.3), 8.0), torch.full((1, 1, 9, 9), 0.3))


def test_what_is_missing_is_named() -> None:
    some = faces(("a", "a"), (2, 0))
    check_pairs(some, "method")
    with pytest.raises(CannotTranslateError, match=r"^method .* no training face has landmarks.*landmarks=dlib"):
        check_pairs(replace(some, landmarks=None), "method")
    with pytest.raises(CannotTranslateError, match=r"the person is known.*subject_pattern"):
        check_pairs(replace(some, subjects=(None, None)), "method")
    with pytest.raises(CannotTranslateError, match=r"of 2 people none does.*Add such faces"):
        check_pairs(replace(some, subjects=("a", "b")), "method")
    with pytest.raises(CannotTranslateError, match="of 1 people none does"):
        check_pairs(replace(some, labels=torch.tensor([2, 2])), "method")
