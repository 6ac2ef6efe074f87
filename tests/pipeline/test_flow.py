"""The Prefect flow, on an ephemeral Prefect server, with real DVC and a stand-in for `s2l`."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dvc_workspaces
import pandas as pd
import psutil
import pytest
from flow_workspaces import QUIET, break_stand_in, calls, flow_command, flow_in_process, make_workspace
from prefect.exceptions import ParameterTypeError
from waiting import lives, wait_for

from augment.core.errors import InputError
from pipeline.core.workspace import Artifacts
from pipeline.flow import run_artifacts
from pipeline.flow.children import Children, is_transient, remove_broken_list
from pipeline.flow.flow import synthesize_to_learn
from pipeline.flow.graph import Stage, read_changes, read_graph, with_downstream
from pipeline.flow.headline import headline_markdown, worse_than_before
from pipeline.flow.held_workspace import held_workspace
from pipeline.flow.last_result import keep_result, last_arms
from pipeline.flow.records import read_records
from pipeline.flow.run_artifacts import confusion_table, shown_figures
from pipeline.flow.states import stage_states
from pipeline.profile import compose_profile

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class FailedFlow:
    """A flow in which the judge was killed at its first try and a translator was refused, before the fault was mended.

    Attributes:
        place: The workspace.
        environment: Of whoever runs something there.
        done: The flow's process, at its end.
        called: The stages that ran.
        stale: Those that were out of date afterwards.
    """

    place: Path
    environment: dict[str, str]
    done: subprocess.CompletedProcess[str]
    called: list[str]
    stale: set[str]


@pytest.fixture(scope="module")
def failed_flow(tmp_path_factory: pytest.TempPathFactory) -> FailedFlow:
    folder = tmp_path_factory.mktemp("flow")
    mark = folder / "killed"
    killed = f'[ "$DVC_STAGE" = judge ] && [ ! -e "{mark}" ] && touch "{mark}" && kill -9 $$'
    refused = '[ "$DVC_STAGE" = train@warp ] && echo "Error: steps: is 0 (give more)" >&2 && exit 1'
    place, environment = make_workspace(folder, f"{killed}\n{refused}")
    done = dvc_workspaces.run(place, *flow_command("--parallel", "3"), env=environment, check=False)
    assert mark.exists()
    called, stale = calls(environment), set(read_changes(place)[1])
    break_stand_in(folder, "")
    return FailedFlow(place, environment, done, called, stale)


@pytest.fixture(scope="module")
def workspace(failed_flow: FailedFlow) -> tuple[Path, dict[str, str]]:
    """A workspace that the flow has run through, at the second try."""
    dvc_workspaces.run(failed_flow.place, *flow_command(), env=failed_flow.environment)
    return failed_flow.place, failed_flow.environment


def test_every_stage_runs_once_after_what_it_reads(workspace: tuple[Path, dict[str, str]]) -> None:
    place, environment = workspace
    called = calls(environment)
    graph = read_graph(place)
    assert sorted(called) == sorted(graph)
    for stage in graph.values():
        for other in stage.upstream:
            assert called.index(other) < called.index(stage.name)


def test_dvc_has_nothing_to_do_after_a_flow_and_a_flow_nothing_after_it(workspace: tuple[Path, dict[str, str]]) -> None:
    place, environment = workspace
    before = calls(environment)
    assert "up to date" in dvc_workspaces.run(place, "dvc", "status", env=environment).stdout
    dvc_workspaces.run(place, "dvc", "repro", env=environment)
    done = dvc_workspaces.run(place, *flow_command(), env=environment)
    assert "nothing to do" in done.stdout + done.stderr
    assert {line.split()[0] for line in done.stdout.splitlines() if line.endswith(tuple(read_graph(place)))} == {
        "cached"
    }
    assert calls(environment) == before


def test_a_flow_records_its_stages_and_a_plan_changes_nothing(
    workspace: tuple[Path, dict[str, str]], tmp_path: Path
) -> None:
    place, environment = workspace
    graph, called = read_graph(place), calls(environment)
    records = {record.stage: record for record in read_records(place)}
    assert set(records) == set(graph)
    for record in records.values():
        assert record.peak_memory and record.processor_seconds > 0 and record.output_bytes > 0

    copy = shutil.copytree(place, tmp_path / "copy", symlinks=True)
    before = (copy / "params.yaml").read_bytes()
    _, states = stage_states(copy)
    assert set(states.values()) == {"up to date"}
    plan = [sys.executable, "-m", "pipeline.cli", "flow", "plan"]
    words = ["scale=smoke", "classifier.steps=20"]
    said = dvc_workspaces.run(copy, *plan, *words, env=environment).stdout
    for line in said.splitlines()[1 : len(graph) + 1]:
        name, state = line.split()[0], " ".join(line.split()[1:])
        assert state.startswith("runs" if name == "report" or name.startswith("classify") else "up to date"), line
    assert "1 record" in next(line for line in said.splitlines() if line.startswith("report "))
    refused = dvc_workspaces.run(copy, *plan, "scale=none", env=environment, check=False)
    assert refused.returncode == 1 and "scale=none" in refused.stderr and "Traceback" not in refused.stderr

    # Nobody knows before whether another parsing network is the same, and with it what the others read.
    _, states = stage_states(copy, compose_profile(copy, ["scale=smoke", "parsing.training.steps=9"]))
    assert states["parsing"] == "runs" and states["train@warp"] == states["assess@warp"] == "runs if changed"
    assert states["judge"] == states["classify_real@real"] == "up to date"
    # What is lost is in DVC's cache; the stages that read it find what they read before.
    shutil.rmtree(copy / "artifacts" / "judge")
    _, states = stage_states(copy)
    assert states["judge"] == "restored" and states["train@warp"] == "up to date"
    dvc_workspaces.run(copy, "dvc", "repro", "judge", env=environment)
    assert calls(environment) == called
    shutil.rmtree(copy / ".dvc" / "cache")
    _, states = stage_states(copy)
    assert set(states.values()) == {"runs"}
    assert (copy / "params.yaml").read_bytes() == before and calls(environment) == called


def test_a_failed_stage_leaves_the_others_running_and_the_next_run_goes_on_there(
    failed_flow: FailedFlow, workspace: tuple[Path, dict[str, str]]
) -> None:
    place, environment = workspace
    graph = read_graph(place)
    lost = with_downstream({"train@warp"}, graph)
    assert 1 < len(lost) < len(graph) - 2

    done = failed_flow.done
    said = done.stdout + done.stderr
    assert done.returncode == 1
    assert "train@warp failed" in done.stderr
    assert "steps: is 0 (give more)" in said
    # What was killed is tried again, and an error of parameters is not.
    (retried,) = [line for line in said.splitlines() if " - Retry " in line]
    assert "Task run 'judge'" in retried
    assert set(failed_flow.called) == set(graph) - lost
    assert failed_flow.stale == lost

    assert set(calls(environment)[len(failed_flow.called) :]) == lost
    assert "up to date" in dvc_workspaces.run(place, "dvc", "status", env=environment).stdout


# `sh` may stay between DVC and the stage, where bash makes way for it.
@pytest.mark.parametrize(("number", "shell"), [(signal.SIGTERM, "bash"), (signal.SIGKILL, "sh")])
def test_a_flow_that_is_ended_leaves_no_process_and_no_lock(tmp_path: Path, number: signal.Signals, shell: str) -> None:
    process_file = tmp_path / "process"
    # As a stage does, it asks to end with its parent.
    sleeper = (
        "import os, pathlib, time; from pipeline.core.parent_process import end_with_caller; end_with_caller();"
        f" pathlib.Path('{process_file}').write_text(str(os.getpid())); time.sleep(600)"
    )
    place, environment = make_workspace(tmp_path, f'exec {sys.executable} -c "{sleeper}"')
    environment["SHELL"] = shutil.which(shell) or f"/bin/{shell}"
    running = subprocess.Popen(flow_command(), cwd=place, env=environment, stderr=subprocess.DEVNULL)
    wait_for(lambda: process_file.exists() and process_file.read_text(encoding="utf-8") != "")
    said = f"another flow runs here (process {running.pid})"
    if number == signal.SIGTERM:  # a whole second flow, which has a server of its own, once
        second = dvc_workspaces.run(place, *flow_command(), env=environment, check=False)
        assert second.returncode == 1 and said in second.stderr
    else:
        with pytest.raises(InputError, match=re.escape(said)), held_workspace(place):
            pass
    others = psutil.Process(running.pid).children(recursive=True)
    assert any(_serves(other) for other in others)
    running.send_signal(number)
    assert running.wait(60) != 0
    wait_for(lambda: not any(lives(other.pid) for other in others))
    assert not lives(int(process_file.read_text(encoding="utf-8")))
    break_stand_in(tmp_path, "")
    dvc_workspaces.run(place, "dvc", "repro", "prepare", env=environment)
    assert calls(environment) == ["prepare"]


def _serves(process: psutil.Process) -> bool:
    try:
        return "prefect.server.api.server:create_app" in process.cmdline()
    except psutil.NoSuchProcess:
        return False


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["serve", "--cron", "0 3 * * *"], "a schedule needs a Prefect server"),
        (["serve", "--cron", "0 3"], "Invalid value for --cron: '0 3'"),
        (["serve", "--cron", "0 3 * * *", "--timezone", "Mars/X"], "Invalid value for --timezone: 'Mars/X'"),
        (["run", "--workspace", "nowhere"], "nowhere: is no clone of the project"),
    ],
)
def test_what_cannot_run_is_said_in_one_line(monkeypatch: pytest.MonkeyPatch, arguments: list[str], said: str) -> None:
    monkeypatch.chdir(ROOT)
    result = flow_in_process(*arguments)
    assert isinstance(result.exception, SystemExit) and result.exit_code != 0
    assert said in result.stderr and "Traceback" not in result.stderr


def test_a_server_that_does_not_answer_is_named_without_its_password(tmp_path: Path) -> None:
    address = {"PREFECT_API_URL": "http://somebody:hidden@127.0.0.1:1/api", "PREFECT_HOME": str(tmp_path)}
    done = dvc_workspaces.run(ROOT, *flow_command(), env=dvc_workspaces.environment(**QUIET, **address), check=False)
    assert done.returncode != 0 and "PREFECT_API_URL=http://127.0.0.1:1/api: no Prefect server" in done.stderr
    assert "Traceback" not in done.stderr and "hidden" not in done.stdout + done.stderr


def test_what_reads_from_a_changed_stage_is_out_of_date() -> None:
    graph = {
        name: Stage(name, frozenset(upstream), gpu=False)
        for name, upstream in {"a": "", "b": "a", "c": "a", "d": "b", "e": "cd"}.items()
    }
    assert with_downstream({"b"}, graph) == {"b", "d", "e"}
    assert with_downstream({}, graph) == set()


@pytest.mark.parametrize(
    ("line", "transient"),
    [
        ("ERROR: failed to reproduce 'judge': failed to run: s2l judge, exited with 137", True),
        ("ERROR: failed to reproduce 'judge': failed to run: s2l judge, exited with -9", True),
        ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB", True),
        ("MemoryError", True),
        ("numpy._core._exceptions._ArrayMemoryError: Unable to allocate 3.00 GiB for an array", True),
        ("can't allocate memory: you tried to allocate 9 bytes. Error code 12 (Cannot allocate memory)", True),
        ("concurrent.futures.process.BrokenProcessPool: A process in the process pool was terminated abruptly", True),
        ("RuntimeError: [pair.cc:538] Connection closed by peer [127.0.0.1]:2391", True),
        ("ERROR: failed to reproduce 'judge': failed to run: s2l judge, exited with 1", False),
        ("Error: params.yaml: seeds: a seed occurs twice", False),
        ("Error: params.yaml: dataset.image_size: 4096 px need more memory than this machine has", False),
    ],
)
def test_which_errors_may_pass(line: str, transient: bool) -> None:
    assert is_transient([line]) == transient


def test_a_fall_is_worse_only_beyond_the_interval() -> None:
    def arms(difference: float, high: float) -> dict[str, dict[str, float]]:
        return {
            "real": {"accuracy": 0.7, "difference": 0.5, "low": 0.4, "high": 0.6},
            "warp": {"accuracy": 0.7, "difference": difference, "low": difference - 0.1, "high": high},
        }

    last = arms(0.05, 0.07)
    assert worse_than_before(last, arms(0.01, 0.06), ["warp"]) is None
    assert "was +5.0" in str(worse_than_before(last, arms(0.01, 0.03), ["warp"]))
    assert worse_than_before({}, last, ["warp"]) is None


def test_the_headline_gives_the_metric_that_the_difference_is_of(tmp_path: Path) -> None:
    warp = {"accuracy": 0.71, "balanced_accuracy": 0.52, "difference": 0.03, "low": 0.01, "high": 0.05}
    metrics = {"metric": "balanced_accuracy", "arms": {"real": {"accuracy": 0.7}, "warp": warp}}
    assert "**warp**: balanced accuracy 52.0 %, +3.0 points [+1.0, +5.0]" in headline_markdown(
        metrics, ["warp"], tmp_path
    )
    assert "No arm" in headline_markdown({}, ["warp"], tmp_path)


def test_a_confusion_matrix_has_a_row_for_each_actual_class() -> None:
    predictions = pd.DataFrame({"actual": ["sad", "sad", "happy"], "predicted": ["happy", "sad", "fear"]})
    assert confusion_table(predictions) == [
        {"actual": "fear", "fear": 0, "happy": 0, "sad": 0},
        {"actual": "happy", "fear": 1, "happy": 0, "sad": 0},
        {"actual": "sad", "fear": 0, "happy": 1, "sad": 1},
    ]


def test_a_class_may_be_called_na(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "plots" / "confusion").mkdir(parents=True)
    (tmp_path / "plots" / "confusion" / "real.csv").write_text("actual,predicted\nNA,null\nnull,null\n")
    tables: dict[str, Any] = {}
    for name in ("create_table_artifact", "create_markdown_artifact", "create_image_artifact"):
        monkeypatch.setattr(run_artifacts, name, lambda shown, key, **_: tables.update({key: shown}))
    run_artifacts.publish_report(tmp_path, {}, [], pictures=True)
    assert tables["confusion-real"] == [{"actual": "NA", "NA": 0, "null": 1}, {"actual": "null", "NA": 0, "null": 1}]


def test_figures_are_shown_once_and_not_by_runs_with_nothing_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures = Artifacts(tmp_path).report / "figures"
    figures.mkdir(parents=True)
    (figures / "losses.png").write_bytes(b"png")
    shown: list[str] = []
    for name in ("create_table_artifact", "create_markdown_artifact", "create_image_artifact"):
        monkeypatch.setattr(run_artifacts, name, lambda _, key, **__: shown.append(key))
    for pictures in (True, False):
        run_artifacts.publish_report(tmp_path, {}, [], pictures=pictures)
    assert shown.count("figure-losses") == 1 and shown.count("arms") == 2


def test_a_result_is_compared_with_the_last_one_of_the_same_data(tmp_path: Path) -> None:
    params = tmp_path / "params.yaml"
    params.write_text("dataset: {root: a}\nfolds: {kind: auto}\nseed: 0\n")
    metrics = {"metric": "accuracy", "arms": {"warp": {"accuracy": 0.7, "difference": 0.05, "low": 0.0, "high": 0.1}}}
    (tmp_path / "metrics.json").write_text(json.dumps(metrics))  # as git brings it: never compared here
    assert last_arms(tmp_path, metrics) == {}
    keep_result(tmp_path, metrics)
    params.write_text("dataset: {root: a}\nfolds: {kind: auto}\nseed: 1\n")
    assert last_arms(tmp_path, metrics) == metrics["arms"]
    assert last_arms(tmp_path, metrics | {"metric": "balanced_accuracy"}) == {}
    params.write_text("dataset: {root: b}\nfolds: {kind: auto}\n")
    assert last_arms(tmp_path, metrics) == {}
    (Artifacts(tmp_path).scratch / "flow" / "last-result.json").write_text("{")
    assert last_arms(tmp_path, metrics) == {}


@pytest.mark.parametrize("limits", [{"gpus": 0}, {"parallel": 0}])
def test_a_limit_of_nought_is_refused_before_anything_runs(limits: dict[str, int]) -> None:
    with pytest.raises(ParameterTypeError, match="greater than or equal to 1"):
        synthesize_to_learn.validate_parameters({"workspace": ".", **limits})


def test_data_that_dvc_tracks_is_no_stage(tmp_path: Path) -> None:
    for words in (["git", "init", "-q"], ["dvc", "init", "-q"]):
        dvc_workspaces.run(tmp_path, *words, env=dvc_workspaces.environment())
    (tmp_path / "faces.bin").write_bytes(b"faces")
    (tmp_path / "params.yaml").write_text("{}\n")
    (tmp_path / "dvc.yaml").write_text("stages: {prepare: {cmd: cp faces.bin out, deps: [faces.bin], outs: [out]}}\n")
    dvc_workspaces.run(tmp_path, "dvc", "add", "-q", "faces.bin", env=dvc_workspaces.environment())
    graph, stale = read_changes(tmp_path)
    assert list(graph) == ["prepare"] and graph["prepare"].upstream == frozenset() and "prepare" in stale
    assert stage_states(tmp_path)[1] == {"prepare": "runs"}


def test_the_code_that_runs_is_the_workspaces(tmp_path: Path) -> None:
    """DVC hashes the workspace's code; `s2l` alone would run that of the clone which it was installed from."""
    for words in (["git", "init", "-q"], ["dvc", "init", "-q"]):
        dvc_workspaces.run(tmp_path, *words, env=dvc_workspaces.environment())
    (tmp_path / "pipeline").mkdir()
    (tmp_path / "pipeline" / "__init__.py").write_text("")
    (tmp_path / "pipeline" / "cli.py").write_text("def main():\n    print('the code of the workspace')\n")
    (tmp_path / "dvc.yaml").write_text("stages: {prepare: {cmd: s2l prepare}}\n")
    lines: list[str] = []
    # The child's own start imports a file of the project, which this workspace has not.
    (tmp_path / "pipeline" / "core").mkdir()
    (tmp_path / "pipeline" / "core" / "__init__.py").write_text("")
    (tmp_path / "pipeline" / "core" / "parent_process.py").write_text("def end_with_caller(): pass\n")
    Children(tmp_path).dvc("prepare", "repro", "prepare", log=lines.append)
    assert "the code of the workspace" in lines


def test_faces_that_may_not_be_published_do_not_leave_for_a_server(tmp_path: Path) -> None:
    (tmp_path / "figures").mkdir()
    for name in ("differences", "gallery-warp", "gallery-lssl-do-not-publish"):
        (tmp_path / "figures" / f"{name}.png").touch()
    assert [file.stem for file in shown_figures(tmp_path)] == ["differences", "gallery-warp"]


def test_only_a_broken_list_of_files_in_use_is_removed(tmp_path: Path) -> None:
    place = tmp_path / ".dvc" / "tmp" / "rwlock"
    assert not remove_broken_list(tmp_path)
    place.parent.mkdir(parents=True)
    place.write_text('{"artifacts/faces": {"write": {"pid": 1, "cmd": "dvc repro"}}}', encoding="utf-8")
    assert not remove_broken_list(tmp_path) and place.exists()
    place.write_text("", encoding="utf-8")
    assert remove_broken_list(tmp_path) and not place.exists()
