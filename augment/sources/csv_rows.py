"""Rows of a CSV file, each with its place; a row that can't be read is a problem and ends nothing."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from typing import TYPE_CHECKING

from augment.core.errors import Problem

if TYPE_CHECKING:
    from _csv import Reader


def numbered_rows(reader: Reader, name: str) -> Iterator[tuple[list[str], str] | Problem]:
    """The rows that a reader has left.

    Args:
        reader: Of `csv.reader`, after the header.
        name: The file's name for messages.

    Yields:
        A row's cells and its place (`fer2013.csv line 7`), or the problem of a row that is no CSV.
    """
    while True:
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield Problem(f"{name} line {reader.line_num}", f"is no CSV: {error}", "download it again")
        else:
            yield row, f"{name} line {reader.line_num}"
