"""Writes docs/reference/bad-input.md: every kind of bad input that the tests try, and what the user is told.

uv run python tests/write_bad_input_page.py
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import yaml

TESTS = Path(__file__).parent
sys.path[:0] = [*(str(TESTS / name) for name in ("augment", "augment/sources", "pipeline")), str(TESTS.parent)]

from data_sets import modules_of_tests  # noqa: E402
from test_bad_input import CASES, Case  # noqa: E402
from test_parameters import REFUSALS, changed  # noqa: E402

from augment.core.errors import InputError  # noqa: E402
from augment.core.files import atomic_write_text  # noqa: E402
from augment.prepare.prepare import prepare_faces  # noqa: E402
from augment.sources import _source_class, open_source, source_names  # noqa: E402
from pipeline.parameters.whole import parse_parameters  # noqa: E402
from pipeline.profile import compose_profile  # noqa: E402

PAGE = TESTS.parent / "docs" / "reference" / "bad-input.md"


def all_cases() -> dict[str, dict[str, Case]]:
    """The cases of every source, by the source's name and then by their own."""
    cases: dict[str, dict[str, Case]] = {}
    for name, case in CASES.items():
        cases.setdefault(case[0], {})[name] = case
    for source, module in modules_of_tests().items():
        cases.setdefault(source, {}).update(getattr(module, "CASES", {}))
    return cases


def answer_of_a_source(case: Case) -> str:
    """What `s2l prepare` says to one of the cases."""
    source, build, settings, _ = case
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "in"
        root.mkdir()
        try:
            source_of_it = open_source(source, build(root), **settings)
            prepare_faces(source_of_it, Path(folder) / "out", image_size=16, channels=1, licence="made for a test")
        except InputError as error:
            return str(error).replace(f"{root}/", "").replace(str(root), "the folder").replace(folder, "...")
    raise AssertionError(f"a case of {source} was taken")


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


def title_of(source: str) -> str:
    """A data set's name beside its source's."""
    title = getattr(_source_class(source), "title", None) if source in source_names() else None
    return f"{title}: `{source}`" if isinstance(title, str) else f"`{source}`"


def main() -> None:
    """Tries every case and writes the page."""
    cases = all_cases()
    count = sum(map(len, cases.values()))
    # Several tests of one value look for different words of its answer.
    wrong = {(path, repr(value)): answer_to_parameters(path, value) for path, value, _ in REFUSALS}
    lines = [
        "# Bad input, and what it gets",
        "",
        f"{count} kinds of bad data and {len(wrong)} of bad parameters. Each is tried by a test; this page is",
        "written by `uv run python tests/write_bad_input_page.py`. Every problem is listed, not only the first; with",
        "`s2l prepare --quarantine FILE` rows that can't be read are written to FILE, counted in the report, and the",
        "rest goes on.",
        "",
        "## Data",
        "",
    ]
    for source, named in cases.items():
        lines += [f"### {title_of(source)}", "", row("given", "the answer"), row("---", "---")]
        prefix = f"{getattr(_source_class(source), 'title', source)}: " if source in source_names() else ""
        lines += [row(name.removeprefix(prefix), answer_of_a_source(case)) for name, case in named.items()]
        lines.append("")
    lines += [
        "## Parameters",
        "",
        row("key", "value", "the answer"),
        row("---", "---", "---"),
        *(row(f"`{path}`", f"`{value}`", answer) for (path, value), answer in wrong.items()),
        "",
    ]
    atomic_write_text(PAGE, "\n".join(lines))
    print(f"{PAGE.name}: {count} + {len(wrong)} cases")


if __name__ == "__main__":
    main()
