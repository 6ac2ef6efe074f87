from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from embedded import embedded_face, write_face
from prepared import prepared, problems_of
from spoiling import Case, assert_refused, cut_off, file_at, moved, spoiled

from augment.core.errors import InputError
from augment.faces.splits import FoldSettings, assign_folds
from augment.faces.table import read_faces
from augment.sources import check_source_settings, open_source
from augment.sources.base import RawFace
from augment.sources.listed import ListedSource
from augment.sources.raf_db import LABELS, _crop

LABEL_FILE = "basic/EmoLabel/list_patition_label.txt"
FIRST = "basic/Image/aligned/train_00001_aligned.jpg"


def stems(train: int, test: int) -> list[tuple[str, str]]:
    """Pictures and their labels, which go round."""
    names = [f"train_{number + 1:05d}" for number in range(train)] + [f"test_{n + 1:04d}" for n in range(test)]
    return [(name, str(number % 7 + 1)) for number, name in enumerate(names)]


def small_copy(root: Path, train: int = 14, test: int = 7) -> Path:
    """The part of basic expressions as its holders give it out, with the original pictures and their boxes."""
    lines = []
    for number, (stem, label) in enumerate(stems(train, test)):
        lines.append(f"{stem}.jpg {label}\n")
        write_face(root / f"basic/Image/aligned/{stem}_aligned.jpg", LABELS[label], number, size=32)
        write_face(root / f"basic/Image/original/{stem}.jpg", LABELS[label], number, size=48)
        box = root / f"basic/Annotation/boundingbox/{stem}_boundingbox.txt"
        box.parent.mkdir(parents=True, exist_ok=True)
        box.write_text("8.000000 10.000000 40.000000 38.000000 \n")
    (root / LABEL_FILE).parent.mkdir(parents=True)
    (root / LABEL_FILE).write_text("".join(lines))
    return root


def kaggle_copy(root: Path, train: int = 14, test: int = 7) -> Path:
    """The same faces as they go about on Kaggle."""
    rows: dict[str, list[str]] = {"train": ["image,label"], "test": ["image,label"]}
    for number, (stem, label) in enumerate(stems(train, test)):
        split = stem.split("_")[0]
        rows[split].append(f"{stem}_aligned.jpg,{label}")
        write_face(root / f"DATASET/{split}/{label}/{stem}_aligned.jpg", LABELS[label], number, size=32)
    for split, lines in rows.items():
        (root / f"{split}_labels.csv").write_text("\n".join(lines) + "\n")
    return root


def smallest_copy(root: Path) -> Path:
    return small_copy(root, 3, 2)


def smallest_kaggle_copy(root: Path) -> Path:
    return kaggle_copy(root, 7, 7)


def opened(root: Path, **settings: Any) -> ListedSource:
    source = open_source("raf_db", root, **settings)
    assert isinstance(source, ListedSource)
    return source


@pytest.mark.parametrize("copy", [small_copy, kaggle_copy])
def test_both_forms_give_the_same_faces_in_the_holders_splits(tmp_path: Path, copy: Any) -> None:
    faces = prepared("raf_db", copy(tmp_path / "in"), tmp_path / "out")
    found = {(row["face_id"], row["label_name"], row["split"], row["subject"]) for row in faces.to_pylist()}
    assert found == {
        (f"raf_db/{stem}", LABELS[label], stem.split("_")[0], None) for stem, label in stems(train=14, test=7)
    }
    folds = assign_folds(faces, FoldSettings(kind="source", validation_share=0.5), 0)
    splits = dict(zip(folds.column("face_id").to_pylist(), folds.column("split").to_pylist(), strict=True))
    assert Counter(splits.values()) == {"train": 7, "validation": 7, "test": 7}
    assert all((split == "test") == name.startswith("raf_db/test_") for name, split in splits.items())


def test_labels_are_in_the_holders_order(tmp_path: Path) -> None:
    small_copy(tmp_path, 7, 0)
    found = [face.label_name for face in opened(tmp_path).listed_faces()]
    assert found == ["surprise", "fear", "disgust", "happy", "sad", "angry", "neutral"]


def test_published_counts_add_up(tmp_path: Path) -> None:
    published = {count.what: count.count for count in opened(smallest_copy(tmp_path)).published}
    assert (published["split train"], published["split test"]) == (12_271, 3_068)
    assert sum(count for what, count in published.items() if what.startswith("class ")) == published["faces"] == 15_339


