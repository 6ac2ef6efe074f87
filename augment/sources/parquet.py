"""Parquet tables: faces in this project's own schema, and Hugging Face tables of images and labels."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from augment.faces import FACE_FIELDS, LANDMARK_COUNT, LATER_COLUMNS
from augment.images import UndecodableImageError, decode_image
from augment.licences import LicenceLine, read_card
from augment.problems import InputError, Problem
from augment.sources.base import RawFace, SourceSettings
from augment.sources.folder import SPLIT_FOLDERS, is_ignored

_IMAGE_COLUMNS = ("image", "img", "picture", "photo", "face")
_LABEL_COLUMNS = ("label", "labels", "emotion", "expression", "class")


class ParquetSettings(SourceSettings):
    """Settings of the source `parquet`; tables in this project's own schema need none.

    Attributes:
        image_column: Holds the pictures, as binary or as struct<bytes, path>; a usual name by default.
        label_column: Holds numbers (with class names in the metadata, or in `class_names`) or names.
        split_column: Holds train, validation or test. Without it the file names say the split (`train-*.parquet`).
        subject_column: Holds the subjects, where the table knows them.
        class_names: The classes in label order, for tables that do not say.
    """

    image_column: str | None = None
    label_column: str | None = None
    split_column: str = "split"
    subject_column: str = "subject"
    class_names: tuple[str, ...] | None = None


class ParquetSource:
    """Tables of pictures and labels, under the licence that a `README.md` card beside them names.

    Args:
        root: A `.parquet` file, or a folder; all `.parquet` files below it are read, in the order of their paths.
        settings: The settings.

    Raises:
        InputError: There is no Parquet file, a file is not one, the image or the label column can't be found, the
            classes have no names, or the faces are synthetic.
    """

    name: ClassVar[str] = "parquet"
    needs_root: ClassVar[bool] = True
    Settings: ClassVar[type[SourceSettings]] = ParquetSettings
    layout: ClassVar[str] = (
        "README.md                  a card: its licence is the faces'\n"
        "data/train-*.parquet       image, label (and split, subject ...); any names of files"
    )

    def __init__(self, root: Path, settings: ParquetSettings) -> None:
        self.root = root
        self.settings = settings
        self.files = [root] if root.is_file() else _files_below(root)
        if not self.files:
            raise InputError(Problem(str(root), "holds no table", "looked for *.parquet in it and below it"))
        schemas = [_read_schema(file) for file in self.files]
        schema = schemas[0]
        if any(_holds_synthetic(file, other) for file, other in zip(self.files, schemas, strict=True)):
            why = "holds synthetic faces; taken as a source they would pass for real ones in every test"
            raise InputError(Problem(str(root), why, "name the real faces; synthesis writes its faces by itself"))
        self._is_own = {field.name for field in FACE_FIELDS} - set(LATER_COLUMNS) <= set(schema.names)
        self.image_column = "image" if self._is_own else self._find(schema, "image_column", _IMAGE_COLUMNS)
        self.label_column = "label" if self._is_own else self._find(schema, "label_column", _LABEL_COLUMNS)
        image_type = schema.field(self.image_column).type
        if not (
            _is_binary(image_type) or (pa.types.is_struct(image_type) and image_type.get_field_index("bytes") >= 0)
        ):
            why = f"has type {image_type}, neither binary nor struct<bytes, path>"
            raise InputError(Problem(f"column {self.image_column}", why, "name the pictures' column by image_column"))
        problems = [
            Problem(str(file), f"column {name} is missing or not as in {self.files[0].name}", "read one set at a time")
            for file, other in zip(self.files, schemas, strict=True)
            for name in (self.image_column, self.label_column)
            if name not in other.names or other.field(name).type != schema.field(name).type
        ]
        if problems:
            raise InputError(problems)
        label_type = schema.field(self.label_column).type
        if pa.types.is_dictionary(label_type):
            label_type = label_type.value_type
        if not (pa.types.is_integer(label_type) or _is_text(label_type)):
            why = f"has type {label_type}, neither whole numbers nor names"
            raise InputError(Problem(f"column {self.label_column}", why, "name the labels' column by label_column"))
        self.class_names: tuple[str, ...] = self._find_class_names(schema, _is_text(label_type))

    def _find(self, schema: pa.Schema, setting: str, usual: tuple[str, ...]) -> str:
        named = getattr(self.settings, setting)
        wanted = (named,) if named else usual
        for name in wanted:
            if name in schema.names:
                return name
        why = f"no column {' or '.join(wanted)}"
        raise InputError(Problem(self.files[0].name, why, f"it has {', '.join(schema.names)}; set {setting}"))

    def _find_class_names(self, schema: pa.Schema, labels_are_text: bool) -> tuple[str, ...]:
        if self.settings.class_names and self._is_own:
            why = "is for tables that do not name their classes; this one does"
            raise InputError(Problem("class_names", why, "leave it out; prepare takes a choice of classes"))
        if self.settings.class_names:
            return self.settings.class_names
        try:
            features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
            return tuple(features[self.label_column]["names"])
        except (KeyError, TypeError, ValueError):
            pass
        if labels_are_text:
            values: set[str] = set()
            for file in self.files:
                column = pq.read_table(file, columns=[self.label_column]).column(0).combine_chunks()
                values.update(value for value in column.unique().to_pylist() if value is not None)
            if values:
                return tuple(sorted(values))
        why = f"column {self.label_column} has numbers without names" if not labels_are_text else "no row has a label"
        raise InputError(Problem(self.files[0].name, why, "give class_names, in the order of the numbers"))

    @property
    def licence_lines(self) -> list[tuple[str, LicenceLine | None]]:
        """What the card beside the tables says of their licence; None where none does."""
        folder = self.root if self.root.is_dir() else self.root.parent
        for place in (folder, folder.parent) if folder.name == "data" else (folder,):
            licence = read_card(place)
            if licence is not None:
                return [(line.data_set or self.name, line) for line in licence.lines]
        return [(self.name, None)]

    def faces(self) -> Iterator[RawFace | Problem]:
        """Yields every row in the files' order, and every problem."""
        any_row = False
        for file in self.files:
            file_name = file.relative_to(self.root).as_posix() if self.root.is_dir() else file.name
            row = -1
            try:
                with pq.ParquetFile(file) as table:
                    columns = self._columns(table.schema_arrow.names)
                    for batch in table.iter_batches(batch_size=500, columns=columns):
                        for values in batch.to_pylist():
                            row += 1
                            any_row = True
                            yield self._face(values, file, file_name, row)
            except (OSError, pa.ArrowException) as error:
                yield Problem(f"{file_name}, after row {row}", f"can't be read further: {error}", "copy it again")
        if not any_row:
            yield Problem(str(self.root), "holds no rows")

    def _columns(self, present: list[str]) -> list[str]:
        wanted = {self.image_column, self.label_column, self.settings.split_column, self.settings.subject_column}
        if self._is_own:
            wanted |= {field.name for field in FACE_FIELDS}
        return [name for name in present if name in wanted]

    def _face(self, values: dict[str, Any], file: Path, file_name: str, row: int) -> RawFace | Problem:
        where = f"{file_name} row {row}"
        label = values[self.label_column]
        if isinstance(label, str):
            if label not in self.class_names:
                return Problem(where, f"unknown label {label!r}", f"classes are {', '.join(self.class_names)}")
            label_name = label
        elif label is None or not 0 <= label < len(self.class_names):
            why = "the label is missing" if label is None else f"label {label} is out of range"
            return Problem(where, why, f"0 to {len(self.class_names) - 1} are {', '.join(self.class_names)}")
        else:
            label_name = self.class_names[label]
        split = values.get(self.settings.split_column) or _split_of_file(file, self.root)
        if split is not None and str(split).lower() not in SPLIT_FOLDERS:
            return Problem(where, f"unknown split {split!r}", "train, validation and test are known")
        split = SPLIT_FOLDERS[str(split).lower()] if split is not None else None
        data, path = self._picture(values[self.image_column])
        if data is None:
            return Problem(where, "has no picture" if not path else f"its picture {path!r} is not in the table")
        try:
            image = decode_image(data)
        except UndecodableImageError as error:
            return Problem(where, f"does not decode: {error}")
        subject = values.get(self.settings.subject_column)
        subject = None if subject is None else str(subject)
        if not self._is_own:
            return RawFace(f"{file_name}:{row}", image, label_name, subject=subject, split=split, path=path)
        if not values["face_id"]:
            return Problem(where, "has no face_id")
        landmarks = values["landmarks"]
        if landmarks is not None:
            if len(landmarks) != 2 * LANDMARK_COUNT:
                return Problem(where, f"has {len(landmarks)} landmark coordinates, not {2 * LANDMARK_COUNT}")
            landmarks = np.asarray(landmarks, np.float32).reshape(LANDMARK_COUNT, 2)
        try:
            mask = None if values["mask"] is None else decode_image(values["mask"])
        except UndecodableImageError as error:
            return Problem(where, f"its mask does not decode: {error}")
        try:
            simulated = None if values.get("simulated") is None else decode_image(values["simulated"])
        except UndecodableImageError as error:
            return Problem(where, f"its simulated face does not decode: {error}")
        return RawFace(
            values["face_id"],
            image,
            label_name,
            subject=subject,
            split=split,
            path=path,
            yaw=values["yaw"],
            illumination=values["illumination"],
            intensity=values["intensity"],
            landmarks=landmarks,
            mask=mask,
            simulated=simulated,
        )

    def _picture(self, value: Any) -> tuple[bytes | None, str | None]:
        """The picture's bytes and its path; a table that only names files gives the bytes of those below the root."""
        if not isinstance(value, dict):
            return value, None
        data, path = value.get("bytes"), value.get("path")
        if data is None and path:
            folder = (self.root if self.root.is_dir() else self.root.parent).resolve()
            file = (folder / path).resolve()
            if file.is_relative_to(folder) and file.is_file():
                data = file.read_bytes()
        return data, path


