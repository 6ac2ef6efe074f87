"""How many faces each translator makes, and from which."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from augment.synthesis.generate import SynthesisSettings
from pipeline.core.sections import Name


class SynthesisSection(SynthesisSettings):
    """What the translators make."""

    per_class_of: dict[Name, Annotated[int, Field(ge=1)]] = Field(
        default_factory=dict, description="Faces of each target class by those translators that make another number."
    )

    def of(self, translator: str) -> SynthesisSettings:
        """What a translator makes."""
        values = self.model_dump(exclude={"per_class_of"})
        return SynthesisSettings(**values | {"per_class": self.per_class_of.get(translator, self.per_class)})

    def key_of(self, translator: str) -> str:
        """The key that says how many faces a translator makes."""
        return f"synthesis.per_class_of.{translator}" if translator in self.per_class_of else "synthesis.per_class"
