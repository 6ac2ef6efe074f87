"""What a person looks like: shape coefficients, skin, brows, beard, eyes, hair; and the skin's texture maps.

Texture is addressed by (phi, y), see geometry. Colours are drawn as sRGB 0..1 and kept as linear light.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from numba import njit

from augment.rig.action_units import SIDED_UNITS, Style, draw_style
from augment.rig.geometry import (
    MOUTH_Y,
    Array,
    address,
    eye_curves,
    head_mesh,
    lip_curves,
    sigmoid,
    smoothstep,
)
from augment.rig.landmarks import BROW

TEXTURE_PHI = float(np.radians(82.0))
TEXTURE_TOP, TEXTURE_BOTTOM = 1.0, -1.05
HAIRLINE_STEPS = 180  # entries of the hairline table over phi -pi..pi


def linear(colour: Array | tuple[float, ...]) -> Array:
    """Linear light of an sRGB colour, both 0..1."""
    return np.clip(np.asarray(colour, np.float64), 0.0, 1.0) ** 2.2


@dataclass(frozen=True)
class Person:
    """One identity. Colours are linear light [3]; lengths in head units."""

    shape: Array  # coefficients of the identity modes
    style: Style
    skin: Array
    lips: Array
    iris: Array
    hair: Array
    brow: Array
    cloth: Array
    blush: float
    freckles: float
    mottle: Array  # [4] weights of noise maps
    wrinkles: float
    brow_thickness: float
    brow_density: float
    beard: float
    moustache: float
    lashes: float
    has_hair: bool
    hairline: Array  # [HAIRLINE_STEPS] lowest height of the hair at each azimuth
    hair_top: float  # thickness of the hair above and at the sides
    hair_side: float
    hair_wave: float
    hair_phase: float
    curly: float
    covers_ears: bool
    neckline: float


_SKIN_TONES = np.array(
    [
        (0.97, 0.83, 0.75),
        (0.93, 0.76, 0.64),
        (0.85, 0.66, 0.52),
        (0.73, 0.53, 0.39),
        (0.55, 0.38, 0.28),
        (0.40, 0.27, 0.20),
    ]
)
_HAIR_TONES = np.array(
    [
        (0.10, 0.08, 0.08),
        (0.21, 0.14, 0.10),
        (0.37, 0.24, 0.15),
        (0.55, 0.40, 0.24),
        (0.78, 0.63, 0.40),
        (0.55, 0.26, 0.14),
        (0.68, 0.67, 0.66),
    ]
)
_IRIS_TONES = np.array(
    [(0.26, 0.15, 0.08), (0.38, 0.25, 0.12), (0.36, 0.52, 0.68), (0.38, 0.50, 0.36), (0.45, 0.50, 0.54)]
)

# Lowest height of the hair over |azimuth| in degrees.
_SIDES = ((84, 0.14), (92, 0.18), (101, 0.12), (109, 0.0), (118, -0.14), (132, -0.26), (180, -0.30))
# fmt: off
_HAIRLINES: dict[str, tuple[tuple[int, float], ...]] = {
    "short": (
        (0, 0.67), (25, 0.655), (40, 0.60), (50, 0.50), (59, 0.33), (66, 0.19), (72, 0.06), (77, -0.03), (80, 0.03),
        *_SIDES,
    ),
    "receding": (
        (0, 0.72), (20, 0.78), (34, 0.80), (46, 0.64), (57, 0.38), (66, 0.19), (72, 0.06), (77, 0.0), (80, 0.04),
        *_SIDES,
    ),
    "tied": (
        (0, 0.67), (25, 0.655), (42, 0.57), (54, 0.40), (64, 0.22), (72, 0.12), (80, 0.12), (86, 0.16), (95, 0.17),
        (104, 0.06), (112, -0.12), (122, -0.28), (180, -0.35),
    ),
    "bob": (
        (0, 0.67), (25, 0.64), (40, 0.54), (50, 0.38), (57, 0.15), (62, -0.2), (66, -0.58), (72, -0.66), (180, -0.72),
    ),
    "long": (
        (0, 0.67), (25, 0.64), (40, 0.54), (51, 0.37), (60, 0.12), (67, -0.3), (73, -0.8), (80, -1.3), (180, -1.4),
    ),
}
# fmt: on
_STYLES: tuple[tuple[str, float, float], ...] = (
    # name, probability for a masculine and for a feminine look
    ("short", 0.58, 0.10),
    ("receding", 0.16, 0.0),
    ("bald", 0.10, 0.0),
    ("tied", 0.02, 0.25),
    ("bob", 0.04, 0.27),
    ("long", 0.03, 0.30),
    ("curls", 0.07, 0.08),
)


def _hairline(style: str, generator: np.random.Generator, fringe: float, part: float) -> Array:
    """Table of the hair's lowest height over azimuth -pi..pi."""
    points = _HAIRLINES["short" if style in ("curls", "bald") else style]
    phi = np.linspace(-180, 180, HAIRLINE_STEPS)
    degrees, heights = zip(*points, strict=True)
    line = np.interp(np.abs(phi), degrees, heights)
    front = smoothstep((62 - np.abs(phi)) / 25)
    if fringe > 0:
        line = np.minimum(
            line, line * (1 - front) + (0.50 - 0.14 * fringe + 0.05 * part * np.sin(np.radians(phi) * 2)) * front
        )
    else:
        line = line + front * 0.05 * part * np.sin(np.radians(phi) * 1.5)
    line = line + front * 0.025 * generator.standard_normal()
    # Locks end at different heights.
    ragged = generator.standard_normal(HAIRLINE_STEPS) * (0.006 + 0.011 * (fringe > 0) * front)
    return line + ragged


