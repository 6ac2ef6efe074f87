"""The command that makes an existing data set a run's data set."""

from __future__ import annotations

from pathlib import Path

import click

from pipeline.core.command_line import Command, refusals_as_errors


@click.command("import", cls=Command)
@click.argument("source", type=click.Path(path_type=Path))
@click.argument("overrides", nargs=-1, metavar="[GROUP=VALUE|KEY=VALUE]...")
@click.option("--licence", help="Under which terms the pictures stand, if the data set does not say it.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="A setting of the source, as YAML.")
@click.option(
    "--to",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("data/imported"),
    show_default=True,
    help="Where what `save_to_disk` wrote is put as Parquet; other data sets stay where they are.",
)
def import_data_set(
    source: Path, overrides: tuple[str, ...], licence: str | None, settings: tuple[str, ...], to: Path
) -> None:
    """Check the data set at SOURCE whole, and write params.yaml for a run on it.

    SOURCE: a Parquet file or a folder of them, class folders of pictures, or what Hugging Face's `save_to_disk` wrote;
    of faces or any other small pictures. Translators that need what they lack are left out. OVERRIDES as of
    `s2l profile`: scale=cpu.
    """
    from pipeline.data_check import parse_settings
    from pipeline.importing import import_data

    here = Path.cwd()
    with refusals_as_errors():
        found = import_data(here, here / source, here / to, parse_settings(settings), overrides, licence)
    click.echo(found.text, nl=False)
    if found.problems:
        raise click.ClickException(f"{found.problems:,} problem{'s' * (found.problems != 1)}; params.yaml is as it was")
    if not found.can_be_split:
        click.echo(
            "params.yaml is written, but `dvc repro` will refuse it: there are too few faces for splits (see folds)."
        )
        return
    click.echo("params.yaml is written; `dvc repro` runs it.")


vars()["import"] = import_data_set  # a command is looked up by its name, and this one is a keyword
