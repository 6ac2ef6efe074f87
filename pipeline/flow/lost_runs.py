"""Runs whose process ended without a word: the server would show them as running for ever."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
from prefect.client.orchestration import get_client
from prefect.exceptions import ObjectNotFound
from prefect.states import Crashed

from pipeline.flow.held_workspace import read_holder
from pipeline.running_stages import is_alive

_WHY = "The process of this run ended without a word: it was killed, or could not reach the server."


def report_lost_run(file: Path, own: UUID | None, log: Callable[[str], Any]) -> None:
    """Marks the run that held the workspace last as crashed, where the server still takes it for running.

    A killed worker ends its run's process before that can report; a server that is away hears of no end. Only who
    holds the lock of the workspace may call this: then that run can't be under way.

    Args:
        file: Beside the lock of the workspace.
        own: Id of this run, which is the same where Prefect runs it once more.
        log: Called where a run is marked.
    """
    process, run = read_holder(file)
    if process is None or run is None or run == own:
        return
    # A run that has just given back the lock may still be about to report its end. In a container, where numbers begin
    # anew, even this process may have the number of the one that was killed.
    if is_alive(process, file.stat().st_mtime):
        return
    try:
        with get_client(sync_client=True) as client:
            found = client.read_flow_run(run)
            if found.state is None or not found.state.is_running():
                return
            client.set_flow_run_state(run, Crashed(message=_WHY), force=True)
    except ObjectNotFound:  # of another server, or deleted
        return
    except httpx.HTTPError:  # this run can do without
        return
    log(f"run {found.name} ended without a word; what its stages finished is kept")