def draw_person(generator: np.random.Generator) -> Person:
    """A random photographic identity."""
    modes = len(head_mesh(1).identity_names)
    shape = np.clip(0.78 * generator.standard_normal(modes), -1.8, 1.8)
    feminine = generator.random() < 0.5
    names = np.array(head_mesh(1).identity_names)
    lean = -1.0 if feminine else 1.0
    for name, shift in (
        ("jaw_width", 0.45),
        ("brow_ridge", 0.6),
        ("chin_length", 0.3),
        ("jaw_square", 0.4),
        ("upper_lip", -0.3),
    ):
        shape[names == name] += lean * shift
    tone = generator.random() ** 1.15 * (len(_SKIN_TONES) - 1)
    low = min(int(tone), len(_SKIN_TONES) - 2)
    skin = _SKIN_TONES[low] + (tone - low) * (_SKIN_TONES[low + 1] - _SKIN_TONES[low])
    skin = np.clip(
        skin * (1 + 0.04 * generator.standard_normal()) * (1 + 0.012 * generator.standard_normal(3)), 0.12, 1
    )
    darkness = tone / (len(_SKIN_TONES) - 1)
    weights = (
        np.array([0.18, 0.24, 0.22, 0.13, 0.09, 0.06, 0.08]) * (1 - darkness)
        + np.array([0.8, 0.14, 0, 0, 0, 0, 0.06]) * darkness
    )
    hair_index = int(generator.choice(len(_HAIR_TONES), p=weights / weights.sum()))
    hair = np.clip(
        _HAIR_TONES[hair_index] * (1 + 0.12 * generator.standard_normal()) + 0.01 * generator.standard_normal(3),
        0.05,
        0.9,
    )
    weights = np.array([0.30, 0.25, 0.2, 0.14, 0.11]) * (1 - darkness) + np.array([0.85, 0.15, 0, 0, 0]) * darkness
    iris = _IRIS_TONES[int(generator.choice(len(_IRIS_TONES), p=weights / weights.sum()))]
    iris = np.clip(iris * (1 + 0.12 * generator.standard_normal()), 0.05, 0.8)
    rosy = 0.58 + 0.12 * generator.random()
    lips = skin * np.array([0.88, rosy, rosy + 0.03])
    if feminine and generator.random() < 0.55:
        stick = np.array([0.72, 0.22, 0.27]) + 0.08 * generator.standard_normal(3)
        lips += (0.35 + 0.4 * generator.random()) * (stick - lips)
    weights = np.array([row[2 if feminine else 1] for row in _STYLES])
    style = _STYLES[int(generator.choice(len(_STYLES), p=weights / weights.sum()))][0]
    fringe = (
        0.4 + 0.6 * generator.random()
        if generator.random() < (0.40 if feminine else 0.22) and style != "receding"
        else 0.0
    )
    part = float(generator.uniform(-1, 1))
    hairline = _hairline(style, generator, fringe, part)
    volume = generator.random()
    top, side = {
        "short": (0.05 + 0.10 * volume, 0.025 + 0.03 * volume),
        "receding": (0.02 + 0.03 * volume, 0.02 + 0.02 * volume),
        "bald": (0.01, 0.01),
        "tied": (0.035 + 0.03 * volume, 0.02),
        "bob": (0.05 + 0.06 * volume, 0.10 + 0.06 * volume),
        "long": (0.05 + 0.06 * volume, 0.08 + 0.07 * volume),
        "curls": (0.14 + 0.14 * volume, 0.09 + 0.10 * volume),
    }[style]
    bearded = not feminine and generator.random() < 0.38
    stubble = 0.0 if feminine else 0.22 * generator.random()
    return Person(
        shape=shape.astype(np.float32),
        style=draw_style(generator),
        skin=linear(skin),
        lips=linear(lips),
        iris=linear(iris),
        hair=linear(hair),
        brow=linear(np.minimum(hair * 0.72, skin * 0.62)),
        cloth=linear(np.clip(0.12 + 0.68 * generator.random() + 0.12 * generator.standard_normal(3), 0.04, 0.92)),
        blush=0.4 + 0.8 * generator.random(),
        freckles=float(generator.random() ** 3) * (1 - 0.7 * darkness),
        mottle=0.5 * generator.standard_normal(4),
        wrinkles=0.65 + 0.6 * generator.random(),
        brow_thickness=(0.020 if feminine else 0.027) + 0.012 * generator.random(),
        brow_density=0.74 + 0.26 * generator.random(),
        beard=(0.35 + 0.6 * generator.random()) if bearded and generator.random() < 0.75 else stubble,
        moustache=(0.35 + 0.6 * generator.random()) if bearded else stubble,
        lashes=(0.75 if feminine else 0.45) + 0.25 * generator.random(),
        has_hair=style != "bald",
        hairline=hairline.astype(np.float32),
        hair_top=float(top),
        hair_side=float(side),
        hair_wave=float(generator.random() * (0.02 if style in ("long", "bob") else 0.006)),
        hair_phase=float(generator.random() * 6.28),
        curly=1.0 if style == "curls" else 0.0,
        covers_ears=style in ("bob", "long") or (style == "curls" and volume > 0.4),
        neckline=float(generator.uniform(-0.12, 0.05)),
    )


