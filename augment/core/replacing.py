"""Atomic replacement of a folder or a file: whatever happens on the way, the complete old or new one is there.

The new is built aside, brought to the old one's file system, flushed to disk and sealed; then the old is renamed to a
hidden name, the new takes its place, and the old is deleted. What a kill leaves is put right by the next run
(`recover`): the old one returns where neither has the name, half-written ones go.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from augment.core.errors import InputError, Problem
from augment.core.files import LEFTOVER, is_leftover_of, scratch_name
from augment.core.seals import check_replaceable, seal_folder


def recover(out: Path) -> None:
    """Puts right what a killed run left beside a file or folder: the older one returns where none has its name."""
    _recover(_place(out), None)


def _recover(out: Path, built: Path | None) -> None:
    """The same, for a place; what was just built is no leftover."""
    if not out.parent.is_dir():
        return
    stale = [path for path in out.parent.iterdir() if is_leftover_of(path, out.name) and path != built]
    # The newest first, should there be several.
    for path in sorted(stale, key=lambda path: path.lstat().st_mtime_ns, reverse=True):
        match = LEFTOVER.fullmatch(path.name)
        if match is not None and match["kind"] == "old" and not out.exists():
            path.rename(out)
        else:
            _delete(path)


@contextmanager
def folder_in_place(out: Path) -> Iterator[Path]:
    """Gives an empty folder to build in; it takes the place of `out` when the block ends well, else it is deleted.

    Raises:
        InputError: Before the block: `out` holds files that this tool did not write.
    """
    out = _place(out)
    recover(out)
    check_replaceable(out)
    scratch = scratch_name(out)
    scratch.mkdir(parents=True)
    try:
        yield scratch
        replace_folder(scratch, out)
    finally:
        _delete(scratch)


def replace_folder(built: Path, out: Path) -> None:
    """Seals a finished folder and puts it in the place of another, on any file system; `built` is gone then.

    Args:
        built: The finished folder.
        out: Its place; a link is followed.

    Raises:
        InputError: `out` is a file, or holds files that this tool did not write.
        OSError: The disk is full or can't be written; `out` is what it was.
    """
    built, out = _place(built), _place(out)
    _recover(out, built)
    check_replaceable(out)
    for path in [path for path in built.rglob("*") if LEFTOVER.fullmatch(path.name)]:
        _delete(path)
    seal_folder(built)
    out.parent.mkdir(parents=True, exist_ok=True)
    staged = _on_file_system_of(built, out)
    old = scratch_name(out, "old")
    try:
        _flush(staged)
        if out.exists():
            out.rename(old)
        try:
            _rename_here(staged, out)
        except BaseException:
            if old.exists():
                old.rename(out)
            raise
    finally:
        if staged != built:
            _delete(staged)
    _flush_entry(out.parent)
    _delete(old)
    _delete(built)


def replace_file(built: Path, out: Path) -> None:
    """Puts a finished file in the place of another, on any file system; `built` is gone then.

    Raises:
        InputError: `out` is a folder.
        OSError: The disk is full or can't be written; `out` is what it was.
    """
    built, out = _place(built), _place(out)
    _recover(out, built)
    if out.is_dir():
        raise InputError(Problem(str(out), "is a folder, and a file is to be written", "move it elsewhere"))
    out.parent.mkdir(parents=True, exist_ok=True)
    staged = _on_file_system_of(built, out)
    try:
        _flush(staged)
        _rename_here(staged, out)
    finally:
        if staged != built:
            _delete(staged)
    _flush_entry(out.parent)
    _delete(built)


def _place(out: Path) -> Path:
    """Where a path leads: a link (to a bigger disk, say) stays, and what it points to is replaced."""
    return Path(os.path.realpath(out))


def _on_file_system_of(built: Path, out: Path) -> Path:
    """`built` itself, or a copy beside `out` where that is another file system."""
    if built.stat().st_dev == out.parent.stat().st_dev:
        return built
    return _copy_beside(built, out)


def _copy_beside(built: Path, out: Path) -> Path:
    copy = scratch_name(out)
    _delete(copy)
    try:
        if built.is_dir():
            copy.mkdir()
            for path in sorted(built.rglob("*")):  # shutil.copytree would go on after a full disk
                beside = copy / path.relative_to(built)
                beside.mkdir() if path.is_dir() else shutil.copyfile(path, beside)
        else:
            shutil.copyfile(built, copy)
    except BaseException:
        _delete(copy)
        raise
    return copy


def _rename_here(staged: Path, out: Path) -> None:
    """Renames; copies first where two mounts of one device refuse to."""
    try:
        staged.replace(out)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        copy = _copy_beside(staged, out)
        _flush(copy)
        copy.replace(out)


def _flush(path: Path) -> None:
    """Flushes a file, or a folder with all that it holds, to disk."""
    if path.is_dir():
        for below in path.rglob("*"):
            if not below.is_symlink():
                _flush_entry(below)
    _flush_entry(path)


def _flush_entry(path: Path) -> None:
    if path.is_dir() and os.name != "posix":
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)  # what stays, the next run deletes
    else:
        path.unlink(missing_ok=True)
