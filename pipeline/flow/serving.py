"""The flow on a schedule in this one process: Prefect's `serve`, which here ends its run with itself."""

from __future__ import annotations

import asyncio
import multiprocessing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
from prefect.client.orchestration import get_client
from prefect.exceptions import ObjectNotFound
from prefect.runner import Runner
from prefect.schedules import Cron
from prefect.types.entrypoint import EntrypointType

from augment.core.errors import InputError, Problem
from pipeline.flow.flow import synthesize_to_learn


class _Runner(Runner):
    """A runner that ends its run when it is told to end; Prefect's waits until the run, hours perhaps, has ended."""

    def handle_sigterm(self, *arguments: Any, **options: Any) -> None:
        for run in multiprocessing.active_children():
            run.terminate()
        super().handle_sigterm(*arguments, **options)


def check_name(name: str, root: Path) -> None:
    """Refuses the name of a deployment that is another clone's: it would be taken over, and paused when this one ends.

    Args:
        name: Of the deployment.
        root: The clone that is to be served; its whole path.

    Raises:
        InputError: Another clone's deployment has this name, and is not paused.
    """
    whole = f"{synthesize_to_learn.name}/{name}"
    try:
        with get_client(sync_client=True) as client:
            found = client.read_deployment_by_name(whole)
    except ObjectNotFound:
        return
    # `prefect deploy` notes the folder that it is called in, and leaves the parameter out.
    steps = [options for step in found.pull_steps or [] for options in step.values()]
    folders = [options["directory"] for options in steps if "directory" in options]
    other = Path(*folders, found.parameters.get("workspace", "")).resolve()
    if found.paused or other == root:
        return
    why = f"the server's deployment {whole} runs {other}, and would run this clone instead"
    fix = f"give another --name; or, if nothing serves it any more, `prefect deployment delete '{whole}'`"
    raise InputError(Problem(f"--name {name}", why, fix))


def serve(*, name: str, cron: str, timezone: str, parameters: Mapping[str, Any]) -> None:
    """Runs the flow whenever it is due, one run at a time, until this process is told to end.

    Args:
        name: Of the deployment, which is paused on the server when this ends.
        cron: When.
        timezone: In which `cron` is meant: Europe/Berlin.
        parameters: Of the flow.
    """
    runner = _Runner(name=name, limit=1)
    runner.add_flow(
        synthesize_to_learn,
        name=name,
        schedule=Cron(cron, timezone=timezone),
        parameters=dict(parameters),
        entrypoint_type=EntrypointType.MODULE_PATH,
    )
    click.echo(f"{synthesize_to_learn.name}/{name} runs at {cron!r} ({timezone}); Ctrl-C ends it. By hand: ", nl=False)
    click.echo(f"prefect deployment run '{synthesize_to_learn.name}/{name}'")
    try:
        asyncio.run(runner.start())
    except KeyboardInterrupt:
        click.echo("ended")
