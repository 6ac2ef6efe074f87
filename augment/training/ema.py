"""Moving average of weights: what is validated and published.

A GAN's weights circle about an equilibrium; their exponential moving average is near it (Yazici et al. 2019,
"The unusual effectiveness of averaging in GAN training").
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import nn


class MovingAverage:
    """An exponential moving average of a module's tensors, buffers too.

    After update t (from 0): `average <- d average + (1 - d) value`, `d = min(decay, (1 + t) / (10 + t))`. The ramp lets
    the first updates forget the random initial weights, which a short run with a fixed decay would carry to its end.

    Args:
        module: Whose tensors.
        names: Which entries of its `state_dict`; integer tensors are copied, not averaged.
        decay: 0 (no average: the current values) to below 1.
    """

    def __init__(self, module: nn.Module, names: Iterable[str], decay: float) -> None:
        self.decay = decay
        self.updates = 0
        state = module.state_dict()
        self._live = {name: state[name] for name in names} if decay else {}
        self.values = {name: value.detach().clone() for name, value in self._live.items()}

    @torch.no_grad()
    def update(self) -> None:
        """Adds the module's current values to the average."""
        if not self.decay:
            return
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        averaged = [name for name, value in self.values.items() if value.is_floating_point()]
        if averaged:
            torch._foreach_lerp_(
                [self.values[name] for name in averaged], [self._live[name] for name in averaged], 1.0 - decay
            )
        for name, value in self.values.items():
            if not value.is_floating_point():
                value.copy_(self._live[name])
        self.updates += 1

    @torch.no_grad()
    def settle(self, name: str) -> None:
        """Writes a tensor's average into the module, for good."""
        if name in self.values:
            self._live[name].copy_(self.values[name])

    @contextmanager
    def swapped(self) -> Iterator[None]:
        """Within the block the module holds the averaged values."""
        with torch.no_grad():
            kept = {name: value.clone() for name, value in self._live.items()}
            for name, value in self._live.items():
                value.copy_(self.values[name])
        try:
            yield
        finally:
            with torch.no_grad():
                for name, value in self._live.items():
                    value.copy_(kept[name])
