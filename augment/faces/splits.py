"""Folds: which face trains, validates and tests, with no subject (and no picture that occurs twice) parted.

A table of folds has the rows `face_id`, `fold`, `split`: every face once in every fold. The split is one of `SPLITS`,
or `SET_ASIDE`: a face that would train, and that no stage reads (`augment.faces.rare`).
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, Field, model_validator

from augment.core.errors import InputError, Problem
from augment.core.files import atomic_write_bytes
from augment.faces.duplicates import DisjointSets, find_duplicates
from augment.faces.fold_choice import choose_folds, count_splits
from augment.faces.subjects import person_key
from augment.faces.table import SPLITS

FOLD_SCHEMA = pa.schema(
    [pa.field("face_id", pa.string()), pa.field("fold", pa.int64()), pa.field("split", pa.string())]
)
# What the metadata's `s2l` holds beside settings and seed: of whose faces these are the folds, and the file's SHA-256.
_FACES, _DIGEST = "faces_sha256", "file_sha256"
_NOUGHTS = b"0" * 64
_FACE_COLUMNS = ("face_id", "label_name", "subject")
_MOST_PARTS = 20  # a share is taken as m of k equal parts, with k at most this
_MOST_CLASSES = 8  # are counted in one message
_LEAST_PARTS = len(SPLITS)  # people of one class, without which new folds leave a split without any


class FoldSettings(BaseModel):
    """How faces are split.

    Attributes:
        kind: `auto` keeps the source's own splits where it has any (`augment.faces.fold_choice`), and makes new ones
            where it has none. `source` keeps the source's own splits, as one fold, or refuses; where it has no
            validation faces, they are taken out of training. `subjects` makes new, subject-disjoint stratified folds
            (stratified by class alone where no subject is known), whatever splits the source has.
        folds: Number of folds, where new ones are made. With one such fold, `test_share` of the faces test.
        validation_share: Share of the training faces that validates.
        test_share: Share of the faces that tests, where one new fold is made, or (`auto`) where the source's own
            splits are training and validation alone: then of the training faces.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["auto", "source", "subjects"] = "auto"
    folds: int = Field(1, ge=1, le=100)
    validation_share: float = Field(0.1, gt=0, le=0.5)
    test_share: float = Field(0.2, gt=0, le=0.8)

    @model_validator(mode="after")
    def _source_is_one_fold(self) -> FoldSettings:
        if self.kind == "source" and self.folds != 1:
            raise ValueError("folds: a source's own splits are one fold; set folds to 1, or kind to auto or subjects")
        return self


class _TooFewError(Exception):
    """Too few people or pictures are left for a share of them to be held out; `key` names the share."""

    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.key = key


def assign_folds(faces: pa.Table, settings: FoldSettings, seed: int, *, duplicates: pa.Table | None = None) -> pa.Table:
    """Splits a table of faces.

    Faces of one subject stay together, and so do byte-identical and near-identical pictures, wherever this function
    splits. (The source's own splits, where they are kept, stay as they are, duplicates across them included.)

    Args:
        faces: `face_id`, `label_name`, `subject`, `split`; with `image`, and without `duplicates`, duplicates are
            sought here.
        settings: The kind and the numbers.
        seed: The same seed gives the same folds.
        duplicates: What `augment.faces.duplicates.find_duplicates` says about these faces.

    Returns:
        `FOLD_SCHEMA`, ordered by fold, then as `faces`.

    Raises:
        InputError: The faces can't be split so; names the key and the fix.
    """
    if not len(faces):
        raise InputError(Problem("faces", "the table is empty", "prepare a source first"))
    if duplicates is None and "image" in faces.column_names:
        duplicates = find_duplicates(faces.select(["face_id", "image"]))
    labels = np.array(faces.column("label_name").to_pylist())
    subjects = faces.column("subject").to_pylist()
    groups = _groups(faces.column("face_id").to_pylist(), subjects, duplicates)
    own = faces.column("split").to_pylist()
    unsplit = [face_id for face_id, split in zip(faces.column("face_id").to_pylist(), own, strict=True) if not split]
    choice = choose_folds(count_splits(own), settings, unsplit)
    try:
        if choice.kind == "source":
            folds = [_source_fold(faces, settings, seed, labels, groups)]
        elif settings.folds == 1:
            rest = np.arange(len(faces))
            test = _held_out(rest, labels, groups, settings.test_share, seed, "folds.test_share")
            folds = [_with_validation(len(faces), test, labels, groups, settings, seed)]
        else:
            _check_folds(settings.folds, labels, groups, any(subject is not None for subject in subjects))
            parts = _parts(np.arange(len(faces)), labels, groups, settings.folds, seed)
            folds = [
                _with_validation(len(faces), part, labels, groups, settings, seed + number)
                for number, part in enumerate(parts)
            ]
    except _TooFewError as error:
        # Counted in what all of the splits are taken from, which the user knows, not in what the first of them left.
        training = np.array([split in (None, "train") for split in own])
        among = training if choice.kind == "source" else np.full(len(faces), True)
        people_known = any(subject is not None for subject in subjects)
        problem = _too_few(
            error.key,
            dict(Counter(labels[among].tolist())),
            _count_groups(labels[among], groups[among]),
            ("train", *choice.taken_out) if choice.kind == "source" else SPLITS,
            people_known=people_known,
        )
        raise InputError([problem, *_joined_people(subjects, groups)]) from error
    except InputError as error:
        if not (joined := _joined_people(subjects, groups)):
            raise
        raise InputError([*error.problems, *joined]) from error
    face_ids = faces.column("face_id").combine_chunks()
    tables = [
        pa.Table.from_arrays(
            [face_ids, pa.array(np.full(len(faces), number)), pa.array(splits.tolist(), pa.string())],
            schema=FOLD_SCHEMA,
        )
        for number, splits in enumerate(folds)
    ]
    for number, splits in enumerate(folds):
        _check_fold(number, splits, labels)
    facts = {"settings": settings.model_dump(), "kind": choice.kind, "seed": seed, _FACES: _faces_digest(faces)}
    return pa.concat_tables(tables).replace_schema_metadata({b"s2l": json.dumps(facts, sort_keys=True).encode()})


