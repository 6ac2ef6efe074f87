"""Expressions: facial action units (FACS), the emotions' prototypes, and how one person performs one of them.

An action unit is a linear displacement of the face. Most exist once for each side of the face, so that an expression
can be asymmetric; contempt is one-sided by definition (AU12 + AU14 on one side).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from augment.rig.geometry import (
    MOUTH_HALF_WIDTH,
    MOUTH_Y,
    Address,
    Array,
    eye_curves,
    field,
    head_mesh,
    lip_curves,
    sigmoid,
    smoothstep,
)

EXPRESSIONS: tuple[str, ...] = ("angry", "contempt", "disgust", "fear", "happy", "neutral", "sad", "surprise")

ACTION_UNITS: tuple[str, ...] = (
    "1", "2", "4", "5", "6", "7", "9", "10", "12", "14", "15", "17", "20", "23", "25", "26", "43",
)  # fmt: skip
_MIDLINE = {"17", "23", "25", "26"}

JAW_DROP = 0.25  # how far the chin sinks under AU26 at strength 1, head units

# (unit, side): side -1 moves the image's left half, +1 the right half, 0 both.
SIDED_UNITS: tuple[tuple[str, int], ...] = tuple(
    (unit, side) for unit in ACTION_UNITS for side in ((0,) if unit in _MIDLINE else (-1, 1))
)
_UNIT_OF_SIDED = np.array([ACTION_UNITS.index(unit) for unit, _ in SIDED_UNITS])
_SIDE_OF_SIDED = np.array([side for _, side in SIDED_UNITS])

# Prototypes after EMFACS: action unit -> strength at full intensity.
PROTOTYPES: dict[str, dict[str, float]] = {
    "angry": {"4": 1.0, "5": 0.35, "7": 0.6, "23": 0.75, "17": 0.35, "9": 0.12},
    "contempt": {"12": 0.85, "14": 0.9, "7": 0.2, "4": 0.1},
    "disgust": {"9": 0.95, "10": 0.75, "4": 0.35, "7": 0.4, "15": 0.3, "17": 0.35, "25": 0.3},
    "fear": {"1": 0.9, "2": 0.4, "4": 0.5, "5": 0.85, "20": 0.9, "25": 0.65, "26": 0.28},
    "happy": {"6": 0.75, "12": 1.0, "25": 0.85, "26": 0.16, "7": 0.15},
    "neutral": {},
    "sad": {"1": 0.95, "4": 0.4, "15": 0.9, "17": 0.45, "43": 0.22},
    "surprise": {"1": 0.85, "2": 0.95, "5": 0.8, "25": 0.6, "26": 0.8},
}

# Spread of a performance around its prototype; with these a small classifier trained on 20 people is neither lost nor
# perfect on new ones.
_GAIN_NOISE, _STRAY_SHARE, _STRAY_STRENGTH, _DROP_SHARE = 0.20, 0.30, 0.13, 0.05
_ONE_SIDED = {"contempt": ("12", "14")}
_PROTOTYPE_ROWS = {name: np.array([row.get(unit, 0.0) for unit in ACTION_UNITS]) for name, row in PROTOTYPES.items()}
# Stray units are weak, above all those that would change the expression's name (open jaw, wrinkled nose, shut eyes).
_STRAY_SCALE = np.array([0.35 if unit in ("26", "43", "10", "9") else 1.0 for unit in ACTION_UNITS])


def action_unit_fields(at: Address) -> dict[str, Array]:
    """Displacement [points, 3] of each action unit at strength 1, both sides of the face."""
    along, middle, upper, lower = eye_curves(at.phi)
    lip_along, _, _ = lip_curves(at.phi)
    x, y, side, away, front, below = at.x, at.y, at.side, at.away, at.front, at.below
    inside = (np.abs(along) < 1).astype(float)
    arch = np.clip(1 - along**2, 0, None) ** 0.7 * front
    above_lid, under_lid = y - middle - upper, middle - lower - y
    opening = np.maximum(upper + lower, 1e-3)
    # How far a point follows the upper (lower) lid: fully on its border, not at all on the other one.
    with_upper = np.where(
        above_lid > 0, np.exp(-0.5 * (above_lid / 0.045) ** 2), np.clip(1 + above_lid / opening, 0, 1)
    )
    with_lower = np.where(under_lid > 0, np.exp(-0.5 * (under_lid / 0.05) ** 2), np.clip(1 + under_lid / opening, 0, 1))
    with_upper, with_lower = with_upper * inside * arch, with_lower * inside * arch

    span = np.sqrt(np.clip(1 - lip_along**2, 0, None))
    corner = at.pair(MOUTH_HALF_WIDTH, MOUTH_Y, 0.10, 0.075)
    is_upper = (1 - below) * sigmoid((y - MOUTH_Y + 0.02) / 0.004)
    upper_lip = is_upper * np.exp(-0.5 * (np.clip(y - MOUTH_Y, 0, None) / 0.10) ** 2) * front
    fold = np.exp(-0.5 * ((away - (0.17 + 0.28 * (-0.27 - y))) / 0.032) ** 2) * sigmoid((-0.27 - y) / 0.03)
    fold = fold * sigmoid((y + 0.62) / 0.04) * front
    # The jaw: all of the chin, the lower lip with it, the corners a third.
    lower_face = smoothstep((MOUTH_Y - y) / 0.30)
    at_slit = 0.33 * np.exp(-0.5 * (np.clip(away - 0.2, 0, None) / 0.09) ** 2)
    beneath = lower_face + (1 - lower_face) * (at_slit + (0.92 - at_slit) * span)
    over = at_slit * (1 - span) * np.exp(-0.5 * ((y - MOUTH_Y) / 0.10) ** 2)
    outside = lip_along >= 1
    weight_below = np.where(outside, (y < MOUTH_Y).astype(float), below)
    jaw = (weight_below * beneath + (1 - weight_below) * over) * front * np.exp(-0.5 * (away / 0.46) ** 4)
    frown = np.exp(-0.5 * ((away - 0.055) / 0.02) ** 2) * at.spot(0, 0.21, 0.2, 0.07)
    mouth_dy = y - MOUTH_Y
    return {
        "1": field(at, dy=0.112 * at.pair(0.15, 0.25, 0.095, 0.10) + 0.025 * at.pair(0.2, 0.15, 0.08, 0.04)),
        "2": field(at, dy=0.110 * at.pair(0.41, 0.25, 0.12, 0.10) + 0.022 * at.pair(0.4, 0.15, 0.08, 0.04)),
        "4": field(
            at,
            dx=-0.042 * side * at.pair(0.16, 0.22, 0.10, 0.08),
            dy=-0.080 * at.pair(0.17, 0.235, 0.13, 0.072) - 0.040 * at.pair(0.35, 0.24, 0.12, 0.07),
            dz=-0.02 * frown + 0.018 * at.pair(0.15, 0.2, 0.08, 0.05),
        ),
        "5": field(at, dy=0.048 * with_upper - 0.008 * with_lower),
        "6": field(
            at,
            dy=0.055 * at.pair(0.40, -0.14, 0.15, 0.09) + 0.026 * with_lower - 0.006 * with_upper,
            dz=0.050 * at.pair(0.40, -0.11, 0.13, 0.085),
        ),
        "7": field(at, dy=0.034 * with_lower - 0.026 * with_upper),
        "9": field(
            at,
            dx=0.014 * side * at.pair(0.12, -0.31, 0.07, 0.06),
            dy=0.046 * at.pair(0.10, -0.25, 0.10, 0.12)
            - 0.035 * at.spot(0, 0.17, 0.07, 0.09)
            - 0.026 * at.pair(0.15, 0.23, 0.12, 0.07)
            + 0.040 * at.pair(0.15, -0.42, 0.10, 0.06) * (1 - below)
            + 0.016 * with_lower,
            dz=0.02 * at.pair(0.16, -0.22, 0.06, 0.08) - 0.013 * fold,
        ),
        "10": field(
            at,
            dy=(0.060 * np.exp(-0.5 * ((away - 0.11) / 0.08) ** 2) + 0.03) * upper_lip * span,
            dz=0.015 * at.spot(0, -0.5, 0.15, 0.04) - 0.016 * fold,
        ),
        "12": field(
            at,
            dx=0.085 * side * corner,
            dy=0.108 * corner
            + 0.030 * at.pair(0.40, -0.33, 0.14, 0.12)
            + 0.012 * upper_lip * span
            - 0.010 * at.spot(0, MOUTH_Y - 0.06, 0.10, 0.05),
            dz=-0.035 * at.pair(0.30, MOUTH_Y, 0.05, 0.06) + 0.045 * at.pair(0.40, -0.27, 0.12, 0.10) - 0.025 * fold,
        ),
        "14": field(
            at,
            dx=0.040 * side * corner,
            dy=0.022 * corner,
            dz=-0.050 * at.pair(0.285, MOUTH_Y, 0.045, 0.06) + 0.02 * at.pair(0.37, -0.54, 0.05, 0.09),
        ),
        "15": field(
            at,
            dx=0.008 * side * corner,
            dy=-0.090 * at.pair(0.25, MOUTH_Y, 0.085, 0.08),
            dz=-0.02 * np.exp(-0.5 * ((away - 0.29) / 0.025) ** 2) * at.pair(0.3, -0.67, 0.2, 0.07),
        ),
        "17": field(
            at,
            dy=0.050 * at.spot(0, -0.70, 0.17, 0.10) * (0.35 + 0.65 * weight_below),
            dz=0.03 * at.spot(0, -0.83, 0.12, 0.07) - 0.03 * at.spot(0, -0.73, 0.13, 0.025),
        ),
        "20": field(
            at,
            dx=0.095 * side * at.pair(0.22, MOUTH_Y, 0.12, 0.10),
            dy=-0.028 * at.pair(0.26, -0.60, 0.09, 0.08),
            dz=-0.02 * at.pair(0.33, MOUTH_Y, 0.04, 0.09),
        ),
        "23": field(
            at,
            dx=-0.20 * x * at.pair(0.2, MOUTH_Y, 0.12, 0.08),
            dy=-0.45 * mouth_dy * at.spot(0, MOUTH_Y, 0.24, 0.075),
            dz=-0.025 * at.spot(0, MOUTH_Y, 0.20, 0.07),
        ),
        "25": field(
            at, dy=0.020 * upper_lip * span - 0.052 * weight_below * span * np.exp(-4 * (MOUTH_Y - y) ** 2) * front
        ),
        "26": field(at, dx=-0.05 * x * jaw, dy=-JAW_DROP * jaw, dz=-0.05 * jaw),
        "43": field(at, dy=-0.118 * with_upper + 0.006 * with_lower),
    }


@cache
def action_unit_basis(detail: int) -> Array:
    """Displacement of every sided action unit [sided units, grid vertices, 3], float32."""
    at = head_mesh(detail).grid
    fields = action_unit_fields(at)
    right = sigmoid(at.x / 0.04)
    basis = []
    for unit, side in SIDED_UNITS:
        share = np.ones_like(right) if side == 0 else right if side > 0 else 1 - right
        basis.append(fields[unit] * share[:, None])
    return np.ascontiguousarray(np.stack(basis), np.float32)


@dataclass(frozen=True)
class Style:
    """How a person performs: gain [action units] of each unit, asymmetry [action units], preferred side (-1 or 1)."""

    gain: Array
    asymmetry: Array
    side: int


def draw_style(generator: np.random.Generator) -> Style:
    """A random personal style."""
    count = len(ACTION_UNITS)
    gain = np.clip(1 + 0.22 * generator.standard_normal(count), 0.45, 1.5)
    asymmetry = np.clip(0.11 * generator.standard_normal(count), -0.3, 0.3)
    return Style(gain, asymmetry, 1 if generator.random() < 0.5 else -1)


def perform(
    expression: str, style: Style, generator: np.random.Generator, intensity: float | None = None, noise: float = 1.0
) -> Array:
    """Strengths of the sided action units [sided units] for one performance.

    Args:
        expression: one of `EXPRESSIONS`.
        style: the person's style.
        generator: randomness of this performance.
        intensity: 0..1 (0.35..1 is the range of natural performances); None draws it.
        noise: scales the deviation from the prototype; 0 gives the prototype itself, with the person's gains.

    Raises:
        ValueError: for an unknown expression.
    """
    if expression not in PROTOTYPES:
        raise ValueError(f"unknown expression {expression!r}; there are {', '.join(EXPRESSIONS)}")
    count = len(ACTION_UNITS)
    drawn = 0.35 + 0.65 * generator.random()
    kept = generator.random(count) > _DROP_SHARE * noise
    wobble = 1 + _GAIN_NOISE * noise * generator.standard_normal(count)
    stray = _STRAY_STRENGTH * noise * np.abs(generator.standard_normal(count))
    stray = stray * (generator.random(count) < _STRAY_SHARE)
    side_wobble = 0.06 * noise * generator.standard_normal(len(SIDED_UNITS))

    strength = _PROTOTYPE_ROWS[expression] * (drawn if intensity is None else intensity) * style.gain * wobble * kept
    strength = np.clip(strength + stray * _STRAY_SCALE, 0, 1.3)
    if strength[ACTION_UNITS.index("5")] > 0.2:
        strength[ACTION_UNITS.index("43")] = 0.0  # wide eyes do not droop
    sided = strength[_UNIT_OF_SIDED] * (1 + _SIDE_OF_SIDED * style.asymmetry[_UNIT_OF_SIDED])
    sided = sided * np.where(_SIDE_OF_SIDED == 0, 1.0, 1 + side_wobble)
    if expression in _ONE_SIDED:
        for index, (unit, side) in enumerate(SIDED_UNITS):
            if unit in _ONE_SIDED[expression] and side != style.side:
                sided[index] *= 0.06
    return np.clip(sided, 0, 1.3).astype(np.float32)


__all__ = [
    "ACTION_UNITS",
    "EXPRESSIONS",
    "JAW_DROP",
    "PROTOTYPES",
    "SIDED_UNITS",
    "Style",
    "action_unit_basis",
    "action_unit_fields",
    "draw_style",
    "perform",
]
