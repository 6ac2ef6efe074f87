"""Light, and the shading of samples: ambient, key light, a little gloss; then supersamples to pixels and to labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from augment.rig.appearance import TEXTURE_BOTTOM, TEXTURE_PHI, TEXTURE_TOP
from augment.rig.geometry import EAR, EYE, HAIR, LIPS, MOUTH, MOUTH_Y, NECK, SKIN

Array = np.ndarray

ILLUMINATIONS: tuple[str, ...] = ("normal", "weak", "dark")

# What masks say. The inside of the mouth counts as skin: it belongs to the face and is neither lips nor eyes.
# Hair, neck and clothes are background.
BACKGROUND_LABEL, SKIN_LABEL, LIPS_LABEL, EYES_LABEL = 0, 1, 2, 3
LABEL_OF_KIND = np.zeros(1 + max(SKIN, LIPS, EYE, MOUTH, EAR, HAIR, NECK), np.uint8)
LABEL_OF_KIND[[SKIN, MOUTH, EAR]] = SKIN_LABEL
LABEL_OF_KIND[LIPS] = LIPS_LABEL
LABEL_OF_KIND[EYE] = EYES_LABEL
LABEL_OF_KIND[[HAIR, NECK]] = BACKGROUND_LABEL

# Rows of the palette that the shader reads.
HAIR_COLOUR, LIP_COLOUR, IRIS_COLOUR, CLOTH_COLOUR, SKIN_COLOUR, KEY_LIGHT, AMBIENT_LIGHT, WHITE_COLOUR = range(8)

_GAMMA = (np.linspace(0, 1, 4097) ** (1 / 2.2)).astype(np.float32)


@dataclass(frozen=True)
class Light:
    """A key light and an ambient one. direction: unit vector to the key [3]; key, ambient: linear light [3]."""

    direction: Array
    key: Array
    ambient: Array
    noise: float  # sensor noise, standard deviation in 0..1


def draw_light(illumination: str, generator: np.random.Generator, wild: float = 0.0) -> Light:
    """A random light of a named illumination; `wild` 0..1 widens its spread.

    Raises:
        ValueError: for an unknown illumination.
    """
    if illumination not in ILLUMINATIONS:
        raise ValueError(f"unknown illumination {illumination!r}; there are {', '.join(ILLUMINATIONS)}")
    # Weak light comes from the side more often, dark scenes have hardly any key light.
    spread = {"normal": 0.35, "weak": 0.60, "dark": 0.45}[illumination] * (1 + wild)
    key, ambient, noise = {"normal": (0.74, 0.34, 0.012), "weak": (0.34, 0.11, 0.018), "dark": (0.085, 0.055, 0.024)}[
        illumination
    ]
    azimuth = float(np.clip(spread * generator.standard_normal(), -1.35, 1.35))
    elevation = float(np.clip(0.50 + 0.18 * generator.standard_normal(), 0.05, 1.0))
    gain = float(np.exp(0.09 * (1 + wild) * generator.standard_normal()))
    balance = float(np.exp(0.14 * (1 + wild) * generator.standard_normal()))
    warmth = 0.04 * generator.standard_normal()
    tint = np.array([1 + warmth, 1.0, 1 - warmth])
    direction = np.array([np.sin(azimuth) * np.cos(elevation), np.sin(elevation), np.cos(azimuth) * np.cos(elevation)])
    noise *= 0.7 + 0.6 * generator.random()
    return Light(direction, key * gain * tint, ambient * gain * balance / tint, float(noise))


def flat_light() -> Light:
    """The even frontal light of simulated faces."""
    return Light(np.array([0.0, 0.35, 0.94]), np.full(3, 0.55), np.full(3, 0.42), 0.0)


@njit(cache=True, inline="always")
def _ramp(value: float) -> float:
    """Cubic ramp from 0 to 1."""
    if value <= 0:
        return 0.0
    if value >= 1:
        return 1.0
    return value * value * (3 - 2 * value)


@njit(cache=True)
def shade(
    shown: Array,
    weights: Array,
    triangles: Array,
    kind: Array,
    normals: Array,
    coordinate: Array,
    local: Array,
    skin: Array,
    folds: Array,
    strands: Array,
    palette: Array,
    light: Array,
    eyes: Array,
    mouth: Array,
    corners: Array,
    knobs: Array,
    colour: Array,
) -> None:
    """Colour every sample, in linear light.

    Args:
        shown: triangle of each sample, -1 for none [S, S].
        weights: barycentric weights of its second and third vertex [S, S, 2].
        triangles: vertex indices [T, 3].
        kind: what each triangle shows [T].
        normals: vertex normals in camera axes [V, 3].
        coordinate: texture addresses of the vertices [V, 3].
        local: vertex positions in head axes [V, 3].
        skin: texture, linear light [h, w, 3].
        folds: brightness of the texture under this expression [h, w].
        strands: noise over azimuth for hair [n], mean 0.
        palette: colours [8, 3], see the constants.
        light: direction to the key light [3].
        eyes: per eye (left, right): centre x, y, iris x, iris y, iris radius, pupil radius [2, 6].
        mouth: height of the mouth line, drop of the jaw, half-width, how far the lips are apart.
        corners: background colours of the image's corners [2, 2, 3].
        knobs: gloss, neckline, toon (0 or 1), waviness of hair.
        colour: out [S, S, 3].
    """
    size = shown.shape[0]
    texture_rows, texture_columns = skin.shape[0], skin.shape[1]
    lx, ly, lz = light[0], light[1], light[2]
    hx, hy, hz = lx, ly, lz + 1.0
    length = np.sqrt(hx * hx + hy * hy + hz * hz)
    hx, hy, hz = hx / length, hy / length, hz / length
    gloss, neckline, toon, wavy = knobs[0], knobs[1], knobs[2] > 0.5, knobs[3]
    for row in range(size):
        fy = (row + 0.5) / size
        for column in range(size):
            triangle = shown[row, column]
            if triangle < 0:
                fx = (column + 0.5) / size
                for channel in range(3):
                    top = corners[0, 0, channel] * (1 - fx) + corners[0, 1, channel] * fx
                    bottom = corners[1, 0, channel] * (1 - fx) + corners[1, 1, channel] * fx
                    colour[row, column, channel] = top * (1 - fy) + bottom * fy
                continue
            what = kind[triangle]
            a, b, c = triangles[triangle, 0], triangles[triangle, 1], triangles[triangle, 2]
            wb, wc = weights[row, column, 0], weights[row, column, 1]
            wa = 1 - wb - wc
            nx = wa * normals[a, 0] + wb * normals[b, 0] + wc * normals[c, 0]
            ny = wa * normals[a, 1] + wb * normals[b, 1] + wc * normals[c, 1]
            nz = wa * normals[a, 2] + wb * normals[b, 2] + wc * normals[c, 2]
            u = wa * coordinate[a, 0] + wb * coordinate[b, 0] + wc * coordinate[c, 0]
            v = wa * coordinate[a, 1] + wb * coordinate[b, 1] + wc * coordinate[c, 1]
            if what in (EYE, MOUTH):
                px = wa * local[a, 0] + wb * local[b, 0] + wc * local[c, 0]
                py = wa * local[a, 1] + wb * local[b, 1] + wc * local[c, 1]
                across = wa * coordinate[a, 2] + wb * coordinate[b, 2] + wc * coordinate[c, 2]
            else:
                px, py, across = 0.0, 0.0, 0.0
            if what == EYE:
                nx, ny, nz = 0.5 * nx, 0.5 * ny, 0.5 * nz + 0.5
            elif what == MOUTH:
                nx, ny, nz = 0.0, 0.1, 0.99
            scale = 1.0 / np.sqrt(nx * nx + ny * ny + nz * nz + 1e-12)
            if nz < 0 and (what in (EAR, HAIR, NECK)):
                scale = -scale
            nx, ny, nz = nx * scale, ny * scale, nz * scale

            facing = nx * lx + ny * ly + nz * lz
            half = max(0.0, nx * hx + ny * hy + nz * hz)
            half2 = half * half
            half4 = half2 * half2
            half8 = half4 * half4
            shine = 0.0
            red, green, blue = 0.0, 0.0, 0.0
            shadow = 1.0
            if what in (SKIN, LIPS):
                tx = (u + TEXTURE_PHI) / (2 * TEXTURE_PHI) * (texture_columns - 1)
                ty = (TEXTURE_TOP - v) / (TEXTURE_TOP - TEXTURE_BOTTOM) * (texture_rows - 1)
                tx = min(max(tx, 0.0), texture_columns - 1.001)
                ty = min(max(ty, 0.0), texture_rows - 1.001)
                ix, iy = int(tx), int(ty)
                gx, gy = tx - ix, ty - iy
                w00, w01, w10, w11 = (1 - gx) * (1 - gy), gx * (1 - gy), (1 - gx) * gy, gx * gy
                fold = (
                    w00 * folds[iy, ix]
                    + w01 * folds[iy, ix + 1]
                    + w10 * folds[iy + 1, ix]
                    + w11 * folds[iy + 1, ix + 1]
                )
                fold = min(max(fold, 0.35), 1.35)
                if what == SKIN:
                    red = (
                        w00 * skin[iy, ix, 0]
                        + w01 * skin[iy, ix + 1, 0]
                        + w10 * skin[iy + 1, ix, 0]
                        + w11 * skin[iy + 1, ix + 1, 0]
                    )
                    green = (
                        w00 * skin[iy, ix, 1]
                        + w01 * skin[iy, ix + 1, 1]
                        + w10 * skin[iy + 1, ix, 1]
                        + w11 * skin[iy + 1, ix + 1, 1]
                    )
                    blue = (
                        w00 * skin[iy, ix, 2]
                        + w01 * skin[iy, ix + 1, 2]
                        + w10 * skin[iy + 1, ix, 2]
                        + w11 * skin[iy + 1, ix + 1, 2]
                    )
                    red, green, blue = red * fold, green * fold, blue * fold
                    shine = 0.055 * gloss * half8 * half8
                else:
                    line = (v - MOUTH_Y) / 0.016
                    dark = (1 - 0.45 / (1 + line * line)) * (0.94 if v > MOUTH_Y else 1.04)
                    red, green, blue = (
                        palette[LIP_COLOUR, 0] * dark,
                        palette[LIP_COLOUR, 1] * dark,
                        palette[LIP_COLOUR, 2] * dark,
                    )
                    shine = 0.11 * gloss * half8 * half8 * half8
            elif what == EYE:
                side = 0 if u < 0 else 1
                dx, dy = px - eyes[side, 2], py - eyes[side, 3]
                distance = np.sqrt(dx * dx + dy * dy)
                radius, pupil = eyes[side, 4], eyes[side, 5]
                edge = _ramp((radius + 0.006 - distance) / 0.012)
                core = _ramp((pupil + 0.005 - distance) / 0.010)
                limbus = 0.45 + 0.55 * _ramp((radius - distance) / 0.022)
                # The iris is lighter opposite the light.
                glow = limbus * (1.0 - 5.0 * dy)
                rim = (px - eyes[side, 0]) / 0.15
                white = 1 - 0.22 * rim * rim
                red = palette[WHITE_COLOUR, 0] * white * (1 - edge) + edge * palette[IRIS_COLOUR, 0] * glow
                green = (
                    palette[WHITE_COLOUR, 1] * (white - 0.04 * rim * rim) * (1 - edge)
                    + edge * palette[IRIS_COLOUR, 1] * glow
                )
                blue = (
                    palette[WHITE_COLOUR, 2] * (white - 0.04 * rim * rim) * (1 - edge)
                    + edge * palette[IRIS_COLOUR, 2] * glow
                )
                red, green, blue = (
                    red * (1 - core) + 0.006 * core,
                    green * (1 - core) + 0.006 * core,
                    blue * (1 - core) + 0.006 * core,
                )
                # The upper lid and its lashes throw a shadow on the ball.
                shadow = 0.42 + 0.58 * _ramp((across + 0.02) / 0.42)
                facing = 0.35 + 0.65 * facing
                sx, sy = dx - 0.022 * (1 if lx > 0 else -1), dy - 0.026
                shine = 0.85 * _ramp((0.018 - np.sqrt(sx * sx + sy * sy)) / 0.010)
            elif what == MOUTH:
                reach = abs(px) / mouth[2]
                depth = 4 * across * (1 - across)
                red, green, blue = 0.075, 0.016, 0.016
                tongue = _ramp((across - 0.52) / 0.30) * _ramp((0.85 - reach) / 0.3) * _ramp((mouth[1] - 0.03) / 0.08)
                red, green, blue = red + tongue * 0.30, green + tongue * 0.075, blue + tongue * 0.080
                tooth = px / 0.062
                gap = abs(tooth - np.floor(tooth) - 0.5) * 2
                enamel = (1 - 0.30 * _ramp((gap - 0.80) / 0.2)) * (0.86 - 0.55 * reach * reach)
                upper_edge = mouth[0] - 0.036 + 0.012 * reach
                lower_edge = mouth[0] - 0.062 - mouth[1]
                upper = _ramp((py - upper_edge) / 0.010)
                lower = 0.75 * _ramp((lower_edge - py) / 0.010)
                # Between lips that barely part it is dark.
                teeth = max(upper, lower) * _ramp((0.93 - reach) / 0.08) * _ramp((mouth[3] - 0.018) / 0.03)
                red = red + teeth * (0.80 * enamel - red)
                green = green + teeth * (0.76 * enamel - green)
                blue = blue + teeth * (0.66 * enamel - blue)
                # The lips shade the opening near its upper border.
                shadow = (0.45 + 0.55 * _ramp(across / 0.25)) * (1 - 0.15 * depth)
                facing = 0.2 + 0.7 * facing
                shine = 0.10 * teeth * half8 * half8 * shadow
            elif what == EAR:
                inner = 0.62 + 0.38 * _ramp((v - 0.45) / 0.4)
                red, green, blue = (
                    palette[SKIN_COLOUR, 0] * inner,
                    palette[SKIN_COLOUR, 1] * inner * 0.88,
                    palette[SKIN_COLOUR, 2] * inner * 0.86,
                )
            elif what == HAIR:
                place = (u + np.pi) / (2 * np.pi) * strands.size
                place = place + wavy * np.sin(v * 11.0) * 3.0
                entry = int(np.floor(place))
                part = place - entry
                first, second = strands[entry % strands.size], strands[(entry + 1) % strands.size]
                strand = first + part * (second - first)
                tone = 1 + 0.30 * strand
                red, green, blue = (
                    palette[HAIR_COLOUR, 0] * tone,
                    palette[HAIR_COLOUR, 1] * tone,
                    palette[HAIR_COLOUR, 2] * tone,
                )
                # A lock shines in a band across its strands, where the crown bends away from the light.
                band = 1 - abs(ny - 0.45 - 0.10 * strand) / 0.30
                if band > 0:
                    shine = (0.04 + 0.30 * (red + green + blue) / 3) * band * band * max(0.0, 0.35 + facing) * 0.5
                shadow = 0.62 + 0.38 * _ramp((v + 1.2) / 1.2)
            else:
                opening = -1.10 + neckline - 0.10 * np.cos(u) * np.cos(u)
                if v > opening:
                    # The chin's shadow falls on the neck.
                    dim = 0.48 + 0.34 * _ramp((-0.82 - v) / 0.30)
                    red, green, blue = (
                        palette[SKIN_COLOUR, 0] * dim,
                        palette[SKIN_COLOUR, 1] * dim * 0.97,
                        palette[SKIN_COLOUR, 2] * dim * 0.96,
                    )
                else:
                    dim = 0.70 + 0.30 * _ramp((opening - v - 0.012) / 0.02)
                    red, green, blue = (
                        palette[CLOTH_COLOUR, 0] * dim,
                        palette[CLOTH_COLOUR, 1] * dim,
                        palette[CLOTH_COLOUR, 2] * dim,
                    )
            if toon:
                facing = 0.80 if facing > 0.42 else (0.52 if facing > 0.02 else 0.30)
                if what != EYE:
                    shine = 0.0
            # Light bleeds around the terminator, red the farthest: that is what makes skin look soft.
            wrap_red = max(0.0, (facing + 0.30) / 1.30) * shadow
            wrap_green = max(0.0, (facing + 0.20) / 1.20) * shadow
            wrap_blue = max(0.0, (facing + 0.16) / 1.16) * shadow
            sky = (0.82 + 0.18 * ny) * shadow
            colour[row, column, 0] = (
                red * (palette[KEY_LIGHT, 0] * wrap_red + palette[AMBIENT_LIGHT, 0] * sky)
                + shine * palette[KEY_LIGHT, 0]
            )
            colour[row, column, 1] = (
                green * (palette[KEY_LIGHT, 1] * wrap_green + palette[AMBIENT_LIGHT, 1] * sky)
                + shine * palette[KEY_LIGHT, 1]
            )
            colour[row, column, 2] = (
                blue * (palette[KEY_LIGHT, 2] * wrap_blue + palette[AMBIENT_LIGHT, 2] * sky)
                + shine * palette[KEY_LIGHT, 2]
            )


@njit(cache=True)
def draw_outlines(shown: Array, kind: Array, depth: Array, colour: Array, reach: int) -> None:
    """Ink the borders of drawn faces: where the part or the depth changes within `reach` samples."""
    size = shown.shape[0]
    for row in range(size - reach):
        for column in range(size - reach):
            here = shown[row, column]
            part = -1 if here < 0 else int(kind[here])
            edge = False
            for step in range(2):
                other_row = row + (reach if step == 0 else 0)
                other_column = column + (reach if step == 1 else 0)
                other = shown[other_row, other_column]
                other_part = -1 if other < 0 else int(kind[other])
                if other_part != part or (
                    part >= 0 and abs(depth[row, column] - depth[other_row, other_column]) > 0.16
                ):
                    edge = True
            if edge:
                for channel in range(3):
                    colour[row, column, channel] *= 0.12


@njit(cache=True)
def resolve(
    colour: Array,
    shown: Array,
    kind: Array,
    gamma: Array,
    grain: Array,
    sigma: float,
    labels: Array,
    image: Array,
    mask: Array,
) -> None:
    """Average 2 x 2 samples to pixels, encode them, add grain; a pixel's label is its samples' commonest.

    Args:
        colour: samples in linear light [2N, 2N, 3].
        shown: triangle of each sample, -1 for none [2N, 2N].
        kind: what each triangle shows [T].
        gamma: encoding table over 0..1.
        grain: standard normal numbers [N, N, channels].
        sigma: standard deviation of the grain in 0..1.
        labels: label of each kind.
        image: out uint8 [N, N, channels].
        mask: out uint8 [N, N].
    """
    size, channels = image.shape[0], image.shape[2]
    top = gamma.size - 1
    encoded = np.zeros(3, np.float32)
    counts = np.zeros(4, np.int32)
    for row in range(size):
        for column in range(size):
            counts[:] = 0
            for channel in range(3):
                encoded[channel] = 0
            for sample in range(4):
                y, x = 2 * row + sample // 2, 2 * column + sample % 2
                triangle = shown[y, x]
                counts[0 if triangle < 0 else labels[kind[triangle]]] += 1
                for channel in range(3):
                    encoded[channel] += min(colour[y, x, channel], 1.0)
            best = 0
            for label in range(4):
                # Ties go to the smaller part: a thin lip or a narrow eye keeps its width.
                if counts[label] >= counts[best] and counts[label] > 0:
                    best = label
            mask[row, column] = best
            for channel in range(3):
                place = min(max(encoded[channel] * 0.25, 0.0), 1.0) * top
                entry = min(int(place), top - 1)
                encoded[channel] = gamma[entry] + (place - entry) * (gamma[entry + 1] - gamma[entry])
            if channels == 1:
                encoded[0] = 0.299 * encoded[0] + 0.587 * encoded[1] + 0.114 * encoded[2]
            for channel in range(channels):
                value = encoded[channel] + sigma * grain[row, column, channel]
                image[row, column, channel] = np.uint8(min(max(value * 255.0 + 0.5, 0.0), 255.0))


GAMMA_TABLE = _GAMMA
