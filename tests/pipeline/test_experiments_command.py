"""`s2l experiments`: the list, what is refused, and one experiment through DVC and Prefect to its filed rows."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import dvc_workspaces
import pytest
from click.testing import CliRunner, Result
from test_flow import prefect_environment

from pipeline.cli import main
from pipeline.experiments import overrides_of, run_name
from reports.experiments.catalogue import find_experiment, read_experiments
from reports.experiments.rows import read_rows

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]


def experiments(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["experiments", *arguments])


def test_the_list_names_every_experiment_and_its_data(tmp_path: Path) -> None:
    shown = experiments("--results", str(tmp_path))
    assert shown.exit_code == 0, shown.output
    for name, experiment in read_experiments().items():
        assert f"{name}: {experiment.paper}, {experiment.shows}" in shown.output
        assert experiment.data.stand_in in shown.output
    assert shown.output.count("runs: none") == len(read_experiments())


def test_an_unknown_experiment_is_refused_before_anything_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shown = experiments("run", "lssl_fig8", "lssl_table9")
    assert shown.exit_code == 1 and "lssl_table9: is no experiment of the papers" in shown.output
    assert "stargan_table2" in shown.output and not list(tmp_path.iterdir())


def test_a_damaged_row_is_named(tmp_path: Path) -> None:
    rows = tmp_path / "lssl_table1" / "rig_oulu_casia-cpu" / "rows"
    rows.mkdir(parents=True)
    (rows / "lssl.json").write_text('{"row": "lssl"}')
    shown = experiments("--results", str(tmp_path))
    assert shown.exit_code == 1 and "lssl.json: experiment: Field required" in shown.output


def test_the_papers_own_data_brings_what_it_needs() -> None:
    table = find_experiment("lssl_table1")
    assert overrides_of(table, scale="cpu") == ["experiment=lssl_table1", "scale=cpu"]
    own = overrides_of(table, scale="cpu", dataset="oulu_casia", others=["dataset.root=/x", "masks=own"])
    assert own[2:] == ["dataset=oulu_casia", "landmarks=dlib", "dataset.root=/x", "masks=own"]
    assert overrides_of(table, scale="cpu", dataset="rig")[2:] == ["dataset=rig"]
    assert run_name(table, scale="cpu") == "rig_oulu_casia-cpu"


@pytest.mark.nightly
def test_an_experiment_is_run_and_filed(tmp_path: Path) -> None:
    workspace = dvc_workspaces.make_workspace(tmp_path / "workspace")
    dvc_workspaces.commit(workspace)
    environment = prefect_environment(tmp_path, dvc_workspaces.environment())

    def run() -> str:
        arguments = ("experiments", "run", "lssl_fig2b", "--scale", "smoke", "--results", "kept")
        command = [sys.executable, "-m", "pipeline.cli", *arguments]
        return dvc_workspaces.run(workspace, *command, env=environment).stdout

    assert "lssl_fig2b: filed in kept/lssl_fig2b/rig_oulu_casia-smoke" in run()
    folder = workspace / "kept" / "lssl_fig2b" / "rig_oulu_casia-smoke"
    rows = read_rows(folder)
    assert list(rows) == ["lssl", "real test faces"]
    scores = json.loads((workspace / "artifacts" / "scores" / "lssl.s2l" / "scores.json").read_text())
    assert rows["lssl"].figures["recognition"] == pytest.approx(100 * scores["recognition"]["accuracy"], abs=1e-3)
    assert rows["lssl"].run.data == "embedded faces (preset oulu_casia, subjects 6, frames 1)"
    page = (workspace / "kept" / "lssl_fig2b" / "README.md").read_text()
    assert "rig_oulu_casia-smoke" in page and "its figures say nothing" in page
    before = {file: file.read_bytes() for file in (folder / "rows").iterdir()}
    assert "filed in" in run()  # everything is up to date, and the rows are the same
    assert {file: file.read_bytes() for file in (folder / "rows").iterdir()} == before
    listed = dvc_workspaces.run(
        workspace, sys.executable, "-m", "pipeline.cli", "experiments", "--results", "kept", env=environment
    )
    assert "rig_oulu_casia-smoke (" in listed.stdout
