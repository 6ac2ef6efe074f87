"""Classes that are filled up to a number, by hand, and arms that do it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError
from recorded_trainings import recorded_calls
from striped_faces import NAMES, tensors, write_dataset, write_synthetic

import classifiers.arms as arms
from augment.core.errors import InputError
from augment.faces.fold_choice import SET_ASIDE
from classifiers.arms import ArmRefusedError, ArmReport, run_arm
from classifiers.filling import class_counts, fill_classes
from classifiers.models import ModelSettings
from classifiers.settings import Arm
from classifiers.training import ClassifierSettings

TINY = ClassifierSettings(
    model=ModelSettings(name="resnet18_narrow", stem="half", width=4),
    steps=2,
    batch_size=8,
    class_balanced=False,
    augmentation="flip",
    validate_every=2,
)
REAL = tensors([0, 0, 0, 0, 1, 1, 2], seed=1, prefix="real")
MADE = tensors([1, 2, 2], seed=2, prefix="made")
FILLED = {"kind": "synthetic", "translator": "stripes", "fill_to": 16}


def test_a_class_gets_synthetic_faces_and_then_its_own_again() -> None:
    filled = fill_classes(REAL, MADE, 4)
    assert class_counts(filled) == [4, 4, 4]
    again = ["real-4", "real-6"]  # happy has 2 and gets 1, neutral has 1 and gets 2
    assert list(filled.face_ids) == [*REAL.face_ids, *again, *MADE.face_ids]
    for row, name in enumerate(filled.face_ids):
        source = REAL if name.startswith("real") else MADE
        origin = source.face_ids.index(name)
        assert (filled.images[row] == source.images[origin]).all() and filled.labels[row] == source.labels[origin]


def test_real_faces_alone_come_again_all_before_one_comes_a_third_time() -> None:
    filled = fill_classes(REAL, None, 5)
    assert class_counts(filled) == [5, 5, 5]
    added = list(filled.face_ids[len(REAL) :])
    assert added == ["real-0", "real-4", "real-5", "real-4", "real-6", "real-6", "real-6", "real-6"]
    assert fill_classes(REAL, None, 1).face_ids == REAL.face_ids  # no class is ever cut


def test_a_class_without_a_real_face_has_synthetic_ones_alone() -> None:
    filled = fill_classes(REAL.take([0, 4]), MADE, 3)
    assert class_counts(filled) == [3, 3, 2]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"share": 1.0}, ((0, 6, 13),)),
        ({"share": 0.5}, ((0, 3, 7),)),  # at least as much as the share says
        ({"share": 0.01}, ((0, 1, 1),)),  # and one where anything is missing
        ({"share": 1.0, "second_translator": "dots"}, ((0, 3, 7), (0, 3, 6))),
    ],
)
def test_amounts_are_what_classes_lack(changes: dict[str, Any], expected: tuple[tuple[int, ...], ...]) -> None:
    assert Arm(**FILLED, **changes).amounts([20, 10, 3]) == expected


def test_a_share_is_taken_as_it_is_written() -> None:
    """0.17 of 300 is 51, where floats make it a little more, and a face more would be asked for."""
    for hundredths in range(1, 101):
        for makers in (1, 2):
            second = {"second_translator": "dots"} if makers == 2 else {}
            for made in (1, 20, 51, 255):
                arm = Arm(**FILLED, share=hundredths / 100, **second)
                most = arm.most_to_fill(4, made)
                asked = [arm.model_copy(update={"fill_to": most + more}).amounts([4]) for more in (0, 1)]
                assert max(amounts[0] for amounts in asked[0]) <= made < max(amounts[0] for amounts in asked[1])
    assert Arm(**FILLED | {"fill_to": 300}, share=0.17).amounts([0]) == ((51,),)


def test_without_filling_amounts_are_the_same_for_every_class() -> None:
    arm = Arm(kind="synthetic", translator="stripes", second_translator="dots", per_class=5)
    assert arm.amounts([20, 10, 3]) == ((3, 3, 3), (2, 2, 2))


@pytest.mark.parametrize(
    "settings",
    [
        FILLED,
        FILLED | {"share": 1.0},
        FILLED | {"per_class": None},
        {"kind": "oversampled", "fill_to": 5, "class_balanced": False},
    ],
)
def test_good_arms(settings: dict[str, Any]) -> None:
    Arm(**settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (FILLED | {"per_class": 5}, "per_class: fill_to says how many"),
        ({"kind": "synthetic", "translator": "stripes", "per_class": 5, "share": 1.0}, "use kind synthetic_only"),
        (
            {"kind": "synthetic_only", "translator": "stripes", "fill_to": 5},
            "fill_to: kind synthetic_only fills no class",
        ),
        ({"kind": "real", "fill_to": 5}, "fill_to: kind real fills no class up; use synthetic or oversampled"),
        ({"kind": "hog", "fill_to": 5}, "fill_to: kind hog"),
        (FILLED | {"fill_to": 1}, "greater than or equal to 2"),
    ],
)
def test_impossible_arms_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Arm(**settings)


def test_only_repeating_all_alike_makes_batches_balanced() -> None:
    assert Arm(kind="oversampled").balanced(TINY)
    assert not Arm(kind="oversampled", fill_to=5).balanced(TINY)
    assert not Arm(**FILLED).balanced(TINY)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Sixteen angry and neutral training faces, six happy ones, and eight synthetic ones of each."""
    write_dataset(tmp_path, folds=1)
    write_synthetic(tmp_path, fold=0, per_class=8)
    rows = pq.read_table(tmp_path / "folds.parquet").to_pylist()
    happy = [row for row in rows if row["split"] == "train" and int(row["face_id"][-4:]) % 3 == 1]
    assert len(happy) == 16
    for row in happy[6:]:
        row["split"] = SET_ASIDE
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "folds.parquet")
    return tmp_path


