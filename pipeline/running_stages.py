"""Whether a stage or a flow runs in a workspace, so that what it reads is not changed under it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import psutil
from filelock import FileLock, Timeout

from augment.core.errors import InputError, Problem
from pipeline.core.workspace import Artifacts


def refuse_while_flow_runs(root: Path) -> None:
    """Refuses to change params.yaml while a flow runs, between two stages too, when DVC knows of none.

    Else its first stages would be of other data than its last ones, and all would be named as the last.

    Args:
        root: The workspace.

    Raises:
        InputError: A flow, or a worker of one, holds the workspace.
    """
    place = flow_lock(root)
    if not place.is_file():
        return
    try:
        with FileLock(place, timeout=0):
            return
    except Timeout as error:
        why = "a flow runs here, whose further stages would read what is written now"
        raise InputError(Problem(str(root / "params.yaml"), why, "wait for it, or stop it")) from error


def flow_lock(root: Path) -> Path:
    """The file that a flow locks while it runs in a workspace."""
    return Artifacts(root).scratch / "flow.lock"


_CLOCKS = 1.0  # seconds by which the clocks of the disk and of the machine may differ


def list_of_files_in_use(root: Path) -> Path:
    """Where DVC lists what it reads and writes just now, with the process."""
    return root / ".dvc" / "tmp" / "rwlock"


def is_alive(process: int, written: float) -> bool:
    """Whether the process that a file names still runs, and not another that has its number now.

    Numbers begin anew after a reboot, and in every container.

    Args:
        process: Its number.
        written: When the file was written, in seconds since 1970: a process that began later is another one.
    """
    try:
        if not psutil.pid_exists(process):
            return False
        return psutil.Process(process).create_time() <= written + _CLOCKS
    except (psutil.NoSuchProcess, OverflowError):  # no system has such a number: the file is damaged
        return False
    except psutil.AccessDenied:  # another user's, on some systems
        return True


def refuse_while_stages_run(root: Path) -> None:
    """Refuses to change params.yaml while DVC runs a stage.

    DVC notes what a stage read when the stage has ended: what was computed with the old parameters would be filed under
    the new ones, and never be computed again.

    Args:
        root: The workspace.

    Raises:
        InputError: A stage runs.
    """
    place = list_of_files_in_use(root)
    try:
        written = place.stat().st_mtime
        listed = json.loads(place.read_text(encoding="utf-8"))
        running = {int(held["pid"]): str(held["cmd"]) for held in listed["write"].values()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return  # none, or none that can be read
    for process, command in running.items():
        if process != os.getpid() and is_alive(process, written):
            why = f"a stage runs here (process {process}: {command}), and would be filed under what is written now"
            raise InputError(Problem(str(root / "params.yaml"), why, "wait for it, or stop it"))
