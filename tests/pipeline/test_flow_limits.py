"""What ends a stage, a schedule or a run of the flow early, and what must not: without a Prefect server."""

from __future__ import annotations

import os
import re
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn
from uuid import uuid4

import httpx
import pytest
from click.testing import CliRunner
from prefect.exceptions import ObjectNotFound

from augment.core.errors import InputError, Problem
from pipeline.commands import flow as commands
from pipeline.flow import children, lost_runs, remote_stage, schedule, serving
from pipeline.flow.children import Children, StageFailedError
from pipeline.flow.dask_engine import DaskWorkers
from pipeline.flow.graph import Stage, on_device
from pipeline.flow.held_workspace import held_workspace, write_holder
from pipeline.flow.last_result import compare_with_last
from pipeline.flow.remote_stage import Order, check_clone, run_in_clone
from pipeline.flow.schedule import Slots
from pipeline.flow.usage import Usage

ROOT = Path(__file__).parents[2]
FULL = "ERROR: failed to transfer 'f797' - [Errno 28] No space left on device: '/w/out/big' -> '/cache/.tSx.tmp'"


@pytest.mark.parametrize(
    ("printed", "outcome"),
    [
        (["Running stage 'judge':", FULL, "Updating lock file 'dvc.lock'"], None),
        (["Stage 'judge' didn't change, skipping"], "cached"),
        # `--pull`: what the remote lacked was computed after all.
        (["Pulling data for judge", FULL, "Running stage 'judge':", "Updating lock file 'dvc.lock'"], "ran"),
    ],
)
def test_a_stage_whose_result_is_not_in_the_cache_has_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, printed: list[str], outcome: str | None
) -> None:
    """DVC ends with status 0 where its cache is full."""
    usage = Usage(seconds=1.0, processor_seconds=1.0, peak_memory=None)
    monkeypatch.setattr(Children, "dvc", lambda *_, **__: (printed, usage))
    if outcome is not None:
        assert Children(tmp_path).run("judge", cores=[0], log=lambda _: None) == outcome
        return
    said = r"No space left on device.*free space, then `dvc commit --force judge`"
    with pytest.raises(StageFailedError, match=said) as failed:
        Children(tmp_path).run("judge", cores=[0], log=lambda _: None)
    assert not failed.value.transient and len(str(failed.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("problems", "heading", "said"),
    [
        (1, "", "Error: key 0: is wrong"),
        (1, "params.yaml can't be run:", "Error: params.yaml can't be run: key 0: is wrong"),
        (2, "", "Error: 2 problems: key 0: is wrong; key 1: is wrong"),
        (3, "x can't be run:", "Error: x can't be run: key 0: is wrong; key 1: is wrong; and more, in the log"),
    ],
)
def test_the_reason_of_a_failed_stage_names_what_is_wrong(problems: int, heading: str, said: str) -> None:
    error = InputError([Problem(f"key {number}", "is wrong") for number in range(problems)], heading)
    last = "ERROR: failed to reproduce 'judge': failed to run: s2l judge, exited with 1"
    assert children._reason("judge", 1, ["Running stage 'judge':", *f"Error: {error}".splitlines(), last]) == said


def test_a_lost_run_is_reported_though_its_process_number_is_in_use_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a container numbers begin anew: the next run may have that of the one that was killed."""
    asked: list[bool] = []

    def ask(**_: object) -> NoReturn:
        asked.append(True)
        raise httpx.ConnectError("no server")

    monkeypatch.setattr(lost_runs, "get_client", ask)
    file = tmp_path / "flow.pid"
    write_holder(file, os.getpid(), uuid4())
    lost_runs.report_lost_run(file, uuid4(), print)
    assert not asked  # it is this process
    os.utime(file, (10**9, 10**9))
    lost_runs.report_lost_run(file, uuid4(), print)
    assert asked == [True]


def test_a_worse_result_fails_every_night_until_it_is_accepted(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("dataset: {root: a}\nfolds: {kind: auto}\n")

    def compare(difference: float, *, accept: bool) -> bool:
        arm = {"difference": difference, "low": difference - 0.01, "high": difference + 0.01}
        metrics = {"metric": "accuracy", "arms": {"warp": arm}}
        return compare_with_last(tmp_path, metrics, ["warp"], keep_worse=accept) is not None

    assert not compare(0.05, accept=False)
    assert compare(0.01, accept=False)
    assert compare(0.01, accept=False)  # no worse than itself, and still not accepted
    assert compare(0.01, accept=True)
    assert not compare(0.01, accept=False)


THREE = {name: Stage(name, frozenset(), gpu=True) for name in "abc"}


def test_a_stage_beside_which_the_only_gpu_lets_no_other_begin_has_all_cores() -> None:
    slots = Slots(THREE, range(16), slots=2, gpus=1)
    assert list(slots.begin()) == [("a", tuple(range(16)))]
    slots.end("a")
    assert list(slots.begin()) == [("b", tuple(range(16)))]
    beside = Slots(THREE | {"d": Stage("d", frozenset(), gpu=False)}, range(4), slots=2, gpus=1)
    assert list(beside.begin()) == [("a", (0, 2)), ("d", (1, 3))]
    assert [len(cores) for _, cores in Slots(THREE, range(16), slots=2, gpus=2).begin()] == [8, 8]


def test_on_the_cpu_no_stage_waits_for_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedule, "has_gpu", lambda: True)
    for device, at_once in (("auto", 1), ("cuda:0", 1), ("cpu", 2)):
        stages = on_device(THREE, {"runtime": {"device": device}})
        assert len(list(Slots(stages, range(4), slots=2).begin())) == at_once
    assert on_device(THREE, {}) == THREE


def deployment(root: str, *, paused: bool = False, deployed: bool = False) -> SimpleNamespace:
    """A deployment as the server describes it: of `s2l flow serve`, or of `prefect deploy`."""
    step = {"prefect.deployments.steps.set_working_directory": {"directory": root}}
    parameters = {} if deployed else {"workspace": root}
    return SimpleNamespace(paused=paused, parameters=parameters, pull_steps=[step] if deployed else None)


@pytest.mark.parametrize(
    ("found", "refused"),
    [
        (deployment("/srv/first"), True),
        (deployment("/srv/first", deployed=True), True),
        (deployment("/srv/first", paused=True), False),  # it was ended
        (deployment("/srv/second"), False),  # it was killed, and begins anew
        (deployment("/srv/second", deployed=True), False),
        (None, False),
    ],
)
def test_a_schedule_does_not_take_over_that_of_another_clone(
    monkeypatch: pytest.MonkeyPatch, found: SimpleNamespace | None, refused: bool
) -> None:
    def read(name: str) -> SimpleNamespace:
        assert name == "synthesize-to-learn/nightly"
        if found is None:
            raise ObjectNotFound(RuntimeError(name))
        return found

    monkeypatch.setattr(serving, "get_client", lambda **_: nullcontext(SimpleNamespace(read_deployment_by_name=read)))
    said = r"--name nightly: .* runs /srv/first, .*give another --name; .*deployment delete"
    with pytest.raises(InputError, match=said) if refused else nullcontext():
        serving.check_name("nightly", Path("/srv/second"))


def test_a_schedule_notes_the_whole_path_of_its_clone(monkeypatch: pytest.MonkeyPatch) -> None:
    """`.` would be the same for every clone, and tell the server's page nothing."""
    started: dict[str, Any] = {}
    monkeypatch.setattr("pipeline.flow.server.check_server", lambda **_: None)
    monkeypatch.setattr(serving, "check_name", lambda name, root: started.update(name=name, root=root))
    monkeypatch.setattr(serving, "serve", lambda **options: started.update(options))
    monkeypatch.chdir(ROOT)
    shown = CliRunner().invoke(commands.flow, ["serve", "--cron", "0 3 * * *"], catch_exceptions=False)
    assert shown.exit_code == 0 and (started["name"], started["root"]) == ("nightly", ROOT)
    assert started["parameters"] == {"overrides": [], "workspace": str(ROOT), "on_worse": "report"}


def order(**values: str) -> Order:
    return Order(stage="judge", upstream=(), commit="c", parameters="", lock="", key="", **values)


def take(root: Path, wanted: Order) -> None:
    run_in_clone(root, wanted, place="away:/clone", log=print, stands=lambda: True)


@pytest.fixture
def same_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_stage, "compare_code", lambda *_: None)