_CHARACTERS: tuple[tuple[tuple[float, ...], tuple[float, ...], tuple[float, ...], str, float], ...] = (
    # skin, hair, cloth, hair style, fringe: six drawn people, loosely "girl, bald man, boy, woman, boy, girl"
    ((0.99, 0.82, 0.70), (0.42, 0.20, 0.08), (0.85, 0.25, 0.30), "bob", 1.0),
    ((0.86, 0.62, 0.46), (0.12, 0.10, 0.10), (0.20, 0.45, 0.30), "bald", 0.0),
    ((0.62, 0.42, 0.30), (0.08, 0.06, 0.07), (0.95, 0.75, 0.20), "curls", 0.0),
    ((0.98, 0.78, 0.66), (0.85, 0.62, 0.20), (0.25, 0.35, 0.70), "long", 0.0),
    ((0.95, 0.72, 0.55), (0.75, 0.30, 0.08), (0.25, 0.65, 0.70), "short", 0.8),
    ((0.76, 0.54, 0.40), (0.24, 0.10, 0.20), (0.70, 0.40, 0.75), "tied", 0.0),
)


def draw_character(index: int, generator: np.random.Generator) -> Person:
    """One of the six drawn characters (`index` modulo 6): exaggerated shape, flat and saturated colours."""
    skin, hair, cloth, style, fringe = _CHARACTERS[index % len(_CHARACTERS)]
    person = draw_person(generator)
    names = head_mesh(1).identity_names
    shape = np.clip(1.3 * person.shape, -2.4, 2.4)
    for name, value in (
        ("eye_width", 2.6), ("eye_opening", 3.0), ("nose_width", -1.4), ("nose_length", -1.6), ("chin_point", 0.8),
        ("nose_height", -1.2), ("brow_height", 0.8), ("eye_distance", 0.9), ("brow_ridge", -1.2),
        ("cranium_width", 1.5),
    ):  # fmt: skip
        shape[names.index(name)] = value
    top, side = {"curls": (0.25, 0.16), "bob": (0.09, 0.13), "long": (0.09, 0.12), "tied": (0.06, 0.03)}.get(
        style, (0.12, 0.05)
    )
    return replace(
        person,
        shape=shape.astype(np.float32),
        skin=linear(skin),
        lips=linear(np.array(skin) * (0.90, 0.52, 0.52)),
        hair=linear(hair),
        brow=linear(np.array(hair) * 0.6),
        cloth=linear(cloth),
        iris=linear(_IRIS_TONES[(index * 2 + 1) % len(_IRIS_TONES)]),
        blush=1.5,
        freckles=0.0,
        mottle=np.zeros(4),
        brow_thickness=0.036,
        brow_density=1.0,
        beard=0.0,
        moustache=0.0,
        lashes=1.0,
        has_hair=style != "bald",
        hairline=_hairline(style, generator, fringe, 0.6).astype(np.float32),
        hair_top=top,
        hair_side=side,
        covers_ears=style in ("bob", "long", "curls"),
        curly=1.0 if style == "curls" else 0.0,
    )


