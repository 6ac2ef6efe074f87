"""A data set that changes while it is read."""

from __future__ import annotations

from pathlib import Path

import pytest

from augment.core.errors import InputError
from augment.prepare.unchanged import unchanged


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    """A folder with a link to another, which holds a picture and a link to itself: a ring."""
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "1.png").write_bytes(b"1")
    (tmp_path / "far" / "again").symlink_to("../far")
    (tmp_path / "faces").mkdir()
    (tmp_path / "faces" / "more").symlink_to("../far")
    return tmp_path / "faces"


def test_what_a_link_leads_to_is_looked_at_too(faces: Path) -> None:
    with (
        pytest.raises(InputError, match=r"the data set: 1 file came, went or changed while it was read: .*1\.png"),
        unchanged([faces]),
    ):
        (faces.parent / "far" / "1.png").write_bytes(b"22")


@pytest.mark.parametrize("change", ["came", "went"])
def test_a_file_that_comes_or_goes_is_named(faces: Path, change: str) -> None:
    (faces / "2.png").write_bytes(b"2")
    with pytest.raises(InputError, match=r"1 file came, .*(2|3)\.png"), unchanged([faces]):
        (faces / "2.png").unlink() if change == "went" else (faces / "3.png").write_bytes(b"3")


def test_what_the_block_writes_itself_and_file_managers_leave_is_no_change(faces: Path) -> None:
    with unchanged([faces], but=[faces / "bad.jsonl"]):
        (faces / "bad.jsonl").write_text("{}")
        (faces / ".DS_Store").write_bytes(b"a file manager's")


def test_an_error_of_the_block_is_the_blocks_own(faces: Path) -> None:
    with pytest.raises(KeyError, match="its own"), unchanged([faces]):
        (faces / "3.png").write_bytes(b"3")
        raise KeyError("its own")
