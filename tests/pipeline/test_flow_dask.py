"""The flow on Dask workers in clones of their own: a real scheduler, real workers, real DVC, a stand-in for `s2l`."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import dvc_workspaces
import psutil
import pytest
import yaml
from flow_workspaces import break_stand_in, flow_command, flow_in_process, prefect_environment
from waiting import lives, wait_for

from augment.core.errors import InputError
from pipeline.flow.children import Children, StageFailedError
from pipeline.flow.dask_engine import check_remote, connect, keys_of, write_lock_entry
from pipeline.flow.graph import read_graph
from pipeline.flow.records import read_records
from pipeline.flow.remote_stage import Order, check_clone, code_of, exchange, run_in_clone, why_not_exchanged

pytest.importorskip("distributed", reason="needs the extra `dask`")
pytestmark = pytest.mark.slow
HERE = {"prepare", "report"}  # what the flow does not give away


@dataclass
class Site:
    """A scheduler, two clones with a worker each, and the clone of the flow."""

    folder: Path
    workspace: Path
    environment: dict[str, str]
    address: str = ""
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, name: str, *command: str, place: Path, environment: Mapping[str, str]) -> None:
        log = (self.folder / f"{name}.log").open("wb")
        self.processes[name] = subprocess.Popen(
            [sys.executable, "-m", "dask", *command], cwd=place, env=dict(environment), stdout=log, stderr=log
        )

    def add_worker(self, name: str, place: Path | None = None) -> None:
        place = place or dvc_workspaces.clone(self.workspace, self.folder / name)
        command = ["worker", self.address, "--nthreads", "1", "--resources", "CPU=1", "--no-dashboard"]
        calls = {"S2L_CALLS": str(self.folder / f"{name}.calls"), "DASK_LOGGING__DISTRIBUTED": "warning"}
        self.start(name, *command, place=place, environment=self.environment | calls)

    def flow(self, *arguments: str) -> list[str]:
        return flow_command("--engine", "dask", "--address", self.address, *arguments)

    def calls(self, name: str) -> list[str]:
        file = self.folder / f"{name}.calls"
        return [line.split(":")[0] for line in file.read_text().splitlines()] if file.exists() else []

    def worker_of(self, process: int) -> str:
        """The name of the worker in whose processes another runs."""
        parents = {parent.pid for parent in psutil.Process(process).parents()}
        return next(name for name, started in self.processes.items() if started.pid in parents)

    def kill(self, name: str) -> None:
        """As when the machine goes: every process of the worker at once, and none can say goodbye."""
        started = psutil.Process(self.processes[name].pid)
        for process in [started, *(child for child in started.children() if "dvc" not in " ".join(child.cmdline()))]:
            process.kill()


def make_site(folder: Path, fault: str) -> Iterator[Site]:
    environment = prefect_environment(folder, dvc_workspaces.write_stand_in(folder))
    environment["S2L_CALLS"] = str(folder / "flow.calls")
    workspace = dvc_workspaces.make_workspace(folder / "workspace", "scale=smoke")
    # What the flow runs itself at both ends; two stages side by side; and one that reads what another worker may leave.
    dvc_workspaces.keep_stages(workspace, "prepare", "judge", "train", "classify_real", "report")
    dvc_workspaces.run(workspace, "dvc", "remote", "add", "--default", "storage", str(folder / "storage"))
    dvc_workspaces.commit(workspace)
    break_stand_in(folder, fault)
    site = Site(folder, workspace, environment)
    where = folder / "scheduler.json"
    command = ["--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(where)]
    site.start("scheduler", "scheduler", *command, place=folder, environment=environment)
    try:
        wait_for(lambda: where.exists() and where.read_text().strip().endswith("}"))
        site.address = json.loads(where.read_text())["address"]
        site.add_worker("first")
        site.add_worker("second")
        yield site
    finally:
        for process in site.processes.values():
            if process.poll() is None:
                for child in psutil.Process(process.pid).children(recursive=True):
                    child.kill()
                process.kill()
                process.wait()


@pytest.fixture
def site(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Site]:
    yield from make_site(tmp_path, getattr(request, "param", ":").format(folder=tmp_path))


def hashes(workspace: Path) -> dict[str, dict[str, str]]:
    stages = yaml.safe_load((workspace / "dvc.lock").read_text())["stages"]
    return {
        name: {out["path"]: out["md5"] for out in stage["outs"]} | {dep["path"]: dep["md5"] for dep in stage["deps"]}
        for name, stage in stages.items()
    }


def test_workers_in_clones_leave_what_one_machine_leaves(site: Site) -> None:
    alone = dvc_workspaces.clone(site.workspace, site.folder / "alone")
    dvc_workspaces.run(alone, "dvc", "repro", env=site.environment | {"S2L_CALLS": str(site.folder / "alone.calls")})
    done = dvc_workspaces.run(site.workspace, *site.flow(), env=site.environment)
    assert hashes(site.workspace) == hashes(alone)
    graph = read_graph(site.workspace)
    assert graph["train@warp"].upstream == {"prepare", "judge"} and graph["judge"].upstream == {"prepare"}
    assert set(site.calls("flow")) == HERE
    given = site.calls("first") + site.calls("second")
    assert sorted(given) == sorted(graph.keys() - HERE)
    assert site.calls("first") and site.calls("second"), "both have worked"
    # The flow's clone has it all, byte for byte, and nothing is left to do.
    assert "up to date" in dvc_workspaces.run(site.workspace, "dvc", "status", env=site.environment).stdout
    for file in sorted((alone / "artifacts").rglob("*")):
        if file.is_file():
            assert (site.workspace / file.relative_to(alone)).read_bytes() == file.read_bytes()
    # What was printed and what it cost came too.
    assert f"runs in {os.uname().nodename}:{site.folder / 'first'}" in done.stdout + done.stderr
    assert {record.stage for record in read_records(site.workspace)} == set(graph)
    # Another clone with an empty cache: what the remote has is taken, nothing is computed anew.
    other = dvc_workspaces.clone(site.workspace, site.folder / "other")
    shutil.copy(site.folder / "workspace" / "params.yaml", other)
    before = given
    done = dvc_workspaces.run(other, *site.flow(), env=site.environment | {"PREFECT_HOME": str(site.folder / "p2")})
    assert sorted(site.calls("first") + site.calls("second")) == sorted(before)
    assert hashes(other) == hashes(alone)


SLEEP = (
    'if [ "$DVC_STAGE" = judge ] && [ ! -e "{folder}/slept" ]; then '
    'touch "{folder}/slept"; echo $$ > "{folder}/new"; mv "{folder}/new" "{folder}/sleeper"; sleep 300; fi'
)


@pytest.mark.parametrize("site", [SLEEP], indirect=True)
@pytest.mark.nightly
@pytest.mark.parametrize("end", ["killed", "terminated"])
def test_a_stage_moves_where_its_worker_ends(site: Site, end: str) -> None:
    flow = subprocess.Popen(
        site.flow(), cwd=site.workspace, env=site.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    sleeper = site.folder / "sleeper"
    wait_for(sleeper.exists)
    process = int(sleeper.read_text())
    killed = site.worker_of(process)
    if end == "killed":
        site.kill(killed)
    else:
        site.processes[killed].terminate()
    wait_for(lambda: not lives(process), 20.0)  # no stray training process
    output = flow.communicate(timeout=200)[0].decode()
    assert flow.returncode == 0, output[-4000:]
    other = ({"first", "second"} - {killed}).pop()
    assert "judge" in site.calls(other)
    assert "up to date" in dvc_workspaces.run(site.workspace, "dvc", "status", env=site.environment).stdout


@pytest.mark.nightly
@pytest.mark.parametrize("site", [SLEEP], indirect=True)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
def test_a_flow_that_is_ended_ends_its_stages_elsewhere(site: Site, number: signal.Signals) -> None:
    flow = subprocess.Popen(
        site.flow(), cwd=site.workspace, env=site.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    sleeper = site.folder / "sleeper"
    wait_for(sleeper.exists)
    process = int(sleeper.read_text())
    flow.send_signal(number)
    flow.wait(60)
    wait_for(lambda: not lives(process), 60.0)
    assert all(started.poll() is None for started in site.processes.values()), "the workers wait for the next flow"
    dvc_workspaces.run(site.workspace, *site.flow(), env=site.environment)
    assert "up to date" in dvc_workspaces.run(site.workspace, "dvc", "status", env=site.environment).stdout


@pytest.mark.nightly
@pytest.mark.parametrize("site", [SLEEP], indirect=True)
def test_a_lost_scheduler_ends_the_run_and_its_stages(site: Site) -> None:
    flow = subprocess.Popen(
        site.flow(), cwd=site.workspace, env=site.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    sleeper = site.folder / "sleeper"
    wait_for(sleeper.exists)
    process = int(sleeper.read_text())
    site.processes["scheduler"].kill()
    output = flow.communicate(timeout=120)[0].decode()
    assert flow.returncode == 1
    assert f"judge was given up: {site.address} is lost" in output
    wait_for(lambda: not lives(process), 30.0)
    wait_for(lambda: all(started.poll() is not None for started in site.processes.values()), 60.0)  # workers end too


@pytest.mark.nightly
@pytest.mark.parametrize(
    "site", ['[ "$DVC_STAGE" = judge ] && echo "Error: params.yaml: judge.x: is wrong" >&2 && exit 1'], indirect=True
)
def test_errors_of_other_machines_say_where_and_are_not_tried_again(site: Site) -> None:
    done = dvc_workspaces.run(site.workspace, *site.flow(), env=site.environment, check=False)
    assert done.returncode == 1
    output = done.stdout + done.stderr
    failed = [name for name in ("first", "second") if "judge" in site.calls(name) or name in output]
    assert "Error: params.yaml: judge.x: is wrong" in output
    assert any(f":{site.folder / name}: Error: params.yaml" in output for name in failed)
    assert output.count("Error: params.yaml: judge.x: is wrong (") == 0
    # A clone with another commit, and one with changed code: refused before anything runs, each with its name.
    third, fourth = (dvc_workspaces.clone(site.workspace, site.folder / name) for name in ("third", "fourth"))
    (third / "augment" / "core" / "errors.py").open("a").write("# changed\n")
    with (fourth / "augment" / "core" / "errors.py").open("a") as opened:
        opened.write("# changed\n")
    dvc_workspaces.commit(fourth)
    site.add_worker("third", third)
    site.add_worker("fourth", fourth)
    client = connect(site.address)
    client.wait_for_workers(4, timeout=60)
    client.close()
    done = dvc_workspaces.run(site.workspace, *site.flow(), env=site.environment, check=False)
    assert done.returncode == 1
    assert f"{third}: code was changed since commit" in done.stderr
    assert f"{fourth}: has commit {code_of(fourth, '')[:12]}, and the flow has" in done.stderr
    assert "judge" not in done.stdout


def test_what_is_missing_is_said_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = dvc_workspaces.make_workspace(tmp_path / "workspace", "scale=smoke")
    with pytest.raises(InputError, match=r"has no DVC remote, by which its workers could get faces .*dvc remote add"):
        check_remote(workspace)
    dvc_workspaces.run(workspace, "dvc", "remote", "add", "--default", "storage", str(tmp_path / "storage"))
    check_remote(workspace)
    with pytest.raises(InputError, match=r"is no git repository|commit"):
        code_of(tmp_path, "here")
    with pytest.raises(InputError, match=r"--address tcp://127\.0\.0\.1:9: no Dask scheduler answers there"):
        connect("tcp://127.0.0.1:9")
    monkeypatch.chdir(tmp_path)
    problem, kind = check_clone("0" * 40)
    assert problem is not None and "is no clone of the project" in str(problem) and "cores" not in kind
    monkeypatch.chdir(workspace)
    for arguments, said in (
        (["--engine", "dask"], "Error: --address: is missing"),
        (["--engine", "dask", "--address", "tcp://[::1"], "Error: --address: is no address of a Dask scheduler"),
        (["--engine", "dask", "--address", "tcp://h:port"], "Error: --address tcp://h:port: is no address"),
        (["--address", "tcp://127.0.0.1:9"], "Error: --address: names a Dask scheduler"),
    ):
        result = flow_in_process("run", *arguments)
        assert (result.exit_code, said in result.stderr) == (1, True), result.stderr


def test_settings_that_machines_would_choose_for_themselves_are_found() -> None:
    values = {"classifier": {"precision": "auto", "steps": 3}, "a": {"b": {"precision": "float32"}}, "device": "auto"}
    assert keys_of(values, "precision", "auto") == ["classifier.precision"]


@pytest.mark.parametrize(
    ("printed", "said"),
    [
        (
            [
                "ERROR: failed to transfer 'ed88' - [Errno 28] No space left on device: '/a/ed88' -> '/full/ed88.tmp'",
                "ERROR: failed to transfer '11ee' - [Errno 28] No space left on device: '/a/11ee' -> '/full/11ee.tmp'",
                "ERROR: failed to push data to the cloud - 2 files failed to upload",
            ],
            "failed to push data to the cloud - 2 files failed to upload: No space left on device",
        ),
        (["A  artifacts/faces/", "ERROR: unexpected error - no route"], "unexpected error - no route"),
        (
            [
                "ERROR: failed to transfer '79' - Cannot connect [Errno 111] Connect call failed ('127.0.0.1', 1)",
                "ERROR: failed to transfer '7a' - Cannot connect to host 127.0.0.1",
                "ERROR: failed to push data to the cloud - 2 files failed to upload",
            ],
            "failed to push data to the cloud - 2 files failed to upload: Connect call failed ('127.0.0.1', 1)",
        ),
        (["ERROR: unexpected error - https://joe:secret@host/x"], "unexpected error - https://host/x"),
        (["Everything is up to date."], ""),
    ],
)
def test_of_an_error_for_each_file_one_line_is_made(printed: list[str], said: str) -> None:
    assert why_not_exchanged(printed) == said


def test_an_entry_of_another_machine_stands_in_dvc_lock_as_dvc_writes_it(tmp_path: Path) -> None:
    workspace, _ = dvc_workspaces.run_by_stand_in(tmp_path, "scale=smoke")
    file = workspace / "dvc.lock"
    before = file.read_text()
    values = yaml.safe_load(before)
    entry = values["stages"].pop("judge")
    file.write_text(yaml.safe_dump(values, sort_keys=False))
    write_lock_entry(workspace, "judge", entry)
    assert yaml.safe_load(file.read_text()) == yaml.safe_load(before)
    assert "up to date" in dvc_workspaces.run(workspace, "dvc", "status").stdout


def test_results_come_back_through_an_s3_server(tmp_path: Path) -> None:
    """A real S3 server on the loopback, rclone's, which a package of the index brings, is the remote of two clones."""
    environment = dvc_workspaces.write_stand_in(tmp_path) | {
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret-of-the-test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "RCLONE_CONFIG": str(tmp_path / "rclone.conf"),
    }
    (tmp_path / "buckets" / "results").mkdir(parents=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = ["serve", "s3", str(tmp_path / "buckets"), "--addr", f"127.0.0.1:{port}"]
    words += ["--auth-key", "key,secret-of-the-test", "--vfs-cache-mode", "full", "--vfs-write-back", "0s"]
    words += ["--cache-dir", str(tmp_path / "cache")]
    command = Path(sys.executable).with_name("rclone")
    with (tmp_path / "server.log").open("wb") as log:
        server = subprocess.Popen([command, *words], env=environment, stdout=log, stderr=log)
    try:
        wait_for(lambda: answers(port), 30.0)
        workspace = dvc_workspaces.make_workspace(tmp_path / "workspace", "scale=smoke")
        dvc_workspaces.run(workspace, "dvc", "remote", "add", "--default", "storage", "s3://results/faces")
        dvc_workspaces.run(workspace, "dvc", "remote", "modify", "storage", "endpointurl", f"http://127.0.0.1:{port}")
        dvc_workspaces.commit(workspace)
        away = dvc_workspaces.clone(workspace, tmp_path / "away")
        dvc_workspaces.run(workspace, "dvc", "repro", "prepare", env=environment)
        children, lines = Children(workspace), []
        values = {key: environment[key] for key in environment if key.startswith("AWS_")}
        with pytest.MonkeyPatch.context() as patch:
            for key, value in (values | {"PATH": environment["PATH"], "S2L_CALLS": environment["S2L_CALLS"]}).items():
                patch.setenv(key, value)
            exchange(children, "judge", "push", "prepare", log=lines.append)
            order = Order(
                stage="judge",
                upstream=("prepare",),
                commit=code_of(workspace, "here"),
                parameters=(workspace / "params.yaml").read_text(),
                lock=(workspace / "dvc.lock").read_text(),
                key="",
            )
            answer = run_in_clone(away, order, place="away", log=lines.append, stands=lambda: True)
            write_lock_entry(workspace, "judge", answer.entry)
            exchange(children, "judge", "pull", "judge", log=lines.append)
            stored = tmp_path / "buckets" / "results" / "faces" / "files"
            wait_for(lambda: any(stored.rglob("*.dir")), 30.0)  # the server wrote to its disk
            # A server that is away: one line, to be tried again, and no secret in it.
            server.kill()
            server.wait()
            with pytest.raises(StageFailedError, match="dvc pull judge: ") as failed:
                shutil.rmtree(workspace / ".dvc" / "cache")
                exchange(children, "judge", "pull", "judge", log=lines.append)
    finally:
        server.kill()
        server.wait()
    assert answer.outcome == "ran"
    for file in (away / "artifacts" / "judge").iterdir():
        assert (workspace / "artifacts" / "judge" / file.name).read_bytes() == file.read_bytes()
    assert failed.value.transient and len(str(failed.value).splitlines()) == 1
    assert not any("secret-of-the-test" in line for line in [*lines, str(failed.value)])


def answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1.0).close()
    except OSError:
        return False
    return True
