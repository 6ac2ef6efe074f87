"""The head: one structured mesh whose rows run along the lids and the lips, and the linear modes of identity.

Coordinates are right-handed and in "units" of about 10.6 cm: x to the image's right, y up, z towards the camera.
Every point of the skin has a canonical address (phi, y): its azimuth around the head's axis (radians, 0 = straight
ahead) and its height on the mean face. Fields (identity modes, action units, texture) are functions of that address, so
they do not depend on how finely the mesh is cut.

The mesh is a grid. Rows follow the lid borders, both lip borders and the mouth line exactly; columns pass through the
corners of the eyes and of the mouth. So a label changes only along mesh edges, and a landmark on a border is a point of
that very edge.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

Array = np.ndarray

POLE = 1.04  # half-height of the skull
EYE_X, EYE_Y, EYE_HALF_WIDTH = 0.30, 0.05, 0.145
EYE_TILT = 0.012
UPPER_LID, LOWER_LID = 0.078, 0.046
MOUTH_Y, MOUTH_HALF_WIDTH = -0.56, 0.25

# What a triangle shows.
SKIN, LIPS, EYE, MOUTH, EAR, HAIR, NECK = range(7)

_HEIGHTS = np.linspace(-POLE, POLE, 833)


def _smooth_table(points: list[tuple[float, float]]) -> Array:
    """Control points (y, value), from the top down, to a table over `_HEIGHTS` without kinks."""
    heights, values = zip(*sorted(points), strict=True)
    padded = np.interp(np.linspace(-POLE - 0.3, POLE + 0.3, 1073), heights, values)
    kernel = np.exp(-0.5 * (np.arange(-120, 121) * (2 * POLE / 832) / 0.055) ** 2)
    return np.convolve(padded, kernel / kernel.sum(), mode="same")[120:-120]


_WIDTH = _smooth_table(
    [
        (1.04, 0.8),
        (0.9, 0.79),
        (0.75, 0.775),
        (0.55, 0.765),
        (0.3, 0.735),
        (0.0, 0.7),
        (-0.3, 0.66),
        (-0.5, 0.635),
        (-0.65, 0.6),
        (-0.8, 0.555),
        (-0.92, 0.52),
        (-1.04, 0.49),
    ]
)
_FRONT = _smooth_table(
    [
        (1.04, 0.87),
        (0.9, 0.88),
        (0.75, 0.89),
        (0.6, 0.904),
        (0.4, 0.924),
        (0.25, 0.93),
        (0.1, 0.9),
        (-0.1, 0.9),
        (-0.3, 0.86),
        (-0.5, 0.755),
        (-0.7, 0.585),
        (-0.85, 0.51),
        (-1.04, 0.46),
    ]
)
_BACK = _smooth_table([(1.04, 0.85), (0.3, 0.92), (0.0, 0.88), (-0.3, 0.75), (-0.5, 0.65), (-0.7, 0.45), (-1.04, 0.3)])
_CENTRE = _smooth_table(
    [(1.04, -0.1), (0.0, -0.1), (-0.3, -0.05), (-0.5, 0.07), (-0.7, 0.27), (-0.85, 0.42), (-1.04, 0.53)]
)


def sigmoid(value: Array) -> Array:
    """Logistic function, safe for large arguments."""
    return 1.0 / (1.0 + np.exp(-np.clip(value, -40, 40)))


def smoothstep(value: Array) -> Array:
    """0 below 0, 1 above 1, a cubic between."""
    clipped = np.clip(value, 0.0, 1.0)
    return clipped * clipped * (3.0 - 2.0 * clipped)


def half_width(y: Array | float) -> Array:
    """Half-width of the skull at height y, units."""
    closing = np.sqrt(np.clip(1 - (np.abs(y) / POLE) ** 2.6, 0, 1))
    return np.interp(y, _HEIGHTS, _WIDTH) * closing


def skull(phi: Array, y: Array) -> tuple[Array, Array]:
    """x and z of the featureless skull at azimuth phi (radians) and height y."""
    closing = np.sqrt(np.clip(1 - (np.abs(y) / POLE) ** 4, 0, 1))
    cosine = np.cos(phi)
    # A face is flatter in front than an ellipse: the power below 1 squares the section. The jaws are rounder.
    front = np.interp(y, _HEIGHTS, _FRONT) * np.abs(cosine) ** np.interp(y, [-0.55, -0.2], [1.0, 0.75])
    back = -np.interp(y, _HEIGHTS, _BACK) * np.abs(cosine)
    z = np.interp(y, _HEIGHTS, _CENTRE) + np.where(cosine >= 0, front, back) * closing
    return half_width(y) * np.sin(phi), z


_EYE_WIDTH = float(half_width(EYE_Y))
_MOUTH_WIDTH = float(half_width(MOUTH_Y))


def _frontal_sine(phi: Array) -> Array:
    """|sin phi| in front, 1 behind: the back of the head has neither eyes nor a mouth."""
    return np.sin(np.minimum(np.abs(phi), np.pi / 2))


def eye_curves(phi: Array) -> tuple[Array, Array, Array, Array]:
    """The eye's track at azimuth phi: position along the eye (-1 inner corner, 1 outer), middle height, lid heights.

    Returns:
        along, middle, upper, lower: `upper` and `lower` are distances from the middle, 0 at the corners and beyond.
    """
    along = (_EYE_WIDTH * _frontal_sine(phi) - EYE_X) / EYE_HALF_WIDTH
    arch = np.clip(1 - along**2, 0, None)
    upper = UPPER_LID * arch**0.72 * (1 - 0.12 * np.clip(along, -1, 1))
    lower = LOWER_LID * arch**0.8 * (1 + 0.12 * np.clip(along, -1, 1))
    return along, EYE_Y + EYE_TILT * np.clip(along, -1.6, 1.6), upper, lower


def lip_curves(phi: Array) -> tuple[Array, Array, Array]:
    """The mouth's track: position along it (0 middle, 1 corner), heights of the upper and of the lower vermilion."""
    along = _MOUTH_WIDTH * _frontal_sine(phi) / MOUTH_HALF_WIDTH
    arch = np.clip(1 - along**2, 0, None)
    bow = 1 + 0.16 * np.exp(-(((along - 0.27) / 0.17) ** 2)) - 0.16 * np.exp(-((along / 0.13) ** 2))
    return along, 0.068 * arch**0.68 * bow, 0.100 * arch**0.72


