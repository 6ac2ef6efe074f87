"""BU-3DFE, read from a small copy: the embedded head's own meshes as VRML files, with its pictures as textures."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from small_faces import file_bytes, noise

from augment.core import regular_files
from augment.core.errors import InputError, Problem
from augment.faces.splits import FoldSettings, assign_folds, fold_splits
from augment.faces.table import read_faces
from augment.prepare.prepare import prepare_faces
from augment.rig import FaceSpec
from augment.rig.render import _Canvas, _render_one
from augment.sources import open_source
from augment.sources.base import RawFace
from augment.sources.bu3dfe import EXPRESSIONS, SUBJECTS, Bu3dfeSource
from augment.sources.vrml import parse_vrml

pytestmark = pytest.mark.slow

EDGE = 96  # of the textures
PEOPLE = {"F0001": ("WH", 0), "F0002": ("AE", 3), "M0001": ("BL", 5)}  # ancestry, and which embedded person
MOMENTS = (*(f"{code}0{level}" for code in EXPRESSIONS if code != "NE" for level in (1, 2, 3, 4)), "NE00")
UNIT = 106.0  # mm of one unit of the rig; the models are in mm

FORM = """#VRML V2.0 utf8
Shape {
 appearance Appearance {
  material Material { diffuseColor 0.7 0.7 0.7 }
  texture ImageTexture { url "TEXTURE" }
 }
 geometry IndexedFaceSet {
  solid FALSE
  coord Coordinate {
   point [
POINTS
   ]
  }
  coordIndex [
FACES
  ]
  texCoord TextureCoordinate {
   point [
PLACES
   ]
  }
  texCoordIndex [
CORNERS
  ]
 }
}
"""


@cache
def model_files(subject: int, moment: str) -> tuple[bytes, bytes]:
    """A model's `.wrl`, whose texture is called TEXTURE, and its `.bmp`.

    Every other row and column of the head's front, as faces of four corners. The texture is the head's own frontal
    picture, so each vertex has its place there for a texture coordinate.
    """
    spec = FaceSpec(
        face_id="scan",
        subject=subject,
        expression=EXPRESSIONS[moment[:2]],
        label="",
        take=0,
        yaw=0.0,
        illumination="normal",
        intensity=max(int(moment[2:]), 1) / 4,
        split=None,
        subject_name=None,
    )
    canvas = _Canvas(EDGE)
    picture, mask = np.zeros((EDGE, EDGE, 3), np.uint8), np.zeros((EDGE, EDGE), np.uint8)
    _render_one(spec, canvas, 0, picture, mask)
    mesh = canvas.mesh
    rows = np.arange(2, mesh.rows - 1, 2)
    columns = np.flatnonzero(np.abs(mesh.column_phi) < np.radians(85))[::2]
    kept = (rows[:, None] * mesh.columns + columns).ravel()
    vertices = canvas.local[kept] * UNIT + (3.0, -20.0, 1300.0)  # scanners have their own origin
    places = canvas.screen[kept, :2] / (2 * EDGE) * (1, -1) + (0, 1)
    cells = np.arange(len(kept)).reshape(len(rows), len(columns))
    quads = np.stack([cells[:-1, :-1], cells[1:, :-1], cells[1:, 1:], cells[:-1, 1:]], -1).reshape(-1, 4)
    shuffled = np.random.default_rng(subject).permutation(len(kept))  # texture corners are listed in another order
    shuffled_places = np.empty_like(places)
    shuffled_places[shuffled] = places
    text = FORM
    for name, form, rows in (
        ("POINTS", "{:.6f} {:.6f} {:.6f},", vertices),
        ("FACES", "{}, {}, {}, {}, -1,", quads),
        ("PLACES", "{:.6f} {:.6f},", shuffled_places),
        ("CORNERS", "{}, {}, {}, {}, -1,", shuffled[quads]),
    ):
        text = text.replace(name, "\n".join(form.format(*row) for row in rows.tolist()))
    return text.encode(), file_bytes(picture, "BMP")


def write_model(folder: Path, subject: str, moment: str, ancestry: str, *, person: int = 0) -> Path:
    """Writes a model with the files that lie beside it; returns the `.wrl`."""
    folder.mkdir(parents=True, exist_ok=True)
    stem = folder / f"{subject}_{moment}{ancestry}"
    model, texture = model_files(person, moment)
    path = stem.with_name(f"{stem.name}_F3D.wrl")
    path.write_bytes(model.replace(b"TEXTURE", f"{stem.name}_F3D.bmp".encode()))
    stem.with_name(f"{stem.name}_F3D.bmp").write_bytes(texture)
    stem.with_name(f"{stem.name}_F2D.bmp").write_bytes(b"a photograph, not read")
    stem.with_name(f"{stem.name}_F3D.bnd").write_text("1\t\t0.0 0.0 0.0\n")
    stem.with_name(f"{stem.name}_RAW.wrl").write_bytes(b"the uncropped scan, not read")
    stem.with_name(f"{stem.name}_RAW.pse").write_text("1\t\t0.0 0.0 0.0\n")
    return path


def small_copy(root: Path) -> Path:
    """Two women and a man in the exact layout, all 25 models each, below a folder as the archive has it."""
    for subject, (ancestry, person) in PEOPLE.items():
        for moment in MOMENTS:
            write_model(root / "BU_3DFE" / subject, subject, moment, ancestry, person=person)
    (root / "BU_3DFE" / "readme.txt").write_text("The database.")
    return root


def one_person(root: Path, moments: tuple[str, ...] = ("HA04", "NE00")) -> Path:
    for moment in moments:
        write_model(root / "F0001", "F0001", moment, "WH")
    return root


def changed(change: Callable[[Path], Any], moments: tuple[str, ...] = ("HA04", "NE00")) -> Callable[[Path], Path]:
    """A copy of one person's few models, changed; `change` gets the person's folder."""

    def build(root: Path) -> Path:
        change(one_person(root, moments) / "F0001")
        return root

    return build


def edit(name: str, old: bytes, new: bytes, count: int = 1) -> Callable[[Path], Path]:
    def change(folder: Path) -> None:
        data = (folder / name).read_bytes()
        assert old in data
        (folder / name).write_bytes(data.replace(old, new, count))

    return changed(change)


def cut(name: str, share: float) -> Callable[[Path], Path]:
    def change(folder: Path) -> None:
        data = (folder / name).read_bytes()
        (folder / name).write_bytes(data[: int(len(data) * share)])

    return changed(change)


def rename(old: str, new: str) -> Callable[[Path], Path]:
    return changed(lambda folder: (folder / old).rename(folder / new))


def add(name: str, data: bytes = b"x") -> Callable[[Path], Path]:
    return changed(lambda folder: (folder / name).write_bytes(data))


def nothing(root: Path) -> Path:
    return root


def archives_only(root: Path) -> Path:
    for subject in ("F0001", "F0002"):
        (root / f"{subject}.rar").write_bytes(b"Rar!")
    return root


def two_copies(root: Path) -> Path:
    for part in ("BU_3DFE - 1", "BU_3DFE - 2"):
        one_person(root / part)
    return root


def several_at_once(root: Path) -> Path:
    cut("F0001_HA04WH_F3D.wrl", 0.4)(root)
    (root / "F0001" / "F0001_NE00WH_F3D.bmp").unlink()
    (root / "F0001" / "notes.doc").write_bytes(b"x")
    write_model(root / "f0002", "F0002", "NE00", "AE", person=1)
    (root / "F0003.rar").write_bytes(b"Rar!")
    return root


def flat(folder: Path) -> None:
    path = folder / "F0001_NE00WH_F3D.wrl"
    head, rest = path.read_bytes().split(b"point [\n", 1)
    points, rest = rest.split(b"\n   ]", 1)
    rows = [b" ".join([*line.split(b" ")[:2], b"7.0,"]) for line in points.splitlines()]
    path.write_bytes(head + b"point [\n" + b"\n".join(rows) + b"\n   ]" + rest)


HAPPY = "F0001/F0001_HA04WH_F3D"
CASES: dict[str, tuple[str, Callable[[Path], Path], dict[str, Any], str]] = {
    "BU-3DFE: an empty folder": ("bu3dfe", nothing, {}, "no layout of BU-3DFE .*looked for F0001/F0001_NE00WH_F3D.wrl"),
    "BU-3DFE: archives that are not unpacked": (
        "bu3dfe",
        archives_only,
        {},
        "F0001.rar: is an archive .*\n.*F0002.rar",
    ),
    "BU-3DFE: a download that has not ended": (
        "bu3dfe",
        add("F0001_SA01WH_F3D.wrl.part"),
        {},
        "F0001/F0001_SA01WH_F3D.wrl.part: is an archive or a download that has not ended",
    ),
    "BU-3DFE: a person's folder without models": (
        "bu3dfe",
        lambda root: (one_person(root), (root / "M0002").mkdir())[0],
        {},
        r"M0002/: holds no model \(\*_F3D.wrl\)",
    ),
    "BU-3DFE: a person who is none": (
        "bu3dfe",
        lambda root: (one_person(root), write_model(root / "F0057", "F0057", "NE00", "WH"))[0],
        {},
        r"F0057/: is not a person \(F0001 to F0056, M0001 to M0044\)",
    ),
    "BU-3DFE: a person's folder in lower case": (
        "bu3dfe",
        lambda root: (one_person(root), write_model(root / "m0003", "M0003", "NE00", "WH"))[0],
        {},
        "m0003/: is written in another case .*rename it to M0003",
    ),
    "BU-3DFE: a model in lower case": (
        "bu3dfe",
        rename("F0001_HA04WH_F3D.wrl", "f0001_ha04wh_f3d.WRL"),
        {},
        "f0001_ha04wh_f3d.WRL: is written in another case .*rename it to F0001_HA04WH_F3D.wrl",
    ),
    "BU-3DFE: a model renamed": (
        "bu3dfe",
        rename("F0001_HA04WH_F3D.wrl", "happy.wrl"),
        {},
        r"F0001/happy.wrl: is not a file of a model \(F0001_AN01WH_F3D.wrl\)",
    ),
    "BU-3DFE: a neutral model of level 1": (
        "bu3dfe",
        rename("F0001_NE00WH_F3D.wrl", "F0001_NE01WH_F3D.wrl"),
        {},
        "F0001_NE01WH_F3D.wrl: is not a file of a model",
    ),
    "BU-3DFE: another person's model": (
        "bu3dfe",
        changed(lambda folder: write_model(folder, "M0001", "SA02", "WH")),
        {},
        "F0001/M0001_SA02WH_F3D.wrl: is a file of M0001 .move it to the folder M0001",
    ),
    "BU-3DFE: one model twice": (
        "bu3dfe",
        changed(lambda folder: write_model(folder, "F0001", "HA04", "LA")),
        {},
        "F0001_HA04WH_F3D.wrl: is the model HA04, like F0001_HA04LA_F3D.wrl",
    ),
    "BU-3DFE: two people's models in one folder": (
        "bu3dfe",
        changed(lambda folder: write_model(folder, "F0001", "SA01", "LA")),
        {},
        "F0001/: holds models of two people",
    ),
    "BU-3DFE: one person in two copies": (
        "bu3dfe",
        two_copies,
        {},
        "BU_3DFE - 2/F0001/: is the person of BU_3DFE - 1/F0001",
    ),
    "BU-3DFE: a folder among the models": (
        "bu3dfe",
        changed(lambda folder: (folder / "new").mkdir()),
        {},
        "F0001/new/: is a folder among the models",
    ),
    "BU-3DFE: an empty model": ("bu3dfe", cut("F0001_HA04WH_F3D.wrl", 0), {}, f"{HAPPY}.wrl: .*the file is empty"),
    "BU-3DFE: a model cut off": ("bu3dfe", cut("F0001_HA04WH_F3D.wrl", 0.7), {}, f"{HAPPY}.wrl: .*it is cut off"),
    "BU-3DFE: a picture renamed to a model": (
        "bu3dfe",
        add("F0001_SA01WH_F3D.wrl", file_bytes(noise(0))),
        {},
        "F0001_SA01WH_F3D.wrl: is no model that can be read: .*not with '#VRML V2.0'",
    ),
    "BU-3DFE: a model that points beyond its points": (
        "bu3dfe",
        edit("F0001_HA04WH_F3D.wrl", b"coordIndex [\n0, ", b"coordIndex [\n99999, "),
        {},
        f"{HAPPY}.wrl: .*coordIndex points at 99999, and there are",
    ),
    "BU-3DFE: a word among a model's numbers": (
        "bu3dfe",
        edit("F0001_HA04WH_F3D.wrl", b"point [\n", b"point [\nabc "),
        {},
        f"{HAPPY}.wrl: .*points hold 'abc', which is no number",
    ),
    "BU-3DFE: a model without texture coordinates": (
        "bu3dfe",
        edit("F0001_HA04WH_F3D.wrl", b"TextureCoordinate", b"Coordinates"),
        {},
        f"{HAPPY}.wrl: .*no list of texture coordinates",
    ),
    "BU-3DFE: a flat model": ("bu3dfe", changed(flat), {}, "F0001_NE00WH_F3D.wrl: is flat"),
    "BU-3DFE: a model without its texture": (
        "bu3dfe",
        changed(lambda folder: (folder / "F0001_HA04WH_F3D.bmp").unlink()),
        {},
        f"{HAPPY}.wrl: has no texture: there is neither F0001_HA04WH_F3D.bmp",
    ),
    "BU-3DFE: a texture cut off": (
        "bu3dfe",
        cut("F0001_HA04WH_F3D.bmp", 0.5),
        {},
        f"{HAPPY}.bmp: does not decode: .*truncated",
    ),
    "BU-3DFE: a texture that is no picture": (
        "bu3dfe",
        add("F0001_HA04WH_F3D.bmp", b"hello"),
        {},
        f"{HAPPY}.bmp: does not decode",
    ),
    "BU-3DFE: several problems at once": (
        "bu3dfe",
        several_at_once,
        {},
        r"(?s)5 problems.*F0003.rar.*f0002/.*notes.doc.*cut off.*has no texture",
    ),
    "BU-3DFE: a pose that shows no face": ("bu3dfe", one_person, {"yaws": (0.0, 90.0)}, "yaws: .*-60 to 60 degrees"),
    "BU-3DFE: a level that is none": ("bu3dfe", one_person, {"levels": (0, 4)}, "levels: .*numbers of 1 to 4"),
    "BU-3DFE: a colour that is none": ("bu3dfe", one_person, {"background": (0, 0, 300)}, "background: .*0 to 255"),
}


@pytest.mark.parametrize("case", CASES)
def test_bad_input_ends_with_an_error_that_names_it(tmp_path: Path, case: str) -> None:
    source, build, settings, message = CASES[case]
    (tmp_path / "in").mkdir()
    root = build(tmp_path / "in")
    settings = {"size": 32, "yaws": (0.0, 30.0), "samples": 1, **settings}
    with pytest.raises(InputError, match=message):
        prepare_faces(open_source(source, root, **settings), tmp_path / "out", image_size=16, channels=1)
    assert not (tmp_path / "out" / "data").exists()


def test_all_problems_are_told_once_and_the_rest_is_read(tmp_path: Path) -> None:
    source = open_source("bu3dfe", several_at_once(one_person(tmp_path, ("HA04", "NE00", "SU02"))), size=32, samples=1)
    found = list(source.faces())
    # Seven poses of a broken model are one problem.
    assert len([item for item in found if isinstance(item, Problem)]) == 5
    faces = [item for item in found if isinstance(item, RawFace)]
    assert [face.name for face in faces] == [
        f"F0001_SU02WH/{yaw}" for yaw in ("-45", "-30", "-15", "0", "+15", "+30", "+45")
    ]


def test_the_whole_small_copy_becomes_faces(tmp_path: Path) -> None:
    source = open_source("bu3dfe", small_copy(tmp_path / "in"), size=48, samples=1, yaws=(-30.0, 0.0, 30.0))
    assert isinstance(source, Bu3dfeSource) and len(source) == 3 * 25 * 3
    report = prepare_faces(source, tmp_path / "out", image_size=48, channels=3)
    assert report.faces == 225 and report.problems == 0 and report.blank_pictures == 0
    assert report.class_names == ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")
    assert {name: sum(splits.values()) for name, splits in report.counts.items()} == {
        **dict.fromkeys(report.class_names, 36),
        "neutral": 9,
    }
    rows = read_faces(tmp_path / "out").to_pylist()
    assert {row["subject"] for row in rows} == set(PEOPLE)
    by_name = {row["face_id"]: row for row in rows}
    row = by_name["bu3dfe/F0002_FE03AE/-30"]
    assert (row["label_name"], row["yaw"], row["intensity"], row["split"]) == ("fear", -30.0, 0.75, None)
    assert row["image"]["path"] == "BU_3DFE/F0002/F0002_FE03AE_F3D.wrl"
    assert by_name["bu3dfe/M0001_NE00BL/+30"]["intensity"] is None
    assert report.columns["landmarks"] == 0 and report.columns["mask"] == 0
    assert source.further_counts() == {"models": 75, "women": 2, "men": 1}
    folds = assign_folds(read_faces(tmp_path / "out"), FoldSettings(kind="subjects", folds=3), 0)
    for fold in range(3):
        splits = fold_splits(folds, fold)
        tested = {name.split("/")[1].split("_")[0] for name, split in splits.items() if split == "test"}
        trained = {name.split("/")[1].split("_")[0] for name, split in splits.items() if split == "train"}
        assert len(tested) == 1 and not tested & trained


def test_published_counts_follow_the_settings(tmp_path: Path) -> None:
    one_person(tmp_path)
    counts = {count.what: count.count for count in open_source("bu3dfe", tmp_path).published}
    assert counts["faces"] == 2500 * 7 and counts["models"] == 2500 and counts["subjects"] == 100
    assert (counts["women"], counts["men"]) == (56, 44)
    assert counts["class happy"] == 100 * 4 * 7 and counts["class neutral"] == 100 * 7
    assert counts["intensity 0.25"] == 600 * 7 and counts["pose +15"] == counts["pose 0"] == 2500
    fewer = open_source("bu3dfe", tmp_path, yaws=(0.0,), levels=(3, 4), neutral=False)
    counts = {count.what: count.count for count in fewer.published}
    assert counts["faces"] == 1200 and counts["class happy"] == 200 and "class neutral" not in counts
    assert "intensity 0.25" not in counts and counts["intensity 1"] == 600
    assert "neutral" not in fewer.class_names
    assert [face.name for face in fewer.faces() if isinstance(face, RawFace)] == ["F0001_HA04WH/0"]


def test_missing_says_who_and_what_is_lacking(tmp_path: Path) -> None:
    small_copy(tmp_path)
    folder = tmp_path / "BU_3DFE"
    for path in (folder / "F0002").glob("F0002_SU0[34]AE_*"):
        path.unlink()
    for path in (folder / "M0001").glob("*_F?D.bmp"):
        path.unlink()
    told = [str(problem) for problem in open_source("bu3dfe", tmp_path).missing()]
    assert told[0].startswith("BU-3DFE: lacks the people F0003, F0004, F0005, F0006, F0007 ... 97 in all")
    assert told[1] == "BU_3DFE/F0002: lacks the models SU03, SU04"
    assert told[2].startswith("BU_3DFE/M0001: lacks the textures of AN01, AN02, AN03, AN04, DI01 ... 25 in all")
    assert len(told) == 3
    assert len(SUBJECTS) == 100


def read_model(root: Path, moment: str = "NE00", **settings: Any) -> dict[float, RawFace]:
    """One model's faces by yaw."""
    source = open_source("bu3dfe", root, levels=(4,), **settings)
    faces = [face for face in source.faces() if isinstance(face, RawFace) and f"_{moment}" in face.name]
    return {face.yaw: face for face in faces if face.yaw is not None}


