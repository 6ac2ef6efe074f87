"""Commands for faces that leave: export, the check of an export, and where a face comes from."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import click

from pipeline.core.command_line import Command, refusals_as_errors


def _permission(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    """`DATA SET=WHO` several times, as a mapping."""
    found = {}
    for value in values:
        name, separator, words = value.partition("=")
        if not separator or not name.strip() or not words.strip():
            raise click.BadParameter(f'{value!r} is not "DATA SET=WHO ALLOWED IT, WHEN"', context, parameter)
        found[name.strip()] = words.strip()
    return found


@click.command(cls=Command)
@click.argument("destination", type=click.Path(file_okay=False, path_type=Path))
@click.option("--translator", "translators", multiple=True, metavar="NAME", help="Several times; by default all.")
@click.option("--per-class", type=click.IntRange(1), help="Faces of each translator and class; by default all.")
@click.option("--with-real", is_flag=True, help="Add the fold's real faces, in their splits.")
@click.option("--fold", type=click.IntRange(0), default=0, show_default=True, help="Of this fold.")
@click.option(
    "--format",
    type=click.Choice(["parquet", "imagefolder", "webdataset"]),
    default="parquet",
    show_default=True,
    help="How faces are laid in files.",
)
@click.option("--title", default="", help="The card's heading.")
@click.option(
    "--permission",
    "permissions",
    multiple=True,
    callback=_permission,
    metavar='"DATA SET=WHO"',
    help="Who allowed faces to be passed on whose terms do not say it; it goes into the card.",
)
def export(destination: Path, **options: Any) -> None:
    """Write this run's faces to DESTINATION, a folder that can be given away.

    Parquet (or folders of pictures, or WebDataset's archives) with a card, a contact sheet, a description by a JSON
    Schema, and checksums. Faces whose terms do not let them be passed on are refused.
    """
    from pipeline.core.messages import RESULT
    from pipeline.publishing.export import ExportSettings, export_faces

    with refusals_as_errors():
        made = export_faces(Path.cwd(), Path.cwd() / destination, ExportSettings(**options))
        rows = ", ".join(f"{split} {counts.rows:,}" for split, counts in made.splits.items())
        logging.getLogger(__name__).log(RESULT, "%s: %s faces; check it with `s2l verify`", destination, rows)


@click.command(cls=Command)
@click.argument("folder", type=click.Path(path_type=Path))
def verify(folder: Path) -> None:
    """Check a FOLDER that `s2l export` wrote: files, counts, columns, pictures, and that no held-out face is in train.

    Exit status 0 if all is well, 1 if something is wrong.
    """
    from pipeline.core.messages import RESULT
    from pipeline.publishing.verify import verify_faces

    with refusals_as_errors():
        found = verify_faces(folder)
        rows = sum(counts.rows for counts in found.splits.values())
        logging.getLogger(__name__).log(RESULT, "%s: OK, %s faces", folder, f"{rows:,}")


@click.command(cls=Command)
@click.argument("face")
@click.option("--remake", type=click.Path(dir_okay=False, path_type=Path), help="Make the face again, as this PNG.")
def trace(face: str, remake: Path | None) -> None:
    """Say where a FACE of this run comes from: its id, or a PNG that an export or --remake wrote.

    Source face, translator, weights, settings, data, code. With --remake, exit status 1 if a pixel is another one.
    """
    from pipeline.core.messages import RESULT
    from pipeline.publishing.trace import find_face, remake_face_of, trace_face

    with refusals_as_errors():
        traced = find_face(Path.cwd(), face)
        found = trace_face(Path.cwd(), traced)
        width = max(map(len, found.facts))
        for name, words in found.facts.items():
            click.echo(f"{name:{width}}  {words}")
        if remake is not None:
            if not remake_face_of(Path.cwd(), traced, Path.cwd() / remake):
                why = "it was made on another machine, with another version of torch, or its pictures were changed"
                raise click.ClickException(f"{remake}: not every pixel is as it was: {why}")
            logging.getLogger(__name__).log(RESULT, "%s: the same face, bit for bit", remake)


@click.command(cls=Command)
@click.argument("translator")
@click.option("--embedding", default="dlib", show_default=True, help="pixels, dlib (an extra), or timm:MODEL.")
@click.option("--weights", type=click.Path(path_type=Path), help="Of timm's network, as safetensors.")
@click.option("--fold", type=click.IntRange(0), default=0, show_default=True, help="Of this fold.")
@click.option("--faces", "most", type=click.IntRange(1), default=2000, show_default=True, help="At most so many.")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where the table goes; by default artifacts/identity/TRANSLATOR.",
)
def identity(translator: str, out: Path | None, **options: Any) -> None:
    """Say how far TRANSLATOR's faces moved from their people, and list those that copy a training face.

    By an embedding that no translator met, which is tried on the real faces first.
    """
    from pipeline.core.messages import RESULT
    from pipeline.publishing.identity import write_identities

    here = Path.cwd()
    folder = here / (out or Path("artifacts") / "identity" / translator)
    with refusals_as_errors():
        report = write_identities(here, translator, folder, **options)
        for sentence in report.sentences():
            click.echo(sentence)
        logging.getLogger(__name__).log(RESULT, "%s: identity.csv, identity.json", folder)
