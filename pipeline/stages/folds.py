"""The folds of a run, and the faces of them that a training stage may use."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from augment.faces.leakage import check_leakage
from augment.faces.splits import fold_tables, read_folds
from augment.faces.table import read_faces
from augment.faces.tensors import FaceTensors, face_tensors
from pipeline.core.workspace import Artifacts


def fold_numbers(folds: Any) -> list[int]:
    """The folds of a table of folds, sorted."""
    return sorted(set(folds.column("fold").to_pylist()))


def each_fold(artifacts: Artifacts) -> Iterator[tuple[int, dict[str, FaceTensors]]]:
    """Each fold's training and validation faces."""
    for fold in fold_numbers(read_folds(artifacts.folds)):
        yield fold, faces_of_fold(artifacts, fold)


def faces_of_fold(artifacts: Artifacts, fold: int) -> dict[str, FaceTensors]:
    """A fold's training and validation faces. Test faces are not decoded, because no training stage may use them."""
    faces = read_faces(artifacts.faces)
    folds = read_folds(artifacts.folds)
    check_leakage(faces, folds, fold=fold)
    tables = fold_tables(faces, folds, fold)
    return {split: face_tensors(tables[split]) for split in ("train", "validation") if split in tables}
