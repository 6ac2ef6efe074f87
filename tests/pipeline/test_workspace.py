from __future__ import annotations

from pathlib import Path

import pytest
from filelock import FileLock

from augment.core.errors import InputError
from pipeline.core.workspace import fingerprint, move_into_place, scratch_folder


def test_fingerprint_follows_values_names_and_contents(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "a").write_text("1")
    first = fingerprint({"steps": 1}, {"data": folder})
    assert first == fingerprint({"steps": 1}, {"data": folder})
    assert first != fingerprint({"steps": 2}, {"data": folder})
    (folder / "a").rename(folder / "b")
    renamed = fingerprint({"steps": 1}, {"data": folder})
    assert renamed != first
    (folder / "b").write_text("2")
    assert fingerprint({"steps": 1}, {"data": folder}) != renamed


def test_scratch_stays_after_a_failure_and_goes_after_success(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), scratch_folder(tmp_path, "train-x", "0" * 16) as folder:
        (folder / "half").write_text("done")
        raise RuntimeError
    with scratch_folder(tmp_path, "train-x", "0" * 16) as folder:
        assert (folder / "half").read_text() == "done"
    assert not folder.exists()


def test_stale_scratch_of_the_same_stage_goes_and_of_others_stays(tmp_path: Path) -> None:
    stale, other = tmp_path / f"train-x-{'1' * 16}", tmp_path / f"train-x-longer-{'1' * 16}"
    stale.mkdir()
    other.mkdir()
    with scratch_folder(tmp_path, "train-x", "0" * 16):
        assert not stale.exists() and other.exists()


def test_two_processes_may_not_share_a_stage(tmp_path: Path) -> None:
    held = FileLock(tmp_path / "train-x.lock")
    with held, pytest.raises(InputError, match="another process"), scratch_folder(tmp_path, "train-x", "0" * 16):
        pass


def test_move_into_place_replaces_files_and_folders(tmp_path: Path) -> None:
    for kind in ("file", "folder"):
        built, out = tmp_path / f"built-{kind}", tmp_path / "out" / kind
        for text in ("old", "new"):
            if kind == "file":
                built.write_text(text)
            else:
                built.mkdir()
                (built / "inside").write_text(text)
            move_into_place(built, out)
        assert (out if kind == "file" else out / "inside").read_text() == "new"
