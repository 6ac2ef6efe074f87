"""What an exported folder says of itself, for programs: `dataset.json`, by a JSON Schema that lies beside it."""

from __future__ import annotations

import json
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from augment.core.errors import InputError, Problem
from augment.core.json_files import read_json_object
from augment.faces.licences import LicenceLine
from pipeline.publishing.columns import COLUMNS, SCHEMA_VERSION, Column
from pipeline.publishing.permissions import Permission
from pipeline.publishing.run_code import Tree

FILE = "dataset.json"
REAL = "real"  # who made a real face, beside the translators' names
SYNTHETIC = "synthetic"  # the `source` of every synthetic face
SCHEMA_FILE = "dataset.schema.json"
Format = Literal["parquet", "imagefolder", "webdataset"]
Split = Literal["train", "validation", "test"]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SplitCounts(_Part):
    """The faces of one split."""

    rows: int = Field(ge=1)
    real: dict[str, int] = Field(default_factory=dict, description="class -> real faces")
    synthetic: dict[str, dict[str, int]] = Field(default_factory=dict, description="translator -> class -> its faces")

    @property
    def per_class(self) -> dict[str, int]:
        """Class -> faces of any kind."""
        totals: dict[str, int] = {}
        for counts in (self.real, *self.synthetic.values()):
            for name, count in counts.items():
                totals[name] = totals.get(name, 0) + count
        return totals


class TranslatorFacts(_Part):
    """How a translator was made."""

    method: str
    settings: dict[str, Any] = Field(description="that differ from the method's own")
    steps: int | None = Field(description="of its training; null where it has none")
    weights_sha256: str = Field(description="of the weights file of the fold")


class Provenance(_Part):
    """Where the faces come from."""

    tool: str = "synthesize-to-learn"
    version: str
    commit: str = Field(description="of the code that made the faces, or `unknown`")
    tree: Tree = Field(default="unknown", description="whether files differed from that commit")
    exported_by: str = Field(default="unknown", description="commit of the code that exported the folder")
    command: str = Field(description="that exported the folder")
    data: str = Field(description="the data set in words")
    data_sha256: str = Field(description="of the list of SHA-256 digests of the files of the table of real faces")
    folds_sha256: str = Field(description="of the table that says in which split of which fold each real face is")
    seed: int = Field(description="of the run")
    fold: int = Field(description="of the run: synthetic faces were made from its training faces alone")


class Description(_Part):
    """An exported folder of faces."""

    schema_version: Literal["2"] = "2"
    title: str
    format: Format
    class_names: tuple[str, ...] = Field(min_length=1, description="by label")
    size: int = Field(ge=1, description="edge of every picture in pixels")
    channels: Literal[1, 3] = Field(description="1: grey, 3: colour")
    columns: tuple[Column, ...] = COLUMNS
    splits: dict[Split, SplitCounts]
    files: dict[Split, tuple[str, ...]] = Field(description="of each split, in the order of the rows")
    translators: dict[str, TranslatorFacts]
    licence: tuple[LicenceLine, ...] = Field(min_length=1)
    shared_pictures: int = Field(
        default=0,
        ge=0,
        description="real faces of a later split whose picture, or nearly it, an earlier split of the source has too",
    )
    permissions: tuple[Permission, ...] = Field(
        description="why the faces may be passed on, for each line of the licence"
    )
    provenance: Provenance

    @model_validator(mode="after")
    def _is_one_whole(self) -> Description:
        if set(self.files) != set(self.splits):
            raise ValueError("files and splits name different splits")
        if self.columns != COLUMNS:
            raise ValueError(f"columns are not those of version {self.schema_version}")
        return self

    @field_validator("files")
    @classmethod
    def _stay_in_the_folder(cls, files: dict[Split, tuple[str, ...]]) -> dict[Split, tuple[str, ...]]:
        for name in (name for names in files.values() for name in names):
            if "\0" in name or not encodes(name):
                raise ValueError("a file has a name that there can't be")
            if "\\" in name or ":" in name or PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
                raise ValueError(f"{name!r} leads out of the folder")
        return files


def encodes(text: str) -> bool:
    """Whether a text has no half of a surrogate pair, which JSON lets through and no file takes."""
    return not any("\ud800" <= sign <= "\udfff" for sign in text)


def json_schema() -> str:
    """The JSON Schema of `dataset.json`, as text."""
    return json.dumps(Description.model_json_schema(), indent=1, sort_keys=True) + "\n"


def read_description(folder: Path) -> Description:
    """What an exported folder says of itself.

    Raises:
        InputError: `dataset.json` is missing, damaged, or of a version that this tool does not know.
    """
    path = Path(folder) / FILE
    fix = "export it again, or take the folder from where you have it"
    if not path.is_file():
        raise InputError(Problem(str(path), "is missing: the folder is no export, or no whole one", fix))
    try:
        values = read_json_object(path)
    except InputError as error:
        raise InputError([Problem(found.where, found.why, fix) for found in error.problems]) from error
    version = values.get("schema_version")
    if version is None:
        raise InputError(Problem(str(path), "has no schema_version: it is no description, or no whole one", fix))
    if version != SCHEMA_VERSION:
        why = f"schema_version is {version!r}, and this tool reads {SCHEMA_VERSION!r}"
        raise InputError(Problem(str(path), why, "update the tool"))
    try:
        return Description.model_validate(values)
    except ValidationError as error:
        where = "; ".join(f"{'.'.join(map(str, part['loc']))}: {part['msg']}" for part in error.errors()[:5])
        raise InputError(Problem(str(path), f"is not as {SCHEMA_FILE} says: {where}", fix)) from error
