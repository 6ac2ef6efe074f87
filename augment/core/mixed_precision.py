"""Computing in mixed precision, and in float32 in the midst of it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from functools import wraps
from typing import ParamSpec, TypeVar

import torch

from augment.core.precision import Precision

_P = ParamSpec("_P")
_T = TypeVar("_T")


def autocast(device: torch.device | str, precision: Precision) -> torch.autocast:
    """Mixed precision on a device; does nothing for float32. `auto` must be chosen before (`choose_precision`)."""
    kind = torch.float16 if precision == "float16" else torch.bfloat16
    return torch.autocast(torch.device(device).type, dtype=kind, enabled=precision != "float32")


def in_float32(function: Callable[_P, _T]) -> Callable[_P, _T]:
    """Computes a function in float32 in the midst of a step of mixed precision.

    For geometry: products of coordinates and differences of near ones lose pixels to half precision (a thin-plate
    spline's field of 48 px up to 46), while the networks around it lose nothing.
    """

    @wraps(function)
    def computed(*positional: _P.args, **named: _P.kwargs) -> _T:
        with ExitStack() as stack:
            for device in ("cpu", "cuda"):
                if torch.is_autocast_enabled(device):
                    stack.enter_context(torch.autocast(device, enabled=False))
            return function(*positional, **named)

    return computed