def _groups(face_ids: Sequence[str], subjects: Sequence[str | None], duplicates: pa.Table | None) -> np.ndarray:
    """int64 [N]: faces of one number may not be parted (one subject, or pictures that occur twice)."""
    sets = DisjointSets(len(face_ids))
    first_of: dict[str, int] = {}
    for position, subject in enumerate(subjects):
        if subject is not None:
            sets.join(first_of.setdefault(person_key(subject), position), position)
    if duplicates is not None:
        positions = {face_id: position for position, face_id in enumerate(face_ids)}
        first_in: dict[int, int] = {}
        for face_id, group in zip(
            duplicates.column("face_id").to_pylist(), duplicates.column("near_group").to_pylist(), strict=True
        ):
            if face_id in positions:
                sets.join(first_in.setdefault(group, positions[face_id]), positions[face_id])
    return np.array([sets.root(position) for position in range(len(face_ids))], np.int64)


def _count_groups(labels: np.ndarray, groups: np.ndarray) -> dict[str, int]:
    """By class: in how many parts its faces can be parted at most."""
    return {str(name): len(np.unique(groups[labels == name])) for name in np.unique(labels)}


def count_apart(
    face_ids: Sequence[str], labels: Sequence[str], subjects: Sequence[str | None], duplicates: pa.Table | None = None
) -> dict[str, int]:
    """Counts what splits can part: by class the people who show it.

    Args:
        face_ids: Of every face.
        labels: The name of every face's class.
        subjects: Every face's person; a face of nobody known counts by itself.
        duplicates: What `augment.faces.duplicates.find_duplicates` says about these faces: pictures that are
            near-identical count as one.
    """
    return _count_groups(np.array(labels, dtype=np.str_), _groups(face_ids, subjects, duplicates))


def too_few_to_part(
    faces: Mapping[str, int], apart: Mapping[str, int], settings: FoldSettings, *, people_known: bool
) -> list[Problem]:
    """Why new folds can't be made of a data set, as far as counts tell; `assign_folds` has the last word.

    Args:
        faces: Faces by class.
        apart: By class the people, or pictures that differ, as `count_apart` gives them.
        settings: How faces are to be split anew.
        people_known: Whether any face names its person.

    Returns:
        Empty where the counts forbid nothing.
    """
    if settings.folds > 1:
        return _fewer_than_folds(settings.folds, apart, people_known=people_known)
    if max(apart.values(), default=0) >= _LEAST_PARTS:
        return []
    return [_too_few("folds.validation_share", faces, apart, SPLITS, people_known=people_known)]


