"""The table of faces: the one schema that everything reads and writes.

A face is a row. Real and synthetic faces share the schema, so that their tables join; synthetic rows carry their
provenance in the last columns, which are null in real ones. Missing is null, never a made-up value.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from augment.core.errors import InputError, Problem
from augment.core.seals import SEAL, read_seal, seal_problems
from augment.faces.landmark_bounds import landmarks_fault, row_landmarks

SCHEMA_VERSION = "3"  # since 2 real faces have the provenance columns too, since 3 landmarks are a list of any length
READ_VERSIONS = ("1", "2", "3")
SPLITS = ("train", "validation", "test")
Attribute = Literal["expression", "illumination", "pose"]  # what the classes can say of a face
# iBUG order: where each landmark lands when the picture is mirrored.
MIRROR_ORDER = (
    *range(16, -1, -1),
    *range(26, 16, -1),
    *range(27, 31),
    *range(35, 30, -1),
    *(45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40),
    *(54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55),
    *(64, 63, 62, 61, 60, 67, 66, 65),
)
MASK_CLASSES = ("background", "skin", "lips", "eyes")
NO_MASK = 255  # of pixels whose part nobody knows: of single ones, or of a whole face

IMAGE = pa.struct([pa.field("bytes", pa.binary()), pa.field("path", pa.string())])

FACE_FIELDS: tuple[pa.Field, ...] = (
    pa.field("image", IMAGE, nullable=False),
    pa.field("label", pa.int64(), nullable=False),
    pa.field("label_name", pa.string(), nullable=False),
    pa.field("face_id", pa.string(), nullable=False),
    pa.field("subject", pa.string()),
    pa.field("source", pa.string(), nullable=False),
    pa.field("split", pa.string()),
    pa.field("yaw", pa.float32()),
    pa.field("illumination", pa.string()),
    pa.field("intensity", pa.float32()),
    # 136 numbers, but not a list of that fixed length: Arrow before 26 refuses a whole column of those for one null.
    pa.field("landmarks", pa.list_(pa.float32())),
    pa.field("mask", pa.binary()),
    pa.field("simulated", pa.binary()),
)
# What is not nullable here is null in real faces all the same, but for `synthetic`.
SYNTHETIC_FIELDS: tuple[pa.Field, ...] = (
    pa.field("synthetic", pa.bool_(), nullable=False),
    pa.field("source_id", pa.string(), nullable=False),
    pa.field("source_label", pa.string()),
    pa.field("translator", pa.string(), nullable=False),
    pa.field("weights_sha256", pa.string()),
    pa.field("seed", pa.int64(), nullable=False),
    pa.field("fold", pa.int64(), nullable=False),
    pa.field("confidence", pa.float32()),
    pa.field("identity_shift", pa.float32()),
    pa.field("kept", pa.bool_()),
    pa.field("reject_reason", pa.string()),
)
FIELDS = FACE_FIELDS + SYNTHETIC_FIELDS
# Tables written before these columns came may lack them: that means null, and of `synthetic` false.
LATER_COLUMNS = ("simulated", *(field.name for field in SYNTHETIC_FIELDS))


def face_schema(class_names: Sequence[str], *, metadata: Mapping[str, Any] | None = None) -> pa.Schema:
    """The schema of a table of faces, real or synthetic.

    Args:
        class_names: Names of the classes; a row's `label` is an index into them.
        metadata: Further JSON values for the schema metadata (configuration hash, row count).

    Returns:
        A schema whose `huggingface` metadata makes `datasets` decode the image and name the classes. Its fields are
        all nullable (`datasets` ignores the metadata of a field that is not); `validate_faces` refuses the nulls.
    """
    fields = [field.with_nullable(True) for field in FIELDS]
    features: dict[str, Any] = {}
    for field in fields:
        if field.name == "image":
            features["image"] = {"_type": "Image"}
        elif field.name == "label":
            features["label"] = {"names": list(class_names), "_type": "ClassLabel"}
        elif field.name == "landmarks":
            # `datasets` before 4 knows no List, and later ones take this for one.
            features["landmarks"] = {"feature": {"dtype": "float32", "_type": "Value"}, "_type": "Sequence"}
        else:
            dtype = {"double": "float64", "float": "float32"}.get(str(field.type), str(field.type))
            features[field.name] = {"dtype": dtype, "_type": "Value"}
    encoded = {
        b"huggingface": json.dumps({"info": {"features": features}}).encode(),
        b"s2l": json.dumps({"schema_version": SCHEMA_VERSION, **(metadata or {})}, sort_keys=True).encode(),
    }
    return pa.schema(fields, metadata=encoded)


def class_names(schema: pa.Schema) -> tuple[str, ...]:
    """Reads the class names back from a schema made by `face_schema`.

    Raises:
        InputError: The schema has no class names.
    """
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        return tuple(features["label"]["names"])
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise InputError(
            Problem("label", "the table's metadata names no classes", "write it with augment.faces.shards.write_faces")
        ) from error


def schema_metadata(schema: pa.Schema) -> dict[str, Any]:
    """Our own values in the schema metadata: schema version, configuration hash, row count ..."""
    found = json.loads((schema.metadata or {}).get(b"s2l", b"{}"))
    if not isinstance(found, dict):
        raise ValueError("the table's own metadata is no JSON object")
    return found


def faces_from_rows(rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> pa.Table:
    """Builds a table from row mappings.

    Absent keys become null, but for `synthetic`: a row that doesn't say it is a real face. Landmarks may be [68, 2]
    arrays or 136 numbers.
    """

    def value(row: Mapping[str, Any], name: str) -> Any:
        found = row.get(name, False if name == "synthetic" else None)
        if name == "landmarks" and found is not None:
            return np.asarray(found, np.float32).reshape(-1)
        return found

    columns = [pa.array([value(row, field.name) for row in rows], type=field.type) for field in schema]
    return pa.Table.from_arrays(columns, schema=schema)


def validate_faces(table: pa.Table, *, where: str = "table") -> None:
    """Checks a table of faces against the schema and its rules.

    Args:
        table: The table.
        where: How to name it in errors.

    Raises:
        InputError: Lists every problem: missing columns, wrong types, nulls where none may be, labels without a name,
            duplicate face ids, unknown splits, landmarks that are no face's (`augment.faces.landmark_bounds`).
    """
    problems: list[Problem] = []
    names = class_names(table.schema)
    for field in FIELDS:
        if field.name not in table.column_names:
            if field.name in LATER_COLUMNS:
                continue
            problems.append(Problem(f"{where}, column {field.name}", "is missing"))
        elif table.schema.field(field.name).type != field.type:
            found = table.schema.field(field.name).type
            problems.append(Problem(f"{where}, column {field.name}", f"has type {found}, not {field.type}"))
        elif not field.nullable and (count := _nulls(table, field.name)):
            problems.append(Problem(f"{where}, column {field.name}", f"{count} rows are null"))
    if problems:
        raise InputError(problems, "not a table of faces:")
    labels = table.column("label").to_numpy()
    label_names = table.column("label_name").to_pylist()
    face_ids = table.column("face_id").to_pylist()
    seen: set[str] = set()
    for row, (label, label_name, face_id) in enumerate(zip(labels, label_names, face_ids, strict=True)):
        if not 0 <= label < len(names) or names[label] != label_name:
            problems.append(Problem(f"{where} row {row}", f"label {label} is not {label_name!r} among {list(names)}"))
        if face_id in seen:
            problems.append(Problem(f"{where} row {row}", f"face_id {face_id!r} occurs twice"))
        seen.add(face_id)
    for row, split in enumerate(table.column("split").to_pylist()):
        if split is not None and split not in SPLITS:
            problems.append(Problem(f"{where} row {row}", f"split {split!r} is none of {', '.join(SPLITS)}"))
    for row, landmarks in enumerate(table.column("landmarks").to_pylist()):
        if landmarks is None:
            continue
        fault = landmarks_fault(row_landmarks(landmarks))
        if fault is not None:
            problems.append(Problem(f"{where} row {row}", f"landmarks {fault}", "use null for missing"))
    if problems:
        raise InputError(problems, f"{len(problems)} problems in the table of faces:")


def _nulls(table: pa.Table, name: str) -> int:
    """Rows that are null where none may be; of provenance those of synthetic faces count."""
    nulls = table.column(name).is_null()
    if name in LATER_COLUMNS and name != "synthetic" and "synthetic" in table.column_names:
        nulls = pc.and_(nulls, pc.fill_null(table.column("synthetic"), False))
    return pc.sum(nulls).as_py() or 0


def with_all_columns(table: pa.Table) -> pa.Table:
    """A table of an older version with the columns that came since: null, and `synthetic` false."""
    if all(name in table.column_names for name in LATER_COLUMNS):
        return table
    for field in FIELDS:
        if field.name in LATER_COLUMNS and field.name not in table.column_names:
            value = False if field.name == "synthetic" else None
            table = table.append_column(field.with_nullable(True), pa.array([value] * len(table), field.type))
    ours = [field.name for field in FIELDS if field.name in table.column_names]
    table = table.select([*ours, *(name for name in table.column_names if name not in ours)])
    said = {**schema_metadata(table.schema), "schema_version": SCHEMA_VERSION}
    return table.replace_schema_metadata(face_schema(class_names(table.schema), metadata=said).metadata)


def _with_plain_landmarks(table: pa.Table) -> pa.Table:
    """Up to version 2 landmarks were lists of a fixed length."""
    place = table.schema.get_field_index("landmarks")
    if place < 0 or not pa.types.is_fixed_size_list(table.schema.field(place).type):
        return table
    wanted = next(field for field in FIELDS if field.name == "landmarks")
    return table.set_column(place, wanted, table.column(place).cast(wanted.type))


def data_files(directory: Path) -> list[Path]:
    """The Parquet files of a dataset directory, in order; where it is sealed (`augment.core.seals`), as they were
    written.

    Raises:
        InputError: The directory holds none, or is sealed and a file is missing, changed or was added.
    """
    directory, fix = Path(directory), "run the stage that writes it again"
    files = sorted((directory / "data").glob("*.parquet"))
    if not files:
        raise InputError(Problem(str(directory), "holds no data/*.parquet", "run the stage that writes it"))
    seal = read_seal(directory)
    if seal is not None or (directory / SEAL).exists():
        listed = {name for name in seal or () if name.startswith("data/")}
        problems = seal_problems(directory, fix, names=listed | {f"data/{file.name}" for file in files})
        if problems:
            raise InputError(problems)
    return files


def read_faces(directory: Path, *, columns: Sequence[str] | None = None) -> pa.Table:
    """Reads a dataset directory written by `augment.faces.shards.write_faces` (or by synthesis) as one table.

    Args:
        directory: The dataset directory (it holds `data/` and `README.md`).
        columns: Which columns to read; all by default.

    Returns:
        The rows of all files in the files' order, of older versions with the columns that came since; the metadata's
        row count is that of the whole.

    Raises:
        InputError: There is no data, a file is damaged, two files name different classes, or a newer version wrote one.
    """
    files = data_files(directory)
    tables = []
    for file in files:
        with _named(file):
            tables.append(_read_file(file, columns))
            tables[-1].validate(full=True)  # texts that are no UTF-8, offsets beyond the data
    first = tables[0].schema
    for file, table in zip(files, tables, strict=True):
        if class_names(table.schema) != class_names(first):
            why = (
                f"has the classes {list(class_names(table.schema))}, but {files[0].name} has {list(class_names(first))}"
            )
            raise InputError(Problem(str(file), why, "a dataset directory holds one dataset; write it again"))
    counted = {**schema_metadata(first), "rows": sum(len(table) for table in tables)}
    metadata = {**(first.metadata or {}), b"s2l": json.dumps(counted, sort_keys=True).encode()}
    # By name, so that files with and without the later columns join.
    return pa.concat_tables([table.replace_schema_metadata(metadata) for table in tables], promote_options="default")


def _read_file(file: Path, columns: Sequence[str] | None) -> pa.Table:
    """The wanted columns of a file of this version or an older one."""
    schema = pq.read_schema(file)
    version = schema_metadata(schema).get("schema_version", SCHEMA_VERSION)
    if version not in READ_VERSIONS:
        why = f"is of version {version!r} of the table of faces; versions {', '.join(READ_VERSIONS)} are known here"
        raise InputError(Problem(str(file), why, "update this program, or write the table again"))
    if columns is None:
        return with_all_columns(_with_plain_landmarks(pq.read_table(file)))
    present = [name for name in columns if name in schema.names or name not in LATER_COLUMNS]
    table = _with_plain_landmarks(pq.read_table(file, columns=present))
    return table if len(present) == len(columns) else with_all_columns(table).select(list(columns))


def read_class_names(directory: Path) -> tuple[str, ...]:
    """The class names of a dataset directory, from its first file's footer."""
    file = data_files(directory)[0]
    with _named(file):
        return class_names(pq.read_schema(file))


def iterate_faces(
    directory: Path, *, columns: Sequence[str] | None = None, batch_size: int = 1000
) -> Iterable[pa.RecordBatch]:
    """Streams a dataset directory in record batches, with bounded memory.

    Raises:
        InputError: There is no data, or a file is damaged.
    """
    for file in data_files(directory):
        with _named(file), pq.ParquetFile(file) as parquet:
            for batch in parquet.iter_batches(batch_size=batch_size, columns=list(columns) if columns else None):
                batch.validate(full=True)
                yield batch


@contextmanager
def _named(file: Path) -> Iterator[None]:
    """Says which file is damaged, whatever Arrow says of it."""
    try:
        yield
    except InputError:
        raise
    except (OSError, ValueError, OverflowError, MemoryError, RecursionError, pa.ArrowException) as error:
        why = f"can't be read as a table of faces: {error}"
        raise InputError(Problem(str(file), why, "run the stage that writes it again")) from error
