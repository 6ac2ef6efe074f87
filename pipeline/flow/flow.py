"""The Prefect flow: every stage of dvc.yaml that is out of date as a task, independent ones side by side."""

# No `from __future__ import annotations`: Prefect could not resolve the types of the flow's parameters where it loads
# this file for a deployment.

import os
import queue
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, cast
from uuid import UUID

from prefect import flow, get_run_logger, task
from prefect.artifacts import (
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.cache_policies import NO_CACHE
from prefect.concurrency.asyncio import ConcurrencySlotAcquisitionError
from prefect.futures import PrefectFuture
from prefect.task_runners import ThreadPoolTaskRunner
from pydantic import Field

from augment.core.processes import processors
from pipeline.core.sections import read_values
from pipeline.core.workspace import Artifacts
from pipeline.flow.children import Outcome, StageFailedError, remove_broken_list
from pipeline.flow.dask_engine import DaskWorkers, check_address
from pipeline.flow.data import data_sentence, data_table, moved_classes, read_data_summary
from pipeline.flow.engines import Engine, OneMachine, Run
from pipeline.flow.graph import PREPARE, Stage, check_workspace, on_device, read_changes
from pipeline.flow.headline import read_metrics, synthetic_arms
from pipeline.flow.held_workspace import held_workspace, write_holder
from pipeline.flow.last_result import compare_with_last
from pipeline.flow.lost_runs import report_lost_run
from pipeline.flow.lost_server import Server, end_soon
from pipeline.flow.records import forget_old_records, read_records, stage_table
from pipeline.flow.run_artifacts import publish_report
from pipeline.flow.temporary_server import end_server_with_process
from pipeline.flow.worker import current_run, end_with_worker, is_whole_process
from pipeline.profile import compose_profile, write_parameters

RETRIES = 2


class FlowFailedError(Exception):
    """Stages failed, or the result is worse than the last one's where the caller wants that to be a failure.

    Attributes:
        outcomes: What became of each stage.
    """

    def __init__(self, message: str, outcomes: Mapping[str, str]) -> None:
        super().__init__(message, outcomes)
        self.outcomes = outcomes

    def __str__(self) -> str:
        return str(self.args[0])


async def _is_transient(_task: Any, _run: Any, state: Any) -> bool:
    """Whether a stage is tried again: where memory was short, not where its parameters or its faces are wrong."""
    error = await state.aresult(raise_on_failure=False)
    return isinstance(error, StageFailedError) and error.transient


@task(
    task_run_name="{name}",
    retries=RETRIES,
    retry_delay_seconds=5,
    retry_condition_fn=_is_transient,
    cache_policy=NO_CACHE,  # DVC knows what is up to date
    persist_result=False,
)
def run_stage(name: str, run: Run) -> Outcome:
    """Runs one stage; what it prints goes to the log of the task, whose name is the stage's."""
    return run(log=get_run_logger().info)


@flow(
    name="synthesize-to-learn",
    task_runner=ThreadPoolTaskRunner(max_workers=64),  # type: ignore[arg-type]  # the flow itself says how many run at once
    persist_result=False,
)
def synthesize_to_learn(
    workspace: str = ".",
    overrides: list[str] | None = None,
    parallel: Annotated[int, Field(ge=1)] | None = None,
    gpus: Annotated[int, Field(ge=1)] | None = None,
    on_worse: Literal["report", "fail"] = "report",
    engine: Literal["local", "dask"] = "local",
    address: str | None = None,
) -> dict[str, str]:
    """Runs the stages of a workspace that are out of date.

    Each stage is `dvc repro --single-item` in a process of its own, so what a run leaves is what `dvc repro` leaves,
    hash for hash: `dvc repro` after it does nothing, and it does nothing after `dvc repro`. A stage that fails leaves
    those running that do not read from it; the next run begins with what failed.

    Args:
        workspace: A clone of the project.
        overrides: Words of `s2l profile` (`scale=smoke`, `experiment=lssl_table1`), which write params.yaml first; None
            or none: params.yaml stays as it is.
        parallel: How many stages run at once, each with its share of the cores; None: 2 where there are 2 cores or
            more.
        gpus: How many stages that use a GPU run at once; None: 1 where the machine has one, and no limit where not.
            With runtime.device=cpu no stage uses one.
        on_worse: Whether a headline that is worse than the last one's by more than its interval fails the run, and each
            one after it until `report` accepts it.
        engine: `local`: on this machine, as `parallel` and `gpus` say; `dask`: on the workers of a Dask scheduler, each
            in a clone of its own, as many stages at once as they are (`pipeline.flow.dask_engine`).
        address: Of the Dask scheduler: tcp://host:8786.

    Returns:
        What became of each stage: ran, cached, failed, or not run.

    Raises:
        FlowFailedError: A stage failed, params.yaml was changed meanwhile, or the headline is worse and `on_worse` is
            fail.
        InputError: Another flow runs in this workspace, or it can't be read.
    """
    end_with_worker()
    end_server_with_process()
    logger = get_run_logger()
    root = Path(workspace).resolve()
    check_workspace(root)
    began = time.time()
    with _only_flow(root), _server(logger.warning) as server:
        forget_old_records(root)
        if overrides:
            write_parameters(root, compose_profile(root, overrides), by_flow=True)
        if removed := remove_broken_list(root):
            logger.warning("%s", removed)
        parameters = (root / "params.yaml").read_bytes()
        graph, stale = read_changes(root)
        graph = on_device(graph, read_values(root / "params.yaml"))
        data_before = read_data_summary(Artifacts(root).faces)

        def show_data() -> None:
            data = read_data_summary(Artifacts(root).faces)
            if data is None:
                return
            for sentence in moved_classes(data, data_before):
                logger.warning("%s", sentence)
            table, description = data_table(data, data_before), data_sentence(data, data_before)
            logger.info("%s", description)
            server.show(partial(create_table_artifact, table, key="data", description=description))

        if PREPARE not in stale:
            show_data()
        outcomes = {name: "cached" for name in graph if name not in stale}
        if stale:
            logger.info("%d of %d stages are out of date", len(stale), len(graph))
            found = {name: graph[name] for name in graph if name in stale}
            # As soon as it is known, and not at the end: hours of training may follow, or the run may be killed.
            with _engine(root, found, engine, address, parallel, gpus, logger.warning) as runs:
                outcomes |= _run_stages(found, runs, server, {PREPARE: show_data})
        else:
            logger.info("all %d stages are up to date: nothing to do", len(graph))
        outcomes = {name: outcomes[name] for name in graph}
        failed = [name for name, outcome in outcomes.items() if outcome == "failed"]
        rows = stage_table(outcomes, read_records(root), since=began)
        server.show(partial(create_table_artifact, rows, key="stages"), patient=True)
        if failed:
            why = f"{', '.join(failed)} failed; fix what the log says, and the next run goes on there"
            raise FlowFailedError(why, outcomes)
        check_unchanged(root, parameters, outcomes)
        metrics, synthetic = read_metrics(root), synthetic_arms(root)
        server.show(partial(publish_report, root, metrics, synthetic, pictures=bool(stale)), patient=True)
        worse = compare_with_last(root, metrics, synthetic, keep_worse=on_worse == "report")
        if worse is not None:
            if on_worse == "fail":
                accept = "to accept it, run the flow once with on_worse=report: `s2l flow run --on-worse report`"
                raise FlowFailedError(f"{worse}; {accept}", outcomes)
            logger.warning("%s", worse)
    return outcomes


def check_unchanged(root: Path, parameters: bytes, outcomes: dict[str, Any]) -> None:
    """Refuses a run whose parameters were edited on the way: some of its stages may have read the old ones.

    Args:
        root: The workspace.
        parameters: What params.yaml held before the first stage.
        outcomes: Of the stages.

    Raises:
        FlowFailedError: params.yaml holds something else now.
    """
    if (root / "params.yaml").read_bytes() != parameters:
        why = "params.yaml was changed while the flow ran, so that its stages may be of two runs; run the flow again"
        raise FlowFailedError(why, outcomes)


@contextmanager
def _only_flow(root: Path) -> Iterator[None]:
    """Holds the workspace against a second flow, and says of a run that ended there without a word."""
    with held_workspace(root) as holder:
        report_lost_run(holder, current_run(), get_run_logger().warning)
        write_holder(holder, os.getpid(), current_run())
        yield


@contextmanager
def _server(warn: Callable[[str], Any]) -> Iterator[Server]:
    """The server of this run; where it was lost, a process that a worker waits for does not wait for it for long."""
    server = Server(warn)
    try:
        yield server
    finally:
        if server.lost and is_whole_process():
            end_soon()


@contextmanager
def _engine(
    root: Path,
    stages: dict[str, Stage],
    engine: str,
    address: str | None,
    parallel: int | None,
    gpus: int | None,
    warn: Callable[[str], Any],
) -> Iterator[Engine]:
    """What runs the stages; none of them outlives the block.

    Args:
        root: The workspace.
        stages: Those that run, each after those that it reads from.
        engine: As of the flow.
        address: As of the flow.
        parallel: As of the flow.
        gpus: As of the flow.
        warn: Called with what a user should know.
    """
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(processors()))
    made: Engine
    check_address(engine, address)
    if engine == "dask":
        assert address is not None  # else it was refused
        made = DaskWorkers(root, stages, cores, address=address, warn=warn)
    else:
        made = OneMachine(root, stages, cores, slots=parallel, gpus=gpus)
    try:
        yield made
    finally:
        made.stop()


