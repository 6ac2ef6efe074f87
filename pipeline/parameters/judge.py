"""Settings of the judge."""

from __future__ import annotations

from classifiers.training import ClassifierSettings
from pipeline.core.sections import Section


class JudgeSettings(Section):
    """The judge: a classifier trained on the fold's real training faces only."""

    classifier: ClassifierSettings
