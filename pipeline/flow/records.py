"""What stages cost when they ran: `.ckpt/flow/records.jsonl`, a line for each stage that the flow ran.

No stage's output, for times differ from run to run. Stages that plain `dvc repro` ran left less, in artifacts/timings
(`pipeline.core.stage_records`): that is read too, for stages of which the flow has no record of its own.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from augment.core.errors import InputError
from augment.core.files import atomic_write_text
from augment.core.processes import processors
from pipeline.core.sections import read_values
from pipeline.core.stage_records import MEASURED, read_record, record_file, results_hash, stage_name, stage_results
from pipeline.core.workspace import Artifacts
from pipeline.flow.schedule import has_gpu
from pipeline.flow.usage import Usage
from pipeline.flow.work import FaceCounts, Work, count_faces, stage_and_name, work_of
from pipeline.stages.refusals import refusal_in
from reports.environment import describe_environment

KEPT = 2000  # records; older ones are forgotten


class CostRecord(BaseModel):
    """What one stage cost."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    stage: str = Field(description="As DVC names it: train@warp.")
    ended: float = Field(description="When, in seconds since 1970.")
    machine: str = Field(description="Processor, cores and system.")
    cores: int = Field(ge=1, description="Processor cores that it might use.")
    seconds: float = Field(ge=0, description="Wall time.")
    processor_seconds: float = Field(ge=0, description="Of all cores; where by_flow is false, the most that it can be.")
    peak_memory: int | None = Field(ge=0, description="Bytes of all its processes at once; None: not known.")
    output_bytes: int = Field(ge=0, description="Size of what it wrote, without DVC's cache.")
    by_flow: bool = Field(description="False: read from what a plain `dvc repro` left.")
    whole: bool = Field(description="False: it resumed earlier work, or was refused; its time is not the stage's.")
    kind: str = Field(description="As of Work.")
    settings: str = Field(description="As of Work.")
    amount: float | None = Field(description="As of Work.")
    held: int | None = Field(description="As of Work.")
    counts: FaceCounts | None = Field(description="What prepare had found.")
    filed: str = Field(default="", description="Results that it was filed with; empty: it is this workspace's.")


def records_file(root: Path) -> Path:
    """The path of a workspace's records."""
    return Artifacts(root).scratch / "flow" / "records.jsonl"


def read_records(root: Path) -> list[CostRecord]:
    """The records of a workspace, oldest first; lines that can't be read are passed over: only a time is lost."""
    return read_lines(records_file(root))


