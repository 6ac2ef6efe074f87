"""What stands between params.yaml and a run on this machine, as far as that is seen at once."""

from __future__ import annotations

from pathlib import Path

from augment.core.errors import InputError, Problem
from pipeline.core.devices import choose_device
from pipeline.core.project import git_advice
from pipeline.parameters.whole import load_parameters


def lacking(folder: Path) -> list[Problem]:
    """Looks for the data, the GPU and git; opens no data set.

    Nothing of it is wrong with the parameters: they may be meant for another machine, or for data still to come.

    Args:
        folder: The workspace; params.yaml lies in it.

    Raises:
        InputError: params.yaml can't be run anywhere.
    """
    parameters = load_parameters(folder / "params.yaml")
    problems = []
    roots = {"dataset.root": parameters.dataset.root}
    if parameters.parsing.enabled and parameters.parsing.teacher.has_helen:
        roots["parsing.teacher.root"] = parameters.parsing.teacher.root
    for key, root in roots.items():
        if not _is_there(folder / root):
            fix = f"put the data there, or name their place: {key}=..."
            problems.append(Problem(f"params.yaml: {key}", f"{root} is not there", fix))
    try:
        choose_device(parameters.runtime.device)
    except InputError as error:
        problems += error.problems
    if advice := git_advice(folder):
        problems.append(Problem("git", advice))
    return problems


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a name that no file can have
        return False
