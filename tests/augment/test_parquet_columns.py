"""What the source `parquet` takes from the names of columns and files, and what it refuses to guess."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_faces import file_bytes, noise

from augment.core.errors import InputError
from augment.prepare.inventory import take_inventory
from augment.sources import open_source
from augment.sources.base import RawFace, reading_notes

PICTURES = [file_bytes(noise(number)) for number in range(4)]
NAMES = ("angry", "happy", "sad")


def write(path: Path, **columns: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    given = {"image": PICTURES, "label": [0, 1, 2, 0]} | columns
    pq.write_table(pa.table(given), path)
    return path


def faces(root: Path, **settings: Any) -> list[RawFace]:
    found = list(open_source("parquet", root, **{"class_names": NAMES} | settings).faces())
    assert all(isinstance(face, RawFace) for face in found), found
    return [face for face in found if isinstance(face, RawFace)]


# Columns


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"subject_column": "persn"}, r"subject_column: persn: is no column of the tables \(did you mean person"),
        ({"split_column": "zzz"}, r"split_column: zzz: is no column of the tables \(they have image, label, person"),
    ],
)
def test_a_named_column_that_is_not_there_is_refused(tmp_path: Path, settings: dict[str, str], said: str) -> None:
    """Else a misspelt word would leave people unknown, and part them, or dissolve the splits, without a sign."""
    file = write(tmp_path / "faces.parquet", person=["a", "b", "c", "d"])
    with pytest.raises(InputError, match=said):
        open_source("parquet", file, class_names=NAMES, **settings)
    assert [face.subject for face in faces(file, subject_column="person")] == ["a", "b", "c", "d"]


def test_one_file_of_several_may_lack_the_named_column(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", person=["a", "b", "c", "d"])
    write(tmp_path / "b.parquet")
    assert [face.subject for face in faces(tmp_path, subject_column="person")] == ["a", "b", "c", "d", *[None] * 4]


@pytest.mark.parametrize("column", ["Subject", "person", "subject_id"])
def test_a_column_that_may_hold_people_is_pointed_to(tmp_path: Path, column: str) -> None:
    file = write(tmp_path / "faces.parquet", **{column: ["a", "b", "c", "d"]})
    (note,) = reading_notes(open_source("parquet", file, class_names=NAMES))
    assert note == f"subjects are unknown, and column {column} may hold them: set subject_column={column}"
    assert note in take_inventory(open_source("parquet", file, class_names=NAMES)).reading
    assert reading_notes(open_source("parquet", file, class_names=NAMES, subject_column=column)) == ()


def test_known_subjects_and_tables_without_such_a_column_bear_no_note(tmp_path: Path) -> None:
    known = write(tmp_path / "known.parquet", subject=["a", "b", "c", "d"], person=["e", "f", "g", "h"])
    bare = write(tmp_path / "bare.parquet")
    for file in (known, bare):
        assert reading_notes(open_source("parquet", file, class_names=NAMES)) == ()


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        (["a", "", "  ", None], ["a", None, None, None]),
        ([1.0, 2.0, math.nan, None], ["1", "2", None, None]),
        ([1.5, 2.0, 3.0, math.nan], ["1.5", "2", "3", None]),
        ([7, 8, None, 7], ["7", "8", None, "7"]),
    ],
)
def test_what_stands_for_no_name_is_nobody(tmp_path: Path, values: list[Any], wanted: list[str | None]) -> None:
    """Else all faces of unknown people would be one person's."""
    column = pa.array(values, from_pandas=False)
    file = write(tmp_path / "faces.parquet", subject=column)
    assert [face.subject for face in faces(file)] == wanted


# Labels


def test_labels_that_count_from_one_are_refused(tmp_path: Path) -> None:
    file = write(tmp_path / "faces.parquet", label=[1, 2, 3, 1])
    with pytest.raises(InputError, match=r"has the labels 1 to 3 for 3 classes, which count from 0 \(subtract 1"):
        open_source("parquet", file, class_names=NAMES)


@pytest.mark.parametrize("labels", [[0, 1, 2, 3], [1, 2, 2, 1], [0, 3, 3, 1]])
def test_labels_that_may_count_from_zero_are_read_row_by_row(tmp_path: Path, labels: list[int]) -> None:
    file = write(tmp_path / "faces.parquet", label=labels)
    found = list(open_source("parquet", file, class_names=NAMES).faces())
    assert [isinstance(face, RawFace) for face in found] == [label < 3 for label in labels]


# Splits in names, as `datasets.load_dataset` finds them


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train-00000-of-00001.parquet", "train"),
        ("faces_train.parquet", "train"),
        ("my-train.parquet", "train"),
        ("train2.parquet", "train"),
        ("fer_val.parquet", "validation"),
        ("fer test.parquet", "test"),
        ("training_set/0.parquet", "train"),
        ("test/0000.parquet", "test"),
        ("test/train.parquet", "train"),  # a file's own name before its folder's
        ("trainer.parquet", None),
        ("contest.parquet", None),
        ("data/part.parquet", None),
    ],
)
def test_a_split_is_a_word_of_its_own_in_a_name(tmp_path: Path, name: str, split: str | None) -> None:
    write(tmp_path / name)
    assert {face.split for face in faces(tmp_path)} == {split}


def test_the_splits_are_those_of_datasets(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    for name in ("faces_train.parquet", "faces_val.parquet", "faces_test.parquet"):
        write(tmp_path / "set" / name)
    loaded = datasets.load_dataset(str(tmp_path / "set"), cache_dir=str(tmp_path / "cache"))
    assert {split: len(rows) for split, rows in loaded.items()} == {"train": 4, "validation": 4, "test": 4}
    found = [face.split for face in faces(tmp_path / "set")]
    assert {split: found.count(split) for split in found} == {"train": 4, "validation": 4, "test": 4}
