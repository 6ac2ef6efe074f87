"""The order of rows: classes mixed evenly, so that who reads without shuffling meets every class all the time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq


def mixed_order(counts: Sequence[int]) -> np.ndarray:
    """An order of the rows of several classes in which each class is spread over the whole.

    Args:
        counts: Rows of each class.

    Returns:
        int64 [sum(counts)]: the class of each row in turn. Any stretch holds each class by its share of the whole, to
        within a row or two; classes of equal size take turns.
    """
    classes = np.repeat(np.arange(len(counts)), counts)
    places = [(np.arange(count) + 0.5) / max(count, 1) for count in counts]
    return classes[np.lexsort((classes, np.concatenate(places)))] if len(classes) else classes


class RowStream:
    """Rows of Parquet files in their order, taken a few at a time, with bounded memory.

    Args:
        files: The files.
        batch_rows: How many rows are decoded at a time.
    """

    def __init__(self, files: Sequence[Path], batch_rows: int) -> None:
        self.rows = sum(pq.read_metadata(file).num_rows for file in files)
        self._batches = self._read(files, batch_rows)
        self._left: pa.RecordBatch | None = None

    @staticmethod
    def _read(files: Sequence[Path], batch_rows: int) -> Iterator[pa.RecordBatch]:
        for file in files:
            # Without a buffer's size a column of a whole row group would be read at once.
            with pq.ParquetFile(file, buffer_size=2**20, pre_buffer=False) as parquet:
                yield from parquet.iter_batches(batch_size=batch_rows)

    def take(self, count: int) -> list[pa.RecordBatch]:
        """The next `count` rows; fewer where the files end."""
        taken = []
        while count > 0:
            batch = self._left if self._left is not None else next(self._batches, None)
            if batch is None:
                break
            taken.append(batch.slice(0, count))
            self._left = batch.slice(count) if len(batch) > count else None
            count -= len(taken[-1])
        return taken


def interleave(streams: Sequence[RowStream], rows_per_table: int) -> Iterator[pa.Table]:
    """Mixes the rows of several classes evenly; each class keeps its own order.

    Args:
        streams: The rows of each class.
        rows_per_table: How many rows are given at a time, and so how many wait in memory.

    Yields:
        Tables of `rows_per_table` rows; the last may be shorter.
    """
    order = mixed_order([stream.rows for stream in streams])
    for start in range(0, len(order), rows_per_table):
        classes = order[start : start + rows_per_table]
        counts = np.bincount(classes, minlength=len(streams)).tolist()
        batches = [batch for stream, count in zip(streams, counts, strict=True) for batch in stream.take(count)]
        # The rows lie class by class now: a row's place among them is its rank in the wanted order of classes.
        places = np.empty(len(classes), np.int64)
        places[np.argsort(classes, kind="stable")] = np.arange(len(classes))
        yield pa.Table.from_batches(batches).take(pa.array(places))
