"""Where a run's files lie, and where its unfinished work does. `dvc.yaml` declares the same paths as outs.

What bears a user's name ends in `.s2l`: DVC removes outs before a stage's command can check the name, so a translator
called `../../docs` may cost no folder but one that ends so.

A stage builds in a scratch folder named by all that determines its result, then moves it whole: DVC deletes a stage's
outs before it runs, so nothing that a killed run could go on from may lie there.
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

OURS = ".s2l"
REFUSAL_FILE = "refused.json"
LICENCE_FILE = "licence.json"


@dataclass(frozen=True)
class Artifacts:
    """Paths of one workspace.

    Attributes:
        root: The workspace; `params.yaml` and `dvc.yaml` lie in it.
    """

    root: Path

    @property
    def home(self) -> Path:
        """All that a run writes."""
        return self.root / "artifacts"

    @property
    def scratch(self) -> Path:
        """Unfinished work; a killed stage finds its way from here."""
        return self.root / ".ckpt"

    @property
    def faces(self) -> Path:
        """The prepared table of faces."""
        return self.home / "faces"

    @property
    def folds(self) -> Path:
        """Which face stands in which split of which fold."""
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
        """Wall time and memory of the stages; no stage's output, for a time differs with every run."""
        return self.home / "timings"

    def measurements(self, stage: str) -> Path:
        """What was measured within a stage's work and taken out of its results: rates and times by file."""
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
        """The report's metrics once more, where git keeps them for `dvc metrics`."""
        return self.root / "metrics.json"

    @property
    def plots(self) -> Path:
        """The report's plots once more, where git keeps them for `dvc plots`."""
        return self.root / "plots"

    def translator(self, name: str) -> Path:
        """A translator's weights and logs, a folder per fold."""
        return self.translators / f"{name}{OURS}"

    def synthetic(self, name: str) -> Path:
        """A translator's faces before selection, a dataset per fold."""
        return self.all_synthetic / f"{name}{OURS}"

    def selected(self, name: str) -> Path:
        """A translator's faces with the judge's confidence and what was kept, a dataset per fold."""
        return self.all_selected / f"{name}{OURS}"

    def scores(self, name: str) -> Path:
        """A translator's scores."""
        return self.home / "scores" / f"{name}{OURS}"

    def arm(self, name: str) -> Path:
        """An arm's predictions and training curves."""
        return self.home / "arms" / f"{name}{OURS}"


def fold_directory(directory: Path, fold: int) -> Path:
    """The part of a stage's output that belongs to a fold."""
    return directory / f"fold-{fold}"


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
