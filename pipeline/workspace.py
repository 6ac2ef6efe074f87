"""Where a run's files lie. The only place that knows; `dvc.yaml` declares the same paths as outs.

What bears a user's name ends in `.s2l`: DVC removes outs before a stage's command can check the name, so a translator
called `../../docs` may cost no folder but one that ends so.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

OURS = ".s2l"


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


REFUSAL_FILE = "refused.json"
LICENCE_FILE = "licence.json"
