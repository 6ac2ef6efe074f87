"""Trains and tests the classifiers of an arm, for every fold and seed."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

from pydantic import Field

from augment.core.json_files import write_json
from classifiers.arms import ArmRefusedError, run_arm
from classifiers.training import ClassifierSettings
from pipeline.core.devices import gpus_for
from pipeline.core.stage import CommonParameters, prepared_inputs, processes_of, stage_scratch, start
from pipeline.core.stage_inputs import StageInput, check_inputs
from pipeline.core.workspace import REFUSAL_FILE, move_into_place
from pipeline.measured_fields import take_measurements
from pipeline.parameters.arms import Arms
from pipeline.stages.refusals import pass_refusal_on

LOG = logging.getLogger(__name__)


class ClassifyParameters(CommonParameters):
    """The parameters that this stage reads."""

    seeds: list[Annotated[int, Field(ge=0, lt=2**31, strict=True)]] = Field(min_length=1)
    classifier: ClassifierSettings
    arms: Arms


def classify(root: Path, name: str) -> None:
    """Trains and tests an arm's classifiers, for every fold and seed."""
    parameters, artifacts, device = start(root, ClassifyParameters)
    arm = parameters.arms.arm(name)
    earlier = [StageInput(artifacts.selected(other), f"s2l assess {other}") for other in arm.translators]
    check_inputs([*prepared_inputs(artifacts), *earlier], [artifacts.arm(name)])
    synthetic_dirs = [artifacts.selected(other) for other in arm.translators]
    if any(pass_refusal_on(directory, artifacts.arm(name)) for directory in synthetic_dirs):
        return
    inputs = {"faces": artifacts.faces, "folds": artifacts.folds}
    inputs |= dict(zip(("synthetic", "second"), synthetic_dirs, strict=False))
    values = {
        "arm": arm.model_dump(mode="json"),
        **parameters.model_dump(mode="json", include={"seed", "seeds", "classifier"}),
    }
    with stage_scratch("classify", artifacts, parameters, values, inputs, name) as scratch:
        built = scratch / "out"
        built.mkdir(exist_ok=True)
        try:
            done = run_arm(
                name,
                arm,
                faces_dir=artifacts.faces,
                folds_path=artifacts.folds,
                synthetic_dirs=synthetic_dirs,
                classifier_settings=parameters.classifier,
                seeds=parameters.seeds,
                out=built / "predictions.parquet",
                history_out=built / "history.jsonl",
                weights_out=None,
                scratch=scratch / "cells",
                device=device,
                processes=processes_of(parameters, device),
                threads=parameters.runtime.threads,
                gpus=gpus_for(str(device)),
                ranks=parameters.runtime.ranks,
                precision_cache=artifacts.precision,
                cleared=artifacts.cleared,
            )
            if done.precision is not None:
                write_json(built / "precision.json", done.precision.model_dump(mode="json"))
        except ArmRefusedError as error:
            LOG.warning(f"arm {name} is refused: {error}")
            write_json(built / REFUSAL_FILE, {"name": name, "reason": str(error)})
        write_json(artifacts.measurements(f"classify-{name}"), take_measurements(built))
        move_into_place(built, artifacts.arm(name))
