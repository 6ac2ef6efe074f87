"""Stages whose inputs are missing, cut short or changed: they name what it is and the command that makes it."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from augment.core.seals import seal_folder
from augment.faces.images import encode_png
from augment.faces.shards import CardFacts, write_faces
from augment.faces.splits import FoldSettings, assign_folds, write_folds
from augment.faces.table import read_faces
from pipeline.cli import main
from pipeline.profile import compose_profile

ROOT = Path(__file__).parent.parent.parent
# Each command, and the outputs of earlier stages that it needs with the commands that make them.
NEEDS = {
    "parsing": {"faces": "prepare", "folds.parquet": "prepare"},
    "judge": {"faces": "prepare", "folds.parquet": "prepare", "pretraining": "prepare"},
    "train warp": {"faces": "prepare", "folds.parquet": "prepare", "judge": "judge", "parsing": "parsing"},
    "synthesize warp": {"faces": "prepare", "folds.parquet": "prepare", "translators/warp.s2l": "train warp"},
    "assess warp": {
        "faces": "prepare",
        "folds.parquet": "prepare",
        "judge": "judge",
        "translators/warp.s2l": "train warp",
        "synthetic/warp.s2l": "synthesize warp",
    },
    "classify real": {"faces": "prepare", "folds.parquet": "prepare"},
    "classify warp": {"faces": "prepare", "folds.parquet": "prepare", "selected/warp.s2l": "assess warp"},
    "report": {
        "faces": "prepare",
        "folds.parquet": "prepare",
        "parsing": "parsing",
        "translators/warp.s2l": "train warp",
        "selected/warp.s2l": "assess warp",
        "scores/warp.s2l": "assess warp",
        "arms/real.s2l": "classify real",
        "arms/warp.s2l": "classify warp",
    },
    "results kept": {"report": "report"},
}
# A file of each output that an interrupted copy may cut short.
FILES = {
    "faces": "report.json",
    "judge": "fold-0/judge.json",
    "pretraining": "about.json",
    "parsing": "fold-0/report.json",
    "translators/warp.s2l": "licence.json",
    "synthetic/warp.s2l": "fold-0/data/train-00000.parquet",
    "selected/warp.s2l": "fold-0/report.json",
    "scores/warp.s2l": "scores.json",
    "arms/real.s2l": "predictions.parquet",
    "arms/warp.s2l": "history.jsonl",
    "report": "metrics.json",
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with all that `check_inputs` looks at; what is in the files does not matter to it."""
    root = tmp_path_factory.mktemp("finished")
    (root / "params.yaml").write_text(compose_profile(ROOT, ["scale=smoke"]), encoding="utf-8")
    chance = random.Random(0)
    rows = [
        {
            "image": {"bytes": encode_png(np.full((8, 8), chance.randrange(256), np.uint8))},
            "label": number % 2,
            "label_name": ("angry", "happy")[number % 2],
            "face_id": f"f{number}",
            "source": "test",
        }
        for number in range(20)
    ]
    artifacts = root / "artifacts"
    write_faces(rows, artifacts / "faces", ("angry", "happy"), card=CardFacts("t", "d", "mit"))
    table = read_faces(artifacts / "faces", columns=["face_id", "label_name", "subject", "split"])
    write_folds(assign_folds(table, FoldSettings(kind="subjects"), 0), artifacts / "folds.parquet")
    for folder, name in FILES.items():
        file = artifacts / folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text('{"some": "content"}\n')
        seal_folder(artifacts / folder)
    return root


@pytest.fixture
def workspace(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(finished, tmp_path / "workspace")
    monkeypatch.chdir(tmp_path / "workspace")
    return tmp_path / "workspace" / "artifacts"


def run(command: str) -> Result:
    result = CliRunner().invoke(main, command.split())
    assert isinstance(result.exception, SystemExit) and result.exit_code == 1, result.output  # no traceback
    return result


@pytest.mark.parametrize("command", NEEDS)
def test_in_a_fresh_clone_all_that_is_missing_is_named_with_its_command(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "params.yaml").write_text(compose_profile(ROOT, ["scale=smoke"]), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    result = run(command)
    for need, maker in NEEDS[command].items():
        assert f"artifacts/{need}: is missing (run `s2l {maker}`, or `dvc repro`" in result.output
    assert not (tmp_path / "artifacts").exists()


@pytest.mark.parametrize("command", NEEDS)
@pytest.mark.parametrize("damage", ["cut", "empty", "bit", "gone"])
def test_a_damaged_file_of_an_earlier_stage_is_named_with_its_command(
    command: str, damage: str, workspace: Path
) -> None:
    for need, maker in NEEDS[command].items():
        file = workspace / need / FILES[need] if need in FILES else workspace / need
        whole = file.read_bytes()
        if damage == "gone":
            file.unlink()
        else:
            turned = bytes([whole[0] ^ 1]) + whole[1:]
            file.write_bytes({"cut": whole[: len(whole) // 2], "empty": b"", "bit": turned}[damage])
        said = run(command).output
        shown = file.relative_to(workspace.parent).as_posix()
        assert f"{shown}: is" in said and f"run `s2l {maker}`" in said, said
        file.write_bytes(whole)


def test_an_output_without_a_seal_is_refused(workspace: Path) -> None:
    (workspace / "judge" / ".s2l").unlink()
    assert "artifacts/judge: has no .s2l" in run("train warp").output


def test_train_and_test_swapped_in_folds_parquet_is_refused(workspace: Path) -> None:
    table = pq.read_table(workspace / "folds.parquet")
    swap = {"train": "test", "test": "train", "validation": "validation"}
    splits = pa.array([swap[split] for split in table.column("split").to_pylist()])
    pq.write_table(table.set_column(2, "split", splits), workspace / "folds.parquet")
    for command in NEEDS:
        if command != "results kept":
            assert "folds.parquet: is damaged or was changed" in run(command).output
    pq.write_table(table.set_column(2, "split", splits).replace_schema_metadata(None), workspace / "folds.parquet")
    assert "folds.parquet: carries no SHA-256" in run("judge").output


@pytest.mark.parametrize(
    ("command", "out"),
    [
        ("prepare", "faces"),
        ("judge", "judge"),
        ("train warp", "translators/warp.s2l"),
        ("classify real", "arms/real.s2l"),
    ],
)
def test_a_stage_refuses_a_folder_of_somebody_elses_before_it_works(command: str, out: str, workspace: Path) -> None:
    notes = workspace / out / "my notes.md"
    notes.write_text("mine")
    assert f"artifacts/{out}: would be replaced, and holds files that this tool did not write: my notes.md" in (
        run(command).output
    )
    (workspace / out / ".s2l").unlink()
    assert f"artifacts/{out}: holds files, and no .s2l" in run(command).output
    assert notes.read_text() == "mine"


def test_what_a_killed_run_had_moved_aside_is_put_back(workspace: Path) -> None:
    (workspace / "judge").rename(workspace / ".judge.999999999.old")
    (workspace / "parsing").rename(workspace / "elsewhere")  # so that the stage ends at once
    said = run("train warp").output
    assert "artifacts/parsing: is missing" in said and "artifacts/judge" not in said
    assert (workspace / "judge" / "fold-0" / "judge.json").is_file()
