"""Expressions made stronger than a translator makes them.

A network that learns the mean of many answers by a squared error makes weak ones: where it is unsure, it stays near its
source. The difference from the source still points to the class, and can be made longer.
"""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import AfterValidator


def _ordered(value: tuple[float, float]) -> tuple[float, float]:
    if not 0 <= value[0] <= value[1] <= 4:
        raise ValueError("give [lowest, highest] with 0 <= lowest <= highest <= 4")
    return value


# Lowest and highest factor on the difference from the source; each face's is drawn evenly between.
StrengthRange = Annotated[tuple[float, float], AfterValidator(_ordered)]


def strengthened(
    sources: torch.Tensor, made: torch.Tensor, strength: StrengthRange, generator: torch.Generator | None
) -> torch.Tensor:
    """Sources and s times what a translation changed in them.

    Args:
        sources: uint8 [N, C, H, W].
        made: uint8 [N, C, H, W], their translations.
        strength: Lowest and highest s; (1, 1) = the translations as they are.
        generator: A CPU generator, the source of s; used only where lowest and highest differ.

    Returns:
        uint8 [N, C, H, W]: source + s (made - source), rounded and kept within 0..255.
    """
    lowest, highest = strength
    if lowest == highest == 1.0:
        return made
    factor = torch.full((len(made), 1, 1, 1), lowest)
    if highest > lowest:
        generator = generator if generator is not None else torch.Generator().manual_seed(0)
        factor = lowest + (highest - lowest) * torch.rand(factor.shape, generator=generator)
    start = sources.to(torch.float32)
    changed = start + factor.to(made.device) * (made.to(torch.float32) - start)
    return changed.round().clamp(0, 255).to(torch.uint8)