# Order of the maps in TextureMaps.stack.
_STACKED = (
    "occlusion", "blush", "nostril", "lash", "crease", "under_eye", "brow_distance", "brow_taper", "moustache", "beard",
    "freckles", "strand", "scalp", "height", "noise0", "noise1", "noise2", "noise3",
)  # fmt: skip
(
    _OCCLUSION, _BLUSH, _NOSTRIL, _LASH, _CREASE, _UNDER_EYE, _BROW_DISTANCE, _BROW_TAPER, _MOUSTACHE, _BEARD,
    _FRECKLES, _STRAND, _SCALP, _HEIGHT, _NOISE,
) = range(15)  # fmt: skip


@dataclass(frozen=True)
class TextureMaps:
    """Maps shared by all people over the texture's domain, `height` x `width` texels from the top left.

    Attributes:
        height, width: size of the texture.
        stack: the maps of `_STACKED` [maps, height * width], float32.
        folds: change of brightness of each expression fold [folds, height * width], float32.
    """

    height: int
    width: int
    stack: Array
    folds: Array


FOLDS = (
    "nasolabial-", "nasolabial+", "forehead-", "forehead+", "forehead_middle", "glabella", "eye-", "eye+", "nose",
    "chin",
    "dimple-", "dimple+", "marionette-", "marionette+",
)  # fmt: skip