@dataclass(frozen=True)
class Address:
    """Points on the mean skin: canonical address and the weights which fields need. All arrays are [points]."""

    x: Array
    y: Array
    z: Array
    phi: Array
    below: Array  # 0 above the mouth's slit, 1 below it
    front: Array  # 1 on the face, 0 behind the ears

    @property
    def side(self) -> Array:
        """Sign of x."""
        return np.sign(self.x)

    @property
    def away(self) -> Array:
        """|x|."""
        return np.abs(self.x)

    def spot(self, x: float, y: float, width: float, height: float) -> Array:
        """Gaussian bump at (x, y) on the face."""
        return np.exp(-0.5 * ((self.x - x) / width) ** 2 - 0.5 * ((self.y - y) / height) ** 2) * self.front

    def pair(self, x: float, y: float, width: float, height: float) -> Array:
        """Gaussian bumps at (x, y) and (-x, y)."""
        return np.exp(-0.5 * ((self.away - x) / width) ** 2 - 0.5 * ((self.y - y) / height) ** 2) * self.front


def address(phi: Array, y: Array, below: Array | None = None) -> Address:
    """The address of points given by azimuth and height."""
    x, z = skull(phi, y)
    return Address(x, y, z, phi, np.zeros_like(y) if below is None else below, sigmoid((z - 0.05) / 0.06))


