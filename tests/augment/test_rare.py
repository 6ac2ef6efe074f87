"""Training faces that are set aside: nested, never others than training faces, and read by no stage."""

from __future__ import annotations

from collections import Counter

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError
from small_faces import CLASSES

from augment.core.errors import InputError
from augment.faces.fold_choice import SET_ASIDE, report_folds
from augment.faces.leakage import LeakageError, check_leakage
from augment.faces.rare import Rare, set_aside_rare
from augment.faces.splits import FOLD_SCHEMA, FoldSettings, assign_folds, fold_splits, fold_tables

SUBJECTS = FoldSettings(kind="subjects", folds=2)


class Holder(BaseModel):
    rare: Rare | None = None


def people(count: int, faces_of_each: int = 2, *, named: bool = True) -> pa.Table:
    """Each person has so many faces of every class."""
    rows = [(name, f"s{n}") for n in range(count) for name in CLASSES for _ in range(faces_of_each)]
    return pa.table(
        {
            "face_id": [f"f{number}" for number in range(len(rows))],
            "label_name": [name for name, _ in rows],
            "subject": pa.array([subject if named else None for _, subject in rows], pa.string()),
            "split": pa.array([None] * len(rows), pa.string()),
        }
    )


def kept(faces: pa.Table, folds: pa.Table, fold: int, label_name: str | None = None) -> set[str]:
    train = fold_tables(faces, folds, fold)["train"]
    pairs = zip(train.column("face_id").to_pylist(), train.column("label_name").to_pylist(), strict=True)
    return {face_id for face_id, name in pairs if label_name in (None, name)}


def people_of(faces: pa.Table, face_ids: set[str]) -> set[str]:
    pairs = zip(faces.column("face_id").to_pylist(), faces.column("subject").to_pylist(), strict=True)
    return {subject for face_id, subject in pairs if face_id in face_ids}


@settings(max_examples=25)
@given(
    st.integers(8, 16), st.integers(1, 3), st.booleans(), st.integers(0, 1000), st.lists(st.integers(1, 8), min_size=2)
)
def test_fewer_faces_are_among_more(count: int, each: int, named: bool, seed: int, numbers: list[int]) -> None:
    faces = people(count, each, named=named)
    folds = assign_folds(faces, SUBJECTS, seed)
    least = min(len(kept(faces, folds, fold, name)) for fold in (0, 1) for name in CLASSES)
    for fold in (0, 1):
        before: set[str] = set()
        for n in sorted({min(n, least) for n in numbers}):
            smaller = set_aside_rare(faces, folds, {"default": n}, CLASSES, seed)
            now = kept(faces, smaller, fold)
            assert before <= now <= kept(faces, folds, fold)
            assert Counter(fold_splits(smaller, fold).values())["train"] == n * len(CLASSES) == len(now)
            before = now
            # Validation and test faces are the same, and so is the number of rows.
            first, second = fold_splits(folds, fold), fold_splits(smaller, fold)
            assert first.keys() == second.keys()
            assert all(
                second[face_id] in ((split, SET_ASIDE) if split == "train" else (split,))
                for face_id, split in first.items()
            )


def test_the_faces_of_all_classes_are_of_the_same_people() -> None:
    faces = people(12)
    folds = set_aside_rare(faces, assign_folds(faces, SUBJECTS, 0), {"default": 4}, CLASSES, 0)
    of_class = [people_of(faces, kept(faces, folds, 0, name)) for name in CLASSES]
    assert all(found == of_class[0] for found in of_class) and len(of_class[0]) == 2  # two faces of a class each


def test_spellings_of_a_person_are_one_person() -> None:
    faces = people(12)
    shouted = [name.upper() if number % 2 else name for number, name in enumerate(faces["subject"].to_pylist())]
    respelled = faces.set_column(2, "subject", pa.array(shouted, pa.string()))
    made = [
        set_aside_rare(table, assign_folds(table, SUBJECTS, 0), {"default": 3}, CLASSES, 0)
        for table in (faces, respelled)
    ]
    assert made[0].column("split").equals(made[1].column("split"))


def test_the_seed_draws_other_faces_and_the_same_seed_the_same() -> None:
    faces = people(16)
    folds = assign_folds(faces, SUBJECTS, 0)
    draws = [kept(faces, set_aside_rare(faces, folds, {"default": 4}, CLASSES, seed), 0) for seed in (0, 0, 1)]
    assert draws[0] == draws[1] != draws[2]


