"""The precision of a network's forward pass: what the settings ask for, what is computed in, and why.

`augment.core.precision_measurement` chooses it, `augment.core.mixed_precision` computes in it. Nothing here needs
torch, whose import takes seconds: whoever reads the precision of a report or a card does without.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

Precision = Literal["auto", "float32", "bfloat16", "float16"]
ComputedPrecision = Literal["float32", "bfloat16", "float16"]


class PrecisionChoice(BaseModel):
    """The precision that is computed in, and why.

    Attributes:
        asked: What the settings say.
        used: What is computed in.
        bfloat16_speed: Of `auto`: how many times as fast bfloat16 was as float32; None where it was not measured. It
            depends on the machine's load, and so is taken out of outputs that must be the same again.
        failure: Of `auto`: why bfloat16 can't be computed in here; empty where it can.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    asked: Precision
    used: ComputedPrecision
    bfloat16_speed: float | None = None
    failure: str = ""

    @property
    def sentence(self) -> str:
        """For people: `float32 (auto: bfloat16 was 0.6 times as fast)`."""
        if self.asked != "auto":
            return self.used
        if self.failure:
            return f"{self.used} (auto: bfloat16 failed: {self.failure})"
        speed = "" if self.bfloat16_speed is None else f": bfloat16 was {self.bfloat16_speed:.2g} times as fast"
        return f"{self.used} (auto{speed})"
