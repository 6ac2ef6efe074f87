"""params.yaml stays as it is while DVC runs a stage."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from dvc.fs import localfs
from dvc.rwlock import rwlock

from augment.core.errors import InputError
from pipeline.flow.children import remove_broken_list
from pipeline.flow.flow import FlowFailedError, check_unchanged
from pipeline.flow.held_workspace import held_workspace
from pipeline.profile import write_parameters
from pipeline.running_stages import refuse_while_stages_run


def lock(root: Path, process: int) -> None:
    """The list as DVC writes it, of another process."""
    (root / ".dvc" / "tmp").mkdir(parents=True, exist_ok=True)
    (root / ".dvc" / "tmp" / "rwlock").unlink(missing_ok=True)
    out, read = str(root / "artifacts" / "judge"), str(root / "params.yaml")
    with rwlock(str(root / ".dvc" / "tmp"), localfs, "dvc repro", [read], [out], False):
        listed = (root / ".dvc" / "tmp" / "rwlock").read_text(encoding="utf-8")
    listed = listed.replace(f'"pid": {os.getpid()}', f'"pid": {process}')
    (root / ".dvc" / "tmp" / "rwlock").write_text(listed, encoding="utf-8")


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


@pytest.mark.parametrize("text", ["", "{", "[]", '{"write": 3}', '{"read": {"a": [{"pid": 1, "cmd": ""}]}}'])
def test_a_list_that_holds_nobody_stops_nothing(tmp_path: Path, text: str) -> None:
    refuse_while_stages_run(tmp_path)
    (tmp_path / ".dvc" / "tmp").mkdir(parents=True)
    (tmp_path / ".dvc" / "tmp" / "rwlock").write_text(text)
    refuse_while_stages_run(tmp_path)
    lock(tmp_path, os.getpid())
    refuse_while_stages_run(tmp_path)


def test_parameters_are_not_written_while_a_flow_runs_between_two_stages(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("seed: 0\n")
    with held_workspace(tmp_path):
        with pytest.raises(InputError, match=r"params.yaml: a flow runs here.*\(wait for it, or stop it\)"):
            write_parameters(tmp_path, "seed: 1\n")
        assert (tmp_path / "params.yaml").read_text() == "seed: 0\n"
        write_parameters(tmp_path, "seed: 2\n", by_flow=True)
    write_parameters(tmp_path, "seed: 3\n")
    assert (tmp_path / "params.yaml").read_text() == "seed: 3\n"


def test_a_flow_whose_parameters_were_edited_on_the_way_fails(tmp_path: Path) -> None:
    """An editor asks no lock."""
    (tmp_path / "params.yaml").write_text("seed: 0\n")
    check_unchanged(tmp_path, b"seed: 0\n", {})
    (tmp_path / "params.yaml").write_text("seed: 1\n")
    with pytest.raises(
        FlowFailedError, match=r"params.yaml was changed while the flow ran.*run the flow again"
    ) as error:
        check_unchanged(tmp_path, b"seed: 0\n", {"prepare": "ran"})
    assert error.value.outcomes == {"prepare": "ran"}


@pytest.fixture
def stranger() -> Iterator[int]:
    """A process that has nothing to do with DVC."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield process.pid
    process.kill()
    process.wait()


@pytest.mark.parametrize("number", [2**31, 10**20])
def test_a_number_that_no_process_has_blocks_nothing(tmp_path: Path, number: int) -> None:
    lock(tmp_path, number)
    refuse_while_stages_run(tmp_path)


def test_a_process_that_began_after_the_list_was_written_is_another(tmp_path: Path, stranger: int) -> None:
    """Numbers of processes begin anew after a reboot and in a container; nobody is told to stop a stranger."""
    lock(tmp_path, stranger)
    with pytest.raises(InputError, match="a stage runs here"):
        refuse_while_stages_run(tmp_path)
    os.utime(tmp_path / ".dvc" / "tmp" / "rwlock", (10**9, 10**9))
    refuse_while_stages_run(tmp_path)


def test_a_flow_removes_what_a_process_noted_that_is_gone(tmp_path: Path, stranger: int) -> None:
    subprocess.run([sys.executable, "-m", "dvc", "init", "-q", "--no-scm"], cwd=tmp_path, check=True)
    lock(tmp_path, stranger)
    place = tmp_path / ".dvc" / "tmp" / "rwlock"
    before = place.read_text(encoding="utf-8")
    assert str(stranger) in before
    assert remove_broken_list(tmp_path) == "" and place.read_text(encoding="utf-8") == before
    os.utime(place, (10**9, 10**9))
    assert "processes that have ended" in remove_broken_list(tmp_path)
    assert json.loads(place.read_text(encoding="utf-8")) == {"read": {}, "write": {}}
    assert remove_broken_list(tmp_path) == ""
