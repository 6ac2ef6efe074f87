"""The flow on a schedule in this one process: Prefect's `serve`, which here ends its run with itself."""

from __future__ import annotations

import asyncio
import multiprocessing
from collections.abc import Mapping
from typing import Any

import click
from prefect.runner import Runner
from prefect.schedules import Cron
from prefect.types.entrypoint import EntrypointType

from pipeline.flow.flow import synthesize_to_learn


class _Runner(Runner):
    """A runner that ends its run when it is told to end; Prefect's waits until the run, hours perhaps, has ended."""

    def handle_sigterm(self, *arguments: Any, **options: Any) -> None:
        for run in multiprocessing.active_children():
            run.terminate()
        super().handle_sigterm(*arguments, **options)


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