# Which action unit deepens which fold, and how much.
_FOLD_SOURCES: dict[str, tuple[tuple[str, float], ...]] = {
    "nasolabial": (("12", 0.75), ("9", 0.48), ("10", 0.42), ("14", 0.25), ("6", 0.15), ("20", 0.2)),
    "forehead": (("2", 0.8), ("1", 0.25)),
    "eye": (("6", 0.9), ("7", 0.35), ("9", 0.25)),
    "dimple": (("14", 1.0), ("12", 0.35)),
    "marionette": (("15", 0.9), ("20", 0.25)),
    "forehead_middle": (("1", 0.9),),
    "glabella": (("4", 0.95), ("9", 0.35)),
    "nose": (("9", 1.0),),
    "chin": (("17", 1.0),),
}


def _fold_matrix() -> Array:
    """[folds, sided units]: strength of each fold per strength of each unit."""
    matrix = np.zeros((len(FOLDS), len(SIDED_UNITS)), np.float32)
    for row, fold in enumerate(FOLDS):
        name, side = (fold[:-1], -1 if fold[-1] == "-" else 1) if fold[-1] in "+-" else (fold, 0)
        for unit, gain in _FOLD_SOURCES[name]:
            for column, (sided, of) in enumerate(SIDED_UNITS):
                if sided != unit or (side and of and of != side):
                    continue
                matrix[row, column] = gain if side or of == 0 else gain / 2
    return matrix


FOLD_MATRIX = _fold_matrix()


def _blur(noise: Array, sigma: float) -> Array:
    reach = int(3 * sigma) + 1
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    kernel /= kernel.sum()
    for axis in (0, 1):
        noise = np.apply_along_axis(lambda line: np.convolve(line, kernel, mode="same"), axis, noise)
    return noise / noise.std()


def _line(distance: Array, width: float) -> Array:
    """A fold: dark in its ground, light on the swelling beside it (positive distance)."""
    return -np.exp(-0.5 * (distance / width) ** 2) + 0.45 * np.exp(
        -0.5 * ((distance - 2.2 * width) / (1.3 * width)) ** 2
    )


