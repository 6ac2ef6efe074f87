"""Workspaces for the Prefect flow: real DVC, a stand-in for `s2l`, and a Prefect home of their own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import dvc_workspaces
from click.testing import CliRunner, Result
from filelock import FileLock
from prefect.settings import PREFECT_API_URL, temporary_settings

from pipeline.cli import main

QUIET = {"PREFECT_SERVER_ANALYTICS_ENABLED": "false", "DO_NOT_TRACK": "1", "PREFECT_LOGGING_LEVEL": "INFO"}


def _migrated_home(folder: Path) -> Path:
    """A Prefect home whose database has had every migration: more seconds of a processor than what most tests do.

    The first who wants one makes it, for all workers of pytest-xdist: their folders lie in one of the run.
    """
    home = folder / "migrated-prefect"
    with FileLock(folder / "migrated-prefect.lock"):
        if not home.exists():
            with TemporaryDirectory(dir=folder) as unfinished:
                place = Path(unfinished) / "home"
                command = [sys.executable, "-m", "prefect", "server", "database", "upgrade", "--yes"]
                environment = os.environ | QUIET | {"PREFECT_HOME": str(place)}
                done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
                assert done.returncode == 0, done.stderr
                place.rename(home)
    return home


def prefect_environment(folder: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """An environment with a Prefect home of its own, in a folder that pytest has made for a test."""
    home = folder / "prefect"
    all_folders = folder.parent.parent if "PYTEST_XDIST_WORKER" in os.environ else folder.parent
    shutil.copytree(_migrated_home(all_folders), home)
    return dict(environment) | QUIET | {"PREFECT_HOME": str(home)}


def flow_command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "pipeline.cli", "flow", "run", *arguments]


def flow_in_process(*arguments: str, address: str | None = None) -> Result:
    """`s2l flow` here, which takes no start of a process: for what is refused before anything runs.

    Args:
        arguments: Of the command.
        address: Of the Prefect server; Prefect has read its environment already.
    """
    ends = signal.getsignal(signal.SIGTERM)
    try:
        with temporary_settings({PREFECT_API_URL: address}):
            return CliRunner().invoke(main, ["flow", *arguments])
    finally:
        signal.signal(signal.SIGTERM, ends)


def make_workspace(folder: Path, fault: str) -> tuple[Path, dict[str, str]]:
    """A workspace whose `s2l` leaves files behind, after what `fault` says in the shell's words."""
    environment = prefect_environment(folder, dvc_workspaces.write_stand_in(folder))
    place = dvc_workspaces.make_workspace(folder / "workspace", "scale=smoke")
    dvc_workspaces.commit(place)
    break_stand_in(folder, fault)
    return place, environment


def break_stand_in(folder: Path, fault: str) -> None:
    head, rest = dvc_workspaces.STAND_IN.split("\n", 1)
    (folder / "commands" / "s2l").write_text(f"{head}\n{fault}\n{rest}", encoding="utf-8")


def calls(environment: Mapping[str, str]) -> list[str]:
    """The stages that the stand-in was called for, in their order."""
    return [line.split(":")[0] for line in Path(environment["S2L_CALLS"]).read_text(encoding="utf-8").splitlines()]
