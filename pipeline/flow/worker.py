"""The worker that starts flow runs, and what becomes of a run when it is killed."""

from __future__ import annotations

import os
from uuid import UUID

from prefect.context import FlowRunContext

from pipeline.core.parent_process import end_with_caller

_RUN = "PREFECT__FLOW_RUN_ID"  # Prefect sets it in the process that a worker, or `serve`, starts for a run


def current_run() -> UUID | None:
    """The id of the flow run that this is called in; None outside of one."""
    context = FlowRunContext.get()
    return context.flow_run.id if context is not None and context.flow_run is not None else None


def is_whole_process() -> bool:
    """Whether a worker started this process for this very run, and not for a flow that calls it."""
    run = current_run()
    return run is not None and os.environ.get(_RUN) == str(run)


def end_with_worker() -> None:
    """Makes a flow run end with the worker, or with the `serve`, that started it, however that ends; only on Linux.

    Prefect starts each run in a session of its own, so a killed worker would leave it running with nobody to tell of
    it; and the next worker's run would find the workspace held. The run gets SIGTERM, on which Prefect ends it as
    crashed and the flow ends its stages.

    A run that was started by hand, or whose parent is the first process of the machine or container, is left alone.
    """
    if _RUN in os.environ and os.getppid() > 1:
        end_with_caller()
