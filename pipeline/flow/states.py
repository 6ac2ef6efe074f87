"""What DVC would do with each stage: nothing, take the result of an earlier run, or run it. Nothing is written."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Literal

from dvc.dependency import ParamsDependency
from dvc.dependency.base import DependencyDoesNotExistError
from dvc.exceptions import DvcException
from dvc.fs import LocalFileSystem
from dvc.stage import PipelineStage

from pipeline.flow.graph import Stage, changed_stages, graph_of, open_workspace, with_downstream

State = Literal["up to date", "restored", "runs", "runs if changed"]
"""up to date: nothing is done. restored: the results of an earlier run with the same inputs are taken from DVC's cache.
runs: it is computed. runs if changed: it reads from a stage that runs, and DVC skips it where that writes the same
bytes again, which nobody can know before.
"""


def stage_states(root: Path, parameters: str | None = None) -> tuple[dict[str, Stage], dict[str, State]]:
    """The stages of a workspace and what would become of them.

    Args:
        root: The workspace.
        parameters: The text of a params.yaml in the place of the workspace's, which stays as it is; None: its own.

    Returns:
        Stages by name, each after those that it reads from; the state of each.

    Raises:
        InputError: DVC can't read the workspace.
    """
    with tempfile.TemporaryDirectory() as scratch, open_workspace(root) as repository:
        if parameters is not None:
            other = Path(scratch) / "params.yaml"
            other.write_text(parameters, encoding="utf-8")
            repository.fs = _OneFileReplaced(Path(root) / "params.yaml", other)
        graph = graph_of(repository)
        return graph, _states(repository, graph, changed_stages(repository))


class _OneFileReplaced(LocalFileSystem):  # type: ignore[misc]  # DVC has no types
    """The local files, of which one is read from elsewhere."""

    def __init__(self, replaced: Path, by: Path) -> None:
        super().__init__()
        self._replaced, self._by = os.path.abspath(replaced), os.fspath(by)  # noqa: PTH100  # DVC's paths are text

    def open(self, path: Any, mode: str = "r", **options: Any) -> Any:
        """Opens a file, or the one in its place."""
        return super().open(self._by if self._is_replaced(path) else path, mode, **options)

    def exists(self, path: Any, *arguments: Any, **options: Any) -> Any:
        """Whether a file is there; the replaced one is."""
        return self._is_replaced(path) or super().exists(path, *arguments, **options)

    def _is_replaced(self, path: Any) -> bool:
        return isinstance(path, str) and os.path.abspath(path) == self._replaced  # noqa: PTH100


def _states(repository: Any, graph: Mapping[str, Stage], changed: Collection[str]) -> dict[str, State]:
    stale = with_downstream(changed, graph)
    stages = {stage.name: stage for stage in repository.index.stages if isinstance(stage, PipelineStage)}
    states: dict[str, State] = {}
    outputs: dict[str, Any] = {}  # path -> hash that restored stages will leave there
    for name, stage in graph.items():
        upstream = {states[other] for other in stage.upstream}
        if name not in stale:
            states[name] = "up to date"
            continue
        # Nobody can know what a stage that runs will write, nor what is then in a folder of which it writes a part.
        unknown = bool(upstream & {"runs", "runs if changed"}) or _reads_a_part(stages[name], outputs)
        if unknown:
            states[name] = "runs if changed" if _may_stay(stages[name]) else "runs"
            continue
        there = {str(out.def_path): out.hash_info for out in stages[name].outs if not out.status()}
        restored = _earlier_results(repository, stages[name], outputs)
        if restored is None:
            states[name] = "runs"
        else:
            states[name] = "up to date" if restored == there else "restored"
            outputs |= restored
    return states


def _may_stay(stage: Any) -> bool:
    """Whether a stage's last results may still hold, if the stages that it reads from write the same bytes again."""
    # What other stages wrote may be written again; code, parameters and a data set are as they are.
    own = [dependency for dependency in stage.deps if not str(dependency.def_path).startswith("artifacts/")]
    if stage.changed_stage() or any(dependency.status() for dependency in own):
        return False
    return _in_cache(stage) or not any(out.status() for out in stage.outs)


def _reads_a_part(stage: Any, outputs: Mapping[str, Any]) -> bool:
    """Whether it reads a folder in which one of the outputs lies."""
    folders = tuple(f"{dependency.def_path}/" for dependency in stage.deps)
    return any(path.startswith(folders) for path in outputs)


def _in_cache(stage: Any) -> bool:
    return all(out.use_cache and out.hash_info and not out.changed_cache() for out in stage.outs)


def _earlier_results(repository: Any, stage: Any, outputs: Mapping[str, Any]) -> dict[str, Any] | None:
    """The hashes of a stage's outputs, by path, where DVC has them of an earlier run with the same inputs.

    Args:
        repository: Of DVC, open.
        stage: Of DVC.
        outputs: Hashes that will be at paths where something else is now.
    """
    locked = [dependency.hash_info for dependency in stage.deps]
    try:
        for dependency in stage.deps:
            path = str(dependency.def_path)
            if not isinstance(dependency, ParamsDependency) and path in outputs:
                dependency.hash_info = outputs[path]
            else:
                dependency.save()
    except (DependencyDoesNotExistError, DvcException):
        return None
    unchanged = not stage.changed_stage() and locked == [dependency.hash_info for dependency in stage.deps]
    found = stage
    if not unchanged:
        entry = _run_cache_entry(repository, stage)
        if entry is None:
            return None
        found = repository.stage_cache._create_stage(entry, wdir=stage.wdir)
    if not _in_cache(found):
        return None
    return {str(out.def_path): out.hash_info for out in found.outs}


def _run_cache_entry(repository: Any, stage: Any) -> Any:
    """What DVC's run cache has for a stage with its present dependencies; None: nothing."""
    from dvc.stage.cache import _can_hash

    return repository.stage_cache._load(stage) if _can_hash(stage) else None
