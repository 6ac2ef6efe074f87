"""The data set: where the real faces come from."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from augment.faces.licences import EXAMPLES, says_something
from augment.prepare.annotation import AnnotationSettings
from augment.sources import source_names
from augment.sources.attributes import Attribute
from pipeline.core.sections import Section


class DatasetSettings(Section):
    """Where the real faces come from, and in what form the run holds them."""

    source: str = Field(description="A source's name; docs/reference/data-sets.md lists them.")
    root: str = Field(
        description="The data set's file or folder; of embedded faces, the file in conf/ that describes them."
    )
    image_size: int = Field(ge=16, le=512, description="Edge of the pictures in pixels.")
    channels: Literal[1, 3] = Field(description="1 grey, 3 colour.")
    classes: list[str] | None = Field(default=None, description="Which classes to use; all by default.")
    attribute: Attribute = Field(
        default="expression",
        description="What the classes are: expression; or illumination or pose, where the source knows them.",
    )
    pose_step: float = Field(default=15.0, gt=0, le=90, description="Degrees between two classes of poses.")
    quarantine: str | None = Field(
        default=None, description="A file for the list of what can't be read; without it such rows end the run."
    )
    licence: str | None = Field(
        default=None,
        description="Under which terms the faces stand; needed where the source can't know (folder, parquet without a "
        "card), added to the terms of data sets that have their own.",
    )
    annotation: AnnotationSettings = Field(
        default_factory=AnnotationSettings,
        description="What is filled in of photographs: landmarks, crops, simulated faces.",
    )
    settings: dict[str, Any] = Field(default_factory=dict, description="The source's own settings.")

    @field_validator("licence")
    @classmethod
    def _is_a_licence(cls, licence: str | None) -> str | None:
        if licence is not None and not says_something(licence):
            raise ValueError(f"{licence!r} says nothing of a licence; write {EXAMPLES}")
        return licence

    @model_validator(mode="after")
    def _known_source(self) -> DatasetSettings:
        if self.source not in source_names():
            raise ValueError(f"source {self.source!r} is none of {', '.join(source_names())}")
        return self
