"""What every stage begins with, and how it names its unfinished work."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch
from pydantic import Field

from augment.core.files import atomic_write_text
from augment.core.processes import run_in_processes, use_threads
from pipeline.core.code import code_of_stage
from pipeline.core.devices import choose_device, processes_for
from pipeline.core.needs import Need
from pipeline.core.runtime import RuntimeSettings
from pipeline.core.sections import StageParameters, load_sections
from pipeline.core.workspace import Artifacts, fingerprint, scratch_folder

LOG = logging.getLogger(__name__)


class CommonParameters(StageParameters):
    """What every stage reads: the seed, and the machine's part."""

    seed: int = Field(ge=0, lt=2**31, strict=True)
    runtime: RuntimeSettings = Field(default_factory=RuntimeSettings)


Parameters = TypeVar("Parameters", bound=CommonParameters)


def start(root: Path, model: type[Parameters]) -> tuple[Parameters, Artifacts, torch.device]:
    """Reads a stage's sections of params.yaml, and sets the number of threads.

    Args:
        root: The workspace.
        model: The stage's parameters.

    Returns:
        The parameters, the places of files, and the device to work on.

    Raises:
        InputError: A section is not as it must be, or the device is not there.
    """
    parameters = load_sections(root / "params.yaml", model)
    use_threads(parameters.runtime.threads)
    device = torch.device(choose_device(parameters.runtime.device))
    LOG.debug(
        "torch %s on %s, %d threads, seed %d", torch.__version__, device, torch.get_num_threads(), parameters.seed
    )
    return parameters, Artifacts(root), device


def processes_of(parameters: CommonParameters, device: torch.device) -> int:
    """How many folds and seeds are worked on at once."""
    return processes_for(parameters.runtime.processes, device.type)


def run_folds(
    function: Callable[..., None],
    calls: Sequence[Mapping[str, Any]],
    parameters: CommonParameters,
    device: torch.device,
) -> None:
    """Calls a function once for each fold, in processes of their own where there are several."""
    processes = processes_of(parameters, device)
    for _ in run_in_processes(function, calls, processes=processes, threads=parameters.runtime.threads):
        pass


def scratch_key(stage: str, parameters: CommonParameters, values: Mapping[str, Any], inputs: Mapping[str, Path]) -> str:
    """Names a stage's scratch folder by all that determines its result: parameters, threads, inputs, its code.

    Half-done work is not gone on with by other code: that which dvc.yaml names as the stage's dependencies.
    """
    key = fingerprint({**values, "threads": parameters.runtime.threads}, {**inputs, **code_of_stage(stage)})
    LOG.debug("scratch key %s of the inputs %s", key, ", ".join(map(str, inputs.values())) or "none")
    return key


@contextmanager
def stage_scratch(
    stage: str,
    artifacts: Artifacts,
    parameters: CommonParameters,
    values: Mapping[str, Any],
    inputs: Mapping[str, Path],
    name: str | None = None,
) -> Iterator[Path]:
    """The folder that a stage builds in; where the same stage was killed, with all that it had done.

    Args:
        stage: The stage.
        artifacts: The run's files.
        parameters: The stage's parameters.
        values: Those of them that determine the result, as JSON.
        inputs: The outputs of earlier stages that determine it.
        name: The translator or arm, for stages that have one.

    Raises:
        InputError: Another process works on the same.
    """
    key = scratch_key(stage, parameters, values, inputs)
    with scratch_folder(artifacts.scratch, stage if name is None else f"{stage}-{name}", key) as folder:
        yield folder


def configuration_hash(parameters: CommonParameters, values: Mapping[str, Any], inputs: Mapping[str, Path]) -> str:
    """What shards bear: all that determines them but the code, so that an edit that changes no face changes no byte."""
    return fingerprint({**values, "threads": parameters.runtime.threads}, inputs)


def write_json(path: Path, values: Any) -> None:
    """Writes JSON, atomically."""
    atomic_write_text(path, json.dumps(values, indent=2, sort_keys=True, default=str) + "\n")


def prepared(artifacts: Artifacts) -> list[Need]:
    """What every stage after `prepare` needs."""
    return [Need(artifacts.faces, "s2l prepare"), Need(artifacts.folds, "s2l prepare")]