def field(at: Address, dx: Array | float = 0.0, dy: Array | float = 0.0, dz: Array | float = 0.0) -> Array:
    """Displacement field [points, 3] from its components."""
    return np.stack([np.broadcast_to(part, at.x.shape) for part in (dx, dy, dz)], axis=-1).astype(np.float64)


def _nose_ridge(at: Address) -> Array:
    """Height of the nose over the cheeks, 0 .. about 1."""
    profile = np.interp(
        at.y,
        [-0.43, -0.40, -0.375, -0.345, -0.31, -0.27, -0.2, -0.05, 0.06, 0.14, 0.24],
        [0.0, 0.05, 0.22, 0.62, 0.95, 1.0, 0.83, 0.50, 0.26, 0.15, 0.0],
    )
    width = np.interp(at.y, [-0.4, -0.28, -0.1, 0.1], [0.085, 0.082, 0.066, 0.06])
    return profile * np.exp(-0.5 * (at.x / width) ** 2) * at.front


def relief(at: Address) -> Array:
    """Depth of the mean face's features over the featureless skull [points]."""
    along, middle, upper, _ = eye_curves(at.phi)
    crease = np.exp(-0.5 * ((at.y - middle - upper - 0.045) / 0.014) ** 2) * (np.abs(along) < 1.1) * at.front
    return (
        0.245 * _nose_ridge(at)
        + 0.03 * at.spot(0, -0.285, 0.055, 0.045)
        + 0.085 * at.pair(0.112, -0.325, 0.038, 0.038)
        - 0.095 * at.pair(EYE_X - 0.02, 0.07, 0.14, 0.085)
        + 0.060 * at.pair(EYE_X, EYE_Y, 0.105, 0.065)
        + 0.040 * at.pair(0.26, 0.225, 0.17, 0.055)
        + 0.045 * at.pair(0.42, -0.16, 0.15, 0.13)
        - 0.020 * at.pair(0.40, -0.46, 0.12, 0.12)
        + 0.050 * at.spot(0, -0.52, 0.22, 0.09)
        + 0.040 * at.spot(0, -0.515, 0.16, 0.032)
        + 0.045 * at.spot(0, -0.62, 0.14, 0.036)
        - 0.035 * at.spot(0, -0.725, 0.15, 0.032)
        + 0.060 * at.spot(0, -0.87, 0.15, 0.085)
        - 0.012 * at.spot(0, -0.435, 0.025, 0.04)
        - 0.028 * at.spot(0, MOUTH_Y, 0.23, 0.014) * np.sqrt(np.clip(1 - (lip_curves(at.phi)[0] / 1.05) ** 2, 0, 1))
        - 0.012 * crease
    )


