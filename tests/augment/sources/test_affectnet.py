"""AffectNet's two releases on small copies in their exact layouts, drawn from the embedded faces."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from embedded import embedded_face, write_face
from spoiling import Case, Change, assert_refused, cut, deleted, file_at, moved, spoiled

from augment.core.errors import InputError, Problem
from augment.faces.splits import FoldSettings, assign_folds
from augment.faces.table import read_faces
from augment.prepare.prepare import prepare_faces
from augment.sources import RawFace, open_source
from augment.sources.affectnet import COLUMNS, EXPRESSIONS, AffectNetSource

LISTS = "Manually_Annotated_file_lists"
IMAGES = "Manually_Annotated_Images"
SIZE = 64
BOX = (8, 10, 40, 44)  # x, y, width, height


def name_of(number: int) -> str:
    return f"{number % 2 + 1}/{number:056x}.jpg"


def row_of(number: int, shown: int, **cells: str) -> str:
    """A row of a list; expressions beyond the eight have no landmarks, as pictures without a face."""
    points = ""
    if shown < len(EXPRESSIONS):
        places = embedded_face(EXPRESSIONS[shown], number, size=SIZE)[1] * SIZE
        points = ";".join(f"{x:.2f};{y:.2f}" for x, y in places)
    boxes = dict(zip(COLUMNS[1:5], map(str, BOX), strict=True))
    values = {"subDirectory_filePath": name_of(number), **boxes, "facial_landmarks": points}
    values |= {"expression": str(shown), "valence": "0.5", "arousal": "-0.055556"} | cells
    return ",".join(values[column] for column in COLUMNS)


def write_list(path: Path, numbers: range, *rows: str, header: bool = True) -> None:
    """A list of faces, one of each of the eleven expressions in turn, and their pictures."""
    lines = [",".join(COLUMNS)] if header else []
    for number in numbers:
        expression = number % 11
        lines.append(row_of(number, expression))
        shown = EXPRESSIONS[expression] if expression < len(EXPRESSIONS) else "neutral"
        write_face(path.parent.parent / IMAGES / name_of(number), shown, number, size=SIZE)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([*lines, *rows]) + "\n", encoding="utf-8")


def small_copy(root: Path) -> Path:
    """The first release: 22 rows train and 11 validate."""
    write_list(root / LISTS / "training.csv", range(22))
    write_list(root / LISTS / "validation.csv", range(22, 33), header=False)
    return root


def small_copy_2021(root: Path) -> Path:
    """The release of 2021: 16 faces train and 8 validate; numbers are text in one set and numbers in the other."""
    for folder, numbers in (("train_set", range(16)), ("val_set", range(8))):
        for number in numbers:
            expression = number % 8
            person = number + 100 * (folder == "val_set")
            write_face(root / folder / f"images/{number}.jpg", EXPRESSIONS[expression], person, size=SIZE)
            points = embedded_face(EXPRESSIONS[expression], person, size=SIZE)[1] * SIZE
            label = np.array(str(expression)) if folder == "train_set" else np.array([float(expression)])
            place = root / folder / "annotations"
            place.mkdir(exist_ok=True)
            np.save(place / f"{number}_exp.npy", label)
            np.save(place / f"{number}_lnd.npy", points.astype(np.float64).reshape(-1))
            np.save(place / f"{number}_val.npy", np.array("0.25"))
            np.save(place / f"{number}_aro.npy", np.array("0.5"))
    return root


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_copy(tmp_path_factory.mktemp("affectnet"))


@pytest.fixture(scope="module")
def copy_2021(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_copy_2021(tmp_path_factory.mktemp("affectnet2021"))


def opened(root: Path, **settings: Any) -> AffectNetSource:
    source = open_source("affectnet", root, **settings)
    assert isinstance(source, AffectNetSource)
    return source


def test_rows_without_an_expression_are_left_out_and_counted(copy: Path) -> None:
    source = opened(copy)
    listed = source.listed_faces()
    assert len(listed) == len(source.listed()) == 24
    assert Counter(face.split for face in listed) == {"train": 16, "test": 8}
    assert Counter(face.label_name for face in listed) == dict.fromkeys(source.class_names, 3)
    assert (listed[0].path, listed[0].name) == (f"{IMAGES}/{name_of(0)}", name_of(0))
    assert source.further_counts() == {"left out: none": 3, "left out: uncertain": 3, "left out: no face": 3}
    assert {face.split for face in opened(copy, validation_as="validation").listed_faces()} == {"train", "validation"}
    assert not list(source.missing())


def test_published_counts_by_release(copy: Path, copy_2021: Path) -> None:
    counts = {item.what: item.count for item in opened(copy).published}
    assert (counts["faces"], counts["split train"], counts["split test"]) == (291_651, 287_651, 4_000)
    assert counts["class contempt"] == 4_250
    counts = {item.what: item.count for item in opened(copy_2021, validation_as="validation").published}
    assert counts == {"faces": 291_650, "split train": 287_651, "split validation": 3_999}
    assert not opened(copy, limit=3).published


def test_limit(copy: Path, copy_2021: Path) -> None:
    for root in (copy, copy_2021):
        assert Counter(face.split for face in opened(root, limit=3).listed_faces()) == {"train": 3, "test": 3}


def test_a_copy_in_a_folder_of_the_archives_name_is_found(copy: Path, copy_2021: Path, tmp_path: Path) -> None:
    for number, whole in enumerate((copy, copy_2021)):
        shutil.copytree(whole, tmp_path / str(number) / "archive" / "images")
        below, itself = opened(tmp_path / str(number)), opened(whole)
        for one, other in zip(below.faces(), itself.faces(), strict=True):
            assert isinstance(one, RawFace) and isinstance(other, RawFace)
            assert (one.name, one.label_name, one.split) == (other.name, other.label_name, other.split)
            assert np.array_equal(one.image, other.image) and np.array_equal(one.landmarks, other.landmarks)
    shutil.copytree(copy, tmp_path / "0" / "again" / "images")
    with pytest.raises(InputError, match=r"holds more than one copy: again/images, archive/images"):
        opened(tmp_path / "0")


def test_the_two_archives_of_a_release_may_lie_in_a_folder_each(copy_2021: Path, tmp_path: Path) -> None:
    for name in ("train_set", "val_set"):
        shutil.copytree(copy_2021 / name, tmp_path / f"AffectNet_{name}" / name)
    apart, together = opened(tmp_path), opened(copy_2021)
    assert [(face.name, face.split) for face in apart.listed_faces()] == [
        (face.name, face.split) for face in together.listed_faces()
    ]
    assert all(isinstance(face, RawFace) and face.landmarks is not None for face in apart.faces())
    shutil.copytree(copy_2021 / "val_set", tmp_path / "AffectNet_train_set" / "val_set")
    with pytest.raises(InputError, match="holds more than one copy"):
        opened(tmp_path)


def test_landmarks_move_with_the_box(copy: Path) -> None:
    for margin in (None, 0.0, 0.15):
        face = next(iter(opened(copy, margin=margin).faces()))
        assert not isinstance(face, Problem) and face.landmarks is not None
        truth = embedded_face("neutral", 0, size=SIZE)[1] * SIZE
        left, top, right, bottom = {
            None: (0, 0, SIZE, SIZE),
            0.0: (8, 10, 48, 54),
            0.15: (2, 3, 54, 61),  # 8 - 6, 10 - 6.6, 48 + 6, 54 + 6.6
        }[margin]
        assert face.image.shape == (bottom - top, right - left, 3)
        assert face.landmarks == pytest.approx((truth - (left, top)) / (right - left, bottom - top), abs=1e-3)
    assert next(iter(opened(copy, landmarks=False).faces())).landmarks is None  # type: ignore[union-attr]


def test_a_margin_ends_where_the_picture_ends_and_a_row_without_a_box_is_whole(copy: Path, tmp_path: Path) -> None:
    face = next(iter(opened(copy, margin=2.0).faces()))
    assert not isinstance(face, Problem) and face.image.shape == (SIZE, SIZE, 3)
    shutil.copytree(copy / IMAGES, tmp_path / IMAGES)
    write_list(tmp_path / LISTS / "training.csv", range(0), row_of(0, 0, face_width="-1", face_height="-1"))
    face = next(iter(opened(tmp_path, margin=0.0).faces()))
    assert not isinstance(face, Problem) and face.image.shape == (SIZE, SIZE, 3)


def test_the_release_of_2021(copy_2021: Path) -> None:
    source = opened(copy_2021)
    listed = source.listed_faces()
    assert len(listed) == len(source.listed()) == 24
    assert [face.name for face in listed[:3]] == ["train_set/0.jpg", "train_set/1.jpg", "train_set/2.jpg"]
    assert [face.name for face in listed[10:12]] == ["train_set/10.jpg", "train_set/11.jpg"]  # numbers, not words
    assert Counter((face.split, face.label_name) for face in listed) == {
        **{("train", name): 2 for name in EXPRESSIONS},
        **{("test", name): 1 for name in EXPRESSIONS},
    }
    face = list(source.faces())[1]
    assert not isinstance(face, Problem) and face.landmarks is not None
    assert face.landmarks == pytest.approx(embedded_face("happy", 1, size=SIZE)[1], abs=1e-5)


def test_folds_are_the_sets_and_no_picture_is_in_two(copy: Path, copy_2021: Path, tmp_path: Path) -> None:
    for number, root in enumerate((copy, copy_2021)):
        out = tmp_path / str(number)
        report = prepare_faces(opened(root), out, image_size=24, channels=1)
        assert (report.faces, report.columns["landmarks"], report.columns["subject"]) == (24, 24, 0)
        faces = read_faces(out)
        folds = assign_folds(faces, FoldSettings(kind="source"), 0)
        split_of = dict(zip(folds["face_id"].to_pylist(), folds["split"].to_pylist(), strict=True))
        own = dict(zip(faces["face_id"].to_pylist(), faces["split"].to_pylist(), strict=True))
        assert {face_id for face_id, split in split_of.items() if split == "test"} == {
            face_id for face_id, split in own.items() if split == "test"
        }
        assert set(split_of.values()) == {"train", "validation", "test"}


def test_what_is_missing(copy: Path, copy_2021: Path, tmp_path: Path) -> None:
    shutil.copytree(copy, tmp_path / "a")
    (tmp_path / "a" / LISTS / "training.csv").unlink()
    source = opened(tmp_path / "a")  # pictures that the other list would name are no problem
    assert len(source.listed()) == 8
    assert [str(item) for item in source.missing()] == [
        "training.csv: is missing (287,651 faces; unpack the lists again)"
    ]
    shutil.copytree(copy_2021, tmp_path / "b")
    shutil.rmtree(tmp_path / "b/val_set")
    (tmp_path / "b/train_set/annotations/3_lnd.npy").unlink()
    source = opened(tmp_path / "b")
    assert [str(item).split(" (")[0] for item in source.missing()] == [
        "val_set: is missing",
        "annotations: 1 faces have no landmark file",
    ]
    faces = [face for face in source.faces() if not isinstance(face, Problem)]
    assert [face.name for face in faces if face.landmarks is None] == ["train_set/3.jpg"]


# Bad input.


def row(number: int, shown: int, *, length: int | None = None, **cells: str) -> Callable[[], str]:
    """A row that is made when it is asked for: importing this file draws no faces."""
    return lambda: row_of(number, shown, **cells)[:length]


def one_list(*rows: Callable[[], str], header: str = ",".join(COLUMNS)) -> Change:
    """Replaces the training list."""

    def write(root: Path) -> None:
        lines = [header, *(row() for row in rows)]
        (root / LISTS / "training.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")

    return write


def few(root: Path) -> Path:
    write_list(root / LISTS / "training.csv", range(2))
    write_list(root / LISTS / "validation.csv", range(2, 4))
    return root


def few_2021(root: Path) -> Path:
    made = small_copy_2021(root)
    shutil.rmtree(root / "val_set")
    for number in range(2, 16):
        for name in (
            f"images/{number}.jpg",
            *(f"annotations/{number}_{kind}.npy" for kind in ("exp", "lnd", "val", "aro")),
        ):
            (root / "train_set" / name).unlink()
    return made


def saved(name: str, array: np.ndarray) -> Change:
    return lambda root: np.save(root / name, array)


def archives_only(root: Path) -> Path:
    for name in ("Manually_Annotated.part001.rar", "train_set.tar"):
        (root / name).write_bytes(b"x")
    return root


EXP = "train_set/annotations/1_exp.npy"
LND = "train_set/annotations/1_lnd.npy"
CASES: dict[str, Case] = {
    "AffectNet: archives that are not unpacked": (
        "affectnet",
        archives_only,
        {},
        r"no layout of AffectNet(.|\n)*part001.rar: is an archive(.|\n)*train_set.tar: is an archive",
    ),
    "AffectNet: both releases in one folder": (
        "affectnet",
        lambda root: small_copy_2021(few(root)),
        {},
        "holds both releases",
    ),
    "AffectNet: set folder in another case": (
        "affectnet",
        spoiled(few_2021, moved("train_set", "Train_Set")),
        {},
        "Train_Set: is written in another case .*rename it to train_set",
    ),
    "AffectNet: lists without pictures": (
        "affectnet",
        spoiled(few, moved(IMAGES, "pictures")),
        {},
        f"{IMAGES}: is missing, and the lists name its pictures",
    ),
    "AffectNet: empty list": (
        "affectnet",
        spoiled(few, file_at(f"{LISTS}/training.csv", b"")),
        {},
        "training.csv: is em",
    ),
    "AffectNet: list that is none": (
        "affectnet",
        spoiled(few, file_at(f"{LISTS}/training.csv", b"a,b\n1,2\n")),
        {},
        "training.csv: is no list of AffectNet .*subDirectory_filePath",
    ),
    "AffectNet: list without a column": (
        "affectnet",
        spoiled(few, one_list(header="subDirectory_filePath,face_x,face_y,face_width,face_height,facial_landmarks")),
        {},
        "training.csv: column expression is missing .*it has subDirectory_filePath, face_x",
    ),
    "AffectNet: list without rows": ("affectnet", spoiled(few, one_list()), {}, "training.csv: holds no rows"),
    "AffectNet: row cut off": (
        "affectnet",
        spoiled(few, one_list(row(0, 0, length=300), row(1, 1))),
        {},
        "training.csv line 2: has 6 columns, not 9",
    ),
    "AffectNet: unknown expression": (
        "affectnet",
        spoiled(few, one_list(row(0, 0, expression="11"), row(1, 1))),
        {},
        "training.csv line 2: unknown expression '11' .ids are 0 to 10",
    ),
    "AffectNet: one picture in two rows": (
        "affectnet",
        spoiled(few, one_list(row(0, 0), row(1, 1), row(0, 3))),
        {},
        "training.csv line 4: names 1/0{56}.jpg, and so does .*training.csv line 2",
    ),
    "AffectNet: one picture in both lists": (
        "affectnet",
        spoiled(few, one_list(row(0, 0), row(1, 1), row(2, 2))),
        {},
        "validation.csv line 2: names .*, and so does .*training.csv line 4",
    ),
    "AffectNet: pictures that are not there": (
        "affectnet",
        spoiled(few, deleted(f"{IMAGES}/{name_of(0)}")),
        {},
        f"{IMAGES}/1/: lacks 1 of the pictures that training.csv names: 0+.jpg",
    ),
    "AffectNet: pictures in another case": (
        "affectnet",
        spoiled(few, moved(f"{IMAGES}/{name_of(1)}", f"{IMAGES}/{name_of(1)[:-4]}.JPG")),
        {},
        f"{IMAGES}/2/: has 1 names in another case than in training.csv: 0+1.jpg",
    ),
    "AffectNet: files that no list names": (
        "affectnet",
        spoiled(few, file_at(f"{IMAGES}/2/copy.jpg"), file_at(f"{IMAGES}/3.rar")),
        {},
        r"Images/2/: holds 1 files that no list names: copy.jpg(.|\n)*3.rar .*archives are to be unpacked",
    ),
    "AffectNet: box that is no number": (
        "affectnet",
        spoiled(few, one_list(row(0, 0, face_x="left"), row(1, 1))),
        {},
        "training.csv line 2: has no numbers for the face's box",
    ),
    "AffectNet: box outside its picture": (
        "affectnet",
        spoiled(few, one_list(row(0, 0, face_x="900"), row(1, 1))),
        {},
        "training.csv line 2: has a face's box outside its picture of 64 x 64 pixels",
    ),
    "AffectNet: too few landmarks in a row": (
        "affectnet",
        spoiled(few, one_list(row(0, 0, facial_landmarks="1.0;2.0"), row(1, 1))),
        {},
        "training.csv line 2: holds 2 numbers for landmarks, not 136",
    ),
    "AffectNet: landmarks that are no numbers": (
        "affectnet",
        spoiled(few, one_list(row(0, 0, facial_landmarks="a;b"), row(1, 1))),
        {},
        "training.csv line 2: holds landmarks that are no numbers",
    ),
    "AffectNet: empty picture": (
        "affectnet",
        spoiled(few, file_at(f"{IMAGES}/{name_of(0)}", b"")),
        {},
        f"{IMAGES}/{name_of(0)}: does not decode: the file is empty",
    ),
    "AffectNet: truncated picture": (
        "affectnet",
        spoiled(few, cut(f"{IMAGES}/{name_of(0)}", 700)),
        {},
        f"{IMAGES}/{name_of(0)}: does not decode: .*truncated",
    ),
    "AffectNet: several problems at once": (
        "affectnet",
        spoiled(few, one_list(row(0, 0, expression="x"), row(1, 1, face_y="")), deleted(f"{IMAGES}/{name_of(2)}")),
        {},
        r"4 problems(.|\n)*line 2: unknown expression 'x'(.|\n)*line 3: has no numbers(.|\n)*lacks 1 of the pictures",
    ),
    "AffectNet 2021: annotations that are missing": (
        "affectnet",
        spoiled(few_2021, moved("train_set/annotations", "elsewhere")),
        {},
        "train_set/annotations: is missing",
    ),
    "AffectNet 2021: pictures without an expression": (
        "affectnet",
        spoiled(few_2021, deleted(EXP)),
        {},
        "annotations/: lacks the expressions of 1 pictures: 1.jpg",
    ),
    "AffectNet 2021: expressions without a picture": (
        "affectnet",
        spoiled(few_2021, deleted("train_set/images/1.jpg")),
        {},
        "images/: lacks 1 pictures that have an expression: 1.jpg",
    ),
    "AffectNet 2021: renamed pictures": (
        "affectnet",
        spoiled(few_2021, moved("train_set/images/1.jpg", "train_set/images/anna.jpg")),
        {},
        r"images/: holds 1 pictures that are not a picture .0.jpg.: anna.jpg",
    ),
    "AffectNet 2021: names in another case": (
        "affectnet",
        spoiled(few_2021, moved("train_set/images/1.jpg", "train_set/images/1.JPG")),
        {},
        "images/: holds 1 names in another case than the data set's: 1.JPG",
    ),
    "AffectNet 2021: archive among the annotations": (
        "affectnet",
        spoiled(few_2021, file_at("train_set/annotations/a.tar.gz")),
        {},
        "annotations/a.tar.gz: is an archive",
    ),
    "AffectNet 2021: expression that would have to be unpickled": (
        "affectnet",
        spoiled(few_2021, saved(EXP, np.array([{"expression": 1}], dtype=object))),
        {},
        f"{EXP}: is no .npy file that can be read: Object arrays cannot be loaded",
    ),
    "AffectNet 2021: empty expression": (
        "affectnet",
        spoiled(few_2021, file_at(EXP, b"")),
        {},
        f"{EXP}: is no .npy file that can be read",
    ),
    "AffectNet 2021: truncated expression": (
        "affectnet",
        spoiled(few_2021, cut(EXP, 100)),
        {},
        f"{EXP}: is no .npy file that can be read",
    ),
    "AffectNet 2021: unknown expression": (
        "affectnet",
        spoiled(few_2021, saved(EXP, np.array("happy"))),
        {},
        f"{EXP}: unknown expression 'happy'",
    ),
    "AffectNet 2021: two expressions": (
        "affectnet",
        spoiled(few_2021, saved(EXP, np.array([1, 2]))),
        {},
        f"{EXP}: holds 2 values, not one expression",
    ),
    "AffectNet 2021: too few landmarks": (
        "affectnet",
        spoiled(few_2021, saved(LND, np.zeros(134))),
        {},
        f"{LND}: holds 134 numbers for landmarks, not 136",
    ),
    "AffectNet 2021: landmarks that are not finite": (
        "affectnet",
        spoiled(few_2021, saved(LND, np.full(136, np.nan))),
        {},
        f"{LND}: holds landmarks that are not finite",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_bad_input(tmp_path: Path, case: str) -> None:
    assert_refused(CASES[case], tmp_path)


def test_expressions_beyond_the_eight_are_left_out_of_the_release_of_2021_too(tmp_path: Path) -> None:
    source = opened(spoiled(few_2021, saved(EXP, np.array(9)))(tmp_path))
    assert [face.name for face in source.listed_faces()] == ["train_set/0.jpg"]
    assert source.further_counts() == {"left out: uncertain": 1}


def test_a_file_is_no_root(copy: Path) -> None:
    with pytest.raises(InputError, match="is not a folder"):
        opened(copy / LISTS / "training.csv")
