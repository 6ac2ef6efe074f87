from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from augment.core.errors import InputError
from augment.faces.table import MIRROR_ORDER
from augment.rig import EXPRESSIONS, FaceSpec, rasterizer, render
from augment.rig.action_units import SIDED_UNITS, action_unit_basis, draw_style, perform
from augment.rig.fitting import FitSettings, HeadFit, fit_head
from augment.rig.geometry import head_mesh
from augment.rig.landmarks import landmark_weights
from augment.rig.openings import hold_openings_apart
from augment.rig.render import rotation

PIXELS = 1000
SURE = FitSettings(landmark_noise=1e-4, pitch_spread=90, steps=1000, contour="points")


def head_points(
    identity: np.ndarray, actions: np.ndarray, yaw: float, pitch: float = 0.0, roll: float = 0.0
) -> np.ndarray:
    """Landmarks of a head by the renderer's own steps, in 0..1."""
    mesh = head_mesh(1)
    neutral, local = np.empty_like(mesh.mean), np.empty_like(mesh.mean)
    rasterizer.morph(mesh.mean, mesh.identity, identity.astype(np.float32), neutral)
    rasterizer.morph(neutral, action_unit_basis(1), actions.astype(np.float32), local)
    hold_openings_apart(local, 1)
    camera, screen = np.empty_like(local), np.empty_like(local)
    turn = rotation(*np.radians([yaw, pitch, roll]))
    view = np.array([1.05, 0.02, -0.01])
    rasterizer.project(local, mesh.neck_start, turn, turn, view, PIXELS, camera, screen)
    index, weight = landmark_weights(1)
    return (screen[index] * weight[..., None]).sum(1)[:, :2] / PIXELS


def somebody(seed: int, expression: str = "happy") -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    identity = np.clip(0.78 * generator.standard_normal(len(head_mesh(1).identity)), -1.8, 1.8)
    return identity, perform(expression, draw_style(generator), generator, 0.8)


def fitted(points: np.ndarray, settings: FitSettings | None = None, width: int = PIXELS) -> HeadFit:
    return fit_head(points, width=width, height=PIXELS, settings=settings)


