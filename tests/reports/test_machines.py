"""Where the stages of a run were computed is said where it is not where its report was written."""

from __future__ import annotations

import pytest

from reports.code_version import CodeVersion
from reports.cost import RunRecord, StageRecord, machine_facts, record_facts

SHARE = "Some CPU, 1 cores, Linux x86_64"  # what a flow gave a stage of the same machine
CPU, GPU = "Some CPU, 2 cores, Linux x86_64", "Some CPU, 16 cores, Linux x86_64, Some GPU"


def run_of(**machines: str) -> RunRecord:
    stages = tuple(StageRecord(name=name, seconds=1.0, machine=place) for name, place in machines.items())
    return RunRecord(code=CodeVersion(), stages=stages, machine=CPU)


@pytest.mark.parametrize(
    ("machines", "facts"),
    [
        ({"prepare": CPU, "judge": CPU}, []),
        ({"prepare": "", "judge": ""}, []),  # records of before, which did not say
        ({}, []),
        ({"prepare": GPU, "judge": GPU}, [("stages were computed on", GPU)]),
        ({"prepare": CPU, "judge": SHARE, "train": SHARE}, []),
        ({"judge": SHARE}, []),
        (
            {"prepare": SHARE, "judge": GPU, "train": CPU},
            [("stages were computed on several machines", f"{CPU}: prepare, train; {GPU}: judge")],
        ),
        (
            # A night on which the GPU's driver was lost: the rest was computed on the processor, in one comparison.
            {"prepare": CPU, "judge": GPU, "train": CPU},
            [("stages were computed on several machines", f"{CPU}: prepare, train; {GPU}: judge")],
        ),
    ],
)
def test_of_one_machine_nothing_is_said_but_of_others_all(
    machines: dict[str, str], facts: list[tuple[str, str]]
) -> None:
    record = run_of(**machines)
    assert machine_facts(record) == facts
    assert [fact for fact in record_facts(record) if fact[0].startswith("stages were computed")] == facts


def test_a_machine_has_the_name_of_most_cores() -> None:
    """A filed row names it; the report's own stage may have had a share, too."""
    record = run_of(judge=SHARE, train=CPU).model_copy(update={"machine": SHARE})
    assert record.machines == {CPU: ("judge", "train")} and machine_facts(record) == []
