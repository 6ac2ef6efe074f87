"""Folds: stratified, no subject and no copy parted, the same with the same seed."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from small_faces import CLASSES

from augment.core.errors import InputError
from augment.faces.duplicates import DUPLICATE_SCHEMA
from augment.faces.splits import (
    FoldSettings,
    assign_folds,
    count_apart,
    fold_splits,
    fold_tables,
    read_folds,
    too_few_to_part,
    write_folds,
)
from augment.faces.table import face_schema, faces_from_rows


def table(rows: list[tuple[int, str | None, str | None]]) -> pa.Table:
    """Faces without pictures, from (label, subject, split)."""
    columns = {
        "face_id": [f"f{number}" for number in range(len(rows))],
        "label_name": [CLASSES[label] for label, _, _ in rows],
        "subject": pa.array([subject for _, subject, _ in rows], pa.string()),
        "split": pa.array([split for _, _, split in rows], pa.string()),
    }
    return pa.table(columns)


def people(count: int, faces_of_each: int = 2) -> pa.Table:
    return table([(label, f"s{n}", None) for n in range(count) for label in range(3) for _ in range(faces_of_each)])


def splits_of(faces: pa.Table, folds: pa.Table, fold: int) -> list[str]:
    found = fold_splits(folds, fold)
    return [found[face_id] for face_id in faces.column("face_id").to_pylist()]


@settings(max_examples=25)
@given(st.integers(6, 20), st.integers(1, 5), st.integers(0, 1000))
def test_subject_folds_part_no_subject_and_test_everybody_once(count: int, folds: int, seed: int) -> None:
    faces = people(count)
    made = assign_folds(faces, FoldSettings(kind="subjects", folds=folds), seed)
    assert made.equals(assign_folds(faces, FoldSettings(kind="subjects", folds=folds), seed))
    tested: Counter[str] = Counter()
    for fold in range(folds):
        splits = splits_of(faces, made, fold)
        assert {"train", "validation", "test"} == set(splits)
        where: dict[str, set[str]] = {}
        for face_id, subject, split in zip(
            faces.column("face_id").to_pylist(), faces.column("subject").to_pylist(), splits, strict=True
        ):
            where.setdefault(subject, set()).add(split)
            tested[face_id] += split == "test"
        assert all(len(found) == 1 for found in where.values())
    if folds > 1:
        assert set(tested.values()) == {1}


def test_folds_are_stratified_without_subjects() -> None:
    faces = table([(label, None, None) for label, count in enumerate((80, 40, 20)) for _ in range(count)])
    made = assign_folds(faces, FoldSettings(kind="subjects", folds=4, validation_share=0.2), 1)
    for fold in range(4):
        counts = Counter(zip(faces.column("label_name").to_pylist(), splits_of(faces, made, fold), strict=True))
        assert [counts[name, "test"] for name in CLASSES] == [20, 10, 5]
        assert [counts[name, "validation"] for name in CLASSES] == [12, 6, 3]


@pytest.mark.parametrize(("share", "wanted"), [(0.05, 10), (0.1, 20), (0.25, 50), (0.3, 60), (0.5, 100)])
def test_shares_are_met(share: float, wanted: int) -> None:
    faces = table([(n % 2, None, "train") for n in range(200)] + [(0, None, "test")])
    made = assign_folds(faces, FoldSettings(validation_share=share), 0)
    assert Counter(splits_of(faces, made, 0))["validation"] == wanted


def test_the_source_s_own_splits_stay() -> None:
    own = ["train", "validation", "test"] * 5
    faces = table([(n % 3, f"s{n}", split) for n, split in enumerate(own)] + [(n, "x", "train") for n in range(3)])
    assert splits_of(faces, assign_folds(faces, FoldSettings(), 0), 0) == [*own, "train", "train", "train"]


def test_missing_validation_is_taken_out_of_training_by_subjects() -> None:
    rows: list = [(label, f"s{n}", "train") for n in range(20) for label in range(3)]
    faces = table(rows + [(0, "t", "test")] * 4)
    splits = splits_of(faces, assign_folds(faces, FoldSettings(validation_share=0.2), 5), 0)
    assert splits[60:] == ["test"] * 4
    by_subject = [set(splits[3 * n : 3 * n + 3]) for n in range(20)]
    assert sum(found == {"validation"} for found in by_subject) == 4
    assert sum(found == {"train"} for found in by_subject) == 16


def test_validation_shows_rare_classes_where_it_can() -> None:
    """Few people show all classes, many one only: a careless choice of a tenth would miss the rare classes."""
    rows = [(label, f"full{n}", "train") for n in range(6) for label in range(3)]
    faces = table([*rows, *((0, f"plain{n}", "train") for n in range(90)), (0, "t", "test")])
    for seed in range(5):
        splits = splits_of(faces, assign_folds(faces, FoldSettings(validation_share=0.1), seed), 0)
        shown = {
            name
            for name, split in zip(faces.column("label_name").to_pylist(), splits, strict=True)
            if split == "validation"
        }
        assert shown == set(CLASSES)


def test_pictures_that_occur_twice_stay_together() -> None:
    faces = table([(n % 2, None, None) for n in range(60)])
    groups = [n // 2 for n in range(20)]  # f0 f30, f1 f31 ... are copies
    copies = [f"f{n // 2 + 30 * (n % 2)}" for n in range(20)]
    duplicates = pa.table(
        {"face_id": copies, "exact_group": pa.nulls(20, pa.int64()), "near_group": groups}, schema=DUPLICATE_SCHEMA
    )
    parted = 0
    for seed in range(4):
        made = assign_folds(faces, FoldSettings(kind="subjects", folds=3), seed, duplicates=duplicates)
        careless = assign_folds(faces, FoldSettings(kind="subjects", folds=3), seed)
        for fold in range(3):
            splits, others = fold_splits(made, fold), fold_splits(careless, fold)
            assert all(splits[f"f{n}"] == splits[f"f{n + 30}"] for n in range(10))
            parted += sum(others[f"f{n}"] != others[f"f{n + 30}"] for n in range(10))
    assert parted  # without the knowledge they are parted


def test_people_that_one_background_joins_are_said_where_too_few_are_left() -> None:
    """Whole frames of one camera are nearly alike; the number of people that is named would be false without it."""
    faces = people(8, faces_of_each=1)
    alike = [f"f{number}" for number in range(0, 21, 3)]  # one picture of each of seven people
    duplicates = pa.table(
        {"face_id": alike, "exact_group": pa.nulls(7, pa.int64()), "near_group": [0] * 7}, schema=DUPLICATE_SCHEMA
    )
    for values in ({"kind": "subjects", "folds": 3}, {"kind": "subjects", "folds": 1, "validation_share": 0.4}):
        with pytest.raises(InputError) as error:
            assign_folds(faces, FoldSettings.model_validate(values), 0, duplicates=duplicates)
        assert str(error.value.problems[-1]) == (
            "subjects: 7 of 8 people can't be parted: pictures of theirs are nearly alike (where that is their "
            "background, crop to the face (dataset.annotation.crop.by=face))"
        )
    # Two pictures of one person that are alike join nobody.
    own = duplicates.slice(0, 2).set_column(0, "face_id", pa.array(["f0", "f1"]))
    with pytest.raises(InputError) as error:
        assign_folds(faces, FoldSettings(kind="subjects", folds=9), 0, duplicates=own)
    assert len(error.value.problems) == 1


@pytest.mark.parametrize(
    ("faces", "values", "message"),
    [
        (people(4), {"kind": "subjects", "folds": 5}, "folds.folds: 5 folds of 4 subjects .at most 4"),
        (
            table([(n % 2, None, None) for n in range(20)] + [(2, None, None)] * 2),
            {"kind": "subjects", "folds": 3},
            "folds.folds: class sad has 2 pictures .near-identical ones count as one., fewer than the 3 folds",
        ),
        (
            table([(0, f"s{n}", None) for n in range(9)] + [(1, "s0", None)] * 9),
            {"kind": "subjects", "folds": 3},
            "class happy has 1 subject, fewer than the 3 folds .more of happy, or leave the class out",
        ),
        (people(4), {"kind": "source"}, "folds.kind: 24 of 24 faces have no split .*kind to subjects"),
        (
            table([(0, None, "train"), (1, None, "train")]),
            {"kind": "source"},
            "folds.kind: the source has no test faces",
        ),
        (table([(0, None, "test"), (1, None, "test")]), {}, "folds.kind: the source has no train faces"),
        (
            table([(0, "a", "train"), (0, "a", "test"), (0, "b", "train")]),
            {},
            r"folds.kind: the source's splits part 1 subjects \(a\)",
        ),
        (
            table([(0, "a", "train"), (0, "a", "train"), (0, "b", "test")]),
            {},
            r"folds.validation_share: no class is shown by two .* parted: angry has 2 faces of 1 subject "
            r"\(train and validation need at least 2 subjects of a class: add some\)$",
        ),
        (
            table([(0, "a", "train"), (1, "b", "train"), (0, "c", "test")]),
            {},
            "folds.validation_share: no class is shown by two",
        ),
        (
            table([(0, None, None), (0, None, None), (1, None, None), (1, None, None)]),
            {},
            r"parted: angry has 2 faces in 2 different pictures, happy has 2 faces in 2 different pictures "
            r"\(train, validation and test need at least 3 different pictures of a class: add some\)$",
        ),
        (
            table([(0, "a", None), (0, "b", None), (0, "c", None), (1, "a", None)]),
            {},
            r"angry has 3 faces of 3 subjects, happy has 1 face of 1 subject \(.* who alone shows a class only trains: "
            r"add subjects of each class, or lower folds.test_share\)$",
        ),
        (people(4).slice(0, 0), {}, "the table is empty"),
    ],
)
def test_impossible_folds_are_refused_with_key_and_fix(faces: pa.Table, values: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        assign_folds(faces, FoldSettings(**values), 0)


@pytest.mark.parametrize(
    "values",
    [
        {"folds": 0},
        {"kind": "source", "folds": 3},
        {"validation_share": 0},
        {"validation_share": 0.9},
        {"test_share": 1},
        {"kind": "people"},
        {"fold": 1},
    ],
)
def test_impossible_settings_are_refused(values: dict) -> None:
    with pytest.raises(ValidationError):
        FoldSettings(**values)


@pytest.mark.parametrize(("count", "folds"), [(2, 1), (3, 1), (3, 4), (4, 4)])
def test_counts_foretell_what_can_not_be_parted(count: int, folds: int) -> None:
    faces = people(count)
    values = FoldSettings(kind="subjects", folds=folds)
    labels, subjects = (faces.column(name).to_pylist() for name in ("label_name", "subject"))
    apart = count_apart(faces.column("face_id").to_pylist(), labels, subjects)
    assert apart == dict.fromkeys(CLASSES, count)
    told = too_few_to_part(Counter(labels), apart, values, people_known=True)
    assert bool(told) == (count < max(3, folds))
    if not told:
        assert assign_folds(faces, values, 0).num_rows == folds * len(faces)
        return
    with pytest.raises(InputError) as refused:
        assign_folds(faces, values, 0)
    if folds == 1:
        assert list(refused.value.problems) == told
    else:
        assert "class angry has 3 subjects, fewer than the 4 folds" in told[0].why


def test_files_and_tables_of_a_fold(tmp_path: Path) -> None:
    faces = people(6)
    made = assign_folds(faces, FoldSettings(kind="subjects", folds=2), 0)
    path = write_folds(made, tmp_path / "folds.parquet")
    assert read_folds(path).equals(made)
    parts = fold_tables(faces, made, 1)
    assert sum(map(len, parts.values())) == len(faces)
    ids = parts["train"].column("face_id").to_pylist()
    assert ids == [face_id for face_id in faces.column("face_id").to_pylist() if fold_splits(made, 1)[face_id] == "train"]  # fmt: skip  # noqa: E501
    with pytest.raises(InputError, match=r"there is no fold 2 .there are 0, 1"):
        fold_tables(faces, made, 2)
    with pytest.raises(InputError, match="are in no split"):
        fold_tables(faces, made.slice(3), 0)
    (tmp_path / "bad.parquet").write_bytes(b"x")
    with pytest.raises(InputError, match="is no table of folds"):
        read_folds(tmp_path / "bad.parquet")


def test_a_class_that_one_subject_alone_shows_stays_in_training() -> None:
    rows = [(0, f"s{n}", "train") for n in range(10)]
    faces = table([*rows, (2, "s3", "train"), (0, "t", "test")])
    for seed in range(10):
        splits = splits_of(faces, assign_folds(faces, FoldSettings(validation_share=0.5), seed), 0)
        assert splits[3] == splits[10] == "train"
        assert Counter(splits)["validation"] in (5, 6)


def test_nobody_known_and_somebody_known() -> None:
    rows: list = [(n % 3, f"s{n % 4}" if n % 2 else None, None) for n in range(120)]
    faces = table(rows)
    made = assign_folds(faces, FoldSettings(kind="subjects", folds=1, test_share=0.25), 0)
    splits = np.array(splits_of(faces, made, 0))
    subjects = np.array([subject or "" for _, subject, _ in rows])
    assert all(len(set(splits[subjects == name])) == 1 for name in set(subjects) - {""})


def test_pictures_are_compared_where_the_table_has_them() -> None:
    from small_faces import face_row

    rows = [face_row(n % 30, n % 2, face_id=f"f{n}") for n in range(60)]  # f0 and f30 show the same picture ...
    faces = faces_from_rows(rows, face_schema(CLASSES))
    splits = fold_splits(assign_folds(faces, FoldSettings(kind="subjects", folds=1), 0), 0)
    assert all(splits[f"f{n}"] == splits[f"f{n + 30}"] for n in range(30))


def test_spellings_of_one_person_are_not_parted() -> None:
    spelt = [f"{'s' if label % 2 else 'S'}{n:02d}{' ' * (label == 2)}" for n in range(12) for label in range(3)]
    faces = table([(number % 3, subject, None) for number, subject in enumerate(spelt)])
    splits = splits_of(faces, assign_folds(faces, FoldSettings(kind="subjects"), 0), 0)
    assert len(set(spelt)) == 36
    assert all(len({splits[3 * n + label] for label in range(3)}) == 1 for n in range(12))
    own = table([(0, "S1", "train"), (1, "s1", "test"), (1, "s2", "train"), (2, "s3", "train")])
    with pytest.raises(InputError, match="part 1 subjects"):
        assign_folds(own, FoldSettings(), 0)