def _files_below(root: Path) -> list[Path]:
    return [
        path
        for path in sorted(root.rglob("*"))
        if path.suffix.lower() == ".parquet"
        and path.is_file()
        and not any(is_ignored(Path(part)) for part in path.relative_to(root).parts)
    ]


def _read_schema(file: Path) -> pa.Schema:
    try:
        return pq.read_schema(file)
    except (OSError, pa.ArrowException) as error:
        raise InputError(Problem(str(file), f"is no Parquet file: {error}", "copy it again")) from error


def _holds_synthetic(file: Path, schema: pa.Schema) -> bool:
    """Whether a row of one of our tables says that it is a synthetic face."""
    if "synthetic" not in schema.names or "translator" not in schema.names:
        return False
    try:
        column = pq.read_table(file, columns=["synthetic"]).column(0)
    except (OSError, pa.ArrowException):
        return False  # reading the rows will say where the file is damaged
    return any(column.to_pylist())


def _split_of_file(file: Path, root: Path) -> str | None:
    """`train` from `data/train-00000-of-00001.parquet`, `train.parquet` or `train/0000.parquet`; else None."""
    folders = file.relative_to(root).parent.parts if root.is_dir() else ()
    word = file.stem.replace("_", "-").split("-")[0].lower()
    return next((part.lower() for part in (word, *reversed(folders)) if part.lower() in SPLIT_FOLDERS), None)


def _is_binary(kind: pa.DataType) -> bool:
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)
