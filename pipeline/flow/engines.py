"""Where a flow's stages run: an engine says which may begin now, and runs each. The default: on this machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Protocol

from pipeline.flow.children import Children, Outcome
from pipeline.flow.graph import Stage
from pipeline.flow.schedule import Slots

Log = Callable[[str], object]
"""Called with each line that a stage prints."""

Run = Callable[..., Outcome]
"""Runs a stage to its end and says what became of it; takes `log=`, a `Log`, and raises `StageFailedError`."""


class Engine(Protocol):
    """What the flow asks for; `begin`, `end` and the attributes are used from the flow's thread alone.

    Attributes:
        waiting: Stages that have not begun, by name. The flow takes out what can't run any more, and puts back what
            could not begin.
    """

    waiting: dict[str, Stage]

    def begin(self) -> Iterator[tuple[str, Run]]:
        """Yields the name of each stage that may begin now, no longer waiting, and what runs it in a thread."""
        ...

    def end(self, name: str) -> None:
        """Called when a stage has ended, well or not."""
        ...

    def finish(self) -> None:
        """Called when no stage waits or runs: what other machines made is brought here."""
        ...

    def stop(self) -> None:
        """Ends every stage that runs, with all of its processes, and lets no other begin."""
        ...


class OneMachine:
    """An `Engine`: stages side by side in one workspace, each with its share of the cores.

    Args:
        root: The workspace.
        stages: Those that run, each after those that it reads from.
        cores: The machine's processor cores.
        slots: As of `Slots`.
        gpus: As of `Slots`.
    """

    def __init__(
        self, root: Path, stages: Mapping[str, Stage], cores: Sequence[int], *, slots: int | None, gpus: int | None
    ) -> None:
        self._slots = Slots(stages, cores, slots=slots, gpus=gpus)
        self._children = Children(root)
        self.waiting = self._slots.waiting

    def begin(self) -> Iterator[tuple[str, Run]]:
        """As in `Engine`."""
        for name, cores in self._slots.begin():
            yield name, partial(self._children.run, name, cores=cores)

    def end(self, name: str) -> None:
        """As in `Engine`."""
        self._slots.end(name)

    def finish(self) -> None:
        """As in `Engine`; all is here already."""

    def stop(self) -> None:
        """As in `Engine`."""
        self._children.stop()