def identity_modes(at: Address) -> dict[str, Array]:
    """Linear modes of identity: name -> displacement [points, 3] for one standard deviation.

    Each mode moves a region that anthropometry measures; together they are linearly independent (tested).
    """
    middle = eye_curves(at.phi)[1]
    nose = _nose_ridge(at)
    lower = sigmoid((-0.3 - at.y) / 0.12)
    chin = sigmoid((-0.62 - at.y) / 0.1)
    x, y, side, away, front = at.x, at.y, at.side, at.away, at.front
    mouth_dy = y - MOUTH_Y
    region = np.exp(-0.5 * (x / 0.16) ** 2 - 0.5 * ((y + 0.25) / 0.2) ** 2) * front
    return {
        "head_width": field(at, dx=0.050 * x / 0.74),
        "head_height": field(at, dy=0.045 * y),
        "head_depth": field(at, dz=0.045 * at.z),
        "cranium_width": field(at, dx=0.050 * x / 0.74 * sigmoid((y - 0.3) / 0.12)),
        "jaw_width": field(at, dx=0.085 * x * lower),
        "jaw_square": field(at, dx=0.05 * side * np.exp(-0.5 * ((at.phi**2 - 1.0) / 0.7) ** 2 - 4 * (y + 0.72) ** 2)),
        "chin_length": field(at, dy=-0.050 * chin),
        "chin_forward": field(at, dz=0.055 * at.spot(0, -0.88, 0.15, 0.13)),
        "chin_point": field(at, dx=-0.12 * x * at.spot(0, -0.95, 0.3, 0.1), dy=-0.02 * at.spot(0, -0.98, 0.12, 0.1)),
        "cheekbones": field(
            at, dx=0.030 * side * at.pair(0.52, -0.12, 0.14, 0.13), dz=0.04 * at.pair(0.43, -0.12, 0.14, 0.12)
        ),
        "fat": field(at, dx=0.065 * side * np.exp(-6 * (y + 0.45) ** 2) * sigmoid((away - 0.3) / 0.06))
        + field(at, dz=0.05 * at.pair(0.38, -0.45, 0.17, 0.22)),
        "nose_length": field(at, dy=-0.042 * sigmoid((y + 0.46) / 0.03) * sigmoid((0.1 - y) / 0.08) * region),
        "nose_height": field(at, dz=0.055 * nose),
        "nose_tip": field(at, dy=0.022 * at.spot(0, -0.285, 0.07, 0.06), dz=0.03 * at.spot(0, -0.285, 0.06, 0.05)),
        "nose_width": field(
            at, dx=0.30 * x * at.pair(0.09, -0.32, 0.08, 0.06), dz=0.01 * at.pair(0.11, -0.32, 0.05, 0.05)
        ),
        "nose_bridge": field(at, dz=0.040 * np.exp(-0.5 * (x / 0.065) ** 2 - 0.5 * ((y + 0.02) / 0.12) ** 2) * front),
        "nose_hump": field(at, dz=0.025 * np.exp(-0.5 * (x / 0.06) ** 2 - 0.5 * ((y + 0.11) / 0.05) ** 2) * front),
        "eye_distance": field(at, dx=0.024 * side * at.pair(EYE_X, 0.08, 0.17, 0.17)),
        "eye_height": field(at, dy=0.024 * at.pair(EYE_X, 0.08, 0.25, 0.15)),
        "eye_width": field(at, dx=0.12 * (away - EYE_X) * side * at.pair(EYE_X, EYE_Y, 0.16, 0.09)),
        "eye_opening": field(at, dy=0.16 * (y - middle) * at.pair(EYE_X, EYE_Y, 0.17, 0.07)),
        "eye_slant": field(at, dy=0.09 * (away - EYE_X) * at.pair(EYE_X, EYE_Y, 0.17, 0.10)),
        "eye_depth": field(at, dz=-0.025 * at.pair(EYE_X, 0.07, 0.15, 0.09)),
        "brow_height": field(at, dy=0.022 * at.pair(0.3, 0.25, 0.26, 0.07)),
        "brow_ridge": field(at, dz=0.028 * at.pair(0.26, 0.235, 0.2, 0.055)),
        "brow_slant": field(at, dy=0.085 * (away - 0.3) * at.pair(0.3, 0.25, 0.26, 0.08)),
        "brow_arch": field(at, dy=0.018 * at.pair(0.34, 0.27, 0.08, 0.06)),
        "mouth_width": field(at, dx=0.095 * x * at.spot(0, MOUTH_Y, 0.27, 0.14)),
        "mouth_height": field(at, dy=0.024 * at.spot(0, MOUTH_Y, 0.3, 0.14)),
        "mouth_forward": field(at, dz=0.03 * at.spot(0, MOUTH_Y, 0.22, 0.13)),
        "upper_lip": field(at, dy=0.26 * mouth_dy * (1 - at.below) * (mouth_dy > 0) * at.spot(0, MOUTH_Y, 0.22, 0.075)),
        "lower_lip": field(at, dy=0.26 * mouth_dy * (mouth_dy < 0) * at.spot(0, MOUTH_Y, 0.2, 0.09)),
        "mouth_corners": field(at, dy=0.017 * at.pair(0.24, MOUTH_Y, 0.08, 0.06)),
        "forehead": field(at, dz=0.04 * sigmoid((y - 0.32) / 0.1) * sigmoid((0.8 - y) / 0.1) * front),
        "asymmetry": field(at, dx=0.014 * at.spot(0, -0.35, 0.2, 0.35), dy=0.010 * x * front),
    }


