"""Checks an exported folder: it is what was exported, and nothing of a held-out face is in its training split."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from augment.core.errors import InputError, Problem
from augment.core.progress import track
from augment.core.seals import seal_problems
from augment.faces.images import UndecodableImageError, decode_image
from augment.faces.leakage import LeakageError, check_leakage
from augment.faces.table import IMAGE
from pipeline.publishing.columns import COLUMNS
from pipeline.publishing.description import Description, Split, SplitCounts, read_description
from pipeline.publishing.export import REAL
from pipeline.publishing.formats import form_of
from pipeline.publishing.marks import mark_of

_FIX = "take the folder from where you have it, or export it again"
_MOST_PROBLEMS = 20
_PROVENANCE = ("translator", "source_id", "source_label", "weights_sha256", "seed")
_KINDS: dict[str, tuple[type, ...]] = {"int64": (int,), "string": (str,), "bool": (bool,), "float": (float, int)}


class _Problems(list[Problem]):
    """Problems, of which those beyond the first few are only counted."""

    more = 0

    def report(self, where: str, why: str, fix: str = _FIX) -> None:
        if len(self) < _MOST_PROBLEMS:
            self.append(Problem(where, why, fix))
        else:
            self.more += 1


def verify_faces(folder: Path) -> Description:
    """Checks an exported folder.

    Every file is the one that was written (SHA-256); `dataset.json` is as its schema says; each row has the columns it
    must have, in their types; each picture decodes, in the size that the description names; synthetic pictures are
    marked, and real ones are not; face ids are unique; rows are as many as the description says, by split, class and
    translator; and where real faces are there, no person, source face or picture of validation or test is in train.

    Args:
        folder: The folder.

    Returns:
        What the folder says of itself.

    Raises:
        InputError: Lists what is wrong, at most twenty things.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(Problem(str(folder), "is no folder", "name the folder that `s2l export` wrote"))
    description = read_description(folder)
    problems = _Problems(seal_problems(folder, _FIX))
    if problems:  # what is in changed files would only say it again
        raise InputError(problems[:_MOST_PROBLEMS], f"{folder} is not as it was exported:")
    form = form_of(description.format, description.class_names)
    seen: set[str] = set()
    kept: list[dict[str, Any]] = []
    leak_matters = any(counts.real for split, counts in description.splits.items() if split != "train")
    for split, counts in description.splits.items():
        found: Counter[tuple[str, str]] = Counter()
        rows = form.read(folder, description.files.get(split, ()))
        for number, row in enumerate(_progress(rows, split, counts.rows)):
            where = f"{split} row {number}"
            if not _check_columns(row, where, problems):
                continue
            _check_row(row, where, description, problems)
            if row["face_id"] in seen:
                problems.report(where, f"face_id {row['face_id']!r} occurs twice")
            seen.add(row["face_id"])
            found[row["translator"] if row["synthetic"] else REAL, row["label_name"]] += 1
            if leak_matters:
                names = ("face_id", "subject", "source_id", "synthetic", "image")
                kept.append({**{name: row[name] for name in names}, "split": split})
        _check_counts(split, counts, found, problems)
    if leak_matters and not problems:
        _check_leaks(kept, problems)
    if problems:
        more = f", and {problems.more:,} more" if problems.more else ""
        raise InputError(problems, f"{folder} is not as it should be ({len(problems)} problems{more}):")
    return description


def _progress(rows: Iterator[dict[str, Any]], split: str, count: int) -> Iterator[dict[str, Any]]:
    with track(rows, desc=f"verify {split}", unit="faces", total=count) as progress:
        yield from progress


def _check_columns(row: dict[str, Any], where: str, problems: _Problems) -> bool:
    """Whether each column has a value of its type, and none is null that may not be."""
    before = len(problems) + problems.more
    for column in COLUMNS:
        value = row[column.name]
        if value is None:
            if not column.nullable:
                problems.report(where, f"{column.name} is null")
        elif column.name == "image":
            if not isinstance(value.get("bytes"), bytes):
                problems.report(where, "image has no bytes")
        elif not isinstance(value, _KINDS[column.type]) or (column.type == "int64" and isinstance(value, bool)):
            problems.report(where, f"{column.name} is {value!r}, no {column.type}")
    return len(problems) + problems.more == before


