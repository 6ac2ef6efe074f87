"""dvc.yaml declares the code of its stages: an edit runs what it can have changed again, and nothing else."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest
import yaml
from dvc_workspaces import run, run_by_stand_in

from pipeline import stages

ROOT = Path(__file__).parent.parent.parent
ALL = {
    "prepare",
    "parsing",
    "judge",
    "train@warp",
    "synthesize@warp",
    "assess@warp",
    "classify_real@real",
    "classify_synthetic@warp",
    "report",
}


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    return run_by_stand_in(tmp_path_factory.mktemp("declared"), "scale=smoke")


@pytest.mark.parametrize(
    ("file", "stale"),
    [
        ("augment/faces/images.py", ALL),  # the picture decoder: judge and arms read pictures
        ("classifiers/models.py", ALL - {"prepare", "parsing", "synthesize@warp"}),
        ("reports/metrics/fid.py", {"assess@warp", "report"}),
        ("reports/templates", {"assess@warp", "report"}),
        ("pipeline/stages.py", ALL),
        ("pipeline/photos/translate.py", set()),
    ],
)
def test_an_edit_makes_stale_what_can_run_it(done: tuple[Path, dict[str, str]], file: str, stale: set[str]) -> None:
    workspace, env = done
    path = workspace / file
    path = next(path.iterdir()) if path.is_dir() else path
    before = path.read_bytes()
    path.write_bytes(before + b"\n")
    try:
        status = json.loads(run(workspace, "dvc", "status", "--json", env=env).stdout)
    finally:
        path.write_bytes(before)
    code = {"augment", "classifiers", "pipeline", "reports"}
    changed = {
        stage
        for stage, changes in status.items()
        for change in changes
        if isinstance(change, dict) and code & set(change.get("changed deps", {}))
    }
    assert changed == stale


def test_half_done_work_is_bound_to_the_same_code() -> None:
    declared = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    rooms = {dep for stage in declared.values() for dep in stage.get("do", stage)["deps"] if "/" not in dep}
    assert set(stages.CODE) == rooms - {"${dataset.root}", "${parsing.teacher.root}"}
    assert all(folder == ROOT / room for room, folder in stages.CODE.items())


def imported(module: str) -> set[str]:
    """The modules of pipeline/ that a module of it imports, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse((ROOT / f"{module.replace('.', '/')}.py").read_text(encoding="utf-8"))):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [str(node.module)] if isinstance(node, ast.ImportFrom) else []
        found |= {name for name in names if name.startswith("pipeline.")}
    return found


def test_no_code_of_a_stage_is_hidden_from_dvc() -> None:
    hidden = {
        line.strip("/\n").removesuffix(".py").replace("/", ".")
        for line in (ROOT / ".dvcignore").read_text(encoding="utf-8").splitlines()
        if line.startswith("/pipeline/")
    }
    waiting, reached = {"pipeline.stages"}, set()
    while waiting:
        module = waiting.pop()
        reached.add(module)
        waiting |= imported(module) - reached
    assert hidden and not hidden & reached
    assert {
        "pipeline.parameters",
        "pipeline.core.workspace",
        "augment.training.validation",
    } <= reached  # the walk does find code


def test_the_committed_lock_names_the_stages_that_there_are() -> None:
    lock = yaml.safe_load((ROOT / "dvc.lock").read_text(encoding="utf-8"))["stages"]
    declared = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    values = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    names: set[str] = set()
    for stage, facts in declared.items():
        section = values
        for key in str(facts.get("foreach", "")).strip("${}").split("."):
            section = section.get(key, {}) if key else {}
        names |= {f"{stage}@{name}" for name in section} if "foreach" in facts else {stage}
    assert set(lock) == names
    for name in ("metrics.json", "plots/confusion/real.csv"):
        assert (ROOT / name).is_file(), "commit it beside dvc.lock"
