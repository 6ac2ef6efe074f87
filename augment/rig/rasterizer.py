"""Triangles to samples: morphing, normals, projection and a z-buffer. Compiled, one thread, no fast-math.

A sample stores the triangle that it shows and its barycentric coordinates; shading comes later (lighting.py).
"""

from __future__ import annotations

import numpy as np
from numba import njit

from augment.rig.geometry import EAR, EYE, HAIR, MOUTH, SKIN

Array = np.ndarray

CAMERA_DISTANCE = 5.2
FRAME_HEIGHT = 2.27  # head units that the image's height spans at the head's centre
FRAME_MIDDLE = -0.16  # height in head units of the image's middle row
PIVOT_Y, PIVOT_Z = -0.25, -0.15  # the head turns about this point


@njit(cache=True)
def morph(neutral: Array, basis: Array, strengths: Array, out: Array) -> None:
    """out[:G] = neutral[:G] + strengths @ basis for the face grid; the other vertices are copied."""
    flat, target = neutral.reshape(-1), out.reshape(-1)
    target[:] = flat
    count = basis.shape[1] * 3
    for unit in range(basis.shape[0]):
        strength = strengths[unit]
        if strength != 0.0:
            row = basis[unit].reshape(-1)
            for index in range(count):
                target[index] += strength * row[index]


@njit(cache=True)
def fold_brightness(maps: Array, weights: Array, out: Array) -> None:
    """out = 1 + weights @ maps; maps [folds, texels], out [texels]."""
    out[:] = 1.0
    for fold in range(maps.shape[0]):
        weight = weights[fold]
        if weight != 0.0:
            for texel in range(out.size):
                out[texel] += weight * maps[fold, texel]


@njit(cache=True)
def settle_opening(
    vertices: Array, columns: Array, width: int, top: int, bottom: int, gap: Array, hollow: Array
) -> None:
    """Span an opening (eye, mouth) between the rows `top` and `bottom` of a grid `width` vertices wide.

    Borders may not cross: they keep at least `gap` [columns]. The rows between are spread evenly and sink by `hollow`
    [columns] in the middle, so the opening's ground shares its border with the skin and nothing shows through.
    """
    for index in range(columns.size):
        column = columns[index]
        upper, lower = top * width + column, bottom * width + column
        short = gap[index] - (vertices[upper, 1] - vertices[lower, 1])
        if short > 0:
            vertices[upper, 1] += 0.5 * short
            vertices[lower, 1] -= 0.5 * short
            depth = 0.5 * (vertices[upper, 2] + vertices[lower, 2])
            vertices[upper, 2] = depth
            vertices[lower, 2] = depth
        for row in range(top + 1, bottom):
            share = (row - top) / (bottom - top)
            here = row * width + column
            for axis in range(3):
                vertices[here, axis] = (1 - share) * vertices[upper, axis] + share * vertices[lower, axis]
            vertices[here, 2] -= 4 * share * (1 - share) * hollow[index]


@njit(cache=True)
def project(
    vertices: Array, body_start: int, head: Array, body: Array, view: Array, size: int, camera: Array, screen: Array
) -> None:
    """Turn the head (and, less, the body) and project to samples.

    Args:
        vertices: positions in head axes [V, 3].
        body_start: index of the first vertex that turns with the body.
        head: rotation of the vertices before `body_start` [3, 3].
        body: rotation of the others [3, 3].
        view: scale, shift right, shift down (fractions of the image).
        size: samples per side.
        camera: out, positions in camera axes [V, 3].
        screen: out, x right and y down in samples, z towards the camera [V, 3].
    """
    unit = size / FRAME_HEIGHT * view[0]
    for index in range(vertices.shape[0]):
        turn = head if index < body_start else body
        x, y, z = vertices[index, 0], vertices[index, 1] - PIVOT_Y, vertices[index, 2] - PIVOT_Z
        cx = turn[0, 0] * x + turn[0, 1] * y + turn[0, 2] * z
        cy = turn[1, 0] * x + turn[1, 1] * y + turn[1, 2] * z + PIVOT_Y
        cz = turn[2, 0] * x + turn[2, 1] * y + turn[2, 2] * z + PIVOT_Z
        camera[index, 0], camera[index, 1], camera[index, 2] = cx, cy, cz
        near = CAMERA_DISTANCE / (CAMERA_DISTANCE - cz)
        screen[index, 0] = size * (0.5 + view[1]) + cx * near * unit
        screen[index, 1] = size * (0.5 + view[2]) - (cy - FRAME_MIDDLE) * near * unit
        screen[index, 2] = cz


@njit(cache=True)
def possibly_shown(
    triangles: Array, kind: Array, coordinate: Array, hairline: Array, haired: bool, eared: bool
) -> Array:
    """Which triangles a person can show [T] bool; see `rasterize` for the hairline.

    Hair well below the hairline and scalp well above it never show: dropping them saves a third of the work.
    """
    keep = np.ones(kind.size, np.bool_)
    scale = (hairline.size - 1) / (2 * np.pi)
    for index in range(kind.size):
        what = kind[index]
        if what == EAR:
            keep[index] = eared
        elif what == HAIR or (what == SKIN and haired):
            highest, lowest = -1e9, 1e9
            for corner in range(3):
                vertex = triangles[index, corner]
                entry = int((coordinate[vertex, 0] + np.pi) * scale + 0.5)
                entry = min(max(entry, 0), hairline.size - 1)
                above = coordinate[vertex, 1] - hairline[entry]
                highest, lowest = max(highest, above), min(lowest, above)
            keep[index] = haired and highest > -0.45 if what == HAIR else lowest < 0.15
    return keep