def _too_few(
    key: str, faces: Mapping[str, int], apart: Mapping[str, int], splits: Sequence[str], *, people_known: bool
) -> Problem:
    """Why no share can be held out, with the counts of the classes and what would be needed."""
    preposition, unit = ("of", "subject") if people_known else ("in", "different picture")
    counts = [
        f"{name} has {_plural(count, 'face')} {preposition} {_plural(apart.get(name, 0), unit)}"
        for name, count in faces.items()
    ]
    shown = ", ".join(counts[:_MOST_CLASSES]) + (", ..." if len(counts) > _MOST_CLASSES else "")
    why = "no class is shown by two subjects (or two pictures that are not near-identical) that can be parted"
    wanted = f"{', '.join(splits[:-1])} and {splits[-1]}"
    if max(apart.values(), default=0) < len(splits):
        fix = f"{wanted} need at least {len(splits)} {unit}s of a class: add some"
    else:  # a large share took the others, or they stay in training
        fix = f"{wanted} each need some, and who alone shows a class only trains: add {unit}s of each class"
        fix += ", or lower folds.test_share" if "test" in splits else ""
    return Problem(key, f"{why}: {shown}", fix)


def _joined_people(subjects: Sequence[str | None], groups: np.ndarray) -> list[Problem]:
    """Says that near-identical pictures of different people leave few to part; empty where there are none."""
    people: dict[int, set[str]] = {}
    for subject, group in zip(subjects, groups.tolist(), strict=True):
        if subject is not None:
            people.setdefault(group, set()).add(person_key(subject))
    joined = sum(len(found) for found in people.values() if len(found) > 1)
    if not joined:
        return []
    why = f"{joined} of {sum(map(len, people.values()))} people can't be parted: pictures of theirs are nearly alike"
    fix = "where that is their background, crop to the face (dataset.annotation.crop.by=face)"
    return [Problem("subjects", why, fix)]


def _source_fold(
    faces: pa.Table, settings: FoldSettings, seed: int, labels: np.ndarray, groups: np.ndarray
) -> np.ndarray:
    splits = np.array(faces.column("split").to_pylist(), dtype=object)
    fix = "move them into one split, or set folds.kind to subjects (the source's own splits are then not used)"
    unsplit = np.array([split is None for split in splits])
    splits[unsplit] = "train"
    parted: dict[str, set[str]] = {}
    for subject, split in zip(faces.column("subject").to_pylist(), splits, strict=True):
        if subject is not None:
            parted.setdefault(person_key(subject), set()).add(split)
    on_both = sorted(subject for subject, where in parted.items() if len(where) > 1)
    if on_both:
        why = (
            f"the source's splits part {len(on_both)} subjects ({', '.join(on_both[:5])}{' ...' * (len(on_both) > 5)})"
        )
        raise InputError(Problem("folds.kind", why, fix))
    _refuse_copies_of_held_out(faces.column("face_id").to_pylist(), splits, unsplit, groups)
    if not (splits == "test").any():
        training = np.flatnonzero(splits == "train")
        splits[_held_out(training, labels, groups, settings.test_share, seed, "folds.test_share")] = "test"
    if not (splits == "validation").any():
        training = np.flatnonzero(splits == "train")
        chosen = _held_out(training, labels, groups, settings.validation_share, seed, "folds.validation_share")
        splits[chosen] = "validation"
    return splits


def _refuse_copies_of_held_out(
    face_ids: Sequence[str], splits: np.ndarray, unsplit: np.ndarray, groups: np.ndarray
) -> None:
    """Refuses a face without a split, which would train, whose picture occurs in a validation or test split too."""
    held = {int(groups[position]): position for position in np.flatnonzero(splits != "train").tolist()}
    problems = [
        Problem(
            f"face {face_ids[position]}",
            f"has no split, would train, and is the same picture as {face_ids[other]} ({splits[other]})",
            "delete one of the two",
        )
        for position in np.flatnonzero(unsplit).tolist()
        if (other := held.get(int(groups[position]))) is not None
    ]
    if problems:
        raise InputError(problems)


def _with_validation(
    count: int, test: np.ndarray, labels: np.ndarray, groups: np.ndarray, settings: FoldSettings, seed: int
) -> np.ndarray:
    splits = np.full(count, "train", dtype=object)
    splits[test] = "test"
    training = np.flatnonzero(splits == "train")
    chosen = _held_out(training, labels, groups, settings.validation_share, seed, "folds.validation_share")
    splits[chosen] = "validation"
    return splits


def _check_folds(folds: int, labels: np.ndarray, groups: np.ndarray, people_known: bool) -> None:
    available = len(np.unique(groups))
    if folds > available:
        counted = _counted(available, people_known=people_known)
        raise InputError(Problem("folds.folds", f"{folds} folds of {counted}", f"at most {available}"))
    if problems := _fewer_than_folds(folds, _count_groups(labels, groups), people_known=people_known):
        raise InputError(problems)


