"""One stage in a clone of the project, ordered by a flow elsewhere: what a Dask worker runs.

The worker is started in its clone (`dask worker` there). What the stage reads comes from the DVC remote that the clones
share, and what it writes goes there; the flow gets the stage's entry of dvc.lock, its times, and nothing else.
"""

from __future__ import annotations

import os
import platform
import re
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from augment.core.errors import InputError, Problem
from augment.core.files import atomic_write_text
from pipeline.core.stage_records import record_file, stage_name
from pipeline.core.workspace import Artifacts
from pipeline.flow.children import Children, Outcome, StageFailedError, is_transient, remove_broken_list
from pipeline.flow.graph import check_workspace
from pipeline.flow.held_workspace import held_workspace, holder_file, write_holder
from pipeline.flow.records import read_records, this_machine
from pipeline.flow.work import stage_and_name
from reports.code_version import describe_code

LOCK = "dvc.lock"
PARAMETERS = "params.yaml"
_CODE = ("augment/", "classifiers/", "reports/", "pipeline/", "dvc.yaml", "uv.lock")
_EVERY = 1.0  # seconds between two looks at whether the order still stands


@dataclass(frozen=True)
class Order:
    """What a flow wants of a worker.

    Attributes:
        stage: As DVC names it: `train@warp`.
        upstream: The stages whose outputs it reads.
        commit: Of the flow's code; the clone must have the same.
        parameters: The text of params.yaml.
        lock: The text of dvc.lock, which knows the outputs of the stages before.
        key: Of the task in Dask; where it is given up there, the stage is ended. Also the topic of the messages that
            hold what the stage prints.
        kind: Of machine that alone may run it, as `kind_of_machine` says it; empty: any.
        holder: What the flow noted in its own workspace when it took it (`pipeline.flow.held_workspace`).
    """

    stage: str
    upstream: tuple[str, ...]
    commit: str
    parameters: str
    lock: str
    key: str
    kind: str = ""
    holder: str = ""


@dataclass(frozen=True)
class Answer:
    """What became of an order; an exception would not say of which clone.

    Attributes:
        place: The machine and the clone.
        outcome: None where the stage failed.
        error: Why it failed.
        transient: Whether another try may succeed.
        entry: The stage's entry of dvc.lock.
        record: A line of the flow's records; None where nothing was computed.
        files: Texts of the stage's times below artifacts/timings, by path in the workspace.
    """

    place: str
    outcome: Outcome | None = None
    error: str = ""
    transient: bool = False
    entry: dict[str, Any] = field(default_factory=dict)
    record: str | None = None
    files: dict[str, str] = field(default_factory=dict)


def run_order(order: Order) -> Answer:
    """Runs a stage in the clone in which this Dask worker was started."""
    from distributed import get_worker

    worker, root = get_worker(), Path.cwd()
    place = _place(root)

    def log(line: str) -> None:
        worker.log_event(order.key, line)

    def stands() -> bool:
        # A worker that was told to end, or whose scheduler is gone, would wait until its last stage is done.
        task = worker.state.tasks.get(order.key)
        return worker.status.name in ("running", "paused") and task is not None and task.state != "cancelled"

    try:
        return run_in_clone(root, order, place=place, log=log, stands=stands)
    except StageFailedError as error:
        return Answer(place, error=str(error), transient=error.transient or not stands())
    except InputError as error:
        return Answer(place, error=str(error))
    except Exception as error:  # such as a full disk: as it is, Dask would not say of which clone
        return Answer(place, error=f"{type(error).__name__}: {error}", transient=is_transient([str(error)]))


def run_in_clone(
    root: Path, order: Order, *, place: str, log: Callable[[str], object], stands: Callable[[], bool]
) -> Answer:
    """Fetches what a stage reads, runs it, and sends what it wrote to the DVC remote.

    Args:
        root: The clone.
        order: What to run.
        place: As of `Answer`.
        log: Called with each line that is printed.
        stands: Whether the order still stands; asked every second, and where not, the stage is ended.

    Raises:
        InputError: The clone is none, has other code, is the flow's own, in use, or on another kind of machine.
        StageFailedError: The stage or DVC failed, or the order was given up.
    """
    # Asked again: this worker may have joined after the flow had asked all of them.
    compare_code(root, place, order.commit)
    refuse_own(root, place, order.holder)
    if order.kind and kind_of_machine() != order.kind:
        why = f"is of another kind ({kind_of_machine()}) than the workers that the flow began with ({order.kind})"
        fix = f"precision in {PARAMETERS} is auto, and arms must be trained alike: end this worker, or set float32"
        raise InputError(Problem(place, why, fix))
    with held_workspace(root, place) as holder:
        write_holder(holder, os.getpid(), None)
        remove_broken_list(root)
        atomic_write_text(root / PARAMETERS, order.parameters)
        atomic_write_text(root / LOCK, order.lock)
        children = Children(root)
        ended = threading.Event()
        watcher = threading.Thread(target=_watch, args=(ended, stands, children), daemon=True)
        watcher.start()
        try:
            return _run(root, order, place, children, log)
        finally:
            ended.set()
            children.stop()


def _run(root: Path, order: Order, place: str, children: Children, log: Callable[[str], object]) -> Answer:
    stage = order.stage
    log(f"{stage} runs in {place}")
    if order.upstream:
        exchange(children, stage, "pull", *order.upstream, log=log)
    cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    # --pull: where another clone has run it with the same inputs, its results are taken.
    outcome = children.run(stage, cores=cores, log=log, arguments=["--pull"])
    exchange(children, stage, "push", stage, log=log)
    records = read_records(root) if outcome == "ran" else []
    record = records[-1].model_dump_json() if records and records[-1].stage == stage else None
    return Answer(
        place, outcome=outcome, entry=lock_entry(root, stage), record=record, files=_times(root, stage, outcome)
    )


