"""Unfinished work: a stage builds in a scratch folder named by all that determines its result, then moves it whole.

DVC deletes a stage's outs before it runs, so nothing that a killed run could go on from may lie there.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from augment.core.errors import InputError, Problem
from augment.core.replacing import replace_file, replace_folder
from augment.core.seals import SEAL, file_digest


def fingerprint(values: Mapping[str, Any], inputs: Mapping[str, Path]) -> str:
    """A hash of parameters and of input files or folders.

    Args:
        values: JSON-able parameters.
        inputs: Files, or folders whose files count by relative name and content.

    Returns:
        16 hexadecimal digits.
    """
    digest = hashlib.sha256(json.dumps(values, sort_keys=True, default=str).encode())
    for name, path in sorted(inputs.items()):
        files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
        for file in files:
            if "__pycache__" in file.parts or file.name == SEAL:  # a seal says nothing that its files don't
                continue
            relative = file.relative_to(path).as_posix() if path.is_dir() else ""
            digest.update(f"\n{name}/{relative} {file_digest(file)}".encode())
    return digest.hexdigest()[:16]


@contextmanager
def scratch_folder(home: Path, stage: str, key: str) -> Iterator[Path]:
    """Locks and gives the scratch folder of one stage and key; removes it when the block ends well.

    Scratch of the same stage under another key is stale (its parameters, data or code are gone) and is removed.

    Raises:
        InputError: Another process works on the same folder.
    """
    home.mkdir(parents=True, exist_ok=True)
    folder = home / f"{stage}-{key}"
    lock = FileLock(home / f"{stage}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise InputError(
            Problem(str(folder), "another process works on this stage", "wait for it or end it")
        ) from error
    try:
        for stale in home.glob(f"{stage}-*"):
            if stale != folder and len(stale.name) == len(folder.name):
                shutil.rmtree(stale, ignore_errors=True)
        folder.mkdir(exist_ok=True)
        yield folder
        shutil.rmtree(folder, ignore_errors=True)
    finally:
        lock.release()


def move_into_place(built: Path, out: Path) -> None:
    """Puts a finished file or folder in its place, on whatever file system; the old or the new is there at any time.

    Raises:
        InputError: A folder there holds files that this tool did not write.
        OSError: The disk is full or can't be written; what lay there stays.
    """
    if built.is_dir():
        replace_folder(built, out)
    else:
        replace_file(built, out)
