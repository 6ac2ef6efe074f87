"""Trains the face parsing network of each fold."""

from __future__ import annotations

import logging
from pathlib import Path

from pydantic import Field

from augment.core.json_files import write_json
from augment.core.seeding import derive_seed
from augment.core.training_checkpoints import TrainingCheckpoints
from augment.faces.splits import read_folds
from augment.parsing.network import save_parsing
from augment.parsing.scores import parsing_statistics
from augment.parsing.teachers import choose_teachers, teacher_terms
from augment.parsing.training import train_parsing
from pipeline.core.stage import CommonParameters, prepared_inputs, run_folds, stage_scratch, start
from pipeline.core.stage_inputs import check_inputs
from pipeline.core.workspace import Artifacts, fold_directory, move_into_place
from pipeline.measured_fields import take_measurements
from pipeline.parameters.parsing import ParsingStage
from pipeline.stages.folds import faces_of_fold, fold_numbers

LOG = logging.getLogger(__name__)


class ParsingParameters(CommonParameters):
    """The parameters that this stage reads."""

    parsing: ParsingStage = Field(default_factory=ParsingStage)


def parsing(root: Path) -> None:
    """Trains the parsing network of each fold, or writes why there is none."""
    parameters, artifacts, device = start(root, ParsingParameters)
    check_inputs(prepared_inputs(artifacts), [artifacts.parsing])
    values = parameters.model_dump(mode="json", include={"seed", "parsing"})
    inputs = {"faces": artifacts.faces, "folds": artifacts.folds}
    with stage_scratch("parsing", artifacts, parameters, values, inputs) as scratch:
        built = scratch / "out"
        calls = [
            {
                "parameters": parameters,
                "root": root,
                "fold": fold,
                "folder": fold_directory(built, fold),
                "kept": fold_directory(scratch / "training", fold),
                "device": str(device),
            }
            for fold in fold_numbers(read_folds(artifacts.folds))
            if not (fold_directory(built, fold) / "report.json").is_file()
        ]
        run_folds(_parsing_of_fold, calls, parameters, device)
        write_json(artifacts.measurements("parsing"), take_measurements(built))
        move_into_place(built, artifacts.parsing)


def _parsing_of_fold(
    *, parameters: ParsingParameters, root: Path, fold: int, folder: Path, kept: Path, device: str
) -> None:
    """Trains the parsing network of a fold into a folder; its report is written last.

    Unfinished, it is kept in another; what it depends on beside the device has a hash in the scratch folder's name."""
    artifacts = Artifacts(root)
    faces = faces_of_fold(artifacts, fold)
    folder.mkdir(parents=True, exist_ok=True)
    lesson = (
        choose_teachers(faces["train"], faces.get("validation"), parameters.parsing.teacher, workspace=artifacts.root)
        if parameters.parsing.enabled
        else "parsing.enabled is false"
    )
    if isinstance(lesson, str):
        LOG.info(f"no parsing network: {lesson}")
        write_json(folder / "report.json", {"available": False, "reason": lesson})
        return
    seed = derive_seed(parameters.seed, "parsing", fold)
    checkpoints = TrainingCheckpoints(kept, {"seed": seed, "device": device})
    network, facts = train_parsing(
        lesson.teachers, lesson.validation, parameters.parsing.training, seed, device, lesson.held_out, checkpoints
    )
    # On the run's own faces, with or without known masks.
    facts["own"] = parsing_statistics(network, faces["validation"].images) if "validation" in faces else None
    if terms := teacher_terms(lesson.teachers):
        facts["teacher_terms"] = [line.model_dump(mode="json") for line in terms]
    save_parsing(network, folder / "weights.safetensors")
    write_json(folder / "report.json", {"available": True, **facts})
    checkpoints.forget()
