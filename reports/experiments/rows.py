"""Rows of an experiment: one small JSON file each, with its figures and how they were made."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from augment.core.errors import InputError, Problem
from augment.core.files import atomic_write_text
from augment.core.json_files import read_json_object

FOLDER = "rows"
SHEETS = "sheets"
FIX = "run the experiment again, which files it anew, or take it from git: `git checkout` the folder"


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class RunFacts(_Part):
    """How a run was made; of all its rows alike."""

    dataset: str = Field(description="The option of conf/dataset.")
    data: str = Field(description="The data set in words.")
    scale: str
    command: str
    seed: int = Field(description="Of folds, translators and synthesis.")
    classifier_seeds: tuple[int, ...]
    device: str
    machine: str
    packages: str
    commit: str
    tree: str = Field(description="Whether files differed from the commit: unchanged, changed, unknown.")
    seconds: float | None = Field(default=None, description="Sum over all stages.")
    peak_memory_mib: float | None = Field(default=None, description="Of the largest process of any stage.")
    disk_mib: float | None = Field(default=None, description="Of all that its stages wrote, without DVC's cache.")
    note: str = Field(default="", description="What whoever ran it says of how.")


class Difference(_Part):
    """A paired difference from another row, in points, with its interval."""

    against: str
    metric: str
    value: float
    low: float
    high: float
    p_holm: float | None = Field(default=None, description="Holm's, over the experiment's arms.")
    verdict: str
    p_mcnemar: tuple[float, ...] = Field(
        default=(),
        description="Exact McNemar test of each seed's two classifiers; it takes faces of one person for independent, "
        "which the interval does not.",
    )


class Gallery(_Part):
    """A sheet of test faces and their translations, without gaps: a row for each face, the source first."""

    file: str = Field(description="In `sheets/`, a name without folders.")
    columns: tuple[str, ...]
    row_labels: tuple[str, ...] = Field(description="The faces' classes.")
    size: int = Field(description="Edge of a face in pixels.")

    @field_validator("file")
    @classmethod
    def _stays_in_its_folder(cls, file: str) -> str:
        if Path(file).name != file or file in (".", ".."):
            raise ValueError(f"{file!r} is no name of a file in sheets/")
        return file


class DataSetRecognition(_Part):
    """How many faces of one data set are recognized after they were translated to another, or to their own."""

    source: str = Field(description="The data set that they are of.")
    target: str = Field(description="The data set that they are made to be of.")
    n: int
    accuracy: float = Field(description="In per cent.")


class ResultRow(_Part):
    """One row that was run."""

    experiment: str
    row: str
    title: str
    figures: dict[str, float] = Field(description="By measure: per cent, distances unscaled.")
    intervals: dict[str, tuple[float, float]] = Field(
        default={},
        description="By measure: of accuracies over other people and trainings (Student's t), of recognition over "
        "people drawn again.",
    )
    difference: Difference | None = Field(default=None, description="Of what learns from the row's faces.")
    recognized: dict[str, Difference] = Field(
        default={}, description="By measure, how much more of the row's faces are recognized than of another row's."
    )
    classes: tuple[str, ...] = ()
    confusion: tuple[tuple[int, ...], ...] | None = Field(
        default=None,
        description="Of translated test faces by wanted class, of real ones by their own, and by recognized class.",
    )
    data_sets: tuple[DataSetRecognition, ...] = Field(
        default=(), description="Recognition by data set, of a translator that makes faces of several."
    )
    gallery: Gallery | None = Field(default=None, description="Only of faces that may be published.")
    per_class: int | None = Field(default=None, description="Synthetic faces of each class that the arm learned from.")
    folds: int | None = None
    test_faces: int | None = None
    refused: str | None = Field(default=None, description="Why it could not be run on these faces.")
    run: RunFacts

    @model_validator(mode="after")
    def _can_be_drawn(self) -> ResultRow:
        if self.confusion is not None and {len(self.confusion), *map(len, self.confusion)} != {len(self.classes)}:
            raise ValueError(f"confusion: is not {len(self.classes)} by {len(self.classes)}, as there are classes")
        return self

    @property
    def file_name(self) -> str:
        """Of its file."""
        return f"{self.row.replace(' ', '_')}.json"


def write_rows(rows: list[ResultRow], folder: Path) -> None:
    """Writes `rows/<row>.json` below a folder."""
    for row in rows:
        text = json.dumps(row.model_dump(mode="json", exclude_none=True), indent=1, ensure_ascii=False)
        atomic_write_text(folder / FOLDER / row.file_name, text + "\n")


def read_rows(folder: Path) -> dict[str, ResultRow]:
    """Reads the rows of one run by name.

    Raises:
        InputError: A file is damaged; all are listed.
    """
    problems, rows = [], {}
    for file in sorted((folder / FOLDER).glob("*.json")):
        try:
            row = ResultRow.model_validate(read_json_object(file))
        except ValidationError as error:
            first = error.errors()[0]
            why = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
            problems.append(Problem(str(file), why, FIX))
            continue
        except InputError as error:  # no JSON
            problems += [replace(problem, fix=FIX) for problem in error.problems]
            continue
        if row.gallery is not None and not (folder / SHEETS / row.gallery.file).is_file():
            problems.append(Problem(str(folder / SHEETS / row.gallery.file), "is not there", FIX))
            continue
        rows[row.row] = row
    if problems:
        raise InputError(problems)
    return rows
