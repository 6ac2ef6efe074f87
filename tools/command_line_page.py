"""The commands of `s2l` as Markdown, from click: the part between the markers of docs/reference/command-line.md."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path

import click

from pipeline.cli import SECTIONS, main
from pipeline.profile import profile_groups
from tools.settings_tables import cell

BEGIN, END = "<!-- commands: begin -->", "<!-- commands: end -->"
EVERYWHERE = {"--quiet", "--verbose", "--help"}  # on every command; the page says so once


def commands_part(root: Path) -> str:
    """All commands, in the sections of `s2l --help`.

    Args:
        root: The project's folder, whose conf/ has the groups of `s2l profile`.
    """
    context = click.Context(main, info_name="s2l")
    lines = []
    for heading, names in SECTIONS.items():
        lines += [f"## {heading}", ""]
        for name in names:
            command = main.get_command(context, name)
            assert command is not None, f"the section {heading} names {name}, which is no command"
            lines += command_lines(command, name, context, root)
    return "\n".join(lines)


def command_lines(command: click.Command, name: str, parent: click.Context, root: Path) -> Iterator[str]:
    """One command: how it is called, what it does, its options; then the commands within it."""
    context = click.Context(command, parent=parent, info_name=name)
    if isinstance(command, click.Group):
        if command.invoke_without_command:  # it does something by itself
            yield from _own_lines(command, context, "[OPTIONS]")
        for inner_name in command.list_commands(context):
            yield from command_lines(command.commands[inner_name], inner_name, context, root)
        return
    yield from _own_lines(command, context, *command.collect_usage_pieces(context))
    if name == "profile":
        yield from ("| group | values in `conf/` |", "| --- | --- |")
        for group, values in profile_groups(root).items():
            yield f"| `{group}` | " + ", ".join(f"`{value}`" for value in values) + " |"
        yield ""


def _own_lines(command: click.Command, context: click.Context, *usage: str) -> Iterator[str]:
    """How a command is called, what it does, and its options."""
    called = " ".join(["uv run", context.command_path, *usage])
    yield from (f"### `{context.command_path}`", "", "```sh", called, "```", "")
    paragraphs = inspect.cleandoc(command.help or "").split("\n\n")
    yield from (" ".join(paragraph.split()) + "\n" for paragraph in paragraphs)
    options = [
        parameter.get_help_record(context)
        for parameter in command.get_params(context)
        if isinstance(parameter, click.Option) and not EVERYWHERE & set(parameter.opts)
    ]
    if options:
        yield from ("| option | what it does |", "| --- | --- |")
        yield from (f"| `{cell(record[0])}` | {cell(record[1])} |" for record in options if record)
        yield ""


def page(root: Path, text: str) -> str:
    """The page with its part written anew.

    Args:
        root: The project's folder.
        text: The page as it is; it holds the markers.
    """
    before, _, rest = text.partition(BEGIN)
    after = rest.partition(END)[2]
    return f"{before}{BEGIN}\n\n{commands_part(root).rstrip()}\n\n{END}{after}"
