"""What an optimizer remembers of earlier gradients: read out for a checkpoint, and put back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch


def read_moments(optimizer: torch.optim.Optimizer, names: Sequence[str]) -> dict[str, torch.Tensor]:
    """The moments as `<parameter>/<moment>`; parameters that had no gradient yet have none.

    Args:
        optimizer: Adam, AdamW or SGD with momentum.
        names: Of its parameters, in the order in which it holds them.
    """
    return {
        f"{names[index]}/{moment}": value
        for index, moments in optimizer.state_dict()["state"].items()
        for moment, value in moments.items()
        if isinstance(value, torch.Tensor)
    }


def restore_moments(
    optimizer: torch.optim.Optimizer, names: Sequence[str], moments: Mapping[str, torch.Tensor]
) -> None:
    """Puts back what `read_moments` gave, each in its parameter's own memory layout, which fused optimizers count on.

    Args:
        optimizer: As it was made, of the same parameters.
        names: Of its parameters, in the order in which it holds them.
        moments: By `<parameter>/<moment>`.
    """
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    places = {name: index for index, name in enumerate(names)}
    state: dict[int, dict[str, torch.Tensor]] = {}
    for key, value in moments.items():
        name, _, moment = key.rpartition("/")
        parameter = parameters[places[name]]
        laid_out = torch.empty_like(parameter).copy_(value) if value.shape == parameter.shape else value
        state.setdefault(places[name], {})[moment] = laid_out
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
