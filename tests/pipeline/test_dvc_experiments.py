"""`dvc exp run`, its queue and `dvc repro` agree, in a fresh clone and in an archive too."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from dvc_workspaces import clone, commit, make_workspace, run, write_stand_in

pytestmark = pytest.mark.slow

Run = tuple[Path, dict[str, str]]
CHANGE = "scores.max_test_faces=77"


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished and committed run of a profile that is not the default one, with an edit by hand."""
    folder = tmp_path_factory.mktemp("experiments")
    workspace = make_workspace(folder / "workspace", "scale=smoke", "dataset=rig_mug", "seed=5")
    file = workspace / "params.yaml"
    file.write_text(
        file.read_text(encoding="utf-8").replace("title: Do the", "title: By hand, do the"), encoding="utf-8"
    )
    env = write_stand_in(folder)
    run(workspace, "dvc", "repro", env=env)
    commit(workspace)
    return workspace, env


@pytest.fixture
def copy(done: Run, tmp_path: Path) -> Run:
    workspace, env = done
    shutil.copytree(workspace, tmp_path / "workspace", symlinks=True)
    return tmp_path / "workspace", env | {"S2L_CALLS": str(tmp_path / "calls")}


def read(file: Path) -> dict[str, Any]:
    values: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))
    return values


def expected(workspace: Path) -> dict[str, Any]:
    values = read(workspace / "params.yaml")
    values["scores"] |= {"max_test_faces": 77}
    return values


def test_an_experiment_keeps_what_profile_and_hand_wrote_and_agrees_with_repro(copy: Run) -> None:
    workspace, env = copy
    wanted = expected(workspace)
    assert wanted["seed"] == 5 and wanted["report"]["title"].startswith("By hand")
    run(workspace, "dvc", "exp", "run", "-S", f"+{CHANGE}", env=env)
    assert read(workspace / "params.yaml") == wanted
    assert read(workspace / "artifacts" / "scores" / "warp.s2l" / "params.yaml") == wanted
    calls = Path(env["S2L_CALLS"]).read_text(encoding="utf-8").splitlines()
    assert "assess@warp: assess" in calls and not any("train" in call for call in calls)
    # `dvc repro` of the same parameters finds all of it done.
    assert "Running stage" not in run(workspace, "dvc", "repro", env=env).stdout


@pytest.mark.nightly
def test_a_queued_experiment_agrees_too(copy: Run) -> None:
    workspace, env = copy
    before, wanted = read(workspace / "params.yaml"), expected(workspace)
    run(workspace, "dvc", "exp", "run", "--queue", "--name", "queued", "-S", f"+{CHANGE}", env=env)
    run(workspace, "dvc", "exp", "run", "--run-all", env=env)
    assert read(workspace / "params.yaml") == before
    run(workspace, "dvc", "exp", "apply", "queued", env=env)
    assert read(workspace / "params.yaml") == wanted
    assert read(workspace / "artifacts" / "scores" / "warp.s2l" / "params.yaml") == wanted
    assert "Running stage" not in run(workspace, "dvc", "repro", env=env).stdout


def test_a_group_is_no_key_of_an_experiment(copy: Run) -> None:
    workspace, env = copy
    before = read(workspace / "params.yaml")
    done = run(workspace, "dvc", "exp", "run", "-S", "dataset=fer2013", check=False, env=env)
    assert done.returncode != 0 and "Could not find 'dataset.root'" in done.stderr
    assert read(workspace / "params.yaml") == before and not Path(env["S2L_CALLS"]).exists()


def test_an_experiment_with_a_target_ends_well_in_a_fresh_clone(copy: Run, tmp_path: Path) -> None:
    """dvc.lock names outputs that nobody can fetch; metrics and plots below one of them made DVC fail at the end."""
    workspace, env = copy
    fresh = clone(workspace, tmp_path / "clone")
    done = run(fresh, "dvc", "exp", "run", "-S", "seed=6", "prepare", env=env)
    assert "Ran experiment" in done.stdout
    assert read(fresh / "params.yaml")["seed"] == 6 and (fresh / "artifacts" / "faces").is_dir()


def test_metrics_and_plots_of_another_revision_are_there_in_a_fresh_clone(copy: Run, tmp_path: Path) -> None:
    workspace, env = copy
    fresh = clone(workspace, tmp_path / "clone")
    (fresh / "metrics.json").write_text('{"accuracy": 0.75}', encoding="utf-8")
    (fresh / "plots" / "accuracy_against_n.csv").write_text("n,accuracy\n1,0.75\n", encoding="utf-8")
    found = json.loads(run(fresh, "dvc", "metrics", "diff", "HEAD", "--json", env=env).stdout)
    assert found["metrics.json"]["accuracy"] == {"old": 0.5, "new": 0.75, "diff": 0.25}
    page = json.loads(run(fresh, "dvc", "plots", "diff", "HEAD", "--json", env=env).stdout)
    drawn = page["data"]["plots/accuracy_against_n.csv"][0]["content"]["data"]["values"]
    assert {(row["rev"], float(row["accuracy"])) for row in drawn} == {("workspace", 0.75), ("HEAD", 0.5)}


def test_an_archive_of_the_source_runs_without_git(done: Run, tmp_path: Path) -> None:
    workspace, env = done
    archive = tmp_path / "source.tar"
    run(workspace, "git", "archive", "--output", str(archive), "HEAD")
    shutil.unpack_archive(archive, tmp_path / "source", filter="data")
    env = env | {"S2L_CALLS": str(tmp_path / "calls"), "GIT_CEILING_DIRECTORIES": str(tmp_path)}
    run(tmp_path / "source", "dvc", "repro", env=env)
    assert "report: report" in Path(env["S2L_CALLS"]).read_text(encoding="utf-8").splitlines()


def test_git_ignores_what_dvc_and_the_run_leave_behind(copy: Run) -> None:
    workspace, env = copy
    run(workspace, "dvc", "plots", "show", env=env)
    assert (workspace / "dvc_plots" / "index.html").is_file()
    assert run(workspace, "git", "status", "--porcelain").stdout == ""
