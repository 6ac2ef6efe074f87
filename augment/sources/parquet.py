"""Parquet tables: faces in this project's own schema, and Hugging Face tables of images and labels."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from pydantic import field_validator

from augment.core.errors import InputError, Problem
from augment.core.regular_files import read_regular_file
from augment.faces.images import UndecodableImageError, decode_image
from augment.faces.landmark_bounds import LANDMARK_COUNT
from augment.faces.licences import LicenceLine, read_card
from augment.faces.table import FACE_FIELDS, LATER_COLUMNS
from augment.sources.base import RawFace, SourceSettings
from augment.sources.class_names import name_problems, natural_key
from augment.sources.face_problem import file_problem
from augment.sources.folder import SPLIT_FOLDERS, is_ignored
from augment.sources.label_names import check_label_names, names_in_card, names_in_schema
from augment.sources.tables import (
    UnreadableTableError,
    distinct_values,
    is_binary,
    is_picture,
    is_text,
    plain_type,
    read_schema,
    rows_of,
)

_IMAGE_COLUMNS = ("image", "img", "picture", "photo", "face")
_LABEL_COLUMNS = ("label", "labels", "emotion", "expression", "class")
_PEOPLE_COLUMNS = ("subject_id", "person", "person_id", "identity", "participant")  # that may hold subjects


class ParquetSettings(SourceSettings):
    """Settings of the source `parquet`; tables in this project's own schema need none.

    Attributes:
        image_column: Holds the pictures, as binary or as struct<bytes, path>; a usual name by default.
        label_column: Holds numbers (with class names in the metadata, in the card's `dataset_info` as `load_dataset`
            takes them, or in `class_names`) or names.
        split_column: Holds train, validation or test. Without it the file names say the split (`train-*.parquet`,
            `faces_test.parquet`), or folders do.
        subject_column: Holds the subjects, where the table knows them.
        class_names: The classes in label order, for tables that do not say. Without them, labels that are text are
            sorted as people count (`2` before `10`).
    """

    image_column: str | None = None
    label_column: str | None = None
    split_column: str = "split"
    subject_column: str = "subject"
    class_names: tuple[str, ...] | None = None

    @field_validator("class_names")
    @classmethod
    def _are_names(cls, names: tuple[str, ...] | None) -> tuple[str, ...] | None:
        return None if names is None else check_label_names(names)


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
        "README.md                  a card: its licence is the faces', its dataset_info names the classes\n"
        "data/train-*.parquet       image, label (and split, subject ...); any names of files"
    )

    def __init__(self, root: Path, settings: ParquetSettings) -> None:
        self.root = root
        self.settings = settings
        self.files = [root] if root.is_file() else _files_below(root)
        if not self.files:
            raise InputError(Problem(str(root), "holds no table", "looked for *.parquet in it and below it"))
        schemas = [read_schema(file) for file in self.files]
        schema = schemas[0]
        if any(_holds_synthetic(file, other) for file, other in zip(self.files, schemas, strict=True)):
            why = "holds synthetic faces; taken as a source they would pass for real ones in every test"
            raise InputError(Problem(str(root), why, "name the real faces; synthesis writes its faces by itself"))
        self._is_own = {field.name for field in FACE_FIELDS} - set(LATER_COLUMNS) <= set(schema.names)
        self.image_column = "image" if self._is_own else self._find(schema, "image_column", _IMAGE_COLUMNS)
        self.label_column = "label" if self._is_own else self._find(schema, "label_column", _LABEL_COLUMNS)
        image_type = schema.field(self.image_column).type
        if not is_picture(image_type):
            why = f"has type {image_type}, neither binary nor struct<bytes, path>"
            raise InputError(Problem(f"column {self.image_column}", why, "name the pictures' column by image_column"))
        problems = [
            Problem(str(file), f"column {name} is missing or not as in {self.files[0].name}", "read one set at a time")
            for file, other in zip(self.files, schemas, strict=True)
            for name in (self.image_column, self.label_column)
            if name not in other.names or other.field(name).type != schema.field(name).type
        ]
        if self._is_own and not problems:
            problems = [
                problem for file, other in zip(self.files, schemas, strict=True) for problem in _own(file, other)
            ]
        if problems:
            raise InputError(problems)
        self._check_named_columns(schemas)
        self._names = schema.names
        label_type = plain_type(schema.field(self.label_column).type)
        if not (pa.types.is_integer(label_type) or is_text(label_type)):
            why = f"has type {label_type}, neither whole numbers nor names"
            fix = "name the labels' column by label_column"
            if pa.types.is_boolean(label_type) or pa.types.is_floating(label_type):
                fix = "write it as whole numbers or as names (pandas makes floats of numbers where one is missing)"
            raise InputError(Problem(f"column {self.label_column}", why, fix))
        self.class_names: tuple[str, ...] = self._find_class_names(schemas, is_text(label_type))
        if not is_text(label_type):
            self._check_first_label()

    def _check_named_columns(self, schemas: list[pa.Schema]) -> None:
        """Refuses a column that the settings name and no table has; the usual ones may be missing."""
        there = sorted({name for schema in schemas for name in schema.names})
        problems = []
        for setting in ("split_column", "subject_column"):
            name, default = getattr(self.settings, setting), type(self.settings).model_fields[setting].default
            if name not in there and name != default:
                close = get_close_matches(name, there, n=1)
                fix = f"did you mean {close[0]}?" if close else f"they have {', '.join(there)}"
                problems.append(Problem(f"{setting}: {name}", "is no column of the tables", fix))
        if problems:
            raise InputError(problems)

    def _check_first_label(self) -> None:
        """Refuses labels that count from 1: with all names shifted by one, all but the last class would be read."""
        found: set[Any] = set()
        for file in self.files:
            try:
                found |= distinct_values(file, self.label_column)
            except UnreadableTableError:
                return  # reading the rows will say where the file is damaged
        labels = found - {None}
        if labels and min(labels) == 1 and max(labels) == len(self.class_names):
            why = f"has the labels 1 to {max(labels)} for {len(self.class_names)} classes, which count from 0"
            raise InputError(Problem(f"column {self.label_column}", why, "subtract 1 from each label"))

    def reading_notes(self) -> tuple[str, ...]:
        """A column that may hold subjects, where none is read."""
        if self.settings.subject_column in self._names:
            return ()
        by_plain_name = {name.lower(): name for name in self._names}
        found = [by_plain_name[name] for name in ("subject", *_PEOPLE_COLUMNS) if name in by_plain_name]
        if not found:
            return ()
        return (f"subjects are unknown, and column {found[0]} may hold them: set subject_column={found[0]}",)

    def _find(self, schema: pa.Schema, setting: str, usual: tuple[str, ...]) -> str:
        named = getattr(self.settings, setting)
        wanted = (named,) if named else usual
        for name in wanted:
            if name in schema.names:
                return name
        why = f"no column {' or '.join(wanted)}"
        raise InputError(Problem(self.files[0].name, why, f"it has {', '.join(schema.names)}; set {setting}"))

    def _find_class_names(self, schemas: list[pa.Schema], labels_are_text: bool) -> tuple[str, ...]:
        if self.settings.class_names and not self._is_own:
            return self.settings.class_names
        # In the order in which they are asked for: file by file, then the card, as `load_dataset` merges them.
        named: dict[tuple[str, ...], str] = {}
        for file, schema in zip(self.files, schemas, strict=True):
            names = names_in_schema(schema, self.label_column, file.name)
            if names is not None:
                named.setdefault(names, f"{file.name} says {', '.join(names)}")
        names = names_in_card(self._card_folders(), self.label_column)
        if names is not None:
            named.setdefault(names, f"README.md says {', '.join(names)}")
        if len(named) > 1:
            why = f"its class names differ: {'; '.join(named.values())}"
            fix = "give class_names, in the order of the numbers, or read one set at a time"
            raise InputError(Problem(f"column {self.label_column}", why, fix))
        if self._is_own and self.settings.class_names and named:
            why = "is for tables that do not name their classes; this one does"
            raise InputError(Problem("class_names", why, "leave it out; prepare takes a choice of classes"))
        if self._is_own and not named:
            return self.settings.class_names or self._names_of_rows()
        if named:
            (names, said), *_ = named.items()
            problems = name_problems(
                {name: [said.split(" says ")[0]] for name in names}, str, "in the metadata, or give class_names"
            )
            if problems:
                raise InputError(problems)
            return names
        if labels_are_text:
            values: set[Any] = set()
            for file in self.files:
                try:
                    values |= distinct_values(file, self.label_column)
                except UnreadableTableError as error:
                    where = f"{file.name}, column {self.label_column}"
                    raise InputError(Problem(where, f"can't be read: {error}", "copy it again")) from error
            found = [value for value in values if value is not None and value.strip()]
            problems = name_problems(
                {name: [f"column {self.label_column}"] for name in found}, str, "in the table, or map them beforehand"
            )
            if problems:
                raise InputError(problems)
            if found:
                try:
                    return check_label_names(sorted(found, key=natural_key))
                except ValueError as error:
                    where = f"column {self.label_column}"
                    raise InputError(Problem(where, f"its labels {error}", "rename them")) from error
        why = f"column {self.label_column} has numbers without names" if not labels_are_text else "no row has a label"
        fix = "give class_names, in the order of the numbers"
        raise InputError(Problem(self.files[0].name, why, fix))

    def _names_of_rows(self) -> tuple[str, ...]:
        """The names that an own table's rows give to their labels: a copy by pandas or Polars has lost the schema's."""
        found: dict[int, str] = {}
        for file in self.files:
            try:
                for row in rows_of(file, ["label", "label_name"]):
                    if row["label"] is not None and row["label_name"]:
                        found.setdefault(row["label"], row["label_name"])
            except UnreadableTableError as error:
                raise InputError(Problem(file.name, f"can't be read: {error}", "copy it again")) from error
        column = f"{self.files[0].name}, column label_name"
        unnamed = next((number for number in range(len(found) + 1) if number not in found), 0)
        if not found or unnamed < len(found) or min(found) < 0:
            why = f"no row says which class {unnamed} is, nor does the table"
            raise InputError(Problem(column, why, "give class_names, in the order of the numbers"))
        names = tuple(found[number] for number in range(len(found)))
        said: dict[str, list[str]] = {}
        for number, name in enumerate(names):
            said.setdefault(name, []).append(f"label {number}")
        problems = name_problems(said, str, "in the table, or give class_names")
        if problems:
            raise InputError(problems)
        try:
            return check_label_names(names)
        except ValueError as error:
            raise InputError(Problem(column, f"its names {error}", "rename them, or give class_names")) from error

    def _card_folders(self) -> tuple[Path, ...]:
        folder = self.root if self.root.is_dir() else self.root.parent
        return (folder, folder.parent) if folder.name == "data" else (folder,)

    @property
    def licence_lines(self) -> list[tuple[str, LicenceLine | None]]:
        """What the card beside the tables says of their licence; None where none does."""
        for place in self._card_folders():
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
                columns = self._columns(read_schema(file).names)
                for row, values in enumerate(rows_of(file, columns)):
                    any_row = True
                    yield self._face(values, file, file_name, row)
            except UnreadableTableError as error:
                any_row = True  # there may have been some
                where = f"{file_name}, after row {row}" if row >= 0 else file_name
                yield Problem(where, f"can't be read further: {error}", "copy it again")
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
        if isinstance(label, str) and label.strip():
            if label not in self.class_names:
                return Problem(where, f"unknown label {label[:40]!r}", f"classes are {', '.join(self.class_names)}")
            label_name = label
        elif not isinstance(label, int) or not 0 <= label < len(self.class_names):
            why = f"label {label} is out of range" if isinstance(label, int) else "the label is missing"
            return Problem(where, why, f"0 to {len(self.class_names) - 1} are {', '.join(self.class_names)}")
        else:
            label_name = self.class_names[label]
        split = values.get(self.settings.split_column) or _split_of_file(file, self.root)
        if split is not None and str(split).lower() not in SPLIT_FOLDERS:
            return Problem(where, f"unknown split {str(split)[:40]!r}", "train, validation and test are known")
        split = SPLIT_FOLDERS[str(split).lower()] if split is not None else None
        data, path = self._picture(values[self.image_column])
        if data is None:
            return Problem(where, "has no picture" if not path else f"its picture {path!r} is not in the table")
        try:
            image = decode_image(data)
        except UndecodableImageError as error:
            return Problem(where, f"does not decode: {error}")
        wrong = file_problem(data, where)
        if wrong is not None:
            return wrong
        subject = _subject(values.get(self.settings.subject_column))
        if not self._is_own:
            return RawFace(f"{file_name}:{row}", image, label_name, subject=subject, split=split, path=path)
        if not values["face_id"]:
            return Problem(where, "has no face_id")
        if not values["source"]:
            return Problem(where, "has no source")
        if values["label_name"] and values["label_name"] != label_name:
            why = f"label {label} is {label_name}, and its label_name says {str(values['label_name'])[:40]!r}"
            return Problem(where, why, "write both alike")
        landmarks = values["landmarks"]
        if landmarks is not None:
            if len(landmarks) != 2 * LANDMARK_COUNT:
                return Problem(where, f"has {len(landmarks)} landmark coordinates, not {2 * LANDMARK_COUNT}")
            landmarks = np.array(landmarks, np.float32).reshape(LANDMARK_COUNT, 2)  # None becomes NaN
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
            source=values["source"],
        )

    def _picture(self, value: Any) -> tuple[bytes | None, str | None]:
        """The picture's bytes and its path; a table that only names files gives the bytes of those below the root."""
        if not isinstance(value, dict):
            return value, None
        data, path = value.get("bytes"), value.get("path")
        if not isinstance(path, str):
            return data, None
        if data is None and path:
            folder = (self.root if self.root.is_dir() else self.root.parent).resolve()
            try:
                file = (folder / path).resolve()
                if file.is_relative_to(folder) and file.is_file():
                    data = read_regular_file(file)
            except (OSError, ValueError, RuntimeError):  # names that no file can have, links in a circle
                pass
        return data, path


