"""Commands after a run: keep its results, translate photographs."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import click

from pipeline.core.command_line import Command, refusals_as_errors


@click.command(cls=Command)
@click.argument("destination", type=click.Path(file_okay=False, path_type=Path))
@click.option("--note", default="", help="A sentence on how the run was made, e.g. wall time and memory.")
def results(destination: Path, note: str) -> None:
    """Copy this run's report to DESTINATION: text, and pictures only of faces in the public domain."""
    from pipeline.core.messages import RESULT
    from pipeline.results import keep_results

    with refusals_as_errors():
        files = keep_results(Path.cwd(), Path.cwd() / destination, note)
        names = ", ".join(file.name for file in files)
        logging.getLogger(__name__).log(RESULT, "%s: %s", destination, names)


@click.command(cls=Command)
@click.argument("photos", nargs=-1, required=True, metavar="PHOTO...", type=click.Path(path_type=Path))
@click.option(
    "--weights", required=True, type=click.Path(path_type=Path), help="A trained translator's weights.safetensors."
)
@click.option("--to", "to", multiple=True, metavar="CLASS", help="Wanted class; several times, or `all`.")
@click.option("--from", "own_class", metavar="CLASS", help="The pictures' own class, if the translator requires it.")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Output folder; by default each output is written beside its picture.",
)
@click.option("--recursive", is_flag=True, help="Include the pictures in subfolders.")
@click.option("--overwrite", is_flag=True, help="Overwrite existing outputs.")
@click.option(
    "--keep-going", is_flag=True, help="Translate the valid pictures even if others have problems; still exits with 1."
)
@click.option("--outputs", type=click.IntRange(1, 999), default=1, show_default=True, help="Outputs per class.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Random seed of the translator.")
@click.option(
    "--landmarks",
    type=click.Choice(["auto", "dlib", "none"]),
    default="auto",
    show_default=True,
    help="Landmark detector; auto: dlib if the translator requires landmarks.",
)
@click.option("--crop", is_flag=True, help="Crop each picture to its face, rotated so that the eyes are level.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1 ...")
def translate(photos: tuple[Path, ...], weights: Path, **options: Any) -> None:
    """Translate your own pictures, or folders of them, to other classes.

    Each is cropped to its central square (--crop: to its face), resized to the translator's size, and written as
    NAME.CLASS.png beside it.
    """
    from pipeline.core.messages import RESULT
    from pipeline.photos.translate import TranslateSettings, translate_pictures

    with refusals_as_errors("interrupted; the files written so far are complete"):
        written = translate_pictures(photos, weights, TranslateSettings(**options))
        files = f"{len(written):,} file{'s' * (len(written) != 1)}"
        logging.getLogger(__name__).log(RESULT, "translate: %s written", files)


@click.command(cls=Command)
@click.argument("by")
@click.option("--baseline", metavar="ARM", help="The arm to compare with; by default the strongest one of real faces.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Also write the table to this CSV file.")
def groups(by: str, baseline: str | None, out: Path | None) -> None:
    """Say what each arm reaches in each group of test faces: helped one, hurt another?

    BY: yaw, illumination, intensity, source, or a CSV file with the columns group and face_id or subject.
    """
    from pipeline.group_results import group_results

    with refusals_as_errors():
        click.echo(group_results(Path.cwd(), by, out, baseline), nl=False)
