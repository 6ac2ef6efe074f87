"""Settings of the judge."""

from __future__ import annotations

from pydantic import Field

from classifiers.training import ClassifierSettings
from pipeline.core.sections import Section
from pipeline.parameters.pretraining import PretrainingSettings


class JudgeSettings(Section):
    """The judge: a classifier trained on the fold's real training faces only."""

    classifier: ClassifierSettings
    frontal_yaw: float | None = Field(
        default=None,
        ge=0,
        le=90,
        description="It learns from faces that are turned by at most so many degrees, and from those whose turn is not "
        "known (LSSL, table 3); null: from all. Validation faces are chosen alike.",
    )
    pretraining: PretrainingSettings = Field(
        default_factory=PretrainingSettings,
        description="What it learns from first, in the run's size, channels and crops; frontal_yaw holds there, too.",
    )
