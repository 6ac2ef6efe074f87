"""Writes docs/reference/data-sets.md from what the sources say of themselves.

uv run python tests/write_datasets_page.py
"""

from __future__ import annotations

import re
import sys
import tempfile
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

TESTS = Path(__file__).parent
sys.path[:0] = [str(TESTS / "augment"), str(TESTS / "augment" / "sources"), str(TESTS.parent)]

from data_sets import fer_csv, modules_of_tests  # noqa: E402

from augment.core.files import atomic_write_text  # noqa: E402
from augment.faces.licences import Terms  # noqa: E402
from augment.sources import _source_class, open_source, source_names  # noqa: E402
from augment.sources.base import PublishedCount, Source  # noqa: E402
from augment.sources.joint import JointPart  # noqa: E402
from tools.settings_tables import cell, settings_table  # noqa: E402

PAGE = TESTS.parent / "docs" / "reference" / "data-sets.md"
COMMANDS = {
    "rig": ("data check rig --set preset=oulu_casia", "profile dataset=rig_oulu_casia"),
    "folder": (
        "data check folder /data/faces",
        "profile dataset=folder dataset.root=/data/faces \"dataset.licence='my own photographs, all persons agreed'\"",
    ),
    "parquet": (
        "data check parquet /data/faces.parquet",
        "profile dataset=parquet dataset.root=/data/faces.parquet dataset.licence=cc-by-4.0",
    ),
    "joint": (
        "data check joint /data --set "
        "'parts=[{data_set: web, source: fer2013, root: fer2013}, {data_set: drawn, source: ferg, root: ferg}]'",
        "profile dataset=fer2013_ferg dataset.root=/data",
    ),
}
INTRODUCTION = """\
# Data sets

What is read, in which layout, and what the holders allow. `uv run python tests/write_datasets_page.py` writes this page
from the sources themselves (`augment/sources/`); a test keeps it up to date.

```sh
uv run s2l data check NAME ROOT                      # what a copy contains and lacks, beside the published counts
uv run s2l data check NAME ROOT --set key=value      # with a setting of the data set; values are YAML
uv run s2l data check NAME ROOT --no-pictures        # names and label files only: seconds
uv run s2l profile dataset=NAME dataset.root=ROOT    # then `uv run dvc repro`
```

`data check` ends with 0 where everything that is there can be read; what is missing of the whole is named, and is no
error. With anything that can't be read it ends with 1, after a list of all of it. `--json FILE` writes the counts.

## What could be tried

Of all the sets below only FER2013 was at hand when this was written: its {fer} faces were read, and every published
count agrees. The others are given out on request. Their sources are built from the layouts that papers, the sets' own
pages and public readers describe, as each says below, and are tested on small copies in that layout, drawn from the
embedded faces, whole and broken in many ways ([bad input](bad-input.md)). A real copy may hold what no description
tells: `s2l data check` then lists it, file by file, and nothing is passed over in silence.

## Licences

A synthetic face is made from real ones, so the terms of the faces that a translator learned from hold for what it
makes: most sets below forbid to pass derived images on, or say nothing of them, which allows nothing. So

- the card (`README.md`) beside every Parquet table that is written, real or synthetic, carries the terms of all its
  sources: the holders, where to ask, the use, what they say of derived images; in YAML for programs too;
- no card is written without a licence. `folder` and `parquet` can't know whose faces they read: `dataset.licence` must
  say it (`"my own photographs, all persons agreed"`, `cc-by-4.0`) or, for tables, the card that lies beside them.
  `s2l check` and `s2l prepare` refuse the run otherwise;
- `dataset.licence` is added to the terms that a set has of its own, and never takes their place: a contract may bind
  you by more than the holders ask of everybody, but a line in a file can't free you of it;
- `s2l results` keeps pictures of faces in the public domain only (`cc0-1.0`, as the embedded ones are), and sheets of
  all others are marked "do not publish": by the licence, not by the data set's name.

What is said of terms here is what could be read, and where; what you signed holds.
"""


def published_lines(published: Sequence[PublishedCount]) -> list[str]:
    """The counts by where they are said; names of one kind share their first word."""
    lines = []
    for read_at in dict.fromkeys(entry.read_at for entry in published):
        kinds: dict[str, list[str]] = {}
        for entry in published:
            if entry.read_at == read_at:
                kind, _, name = entry.what.partition(" ")
                kinds.setdefault(kind if name else "", []).append(f"{name or entry.what} ({entry.count:,})")
        counts = "; ".join(f"{kind} {', '.join(found)}".strip() for kind, found in kinds.items())
        lines.append(f"- {counts} ({read_at})")
    return ["Published counts, with the settings as they are:", "", *lines, ""] if lines else []


