"""Repeatable randomness: seeds derived from what they are for, and a context that seeds torch's global generators."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def derive_seed(*parts: int | str) -> int:
    """A seed for one purpose, from the run's seed and the purpose's name.

    Two purposes of one run get unrelated seeds, so that adding a draw to one leaves the other as it was.

    Args:
        parts: For example the run's seed, the purpose, the fold.

    Returns:
        0 .. 2^63 - 1; the same on every machine.
    """
    digest = hashlib.sha256("\x1f".join(f"{type(part).__name__}:{part}" for part in parts).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


@contextmanager
def seeded(seed: int, device: torch.device | str = "cpu") -> Iterator[None]:
    """Seeds torch's global generators within the block and gives them back as they were.

    For what takes no generator of its own: the initial weights of a network, dropout.

    Args:
        seed: The seed.
        device: Where the block computes; a CUDA device's generator is fenced as well.
    """
    device = torch.device(device)
    if device.type == "cuda":
        with torch.random.fork_rng(devices=[device]):
            torch.manual_seed(seed)
            yield
        return
    # torch.manual_seed looks for every kind of device, which is a twentieth of a small network's step.
    generator = torch.default_generator
    kept = generator.get_state()
    generator.manual_seed(seed)
    try:
        yield
    finally:
        generator.set_state(kept)
