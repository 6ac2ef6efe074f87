"""The code that made a run's faces, as its report names it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from augment.core.json_files import read_json_object
from pipeline.core.workspace import Artifacts

Tree = Literal["unchanged", "changed", "unknown"]


@dataclass(frozen=True)
class RunCode:
    """The code of a run.

    Attributes:
        commit: Of git, or `unknown`.
        tree: Whether files differed from it.
    """

    commit: str = "unknown"
    tree: Tree = "unknown"


def code_of_run(artifacts: Artifacts) -> RunCode:
    """The code of a run; unknown where there is no report.

    Raises:
        InputError: The report's figures are damaged.
    """
    report = artifacts.report / "metrics.json"
    run = read_json_object(report).get("run") if report.is_file() else None
    if not isinstance(run, dict):
        return RunCode()
    tree = run.get("tree")
    return RunCode(str(run.get("commit", "unknown")), tree if tree in ("unchanged", "changed") else "unknown")
