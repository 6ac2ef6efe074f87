"""Which faces of a run are exported, and their rows as a stream."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from augment.core.errors import InputError, Problem
from augment.faces.table import iterate_faces
from pipeline.publishing.columns import NAMES
from pipeline.publishing.marks import marked_png

_BATCH_ROWS = 500


@dataclass(frozen=True)
class Part:
    """Faces of one table that go to one split.

    Attributes:
        table: The table's folder.
        chosen: bool [rows of the table], those that are exported.
        per_class: Class -> their number.
        translator: None for real faces.
    """

    table: Path
    chosen: np.ndarray
    per_class: dict[str, int]
    translator: str | None = None

    def __len__(self) -> int:
        return int(self.chosen.sum())


def choose_real(table: Path, splits: Mapping[str, str], split: str, class_names: Sequence[str]) -> Part | None:
    """The real faces of a split; None where it has none.

    Args:
        table: The table of real faces.
        splits: Face -> split, of the fold; faces that are set aside have another word.
        split: train, validation or test.
        class_names: In label order.
    """
    chosen: list[bool] = []
    counts: Counter[str] = Counter()
    for batch in iterate_faces(table, columns=["face_id", "label_name"]):
        here = [splits.get(face_id) == split for face_id in batch.column("face_id").to_pylist()]
        counts.update(name for name, wanted in zip(batch.column("label_name").to_pylist(), here, strict=True) if wanted)
        chosen += here
    return Part(table, np.array(chosen, bool), _in_order(counts, class_names)) if counts else None


def choose_synthetic(table: Path, translator: str, class_names: Sequence[str], per_class: int | None) -> Part:
    """The faces of a translator that selection kept: all, or the first so many of each class.

    The first are those of the table's order, so that what is chosen for a smaller number is among what is chosen for a
    larger one.

    Args:
        table: The fold's selected faces.
        translator: Its name.
        class_names: In label order.
        per_class: How many of each class; None: all.

    Raises:
        InputError: None was kept, or a class has fewer than were asked for.
    """
    chosen: list[bool] = []
    kept: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    for batch in iterate_faces(table, columns=["label_name", "kept"]):
        for name, passed in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            kept[name] += bool(passed)
            wanted = bool(passed) and (per_class is None or counts[name] < per_class)
            counts[name] += wanted
            chosen.append(wanted)
    few = {name: kept[name] for name in class_names if kept[name] < (per_class or 0)}
    if few:
        shown = ", ".join(f"{name} {count:,}" for name, count in few.items())
        fix = (
            f"ask for {min(few.values()):,} or fewer, or raise synthesis.per_class (where it is set, "
            f"synthesis.per_class_of.{translator}) and run `dvc repro`"
        )
        raise InputError(Problem(f"{translator}, --per-class {per_class}", f"more than there are: {shown}", fix))
    if not any(chosen):
        raise none_kept(table)
    return Part(table, np.array(chosen, bool), _in_order(counts, class_names), translator)


def none_kept(table: Path) -> InputError:
    """The refusal of a table of which selection kept nothing."""
    fix = "look at the report, or lower selection.min_confidence"
    return InputError(Problem(str(table), "selection kept none of these faces", fix))


def _in_order(counts: Mapping[str, int], class_names: Sequence[str]) -> dict[str, int]:
    return {name: counts[name] for name in class_names if counts.get(name)}


def stream_rows(parts: Sequence[Part], split: str) -> Iterator[dict[str, Any]]:
    """The rows of several parts, evenly mixed, each in its table's own order; synthetic pictures are marked.

    Memory is bounded: a few hundred rows of each part.

    Args:
        parts: Of one split.
        split: That split, of the fold; the tables' own column is the source's, which folds may differ from.
    """
    streams = [_spread(_rows_of(part, split), number, len(part)) for number, part in enumerate(parts)]
    for _, _, row in heapq.merge(*streams, key=lambda item: item[:2]):
        yield row


def _spread(rows: Iterator[dict[str, Any]], number: int, count: int) -> Iterator[tuple[float, int, dict[str, Any]]]:
    """Rows with their place in 0..1 of the whole."""
    for position, row in enumerate(rows):
        yield (position + 0.5) / count, number, row


def _rows_of(part: Part, split: str) -> Iterator[dict[str, Any]]:
    start = 0
    columns = list(NAMES)
    for batch in iterate_faces(part.table, columns=columns, batch_size=_BATCH_ROWS):
        wanted = part.chosen[start : start + len(batch)]
        start += len(batch)
        if not wanted.any():
            continue
        for row in batch.filter(pa.array(wanted)).to_pylist():
            picture = row["image"]["bytes"]
            if part.translator is not None:
                picture = marked_png(picture, row)
            yield {**row, "split": split, "image": {"bytes": picture, "path": None}}