def run(data: Path, arm: Arm) -> ArmReport:
    return run_arm(
        "arm",
        arm,
        faces_dir=data / "faces",
        folds_path=data / "folds.parquet",
        synthetic_dirs=[data / "synthetic"] * len(arm.translators),
        classifier_settings=TINY,
        seeds=(0,),
        out=data / "out.parquet",
        scratch=data / "scratch",
        progress=False,
    )


@pytest.mark.slow
@pytest.mark.parametrize(("share", "made", "again"), [(None, 0, 10), (0.3, 3, 7), (0.8, 8, 2)])
def test_arms_differ_in_what_fills_a_class(
    data: Path, monkeypatch: pytest.MonkeyPatch, share: float | None, made: int, again: int
) -> None:
    calls = recorded_calls(monkeypatch, arms)
    arm = Arm(kind="oversampled", fill_to=16) if share is None else Arm(**FILLED, share=share)
    report = run(data, arm)
    (call,) = calls
    assert call["synthetic"] is None and call["class_balanced"] is False
    assert class_counts(call["real"]) == [16, 16, 16]
    names = call["real"].face_ids
    assert [name for name in names if name.startswith("synthetic")] == [f"synthetic-happy-{i:04d}" for i in range(made)]
    assert len(names) - len(set(names)) == again
    assert (report.cells[0].real_faces, report.cells[0].synthetic_faces) == (38, made)


@pytest.mark.slow
def test_too_few_synthetic_faces_are_refused_with_the_number_that_is_enough(data: Path) -> None:
    with pytest.raises(InputError) as caught:
        run(data, Arm(**FILLED, share=1.0))
    message = str(caught.value)
    assert "arms.synthetic.arm.fill_to asks for more faces by stripes" in message
    assert "fold 0, happy: 8 kept synthetic faces by stripes of 10 asked for" in message
    assert (
        "lower arms.synthetic.arm.fill_to to 14, raise synthesis.per_class "
        "(where it is set, synthesis.per_class_of.stripes)" in message
    )
    assert run(data, Arm(**FILLED | {"fill_to": 14}, share=1.0)).cells[0].synthetic_faces == 8
    with pytest.raises(InputError, match=r"fill_to to 16,"):
        run(data, Arm(**FILLED | {"fill_to": 40}, share=0.8))  # all classes: angry and neutral lack 24, can have 10
    # the advice is kept: 16 is 8 of 10 for happy, and nothing for the others
    assert run(data, Arm(**FILLED | {"fill_to": 16}, share=0.8)).cells[0].synthetic_faces == 8


@pytest.mark.slow
def test_where_no_face_of_a_class_was_kept_no_lower_number_is_advised(data: Path) -> None:
    write_synthetic(data, fold=0, per_class=8, rejected=8)
    with pytest.raises(InputError, match=r"leave out arms\.synthetic\.arm, raise synthesis\.per_class"):
        run(data, Arm(**FILLED))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["synthetic", "oversampled"])
def test_where_nothing_is_short_the_arm_is_refused_alone(data: Path, kind: str) -> None:
    arm = Arm(kind=kind, fill_to=6, translator="stripes" if kind == "synthetic" else None)  # type: ignore[arg-type]
    path = rf"arms\.{'synthetic' if kind == 'synthetic' else 'real'}\.arm\.fill_to"
    with pytest.raises(ArmRefusedError, match=rf"{path}: no class of fold 0 has fewer than 6 .* \(6 to 16\)"):
        run(data, arm)


def test_classes_are_named_in_label_order() -> None:
    assert REAL.class_names == NAMES and class_counts(REAL) == [4, 2, 1]
