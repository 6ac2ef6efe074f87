"""What messages and pages tell a user to install exists."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

from augment.prepare.landmarks import INSTALL_COMMAND

ROOT = Path(__file__).parent.parent
EXTRAS = set(tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"])
_INSTALLS = re.compile(r"uv sync (?:--locked )?--extra[= ]([\w-]+)")
_FROM_AN_INDEX = re.compile(r"pip install [^\n]*synthesize-to-learn")  # the project is in no package index


def files_of_words() -> list[Path]:
    """All that a user reads: code with its messages, settings and pages."""
    kinds = {".py", ".md", ".yaml", ".toml", ".html"}
    return [
        file
        for place in ("augment", "classifiers", "reports", "pipeline", "conf", "docs", "benchmarks")
        for file in sorted((ROOT / place).rglob("*"))
        if file.suffix in kinds
    ] + [ROOT / "README.md", ROOT / "params.yaml", ROOT / "pyproject.toml"]


def test_every_extra_that_is_advised_exists_and_nothing_is_advised_that_no_index_has() -> None:
    advised: set[str] = set()
    for file in files_of_words():
        text = file.read_text(encoding="utf-8")
        assert not _FROM_AN_INDEX.search(text), file.relative_to(ROOT)
        advised |= set(_INSTALLS.findall(text))
    assert advised == EXTRAS == {"landmarks", "dask", "s3"}
    assert _INSTALLS.fullmatch(INSTALL_COMMAND)
    assert _FROM_AN_INDEX.search('pip install "synthesize-to-learn[landmarks]"')  # the control


def test_uv_knows_the_extra_by_the_advised_command() -> None:
    done = subprocess.run(
        [*INSTALL_COMMAND.split(), "--dry-run", "--frozen", "--offline"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert "not defined in" not in done.stderr and "error: Extra" not in done.stderr, done.stderr
