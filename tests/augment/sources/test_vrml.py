from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from augment.sources.vrml import VrmlError, parse_vrml

# A square of one face, in the form of face scanners' files; the texture's corners are listed in another order.
SQUARE = """#VRML V2.0 utf8
Shape {
 appearance Appearance {
  material Material { ambientIntensity 0.2 diffuseColor 0.7 0.7 0.7 }
  texture ImageTexture { url "square.bmp" }
 }
 geometry IndexedFaceSet {
  solid FALSE
  coord Coordinate {
   point [
    0.000000 0.000000 0.500000,
    1.000000 0.000000 0.500000,
    1.000000 1.000000 0.500000,
    0.000000 1.000000 0.500000,
   ]
  }
  coordIndex [
   0, 1, 2, 3, -1,
  ]
  texCoord TextureCoordinate {
   point [
    0.25 0.75,
    0.25 0.25,
    0.75 0.25,
    0.75 0.75,
   ]
  }
  texCoordIndex [
   1, 2, 3, 0, -1,
  ]
 }
}
"""


def test_a_face_of_four_corners() -> None:
    model = parse_vrml(SQUARE.encode())
    np.testing.assert_array_equal(model.vertices, [[0, 0, 0.5], [1, 0, 0.5], [1, 1, 0.5], [0, 1, 0.5]])
    np.testing.assert_array_equal(model.triangles, [[0, 1, 2], [0, 2, 3]])
    np.testing.assert_array_equal(model.texture_triangles, [[1, 2, 3], [1, 3, 0]])
    np.testing.assert_array_equal(model.texture_coordinates[0], [0.25, 0.75])
    assert model.texture == "square.bmp"
    # The square's lower left corner carries the texture's lower left.
    np.testing.assert_array_equal(model.texture_coordinates[model.texture_triangles[0, 0]], [0.25, 0.25])


@pytest.mark.parametrize(
    "change",
    {
        "Windows line ends": lambda text: text.replace("\n", "\r\n"),
        "one line": lambda text: text.split("\n", 1)[0] + "\n" + " ".join(text.split("\n")[1:]),
        "no commas": lambda text: text.replace(",", ""),
        "commas for spaces": lambda text: text.replace("0 0", "0,,0"),
        "no last -1": lambda text: text.replace("-1,", ""),
        "tabs": lambda text: text.replace(" ", "\t").replace("#VRML\tV2.0", "#VRML V2.0"),
        "comments with brackets": lambda text: text.replace("solid FALSE", "solid FALSE # { [ a comment \"\n"),
        "a mark of byte order": lambda text: "\ufeff" + text,
        "names of nodes": lambda text: text.replace("Coordinate {", "DEF the_points Coordinate {", 1),
        "a list of addresses": lambda text: text.replace('"square.bmp"', '[ "square.bmp", "other.bmp" ]'),
        "a word in brackets in a string": lambda text: text.replace("Shape", 'WorldInfo { title "{[#x" }\nShape'),
        "exponents": lambda text: text.replace("0.500000", "5.0E-1"),
    }.values(),
)  # fmt: skip
def test_the_same_mesh_written_otherwise(change: Callable[[str], str]) -> None:
    plain, other = parse_vrml(SQUARE.encode()), parse_vrml(change(SQUARE).encode())
    for name in ("vertices", "triangles", "texture_coordinates", "texture_triangles"):
        np.testing.assert_array_equal(getattr(plain, name), getattr(other, name))
    assert other.texture == "square.bmp"


def test_clockwise_faces_are_turned_round() -> None:
    model = parse_vrml(SQUARE.replace("solid", "ccw FALSE solid").encode())
    np.testing.assert_array_equal(model.triangles, [[2, 1, 0], [3, 2, 0]])
    np.testing.assert_array_equal(model.texture_triangles, [[3, 2, 1], [0, 3, 1]])


def test_without_texture_indices_those_of_the_points_hold() -> None:
    start = SQUARE.index("  texCoordIndex")
    model = parse_vrml((SQUARE[:start] + SQUARE[SQUARE.index(" }\n}", start) :]).encode())
    np.testing.assert_array_equal(model.texture_triangles, model.triangles)


