"""The guard that every stage calls: nothing of a validation or test face may reach training."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import combinations
from typing import Literal

import numpy as np
import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from augment.duplicates import Fingerprints, find_duplicates, fingerprint_faces, near_pairs
from augment.faces import SPLITS
from augment.problems import InputError, Problem
from augment.splits import fold_splits

_EXAMPLES = 10


class LeakageError(InputError):
    """Something of a validation or test face would reach training; the message lists what."""


class SplitDuplicates(BaseModel):
    """Pictures that lie in two splits.

    Attributes:
        first: The split that comes first in train, validation, test.
        second: The other one.
        exact: Faces of `second` that are byte-identical to one of `first`.
        near: Faces of `second` that are byte-identical or near-identical to one of `first`.
        examples: A few pairs of face ids.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    first: str
    second: str
    exact: int
    near: int
    examples: tuple[tuple[str, str], ...] = ()


class LeakageReport(BaseModel):
    """What was checked, and what was found and allowed.

    Attributes:
        fold: The fold.
        faces: Real faces in the fold.
        subjects: Different subjects; each lies in one split.
        synthetic_faces: Synthetic faces; the source of each is a training face of the fold.
        pictures_checked: Whether pictures were compared, or ids and subjects only.
        duplicates: Pictures in two splits, where the source itself has them so.
        synthetic_near_held_out: Synthetic faces that look like a validation or test face because their source face
            does (the source itself has the duplicate).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    fold: int
    faces: int
    subjects: int
    synthetic_faces: int = 0
    pictures_checked: bool = False
    duplicates: tuple[SplitDuplicates, ...] = ()
    synthetic_near_held_out: int = 0


def duplicates_across(duplicates: pa.Table, splits: Mapping[str, str | None]) -> tuple[SplitDuplicates, ...]:
    """Counts pictures that lie in two splits.

    Args:
        duplicates: From `augment.duplicates.find_duplicates`.
        splits: The split of every face; faces without one don't count.

    Returns:
        One entry for each pair of splits that share a picture.
    """
    entries = []
    for first, second in combinations(SPLITS, 2):
        exact, _ = _count_across(duplicates, "exact_group", splits, first, second)
        near, examples = _count_across(duplicates, "near_group", splits, first, second)
        if near:
            entries.append(SplitDuplicates(first=first, second=second, exact=exact, near=near, examples=examples))
    return tuple(entries)


def _count_across(
    duplicates: pa.Table, column: str, splits: Mapping[str, str | None], first: str, second: str
) -> tuple[int, tuple[tuple[str, str], ...]]:
    groups: dict[int, tuple[list[str], list[str]]] = {}
    for face_id, group in zip(
        duplicates.column("face_id").to_pylist(), duplicates.column(column).to_pylist(), strict=True
    ):
        if group is not None and splits.get(face_id) in (first, second):
            groups.setdefault(group, ([], []))[splits[face_id] == second].append(face_id)
    shared = [(left, right) for left, right in groups.values() if left and right]
    count = sum(len(right) for _, right in shared)
    return count, tuple((left[0], right[0]) for left, right in shared[:_EXAMPLES])


def check_leakage(
    faces: pa.Table,
    folds: pa.Table,
    *,
    fold: int,
    synthetic: pa.Table | Iterable[pa.RecordBatch] | None = None,
    pictures: bool = False,
    allowed_duplicates: Literal["source", "none"] = "source",
    duplicates: pa.Table | None = None,
) -> LeakageReport:
    """Refuses a fold in which something of a validation or test face reaches training.

    The cheap form (`pictures=False`) looks at ids and subjects, in well under a second; every stage calls it. The full
    form compares pictures too (36,000 faces of 48 px: some ten seconds of one core, or none with `duplicates`).

    Args:
        faces: `face_id`, `subject`; `image` and `split` for the full form.
        folds: From `augment.splits.assign_folds`.
        fold: Which fold.
        synthetic: Synthetic faces: `face_id`, `source_id`, `fold`; `image` for the full form.
        pictures: Whether to compare pictures.
        allowed_duplicates: `source` allows (and counts) a picture in two splits where the source's own splits have it
            so; `none` never does.
        duplicates: What `find_duplicates` says about `faces`; saves the full form the work.

    Returns:
        What was checked and counted.

    Raises:
        LeakageError: A subject in two splits; a synthetic face whose source is a validation or test face, unknown, or
            which belongs to another fold; a picture in two splits that the source does not itself have so.
        InputError: There is no such fold, or it does not list these faces.
    """
    splits = fold_splits(folds, fold)
    problems: list[Problem] = []
    face_ids = faces.column("face_id").to_pylist()
    problems += _check_ids(face_ids, splits, fold)
    if problems:
        raise LeakageError(problems, f"fold {fold} does not belong to these faces:")
    subjects = _check_subjects(face_ids, faces.column("subject").to_pylist(), splits, problems)
    batches: list[pa.RecordBatch] = []
    synthetic_faces = 0
    source_of: dict[str, str | None] = {}
    if synthetic is not None:
        wanted = ["face_id", "source_id", "fold", *(["image"] if pictures else [])]
        for batch in synthetic.to_batches(max_chunksize=1000) if isinstance(synthetic, pa.Table) else synthetic:
            chosen = batch.select(wanted)
            synthetic_faces += len(chosen)
            _check_synthetic(chosen, splits, fold, problems)
            source_of.update(
                zip(chosen.column("face_id").to_pylist(), chosen.column("source_id").to_pylist(), strict=True)
            )
            if pictures:
                batches.append(chosen)
    counted: tuple[SplitDuplicates, ...] = ()
    looks_held_out = 0
    if pictures:
        prints: Fingerprints | None = None
        if duplicates is None or synthetic is not None:
            prints = fingerprint_faces(faces.select(["face_id", "image"]))
        if duplicates is None:
            assert prints is not None
            duplicates = find_duplicates(prints)
        counted = _check_pictures(faces, duplicates, splits, allowed_duplicates, problems)
        if synthetic is not None:
            assert prints is not None
            looks_held_out = _check_synthetic_pictures(batches, source_of, prints, splits, problems)
    if problems:
        raise LeakageError(problems, f"fold {fold}: validation or test faces would reach training:")
    return LeakageReport(
        fold=fold,
        faces=len(face_ids),
        subjects=subjects,
        synthetic_faces=synthetic_faces,
        pictures_checked=pictures,
        duplicates=counted,
        synthetic_near_held_out=looks_held_out,
    )


def _check_ids(face_ids: list[str], splits: Mapping[str, str], fold: int) -> list[Problem]:
    problems = []
    known = set(face_ids)
    if len(known) != len(face_ids):
        problems.append(Problem("face_id", f"{len(face_ids) - len(known)} face ids occur twice", "prepare them again"))
    outside = [face_id for face_id in face_ids if face_id not in splits]
    if outside:
        problems.append(
            Problem(
                f"fold {fold}", f"{len(outside)} faces are in no split, such as {outside[0]}", "make the folds again"
            )
        )
    gone = [face_id for face_id in splits if face_id not in known]
    if gone:
        problems.append(
            Problem(
                f"fold {fold}", f"{len(gone)} faces of the fold are gone, such as {gone[0]}", "make the folds again"
            )
        )
    strange = sorted({split for split in splits.values() if split not in SPLITS})
    if strange:
        problems.append(Problem(f"fold {fold}", f"unknown splits {', '.join(strange)}", f"use {', '.join(SPLITS)}"))
    return problems


def _check_subjects(
    face_ids: list[str], subjects: list[str | None], splits: Mapping[str, str], problems: list[Problem]
) -> int:
    where: dict[str, set[str]] = {}
    for face_id, subject in zip(face_ids, subjects, strict=True):
        if subject is not None:
            where.setdefault(subject, set()).add(splits[face_id])
    problems += [
        Problem(f"subject {subject}", f"lies in {' and '.join(sorted(found))}", "make the folds with kind subjects")
        for subject, found in sorted(where.items())
        if len(found) > 1
    ]
    return len(where)


def _check_synthetic(batch: pa.RecordBatch, splits: Mapping[str, str], fold: int, problems: list[Problem]) -> None:
    mend = "synthesize from the fold's training faces"
    columns = (batch.column(name).to_pylist() for name in ("face_id", "source_id", "fold"))
    for face_id, source_id, of_fold in zip(*columns, strict=True):
        where = f"synthetic face {face_id}"
        if of_fold != fold:
            problems.append(Problem(where, f"belongs to fold {of_fold}, not {fold}", mend))
        elif face_id in splits:
            problems.append(Problem(where, "has the id of a real face", "synthesize again"))
        elif source_id is not None and source_id not in splits:  # null: made from chance alone
            problems.append(Problem(where, f"its source {source_id} is no face of the fold", mend))
        elif source_id is not None and splits[source_id] != "train":
            problems.append(Problem(where, f"its source {source_id} is a {splits[source_id]} face", mend))


def _check_pictures(
    faces: pa.Table,
    duplicates: pa.Table,
    splits: Mapping[str, str],
    allowed: Literal["source", "none"],
    problems: list[Problem],
) -> tuple[SplitDuplicates, ...]:
    """Counts the duplicates across splits; those that the source does not itself have so become problems."""
    own = dict(zip(faces.column("face_id").to_pylist(), faces.column("split").to_pylist(), strict=True))
    members: dict[int, list[str]] = {}
    for face_id, group in zip(
        duplicates.column("face_id").to_pylist(), duplicates.column("near_group").to_pylist(), strict=True
    ):
        if face_id in splits:
            members.setdefault(group, []).append(face_id)
    for group in members.values():
        for first, second in combinations(SPLITS, 2):
            left = [face_id for face_id in group if splits[face_id] == first]
            right = [face_id for face_id in group if splits[face_id] == second]
            # The source parted them where it gave both a split of their own, and not the same one.
            ours = [
                (a, b)
                for a in left
                for b in right
                if allowed == "none" or own[a] is None or own[b] is None or own[a] == own[b]
            ]
            problems += [
                Problem(f"face {b} ({second})", f"is the same picture as {a} ({first})", "make the folds again")
                for a, b in ours[:1]
            ]
    return duplicates_across(duplicates, splits)


def _check_synthetic_pictures(
    batches: list[pa.RecordBatch],
    source_of: Mapping[str, str | None],
    prints: Fingerprints,
    splits: Mapping[str, str],
    problems: list[Problem],
) -> int:
    """Compares synthetic pictures with held-out ones; a source face that looks the same is an excuse."""
    made = fingerprint_faces(batches)
    held_positions = np.array([i for i, face_id in enumerate(prints.face_ids) if splits[face_id] != "train"], np.int64)
    held = _take(prints, held_positions)
    train = _take(prints, np.array([i for i, f in enumerate(prints.face_ids) if splits[f] == "train"], np.int64))
    excused = {(train.face_ids[a], held.face_ids[b]) for a, b in near_pairs(train, held)}
    excused |= _exact_pairs(train, held)
    found = {(made.face_ids[a], held.face_ids[b]) for a, b in near_pairs(made, held)} | _exact_pairs(made, held)
    counted: set[str] = set()
    for face_id, held_id in sorted(found):
        source_id = source_of[face_id]
        if source_id is not None and (source_id, held_id) in excused:
            counted.add(face_id)
        else:
            why = f"is the same picture as {held_id} ({splits[held_id]})"
            problems.append(Problem(f"synthetic face {face_id}", why, "look at how its translator was trained"))
    return len(counted)


def _take(prints: Fingerprints, positions: np.ndarray) -> Fingerprints:
    return Fingerprints(
        tuple(prints.face_ids[i] for i in positions),
        tuple(prints.digests[i] for i in positions),
        prints.hashes[positions],
        prints.thumbnails[positions],
    )


def _exact_pairs(first: Fingerprints, second: Fingerprints) -> set[tuple[str, str]]:
    by_digest: dict[bytes, list[str]] = {}
    for face_id, digest in zip(second.face_ids, second.digests, strict=True):
        by_digest.setdefault(digest, []).append(face_id)
    return {
        (face_id, other)
        for face_id, digest in zip(first.face_ids, first.digests, strict=True)
        for other in by_digest.get(digest, [])
    }
