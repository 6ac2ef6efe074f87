"""Writes docs/bad-input.md: every kind of bad input that the tests try, and what the user is told.

uv run python tests/write_bad_input_page.py
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import yaml

TESTS = Path(__file__).parent
sys.path[:0] = [str(TESTS / "augment"), str(TESTS / "pipeline"), str(TESTS.parent)]

from test_bad_input import CASES  # noqa: E402
from test_parameters import REFUSALS, changed  # noqa: E402

from augment.files import atomic_write_text  # noqa: E402
from augment.prepare import prepare_faces  # noqa: E402
from augment.problems import InputError  # noqa: E402
from augment.sources import open_source  # noqa: E402
from pipeline.parameters import parse_parameters  # noqa: E402
from pipeline.profile import compose_profile  # noqa: E402

PAGE = TESTS.parent / "docs" / "bad-input.md"


def answer_of_a_source(case: str) -> str:
    """What `s2l prepare` says to one of the cases."""
    source, build, settings, _ = CASES[case]
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "in"
        root.mkdir()
        try:
            prepare_faces(open_source(source, build(root), **settings), Path(folder) / "out", image_size=16, channels=1)
        except InputError as error:
            return str(error).replace(f"{root}/", "").replace(str(root), "the folder").replace(folder, "...")
    raise AssertionError(f"{case} was taken")


def answer_to_parameters(path: str, value: object) -> str:
    """What every stage says to one wrong value in params.yaml."""
    values = yaml.safe_load(compose_profile(TESTS.parent, ["scale=cpu"]))
    try:
        parse_parameters(changed(values, path, value), where="params.yaml")
    except InputError as error:
        return str(error)
    raise AssertionError(f"{path} was taken")


def row(*cells: str) -> str:
    """A row of a Markdown table."""
    cleaned = [" ".join(cell.replace("|", "\\|").split()) for cell in cells]
    return "| " + " | ".join(cell if len(cell) <= 400 else cell[:399] + "…" for cell in cleaned) + " |"


def main() -> None:
    """Tries every case and writes the page."""
    lines = [
        "# Bad input, and what it gets",
        "",
        f"{len(CASES)} kinds of bad data and {len(REFUSALS)} of bad parameters. Each is tried by a test; this page is",
        "written by `uv run python tests/write_bad_input_page.py`. Every problem is listed, not only the first; with",
        "`s2l prepare --quarantine FILE` rows that can't be read are written to FILE, counted in the report, and the",
        "rest goes on.",
        "",
        "## Data",
        "",
        row("given", "source", "the answer"),
        row("---", "---", "---"),
        *(row(case, CASES[case][0], answer_of_a_source(case)) for case in CASES),
        "",
        "## Parameters",
        "",
        row("key", "value", "the answer"),
        row("---", "---", "---"),
        *(row(f"`{path}`", f"`{value!r}`", answer_to_parameters(path, value)) for path, value, _ in REFUSALS),
        "",
    ]
    atomic_write_text(PAGE, "\n".join(lines))
    print(f"{PAGE.name}: {len(CASES)} + {len(REFUSALS)} cases")


if __name__ == "__main__":
    main()
