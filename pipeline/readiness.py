"""Checks quickly whether this machine has what the run of params.yaml requires."""

from __future__ import annotations

from pathlib import Path

from augment.core.errors import InputError, Problem
from pipeline.core.devices import choose_device
from pipeline.core.project import git_advice
from pipeline.parameters.whole import load_parameters


def missing_prerequisites(folder: Path) -> list[Problem]:
    """Lists what is missing of the data, the GPU and git; opens no data set.

    The parameters themselves are valid: they may be meant for another machine, or for data that is added later.

    Args:
        folder: The workspace, which contains params.yaml.

    Raises:
        InputError: params.yaml is invalid on any machine.
    """
    parameters = load_parameters(folder / "params.yaml")
    problems = []
    # `dvc.yaml` depends on both, whether the judge learns from the second or not.
    roots = {
        "dataset.root": parameters.dataset.root,
        "judge.pretraining.root": parameters.judge.pretraining.root,
    }
    if parameters.parsing.enabled and parameters.parsing.teacher.has_helen:
        roots["parsing.teacher.root"] = parameters.parsing.teacher.root
    for key, root in roots.items():
        if not _exists(folder / root):
            fix = f"put the data there, or set its path: {key}=..."
            problems.append(Problem(f"params.yaml: {key}", f"{root} is not there", fix))
    try:
        choose_device(parameters.runtime.device)
    except InputError as error:
        problems += error.problems
    if advice := git_advice(folder):
        problems.append(Problem("git", advice))
    return problems


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # an invalid file name
        return False