@cache
def texture_maps(detail: int) -> TextureMaps:
    """Maps for a level of detail (1: 176 x 128 texels, 2: twice as many)."""
    height, width = 176 * detail, 128 * detail
    phi, y = np.meshgrid(
        np.linspace(-TEXTURE_PHI, TEXTURE_PHI, width), np.linspace(TEXTURE_TOP, TEXTURE_BOTTOM, height), indexing="xy"
    )
    at = address(phi, y)
    away, x = at.away, at.x
    along, middle, upper, lower = eye_curves(phi)
    near_eye = smoothstep((1.12 - np.abs(along)) / 0.15)
    above, under = y - middle - upper, middle - lower - y
    lip_along, lip_up, lip_down = lip_curves(phi)

    def bump(cx: float, cy: float, sx: float, sy: float) -> Array:
        return np.exp(-0.5 * ((away - cx) / sx) ** 2 - 0.5 * ((y - cy) / sy) ** 2)

    occlusion = (
        0.22 * bump(0.17, 0.07, 0.05, 0.07)
        + 0.10 * bump(0.30, 0.13, 0.13, 0.03)
        + 0.16 * bump(0.165, -0.335, 0.022, 0.045)
        + 0.20 * bump(0.0, -0.398, 0.10, 0.018)
        + 0.18 * bump(0.0, -0.69, 0.14, 0.03)
        + 0.22 * bump(0.265, MOUTH_Y, 0.018, 0.022)
        + 0.35 * smoothstep((-0.93 - y) / 0.12)
        + 0.15 * smoothstep((np.abs(phi) - 1.0) / 0.45) * smoothstep((-0.3 - y) / 0.3)
    )
    brow_x, brow_y = (np.array(column) for column in zip(*BROW[::-1], strict=True))
    brow_x = np.concatenate([[0.085], brow_x, [0.53]])
    brow_y = np.concatenate([[0.232], brow_y, [0.185]])
    brow_distance = np.abs(y - (np.interp(away, brow_x, brow_y) - 0.010))
    brow_taper = np.interp(away, [0.08, 0.115, 0.16, 0.3, 0.42, 0.52], [0.55, 0.95, 1.1, 1.0, 0.65, 0.15])
    brow_taper = np.where((away > 0.09) & (away < 0.515), brow_taper, 0)

    lips = (lip_along < 1.05) & (y < MOUTH_Y + lip_up + 0.012) & (y > MOUTH_Y - lip_down - 0.012)
    moustache = smoothstep((y + 0.545) / 0.02) * smoothstep((-0.395 - y) / 0.04) * smoothstep((0.31 - away) / 0.08)
    moustache = np.where(lips, 0.0, moustache) * (1 - 0.5 * bump(0, -0.43, 0.018, 0.05))
    jaw_top = np.interp(away, [0.0, 0.2, 0.3, 0.42, 0.55, 0.62], [-0.66, -0.60, -0.52, -0.52, -0.32, 0.0])
    beard = smoothstep((jaw_top - y) / 0.10)
    beard = np.where(lips, 0.0, beard)
    generator = np.random.default_rng(20)
    spots = _blur(generator.standard_normal((height, width)), 0.9 * detail)
    freckles = smoothstep((spots - 1.2) / 0.5) * np.clip(
        bump(0.30, -0.16, 0.2, 0.13) + bump(0, -0.12, 0.12, 0.12), 0, 1
    )
    noise = np.stack([_blur(generator.standard_normal((height, width)), s * detail) for s in (1.0, 2.5, 6.0, 14.0)])
    strand = _blur(generator.standard_normal((height, width)), 0.7 * detail)

    # Folds that expressions deepen.
    left, right = sigmoid(-x / 0.03), sigmoid(x / 0.03)
    crossing = away - (0.165 + 0.30 * np.clip(-0.27 - y, -0.05, None) - 0.10 * np.clip(-0.27 - y, 0, None) ** 2)
    nasolabial = 0.38 * _line(crossing, 0.021) * smoothstep((-0.26 - y) / 0.06) * smoothstep((y + 0.68) / 0.10)
    waves = np.sin((y + 0.05 * away**2 - 0.36) * 46) - 0.35
    brow_zone = smoothstep((y - 0.35) / 0.06) * smoothstep((0.62 - y) / 0.06)
    forehead = 0.17 * waves * brow_zone * smoothstep((0.55 - away) / 0.15)
    forehead_middle = 0.17 * waves * brow_zone * smoothstep((0.24 - away) / 0.12)
    glabella = 0.45 * _line(away - 0.058, 0.014) * bump(0, 0.235, 1.0, 0.055) - 0.10 * bump(0, 0.16, 0.05, 0.05)
    crow = 0.30 * np.sin((y - 0.02 + 0.35 * (away - 0.5) * np.sign(y - 0.03)) * 80) * bump(0.515, 0.03, 0.035, 0.055)
    pouch = 0.30 * _line(-(under - 0.045), 0.013) * smoothstep((1.15 - np.abs(along)) / 0.2)
    nose = 0.22 * np.sin((y - 0.10 + 0.5 * away) * 70) * bump(0.0, 0.055, 0.085, 0.06) - 0.14 * bump(
        0.10, -0.02, 0.03, 0.10
    )
    chin = 0.20 * _blur(generator.standard_normal((height, width)), 1.7 * detail) * bump(0.0, -0.85, 0.09, 0.055)
    chin = chin - 0.30 * bump(0.0, -0.735, 0.12, 0.022)
    dimple = 0.55 * _line(away - 0.295, 0.016) * bump(0.3, MOUTH_Y + 0.005, 0.2, 0.055)
    marionette = 0.45 * _line(away - 0.275 - 0.10 * (MOUTH_Y - y), 0.016) * bump(0.28, -0.66, 0.2, 0.05)
    eye_fold = crow + pouch
    folds = np.stack(
        [
            nasolabial * left, nasolabial * right, forehead * left, forehead * right, forehead_middle, glabella,
            eye_fold * left, eye_fold * right, nose, chin, dimple * left, dimple * right,
            marionette * left, marionette * right,
        ]
    )  # fmt: skip
    maps = {
        "occlusion": occlusion,
        "blush": bump(0.42, -0.20, 0.12, 0.10) + 0.6 * bump(0, -0.29, 0.07, 0.05) + 0.3 * bump(0, -0.87, 0.1, 0.08),
        "nostril": np.clip(1.25 * bump(0.056, -0.3745, 0.024, 0.0125), 0, 1),
        "lash": np.exp(-0.5 * ((above - 0.006) / 0.011) ** 2) * near_eye
        + 0.25 * np.exp(-0.5 * (under / 0.009) ** 2) * near_eye,
        "crease": np.exp(-0.5 * ((above - 0.047) / 0.010) ** 2) * smoothstep((1.0 - np.abs(along)) / 0.3),
        "under_eye": np.exp(-0.5 * ((under - 0.04) / 0.03) ** 2) * near_eye,
        "brow_distance": brow_distance,
        "brow_taper": brow_taper,
        "moustache": moustache,
        "beard": beard,
        "freckles": freckles,
        "strand": strand,
        "scalp": (phi + np.pi) / (2 * np.pi) * (HAIRLINE_STEPS - 1),
        "height": y,
        "noise0": noise[0],
        "noise1": noise[1],
        "noise2": noise[2],
        "noise3": noise[3],
    }
    stack = np.stack([maps[name] for name in _STACKED]).reshape(len(_STACKED), -1).astype(np.float32)
    return TextureMaps(height, width, stack, np.ascontiguousarray(folds.reshape(len(folds), -1), np.float32))