def read_lines(file: Path) -> list[CostRecord]:
    """The records of a file, a line each, that can be read."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return []
    found = []
    for line in lines:
        try:
            found.append(CostRecord.model_validate_json(line))
        except ValidationError:  # such as a line that a full disk cut short
            continue
    return found


def keep_record(root: Path, stage: str, usage: Usage, cores: int) -> None:
    """Appends the record of a stage that has just ended well.

    Args:
        root: The workspace.
        stage: As DVC names it.
        usage: What it used.
        cores: How many processor cores it might use.

    Raises:
        InputError: params.yaml can't be read.
        OSError: The record can't be written.
    """
    base, name = stage_and_name(stage)
    artifacts = Artifacts(root)
    sessions = read_record(record_file(artifacts, stage_name(base, name))).get("record", {}).get("sessions", 1)
    counts = count_faces(root)
    work = work_of(stage, read_values(root / "params.yaml"), counts)
    record = CostRecord(
        stage=stage,
        ended=time.time(),
        machine=this_machine(),
        cores=cores,
        seconds=round(usage.seconds, 2),
        processor_seconds=round(usage.processor_seconds, 2),
        peak_memory=usage.peak_memory,
        output_bytes=sum(map(size_of, _outputs(artifacts, base, name))),
        by_flow=True,
        whole=sessions == 1 and not was_refused(artifacts, base, name),
        kind=work.kind,
        settings=work.settings,
        amount=work.amount,
        held=work.held,
        counts=counts,
    )
    append_record(root, written(record))


def written(record: CostRecord) -> str:
    """A record as a line, without where it is filed, which its file says."""
    return record.model_dump_json(exclude={"filed"})


def append_record(root: Path, line: str) -> None:
    """Appends a record, written as JSON, to those of a workspace.

    Args:
        root: The workspace.
        line: The record, of a stage that ended here or in another clone.

    Raises:
        OSError: It can't be written.
    """
    file = records_file(root)
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a", encoding="utf-8") as opened:
        opened.write(line + "\n")


def forget_old_records(root: Path) -> None:
    """Keeps the newest records; called while no stage runs."""
    file = records_file(root)
    if file.is_file():
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
        if len(lines) > KEPT:
            atomic_write_text(file, "\n".join(lines[-KEPT:]) + "\n")


def records_of_repro(root: Path, stages: Collection[str]) -> list[CostRecord]:
    """Records of stages that plain `dvc repro` ran here, made of artifacts/timings and of dvc.lock's parameters.

    Their memory is that of the largest process, and their processor time is not known, so both are given as the most
    that they can have been.

    Args:
        root: The workspace.
        stages: Names in DVC. All of their results are read, for a time counts only where it is these results'.
    """
    try:
        with (root / "dvc.lock").open(encoding="utf-8") as opened:
            lock = yaml.load(opened, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))["stages"]
    except (OSError, yaml.YAMLError, KeyError, TypeError):
        return []
    counts = count_faces(root)
    found = [
        record_of_timing(root, stage, work_of(stage, _parameters_of(lock, stage), counts), counts)
        for stage in stages
        if stage in lock
    ]
    return [record for record in found if record is not None]


def record_of_timing(root: Path, stage: str, work: Work, counts: FaceCounts | None) -> CostRecord | None:
    """The record of a stage by what it left in artifacts/timings; None where that is of other results, or not there.

    Args:
        root: The workspace.
        stage: As DVC names it.
        work: What it had to do.
        counts: What prepare had found.
    """
    artifacts, (base, name) = Artifacts(root), stage_and_name(stage)
    file = record_file(artifacts, stage_name(base, name))
    kept = read_record(file)
    if not kept.get("results") or kept["results"] != results_hash(artifacts, base, name):
        return None
    try:
        seconds, memory = float(kept["record"]["seconds"]), kept["record"].get("peak_memory")
        return CostRecord(
            stage=stage,
            ended=file.stat().st_mtime,
            machine=this_machine(),
            cores=processors(),
            seconds=seconds,
            processor_seconds=seconds * work.busy_cores(processors()),
            peak_memory=None if memory is None else int(memory) * work.processes_in_all(processors()),
            output_bytes=sum(map(size_of, _outputs(artifacts, base, name))),
            by_flow=False,
            whole=kept["record"].get("sessions", 1) == 1 and not was_refused(artifacts, base, name),
            kind=work.kind,
            settings=work.settings,
            amount=work.amount,
            held=work.held,
            counts=counts,
        )
    except (KeyError, TypeError, ValueError, OSError):
        return None


def stage_table(outcomes: Mapping[str, str], records: Collection[CostRecord], since: float) -> list[dict[str, Any]]:
    """Rows of a flow's stages: what became of each, and what it cost where it ran.

    Args:
        outcomes: By stage.
        records: Of the workspace, oldest first.
        since: When the flow began, in seconds since 1970; older records are of other runs.
    """
    costs = {record.stage: record for record in records if record.ended >= since}
    rows = []
    for stage, outcome in outcomes.items():
        row: dict[str, Any] = {"stage": stage, "outcome": outcome, "seconds": None, "peak memory, MiB": None}
        if outcome == "ran" and stage in costs:
            memory = costs[stage].peak_memory
            row["seconds"] = round(costs[stage].seconds, 1)
            row["peak memory, MiB"] = None if memory is None else round(memory / 2**20)
        rows.append(row)
    return rows


def this_machine() -> str:
    """Processor, cores, system, and whether there is a GPU, as records name it."""
    gpu = ", with a GPU" if has_gpu() else ""
    return describe_environment()["machine"] + gpu


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files below a folder; 0 where there is nothing."""
    if path.is_file():
        return path.stat().st_size
    return sum(file.lstat().st_size for file in path.rglob("*") if file.is_file())


def was_refused(artifacts: Artifacts, base: str, name: str | None) -> bool:
    """Whether a stage left a refusal in place of its results, which took no time worth a plan."""
    return any(refusal_in(path) is not None for path in _outputs(artifacts, base, name) if path.is_dir())


def _outputs(artifacts: Artifacts, base: str, name: str | None) -> tuple[Path, ...]:
    if base == "report":
        return (artifacts.report, artifacts.plots)
    return stage_results(artifacts, base, name) if base in MEASURED else ()


def _parameters_of(lock: Mapping[str, Any], stage: str) -> dict[str, Any]:
    """What params.yaml said when a stage ran, as far as dvc.lock knows: its own parameters and those of what it reads.

    Args:
        lock: The stages of dvc.lock.
        stage: Which one.
    """
    name = stage.partition("@")[2]
    values: dict[str, Any] = {}
    for other in ("prepare", f"train@{name}", f"synthesize@{name}", stage):
        for key, value in lock.get(other, {}).get("params", {}).get("params.yaml", {}).items():
            *parents, last = key.split(".")
            section = values
            for parent in parents:
                section = section.setdefault(parent, {})
            section[last] = value
    return values


def read_all_records(root: Path, stages: Collection[str]) -> list[CostRecord]:
    """The flow's records, and for stages that it never ran those of plain `dvc repro`; oldest first.

    Args:
        root: The workspace.
        stages: Names in DVC that are looked for.
    """
    kept = read_records(root)
    try:
        others = records_of_repro(root, [name for name in stages if name not in {record.stage for record in kept}])
    except (InputError, OSError):
        others = []
    return sorted([*others, *kept], key=lambda record: record.ended)
