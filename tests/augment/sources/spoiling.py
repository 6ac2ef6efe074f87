"""Small copies of data sets, spoiled as users' copies are; and what every source must do with them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from augment.core.errors import InputError
from augment.faces.splits import FoldSettings, assign_folds
from augment.faces.table import read_faces
from augment.prepare.prepare import PreparationReport, prepare_faces
from augment.sources import Source, open_source

Build = Callable[[Path], Path]
Case = tuple[str, Build, dict[str, Any], str]  # source, what is built, settings, what the message must say
Change = Callable[[Path], object]


def moved(old: str, new: str) -> Change:
    """Renames a file or folder."""

    def move(root: Path) -> None:
        (root / new).parent.mkdir(parents=True, exist_ok=True)
        (root / old).rename(root / new)

    return move


def file_at(name: str, data: bytes = b"x") -> Change:
    """Writes a file."""

    def write(root: Path) -> None:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)

    return write


def deleted(*names: str) -> Change:
    """Deletes files."""

    def delete(root: Path) -> None:
        for name in names:
            (root / name).unlink()

    return delete


def cut(name: str, size: int) -> Change:
    """Keeps the first bytes of a file, as a download that broke off does."""
    return lambda root: (root / name).write_bytes((root / name).read_bytes()[:size])


def cut_off(name: str) -> Change:
    """Keeps the first half of a file, as a download that broke off does."""

    def change(root: Path) -> None:
        data = (root / name).read_bytes()
        (root / name).write_bytes(data[: len(data) // 2])

    return change


def spoiled(make: Build, *changes: Change) -> Build:
    """Makes a copy and changes it."""

    def build(root: Path) -> Path:
        made = make(root)
        for change in changes:
            change(root)
        return made

    return build


def assert_refused(case: Case, tmp_path: Path) -> None:
    """A case of bad input ends with its message, and nothing is written."""
    source, build, settings, message = case
    (tmp_path / "in").mkdir()
    root = build(tmp_path / "in")
    with pytest.raises(InputError, match=message):
        prepare_faces(open_source(source, root, **settings), tmp_path / "out", image_size=16, channels=1)
    assert not (tmp_path / "out" / "data").exists()


def assert_folds_part_no_subject(source: Source, out: Path, folds: int) -> PreparationReport:
    """Prepares the faces, and splits them into folds that test every subject once and never train on it."""
    report = prepare_faces(source, out, image_size=24, channels=1)
    faces = read_faces(out)
    subject_of = dict(zip(faces["face_id"].to_pylist(), faces["subject"].to_pylist(), strict=True))
    rows = assign_folds(faces, FoldSettings(kind="subjects", folds=folds), 0).to_pylist()
    tested: list[str] = []
    for fold in range(folds):
        inside: dict[str, set[str]] = {"train": set(), "validation": set(), "test": set()}
        for row in rows:
            if row["fold"] == fold:
                inside[row["split"]].add(subject_of[row["face_id"]])
        assert not inside["test"] & (inside["train"] | inside["validation"])
        assert not inside["train"] & inside["validation"]
        tested += inside["test"]
    assert sorted(tested) == sorted(set(subject_of.values()))
    return report
