"""Writes one record per stage: its wall time and peak memory, as JSON in artifacts/timings.

A time inside an output would change its hash with every run, and DVC would rerun what depends on it; no stage of
dvc.yaml names artifacts/timings. A record contains the hash of the results that it belongs to, so that results from a
cache are not given another run's times. `pipeline.run_record` reads all of a run's records for the report;
`pipeline.measured_fields` removes times that code below the stage wrote into its outputs.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import click

from augment.core.errors import InputError
from augment.core.files import atomic_write_text
from pipeline.core.devices import name_of
from pipeline.core.workspace import Artifacts, fingerprint
from reports.code_version import describe_code
from reports.environment import describe_environment

MEASURED = ("prepare", "parsing", "judge", "train", "synthesize", "assess", "classify")


@contextmanager
def measured(root: Path, stage: str, name: str | None = None) -> Iterator[None]:
    """Records the wall time and the peak memory of the block, which must be the only work of this process.

    Args:
        root: The workspace.
        stage: A stage of `pipeline.stages`; stages that are not in `MEASURED` (report ...) are not measured.
        name: Of the translator or arm, for stages that have one.
    """
    if stage not in MEASURED:
        yield
        return
    artifacts, began = Artifacts(root), time.monotonic()
    file = record_file(artifacts, stage_name(stage, name))
    before = read_record(file)
    sessions = before.get("sessions", 0) if before.get("unfinished") else 0
    sessions = sessions + 1 if isinstance(sessions, int) and sessions >= 0 else 1
    _write_record(file, {"unfinished": True, "sessions": sessions})
    try:
        yield
    except InputError:
        _restore(file, before)  # refused, not interrupted
        raise
    seconds = time.monotonic() - began
    values = {
        "seconds": round(seconds, 2),
        "peak_memory": peak_memory(),
        "gpu_memory": gpu_memory(),
        "sessions": sessions,
        "code": describe_code().model_dump(mode="json"),
        "machine": machine_of_stage(),
    }
    _write_record(file, {"results": results_hash(artifacts, stage, name), "record": values})


def stage_name(stage: str, name: str | None = None) -> str:
    """The stage's name in DVC: `judge`, `train@lssl`; the two stages of the arms are one here."""
    return f"{stage}@{name}" if name is not None else stage


def record_file(artifacts: Artifacts, stage: str) -> Path:
    """The path of a stage's record."""
    return artifacts.timings / f"{stage}.json"


def stage_results(artifacts: Artifacts, stage: str, name: str | None) -> tuple[Path, ...]:
    """The paths that a stage writes."""
    named = str(name)
    return {
        "prepare": (artifacts.faces, artifacts.folds, artifacts.pretraining),
        "parsing": (artifacts.parsing,),
        "judge": (artifacts.judge,),
        "train": (artifacts.translator(named),),
        "synthesize": (artifacts.synthetic(named),),
        "assess": (artifacts.selected(named), artifacts.scores(named)),
        "classify": (artifacts.arm(named),),
    }[stage]


def results_hash(artifacts: Artifacts, stage: str, name: str | None) -> str:
    """A hash of a stage's results; empty where one is absent."""
    paths = stage_results(artifacts, stage, name)
    if not all(path.exists() for path in paths):
        return ""
    return fingerprint({}, {path.relative_to(artifacts.home).as_posix(): path for path in paths})


def peak_memory() -> int | None:
    """Peak memory in bytes of this process or of one of its finished children; None if unknown."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * unit
    try:
        # getrusage's value starts at that of the parent process.
        status = Path("/proc/self/status").read_text(encoding="utf-8")
        own = next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    return max(own, children)


def gpu_memory() -> int | None:
    """Peak GPU memory in bytes allocated by torch; None if it used no GPU."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available() or not torch.cuda.is_initialized():
        return None
    return max(int(torch.cuda.max_memory_allocated(device)) for device in range(torch.cuda.device_count()))


def machine_of_stage() -> str:
    """The machine, and the GPU if this process has computed on one."""
    gpu = "" if gpu_memory() is None else f", {name_of('cuda')}"
    return describe_environment()["machine"] + gpu


def read_record(file: Path) -> dict[str, Any]:
    """A record's content; empty if it is missing or unreadable, because only a time is lost."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _restore(file: Path, before: dict[str, Any]) -> None:
    """Restores the record from before the stage began: a refused stage writes nothing."""
    if before:
        _write_record(file, before)
        return
    file.unlink(missing_ok=True)
    for folder in (file.parent, file.parent.parent):
        with suppress(OSError):  # not empty, or already removed
            folder.rmdir()


def _write_record(file: Path, values: dict[str, Any]) -> None:
    """Writes a record. If it can't be written, the stage's results are kept all the same."""
    try:
        atomic_write_text(file, json.dumps(values, indent=1, sort_keys=True) + "\n")
    except OSError as error:
        click.echo(f"the stage's time and memory could not be recorded: {file}: {error.strerror}", err=True)
