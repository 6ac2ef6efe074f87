"""The real faces that distances are taken to: two halves without a common person, and whether there are enough."""

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
    """Two disjoint halves of the real faces; positions into them."""

    first: np.ndarray
    second: np.ndarray


def split_in_halves(labels: np.ndarray, subjects: Sequence[str | None], seed: int) -> RealHalves:
    """Splits real faces into two halves of like class shares, subject-disjoint where every face names its subject.

    A person in both halves would make the floor lower than any translator of unseen people can reach.

    Args:
        labels: int [N].
        subjects: N subject names; None where unknown.
        seed: Of the draw.
    """
    random = np.random.default_rng(seed)
    labels = np.asarray(labels)
    if len(labels) and all(subject is not None for subject in subjects):
        groups = np.unique(np.asarray(subjects, dtype=str), return_inverse=True)[1]
    else:
        groups = np.arange(len(labels))
    # Groups of the same make-up are dealt out in turn, so that both halves get like shares of every class.
    members: dict[int, list[int]] = {}
    for position, group in enumerate(groups):
        members.setdefault(int(group), []).append(position)
    order = [int(group) for group in random.permutation(len(members))]
    order.sort(key=lambda group: tuple(sorted(labels[members[group]].tolist())))
    halves: tuple[list[int], list[int]] = ([], [])
    for group in order:
        smaller = 0 if len(halves[0]) <= len(halves[1]) else 1
        halves[smaller].extend(members[group])
    # In chance order, so that a cut to the first n is a fair draw.
    return RealHalves(random.permutation(np.array(halves[0], int)), random.permutation(np.array(halves[1], int)))


def check_reference_faces(faces: pa.Table, folds: pa.Table, names: Sequence[str], settings: ScoreSettings) -> None:
    """Refuses folds whose real faces are too few for the distances: now, and not after all training.

    Args:
        faces: `face_id`, `label_name`, `subject`.
        folds: The folds' table.
        names: The classes in label order.
        settings: The scores' settings.

    Raises:
        InputError: Lists every such fold, with what it needs.
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
    """int [K]: how many faces of each class the distances can compare, both halves having that many."""
    counts = [np.bincount(labels[half], minlength=num_classes) for half in (halves.first, halves.second)]
    return np.minimum(*counts)


def too_few_real(fold: int, split: str) -> Problem:
    """A fold whose two halves of real faces share no two faces of a class."""
    why = (
        f"has too few real {split} faces for the distances, which compare two halves of them: the halves share fewer "
        "than two faces of a class"
    )
    fix = f"have four {split} faces and more, two of a class at least (and of two subjects, where they are named)"
    return Problem(f"fold {fold}", why, fix)
