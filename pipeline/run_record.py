"""Reads the records of all stages of a run (written by `pipeline.core.stage_records`) for the report."""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import ValidationError

from pipeline.core.stage_records import read_record, record_file, results_hash, stage_name
from pipeline.core.workspace import Artifacts
from reports.code_version import describe_code
from reports.cost import RunRecord, StageRecord
from reports.environment import describe_environment


def read_run_record(artifacts: Artifacts, translators: Iterable[str], arms: Iterable[str]) -> RunRecord:
    """The records of all stages of a run; a record of other results than the present ones counts as not measured.

    Args:
        artifacts: The run's files.
        translators: Names of its translators.
        arms: Names of its arms.
    """
    planned: list[tuple[str, str | None]] = [("prepare", None), ("parsing", None), ("judge", None)]
    planned += [(stage, name) for name in translators for stage in ("train", "synthesize", "assess")]
    planned += [("classify", name) for name in arms]
    found, unmeasured = [], []
    for stage, name in planned:
        record = _read_record(artifacts, stage, name)
        if record is None:
            unmeasured.append(stage_name(stage, name))
        else:
            found.append(record)
    machine = describe_environment()["machine"]
    return RunRecord(code=describe_code(), stages=tuple(found), unmeasured=tuple(unmeasured), machine=machine)


def _read_record(artifacts: Artifacts, stage: str, name: str | None) -> StageRecord | None:
    kept = read_record(record_file(artifacts, stage_name(stage, name)))
    if not kept.get("results") or kept["results"] != results_hash(artifacts, stage, name):
        return None
    try:
        return StageRecord.model_validate({"name": stage_name(stage, name), **kept["record"]})
    except (KeyError, TypeError, ValidationError):
        return None
