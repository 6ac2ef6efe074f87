"""Textured meshes of VRML 2.0 files (ISO/IEC 14772-1:1997, sections 6.23 IndexedFaceSet and 6.22 ImageTexture).

Read is what face scanners write: one IndexedFaceSet with points, faces of three and more corners, and texture
coordinates. White space, commas, comments and the order of the fields are free, as the standard says; what is cut off,
points beyond its lists or needs a scene graph (transforms, several shapes) is refused rather than guessed.
"""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass

import numpy as np

_HEADER = "#VRML V2.0"
# A string without end is taken to the text's end, and nothing is tried twice (possessive repeats): otherwise each of
# many opening quotes is followed to the end in vain, in time that grows with the square of the file.
_STRING_OR_COMMENT = re.compile(r'"(?:[^"\\]++|\\.)*+("|\\?\Z)|#[^\r\n]*', re.DOTALL)
_LIST = re.compile(r'\[([^][{}"]*)\]')
_URL = re.compile(r'\bImageTexture\s*+\{[^{}]*?\burl\s*+(?:\[\s*+)?"(\d+)"')
_MOVES = re.compile(r"\b(?:Transform|TextureTransform)\s*\{[^{}]*?\b(rotation|scale|translation)\b")
_WORD = re.compile(r"\S+")
_NO_NUMBER = re.compile(r"[^\s,eE0-9.+-]")
_NO_INTEGER = re.compile(r"[^\s,0-9-]")


class VrmlError(ValueError):
    """The bytes are no VRML file that this reader understands; says everything that is wrong with it."""


@dataclass(frozen=True)
class VrmlModel:
    """What a VRML file holds.

    Attributes:
        vertices: float64 [V, 3], y up.
        triangles: int64 [T, 3]; faces of more corners are cut to fans. Counter-clockwise seen from outside.
        texture_coordinates: float64 [U, 2], v up.
        texture_triangles: int64 [T, 3], into `texture_coordinates`.
        texture: The texture's address as the file gives it; None where it names none.
    """

    vertices: np.ndarray
    triangles: np.ndarray
    texture_coordinates: np.ndarray
    texture_triangles: np.ndarray
    texture: str | None


def parse_vrml(data: bytes) -> VrmlModel:
    """Reads a textured mesh.

    Args:
        data: The bytes of a `.wrl` file.

    Raises:
        VrmlError: The bytes are empty, cut off or no VRML 2.0, hold another number of meshes than one, a list that is
            missing or not of numbers, or an index that points beyond its list.
    """
    text = data.decode("utf-8-sig", errors="replace")
    if not text.strip():
        raise VrmlError("the file is empty")
    if not text.startswith(_HEADER):
        raise VrmlError(f"it begins with {text[:16].splitlines()[0]!r}, not with {_HEADER!r}")
    # What remains is the outline: comments go, strings and lists of numbers become their places in these.
    strings: list[str] = []
    lists: list[str] = []

    def keep_string(found: re.Match[str]) -> str:
        if not found[0].startswith('"'):
            return ""
        if found[1] != '"':
            raise VrmlError("it is cut off: a string is opened and not closed")
        strings.append(found[0][1:-1])
        return f'"{len(strings) - 1}"'

    def keep_list(found: re.Match[str]) -> str:
        lists.append(found[1])
        return f"[{len(lists) - 1}]"

    text = _STRING_OR_COMMENT.sub(keep_string, text)
    for opening, closing in ("{}", "[]"):
        unclosed = text.count(opening) - text.count(closing)
        if unclosed > 0:
            raise VrmlError("it is cut off: brackets are opened and not closed")
        if unclosed < 0:
            raise VrmlError(f"it closes {-unclosed} {closing} more than it opens")
    outline = _LIST.sub(keep_list, text)
    meshes = len(re.findall(r"\bIndexedFaceSet\s*\{", outline))
    moved = _MOVES.search(outline)
    reasons = [f"it holds {meshes} meshes (IndexedFaceSet), not 1"] if meshes != 1 else []
    if moved is not None:
        reasons.append(f"it moves its mesh or texture by a {moved[1]}, which this reader does not apply")
    if reasons:
        raise VrmlError("; ".join(reasons))

    def list_after(name: str) -> str | None:
        found = re.search(rf"\b{name}\s*\[(\d+)\]", outline)
        return None if found is None else lists[int(found[1])]

    vertices = _floats(list_after(r"Coordinate\s*\{\s*point"), "points", 3, reasons)
    texture_coordinates = _floats(list_after(r"TextureCoordinate\s*\{\s*point"), "texture coordinates", 2, reasons)
    corners = _faces(list_after("coordIndex"), "coordIndex", len(vertices), "points", reasons)
    if corners is None:
        reasons.append("it has no list coordIndex")
    texture_corners = _faces(
        list_after("texCoordIndex"), "texCoordIndex", len(texture_coordinates), "texture coordinates", reasons
    )
    if texture_corners is None and corners is not None:
        # ISO 14772-1, 6.23: without texCoordIndex the faces' own indices hold for the texture too.
        texture_corners = corners
        if len(texture_coordinates) and len(corners[0]) and corners[0].max() >= len(texture_coordinates):
            reasons.append("it has no texCoordIndex, and fewer texture coordinates than points")
    if not reasons and corners is not None and texture_corners is not None:
        if not np.array_equal(corners[1], texture_corners[1]):
            reasons.append("the faces of coordIndex and texCoordIndex differ in number or in their corners")
        else:
            clockwise = re.search(r"\bccw\s+FALSE\b", outline) is not None
            triangles, texture_triangles = (_fans(*faces, clockwise) for faces in (corners, texture_corners))
            address = _URL.search(outline)
            texture = None if address is None else strings[int(address[1])]
            return VrmlModel(vertices, triangles, texture_coordinates, texture_triangles, texture)
    raise VrmlError("; ".join(reasons))


