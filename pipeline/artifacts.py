"""Where a run's files lie. The only place that knows; `dvc.yaml` declares the same paths as outs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


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
        """The parsing network, a folder a fold."""
        return self.home / "parsing"

    @property
    def judge(self) -> Path:
        """The judge, a folder a fold."""
        return self.home / "judge"

    @property
    def translators(self) -> Path:
        """All translators."""
        return self.home / "translators"

    @property
    def report(self) -> Path:
        """The page, the tables, the figures."""
        return self.home / "report"

    def timings(self, stage: str) -> Path:
        """What a stage took; no stage's output, so that none runs again for it."""
        return self.home / "timings" / f"{stage}.json"

    def translator(self, name: str) -> Path:
        """A translator's weights and logs, a folder a fold."""
        return self.translators / name

    def synthetic(self, name: str) -> Path:
        """A translator's faces before selection, a dataset a fold."""
        return self.home / "synthetic" / name

    def selected(self, name: str) -> Path:
        """A translator's faces with the judge's confidence and what was kept, a dataset a fold."""
        return self.home / "selected" / name

    def scores(self, name: str) -> Path:
        """A translator's scores."""
        return self.home / "scores" / name

    def arm(self, name: str) -> Path:
        """An arm's predictions and training curves."""
        return self.home / "arms" / name


def fold_directory(directory: Path, fold: int) -> Path:
    """The part of a stage's output that belongs to a fold."""
    return directory / f"fold-{fold}"


REFUSAL_FILE = "refused.json"
LICENCE_FILE = "licence.json"