def _fewer_than_folds(folds: int, apart: Mapping[str, int], *, people_known: bool) -> list[Problem]:
    problems = []
    for name, having in apart.items():
        if having < folds:
            counted = _counted(having, people_known=people_known)
            why = f"class {name} has {counted}, fewer than the {folds} folds"
            fix = f"at most {having}" if having > 1 else f"more of {name}"
            problems.append(Problem("folds.folds", why, f"{fix}, or leave the class out (dataset.classes)"))
    return problems


def _counted(count: int, *, people_known: bool) -> str:
    joined = "" if people_known else " (near-identical ones count as one)"
    return _plural(count, "subject" if people_known else "picture") + joined


def _plural(count: int, unit: str) -> str:
    return f"{count} {unit}{'' if count == 1 else 's'}"


def _check_fold(number: int, splits: np.ndarray, labels: np.ndarray) -> None:
    missing = sorted(set(labels) - set(labels[splits == "train"]))
    if missing:
        why = f"fold {number} has no training face of {', '.join(missing)}"
        fix = "more faces of the class from other subjects, smaller shares, or leave the class out (dataset.classes)"
        raise InputError(Problem("folds", why, fix))


def _held_out(
    positions: np.ndarray, labels: np.ndarray, groups: np.ndarray, share: float, seed: int, key: str
) -> np.ndarray:
    """A share of some faces, stratified, no group parted; of all such choices one that shows the most classes.

    A group that alone shows a class is never held out: the class would be lost to training.

    Raises:
        _TooFewError: There are too few groups to hold any out.
    """
    holders = {
        label: np.unique(groups[positions][labels[positions] == label]) for label in np.unique(labels[positions])
    }
    alone = {int(found[0]) for found in holders.values() if len(found) == 1}
    whole = len(positions)
    positions = positions[~np.isin(groups[positions], list(alone))]
    holding = [len(np.unique(groups[positions][labels[positions] == label])) for label in holders]
    available = max(holding, default=0)
    if available < 2:
        raise _TooFewError(key)
    share = min(share * whole / len(positions), 1.0)
    counts = np.arange(2, min(_MOST_PARTS, available) + 1)
    taken = np.clip(np.rint(share * counts), 1, counts - 1)
    best = int(np.argmin(np.abs(taken / counts - share)))
    parts = _parts(positions, labels, groups, int(counts[best]), seed)
    wanted = int(taken[best])
    # Greedy: rare classes lie in few parts, and a validation set without a class can't judge it.
    chosen: list[np.ndarray] = []
    remaining = [part for part in parts if len(part)]
    while remaining and len(chosen) < wanted:
        seen = {label for part in chosen for label in labels[part]}
        gains = [len(set(labels[part]) - seen) for part in remaining]
        chosen.append(remaining.pop(int(np.argmax(gains))))
    return np.concatenate(chosen)