def skin_texture(person: Person, detail: int, flat: bool = False) -> Array:
    """The person's skin as linear light [height, width, 3], float32; `flat` leaves out all but brows and lashes."""
    maps = texture_maps(detail)
    out = np.empty((maps.height, maps.width, 3), np.float32)
    brow = (person.brow_thickness, person.brow_density)
    hairs = (person.beard, person.moustache, 0.36 if person.has_hair else 0.0)
    surface = (person.blush, person.freckles, person.lashes)
    knobs = np.array([*brow, *hairs, *surface, *(person.mottle + 0.4), float(flat)], np.float32)
    colours = np.stack([person.skin, person.hair, person.brow]).astype(np.float32)
    _paint_skin(maps.stack, maps.height, maps.width, knobs, colours, person.hairline, out)
    return out


@njit(cache=True)
def _paint_skin(
    maps: Array, height: int, width: int, knobs: Array, colours: Array, hairline: Array, out: Array
) -> None:
    """Fill the skin texture from `maps` [maps, height * width] (see `_STACKED`); `skin_texture` packs the knobs."""
    flat = knobs[12] > 0.5
    red_less = (0.25, -0.9, -0.8)
    freckle_tint, pale_tint = (0.6, 1.0, 1.2), (0.8, 1.0, 0.8)
    skin, hair, brow_colour = colours[0], colours[1], colours[2]
    for texel in range(height * width):
        row, column = texel // width, texel % width
        tone = np.float32(1.0)
        strand = maps[_STRAND, texel]
        rose = 0.15 * knobs[5] * maps[_BLUSH, texel]
        taper, brow = maps[_BROW_TAPER, texel], np.float32(0.0)
        if taper > 0:
            edge = (knobs[0] * taper - maps[_BROW_DISTANCE, texel]) / 0.007
            if edge > -12:
                brow = knobs[1] / (1 + np.exp(-min(edge, 30.0)))
                if not flat:
                    brow *= min(max(0.95 + 0.08 * strand, 0.4), 1.0)
        beard = moustache = shadow = 0.0
        if not flat:
            mottle = np.float32(0.0)
            for index in range(4):
                mottle += knobs[8 + index] * maps[_NOISE + index, texel]
            tone = (1 - 0.9 * maps[_OCCLUSION, texel]) * (1 + 0.022 * mottle)
            cover = min(max(0.82 + 0.10 * strand, 0.3), 1.0)
            beard = knobs[2] * maps[_BEARD, texel] * cover
            moustache = knobs[3] * maps[_MOUSTACHE, texel] * cover
            y = maps[_HEIGHT, texel]
            if knobs[4] > 0 and y > 0.05:
                # Skin darkens where the hair begins.
                place = maps[_SCALP, texel]
                entry = int(place)
                line = hairline[entry] + (place - entry) * (hairline[entry + 1] - hairline[entry])
                near = min(max((y - line + 0.05) / 0.07, 0.0), 1.0) * min((y - 0.05) / 0.25, 1.0)
                shadow = knobs[4] * near
        lash = min(knobs[7] * maps[_LASH, texel], 0.95)
        dark = (1 - min(lash + 0.22 * maps[_CREASE, texel], 0.95)) * (
            1 - (0.5 if flat else 0.86) * maps[_NOSTRIL, texel]
        )
        for channel in range(3):
            value = skin[channel] * (1 + rose * red_less[channel])
            if not flat:
                value *= 1 - 0.38 * knobs[6] * maps[_FRECKLES, texel] * freckle_tint[channel]
                value *= 1 - 0.10 * maps[_UNDER_EYE, texel] * pale_tint[channel]
                value += beard * (hair[channel] * 0.85 - value)
                value += moustache * (hair[channel] * 0.85 - value)
                value += shadow * (hair[channel] * 0.8 - value)
            value *= tone
            value += brow * (brow_colour[channel] - value)
            out[row, column, channel] = value * dark


