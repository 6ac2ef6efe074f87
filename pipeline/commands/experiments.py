"""`s2l experiments`: the papers' tables and figures, listed, run and filed."""

from __future__ import annotations

import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from augment.core.errors import InputError, Problem
from pipeline.core.command_line import Command, Group, refusals_as_errors

if TYPE_CHECKING:
    from pipeline.experiments import Wanted
    from reports.experiments.page import FiledRun

SCALES = ("smoke", "cpu", "long", "gpu", "paper")

RESULTS = click.option(
    "--results",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("docs/results"),
    show_default=True,
    help="Where rows are filed, a folder for each experiment; with --scale smoke artifacts/smoke-results.",
)


@click.group(cls=Group, invoke_without_command=True)
@RESULTS
@click.option(
    "--times", is_flag=True, help="Estimate how long scales take that were not run, from what stages cost elsewhere."
)
@click.pass_context
def experiments(context: click.Context, results: Path, times: bool) -> None:
    """List the papers' tables and figures: data, what was run, and whether it came out as published."""
    if context.invoked_subcommand is not None:
        if context.get_parameter_source("results") is not ParameterSource.DEFAULT:
            context.default_map = {name: {"results": str(results)} for name in ("run", "page", "site")}
        return
    from reports.experiments.catalogue import read_experiments
    from reports.experiments.page import all_filed, experiments_table

    if times:
        from pipeline.experiments import expected_times
    with refusals_as_errors():
        if context.get_parameter_source("results") is not ParameterSource.DEFAULT:
            _require_results(results)
        catalogue = read_experiments()
        filed, problems = all_filed(catalogue, results)
        table = experiments_table(catalogue, filed)
        runs = {name: found for name, (found, _) in filed.items()}
        not_run = {name: _scales_not_run(found) for name, found in runs.items()}
        expected = expected_times(Path.cwd(), catalogue, not_run, results, runs) if times else {}
        for row in table.to_dict("records"):
            click.echo(f"{row['experiment']}: {row['paper']}")
            own = f", its own: {row['own_data']}" if row["own_data"] else ""
            click.echo(f"  data: {row['stand_in']} (embedded){own}")
            click.echo(f"  runs: {row['runs']}")
            for scale, words in expected.get(row["experiment"], {}).items():
                click.echo(f"  {scale}, not run: {words}")
            if not times and (others := not_run[row["experiment"]]):
                click.echo(f"  not run: {', '.join(others)}")
            if row["outcomes"]:
                click.echo(f"  came out as published: {'; '.join(row['outcomes'])}")
        if not times:
            click.echo("how long a scale takes that was not run: s2l experiments --times")
        if problems:
            raise InputError(problems, "of what was filed, this can't be shown:")


def _scales_not_run(runs: Sequence[FiledRun]) -> list[str]:
    """The scales, but smoke, of which no run was filed."""
    return [scale for scale in SCALES[1:] if scale not in {run.facts.scale for run in runs}]


def _require_results(results: Path) -> None:
    """Refuses a folder that is not there: a misspelt one would look like experiments that were never run."""
    if not results.is_dir():
        raise InputError(Problem(f"--results {results}", "is not there", "name the folder where rows are filed"))


