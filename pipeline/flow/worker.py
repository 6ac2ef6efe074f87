"""The worker that starts flow runs, and what becomes of a run when it is killed."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from uuid import UUID

from prefect.context import FlowRunContext

from pipeline.core.parent_process import end_with_caller

_RUN = "PREFECT__FLOW_RUN_ID"  # Prefect sets it in the process that a worker starts for a run


def current_run() -> UUID | None:
    """The id of the flow run that this is called in; None outside of one."""
    context = FlowRunContext.get()
    return context.flow_run.id if context is not None and context.flow_run is not None else None


def is_whole_process() -> bool:
    """Whether a worker or `serve` started this process for this very run, and not for a flow that calls it."""
    run = current_run()
    if run is None or _RUN in os.environ:
        return run is not None and os.environ[_RUN] == str(run)
    return multiprocessing.parent_process() is not None and not _is_called_by_a_flow()


def _is_called_by_a_flow() -> bool:
    context = FlowRunContext.get()
    return context is not None and context.flow_run is not None and context.flow_run.parent_task_run_id is not None


def end_with_worker() -> None:
    """Makes a flow run end with the worker, or with the `serve`, that started it, however that ends.

    With a worker, which calls a command, only on Linux; `serve` starts a process of Python's `multiprocessing`.

    Prefect starts each run in a session of its own, so a killed worker would leave it running with nobody to tell of
    it; and the next worker's run would find the workspace held. The run gets SIGTERM, on which Prefect ends it as
    crashed and the flow ends its stages.

    A run that was started by hand, or whose parent is the first process of the machine or container, is left alone.
    """
    if _RUN in os.environ and os.getppid() > 1:
        end_with_caller()
    elif (parent := multiprocessing.parent_process()) is not None:
        threading.Thread(target=_end_after, args=(parent,), daemon=True).start()


def _end_after(parent: multiprocessing.process.BaseProcess) -> None:
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)
