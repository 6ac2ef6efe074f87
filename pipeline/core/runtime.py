"""The machine that a run works on."""

from __future__ import annotations

from pydantic import Field

from pipeline.core.sections import Section


class RuntimeSettings(Section):
    """The machine's part. Results depend on the kind of device and on `threads`, and on nothing else here."""

    device: str = Field(default="auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$", description="auto, cpu, cuda, cuda:1 ...")
    threads: int = Field(
        default=1,
        ge=1,
        le=256,
        description="Threads of a process on the CPU. They decide the order of sums and so the figures: never the "
        "number of cores of the machine at hand.",
    )
    processes: int = Field(
        default=0,
        ge=0,
        le=256,
        description="How many folds and seeds are worked on at once; 0 = as many as there are processors (one on a "
        "GPU). No result depends on it.",
    )