@experiments.command(cls=Command)
@click.argument("names", nargs=-1, required=True, metavar="EXPERIMENT...")
@click.option("--scale", type=click.Choice(SCALES), default="cpu", show_default=True)
@click.option("--dataset", help="An option of conf/dataset; without it embedded faces with the data's structure.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="A word of `s2l profile`; several times.")
@click.option(
    "--parallel", type=click.IntRange(1), help="Stages (of smoke runs: experiments) that run at once; 2 by default."
)
@click.option("--note", default="", help="A sentence on how the run was made.")
@RESULTS
def run(
    names: tuple[str, ...],
    scale: str,
    dataset: str | None,
    settings: tuple[str, ...],
    parallel: int | None,
    note: str,
    results: Path,
) -> None:
    """Run experiments one after another, and file their rows. `all` runs each.

    It writes params.yaml and runs this workspace's stages, as `s2l flow run` does; broken off, it goes on where it was.
    With --scale smoke it runs in a folder of its own, without DVC. Your copy of a data set: `--dataset fer2013 --set
    dataset.root=PATH`.
    """
    from pipeline.experiments import Wanted
    from reports.experiments.catalogue import find_experiment, read_experiments

    # By an exception, so that whatever runs is ended too, and folders of smoke runs are removed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    root, smoke = Path.cwd(), scale == "smoke"
    if smoke and click.get_current_context().get_parameter_source("results") is ParameterSource.DEFAULT:
        results = Path("artifacts/smoke-results")  # they show that everything works, and nothing else
    resumes = "begins anew" if smoke else "goes on where this one was"
    with refusals_as_errors(f"interrupted; the same command {resumes}"):
        if "all" in names and len(names) > 1:
            raise InputError(Problem("all", "runs each experiment, and stands alone", "leave the others out, or it"))
        chosen = list(read_experiments()) if names == ("all",) else list(dict.fromkeys(names))
        wanted = [Wanted(find_experiment(name), scale, dataset, settings, note) for name in chosen]
        for one in wanted:
            one.check(root)
        run_them = _run_smoke if smoke else _run_flows
        failures = []
        for one, failure in run_them(wanted, root, root / results, parallel):
            if failure:
                failures.append(failure)
            else:
                click.echo(f"{one.experiment.name}: filed in {results / one.experiment.name}")
    if failures:
        raise click.ClickException("\n".join(failures))


def _run_smoke(
    wanted: Sequence[Wanted], root: Path, results: Path, parallel: int | None
) -> Iterator[tuple[Wanted, str]]:
    """Runs experiments of seconds, as many at once as there are processors; yields each and what failed."""
    from augment.core.processes import processors, run_in_processes
    from pipeline.experiments import run_smoke

    # Removed here, for a worker process that is ended has no time to.
    with tempfile.TemporaryDirectory(prefix="s2l-smoke-", ignore_cleanup_errors=True) as folder:
        calls = [
            {"wanted": one, "project": root, "workspace": Path(folder) / one.experiment.name, "results": results}
            for one in wanted
        ]
        for number, failure in run_in_processes(run_smoke, calls, processes=parallel or processors()):
            yield wanted[number], failure


def _run_flows(
    wanted: Sequence[Wanted], root: Path, results: Path, parallel: int | None
) -> Iterator[tuple[Wanted, str]]:
    """Runs experiments one after another as flows in this workspace; yields each and what failed."""
    from pipeline.experiments import file_experiment
    from pipeline.flow.flow import FlowFailedError, synthesize_to_learn
    from pipeline.flow.graph import check_workspace
    from pipeline.flow.server import check_server
    from pipeline.flow.temporary_server import patient_with_temporary_server

    check_workspace(root)
    check_server(needed=False)
    for one in wanted:
        try:
            with patient_with_temporary_server():
                synthesize_to_learn(workspace=str(root), overrides=one.overrides, parallel=parallel)
            file_experiment(root, one, results)
        except (FlowFailedError, InputError) as error:  # the others may run all the same
            yield one, f"{one.experiment.name}: {error}"
        else:
            yield one, ""


@experiments.command(cls=Command)
@RESULTS
def page(results: Path) -> None:
    """Write the page of each experiment that was run anew, from the rows that are filed."""
    from pipeline.experiments import write_page
    from reports.experiments.catalogue import read_experiments

    with refusals_as_errors():
        _require_results(results)
        for name, experiment in read_experiments().items():
            if not (results / name).is_dir():
                continue
            click.echo(write_page(experiment, Path.cwd() / results))


@experiments.command(cls=Command)
@RESULTS
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("artifacts/site"),
    show_default=True,
    help="The folder to write, which is replaced.",
)
def site(results: Path, out: Path) -> None:
    """Write all experiments as a site that opens from disk: sorting tables, charts, galleries."""
    from pipeline.publishing.destinations import check_destination
    from reports.experiments.catalogue import read_experiments
    from reports.site.build import SCRIPT, build_site

    root = Path.cwd()
    with refusals_as_errors():
        check_destination(root, root / out, SCRIPT, below=root / "artifacts")
        _require_results(results)
        index, problems = build_site(read_experiments(), root / results, root / out)
        click.echo(index)
        if problems:
            raise InputError(problems, "the site lacks what can't be shown of what is filed:")
