"""Messages of the `s2l` command: Python's logging on stderr, one line per message, above the progress bars.

This project's loggers use the level of the verbosity; other packages' messages are shown with `verbose` only.
"""

from __future__ import annotations

import logging
import os
import sys
import warnings
from pathlib import Path
from typing import TextIO

from augment.core.progress import VERBOSITY_VARIABLE, Verbosity, verbosity, write_line

PACKAGES = ("augment", "classifiers", "reports", "pipeline")
RESULT = 25  # between INFO and WARNING: the line that states a command's result
_LEVELS: dict[Verbosity, int] = {"quiet": RESULT, "normal": logging.INFO, "verbose": logging.DEBUG}
_HOME = Path(__file__).resolve().parent.parent.parent


class _AboveBars(logging.Handler):
    """Writes records to the current `sys.stderr`; a closed pipe does not stop the work."""

    def __init__(self, others: int) -> None:
        super().__init__()
        self.others = others  # the lowest level at which other packages' messages are shown

    def emit(self, record: logging.LogRecord) -> None:
        built_in = record.name.split(".")[0] in PACKAGES
        if not built_in and record.levelno < self.others:
            return
        word = f"{record.levelname.lower()}: " if record.levelno >= logging.WARNING else ""
        write_line(f"{word}{'' if built_in else f'{record.name}: '}{record.getMessage()}", sys.stderr)


def configure_logging(wanted: Verbosity | None = None) -> None:
    """Sends messages and warnings to stderr; a later call replaces the configuration of an earlier one.

    Args:
        wanted: The verbosity, here and in child processes; None keeps that of the environment.

    Raises:
        InputError: `S2L_VERBOSITY` has an unknown value.
    """
    if wanted is not None:
        os.environ[VERBOSITY_VARIABLE] = wanted
    level = verbosity()
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if isinstance(handler, _AboveBars)]:
        root.removeHandler(handler)
    # numba and matplotlib write thousands of debug lines: other packages are shown from INFO upwards.
    others = logging.INFO if level == "verbose" else logging.ERROR
    root.addHandler(_AboveBars(others))
    root.setLevel(min(others, logging.WARNING))
    for package in PACKAGES:
        logging.getLogger(package).setLevel(_LEVELS[level])
    warnings.showwarning = _show_warning


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Shows this project's warnings in one line; those of other packages with their location, if verbose."""
    path = Path(filename)
    built_in = path.is_relative_to(_HOME) and path.relative_to(_HOME).parts[0] in PACKAGES
    if built_in:
        logging.getLogger("pipeline").warning("%s", message)
    else:
        logging.getLogger("py.warnings").info("%s: %s (%s:%d)", category.__name__, message, filename, lineno)