def terms_lines(terms: Terms) -> list[str]:
    """Where to ask, and what the holders allow."""
    return [
        f"- **Holder:** {terms.holder}",
        f"- **Where to ask:** {terms.ask}",
        f"- **Use:** {terms.use}",
        f"- **Images made from it:** {terms.derived}",
        f"- **Read at:** {terms.read_at}",
        "",
    ]


def module_text(source_class: type) -> tuple[str, list[str]]:
    """A source's module docstring: its first paragraph, which cites, and how the set lies and where that was read."""
    first, _, rest = (sys.modules[source_class.__module__].__doc__ or "").strip().partition("\n\n")
    return first, [rest, ""] if rest else []


def layout_block(source_class: Any) -> list[str]:
    """The tree of folders and files."""
    layout = textwrap.dedent(getattr(source_class, "layout", "")).strip("\n")
    return ["```", *layout.splitlines(), "```", ""] if layout else []


def data_set_section(name: str, source: Source) -> list[str]:
    """All of one published data set."""
    source_class = _source_class(name)
    citation, text = module_text(source_class)
    profile = f"dataset={name} dataset.root=/data/{name}"
    if len(source.class_names) < 2:
        profile = f"dataset=... parsing.teacher.source={name} parsing.teacher.root=/data/{name}"
    return [
        f"## {source_class.title}: `{name}`",
        "",
        citation,
        "",
        source_class.description,
        "",
        *layout_block(source_class),
        *text,
        f"Classes: {', '.join(source.class_names)}.",
        "",
        *settings_table(source_class.Settings),
        *published_lines(getattr(source, "published", ())),
        *terms_lines(source_class.terms),
        "```sh",
        f"uv run s2l data check {name} /data/{name}",
        f"uv run s2l profile {profile}",
        "```",
        "",
    ]


def other_section(name: str) -> list[str]:
    """A source that is no published data set."""
    source_class = _source_class(name)
    citation, text = module_text(source_class)
    lines = [f"### `{name}`", "", citation, "", *layout_block(source_class), *text]
    lines += settings_table(source_class.Settings)
    if name == "joint":
        lines += ["Each of the parts:", "", *settings_table(JointPart)]
    return [*lines, "```sh", *(f"uv run s2l {command}" for command in COMMANDS[name]), "```", ""]


def opened_copies(folder: Path) -> dict[str, Source]:
    """A small copy of every published data set, opened with its settings as they are."""
    modules = modules_of_tests()
    copies = {}
    for name in source_names():
        if name in COMMANDS:
            continue
        root = fer_csv(folder / name) if name == "fer2013" else modules[name].small_copy(folder / name)
        copies[name] = open_source(name, root)
    return copies


def summary(copies: dict[str, Source]) -> list[str]:
    """One row a data set."""
    rows = ["| name | data set | faces | people | classes | holder |", "| --- | --- | ---: | ---: | ---: | --- |"]
    for name, source in copies.items():
        counts = {entry.what: f"{entry.count:,}" for entry in getattr(source, "published", ())}
        title, terms = _source_class(name).title, _source_class(name).terms
        link = f"[{title}](#{re.sub(r'[^a-z0-9 _-]', '', f'{title}: {name}'.lower()).replace(' ', '-')})"
        faces, people = counts.get("faces", ""), counts.get("subjects", "")
        rows.append(f"| `{name}` | {link} | {faces} | {people} | {len(source.class_names)} | {cell(terms.holder)} |")
    note = "Counts follow from the published ones, with the settings as they are."
    return ["## All of them", "", note, "", *rows, ""]


def page() -> str:
    """The whole page."""
    with tempfile.TemporaryDirectory() as folder:
        copies = opened_copies(Path(folder))
        fer = next(entry.count for entry in copies["fer2013"].published if entry.what == "faces")  # type: ignore[attr-defined]
        lines = [INTRODUCTION.format(fer=f"{fer:,}"), *summary(copies)]
        for name, source in copies.items():
            lines += data_set_section(name, source)
    lines += ["## Embedded faces, your own, several sets at once", ""]
    for name in COMMANDS:
        lines += other_section(name)
    return "\n".join(lines).rstrip() + "\n"


def main() -> None:
    """Writes the page."""
    atomic_write_text(PAGE, page())
    print(f"{PAGE.name}: {len(source_names())} sources")


if __name__ == "__main__":
    main()
