"""Names in params.yaml that nobody should trust: DVC hands them to no shell and removes nothing for them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from click.testing import CliRunner
from dvc_workspaces import commit, run, run_by_stand_in

from pipeline import cli
from pipeline.profile import write_parameters

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent.parent
# What a shell runs unquoted, in double quotes, and in single ones.
SHELL_NAMES = ("x; touch pwned; $(touch pwned)'; touch pwned; '",)
CLIMBING_NAMES = ("../../mine", "../../../neighbour", "../../.git", "../faces")


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A run whose every stage is up to date, by a stand-in that checks no names."""
    folder = tmp_path_factory.mktemp("names")
    workspace, env = run_by_stand_in(folder, "scale=smoke")
    commit(workspace)
    return folder, env


@pytest.fixture
def copy(done: tuple[Path, dict[str, str]], tmp_path: Path) -> tuple[Path, dict[str, str]]:
    folder, env = done
    shutil.copytree(folder / "workspace", tmp_path / "workspace", symlinks=True)
    for place in (tmp_path / "neighbour", tmp_path / "workspace" / "mine"):
        place.mkdir()
        (place / "letter.txt").write_text("dear me", encoding="utf-8")
    return tmp_path, env


def name_entries(workspace: Path, *names: str, translators: bool = True) -> None:
    """Calls arms (and translators) so, in a params.yaml written by hand."""
    file = workspace / "params.yaml"
    values = yaml.safe_load(file.read_text(encoding="utf-8"))
    for name in names:
        values["arms"]["real"][name] = values["arms"]["real"]["real"]
        if translators:
            values["translators"][name] = values["translators"]["warp"]
            values["arms"]["synthetic"][f"{name} "] = values["arms"]["synthetic"]["warp"] | {"translator": name}
    file.write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")


def test_dvc_yaml_renders_no_parameter_into_a_command() -> None:
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    for name, stage in stages.items():
        assert "${" not in stage.get("do", stage)["cmd"], name


def test_dvc_yaml_ends_every_output_of_a_users_name_in_s2l() -> None:
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    outs = [out for stage in stages.values() for out in stage.get("do", stage)["outs"]]
    named = [out for out in outs if "${" in str(out)]
    assert len(named) == 7 and all(out.endswith("${key}.s2l") for out in named)


def test_what_the_report_reads_whole_is_there_without_translators(tmp_path: Path) -> None:
    """DVC refuses a stage of which a dependency is missing, and translators' folders are made by translators alone."""
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    always = {out for stage in stages.values() if "do" not in stage for out in stage["outs"] if isinstance(out, str)}
    read = {dep for dep in stages["report"]["deps"] if dep.startswith("artifacts/")}
    write_parameters(tmp_path, "seed: 0\n")
    assert {place for place in read - always if not (tmp_path / place).is_dir()} == set()
    assert (tmp_path / "params.yaml").read_text() == "seed: 0\n"


@pytest.mark.parametrize(
    ("command", "translators"),
    [
        (["dvc", "repro", "--keep-going"], False),  # of translators DVC itself says that outputs overlap
        (["dvc", "repro", "--single-item", "--keep-going", "train", "synthesize", "assess", "classify_real"], True),
        (["dvc", "exp", "run", "--keep-going"], False),
        (["dvc", "exp", "run", "--temp", "--keep-going"], False),
    ],
    ids=["repro", "single", "experiment", "elsewhere"],
)
def test_no_shell_sees_a_name_and_none_that_climbs_out_of_artifacts_removes_anything(
    copy: tuple[Path, dict[str, str]], command: list[str], translators: bool
) -> None:
    folder, env = copy
    workspace = folder / "workspace"
    name_entries(workspace, *SHELL_NAMES)
    name_entries(workspace, *CLIMBING_NAMES, translators=translators)
    calls = folder / "calls"
    done = run(workspace, *command, check=False, env=env | {"S2L_CALLS": str(calls)})
    told = calls.read_text(encoding="utf-8").splitlines()
    # The commands did run, each for its name: nothing refused them before.
    for name in SHELL_NAMES:
        assert f"train@{name}: train" in told and f"classify_real@{name}: classify" in told
    # DVC came to these too; that it removes their outputs before it fails, the control shows.
    for name in CLIMBING_NAMES:
        assert f"'classify_real@{name}'" in done.stdout + done.stderr
    assert not list(folder.rglob("pwned"))
    assert (workspace / "mine" / "letter.txt").is_file() and (folder / "neighbour" / "letter.txt").is_file()
    assert (workspace / ".git" / "HEAD").is_file() and (workspace / "artifacts" / "faces" / "params.yaml").is_file()


def test_an_output_without_the_ending_would_be_removed(copy: tuple[Path, dict[str, str]]) -> None:
    """The control: it is the ending that keeps folders, not something that DVC does by itself."""
    folder, env = copy
    workspace = folder / "workspace"
    file = workspace / "dvc.yaml"
    file.write_text(file.read_text(encoding="utf-8").replace("arms/${key}.s2l", "arms/${key}"), encoding="utf-8")
    name_entries(workspace, "../../../neighbour")
    command = ["dvc", "repro", "--single-item", "classify_real@../../../neighbour"]
    run(workspace, *command, check=False, env=env | {"S2L_CALLS": str(folder / "calls")})
    assert not (folder / "neighbour" / "letter.txt").exists()


@pytest.mark.parametrize("stage", ["train", "synthesize", "assess", "classify"])
@pytest.mark.parametrize("addressed", ["train@lssl", "../dvc.yaml:train@lssl", "/a@b/dvc.yaml:train@lssl"])
def test_the_command_learns_its_name_from_dvc(stage: str, addressed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Any] = []
    monkeypatch.setattr("pipeline.commands.stages._run", lambda stage, **arguments: told.append((stage, arguments)))
    monkeypatch.setenv("DVC_STAGE", addressed)
    assert CliRunner().invoke(cli.main, [stage]).exit_code == 0
    assert CliRunner().invoke(cli.main, [stage, "warp"]).exit_code == 0
    assert told == [(stage, {"name": "lssl"}), (stage, {"name": "warp"})]


@pytest.mark.parametrize("stage", ["train", "synthesize", "assess", "classify"])
def test_without_dvc_the_command_asks_for_a_name(stage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DVC_STAGE", raising=False)
    result = CliRunner().invoke(cli.main, [stage])
    assert result.exit_code == click.UsageError.exit_code and f"s2l {stage} NAME" in result.output


def test_s2l_refuses_the_names_that_dvc_passed_on(
    copy: tuple[Path, dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, _ = copy
    workspace = folder / "workspace"
    name_entries(workspace, *SHELL_NAMES, *CLIMBING_NAMES)
    monkeypatch.chdir(workspace)
    monkeypatch.setenv("DVC_STAGE", f"train@{SHELL_NAMES[0]}")
    monkeypatch.setattr("pipeline.core.parent_process.end_with_caller", lambda: None)
    result = CliRunner().invoke(cli.main, ["train"])
    assert result.exit_code == 1
    for name in (*SHELL_NAMES, *CLIMBING_NAMES):
        assert f"translators.{name}: {name!r} is not of the form" in result.output
        assert f"arms.real.{name}: {name!r} is not of the form" in result.output
