"""Settings of the machine: device, threads, processes."""

from __future__ import annotations

from pydantic import Field

from pipeline.core.sections import Section


class RuntimeSettings(Section):
    """Settings of the machine. Results depend on the type of device and on `threads`, and on nothing else here."""

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
        description="Number of folds and seeds that run in parallel; 0 = the number of processors (one on a GPU). No "
        "result depends on it.",
    )
