"""The `s2l` command. A subcommand's module is imported only when it is used, so that `s2l --help` is fast."""

from __future__ import annotations

import tomllib
from pathlib import Path

import click

from pipeline.core.command_line import Group
from pipeline.core.stage_names import STAGES


def _commands() -> tuple[dict[str, tuple[str, ...]], dict[str, str]]:
    """The sections of the help, and where each command is defined (`module:function`).

    Commands that are no stages are listed in a file that is no code: a new one can't change any stage's result, and so
    makes none out of date.
    """
    listed = tomllib.loads((Path(__file__).parent / "commands" / "commands.toml").read_text(encoding="utf-8"))
    modules = {name: f"pipeline.commands.stages:{name}" for name in STAGES}
    sections: dict[str, tuple[str, ...]] = {}
    for section in listed["section"]:
        commands: dict[str, str] = section.get("commands", {})
        sections[section["heading"]] = tuple(commands) or STAGES
        modules |= {name: f"pipeline.commands.{module}:{name}" for name, module in commands.items()}
    return sections, modules


SECTIONS, COMMANDS = _commands()


@click.group(cls=Group, sections=SECTIONS, lazy=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="synthesize-to-learn")
def main() -> None:
    """Learn to synthesize missing faces, and measure whether training on them helps.

    `dvc repro` runs every stage below that is not up to date; `s2l profile` writes its parameters.

    The environment variable S2L_VERBOSITY (quiet, normal, verbose) sets the verbosity of stages under `dvc repro`.
    """


if __name__ == "__main__":
    main()