def _floats(inside: str | None, what: str, width: int, reasons: list[str]) -> np.ndarray:
    """A list of coordinates [n, width]; empty, with a reason, where it is wrong or missing."""
    values = np.zeros(0)
    if inside is None:
        reasons.append(f"it has no list of {what}")
    else:
        values = _numbers(inside, np.float64, _NO_NUMBER, what, reasons)
        if values.size == 0 or values.size % width:
            if not any(what in reason for reason in reasons):
                reasons.append(f"its {what} are {values.size} numbers, not {width} for each")
            values = np.zeros(0)
        elif not np.isfinite(values).all():
            reasons.append(f"its {what} hold numbers that are not finite")
    return values.reshape(-1, width)


def _numbers(inside: str, dtype: type, stranger: re.Pattern[str], what: str, reasons: list[str]) -> np.ndarray:
    """The numbers of a list; commas are white space in VRML."""
    found = stranger.search(inside)
    if found is None:
        if not inside.strip(" \t\r\n,"):
            return np.zeros(0, dtype)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")  # before NumPy 2.3 a word that is no number ends the list with a warning
                return np.fromstring(inside.replace(",", " "), dtype, sep=" ")
        except (ValueError, DeprecationWarning):
            reasons.append(f"its {what} are not all numbers")
            return np.zeros(0, dtype)
    start = max(inside.rfind(mark, 0, found.start()) for mark in " \t\r\n,") + 1
    word = _WORD.match(inside, start)
    reasons.append(f"its {what} hold {(word[0] if word else found[0])[:20]!r}, which is no number")
    return np.zeros(0, dtype)


def _faces(
    inside: str | None, name: str, count: int, into: str, reasons: list[str]
) -> tuple[np.ndarray, np.ndarray] | None:
    """A list of faces as all corners one after the other, and how many corners each face has; None: no such list."""
    if inside is None:
        return None
    indices = _numbers(inside, np.int64, _NO_INTEGER, name, reasons)
    if indices.size and indices[-1] != -1:
        indices = np.append(indices, -1)  # the last face's end may be left out
    ends = np.flatnonzero(indices == -1)
    lengths = np.diff(ends, prepend=-1) - 1
    corners = indices[indices != -1]
    if not indices.size:
        if not any(name in reason for reason in reasons):
            reasons.append(f"{name} lists no faces")
    elif lengths.min() < 3:
        reasons.append(f"face {int(lengths.argmin())} of {name} has {lengths.min()} corners, not 3 or more")
    elif corners.min() < 0 or corners.max() >= count:
        wrong = int(corners[(corners < 0) | (corners >= count)][0])
        reasons.append(f"{name} points at {wrong}, and there are {count} {into}")
    return corners, lengths


def _fans(corners: np.ndarray, lengths: np.ndarray, clockwise: bool) -> np.ndarray:
    """Cuts faces to triangles that share the face's first corner, int64 [T, 3]."""
    starts = np.cumsum(lengths) - lengths
    fans = lengths - 2
    first = np.repeat(starts, fans)
    step = np.arange(len(first)) - np.repeat(np.cumsum(fans) - fans, fans)
    triangles = np.stack([corners[first], corners[first + step + 1], corners[first + step + 2]], axis=1)
    return triangles[:, ::-1].copy() if clockwise else triangles
