"""Commands before a run: profiles, and checks of parameters and data."""

from __future__ import annotations

from pathlib import Path

import click
from click.shell_completion import CompletionItem

from pipeline.core.command_line import Command, Group, refusals_as_errors


class ProfileCommand(Command):
    """`s2l profile`: its help lists the groups in this folder's conf/, read only when help is printed."""

    def format_epilog(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the groups and their values."""
        from pipeline.profile import profile_groups

        groups = profile_groups(Path.cwd())
        if not groups:
            with formatter.section("Groups"):
                formatter.write_text("There is no conf/ here: in the project's folder this help lists its groups.")
            return
        with formatter.section("Groups and their values (conf/ of this folder)"):
            formatter.write_dl([(group, ", ".join(names)) for group, names in groups.items()])
        with formatter.section("Keys"):
            formatter.write_text("Any key of params.yaml by its path: translators.lssl_flow.training.steps=2000")


def complete_override(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Shell completion of `s2l profile ...`: groups of conf/ with their values.

    Whole overrides are offered (`scale=cpu`), so that no shell adds a space after `scale=`. Bash splits words at `=`:
    it passes the group, `=` and the beginning of the value, and expects the value alone.
    """
    from pipeline.profile import profile_groups

    groups = profile_groups(Path.cwd())
    words = [*(context.params.get(str(parameter.name)) or ()), incomplete]
    if len(words) >= 2 and words[-2] in groups:  # click drops an `=` that is a word of its own
        words.insert(-1, "=")
    if len(words) >= 3 and words[-2] == "=" and words[-3] in groups:
        return [CompletionItem(name) for name in groups[words[-3]] if name.startswith(words[-1])]
    overrides = [f"{group}={name}" for group, names in groups.items() for name in names]
    return [CompletionItem(override) for override in overrides if override.startswith(incomplete)]


@click.command(cls=ProfileCommand)
@click.argument("overrides", nargs=-1, metavar="[GROUP=VALUE|KEY=VALUE]...", shell_complete=complete_override)
@click.option("--show", is_flag=True, help="Print the parameters instead of writing params.yaml.")
def profile(overrides: tuple[str, ...], show: bool) -> None:
    """Compose conf/ into params.yaml: `s2l profile dataset=fer2013 scale=cpu synthesis.per_class=2000`."""
    from pipeline.profile import compose_profile, write_parameters
    from pipeline.readiness import missing_prerequisites

    with refusals_as_errors():
        text = compose_profile(Path.cwd(), overrides)
        if show:
            click.echo(text, nl=False)
            return
        write_parameters(Path.cwd(), text)
        missing = missing_prerequisites(Path.cwd())
    if missing:
        click.echo("params.yaml is written. Before `dvc repro` can run it:")
        for problem in missing:
            click.echo(f"  {problem}")
    else:
        click.echo("params.yaml is written; `s2l check` says what of it can't be done, `dvc repro` runs it.")


@click.command(cls=Command)
def check() -> None:
    """Check all of params.yaml, without running anything."""
    from pipeline.check import check as check_run

    with refusals_as_errors():
        check_run(Path.cwd())


@click.group(cls=Group)
def data() -> None:
    """Inspect a data set before a run."""


@data.command("check")
@click.argument("name")
@click.argument("root", required=False, type=click.Path(path_type=Path))
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="A setting of the data set, as YAML.")
@click.option("--no-pictures", is_flag=True, help="Read file names and label files only, if the data set allows it.")
@click.option(
    "--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="Also write the counts to this file."
)
def check_data_set(
    name: str, root: Path | None, settings: tuple[str, ...], no_pictures: bool, json_file: Path | None
) -> None:
    """Report what the copy of the data set NAME at ROOT contains, what is missing, and what can't be read.

    Counts are compared with the published ones. Exits with 1 if something can't be read, otherwise with 0, even if
    parts are missing. docs/reference/data-sets.md describes every NAME; the embedded faces (rig) have no ROOT.
    """
    from pipeline.data_check import check_data, parse_settings

    with refusals_as_errors():
        text, problems = check_data(name, root, parse_settings(settings), pictures=not no_pictures, json_file=json_file)
    click.echo(text, nl=False)
    if problems:
        raise click.ClickException(f"{problems:,} problem{'s' * (problems != 1)}")