def test_no_texture_is_none() -> None:
    assert parse_vrml(SQUARE.replace('texture ImageTexture { url "square.bmp" }', "").encode()).texture is None


def test_faces_of_mixed_size_become_fans() -> None:
    lists = "0, 1, 2, -1,\n 0, 1, 2, 3, -1,\n 3, 2, 1, -1"
    text = SQUARE.replace("0, 1, 2, 3, -1", lists).replace("1, 2, 3, 0, -1", lists)
    np.testing.assert_array_equal(parse_vrml(text.encode()).triangles, [[0, 1, 2], [0, 1, 2], [0, 2, 3], [3, 2, 1]])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "the file is empty"),
        (b"  \n", "the file is empty"),
        (b"<html>", "begins with '<html>', not with '#VRML V2.0'"),
        (SQUARE.replace("V2.0", "V1.0").encode(), "begins with '#VRML V1.0 utf8'"),
        (bytes(range(128, 256)), "not with '#VRML"),
        (SQUARE[: SQUARE.index("1.000000 1.000000")].encode(), "is cut off"),
        (SQUARE[:-2].encode(), "is cut off"),
        ((SQUARE + "}").encode(), "closes 1 } more than it opens"),
        (SQUARE[: SQUARE.index("square")].encode(), "is cut off"),
        (SQUARE.replace("0, 1, 2, 3, -1", "0, 1, 2, 4, -1").encode(), "coordIndex points at 4, and there are 4 points"),
        (SQUARE.replace("0, 1, 2, 3, -1", "0, 1, 2, -2, -1").encode(), "coordIndex points at -2"),
        (SQUARE.replace("1, 2, 3, 0", "1, 2, 3, 9").encode(), "texCoordIndex points at 9, and there are 4 texture"),
        (SQUARE.replace("0, 1, 2, 3, -1", "0, 1, -1").encode(), "face 0 of coordIndex has 2 corners"),
        (SQUARE.replace("0, 1, 2, 3, -1", "").encode(), "coordIndex lists no faces"),
        (SQUARE.replace("1, 2, 3, 0, -1", "1, 2, 3, -1").encode(), "coordIndex and texCoordIndex differ"),
        (SQUARE.replace("1.000000 1.000000", "1.000000 1.0x0000").encode(), "points hold '1.0x0000', which is no n"),
        (SQUARE.replace("1.000000 1.000000", "1.000000 1.0-0000").encode(), "points are not all numbers"),
        (SQUARE.replace("1.000000 1.000000", "1.000000").encode(), "its points are 11 numbers, not 3 for each"),
        (SQUARE.replace("1.000000 1.000000", "1e999 0").encode(), "not finite"),
        (SQUARE.replace("0.25 0.75,", "nan 0.75,").encode(), "texture coordinates hold 'nan'"),
        (SQUARE.replace("coord Coordinate", "coord Points").encode(), "it has no list of points"),
        (SQUARE.replace("TextureCoordinate", "Texture").encode(), "it has no list of texture coordinates"),
        (SQUARE.replace("IndexedFaceSet", "Box").encode(), "0 meshes"),
        ((SQUARE + SQUARE.split("\n", 1)[1]).encode(), "2 meshes"),
        (
            SQUARE.replace("Shape {", "Transform { rotation 0 1 0 1.57 children Shape {").encode() + b"}",
            "moves its mesh or texture by a rotation",
        ),
    ],
)
def test_broken_files_are_refused(data: bytes, message: str) -> None:
    with pytest.raises(VrmlError, match=message):
        parse_vrml(data)


def test_everything_wrong_is_said_at_once() -> None:
    text = SQUARE.replace("0, 1, 2, 3, -1", "0, 1, 7, -1").replace("0.25 0.75,", "0.25")
    with pytest.raises(VrmlError, match=r"texture coordinates are 7 numbers.*coordIndex points at 7"):
        parse_vrml(text.encode())


