"""Rare classes on demand: of some classes only n training faces are kept, and the others are set aside.

So "few of these, many of those" is a parameter, and the gain of synthetic faces becomes a curve over the number of real
ones. Only training faces are set aside, after the folds are made: validation and test faces stay as they are, so that
all points of a curve are tested on the same faces. A face that is set aside keeps its row in the table of folds with
the split `set_aside`, and no stage reads it: it teaches no translator, judge or classifier.

People come in one seeded order, the same for all classes and numbers, and a class keeps its first n faces in it. So the
sets are nested (the 50 are among the 100), and the faces kept of two classes are as far as possible of the same people,
as in a collection with few people who showed all expressions. A face without a known subject is a person of its own.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
from pydantic import BeforeValidator, Field

from augment.core.errors import InputError, Problem
from augment.faces.fold_choice import SET_ASIDE
from augment.faces.splits import FOLD_SCHEMA
from augment.faces.subjects import person_key

DEFAULT = "default"  # the key of the classes that are not named
KEY = "dataset.rare"


def _mapping(value: Any) -> Any:
    """A number stands for all classes."""
    return {DEFAULT: value} if isinstance(value, int) else value


Rare = Annotated[dict[str, Annotated[int, Field(ge=1, strict=True)] | None], BeforeValidator(_mapping)]
"""Training faces to keep by class, at least 1; None keeps all; `default` is for classes that are not named."""


def rare_problems(rare: Mapping[str, int | None], classes: Sequence[str]) -> list[Problem]:
    """Names in `rare` that are no class.

    Args:
        rare: Faces to keep by class.
        classes: Names of the classes.
    """
    known = ", ".join(classes)
    return [
        Problem(f"{KEY}.{name}", "is no class of these faces", f"name one of {known}, or {DEFAULT} for all others")
        for name in rare
        if name not in classes and name != DEFAULT
    ]


def kept_of(rare: Mapping[str, int | None], name: str) -> int | None:
    """How many training faces of a class are kept; None: all."""
    return rare[name] if name in rare else rare.get(DEFAULT)


def set_aside_rare(
    faces: pa.Table, folds: pa.Table, rare: Mapping[str, int | None], classes: Sequence[str], seed: int
) -> pa.Table:
    """Sets training faces aside until each class has the number that is asked for, in every fold.

    Args:
        faces: `face_id`, `label_name`, `subject`.
        folds: Of these faces, from `augment.faces.splits.assign_folds`.
        rare: Training faces to keep by class; None keeps all, and so does a class without a number where there is no
            `default`.
        classes: Names of the classes.
        seed: Seeds the order of people and faces.

    Returns:
        The folds, with the split `set_aside` in the place of `train` where a face is set aside; its metadata say what
        was asked for.

    Raises:
        InputError: A name is no class, or a fold has fewer training faces of a class than are asked for.
    """
    if problems := rare_problems(rare, classes):
        raise InputError(problems)
    columns = (faces.column(name).to_pylist() for name in ("face_id", "label_name", "subject"))
    label_of, place_of = {}, {}
    for face_id, label_name, subject in zip(*columns, strict=True):
        label_of[face_id] = label_name
        person = f"face {face_id}" if subject is None else f"person {person_key(subject)}"
        place_of[face_id] = (_place(seed, person), person, _place(seed, face_id), face_id)
    face_ids = folds.column("face_id").to_pylist()
    splits = np.array(folds.column("split").to_pylist(), dtype=object)
    numbers = np.array(folds.column("fold").to_pylist())
    labels = np.array([label_of[face_id] for face_id in face_ids], dtype=object)
    problems = []
    for name in classes:
        wanted = kept_of(rare, name)
        if wanted is None:
            continue
        for fold in np.unique(numbers):
            rows = np.flatnonzero((numbers == fold) & (labels == name) & (splits == "train")).tolist()
            if len(rows) < wanted:
                problems.append(_too_few(name, wanted, int(fold), len(rows), name in rare))
                continue
            rows.sort(key=lambda row: place_of[face_ids[row]])
            splits[rows[wanted:]] = SET_ASIDE
    if problems:
        raise InputError(problems)
    metadata = dict(folds.schema.metadata or {})
    facts = {**json.loads(metadata.get(b"s2l", b"{}")), "rare": dict(rare), "rare_seed": seed}
    metadata[b"s2l"] = json.dumps(facts, sort_keys=True).encode()
    changed = pa.Table.from_arrays(
        [folds.column("face_id"), folds.column("fold"), pa.array(splits.tolist(), pa.string())], schema=FOLD_SCHEMA
    )
    return changed.replace_schema_metadata(metadata)


def _place(seed: int, name: str) -> str:
    """A hash instead of a shuffle: the order of two people does not depend on who else there is."""
    return hashlib.sha256(f"{seed}/{name}".encode()).hexdigest()


def _too_few(name: str, wanted: int, fold: int, found: int, named: bool) -> Problem:
    why = f"asks for {wanted:,} training faces of {name}, and fold {fold} has {found:,}"
    return Problem(
        f"{KEY}.{name if named else DEFAULT}", why, f"set {KEY}.{name} to at most {found}, or to null for all"
    )