def _files_below(root: Path) -> list[Path]:
    return [
        path
        for path in sorted(root.rglob("*"))
        if path.suffix.lower() == ".parquet"
        and path.is_file()
        and not any(is_ignored(Path(part)) for part in path.relative_to(root).parts)
        # Of a prepared folder: which of its faces are alike, and no faces.
        and not (path.name == "duplicates.parquet" and (path.parent / "data").is_dir())
    ]


def _own(file: Path, schema: pa.Schema) -> Iterator[Problem]:
    """Columns of the own schema that a table lacks, or has in a type that holds something else."""
    for field in FACE_FIELDS:
        if field.name not in schema.names:
            if field.name not in LATER_COLUMNS:
                yield Problem(f"{file.name}, column {field.name}", "is missing", "read one set at a time")
        elif not _holds(schema.field(field.name).type, field.type):
            found = schema.field(field.name).type
            fix = "write it with augment.faces.shards.write_faces, or rename the columns that are not of its schema"
            yield Problem(f"{file.name}, column {field.name}", f"has type {found}, not {field.type}", fix)


def _holds(found: pa.DataType, wanted: pa.DataType) -> bool:
    """Whether values of a type can stand where another is wanted, as a copy by pandas or Polars may have them."""
    found = plain_type(found)
    if pa.types.is_null(found):
        return True
    if is_text(wanted):
        return is_text(found)
    if is_binary(wanted):
        return is_binary(found)
    if pa.types.is_struct(wanted):
        return is_picture(found)
    if pa.types.is_list(wanted):
        is_list = pa.types.is_list(found) or pa.types.is_large_list(found) or pa.types.is_fixed_size_list(found)
        return is_list and pa.types.is_floating(found.value_type)
    return pa.types.is_integer(found) or (pa.types.is_floating(wanted) and pa.types.is_floating(found))


def _holds_synthetic(file: Path, schema: pa.Schema) -> bool:
    """Whether a row of one of our tables says that it is a synthetic face."""
    if "synthetic" not in schema.names or "translator" not in schema.names:
        return False
    try:
        return True in distinct_values(file, "synthetic")
    except UnreadableTableError:
        return False  # reading the rows will say where the file is damaged


def _subject(value: Any) -> str | None:
    """A subject's name as text; None for what stands for no name. Numbers beside missing ones are floats to pandas."""
    if isinstance(value, float):
        value = None if math.isnan(value) else int(value) if value.is_integer() else value
    name = "" if value is None else str(value)
    return name if name.strip() else None


def _split_of_file(file: Path, root: Path) -> str | None:
    """`train` from `data/train-00000-of-00001.parquet`, `faces_train.parquet` or `train/0000.parquet`; else None.

    As in `datasets`, a split's name counts wherever it is a word of its own; the file's words come before its folders',
    the first before the others.
    """
    folders = file.relative_to(root).parent.parts if root.is_dir() else ()
    words = [word for part in (file.stem, *reversed(folders)) for word in re.split(r"[-._ 0-9]+", part.lower())]
    return next((word for word in words if word in SPLIT_FOLDERS), None)
