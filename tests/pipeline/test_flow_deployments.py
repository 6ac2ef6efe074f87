"""The deployments of prefect.yaml on a real Prefect server, with a real worker, real DVC and a stand-in for `s2l`."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import dvc_workspaces
import httpx
import numpy as np
import psutil
import pytest
import yaml
from flow_workspaces import make_workspace
from PIL import Image
from waiting import lives, wait_for

from pipeline.flow.graph import read_changes, read_graph

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
PREFECT = [sys.executable, "-m", "prefect"]


@dataclass
class Site:
    """A Prefect server, a workspace whose prefect.yaml is deployed there, and what was started around them."""

    folder: Path
    place: Path
    environment: dict[str, str]
    port: int
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def address(self) -> str:
        return self.environment["PREFECT_API_URL"]

    def start(self, *command: str) -> subprocess.Popen[bytes]:
        log = (self.folder / f"log-{len(self.started)}").open("wb")
        child = subprocess.Popen(
            command,
            cwd=self.place,
            env=self.environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            # A worker hands SIGTERM to itself as SIGINT, which background jobs of a shell, and their children, ignore.
            preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
        )
        log.close()
        self.started.append(child)
        return child

    def start_server(self) -> subprocess.Popen[bytes]:
        # --no-services would also stop the scheduler.
        server = self.start(*PREFECT, "server", "start", "--port", str(self.port))
        wait_for(self._answers)
        return server

    def start_worker(self) -> subprocess.Popen[bytes]:
        return self.start(*PREFECT, "worker", "start", "--pool", "stages", "--limit", "1")

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.address}/health").status_code == 200
        except httpx.TransportError:
            return False

    def query(self, what: str, **body: Any) -> list[dict[str, Any]]:
        answer = httpx.post(f"{self.address}/{what}/filter", json=body)
        answer.raise_for_status()
        return list(answer.json())

    def runs(self) -> list[dict[str, Any]]:
        """Those that have begun, in their order."""
        runs = [run for run in self.query("flow_runs", sort="EXPECTED_START_TIME_DESC") if run["start_time"]]
        return sorted(runs, key=lambda run: str(run["start_time"]))

    def states(self) -> list[str]:
        return [run["state_type"] for run in self.runs()]

    def calls(self) -> list[str]:
        file = Path(self.environment["S2L_CALLS"])
        lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
        return [line.split(":")[0] for line in lines]

    def sleep_at(self, stage: str) -> Path:
        """Makes a stage wait, before it does anything, until a file is there; returns the file with its process."""
        process = self.folder / f"process-{stage}"
        # As a stage does, it asks to end with its parent; `exec` again when it has waited, as one process to the end.
        waits = f"""#!{sys.executable}
import os, pathlib, sys, time
from pipeline.core.parent_process import end_with_caller
if os.environ["DVC_STAGE"] == "{stage}":
    end_with_caller()
    pathlib.Path("{process}.new").write_text(str(os.getpid()))
    os.rename("{process}.new", "{process}")
    while not os.path.exists("{process}-go"):
        time.sleep(0.1)
