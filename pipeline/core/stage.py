"""Starts a stage: its parameters, files and device, and the scratch folder of its unfinished work."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch
from pydantic import Field

from augment.core.processes import run_in_processes, use_threads
from pipeline.core.code import code_of_stage
from pipeline.core.devices import check_ranks_fit, choose_device, gpus_for, processes_for
from pipeline.core.runtime import RuntimeSettings
from pipeline.core.sections import StageParameters, load_sections
from pipeline.core.stage_inputs import StageInput
from pipeline.core.workspace import Artifacts, fingerprint, scratch_folder

LOG = logging.getLogger(__name__)


class CommonParameters(StageParameters):
    """What every stage reads: the seed and the settings of the machine."""

    seed: int = Field(ge=0, lt=2**31, strict=True)
    runtime: RuntimeSettings = Field(default_factory=RuntimeSettings)


Parameters = TypeVar("Parameters", bound=CommonParameters)


def start(root: Path, model: type[Parameters]) -> tuple[Parameters, Artifacts, torch.device]:
    """Reads a stage's sections of params.yaml, and sets the number of threads.

    Args:
        root: The workspace.
        model: The stage's parameters.

    Returns:
        The parameters, the paths of files, and the device.

    Raises:
        InputError: A section is invalid, or the device is not available.
    """
    parameters = load_sections(root / "params.yaml", model)
    use_threads(parameters.runtime.threads)
    device = torch.device(choose_device(parameters.runtime.device))
    check_ranks_fit(parameters.runtime.ranks, str(device))
    LOG.debug(
        "torch %s on %s, %d threads, seed %d", torch.__version__, device, torch.get_num_threads(), parameters.seed
    )
    return parameters, Artifacts(root), device


def processes_of(parameters: CommonParameters, device: torch.device) -> int:
    """The number of folds and seeds that run in parallel."""
    return processes_for(parameters.runtime.processes, str(device))


def run_folds(
    function: Callable[..., None],
    calls: Sequence[Mapping[str, Any]],
    parameters: CommonParameters,
    device: torch.device,
) -> None:
    """Calls a function once per fold, in parallel processes if there are several."""
    processes, gpus = processes_of(parameters, device), gpus_for(str(device))
    for _ in run_in_processes(function, calls, processes=processes, threads=parameters.runtime.threads, gpus=gpus):
        pass


def scratch_key(stage: str, parameters: CommonParameters, values: Mapping[str, Any], inputs: Mapping[str, Path]) -> str:
    """A stage's scratch key: a hash of all that determines its result (parameters, threads, ranks, inputs, code).

    Unfinished work is resumed only by the same code, the stage's dependencies in dvc.yaml.
    """
    machine = {"threads": parameters.runtime.threads, "ranks": parameters.runtime.ranks}
    key = fingerprint({**values, **machine}, {**inputs, **code_of_stage(stage)})
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
    """The folder that a stage writes to while it works; after a killed run it contains the unfinished work.

    Args:
        stage: The stage.
        artifacts: The run's files.
        parameters: The stage's parameters.
        values: Those parameters that determine the result, as JSON.
        inputs: The outputs of earlier stages that determine it.
        name: The translator or arm, for stages that have one.

    Raises:
        InputError: Another process works on the same stage.
    """
    key = scratch_key(stage, parameters, values, inputs)
    with scratch_folder(artifacts.scratch, stage if name is None else f"{stage}-{name}", key) as folder:
        yield folder


def configuration_hash(parameters: CommonParameters, values: Mapping[str, Any], inputs: Mapping[str, Path]) -> str:
    """The hash written into shards.

    It covers all that determines them except the code, so that an edit that changes no face changes no byte."""
    return fingerprint({**values, "threads": parameters.runtime.threads}, inputs)


def prepared_inputs(artifacts: Artifacts) -> list[StageInput]:
    """The inputs of every stage after `prepare`."""
    return [StageInput(artifacts.faces, "s2l prepare"), StageInput(artifacts.folds, "s2l prepare")]
