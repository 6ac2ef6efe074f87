"""What the stages of a run cost, filed with its results as `costs.jsonl`: plans and times of runs not made here yet.

A clone in which nothing was run yet has the costs of the runs that docs/results keeps, of the machines that made them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from augment.core.files import atomic_write_text
from pipeline.core.sections import read_values
from pipeline.flow.estimates import estimate
from pipeline.flow.records import CostRecord, read_lines, read_records, record_of_timing, written
from pipeline.flow.work import FaceCounts, count_faces, counts_the_same, stages_of, work_of

COSTS = "costs.jsonl"
RESULTS = Path("docs/results")  # below a clone


def costs_of_run(root: Path) -> list[CostRecord]:
    """What the stages cost whose results lie in a workspace, by the flow's records, else by what the stages left.

    Args:
        root: The workspace, whose params.yaml is that of its results.

    Raises:
        InputError: params.yaml can't be read.
    """
    values, counts, kept = read_values(root / "params.yaml"), count_faces(root), read_records(root)
    found = []
    for stage in stages_of(values):
        work = work_of(stage, values, counts)
        same = (stage, work.kind, work.settings, work.amount)
        of_flow = [one for one in kept if (one.stage, one.kind, one.settings, one.amount) == same and one.whole]
        record = of_flow[-1] if of_flow else record_of_timing(root, stage, work, counts)
        if record is not None and record.whole:
            found.append(record)
    return found


def file_costs(root: Path, folder: Path) -> None:
    """Writes what a run's stages cost into the folder that keeps its results; nothing where no cost is on record.

    Raises:
        InputError: params.yaml can't be read.
    """
    if found := costs_of_run(root):
        atomic_write_text(folder / COSTS, "".join(f"{written(record)}\n" for record in found))


def filed_costs(results: Path) -> list[CostRecord]:
    """All costs that are filed below a folder, oldest first; lines that can't be read are passed over.

    Args:
        results: Such as docs/results; need not be there.
    """
    found = [
        record.model_copy(update={"filed": file.parent.relative_to(results).as_posix()})
        for file in sorted(results.rglob(COSTS))
        for record in read_lines(file)
    ]
    return sorted(found, key=lambda record: record.ended)


def recorded_counts(parameters: Mapping[str, Any], records: Sequence[CostRecord]) -> FaceCounts | None:
    """What `prepare` found when it last read a data set; None: it is on no record.

    Args:
        parameters: The content of params.yaml.
        records: Oldest first.
    """
    kind = work_of("prepare", parameters, None).kind
    known = [record.counts for record in records if record.stage == "prepare" and counts_the_same(record.kind, kind)]
    return known[-1] if known else None


@dataclass(frozen=True)
class RunTime:
    """What a run would take.

    Attributes:
        seconds: Sum over the stages of which there is a record.
        known: Their number.
        unknown: Names of the others.
        machines: Whose records they are.
    """

    seconds: float
    known: int
    unknown: tuple[str, ...]
    machines: tuple[str, ...]


def run_time(
    parameters: Mapping[str, Any],
    records: Sequence[CostRecord],
    *,
    machine: str,
    cores: int,
    classes: int | None = None,
) -> RunTime:
    """Estimates a run, stage by stage, one after another: as the times that are filed count.

    Args:
        parameters: The content of its params.yaml.
        records: Of any stages, oldest first.
        machine: As `records.this_machine` names it.
        cores: Processor cores that it may use.
        classes: How many its data have, where no record of `prepare` says so.
    """
    counts = recorded_counts(parameters, records)
    if counts is None and classes is not None:
        # No stage's time is taken to grow with the number of real faces.
        counts = FaceCounts(faces=0, classes=classes, folds=int(parameters["folds"]["folds"]))
    found = {
        stage: estimate(work_of(stage, parameters, counts), records, machine=machine)
        for stage in stages_of(parameters)
        if stage != "report"  # seconds, which are in no filed time
    }
    known = [one for one in found.values() if one is not None]
    return RunTime(
        seconds=sum(one.seconds(cores) for one in known),
        known=len(known),
        unknown=tuple(stage for stage, one in found.items() if one is None),
        machines=tuple(dict.fromkeys(one.machine for one in known)),
    )
