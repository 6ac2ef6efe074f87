"""Ranks: processes that share one training, each with its rows of every batch, on a GPU or CPU cores of its own.

Synchronous data parallelism at the same total batch: every rank holds the same weights, computes the losses of its
rows, and steps by the mean of all ranks' gradients. Row i of a batch belongs to rank i mod the number of ranks.

The ranks step as one process would, up to rounding: whole batches are drawn on every rank from generators in the same
state and then divided, random numbers within losses come from `augment.core.row_draws`, batch normalization is over all
ranks' rows (`augment.networks.batch_norm`). Only dropout has masks of its own on every rank.

torch's DistributedDataParallel is not used: it wraps a module that is called once a step and whose parameters always
ask for gradients, while two networks that step by turns, frozen by turns and differentiated twice for a penalty are no
such module. What it would give beside the mean is to overlap it with the backward pass.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist

from augment.core.errors import Problem
from augment.core.processes import run_in_processes

Result = TypeVar("Result")

# The first rank validates and writes alone while the others wait. A rank that ends is noticed by whoever started it.
_PATIENCE = timedelta(hours=6)


@dataclass(frozen=True)
class Ranks:
    """Which of the ranks this process is.

    Attributes:
        rank: Its number, from 0. The first one writes, logs and validates.
        count: How many there are; 1 = this process trains alone.
    """

    rank: int = 0
    count: int = 1

    @property
    def alone(self) -> bool:
        """Whether there are no others."""
        return self.count == 1

    @property
    def first(self) -> bool:
        """Whether this is the one that writes."""
        return self.rank == 0

    def own(self, rows: torch.Tensor, *, first: int = 0) -> torch.Tensor:
        """This rank's rows of a tensor, every so many-th.

        Args:
            rows: [N, ...], rows of a whole batch; where ranks are to hold as many of a batch as each other, its rows
                are a multiple of their number.
            first: Which row of the batch the first of these is.
        """
        return rows if self.alone else rows[(self.rank - first) % self.count :: self.count]

    def why_not_divided(self, batch_size: int, where: str) -> list[Problem]:
        """What keeps ranks from sharing batches of a size: nothing, or that they can't hold as many rows each.

        Args:
            batch_size: Rows of a whole batch.
            where: How to name the setting.
        """
        if batch_size % self.count == 0:
            return []
        near = max(self.count, round(batch_size / self.count) * self.count)
        why = f"{batch_size} faces can't be divided among {self.count} ranks"
        return [Problem(where, why, f"set it to a multiple ({near}), or runtime.ranks to a divisor")]

    @torch.no_grad()
    def gather(self, rows: torch.Tensor) -> torch.Tensor:
        """All ranks' rows in their order, [count x n, ...] of [n, ...]; no gradient flows through."""
        if self.alone:
            return rows
        parts = [torch.empty_like(rows, memory_format=torch.contiguous_format) for _ in range(self.count)]
        dist.all_gather(parts, rows.contiguous())
        return torch.stack(parts, dim=1).flatten(0, 1)

    @torch.no_grad()
    def average_(self, tensors: Sequence[torch.Tensor]) -> None:
        """Replaces tensors of one type and device by their means over the ranks, in one exchange."""
        if self.alone or not tensors:
            return
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        dist.all_reduce(flat)
        flat /= self.count
        for tensor, mean in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(mean.view_as(tensor))

    def from_first(self, make: Callable[[], Result]) -> Result:
        """What the first rank makes, on every rank; the others wait for it, so within `make` it is alone."""
        if self.alone:
            return make()
        made: list[Any] = [None]
        if self.first:
            token = _ACTS_ALONE.set(True)
            try:
                made = [make()]
            finally:
                _ACTS_ALONE.reset(token)
        dist.broadcast_object_list(made, src=0)
        return made[0]

    def check_agreement(self, states: Mapping[str, torch.Tensor], where: str) -> None:
        """Refuses to go on where ranks came to different states: they would train different networks.

        Args:
            states: Tensors that must be the same on every rank, to the bit.
            where: How to name the training in the error.

        Raises:
            RuntimeError: Names the first state that differs.
        """
        if self.alone:
            return
        found: list[Any] = [None] * self.count
        sums = {name: _digest(state) for name, state in states.items()}
        dist.all_gather_object(found, sums)
        for name in sums:
            if any(other[name] != found[0][name] for other in found):
                raise RuntimeError(
                    f"{where}: {name} differs between the {self.count} ranks. A method that draws random numbers for "
                    "its rows must take them from augment.core.row_draws, and its losses must not depend on the rank; "
                    "set runtime.ranks to 1 to train it in one process"
                )

    @contextmanager
    def sharing(self) -> Iterator[None]:
        """Within the block, rows of a batch are shared: random draws and batch statistics are of all ranks' rows."""
        token = _SHARED.set(self)
        try:
            yield
        finally:
            _SHARED.reset(token)


ALONE = Ranks()
_SHARED: ContextVar[Ranks] = ContextVar("shared", default=ALONE)
_ACTS_ALONE: ContextVar[bool] = ContextVar("acts_alone", default=False)


def current_ranks() -> Ranks:
    """Which rank this process is, by torch's process group; alone where there is none, and in `Ranks.from_first`."""
    if dist.is_available() and dist.is_initialized() and not _ACTS_ALONE.get():
        return Ranks(dist.get_rank(), dist.get_world_size())
    return ALONE


def sharing_ranks() -> Ranks:
    """The ranks that share the rows at hand; alone outside `Ranks.sharing`."""
    return _SHARED.get()


def run_on_ranks(function: Callable[..., Result], call: Mapping[str, Any], *, count: int, threads: int = 1) -> Result:
    """Calls a function on ranks of this machine at once, in processes of their own; gives the first rank's result.

    On CUDA rank r takes GPU r; on the CPU the ranks talk over gloo. An error on one rank ends all.

    Args:
        function: At the top of a module; it is called with `call` and finds its rank by `current_ranks`.
        call: Keyword arguments, picklable; `device` among them says where to compute.
        count: Number of ranks, 2 and more.
        threads: CPU threads of each.

    Raises:
        Exception: What the function raised on one of the ranks.
    """
    with tempfile.TemporaryDirectory(prefix="s2l-ranks-") as folder:
        calls = [
            {"function": function, "call": dict(call), "rank": rank, "count": count, "meeting": Path(folder) / "store"}
            for rank in range(count)
        ]
        results = dict(run_in_processes(_run_as_rank, calls, processes=count, threads=threads))
    first: Any = results[0]
    return cast(Result, first)


def _run_as_rank(
    *, function: Callable[..., Result], call: Mapping[str, Any], rank: int, count: int, meeting: Path
) -> Result | None:
    on_gpu = torch.device(call.get("device", "cpu")).type == "cuda"
    if on_gpu:
        torch.cuda.set_device(rank)
    # All ranks are on this machine. By its host's name gloo may find no address, or one that a firewall guards.
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo0" if sys.platform == "darwin" else "lo")
    dist.init_process_group(
        "nccl" if on_gpu else "gloo",
        init_method=meeting.absolute().as_uri(),
        rank=rank,
        world_size=count,
        timeout=_PATIENCE,
    )
    try:
        result = function(**call)
        dist.barrier()
    finally:
        dist.destroy_process_group()
    return result if rank == 0 else None


def _digest(state: torch.Tensor) -> str:
    raw = state.detach().cpu().contiguous().view(-1).view(torch.uint8)
    return hashlib.sha256(raw.numpy().tobytes()).hexdigest()


__all__ = ["ALONE", "Ranks", "current_ranks", "run_on_ranks", "sharing_ranks"]
