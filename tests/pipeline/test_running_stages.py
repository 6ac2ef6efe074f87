"""params.yaml stays as it is while DVC runs a stage."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from augment.core.errors import InputError
from pipeline.profile import write_parameters
from pipeline.running_stages import refuse_while_stages_run


def lock(root: Path, process: int) -> None:
    (root / ".dvc" / "tmp").mkdir(parents=True, exist_ok=True)
    held = {"pid": process, "cmd": "dvc repro"}
    listed = {str(root / "artifacts" / "judge"): {"write": held}, str(root / "params.yaml"): {"read": [held]}}
    (root / ".dvc" / "tmp" / "rwlock").write_text(json.dumps(listed))


def test_parameters_are_not_written_while_a_stage_runs(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("seed: 0\n")
    stage = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        lock(tmp_path, stage.pid)
        with pytest.raises(InputError, match=rf"a stage runs here \(process {stage.pid}: dvc repro\)"):
            write_parameters(tmp_path, "seed: 1\n")
        assert (tmp_path / "params.yaml").read_text() == "seed: 0\n"
    finally:
        stage.kill()
        stage.wait()
    write_parameters(tmp_path, "seed: 1\n")  # DVC was killed, and left its list
    assert (tmp_path / "params.yaml").read_text() == "seed: 1\n"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"a": {"write": 3}}', '{"a": {"read": [{"pid": 1, "cmd": ""}]}}'])
def test_a_list_that_holds_nobody_stops_nothing(tmp_path: Path, text: str) -> None:
    refuse_while_stages_run(tmp_path)
    (tmp_path / ".dvc" / "tmp").mkdir(parents=True)
    (tmp_path / ".dvc" / "tmp" / "rwlock").write_text(text)
    refuse_while_stages_run(tmp_path)
    lock(tmp_path, os.getpid())
    refuse_while_stages_run(tmp_path)