@pytest.mark.parametrize("yaw", [-45.0, -15.0, 0.0, 30.0])
def test_textures_stand_upright_and_poses_turn_to_their_side(tmp_path: Path, yaw: float) -> None:
    """Points of the face's middle keep the colours that the texture has where their coordinates say."""
    path = one_person(tmp_path, ("NE00",)) / "F0001" / "F0001_NE00WH_F3D.wrl"
    model = parse_vrml(path.read_bytes())
    texture = np.asarray(Image.open(path.with_suffix(".bmp")).convert("RGB")).astype(float)
    image = read_model(tmp_path, size=256, distance=None, margin=0.05)[yaw].image.astype(float)
    corners, first = np.unique(model.triangles, return_index=True)
    points = model.vertices[corners]
    places = model.texture_coordinates[model.texture_triangles.ravel()[first]]
    low, high = points.min(axis=0), points.max(axis=0)
    points = points - (low + high) / 2
    front = (points[:, 2] > 0.3 * points[:, 2].max()) & (np.abs(points[:, 0]) < 40)

    def colours(angle: float, upside_down: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """The picture's colours where the turned points fall by hand, and the texture's."""
        turn = np.radians(angle)
        scale = 0.9 * 256 / max(high[0] - low[0], high[1] - low[1])
        x = 128 + scale * (np.cos(turn) * points[:, 0] + np.sin(turn) * points[:, 2])
        y = 128 - scale * points[:, 1]
        v = places[:, 1] if upside_down else 1 - places[:, 1]
        seen = image[y[front].astype(int), x[front].astype(int)]
        return seen, texture[(v * EDGE).astype(int)[front], (places[:, 0] * EDGE).astype(int)[front]]

    def difference(angle: float, upside_down: bool = False) -> float:
        seen, meant = colours(angle, upside_down)
        return float(np.median(np.abs(seen - meant)))  # at 45 degrees the nose hides some of the points

    assert front.sum() > 60
    assert difference(yaw) < 6
    assert difference(yaw, upside_down=True) > 3 * difference(yaw)
    if yaw:
        assert difference(-yaw) > 1.5 * difference(yaw)


def test_the_frame_is_one_for_all_poses_and_holds_the_model(tmp_path: Path) -> None:
    one_person(tmp_path, ("NE00",))
    drawn = read_model(tmp_path, size=100, margin=0.1, samples=1, background=(0, 0, 0))
    heights = []
    for face in drawn.values():
        rows, columns = np.nonzero(face.image.max(axis=2) > 0)
        assert rows.min() >= 9 and rows.max() <= 90 and columns.min() > 0 and columns.max() < 99
        heights.append(np.ptp(rows))
    assert max(heights) - min(heights) <= 6 and max(heights) > 65
    white = read_model(tmp_path, size=40, background=(255, 250, 240))[0.0].image
    assert white[0, 0].tolist() == [255, 250, 240]


def test_poses_of_a_model_read_its_files_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one_person(tmp_path)
    source = open_source("bu3dfe", tmp_path, size=32, samples=1)
    reads: list[str] = []
    opened = regular_files.open_regular_file
    monkeypatch.setattr(regular_files, "open_regular_file", lambda path: (reads.append(path.name), opened(path))[1])
    assert len(list(source.faces())) == 14
    assert len(reads) == 4  # two models, two textures


@pytest.mark.parametrize(
    "address",
    [
        "F0001_NE00WH_F3D.BMP",
        "f0001_ne00wh_f3d.bmp",
        "D:\\\\scans\\\\F0001_NE00WH_F3D.bmp",
        "elsewhere/old_name.bmp",
    ],
)
def test_textures_are_found_as_the_files_were_written_elsewhere(tmp_path: Path, address: str) -> None:
    one_person(tmp_path, ("NE00",))
    before = read_model(tmp_path, size=32)[0.0].image
    edit("F0001_NE00WH_F3D.wrl", b"F0001_NE00WH_F3D.bmp", address.encode())(tmp_path)
    np.testing.assert_array_equal(read_model(tmp_path, size=32)[0.0].image, before)


def test_a_texture_that_the_model_names_goes_first(tmp_path: Path) -> None:
    one_person(tmp_path, ("NE00",))
    edit("F0001_NE00WH_F3D.wrl", b"WH_F3D.bmp", b"WH_F2D.bmp")(tmp_path)
    (tmp_path / "F0001" / "F0001_NE00WH_F2D.bmp").write_bytes(file_bytes(np.full((9, 9, 3), 77, np.uint8), "BMP"))
    image = read_model(tmp_path, size=32, samples=1)[0.0].image
    assert set(np.unique(image)) == {77, 128}


def test_system_files_and_papers_are_no_problem(tmp_path: Path) -> None:
    one_person(tmp_path)
    for name in (".DS_Store", "F0001/Thumbs.db", "F0001/._F0001_HA04WH_F3D.wrl", "F0001.rar", "agreement.pdf"):
        (tmp_path / name).write_bytes(b"x")
    source = open_source("bu3dfe", tmp_path, size=32, samples=1)
    assert not [item for item in source.faces() if isinstance(item, Problem)]
