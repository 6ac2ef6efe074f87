"""The paths of a run's files and of its unfinished work. `dvc.yaml` declares the same paths as outs.

Paths that contain a user's name end in `.s2l`: DVC removes outs before a stage's command can check the name, so a
translator called `../../docs` can only remove a folder with that ending.

A stage works in a scratch folder whose name is a hash of all that determines its result, then moves the result into
place: DVC deletes a stage's outs before it runs, so a killed run could not be resumed from there.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from augment.core.errors import InputError, Problem
from augment.core.replacing import replace_file, replace_folder
from augment.core.seals import SEAL, file_digest

SUFFIX = ".s2l"
REFUSAL_FILE = "refused.json"
LICENCE_FILE = "licence.json"


@dataclass(frozen=True)
class Artifacts:
    """Paths of one workspace.

    Attributes:
        root: The workspace; `it contains `params.yaml` and `dvc.yaml`.
    """

    root: Path

    @property
    def home(self) -> Path:
        """Everything that a run writes."""
        return self.root / "artifacts"

    @property
    def scratch(self) -> Path:
        """Unfinished work, from which a killed stage resumes."""
        return self.root / ".ckpt"

    @property
    def precision(self) -> Path:
        """What precision `auto` chose on this machine (`augment.core.precision_measurement`), kept over runs."""
        return self.scratch / "precision"

    @property
    def cleared(self) -> Path:
        """Which synthetic pictures look like no held-out one (`augment.faces.cleared_pictures`), kept over runs."""
        return self.scratch / "cleared"

    @property
    def faces(self) -> Path:
        """The prepared table of faces."""
        return self.home / "faces"

    @property
    def pretraining(self) -> Path:
        """The faces that the judge learns from first: `faces`, and `about.json`; without `faces` there are none."""
        return self.home / "pretraining"

    @property
    def folds(self) -> Path:
        """Which split of which fold each face belongs to."""
        return self.home / "folds.parquet"

    @property
    def parsing(self) -> Path:
        """The parsing network, a folder per fold."""
        return self.home / "parsing"

    @property
    def judge(self) -> Path:
        """The judge, a folder per fold."""
        return self.home / "judge"

    @property
    def translators(self) -> Path:
        """All translators."""
        return self.home / "translators"

    @property
    def report(self) -> Path:
        """The page, the tables, the figures."""
        return self.home / "report"

    @property
    def timings(self) -> Path:
        """Wall time and memory of the stages; not a stage's output, because times differ between runs."""
        return self.home / "timings"

    def measurements(self, stage: str) -> Path:
        """Times and rates by file, removed from a stage's outputs (see `pipeline.measured_fields`)."""
        return self.timings / "within" / f"{stage}.json"

    @property
    def all_synthetic(self) -> Path:
        """All translators' faces before selection."""
        return self.home / "synthetic"

    @property
    def all_selected(self) -> Path:
        """All translators' faces after selection."""
        return self.home / "selected"

    @property
    def metrics(self) -> Path:
        """A copy of the report's metrics, tracked by git for `dvc metrics`."""
        return self.root / "metrics.json"

    @property
    def plots(self) -> Path:
        """A copy of the report's plots, tracked by git for `dvc plots`."""
        return self.root / "plots"

    def translator(self, name: str) -> Path:
        """A translator's weights and logs, a folder per fold."""
        return self.translators / f"{name}{SUFFIX}"

    def synthetic(self, name: str) -> Path:
        """A translator's faces before selection, a dataset per fold."""
        return self.all_synthetic / f"{name}{SUFFIX}"

    def selected(self, name: str) -> Path:
        """A translator's faces with the judge's confidence and whether each was kept, a dataset per fold."""
        return self.all_selected / f"{name}{SUFFIX}"

    def scores(self, name: str) -> Path:
        """A translator's scores."""
        return self.home / "scores" / f"{name}{SUFFIX}"

    def arm(self, name: str) -> Path:
        """An arm's predictions and training curves."""
        return self.home / "arms" / f"{name}{SUFFIX}"


def fold_directory(directory: Path, fold: int) -> Path:
    """The part of a stage's output that belongs to a fold."""
    return directory / f"fold-{fold}"


def fingerprint(values: Mapping[str, Any], inputs: Mapping[str, Path]) -> str:
    """A hash of parameters and of input files or folders.

    Args:
        values: JSON-able parameters.
        inputs: Files, or folders, whose files are hashed by relative name and content.

    Returns:
        16 hexadecimal digits.
    """
    digest = hashlib.sha256(json.dumps(values, sort_keys=True, default=str).encode())
    for name, path in sorted(inputs.items()):
        files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
        for file in files:
            if "__pycache__" in file.parts or file.name == SEAL:  # a seal adds nothing to its files' hashes
                continue
            relative = file.relative_to(path).as_posix() if path.is_dir() else ""
            digest.update(f"\n{name}/{relative} {file_digest(file)}".encode())
    return digest.hexdigest()[:16]


@contextmanager
def scratch_folder(home: Path, stage: str, key: str) -> Iterator[Path]:
    """Locks and yields the scratch folder of one stage and key; removes it when the block ends without an error.

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
            Problem(str(folder), "another process works on this stage", "wait for it or stop it")
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
    """Moves a finished file or folder into place, also across file systems; at any time the old or the new one exists.

    Raises:
        InputError: The destination contains files that this tool did not write.
        OSError: The disk is full or read-only; the old content stays.
    """
    if built.is_dir():
        replace_folder(built, out)
    else:
        replace_file(built, out)
