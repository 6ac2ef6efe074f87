"""The folder that a command is run in: which project it belongs to, and whether DVC can run there."""

from __future__ import annotations

import re
from pathlib import Path

from augment.core.errors import InputError, Problem

NO_GIT = re.compile(r"^\s*no_scm\s*=\s*true\s*$", re.MULTILINE | re.IGNORECASE)


def where_to_run(folder: Path) -> str:
    """Advice for a command that was not run in a project's folder."""
    for parent in Path(folder).resolve().parents:
        if (parent / "dvc.yaml").is_file() and (parent / "conf").is_dir():
            return f"this is a folder of a project: run the command in {parent}"
    return "run the command in the project's folder"


def is_project(folder: Path) -> bool:
    """Whether `s2l profile` can be run here."""
    return (Path(folder) / "conf").is_dir()


def check_project(folder: Path) -> None:
    """Checks that a command was run in a project's folder.

    Raises:
        InputError: There is no conf/ in it, of which profiles are composed.
    """
    if not is_project(folder):
        raise InputError(Problem(str((Path(folder) / "conf").resolve()), "is not there", where_to_run(folder)))


def check_place_of_artifacts(folder: Path) -> None:
    """Checks, before a stage that DVC runs, that DVC will accept the stage's outputs.

    Raises:
        InputError: artifacts/ is a link that leads out of the git repository: DVC refuses such outputs, but only after
            the stage has run.
    """
    artifacts, real = Path(folder) / "artifacts", Path(folder).resolve()
    in_git = any((parent / ".git").exists() for parent in (real, *real.parents))
    if in_git and artifacts.is_symlink() and not artifacts.resolve().is_relative_to(real):
        why = "is a link that leads out of the git repository, where DVC accepts no outputs"
        fix = "mount the other disk at artifacts/, or clone the project onto it; stages run without DVC may write there"
        raise InputError(Problem(str(artifacts), why, fix))


def git_advice(folder: Path) -> str:
    """What to do where there is no git repository, which DVC requires; empty where DVC will run.

    A downloaded source archive has no git repository, and its .dvc/config tells DVC so; other copies don't.
    """
    folder = Path(folder).resolve()
    if not (folder / ".dvc").is_dir() or any((parent / ".git").exists() for parent in (folder, *folder.parents)):
        return ""
    for name in ("config", "config.local"):
        file = folder / ".dvc" / name
        if file.is_file() and NO_GIT.search(file.read_text(encoding="utf-8", errors="replace")):
            return ""
    return (
        f"{folder} is not in a git repository, without which DVC runs nothing: `git init`, "
        "or `dvc config --local core.no_scm true` (no `dvc exp`, no `dvc metrics diff`)"
    )
