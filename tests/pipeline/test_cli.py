from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from augment.core.errors import InputError
from pipeline.cli import COMMANDS, SECTIONS, main
from pipeline.core.project import check_place_of_artifacts

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent.parent


def test_help_lists_every_stage_of_the_run() -> None:
    help_text = CliRunner().invoke(main, ["--help"]).output
    for stage in (
        "prepare",
        "parsing",
        "judge",
        "train",
        "synthesize",
        "assess",
        "classify",
        "report",
        "profile",
    ):
        assert stage in help_text


def test_help_lists_each_command_once_in_its_section() -> None:
    assert sorted(name for names in SECTIONS.values() for name in names) == sorted(COMMANDS)
    lines = CliRunner().invoke(main, ["--help"]).output.splitlines()
    at = [lines.index(f"{heading}:") for heading in SECTIONS]
    assert at == sorted(at)
    for start, stop, names in zip(at, [*at[1:], len(lines)], SECTIONS.values(), strict=True):
        assert [line.split()[0] for line in lines[start + 1 : stop] if line.strip()] == list(names)


def test_help_of_profile_lists_what_conf_offers_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    here = " ".join(CliRunner().invoke(main, ["profile", "--help"]).output.split())
    assert "scale cpu, gpu, long, paper, smoke" in here and "landmarks dlib, none" in here
    (tmp_path / "conf" / "scale").mkdir(parents=True)
    (tmp_path / "conf" / "scale" / "mine.yaml").touch()
    monkeypatch.chdir(tmp_path)
    own = " ".join(CliRunner().invoke(main, ["profile", "--help"]).output.split())
    assert "scale mine" in own and "landmarks" not in own
    monkeypatch.chdir(tmp_path / "conf")
    assert "There is no conf/ here" in CliRunner().invoke(main, ["profile", "--help"]).output


def completions(shell: str, *words: str) -> list[str]:
    """What a shell is offered for the last word, as the shell's own script asks for it."""
    environment = {"COMP_WORDS": " ".join(words), "COMP_CWORD": str(len(words) - 1)}
    if shell == "fish":  # hands over the word at the cursor itself
        environment["COMP_CWORD"] = words[-1]
    done = subprocess.run(
        [sys.executable, "-c", "from pipeline.cli import main; main(prog_name='s2l')"],
        cwd=ROOT,
        env={**os.environ, "_S2L_COMPLETE": f"{shell}_complete", "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    lines = done.stdout.splitlines()
    if shell == "zsh":
        return lines[1::3]
    return [line.split(",", 1)[1].split("\t")[0] for line in lines if line]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_complete_commands_and_profiles(shell: str) -> None:
    assert {"prepare", "profile"} <= set(completions(shell, "s2l", "pr"))
    assert "dataset=fer2013" in completions(shell, "s2l", "profile", "data")
    if shell != "bash":
        assert completions(shell, "s2l", "profile", "dataset=rig", "scale=g") == ["scale=gpu"]


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (("scale", "=", "g"), ["gpu"]),
        (("dataset", "=", "rig", "scale", "="), ["cpu", "gpu", "long", "paper", "smoke"]),
        (("nothing", "=", "g"), []),
    ],
)
def test_bash_which_splits_words_at_the_sign_gets_values_alone(words: tuple[str, ...], wanted: list[str]) -> None:
    assert completions("bash", "s2l", "profile", *words) == wanted


