"""Checks a stage's inputs, the outputs of earlier stages, before it works: present, complete and unchanged."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from augment.core.errors import InputError, Problem
from augment.core.replacing import recover
from augment.core.seals import check_replaceable, seal_problems
from augment.faces.splits import read_folds


@dataclass(frozen=True)
class StageInput:
    """An earlier stage's output.

    Attributes:
        path: The folder, or the table of folds.
        command: The command that writes it, such as `s2l train warp`.
    """

    path: Path
    command: str


def check_inputs(inputs: Iterable[StageInput], outs: Iterable[Path] = ()) -> None:
    """Checks that a stage's inputs are valid, and that its own outputs may be replaced.

    Outputs that a killed run had moved aside are restored first.

    Args:
        inputs: Outputs of earlier stages.
        outs: The folders that the stage writes.

    Raises:
        InputError: Lists what is missing, damaged or changed, with the command that writes it, and the output folders
            that contain other files than this tool's.
    """
    problems: list[Problem] = []
    for found in inputs:
        recover(found.path)
        again = f"run `{found.command}` again, or `dvc repro`"
        if not found.path.exists():
            problems.append(
                Problem(str(found.path), "is missing", f"run `{found.command}`, or `dvc repro`, which runs all stages")
            )
        elif found.path.is_dir():
            problems += seal_problems(found.path, again)
        else:
            try:
                read_folds(found.path, sealed=True)
            except InputError as error:
                problems += [Problem(problem.where, problem.why, again) for problem in error.problems]
    for out in outs:
        try:
            check_replaceable(out)
        except InputError as error:
            problems += error.problems
    if problems:
        raise InputError(problems)
