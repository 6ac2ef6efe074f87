"""The stages of a run as commands."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from pipeline.core.command_line import Command, refusals_as_errors


def _run(stage: str, **arguments: Any) -> None:
    from pipeline.core.stage_runs import run_in_workspace

    with refusals_as_errors("interrupted; run the same command to resume"):
        run_in_workspace(stage, Path.cwd(), **arguments)


def _name(name: str | None, stage: str) -> str:
    """NAME from the command line, or from the stage that DVC runs (`train@lssl`).

    The commands in dvc.yaml contain no name, because DVC would pass it to a shell as part of the command.
    """
    if name is None:
        _, at, name = os.environ.get("DVC_STAGE", "").rpartition("@")
        if not at:
            raise click.UsageError(f"NAME is missing: `s2l {stage} NAME`; params.yaml lists the names.")
    return name


@click.command(cls=Command)
@click.option(
    "--quarantine",
    type=click.Path(dir_okay=False, path_type=Path),
    help="List what can't be read in this file (JSON lines) and continue without it.",
)
def prepare(quarantine: Path | None) -> None:
    """Read a data set into the table of faces, and assign folds."""
    _run("prepare", quarantine=quarantine)


@click.command(cls=Command)
def parsing() -> None:
    """Train the face parsing network on the training faces' masks."""
    _run("parsing")


@click.command(cls=Command)
def judge() -> None:
    """Train the judge: a classifier trained on real training faces only."""
    _run("judge")


@click.command(cls=Command)
@click.argument("name", required=False)
def train(name: str | None) -> None:
    """Train the translator NAME on each fold's training faces."""
    _run("train", name=_name(name, "train"))


@click.command(cls=Command)
@click.argument("name", required=False)
def synthesize(name: str | None) -> None:
    """Generate n faces per class with the translator NAME."""
    _run("synthesize", name=_name(name, "synthesize"))


@click.command(cls=Command)
@click.argument("name", required=False)
def assess(name: str | None) -> None:
    """Judge NAME's faces: select those to keep, and score the translator."""
    _run("assess", name=_name(name, "assess"))


@click.command(cls=Command)
@click.argument("name", required=False)
def classify(name: str | None) -> None:
    """Train and test the classifiers of the arm NAME."""
    _run("classify", name=_name(name, "classify"))


@click.command(cls=Command)
def report() -> None:
    """Write the tables, the figures and the page."""
    _run("report")