def _run_stages(
    stages: dict[str, Stage], engine: Engine, server: Server, after: Mapping[str, Callable[[], object]]
) -> dict[str, Literal["ran", "cached", "failed", "not run"]]:
    """Runs stages, each as soon as those that it reads from are done.

    Args:
        stages: In an order in which each comes after those that it reads from.
        engine: Runs them.
        server: Shows how far the run is.
        after: What is called where the stage of that name succeeded.
    """
    ended: queue.SimpleQueue[str] = queue.SimpleQueue()
    outcomes: dict[str, Any] = {}
    running: dict[str, PrefectFuture[Outcome]] = {}
    description = "Stages that are done, in percent"
    progress = server.show(partial(create_progress_artifact, 0.0, key="stages-done", description=description))
    finished: dict[str, PrefectFuture[Outcome]] = {}
    while engine.waiting or running:
        for name, stage in list(engine.waiting.items()):
            if any(outcomes.get(other) in ("failed", "not run") for other in stage.upstream):
                outcomes[name] = "not run"
                del engine.waiting[name]
        for name, run in engine.begin():
            upstream = [finished[other] for other in sorted(stages[name].upstream) if other in finished]
            # Prefect asks the server whether there is a limit on a tag; where that is lost, no task could begin.
            tags = set() if server.lost else {"gpu" if stages[name].gpu else "cpu"}
            # What it reads is done already; named so that Prefect draws the graph.
            call = run_stage.with_options(tags=tags).submit
            future = call(name, run, wait_for=upstream)  # type: ignore[call-overload]
            running[name] = future
            future.add_done_callback(partial(_put, ended, name))
        if not running:
            continue
        name = ended.get()
        future = running.pop(name)
        engine.end(name)
        try:
            result = future.result(raise_on_failure=False)  # an exception where the stage failed
        except ConcurrencySlotAcquisitionError:  # it has not begun, for the server was lost before it was asked
            server.lost = True
            engine.waiting[name] = stages[name]
            continue
        outcomes[name] = "failed" if isinstance(result, BaseException) else result
        finished[name] = future
        if outcomes[name] != "failed" and name in after:
            after[name]()
        if progress is not None:
            done = 100 * len(outcomes) / len(stages)
            server.show(partial(update_progress_artifact, cast(UUID, progress), done))
    engine.finish()
    return outcomes


def _put(ended: queue.SimpleQueue[str], name: str, _future: object) -> None:
    ended.put(name)
