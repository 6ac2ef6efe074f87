"""Which code each stage can run: the closure of its imports, and how dvc.yaml names it.

`python -m tools.code_dependencies` writes the lists into dvc.yaml anew; a test compares.
"""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import grimp
import yaml

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("augment", "classifiers", "pipeline", "reports")
# Files that are no code, by the module that reads them.
DATA = {
    "reports.page": "reports/templates",
    "reports.papers.published": "reports/papers/published",
    "reports.experiments.catalogue": "reports/experiments/catalogue.yaml",
    "reports.site.build": "reports/site/templates",
}
# Read by `pipeline.cli` for commands that are no stages, so that no result depends on it.
NO_STAGES = "pipeline/commands/commands.toml"
# Modules that import others by name, which no graph of imports shows. What imports one of them may reach all of these.
REGISTRIES = ("augment.sources", "augment.translators")
MARK = "# code that it can run"


@cache
def graph() -> grimp.ImportGraph:
    """All imports of the four rooms, those within functions too, without those for types alone."""
    return grimp.build_graph(*ROOMS, exclude_type_checking_imports=True, cache_dir=None)


@cache
def by_name(registry: str) -> frozenset[str]:
    """The modules that a registry names in its strings, `augment.sources.jaffe` or `augment.translators.warp:Warp`."""
    text = module_file(registry).read_text(encoding="utf-8")
    strings = [node.value for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Constant)]
    names = {str(value).partition(":")[0] for value in strings if str(value).startswith(f"{registry}.")}
    return frozenset(names & graph().modules)


def module_file(module: str) -> Path:
    """The file of a module or package."""
    path = ROOT / module.replace(".", "/")
    return path.with_suffix(".py") if path.with_suffix(".py").is_file() else path / "__init__.py"


def closure(roots: Iterable[str], without: Iterable[str] = ()) -> set[str]:
    """Modules that are run where the roots are imported, and all that these import in turn.

    Args:
        roots: Where to begin.
        without: Modules that are taken for absent.
    """
    reached: set[str] = set()
    waiting = set(roots)
    while waiting:
        module = waiting.pop()
        if module in reached or module in without:
            continue
        reached.add(module)
        parts = module.split(".")
        waiting |= {".".join(parts[:count]) for count in range(1, len(parts))}  # packages are run before their modules
        imported = graph().find_modules_directly_imported_by(module)
        waiting |= imported
        for registry in REGISTRIES:
            if registry in imported:
                waiting |= by_name(registry)
    return reached


def code_of(stage: str) -> set[str]:
    """The files that a stage's result can depend on, relative to the project.

    `s2l` reaches its commands, and a stage its own module, by name. What is only run to refuse params.yaml as a whole
    (`pipeline.core.stage_runs`) can't change a result and is not among them.
    """
    modules = closure(
        {"pipeline.cli", "pipeline.commands.stages", "pipeline.core.stage_runs", f"pipeline.stages.{stage}"}
    )
    files = {module_file(module) for module in modules}
    found = {str(file.relative_to(ROOT)) for file in files if runs_something(file)}
    for module, folder in DATA.items():
        if module in modules:
            found |= files_below(folder)
    return found


def runs_something(file: Path) -> bool:
    """Whether a file is more than a docstring."""
    body = ast.parse(file.read_text(encoding="utf-8")).body
    return any(not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)) for node in body)


@cache
def files_below(folder: str) -> frozenset[str]:
    """Every file of a folder (or the one that is named) that a stage could depend on."""
    place = ROOT / folder
    inside = [place] if place.is_file() else place.rglob("*")
    found = [file for file in inside if file.is_file() and "__pycache__" not in file.parts]
    return frozenset(str(file.relative_to(ROOT)) for file in found if file.suffix != ".py" or runs_something(file))


def folded(files: set[str]) -> list[str]:
    """Files by as few names as can be: a folder's name stands for it where all of it is there."""
    names, left = [], set(files)
    folders = {str(parent) for file in files for parent in Path(file).parents if str(parent) != "."}
    for folder in sorted(folders, key=lambda name: (name.count("/"), name)):
        inside = files_below(folder)
        if len(inside) > 1 and inside <= left:
            names.append(folder)
            left -= inside
    return sorted([*names, *left])


def unfolded(names: Iterable[str]) -> set[str]:
    """The files that names of files and folders stand for."""
    return {file for name in names for file in (files_below(name) if (ROOT / name).is_dir() else {name})}


def declared() -> dict[str, set[str]]:
    """The code that dvc.yaml names, by its own stages."""
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    return {
        name: {dep for dep in stage.get("do", stage)["deps"] if dep.split("/")[0] in ROOMS}
        for name, stage in stages.items()
    }


def stage_of(name: str) -> str:
    """The stage that one of dvc.yaml's is: the arms' two are one."""
    return name.partition("_")[0]


def write() -> None:
    """Writes the lists into dvc.yaml: from the comment `# code that it can run` to the end of the stage's deps."""
    file = ROOT / "dvc.yaml"
    lines: list[str] = []
    stage, skips = "", False
    for line in file.read_text(encoding="utf-8").splitlines():
        if heading := re.match(r"  (\w+):", line):
            stage = heading[1]
        skips = skips and line.strip() != "]"
        if not skips:
            lines.append(line)
        if line.strip() == MARK:
            skips = True
            indent = line[: len(line) - len(line.lstrip())]
            names = ", ".join(folded(code_of(stage_of(stage)))) + ","
            lines += textwrap.wrap(names, 120, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False)
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write()
    print("dvc.yaml names the code of every stage")
