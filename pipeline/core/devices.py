"""The device, and the number of processes."""

from __future__ import annotations

from augment.core.errors import InputError, Problem
from augment.core.processes import processors


def processes_for(wanted: int, device: str) -> int:
    """The number of parallel processes: `wanted`, or if that is 0 all processors (one process on a GPU)."""
    return wanted or (processors() if device == "cpu" else 1)


def choose_device(name: str, where: str = "params.yaml: runtime.device") -> str:
    """Resolves `auto` to `cuda` if there is a GPU, else to `cpu`.

    Args:
        name: auto, cpu, cuda, cuda:1 ...
        where: How to name the setting in errors.

    Raises:
        InputError: CUDA is requested, and torch sees no such GPU.
    """
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda"):
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        _, _, number = name.partition(":")
        if int(number or 0) >= count:
            why = f"is {name}, but torch sees {count} GPUs here" if count else f"is {name}, but torch sees no GPU here"
            raise InputError(Problem(where, why, f"set it to auto{', cuda' if count else ''} or cpu"))
    return name


def name_of(device: str) -> str:
    """The device as a report names it: `cpu`, or the GPU's name."""
    import torch

    return torch.cuda.get_device_name(device) if device.startswith("cuda") else device
