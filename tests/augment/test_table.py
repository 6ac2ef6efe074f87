"""The table of faces: schema, rules, reading."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from small_faces import CLASSES, face_row, face_table

from augment.core.errors import InputError
from augment.core.seals import SEAL
from augment.faces.shards import write_shard
from augment.faces.table import (
    FIELDS,
    class_names,
    face_schema,
    faces_from_rows,
    iterate_faces,
    read_class_names,
    read_faces,
    schema_metadata,
    validate_faces,
)


def test_schema_remembers_classes_and_metadata() -> None:
    schema = face_schema(CLASSES, metadata={"configuration_hash": "abc"})
    assert class_names(schema) == CLASSES
    assert schema_metadata(schema) == {"schema_version": "3", "configuration_hash": "abc"}
    assert schema.names == [field.name for field in FIELDS]
    with pytest.raises(InputError, match="names no classes"):
        class_names(schema.remove_metadata())


def test_the_types_that_hugging_face_reads_are_those_that_its_older_readers_know() -> None:
    """Read by `datasets` 2.21, 3.6, 4.0 and 5.2; before 4 they know neither List nor Json, and refuse the table."""
    features = json.loads((face_schema(CLASSES).metadata or {})[b"huggingface"])["info"]["features"]
    assert set(features) == {field.name for field in FIELDS}
    assert {feature["_type"] for feature in features.values()} == {"Image", "ClassLabel", "Value", "Sequence"}


def test_absent_values_are_null_and_landmarks_flatten() -> None:
    points = np.linspace(0, 1, 136, dtype=np.float32).reshape(68, 2)
    table = face_table([face_row(0, landmarks=points), face_row(1)])
    assert table.column("landmarks").to_pylist() == [points.reshape(-1).tolist(), None]
    assert table.column("subject").null_count == 2
    validate_faces(table)


def replaced(table: pa.Table, name: str, values: list) -> pa.Table:
    position = table.column_names.index(name)
    return table.set_column(position, table.schema.field(name), pa.array(values, table.schema.field(name).type))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop_columns(["yaw"]), "column yaw: is missing"),
        (lambda t: t.set_column(1, "label", t.column("label").cast(pa.int32())), "type int32"),
        (lambda t: replaced(t, "source", ["made", None]), "column source: 1 rows are null"),
        (lambda t: replaced(t, "label", [0, 3]), "label 3 is not"),
        (lambda t: replaced(t, "label_name", ["happy", "happy"]), "label 0 is not 'happy'"),
        (lambda t: replaced(t, "face_id", ["a", "a"]), "face_id 'a' occurs twice"),
        (lambda t: replaced(t, "split", ["train", "dev"]), "split 'dev'"),
        (lambda t: replaced(t, "landmarks", [None, [float("nan")] * 136]), "not finite"),
    ],
)
def test_validation_refuses(change, message: str) -> None:
    good = face_table([face_row(0), face_row(1, 1)])
    validate_faces(good)
    with pytest.raises(InputError, match=message):
        validate_faces(change(good))


def test_reading_a_directory(tmp_path: Path) -> None:
    schema = face_schema(CLASSES, metadata={"configuration_hash": "h"})
    write_shard(tmp_path / "data" / "train-angry-00000.parquet", [face_row(0), face_row(1)], schema)
    write_shard(tmp_path / "data" / "train-sad-00000.parquet", [face_row(2, 2)], schema)
    table = read_faces(tmp_path)
    assert table.column("face_id").to_pylist() == ["made/0", "made/1", "made/2"]
    assert schema_metadata(table.schema)["rows"] == 3  # of the whole, not of the first file
    assert read_class_names(tmp_path) == CLASSES
    assert class_names(read_faces(tmp_path, columns=["face_id"]).schema) == CLASSES
    batches = list(iterate_faces(tmp_path, columns=["label"], batch_size=1))
    assert [batch.column("label").to_pylist() for batch in batches] == [[0], [0], [2]]


def test_two_datasets_in_one_directory_are_refused(tmp_path: Path) -> None:
    write_shard(tmp_path / "data" / "a.parquet", [face_row(0)], face_schema(CLASSES))
    other = face_row(1) | {"label_name": "angry"}
    write_shard(tmp_path / "data" / "b.parquet", [other], face_schema(("angry", "calm")))
    with pytest.raises(InputError, match=r"b\.parquet: has the classes"):
        read_faces(tmp_path)


def test_no_data_is_an_error_that_names_the_directory(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds no data/\*\.parquet"):
        read_faces(tmp_path)


@pytest.mark.parametrize(
    "read",
    [
        read_faces,
        read_class_names,
        lambda folder: read_faces(folder, columns=["face_id"]),
        lambda folder: list(iterate_faces(folder)),
    ],
)
@pytest.mark.parametrize("cut", [0, 3, 200, -40])
def test_a_damaged_file_is_named(tmp_path: Path, read: Callable[[Path], object], cut: int) -> None:
    """No error of Arrow's own, which names no file and no remedy."""
    file = tmp_path / "data" / "train-00000.parquet"
    write_shard(file, [face_row(0), face_row(1)], face_schema(CLASSES))
    read(tmp_path)
    (tmp_path / SEAL).unlink()  # which alone would say that the file is not what was written
    file.write_bytes(file.read_bytes()[:cut])
    with pytest.raises(
        InputError, match=r"train-00000\.parquet: can't be read as a table of faces: .*\n?.*run the stage"
    ):
        read(tmp_path)


def test_synthetic_rows_carry_provenance() -> None:
    schema = face_schema(CLASSES)
    row = face_row(0) | {"synthetic": True, "translator": "warp", "seed": 1, "fold": 0, "source_id": "made/9"}
    table = faces_from_rows([row], schema)
    validate_faces(table)
    with pytest.raises(InputError, match="column translator: 1 rows are null"):
        validate_faces(faces_from_rows([row | {"translator": None}], schema))
