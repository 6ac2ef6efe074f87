"""The translators of a run: methods with their settings."""

from __future__ import annotations

from typing import Any

from pydantic import Field, model_validator

from augment.training.settings import TrainingSettings
from augment.translators import translator_names
from pipeline.core.sections import OnRefusal, Section


class TranslatorEntry(Section):
    """A translator of the run: a method, its settings, and how to train it."""

    method: str = Field(description="The method: " + ", ".join(translator_names()))
    settings: dict[str, Any] = Field(default_factory=dict)
    training: TrainingSettings = Field(default_factory=TrainingSettings)
    on_refusal: OnRefusal = Field(
        default="report",
        description="What to do if the faces lack what the method needs: note it in the report, or stop the run.",
    )

    @model_validator(mode="after")
    def _known_method(self) -> TranslatorEntry:
        if self.method not in translator_names():
            raise ValueError(f"method {self.method!r} is none of {', '.join(translator_names())}")
        return self
