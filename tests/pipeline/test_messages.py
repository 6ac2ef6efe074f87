"""What the command says, at which verbosity, and what of other packages."""

from __future__ import annotations

import logging
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from augment.core.errors import InputError
from augment.core.progress import VERBOSITY_VARIABLE
from pipeline.core.messages import RESULT, configure_logging

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The verbosity is `normal`, and warnings are the process's: they are put back. Logging is by tests/conftest.py."""
    monkeypatch.setenv(VERBOSITY_VARIABLE, "normal")
    with warnings.catch_warnings():
        yield


def say_everything() -> None:
    ours, theirs = logging.getLogger("pipeline.stages"), logging.getLogger("numba.core")
    for name, logger in (("ours", ours), ("theirs", theirs)):
        for level in (logging.DEBUG, logging.INFO, RESULT, logging.WARNING, logging.ERROR):
            logger.log(level, "%s %d", name, level)
    warnings.simplefilter("always")
    warnings.warn_explicit("a shard is damaged", UserWarning, str(ROOT / "augment" / "checkpoints.py"), 1)
    warnings.warn_explicit("a font is missing", UserWarning, "/usr/lib/matplotlib/font.py", 7)


OURS = {10: "ours 10", 20: "ours 20", 25: "ours 25", 30: "warning: ours 30", 40: "error: ours 40"}


@pytest.mark.parametrize(
    ("wanted", "least", "others"),
    [
        ("quiet", 25, {"error: numba.core: theirs 40"}),
        ("normal", 20, {"error: numba.core: theirs 40"}),
        (
            "verbose",
            10,
            {
                "numba.core: theirs 20",
                "numba.core: theirs 25",
                "warning: numba.core: theirs 30",
                "error: numba.core: theirs 40",
                "py.warnings: UserWarning: a font is missing (/usr/lib/matplotlib/font.py:7)",
            },
        ),
    ],
)
def test_each_verbosity_says_its_own(
    wanted: str, least: int, others: set[str], capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logging(wanted)  # type: ignore[arg-type]
    configure_logging()  # twice is not heard twice
    say_everything()
    found = capsys.readouterr()
    ours = [line for level, line in OURS.items() if level >= least]
    assert sorted(found.err.splitlines()) == sorted([*ours, *others, "warning: a shard is damaged"])
    assert found.out == ""


def test_a_word_of_the_environment_that_is_none_is_the_users_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VERBOSITY_VARIABLE, "silent")
    with pytest.raises(InputError, match="S2L_VERBOSITY=silent"):
        configure_logging()


def run_check(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    import os

    return subprocess.run(
        [sys.executable, "-m", "pipeline.cli", *arguments],
        cwd=ROOT,
        env={**{key: value for key, value in os.environ.items() if key != VERBOSITY_VARIABLE}, **environment},
        capture_output=True,
        text=True,
    )


@pytest.mark.nightly
def test_quiet_leaves_the_last_line_and_verbose_says_more() -> None:
    """Before the command, after it, and by the environment, which `dvc repro` hands on."""
    quiet = run_check("-q", "check")
    assert quiet.returncode == 0 and quiet.stdout == ""
    assert quiet.stderr.count("\n") == 1 and quiet.stderr.startswith("params.yaml is valid: ")
    assert run_check("check", S2L_VERBOSITY="quiet").stderr == quiet.stderr
    for verbose in (run_check("check", "-v"), run_check("check", S2L_VERBOSITY="verbose")):
        assert verbose.stderr.splitlines()[-1] == quiet.stderr.strip()
        assert any(line.startswith("torch ") for line in verbose.stderr.splitlines())
    loud = run_check("check", S2L_VERBOSITY="loud")
    assert loud.returncode == 1 and "use one of quiet, normal, verbose" in loud.stderr
