"""`s2l flow`: the stages as a Prefect flow, once or on a schedule."""

from __future__ import annotations

import signal
import sys
from typing import Any

import click

from pipeline.core.command_line import Command, Group, refusals_as_errors


@click.group(cls=Group)
def flow() -> None:
    """Run the stages of dvc.yaml as a Prefect flow, once or on a schedule."""


@flow.command(cls=Command)
@click.argument("overrides", nargs=-1)
@click.option("--workspace", default=".", show_default=True, help="A clone of the project.")
@click.option("--parallel", type=click.IntRange(1), help="Stages that run at once; 2 by default.")
@click.option("--gpus", type=click.IntRange(1), help="Stages that use a GPU at once; 1 by default.")
@click.option("--on-worse", type=click.Choice(["report", "fail"]), default="report", show_default=True)
def run(overrides: tuple[str, ...], **options: Any) -> None:
    """Run the stages that are out of date; OVERRIDES are words of `s2l profile`, and write params.yaml first."""
    from pipeline.flow.flow import FlowFailedError, synthesize_to_learn

    # By an exception, so that the stages and Prefect's temporary server are ended too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        with refusals_as_errors("interrupted; the next run goes on where this one was"):
            outcomes = synthesize_to_learn(overrides=list(overrides), **options)
    except FlowFailedError as error:
        raise click.ClickException(str(error)) from error
    for name, outcome in outcomes.items():
        click.echo(f"{outcome:8} {name}")


@flow.command(cls=Command)
@click.argument("overrides", nargs=-1)
@click.option("--cron", required=True, help='When, as cron writes it: "0 3 * * *".')
@click.option("--name", default="nightly", show_default=True, help="Of the deployment.")
@click.option("--workspace", default=".", show_default=True, help="A clone of the project.")
@click.option("--on-worse", type=click.Choice(["report", "fail"]), default="report", show_default=True)
def serve(overrides: tuple[str, ...], cron: str, name: str, **options: Any) -> None:
    """Run the flow on a schedule until this process ends; needs a Prefect server (`prefect server start`)."""
    from prefect.settings import get_current_settings
    from prefect.types.entrypoint import EntrypointType

    from pipeline.flow.flow import synthesize_to_learn

    if not get_current_settings().api.url:
        raise click.ClickException(
            "a schedule needs a Prefect server: run `prefect server start` and set PREFECT_API_URL to its address"
            " (http://127.0.0.1:4200/api)"
        )
    parameters = {"overrides": list(overrides), **options}
    synthesize_to_learn.serve(
        name=name, cron=cron, parameters=parameters, limit=1, entrypoint_type=EntrypointType.MODULE_PATH
    )
