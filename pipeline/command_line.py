"""Forms of `click` commands that `s2l` uses: commands in sections, `-q` and `-v` everywhere, profiles in the help.

Nothing heavy is imported here, since every `--help` and every press of the tab key goes through it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from augment.core.errors import InputError


def _listen(context: click.Context, parameter: click.Parameter, chosen: bool) -> None:
    """Both options may stand before the command or after it; what stands last counts."""
    from pipeline.messages import listen

    if context.resilient_parsing:
        return
    if chosen:
        listen("quiet" if parameter.name == "quiet" else "verbose")


def _verbosity_options() -> list[click.Parameter]:
    return [
        click.Option(
            ["-q", "--quiet"],
            is_flag=True,
            expose_value=False,
            callback=_listen,
            help="Say errors, warnings and what came of it only.",
        ),
        click.Option(
            ["-v", "--verbose"],
            is_flag=True,
            expose_value=False,
            callback=_listen,
            help="Say more, and what other packages say.",
        ),
    ]


class Command(click.Command):
    """A command with `-q` and `-v`."""

    def __init__(self, *arguments: Any, **values: Any) -> None:
        super().__init__(*arguments, **values)
        self.params += _verbosity_options()


class Group(click.Group):
    """Commands listed in sections, in the order in which they were written.

    Attributes:
        sections: Heading -> names of commands.
    """

    command_class = Command
    group_class = type

    def __init__(self, *arguments: Any, sections: dict[str, tuple[str, ...]] | None = None, **values: Any) -> None:
        super().__init__(*arguments, **values)
        self.params += _verbosity_options()
        self.sections = sections or {}

    def invoke(self, context: click.Context) -> Any:
        """Runs a command; an unknown verbosity, a full disk or a read-only folder ends it without a traceback."""
        from pipeline.messages import listen
        from pipeline.system_errors import told

        try:
            listen()
            return super().invoke(context)
        except InputError as error:
            raise click.ClickException(str(error)) from error
        except OSError as error:
            words = told(error)
            if words is None:
                raise
            raise click.ClickException(words) from error

    def list_commands(self, context: click.Context) -> list[str]:
        """The commands as sections name them, then the others."""
        named = [name for names in self.sections.values() for name in names]
        return [*named, *(name for name in self.commands if name not in named)]

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes a list for each section."""
        if not self.sections:
            super().format_commands(context, formatter)
            return
        width = formatter.width - 6 - max(map(len, self.commands))
        named = {name for names in self.sections.values() for name in names}
        others = tuple(name for name in self.list_commands(context) if name not in named)
        for heading, names in {**self.sections, **({"Others": others} if others else {})}.items():
            with formatter.section(heading):
                formatter.write_dl([(name, self.commands[name].get_short_help_str(width)) for name in names])


class ProfileCommand(Command):
    """`s2l profile`: its help lists what conf/ in this folder offers, read when it is asked for."""

    def format_epilog(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the groups and their values."""
        from pipeline.profile import profile_groups

        groups = profile_groups(Path.cwd())
        if not groups:
            with formatter.section("Groups"):
                formatter.write_text("No conf/ is here: in the project's folder this help lists its groups.")
            return
        with formatter.section("Groups and their values (conf/ of this folder)"):
            formatter.write_dl([(group, ", ".join(names)) for group, names in groups.items()])
        with formatter.section("Keys"):
            formatter.write_text("Any key of params.yaml by its path: translators.lssl.training.steps=2000")


def complete_override(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """What may follow in `s2l profile ...`: groups of conf/ with their values.

    Whole overrides are offered (`scale=cpu`), so that no shell sets a blank behind `scale=`. Bash splits words at `=`:
    what it hands over after it is the group, `=`, and the beginning of the value, and it wants the value alone.
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