def test_a_class_that_is_not_named_keeps_its_faces_unless_there_is_a_default() -> None:
    faces = people(12)
    folds = assign_folds(faces, SUBJECTS, 0)
    first, second, *others = CLASSES
    whole = {name: len(kept(faces, folds, 0, name)) for name in CLASSES}

    def counts(rare: dict[str, int | None]) -> dict[str, int]:
        made = set_aside_rare(faces, folds, rare, CLASSES, 0)
        return {name: len(kept(faces, made, 0, name)) for name in CLASSES}

    assert counts({first: 3}) == {**whole, first: 3}
    assert counts({first: None, "default": 2}) == {**dict.fromkeys(CLASSES, 2), first: whole[first]}
    assert counts({first: 3, "default": None}) == counts({first: 3})
    assert counts({second: 5, "default": 1}) == {**dict.fromkeys(CLASSES, 1), second: 5} and others is not None


def test_the_source_s_own_splits_are_thinned_alike() -> None:
    faces = people(12, named=False)
    own = ["train"] * 48 + ["validation"] * 12 + ["test"] * 12
    faces = faces.set_column(3, "split", pa.array(own, pa.string()))
    folds = set_aside_rare(faces, assign_folds(faces, FoldSettings(), 0), {"default": 5}, CLASSES, 0)
    counts = Counter(fold_splits(folds, 0).values())
    assert counts == {
        "train": 5 * len(CLASSES),
        "validation": 12,
        "test": 12,
        SET_ASIDE: 48 - 5 * len(CLASSES),
    }


def test_what_can_t_be_is_refused_with_the_fix() -> None:
    faces = people(12)
    folds = assign_folds(faces, SUBJECTS, 0)
    there = len(kept(faces, folds, 0, CLASSES[0]))
    with pytest.raises(InputError, match=r"dataset\.rare\.joy: is no class of these faces \(name one of"):
        set_aside_rare(faces, folds, {"joy": 3}, CLASSES, 0)
    with pytest.raises(InputError) as error:
        set_aside_rare(faces, folds, {CLASSES[0]: there + 1}, CLASSES, 0)
    said = str(error.value)
    assert f"asks for {there + 1} training faces of {CLASSES[0]}, and fold 0 has {there}" in said
    assert f"set dataset.rare.{CLASSES[0]} to at most {there}, or to null for all" in said
    with pytest.raises(InputError, match=rf"dataset\.rare\.default: asks for .* training faces of {CLASSES[0]}"):
        set_aside_rare(faces, folds, {"default": 1000}, CLASSES, 0)
    assert set_aside_rare(faces, folds, {CLASSES[0]: there}, CLASSES, 0).column("split").equals(folds.column("split"))


@pytest.mark.parametrize("value", [0, -1, True, 2.5, {"default": 0}, {"default": "many"}, [3]])
def test_a_number_below_one_is_no_number_of_faces(value: object) -> None:
    with pytest.raises(ValidationError):
        Holder.model_validate({"rare": value})


def test_a_number_is_for_every_class() -> None:
    assert Holder.model_validate({"rare": 100}).rare == {"default": 100}
    assert Holder.model_validate({"rare": {"default": 100, "neutral": None}}).rare == {"default": 100, "neutral": None}
    assert Holder.model_validate({"rare": None}).rare is None


def test_the_guard_takes_faces_that_are_set_aside_for_neither_training_nor_test_faces() -> None:
    faces = people(12)
    folds = set_aside_rare(faces, assign_folds(faces, SUBJECTS, 0), {"default": 3}, CLASSES, 0)
    assert check_leakage(faces, folds, fold=0).faces == len(faces)
    splits = fold_splits(folds, 0)

    def made_of(split: str) -> pa.Table:
        source = next(face_id for face_id, found in splits.items() if found == split)
        return pa.table({"face_id": ["new"], "source_id": [source], "fold": [0]})

    assert check_leakage(faces, folds, fold=0, synthetic=made_of("train")).synthetic_faces == 1
    with pytest.raises(LeakageError, match=r"its source .* is a face that is set aside"):
        check_leakage(faces, folds, fold=0, synthetic=made_of(SET_ASIDE))
    # A person of the test faces who is among those set aside was parted from training by no fold.
    person = next(iter(people_of(faces, {face_id for face_id, split in splits.items() if split == "test"})))
    moved = [
        {"face_id": face_id, "fold": 0, "split": SET_ASIDE if face_id == first else split}
        for first in [next(f for f, s in splits.items() if s == "test" and people_of(faces, {f}) == {person})]
        for face_id, split in splits.items()
    ]
    with pytest.raises(LeakageError, match=f"subject {person}"):
        check_leakage(faces, pa.Table.from_pylist(moved, schema=FOLD_SCHEMA), fold=0)


def test_the_report_counts_them() -> None:
    faces = people(12)
    folds = assign_folds(faces, SUBJECTS, 0)
    whole = report_folds(faces, folds, SUBJECTS, CLASSES).counts[0]
    thinned = report_folds(faces, set_aside_rare(faces, folds, {"default": 3}, CLASSES, 0), SUBJECTS, CLASSES).counts[0]
    for name in CLASSES:
        assert thinned[name] == {**whole[name], "train": 3, SET_ASIDE: whole[name]["train"] - 3}
