"""The `click` classes that `s2l` uses: commands in sections, lazy imports, `-q` and `-v` for every command.

Nothing slow is imported here, because every `--help` and every shell completion imports this module.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from augment.core.errors import InputError


def _set_verbosity(context: click.Context, parameter: click.Parameter, chosen: bool) -> None:
    """Applies `-q` or `-v`, before or after the command; the last one wins."""
    from pipeline.core.messages import configure_logging

    if context.resilient_parsing:
        return
    if chosen:
        configure_logging("quiet" if parameter.name == "quiet" else "verbose")


def _verbosity_options() -> list[click.Parameter]:
    return [
        click.Option(
            ["-q", "--quiet"],
            is_flag=True,
            expose_value=False,
            callback=_set_verbosity,
            help="Print only errors, warnings and the result.",
        ),
        click.Option(
            ["-v", "--verbose"],
            is_flag=True,
            expose_value=False,
            callback=_set_verbosity,
            help="Print more, including messages of other packages.",
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
        lazy: Name of a command -> `module:function`, imported when the command is used.
    """

    command_class = Command
    group_class = type

    def __init__(
        self,
        *arguments: Any,
        sections: dict[str, tuple[str, ...]] | None = None,
        lazy: dict[str, str] | None = None,
        **values: Any,
    ) -> None:
        super().__init__(*arguments, **values)
        self.params += _verbosity_options()
        self.sections = sections or {}
        self.lazy = lazy or {}

    def get_command(self, context: click.Context, cmd_name: str) -> click.Command | None:
        """The command of this name; None where there is none."""
        if cmd_name in self.lazy:
            module, _, function = self.lazy[cmd_name].partition(":")
            return getattr(importlib.import_module(module), function)
        return super().get_command(context, cmd_name)

    def invoke(self, context: click.Context) -> Any:
        """Runs a command; an unknown verbosity, a full disk or a read-only folder gives a message, no traceback."""
        from pipeline.core.messages import configure_logging
        from pipeline.core.system_errors import describe_system_error

        try:
            configure_logging()
            return super().invoke(context)
        except InputError as error:
            raise click.ClickException(str(error)) from error
        except OSError as error:
            message = describe_system_error(error)
            if message is None:
                raise
            raise click.ClickException(message) from error

    def list_commands(self, context: click.Context) -> list[str]:
        """The commands in the sections' order, then the others."""
        named = [name for names in self.sections.values() for name in names]
        return [*named, *(name for name in (*self.lazy, *self.commands) if name not in named)]

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes a list for each section."""
        if not self.sections:
            super().format_commands(context, formatter)
            return
        known = {name: self.get_command(context, name) for name in self.list_commands(context)}
        width = formatter.width - 6 - max(map(len, known))
        named = {name for names in self.sections.values() for name in names}
        others = tuple(name for name in known if name not in named)
        for heading, names in {**self.sections, **({"Others": others} if others else {})}.items():
            with formatter.section(heading):
                rows = [(name, command.get_short_help_str(width)) for name in names if (command := known[name])]
                formatter.write_dl(rows)


@contextmanager
def refusals_as_errors(interrupted: str = "interrupted; nothing was changed") -> Iterator[None]:
    """Turns an `InputError` into one message and exit status 1; an interrupt into exit status 130.

    Args:
        interrupted: The message after an interrupt.
    """
    try:
        yield
    except InputError as error:
        raise click.ClickException(str(error)) from error
    except KeyboardInterrupt:
        click.echo(interrupted, err=True)
        sys.exit(130)
