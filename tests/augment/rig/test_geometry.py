import numpy as np
import pytest

from augment.faces.table import MIRROR_ORDER
from augment.rig.action_units import ACTION_UNITS, EXPRESSIONS, action_unit_fields, draw_style, perform
from augment.rig.geometry import EYE, LIPS, MOUTH, SKIN, eye_curves, head_mesh, lip_curves
from augment.rig.landmarks import landmark_weights

GRID_PARTS = ("upper_lid", "lower_lid", "outer_upper", "inner_upper", "inner_lower", "outer_lower")


def neutral_landmarks(vertices: np.ndarray, detail: int = 1) -> np.ndarray:
    index, weight = landmark_weights(detail)
    return (vertices[index] * weight[..., None]).sum(1)


def moved_landmarks(unit: str, side: int = 0) -> np.ndarray:
    """Displacement [68, 3] of the mean face's landmarks under one action unit at strength 1."""
    mesh = head_mesh(1)
    index, weight = landmark_weights(1)
    displacement = action_unit_fields(mesh.grid)[unit]
    return (displacement[index] * weight[..., None]).sum(1)


def test_identity_modes_are_independent() -> None:
    mesh = head_mesh(1)
    assert len(mesh.identity_names) >= 25
    basis = mesh.identity[:, : mesh.ear_start].reshape(len(mesh.identity), -1).astype(float)
    basis /= np.linalg.norm(basis, axis=1, keepdims=True)
    # The smallest singular value of unit vectors says how far the most dependent mode is from the span of the others.
    assert np.linalg.svd(basis, compute_uv=False).min() > 0.15
    # What a landmark can see of them still has a rank of at least 25.
    index, weight = landmark_weights(1)
    seen = (mesh.identity[:, index] * weight[..., None]).sum(2).reshape(len(basis), -1)
    assert np.linalg.matrix_rank(seen, tol=1e-3) >= 25


@pytest.mark.parametrize("detail", [1, 2])
def test_rows_run_along_lids_and_lips_without_crossing(detail: int) -> None:
    mesh = head_mesh(detail)
    assert (np.diff(mesh.grid_y, axis=0) <= 1e-9).all()
    _, middle, upper, lower = eye_curves(mesh.column_phi)
    eye, mouth = mesh.eye_columns, mesh.mouth_columns
    assert np.allclose(mesh.grid_y[mesh.row_of["upper_lid"], eye], (middle + upper)[eye])
    assert np.allclose(mesh.grid_y[mesh.row_of["lower_lid"], eye], (middle - lower)[eye])
    _, up, down = lip_curves(mesh.column_phi)
    height = mesh.grid_y[mesh.row_of["outer_upper"], mouth] - mesh.grid_y[mesh.row_of["outer_lower"], mouth]
    assert np.allclose(height, (up + down)[mouth])
    for kind in (SKIN, LIPS, EYE, MOUTH):
        assert (mesh.kind == kind).sum() > 40
    # Nothing of the eyes or the mouth lies behind the ears.
    special = np.isin(mesh.kind, (LIPS, EYE, MOUTH))
    assert (np.abs(mesh.coordinate[mesh.triangles[special], 0]) < 1.2).all()


@pytest.mark.parametrize("detail", [1, 2])
def test_landmarks_of_the_mean_face_are_symmetric_and_in_ibug_order(detail: int) -> None:
    points = neutral_landmarks(head_mesh(detail).mean, detail)
    mirrored = points[list(MIRROR_ORDER)] * (-1, 1, 1)
    assert np.abs(points - mirrored).max() < 1e-4
    x, y = points[:, 0], points[:, 1]
    assert (np.diff(x[:17]) > 0).all()  # jaw from the image's left to its right
    assert y[8] == y[:17].min()  # chin
    assert (np.diff(x[17:27]) > 0).all()  # brows
    assert (np.diff(y[27:31]) < 0).all()  # bridge of the nose downwards
    assert points[30, 2] == points[:, 2].max()  # its tip is nearest
    assert (np.diff(x[31:36]) > 0).all()
    assert x[36] < x[37] < x[38] < x[39] < x[42] < x[43] < x[44] < x[45]
    assert min(y[37], y[38]) > max(y[40], y[41])
    assert x[41] < x[40] and x[47] < x[46]
    assert (np.diff(x[48:55]) > 0).all() and (np.diff(x[55:60]) < 0).all()
    assert y[50] > y[51] < y[52]  # cupid's bow
    assert y[57] < y[66] <= y[62] < y[51]
    assert (np.diff(x[60:65]) > 0).all() and (np.diff(x[65:68]) < 0).all()


