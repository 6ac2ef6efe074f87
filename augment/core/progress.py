"""How far a loop is: a bar on a terminal, a short line now and then elsewhere. The only place that uses tqdm."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal, TextIO, cast

from tqdm import tqdm

from augment.core.errors import InputError, Problem

if TYPE_CHECKING:
    _Bar = tqdm[Any]
else:
    _Bar = tqdm  # which takes no arguments of types when it runs

Verbosity = Literal["quiet", "normal", "verbose"]
VERBOSITIES: tuple[Verbosity, ...] = ("quiet", "normal", "verbose")
VERBOSITY_VARIABLE = "S2L_VERBOSITY"

LINE_LENGTH = 119  # characters, without the line's end
FIRST_LINE_SECONDS = 3.0
LINE_SECONDS = 15.0
LATE_LINE_SECONDS = 30.0  # between lines of a loop that has run for LATE_SECONDS
LATE_SECONDS = 300.0
FEWEST_DONE = 0.002  # of all, before their rate says what remains: the first may have waited for a compiler


def verbosity() -> Verbosity:
    """How much is said: what the environment variable `S2L_VERBOSITY` says, else `normal`.

    The environment rather than a variable of this process: stages that `dvc repro` starts, and processes that a stage
    starts, get it too.

    Raises:
        InputError: The variable names no verbosity.
    """
    word = os.environ.get(VERBOSITY_VARIABLE) or "normal"
    if word not in VERBOSITIES:
        why = "is no verbosity"
        raise InputError(Problem(f"{VERBOSITY_VARIABLE}={word}", why, f"use one of {', '.join(VERBOSITIES)}"))
    return word


def is_terminal(stream: TextIO) -> bool:
    """Whether a stream goes to a terminal that can move its cursor."""
    try:
        return stream.isatty() and os.environ.get("TERM") != "dumb"
    except (AttributeError, ValueError):  # a stand-in without the question, or a closed stream
        return False


def write_line(text: str, stream: TextIO) -> None:
    """Writes a line above the bars that are shown.

    A reader that went away (`s2l ... | head -1`) ends the lines, not the work: the rest goes nowhere.
    """
    try:
        if is_terminal(sys.stderr):
            tqdm.write(text, file=stream)
        else:
            stream.write(text + "\n")
        stream.flush()
    except BrokenPipeError:
        _send_nowhere(stream)


def _send_nowhere(stream: TextIO) -> None:
    """Lets a stream whose reader is gone go to the null device, so that nothing fails later: not even at the exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def track(
    items: Iterable[Any] | None = None,
    *,
    desc: str,
    unit: str,
    total: int | None = None,
    initial: int = 0,
    leave: bool = True,
    delay: float = 0.0,
    disable: bool = False,
) -> tqdm[Any]:
    """Shows on stderr how far a loop is, with count, time elapsed and time remaining.

    On a terminal that is tqdm's bar. Elsewhere (a file, a pipe, a service's log) it is a line of at most 119 characters
    without control codes: the first after seconds, the next every 15 s (30 s once the loop is five minutes old), the
    last at the end; time remaining is left out until enough is done to tell. With the verbosity `quiet` it is nothing.

    Args:
        items: What to go through; None where the caller counts by `update`.
        desc: What is done.
        unit: What is counted, in the plural.
        total: How many there are; by default the length of `items`, where it has one.
        initial: How many were done before: a run that goes on.
        leave: False for a loop inside another: its bar goes when it ends, and there is no last line.
        delay: Seconds before a bar is shown at all.
        disable: Shows nothing.

    Returns:
        A tqdm: iterate over it, or call `update`; it is a context manager, and `set_postfix` adds values to it.
    """
    kind = tqdm if is_terminal(sys.stderr) else _Lines
    return kind(
        items,
        desc=_plain(desc),
        unit=f" {unit}",
        total=total,
        initial=initial,
        leave=leave,
        delay=delay,
        disable=disable or verbosity() == "quiet",
        file=sys.stderr,
        mininterval=0.5,
    )


def _plain(text: str) -> str:
    """Text on one line, without control codes."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


class _Lines(_Bar):
    """tqdm that writes lines of its own counts and rates, where there is no cursor to move."""

    monitor_interval = 0  # the thread that redraws bars has nothing to redraw here

    def __init__(self, items: Iterable[Any] | None, **arguments: Any) -> None:
        self._line_due = time.monotonic() + FIRST_LINE_SECONDS
        super().__init__(cast(Iterable[Any], items), miniters=1, **arguments)

    def refresh(self, *_: Any, **__: Any) -> None:
        """Called by tqdm whenever a bar would be drawn; writes where a line is due."""
        ends = self.total is not None and self.n >= self.total
        if self.disable or time.monotonic() < self._line_due or (self.leave and ends):
            return  # in the last case the last line follows at once
        facts = self.format_dict
        rate, total = facts["rate"] or (self.n - self.initial) / max(facts["elapsed"], 1e-9), self.total
        parts = [f"{self._count()}, {self.format_interval(facts['elapsed'])} elapsed"]
        if total and rate and self.n - self.initial >= FEWEST_DONE * total:
            parts.append(f"{self.format_interval(max(total - self.n, 0) / rate)} remaining")
        self._write([*parts, facts["postfix"] or ""])
        late = facts["elapsed"] >= LATE_SECONDS
        self._line_due = time.monotonic() + (LATE_LINE_SECONDS if late else LINE_SECONDS)

    def clear(self, *_: Any, **__: Any) -> None:
        """There is no bar to clear."""

    def close(self) -> None:
        """Writes the last line."""
        if self.disable:
            return
        if self.leave:
            facts = self.format_dict
            ended = "" if self.total is None or self.n >= self.total else "ended early: "
            elapsed = self.format_interval(facts["elapsed"])
            self._write([f"{ended}{self._count()} in {elapsed}", facts["postfix"] or ""])
        self.delay = float("inf")  # tells tqdm that no bar was drawn which it should end
        super().close()

    def _count(self) -> str:
        # What is counted may be more than what was announced, as where pictures that can't be read are counted too.
        known = self.total is not None and self.n <= self.total > 0
        return f"{self.n:,} of {self.total:,}{self.unit}" if known else f"{self.n:,}{self.unit}"

    def _write(self, parts: list[str]) -> None:
        line = _plain(f"{self.desc}: {', '.join(part for part in parts if part)}")
        write_line(line if len(line) <= LINE_LENGTH else f"{line[: LINE_LENGTH - 3]}...", sys.stderr)
