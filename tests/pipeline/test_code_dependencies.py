"""dvc.yaml names the code of its stages: an edit runs what it can have changed again, and nothing else."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest
import yaml
from dvc_workspaces import run, run_by_stand_in

from pipeline.core.code import code_of_stage
from pipeline.core.stage_names import STAGES
from tools.code_dependencies import (
    DATA,
    NO_STAGES,
    ROOMS,
    closure,
    code_of,
    declared,
    files_below,
    folded,
    graph,
    stage_of,
    unfolded,
)

pytestmark = pytest.mark.slow

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


@pytest.mark.parametrize("name", declared())
def test_a_stage_names_the_closure_of_its_imports(name: str) -> None:
    stage = stage_of(name)
    named, runs = unfolded(declared()[name]), code_of(stage)
    assert not runs - named, f"{name} can run what dvc.yaml does not name; `python -m tools.code_dependencies`"
    assert not named - runs, f"{name} can't run what dvc.yaml names; `python -m tools.code_dependencies`"
    assert declared()[name] == set(folded(runs))


def test_what_is_left_out_or_too_much_would_be_found() -> None:
    """The controls that the lists are there for."""
    judge, train = unfolded(declared()["judge"]), unfolded(declared()["train"])
    assert "augment/faces/tensors.py" in code_of("judge") and "augment/faces/tensors.py" in judge
    assert code_of("judge") - (judge - {"augment/faces/tensors.py"}) == {"augment/faces/tensors.py"}
    sources = unfolded(["augment/sources"])
    assert sources and not sources & code_of("train") and not sources & train
    assert (train | sources) - code_of("train") == sources
    assert {"augment/sources/jaffe.py", "augment/sources/vrml.py"} <= code_of("prepare")
    assert "augment/translators/lssl.py" in code_of("synthesize")  # by name, from a weights file


def test_the_closure_follows_imports_within_functions_and_packages() -> None:
    assert "classifiers.judge" in graph().find_modules_directly_imported_by("pipeline.stages.train")
    reached = closure({"augment.translators.lssl"})
    assert {"augment.networks.losses", "augment.faces.tensors", "augment.core.errors", "augment"} <= reached
    assert not any(module.startswith("augment.training") for module in reached)


def test_code_that_is_imported_by_name_is_known() -> None:
    """What no graph of imports shows: who does so, and where the closure says what they reach."""
    found = set()
    for room in ROOMS:
        for file in (ROOT / room).rglob("*.py"):
            names = {
                node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")
                for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
            }
            if names & {"import_module", "__import__", "exec", "run_module", "run_path", "resolve_name", "find_spec"}:
                found.add(str(file.relative_to(ROOT)))
    assert found == {
        "augment/core/code_hash.py",  # it reads code, and runs none
        "augment/prepare/landmarks.py",  # whether packages are installed
        "augment/sources/__init__.py",  # data sets
        "augment/translators/__init__.py",  # translators, and the API of plug-ins
        "pipeline/core/command_line.py",  # commands
        "pipeline/core/stage_runs.py",  # a stage's own module, and what can only refuse a run
    }


def test_every_file_that_is_no_code_belongs_to_a_module_that_reads_it() -> None:
    files = {str(file.relative_to(ROOT)) for room in ROOMS for file in (ROOT / room).rglob("*") if file.is_file()}
    others = {file for file in files if not file.endswith((".py", "/py.typed")) and "__pycache__" not in file}
    read = {file for folder in DATA.values() for file in files_below(folder)} | {NO_STAGES}
    assert others and others == read & others


@pytest.mark.parametrize("stage", STAGES)
def test_half_done_work_is_bound_to_the_same_code(stage: str) -> None:
    code = code_of_stage(stage)
    assert unfolded(code) == code_of(stage)
    assert all(path == ROOT / name and path.exists() for name, path in code.items())


EDITS = {
    "augment/faces/tensors.py": ALL - {"report"},  # all that reads pictures
    "augment/sources/jaffe.py": {"prepare"},
    "augment/training/loop.py": {"train@warp"},
    "augment/translators/lssl.py": {"train@warp", "synthesize@warp", "assess@warp"},
    "classifiers/models.py": ALL - {"prepare", "parsing", "synthesize@warp", "report"},
    "classifiers/arms.py": {"classify_real@real", "classify_synthetic@warp"},
    "reports/metrics/fid.py": {"assess@warp"},
    "reports/templates": {"report"},
    "pipeline/stages/judge.py": {"judge"},
    "pipeline/core/stage.py": ALL,
    "pipeline/photos/translate.py": set(),
    "pipeline/parameters/whole.py": set(),  # it can refuse a run, and change nothing
}  # fmt: skip


def holds(dependency: str, file: str) -> bool:
    return file == dependency or file.startswith(f"{dependency}/")


@pytest.fixture(scope="module")
def changed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """The code of each stage that has changed, as DVC lists it after all the edits: a file, or a folder that holds it.

    All at once, because DVC takes seconds to say so.
    """
    workspace, env = run_by_stand_in(tmp_path_factory.mktemp("declared"), "scale=smoke", code=True)
    assert json.loads(run(workspace, "dvc", "status", "--json", env=env).stdout) == {}
    for file in EDITS:
        path = workspace / file
        path = next(path.iterdir()) if path.is_dir() else path
        path.write_bytes(path.read_bytes() + b"\n")
    status = json.loads(run(workspace, "dvc", "status", "--json", env=env).stdout)
    return {
        stage: {
            dep
            for change in changes
            if isinstance(change, dict)
            for dep in change.get("changed deps", {})
            if dep.split("/")[0] in ROOMS
        }
        for stage, changes in status.items()
    }


@pytest.mark.parametrize("file", EDITS)
def test_an_edit_makes_stale_what_can_run_it(changed: dict[str, set[str]], file: str) -> None:
    assert {stage for stage, deps in changed.items() if any(holds(dep, file) for dep in deps)} == EDITS[file]


def test_each_change_is_of_one_edit(changed: dict[str, set[str]]) -> None:
    """Of two edits in one folder DVC would not say which made a stage stale."""
    for dependency in {dep for deps in (*declared().values(), *changed.values()) for dep in deps}:
        edits = [file for file in EDITS if holds(dependency, file)]
        assert len(edits) <= 1, dependency
    assert {file for deps in changed.values() for dep in deps for file in EDITS if holds(dep, file)} == {
        file for file, stale in EDITS.items() if stale
    }
    assert all(any(holds(dep, file) for file in EDITS) for deps in changed.values() for dep in deps)


def test_the_committed_lock_names_the_stages_that_there_are() -> None:
    lock = yaml.safe_load((ROOT / "dvc.lock").read_text(encoding="utf-8"))["stages"]
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    values = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    names: set[str] = set()
    for stage, facts in stages.items():
        section = values
        for key in str(facts.get("foreach", "")).strip("${}").split("."):
            section = section.get(key, {}) if key else {}
        names |= {f"{stage}@{name}" for name in section} if "foreach" in facts else {stage}
    assert set(lock) == names
    for name in ("metrics.json", "plots/confusion/real.csv"):
        assert (ROOT / name).is_file(), "commit it beside dvc.lock"
