"""Parquet tables that somebody else wrote: whatever is wrong with their bytes comes out as one error."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from augment.core.errors import InputError, Problem
from augment.core.file_kinds import OPENING, is_archive_kind, kind_of
from augment.core.regular_files import open_regular_file, require_regular_file

BATCH_ROWS = 500


class UnreadableTableError(ValueError):
    """A table can't be read further; says why, in one line."""


def opening_kind(file: Path) -> str | None:
    """What a file is by its first bytes (`augment.core.file_kinds`); None where that is unknown or it can't be read."""
    try:
        with open_regular_file(file) as stream:
            return kind_of(stream.read(OPENING))
    except OSError:
        return None


def read_schema(file: Path) -> pa.Schema:
    """Reads a table's schema.

    Raises:
        InputError: The file is no Parquet table; the error names what it is, where that is known.
    """
    try:
        require_regular_file(file)
        schema = pq.read_schema(file)
        names = list(schema.names)  # decoded here: names that are not UTF-8 end here, and not in the middle of a run
    except Exception as error:  # of damaged bytes pyarrow makes its own errors, OSError, UnicodeDecodeError ...
        kind = opening_kind(file)
        if kind is None or kind == "a Parquet table":
            raise InputError(Problem(str(file), f"is no Parquet file: {_line(error)}", "copy it again")) from error
        fix = "unpack it" if is_archive_kind(kind) else "copy it again"
        raise InputError(Problem(str(file), f"is {kind}, whatever its name says", fix)) from error
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        why = f"has several columns called {', '.join(map(repr, twice))}"
        raise InputError(Problem(str(file), why, "rename or drop all but one of each"))
    return schema


def rows_of(file: Path, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yields a table's rows.

    Args:
        file: The Parquet file.
        columns: Which columns; all must be there.

    Raises:
        UnreadableTableError: The bytes are damaged; rows before them were yielded.
    """
    for batch in _batches(file, columns):
        yield from _pythonic(batch.to_pylist)


def distinct_values(file: Path, column: str) -> set[Any]:
    """The different values of a column.

    Raises:
        UnreadableTableError: The bytes are damaged.
    """
    found: set[Any] = set()
    for batch in _batches(file, [column]):
        found.update(_pythonic(batch.column(0).unique().to_pylist))
    return found


def is_binary(kind: pa.DataType) -> bool:
    """Whether values are bytes."""
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind)


def is_text(kind: pa.DataType) -> bool:
    """Whether values are texts."""
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def is_picture(kind: pa.DataType) -> bool:
    """Whether values are pictures: their bytes, or struct<bytes, path> as `datasets` has it."""
    if not pa.types.is_struct(kind):
        return is_binary(kind)
    if kind.get_field_index("bytes") < 0:
        return False
    inside = kind.field("bytes").type
    return is_binary(inside) or pa.types.is_null(inside)  # null: a table that only names files


def plain_type(kind: pa.DataType) -> pa.DataType:
    """The type of the values, where they are kept in a dictionary."""
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _batches(file: Path, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    try:
        require_regular_file(file)
        with pq.ParquetFile(file, page_checksum_verification=True) as table:
            yield from table.iter_batches(batch_size=BATCH_ROWS, columns=list(columns))
    except Exception as error:  # as above
        raise UnreadableTableError(_line(error)) from error


def _pythonic(convert: Callable[[], list[Any]]) -> list[Any]:
    """Arrow's values as Python's; texts that are not UTF-8 are found out only here."""
    try:
        return convert()
    except (ValueError, OverflowError, MemoryError, pa.ArrowException) as error:
        raise UnreadableTableError(_line(error)) from error


def _line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:300]
