"""Workspaces for the Prefect flow: real DVC, a stand-in for `s2l`, and a Prefect home of their own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import dvc_workspaces

QUIET = {"PREFECT_SERVER_ANALYTICS_ENABLED": "false", "DO_NOT_TRACK": "1", "PREFECT_LOGGING_LEVEL": "INFO"}


@cache
def _migrated_home() -> TemporaryDirectory[str]:
    """A Prefect home whose database has had every migration: more seconds of a processor than what most tests do."""
    home = TemporaryDirectory()
    command = [sys.executable, "-m", "prefect", "server", "database", "upgrade", "--yes"]
    done = subprocess.run(
        command, env=os.environ | QUIET | {"PREFECT_HOME": home.name}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return home


def prefect_environment(folder: Path, environment: Mapping[str, str]) -> dict[str, str]:
    home = folder / "prefect"
    shutil.copytree(_migrated_home().name, home)
    return dict(environment) | QUIET | {"PREFECT_HOME": str(home)}


def flow_command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "pipeline.cli", "flow", "run", *arguments]


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
