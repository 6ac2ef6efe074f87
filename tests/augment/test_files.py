"""Files are whole or absent."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from augment.core.files import atomic_path, atomic_write_bytes, atomic_write_text, sha256_of_file


def test_a_failing_write_leaves_the_old_file_and_no_scratch(tmp_path: Path) -> None:
    path = tmp_path / "below" / "file.txt"
    atomic_write_text(path, "old")
    with pytest.raises(RuntimeError), atomic_path(path) as scratch:
        scratch.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert list(path.parent.iterdir()) == [path]


def test_the_file_appears_only_when_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with atomic_path(path) as scratch:
        scratch.write_bytes(b"x")
        assert not path.exists()
        assert scratch.parent == path.parent  # a rename within one file system
    assert path.read_bytes() == b"x"


def test_what_killed_runs_left_half_written_goes_and_nothing_else(tmp_path: Path) -> None:
    dead, living = 2**22 + 1, os.getppid()
    stale = tmp_path / f".report.json.{dead}.part"
    others = [
        tmp_path / name
        for name in (f".report.json.{living}.part", f".other.json.{dead}.part", f"report.json.{dead}.part", ".a.part")
    ]
    for path in (stale, *others):
        path.write_text("half")
    atomic_write_text(tmp_path / "report.json", "new")
    assert set(tmp_path.iterdir()) == {tmp_path / "report.json", *others}


def test_sha256(tmp_path: Path) -> None:
    atomic_write_bytes(tmp_path / "a", b"abc")
    assert sha256_of_file(tmp_path / "a") == hashlib.sha256(b"abc").hexdigest()
