"""The data set of the real faces."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from augment.faces.licences import EXAMPLES, says_something
from augment.faces.rare import Rare
from augment.faces.table import Attribute
from augment.prepare.annotation import AnnotationSettings
from augment.sources import source_names
from pipeline.core.sections import Section


class DatasetSettings(Section):
    """The data set of the real faces, and the form in which the run stores them."""

    source: str = Field(description="Name of the source; docs/reference/data-sets.md lists them.")
    root: str = Field(
        description="The data set's file or folder; for embedded faces the file in conf/ that describes them."
    )
    image_size: int = Field(ge=16, le=512, description="Edge of the pictures in pixels.")
    channels: Literal[1, 3] = Field(description="1 grey, 3 colour.")
    classes: list[str] | None = Field(default=None, description="Classes to use; all by default.")
    attribute: Attribute = Field(
        default="expression",
        description="What the classes are: expression; or illumination or pose, if the source knows them.",
    )
    pose_step: float = Field(default=15.0, gt=0, le=90, description="Degrees between two pose classes.")
    quarantine: str | None = Field(
        default=None, description="File for the list of rows that can't be read; without it such rows stop the run."
    )
    licence: str | None = Field(
        default=None,
        description="Licence of the faces; required if the source does not know it (folder, parquet without a card), "
        "added to the terms of data sets that have their own.",
    )
    annotation: AnnotationSettings = Field(
        default_factory=AnnotationSettings,
        description="What is computed from photographs: landmarks, crops, simulated faces.",
    )
    settings: dict[str, Any] = Field(default_factory=dict, description="The source's own settings.")
    rare: Rare | None = Field(
        default=None,
        description="Training faces to keep, by class (`{happy: 100, default: null}`) or of every class (`100`); the "
        "others are set aside, and no stage uses them. null: all. Validation and test faces are not touched.",
    )

    @field_validator("licence")
    @classmethod
    def _is_a_licence(cls, licence: str | None) -> str | None:
        if licence is not None and not says_something(licence):
            raise ValueError(f"{licence!r} does not state a licence; write {EXAMPLES}")
        return licence

    @model_validator(mode="after")
    def _known_source(self) -> DatasetSettings:
        if self.source not in source_names():
            raise ValueError(f"source {self.source!r} is none of {', '.join(source_names())}")
        return self
