"""The guard that every stage calls: nothing of a validation or test face may reach training."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from itertools import combinations, compress
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from augment.core.errors import InputError, Problem
from augment.core.progress import track
from augment.faces.cleared_pictures import ClearedPictures, picture_digest
from augment.faces.duplicates import (
    FingerprintCollector,
    Fingerprints,
    exact_pairs,
    find_duplicates,
    fingerprint_faces,
    hash_pairs,
    near_pairs,
)
from augment.faces.fold_choice import SET_ASIDE
from augment.faces.near_duplicates import NEAR_DUPLICATE_LIKENESS, RELATED_LIKENESS, likeness
from augment.faces.splits import fold_splits
from augment.faces.subjects import person_key
from augment.faces.table import SPLITS

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
        duplicates: From `augment.faces.duplicates.find_duplicates`.
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
    pictures: bool | Literal["synthetic"] = False,
    allowed_duplicates: Literal["source", "none"] = "source",
    duplicates: pa.Table | None = None,
    cleared: Path | None = None,
) -> LeakageReport:
    """Refuses a fold in which something of a validation or test face reaches training.

    The cheap form (`pictures=False`) looks at ids and subjects, in well under a second; every stage calls it.
    `synthetic` compares the synthetic pictures with the validation and test pictures, where they are judged and where
    they are trained on (2,100 with 630: four seconds of one core). The full form compares the real pictures with
    one another too (36,000 faces of 48 px: about a minute of one core, or none with `duplicates`).

    Args:
        faces: `face_id`, `subject`; `image` where pictures are compared, `split` for the full form.
        folds: From `augment.faces.splits.assign_folds`.
        fold: Which fold.
        synthetic: Synthetic faces: `face_id`, `source_id`, `fold`; `image` where pictures are compared.
        pictures: Whether to compare pictures: none, the synthetic ones only, or all.
        allowed_duplicates: `source` allows (and counts) a picture in two splits where the source's own splits have it
            so; `none` never does.
        duplicates: What `find_duplicates` says about `faces`; saves the full form the work.
        cleared: A folder that keeps which synthetic pictures look like no held-out one, over stages
            (`augment.faces.cleared_pictures`); None keeps nothing.

    Returns:
        What was checked and counted.

    Raises:
        LeakageError: A subject in two splits; a synthetic face whose source is a validation or test face, unknown or
            unnamed, or which belongs to another fold, or which is a validation or test picture or its near-duplicate; a
            picture in two splits that the source does not itself have so.
        InputError: There is no such fold, or it does not list these faces.
    """
    splits = fold_splits(folds, fold)
    problems: list[Problem] = []
    face_ids = faces.column("face_id").to_pylist()
    problems += _check_ids(face_ids, splits, fold)
    if problems:
        raise LeakageError(problems, f"fold {fold} does not belong to these faces:")
    subjects = _check_subjects(face_ids, faces.column("subject").to_pylist(), splits, problems)
    comparison = _Comparison(faces, splits, cleared) if pictures and synthetic is not None else None
    synthetic_faces = 0
    source_of: dict[str, str | None] = {}
    if synthetic is not None:
        wanted = ["face_id", "source_id", "fold", *(["image"] if pictures else [])]
        batches, total = (
            (synthetic.to_batches(max_chunksize=1000), len(synthetic))
            if isinstance(synthetic, pa.Table)
            else (synthetic, None)
        )
        with track(
            desc=f"fingerprints of fold {fold}", unit="synthetic faces", total=total, leave=False, disable=not pictures
        ) as bar:
            for batch in batches:
                chosen = batch.select(wanted)
                synthetic_faces += len(chosen)
                _check_synthetic(chosen, splits, fold, problems)
                source_of.update(
                    zip(chosen.column("face_id").to_pylist(), chosen.column("source_id").to_pylist(), strict=True)
                )
                if comparison is not None:
                    comparison.add(chosen)
                bar.update(len(chosen))
    counted: tuple[SplitDuplicates, ...] = ()
    if pictures is True:
        if duplicates is None:
            duplicates = find_duplicates(faces.select(["face_id", "image"]))
        counted = _check_pictures(faces, duplicates, splits, allowed_duplicates, problems)
    looks_held_out = 0 if comparison is None else comparison.count(source_of, problems)
    if problems:
        raise LeakageError(problems, f"fold {fold}: validation or test faces would reach training:")
    return LeakageReport(
        fold=fold,
        faces=len(face_ids),
        subjects=subjects,
        synthetic_faces=synthetic_faces,
        pictures_checked=bool(pictures),
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
    strange = sorted({split for split in splits.values() if split not in (*SPLITS, SET_ASIDE)})
    if strange:
        problems.append(Problem(f"fold {fold}", f"unknown splits {', '.join(strange)}", f"use {', '.join(SPLITS)}"))
    return problems


def _check_subjects(
    face_ids: list[str], subjects: list[str | None], splits: Mapping[str, str], problems: list[Problem]
) -> int:
    where: dict[str, set[str]] = {}
    spellings: dict[str, dict[str, None]] = {}
    for face_id, subject in zip(face_ids, subjects, strict=True):
        if subject is not None:
            person = person_key(subject)
            # A face that is set aside was one of training: its person may be in no other split.
            where.setdefault(person, set()).add("train" if splits[face_id] == SET_ASIDE else splits[face_id])
            spellings.setdefault(person, {})[subject] = None
    for person, found in sorted(where.items()):
        if len(found) > 1:
            first, *others = spellings[person]
            name = f"subject {first}" + (f" (also written {', '.join(map(repr, others))})" if others else "")
            why = f"lies in {' and '.join(sorted(found))}"
            problems.append(Problem(name, why, "make the folds with kind subjects"))
    return len(where)


def _check_synthetic(batch: pa.RecordBatch, splits: Mapping[str, str], fold: int, problems: list[Problem]) -> None:
    fix = "synthesize from the fold's training faces"
    columns = (batch.column(name).to_pylist() for name in ("face_id", "source_id", "fold"))
    for face_id, source_id, of_fold in zip(*columns, strict=True):
        where = f"synthetic face {face_id}"
        if of_fold != fold:
            problems.append(Problem(where, f"belongs to fold {of_fold}, not {fold}", fix))
        elif face_id in splits:
            problems.append(Problem(where, "has the id of a real face", "synthesize again"))
        elif source_id is None:
            # Translators that make faces from noise alone name the training face in whose place they were asked.
            problems.append(Problem(where, "names no source face", fix))
        elif source_id not in splits:
            problems.append(Problem(where, f"its source {source_id} is no face of the fold", fix))
        elif splits[source_id] != "train":
            kind = "face that is set aside" if splits[source_id] == SET_ASIDE else f"{splits[source_id]} face"
            problems.append(Problem(where, f"its source {source_id} is a {kind}", fix))


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


class _Comparison:
    """Compares synthetic pictures with a fold's held-out ones, where that was not done before."""

    def __init__(self, faces: pa.Table, splits: Mapping[str, str], cleared: Path | None) -> None:
        self._faces, self._splits = faces, splits
        self._held_out = _pictures_of(
            {name for name, split in splits.items() if split in ("validation", "test")}, faces
        )
        self._cleared = ClearedPictures(cleared, map(picture_digest, _encoded(self._held_out)))
        self._digests: dict[str, bytes] = {}
        self._collector = FingerprintCollector()

    def add(self, batch: pa.RecordBatch) -> None:
        """Takes the pictures of a batch with the columns `face_id` and `image`."""
        digests = [picture_digest(encoded) for encoded in _encoded(batch)]
        fresh = [digest not in self._cleared for digest in digests]
        names = compress(batch.column("face_id").to_pylist(), fresh)
        self._digests.update(zip(names, compress(digests, fresh), strict=True))
        self._collector.add_batch(batch.filter(pa.array(fresh, pa.bool_())))

    def count(self, source_of: Mapping[str, str | None], problems: list[Problem]) -> int:
        """How many look like a held-out picture; those become problems whose source face does not look like it too."""
        made, held = self._collector.fingerprints(), fingerprint_faces(self._held_out)
        exact = exact_pairs(made, held)
        found = exact | {(made.face_ids[a], held.face_ids[b]) for a, b in near_pairs(made, held)}
        excused = _excuses({(source_of[face_id], held_id) for face_id, held_id in found}, held, self._faces)
        for face_id, held_id in sorted(found):
            # A test picture itself is excused by nothing less than the same picture among the training faces.
            least = NEAR_DUPLICATE_LIKENESS if (face_id, held_id) in exact else RELATED_LIKENESS
            if excused[source_of[face_id], held_id] < least:
                why = f"is the same picture as {held_id} ({self._splits[held_id]})"
                fix = "make the synthetic faces again; if it comes back, look at how their translator was trained"
                problems.append(Problem(f"synthetic face {face_id}", why, fix))
        alike = {face_id for face_id, _ in found}
        self._cleared.keep(digest for face_id, digest in self._digests.items() if face_id not in alike)
        return len(alike)


