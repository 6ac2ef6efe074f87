"""Networks on the meta device, with shapes and no values: built to see whether they can be, in no time and memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

_NORMAL = (nn.init.normal_, nn.init.kaiming_normal_, nn.init.xavier_normal_, torch.Tensor.normal_)


class _NothingDrawn(TorchFunctionMode):
    """Draws no normal values for tensors that have none.

    The meta device computes a normal draw by torch's references, which import its compiler first: seconds.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        tensor = args[0] if args else kwargs.get("tensor")
        if func in _NORMAL and isinstance(tensor, torch.Tensor) and tensor.is_meta:
            return tensor
        return func(*args, **kwargs)


@contextmanager
def on_meta_device() -> Iterator[None]:
    """Builds what is made in the block on the meta device: shapes are checked, and nothing is allocated or drawn."""
    with torch.device("meta"), _NothingDrawn():
        yield


__all__ = ["on_meta_device"]
