"""A translator's phases in steps of a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from augment.core.errors import InputError, Problem
from augment.translators.base import LearnedTranslator


@dataclass(frozen=True)
class ScheduledPhase:
    """A phase (`augment.translators.base.Phase`) from step `start` to before step `stop`."""

    name: str
    start: int
    stop: int
    trains: tuple[str, ...] | None
    usable: bool = True
    learning_rate: float = 1.0

    def trains_name(self, name: str) -> bool:
        """Whether a parameter, buffer or child module of this dotted name is trained."""
        return self.trains is None or name.partition(".")[0] in self.trains


def schedule_phases(translator: LearnedTranslator, steps: int) -> list[ScheduledPhase]:
    """Divides the steps of a run among the translator's phases; each gets at least one step.

    Raises:
        ValueError: A phase trains what is none of the translator's modules, or the shares don't sum to 1.
        InputError: There are fewer steps than phases.
    """
    wanted = translator.phases()
    children = {name for name, _ in translator.named_children()}
    for phase in wanted:
        if unknown := set(phase.trains or ()) - children:
            why = f"{type(translator).__name__}: the phase {phase.name!r} trains {sorted(unknown)[0]!r}"
            raise ValueError(f"{why}, which is none of its modules {sorted(children)}")
    if not wanted or abs(sum(phase.share for phase in wanted) - 1) > 1e-6 or min(p.share for p in wanted) <= 0:
        raise ValueError(f"{type(translator).__name__}: the phases' shares must be above 0 and sum to 1")
    if steps < len(wanted):
        why = f"{steps} are too few for the {len(wanted)} phases of {translator.name}"
        raise InputError(Problem("training.steps", why, f"use at least {len(wanted)}, better thousands"))
    scheduled: list[ScheduledPhase] = []
    done = 0.0
    for index, phase in enumerate(wanted):
        done += phase.share
        start = scheduled[-1].stop if scheduled else 0
        left = len(wanted) - index - 1
        stop = steps if not left else min(max(round(done * steps), start + 1), steps - left)
        usable = phase.usable or not left
        scheduled.append(ScheduledPhase(phase.name, start, stop, phase.trains, usable, phase.learning_rate))
    return scheduled


def phase_at(phases: Sequence[ScheduledPhase], step: int) -> ScheduledPhase:
    """The phase that a step, from 0, belongs to; the last one for all later steps."""
    return next(phase for phase in reversed(phases) if phase.start <= step)
