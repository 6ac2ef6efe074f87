"""`s2l experiments`: the list, what is refused, and one experiment through DVC and Prefect to its filed rows."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import dvc_workspaces
import pytest
import yaml
from click.testing import CliRunner, Result
from flow_workspaces import prefect_environment

import pipeline.experiments
from augment.core.errors import InputError
from augment.core.seals import seal_folder
from augment.sources import check_source_settings
from pipeline.cli import main
from pipeline.experiments import Wanted
from pipeline.parameters.dataset import DatasetSettings
from pipeline.profile import compose_profile
from pipeline.results import describe_data, without_root
from reports.code_version import CodeVersion
from reports.cost import RunRecord, StageRecord
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


@pytest.mark.parametrize(
    ("changed", "tree"),
    [
        ((), "unchanged"),
        (("params.yaml", "plots/losses/lssl.csv", "docs/results/lssl_table1/README.md"), "unchanged"),
        (("augment/translators/lssl.py", "params.yaml"), "changed"),
        (None, "unknown"),
    ],
)
def test_what_the_command_itself_writes_is_no_changed_code(changed: tuple[str, ...] | None, tree: str) -> None:
    stage = StageRecord(name="prepare", seconds=1.0, code=CodeVersion(commit="c" * 40, changed=changed))
    record = RunRecord(code=CodeVersion(commit="c" * 40, changed=()), stages=(stage,))
    assert pipeline.experiments._tree(record) == tree


def test_a_damaged_row_is_named(tmp_path: Path) -> None:
    rows = tmp_path / "lssl_table1" / "rig_oulu_casia-cpu" / "rows"
    rows.mkdir(parents=True)
    (rows / "lssl.json").write_text('{"row": "lssl"}')
    shown = experiments("--results", str(tmp_path))
    assert shown.exit_code == 1 and "has no .s2l" in shown.output  # nobody filed it
    seal_folder(rows.parent)
    shown = experiments("--results", str(tmp_path))
    assert shown.exit_code == 1 and "lssl.json: experiment: Field required" in shown.output
    assert "stargan_table2: StarGAN variants, Table 2" in shown.output  # the others are listed all the same


def test_runs_of_many_settings_are_filed_apart() -> None:
    settings = (
        *("judge.pretraining.source=rafd", "~judge.pretraining.settings"),
        *("translators.lssl_pose.training.steps=4000", "arms.lssl_pose.per_class=600"),
    )
    experiment = find_experiment("lssl_table3")
    folders = {Wanted(experiment, "cpu", None, (*settings, f"seed={seed}")).folder for seed in (1, 2)}
    assert len(folders) == 2 and all(len(folder) <= 120 for folder in folders)
    assert Wanted(experiment, "cpu", None, ("seed=1",)).folder == "rig_bu3dfe-cpu-seed_1"
    named = {
        Wanted(experiment, "cpu", None, (f"dataset.classes={names}",)).folder
        for names in ("['喜','怒']", "['悲','楽']")
    }
    assert len(named) == 2


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"gallery": {"file": "../../../secret.png", "columns": [], "row_labels": [], "size": 4}}, "no name of a file"),
        (
            {"gallery": {"file": "gone.png", "columns": [], "row_labels": [], "size": 4}},
            "gone.png: is not there",
        ),
        ({"classes": ["a", "b"], "confusion": [[1, 2]]}, "confusion: is not 2 by 2"),
        ({"figures": {"accuracy": float("nan")}}, "figures.accuracy: Input should be a finite number"),
    ],
)
def test_rows_that_no_run_could_have_filed_are_named(tmp_path: Path, change: dict[str, object], said: str) -> None:
    place = Path(shutil.copytree(ROOT / "docs" / "results" / "lssl_fig2a", tmp_path / "lssl_fig2a"))
    file = next(place.glob("*/rows/*.json"))
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    seal_folder(file.parents[1])
    result = experiments("--results", str(tmp_path))
    assert result.exit_code == 1 and said in result.output and "Traceback" not in result.output


def test_the_papers_own_data_brings_what_it_needs() -> None:
    table = find_experiment("lssl_table1")
    assert Wanted(table, "cpu").overrides == ["experiment=lssl_table1", "scale=cpu"]
    own = Wanted(table, "cpu", "oulu_casia", ("dataset.root=/x", "masks=own")).overrides
    assert own[2:] == ["dataset=oulu_casia", "landmarks=dlib", "dataset.root=/x", "masks=own"]
    assert Wanted(table, "cpu", "rig").overrides[2:] == ["dataset=rig"]
    assert Wanted(table, "cpu").folder == "rig_oulu_casia-cpu"
    assert Wanted(table, "cpu", "mug", ("dataset.root=/a b",)).folder == "mug-cpu"
    assert Wanted(table, "cpu", None, ("seeds=[0,1]",)).folder == "rig_oulu_casia-cpu-seeds_0_1"


@pytest.mark.parametrize("word", ["experiment=lssl_fig8", "scale=smoke", "dataset=mug", "+scale=cpu"])
def test_a_setting_that_would_make_the_rows_lie_is_refused(word: str) -> None:
    with pytest.raises(InputError, match="would run something else than the rows say"):
        _ = Wanted(find_experiment("lssl_table1"), "cpu", None, (word,)).overrides


@pytest.mark.parametrize("name", [name for name, found in read_experiments().items() if found.data.own])
def test_the_papers_own_data_takes_its_settings_at_every_scale(name: str) -> None:
    """Sizes of the stand-in are not among them, and all that the method needs is asked for."""
    experiment = find_experiment(name)
    for scale in ("smoke", "cpu", "paper"):
        values = yaml.safe_load(compose_profile(ROOT, Wanted(experiment, scale, experiment.data.own).overrides))
        dataset = DatasetSettings.model_validate(values["dataset"])
        check_source_settings(dataset.source, dataset.settings)
        learned = {entry["method"] for entry in values["translators"].values()}
        if learned & {"lssl", "lssl_pose"}:
            assert dataset.annotation.landmarks.detector == "dlib" and values["parsing"]["enabled"]
        assert dataset.annotation.simulated == ("lssl_pose" in learned)


def test_data_that_are_not_there_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    root = f"dataset.root={tmp_path / 'no-such-folder'}"
    wanted = Wanted(find_experiment("lssl_table2"), "cpu", "mug", (root,))
    with pytest.raises(InputError, match="no-such-folder"):
        wanted.check(ROOT)


@pytest.mark.parametrize(
    ("given", "hidden"),
    [
        ("s2l profile dataset.root=/home/me/a b scale=cpu", "s2l profile dataset.root=... scale=cpu"),
        ("run --set 'dataset.root=/home/me/a b' --set seeds=[0]", "run --set 'dataset.root=...' --set seeds=[0]"),
        ("run --set +parsing.teacher.root=/home/me", "run --set +parsing.teacher.root=..."),
        ("s2l profile scale=cpu", "s2l profile scale=cpu"),
    ],
)
def test_paths_of_a_users_data_are_hidden(given: str, hidden: str) -> None:
    assert without_root(given) == hidden


def test_two_data_sets_are_both_named() -> None:
    parts = [{"source": "rig", "settings": {"preset": "ferg"}}, {"source": "fer2013"}]
    assert describe_data("joint", {"parts": parts}) == "embedded faces (preset ferg) and fer2013"


TINY = (
    "+dataset.settings.subjects=8",
    "+dataset.settings.frames=1",
    "seeds=[0]",
    "parsing.training.steps=10",
    "judge.classifier.steps=10",
    "judge.classifier.validate_every=5",
    "classifier.steps=10",
    "classifier.validate_every=5",
    "translators.lssl.training.steps=10",
    "translators.lssl.training.generator_learning_rate=0.02",
    "translators.lssl.training.validate_every=5",
    "synthesis.per_class=5",
    "+report.bootstrap={resamples:200}",
)


def test_the_site_takes_the_place_of_a_site_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run's report is sealed by the tool as a site is, and has an index too."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "none").mkdir()  # where nothing is filed
    report = tmp_path / "artifacts" / "report"
    report.mkdir(parents=True)
    (report / "index.html").write_text("the report")
    seal_folder(report)
    refused = experiments("--results", "none", "site", "--out", "artifacts/report")
    assert refused.exit_code == 1 and "it is not touched" in refused.output
    assert (report / "index.html").read_text() == "the report"
    for _ in range(2):  # the second takes the first's place
        assert experiments("--results", "none", "site").exit_code == 0
    assert (tmp_path / "artifacts" / "site" / "index.html").is_file()


@pytest.mark.nightly
@pytest.mark.parametrize("scale", ["smoke", "cpu"])
def test_an_experiment_is_run_and_filed(tmp_path: Path, scale: str) -> None:
    workspace = dvc_workspaces.make_workspace(tmp_path / "workspace")
    dvc_workspaces.commit(workspace)
    environment = prefect_environment(tmp_path, dvc_workspaces.environment())
    settings = [word for setting in TINY for word in ("--set", setting)] if scale == "cpu" else []

    def command(*words: str) -> str:
        line = [sys.executable, "-m", "pipeline.cli", "experiments", *words, "--results", "kept"]
        return dvc_workspaces.run(workspace, *line, env=environment).stdout

    assert "lssl_fig2b: filed in kept/lssl_fig2b" in command("run", "lssl_fig2b", "--scale", scale, *settings)
    (folder,) = (workspace / "kept" / "lssl_fig2b").glob(f"rig_oulu_casia-{scale}*/")
    rows = read_rows(folder)
    assert list(rows) == ["lssl", "real test faces"] and rows["lssl"].gallery is not None
    assert (folder / "sheets" / "lssl.png").is_file()
    assert "preset oulu_casia, subjects 8, frames 1" in rows["lssl"].run.data
    assert rows["lssl"].run.data.endswith("classes: illumination")
    page = (workspace / "kept" / "lssl_fig2b" / "README.md").read_text()
    assert folder.name in page and ("its figures say nothing" in page) == (scale == "smoke")
    assert f"{folder.name} (" in command()
    assert command("site").strip().endswith("index.html")
    if scale == "smoke":  # nothing of the workspace was touched
        status = dvc_workspaces.run(workspace, "git", "status", "--porcelain").stdout.split()
        assert status == ["??", "kept/"]
        return
    scores = json.loads((workspace / "artifacts" / "scores" / "lssl.s2l" / "scores.json").read_text())
    assert rows["lssl"].figures["recognition"] == pytest.approx(100 * scores["recognition"]["accuracy"], abs=1e-3)
    before = {file: file.read_bytes() for file in (folder / "rows").iterdir()}
    command("run", "lssl_fig2b", "--scale", scale, *settings)  # everything is up to date, and the rows are the same
    assert {file: file.read_bytes() for file in (folder / "rows").iterdir()} == before