def test_levels_of_detail_agree() -> None:
    coarse, fine = (neutral_landmarks(head_mesh(detail).mean, detail) for detail in (1, 2))
    assert np.abs(coarse - fine).max() < 0.02  # 0.5 px at 64 px


@pytest.mark.parametrize(
    ("unit", "points", "axis", "sign"),
    [
        ("1", (20, 21, 22, 23), 1, 1),  # inner brows up
        ("2", (17, 18, 25, 26), 1, 1),  # outer brows up
        ("4", (19, 20, 21, 22, 23, 24), 1, -1),  # brows down
        ("5", (37, 38, 43, 44), 1, 1),  # upper lids up
        ("6", (40, 41, 46, 47), 1, 1),  # lower lids up
        ("7", (37, 38, 43, 44), 1, -1),  # upper lids down
        ("9", (31, 33, 35), 1, 1),  # nose up
        ("10", (50, 52), 1, 1),  # upper lip up
        ("12", (48, 54), 1, 1),  # corners up
        ("14", (48, 54), 2, -1),  # corners in
        ("15", (48, 54), 1, -1),  # corners down
        ("17", (57,), 1, 1),  # lower lip up
        ("26", (57, 8, 66), 1, -1),  # jaw down
        ("43", (37, 38, 43, 44), 1, -1),  # lids shut
    ],
)
def test_action_units_move_what_facs_says(unit: str, points: tuple[int, ...], axis: int, sign: int) -> None:
    displacement = moved_landmarks(unit)
    assert (sign * displacement[list(points), axis] > 0.010).all()


def test_action_units_leave_the_rest_alone() -> None:
    for unit in ("1", "2", "4", "5", "43"):
        assert np.abs(moved_landmarks(unit)[48:]).max() < 1e-3
    for unit in ("12", "15", "20", "25", "26"):
        assert np.abs(moved_landmarks(unit)[17:27]).max() < 5e-3
    assert (moved_landmarks("12")[54, 0] > 0) and (moved_landmarks("12")[48, 0] < 0)
    assert (moved_landmarks("20")[54, 0] > 0) and (moved_landmarks("23")[54, 0] < 0)


def test_contempt_is_one_sided_and_happiness_is_not() -> None:
    from augment.rig.action_units import SIDED_UNITS

    style = draw_style(np.random.default_rng(3))
    left, right = SIDED_UNITS.index(("12", -1)), SIDED_UNITS.index(("12", 1))
    contempt = perform("contempt", style, np.random.default_rng(0), 1.0, noise=0.0)
    happy = perform("happy", style, np.random.default_rng(0), 1.0, noise=0.0)
    weaker, stronger = sorted((contempt[left], contempt[right]))
    assert weaker < 0.1 * stronger
    assert abs(happy[left] - happy[right]) < 0.5 * happy.max()


def test_performances_scale_with_intensity_and_differ_between_people() -> None:
    styles = [draw_style(np.random.default_rng(seed)) for seed in range(2)]
    for expression in EXPRESSIONS:
        low, high = (perform(expression, styles[0], np.random.default_rng(1), i, noise=0.0) for i in (0.4, 0.8))
        assert np.allclose(2 * low, np.minimum(high, 1.3), atol=0.05) or expression == "sad"
    first, second = (perform("angry", style, np.random.default_rng(1), 1.0, noise=0.0) for style in styles)
    assert np.abs(first - second).max() > 0.1
    assert len(ACTION_UNITS) == len(styles[0].gain)
    with pytest.raises(ValueError, match="surprise"):
        perform("bored", styles[0], np.random.default_rng(1))
