"""The forms of an exported folder: Parquet, folders of pictures, and WebDataset's archives; each written and read."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from augment.core.errors import InputError, Problem
from augment.core.regular_files import read_regular_file
from pipeline.publishing.columns import DATA_NAMES, export_schema

ROWS_PER_FILE = 10_000
_ROW_GROUP = 500
_LARGEST_MEMBER = 64 * 2**20  # bytes of a picture or a row in an archive
_DICTIONARY = ["label", "label_name", "subject", "source", "translator", "source_label", "weights_sha256"]
_FEATURES = b"huggingface"
_FIX = "export it again, or take the folder from where you have it"


class Form(Protocol):
    """A way to lay faces in files."""

    def write(self, folder: Path, split: str, rows: Iterable[Mapping[str, Any]], count: int) -> list[str]:
        """Writes the rows of a split; returns the relative names of the files that hold them, in order."""
        ...

    def read(self, folder: Path, files: Iterable[str]) -> Iterator[dict[str, Any]]:
        """The rows as they were written, `image` with its bytes."""
        ...


class ParquetForm:
    """`data/<split>-<file>-of-<files>.parquet`, as Hugging Face names them."""

    def __init__(self, class_names: tuple[str, ...]) -> None:
        self.schema = export_schema(class_names)

    def write(self, folder: Path, split: str, rows: Iterable[Mapping[str, Any]], count: int) -> list[str]:
        """See `Form`."""
        names = _file_names(split, count, "parquet")
        stream = iter(rows)
        for name in names:
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            # Pages of encoded pictures are never alike: a dictionary would only cost memory.
            with pq.ParquetWriter(path, self.schema, compression="zstd", use_dictionary=_DICTIONARY) as writer:
                left = ROWS_PER_FILE
                while left and (group := _take(stream, min(_ROW_GROUP, left))):
                    writer.write_table(pa.Table.from_pylist(group, schema=self.schema))
                    left -= len(group)
        return names

    def read(self, folder: Path, files: Iterable[str]) -> Iterator[dict[str, Any]]:
        """See `Form`."""
        for name in files:
            yield from _parquet_rows(folder / name, self.schema)


class ImageFolderForm:
    """`<split>/<class>/<number>.png`, and `<split>/metadata.parquet` with all other columns.

    torchvision's `ImageFolder` reads a split, and so does Hugging Face's `imagefolder`. A class is a folder in every
    split, so its name must be one that every file system has.
    """

    METADATA = "metadata.parquet"  # typed, so that a column of nulls is the same column in every split

    def __init__(self, class_names: tuple[str, ...]) -> None:
        problems = [
            Problem(
                f"class {name!r}", "is no name for a folder", "export as parquet or webdataset, or rename the class"
            )
            for name in class_names
            if not name
            or name != name.strip(" .")
            or name.casefold() == self.METADATA
            or any(character in '<>:"/\\|?*' or ord(character) < 32 for character in name)
        ]
        if len({name.casefold() for name in class_names}) < len(class_names):
            why = "differ in upper and lower case alone, and folders may not"
            problems.append(Problem("classes", why, "export as parquet or webdataset, or rename a class"))
        if problems:
            raise InputError(problems)
        self.class_names = class_names
        self.schema = export_schema(class_names, pictures=False)

    def write(self, folder: Path, split: str, rows: Iterable[Mapping[str, Any]], count: int) -> list[str]:
        """See `Form`."""
        for name in self.class_names:
            # Of a class without a face too: torchvision numbers the folders that a split has.
            (folder / split / name).mkdir(parents=True)
        found = []
        for number, row in enumerate(rows):
            place = f"{row['label_name']}/{number:07d}.png"
            (folder / split / place).write_bytes(row["image"]["bytes"])
            found.append({"file_name": place, **{name: row[name] for name in DATA_NAMES}})
        table = pa.Table.from_pylist(found, schema=self.schema)
        pq.write_table(table, folder / split / self.METADATA, compression="zstd")
        return [f"{split}/{self.METADATA}"]

    def read(self, folder: Path, files: Iterable[str]) -> Iterator[dict[str, Any]]:
        """See `Form`."""
        for name in files:
            where = folder / name
            for number, row in enumerate(_parquet_rows(where, self.schema)):
                place = str(row.pop("file_name"))
                if "\0" in place or len(place) > 255:
                    raise InputError(Problem(f"{where} row {number}", "names no file that there can be", _FIX))
                picture = where.parent / place
                if not picture.resolve().is_relative_to(where.parent.resolve()):
                    raise InputError(Problem(f"{where} row {number}", f"{place!r} leads out of the folder", _FIX))
                try:
                    row["image"] = {"bytes": read_regular_file(picture), "path": place}
                except OSError as error:
                    raise InputError(Problem(str(picture), f"can't be read: {error.strerror}", _FIX)) from error
                yield row


class WebDatasetForm:
    """`data/<split>-<file>-of-<files>.tar`: of each face `<number>.png`, `.cls` (its label), `.json` (all columns)."""

    def write(self, folder: Path, split: str, rows: Iterable[Mapping[str, Any]], count: int) -> list[str]:
        """See `Form`."""
        names = _file_names(split, count, "tar")
        stream = iter(rows)
        number = 0
        for name in names:
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as archive:
                for row in _take(stream, ROWS_PER_FILE):
                    key = f"{number:07d}"
                    number += 1
                    _add(archive, f"{key}.png", row["image"]["bytes"])
                    _add(archive, f"{key}.cls", str(row["label"]).encode())
                    _add(archive, f"{key}.json", _json_line({name: row[name] for name in DATA_NAMES}).encode())
        return names

    def read(self, folder: Path, files: Iterable[str]) -> Iterator[dict[str, Any]]:
        """See `Form`."""
        for name in files:
            where = folder / name
            try:
                with tarfile.open(where, "r:") as archive:
                    yield from self._faces(archive, where)
            except (OSError, tarfile.TarError, EOFError, MemoryError, OverflowError) as error:
                raise InputError(Problem(str(where), f"can't be read: {error}", _FIX)) from error

    def _faces(self, archive: tarfile.TarFile, where: Path) -> Iterator[dict[str, Any]]:
        found: dict[str, bytes] = {}
        current = ""
        for member in archive:
            key, _, kind = member.name.partition(".")
            if key != current:
                if found:
                    yield self._face(found, f"{where} {current}")
                found, current = {}, key
            file = archive.extractfile(member) if member.isreg() and not member.issparse() else None
            if file is None:
                raise InputError(Problem(f"{where} {member.name}", "is no plain file", _FIX))
            if member.size > _LARGEST_MEMBER:  # by its header, before anything of it is read
                why = f"is of {member.size:,} bytes, and no face has more than {_LARGEST_MEMBER:,}"
                raise InputError(Problem(f"{where} {member.name}", why, _FIX))
            found[kind] = file.read()
        if found:
            yield self._face(found, f"{where} {current}")

    def _face(self, found: Mapping[str, bytes], where: str) -> dict[str, Any]:
        if set(found) != {"png", "cls", "json"}:
            raise InputError(Problem(where, f"has {', '.join(sorted(found))}, and a face has cls, json, png", _FIX))
        row = _row(found["json"], where)
        if found["cls"] != str(row["label"]).encode():
            raise InputError(Problem(f"{where}.cls", f"is not the label {row['label']} of the .json beside it", _FIX))
        return {"image": {"bytes": found["png"], "path": None}, **row}


def form_of(name: str, class_names: tuple[str, ...]) -> Form:
    """The form of a name: parquet, imagefolder or webdataset.

    Raises:
        InputError: The classes can't be folders.
    """
    if name == "parquet":
        return ParquetForm(class_names)
    return ImageFolderForm(class_names) if name == "imagefolder" else WebDatasetForm()


def _file_names(split: str, count: int, suffix: str) -> list[str]:
    files = max(1, -(-count // ROWS_PER_FILE))
    return [f"data/{split}-{number:05d}-of-{files:05d}.{suffix}" for number in range(files)]


def _take(stream: Iterator[Mapping[str, Any]], count: int) -> list[Mapping[str, Any]]:
    return [row for _, row in zip(range(count), stream, strict=False)]


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    """A member without times and owners, so that equal faces are an equal archive."""
    member = tarfile.TarInfo(name)
    member.size = len(data)
    archive.addfile(member, io.BytesIO(data))


def _json_line(values: Mapping[str, Any]) -> str:
    return json.dumps(values, ensure_ascii=False, allow_nan=False) + "\n"


def _parquet_rows(path: Path, schema: pa.Schema) -> Iterator[dict[str, Any]]:
    try:
        with pq.ParquetFile(path) as parquet:
            if not parquet.schema_arrow.equals(schema, check_metadata=False):
                raise InputError(Problem(str(path), "has other columns than an export has", _FIX))
            if (parquet.schema_arrow.metadata or {}).get(_FEATURES) != (schema.metadata or {}).get(_FEATURES):
                why = "has not the classes and types of an export in its metadata, by which Hugging Face's readers go"
                raise InputError(Problem(str(path), why, _FIX))
            for batch in parquet.iter_batches(batch_size=_ROW_GROUP):
                yield from batch.to_pylist()
    except (OSError, pa.ArrowException) as error:
        raise InputError(Problem(str(path), f"can't be read: {error}", _FIX)) from error


def _row(text: bytes, where: str) -> dict[str, Any]:
    try:
        row = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(Problem(where, f"is no JSON: {error}", _FIX)) from error
    if not isinstance(row, dict) or set(row) != set(DATA_NAMES):
        raise InputError(Problem(where, f"has not the columns {', '.join(DATA_NAMES)}", _FIX))
    return row
