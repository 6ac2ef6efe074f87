"""The commit of the code that ran: with git, with changes, without git, and in somebody else's repository."""

import os
import subprocess
from pathlib import Path

import pytest

from reports.code_version import HOME, UNKNOWN, CodeVersion, describe_code


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=A", "-c", "user.email=a@example.com", "-c", "init.defaultBranch=main"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    command = ["git", *identity, "-C", str(folder), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout.strip()


@pytest.fixture
def repository(tmp_path) -> Path:
    folder = tmp_path / "clone"
    folder.mkdir()
    git(folder, "init")
    for name in ("params.yaml", "dvc.lock", "code.py"):
        (folder / name).write_text("1\n")
    git(folder, "add", ".")
    git(folder, "commit", "-m", "first")
    return folder


def test_a_clean_tree(repository) -> None:
    found = describe_code(repository)
    assert found == CodeVersion(commit=git(repository, "rev-parse", "HEAD"), changed=())
    assert found.known and found.description == f"{found.commit}, tree unchanged"


def test_changed_and_unknown_files_are_named(repository) -> None:
    (repository / "params.yaml").write_text("2\n")
    (repository / "new file é.py").write_text("3\n")
    (repository / "code.py").unlink()
    found = describe_code(repository)
    assert found.changed == ("code.py", "new file é.py", "params.yaml")
    assert found.description.endswith("and changed since: code.py, new file é.py, params.yaml")


def test_what_dvc_writes_while_it_runs_is_no_change(repository) -> None:
    (repository / "dvc.lock").write_text("2\n")
    assert describe_code(repository).changed == ()


def test_looking_changes_nothing(repository) -> None:
    os.utime(repository / "code.py", (1, 1))  # a plain `git status` would refresh its index
    before = (repository / ".git" / "index").read_bytes()
    describe_code(repository)
    assert (repository / ".git" / "index").read_bytes() == before


def test_no_repository_and_no_git_are_unknown(repository, tmp_path, monkeypatch) -> None:
    alone = tmp_path / "unpacked"
    alone.mkdir()
    assert describe_code(alone) == CodeVersion()
    assert CodeVersion().description.startswith(UNKNOWN) and not CodeVersion().known
    monkeypatch.setenv("PATH", str(alone))
    assert describe_code(repository) == CodeVersion()


def test_a_repository_around_the_code_is_not_its_own(repository) -> None:
    """Code that lies in somebody's versioned home folder has not that folder's commit."""
    inner = repository / "unpacked"
    inner.mkdir()
    assert describe_code(inner) == CodeVersion()


def test_another_program_s_variables_mislead_nobody(repository, tmp_path, monkeypatch) -> None:
    other = tmp_path / "other"
    other.mkdir()
    git(other, "init")
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    assert describe_code(repository).known


def test_the_code_s_home_holds_the_rooms() -> None:
    assert {"augment", "classifiers", "reports", "pipeline"} <= {path.name for path in HOME.iterdir()}
