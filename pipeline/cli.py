"""The `s2l` command. A subcommand's module is imported only when it is used, so that `s2l --help` is fast."""

from __future__ import annotations

import click

from pipeline.core.command_line import Group

STAGES = ("prepare", "parsing", "judge", "train", "synthesize", "assess", "classify", "report")
SECTIONS = {
    "Before a run": ("profile", "check", "data"),
    "Stages, in the order in which `dvc repro` runs them": STAGES,
    "Stages side by side, and on a schedule": ("flow",),
    "After a run": ("translate", "results"),
}
# Where the commands are defined; as strings, so that no stage depends on the code of commands that it does not run.
COMMANDS = {
    **{name: f"pipeline.commands.setup:{name}" for name in ("profile", "check", "data")},
    **{name: f"pipeline.commands.stages:{name}" for name in STAGES},
    "flow": "pipeline.commands.flow:flow",
    **{name: f"pipeline.commands.after:{name}" for name in ("translate", "results")},
}


@click.group(cls=Group, sections=SECTIONS, lazy=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="synthesize-to-learn")
def main() -> None:
    """Learn to synthesize missing faces, and measure whether training on them helps.

    `dvc repro` runs every stage below that is not up to date; `s2l profile` writes its parameters.

    The environment variable S2L_VERBOSITY (quiet, normal, verbose) sets the verbosity of stages under `dvc repro`.
    """


if __name__ == "__main__":
    main()
