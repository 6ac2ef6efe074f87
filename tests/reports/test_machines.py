"""Where the stages of a run were computed is said where it is not where its report was written."""

from __future__ import annotations

import pytest

from reports.code_version import CodeVersion
from reports.cost import RunRecord, StageRecord, machine_facts, record_facts

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
