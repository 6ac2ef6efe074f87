"""Formats a run's records for the page and metrics.json: wall time, peak memory and commit of every stage.

The records are written by `pipeline.core.stage_records` and read by `pipeline.run_record`."""

from __future__ import annotations

import re
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from reports.code_version import CodeVersion

MEBIBYTE = 2**20


class StageRecord(BaseModel):
    """The record of one stage."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    seconds: float = Field(ge=0, description="Wall time of the session that finished the stage.")
    peak_memory: int | None = Field(default=None, ge=0, description="Peak bytes of the largest process; null: unknown.")
    gpu_memory: int | None = Field(default=None, ge=0, description="Peak bytes of GPU memory; null: no GPU.")
    sessions: int = Field(default=1, ge=1, description="2 or more: the stage was interrupted and resumed.")
    code: CodeVersion = CodeVersion()
    machine: str = Field(default="", description="Where it was computed, with the GPU that it used; empty: not known.")


class RunRecord(BaseModel):
    """The records of all stages before the report."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    code: CodeVersion = Field(description="The code that wrote the report.")
    stages: tuple[StageRecord, ...] = ()
    unmeasured: tuple[str, ...] = Field(default=(), description="Stages without a record of the present results.")
    machine: str = Field(default="", description="Where the report was written; empty: not known.")

    @property
    def machines(self) -> dict[str, tuple[str, ...]]:
        """By machine, the stages that were computed there, where it is known; results depend on its kind.

        A flow gives stages that run side by side a share of the cores each: machines that differ in nothing but the
        number of cores are one, by the name that has most.
        """
        names: dict[str, str] = {}
        for name in (self.machine, *(stage.machine for stage in self.stages)):
            kind, cores = _kind_and_cores(name)
            if kind not in names or cores > _kind_and_cores(names[kind])[1]:
                names[kind] = name
        found: dict[str, list[str]] = {}
        for stage in self.stages:
            if stage.machine:
                found.setdefault(names[_kind_and_cores(stage.machine)[0]], []).append(stage.name)
        return {place: tuple(stages) for place, stages in found.items()}

    @property
    def seconds(self) -> float:
        """Sum over all measured stages, also of those that ran in parallel."""
        return sum(stage.seconds for stage in self.stages)

    @property
    def peak_memory(self) -> int | None:
        """Peak bytes of the largest process of any measured stage."""
        return max((stage.peak_memory for stage in self.stages if stage.peak_memory is not None), default=None)


def record_facts(record: RunRecord) -> list[tuple[str, str]]:
    """Pairs of name and value: code, total time, peak memory."""
    facts = [("git commit", record.code.description)]
    others = sorted({stage.code.commit for stage in record.stages} - {record.code.commit})
    if others:
        facts.append(("stages run with other commits", ", ".join(others)))
    facts += machine_facts(record)
    if record.stages:
        facts.append(
            ("wall time", f"{duration(record.seconds)}, the sum of {len(record.stages)} stages before this page")
        )
        if record.peak_memory is not None:
            facts.append(("peak memory", f"{_mebibytes(record.peak_memory)} MiB, the largest process of any stage"))
    if record.unmeasured:
        facts.append(
            ("not measured", f"{', '.join(record.unmeasured)}: their results were not made here, or changed since")
        )
    return facts


def machine_facts(record: RunRecord) -> list[tuple[str, str]]:
    """Where the stages were computed; empty where all were where the report was written, or none is known."""
    machines = record.machines
    if {_kind_and_cores(machine)[0] for machine in machines} <= {_kind_and_cores(record.machine)[0]}:
        return []
    if len(machines) == 1:
        return [("stages were computed on", next(iter(machines)))]
    shown = "; ".join(f"{machine}: {', '.join(stages)}" for machine, stages in machines.items())
    return [("stages were computed on several machines", shown)]


def record_rows(record: RunRecord) -> list[dict[str, str]]:
    """One row per stage: name, time, memory, code."""
    rows = []
    for stage in record.stages:
        again = f"; resumed, without the time of {stage.sessions - 1} interrupted before" if stage.sessions > 1 else ""
        rows.append(
            {
                "stage": stage.name,
                "time": duration(stage.seconds) + again,
                "memory": _mebibytes(stage.peak_memory),
                "gpu_memory": _mebibytes(stage.gpu_memory),
                "commit": stage.code.commit[:10] + (" + changes" if stage.code.changed else ""),
            }
        )
    return rows


def record_metrics(record: RunRecord) -> dict[str, Any]:
    """For metrics.json: the commit, whether the tree was changed, and the run's total seconds and peak MiB."""
    changed = record.code.changed
    found: dict[str, Any] = {
        "commit": record.code.commit,
        "tree": "unknown" if changed is None else ("changed" if changed else "unchanged"),
    }
    if record.stages:
        found |= _cost(record.seconds, record.peak_memory)
    return found


def duration(seconds: float) -> str:
    """Formats a wall time: `4.2 s`, `3 min 05 s`, `2 h 07 min`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def _cost(seconds: float, memory: int | None) -> dict[str, float]:
    cost = {"seconds": round(seconds, 1)}
    return cost if memory is None else {**cost, "peak_memory_mib": round(memory / MEBIBYTE, 1)}


def _mebibytes(size: int | None) -> str:
    return "–" if size is None else f"{size / MEBIBYTE:,.0f}"


def _kind_and_cores(machine: str) -> tuple[str, int]:
    """A machine's name, from `reports.environment.describe_environment`, without its cores; and how many these are."""
    cores = re.search(r", (\d+) cores", machine)
    return (machine, 0) if cores is None else (machine.replace(cores[0], "", 1), int(cores[1]))