def drawn(yaw: float, subject: int = 0, expression: str = "neutral") -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Landmarks, visibility and mask of a rendered face."""
    spec = FaceSpec(f"{subject}/{yaw}", subject, expression, expression, 0, yaw, "normal", 0.9, None, None)
    faces = render([spec], size=128, channels=1, seed=5)
    return faces.landmarks[0], faces.visible[0], faces.masks[0]


def on_silhouette(points: np.ndarray, visible: np.ndarray, mask: np.ndarray, yaw: float) -> np.ndarray:
    """What a detector sees: on the far side a hidden jaw point moves outwards, to where the skin of its line ends."""
    moved = points.copy()
    for landmark in range(9, 17) if yaw > 0 else range(8):
        columns = np.flatnonzero(mask[int(np.clip(points[landmark, 1] * len(mask), 0, len(mask) - 1))])
        if not visible[landmark] and len(columns):
            moved[landmark, 0] = (columns.max() + 1 if yaw > 0 else columns.min()) / len(mask)
    return moved


@pytest.mark.parametrize("seed", range(4))
def test_exact_landmarks_give_back_pose_and_coefficients(seed: int) -> None:
    generator = np.random.default_rng(100 + seed)
    identity, actions = somebody(seed, EXPRESSIONS[2 * seed])
    yaw, pitch, roll = generator.uniform(-45, 45), generator.uniform(-8, 8), generator.uniform(-10, 10)
    fit = fitted(head_points(identity, actions, yaw, pitch, roll), SURE)
    assert np.abs(np.subtract((fit.yaw, fit.pitch, fit.roll), (yaw, pitch, roll))).max() < 0.1
    assert fit.error < 2e-4 and fit.contour == "points"
    assert np.abs(fit.identity - identity).max() < 0.4 and np.abs(fit.identity - identity).mean() < 0.05
    assert np.abs(fit.action_units - actions).max() < 0.1 and np.abs(fit.action_units - actions).mean() < 0.015
    assert abs(fit.scale / (1.05 * PIXELS / rasterizer.FRAME_HEIGHT) - 1) < 0.003
    assert np.abs(np.divide(fit.middle, PIXELS) - (0.52, 0.49)).max() < 0.003
    # The mean face alone is far off: it is the coefficients that fit.
    assert fitted(head_points(identity, actions, yaw), FitSettings(landmark_noise=1.0)).error > 20 * fit.error


@pytest.mark.parametrize("yaw", [-45, -30, -15, 15, 30, 45])
def test_rendered_faces_are_turned_the_way_they_are(yaw: float) -> None:
    for subject in range(3):
        points, _, _ = drawn(yaw, subject, EXPRESSIONS[subject])
        fit = fitted(points)
        # The rig jitters by 1.6 degrees about the camera's yaw.
        assert abs(fit.yaw - yaw) < 7 and np.sign(fit.yaw) == np.sign(yaw)
        assert fit.error < 0.012 and fit.contour == "points"


@pytest.mark.parametrize("yaw", [-40, 40])
def test_detectors_jaws_lie_on_the_silhouette(yaw: float) -> None:
    points, visible, mask = drawn(yaw, 3)
    seen = on_silhouette(points, visible, mask, yaw)
    assert np.abs(seen - points).max() > 0.05
    either = fitted(seen)
    points_only = fitted(seen, FitSettings(contour="points"))
    assert either.contour == "silhouette"
    assert either.error < 0.75 * points_only.error and either.error < 0.03
    assert abs(either.yaw - fitted(points).yaw) < 6
    assert fitted(points).contour == "points"


def test_noise_degrades_gracefully() -> None:
    generator = np.random.default_rng(0)
    off: dict[float, list[float]] = {0.0: [], 0.03: [], 0.1: []}
    errors: dict[float, list[float]] = {noise: [] for noise in off}
    for number in range(8):
        identity, actions = somebody(number, EXPRESSIONS[number])
        yaw = -40 + 11 * number
        exact = head_points(identity, actions, yaw)
        interocular = np.linalg.norm(np.diff(head_points(identity, actions, 0.0)[[36, 45]], axis=0))
        for noise in off:
            fit = fitted(exact + noise * interocular * generator.standard_normal(exact.shape))
            off[noise].append(abs(fit.yaw - yaw))
            errors[noise].append(fit.error)
    assert np.mean(off[0.0]) < 1.5 and np.mean(off[0.03]) < 3 and np.mean(off[0.1]) < 8
    # Two coordinates with the noise each; the fit follows a part of it.
    assert 0.5 < np.mean(errors[0.03]) / (0.03 * np.sqrt(2)) < 1
    assert np.mean(errors[0.0]) < np.mean(errors[0.03]) < np.mean(errors[0.1])


def test_action_units_stay_within_what_muscles_do() -> None:
    points = head_points(np.zeros(len(head_mesh(1).identity)), np.zeros(len(SIDED_UNITS)), 10.0)
    jaw = [*range(5, 12), *range(55, 60), 65, 66, 67]
    points[jaw, 1] += 0.2  # a mouth wider open than jaws allow
    fit = fitted(points)
    assert fit.action_units.min() == 0 and fit.action_units.max() <= 1.3
    assert fit.action_units[SIDED_UNITS.index(("26", 0))] > 0.8
    free = fitted(points, FitSettings(action_spread=10.0, landmark_noise=0.001))
    assert free.action_units.min() == 0 and free.action_units.max() == 1.3


def test_the_error_is_measured_by_the_eyes_seen_from_the_front() -> None:
    generator = np.random.default_rng(2)
    points = head_points(*somebody(4), 45.0) + 0.01 * generator.standard_normal((68, 2))
    fit = fitted(points, width=2 * PIXELS)
    distances = np.linalg.norm((fit.points - points) * (2 * PIXELS, PIXELS), axis=1)
    mesh = head_mesh(1)
    grid = mesh.rows * mesh.columns
    vertices = mesh.mean[:grid] + np.tensordot(fit.identity, mesh.identity[:, :grid], 1)
    vertices = vertices + np.tensordot(fit.action_units, action_unit_basis(1), 1)
    index, weight = landmark_weights(1)
    corners = (vertices[index[[36, 45]]] * weight[[36, 45]][..., None]).sum(1)
    frontal, _ = replace(fit, yaw=0.0, pitch=0.0, roll=0.0).project(corners)
    by_hand = np.sqrt(np.mean(distances**2)) / np.linalg.norm(frontal[1] - frontal[0])
    assert fit.error == pytest.approx(by_hand, rel=1e-4)
    # By the eyes as they stand in the profile a good fit would look bad.
    turned, _ = fit.project(corners)
    assert np.linalg.norm(turned[1] - turned[0]) < 0.8 * np.linalg.norm(frontal[1] - frontal[0])


def test_the_head_projects_to_its_points() -> None:
    fit = fitted(head_points(*somebody(6, "surprise"), -30.0, 5.0, 8.0))
    mesh = head_mesh(1)
    grid = mesh.rows * mesh.columns
    vertices = (mesh.mean[:grid] + np.tensordot(fit.identity, mesh.identity[:, :grid], 1)).astype(np.float32)
    vertices += np.tensordot(fit.action_units, action_unit_basis(1), 1).astype(np.float32)
    hold_openings_apart(vertices, 1)
    index, weight = landmark_weights(1)
    pixels, depth = fit.project((vertices[index] * weight[..., None]).sum(1))
    assert np.abs(pixels / PIXELS - fit.points).max() < 1e-4
    assert depth[30] > depth[[0, 16]].max() + 0.5  # the nose is nearest


def test_mirrored_turned_moved_and_stretched_landmarks() -> None:
    points = head_points(*somebody(8, "disgust"), 25.0, 3.0)
    fit = fitted(points)
    mirrored = fitted((points * (-1, 1) + (1, 0))[list(MIRROR_ORDER)])
    assert mirrored.yaw == pytest.approx(-fit.yaw, abs=0.6) and mirrored.error == pytest.approx(fit.error, rel=0.05)
    for angle in (90.0, 180.0, -35.0):
        c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
        turned = fitted((points - 0.5) @ np.array([[c, s], [-s, c]]) + 0.5)  # clockwise, as y points down
        assert (turned.roll - fit.roll - angle + 180) % 360 - 180 == pytest.approx(0, abs=0.5)
        # The camera looks at a point a little above the pivot, so heads that hang are seen from elsewhere.
        assert turned.yaw == pytest.approx(fit.yaw, abs=1.5)
    moved = fitted(0.3 * points + (2.0, -1.0))
    assert moved.yaw == pytest.approx(fit.yaw, abs=0.2) and moved.scale == pytest.approx(0.3 * fit.scale, rel=0.01)
    wide = fitted(points * (0.5, 1), width=2 * PIXELS)
    assert wide.yaw == pytest.approx(fit.yaw, abs=0.2) and wide.scale == pytest.approx(fit.scale, rel=0.01)


def test_the_same_landmarks_give_the_same_fit() -> None:
    points = drawn(30)[0]
    first, second = fitted(points), fitted(points.copy())
    assert first.error == second.error and first.yaw == second.yaw
    assert np.array_equal(first.identity, second.identity) and np.array_equal(first.points, second.points)


@pytest.mark.parametrize(
    ("points", "why"),
    [
        (np.zeros((5, 2)), r"have the form \[5, 2\]"),
        (np.where(np.arange(136).reshape(68, 2) == 7, np.nan, 0.5), r"\[3\] are not finite"),
        (np.full((68, 2), 0.5), "all in one place"),
        (np.linspace(0, 1, 68)[:, None] * (1.0, 0.5), "on one line"),
    ],
)
def test_landmarks_that_show_no_face_are_refused(points: np.ndarray, why: str) -> None:
    with pytest.raises(InputError, match=why):
        fitted(points)


def test_any_scatter_of_points_has_a_finite_fit() -> None:
    generator = np.random.default_rng(3)
    for scale in (1e-4, 1.0, 1e5):
        for _ in range(3):
            fit = fitted(generator.random((68, 2)) * scale)
            numbers = (fit.error, fit.yaw, fit.pitch, fit.roll, fit.scale, *fit.middle, *fit.points.ravel())
            assert np.isfinite(numbers).all() and fit.error > 0.1
