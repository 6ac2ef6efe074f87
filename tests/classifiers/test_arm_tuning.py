"""The command that tries an arm's settings on a run's validation faces."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from click.testing import CliRunner
from recorded_trainings import recorded_calls
from striped_faces import write_dataset, write_synthetic

import classifiers.arms as arms
from augment.faces.fold_choice import SET_ASIDE
from benchmarks import arm_tuning

pytestmark = pytest.mark.slow


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run of three classes with six synthetic faces of each."""
    artifacts = tmp_path / "artifacts"
    write_dataset(artifacts, folds=1)
    write_synthetic(artifacts, fold=0, per_class=6)
    (artifacts / "selected").mkdir()
    (artifacts / "synthetic").rename(artifacts / "selected" / "stripes.s2l")
    classifier = {
        "model": {"name": "resnet18_narrow", "stem": "half", "width": 4},
        **{"steps": 6, "batch_size": 8, "learning_rate": 0.01, "augmentation": "flip", "validate_every": 3},
        "precision": "float32",
    }
    arms = {
        "real": {"real": {"kind": "real"}, "hog": {"kind": "hog"}},
        "synthetic": {"stripes": {"kind": "synthetic", "translator": "stripes", "per_class": 4}},
    }
    values = {"seed": 0, "seeds": [0], "classifier": classifier, "arms": arms}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    return tmp_path


def call(run: Path, *arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(arm_tuning.main, ["--root", str(run), *arguments])
    return done.exit_code, done.output


def test_arms_are_tried_with_the_settings_that_are_said_and_no_test_face_is_decoded(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[set[str]] = []
    decode = arm_tuning.face_tensors
    calls = recorded_calls(monkeypatch, arms)

    def record_faces(table: Any, **shape: int) -> Any:
        decoded.append({name.split("-")[0] for name in table.column("face_id").to_pylist()})
        return decode(table, **shape)

    monkeypatch.setattr(arm_tuning, "face_tensors", record_faces)
    code, output = call(run, "real", "stripes", "stripes:share=0.25,per_class=2", "--seed", "0", "--seed", "1")
    assert code == 0, output
    assert decoded == [{"a", "b"}, {"validation"}, {"synthetic"}, {"synthetic"}]
    assert [None if one["synthetic"] is None else len(one["synthetic"]) for one in calls[::2]] == [None, 12, 6]
    assert [one["synthetic_share"] for one in calls[::2]] == [0.5, 0.5, 0.25]
    assert all({name.split("-")[0] for name in one["validation"].face_ids} == {"validation"} for one in calls)
    assert calls[0]["seed"] == calls[2]["seed"] != calls[1]["seed"]  # paired, as in a run
    assert "stripes:share=0.25,per_class=2: balanced accuracy " in output
    assert "48 training and 9 validation faces, float32" in output


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ("stripez", "stripez"),
        ("stripes:shared=0.2", "shared: Extra inputs are not permitted"),
        ("stripes:share=2", "share: Input should be less than or equal to 1"),
        ("stripes:per_class=9", "arms.synthetic.stripes.per_class asks for 9 faces of each class by stripes"),
        ("hog", "kind hog trains no network"),
        ("real:share=0.2", "kind real uses no synthetic faces"),
    ],
)
def test_what_is_no_arm_is_refused(run: Path, said: str, message: str) -> None:
    code, output = call(run, said)
    assert code == 2 and message in " ".join(output.split())


def test_faces_made_from_a_test_face_are_refused(run: Path) -> None:
    place = run / "artifacts"
    write_synthetic(place, fold=0, per_class=6, source="test-0000")
    (place / "selected" / "stripes.s2l" / "fold-0").rename(place / "selected" / "kept-elsewhere")
    (place / "synthetic" / "fold-0").rename(place / "selected" / "stripes.s2l" / "fold-0")
    code, output = call(run, "stripes")
    assert code == 2 and "test-0000" in output


def test_a_translators_faces_of_classes_that_were_not_filled_are_shown_to_the_classifier(run: Path) -> None:
    folds = pq.read_table(run / "artifacts" / "folds.parquet").to_pylist()
    happy = [row for row in folds if row["split"] == "train" and int(row["face_id"][-4:]) % 3 == 1]
    for row in happy[6:]:
        row["split"] = SET_ASIDE
    pq.write_table(pa.Table.from_pylist(folds), run / "artifacts" / "folds.parquet")
    code, output = call(run, "stripes:per_class=null,fill_to=10,share=1", "real:kind=oversampled,fill_to=10")
    assert code == 0, output
    said = re.findall(
        r"^(\S+): of the other classes, ([\d.]+) % of its faces and ([\d.]+) % of real ones", output, re.M
    )
    assert [name for name, *_ in said] == ["stripes:per_class=null,fill_to=10,share=1"]  # nobody's faces in the other
    assert all(0 <= float(share) <= 100 for share in said[0][1:])
    assert output.count(": recall % angry ") == 2
    # Every class is short of 20: none is left whose faces nobody learned from.
    code, output = call(run, "stripes:per_class=null,fill_to=20,share=0.2")
    assert code == 0 and "of the other classes" not in output
