"""`python -m pipeline.flow plan`."""

from __future__ import annotations

from pathlib import Path

import click

from pipeline.core.command_line import Command, Group, refusals_as_errors


@click.group(cls=Group)
def main() -> None:
    """The stages of dvc.yaml as a flow."""


@main.command(cls=Command)
@click.argument("overrides", nargs=-1)
@click.option("--workspace", default=".", show_default=True, help="A clone of the project.")
@click.option("--parallel", type=click.IntRange(1), help="Stages that run at once; 2 by default.")
@click.option("--gpus", type=click.IntRange(1), help="Stages that use a GPU at once; 1 by default.")
def plan(overrides: tuple[str, ...], workspace: str, parallel: int | None, gpus: int | None) -> None:
    """Say what a flow would run, what is cached, and what it would cost by earlier runs; nothing is changed.

    OVERRIDES are words of `s2l profile`; params.yaml stays as it is.
    """
    from pipeline.flow.flow import check_workspace
    from pipeline.flow.plan import describe_plan, make_plan

    with refusals_as_errors():
        root = Path(workspace).resolve()
        check_workspace(root)
        click.echo(describe_plan(make_plan(root, overrides, slots=parallel, gpus=gpus)))


if __name__ == "__main__":
    main()
