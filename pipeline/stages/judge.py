"""Trains the judge of each fold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from augment.core.errors import InputError, Problem
from augment.core.json_files import read_json_object, write_json
from augment.faces.splits import read_folds
from augment.faces.table import read_class_names, read_faces
from classifiers.judge import Pretraining, train_judge
from pipeline.core.devices import gpus_for
from pipeline.core.stage import CommonParameters, prepared_inputs, processes_of, stage_scratch, start
from pipeline.core.stage_inputs import StageInput, check_inputs
from pipeline.core.workspace import Artifacts, move_into_place
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
        InputError: There are translators, and a fold has too few real faces to score them, or the data set of the
            pretraining is not there; raised before training.
    """
    parameters, artifacts, device = start(root, JudgeParameters)
    earlier = [*prepared_inputs(artifacts), StageInput(artifacts.pretraining, "s2l prepare")]
    check_inputs(earlier, [artifacts.judge])
    if parameters.translators:
        known = read_faces(artifacts.faces, columns=["face_id", "label_name", "subject"])
        names = read_class_names(artifacts.faces)
        check_reference_faces(known, read_folds(artifacts.folds), names, parameters.scores)
    values = parameters.model_dump(mode="json", include={"seed", "judge"})
    inputs = {"faces": artifacts.faces, "folds": artifacts.folds, "pretraining": artifacts.pretraining}
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
            pretraining=_pretraining(artifacts, parameters.judge.pretraining.steps),
        )
        write_json(artifacts.measurements("judge"), take_measurements(scratch / "out"))
        move_into_place(scratch / "out", artifacts.judge)


def _pretraining(artifacts: Artifacts, steps: int) -> Pretraining | None:
    """The faces that the judge learns from first, as `prepare` left them; None where it learns from none.

    Raises:
        InputError: `prepare` ran without a pretraining, and now there is one.
    """
    if not steps:
        return None
    about = read_json_object(artifacts.pretraining / "about.json")
    if about["title"] is None:
        raise InputError(Problem(str(artifacts.pretraining), "has no faces to learn from first", "run s2l prepare"))
    return Pretraining(artifacts.pretraining / "faces", steps, str(about["title"]), frozenset(about["left_out"]))