@pytest.mark.parametrize("below", ["", "RAF-DB", "RAF-DB/basic"])
def test_the_compound_part_beside_the_basic_one_is_left_alone(tmp_path: Path, below: str) -> None:
    smallest_copy(tmp_path / "RAF-DB")
    file_at("RAF-DB/compound/EmoLabel/list_patition_label.txt", b"train_0001.jpg 9\n")(tmp_path)
    assert problems_of("raf_db", tmp_path / below) == [] and len(opened(tmp_path / below)) == 5


def test_original_pictures_are_cropped_to_their_boxes(tmp_path: Path) -> None:
    smallest_copy(tmp_path)
    whole = next(opened(tmp_path, pictures="original").faces())
    cropped = next(opened(tmp_path, pictures="original", margin=0.0).faces())
    assert isinstance(whole, RawFace) and isinstance(cropped, RawFace)
    assert (whole.name, whole.path) == ("train_00001", "basic/Image/original/train_00001.jpg")
    # The box 8..40 x 10..38 has the centre (24, 24) and a longer edge of 32: the square 8..40 in both directions.
    assert np.array_equal(cropped.image, whole.image[8:40, 8:40])


@pytest.mark.parametrize(
    ("box", "margin", "rows", "columns"),
    [
        ((10, 20, 30, 40), 0.0, (20, 40), (10, 30)),
        ((10, 20, 30, 40), 0.25, (15, 45), (5, 35)),  # a quarter of 20 on each side
        ((10, 20, 20, 60), 0.0, (20, 60), (0, 35)),  # as high as wide, and cut off on the left
        ((80, 30, 120, 70), 0.5, (10, 50), (60, 100)),  # ends where the picture of 50 x 100 ends
    ],
)
def test_crops_by_hand(box: tuple, margin: float, rows: tuple, columns: tuple) -> None:
    picture = np.arange(50 * 100, dtype=np.int64).reshape(50, 100)
    cropped = _crop(picture, tuple(map(float, box)), margin)
    assert np.array_equal(cropped, picture[slice(*rows), slice(*columns)])


def test_a_box_outside_its_picture_crops_nothing() -> None:
    assert _crop(np.zeros((50, 100), np.uint8), (200.0, 10.0, 220.0, 30.0), 0.1) is None


def test_a_margin_needs_the_original_pictures() -> None:
    with pytest.raises(InputError, match="margin crops original pictures"):
        check_source_settings("raf_db", {"margin": 0.1})


def test_what_a_copy_lacks_is_named_by_split_and_class(tmp_path: Path) -> None:
    small_copy(tmp_path, 7, 0)
    lines = [str(problem) for problem in opened(tmp_path).missing()]
    assert lines[0] == "split train, class surprise: 1,289 of 1,290 pictures are missing"
    assert lines[-1] == "split test: all 3,068 pictures are missing" and len(lines) == 8


def test_kaggles_tables_may_be_missing_and_then_are_named(tmp_path: Path) -> None:
    (smallest_kaggle_copy(tmp_path) / "test_labels.csv").unlink()
    assert problems_of("raf_db", tmp_path) == [] and len(opened(tmp_path)) == 14
    assert "test_labels.csv: is missing; the folders alone say the labels" in map(str, opened(tmp_path).missing())


def test_a_folder_lost_is_one_line_a_split(tmp_path: Path) -> None:
    small_copy(tmp_path)
    for path in (tmp_path / "basic/Image/aligned").glob("train_*"):
        path.unlink()
    problems = problems_of("raf_db", tmp_path)
    assert [str(problem) for problem in problems] == [
        "basic/Image/aligned/: 14 pictures of train that EmoLabel/list_patition_label.txt names are not there: "
        "train_00001_aligned.jpg, train_00002_aligned.jpg, train_00003_aligned.jpg ... (unpack the pictures again)"
    ]


def test_all_that_is_wrong_is_listed_at_once(tmp_path: Path) -> None:
    smallest_copy(tmp_path)
    with (tmp_path / LABEL_FILE).open("a") as lines:
        lines.write("train_00001.jpg 3\ntrain_00009.jpg 8\ntrain_9.jpg 1\ntrain_00010.jpg\n")
    file_at(FIRST, b"")(tmp_path)
    moved("basic/Image/aligned/test_0001_aligned.jpg", "basic/Image/aligned/test_0001.jpg")(tmp_path)
    assert [(problem.where, problem.why) for problem in problems_of("raf_db", tmp_path)] == [
        (f"{LABEL_FILE} line 6", "names train_00001.jpg again, after line 1"),
        (f"{LABEL_FILE} line 7", "unknown label '8'"),
        (f"{LABEL_FILE} line 8", "'train_9.jpg' is no picture's name"),
        (f"{LABEL_FILE} line 9", "has 1 words, not 2"),
        (FIRST, "is an empty file"),
        ("basic/Image/aligned/test_0001.jpg", "has a name that RAF-DB does not have"),
        (
            "basic/Image/aligned/",
            "1 pictures of test that EmoLabel/list_patition_label.txt names are not there: test_0001_aligned.jpg",
        ),
    ]