def test_a_worker_in_the_flows_own_clone_is_refused_before_and_when_it_joins_later(
    same_code: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with held_workspace(tmp_path) as file:
        write_holder(file, os.getpid(), uuid4())
        holder = file.read_text()
        problem, _ = check_clone("c", holder)
        assert problem is not None and "is the flow's own clone" in str(problem)
        with pytest.raises(InputError, match="away:/clone: is the flow's own clone"):
            take(tmp_path, order(holder=holder))
    write_holder(file, os.getpid(), uuid4())  # another flow's, or a copy of the folder
    assert check_clone("c", holder)[0] is None


def test_a_worker_of_another_kind_that_joins_later_trains_no_arm(
    same_code: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "params.yaml").write_text("judge: {classifier: {precision: auto}}\n")
    workers = object.__new__(DaskWorkers)
    workers._root, workers._commit, workers._holder = tmp_path, "c", ""
    answers = {"tcp://1": (None, "Xeon"), "tcp://2": (None, "Xeon")}
    workers._client = SimpleNamespace(run=lambda *_, **__: answers)
    workers._check_clones()
    assert workers._kind == "Xeon"
    monkeypatch.setattr(remote_stage, "kind_of_machine", lambda: "EPYC")
    with pytest.raises(InputError, match=r"away:/clone: is of another kind \(EPYC\) than .* \(Xeon\)"):
        take(tmp_path, order(kind=workers._kind))
    (tmp_path / "params.yaml").write_text("judge: {classifier: {precision: float32}}\n")
    answers["tcp://2"] = (None, "EPYC")
    workers._check_clones()
    assert workers._kind == ""


@pytest.mark.parametrize("folder", ["commands", "flow", "publishing"])
def test_what_a_user_is_told_to_do_is_to_fix(folder: str) -> None:
    """HOUSE.md: a reader of the field must not stop at a word."""
    texts = {file.name: file.read_text(encoding="utf-8") for file in (ROOT / "pipeline" / folder).glob("*.py")}
    assert texts and [name for name, text in texts.items() if re.search(r"\bmend", text)] == []
