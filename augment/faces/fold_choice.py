"""Whose splits a run uses: the data set's own, which are kept wherever there are any, or new ones; and how it says so.

People who sort their faces into `train/` and `test/` mean it. Their split is kept unless they ask for another
(`folds.kind: subjects`), and then everything that reports on the run says that it was not used.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from augment.core.errors import InputError, Problem
from augment.faces.table import SPLITS

if TYPE_CHECKING:
    from augment.faces.splits import FoldSettings

SET_ASIDE = "set_aside"  # training faces that no stage reads (`augment.faces.rare`)
NONE = "none"  # faces without a split of the data set's own
_SHOWN = 3
_NEW = "set folds.kind to subjects (new folds: the data set's own splits are then not used)"


class FoldChoice(BaseModel):
    """Whose splits are used, and why.

    Attributes:
        asked: What the settings ask for.
        kind: What is done: `source` keeps the data set's own splits, `subjects` makes new ones.
        own: Faces by the data set's own split (`none`: without one); empty where it has no splits.
        taken_out: Splits that the data set lacks and that are taken out of its training faces.
        overridden: Whether the data set has a split that is not used.
        sentence: All of it for people.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    asked: Literal["auto", "source", "subjects"]
    kind: Literal["source", "subjects"]
    own: dict[str, int]
    taken_out: tuple[str, ...] = ()
    overridden: bool = False
    sentence: str


class FoldsReport(BaseModel):
    """The folds that a run uses, in numbers; `folds` of the preparation's `report.json`.

    Attributes:
        choice: Whose splits they are.
        counts: For each fold the faces by class and split, `set_aside` among them where faces are set aside.
        subjects: For each fold the different subjects by split; splits without a known subject are left out.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    choice: FoldChoice
    counts: tuple[dict[str, dict[str, int]], ...]
    subjects: tuple[dict[str, int], ...]


def count_splits(splits: Sequence[str | None]) -> dict[str, int]:
    """Faces by the data set's own split, in the order train, validation, test, none; empty where no face has one."""
    found = Counter(split or NONE for split in splits)
    return {} if set(found) <= {NONE} else {split: found[split] for split in (*SPLITS, NONE) if found[split]}


def choose_folds(own: Mapping[str, int], settings: FoldSettings, unsplit: Sequence[str] = ()) -> FoldChoice:
    """Decides whose splits are used.

    Args:
        own: Faces by the data set's own split, as `count_splits` gives them.
        settings: What is asked for. `auto` keeps the data set's own splits where there are training faces and others;
            `source` wants test faces too.
        unsplit: Names of faces without a split, for the problem.

    Raises:
        InputError: The data set's own splits are asked for, or there, and can't be used as they are.
    """
    asked = settings.kind
    own = dict(own)
    shown = ", ".join(f"{split} {count:,}" for split, count in own.items())
    held_out = own.get("validation", 0) + own.get("test", 0)
    made = "new folds are made, subject-disjoint where subjects are known"
    if asked == "subjects" or (asked == "auto" and not held_out and NONE not in own):
        if held_out:
            why = f"the data set's own splits were not used: it has {shown}; folds.kind is subjects, and {made}"
        elif own:
            why = f"the data set's own splits part nothing ({shown}): {made}"
        else:
            why = f"the data set has no splits of its own: {made}"
        return FoldChoice(asked=asked, kind="subjects", own=own, overridden=bool(held_out), sentence=why)
    _refuse_partial(own, unsplit)
    if not own.get("train") and not own.get(NONE):
        raise InputError(Problem("folds.kind", f"the source has no train faces ({shown})", _NEW))
    if not own.get("test") and asked == "source":
        raise InputError(Problem("folds.kind", f"the source has no test faces ({shown or 'no splits'})", _NEW))
    taken_out = tuple(split for split in ("validation", "test") if not own.get(split))
    why = f"the data set's own splits are kept ({shown})"
    if own.get(NONE):
        why += ", faces without a split train"
    if taken_out:
        why += f", {' and '.join(taken_out)} faces are taken out of training"
    if settings.folds > 1:
        why += f"; they are one fold, not folds.folds: {settings.folds}"
    return FoldChoice(asked=asked, kind="source", own=own, taken_out=taken_out, sentence=why)


def _refuse_partial(own: Mapping[str, int], unsplit: Sequence[str]) -> None:
    """Refuses faces without a split beside training faces: nobody can say which split they are of."""
    if own and (not own.get(NONE) or (own.get("test") and not own.get("train"))):
        return
    all_faces = sum(own.values()) or len(unsplit)
    why = f"{own.get(NONE, all_faces):,} of {all_faces:,} faces have no split of the source's own"
    if own and unsplit:
        why += f", such as {', '.join(unsplit[:_SHOWN])}"
    raise InputError(Problem("folds.kind", why, f"give every face a split, or {_NEW}"))


def report_folds(faces: pa.Table, folds: pa.Table, settings: FoldSettings, classes: Sequence[str]) -> FoldsReport:
    """Counts the folds that a run uses.

    Args:
        faces: `face_id`, `label_name`, `subject`, `split`.
        folds: What `augment.faces.splits.assign_folds` made of them.
        settings: With which settings.
        classes: The classes in label order.
    """
    columns = (faces.column(name).to_pylist() for name in ("face_id", "label_name", "subject", "split"))
    label_of, subject_of, own = {}, {}, []
    for face_id, label_name, subject, split in zip(*columns, strict=True):
        label_of[face_id], subject_of[face_id] = label_name, subject
        own.append(split)
    counts: dict[int, Counter[tuple[str, str]]] = {}
    subjects: dict[int, dict[str, set[str]]] = {}
    rows = (folds.column(name).to_pylist() for name in ("face_id", "fold", "split"))
    for face_id, fold, split in zip(*rows, strict=True):
        counts.setdefault(fold, Counter())[label_of[face_id], split] += 1
        of_split = subjects.setdefault(fold, {}).setdefault(split, set())
        if subject_of[face_id] is not None:
            of_split.add(subject_of[face_id])
    shown = (
        (*SPLITS, SET_ASIDE) if any(split == SET_ASIDE for found in counts.values() for _, split in found) else SPLITS
    )
    return FoldsReport(
        choice=choose_folds(count_splits(own), settings),
        counts=tuple(
            {name: {split: found[name, split] for split in shown} for name in classes}
            for _, found in sorted(counts.items())
        ),
        subjects=tuple(
            {split: len(found[split]) for split in SPLITS if found.get(split)} for _, found in sorted(subjects.items())
        ),
    )