@dataclass(frozen=True)
class HeadMesh:
    """The mesh of one level of detail. Vertices: face grid, ears, hair shell, neck, in this order.

    Attributes:
        rows, columns: shape of the face grid (its vertices are row-major, from the crown down, left to right).
        mean: vertices of the mean face [V, 3], float32.
        coordinate: texture address (phi, y) of each vertex, and how far across an opening (eye, mouth) it lies
            (0 upper border, 1 lower border) [V, 3], float32.
        identity: identity modes [modes, V, 3], float32.
        triangles: [T, 3] int32; kind: what each triangle shows [T] uint8.
        row_of: names of the rows that carry borders -> row index.
        column_phi: azimuth of each column [columns].
        grid_y: canonical height of each grid vertex [rows, columns].
        ear_start, hair_start, neck_start: where the parts begin.
        hair_phi, hair_y: address of the hair vertices.
        hair_normal: outward direction of the hair vertices [H, 3].
    """

    rows: int
    columns: int
    mean: Array
    coordinate: Array
    identity: Array
    identity_names: tuple[str, ...]
    triangles: Array
    kind: Array
    row_of: dict[str, int]
    column_phi: Array
    grid_y: Array
    grid: Address
    ear_start: int
    hair_start: int
    neck_start: int
    hair_phi: Array
    hair_y: Array
    hair_normal: Array
    eye_columns: Array  # bool [columns]: strictly inside an eye
    mouth_columns: Array  # bool [columns]: strictly inside the mouth


def _columns(detail: int) -> Array:
    """Azimuths of the grid columns; the corners of eyes and mouth are among them."""
    inner = np.degrees(np.arcsin((EYE_X - EYE_HALF_WIDTH) / _EYE_WIDTH))
    outer = np.degrees(np.arcsin((EYE_X + EYE_HALF_WIDTH) / _EYE_WIDTH))
    corner = np.degrees(np.arcsin(MOUTH_HALF_WIDTH / _MOUTH_WIDTH))
    knots = [0.0, 4.4, 8.8, inner, 16.2, 20.0, (20.0 + corner) / 2, corner, (corner + outer) / 2, outer]
    knots = sorted([*knots, outer + 4.5, outer + 10, outer + 16, 63.0, 71.0, 80.0, 91.0, 106.0, 126.0, 152.0])
    half = np.interp(np.arange((len(knots) - 1) * detail + 1) / detail, np.arange(len(knots)), knots)
    return np.radians(np.concatenate([-half[:0:-1], half]))


