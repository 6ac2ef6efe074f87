"""The arms of the comparison."""

from __future__ import annotations

from pydantic import Field

from classifiers.settings import Arm
from pipeline.core.sections import Name, Section, named


class Arms(Section):
    """The classifiers' training sets that are compared."""

    real: dict[Name, Arm] = Field(min_length=1)
    synthetic: dict[Name, Arm] = Field(default_factory=dict)

    def arm(self, name: str) -> Arm:
        """The arm of this name.

        Raises:
            InputError: There is none.
        """
        return named({**self.real, **self.synthetic}, name, "arm")
