"""A translator's networks, each with its own optimizer."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from augment.networks.moments import read_moments, restore_moments
from augment.training.phases import ScheduledPhase
from augment.training.settings import TrainingSettings
from augment.translators.base import DISCRIMINATOR, LearnedTranslator


class TrainedNetwork:
    """Parameters that one optimizer trains.

    Args:
        named: The parameters by their names in the translator; none means that there is nothing to train.
        learning_rate: The initial learning rate.
        settings: Adam's betas and the precision.
        device: Where the parameters are.
    """

    def __init__(
        self,
        named: Mapping[str, nn.Parameter],
        learning_rate: float,
        settings: TrainingSettings,
        device: torch.device,
    ) -> None:
        self.names = tuple(named)
        self.parameters = tuple(named.values())
        self.learning_rate = learning_rate
        self.optimizer: torch.optim.Adam | None = None
        if self.parameters:
            # No weight decay, no clipping. The fused form is faster on CUDA; on the CPU it gained nothing.
            self.optimizer = torch.optim.Adam(
                self.parameters, lr=learning_rate, betas=settings.betas, fused=device.type == "cuda"
            )
        self.scaler = torch.amp.GradScaler(device.type, enabled=settings.precision == "float16")

    def set_learning_rate(self, factor: float) -> None:
        """Sets the learning rate to the initial one times a factor."""
        if self.optimizer is not None:
            for group in self.optimizer.param_groups:
                group["lr"] = self.learning_rate * factor

    def freeze(self) -> None:
        """Lets no parameter ask for a gradient."""
        for parameter in self.parameters:
            parameter.requires_grad_(False)

    def unfreeze(self, phase: ScheduledPhase | None = None) -> None:
        """Lets parameters ask for gradients: those that a phase trains, or all."""
        for name, parameter in zip(self.names, self.parameters, strict=True):
            parameter.requires_grad_(phase is None or phase.trains_name(name))

    def is_trained(self, phase: ScheduledPhase) -> bool:
        """Whether a phase trains any of the parameters."""
        return any(phase.trains_name(name) for name in self.names)

    def backward(self, loss: torch.Tensor) -> list[torch.Tensor]:
        """Computes the gradients of a scalar loss, and returns them; there must be parameters."""
        assert self.optimizer is not None
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()
        return [parameter.grad for parameter in self.parameters if parameter.grad is not None]

    def step(self) -> None:
        """One step of the optimizer by the gradients that there are."""
        assert self.optimizer is not None
        self.scaler.step(self.optimizer)
        self.scaler.update()

    def moments(self) -> dict[str, torch.Tensor]:
        """Adam's state as `<parameter>/<moment>`; parameters that had no gradient yet have none."""
        return {} if self.optimizer is None else read_moments(self.optimizer, self.names)

    def load_moments(self, moments: Mapping[str, torch.Tensor]) -> None:
        """Restores what `moments` gave."""
        if self.optimizer is not None:
            restore_moments(self.optimizer, self.names, moments)


def trained_networks(
    translator: LearnedTranslator, settings: TrainingSettings, device: torch.device
) -> dict[str, TrainedNetwork]:
    """A translator's networks by name, in the order in which they step; parameters that came frozen stay so.

    Raises:
        ValueError: Two networks share a parameter, a parameter is not registered in the module, or a network other
            than a discriminator has nothing to train.
    """
    kind = type(translator).__name__
    names = {id(parameter): name for name, parameter in translator.named_parameters()}
    networks: dict[str, TrainedNetwork] = {}
    owners: dict[str, str] = {}
    for network, parameters in translator.networks().items():
        found = [parameter for parameter in parameters if parameter.requires_grad]
        if any(id(parameter) not in names for parameter in found):
            raise ValueError(f"{kind}: a parameter of the network {network} is not registered in the module")
        named = {names[id(parameter)]: parameter for parameter in found}
        if shared := sorted(set(owners) & set(named)):
            raise ValueError(f"{kind}: the networks {owners[shared[0]]} and {network} both claim {shared[0]}")
        if not named and network != DISCRIMINATOR:
            raise ValueError(f"{kind}: the network {network} has no parameters to train")
        owners |= dict.fromkeys(named, network)
        networks[network] = TrainedNetwork(named, settings.learning_rate(network), settings, device)
    if not set(networks) - {DISCRIMINATOR}:
        raise ValueError(f"{kind}: names no network to train beside a discriminator")
    return networks
