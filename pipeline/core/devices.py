"""The device, and the number of processes."""

from __future__ import annotations

from augment.core.errors import InputError, Problem
from augment.core.processes import processors, visible_gpus


def processes_for(wanted: int, device: str) -> int:
    """The number of parallel processes: `wanted`, or if that is 0 all processors, or one for each GPU."""
    return wanted or (processors() if device == "cpu" else max(1, len(gpus_for(device))))


def gpus_for(device: str) -> tuple[str, ...]:
    """The GPUs that processes may take by turns: all of `cuda`; none where one is named, or on the CPU."""
    return visible_gpus() if device == "cuda" else ()


def check_ranks_fit(ranks: int, device: str, where: str = "params.yaml: runtime.ranks") -> None:
    """Refuses more ranks than there are GPUs to give each its own.

    Args:
        ranks: Processes that share a training.
        device: cpu, cuda, cuda:1 ...
        where: How to name the setting in errors.

    Raises:
        InputError: Says how many there can be.
    """
    if ranks == 1 or device == "cpu":
        return
    if device != "cuda":
        raise InputError(Problem(where, f"is {ranks}, but runtime.device is the one GPU {device}", "set it to cuda"))
    count = len(visible_gpus())
    if ranks > count:
        raise InputError(Problem(where, f"is {ranks}, but torch sees {count} GPUs here", f"set it to at most {count}"))


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
