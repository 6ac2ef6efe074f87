"""The arms of the comparison."""

from __future__ import annotations

from pydantic import Field

from classifiers.settings import Arm
from pipeline.core.sections import Name, Section, named


class Arms(Section):
    """The classifiers' training sets that are compared."""

    real: dict[Name, Arm] = Field(min_length=1)
    synthetic: dict[Name, Arm] = Field(default_factory=dict)
    mixed: dict[Name, Arm] = Field(default_factory=dict, description="Arms with faces of two translators.")

    def arm(self, name: str) -> Arm:
        """The arm of this name.

        Raises:
            InputError: There is none.
        """
        return named(self.all(), name, "arm")

    def all(self) -> dict[str, Arm]:
        """Every arm, by its name, in the order of the report."""
        return {**self.real, **self.synthetic, **self.mixed}
