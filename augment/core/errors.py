"""Problems with input: collected, listed whole, never skipped in silence."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from augment.core.files import atomic_write_text


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with the input.

    Attributes:
        where: The file, the row or the key, as the user knows it (`train/happy/3.png`, `fer2013.csv row 17`).
        why: What is wrong with it.
        fix: What the user can do about it; may be empty where `why` says it.
    """

    where: str
    why: str
    fix: str = ""

    def __str__(self) -> str:
        return f"{self.where}: {self.why}" + (f" ({self.fix})" if self.fix else "")


class InputError(Exception):
    """Input that can't be used; the message lists every problem."""

    def __init__(self, problems: Sequence[Problem] | Problem | str, heading: str = "") -> None:
        if isinstance(problems, str):
            self.problems: tuple[Problem, ...] = ()
            message = problems
        else:
            self.problems = (problems,) if isinstance(problems, Problem) else tuple(problems)
            heading = heading or (f"{len(self.problems)} problems" if len(self.problems) != 1 else "")
            lines = [str(problem) for problem in self.problems]
            message = "\n  ".join([heading, *lines]) if heading else "\n  ".join(lines)
        super().__init__(message)


def check_quarantine(path: Path) -> None:
    """Sees that a quarantine file may be written: it is absent, empty, or a quarantine file.

    Raises:
        InputError: It is something else, which would be lost.
    """
    path = Path(path)
    if not path.exists():
        return
    try:
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        ours = all(isinstance(line, dict) and set(line) == {"where", "why", "fix"} for line in lines)
    except (OSError, ValueError):
        ours = False
    if not ours:
        raise InputError(Problem(str(path), "would be overwritten, and is no quarantine file", "name another file"))


def write_quarantine(path: Path, problems: Iterable[Problem]) -> None:
    """Writes problems as JSON lines (`where`, `why`, `fix`), atomically."""
    atomic_write_text(path, "".join(json.dumps(asdict(problem)) + "\n" for problem in problems))
