"""The `s2l` command: one subcommand a stage, and profiles.

Nothing heavy is imported here: `s2l --help` answers at once; a subcommand imports what it needs when it runs.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from pathlib import Path
from typing import Any

import click

from pipeline.command_line import Group, ProfileCommand, complete_override

SECTIONS = {
    "Before a run": ("profile", "check", "data"),
    "Stages, in the order in which `dvc repro` runs them": (
        "prepare",
        "parsing",
        "judge",
        "train",
        "synthesize",
        "assess",
        "classify",
        "report",
    ),
    "After a run": ("translate", "results"),
}


def _run(stage: str, **arguments: Any) -> None:
    """Runs a stage of `pipeline.stages` in the current folder."""
    began = time.monotonic()
    os.environ.setdefault("HF_HUB_OFFLINE", "1")  # timm would otherwise ask a network for names it already has
    from pipeline.devices import die_with_parent

    if os.environ.get("DVC_STAGE"):
        die_with_parent()
    from augment.core.errors import InputError
    from pipeline.measurements import measured
    from pipeline.messages import RESULT
    from pipeline.project import check_place_of_artifacts

    try:
        if os.environ.get("DVC_STAGE"):
            check_place_of_artifacts(Path.cwd())
        with measured(Path.cwd(), stage, arguments.get("name")):
            from pipeline import stages  # seconds, which are the stage's

            getattr(stages, stage)(Path.cwd(), **arguments)
        if stage not in ("check", "report", "results"):  # these say themselves what came of it
            minutes, seconds = divmod(round(time.monotonic() - began), 60)
            name = f" {arguments['name']}" if "name" in arguments else ""
            logging.getLogger(__name__).log(RESULT, "%s%s: done in %d:%02d", stage, name, minutes, seconds)
    except InputError as error:
        raise click.ClickException(str(error)) from error
    except KeyboardInterrupt:
        click.echo("interrupted; the same command goes on from here", err=True)
        sys.exit(130)


def _name(name: str | None, stage: str) -> str:
    """NAME as it was given, or as DVC calls the stage that it runs: `train@lssl`.

    dvc.yaml's commands hold no name, since DVC would hand it to a shell as part of the command.
    """
    if name is None:
        _, at, name = os.environ.get("DVC_STAGE", "").rpartition("@")
        if not at:
            raise click.UsageError(f"Say which one: `s2l {stage} NAME`; params.yaml lists them.")
    return name


@click.group(cls=Group, sections=SECTIONS, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="synthesize-to-learn")
def main() -> None:
    """Learn to synthesize missing faces, and see honestly whether learning from them helps.

    `dvc repro` runs every stage below that is not up to date; `s2l profile` writes the parameters that it follows.

    The environment's S2L_VERBOSITY (quiet, normal, verbose) does what -q and -v do, for stages that `dvc repro` starts.
    """


@main.command()
@click.option(
    "--quarantine",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write what can't be read to this file (JSON lines) and go on without it.",
)
def prepare(quarantine: Path | None) -> None:
    """Read a data set into the table of faces, and assign folds."""
    _run("prepare", quarantine=quarantine)


@main.command()
def parsing() -> None:
    """Train the face parsing network on the training faces' masks."""
    _run("parsing")


@main.command()
def judge() -> None:
    """Train the judge: a classifier of real training faces only."""
    _run("judge")


@main.command()
@click.argument("name", required=False)
def train(name: str | None) -> None:
    """Train the translator NAME on each fold's training faces."""
    _run("train", name=_name(name, "train"))


@main.command()
@click.argument("name", required=False)
def synthesize(name: str | None) -> None:
    """Generate n faces per class with the translator NAME."""
    _run("synthesize", name=_name(name, "synthesize"))


@main.command()
@click.argument("name", required=False)
def assess(name: str | None) -> None:
    """Let the judge look at NAME's faces: keep those that pass, and score the translator."""
    _run("assess", name=_name(name, "assess"))


@main.command()
@click.argument("name", required=False)
def classify(name: str | None) -> None:
    """Train and test the classifiers of the arm NAME."""
    _run("classify", name=_name(name, "classify"))


@main.command()
def report() -> None:
    """Write the tables, the figures and the page."""
    _run("report")


