"""One cycle of the learning rate."""

import math

import pytest
import torch

from augment.networks.schedules import one_cycle


def rates(steps: int, *, peak: float = 0.4, rise: float = 0.2) -> list[float]:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = one_cycle(optimizer, peak=peak, steps=steps, rise=rise)
    found = []
    for _ in range(steps):
        found.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    return found


def test_it_rises_and_falls_along_a_cosine() -> None:
    found = rates(11, rise=3 / 11)
    lowest, peak = 0.4 / 25, 0.4
    assert found[0] == pytest.approx(lowest) and found[2] == pytest.approx(peak)
    assert found[1] == pytest.approx((lowest + peak) / 2), "half way up"
    for step in range(2, 11):
        share = (1 + math.cos(math.pi * (step - 2) / 8)) / 2
        assert found[step] == pytest.approx(peak * share, abs=1e-4)


@pytest.mark.parametrize(("steps", "rise"), [(5, 0.2), (10, 0.1), (4, 0.25), (2, 0.5)])
def test_a_rise_of_one_step(steps: int, rise: float) -> None:
    """torch alone divides by nought here."""
    with pytest.raises(ZeroDivisionError):
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
        torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.4, total_steps=steps, pct_start=rise)
    found = rates(steps, rise=rise)
    assert all(math.isfinite(rate) and 0 <= rate <= 0.4 * (1 + 1e-6) for rate in found)