def fold_weights(person: Person, strengths: Array, flat: bool = False) -> Array:
    """How deep each fold is [folds], from the sided action units' strengths."""
    weights = FOLD_MATRIX @ strengths
    weights[:2] += 0.25 * (person.wrinkles - 0.5)
    return (weights * person.wrinkles * (0.5 if flat else 1.0)).astype(np.float32)


def hair_vertices(person: Person, base: Array, detail: int) -> Array:
    """Hair shell [hair vertices, 3] over the person's own scalp `base`."""
    mesh = head_mesh(detail)
    position = (mesh.hair_phi + np.pi) / (2 * np.pi) * (HAIRLINE_STEPS - 1)
    line = np.interp(position, np.arange(HAIRLINE_STEPS), person.hairline)
    rise = smoothstep((mesh.hair_y - line + 0.03) / 0.22)
    high = smoothstep((mesh.hair_y - 0.1) / 0.75)
    thickness = person.hair_side + (person.hair_top - person.hair_side) * high
    wave = person.hair_wave * np.sin(mesh.hair_y * 9 + person.hair_phase) * smoothstep((0.2 - mesh.hair_y) / 0.6)
    lumps = 0.018 * person.curly * np.sin(mesh.hair_phi * 17) * np.sin(mesh.hair_y * 15)
    offset = 0.014 + (thickness - 0.014) * rise + wave + lumps
    # Falling hair closes in a little towards its tips.
    offset = offset - 0.05 * smoothstep((-0.3 - mesh.hair_y) / 0.8) * (person.hair_side > 0.06)
    return base + mesh.hair_normal * offset[:, None]


__all__ = [
    "FOLDS",
    "HAIRLINE_STEPS",
    "Person",
    "draw_character",
    "draw_person",
    "fold_weights",
    "hair_vertices",
    "linear",
    "skin_texture",
    "texture_maps",
]
