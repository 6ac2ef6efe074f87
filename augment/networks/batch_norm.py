"""Batch normalization over the rows of all ranks that share a batch (`augment.core.ranks`).

torch's SyncBatchNorm computes on GPUs alone and can't be differentiated twice, which gradient penalties need.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import nn
from torch.nn import functional as F

from augment.core.errors import InputError, Problem
from augment.core.ranks import sharing_ranks


class _SumOverRanks(torch.autograd.Function):
    """The sum over ranks, whose gradient is the sum of the ranks' gradients; differentiable as often as is asked.

    torch's own differentiable form (`torch.distributed.nn`) is deprecated in favour of private functions.
    """

    @staticmethod
    def forward(context: Any, values: torch.Tensor) -> torch.Tensor:
        total = values.clone(memory_format=torch.contiguous_format)
        torch.distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(context: Any, gradient: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        return _sum_over_ranks(gradient)


def _sum_over_ranks(values: torch.Tensor) -> torch.Tensor:
    return cast(torch.Tensor, _SumOverRanks.apply(values))


def batch_norm(
    features: torch.Tensor,
    running_mean: torch.Tensor | None,
    running_var: torch.Tensor | None,
    weight: torch.Tensor | None,
    bias: torch.Tensor | None,
    training: bool,
    momentum: float,
    eps: float,
) -> torch.Tensor:
    """`torch.nn.functional.batch_norm`, by the statistics of all ranks' rows where ranks share the batch.

    Args:
        features: [N, C] or [N, C, H, W], the same N on every rank.
        running_mean: [C], changed in place while training; None = not recorded.
        running_var: [C], likewise; of the unbiased variance, as torch records it.
        weight: [C], the gain.
        bias: [C].
        training: Whether to normalize by the batch.
        momentum: Share of the newest batch in the running statistics.
        eps: Added to the variance.

    Returns:
        As `features`.
    """
    ranks = sharing_ranks()
    if ranks.alone or not training:
        return F.batch_norm(features, running_mean, running_var, weight, bias, training, momentum, eps)
    over = [place for place in range(features.ndim) if place != 1]
    shape = [-1 if place == 1 else 1 for place in range(features.ndim)]
    exact = features.float()
    # Two passes: a mean of squares less the square of a mean loses the digits of a small variance.
    mean = _sum_over_ranks(exact.mean(over)) / ranks.count
    centred = exact - mean.view(shape)
    variance = _sum_over_ranks(centred.square().mean(over)) / ranks.count
    if running_mean is not None and running_var is not None:
        values = features.numel() // features.shape[1] * ranks.count
        with torch.no_grad():
            running_mean.lerp_(mean.to(running_mean.dtype), momentum)
            running_var.lerp_((variance * values / (values - 1)).to(running_var.dtype), momentum)
    normalized = centred * (variance + eps).rsqrt().view(shape)
    if weight is not None:
        normalized = normalized * weight.float().view(shape)
    if bias is not None:
        normalized = normalized + bias.float().view(shape)
    return normalized.to(features.dtype)


class BatchNorm2d(nn.BatchNorm2d):
    """`torch.nn.BatchNorm2d` by `batch_norm`: the same parameters and buffers under the same names."""

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Normalizes [N, C, H, W]."""
        if sharing_ranks().alone or not self.training:
            return super().forward(features)
        assert self.momentum is not None and self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        return batch_norm(
            features, self.running_mean, self.running_var, self.weight, self.bias, True, self.momentum, self.eps
        )


def share_batch_norms(network: nn.Module) -> None:
    """Lets every `torch.nn.BatchNorm2d` of a network normalize over all ranks' rows; parameters stay as they are.

    Raises:
        InputError: There is batch normalization of another kind.
    """
    for name, module in network.named_modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = BatchNorm2d
        elif isinstance(module, nn.modules.batchnorm._BatchNorm) and type(module) is not BatchNorm2d:
            why = f"is a {type(module).__name__}, which would normalize over each rank's rows alone"
            raise InputError(Problem(f"{type(network).__name__}.{name}", why, "set runtime.ranks to 1"))


__all__ = ["BatchNorm2d", "batch_norm", "share_batch_norms"]
