"""What tests of data sets do with a small copy: list it, prepare it, split it. `spoiling` has bad ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa

from augment.core.errors import Problem
from augment.faces.splits import FoldSettings, assign_folds
from augment.faces.table import read_faces
from augment.prepare.prepare import prepare_faces
from augment.sources import open_source


def prepared(source: str, root: Path, out: Path, **settings: Any) -> pa.Table:
    """A small copy, read and written as a user's: the table of faces."""
    report = prepare_faces(open_source(source, root, **settings), out, image_size=32, channels=1)
    assert report.problems == 0
    return read_faces(out)


def assert_no_subject_is_parted(faces: pa.Table, folds: int, validation_share: float = 0.1) -> None:
    """Folds by subject: every subject lies in one split of a fold, every fold tests somebody, nobody twice."""
    settings = FoldSettings(kind="subjects", folds=folds, validation_share=validation_share)
    table = assign_folds(faces, settings, 0)
    subjects = dict(zip(faces.column("face_id").to_pylist(), faces.column("subject").to_pylist(), strict=True))
    splits: dict[tuple[int, str], set[str]] = {}
    for row in table.to_pylist():
        splits.setdefault((row["fold"], subjects[row["face_id"]]), set()).add(row["split"])
    assert all(len(names) == 1 for names in splits.values())
    tested = [subject for (_, subject), names in splits.items() if names == {"test"}]
    assert len(set(tested)) == len(tested) and {fold for fold, _ in splits} == set(range(folds))
    if folds > 1:
        assert set(tested) == set(subjects.values())


def problems_of(source: str, root: Path, **settings: Any) -> list[Problem]:
    """The problems that the list of a copy holds, without a picture read."""
    return [item for item in open_source(source, root, **settings).listed() if isinstance(item, Problem)]
