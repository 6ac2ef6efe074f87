import math

import numpy as np
import torch
from skimage.draw import polygon2mask
from sklearn.linear_model import Ridge

from augment.faces.landmark_shapes import (
    STABLE_POINTS,
    Similarity,
    Subspace,
    alignment,
    pose,
    procrustes_mean,
    ridge_regression,
    shape_components,
    signal_shares,
    signal_subspace,
    soft_polygon,
    with_mirrored,
)
from augment.faces.tensors import MIRROR_LANDMARKS


def _shapes(count: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(count, 68, 2, generator=torch.Generator().manual_seed(seed)) - 0.5


def test_alignment_undoes_a_similarity() -> None:
    reference = _shapes(1)[0]
    angle = 0.4
    rotation = torch.tensor([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    moved = (1.3 * reference @ rotation + torch.tensor([0.2, -0.1]))[None]
    maps = alignment(moved, reference)
    torch.testing.assert_close(maps.apply(moved)[0], reference, atol=1e-5, rtol=0)
    torch.testing.assert_close(maps.invert(maps.apply(moved)), moved, atol=1e-5, rtol=0)
    torch.testing.assert_close(maps.factor.abs(), torch.tensor([1 / 1.3]))


def test_alignment_looks_at_stable_points_alone() -> None:
    reference = _shapes(1)[0]
    smiling = reference.clone()
    moving = [k for k in range(68) if k not in STABLE_POINTS]
    smiling[moving] += 0.3
    torch.testing.assert_close(alignment(smiling[None], reference).apply(smiling[None])[0], smiling, atol=1e-5, rtol=0)


def test_procrustes_mean_keeps_size_and_place() -> None:
    shape = _shapes(1)[0]
    maps = Similarity(
        torch.polar(torch.tensor([0.8, 1.25, 1.0]), torch.tensor([0.1, -0.1, 0.0])),
        torch.complex(torch.tensor([0.1, -0.1, 0.0]), torch.zeros(3)),
    )
    mean = procrustes_mean(maps.apply(shape.expand(3, -1, -1)))
    ratio = (mean - mean.mean(0)).norm() / (shape - shape.mean(0)).norm()
    assert 0.95 < float(ratio) < 1.05
    torch.testing.assert_close(alignment(shape[None], mean).apply(shape[None])[0], mean, atol=1e-4, rtol=0)


def test_components_recover_a_planted_direction() -> None:
    generator = torch.Generator().manual_seed(2)
    direction = torch.nn.functional.normalize(torch.randn(136, generator=generator), dim=0)
    weights = 2.0 * torch.randn(400, 1, generator=generator)
    shapes = (weights * direction + 0.01 * torch.randn(400, 136, generator=generator)).view(-1, 68, 2)
    components = shape_components(shapes, 3)
    assert abs(float(components.directions[0] @ direction)) > 0.999
    torch.testing.assert_close(components.deviations[0], weights.std(), rtol=0.01, atol=0)
    torch.testing.assert_close(components.scores(shapes).std(0), torch.ones(3), rtol=1e-3, atol=0)


def test_components_never_outnumber_what_shapes_span() -> None:
    assert len(shape_components(_shapes(3), 8).deviations) == 2
    assert len(shape_components(_shapes(1), 8).deviations) == 0


def test_ridge_agrees_with_scikit_learn() -> None:
    x, y = torch.randn(30, 4, generator=torch.Generator().manual_seed(0)), _shapes(30).flatten(1)
    theirs = Ridge(alpha=7.0, fit_intercept=False).fit(x.numpy(), y.numpy()).coef_.T
    np.testing.assert_allclose(ridge_regression(x, y, 7.0).numpy(), theirs, atol=1e-5)


def test_noise_is_estimated_and_taken_away() -> None:
    generator = torch.Generator().manual_seed(4)
    basis = torch.linalg.qr(torch.randn(136, 5, generator=generator)).Q.T
    signal = torch.randn(200, 5, generator=generator) @ basis
    noisy = signal + 0.02 * torch.randn(200, 136, generator=generator)
    subspace = signal_subspace(noisy)
    assert len(subspace.directions) == 5
    assert abs(float(subspace.noise) - 0.02) < 0.002
    before, after = (noisy - signal).norm(), (subspace.clean(noisy) - signal).norm()
    assert after < 0.35 * before


def test_the_signals_share_of_a_variance_by_hand() -> None:
    """Signal 3 and noise 1 in 272 rows: a variance of (3 + 1) (1 + 136 / 272 / 3) = 14/3, of which 3/4 is signal."""
    direction = torch.zeros(1, 136)
    direction[0, 5] = 1.0
    signs = torch.tensor([1.0, -1.0]).repeat(136)[:, None]
    rows = (14 / 3) ** 0.5 * signs * direction
    shares = signal_shares(rows, Subspace(direction, torch.tensor(1.0)))
    torch.testing.assert_close(shares, torch.tensor([0.75]))
    # The control: that the noise makes the variance itself larger is no small matter.
    assert abs((1 - 3 / 14) - 0.75) > 0.03
    assert float(signal_shares(rows, Subspace(direction, torch.tensor(0.0)))) == 1.0
    # Below the variance that noise alone may give, (1 + sqrt(1/2))^2, there is no such signal: nothing is made up.
    assert float(signal_shares(0.5 * rows, Subspace(direction, torch.tensor(1.0)))) == 0.0
    assert signal_shares(rows, Subspace(direction[:0], torch.tensor(0.0))).shape == (0,)


def test_exact_landmarks_are_left_alone() -> None:
    basis = torch.linalg.qr(torch.randn(136, 5, generator=torch.Generator().manual_seed(4))).Q.T
    exact = torch.randn(50, 5, generator=torch.Generator().manual_seed(5)) @ basis
    new_person = torch.randn(1, 136, generator=torch.Generator().manual_seed(6))
    torch.testing.assert_close(signal_subspace(exact).clean(new_person), new_person, atol=1e-4, rtol=0)
    few = exact[:3]
    torch.testing.assert_close(signal_subspace(few).clean(few), few)


def test_mirroring_twice_is_the_identity() -> None:
    shapes = _shapes(2)
    mirrored = with_mirrored(shapes)[2:]
    torch.testing.assert_close(with_mirrored(mirrored)[2:], shapes)
    assert float(mirrored[0, 16, 0]) == -float(shapes[0, 0, 0])
    assert MIRROR_LANDMARKS[16] == 0


def test_pose_grows_as_the_nose_turns() -> None:
    shape = torch.zeros(1, 68, 2)
    shape[:, 0:3, 0], shape[:, 14:17, 0] = -0.5, 0.5
    assert float(pose(shape)) == 0
    shape[:, 30, 0] = 0.2
    torch.testing.assert_close(pose(shape), torch.tensor([0.2]))


def test_soft_polygon_agrees_with_scikit_image() -> None:
    generator = np.random.default_rng(0)
    angles = np.sort(generator.uniform(0, 2 * np.pi, 9))
    corners = np.stack([np.cos(angles), np.sin(angles)], 1) * generator.uniform(0.3, 0.8, (9, 1))
    size = 64
    ours = soft_polygon(torch.from_numpy(corners[None]).float(), size, softness=1e-4)[0, 0].numpy() > 0.5
    theirs = polygon2mask((size, size), (corners[:, ::-1] + 1) * size / 2 - 0.5)
    assert (ours != theirs).mean() < 0.005


def test_soft_polygon_ramps_over_its_softness() -> None:
    square = torch.tensor([[[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]]])
    row = soft_polygon(square, 200, softness=0.2)[0, 0, 100]
    x = (torch.arange(200) + 0.5) / 100 - 1
    torch.testing.assert_close(row, (0.5 + (0.5 - x.abs()) / 0.2).clamp(0, 1), atol=1e-3, rtol=0)
