"""The simulated frontal face of a photograph: a 3-D head fitted to its landmarks, turned to the front.

What LSSL's pose normalization and SimGAN take as their simulated image, made for photographs: the embedded head is
fitted to 68 landmarks (`augment.rig.fitting`) and drawn from the front in the frame of the rig's own simulated faces,
with the photograph's colours. Every sample of the output finds its point of the head, and the point its place in the
photograph. What the photograph does not show (turned away, hidden by the nose, outside the picture) is taken from the
face's other half, its light brought near to this one's (Zhu et al. 2015, "High-Fidelity Pose and Expression
Normalization for Face Recognition in the Wild", do so by Poisson editing); what neither half shows gets the mean colour
of the skin that is seen.

The head is drawn without hair, ears and neck, on black.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from scipy.ndimage import distance_transform_edt, gaussian_filter, uniform_filter

from augment.core.errors import InputError, Problem
from augment.rig import rasterizer
from augment.rig.action_units import SIDED_UNITS, action_unit_basis
from augment.rig.fitting import FitSettings, HeadFit, fit_head
from augment.rig.geometry import EAR, EYE, MOUTH, SKIN, Array, head_mesh, smoothstep
from augment.rig.landmarks import landmark_weights
from augment.rig.openings import hold_openings_apart
from augment.rig.render import COARSE_UP_TO, face_framing

_SMALLEST, _LARGEST = 8, 1024
_JAW_UNIT = SIDED_UNITS.index(("26", 0))
_EYE_NORMAL = np.array([0.42, 0.0, 0.91])  # of the eye at positive x
# The upper border of the drawn face, about the hairline of short hair: azimuth in degrees and canonical height.
_BORDER_PHI = np.radians([0, 30, 42, 52, 60, 66, 72, 90])
_BORDER_HEIGHT = np.array([0.62, 0.62, 0.56, 0.45, 0.32, 0.24, 0.18, 0.16])
_SEEN_DEPTH = 0.03  # a point hides behind what is nearer by more than this, units of the rig (as the rig's landmarks)
_VIEW = 192  # samples per side of the depth buffer that tells what hides what in the photograph
_MOST_SAMPLES = 8  # a side of a pixel, where the photograph is much finer than the output
# Cosines of the angle between the skin and the line of sight.
_GRAZING = 0.25  # a surface seen so flat is taken from the other half, where that is seen better
_TRUSTED = 0.5  # and one seen so well is taken from the photograph whatever the other half shows
_HIDDEN = 0.03  # a surface seen so flat shows nothing
_OUTLINE, _BY_OUTLINE = 0.05, 0.3  # nearer to the head's outline than this share of it, trust falls to so much
_INSET = 0.015  # colours are taken at least so much of the head, and a pixel, within its outline
_NOTHING = -1e8  # no surface in a depth buffer
_LIGHT_SPREAD = 0.1  # over so much of the picture the two halves' difference in light is evened


@dataclass(frozen=True)
class SimulatedFace:
    """A frontal face with a photograph's colours, and how well the head fits.

    Attributes:
        image: uint8 [size, size] or [size, size, 3], channels as the photograph; black around the face.
        error: Root mean square distance of the fitted landmarks to the given ones, in distances between the outer eye
            corners of the fitted face seen from the front.
        yaw, pitch, roll: The photograph's pose in degrees, as fitted; yaw positive = turned to the picture's right.
        identity: Strengths of the rig's identity modes, standard deviations [35], float32.
        action_units: Strengths of its sided action units (`augment.rig.action_units.SIDED_UNITS`) [30], float32.
        landmarks: The frontal face's own landmarks, x and y in 0..1 of `image` [68, 2], float32.
        seen: Share of the frontal face's skin that the photograph shows, 0..1.
        fit: The whole fit.
    """

    image: Array
    error: float
    yaw: float
    pitch: float
    roll: float
    identity: Array
    action_units: Array
    landmarks: Array
    seen: float
    fit: HeadFit


def simulate_frontal(
    image: Array, landmarks: Array, *, size: int, settings: FitSettings | None = None
) -> SimulatedFace:
    """Fits the head to a photograph's landmarks and draws it from the front. Deterministic.

    Args:
        image: The photograph, uint8 [H, W] or [H, W, 3].
        landmarks: x and y in 0..1 of the photograph, iBUG order [68, 2].
        size: Side of the output in pixels, 8..1024.
        settings: How to fit.

    Returns:
        The face. Where the landmarks lie so far off that the photograph shows nothing of it, it is black.

    Raises:
        InputError: The image or the landmarks have another form, or the landmarks show no face.
    """
    problems = []
    if image.dtype != np.uint8 or image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] != 3):
        why = f"is {image.dtype} {list(image.shape)}, not uint8 [height, width] or [height, width, 3]"
        problems.append(Problem("image", why))
    elif not image.size:
        problems.append(Problem("image", "has no pixels"))
    if not _SMALLEST <= size <= _LARGEST:
        problems.append(Problem("size", f"{size} is outside {_SMALLEST}..{_LARGEST}"))
    if problems:
        raise InputError(problems)
    height, width = image.shape[:2]
    fit = fit_head(landmarks, width=width, height=height, settings=settings)
    picture, points, seen = draw_frontal(image, fit, size=size)
    return SimulatedFace(
        image=picture,
        error=fit.error,
        yaw=fit.yaw,
        pitch=fit.pitch,
        roll=fit.roll,
        identity=fit.identity.astype(np.float32),
        action_units=fit.action_units.astype(np.float32),
        landmarks=points,
        seen=seen,
        fit=fit,
    )


@dataclass(frozen=True)
class _Surface:
    """The face of the mesh, without ears, hair and neck.

    Attributes:
        triangles, kind: Vertex indices [T, 3], and what each triangle shows [T].
        coordinate: Addresses of the mesh's vertices [V, 3].
        mirror: The grid vertex on the other half, of each grid vertex [G].
        mean, identity: The mean face's grid vertices [G, 3] and their identity modes [modes, G, 3].
    """

    triangles: Array
    kind: Array
    coordinate: Array
    mirror: Array
    mean: Array
    identity: Array


@cache
def _surface(detail: int) -> _Surface:
    mesh = head_mesh(detail)
    keep = mesh.kind < EAR
    grid = np.arange(mesh.rows * mesh.columns, dtype=np.int32).reshape(mesh.rows, mesh.columns)
    return _Surface(
        np.ascontiguousarray(mesh.triangles[keep]),
        np.ascontiguousarray(mesh.kind[keep]),
        mesh.coordinate,
        grid[:, ::-1].ravel(),
        np.ascontiguousarray(mesh.mean[: grid.size]),
        np.ascontiguousarray(mesh.identity[:, : grid.size]),
    )


def _fitted_vertices(fit: HeadFit, detail: int) -> tuple[Array, Array]:
    """Grid vertices of the fitted head [G, 3] float32 with its expression, and the neutral ones."""
    surface = _surface(detail)
    neutral, local = np.empty_like(surface.mean), np.empty_like(surface.mean)
    rasterizer.morph(surface.mean, surface.identity, fit.identity.astype(np.float32), neutral)
    rasterizer.morph(neutral, action_unit_basis(detail), fit.action_units.astype(np.float32), local)
    hold_openings_apart(local, detail)
    return local, neutral


def frontal_framing(neutral: Array, jaw: float, detail: int) -> Array:
    """Scale, shift right and shift down (shares of the picture) of the rig's simulated face of this person.

    Args:
        neutral: The person's grid vertices without expression [G, 3].
        jaw: Strength of the dropped jaw (AU26).
        detail: Of the mesh.
    """
    index, weight = landmark_weights(detail)
    heights = (neutral[index, 1] * weight).sum(1)
    scale, down = face_framing(float(heights[[19, 24]].mean()), float(heights[8]))
    return np.array([scale, 0.0, down - 0.035 * jaw])


@dataclass(frozen=True)
class _Samples:
    """What the output's samples show of the face, n of them.

    Attributes:
        rows, columns: Where they lie among the output's samples [n].
        corners, weights: Their triangles' vertices and barycentric weights [n, 3].
        kind: What they show [n].
    """

    rows: Array
    columns: Array
    corners: Array
    weights: Array
    kind: Array

    def of(self, values: Array) -> Array:
        """Interpolate what vertices have [V, k] -> [n, k]."""
        return np.einsum("nvk,nv->nk", values[self.corners], self.weights)

    def plane(self, values: Array, side: int) -> Array:
        """Values of the samples [n, k] as a plane [side, side, k], 0 elsewhere."""
        plane = np.zeros((side, side, values.shape[1]))
        plane[self.rows, self.columns] = values
        return plane


def draw_frontal(image: Array, fit: HeadFit, *, size: int) -> tuple[Array, Array, float]:
    """Draw a fitted head from the front with the photograph's colours.

    Args:
        image: The photograph, uint8 [H, W] or [H, W, 3].
        fit: The head fitted to it.
        size: Side of the output in pixels.

    Returns:
        The face, uint8 [size, size] or [size, size, 3]; its landmarks in 0..1 [68, 2], float32; the share of its skin
        that the photograph shows.
    """
    detail = 1 if size <= COARSE_UP_TO else 2
    surface = _surface(detail)
    local, neutral = _fitted_vertices(fit, detail)
    framing = frontal_framing(neutral, float(fit.action_units[_JAW_UNIT]), detail)
    finer = fit.scale * rasterizer.FRAME_HEIGHT / (size * framing[0])
    count = int(np.clip(np.ceil(finer), 2, _MOST_SAMPLES))
    side = size * count
    camera, screen = np.zeros_like(local), np.zeros_like(local)
    straight = np.eye(3)
    rasterizer.project(local, len(local), straight, straight, framing, side, camera, screen)
    samples = _frontal_samples(screen, surface, side)

    normals = np.zeros_like(local)
    rasterizer.vertex_normals(local, surface.triangles, surface.kind, normals)
    view = _photograph_view(local, surface, fit)
    own_colour, own = _look_up(image, fit, samples, local, normals, view)
    mirrored = replace(samples, corners=surface.mirror[samples.corners])
    other_colour, other = _look_up(image, fit, mirrored, local, normals, view)
    skin = samples.kind == SKIN
    seen = float((own[skin] > _HIDDEN).mean()) if skin.any() else 0.0

    own, other = _soften(own, samples, count, side), _soften(other, samples, count, side)
    both = np.minimum(own, other)[:, None]
    difference = samples.plane(np.concatenate([both * (own_colour - other_colour), both], 1), side)
    reach = _LIGHT_SPREAD * side
    spread = gaussian_filter(difference, (reach, reach, 0), mode="constant", truncate=3)[samples.rows, samples.columns]
    other_colour = other_colour + spread[:, :-1] / (spread[:, -1:] + 1e-4)
    # The photograph's own side wins where it is seen well, or not worse than the other side.
    from_own = np.maximum(smoothstep((own - _GRAZING) / (_TRUSTED - _GRAZING)), smoothstep((own - other) / 0.1 + 1.0))
    colour = other_colour + from_own[:, None] * (own_colour - other_colour)
    trust = np.where(skin, own, 0.0)
    mean_skin = (trust[:, None] * own_colour).sum(0) / max(float(trust.sum()), 1e-9)
    colour = mean_skin + smoothstep(np.maximum(own, other) / _HIDDEN)[:, None] * (colour - mean_skin)

    pixels = samples.plane(colour, side).reshape(size, count, size, count, -1).mean(axis=(1, 3))
    drawn = np.clip(np.rint(pixels), 0, 255).astype(np.uint8)
    index, weight = landmark_weights(detail)
    points = (screen[index, :2] * weight[..., None]).sum(1) / side
    return (drawn[:, :, 0] if image.ndim == 2 else drawn), points.astype(np.float32), seen


def _frontal_samples(screen: Array, surface: _Surface, side: int) -> _Samples:
    _, shown, weights = _rasterize(screen, surface, side)
    rows, columns = np.nonzero(shown >= 0)
    triangle, later = shown[rows, columns], weights[rows, columns]
    weight = np.column_stack([1 - later.sum(1), later])
    samples = _Samples(rows, columns, surface.triangles[triangle], weight, surface.kind[triangle])
    address = samples.of(surface.coordinate)
    kept = address[:, 1] < np.interp(np.abs(address[:, 0]), _BORDER_PHI, _BORDER_HEIGHT)
    return _Samples(rows[kept], columns[kept], samples.corners[kept], weight[kept], samples.kind[kept])


def _rasterize(screen: Array, surface: _Surface, side: int) -> tuple[Array, Array, Array]:
    """Depth, triangle and barycentric weights of each sample; see `rasterizer.rasterize`."""
    depth = np.zeros((side, side), np.float32)
    shown = np.zeros((side, side), np.int32)
    weights = np.zeros((side, side, 2), np.float32)
    no_hair = np.zeros(2, np.float32)
    rasterizer.rasterize(
        screen, surface.triangles, surface.kind, surface.coordinate, no_hair, False, depth, shown, weights
    )
    return depth, shown, weights


@dataclass(frozen=True)
class _View:
    """The fitted head as the photograph sees it, in a square of _VIEW samples per side.

    Attributes:
        nearest: Depth of the nearest surface.
        within: Distance to the nearest sample beside the head's outline, in samples.
        beside: Row and column of that sample [2, _VIEW, _VIEW].
        corner: Where the square's upper left corner lies in the photograph, pixels.
        samples_a_pixel: How fine it is.
    """

    nearest: Array
    within: Array
    beside: Array
    corner: Array
    samples_a_pixel: float

    def hides(self, pixels: Array, depth: Array) -> Array:
        """Whether something is nearer than points at these pixels [n, 2] and depths [n]: bool [n].

        A point counts as seen where any of the four samples around it is not nearer, so that a slope does not hide
        itself.
        """
        column, row = self._around(pixels)
        around = [self.nearest[row + down, column + right] for down in (0, 1) for right in (0, 1)]
        return np.min(around, axis=0) > depth + _SEEN_DEPTH

    def trusted(self, pixels: Array) -> Array:
        """How surely these pixels [n, 2] show the face [n]: 1 well within its outline, less beside it."""
        column, row = self._around(pixels)
        return _BY_OUTLINE + (1 - _BY_OUTLINE) * smoothstep(self.within[row, column] / (_OUTLINE * _VIEW))

    def inwards(self, pixels: Array) -> Array:
        """These pixels [n, 2], those by the outline moved off it: the fit misses by a little, and a wall is no skin."""
        column, row = self._around(pixels)
        away = np.stack([column - self.beside[1, row, column], row - self.beside[0, row, column]], 1).astype(np.float64)
        distance = np.maximum(self.within[row, column], 1e-9)
        kept = max(_INSET * _VIEW, self.samples_a_pixel)
        short = np.clip(kept - distance, 0.0, None) * (self.within[row, column] > 0)
        return pixels + away * (short / distance / self.samples_a_pixel)[:, None]

    def _around(self, pixels: Array) -> tuple[Array, Array]:
        place = np.floor((pixels - self.corner) * self.samples_a_pixel - 0.5).astype(int)
        return np.clip(place[:, 0], 0, _VIEW - 2), np.clip(place[:, 1], 0, _VIEW - 2)


def _photograph_view(local: Array, surface: _Surface, fit: HeadFit) -> _View:
    pixels, depth = fit.project(local.astype(np.float64))
    corner = pixels.min(0) - 1.0
    samples = _VIEW / float((pixels.max(0) + 1.0 - corner).max())
    screen = np.column_stack([(pixels - corner) * samples, depth]).astype(np.float32)
    nearest, _, _ = _rasterize(screen, surface, _VIEW)
    within, beside = distance_transform_edt(nearest > _NOTHING, return_indices=True)
    return _View(nearest, within, beside, corner, samples)


def _look_up(
    image: Array, fit: HeadFit, samples: _Samples, local: Array, normals: Array, view: _View
) -> tuple[Array, Array]:
    """Colours of points of the head in the photograph [n, channels], and how squarely they are seen [n].

    The latter is the cosine between the surface and the line of sight, 0 for what faces away, is hidden or lies outside
    the picture.
    """
    points = samples.of(local).astype(np.float64)
    normal = samples.of(normals).astype(np.float64)
    # An eye is seen as the skull beneath is, so that it comes from one half as a whole; the mouth faces forward.
    normal[samples.kind == EYE] = _EYE_NORMAL
    normal[samples.kind == EYE, 0] *= np.sign(points[samples.kind == EYE, 0])
    normal[samples.kind == MOUTH] = (0.0, 0.0, 1.0)
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9)
    pixels, near = fit.project(points)
    # The camera in head axes: the line of sight runs to it.
    pivot = np.array([0.0, rasterizer.PIVOT_Y, rasterizer.PIVOT_Z])
    camera = (np.array([0.0, 0.0, fit.camera_distance]) - pivot) @ fit.rotation + pivot
    sight = camera - points
    cosine = (normal * sight).sum(1) / np.linalg.norm(sight, axis=1)
    height, width = image.shape[:2]
    inside = ((pixels >= 0) & (pixels <= (width, height))).all(1)
    facing = np.where(inside & ~view.hides(pixels, near), np.maximum(cosine, 0.0), 0.0)
    return _bilinear(image, view.inwards(pixels)), facing * view.trusted(pixels)


def _bilinear(image: Array, pixels: Array) -> Array:
    """The picture's colours at places in pixels [n, 2], (0, 0) its upper left corner: float64 [n, channels]."""
    height, width = image.shape[:2]
    x = np.clip(pixels[:, 0] - 0.5, 0, width - 1)
    y = np.clip(pixels[:, 1] - 0.5, 0, height - 1)
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    right, bottom = np.minimum(left + 1, width - 1), np.minimum(top + 1, height - 1)
    dx, dy = (x - left)[:, None], (y - top)[:, None]
    plane = image.reshape(height, width, -1).astype(np.float64)
    upper = plane[top, left] * (1 - dx) + plane[top, right] * dx
    lower = plane[bottom, left] * (1 - dx) + plane[bottom, right] * dx
    return upper * (1 - dy) + lower * dy


def _soften(facing: Array, samples: _Samples, count: int, side: int) -> Array:
    """Lower `facing` towards the borders of what is not seen, over about two pixels; the face's own outline stays."""
    planes = samples.plane(np.column_stack([facing > 0, np.ones(len(facing))]), side)
    near = uniform_filter(planes, (4 * count + 1, 4 * count + 1, 1), mode="constant")[samples.rows, samples.columns]
    return facing * smoothstep(2.0 * near[:, 0] / np.maximum(near[:, 1], 1e-9) - 1.0)


__all__ = ["FitSettings", "SimulatedFace", "draw_frontal", "frontal_framing", "simulate_frontal"]
