"""Workspaces that DVC runs in: copies of the project, with the real `s2l` or one that only leaves files behind."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import yaml

from pipeline.profile import compose_profile, write_parameters

ROOT = Path(__file__).parent.parent.parent
SHARED = (
    "augment",
    "classifiers",
    "reports",
    "pipeline",
    "conf",
    "dvc.yaml",
    ".dvcignore",
    ".gitattributes",
    ".gitignore",
    ".dvc/config",
    ".dvc/.gitignore",
)

# In dvc.yaml: the code that a stage can run, to the end of its list.
CODE = re.compile(r"^ *# code that it can run\n(?: +[\w/.]+\.?\w*,.*\n)+", re.MULTILINE)

# Instead of s2l: writes outputs and who was called how. It checks nothing, so that what DVC does is seen alone.
STAND_IN = """#!/bin/sh
name="${DVC_STAGE##*@}"
echo "$DVC_STAGE: $*" >> "$S2L_CALLS"
case "$1" in
prepare)
    mkdir -p artifacts/pretraining
    cp params.yaml artifacts/pretraining
    cp params.yaml artifacts/folds.parquet
    out=artifacts/faces ;;
parsing | judge | report) out="artifacts/$1" ;;
train) out="artifacts/translators/$name.s2l" ;;
synthesize) out="artifacts/synthetic/$name.s2l" ;;
assess)
    mkdir -p "artifacts/scores/$name.s2l"
    cp params.yaml "artifacts/scores/$name.s2l"
    out="artifacts/selected/$name.s2l" ;;
classify) out="artifacts/arms/$name.s2l" ;;
esac
mkdir -p "$out"
cp params.yaml "$out"
if [ "$1" = report ]; then
    mkdir -p plots/confusion
    echo '{"accuracy": 0.5}' > metrics.json
    printf 'actual,predicted\\nhappy,sad\\n' > plots/confusion/real.csv
    printf 'n,accuracy\\n1,0.5\\n' > plots/accuracy_against_n.csv
    printf 'step,accuracy\\n1,0.5\\n' > plots/classifiers.csv
fi
"""


def environment(**more: str) -> dict[str, str]:
    """This environment's commands first on the PATH, and somebody whom git can name."""
    scripts = str(Path(sys.executable).parent)
    who = {f"GIT_{role}_{what}": "tests@localhost" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    values = os.environ | who | {"PATH": scripts + os.pathsep + os.environ["PATH"]} | more
    return {key: value for key, value in values.items() if key != "DVC_STAGE"}


def run(
    workspace: Path, *command: str, check: bool = True, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Runs a command in a workspace."""
    done = subprocess.run(
        command, cwd=workspace, env=env or environment(), capture_output=True, text=True, timeout=900, check=False
    )
    assert not check or done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return done


def make_workspace(folder: Path, *overrides: str, code: bool = False) -> Path:
    """Copies the project to a new git repository and composes a profile there.

    Args:
        folder: The new workspace.
        overrides: Words of `s2l profile`.
        code: Whether stages depend on the code, as dvc.yaml has it: each on sixty files, which DVC reads and writes in
            dvc.lock whenever a stage has run, for more seconds of a processor than all else that it does takes.
    """
    for name in SHARED:
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(ROOT / name, target)
    if not code:
        (folder / "dvc.yaml").write_text(stages_without_code(), encoding="utf-8")
    run(folder, "git", "init", "-q")
    write_parameters(folder, compose_profile(folder, overrides))
    return folder


def stages_without_code() -> str:
    """The project's dvc.yaml, in which no stage depends on code."""
    return CODE.sub("", (ROOT / "dvc.yaml").read_text(encoding="utf-8"))


def keep_stages(place: Path, *names: str) -> None:
    """Leaves of all stages in a workspace those that a test learns from; each that is run takes seconds.

    What they would read of the others is left out too: DVC refuses a stage of which a dependency is missing.
    """
    stages = yaml.safe_load(stages_without_code())["stages"]
    kept = {name: stages[name] for name in names}
    bodies = [stage.get("do", stage) for stage in kept.values()]
    made = [out for body in bodies for out in body["outs"] if isinstance(out, str)]
    for body in bodies:
        body["deps"] = [
            dep
            for dep in body["deps"]
            if not dep.startswith("artifacts/") or any(out.startswith(dep.partition("$")[0]) for out in made)
        ]
    (place / "dvc.yaml").write_text(yaml.safe_dump({"stages": kept}), encoding="utf-8")


def commit(workspace: Path) -> None:
    """Commits all that git does not ignore."""
    run(workspace, "git", "add", "--all")
    run(workspace, "git", "commit", "-q", "-m", "all")


def clone(workspace: Path, place: Path) -> Path:
    """A fresh clone: no artifacts, no cache, no remote of DVC."""
    run(workspace, "git", "clone", "-q", str(workspace), str(place))
    return place


def write_stand_in(folder: Path) -> dict[str, str]:
    """Writes the stand-in for `s2l` to a folder of its own; the environment finds it first.

    The calls are written to `folder/calls`.
    """
    command = folder / "commands" / "s2l"
    command.parent.mkdir(parents=True)
    command.write_text(STAND_IN, encoding="utf-8")
    command.chmod(0o755)
    values = environment(S2L_CALLS=str(folder / "calls"))
    return values | {"PATH": str(command.parent) + os.pathsep + values["PATH"]}


def run_by_stand_in(folder: Path, *overrides: str, code: bool = False) -> tuple[Path, dict[str, str]]:
    """A workspace whose every stage the stand-in has run, and the environment that finds it."""
    workspace = make_workspace(folder / "workspace", *overrides, code=code)
    env = write_stand_in(folder)
    run(workspace, "dvc", "repro", env=env)
    return workspace, env
