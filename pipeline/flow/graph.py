"""The graph of stages, as dvc.yaml describes it, and which of them are out of date."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from augment.core.errors import InputError, Problem
from pipeline.core.project import is_project

if TYPE_CHECKING:
    from dvc.repo import Repo


PREPARE = "prepare"  # the stage that reads the data set


@dataclass(frozen=True)
class Stage:
    """A stage of dvc.yaml.

    Attributes:
        name: As DVC names it: `prepare`, `train@warp`.
        upstream: Names of the stages whose outputs it reads.
        gpu: Whether its `meta` says that it uses a GPU where there is one.
        kept: Whether DVC's cache holds all of its outputs, so that another machine can have them.
    """

    name: str
    upstream: frozenset[str]
    gpu: bool
    kept: bool = True


def check_workspace(root: Path, place: str | None = None, fix: str = "name another") -> None:
    """Refuses a folder that is no clone of the project.

    Args:
        root: The folder.
        place: As messages name it; None: by its path.
        fix: What the message advises.

    Raises:
        InputError: It lacks conf/ or dvc.yaml.
    """
    if not (is_project(root) and (root / "dvc.yaml").is_file()):
        raise InputError(Problem(place or str(root), "is no clone of the project: it lacks conf/ or dvc.yaml", fix))


@contextmanager
def open_workspace(root: Path) -> Iterator[Repo]:
    """The DVC repository of a workspace; another command of DVC that holds its lock for moments is waited for.

    Args:
        root: A workspace with dvc.yaml and params.yaml.

    Raises:
        InputError: There is no DVC repository, or dvc.yaml can't be read.
    """
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    try:
        with Repo(str(root), _wait_for_lock=True) as repository:
            yield repository
    except DvcException as error:
        fix = "run `dvc status` there to see all of it; it must be a clone of the project"
        raise InputError(Problem(str(root), str(error), fix)) from error


def read_graph(root: Path) -> dict[str, Stage]:
    """The stages of a workspace, each after those that it reads from.

    Raises:
        InputError: DVC can't read the workspace.
    """
    with open_workspace(root) as repository:
        return graph_of(repository)


def read_changes(root: Path) -> tuple[dict[str, Stage], set[str]]:
    """The stages of a workspace, and those that DVC would look at again: what changed, and all that reads from it.

    Args:
        root: The workspace.

    Returns:
        All stages, each after those that it reads from; names of those that are out of date.

    Raises:
        InputError: DVC can't read the workspace.
    """
    with open_workspace(root) as repository:
        graph = graph_of(repository)
        return graph, with_downstream(changed_stages(repository), graph)


def changed_stages(repository: Repo) -> set[str]:
    """The stages of an open repository of DVC whose inputs or outputs changed."""
    # The keys begin with the path of dvc.yaml where that is not in the working directory.
    return {key.rpartition(":")[2] for key in repository.status()}


def graph_of(repository: Repo) -> dict[str, Stage]:
    """The stages of an open repository of DVC, each after those that it reads from."""
    import networkx
    from dvc.stage import PipelineStage

    # Edges lead from a stage to what it reads. A .dvc file (`dvc add`) is a stage of another kind, without a name.
    whole = repository.index.graph
    graph = whole.subgraph(stage for stage in whole if isinstance(stage, PipelineStage))
    order = list(networkx.lexicographical_topological_sort(graph.reverse(), key=lambda stage: stage.name))
    return {
        stage.name: Stage(
            name=stage.name,
            upstream=frozenset(other.name for other in graph.successors(stage)),
            gpu=bool((stage.meta or {}).get("gpu")),
            kept=all(out.use_cache for out in stage.outs),
        )
        for stage in order
    }


def on_device(graph: Mapping[str, Stage], parameters: Mapping[str, Any]) -> dict[str, Stage]:
    """The stages as they run: none of them uses a GPU where runtime.device is cpu, whatever the machine has.

    Args:
        graph: All stages, as dvc.yaml describes them.
        parameters: The content of params.yaml, unchecked.
    """
    runtime = parameters.get("runtime")
    on_cpu = isinstance(runtime, Mapping) and runtime.get("device") == "cpu"
    return {name: replace(stage, gpu=stage.gpu and not on_cpu) for name, stage in graph.items()}


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
