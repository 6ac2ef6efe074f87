"""What the `s2l` command says while it works: Python's logging, on stderr, one line a message, above the bars.

Our own loggers speak at the level that the verbosity asks for; other packages are heard with `verbose` only.
"""

from __future__ import annotations

import logging
import os
import sys
import warnings
from pathlib import Path
from typing import TextIO

from augment.core.progress import VERBOSITY_VARIABLE, Verbosity, verbosity, write_line

ROOMS = ("augment", "classifiers", "reports", "pipeline")
RESULT = 25  # between INFO and WARNING: the line that says what came of a command
_LEVELS: dict[Verbosity, int] = {"quiet": RESULT, "normal": logging.INFO, "verbose": logging.DEBUG}
_HOME = Path(__file__).resolve().parent.parent.parent


class _AboveBars(logging.Handler):
    """Writes records to stderr as it is at that moment, and never ends the work where nobody reads any more."""

    def __init__(self, others: int) -> None:
        super().__init__()
        self.others = others  # the least level at which other packages are heard

    def emit(self, record: logging.LogRecord) -> None:
        ours = record.name.split(".")[0] in ROOMS
        if not ours and record.levelno < self.others:
            return
        word = f"{record.levelname.lower()}: " if record.levelno >= logging.WARNING else ""
        write_line(f"{word}{'' if ours else f'{record.name}: '}{record.getMessage()}", sys.stderr)


def listen(wanted: Verbosity | None = None) -> None:
    """Sends messages and warnings where the user sees them; the last call counts.

    Args:
        wanted: How much is said, here and in the processes that this one starts; None keeps what the environment says.

    Raises:
        InputError: `S2L_VERBOSITY` is no verbosity.
    """
    if wanted is not None:
        os.environ[VERBOSITY_VARIABLE] = wanted
    level = verbosity()
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if isinstance(handler, _AboveBars)]:
        root.removeHandler(handler)
    # Debug lines of numba or matplotlib are thousands: of others information is the most that is shown.
    others = logging.INFO if level == "verbose" else logging.ERROR
    root.addHandler(_AboveBars(others))
    root.setLevel(min(others, logging.WARNING))
    for room in ROOMS:
        logging.getLogger(room).setLevel(_LEVELS[level])
    warnings.showwarning = _show_warning


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """A warning of ours in one line; one of another package with its place, where all is to be heard."""
    path = Path(filename)
    ours = path.is_relative_to(_HOME) and path.relative_to(_HOME).parts[0] in ROOMS
    if ours:
        logging.getLogger("pipeline").warning("%s", message)
    else:
        logging.getLogger("py.warnings").info("%s: %s (%s:%d)", category.__name__, message, filename, lineno)
