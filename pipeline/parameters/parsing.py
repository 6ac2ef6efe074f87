"""The face parsing network."""

from __future__ import annotations

from pydantic import Field

from augment.parsing.network import ParsingSettings
from augment.parsing.teachers import TeacherSettings
from pipeline.core.sections import Section


class ParsingStage(Section):
    """The parsing network's stage."""

    enabled: bool = Field(default=True, description="Whether there is one.")
    teacher: TeacherSettings = Field(default_factory=TeacherSettings, description="Whose masks it learns from.")
    training: ParsingSettings = Field(default_factory=ParsingSettings)
