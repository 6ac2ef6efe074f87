"""What a stage will cost, from records of what such stages have cost.

Records of the same kind of work serve (`pipeline.flow.work`), of the first of these groups that has any: this machine
and the same settings; this machine, other settings; another machine, the same settings; another machine, other
settings. Then, with a as the amount of work:

- processor time: from records of one amount alone s + (p - s) a / a0, where p is the newest record's processor time,
  a0 its amount, and s the least that a stage of another kind took there, for what starting costs (0: no other is on
  record). That is rather too little, so the estimate is too high for more work and too low for less. From records of
  two amounts or more the line of least squares, through 0 or level where it would fall below.
- wall time: the processor time divided by the cores that it keeps busy: as many as it ever did on record (processor
  time / wall time), or as it has now, whichever are fewer.
- memory: the largest peak on record by process, times its processes, and the pixels that each now holds above those
  that it held then; of `assess` the line through peaks of two amounts or more.
- disk: what it wrote; synthetic faces in proportion to a.

Where no record serves there is no estimate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.flow.records import CostRecord
from pipeline.flow.work import Work

_NEWEST = 12  # records of a kind; code grows faster and slower


@dataclass(frozen=True)
class Estimate:
    """What a stage will cost.

    Attributes:
        processor_seconds: Of all cores.
        busy: How many cores it keeps busy where it has them; may be below 1, where it waits for the disk.
        work: What it is of.
        process_memory: Bytes of each of its processes; None: not on record.
        disk: Bytes that it writes, without DVC's cache.
        basis: Which records it is from, in words.
        machine: Whose records they are.
    """

    processor_seconds: float
    busy: float
    work: Work
    process_memory: float | None
    disk: int
    basis: str
    machine: str

    def seconds(self, cores: int) -> float:
        """Wall time where it may use so many cores."""
        return self.processor_seconds / min(self.busy, cores)

    def memory(self, cores: int) -> int | None:
        """Bytes of all its processes at once, where it may use so many cores; None: not on record."""
        return None if self.process_memory is None else round(self.process_memory * self.work.processes_in_all(cores))


def estimate(work: Work, records: Sequence[CostRecord], *, machine: str) -> Estimate | None:
    """Estimates one stage.

    Args:
        work: What it has to do.
        records: Of any stages, oldest first.
        machine: As `records.this_machine` names it.

    Returns:
        None: no record serves, or the amount of work is not known yet.
    """
    if work.amount is None:
        return None
    usable = [record for record in records if record.whole and record.amount and record.seconds > 0]
    found = [record for record in usable if record.kind == work.kind]
    groups: dict[tuple[bool, bool], list[CostRecord]] = {}
    for record in found:
        groups.setdefault((record.machine == machine, record.settings == work.settings), []).append(record)
    group = max(groups, default=None)  # this machine before others, then the same settings
    if group is None:
        return None
    chosen = groups[group][-_NEWEST:]
    where = chosen[-1].machine
    chosen = [record for record in chosen if record.machine == where]  # figures of two machines make no line
    others = [record.processor_seconds for record in usable if record.machine == where and record.kind != work.kind]
    points = [(float(record.amount or 0), record.processor_seconds) for record in chosen]
    newest = chosen[-1]
    peaks = [
        (float(record.amount or 0), record.peak_memory / work.processes_in_all(record.cores))
        for record in chosen
        if record.peak_memory is not None
    ]
    memory = max((peak for _, peak in peaks), default=None)
    if memory is not None and work.holds_faces:
        memory = scaled(peaks, work.amount, start=memory)  # from one amount it can't be told how it grows
    elif memory is not None and work.held is not None and newest.held is not None:
        memory += max(0, work.held - max(record.held or 0 for record in chosen))
    disk = max(record.output_bytes for record in chosen)
    if work.makes_faces:
        disk = round(newest.output_bytes * work.amount / (newest.amount or 1))
    return Estimate(
        processor_seconds=scaled(points, work.amount, start=min(others, default=0.0)),
        busy=max(max(record.processor_seconds, 0.01) / record.seconds for record in chosen),
        work=work,
        process_memory=memory,
        disk=disk,
        basis=_basis(chosen, work.amount, here=group[0], same=group[1]),
        machine=where,
    )


def scaled(points: Sequence[tuple[float, float]], amount: float, *, start: float) -> float:
    """A cost at another amount of work.

    Args:
        points: Amount and cost of each record, oldest first; amounts above 0.
        amount: For which the cost is wanted.
        start: The part of a cost that does not grow, used where all records are of one amount.
    """
    if len({known for known, _ in points}) == 1:
        known, cost = points[-1]
        start = min(start, cost)
        return start + (cost - start) * amount / known
    number = len(points)
    mean_amount, mean_cost = sum(known for known, _ in points) / number, sum(cost for _, cost in points) / number
    slope = sum((known - mean_amount) * (cost - mean_cost) for known, cost in points)
    slope /= sum((known - mean_amount) ** 2 for known, _ in points)
    if slope <= 0:
        return mean_cost
    if slope * mean_amount > mean_cost:  # the line would begin below 0
        return amount * sum(known * cost for known, cost in points) / sum(known**2 for known, _ in points)
    return mean_cost + slope * (amount - mean_amount)


def _basis(chosen: Sequence[CostRecord], amount: float, *, here: bool, same: bool) -> str:
    words = [f"{len(chosen)} record{'s' if len(chosen) > 1 else ''}"]
    if all(record.filed for record in chosen):
        words.append(f"filed with {chosen[-1].filed}")
    elif not any(record.by_flow for record in chosen):
        words.append("of `dvc repro`")
    if not same:
        words.append("other settings")
    if not here:
        words.append(f"another machine ({chosen[-1].machine})")
    nearest = min((record.amount or 0.0 for record in chosen), key=lambda known: abs(known - amount))
    if nearest and abs(amount / nearest - 1) > 0.001:
        words.append(f"{amount / nearest:.3g} times the work")
        if len({record.amount for record in chosen}) == 1:
            # The part that does not grow was taken for too small.
            words.append("rather less" if amount > nearest else "rather more")
    return ", ".join(words)
