"""When each stage of a flow would begin and end, and what holds it up."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pipeline.flow.graph import Stage

Seconds = Callable[[str, int], float]
"""The wall time of a stage, by its name and the number of cores that it may use."""


@dataclass(frozen=True)
class Span:
    """When a stage runs.

    Attributes:
        begin: In seconds from the flow's begin.
        end: In the same.
        cores: How many processor cores it may use.
    """

    begin: float
    end: float
    cores: int


def schedule(
    stages: Mapping[str, Stage], seconds: Seconds, *, cores: int, slots: int, gpus: int | None = None
) -> dict[str, Span]:
    """Runs stages in thought as the flow does (`pipeline.flow.flow`): each as soon as a slot is free.

    Args:
        stages: Those that run, each after those that it reads from.
        seconds: Their wall times.
        cores: Processor cores of the machine.
        slots: How many stages run at once, each with its share of the cores; one that has nothing to wait for or
            beside it has them all.
        gpus: How many stages that use a GPU run at once; None: no limit.
    """
    slots = max(1, min(slots, cores))
    shares = [len(range(slot, cores, slots)) for slot in range(slots)]
    free = list(range(slots))
    spans: dict[str, Span] = {}
    running: dict[str, int] = {}
    waiting = dict(stages)
    now = 0.0
    while waiting or running:
        ready = [name for name, stage in waiting.items() if not stage.upstream & (waiting.keys() | running.keys())]
        for name in ready:
            used = sum(stages[other].gpu for other in running)
            if not free or (gpus is not None and stages[name].gpu and used >= gpus):
                continue
            slot = free.pop(0)
            share = cores if not running and len(ready) == 1 else shares[slot]
            spans[name] = Span(now, now + seconds(name, share), share)
            running[name] = slot
            del waiting[name]
        name = min(running, key=lambda other: spans[other].end)
        now = spans[name].end
        free = sorted([*free, running.pop(name)])
    return spans


def critical_path(stages: Mapping[str, Stage], seconds: Mapping[str, float]) -> tuple[list[str], float]:
    """The chain of stages that takes longest: with any number of machines, no run is shorter.

    Args:
        stages: Those that run, each after those that it reads from.
        seconds: Wall time of each.

    Returns:
        The chain, first stage first, and its seconds.
    """
    longest: dict[str, float] = {}
    before: dict[str, str | None] = {}
    for name, stage in stages.items():
        last = max((other for other in stage.upstream if other in longest), key=longest.__getitem__, default=None)
        before[name] = last
        longest[name] = seconds[name] + (longest[last] if last is not None else 0.0)
    at = max(longest, key=longest.__getitem__, default=None)
    total = longest[at] if at is not None else 0.0
    chain: list[str] = []
    while at is not None:
        chain.insert(0, at)
        at = before[at]
    return chain, total


def largest_sum(spans: Mapping[str, Span], amounts: Mapping[str, float]) -> float:
    """The largest sum of what stages hold that run at the same time.

    Args:
        spans: When they run.
        amounts: What each holds while it runs; stages without count nothing.
    """
    return max(
        (
            sum(amounts.get(name, 0.0) for name, other in spans.items() if other.begin <= span.begin < other.end)
            for span in spans.values()
        ),
        default=0.0,
    )
