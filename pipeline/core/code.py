"""Which code a stage's result depends on, read from dvc.yaml, so that DVC and scratch folders use the same list."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import yaml

HOME = Path(__file__).resolve().parent.parent.parent
PACKAGES = ("augment", "classifiers", "pipeline", "reports")


@cache
def code_of_stage(stage: str) -> dict[str, Path]:
    """The code that a stage can run.

    Args:
        stage: A stage of `pipeline.stages`; the arms' two stages in dvc.yaml are one here.

    Returns:
        Paths by their name relative to the project; all packages if they were installed without dvc.yaml.
    """
    file = HOME / "dvc.yaml"
    if not file.is_file():
        return {package: HOME / package for package in PACKAGES}
    declared = yaml.safe_load(file.read_text(encoding="utf-8"))["stages"]
    names = [name for name in declared if name == stage or name.startswith(f"{stage}_")]
    found = {dep for name in names for dep in declared[name].get("do", declared[name])["deps"]}
    return {dep: HOME / dep for dep in sorted(found) if dep.split("/")[0] in PACKAGES}
