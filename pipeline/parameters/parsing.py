"""The face parsing network."""

from __future__ import annotations

from pydantic import Field

from augment.parsing.network import ParsingSettings
from augment.parsing.teachers import TeacherSettings
from pipeline.core.sections import Section


class ParsingStage(Section):
    """Settings of the parsing stage."""

    enabled: bool = Field(default=True, description="Whether to train a parsing network.")
    teacher: TeacherSettings = Field(
        default_factory=TeacherSettings, description="The faces with masks that it is trained on."
    )
    training: ParsingSettings = Field(default_factory=ParsingSettings)