def without(name: str) -> Any:
    def change(root: Path) -> None:
        path = root / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()

    return change


def with_archive_only(root: Path) -> Path:
    shutil.rmtree(smallest_copy(root) / "basic/Image/aligned")
    return file_at("basic/Image/aligned.zip", b"PK")(root) or root


def two_things_missing(root: Path) -> Path:
    shutil.rmtree(smallest_copy(root) / "basic/Image/aligned")
    (root / LABEL_FILE).unlink()
    return root


BOX = "basic/Annotation/boundingbox/train_00001_boundingbox.txt"
CROPPED = {"pictures": "original", "margin": 0.1}
CASES: dict[str, Case] = {
    "RAF-DB: a folder of something else": (
        "raf_db",
        spoiled(lambda root: root, file_at("happy/1.jpg", b"x")),
        {},
        "has no layout of RAF-DB .*EmoLabel/list_patition_label.txt.*DATASET/train/1/",
    ),
    "RAF-DB: the archive is not unpacked": (
        "raf_db",
        spoiled(lambda root: root, file_at("basic.tar.gz", b"x")),
        {},
        "(?s)no layout of RAF-DB.*basic.tar.gz: is an archive that is not unpacked",
    ),
    "RAF-DB: the pictures are not unpacked": (
        "raf_db",
        with_archive_only,
        {},
        "(?s)basic/Image/aligned/: is missing .*basic/Image/aligned.zip: is an archive that is not unpacked",
    ),
    "RAF-DB: labels and pictures are missing": (
        "raf_db",
        two_things_missing,
        {},
        "(?s)list_patition_label.txt: is missing.*basic/Image/aligned/: is missing",
    ),
    "RAF-DB: the label file in the dictionary's spelling": (
        "raf_db",
        spoiled(smallest_copy, moved(LABEL_FILE, "basic/EmoLabel/list_partition_label.txt")),
        {},
        "list_patition_label.txt: is missing .rename list_partition_label.txt to list_patition_label.txt",
    ),
    "RAF-DB: a folder in another case": (
        "raf_db",
        spoiled(smallest_copy, moved("basic/Image/aligned", "basic/Image/Aligned")),
        {},
        "basic/Image/aligned/: is missing .rename Aligned to aligned",
    ),
    "RAF-DB: a file name in another case": (
        "raf_db",
        spoiled(smallest_copy, moved(FIRST, FIRST.replace("train", "Train"))),
        {},
        "Train_00001_aligned.jpg: is written in another case .*rename it to train_00001_aligned.jpg",
    ),
    "RAF-DB: pictures that the label file names are not there": (
        "raf_db",
        spoiled(smallest_copy, without(FIRST)),
        {},
        "1 pictures of train that EmoLabel/list_patition_label.txt names are not there: train_00001_aligned.jpg",
    ),
    "RAF-DB: a picture without a label": (
        "raf_db",
        spoiled(smallest_copy, file_at(FIRST.replace("00001", "00077"), b"x")),
        {},
        "train_00077_aligned.jpg: is not in EmoLabel/list_patition_label.txt",
    ),
    "RAF-DB: a label file without a line": (
        "raf_db",
        spoiled(smallest_copy, file_at(LABEL_FILE, b"")),
        {},
        "list_patition_label.txt: names no picture",
    ),
    "RAF-DB: a label of the compound part": (
        "raf_db",
        spoiled(smallest_copy, file_at(LABEL_FILE, b"train_00001.jpg 11\n")),
        {},
        "list_patition_label.txt line 1: unknown label '11' .labels are 1 to 7",
    ),
    "RAF-DB: a picture with two labels": (
        "raf_db",
        spoiled(smallest_copy, file_at(LABEL_FILE, b"train_00001.jpg 1\ntrain_00001.jpg 2\n")),
        {},
        "line 2: names train_00001.jpg again, after line 1",
    ),
    "RAF-DB: an empty picture file": ("raf_db", spoiled(smallest_copy, file_at(FIRST, b"")), {}, "is an empty file"),
    "RAF-DB: a picture cut off": ("raf_db", spoiled(smallest_copy, cut_off(FIRST)), {}, f"{FIRST}: does not decode"),
    "RAF-DB: a file that is no picture": (
        "raf_db",
        spoiled(smallest_copy, file_at("basic/Image/aligned/labels.csv", b"x")),
        {},
        "aligned/labels.csv: is no picture file",
    ),
    "RAF-DB: a download that has not ended": (
        "raf_db",
        spoiled(smallest_copy, file_at("basic/Image/original.zip.part", b"x")),
        {},
        "original.zip.part: is an archive or a download that has not ended",
    ),
    "RAF-DB: a box that is not there": (
        "raf_db",
        spoiled(smallest_copy, without(BOX)),
        CROPPED,
        f"{BOX}: can't be read: No such file",
    ),
    "RAF-DB: a box of three numbers": (
        "raf_db",
        spoiled(smallest_copy, file_at(BOX, b"1 2 3")),
        CROPPED,
        f"{BOX}: is no box .it should hold x0 y0 x1 y1",
    ),
    "RAF-DB: a box outside its picture": (
        "raf_db",
        spoiled(smallest_copy, file_at(BOX, b"100 100 120 120")),
        CROPPED,
        "train_00001.jpg: its box lies outside the picture",
    ),
    "RAF-DB of Kaggle: original pictures": (
        "raf_db",
        smallest_kaggle_copy,
        {"pictures": "original"},
        "pictures: the form of Kaggle has no original pictures",
    ),
    "RAF-DB of Kaggle: one picture in two classes": (
        "raf_db",
        spoiled(smallest_kaggle_copy, file_at("DATASET/train/2/train_00001_aligned.jpg", b"x")),
        {},
        "train/2/train_00001_aligned.jpg: lies there twice, also as DATASET/train/1/",
    ),
    "RAF-DB of Kaggle: a folder that contradicts the table": (
        "raf_db",
        spoiled(
            smallest_kaggle_copy,
            moved("DATASET/train/1/train_00001_aligned.jpg", "DATASET/train/3/train_00001_aligned.jpg"),
        ),
        {},
        "train_00001_aligned.jpg: lies in 3/, but train_labels.csv says 1 .move it to train/1/",
    ),
    "RAF-DB of Kaggle: a test picture among the training ones": (
        "raf_db",
        spoiled(smallest_kaggle_copy, file_at("DATASET/train/2/test_0999_aligned.jpg", b"x")),
        {},
        "test_0999_aligned.jpg: lies in train/, but its name says test",
    ),
    "RAF-DB of Kaggle: a class that it does not have": (
        "raf_db",
        spoiled(smallest_kaggle_copy, moved("DATASET/train/7", "DATASET/train/neutral")),
        {},
        "DATASET/train/neutral/: is no folder of RAF-DB; 1 files lie in it",
    ),
    "RAF-DB of Kaggle: a split folder in another case": (
        "raf_db",
        spoiled(smallest_kaggle_copy, moved("DATASET/test", "DATASET/Test")),
        {},
        "DATASET/Test/: is written in another case .*rename it to test",
    ),
    "RAF-DB of Kaggle: a table with other columns": (
        "raf_db",
        spoiled(smallest_kaggle_copy, file_at("train_labels.csv", b"file,emotion\n")),
        {},
        "train_labels.csv: has the columns file, emotion .they should be image, label",
    ),
    "RAF-DB of Kaggle: pictures that the table names are not there": (
        "raf_db",
        spoiled(smallest_kaggle_copy, without("DATASET/test/1/test_0001_aligned.jpg")),
        {},
        "1 pictures of test that test_labels.csv names are not there",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_bad_copy_of_raf_db_is_refused(tmp_path: Path, case: str) -> None:
    assert_refused(CASES[case], tmp_path)


def test_the_picture_is_the_one_in_the_file(tmp_path: Path) -> None:
    # JPEG changes pixels a little; the faces are still those that were written, each under its own name.
    prepared("raf_db", small_copy(tmp_path / "in", 7, 7), tmp_path / "out")
    drawn = {stem: embedded_face(LABELS[label], n, size=32)[0] for n, (stem, label) in enumerate(stems(7, 7))}
    for face in opened(tmp_path / "in").faces():
        assert isinstance(face, RawFace)
        distances = {stem: np.abs(face.image.astype(int) - picture).mean() for stem, picture in drawn.items()}
        assert min(distances, key=distances.__getitem__) == face.name
    assert len(read_faces(tmp_path / "out")) == 14
