"""Seeds by purpose, and the fence around torch's global generator."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from augment.core.seeding import derive_seed, seeded


def test_draws_are_those_of_manual_seed_and_leave_the_generator_as_it_was() -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    with seeded(2**62 + 7):
        drawn = torch.rand(5)
        weights = nn.Linear(4, 3).weight.detach().clone()
    assert torch.equal(torch.get_rng_state(), before)
    with pytest.raises(ValueError, match="within"), seeded(1):
        torch.rand(5)
        raise ValueError("within")
    assert torch.equal(torch.get_rng_state(), before)

    torch.manual_seed(2**62 + 7)
    assert torch.equal(torch.rand(5), drawn)
    assert torch.equal(nn.Linear(4, 3).weight.detach(), weights)


def test_seeds_depend_on_every_part_and_on_its_kind() -> None:
    seeds = {derive_seed(*parts) for parts in ((0, "draws"), (1, "draws"), (0, "draw", "s"), ("0", "draws"), (0,))}
    assert len(seeds) == 5 and all(0 <= seed < 2**63 for seed in seeds)
    assert derive_seed(0, "draws") == derive_seed(0, "draws")
