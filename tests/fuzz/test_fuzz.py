"""Files that are damaged or made to harm give named errors: no reader lets another one escape, and none hangs.

`pytest tests/fuzz` tries a few hundred of each kind; `pytest -m nightly tests/fuzz` 8,000 each, 120,000 in all.
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from pathlib import Path

import pytest
from fuzz.mutations import mutated
from fuzz.readers import READERS, Reader
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

LONGEST = 5.0  # processor seconds that one small file may take: other work on the machine doesn't count
FEW, MANY = 150, 8_000


def attempt(reader: Reader, data: bytes) -> None:
    """Reads bytes; only the reader's own errors may come, and soon."""
    started = time.process_time()
    with tempfile.TemporaryDirectory(prefix="s2l-fuzz-") as folder, contextlib.suppress(*reader.errors):
        reader.read(data, Path(folder))
    assert time.process_time() - started < LONGEST, "hangs"


def run(name: str, count: int) -> None:
    reader = READERS[name]

    @settings(
        max_examples=count,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate, Phase.shrink),
    )
    @given(mutated(reader.seeds()))
    def each(data: bytes) -> None:
        attempt(reader, data)

    each()


@pytest.mark.parametrize("name", READERS)
def test_seeds_are_read(name: str, tmp_path: Path) -> None:
    """The control: what is changed is valid to begin with."""
    for number, seed in enumerate(READERS[name].seeds()):
        (tmp_path / str(number)).mkdir()
        READERS[name].read(seed, tmp_path / str(number))


@pytest.mark.slow
@pytest.mark.parametrize("name", READERS)
def test_damaged_files_give_named_errors(name: str) -> None:
    run(name, FEW)


@pytest.mark.nightly
@pytest.mark.parametrize("name", READERS)
def test_many_damaged_files_give_named_errors(name: str) -> None:
    run(name, MANY)


@given(st.binary(max_size=400))
@settings(max_examples=200, derandomize=True, database=None)
def test_noise_gives_named_errors(data: bytes) -> None:
    for reader in READERS.values():
        attempt(reader, data)


def test_an_escape_is_found() -> None:
    """The control: a reader that trips over a byte fails."""

    def trips(data: bytes, folder: Path) -> None:
        if data.endswith(b"\xff"):
            raise IndexError("escaped")

    with pytest.raises(IndexError):
        attempt(Reader(lambda: [b"abc"], trips), b"ab\xff")


def test_a_reader_that_works_for_too_long_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: one that waits for the machine passes, one that keeps it busy fails."""
    monkeypatch.setitem(globals(), "LONGEST", 0.05)
    attempt(Reader(lambda: [b"abc"], lambda data, folder: time.sleep(0.1)), b"abc")

    def busy(data: bytes, folder: Path) -> None:
        end = time.process_time() + 0.1
        while time.process_time() < end:
            pass

    with pytest.raises(AssertionError, match="hangs"):
        attempt(Reader(lambda: [b"abc"], busy), b"abc")
