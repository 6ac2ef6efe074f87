"""A user's own `train/`, `validation/`, `test/` folders, by the README's own command: kept, and said; else said too."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from small_faces import noise, write_picture

from augment.core.errors import InputError
from augment.faces.images import encode_png
from augment.faces.splits import fold_splits, read_folds
from augment.faces.table import read_faces
from pipeline.check import check
from pipeline.cli import main
from pipeline.core.messages import configure_logging
from pipeline.core.stage_runs import run_stage
from pipeline.profile import compose_profile

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
COUNTS = {"train": 10, "validation": 4, "test": 6}


@pytest.fixture(autouse=True)
def _messages() -> None:
    configure_logging("normal")  # as the command does


def write_faces(root: Path, counts: dict[str, int] = COUNTS) -> Path:
    places = [(split, name) for split, count in counts.items() for name in ("angry", "happy") for _ in range(count)]
    for seed, (split, name) in enumerate(places):
        write_picture(root / split / name / f"{seed}.png", seed, 32)
    return root


def workspace(root: Path, data: Path, *overrides: str) -> Path:
    source = "parquet" if data.suffix == ".parquet" else "folder"
    said = ["scale=smoke", f"dataset={source}", f"dataset.root={data}", "dataset.licence=mit", *overrides]
    root.mkdir(exist_ok=True)
    (root / "params.yaml").write_text(compose_profile(ROOT, said), encoding="utf-8")
    return root


def splits_of_run(root: Path) -> Counter[tuple[str, str]]:
    """(the user's split, the run's split) of every face."""
    faces = read_faces(root / "artifacts" / "faces")
    used = fold_splits(read_folds(root / "artifacts" / "folds.parquet"), 0)
    return Counter(zip(faces["split"].to_pylist(), map(used.__getitem__, faces["face_id"].to_pylist()), strict=True))


def report_of(root: Path) -> dict:
    return json.loads((root / "artifacts" / "faces" / "report.json").read_text(encoding="utf-8"))


def test_no_face_of_the_users_test_folder_trains(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = workspace(tmp_path / "run", write_faces(tmp_path / "faces"))
    kept = "folds: the data set's own splits are kept (train 20, validation 8, test 12)"
    check(root)
    assert kept in capsys.readouterr().err  # before anything runs
    run_stage("prepare", root)
    assert splits_of_run(root) == {(split, split): 2 * count for split, count in COUNTS.items()}
    said = capsys.readouterr().err
    assert said.count(kept) == 2 and "fold 0: train 20, validation 8, test 12" in said
    report = report_of(root)
    assert report["counts"] == report["folds"]["counts"][0] == {name: COUNTS for name in ("angry", "happy")}
    assert report["folds"]["choice"]["kind"] == "source"


def test_the_split_column_of_the_users_own_table_is_kept(tmp_path: Path) -> None:
    own = [split for split, count in COUNTS.items() for _ in range(2 * count)]
    columns = {
        "image": [encode_png(noise(n, 32)) for n in range(len(own))],
        "label": ["angry", "happy"] * (len(own) // 2),
        "split": own,
    }
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    root = workspace(tmp_path / "run", tmp_path / "t.parquet")
    run_stage("prepare", root)
    assert splits_of_run(root) == {(split, split): 2 * count for split, count in COUNTS.items()}


def test_a_split_that_is_not_used_is_said_before_and_during_and_in_the_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_faces(tmp_path / "faces")
    root = workspace(tmp_path / "run", data, "folds.kind=subjects", "folds.folds=2")
    said = "the data set's own splits were not used: it has train 20, validation 8, test 12; folds.kind is subjects"
    check(root)
    assert said in capsys.readouterr().err
    run_stage("prepare", root)
    assert capsys.readouterr().err.count(said) == 2
    report = report_of(root)
    assert report["folds"]["choice"]["overridden"] and report["folds"]["choice"]["sentence"].startswith(said)
    assert len(report["folds"]["counts"]) == 2 and report["counts"]["angry"] == COUNTS
    assert splits_of_run(root)["test", "train"] > 0  # so it must be said


def test_a_class_is_made_rare_and_its_test_faces_stay(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write_faces(tmp_path / "faces")
    root = workspace(tmp_path / "run", data, "dataset.rare={happy: 3}")
    run_stage("prepare", root)
    assert splits_of_run(root) == {
        ("train", "train"): COUNTS["train"] + 3,
        ("train", "set_aside"): COUNTS["train"] - 3,
        ("validation", "validation"): 2 * COUNTS["validation"],
        ("test", "test"): 2 * COUNTS["test"],
    }
    assert "fold 0: train 13, validation 8, test 12; set aside 7 (dataset.rare)" in capsys.readouterr().err
    assert report_of(root)["folds"]["counts"][0]["happy"] == {**COUNTS, "train": 3, "set_aside": 7}
    with pytest.raises(InputError, match=r"params\.yaml: dataset\.rare\.joy: is no class"):
        check(workspace(tmp_path / "wrong", data, "dataset.rare={joy: 3}"))
    more = workspace(tmp_path / "more", data, "dataset.rare=11")
    with pytest.raises(InputError, match=r"asks for 11 training faces of angry, and fold 0 has 10 \(set dataset\.rare"):
        run_stage("prepare", more)


def test_data_check_says_whose_splits_a_run_uses(tmp_path: Path) -> None:
    def check(root: Path) -> str:
        done = CliRunner().invoke(main, ["data", "check", "folder", str(root)])
        assert done.exit_code == 0, done.output
        return done.output

    output = check(write_faces(tmp_path / "own"))
    assert "folds (folds.kind: auto): the data set's own splits are kept (train 20, validation 8, test 12)" in output
    (tmp_path / "none").mkdir()
    for name in ("angry", "happy"):
        (tmp_path / "own" / "train" / name).rename(tmp_path / "none" / name)
    assert "folds (folds.kind: auto): the data set has no splits of its own: new folds" in check(tmp_path / "none")


def test_a_folder_of_one_class_is_not_told_to_teach_the_parsing_network(tmp_path: Path) -> None:
    write_picture(tmp_path / "happy" / "1.png", 1)
    done = CliRunner().invoke(main, ["data", "check", "folder", str(tmp_path)])
    assert "next: add faces of a second class" in done.output and "parsing.teacher" not in done.output


def test_one_face_a_class_and_split_is_refused_before_training_with_the_right_fix(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = workspace(tmp_path / "run", write_faces(tmp_path / "faces", dict.fromkeys(COUNTS, 1)))
    run_stage("prepare", root)  # the table is of use without scores
    assert "warning: no translator can be scored on these folds: fold 0" in capsys.readouterr().err
    with pytest.raises(
        InputError, match=r"fold 0: has too few real test faces .*use at least four test faces"
    ) as found:
        run_stage("judge", root)
    assert "synthe" not in str(found.value)
    assert not (root / "artifacts" / "judge").exists()


def test_two_faces_a_class_are_enough(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = workspace(tmp_path / "run", write_faces(tmp_path / "faces", {"train": 4, "validation": 1, "test": 2}))
    run_stage("prepare", root)
    assert "warning" not in capsys.readouterr().err