def _parts(positions: np.ndarray, labels: np.ndarray, groups: np.ndarray, count: int, seed: int) -> list[np.ndarray]:
    """Splits some faces into `count` stratified parts without parting a group (scikit-learn)."""
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold  # seconds, which most stages do not owe

    unique, first, inverse, sizes = np.unique(
        groups[positions], return_index=True, return_inverse=True, return_counts=True
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a class rarer than the parts: `_check_folds` has the say
        if sizes.max() * 20 <= len(positions) and len(unique) * 2 > len(positions):
            # Hardly any group has two faces: stratify the groups themselves, StratifiedGroupKFold would take minutes.
            group_labels = labels[positions][first]
            splitter = StratifiedKFold(count, shuffle=True, random_state=seed)
            try:
                parts = [held for _, held in splitter.split(unique, group_labels)]
            except ValueError as error:
                raise InputError(Problem("folds", str(error), "fewer folds, or more faces")) from error
            return [positions[np.isin(inverse, part)] for part in parts]
        grouped = StratifiedGroupKFold(count, shuffle=True, random_state=seed)
        try:
            return [positions[held] for _, held in grouped.split(positions, labels[positions], groups[positions])]
        except ValueError as error:
            raise InputError(Problem("folds", str(error), "fewer folds, or more faces")) from error


def write_folds(folds: pa.Table, path: Path) -> Path:
    """Writes a table of folds as Parquet with the file's SHA-256 in its metadata, atomically.

    The digest stands inside, since the file is an output of its own to whoever keeps or restores outputs. It is that of
    the file with noughts in its place.
    """
    facts = {**_facts(folds), _DIGEST: _NOUGHTS.decode()}
    bare = folds.replace_schema_metadata(None)
    sink = pa.BufferOutputStream()
    # Without Arrow's own schema, which would repeat the metadata.
    with pq.ParquetWriter(sink, bare.schema, compression="zstd", store_schema=False) as writer:
        writer.write_table(bare)
        writer.add_key_value_metadata({"s2l": json.dumps(facts, sort_keys=True)})
    data = sink.getvalue().to_pybytes()
    before, _, after = data.rpartition(_NOUGHTS)
    atomic_write_bytes(path, before + hashlib.sha256(data).hexdigest().encode() + after)
    return Path(path)


def read_folds(path: Path, *, sealed: bool = False) -> pa.Table:
    """Reads a table of folds.

    Args:
        path: The file.
        sealed: Whether a table without a SHA-256 (which `write_folds` did not write) is refused too.

    Raises:
        InputError: The file is missing, is no table of folds, or is not what was written.
    """
    fix = "run the stage that writes it"
    try:
        data = Path(path).read_bytes()
        folds = pq.read_table(pa.BufferReader(data))
        written = _facts(folds).get(_DIGEST)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise InputError(Problem(str(path), f"is no table of folds: {error}", fix)) from error
    missing = [field.name for field in FOLD_SCHEMA if field.name not in folds.column_names]
    if missing:
        raise InputError(Problem(str(path), f"has no column {', '.join(missing)}", fix))
    if written is None:
        if sealed:
            why = "carries no SHA-256: it was written by an older version or by another program"
            raise InputError(Problem(str(path), why, fix))
        return folds
    before, _, after = data.rpartition(str(written).encode())
    if hashlib.sha256(before + _NOUGHTS + after).hexdigest() != written:
        why = "is damaged or was changed: its bytes are not those that its SHA-256 says were written"
        raise InputError(Problem(str(path), why, fix))
    return folds


def check_folds_fit(folds: pa.Table, faces: pa.Table, where: str) -> None:
    """Sees that these are the folds of these faces: of the same names, classes and people, in the same order.

    Args:
        folds: The folds; those that do not say whose they are fit any.
        faces: `face_id`, `label_name` and `subject` of all faces; without one of them nothing can be said.
        where: How errors name the folds.

    Raises:
        InputError: They are another table's.
    """
    written = _facts(folds).get(_FACES)
    if written is None or not set(_FACE_COLUMNS) <= set(faces.column_names):
        return
    if written != _faces_digest(faces):
        why = "these are the folds of other faces: names, classes or people differ"
        raise InputError(Problem(where, why, "run the stage that writes both (`s2l prepare`) again"))


def _facts(folds: pa.Table) -> dict[str, Any]:
    """The metadata's own values.

    Raises:
        ValueError: They are no JSON object.
    """
    facts = json.loads((folds.schema.metadata or {}).get(b"s2l", b"{}"))
    if not isinstance(facts, dict):
        raise ValueError("its metadata are no JSON object")
    return facts


def _faces_digest(faces: pa.Table) -> str:
    columns = [[column, faces.column(column).to_pylist()] for column in _FACE_COLUMNS]
    return hashlib.sha256(json.dumps(columns).encode()).hexdigest()


def fold_splits(folds: pa.Table, fold: int) -> dict[str, str]:
    """The split of every face in one fold.

    Raises:
        InputError: There is no such fold, or it names a face twice.
    """
    rows = folds.filter(pc.equal(folds.column("fold"), fold))
    if not len(rows):
        there = sorted(set(folds.column("fold").to_pylist()))
        raise InputError(Problem("fold", f"there is no fold {fold}", f"there are {', '.join(map(str, there))}"))
    splits = dict(zip(rows.column("face_id").to_pylist(), rows.column("split").to_pylist(), strict=True))
    if len(splits) != len(rows):
        raise InputError(
            Problem(f"fold {fold}", f"{len(rows) - len(splits)} faces occur twice", "make the folds again")
        )
    return splits


def fold_tables(faces: pa.Table, folds: pa.Table, fold: int) -> dict[str, pa.Table]:
    """The faces of one fold by split, in their own order, without those that are set aside.

    Raises:
        InputError: There is no such fold, a face is not in it, or the folds are those of other faces.
    """
    check_folds_fit(folds, faces, f"fold {fold}")
    splits = fold_splits(folds, fold)
    face_ids = faces.column("face_id").to_pylist()
    unknown = [face_id for face_id in face_ids if face_id not in splits]
    if unknown:
        why = f"{len(unknown)} faces are in no split ({', '.join(unknown[:3])} ...)"
        raise InputError(Problem(f"fold {fold}", why, "make the folds again"))
    where = np.array([splits[face_id] for face_id in face_ids], dtype=object)
    return {split: faces.filter(pa.array(where == split)) for split in SPLITS}