@main.command(cls=ProfileCommand)
@click.argument("overrides", nargs=-1, metavar="[GROUP=VALUE|KEY=VALUE]...", shell_complete=complete_override)
@click.option("--show", is_flag=True, help="Print the parameters instead of writing params.yaml.")
def profile(overrides: tuple[str, ...], show: bool) -> None:
    """Compose conf/ into params.yaml: `s2l profile dataset=fer2013 scale=cpu synthesis.per_class=500`."""
    from augment.core.errors import InputError
    from augment.core.files import atomic_write_text
    from pipeline.profile import compose_profile

    try:
        text = compose_profile(Path.cwd(), overrides)
        if show:
            click.echo(text, nl=False)
            return
        atomic_write_text(Path("params.yaml"), text)
        from pipeline.readiness import lacking

        lacks = lacking(Path.cwd())
    except InputError as error:
        raise click.ClickException(str(error)) from error
    if lacks:
        click.echo("params.yaml is written. Before `dvc repro` can run it:")
        for problem in lacks:
            click.echo(f"  {problem}")
    else:
        click.echo("params.yaml is written; `dvc repro` runs it.")


@main.command()
def check() -> None:
    """Check params.yaml whole, without running anything."""
    _run("check")


@main.group()
def data() -> None:
    """Look through a data set before a run."""


@data.command("check")
@click.argument("name")
@click.argument("root", required=False, type=click.Path(path_type=Path))
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="A setting of the data set, as YAML.")
@click.option("--no-pictures", is_flag=True, help="Count names and label files only, where the data set allows it.")
@click.option(
    "--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="Write the counts to this file too."
)
def check_data_set(
    name: str, root: Path | None, settings: tuple[str, ...], no_pictures: bool, json_file: Path | None
) -> None:
    """Say what the copy of the data set NAME at ROOT holds, what it lacks, and what in it can't be read.

    Counts are set beside the published ones. Exits with 1 where something can't be read, else with 0, though parts may
    be missing. docs/reference/data-sets.md describes every NAME; the embedded faces (rig) have no ROOT.
    """
    from augment.core.errors import InputError
    from pipeline.data_check import check_data, parse_settings

    try:
        text, problems = check_data(name, root, parse_settings(settings), pictures=not no_pictures, json_file=json_file)
    except InputError as error:
        raise click.ClickException(str(error)) from error
    except KeyboardInterrupt:
        click.echo("interrupted; nothing was changed", err=True)
        sys.exit(130)
    click.echo(text, nl=False)
    if problems:
        raise click.ClickException(f"{problems:,} problem{'s' * (problems != 1)}")


@main.command()
@click.argument("destination", type=click.Path(file_okay=False, path_type=Path))
@click.option("--note", default="", help="A sentence on the circumstances, e.g. wall time and memory.")
def results(destination: Path, note: str) -> None:
    """Keep what this run reported under DESTINATION: text, and pictures of faces in the public domain only."""
    _run("results", destination=destination, note=note)


@main.command()
@click.argument("photos", nargs=-1, required=True, metavar="PHOTO...", type=click.Path(path_type=Path))
@click.option(
    "--weights", required=True, type=click.Path(path_type=Path), help="A trained translator's weights.safetensors."
)
@click.option("--to", "to", multiple=True, metavar="CLASS", help="Wanted class; several times, or `all`.")
@click.option("--from", "own_class", metavar="CLASS", help="The pictures' own class, where the translator asks for it.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Write here instead of beside them.")
@click.option("--recursive", is_flag=True, help="Take the pictures in a folder's folders too.")
@click.option("--overwrite", is_flag=True, help="Write over outputs that are there already.")
@click.option(
    "--keep-going", is_flag=True, help="Do the good pictures though others have problems; still exits with 1."
)
@click.option("--outputs", type=click.IntRange(1, 999), default=1, show_default=True, help="Outputs a class.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the translator's chance.")
@click.option(
    "--landmarks",
    type=click.Choice(["auto", "dlib", "none"]),
    default="auto",
    show_default=True,
    help="Look for landmarks; auto: where the translator wants some.",
)
@click.option("--crop", is_flag=True, help="Crop each picture to its face, turned by its eyes.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1 ...")
def translate(photos: tuple[Path, ...], weights: Path, **options: Any) -> None:
    """Translate your own pictures, or folders of them, to other classes.

    Each is cropped to its central square (--crop: to its face), brought to the translator's size, and written as
    NAME.CLASS.png beside it.
    """
    from augment.core.errors import InputError
    from pipeline.messages import RESULT
    from pipeline.photos.translate import TranslateSettings, translate_pictures

    try:
        written = translate_pictures(photos, weights, TranslateSettings(**options))
        files = f"{len(written):,} file{'s' * (len(written) != 1)}"
        logging.getLogger(__name__).log(RESULT, "translate: %s written", files)
    except InputError as error:
        raise click.ClickException(str(error)) from error
    except KeyboardInterrupt:
        click.echo("interrupted; what is written is whole", err=True)
        sys.exit(130)


if __name__ == "__main__":
    main()