def _row_curves(phi: Array) -> list[tuple[str, Array]]:
    """Rows from the crown down: (name or '', height over the columns)."""
    along, middle, upper, lower = eye_curves(phi)
    fan = 0.026 * smoothstep((np.abs(along) - 1) / 0.7)
    top, bottom = middle + upper + fan, middle - lower - fan
    lip_along, vermilion_up, vermilion_down = lip_curves(phi)
    spread = 0.05 * smoothstep((lip_along - 1) / 0.8)
    flat = np.ones_like(phi)
    rows: list[tuple[str, Array]] = [
        ("", flat * y) for y in (1.036, 1.0, 0.93, 0.84, 0.74, 0.64, 0.55, 0.47, 0.40, 0.345, 0.30, 0.265, 0.23)
    ]
    rows += [("", top + 0.6 * (0.20 - top)), ("", top + 0.32 * (0.20 - top)), ("", top + 0.13 * (0.20 - top))]
    rows += [("upper_lid", top), ("", 0.75 * top + 0.25 * bottom), ("", 0.5 * (top + bottom))]
    rows += [("", 0.25 * top + 0.75 * bottom), ("lower_lid", bottom)]
    rows += [("", bottom - 0.16 * (bottom + 0.10)), ("", bottom - 0.5 * (bottom + 0.10))]
    rows += [("", flat * y) for y in (-0.10, -0.16, -0.21, -0.255, -0.29, -0.32, -0.345, -0.37, -0.395, -0.43)]
    outer_up = MOUTH_Y + vermilion_up + 0.75 * spread
    outer_down = MOUTH_Y - vermilion_down - spread
    inner_up, inner_down = MOUTH_Y + 0.25 * spread, MOUTH_Y - 0.25 * spread
    rows += [("", 0.5 * (outer_up - 0.43)), ("outer_upper", outer_up), ("", 0.55 * outer_up + 0.45 * inner_up)]
    rows += [("inner_upper", inner_up)]
    rows += [("", inner_up * (1 - t) + inner_down * t) for t in (0.25, 0.5, 0.75)]
    rows += [("inner_lower", inner_down), ("", 0.5 * (inner_down + outer_down)), ("outer_lower", outer_down)]
    rows += [("", 0.5 * (outer_down - 0.73))]
    rows += [("", flat * y) for y in (-0.73, -0.78, -0.84, -0.90, -0.955, -1.0, -1.025, -1.039)]
    return rows


def _grid_triangles(rows: int, columns: int, start: int) -> tuple[Array, Array, Array]:
    """Two triangles a cell, counter-clockwise seen from outside; also the cell's row and column of each triangle."""
    cells = np.meshgrid(np.arange(rows - 1), np.arange(columns - 1), indexing="ij")
    r, c = cells[0].ravel(), cells[1].ravel()
    a, b = start + r * columns + c, start + r * columns + c + 1
    d, e = a + columns, b + columns
    # The diagonal is mirrored on the two halves, so that a symmetric head has a symmetric mesh.
    left = c < (columns - 1) // 2
    first = np.where(left[:, None], np.stack([a, d, b], 1), np.stack([a, e, b], 1))
    second = np.where(left[:, None], np.stack([b, d, e], 1), np.stack([a, d, e], 1))
    triangles = np.stack([first, second], 1).reshape(-1, 3)
    return triangles.astype(np.int32), np.repeat(r, 2), np.repeat(c, 2)


def _ear(side: int, detail: int) -> tuple[Array, Array, Array, tuple[int, int]]:
    """One ear as a shallow bowl: vertices [n, 3], address (angle, radius) [n, 2], anchor address, grid shape."""
    radii = np.array([0.0, 0.3, 0.5, 0.68, 0.8, 0.9, 1.0])
    angles = np.linspace(-np.pi, np.pi, 12 * detail + 1)
    radius, angle = np.meshgrid(radii, angles, indexing="ij")
    # Wider above than at the lobe.
    wide = 0.105 * (1 + 0.22 * np.sin(angle))
    back, up = np.cos(angle) * radius * wide, np.sin(angle) * radius * 0.185
    bowl = np.interp(radius, [0, 0.5, 0.7, 0.9, 1.0], [-0.03, -0.02, 0.012, 0.028, 0.0])
    x0, z0 = skull(np.array(1.62), np.array(-0.03))
    points = np.stack(
        [
            side * (float(x0) - 0.015 + 0.50 * (back + 0.09) + 0.85 * bowl),
            -0.03 + up - 0.10 * back,
            float(z0) - 0.84 * (back + 0.09) + 0.5 * bowl - 0.12 * up,
        ],
        -1,
    ).reshape(-1, 3)
    return points, np.stack([angle, radius], -1).reshape(-1, 2), np.array([side * 1.62, -0.03]), radius.shape


