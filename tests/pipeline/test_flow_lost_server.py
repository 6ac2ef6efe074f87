"""What a flow does where its server, or the run before it, is lost; without a server."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from prefect.settings import (
    PREFECT_API_URL,
    PREFECT_CLIENT_MAX_RETRIES,
    PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS,
    temporary_settings,
)

from augment.core.errors import InputError
from pipeline.flow import lost_runs, temporary_server, worker
from pipeline.flow.held_workspace import read_holder, write_holder
from pipeline.flow.lost_runs import report_lost_run
from pipeline.flow.lost_server import Server

NO_PROCESS = 2**22 + 1  # above the largest number that Linux gives


def refuse() -> int:
    raise httpx.ConnectError("Connection refused")


def status(code: int) -> httpx.HTTPStatusError:
    request = httpx.Request("POST", "http://127.0.0.1:1/api")
    return httpx.HTTPStatusError("no", request=request, response=httpx.Response(code))


def test_a_lost_server_stops_nothing_and_is_named_once() -> None:
    warnings: list[str] = []
    server = Server(warnings.append)
    assert server.show(lambda: 3) == 3 and not server.lost
    assert server.show(refuse) is None and server.lost
    assert server.show(refuse, patient=True) is None
    assert len(warnings) == 1 and "Connection refused" in warnings[0]
    assert server.show(lambda: 4) == 4 and not server.lost  # it has come back


def test_stages_do_not_wait_for_a_lost_server() -> None:
    usual = PREFECT_CLIENT_MAX_RETRIES.value()
    assert usual > 0
    server = Server(lambda _: None)
    tries = PREFECT_CLIENT_MAX_RETRIES.value
    assert server.show(tries) == 0
    assert server.show(tries, patient=True) == usual
    server.show(refuse)
    assert server.show(tries, patient=True) == usual  # it may have been restarted since
    server.show(refuse, patient=True)
    assert server.show(tries, patient=True) == 0  # once is enough


def test_what_the_server_refuses_is_an_error_and_its_own_failure_is_not() -> None:
    def fail(code: int) -> None:
        raise status(code)

    server = Server(lambda _: None)
    assert server.show(lambda: fail(503)) is None and server.lost
    with pytest.raises(httpx.HTTPStatusError):
        server.show(lambda: fail(422))


@pytest.mark.parametrize("code", [401, 404, 429])
def test_what_the_server_does_not_take_ends_no_stage(code: int) -> None:
    """The progress was deleted on the page, a token changed, calls are limited: no training is lost for it."""

    def fail() -> None:
        raise status(code)

    warnings: list[str] = []
    server = Server(warnings.append)
    assert server.show(fail) is None and server.show(fail, patient=True) is None and not server.lost
    assert len(warnings) == 1 and str(code) in warnings[0]


def test_the_holder_of_a_workspace_is_read_as_far_as_the_file_tells(tmp_path: Path) -> None:
    file, run = tmp_path / "flow.pid", uuid4()
    assert read_holder(file) == (None, None)
    write_holder(file, 7, run)
    assert read_holder(file) == (7, run)
    write_holder(file, 7, None)
    assert read_holder(file) == (7, None)
    file.write_text("seven", encoding="utf-8")
    assert read_holder(file) == (None, None)


@pytest.mark.parametrize("case", ["own", "alive", "no run", "no file"])
def test_no_server_is_asked_about_a_run_that_is_not_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    asked = []
    monkeypatch.setattr(lost_runs, "get_client", lambda **_: asked.append(1) or refuse())
    file, run = tmp_path / "flow.pid", uuid4()
    if case != "no file":
        write_holder(file, os.getpid() if case == "alive" else NO_PROCESS, None if case == "no run" else run)
    report_lost_run(file, run if case == "own" else uuid4(), asked.append)
    assert asked == []
    # The same call does ask, of another run whose process is gone; and goes on where no server answers.
    write_holder(file, NO_PROCESS, run)
    report_lost_run(file, uuid4(), asked.append)
    assert asked == [1]


@pytest.mark.parametrize(
    ("run", "parent", "asks"), [("1", 7, True), (None, 7, False), ("1", 1, False), ("1", 0, False)]
)
def test_a_run_ends_with_a_worker_and_not_with_a_shell_or_a_container(
    monkeypatch: pytest.MonkeyPatch, run: str | None, parent: int, asks: bool
) -> None:
    asked: list[bool] = []
    monkeypatch.setattr(worker, "end_with_caller", lambda: asked.append(True))
    monkeypatch.setattr(os, "getppid", lambda: parent)
    monkeypatch.delenv("PREFECT__FLOW_RUN_ID", raising=False)
    if run is not None:
        monkeypatch.setenv("PREFECT__FLOW_RUN_ID", run)
    worker.end_with_worker()
    assert asked == [True] * asks


def test_a_flow_that_another_flow_calls_does_not_end_its_process(monkeypatch: pytest.MonkeyPatch) -> None:
    own, other = uuid4(), uuid4()
    monkeypatch.setenv("PREFECT__FLOW_RUN_ID", str(own))
    for current, whole in ((own, True), (other, False), (None, False)):
        monkeypatch.setattr(worker, "current_run", lambda current=current: current)
        assert worker.is_whole_process() is whole


def test_a_run_of_serve_is_a_process_of_multiprocessing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PREFECT__FLOW_RUN_ID", raising=False)
    monkeypatch.setattr(worker, "current_run", uuid4)
    assert not worker.is_whole_process()
    monkeypatch.setattr(multiprocessing, "parent_process", lambda: object())
    assert worker.is_whole_process()
    monkeypatch.setattr(worker, "_is_called_by_a_flow", lambda: True)
    assert not worker.is_whole_process()


def test_a_temporary_server_that_does_not_start_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(temporary_server, "_PATIENCE", 1)
    said = "Timed out while attempting to connect to ephemeral Prefect API server."
    with (
        temporary_settings({PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS: 1, PREFECT_API_URL: None}),
        pytest.raises(InputError, match=r"did not start within 1 s .try again when the machine is less busy"),
        temporary_server.patient_with_temporary_server(),
    ):
        raise RuntimeError(said)
    with pytest.raises(RuntimeError, match="other"), temporary_server.patient_with_temporary_server():
        raise RuntimeError("other")


def test_patience_is_prefects_own_setting_while_it_lasts() -> None:
    setting = PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS
    with temporary_settings({setting: 500}), temporary_server.patient_with_temporary_server():
        assert setting.value() == 500
    with temporary_settings({setting: 20}):
        with temporary_server.patient_with_temporary_server():
            assert setting.value() == 180
        assert setting.value() == 20
