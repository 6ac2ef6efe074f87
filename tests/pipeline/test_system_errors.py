"""A full disk and a read-only folder: an explanation and a fix, no traceback, and the old result whole."""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from augment.core.seals import is_sealed, seal_folder
from pipeline.cli import main
from pipeline.core.system_errors import FIXES, describe_system_error
from pipeline.profile import compose_profile

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "params.yaml").write_text(compose_profile(ROOT, ["scale=smoke"]), encoding="utf-8")
    old = tmp_path / "artifacts" / "faces"
    old.mkdir(parents=True)
    (old / "report.json").write_text("{}")
    seal_folder(old)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def no_file_over_4_kilobytes() -> Iterator[None]:
    """What a write meets on a disk that fills up in its middle; the system's own limit on files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_disk_that_fills_up_while_faces_are_written(workspace: Path, no_file_over_4_kilobytes: None) -> None:
    result = CliRunner().invoke(main, ["prepare"])
    assert result.exit_code == 1 and isinstance(result.exception, SystemExit), result.exception
    assert "too large" in result.output.lower() and FIXES[errno.EFBIG] in result.output
    assert is_sealed(workspace / "artifacts" / "faces")
    there = {path.name for path in (workspace / "artifacts").iterdir()}
    assert there == {"faces", "timings"}  # nothing half-written beside the old faces


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EDQUOT])
@pytest.mark.parametrize("command", ["check", "prepare", "judge", "report", "results kept", "train warp"])
def test_a_system_error_is_explained(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, number: int, command: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number), "artifacts/faces/data")

    name = command.split()[0]
    monkeypatch.setattr(
        {"check": "pipeline.check.check", "results": "pipeline.results.keep_results"}.get(
            name, f"pipeline.stages.{name}.{name}"
        ),
        fail,
    )
    result = CliRunner().invoke(main, command.split())
    assert result.exit_code == 1 and isinstance(result.exception, SystemExit)
    assert f"artifacts/faces/data: {os.strerror(number)} ({FIXES[number]})" in result.output


def test_an_error_of_our_own_is_not_hidden(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: a file that our own code looks for in vain is a fault to be seen whole."""
    assert describe_system_error(FileNotFoundError(errno.ENOENT, "No such file", "x")) is None
    assert describe_system_error(OSError("something else")) is None

    def fail(*_: object) -> None:
        raise FileNotFoundError(errno.ENOENT, "No such file", "x")

    monkeypatch.setattr("pipeline.check.check", fail)
    assert isinstance(CliRunner().invoke(main, ["check"]).exception, FileNotFoundError)


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write everywhere")
def test_a_read_only_folder(workspace: Path) -> None:
    (workspace / "artifacts").chmod(0o500)
    try:
        result = CliRunner().invoke(main, ["prepare"])
    finally:
        (workspace / "artifacts").chmod(0o700)
    assert result.exit_code == 1 and isinstance(result.exception, SystemExit)
    assert FIXES[errno.EACCES] in result.output and is_sealed(workspace / "artifacts" / "faces")
