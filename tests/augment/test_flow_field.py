"""Fields of displacements: where pixels come from, the error at landmarks, roughness by hand."""

from __future__ import annotations

import pytest
import torch

from augment.networks.flow_field import FlowField, field_roughness, landmark_error, moved


def test_a_field_says_where_a_pixel_comes_from() -> None:
    """Of 8 px, a pixel is 2 / 8 of half an edge: x = 0.25 takes each from its right neighbour, the last its own."""
    pictures = torch.arange(64.0).view(1, 1, 8, 8)
    field = torch.zeros(1, 2, 8, 8)
    assert torch.allclose(moved(pictures, field), pictures, atol=1e-4)
    field[:, 0] = 0.25
    assert torch.allclose(moved(pictures, field)[..., :-1], pictures[..., 1:], atol=1e-4)
    assert torch.allclose(moved(pictures, field)[..., -1], pictures[..., -1], atol=1e-4)
    field = torch.zeros(1, 2, 8, 8)
    field[:, 1] = -0.25  # y: from the pixel above
    assert torch.allclose(moved(pictures, field)[:, :, 1:], pictures[:, :, :-1], atol=1e-4)


def test_the_field_that_lays_the_source_on_the_target_has_no_error() -> None:
    """A mouth corner that moves from 0.5 to 0.6 of the width: at 0.6 the field points back by 0.2 half edges."""
    sources, targets = torch.tensor([[[0.5, 0.5]]]), torch.tensor([[[0.6, 0.5]]])
    field = torch.zeros(1, 2, 8, 8)
    assert float(landmark_error(field, sources, targets)) == pytest.approx(0.1)  # the mean of 0.2 and 0
    field[:, 0] = -0.2
    assert float(landmark_error(field, sources, targets)) == pytest.approx(0.0, abs=1e-6)
    assert float(landmark_error(-field, sources, targets)) == pytest.approx(0.2)  # the other way round
    # And such a field does move the picture's spot from 0.5 to 0.6.
    picture = torch.zeros(1, 1, 20, 20)
    picture[0, 0, :, 9:11] = 1.0
    wide = torch.zeros(1, 2, 20, 20)
    wide[:, 0] = -0.2
    assert moved(picture, wide)[0, 0, 10].nonzero().flatten().tolist() == [11, 12]


def test_roughness_by_hand() -> None:
    field = torch.tensor([[0.0, 1.0], [0.0, 3.0]]).view(1, 1, 2, 2)
    # Across 1 and 3, squared mean 5; down 0 and 2, squared mean 2.
    assert float(field_roughness(field)) == pytest.approx(7.0)


def test_it_starts_at_rest_and_has_a_reach() -> None:
    network = FlowField(4, reach=0.3)
    features = torch.randn(2, 4, 3, 3, generator=torch.Generator().manual_seed(0))
    assert not network(features, 12).any() and network(features, 12).shape == (2, 2, 12, 12)
    torch.nn.init.constant_(network.convolution.bias, 100.0)  # type: ignore[arg-type]
    assert torch.allclose(network(features, 12), torch.tensor(0.3))
