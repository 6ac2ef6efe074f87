"""Settings of the machine: device, threads, processes, ranks."""

from __future__ import annotations

from pydantic import Field

from pipeline.core.sections import Section


class RuntimeSettings(Section):
    """Settings of the machine. Results depend on the type of device, on `threads` and `ranks`, on nothing else here."""

    device: str = Field(default="auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$", description="auto, cpu, cuda, cuda:1 ...")
    threads: int = Field(
        default=1,
        ge=1,
        le=256,
        description="CPU threads per process. They determine the order of floating-point sums and so the results: keep "
        "it the same on every machine.",
    )
    processes: int = Field(
        default=0,
        ge=0,
        le=256,
        description="Number of folds, seeds and shards that run in parallel; 0 = the number of processors, or of GPUs. "
        "No result depends on it.",
    )
    ranks: int = Field(
        default=1,
        ge=1,
        le=64,
        description="Processes that share the training of each network, each with its part of every batch, on a GPU of "
        "its own; batch sizes must be multiples of it. Folds and seeds then run one after another. It determines how "
        "gradients are summed and so the results, in their last bits.",
    )
