import numpy as np
import pytest
import torch
from scipy.interpolate import RBFInterpolator

from augment.translators.thin_plate_spline import (
    border_anchors,
    displacement_field,
    pixel_centres,
    sample_displaced,
    thin_plate_coefficients,
    thin_plate_values,
    warp_to,
)


def _scattered(count: int, k: int = 12, values: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    return torch.rand(count, k, 2, generator=generator) * 1.6 - 0.8, torch.randn(count, k, values, generator=generator)


@pytest.mark.parametrize("regularization", [0.0, 0.05])
def test_agrees_with_scipy(regularization: float) -> None:
    centres, values = _scattered(3)
    points = pixel_centres(9)
    ours = thin_plate_values(thin_plate_coefficients(centres, values, regularization), centres, points)
    for n in range(3):
        # scipy's kernel is r^2 log r, half of ours, so its smoothing is half as well.
        theirs = RBFInterpolator(
            centres[n].numpy(), values[n].numpy(), kernel="thin_plate_spline", smoothing=regularization / 2
        )
        np.testing.assert_allclose(ours[n].numpy(), theirs(points.numpy()), atol=2e-4)


def test_interpolates_only_without_regularization() -> None:
    centres, values = _scattered(1)
    at_centres = [
        thin_plate_values(thin_plate_coefficients(centres, values, amount), centres, centres[0])
        for amount in (0.0, 0.5)
    ]
    torch.testing.assert_close(at_centres[0], values, atol=1e-3, rtol=0)
    assert (at_centres[1] - values).abs().max() > 0.05


def test_an_affine_map_does_not_bend() -> None:
    centres, _ = _scattered(1)
    matrix, shift = torch.tensor([[0.3, -0.2], [0.1, 0.4]]), torch.tensor([0.05, -0.1])
    coefficients = thin_plate_coefficients(centres, centres @ matrix + shift)
    assert coefficients[:, :-3].abs().max() < 1e-4
    points = pixel_centres(8)
    torch.testing.assert_close(
        thin_plate_values(coefficients, centres, points)[0], points @ matrix + shift, atol=1e-4, rtol=0
    )


def test_two_centres_on_one_spot_are_solved_when_regularized() -> None:
    centres = torch.tensor([[[0.0, 0.0], [0.0, 0.0], [0.5, 0.2], [-0.4, 0.6]]])
    values = torch.tensor([[[0.1, 0.0], [-0.1, 0.0], [0.0, 0.0], [0.0, 0.0]]])
    assert torch.isfinite(thin_plate_coefficients(centres, values, 1e-3)).all()


def test_half_precision_does_not_bend_it_otherwise() -> None:
    """|p - c|^2 by its expansion is a difference of near numbers: rounded to three digits it was off by pixels."""
    centres, values = _scattered(2)
    field = displacement_field(centres, 0.02 * values, 48)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(displacement_field(centres, 0.02 * values, 48), field)
        assert (centres @ torch.eye(2)).dtype == torch.bfloat16, "all else goes on in half precision"


def test_the_frame_stays_and_the_landmark_moves() -> None:
    centres = torch.tensor([[[-0.1, 0.1], [0.3, 0.2], [0.0, -0.4]]])
    field = displacement_field(centres, torch.full((1, 3, 2), 0.2), 32, regularization=0.0)
    assert field[..., 0, :].abs().max() < 0.08
    x, y = (round((float(c) + 1) * 16 - 0.5) for c in centres[0, 0])
    assert field[0, :, y, x].min() > 0.17


def test_warp_brings_a_spot_to_its_target() -> None:
    size = 40
    centre = torch.tensor([[[-0.3, -0.2]]])
    distance = (pixel_centres(size) - centre[0]).square().sum(1)
    image = torch.exp(-distance / 0.005).view(1, 1, size, size)
    source = torch.cat([centre, torch.tensor([[[0.7, 0.7], [-0.7, 0.7], [0.7, -0.7]]])], dim=1)
    target = source.clone()
    target[0, 0] = torch.tensor([-0.1, 0.05])
    warped = warp_to(image, source, target, size, regularization=0.0)[0, 0]
    mass = warped.clamp(min=0) / warped.clamp(min=0).sum()
    found = (mass.flatten()[:, None] * pixel_centres(size)).sum(0)
    torch.testing.assert_close(found, target[0, 0], atol=0.03, rtol=0)


def test_no_displacement_changes_nothing_and_sizes_may_differ() -> None:
    image = torch.rand(2, 3, 20, 20, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(sample_displaced(image, torch.zeros(2, 2, 20, 20)), image, atol=1e-5, rtol=0)
    assert sample_displaced(image, torch.zeros(2, 2, 33, 33)).shape == (2, 3, 33, 33)


def test_a_coarse_grid_is_close_to_the_full_one() -> None:
    generator = torch.Generator().manual_seed(1)
    centres = torch.rand(1, 68, 2, generator=generator) * 1.2 - 0.6
    values = 0.05 * torch.randn(1, 68, 2, generator=generator)
    full = displacement_field(centres, values, 128, regularization=0.01, largest_grid=128)
    coarse = displacement_field(centres, values, 128, regularization=0.01, largest_grid=64)
    assert (full - coarse).abs().mean() < 0.1 * full.abs().mean()


def test_anchors_lie_on_the_frame_alone() -> None:
    anchors = border_anchors(5, 1.15)
    assert anchors.shape == (16, 2)
    torch.testing.assert_close(anchors.abs().amax(1), torch.full((16,), 1.15))
