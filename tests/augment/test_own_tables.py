"""Tables of ours that are read again: as they are, and as pandas or Polars have copied them."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import polars
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_faces import CARD, CLASSES, face_row, write_picture

from augment.core.errors import InputError, Problem
from augment.faces.shards import write_faces
from augment.faces.table import read_faces
from augment.prepare.prepare import prepare_faces
from augment.sources import RawFace, open_source


def prepared(root: Path) -> Path:
    """Two folders as one joint data set, whose pictures and people have the same names."""
    for part in ("lab", "web"):
        for seed, name in enumerate(["happy/S1.png", "sad/S1.png", "sad/S2.png"]):
            write_picture(root / part / name, seed + 10 * (part == "web"))
    read = {"source": "folder", "licence": "mit", "settings": {"subject_pattern": r"(?P<subject>S\d)"}}
    parts = [{"data_set": part, "root": part, **read} for part in ("lab", "web")]
    prepare_faces(open_source("joint", root, parts=parts), root / "faces", image_size=16, channels=1)
    return root / "faces"


def test_what_was_prepared_is_read_again_as_it_is(tmp_path: Path) -> None:
    """By the folder that `prepare` wrote: beside its tables lies one of what is alike, which holds no faces."""
    first = prepared(tmp_path)
    assert (first / "duplicates.parquet").is_file()
    prepare_faces(open_source("parquet", first), tmp_path / "again", image_size=16, channels=1)
    kept = ["face_id", "source", "subject", "label_name", "image"]
    before, after = (read_faces(place).select(kept) for place in (first, tmp_path / "again"))
    assert before.to_pylist() == after.to_pylist()
    assert set(after["source"].to_pylist()) == {"lab", "web"}
    # A name that begins as the data set does stays whole elsewhere: a class may be called as its folder is.
    for label in ("folder", "sad"):
        write_picture(tmp_path / "named" / label / "1.png", 1)
    prepare_faces(open_source("folder", tmp_path / "named"), tmp_path / "n", image_size=16, channels=1, licence="mit")
    assert read_faces(tmp_path / "n")["face_id"].to_pylist() == ["folder/folder/1.png", "folder/sad/1.png"]


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_a_copy_that_lost_the_names_of_the_classes_finds_them_in_its_rows(tmp_path: Path, library: str) -> None:
    tables, copy = prepared(tmp_path) / "data", tmp_path / "copy.parquet"
    if library == "pandas":
        pd.read_parquet(tables).to_parquet(copy)
    else:
        polars.read_parquet(tables / "*.parquet").write_parquet(copy)
    source = open_source("parquet", copy)
    assert source.class_names == ("happy", "sad")
    wanted = [f"{part}/{name}" for part in ("lab", "web") for name in ("happy/S1.png", "sad/S1.png", "sad/S2.png")]
    for read in (source, open_source("parquet", copy, class_names=("happy", "sad"))):
        faces = {face.name: face.label_name for face in read.faces() if isinstance(face, RawFace)}
        assert faces == {name: name.split("/")[1] for name in wanted}
    # Names in another order than the rows have are no licence to shift all labels.
    wrong = list(open_source("parquet", copy, class_names=("sad", "happy")).faces())
    assert all(isinstance(face, Problem) for face in wrong)
    assert any("label 0 is sad, and its label_name says 'happy' (write both alike)" in str(face) for face in wrong)
    with pytest.raises(InputError, match="is for tables that do not name their classes"):
        open_source("parquet", tables, class_names=("happy", "sad"))


def test_a_class_that_no_row_names_is_asked_for(tmp_path: Path) -> None:
    write_faces([face_row(0, 0), face_row(1, 2)], tmp_path / "faces", CLASSES, card=CARD)
    pd.read_parquet(tmp_path / "faces" / "data").to_parquet(tmp_path / "copy.parquet")
    with pytest.raises(InputError, match=r"no row says which class 1 is, nor does the table \(give class_names"):
        open_source("parquet", tmp_path / "copy.parquet")
    assert len(list(open_source("parquet", tmp_path / "copy.parquet", class_names=CLASSES).faces())) == 2


@pytest.mark.parametrize(
    ("labels", "names", "said"),
    [
        ([0, 1, 2], ["same", "same", "same"], r"column label_name: its names have 'same' twice"),
        ([0, 1, 2], ["happy", "sad ", "angry"], r"label 1: 'sad ' has blanks around it"),
        ([0, 1, 2], ["happy", "Happy", "angry"], r"label 1, label 0: are one class by their names"),
        ([-1, 0, 1], ["a", "b", "c"], r"no row says which class 2 is"),
        ([0, 1, 20_000_000], ["a", "b", "c"], r"no row says which class 2 is"),
        ([0, 1, 2], [None, None, None], r"no row says which class 0 is"),
    ],
)
def test_names_of_rows_that_are_no_names_of_classes_are_refused(
    tmp_path: Path, labels: list[int], names: list[str | None], said: str
) -> None:
    write_faces([face_row(number, number) for number in range(3)], tmp_path / "faces", CLASSES, card=CARD)
    frame = pd.read_parquet(tmp_path / "faces" / "data")
    frame["label"], frame["label_name"] = labels, names
    frame.to_parquet(tmp_path / "copy.parquet")
    with pytest.raises(InputError, match=said):
        open_source("parquet", tmp_path / "copy.parquet")


def test_rows_without_a_name_have_that_of_their_label(tmp_path: Path) -> None:
    write_faces([face_row(number, number) for number in range(3)], tmp_path / "faces", CLASSES, card=CARD)
    frame = pd.read_parquet(tmp_path / "faces" / "data")
    frame["label_name"] = None
    frame.to_parquet(tmp_path / "copy.parquet")
    faces = list(open_source("parquet", tmp_path / "copy.parquet", class_names=CLASSES).faces())
    assert {face.label_name for face in faces if isinstance(face, RawFace)} == set(CLASSES)


@pytest.mark.parametrize("labels", [[True, False], [0.0, 1.0], [0.0, None]])
def test_labels_of_a_type_that_is_none_are_to_be_written_anew(tmp_path: Path, labels: list[object]) -> None:
    table = pa.table({"image": [b"", b""], "label": labels})
    pq.write_table(table, tmp_path / "faces.parquet")
    with pytest.raises(
        InputError, match=r"column label: has type (bool|double).*write it as whole numbers or as names"
    ):
        open_source("parquet", tmp_path, class_names=("a", "b"))
