"""Equal runs make equal files, however long they took: what was measured lies beside the stages' outputs."""

from __future__ import annotations

import itertools
import json
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from augment.core.files import sha256_of_file
from pipeline.core.stage_runs import run_stage
from pipeline.core.workspace import Artifacts
from pipeline.measured_fields import take_measurements
from pipeline.profile import compose_profile

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent.parent


def contents(folder: Path) -> dict[str, str]:
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    return {file.relative_to(folder).as_posix(): sha256_of_file(file) for file in files}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("prepared")
    profile = compose_profile(ROOT, ["scale=smoke", "runtime.threads=1"])
    (root / "params.yaml").write_text(profile, encoding="utf-8")
    run_stage("prepare", root)
    run_stage("parsing", root)
    return root


def made_judge(*places: Any, **_: Any) -> None:
    """What `train_judge` leaves, with a time that no other call has."""
    out = places[4]
    out.mkdir(parents=True)
    (out / "report.json").write_text(json.dumps({"folds": [{"fold": 0, "seconds": time.monotonic()}]}))


def run(prepared: Path, root: Path, monkeypatch: pytest.MonkeyPatch, tick: float) -> Artifacts:
    """Judge, training and synthesis, on a clock of its own."""
    shutil.copytree(prepared, root)
    clock = itertools.count(tick, tick)
    with monkeypatch.context() as patch:
        patch.setattr("pipeline.stages.judge.train_judge", made_judge)
        patch.setattr(time, "monotonic", lambda: next(clock))
        run_stage("judge", root)
        run_stage("train", root, name="warp")
        run_stage("synthesize", root, name="warp")
    return Artifacts(root)


def test_equal_runs_make_equal_shards_however_long_they_took(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = run(prepared, tmp_path / "a", monkeypatch, 1.0), run(prepared, tmp_path / "b", monkeypatch, 7.5)
    for place in ("judge", "parsing", "translators", "synthetic"):
        found = contents(first.home / place)
        assert found and found == contents(second.home / place), place
    assert list((first.synthetic("warp") / "fold-0" / "data").glob("*.parquet"))
    # The times are kept, and are as different as they were.
    for stage, file in (("judge", "report.json"), ("train-warp", "fold-0/training.json")):
        times = [json.loads(made.measurements(stage).read_text())[file] for made in (first, second)]
        assert times[0].keys() == times[1].keys() and times[0] != times[1]


def test_another_seed_makes_other_shards(prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: what the test above compares does depend on the run."""
    first = run(prepared, tmp_path / "a", monkeypatch, 1.0)
    other = tmp_path / "other"
    shutil.copytree(prepared, other)
    file = other / "params.yaml"
    file.write_text(file.read_text(encoding="utf-8").replace("seed: 0\n", "seed: 1\n", 1), encoding="utf-8")
    second = run(other, tmp_path / "b", monkeypatch, 1.0)
    assert contents(first.synthetic("warp")) != contents(second.synthetic("warp"))


def test_measurements_are_taken_out_wherever_they_stand(tmp_path: Path) -> None:
    (tmp_path / "fold-0").mkdir()
    (tmp_path / "fold-0" / "training.json").write_text('{"steps": 3, "seconds": 1.5, "gpu": {"peak_memory_bytes": 7}}')
    (tmp_path / "folds.json").write_text('[{"fold": 0, "seconds": 2.5}, {"fold": 1}]')
    (tmp_path / "log.jsonl").write_text('{"step": 1, "images_per_second": 9.0}\n{"step": 2}\n')
    plain = '{"steps":   1}'
    (tmp_path / "plain.json").write_text(plain)
    assert take_measurements(tmp_path) == {
        "fold-0/training.json": {"seconds": 1.5, "gpu.peak_memory_bytes": 7},
        "folds.json": {"0.seconds": 2.5},
        "log.jsonl": [{"images_per_second": 9.0}, {}],
    }
    assert json.loads((tmp_path / "fold-0" / "training.json").read_text()) == {"steps": 3, "gpu": {}}
    assert [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()] == [
        {"step": 1},
        {"step": 2},
    ]
    assert (tmp_path / "plain.json").read_text() == plain
    assert take_measurements(tmp_path) == {}
