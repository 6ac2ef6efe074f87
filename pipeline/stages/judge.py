"""Trains the judge of each fold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from augment.faces.splits import read_folds
from augment.faces.table import read_class_names, read_faces
from classifiers.judge import train_judge
from pipeline.core.devices import gpus_for
from pipeline.core.stage import CommonParameters, prepared_inputs, processes_of, stage_scratch, start, write_json
from pipeline.core.stage_inputs import check_inputs
from pipeline.core.workspace import move_into_place
from pipeline.measured_fields import take_measurements
from pipeline.parameters.judge import JudgeSettings
from reports.metrics.reference_faces import check_reference_faces
from reports.settings import ScoreSettings


class JudgeParameters(CommonParameters):
    """The parameters that this stage reads."""

    judge: JudgeSettings
    scores: ScoreSettings
    translators: dict[str, Any]


def judge(root: Path) -> None:
    """Trains the judge of each fold.

    Raises:
        InputError: There are translators, and a fold has too few real faces to score them; raised before training.
    """
    parameters, artifacts, device = start(root, JudgeParameters)
    check_inputs(prepared_inputs(artifacts), [artifacts.judge])
    if parameters.translators:
        known = read_faces(artifacts.faces, columns=["face_id", "label_name", "subject"])
        names = read_class_names(artifacts.faces)
        check_reference_faces(known, read_folds(artifacts.folds), names, parameters.scores)
    values = parameters.model_dump(mode="json", include={"seed", "judge"})
    inputs = {"faces": artifacts.faces, "folds": artifacts.folds}
    with stage_scratch("judge", artifacts, parameters, values, inputs) as scratch:
        train_judge(
            artifacts.faces,
            artifacts.folds,
            parameters.judge.classifier,
            parameters.seed,
            scratch / "out",
            device,
            scratch=scratch / "folds",
            processes=processes_of(parameters, device),
            threads=parameters.runtime.threads,
            gpus=gpus_for(str(device)),
            precision_cache=artifacts.precision,
            frontal_yaw=parameters.judge.frontal_yaw,
        )
        write_json(artifacts.measurements("judge"), take_measurements(scratch / "out"))
        move_into_place(scratch / "out", artifacts.judge)
