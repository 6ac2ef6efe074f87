"""The affine sampler that both augmentations use."""

from __future__ import annotations

import pytest
import torch

from augment.faces.affine import Padding, sample_affine

PICTURE = torch.arange(16, dtype=torch.float32).view(1, 1, 4, 4)


def origins(*rows: tuple[float, float, float]) -> torch.Tensor:
    return torch.tensor([rows])


def test_the_identity_and_quarter_turns_are_exact() -> None:
    same = origins((1, 0, 0), (0, 1, 0))
    assert torch.equal(sample_affine(PICTURE, same, padding="zeros"), PICTURE)
    # The result's upper right corner (1, -1) comes from the upper left one (-1, -1): a turn clockwise.
    turned = sample_affine(PICTURE, origins((0, 1, 0), (-1, 0, 0)), padding="zeros")
    assert torch.allclose(turned, PICTURE.rot90(-1, (2, 3)), atol=1e-5)


@pytest.mark.parametrize(("padding", "beyond"), [("zeros", 0.0), ("border", 3.0), ("reflection", 3.0)])
def test_what_lies_beyond_the_edge(padding: Padding, beyond: float) -> None:
    moved = sample_affine(PICTURE, origins((1, 0, 0.5), (0, 1, 0)), padding=padding)  # a pixel of four to the right
    assert torch.allclose(moved[0, 0, 0], torch.tensor([1.0, 2.0, 3.0, beyond]))


def test_nearest_makes_no_new_values_and_each_picture_has_its_own_map() -> None:
    maps = torch.cat([origins((1, 0, 0), (0, 1, 0)), origins((0.7, 0, 0.1), (0, 0.7, 0))])
    pair = PICTURE.repeat(2, 1, 1, 1)
    nearest = sample_affine(pair, maps, padding="border", interpolation="nearest")
    assert torch.equal(nearest[0], PICTURE[0])
    assert set(nearest[1].unique().tolist()) < set(PICTURE.unique().tolist())
    between = sample_affine(pair.double(), maps, padding="border")
    assert between.dtype == torch.float64 and not torch.equal(between[1], nearest[1].double())
