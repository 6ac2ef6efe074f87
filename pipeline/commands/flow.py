"""`s2l flow`: the stages as a Prefect flow, once or on a schedule, and a plan of it."""

from __future__ import annotations

import functools
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

from pipeline.core.command_line import Command, Group, refusals_as_errors


def _overrides(command: Callable[..., None]) -> Callable[..., None]:
    """Words of `s2l profile` as arguments, or by options that say what they are; the command is given `overrides`."""

    @functools.wraps(command)
    def merged(overrides: tuple[str, ...], experiment: str | None, settings: tuple[str, ...], **options: Any) -> None:
        named = () if experiment is None else (f"experiment={experiment}",)
        command(overrides=(*named, *overrides, *settings), **options)

    for decorate in (
        click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="As an override; several times."),
        click.option("--experiment", help="As the override experiment=..."),
        click.argument("overrides", nargs=-1),
    ):
        merged = decorate(merged)
    return merged


@click.group(cls=Group)
def flow() -> None:
    """Run the stages of dvc.yaml as a Prefect flow, once or on a schedule."""


@flow.command(cls=Command)
@_overrides
@click.option("--workspace", default=".", show_default=True, help="A clone of the project.")
@click.option("--parallel", type=click.IntRange(1), help="Stages that run at once; 2 by default.")
@click.option("--gpus", type=click.IntRange(1), help="Stages that use a GPU at once; 1 by default.")
@click.option("--on-worse", type=click.Choice(["report", "fail"]), default="report", show_default=True)
@click.option("--engine", type=click.Choice(["local", "dask"]), default="local", show_default=True)
@click.option("--address", help="Of the Dask scheduler: tcp://host:8786.")
def run(overrides: tuple[str, ...], **options: Any) -> None:
    """Run the stages that are out of date; OVERRIDES are words of `s2l profile`, and write params.yaml first."""
    from pipeline.flow.dask_engine import check_address
    from pipeline.flow.flow import FlowFailedError, synthesize_to_learn
    from pipeline.flow.graph import check_workspace
    from pipeline.flow.server import check_server
    from pipeline.flow.temporary_server import patient_with_temporary_server
    from pipeline.profile import compose_profile

    # By an exception, so that the stages and Prefect's temporary server are ended too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        with refusals_as_errors("interrupted; the next run goes on where this one was"):
            check_workspace(Path(options["workspace"]))
            check_address(options["engine"], options["address"])
            check_server(needed=False)
            if overrides:  # a word that is wrong is refused before a server is started
                compose_profile(Path(options["workspace"]).resolve(), overrides)
            with patient_with_temporary_server():
                outcomes = synthesize_to_learn(overrides=list(overrides), **options)
    except FlowFailedError as error:
        _echo(error.outcomes)
        raise click.ClickException(str(error)) from error
    _echo(outcomes)


def _echo(outcomes: Mapping[str, str]) -> None:
    for name, outcome in outcomes.items():
        click.echo(f"{outcome:8} {name}")


@flow.command(cls=Command)
@_overrides
@click.option("--workspace", default=".", show_default=True, help="A clone of the project.")
@click.option("--parallel", type=click.IntRange(1), help="Stages that run at once; 2 by default.")
@click.option("--gpus", type=click.IntRange(1), help="Stages that use a GPU at once; 1 by default.")
def plan(overrides: tuple[str, ...], workspace: str, parallel: int | None, gpus: int | None) -> None:
    """Say what a flow would run, what is cached, and what it would cost by earlier runs; nothing is changed.

    OVERRIDES are words of `s2l profile`; params.yaml stays as it is.
    """
    from pipeline.flow.graph import check_workspace
    from pipeline.flow.plan import describe_plan, make_plan

    with refusals_as_errors():
        root = Path(workspace).resolve()
        check_workspace(root)
        click.echo(describe_plan(make_plan(root, overrides, slots=parallel, gpus=gpus)))


@flow.command(cls=Command)
@_overrides
@click.option("--cron", required=True, help='When, as cron writes it: "0 3 * * *".')
@click.option("--timezone", default="UTC", show_default=True, help="In which --cron is meant: Europe/Berlin.")
@click.option("--name", default="nightly", show_default=True, help="Of the deployment.")
@click.option("--workspace", default=".", show_default=True, help="A clone of the project.")
@click.option("--on-worse", type=click.Choice(["report", "fail"]), default="report", show_default=True)
def serve(overrides: tuple[str, ...], cron: str, timezone: str, name: str, **options: Any) -> None:
    """Run the flow on a schedule until this process ends; needs a Prefect server (`prefect server start`)."""
    from prefect.client.schemas.schedules import CronSchedule
    from pydantic import ValidationError

    from pipeline.flow.graph import check_workspace
    from pipeline.flow.server import check_server
    from pipeline.flow.serving import check_name
    from pipeline.flow.serving import serve as start
    from pipeline.profile import compose_profile

    try:
        CronSchedule(cron=cron, timezone=timezone)
    except ValidationError as error:
        why = error.errors()[0]["msg"].removeprefix("Value error, ")
        if error.errors()[0]["loc"] == ("timezone",):
            fix = "write a name such as Europe/Berlin, or UTC"
            raise click.BadParameter(f"{timezone!r}: {why}; {fix}", param_hint="--timezone") from error
        raise click.BadParameter(
            f'{cron!r}: {why}; write five fields, such as "0 3 * * *"', param_hint="--cron"
        ) from error
    root = Path(options["workspace"]).resolve()
    with refusals_as_errors():
        check_workspace(root)
        check_server(needed=True)
        check_name(name, root)
        if overrides:  # a word that is wrong is refused now, and not at night
            compose_profile(root, overrides)
    # The whole path, which tells this clone's deployment from another's on the same server.
    parameters = {"overrides": list(overrides), **options, "workspace": str(root)}
    start(name=name, cron=cron, timezone=timezone, parameters=parameters)
