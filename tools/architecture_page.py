"""The generated part of docs/architecture.md: the matrix of imports, and the code that each stage can run."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import yaml

from tools.code_dependencies import ROOMS, files_below, unfolded
from tools.imports_picture import arrows, counted_imports, matrix, picture

BEGIN, END = "<!-- imports: begin -->", "<!-- imports: end -->"

_counts = cache(counted_imports)


def picture_of_imports() -> str:
    """The SVG of the code as it is."""
    return picture(arrows(_counts()))


def stages_table(root: Path) -> list[str]:
    """What dvc.yaml names for each stage: the code it runs, what it reads, what it writes."""
    stages = yaml.safe_load((root / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    lines = [
        "| stage | code that it depends on (files of a folder, where not all) | reads | writes |",
        "| --- | --- | --- | --- |",
    ]
    for name, stage in stages.items():
        body = stage.get("do", stage)
        deps = [str(dep) for dep in body.get("deps", ())]
        code = [dep for dep in deps if dep.split("/")[0] in ROOMS]
        outs = [*body.get("outs", ()), *body.get("metrics", ())]
        written = [next(iter(out)) if isinstance(out, dict) else str(out) for out in outs]
        read = [dep for dep in deps if dep not in code]
        lines.append("| " + " | ".join([f"`{name}`", _rooms(code), _code(read), _code(written)]) + " |")
    return lines


def _rooms(names: list[str]) -> str:
    """The rooms that lists of files and folders lie in, with how many of their files are named where not all are."""
    files = unfolded(names)
    folders = {str(Path(file).parent) for file in files}
    found = []
    for folder in sorted(folders):
        inside = {file for file in files_below(folder) if str(Path(file).parent) == folder}
        part = len(inside & files)
        found.append(f"`{folder}`" + ("" if part == len(inside) else f" ({part} of {len(inside)})"))
    return ", ".join(found)


def _code(names: list[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def page(root: Path, text: str) -> str:
    """The page with its part written anew.

    Args:
        root: The project's folder.
        text: The page as it is; it holds the markers.
    """
    before, _, rest = text.partition(BEGIN)
    after = rest.partition(END)[2]
    part = [BEGIN, "", *matrix(_counts()), "", "## Stages", "", *stages_table(root), "", END]
    return before + "\n".join(part) + after