@njit(cache=True)
def vertex_normals(camera: Array, triangles: Array, kind: Array, normals: Array) -> None:
    """Area-weighted vertex normals; the grounds of eyes and mouth have their own and do not soften the lids."""
    normals[:] = 0.0
    for index in range(triangles.shape[0]):
        if kind[index] == EYE or kind[index] == MOUTH:
            continue
        a, b, c = triangles[index, 0], triangles[index, 1], triangles[index, 2]
        ux, uy, uz = camera[b, 0] - camera[a, 0], camera[b, 1] - camera[a, 1], camera[b, 2] - camera[a, 2]
        vx, vy, vz = camera[c, 0] - camera[a, 0], camera[c, 1] - camera[a, 1], camera[c, 2] - camera[a, 2]
        nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        for vertex in (a, b, c):
            normals[vertex, 0] += nx
            normals[vertex, 1] += ny
            normals[vertex, 2] += nz
    for index in range(normals.shape[0]):
        x, y, z = normals[index, 0], normals[index, 1], normals[index, 2]
        length = np.sqrt(x * x + y * y + z * z)
        if length > 1e-12:
            normals[index, 0], normals[index, 1], normals[index, 2] = x / length, y / length, z / length
        else:
            normals[index, 2] = 1.0


@njit(cache=True)
def rasterize(
    screen: Array,
    triangles: Array,
    kind: Array,
    coordinate: Array,
    hairline: Array,
    both_sides: bool,
    depth: Array,
    shown: Array,
    weights: Array,
) -> None:
    """Fill the z-buffer.

    Args:
        screen: projected vertices [V, 3].
        triangles: vertex indices [T, 3].
        kind: what each triangle shows [T].
        coordinate: texture addresses [V, 3]; hair exists where its height is above `hairline` at its azimuth.
        hairline: table over azimuth -pi..pi.
        both_sides: whether hair shows its inner side too (long hair, seen behind the neck).
        depth: out [S, S], z of the nearest surface, -1e9 where there is none.
        shown: out [S, S] int32, index of the triangle or -1.
        weights: out [S, S, 2], barycentric weights of the triangle's second and third vertex.
    """
    size = depth.shape[0]
    depth[:] = -1e9
    shown[:] = -1
    scale = (hairline.size - 1) / (2 * np.pi)
    for index in range(triangles.shape[0]):
        what = kind[index]
        a, b, c = triangles[index, 0], triangles[index, 1], triangles[index, 2]
        ax, ay = screen[a, 0], screen[a, 1]
        bx, by = screen[b, 0] - ax, screen[b, 1] - ay
        cx, cy = screen[c, 0] - ax, screen[c, 1] - ay
        area = bx * cy - by * cx
        # Seen from outside a triangle has negative area (y points down); skin is closed, so its back never shows.
        if area > -1e-9 and (what < EAR or area < 1e-9 or (what == HAIR and not both_sides)):
            continue
        low_x, high_x = min(0.0, bx, cx) + ax, max(0.0, bx, cx) + ax
        low_y, high_y = min(0.0, by, cy) + ay, max(0.0, by, cy) + ay
        first_x, last_x = max(0, int(np.ceil(low_x - 0.5))), min(size - 1, int(np.floor(high_x - 0.5)))
        first_y, last_y = max(0, int(np.ceil(low_y - 0.5))), min(size - 1, int(np.floor(high_y - 0.5)))
        if first_x > last_x or first_y > last_y:
            continue
        inverse = 1.0 / area
        za, zb, zc = screen[a, 2], screen[b, 2] - screen[a, 2], screen[c, 2] - screen[a, 2]
        step_b, step_c = cy * inverse, -by * inverse
        for row in range(first_y, last_y + 1):
            py, px = row + 0.5 - ay, first_x + 0.5 - ax
            start_b, start_c = (px * cy - py * cx) * inverse, (bx * py - by * px) * inverse
            for column in range(first_x, last_x + 1):
                wb = start_b + (column - first_x) * step_b
                wc = start_c + (column - first_x) * step_c
                # A hair's breadth of tolerance closes the cracks that rounding leaves between neighbours.
                if wb < -1e-5 or wc < -1e-5 or wb + wc > 1.00001:
                    continue
                z = za + wb * zb + wc * zc
                if z <= depth[row, column]:
                    continue
                if what == HAIR:
                    wa = 1 - wb - wc
                    phi = wa * coordinate[a, 0] + wb * coordinate[b, 0] + wc * coordinate[c, 0]
                    height = wa * coordinate[a, 1] + wb * coordinate[b, 1] + wc * coordinate[c, 1]
                    place = min(max((phi + np.pi) * scale, 0.0), hairline.size - 1.001)
                    entry = int(place)
                    line = hairline[entry] + (place - entry) * (hairline[entry + 1] - hairline[entry])
                    if height < line:
                        continue
                depth[row, column] = z
                shown[row, column] = index
                weights[row, column, 0] = wb
                weights[row, column, 1] = wc
