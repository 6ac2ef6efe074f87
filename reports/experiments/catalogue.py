"""The papers' tables and figures as experiments: what each shows, its rows, and what the paper printed for them."""

from __future__ import annotations

import difflib
from functools import lru_cache
from pathlib import Path

import pandas as pd
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from augment.core.errors import InputError, Problem
from reports.papers.published import read_published

FILE = Path(__file__).parent / "catalogue.yaml"
SMALLER_IS_BETTER = ("FID", "FCD", "distance")  # of every other measure more is better
WITH_OWN_WEIGHTS = ("FID",)  # Inception's, which not everybody has: a run without them lacks the measure
# Rows that are no arm and no translator.
REAL_TEST_FACES = "real test faces"
TURNED_FACES = ("profile", "simulated")  # what a pose is normalized from (`reports.judged_faces`)


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Data(_Part):
    """The data sets of an experiment, as options of conf/dataset."""

    stand_in: str = Field(description="Embedded faces with the structure of the paper's own.")
    own: str | None = Field(default=None, description="The paper's own; null: there is no single one.")
    add: tuple[str, ...] = Field(default=(), description="What `s2l profile` must be given beside the paper's own.")


class Row(_Part):
    """One row of a table."""

    title: str
    published: str | None = Field(default=None, description="The row of the paper's table; null: it has none.")


class Against(_Part):
    """What a paper states of rows beside one other; rows that it does not compare are in no pair."""

    row: str = Field(description="The row that the others are beside.")
    better: tuple[str, ...] = ()
    same: tuple[str, ...] = ()
    worse: tuple[str, ...] = ()
    no_better: tuple[str, ...] = Field(default=(), description="Worse or the same: the paper does not say which.")

    @property
    def others(self) -> tuple[str, ...]:
        """All rows but the one that they are beside."""
        return (*self.better, *self.same, *self.worse, *self.no_better)


class Claim(_Part):
    """What a paper says without figures: groups of rows, the best first, or statements on rows beside one other."""

    text: str
    groups: tuple[tuple[str, ...], ...] = ()
    against: Against | None = None

    @model_validator(mode="after")
    def _names_rows_once(self) -> Claim:
        if not self.groups and self.against is None:
            raise ValueError("a claim has groups, against, or both")
        for names in (self._in_groups, self._beside):
            if twice := sorted({name for name in names if names.count(name) > 1}):
                raise ValueError(f"{', '.join(twice)} stands in a claim twice")
        return self

    @property
    def names(self) -> list[str]:
        """All rows that it names."""
        return list(dict.fromkeys([*self._in_groups, *self._beside]))

    @property
    def _in_groups(self) -> list[str]:
        return [name for group in self.groups for name in group]

    @property
    def _beside(self) -> list[str]:
        return [self.against.row, *self.against.others] if self.against else []


class Samples(_Part):
    """The sample sheets that a figure shows of a translator's course of training."""

    translator: str
    epochs: tuple[int, ...] = Field(description="After which the paper shows them.")
    of: int = Field(description="The epochs of the paper's training.")


class Experiment(_Part):
    """One table or figure of a paper.

    Attributes:
        name: Also of its file in conf/experiment.
        rows: By the name of the arm or translator, or what else is measured (`real test faces`, `profile`).
        compared_with: The row that differences are from; None: the strongest arm of real faces.
        claim: What the paper says without figures.
        samples: Which sample sheets of the course of a translator's training are shown.
        inside: Whether pictures of the inside of its networks are shown (`reports.experiments.pictures`).
    """

    name: str
    paper: str
    shows: str
    question: str
    data: Data
    measures: tuple[str, ...]
    rows: dict[str, Row]
    compared_with: str | None = None
    claim: Claim | None = None
    samples: Samples | None = None
    inside: bool = False

    @model_validator(mode="after")
    def _names_are_rows(self) -> Experiment:
        named = self.claim.names if self.claim else []
        named += [self.compared_with] if self.compared_with else []
        named += [self.samples.translator] if self.samples else []
        if unknown := sorted(set(named) - set(self.rows)):
            raise ValueError(f"{', '.join(unknown)} is no row")
        return self

    def published(self) -> pd.DataFrame:
        """All rows that the paper printed for it, as `read_published` gives them."""
        found = read_published()
        return found[(found["paper"] == self.paper) & (found["table"] == self.shows)]

    def published_data(self) -> str:
        """The names of the data that the published figures are of."""
        return ", ".join(dict.fromkeys(self.published()["dataset"]))

    def unmatched(self) -> pd.DataFrame:
        """The published rows that nothing here reproduces: row, metric, value (as printed), dataset, note."""
        printed = self.published()
        matched = {row.published for row in self.rows.values()}
        others = printed[~printed["row"].isin(matched)][["row", "metric", "value", "dataset", "note"]]
        return others.assign(value=[f"{value:.2f}" for value in others["value"]])

    def published_values(self, measure: str) -> dict[str, float]:
        """Row of ours -> the paper's figure in per cent, for the rows that have one."""
        printed = self.published()
        values = printed[printed["metric"] == measure].set_index("row")["value"].to_dict()
        return {name: float(values[row.published]) for name, row in self.rows.items() if row.published in values}

    def published_groups(self, measure: str) -> list[list[str]]:
        """The paper's order of our rows, the best group first: by its figures, or else by its claim; else empty."""
        values = self.published_values(measure)
        if len(values) > 1:
            sign = 1 if measure in SMALLER_IS_BETTER else -1
            return [
                [name for name in values if values[name] == value]
                for value in sorted(set(values.values()), key=lambda value: sign * value)
            ]
        return [list(group) for group in self.claim.groups] if self.claim else []


@lru_cache
def read_experiments(file: Path = FILE) -> dict[str, Experiment]:
    """All experiments by name, in the file's order.

    Raises:
        InputError: An entry lacks a key or has an unknown one, or names a published row that there is not.
    """
    problems: list[Problem] = []
    found: dict[str, Experiment] = {}
    for name, entry in yaml.safe_load(file.read_text(encoding="utf-8")).items():
        try:
            experiment = Experiment(name=name, **entry)
        except (TypeError, ValidationError) as error:
            problems.append(Problem(f"{file.name}: {name}", str(error)))
            continue
        printed = set(experiment.published()["row"])
        for row in experiment.rows.values():
            if row.published is not None and row.published not in printed:
                why = f"there is no published row {row.published!r} of {experiment.paper}, {experiment.shows}"
                problems.append(Problem(f"{file.name}: {name}", why, "see published/*.csv"))
        found[name] = experiment
    if problems:
        raise InputError(problems)
    return found


def find_experiment(name: str) -> Experiment:
    """An experiment by its name.

    Raises:
        InputError: There is none.
    """
    experiments = read_experiments()
    if name not in experiments:
        close = difflib.get_close_matches(name.lower(), experiments, n=1)
        fix = f"there are {', '.join(experiments)}"
        if close:
            fix = f"did you mean {close[0]}? {fix[0].upper()}{fix[1:]}"
        raise InputError(Problem(name, "is no experiment of the papers", fix))
    return experiments[name]
