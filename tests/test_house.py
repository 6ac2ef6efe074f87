"""The house itself: imports point one way, and the linters and the type checker are content."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MAY_USE = {
    "augment": {"augment"},
    "classifiers": {"classifiers", "augment"},
    "reports": {"reports", "augment"},
    "pipeline": {"pipeline", "reports", "classifiers", "augment"},
}


def imported_rooms(source: str) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.split(".")[0])
    return found & set(MAY_USE)


@pytest.mark.parametrize("room", MAY_USE)
def test_dependencies_point_one_way(room: str) -> None:
    for file in (ROOT / room).rglob("*.py"):
        wrong = imported_rooms(file.read_text(encoding="utf-8")) - MAY_USE[room]
        assert not wrong, f"{file.relative_to(ROOT)} imports {', '.join(sorted(wrong))}"


def test_a_wrong_import_would_be_found() -> None:
    assert imported_rooms("def f():\n    from reports.kid import kernel_distance\n    import pipeline.cli") == {
        "reports",
        "pipeline",
    }


def test_stage_code_knows_no_dvc_and_no_prefect() -> None:
    for room in ("augment", "classifiers", "reports"):
        for file in (ROOT / room).rglob("*.py"):
            assert not {"dvc", "prefect"} & imported_packages(file.read_text(encoding="utf-8")), file


def test_every_loop_goes_through_the_one_module_that_uses_tqdm() -> None:
    using = {
        str(file.relative_to(ROOT))
        for room in (*MAY_USE, "benchmarks")
        for file in (ROOT / room).rglob("*.py")
        if "tqdm" in imported_packages(file.read_text(encoding="utf-8"))
    }
    assert using == {"augment/progress.py"}


def imported_packages(source: str) -> set[str]:
    nodes = list(ast.walk(ast.parse(source)))
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]
    return {name.split(".")[0] for name in names}


@pytest.mark.parametrize("command", [["ruff", "check", "."], ["ruff", "format", "--check", "."], ["mypy"]])
def test_tools_are_content(command: list[str]) -> None:
    done = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stdout + done.stderr
