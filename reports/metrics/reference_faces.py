"""The real faces of the distances: split into two subject-disjoint halves, and checked for number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from augment.core.errors import InputError, Problem
from augment.faces.splits import fold_tables
from reports.settings import ScoreSettings


@dataclass(frozen=True)
class RealHalves:
    """Two disjoint halves of the real faces, as indices."""

    first: np.ndarray
    second: np.ndarray


def split_in_halves(labels: np.ndarray, subjects: Sequence[str | None], seed: int) -> RealHalves:
    """Splits real faces into two halves with similar class shares, subject-disjoint if every face names its subject.

    A person in both halves would lower the floor below what a translator of unseen people can reach.

    Args:
        labels: int [N].
        subjects: N subject names; None where unknown.
        seed: Of the random split.
    """
    random = np.random.default_rng(seed)
    labels = np.asarray(labels)
    if len(labels) and all(subject is not None for subject in subjects):
        groups = np.unique(np.asarray(subjects, dtype=str), return_inverse=True)[1]
    else:
        groups = np.arange(len(labels))
    # Groups with the same labels are assigned alternately, so that both halves have similar shares of every class.
    members: dict[int, list[int]] = {}
    for position, group in enumerate(groups):
        members.setdefault(int(group), []).append(position)
    order = [int(group) for group in random.permutation(len(members))]
    order.sort(key=lambda group: tuple(sorted(labels[members[group]].tolist())))
    halves: tuple[list[int], list[int]] = ([], [])
    for group in order:
        smaller = 0 if len(halves[0]) <= len(halves[1]) else 1
        halves[smaller].extend(members[group])
    # In random order, so that the first n are a random sample.
    return RealHalves(random.permutation(np.array(halves[0], int)), random.permutation(np.array(halves[1], int)))


def check_reference_faces(faces: pa.Table, folds: pa.Table, names: Sequence[str], settings: ScoreSettings) -> None:
    """Refuses folds with too few real faces for the distances, before training.

    Args:
        faces: `face_id`, `label_name`, `subject`.
        folds: The folds' table.
        names: The classes in label order.
        settings: The scores' settings.

    Raises:
        InputError: Lists every such fold, with the numbers required.
    """
    known = faces.select(["face_id", "label_name", "subject"])
    problems = []
    for fold in sorted(int(fold) for fold in pc.unique(folds.column("fold")).to_pylist()):
        reference = fold_tables(known, folds, fold)[settings.reference_split]
        labels = np.array([names.index(name) for name in reference.column("label_name").to_pylist()], int)
        halves = split_in_halves(labels, reference.column("subject").to_pylist(), settings.seed)
        if in_both(labels, halves, len(names)).sum() < 2:
            problems.append(too_few_real(fold, settings.reference_split))
    if problems:
        raise InputError(problems)


def in_both(labels: np.ndarray, halves: RealHalves, num_classes: int) -> np.ndarray:
    """int [K]: the number of faces of each class that both halves have, and the distances can compare."""
    counts = [np.bincount(labels[half], minlength=num_classes) for half in (halves.first, halves.second)]
    return np.minimum(*counts)


def too_few_real(fold: int, split: str) -> Problem:
    """The problem of a fold whose two halves of real faces have fewer than two comparable faces."""
    why = (
        f"has too few real {split} faces for the distances, which compare two halves of them: fewer than two "
        "faces have a counterpart of their class in the other half"
    )
    fix = f"use at least four {split} faces, with at least two per class (and of two subjects, if subjects are named)"
    return Problem(f"fold {fold}", why, fix)
