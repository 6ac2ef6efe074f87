"""Files of a sealed folder that other processes write, and what a kill between any two steps leaves."""

from __future__ import annotations

from pathlib import Path

import pytest

from augment.core.errors import InputError
from augment.core.files import sha256_of_file
from augment.core.seals import (
    add_to_seal,
    announce_files,
    claim_folder,
    is_sealed,
    remove_sealed_files,
    seal_announced,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    claim_folder(tmp_path / "faces")
    return tmp_path / "faces"


def test_an_announced_file_is_the_tools_own_and_not_complete_until_it_is_sealed(folder: Path) -> None:
    announce_files(folder, ["a", "b"])
    (folder / "a").write_bytes(b"whole")
    assert not is_sealed(folder)
    add_to_seal(folder, "a", sha256_of_file(folder / "a"))
    remove_sealed_files(folder, ["b"])  # the tool's own, there or not
    assert is_sealed(folder)


def test_what_came_before_a_kill_is_taken_as_it_came(folder: Path) -> None:
    announce_files(folder, ["a", "b"])
    (folder / "a").write_bytes(b"whole")
    seal_announced(folder)
    remove_sealed_files(folder, ["b"])
    assert is_sealed(folder)
    (folder / "a").write_bytes(b"changed")
    seal_announced(folder)
    assert not is_sealed(folder), "what was sealed once is not sealed again"


def test_a_damaged_file_that_is_to_be_written_again_is_not_taken_for_the_new_one(folder: Path) -> None:
    (folder / "a").write_bytes(b"whole")
    add_to_seal(folder, "a", sha256_of_file(folder / "a"))
    (folder / "a").write_bytes(b"rotten")
    announce_files(folder, ["a"])  # and killed here, before anything is written
    seal_announced(folder)
    assert not (folder / "a").exists()


def test_a_file_that_nobody_announced_is_somebody_elses(folder: Path) -> None:
    (folder / "mine").write_bytes(b"notes")
    with pytest.raises(InputError, match="move it elsewhere"):
        remove_sealed_files(folder, ["mine"])