def _place(root: Path) -> str:
    return f"{platform.node()}:{root}"


def _watch(ended: threading.Event, stands: Callable[[], bool], children: Children) -> None:
    while not ended.wait(_EVERY):
        if not stands():
            children.stop()
            return


def exchange(children: Children, stage: str, direction: str, *names: str, log: Callable[[str], object]) -> None:
    """Fetches outputs of stages from the DVC remote, or sends them there; earlier runs' entries go along.

    Args:
        children: Of the workspace.
        stage: For which it is done.
        direction: `pull` or `push`.
        names: Of the stages.
        log: Called with each line that is printed.

    Raises:
        StageFailedError: The remote did not do it. Another try may succeed, for networks fail at times, but not where
            the remote is full.
    """
    words = ["--force"] if direction == "pull" else []  # files of another run may lie there
    lines: list[str] = []

    def keep(line: str) -> None:
        lines.append(line)
        log(line)

    try:
        children.dvc(stage, direction, "--run-cache", *words, *names, log=keep)
    except StageFailedError as error:
        why = why_not_exchanged(lines) or str(error)
        again = not (children.stopped or "no space left" in why.lower())
        raise StageFailedError(f"dvc {direction} {' '.join(names)}: {why}", transient=again) from error


def why_not_exchanged(lines: Sequence[str]) -> str:
    """One line in place of DVC's, which are one for each file: its last, and the system's reason.

    Args:
        lines: What `dvc push` or `dvc pull` printed.
    """
    # A name and password in an address stay out of logs, should DVC print one.
    hidden = (re.sub(r"//[^/@\s]+@", "//", line) for line in lines if line.startswith("ERROR:"))
    errors = [line.removeprefix("ERROR:").strip() for line in hidden]
    if not errors:
        return ""
    found = (re.search(r"\[Errno -?\d+\] ([^:\]]+)", line) for line in errors)
    reason = next((system.group(1).strip() for system in found if system), "")
    return errors[-1] if not reason or reason in errors[-1] else f"{errors[-1]}: {reason}"


def check_clone(commit: str, holder: str = "") -> tuple[Problem | None, str]:
    """What is wrong with the clone in which this Dask worker was started (None: nothing), and the kind of its machine.

    Args:
        commit: Of the flow's code.
        holder: As of `Order`.
    """
    root = Path.cwd()
    try:
        compare_code(root, _place(root), commit)
        refuse_own(root, _place(root), holder)
    except InputError as error:
        return error.problems[0], kind_of_machine()
    return None, kind_of_machine()


def kind_of_machine() -> str:
    """The kind of this machine: what `precision: auto` may depend on."""
    return re.sub(r", \d+ cores", "", this_machine())


def refuse_own(root: Path, place: str, holder: str) -> None:
    """Refuses the flow's own workspace as the clone of a worker: the flow holds it, so every stage there would fail.

    Args:
        root: The clone.
        place: As messages name it.
        holder: As of `Order`.

    Raises:
        InputError: It is the flow's.
    """
    # Not by its path, which may be the same on two machines.
    file = holder_file(root)
    if holder and file.is_file() and file.read_text(encoding="utf-8") == holder:
        fix = "start `dask worker` in another clone"
        raise InputError(Problem(place, "is the flow's own clone, in which no worker can run a stage", fix))


def compare_code(root: Path, place: str, commit: str) -> None:
    """Refuses a clone that has other code than the flow.

    Args:
        root: The clone.
        place: As messages name it.
        commit: Of the flow's code.

    Raises:
        InputError: It is no clone, has another commit, or changed code.
    """
    check_workspace(root, place, "start `dask worker` in the folder of a clone")
    found = code_of(root, place)
    if found != commit:
        fix = f"there: `git fetch && git checkout {commit[:12]} && uv sync --locked`, then start the worker anew"
        raise InputError(Problem(place, f"has commit {found[:12]}, and the flow has {commit[:12]}", fix))


def code_of(root: Path, place: str) -> str:
    """The commit of a clone's code.

    Args:
        root: The clone.
        place: As messages name it.

    Raises:
        InputError: It is not known, or code was changed since.
    """
    code = describe_code(root)
    if not code.known:
        raise InputError(Problem(place, "is no git repository, so its code can't be compared", "clone the project"))
    changed = [name for name in code.changed or () if name.startswith(_CODE)]
    if changed:
        why = f"code was changed since commit {code.commit[:12]}: {', '.join(changed[:5])}"
        raise InputError(Problem(place, why, "commit it, and bring every clone to that commit"))
    return code.commit


def lock_entry(root: Path, stage: str) -> dict[str, Any]:
    """A stage's entry of dvc.lock."""
    with (root / LOCK).open(encoding="utf-8") as opened:
        return dict(yaml.load(opened, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))["stages"][stage])


def _times(root: Path, stage: str, outcome: Outcome) -> dict[str, str]:
    """What `pipeline.core.stage_records` and `pipeline.measured_fields` left of a stage that was computed just now."""
    if outcome != "ran":
        return {}
    artifacts, (base, name) = Artifacts(root), stage_and_name(stage)
    files = (
        record_file(artifacts, stage_name(base, name)),
        artifacts.measurements(base if name is None else f"{base}-{name}"),
    )
    return {file.relative_to(root).as_posix(): file.read_text(encoding="utf-8") for file in files if file.is_file()}
