"""A GPU that is only pretended: its tensors say `gpu:0`, the processor computes them, and every operation is looked at.

What fails on every GPU and on no machine without one is an operation on tensors of both sides, a generator of the other
side, and a tensor that numpy is to read. Each raises here as it would there. Not found here is what a GPU's own kernels
can't do, and what code does for the name `cuda` alone.

A device that is written in Python can't be taken back in a process (and torch calls the way to add one experimental),
so this belongs into a process of its own.
"""

from __future__ import annotations

import types
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

_aten = torch.ops.aten
_TAKES_BOTH = {_aten.copy_.default, _aten._to_copy.default}
_INDEXES = {  # the index may be the processor's, as on a GPU
    _aten.index.Tensor,
    _aten.index_put.default,
    _aten.index_put_.default,
    _aten._index_put_impl_.default,
}


def _register() -> torch.device:
    module = types.ModuleType("torch.gpu")
    module.is_available = module.is_initialized = lambda: True  # type: ignore[attr-defined]
    module.device_count, module.current_device = lambda: 1, lambda: 0  # type: ignore[attr-defined]
    module._is_in_bad_fork = lambda: False  # type: ignore[attr-defined]
    module.manual_seed_all = lambda seed: None  # type: ignore[attr-defined]
    module.get_amp_supported_dtype = lambda: [torch.bfloat16]  # type: ignore[attr-defined]
    _setup_privateuseone_for_python_backend("gpu", backend_module=module)
    return torch.device("gpu", 0)


GPU = _register()


class WrongSideError(RuntimeError):
    """What would fail on a GPU."""


class PretendedTensor(torch.Tensor):
    """A tensor of the pretended GPU.

    Args:
        held: The processor's tensor with the values.
    """

    held: torch.Tensor

    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, held: torch.Tensor) -> PretendedTensor:
        shape = torch.empty_strided(held.shape, held.stride(), dtype=held.dtype, device="meta")
        made = torch.Tensor._make_subclass(cls, shape, False, dispatch_device=True, device_for_backend_keys=GPU)
        made.held = held
        return made

    @classmethod
    def __torch_dispatch__(cls, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _computed(operation, args, kwargs or {})

    # What torch answers without an operation that could be looked at.

    def __getitem__(self, index: Any) -> Any:
        return super().__getitem__(_tensors_of(index))

    def __setitem__(self, index: Any, value: Any) -> None:
        super().__setitem__(_tensors_of(index), value)

    def __deepcopy__(self, memo: dict[int, Any]) -> torch.Tensor:
        if id(self) not in memo:
            copy = self.detach().clone()
            memo[id(self)] = (
                torch.nn.Parameter(copy, self.requires_grad)
                if isinstance(self, torch.nn.Parameter)
                else copy.requires_grad_(self.requires_grad)
            )
        return memo[id(self)]

    def __repr__(self, **options: Any) -> str:
        return f"on {GPU}: {self.held!r}"

    def new_tensor(self, data: Any, dtype: torch.dtype | None = None, **options: Any) -> torch.Tensor:
        return torch.tensor(data, dtype=dtype or self.dtype, **({"device": GPU} | options))

    def tolist(self) -> Any:
        return self.held.tolist()

    def numpy(self, **options: Any) -> Any:
        raise WrongSideError(f"numpy can't read a tensor on {GPU}: call cpu() first")

    __array__ = numpy


class _Looked(TorchDispatchMode):
    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _computed(operation, args, kwargs or {})


@contextmanager
def pretended_gpu() -> Iterator[torch.device]:
    """Gives the device within the block.

    Raises:
        WrongSideError: From the operation that would fail on a GPU.
    """
    # A module's parameters become others, for the processor's can't hold what these do.
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    with ExitStack() as stack:
        for name in ("tensor", "as_tensor"):  # copies by a way of its own
            stack.enter_context(mock.patch.object(torch, name, _moved_after(getattr(torch, name))))
        stack.enter_context(_Looked())
        yield GPU


def _moved_after(make: Any) -> Any:
    def made(data: Any, *args: Any, device: Any = None, **kwargs: Any) -> torch.Tensor:
        tensor = make(data, *args, **kwargs)
        return tensor if device is None else tensor.to(device)

    return made


def _tensors_of(index: Any) -> Any:
    if isinstance(index, tuple):
        return tuple(_tensors_of(part) for part in index)
    return torch.tensor(index, device=GPU) if isinstance(index, list) else index


def _computed(operation: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """What the operation gives, computed by the processor; on the side on which it would be."""
    if operation is torch.ops.prim.device.default:
        return GPU
    parts, form = tree_flatten((args, kwargs))
    ours = [part for part in parts if isinstance(part, PretendedTensor)]
    others = [part for part in parts if isinstance(part, torch.Tensor) and not isinstance(part, PretendedTensor)]
    device = kwargs.get("device")
    if operation is _aten.copy_.default:
        on_gpu = isinstance(args[0], PretendedTensor)
    else:
        on_gpu = bool(ours) if device is None else torch.device(device) == GPU
    if operation in _INDEXES:
        wrong = bool(ours) and not isinstance(args[0], PretendedTensor)
    else:
        wrong = bool(ours) and operation not in _TAKES_BOTH and any(other.dim() for other in others)
    if wrong:
        raise WrongSideError(f"{operation} of tensors on both sides: {[tuple(other.shape) for other in others]} on cpu")
    if on_gpu and any(isinstance(part, torch.Generator) for part in parts):
        raise WrongSideError(f"{operation} on {GPU} draws from a generator of the processor")
    given = tree_unflatten([part.held if isinstance(part, PretendedTensor) else part for part in parts], form)
    if device is not None:
        given[1]["device"] = torch.device("cpu") if torch.device(device) == GPU else device
    wrappers = {id(part.held): part for part in ours}  # in place: what comes out is what went in

    def wrapped(value: Any) -> Any:
        if not isinstance(value, torch.Tensor):
            return value
        if id(value) in wrappers:
            return wrappers[id(value)]
        return PretendedTensor(value) if on_gpu else value

    return tree_map(wrapped, operation(*given[0], **given[1]))
