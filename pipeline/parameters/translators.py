"""The translators of a run: methods with their settings."""

from __future__ import annotations

from typing import Any

from pydantic import Field, model_validator

from augment.training.settings import TrainingSettings
from augment.translators import translator_names
from pipeline.core.sections import OnRefusal, Section


class TranslatorEntry(Section):
    """A translator of the run: a method, its own settings, and how long to train it."""

    method: str = Field(description="Which method: " + ", ".join(translator_names()))
    settings: dict[str, Any] = Field(default_factory=dict)
    training: TrainingSettings = Field(default_factory=TrainingSettings)
    on_refusal: OnRefusal = Field(
        default="report",
        description="What happens where the faces lack what the method needs: the report says so, or the run stops.",
    )

    @model_validator(mode="after")
    def _known_work(self) -> TranslatorEntry:
        if self.method not in translator_names():
            raise ValueError(f"method {self.method!r} is none of {', '.join(translator_names())}")
        return self
