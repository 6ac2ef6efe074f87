"""The graph of stages, as dvc.yaml describes it, and which of them are out of date."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from augment.core.errors import InputError, Problem

if TYPE_CHECKING:
    from dvc.repo import Repo


@dataclass(frozen=True)
class Stage:
    """A stage of dvc.yaml.

    Attributes:
        name: As DVC names it: `prepare`, `train@warp`.
        upstream: Names of the stages whose outputs it reads.
        gpu: Whether its `meta` says that it uses a GPU where there is one.
    """

    name: str
    upstream: frozenset[str]
    gpu: bool


def read_graph(root: Path) -> dict[str, Stage]:
    """The stages of a workspace, each after those that it reads from.

    Args:
        root: A workspace with dvc.yaml and params.yaml.

    Raises:
        InputError: There is no DVC repository, or dvc.yaml can't be read.
    """
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    try:
        with Repo(str(root)) as repository:
            return graph_of(repository)
    except DvcException as error:
        raise InputError(Problem(str(root), str(error), "run it in a clone of the project")) from error


def graph_of(repository: Repo) -> dict[str, Stage]:
    """The stages of an open repository of DVC, each after those that it reads from."""
    import networkx

    graph = repository.index.graph  # edges lead from a stage to what it reads
    order = list(networkx.lexicographical_topological_sort(graph.reverse(), key=lambda stage: stage.name))
    return {
        stage.name: Stage(
            name=stage.name,
            upstream=frozenset(other.name for other in graph.successors(stage)),
            gpu=bool((stage.meta or {}).get("gpu")),
        )
        for stage in order
    }


def out_of_date(root: Path, graph: Mapping[str, Stage]) -> set[str]:
    """Stages that DVC would look at again: those that changed, and all that read from them.

    Args:
        root: The workspace.
        graph: Its stages, each after those that it reads from.

    Raises:
        InputError: DVC could not tell.
    """
    done = subprocess.run(
        [sys.executable, "-m", "dvc", "--wait-for-lock", "status", "--json"],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        last = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()[-1]
        raise InputError(Problem("dvc status", last, "run `dvc status` in the workspace to see all of it"))
    return with_downstream(json.loads(done.stdout), graph)


def with_downstream(changed: Collection[str], graph: Mapping[str, Stage]) -> set[str]:
    """The changed stages, and all that read from them, directly or not.

    Args:
        changed: Names of stages.
        graph: All stages, each after those that it reads from.
    """
    found: set[str] = set()
    for name, stage in graph.items():
        if name in changed or stage.upstream & found:
            found.add(name)
    return found
