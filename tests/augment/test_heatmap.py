from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from augment.faces.tensors import mirror_landmarks
from augment.networks.heatmap import landmark_heatmap


def all_at(x: float, y: float) -> torch.Tensor:
    return torch.tensor([x, y]).expand(1, 68, 2).clone()


def test_one_point_by_hand() -> None:
    # The centre of pixel (row 2, column 5) of 8 is (5.5 / 8, 2.5 / 8).
    heat = landmark_heatmap(all_at(5.5 / 8, 2.5 / 8), 8, sigma=0.1)
    assert heat.shape == (1, 1, 8, 8) and heat.dtype == torch.float32
    assert heat[0, 0, 2, 5].item() == pytest.approx(1.0)
    for row, column in ((2, 6), (4, 5), (3, 3)):
        squared = ((row - 2) / 8) ** 2 + ((column - 5) / 8) ** 2
        assert heat[0, 0, row, column].item() == pytest.approx(2 * math.exp(-squared / 2 / 0.01) - 1, abs=1e-5)


def test_overlap_takes_the_greatest_so_that_68_points_in_one_place_are_as_bright_as_one() -> None:
    one = all_at(0.5, 0.5)
    one[0, 1:] = torch.tensor([-50.0, -50.0])  # far outside: no trace
    assert torch.allclose(landmark_heatmap(all_at(0.5, 0.5), 16), landmark_heatmap(one, 16), atol=1e-6)


def test_faces_without_landmarks_have_an_empty_map() -> None:
    landmarks = torch.rand(3, 68, 2)
    landmarks[1] = float("nan")
    landmarks[2, 7, 0] = float("nan")
    heat = landmark_heatmap(landmarks, 32)
    assert (heat[1:] == -1).all() and heat[0].max() > 0.5
    assert torch.isfinite(heat).all()


def test_sigma_is_relative_to_the_size() -> None:
    landmarks = torch.rand(2, 68, 2, generator=torch.Generator().manual_seed(0))
    small = landmark_heatmap(landmarks, 32, sigma=0.1)
    large = landmark_heatmap(landmarks, 64, sigma=0.1)
    shrunk = torch.nn.functional.avg_pool2d(large, 2)
    assert (shrunk - small).abs().mean() < 0.02
    # Negative control: a sigma in pixels would be half as wide here.
    assert (shrunk - landmark_heatmap(landmarks, 32, sigma=0.05)).abs().mean() > 0.1
    wider = landmark_heatmap(landmarks, 32, sigma=0.2)
    assert (wider >= small - 1e-6).all() and (wider > small + 0.1).any()


@settings(max_examples=15)
@given(st.integers(0, 2**31), st.sampled_from([16, 31, 48]))
def test_mirrored_landmarks_give_the_mirrored_map(seed: int, size: int) -> None:
    landmarks = torch.rand(2, 68, 2, generator=torch.Generator().manual_seed(seed))
    heat = landmark_heatmap(landmarks, size)
    assert heat.min() >= -1 and heat.max() <= 1
    assert torch.allclose(landmark_heatmap(mirror_landmarks(landmarks), size), heat.flip(3), atol=1e-4)
