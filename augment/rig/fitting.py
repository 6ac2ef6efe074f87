"""The embedded head fitted to 68 landmarks: pose, identity and action units by regularised least squares.

The rig is a 3-D morphable model: before projection its landmarks are linear in 35 identity modes and in the strengths
of the sided action units (but for lids and lips that would cross, which the renderer holds apart; so does the fit).
Priors and least squares as in Bas et al. 2016 (arXiv 1602.01125, section 3), with bounds for the action units; the
minimum is found by Levenberg-Marquardt steps among the variables that no bound holds (Bertsekas 1982, "Projected Newton
methods for optimization problems with simple constraints"). Several turns of the head are tried first, so that the sign
of the yaw does not depend on where the search began.

Jaw landmarks come in two kinds. The rig's own are points of the head, hidden or not. Detectors mark what they see: on
the far side of a turned face that is the silhouette, which slides over the cheek as the head turns. For these each jaw
point moves along its parallel to the outermost place between the middle of the face and its own (landmark marching:
Zhu et al. 2015, "High-Fidelity Pose and Expression Normalization for Face Recognition in the Wild").
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from augment.core.errors import InputError, Problem
from augment.rig.action_units import SIDED_UNITS, action_unit_basis
from augment.rig.geometry import Array, head_mesh
from augment.rig.landmarks import landmark_weights, place_on_grid
from augment.rig.openings import openings
from augment.rig.rasterizer import CAMERA_DISTANCE, FRAME_MIDDLE, PIVOT_Y, PIVOT_Z

Contour = Literal["points", "silhouette"]

LANDMARKS = 68
JAW = 17  # the first so many landmarks
CHIN = 8
OUTER_CORNERS = (36, 45)
MOST_ACTION = 1.3  # as strongly as the rig performs an action unit
_POSE = 6  # yaw, pitch, roll (radians), logarithm of the scale, place of the middle right and down
_PIVOT = np.array([0.0, PIVOT_Y, PIVOT_Z])
_PLACES = 25  # along a parallel, from the middle of the face to the jaw landmark's own place
_FIRST_YAWS = np.radians([-70.0, -35.0, 0.0, 35.0, 70.0])
_FIRST_STEPS = 6
_CONTOUR_STEPS = 12
_TRIES, _LEAST_DAMPING = 15, 1e-6


class FitSettings(BaseModel):
    """How a head is fitted to landmarks.

    Attributes:
        landmark_noise: Standard deviation of a given landmark, in distances between the outer eye corners. The larger,
            the nearer the fit stays to the mean face.
        jaw_noise: The same of a jaw landmark, times `landmark_noise`: the jaw's points are the least certain along the
            contour.
        action_spread: Standard deviation of an action unit's strength around 0; that of an identity mode is 1.
        pitch_spread: Standard deviation of the pitch, degrees.
        contour: What jaw landmarks are: `points` of the head, hidden or not (the embedded faces' own), the visible
            `silhouette` (detectors'), or `either`, whichever fits better.
        camera_distance: From the camera to the head's middle, in units of the rig (about 10.6 cm); its own by default.
        steps: Most steps of a search.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    landmark_noise: float = Field(default=0.02, gt=0, le=1)
    jaw_noise: float = Field(default=1.5, ge=1, le=100)
    action_spread: float = Field(default=0.5, gt=0, le=10)
    pitch_spread: float = Field(default=20.0, gt=0, le=90)
    contour: Literal["points", "silhouette", "either"] = "either"
    camera_distance: float = Field(default=CAMERA_DISTANCE, ge=3, le=1000)
    steps: int = Field(default=40, ge=1, le=1000)


@dataclass(frozen=True)
class HeadFit:
    """A head that projects to given landmarks.

    Attributes:
        yaw, pitch, roll: Degrees; yaw positive = turned to the picture's right, pitch positive = up, roll positive =
            clockwise in the picture.
        scale: Pixels a unit of the rig at the head's middle.
        middle: Where the rig's frame has its middle, x and y in pixels.
        identity: Strengths of the identity modes, standard deviations [modes], float64.
        action_units: Strengths of the sided action units (`SIDED_UNITS`), 0..1.3 [units], float64.
        points: The fitted landmarks, x and y in 0..1 of the picture [68, 2], float32.
        error: Root mean square distance of `points` to the given ones, in distances between the outer corners of the
            fitted face's eyes as seen from the front at this scale.
        contour: What the jaw landmarks were taken for.
        camera_distance: Of the settings.
    """

    yaw: float
    pitch: float
    roll: float
    scale: float
    middle: tuple[float, float]
    identity: Array
    action_units: Array
    points: Array
    error: float
    contour: Contour
    camera_distance: float

    @property
    def rotation(self) -> Array:
        """Rotation of the head [3, 3]."""
        return _rotation(*np.radians([self.yaw, self.pitch, self.roll]))[0]

    def project(self, vertices: Array) -> tuple[Array, Array]:
        """Points of the head to the picture.

        Args:
            vertices: Points in head axes [..., 3].

        Returns:
            Pixels [..., 2], x right and y down, (0, 0) the picture's upper left corner; and depth towards the camera in
            units of the rig [...].
        """
        turned = (vertices - _PIVOT) @ self.rotation.T + _PIVOT
        grown = self.scale * self.camera_distance / (self.camera_distance - turned[..., 2])
        x = self.middle[0] + grown * turned[..., 0]
        y = self.middle[1] - grown * (turned[..., 1] - FRAME_MIDDLE)
        return np.stack([x, y], -1), turned[..., 2]


@dataclass(frozen=True)
class _LinearPoints:
    """Some points of the head as linear functions of the coefficients [identity modes and action units]."""

    mean: Array  # [points, 3]
    basis: Array  # [points, 3, coefficients]

    def at(self, coefficients: Array) -> Array:
        # The mean head is asked for often, while only the pose is searched.
        return self.mean + self.basis @ coefficients if coefficients.any() else self.mean

    def take(self, which: Array) -> _LinearPoints:
        return _LinearPoints(self.mean[which], self.basis[which])


@dataclass(frozen=True)
class _LandmarkModel:
    """What the landmarks depend on.

    Attributes:
        landmarks: The 68 landmarks before lids and lips are held apart.
        upper, lower: The borders' vertices that landmarks hang on, pair by pair [pairs].
        gap: How far the two of a pair stay apart [pairs].
        share: By how much a landmark follows the upper border of a pair, negative the lower one [68, pairs].
        parallels: Candidates for the jaw landmarks' places [17 * _PLACES], the last of each its own place.
    """

    landmarks: _LinearPoints
    upper: _LinearPoints
    lower: _LinearPoints
    gap: Array
    share: Array
    parallels: _LinearPoints


@cache
def _landmark_model() -> _LandmarkModel:
    mesh = head_mesh(1)
    grid = mesh.rows * mesh.columns
    mean = mesh.mean[:grid].astype(np.float64)
    fields = np.concatenate([mesh.identity[:, :grid], action_unit_basis(1)]).astype(np.float64)

    def points(index: Array, weight: Array) -> _LinearPoints:
        weight = weight.astype(np.float64)
        basis = np.einsum("cpvk,pv->pkc", fields[:, index], weight)
        return _LinearPoints((mean[index] * weight[..., None]).sum(1), np.ascontiguousarray(basis))

    index, weight = landmark_weights(1)
    upper, lower, gap, share = [], [], [], []
    for opening in openings(1):
        for column, kept in zip(opening.columns, opening.gap, strict=True):
            above, below = opening.upper_row * mesh.columns + column, opening.lower_row * mesh.columns + column
            follows = (weight * (index == above)).sum(1) - (weight * (index == below)).sum(1)
            if follows.any():
                upper.append(above)
                lower.append(below)
                gap.append(kept)
                share.append(follows)
    alone = np.ones((len(upper), 1))
    jaw_phi = (mesh.grid.phi[index[:JAW]] * weight[:JAW]).sum(1)
    jaw_y = (mesh.grid.y[index[:JAW]] * weight[:JAW]).sum(1)
    places = [
        place_on_grid(mesh, part * phi, y)
        for phi, y in zip(jaw_phi, jaw_y, strict=True)
        for part in np.linspace(0, 1, _PLACES)
    ]
    return _LandmarkModel(
        landmarks=points(index, weight),
        upper=points(np.array(upper)[:, None], alone),
        lower=points(np.array(lower)[:, None], alone),
        gap=np.array(gap),
        share=np.stack(share, 1).astype(np.float64),
        parallels=points(np.stack([at for at, _ in places]), np.stack([weights for _, weights in places])),
    )


def _rotation(yaw: float, pitch: float, roll: float) -> tuple[Array, Array]:
    """The rotation [3, 3] of `augment.rig.render.rotation` and its derivatives by the three angles [3, 3, 3]."""
    cy, sy, cp, sp, cr, sr = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch), np.cos(roll), np.sin(roll)
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_x = np.array([[1, 0, 0], [0, cp, sp], [0, -sp, cp]])
    about_z = np.array([[cr, sr, 0], [-sr, cr, 0], [0, 0, 1]])
    by_yaw = np.array([[-sy, 0, cy], [0, 0, 0], [-cy, 0, -sy]])
    by_pitch = np.array([[0, 0, 0], [0, -sp, cp], [0, -cp, -sp]])
    by_roll = np.array([[-sr, cr, 0], [-cr, -sr, 0], [0, 0, 0]])
    derivatives = [about_z @ about_x @ by_yaw, about_z @ by_pitch @ about_y, by_roll @ about_x @ about_y]
    return about_z @ about_x @ about_y, np.stack(derivatives)


class _Problem:
    """Residuals and their Jacobian for one face. Lengths in the picture are in pixels over `unit`.

    The variables are the pose (6), the identity's strengths and the action units'. A prior is a residual too.
    """

    def __init__(self, given: Array, settings: FitSettings, contour: Contour) -> None:
        self.model = _landmark_model()
        self.given = given
        self.settings = settings
        self.contour = contour
        self.coefficients = self.model.landmarks.basis.shape[2]
        self.modes = self.coefficients - len(SIDED_UNITS)
        self.noise = np.full(LANDMARKS, 1.0)
        self.noise[:JAW] = settings.jaw_noise
        self.precision = np.zeros(_POSE + self.coefficients)
        self.precision[1] = np.radians(settings.pitch_spread) ** -2
        self.precision[_POSE : _POSE + self.modes] = 1.0
        self.precision[_POSE + self.modes :] = settings.action_spread**-2
        self.low = np.full(_POSE + self.coefficients, -np.inf)
        self.high = np.full(_POSE + self.coefficients, np.inf)
        self.low[_POSE + self.modes :], self.high[_POSE + self.modes :] = 0.0, MOST_ACTION
        self.places = np.arange(JAW) * _PLACES + _PLACES - 1
        self.points = self.model.landmarks
        self.interocular = 1.0  # about what lies between the outer eye corners in the picture

    def choose_contour(self, variables: Array) -> bool:
        """Move the jaw's points to the silhouette of this head; False where none moved."""
        if self.contour == "points":
            return False
        places = self.model.parallels.at(variables[_POSE:]).reshape(JAW, _PLACES, 3)
        turn, _ = _rotation(variables[0], variables[1], 0.0)
        turned = (places - _PIVOT) @ turn.T + _PIVOT
        distance = self.settings.camera_distance
        across = turned[..., 0] / (distance - turned[..., 2])
        side = np.sign(np.arange(JAW) - CHIN)
        # The last of equal places: where nothing is farther out, a point stays at its own.
        outermost = _PLACES - 1 - np.argmax((side[:, None] * across)[:, ::-1], axis=1)
        outermost[CHIN] = _PLACES - 1
        chosen = np.arange(JAW) * _PLACES + outermost
        if np.array_equal(chosen, self.places):
            return False
        self.places = chosen
        landmarks, jaw = self.model.landmarks, self.model.parallels.take(chosen)
        self.points = _LinearPoints(
            np.concatenate([jaw.mean, landmarks.mean[JAW:]]), np.concatenate([jaw.basis, landmarks.basis[JAW:]])
        )
        return True

    def shape(self, coefficients: Array, *, derivatives: bool) -> tuple[Array, Array]:
        """Landmarks in head axes [68, 3] and, where asked for, their derivatives [68, 3, coefficients]."""
        model = self.model
        points, by = self.points.at(coefficients), self.points.basis
        upper, lower = model.upper.at(coefficients), model.lower.at(coefficients)
        short = model.gap - (upper[:, 1] - lower[:, 1])
        crossed = short > 0
        if crossed.any():
            share = 0.5 * model.share[:, crossed]
            points = points.copy()
            points[:, 1] += share @ short[crossed]
            points[:, 2] -= share @ (upper[crossed, 2] - lower[crossed, 2])
            if derivatives:
                by = by.copy()
                apart = model.upper.basis[crossed, 1:] - model.lower.basis[crossed, 1:]
                by[:, 1:] -= np.einsum("lp,pkc->lkc", share, apart)
        return points, by

    def project(self, variables: Array, *, columns: int = 0) -> tuple[Array, Array]:
        """Landmarks in the picture [68, 2] and their derivatives by the first `columns` variables [68, 2, columns]."""
        pose, coefficients = variables[:_POSE], variables[_POSE:]
        shape, by_coefficient = self.shape(coefficients, derivatives=columns > _POSE)
        turn, by_angle = _rotation(*pose[:3])
        from_pivot = shape - _PIVOT
        turned = from_pivot @ turn.T + _PIVOT
        distance = self.settings.camera_distance
        grown = np.exp(pose[3]) * distance / (distance - turned[:, 2])
        plane = np.stack([turned[:, 0], FRAME_MIDDLE - turned[:, 1]], 1)
        points = pose[4:6] + grown[:, None] * plane
        jacobian = np.zeros((LANDMARKS, 2, columns))
        if columns:
            moved = np.zeros((LANDMARKS, 3, columns))
            moved[:, :, :3] = np.einsum("akj,lj->lka", by_angle, from_pivot)
            if columns > _POSE:
                moved[:, :, _POSE:] = turn @ by_coefficient
            nearer = (grown / (distance - turned[:, 2]))[:, None, None] * moved[:, 2:]
            jacobian = nearer * plane[:, :, None]
            jacobian[:, 0] += grown[:, None] * moved[:, 0]
            jacobian[:, 1] -= grown[:, None] * moved[:, 1]
            jacobian[:, :, 3] = grown[:, None] * plane
            jacobian[:, 0, 4] = jacobian[:, 1, 5] = 1.0
        return points, jacobian

    def cost(self, variables: Array) -> float:
        """Half the sum of the squared residuals, in standard deviations."""
        points, _ = self.project(variables)
        off = (points - self.given) / self._spread()[:, None]
        return 0.5 * float((off**2).sum() + (self.precision * variables**2).sum())

    def minimise(self, variables: Array, steps: int, *, columns: int, exact: float = 1e-7) -> tuple[Array, float]:
        """Levenberg-Marquardt over the first `columns` variables; returns the variables and their cost."""
        self.choose_contour(variables)
        cost, damping = self.cost(variables), 1e-2
        weight = 1.0 / np.repeat(self._spread(), 2)
        for step_number in range(steps):
            points, jacobian = self.project(variables, columns=columns)
            rows = jacobian.reshape(-1, columns) * weight[:, None]
            residual = (points - self.given).reshape(-1) * weight
            gradient = rows.T @ residual + self.precision[:columns] * variables[:columns]
            normal = rows.T @ rows
            normal[np.diag_indices(columns)] += self.precision[:columns]
            at_low = (variables[:columns] <= self.low[:columns]) & (gradient > 0)
            at_high = (variables[:columns] >= self.high[:columns]) & (gradient < 0)
            free = np.flatnonzero(~(at_low | at_high))
            system, descent = normal[np.ix_(free, free)], gradient[free]
            better = False
            for _ in range(_TRIES):
                step = np.linalg.solve(system + np.diag(damping * np.diag(system)), descent)
                tried = variables.copy()
                tried[free] -= step
                np.clip(tried, self.low, self.high, out=tried)
                new_cost = self.cost(tried)
                if new_cost < cost:
                    better = True
                    break
                damping *= 6.0
            if not better:
                break
            gain = cost - new_cost
            variables, cost = tried, new_cost
            damping = max(damping / 6.0, _LEAST_DAMPING)
            # The silhouette may go to and fro between neighbouring places; in the end it stays.
            if step_number < _CONTOUR_STEPS and self.choose_contour(variables):
                cost = self.cost(variables)
            elif gain < exact * (1 + cost):
                break
        return variables, cost

    def _spread(self) -> Array:
        """Standard deviation of each landmark in the picture [68]."""
        return self.noise * (self.settings.landmark_noise * self.interocular)

    def eye_distance(self, variables: Array) -> float:
        """Between the outer eye corners of this head as seen from the front, at its scale."""
        frontal = variables.copy()
        frontal[:3] = 0.0
        corners = self.project(frontal)[0][list(OUTER_CORNERS)]
        return float(np.linalg.norm(corners[1] - corners[0]))

    def first_pose(self) -> Array:
        """The mean face in the pose that suits the landmarks within the jaw best.

        At each of several yaws, roll, scale and place follow in closed form; a few steps for the pose lead on. The jaw
        has no say, as its landmarks may be of either kind.
        """
        inner = slice(JAW, None)
        self.noise[:JAW] = np.inf
        given = self.given[inner, 0] - 1j * self.given[inner, 1]
        found = []
        for yaw in _FIRST_YAWS:
            variables = np.zeros(_POSE + self.coefficients)
            variables[0] = yaw
            drawn = self.project(variables)[0][inner]
            model = drawn[:, 0] - 1j * drawn[:, 1]
            centred = model - model.mean()
            similarity = np.vdot(centred, given - given.mean()) / np.vdot(centred, centred)
            # A turn counter-clockwise in the plane is a negative roll.
            variables[2], variables[3] = -np.angle(similarity), np.log(max(abs(similarity), 1e-9))
            variables[4:6] += self.given[inner].mean(0) - self.project(variables)[0][inner].mean(0)
            found.append(self.minimise(variables, _FIRST_STEPS, columns=_POSE))
        self.noise[:JAW] = self.settings.jaw_noise
        return min(found, key=lambda pair: pair[1])[0]


def fit_head(landmarks: Array, *, width: int, height: int, settings: FitSettings | None = None) -> HeadFit:
    """Fit pose, identity and expression of the embedded head to the landmarks of a picture. Deterministic.

    Args:
        landmarks: x and y in 0..1 of the picture, iBUG order; they may leave the picture [68, 2].
        width: Of the picture in pixels.
        height: Of the picture in pixels.
        settings: How to fit; the defaults where None.

    Returns:
        The head.

    Raises:
        InputError: The landmarks are not [68, 2], not finite, or (nearly) all in one place.
    """
    settings = settings or FitSettings()
    points = checked_landmarks(landmarks) * (width, height)
    centre = points.mean(0)
    unit = float(np.sqrt(((points - centre) ** 2).sum(1).mean()))
    given = (points - centre) / unit
    first = _Problem(given, settings, "points").first_pose()
    kinds: tuple[Contour, ...] = ("points", "silhouette")
    best: tuple[float, _Problem, Array] | None = None
    for kind in kinds if settings.contour == "either" else (settings.contour,):
        problem = _Problem(given, settings, kind)
        problem.interocular = problem.eye_distance(first)
        variables, cost = problem.minimise(first, settings.steps, columns=len(first))
        if best is None or cost < best[0]:
            best = (cost, problem, variables)
    assert best is not None
    _, problem, variables = best
    fitted = problem.project(variables)[0]
    error = float(np.sqrt(((fitted - given) ** 2).sum(1).mean())) / problem.eye_distance(variables)
    yaw, pitch, roll = (float((np.degrees(angle) + 180) % 360 - 180) for angle in variables[:3])
    x, y = variables[4:6] * unit + centre
    return HeadFit(
        yaw=yaw,
        pitch=pitch,
        roll=roll,
        scale=float(np.exp(variables[3])) * unit,
        middle=(float(x), float(y)),
        identity=variables[_POSE : _POSE + problem.modes],
        action_units=variables[_POSE + problem.modes :],
        points=((fitted * unit + centre) / (width, height)).astype(np.float32),
        error=error,
        contour=problem.contour,
        camera_distance=settings.camera_distance,
    )


def checked_landmarks(landmarks: Array) -> Array:
    """Landmarks as float64 [68, 2].

    Raises:
        InputError: They are not [68, 2], not finite, or (nearly) all in one place or on one line.
    """
    points = np.asarray(landmarks, np.float64)
    if points.shape != (LANDMARKS, 2):
        raise InputError(Problem("landmarks", f"have the form {list(points.shape)}, not [68, 2]"))
    if not np.isfinite(points).all():
        where = np.flatnonzero(~np.isfinite(points).all(1)).tolist()
        raise InputError(Problem("landmarks", f"{where} are not finite", "use none (null) for missing landmarks"))
    spread = np.linalg.svd(points - points.mean(0), compute_uv=False)
    if spread[1] < 1e-6 or spread[1] < 1e-3 * spread[0]:
        why = "lie all in one place or on one line, so they show no face"
        raise InputError(Problem("landmarks", why, "use none (null) for missing landmarks"))
    return points


__all__ = ["FitSettings", "HeadFit", "checked_landmarks", "fit_head"]
