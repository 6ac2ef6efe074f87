"""Problems are listed whole."""

from __future__ import annotations

import json
from pathlib import Path

from augment.core.errors import InputError, Problem, write_quarantine


def test_the_message_lists_every_problem() -> None:
    problems = [Problem(f"file {number}", "is bad", "fix it") for number in range(500)]
    error = InputError(problems)
    assert error.problems == tuple(problems)
    assert str(error).splitlines()[0] == "500 problems"
    assert all(f"file {number}: is bad (fix it)" in str(error) for number in range(500))


def test_one_problem_needs_no_heading() -> None:
    assert str(InputError(Problem("key", "is wrong"))) == "key: is wrong"
    assert str(InputError("plain")) == "plain"


def test_quarantine_is_json_lines(tmp_path: Path) -> None:
    write_quarantine(tmp_path / "list", [Problem("a\nb", "ü", "")])
    assert [json.loads(line) for line in (tmp_path / "list").read_text(encoding="utf-8").splitlines()] == [
        {"where": "a\nb", "why": "ü", "fix": ""}
    ]