def _neck(detail: int) -> tuple[Array, Array, tuple[int, int]]:
    """Neck and shoulders as a lathe: vertices [n, 3], address (phi, y) [n, 2], grid shape."""
    profile = np.array(
        [
            (-0.35, 0.37, 0.36, -0.14),
            (-0.75, 0.40, 0.37, -0.12),
            (-1.0, 0.41, 0.37, -0.13),
            (-1.12, 0.46, 0.38, -0.15),
            (-1.2, 0.60, 0.40, -0.17),
            (-1.28, 0.85, 0.43, -0.18),
            (-1.4, 1.1, 0.47, -0.19),
            (-1.6, 1.25, 0.5, -0.2),
            (-2.1, 1.35, 0.5, -0.2),
        ]
    )
    index = np.arange((len(profile) - 1) * detail + 1) / detail
    profile = np.stack([np.interp(index, np.arange(len(profile)), profile[:, i]) for i in range(4)], 1)
    phi = np.radians(np.linspace(-125, 125, 20 * detail + 1))
    y, p = np.meshgrid(profile[:, 0], phi, indexing="ij")
    rx, rz, zc = (np.broadcast_to(profile[:, i : i + 1], y.shape) for i in (1, 2, 3))
    points = np.stack([rx * np.sin(p), y, rz * np.cos(p) + zc], -1).reshape(-1, 3)
    return points, np.stack([p, y], -1).reshape(-1, 2), y.shape