os.execv("/bin/sh", ["sh", "{self.folder}/stand-in", *sys.argv[1:]])
"""
        (self.folder / "stand-in").write_text(dvc_workspaces.STAND_IN, encoding="utf-8")
        command = self.folder / "commands" / "s2l"
        command.with_suffix(".new").write_text(waits, encoding="utf-8")
        command.with_suffix(".new").chmod(0o755)
        command.with_suffix(".new").rename(command)
        return process

    def stop(self) -> None:
        for child in reversed(self.started):
            for process in [*psutil_children(child.pid), child]:
                process.kill()
            child.wait(60)


def psutil_children(process: int) -> list[psutil.Process]:
    try:
        return psutil.Process(process).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("deployments")
    place, environment = make_workspace(folder, "")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment |= {"PREFECT_API_URL": f"http://127.0.0.1:{port}/api", "PREFECT_WORKER_QUERY_SECONDS": "1"}
    site = Site(folder, place, environment, port)
    try:
        site.start_server()
        yield site
    finally:
        site.stop()


def test_a_schedule_of_serve_fires_by_itself(site: Site) -> None:
    dvc_workspaces.keep_stages(site.place, "prepare", "report")
    serve = site.start(sys.executable, "-m", "pipeline.cli", "flow", "serve", "--cron", "* * * * *")
    # The server, which has to answer, is asked seldom: the minute may be long.
    wait_for(lambda: "COMPLETED" in site.states(), 240, pause=1.0)
    others = psutil_children(serve.pid)
    serve.terminate()
    serve.wait(60)
    wait_for(lambda: not any(lives(other.pid) for other in others), 60)
    keys = {artifact["key"] for artifact in site.query("artifacts", sort="CREATED_DESC")}
    assert {"headline", "arms", "stages", "stages-done", "confusion-real"} <= keys
    assert sorted(site.calls()) == sorted(read_graph(site.place))


@pytest.mark.nightly
def test_new_faces_are_noticed_and_no_news_is_said(site: Site, tmp_path: Path) -> None:
    """With the real `prepare`, on a folder and on a CSV."""
    real = shutil.which("s2l", path=dvc_workspaces.environment()["PATH"])
    place, environment = make_workspace(tmp_path, f'echo prepare >> "$S2L_CALLS"; exec {real} "$@"')
    environment |= {"PREFECT_API_URL": site.address}
    dvc_workspaces.keep_stages(place, "prepare")
    faces = np.random.default_rng(0)

    def add(name: str, numbers: range) -> None:
        for number in numbers:
            target = place / "data" / "faces" / name / f"{number}.png"
            target.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(faces.integers(0, 256, (32, 32), dtype=np.uint8)).save(target)

    def run() -> str:
        done = dvc_workspaces.run(place, sys.executable, "-m", "pipeline.cli", "flow", "run", env=environment)
        return done.stdout + done.stderr

    add("happy", range(30))
    add("sad", range(30))
    profile = ("dataset=folder", "scale=smoke", "dataset.licence=made-up")
    dvc_workspaces.run(place, "s2l", "profile", *profile)
    dvc_workspaces.run(place, "dvc", "repro", env=environment)
    text = run()
    assert "all 1 stages are up to date: nothing to do" in text and "class sad" not in text
    assert "60 faces" in text and "the same as in the last run" in text
    calls = Path(environment["S2L_CALLS"])
    assert calls.read_text(encoding="utf-8").split() == ["prepare"]

    add("sad", range(30, 60))
    text = run()
    assert "90 faces" in text and "other faces than in the last run (+30)" in text
    assert "class sad is 66.7 % of the faces, and was 50.0 % in the last run (+16.7 points)" in text
    assert calls.read_text(encoding="utf-8").split() == ["prepare", "prepare"]
    tables = [artifact for artifact in site.query("artifacts", sort="CREATED_DESC") if artifact["key"] == "data"]
    assert len(tables) == 2
    rows = {(row["class"], row["split"]): row for row in json.loads(tables[0]["data"])}
    assert [rows[name, "all"]["difference"] for name in ("happy", "sad")] == ["+0", "+30"]

    source = place / "data" / "fer2013.csv"
    pixels = " ".join(["9"] * 48 * 48)
    source.write_text(f"emotion,pixels,Usage\n3,{pixels},Training\n", encoding="utf-8")
    dvc_workspaces.run(place, "s2l", "profile", "dataset=fer2013", "scale=smoke", f"dataset.root={source}")
    dvc_workspaces.run(place, "dvc", "commit", "--force", env=environment)
    assert read_changes(place)[1] == set()
    with source.open("a", encoding="utf-8") as file:
        file.write(f"4,{pixels},Training\n")
    assert read_changes(place)[1] == {"prepare"}


@pytest.mark.nightly
def test_a_schedule_survives_lost_workers_and_a_lost_server(site: Site) -> None:
    """One workspace through three accidents: each run begins where the one before was when it was lost."""
    deployments = (ROOT / "prefect.yaml").read_text(encoding="utf-8")
    assert '"0 3 * * *"' in deployments
    minutely = deployments.replace('"0 3 * * *"', '"* * * * *"').replace("scale=cpu", "scale=smoke")
    (site.place / "prefect.yaml").write_text(minutely, encoding="utf-8")
    for name in ("artifacts", "plots", ".dvc/cache"):
        shutil.rmtree(site.place / name, ignore_errors=True)
    for file in (site.place / "dvc.lock", Path(site.environment["S2L_CALLS"])):
        file.unlink(missing_ok=True)
    dvc_workspaces.keep_stages(site.place, "prepare", "parsing", "judge", "train", "synthesize")
    sleeper = site.sleep_at("prepare")
    dvc_workspaces.run(site.place, *PREFECT, "work-pool", "create", "stages", "--type", "process", env=site.environment)
    dvc_workspaces.run(site.place, *PREFECT, "--no-prompt", "deploy", "--all", env=site.environment)
    assert {found["name"] for found in site.query("deployments") if found["work_pool_name"] == "stages"} == {
        found["name"] for found in yaml.safe_load(deployments)["deployments"]
    }
    before = len(site.states())
    worker = site.start_worker()

    # Killed: its run ends too, and says so.
    lose(site, worker, sleeper, signal.SIGKILL)
    wait_for(lambda: site.states()[before:] == ["CRASHED"])
    assert site.calls() == []

    # Stopped: it kills its run, which can then say nothing; the next run says it.
    sleeper = site.sleep_at("judge")
    worker = site.start_worker()
    lose(site, worker, sleeper, signal.SIGTERM)
    called = site.calls()
    assert "prepare" in called and "judge" not in called

    sleeper = site.sleep_at("train@warp")
    site.start_worker()
    wait_for(sleeper.exists)
    assert site.states()[before:] == ["CRASHED", "CRASHED", "RUNNING"]

    # A lost server: stages go on without it.
    server = site.started[0]
    children = psutil_children(server.pid)
    server.kill()
    for child in children:
        child.kill()
    server.wait(60)
    Path(f"{sleeper}-go").touch()
    wait_for(lambda: "synthesize@warp" in site.calls())
    site.start_server()
    wait_for(lambda: site.states()[before + 2] == "COMPLETED")
    called = site.calls()  # `parsing` may have run beside `judge` when the worker was stopped, and then runs again
    assert set(called) == set(read_graph(site.place))
    assert all(called.count(name) == 1 for name in ("prepare", "judge", "train@warp", "synthesize@warp"))
    (run,) = (found["id"] for found in site.runs()[before:] if found["state_type"] == "COMPLETED")
    shown = {found["key"] for found in site.query("artifacts", sort="CREATED_DESC") if found["flow_run_id"] == run}
    assert {"headline", "arms", "stages", "stages-done"} <= shown


@pytest.mark.nightly
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_serve_that_ends_takes_its_run_with_it(site: Site, number: signal.Signals) -> None:
    for name in ("artifacts", "plots", ".dvc/cache"):
        shutil.rmtree(site.place / name, ignore_errors=True)
    for file in (site.place / "dvc.lock", Path(site.environment["S2L_CALLS"])):
        file.unlink(missing_ok=True)
    sleeper = site.sleep_at("prepare")
    sleeper.unlink(missing_ok=True)
    serve = site.start(sys.executable, "-m", "pipeline.cli", "flow", "serve", "--cron", "* * * * *")
    lose(site, serve, sleeper, number)
    assert site.calls() == []


def lose(site: Site, worker: subprocess.Popen[bytes], sleeper: Path, number: signal.Signals) -> None:
    """Ends the worker while a stage waits; its run's processes must be gone, and no lock be left."""
    wait_for(sleeper.exists)
    others = psutil_children(worker.pid)
    assert int(sleeper.read_text(encoding="utf-8")) in {other.pid for other in others}
    worker.send_signal(number)
    worker.wait(60)
    wait_for(lambda: not any(lives(other.pid) for other in others), 60)
    assert json.loads((site.place / ".dvc" / "tmp" / "rwlock").read_text(encoding="utf-8")) == {}
