"""What a flow would do, and what it would cost by the records of earlier runs. Nothing in the workspace is changed."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from augment.core.processes import processors
from augment.core.yaml_text import parse_yaml
from pipeline.core.sections import read_values
from pipeline.flow.estimates import Estimate, estimate
from pipeline.flow.filed_costs import RESULTS, filed_costs, recorded_counts
from pipeline.flow.graph import Stage, on_device
from pipeline.flow.records import CostRecord, read_all_records, this_machine
from pipeline.flow.schedule import Span, critical_path, largest_sum, schedule, slot_count
from pipeline.flow.states import State, stage_states
from pipeline.flow.work import FaceCounts, count_faces, work_of
from pipeline.profile import compose_profile
from reports.cost import duration


@dataclass(frozen=True)
class PlannedStage:
    """A stage of a plan.

    Attributes:
        name: As DVC names it.
        state: What DVC would do with it.
        estimate: What it would cost; None: it does not run, or nobody knows.
        unknown: Why nobody knows, if it runs.
    """

    name: str
    state: State
    estimate: Estimate | None
    unknown: str = "no record"

    @property
    def runs(self) -> bool:
        """Whether it is computed, as far as one can know."""
        return self.state in ("runs", "runs if changed")


@dataclass(frozen=True)
class Plan:
    """What a flow would do.

    Attributes:
        stages: Each after those that it reads from.
        graph: The same stages as DVC links them.
        machine: This one.
        cores: Its processor cores.
        slots: How many stages would run at once.
        gpus: How many of them may use a GPU; None: as the flow's default.
        free_disk: Bytes that the workspace's disk has left.
    """

    stages: tuple[PlannedStage, ...]
    graph: Mapping[str, Stage]
    machine: str
    cores: int
    slots: int
    gpus: int | None
    free_disk: int

    @property
    def running(self) -> tuple[PlannedStage, ...]:
        """The stages that are computed."""
        return tuple(stage for stage in self.stages if stage.runs)

    @property
    def unknown(self) -> tuple[str, ...]:
        """Names of stages that run and have no estimate: all sums leave them out."""
        return tuple(stage.name for stage in self.running if stage.estimate is None)


def make_plan(root: Path, overrides: Sequence[str] = (), *, slots: int | None = None, gpus: int | None = None) -> Plan:
    """Asks DVC and the records what a flow would do.

    Args:
        root: The workspace; it stays as it is.
        overrides: Words of `s2l profile`; none: the workspace's params.yaml.
        slots: How many stages would run at once; None: as the flow's default.
        gpus: How many of them may use a GPU; None: as the flow's default.

    Raises:
        InputError: The overrides or the workspace can't be read.
    """
    text = compose_profile(root, overrides) if overrides else None
    parameters = read_values(root / "params.yaml") if text is None else parse_yaml(text, "profile")
    graph, states = stage_states(root, text)
    graph = on_device(graph, parameters)
    records = [*filed_costs(root / RESULTS), *read_all_records(root, graph)]  # of one kind, the workspace's own last
    counts = _face_counts(root, parameters, states.get("prepare"), records)
    machine, cores = this_machine(), processors()
    stages = []
    for name, state in states.items():
        work = work_of(name, parameters, counts)
        found = None
        if state in ("runs", "runs if changed"):
            found = estimate(work, records, machine=machine)
        unknown = "no record" if work.amount is not None else "classes and folds are not known before prepare"
        stages.append(PlannedStage(name, state, found, unknown))
    return Plan(
        stages=tuple(stages),
        graph=graph,
        machine=machine,
        cores=cores,
        slots=slot_count(slots, cores),
        gpus=gpus,
        free_disk=shutil.disk_usage(root).free,
    )


def _face_counts(
    root: Path, parameters: Mapping[str, object], state: State | None, records: Sequence[CostRecord]
) -> FaceCounts | None:
    """What prepare has found or will: on disk where it does not run, else as when it last ran on the same data."""
    if state == "up to date":
        return count_faces(root)
    return recorded_counts(parameters, records)


def describe_plan(plan: Plan) -> str:
    """The plan as text: a table of the stages, then the sums."""
    spans = _spans(plan)
    rows = [("stage", "state", "time", "memory", "disk", "by")]
    for stage in plan.stages:
        found = stage.estimate
        if found is None:
            rows.append((stage.name, stage.state, "", "", "", stage.unknown if stage.runs else ""))
            continue
        cores = spans[stage.name].cores
        memory = found.memory(cores)
        rows.append(
            (
                stage.name,
                stage.state,
                duration(found.seconds(cores)),
                "" if memory is None else size(memory),
                size(found.disk),
                found.basis,
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    right = (2, 3, 4)
    lines = [
        "  ".join(
            text.rjust(width) if column in right else text.ljust(width)
            for column, (text, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    return "\n".join([*lines, "", *_sums(plan, spans)])


def _graph_of_running(plan: Plan) -> dict[str, Stage]:
    return {stage.name: plan.graph[stage.name] for stage in plan.running}


def _seconds(plan: Plan, name: str, cores: int) -> float:
    """Wall time of a stage; 0 where there is no record."""
    found = next(stage.estimate for stage in plan.stages if stage.name == name)
    return 0.0 if found is None else found.seconds(cores)


def _spans(plan: Plan) -> dict[str, Span]:
    return schedule(
        _graph_of_running(plan), partial(_seconds, plan), cores=plan.cores, slots=plan.slots, gpus=plan.gpus
    )


def _sums(plan: Plan, spans: Mapping[str, Span]) -> list[str]:
    states = [stage.state for stage in plan.stages]
    counts = [(state, states.count(state)) for state in ("up to date", "restored", "runs", "runs if changed")]
    lines = [f"{len(states)} stages: " + ", ".join(f"{count} {state}" for state, count in counts if count)]
    known = {stage.name: stage.estimate for stage in plan.running if stage.estimate is not None}
    if not plan.running:
        return [*lines, "nothing to compute"]
    if plan.unknown:
        lines.append(f"without an estimate, and in no sum: {len(plan.unknown)} of {len(plan.running)} that run")
    if not known:
        return lines
    least = "at least " if plan.unknown else ""
    alone = {name: _seconds(plan, name, plan.cores) for name in spans}
    chain, longest = critical_path(_graph_of_running(plan), alone)
    memories = {name: found.memory(spans[name].cores) for name, found in known.items()}
    disk = sum(found.disk for found in known.values())
    wall = duration(max(span.end for span in spans.values()))
    processor = duration(sum(found.processor_seconds for found in known.values()))
    lines += [
        f"time: {least}{wall} with {plan.slots} at once, {least}{duration(sum(alone.values()))} one by one; "
        f"{least}{processor} of processor time",
        f"critical path: {least}{duration(longest)}: {' -> '.join(chain)}",
    ]
    if any(memories.values()):
        at_once = largest_sum(spans, {name: float(memory or 0) for name, memory in memories.items()})
        lines.append(f"memory: {least}{size(round(at_once))} at once")
    lines.append(
        f"disk: {least}{size(disk)}, and as much in DVC's cache where files can't share blocks; "
        f"{size(plan.free_disk)} are free"
    )
    if 2 * disk > plan.free_disk:
        lines.append("warning: the disk may be too small; docs/operations.md says what can be deleted")
    return [*lines, f"on {plan.machine}"]


def size(amount: int) -> str:
    """Bytes in words: 35.9 MB."""
    for unit, bytes_each in (("TB", 10**12), ("GB", 10**9), ("MB", 10**6)):
        if amount >= bytes_each:
            return f"{amount / bytes_each:.1f} {unit}"
    return f"{amount / 1000:.0f} kB"