@cache
def head_mesh(detail: int) -> HeadMesh:
    """Build the mesh; detail 1 suits images up to 96 px, 2 larger ones."""
    phi = _columns(detail)
    curves = _row_curves(phi)
    knots = np.stack([y for _, y in curves])
    names = [curves[0][0]]
    heights = [knots[0]]
    for index in range(1, len(curves)):
        for step in range(1, detail + 1):
            names.append(curves[index][0] if step == detail else "")
            heights.append(knots[index - 1] + (knots[index] - knots[index - 1]) * step / detail)
    grid_y = np.stack(heights)
    rows, columns = grid_y.shape
    row_of = {name: index for index, name in enumerate(names) if name}
    row_index = np.arange(rows)
    below_row = np.clip((row_index - row_of["inner_upper"]) / (row_of["inner_lower"] - row_of["inner_upper"]), 0.0, 1.0)
    grid_phi = np.broadcast_to(phi, grid_y.shape)
    at = address(grid_phi.ravel().copy(), grid_y.ravel(), np.repeat(below_row, columns))
    face = np.stack([at.x, at.y, at.z + relief(at)], -1)
    modes = identity_modes(at)
    identity = [np.stack(list(modes.values()))]

    eye_along = eye_curves(phi)[0]
    lip_along = lip_curves(phi)[0]
    eye_columns, mouth_columns = np.abs(eye_along) < 1 - 1e-9, lip_along < 1 - 1e-9
    middle = 0.5 * (phi[1:] + phi[:-1])
    cell_eye, cell_mouth = np.abs(eye_curves(middle)[0]) < 1, lip_curves(middle)[0] < 1
    triangles, r, c = _grid_triangles(rows, columns, 0)
    kind = np.full(len(triangles), SKIN, np.uint8)
    kind[(r >= row_of["upper_lid"]) & (r < row_of["lower_lid"]) & cell_eye[c]] = EYE
    kind[(r >= row_of["outer_upper"]) & (r < row_of["outer_lower"]) & cell_mouth[c]] = LIPS
    kind[(r >= row_of["inner_upper"]) & (r < row_of["inner_lower"]) & cell_mouth[c]] = MOUTH
    vertices, coordinates = [face], [np.stack([at.phi, at.y], -1)]
    all_triangles, kinds = [triangles], [kind]

    ear_start = len(face)
    start = ear_start
    for side in (-1, 1):
        points, coordinate, anchor, shape = _ear(side, detail)
        ear_triangles = _grid_triangles(*shape, start)[0]
        vertices.append(points)
        coordinates.append(coordinate)
        all_triangles.append(ear_triangles)
        kinds.append(np.full(len(ear_triangles), EAR, np.uint8))
        # An ear moves as a whole with its root on the head, plus the head's own scaling.
        root = address(np.full(len(points), anchor[0]), np.full(len(points), anchor[1]))
        moved = np.stack(list(identity_modes(root).values()))
        moved[list(modes).index("head_width")] = 0
        moved[list(modes).index("head_width"), :, 0] = 0.05 * root.x / 0.74
        identity.append(moved)
        start += len(points)

    hair_start = start
    hair_rows = np.array([1.0395, 1.03, 1.0, 0.94, 0.85, 0.74, 0.62, 0.5, 0.36, 0.22, 0.08, -0.06, -0.2, -0.36, -0.52])
    hair_rows = np.concatenate([hair_rows, [-0.7, -0.9, -1.1, -1.3, -1.5]])
    steps = np.arange((len(hair_rows) - 1) * detail + 1) / detail
    hair_rows = np.interp(steps, np.arange(len(hair_rows)), hair_rows)
    hair_columns = np.linspace(-np.pi, np.pi, 36 * detail + 1)
    hair_y, hair_phi = (part.ravel() for part in np.meshgrid(hair_rows, hair_columns, indexing="ij"))
    # Below the widest part of the head hair falls straight down.
    scalp = address(hair_phi, np.maximum(hair_y, -0.02))
    normal = np.stack([scalp.x / 0.73**2, np.clip(scalp.y, 0, None) / POLE**2, (scalp.z + 0.1) / 0.9**2], -1)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    hair = np.stack([scalp.x, hair_y, scalp.z + relief(scalp) * (scalp.y > 0.3)], -1)
    hair_triangles = _grid_triangles(len(hair_rows), len(hair_columns), start)[0]
    vertices.append(hair)
    coordinates.append(np.stack([hair_phi, hair_y], -1))
    all_triangles.append(hair_triangles)
    kinds.append(np.full(len(hair_triangles), HAIR, np.uint8))
    identity.append(np.stack(list(identity_modes(scalp).values())))

    neck_start = start + len(hair)
    neck, neck_coordinate, neck_shape = _neck(detail)
    neck_triangles = _grid_triangles(*neck_shape, neck_start)[0]
    vertices.append(neck)
    coordinates.append(neck_coordinate)
    all_triangles.append(neck_triangles)
    kinds.append(np.full(len(neck_triangles), NECK, np.uint8))
    identity.append(np.zeros((len(modes), len(neck), 3)))

    across = np.zeros(neck_start + len(neck))
    for upper, lower in (("upper_lid", "lower_lid"), ("inner_upper", "inner_lower")):
        share = np.clip((row_index - row_of[upper]) / (row_of[lower] - row_of[upper]), 0, 1)
        span = slice(row_of[upper] * columns, (row_of[lower] + 1) * columns)
        across[span] = np.repeat(share, columns)[span]

    return HeadMesh(
        rows=rows,
        columns=columns,
        mean=np.concatenate(vertices).astype(np.float32),
        coordinate=np.column_stack([np.concatenate(coordinates), across]).astype(np.float32),
        identity=np.ascontiguousarray(np.concatenate(identity, axis=1), np.float32),
        identity_names=tuple(modes),
        triangles=np.concatenate(all_triangles),
        kind=np.concatenate(kinds),
        row_of=row_of,
        column_phi=phi,
        grid_y=grid_y,
        grid=at,
        ear_start=ear_start,
        hair_start=hair_start,
        neck_start=neck_start,
        hair_phi=hair_phi,
        hair_y=hair_y,
        hair_normal=normal,
        eye_columns=eye_columns,
        mouth_columns=mouth_columns,
    )