def _pictures_of(face_ids: Set[str], faces: pa.Table) -> pa.Table:
    wanted = pa.array([face_id in face_ids for face_id in faces.column("face_id").to_pylist()], pa.bool_())
    return faces.select(["face_id", "image"]).filter(wanted)


def _encoded(pictures: pa.Table | pa.RecordBatch) -> list[bytes]:
    return [image["bytes"] for image in pictures.column("image").to_pylist()]


def _excuses(
    pairs: Set[tuple[str | None, str]], held: Fingerprints, faces: pa.Table
) -> dict[tuple[str | None, str], float]:
    """How much source faces look like held-out faces, -1..1; 1 where they are the same picture saved anew."""
    sources = fingerprint_faces(_pictures_of({source_id for source_id, _ in pairs if source_id is not None}, faces))
    same = exact_pairs(sources, held)
    same |= {(sources.face_ids[a], held.face_ids[b]) for a, b in hash_pairs(sources, held)}
    source_at = {face_id: position for position, face_id in enumerate(sources.face_ids)}
    held_at = {face_id: position for position, face_id in enumerate(held.face_ids)}
    known = sorted((source_id, held_id) for source_id, held_id in pairs if source_id in source_at)
    places = np.array([(source_at[source_id], held_at[held_id]) for source_id, held_id in known]).reshape(-1, 2)
    alike = np.maximum.reduce(
        [likeness(sources.views, held.views, np.insert(places, 2, mirrored, axis=1)) for mirrored in (0, 1)]
    )
    found = dict.fromkeys(pairs, -1.0) | dict(zip(known, alike.tolist(), strict=True))
    return found | dict.fromkeys(pairs & same, 1.0)
