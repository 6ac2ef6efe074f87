"""What a stage needs of earlier ones, looked at before it works: there, whole, and as it was written."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from augment.core.errors import InputError, Problem
from augment.core.replacing import recover
from augment.core.seals import check_replaceable, seal_problems
from augment.faces.splits import read_folds


@dataclass(frozen=True)
class Need:
    """An earlier stage's output.

    Attributes:
        path: The folder, or the table of folds.
        command: What makes it, such as `s2l train warp`.
    """

    path: Path
    command: str


def check_needs(needs: Iterable[Need], outs: Iterable[Path] = ()) -> None:
    """Sees that all that a stage needs is whole, and that its own outputs may be replaced.

    What a run that was killed had moved aside is put back first.

    Args:
        needs: What earlier stages made.
        outs: The folders that the stage writes.

    Raises:
        InputError: Lists what is missing, damaged or changed, with the command that makes it, and the outputs that hold
            files of somebody else's.
    """
    problems: list[Problem] = []
    for need in needs:
        recover(need.path)
        again = f"run `{need.command}` again, or `dvc repro`"
        if not need.path.exists():
            problems.append(
                Problem(str(need.path), "is missing", f"run `{need.command}`, or `dvc repro`, which runs all stages")
            )
        elif need.path.is_dir():
            problems += seal_problems(need.path, again)
        else:
            try:
                read_folds(need.path, sealed=True)
            except InputError as error:
                problems += [Problem(problem.where, problem.why, again) for problem in error.problems]
    for out in outs:
        try:
            check_replaceable(out)
        except InputError as error:
            problems += error.problems
    if problems:
        raise InputError(problems)