@given(
    vertices=arrays.arrays(np.float64, st.tuples(st.integers(3, 9), st.just(3)), elements=st.floats(-1e9, 1e9)),
    faces=st.lists(st.lists(st.integers(0, 2), min_size=3, max_size=6), min_size=1, max_size=6),
)
def test_what_is_written_is_read(vertices: np.ndarray, faces: list[list[int]]) -> None:
    points = ", ".join(" ".join(map(repr, row)) for row in vertices.tolist())
    lists = " ".join(", ".join(map(str, face)) + ", -1," for face in faces)
    text = (
        f"#VRML V2.0 utf8\nShape {{ geometry IndexedFaceSet {{ coord Coordinate {{ point [{points}] }} "
        f"coordIndex [{lists}] texCoord TextureCoordinate {{ point [{points}] }} }} }}"
    )
    count = vertices.size
    if count % 2:
        with pytest.raises(VrmlError, match=f"texture coordinates are {count} numbers"):
            parse_vrml(text.encode())
        return
    model = parse_vrml(text.encode())
    np.testing.assert_array_equal(model.vertices, vertices)
    np.testing.assert_array_equal(model.texture_coordinates.ravel(), vertices.ravel())
    expected = [[face[0], face[k], face[k + 1]] for face in faces for k in range(1, len(face) - 1)]
    np.testing.assert_array_equal(model.triangles, expected)


@given(cut=st.integers(0, len(SQUARE) - 3))
def test_a_file_cut_anywhere_is_refused(cut: int) -> None:
    with pytest.raises(VrmlError):
        parse_vrml(SQUARE.encode()[:cut])


def test_a_model_of_a_scan_s_size_is_read_fast() -> None:
    generator = np.random.default_rng(0)

    def listed(form: str, rows: np.ndarray) -> str:
        return ",\n".join(form.format(*row) for row in rows.tolist())

    points = listed("{:f} {:f} {:f}", generator.normal(size=(10_000, 3)) * 80)
    places = listed("{:f} {:f}", generator.random((10_000, 2)))
    faces = listed("{}, {}, {}, -1", generator.integers(0, 10_000, (20_000, 3)))
    text = (
        f"#VRML V2.0 utf8\nShape {{ geometry IndexedFaceSet {{ coord Coordinate {{ point [\n{points}] }} coordIndex "
        f"[\n{faces}] texCoord TextureCoordinate {{ point [\n{places}] }} texCoordIndex [\n{faces}] }} }}"
    ).encode()
    start = time.process_time()
    assert len(parse_vrml(text).triangles) == 20_000
    assert time.process_time() - start < 2  # processor seconds; 0.1 on an idle core: 2,500 models take minutes


HOSTILE = {
    "quotes after backslashes, without end": '"\\',
    "quotes without end": '"',
    "brackets without end": "[",
    "comments": "#",
    "words before a string that never comes": "ImageTexture { url ",
    "one word and white space without end": "ImageTexture{url" + " " * 50,
    "meshes without end": "IndexedFaceSet {",
    "moves": "Transform { rotation ",
    "points": "coord Coordinate { point ",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_text_is_refused_in_time_that_grows_with_its_length(name: str) -> None:
    """160 KB of `"\\` took more than a minute: each quote was followed to the end in vain."""
    piece = HOSTILE[name]
    for text in (piece * (2_000_000 // len(piece)), "ImageTexture { url" + " " * 2_000_000):
        start = time.process_time()
        with pytest.raises(VrmlError):
            parse_vrml(f"#VRML V2.0 utf8\n{text}".encode())
        assert time.process_time() - start < 10


def test_a_string_without_end_is_said_and_escaped_quotes_end_none() -> None:
    for wrong in ('"square.bmp', '"square.bmp\\', '"square\\"', '"'):
        with pytest.raises(VrmlError, match="cut off: a string is opened and not closed"):
            parse_vrml(SQUARE[: SQUARE.index('"square')].encode() + wrong.encode())
    escaped = parse_vrml(SQUARE.replace("square.bmp", 'a \\"b\\\\').encode())
    assert escaped.texture == 'a \\"b\\\\'
