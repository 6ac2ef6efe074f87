"""Whose splits a run uses: the user's, wherever there are any."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pyarrow as pa
import pytest
import yaml
from small_faces import CLASSES, write_picture

from augment.core.errors import InputError
from augment.faces.fold_choice import choose_folds, count_splits, report_folds
from augment.faces.splits import FoldSettings, assign_folds, fold_splits
from augment.sources import open_source
from augment.sources.base import known_splits

CONF = Path(__file__).parents[2] / "conf" / "dataset"
NEW = "new folds are made, subject-disjoint where subjects are known"


def settings(**values: object) -> FoldSettings:
    return FoldSettings.model_validate(values)


def table(*groups: tuple[str | None, int], subjects: bool = True) -> pa.Table:
    """So many faces of each split, of all classes in turn, each of a person of its own."""
    own = [split for split, count in groups for _ in range(count)]
    columns = {
        "face_id": [f"f{number}" for number in range(len(own))],
        "label_name": [CLASSES[number % len(CLASSES)] for number in range(len(own))],
        "subject": pa.array([f"s{number}" if subjects else None for number in range(len(own))], pa.string()),
        "split": pa.array(own, pa.string()),
    }
    return pa.table(columns)


def used(faces: pa.Table, **values: object) -> list[str]:
    found = fold_splits(assign_folds(faces, settings(**values), 0), 0)
    return [found[face_id] for face_id in faces.column("face_id").to_pylist()]


def test_test_faces_of_the_user_never_train_by_default() -> None:
    faces = table(("train", 30), ("validation", 9), ("test", 12))
    for folds in (1, 5):
        assert used(faces, folds=folds) == faces.column("split").to_pylist()
    assert used(faces, kind="subjects") != faces.column("split").to_pylist()  # asked for otherwise, they do


def test_validation_alone_is_taken_out_of_training() -> None:
    splits = used(table(("train", 30), ("test", 12)), validation_share=0.2)
    assert splits[30:] == ["test"] * 12 and Counter(splits[:30]) == {"train": 24, "validation": 6}


def test_a_validation_split_without_test_faces_is_kept_too() -> None:
    splits = used(table(("train", 30), ("validation", 9)), test_share=0.2)
    assert splits[30:] == ["validation"] * 9 and Counter(splits[:30]) == {"train": 24, "test": 6}


def test_faces_beside_a_test_split_train() -> None:
    splits = used(table(("test", 12), (None, 30)), validation_share=0.2)
    assert splits[:12] == ["test"] * 12 and Counter(splits[12:]) == {"train": 24, "validation": 6}


def test_without_splits_new_folds_are_made() -> None:
    for faces in (table((None, 30)), table(("train", 30))):
        made = assign_folds(faces, settings(folds=3), 0)
        assert set(made.column("fold").to_pylist()) == {0, 1, 2}


@pytest.mark.parametrize(
    ("groups", "values", "message"),
    [
        (
            [("train", 6), ("test", 3), (None, 3)],
            {},
            "3 of 12 faces have no split of the source's own, such as f9, f10",
        ),
        ([("train", 6), (None, 6)], {}, "6 of 12 faces have no split"),
        ([("validation", 6), (None, 6)], {}, "6 of 12 faces have no split"),
        ([("test", 9)], {}, r"the source has no train faces \(test 9\)"),
        ([("test", 3), ("validation", 3)], {}, r"no train faces \(validation 3, test 3\)"),
        ([(None, 9)], {"kind": "source"}, "9 of 9 faces have no split"),
        ([("train", 9), ("validation", 9)], {"kind": "source"}, "the source has no test faces"),
    ],
)
def test_splits_that_cant_be_kept_are_refused_with_the_fix(groups: list, values: dict, message: str) -> None:
    with pytest.raises(InputError, match=rf"folds\.kind: .*{message}.*set folds.kind to subjects"):
        assign_folds(table(*groups), settings(**values), 0)


def test_a_subject_in_two_of_the_users_splits_is_refused_with_the_fix() -> None:
    faces = table(("train", 9), ("test", 6))
    parted = faces.set_column(2, "subject", pa.array([f"s{n % 9}" for n in range(15)]))
    with pytest.raises(InputError, match=r"part 6 subjects \(s0, .*move them into one split, or set folds.kind to sub"):
        assign_folds(parted, settings(), 0)


def test_a_face_without_a_split_that_is_a_test_face_too_is_refused() -> None:
    from augment.faces.duplicates import DUPLICATE_SCHEMA

    faces = table(("test", 6), (None, 12))
    copies = {"face_id": ["f0", "f9"], "exact_group": [0, 0], "near_group": [0, 0]}
    with pytest.raises(InputError, match=r"face f9: has no split, would train, and is the same picture as f0 \(test\)"):
        assign_folds(faces, settings(), 0, duplicates=pa.table(copies, schema=DUPLICATE_SCHEMA))


def test_what_is_decided_is_said() -> None:
    own = {"train": 44, "test": 16}
    kept = choose_folds(own, settings(folds=5))
    assert (kept.kind, kept.overridden, kept.taken_out) == ("source", False, ("validation",))
    assert kept.sentence.startswith(
        "the data set's own splits are kept (train 44, test 16), validation faces are taken"
    )
    assert "not folds.folds: 5" in kept.sentence
    ignored = choose_folds(own, settings(kind="subjects", folds=5))
    assert (ignored.kind, ignored.overridden) == ("subjects", True)
    assert ignored.sentence.startswith("the data set's own splits were not used: it has train 44, test 16")
    none = choose_folds({}, settings())
    assert (none.overridden, none.sentence) == (False, f"the data set has no splits of its own: {NEW}")
    assert not choose_folds({"train": 5}, settings(kind="subjects")).overridden  # nothing was parted


def test_counts_are_those_of_the_folds() -> None:
    faces = table(("train", 30), ("test", 12))
    for values in ({}, {"kind": "subjects", "folds": 3}):
        folds = assign_folds(faces, settings(**values), 0)
        report = report_folds(faces, folds, settings(**values), CLASSES)
        label = dict(zip(faces.column("face_id").to_pylist(), faces.column("label_name").to_pylist(), strict=True))
        for fold, counts in enumerate(report.counts):
            found = Counter((label[face_id], split) for face_id, split in fold_splits(folds, fold).items())
            assert counts == {name: {s: found[name, s] for s in ("train", "validation", "test")} for name in CLASSES}
            assert sum(report.subjects[fold].values()) == 42
        assert report.choice.own == {"train": 30, "test": 12}


def test_splits_are_known_without_a_picture(tmp_path: Path) -> None:
    for seed, name in enumerate(["train/a/1.png", "train/b/1.png", "test/a/1.png"]):
        write_picture(tmp_path / name, seed)
    (tmp_path / "test" / "a" / "broken.png").write_bytes(b"")
    assert known_splits(open_source("folder", tmp_path)) == {"train": 2, "test": 2}
    assert known_splits(open_source("rig", preset="ferg", faces_per_class=1)) == {}
    assert count_splits([None, "test", "train"]) == {"train": 1, "test": 1, "none": 1}


@pytest.mark.parametrize("file", sorted(CONF.glob("*.yaml")), ids=lambda file: file.stem)
def test_every_profile_says_what_its_data_set_has(file: Path) -> None:
    """Sets with splits of their own keep them; `subjects` stands only where a set has none, or says so."""
    values = yaml.safe_load(file.read_text(encoding="utf-8"))
    kind = values.get("folds", {}).get("kind", "auto")
    published = {"fer2013", "rig_fer2013", "raf_db", "affectnet"}  # with splits of their own
    if file.stem in published:
        assert kind == "source"
    elif file.stem in ("folder", "parquet", "rig"):
        assert kind == "auto"
    else:
        assert kind == "subjects"
        if values["dataset"]["source"] == "rig":
            assert known_splits(open_source("rig", **values["dataset"]["settings"])) == {}
