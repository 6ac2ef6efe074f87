"""When each stage of a flow would begin and end, and what holds it up."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.flow.graph import Stage, with_downstream

DEFAULT_SLOTS = 2

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


class Slots:
    """Which stages may begin, and with which processor cores; the flow and its plan both ask here.

    Args:
        stages: Those that run, each after those that it reads from.
        cores: The machine's processor cores.
        slots: How many stages run at once, each with its share of the cores; one beside which no other can begin has
            them all. None: `DEFAULT_SLOTS`, where there are as many cores.
        gpus: How many stages that use a GPU run at once; None: one where the machine has a GPU, else no limit.

    Attributes:
        waiting: Stages that have not begun, by name.
        running: The slot of each stage that runs.
    """

    def __init__(
        self, stages: Mapping[str, Stage], cores: Sequence[int], *, slots: int | None = None, gpus: int | None = None
    ) -> None:
        self._stages = stages
        self._cores = tuple(cores)
        count = slot_count(slots, len(cores))
        self._shares = [tuple(cores[slot::count]) for slot in range(count)]
        self._free = list(range(count))
        self._gpus = 1 if gpus is None and has_gpu() else gpus
        self.waiting = dict(stages)
        self.running: dict[str, int] = {}

    def begin(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        """Takes slots for the stages that may begin now; yields the name and the cores of each."""
        for name in ready(self._stages, self.waiting, self.running):
            used = sum(self._stages[other].gpu for other in self.running)
            if not self._free or (self._gpus is not None and self._stages[name].gpu and used >= self._gpus):
                continue
            slot = self._free.pop(0)
            self.running[name] = slot
            del self.waiting[name]
            # No other can begin before it ends. Where one still runs, both want its cores for a while; after that, with
            # its share alone, cores would be idle.
            held = {name}
            if self._gpus == 1 and self._stages[name].gpu:
                held |= {other for other, stage in self.waiting.items() if stage.gpu}
            last = self.waiting.keys() <= with_downstream(held, self._stages)
            yield name, self._cores if last else self.share(name)

    def share(self, name: str) -> tuple[int, ...]:
        """The cores of a running stage's slot."""
        return self._shares[self.running[name]]

    def end(self, name: str) -> None:
        """Gives the slot of a stage back."""
        self._free = sorted([*self._free, self.running.pop(name)])


def ready(stages: Mapping[str, Stage], waiting: Collection[str], running: Collection[str]) -> list[str]:
    """The stages that may begin, in the order in which they should: first those on which the longest chain waits.

    A translator begins before the arms of real faces, which only the report reads. A chain is as long as its stages are
    many: what they take is not known before a data set's first run.

    Args:
        stages: Those of the flow, each after those that it reads from.
        waiting: Those that have not begun.
        running: Those that have not ended.
    """
    chains: dict[str, int] = {}  # the stages of the longest chain that begins with each
    for name in reversed(list(stages)):
        chains[name] = 1 + max((chains[other] for other in chains if name in stages[other].upstream), default=0)
    busy = {*waiting, *running}
    may = [name for name in stages if name in waiting and not stages[name].upstream & busy]
    return sorted(may, key=chains.__getitem__, reverse=True)


def slot_count(slots: int | None, cores: int) -> int:
    """How many stages run at once on so many cores; None: as many as a flow by itself would."""
    return max(1, min(DEFAULT_SLOTS if slots is None else slots, cores))


def gpu_count() -> int:
    """How many GPUs this machine has, without importing torch."""
    return len(list(Path("/dev").glob("nvidia[0-9]*")))


def has_gpu() -> bool:
    """Whether this machine has a GPU."""
    return gpu_count() > 0


def schedule(
    stages: Mapping[str, Stage], seconds: Seconds, *, cores: int, slots: int | None = None, gpus: int | None = None
) -> dict[str, Span]:
    """Runs stages in thought as the flow does (`pipeline.flow.flow`): each as soon as a slot is free.

    Args:
        stages: Those that run, each after those that it reads from.
        seconds: Their wall times.
        cores: Processor cores of the machine.
        slots: As of `Slots`.
        gpus: As of `Slots`.
    """
    held = Slots(stages, range(cores), slots=slots, gpus=gpus)
    spans: dict[str, Span] = {}
    now = 0.0
    while held.waiting or held.running:
        for name, own in held.begin():
            # Cores that another stage uses, too, are not counted, though they may become free before this one ends.
            count = len(own if len(held.running) == 1 else held.share(name))
            spans[name] = Span(now, now + seconds(name, count), count)
        name = min(held.running, key=lambda other: spans[other].end)
        now = spans[name].end
        held.end(name)
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