def _check_row(row: dict[str, Any], where: str, description: Description, problems: _Problems) -> None:
    label, names = row["label"], description.class_names
    if not (0 <= label < len(names) and names[label] == row["label_name"]):
        problems.report(where, f"label {label} is not {row['label_name']!r} among {list(names)}")
    picture = row["image"]["bytes"]
    try:
        pixels = decode_image(picture)
    except UndecodableImageError as error:
        problems.report(where, f"its picture can't be decoded: {error}")
        return
    shape = (*pixels.shape[:2], 1 if pixels.ndim == 2 else pixels.shape[2])
    wanted = (description.size, description.size, description.channels)
    if shape != wanted:
        problems.report(where, f"its picture is {'x'.join(map(str, shape))}, not {'x'.join(map(str, wanted))}")
    mark = mark_of(picture)
    if row["synthetic"]:
        missing = [name for name in _PROVENANCE if row[name] is None and name in ("translator", "source_id", "seed")]
        if missing:
            problems.report(where, f"is synthetic and lacks {', '.join(missing)}")
        elif row["translator"] not in description.translators:
            problems.report(where, f"its translator {row['translator']!r} is not described")
        if mark is None or mark.get("face_id") != row["face_id"]:
            problems.report(where, "is synthetic, and its picture is not marked so")
    elif mark is not None:
        problems.report(where, "is called real, and its picture is marked as synthetic")
    elif any(row[name] is not None for name in _PROVENANCE):
        problems.report(where, "is called real, and names a translator or a source face")


def _check_counts(split: Split, counts: SplitCounts, found: Counter[tuple[str, str]], problems: _Problems) -> None:
    said = {(REAL, name): count for name, count in counts.real.items()}
    said |= {(who, name): count for who, per_class in counts.synthetic.items() for name, count in per_class.items()}
    for who, name in sorted({*said, *found}):
        if said.get((who, name), 0) != found[who, name]:
            why = f"has {found[who, name]:,} faces of {name} by {who}, and {said.get((who, name), 0):,} are described"
            problems.report(split, why)
    if sum(found.values()) != counts.rows:
        problems.report(split, f"has {sum(found.values()):,} rows, and {counts.rows:,} are described")


def _check_leaks(rows: list[dict[str, Any]], problems: _Problems) -> None:
    """Whether a person, a source face or a picture of validation or test is among the training faces."""
    real = [row for row in rows if not row["synthetic"]]
    made = [row for row in rows if row["synthetic"]]
    faces = pa.table(
        {
            "face_id": pa.array([row["face_id"] for row in real], pa.string()),
            "subject": pa.array([row["subject"] for row in real], pa.string()),
            "image": pa.array([row["image"] for row in real], IMAGE),
        }
    )
    folds = pa.table(
        {
            "face_id": faces.column("face_id"),
            "fold": pa.array([0] * len(real), pa.int64()),
            "split": pa.array([row["split"] for row in real], pa.string()),
        }
    )
    synthetic = pa.table(
        {
            "face_id": pa.array([row["face_id"] for row in made], pa.string()),
            "source_id": pa.array([row["source_id"] for row in made], pa.string()),
            "fold": pa.array([0] * len(made), pa.int64()),
            "image": pa.array([row["image"] for row in made], IMAGE),
        }
    )
    held_out = {row["subject"] for row in real if row["split"] != "train" and row["subject"] is not None}
    for row in made:
        if row["subject"] in held_out:
            problems.report(f"synthetic face {row['face_id']}", f"is of {row['subject']}, a person of a held-out split")
        if row["split"] != "train":
            problems.report(
                f"synthetic face {row['face_id']}", f"is in {row['split']}; synthetic faces are to train on"
            )
    try:
        check_leakage(faces, folds, fold=0, synthetic=synthetic if made else None, pictures="synthetic")
    except LeakageError as error:
        for problem in error.problems:
            problems.report(problem.where, problem.why)
