"""Reading the synthetic faces that selection kept."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from augment.core.errors import InputError, Problem
from augment.faces.table import data_files, read_class_names


def read_kept(
    directory: Path,
    per_class: int | Mapping[str, int] | None = None,
    *,
    classes: Sequence[str] | None = None,
    columns: Sequence[str] | None = None,
    only_kept: bool = True,
    turn: tuple[int, int] = (0, 1),
) -> pa.Table:
    """Reads the first kept faces of each class, in the order they were made; fewer where there are fewer.

    The first 500 are the first of the first 1,000. Reading stops as soon as there are enough.

    Args:
        directory: A dataset directory written by synthesis or by selection. Where selection never ran (`kept` is
            null), every face counts as kept.
        per_class: How many of each class, or of each by its name; all by default. Of a class that isn't named, none.
        classes: Which classes; all by default.
        columns: Which columns; all by default.
        only_kept: False reads rejected faces too.
        turn: (k, m): of each class's faces, rejected ones counted, only the k-th of every m. Translators that take
            turns so have different sources, since each takes the fold's in one order.

    Returns:
        The rows, class by class in label order.

    Raises:
        InputError: There is no data, or a class isn't one of the dataset's.
    """
    names = read_class_names(directory)
    wanted = list(classes) if classes is not None else list(names)
    unknown = [name for name in wanted if name not in names]
    if unknown:
        raise InputError(Problem(str(directory), f"has no class {', '.join(unknown)}", f"it has {', '.join(names)}"))
    enough = _amounts(per_class, wanted)
    parts: dict[str, list[pa.Table]] = {name: [] for name in wanted}
    counts: Counter[str] = Counter()
    met: Counter[str] = Counter()
    files = data_files(directory)
    for file in files:
        with pq.ParquetFile(file) as parquet:
            for group in range(parquet.num_row_groups):
                if all(counts[name] >= enough[name] for name in wanted):
                    break
                if _is_satisfied(parquet, group, names, counts, enough):
                    continue
                marks = parquet.read_row_group(group, columns=["label_name", "kept"])
                labels = np.asarray(marks.column("label_name").to_pylist(), dtype=object)
                kept = np.asarray([value is not False for value in marks.column("kept").to_pylist()])
                chosen: dict[str, np.ndarray] = {}
                for name in wanted:
                    rows = np.flatnonzero(labels == name)
                    in_turn = (met[name] + np.arange(len(rows))) % turn[1] == turn[0]
                    met[name] += len(rows)
                    rows = rows[in_turn & (kept[rows] if only_kept else True)]
                    rows = rows[: max(enough[name] - counts[name], 0)]
                    if len(rows):
                        chosen[name] = rows
                        counts[name] += len(rows)
                if chosen:
                    table = parquet.read_row_group(group, columns=list(columns) if columns is not None else None)
                    for name, rows in chosen.items():
                        parts[name].append(table.take(pa.array(rows)))
    schema = pq.read_schema(files[0])
    tables = [table.replace_schema_metadata(schema.metadata) for name in wanted for table in parts[name]]
    if not tables:
        empty = schema.empty_table()
        return empty.select(list(columns)) if columns is not None else empty
    return pa.concat_tables(tables)


def _amounts(per_class: int | Mapping[str, int] | None, wanted: Sequence[str]) -> dict[str, int]:
    """How many faces of each wanted class are enough."""
    if isinstance(per_class, Mapping):
        return {name: per_class.get(name, 0) for name in wanted}
    return dict.fromkeys(wanted, sys.maxsize if per_class is None else per_class)


def _is_satisfied(
    parquet: pq.ParquetFile, group: int, names: Sequence[str], counts: Counter[str], enough: Mapping[str, int]
) -> bool:
    """Whether a row group can be skipped: its statistics say that it holds one class, of which there are enough."""
    metadata = parquet.metadata.row_group(group)
    for index in range(metadata.num_columns):
        column = metadata.column(index)
        if column.path_in_schema == "label" and column.is_stats_set and column.statistics.has_min_max:
            low, high = column.statistics.min, column.statistics.max
            return low == high and counts[names[low]] >= enough.get(names[low], 0)
    return False
