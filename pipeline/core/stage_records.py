"""Wall time and peak memory of a stage, kept beside the results and never in them.

A time within an output would give it another hash with every run, and DVC would run again what depends on it. Records
lie in artifacts/timings, which no stage names. A record says by a hash which results it is of, so that results which
came from a cache are not given another run's times.
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
from pipeline.core.workspace import Artifacts, fingerprint
from reports.code_version import describe_code

MEASURED = ("prepare", "parsing", "judge", "train", "synthesize", "assess", "classify")


@contextmanager
def measured(root: Path, stage: str, name: str | None = None) -> Iterator[None]:
    """Keeps the wall time and the peak memory of the block, which is the only work of this process.

    Args:
        root: The workspace.
        stage: A stage of `pipeline.stages`; others than `MEASURED` (check, report ...) are let be.
        name: The translator's or arm's, for stages that have one.
    """
    if stage not in MEASURED:
        yield
        return
    artifacts, began = Artifacts(root), time.monotonic()
    file = record_file(artifacts, stage_name(stage, name))
    before = read_record(file)
    sessions = before.get("sessions", 0) if before.get("unfinished") else 0
    sessions = sessions + 1 if isinstance(sessions, int) and sessions >= 0 else 1
    _keep(file, {"unfinished": True, "sessions": sessions})
    try:
        yield
    except InputError:
        _take_back(file, before)  # refused, not broken off
        raise
    seconds = time.monotonic() - began
    values = {
        "seconds": round(seconds, 2),
        "peak_memory": peak_memory(),
        "gpu_memory": gpu_memory(),
        "sessions": sessions,
        "code": describe_code().model_dump(mode="json"),
    }
    _keep(file, {"results": results_hash(artifacts, stage, name), "record": values})


def stage_name(stage: str, name: str | None = None) -> str:
    """As DVC calls it: `judge`, `train@lssl`; the arms' two stages are one here."""
    return f"{stage}@{name}" if name is not None else stage


def record_file(artifacts: Artifacts, stage: str) -> Path:
    """Where a stage's record lies."""
    return artifacts.timings / f"{stage}.json"


def stage_results(artifacts: Artifacts, stage: str, name: str | None) -> tuple[Path, ...]:
    """What a stage writes."""
    named = str(name)
    return {
        "prepare": (artifacts.faces, artifacts.folds),
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
    """The most memory in bytes that this process, or one of its finished children, held; None where unknown."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * unit
    try:
        # getrusage's own figure begins with that of the process that started this one.
        status = Path("/proc/self/status").read_text(encoding="utf-8")
        own = next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    return max(own, children)


def gpu_memory() -> int | None:
    """The most GPU memory in bytes that torch held; None where it used no GPU."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available() or not torch.cuda.is_initialized():
        return None
    return max(int(torch.cuda.max_memory_allocated(device)) for device in range(torch.cuda.device_count()))


def read_record(file: Path) -> dict[str, Any]:
    """A record's content; empty where there is none that can be read, for nothing but a time is lost."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _take_back(file: Path, before: dict[str, Any]) -> None:
    """Leaves what lay there before the stage began: a refused stage writes nothing."""
    if before:
        _keep(file, before)
        return
    file.unlink(missing_ok=True)
    for folder in (file.parent, file.parent.parent):
        with suppress(OSError):  # it holds other things, or is gone
            folder.rmdir()


def _keep(file: Path, values: dict[str, Any]) -> None:
    """Writes a record. That it can't be written is no reason to lose a stage's work."""
    try:
        atomic_write_text(file, json.dumps(values, indent=1, sort_keys=True) + "\n")
    except OSError as error:
        click.echo(f"the stage's time and memory are not kept: {file}: {error.strerror}", err=True)
