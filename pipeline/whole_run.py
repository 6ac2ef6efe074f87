"""All stages of a run in this process, one after another and without DVC: for runs so small that starting counts."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

import yaml

from pipeline.core.stage_records import measured
from pipeline.core.stage_runs import check_parameters, run_stage
from pipeline.parameters.whole import Parameters, load_parameters
from pipeline.profile import compose_profile


def stages_in_order(parameters: Parameters) -> Iterator[tuple[str, dict[str, str]]]:
    """The stages, each after those that it reads from, with their arguments."""
    for stage in ("prepare", "parsing", "judge"):
        yield stage, {}
    for name in parameters.translators:
        for stage in ("train", "synthesize", "assess"):
            yield stage, {"name": name}
    for name in parameters.arms.all():
        yield "classify", {"name": name}
    yield "report", {}


def run_whole(workspace: Path, project: Path, overrides: list[str], *, done: Collection[str] = ()) -> None:
    """Runs every stage in a folder that needs nothing but to be empty.

    Args:
        workspace: Gets params.yaml and artifacts/.
        project: A clone of the project, whose conf/ is composed; relative paths of data are below it.
        overrides: The words of `s2l profile`.
        done: Stages whose results are in the workspace already.

    Raises:
        InputError: The parameters can't be run, or a stage refuses.
    """
    head, _, text = compose_profile(project, [*overrides, "runtime.processes=1"]).partition("\n")
    values = yaml.safe_load(text)
    for section in (values["dataset"], values["parsing"]["teacher"], values["judge"]["pretraining"]):
        section["root"] = str((project / section["root"]).resolve())
    text = yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=120)
    (workspace / "params.yaml").write_text(f"{head}\n{text}", encoding="utf-8")
    check_parameters(workspace)
    for stage, arguments in stages_in_order(load_parameters(workspace / "params.yaml")):
        if stage in done:
            continue
        with measured(workspace, stage, arguments.get("name")):
            run_stage(stage, workspace, **arguments)
