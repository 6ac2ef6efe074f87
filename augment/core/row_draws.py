"""Random numbers for the rows of a batch: those that one process would draw, where ranks share it (`ranks.sharing`).

Each function draws for all ranks' rows and gives this rank its own; alone, it is torch's function of the same name. All
take their numbers from a CPU generator and give them on the CPU.
"""

from __future__ import annotations

import torch

from augment.core.ranks import sharing_ranks


def rand(rows: int, *shape: int, generator: torch.Generator | None) -> torch.Tensor:
    """Uniform in 0..1: float32 [rows, *shape]."""
    ranks = sharing_ranks()
    return ranks.own(torch.rand(rows * ranks.count, *shape, generator=generator))


def randn(rows: int, *shape: int, generator: torch.Generator | None) -> torch.Tensor:
    """Standard normal: float32 [rows, *shape]."""
    ranks = sharing_ranks()
    return ranks.own(torch.randn(rows * ranks.count, *shape, generator=generator))


def randint(low: int, high: int, rows: int, *, generator: torch.Generator | None) -> torch.Tensor:
    """Integers from `low` to below `high`: int64 [rows]."""
    ranks = sharing_ranks()
    return ranks.own(torch.randint(low, high, (rows * ranks.count,), generator=generator))


__all__ = ["rand", "randint", "randn"]