def test_the_line_that_the_page_gives_for_bash_completes_in_bash() -> None:
    page = (ROOT / "docs" / "reference" / "command-line.md").read_text(encoding="utf-8")
    line = page.split("| bash | `~/.bashrc` | `")[1].split("`")[0]
    script = f"""
{line}
COMP_WORDS=(s2l profile landmarks = ""); COMP_CWORD=4
$(complete -p s2l | sed -E "s/.*-F ([^ ]+) s2l/\\1/") s2l
printf "%s\\n" "${{COMPREPLY[@]}}"
"""
    scripts = str(Path(sys.executable).parent)
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=ROOT,
        env={**os.environ, "PATH": scripts + os.pathsep + os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["dlib", "none"], done.stderr


@pytest.mark.parametrize("arguments", [["--help"], ["profile", "--help"]])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    """What makes `s2l --help` answer in under a second: nothing is timed here, since machines differ."""
    code = (
        "import sys\nfrom pipeline.cli import main\n"
        f"try:\n    main({arguments})\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'timm', 'pandas', 'pyarrow', 'numpy', 'sklearn', 'dvc', 'prefect', 'pydantic', 'hydra'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_stage_outside_a_project_says_what_is_missing(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, ["check"])
    assert result.exit_code == 1
    assert "params.yaml" in result.output and "s2l profile" in result.output


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project's folder with what `s2l profile` needs, and git."""
    shutil.copytree(ROOT / "conf", tmp_path / "conf")
    shutil.copytree(ROOT / ".dvc", tmp_path / ".dvc", ignore=shutil.ignore_patterns("tmp", "cache"))
    shutil.copy2(ROOT / "dvc.yaml", tmp_path)
    (tmp_path / "augment" / "rig").mkdir(parents=True)
    (tmp_path / ".git").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    return tmp_path


def invoke(*command: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, command)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


def test_profile_says_that_the_data_are_not_there_and_writes_all_the_same(project: Path) -> None:
    code, output = invoke("profile", "dataset=folder", "dataset.root=/nonexistent", "dataset.licence=mit")
    assert code == 0 and "dataset.root: /nonexistent is not there" in output and "`dvc repro` runs it" not in output
    assert "root: /nonexistent" in (project / "params.yaml").read_text(encoding="utf-8")
    (project / "faces").mkdir()
    code, output = invoke("profile", "dataset=folder", "dataset.root=faces", "dataset.licence=mit")
    assert code == 0
    assert output == "params.yaml is written; `s2l check` says what of it can't be done, `dvc repro` runs it.\n"


def test_a_gpu_that_is_not_there_is_named_by_profile_and_check(project: Path) -> None:
    code, output = invoke("profile", "runtime.device=cuda")
    assert code == 0 and "runtime.device: is cuda, but torch sees no GPU here" in output
    code, output = invoke("check")
    assert code == 1 and output.startswith("Error: params.yaml: runtime.device: is cuda, but torch sees no GPU here")


def test_one_gpu_is_not_two(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert "torch sees 1 GPUs here" in invoke("profile", "runtime.device=cuda:1")[1]
    assert "GPU" not in invoke("profile", "runtime.device=cuda:0")[1]


@pytest.mark.parametrize("command", ["check", "profile"])
def test_in_a_subfolder_the_advice_names_the_projects_folder(
    project: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.chdir(project / "conf" / "scale")
    code, output = invoke(command)
    assert code == 1 and f"run the command in {project}" in output


def test_without_git_the_advice_is_what_dvc_needs(project: Path) -> None:
    (project / ".git").rmdir()
    assert "`git init`" in invoke("profile", "scale=smoke")[1]
    assert "`git init`" in invoke("check")[1]
    (project / ".dvc" / "config.local").write_text("[core]\n    no_scm = true\n", encoding="utf-8")
    assert "git" not in invoke("check")[1]


def test_a_link_that_leads_artifacts_out_of_the_repository_is_refused_before_the_work(
    project: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DVC itself says so, but only when the stage has run."""
    artifacts = project / "artifacts"
    check_place_of_artifacts(project)
    artifacts.symlink_to(tmp_path_factory.mktemp("disk"))
    (project / ".git").rename(project / "git")
    check_place_of_artifacts(project)  # without git DVC takes it
    (project / "git").rename(project / ".git")
    with pytest.raises(InputError, match=r"leads out of the git repository.*mount the other disk at artifacts/"):
        check_place_of_artifacts(project)
    monkeypatch.setenv("DVC_STAGE", "prepare")
    result = CliRunner().invoke(main, ["prepare"])
    assert result.exit_code == 1 and "leads out of the git repository" in result.output
    artifacts.unlink()
    (project / "disk").mkdir()
    artifacts.symlink_to("disk")
    check_place_of_artifacts(project)
