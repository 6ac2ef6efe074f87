"""The house itself: what no linter knows of. Walls between rooms are import-linter's (pyproject.toml)."""

from __future__ import annotations

import ast
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent
ROOMS = ("augment", "classifiers", "reports", "pipeline")


def test_every_loop_goes_through_the_one_module_that_uses_tqdm() -> None:
    using = {
        str(file.relative_to(ROOT))
        for room in (*ROOMS, "benchmarks")
        for file in (ROOT / room).rglob("*.py")
        if "tqdm" in imported_packages(file.read_text(encoding="utf-8"))
    }
    assert using == {"augment/core/progress.py"}


def imported_packages(source: str) -> set[str]:
    nodes = list(ast.walk(ast.parse(source)))
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]
    return {name.split(".")[0] for name in names}


def test_what_fails_in_seconds_is_checked_before_the_tests() -> None:
    """Linters and the type checker are no tests of their own: `.ci/run` begins with them."""
    lines = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    checks = [
        "mypy &",
        "ruff check .",
        "ruff format --check .",
        "yamllint --strict .",
        "lint-imports --no-cache",
        "pytest",
    ]
    assert lines.index('wait "$typed"') == lines.index("uv run --locked pytest") - 1  # what it found ends the run
    assert [line.partition("--locked ")[2] for line in lines if line.startswith("uv run --locked ")] == checks


# What opens a picture by its content, and so must be told the formats; `augment.faces.images` has the list.
OTHER_PICTURE_READERS = {
    "imread",
    "decode_png",
    "decode_jpeg",
    "read_image",
    "open_image",
    "default_loader",
    "ImageFolder",
}


def pictures_opened_in_any_format(source: str) -> list[str]:
    """Calls that open a picture without a fixed list of formats, and imports that would hide such a call."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module == "PIL.Image":
            found.append(f"line {node.lineno}: from PIL.Image import ...")
        if not isinstance(node, ast.Call):
            continue
        called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        opens = (
            isinstance(node.func, ast.Attribute) and called == "open" and ast.unparse(node.func.value).endswith("Image")
        )
        given = next((keyword.value for keyword in node.keywords if keyword.arg == "formats"), None)
        is_none = isinstance(given, ast.Constant) and given.value is None
        if (opens and (given is None or is_none)) or called in OTHER_PICTURE_READERS:
            found.append(f"line {node.lineno}: {ast.unparse(node)}")
    return found


@pytest.mark.parametrize("room", [*ROOMS, "benchmarks"])
def test_pictures_are_opened_by_a_fixed_list_of_formats(room: str) -> None:
    files = list((ROOT / room).rglob("*.py"))
    assert files
    for file in files:
        found = pictures_opened_in_any_format(file.read_text(encoding="utf-8"))
        if file == ROOT / "benchmarks" / "reading.py":  # the baseline is another's reader, of files just written
            found = [call for call in found if "ImageFolder(" not in call]
        assert not found, file.relative_to(ROOT)


@pytest.mark.parametrize(
    "line",
    ["Image.open(x)", "PIL.Image.open(x, mode='r')", "Image.open(x, formats=None)", "from PIL.Image import open as o",
     "skimage.io.imread(x)"],
)  # fmt: skip
def test_a_picture_opened_in_any_format_would_be_found(line: str) -> None:
    assert pictures_opened_in_any_format(line)
    assert not pictures_opened_in_any_format(
        "Image.open(x, formats=FORMATS); path.open(); open(x); Image.new('L', (1, 1))"
    )


def test_the_version_is_the_packages_own_wherever_it_stands() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert str(citation["version"]) == project["version"] == version(project["name"])
