"""Trains a translator on the training faces of each fold."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from augment.core.errors import InputError, Problem
from augment.core.json_files import read_json_object, write_json
from augment.core.ranks import run_on_ranks
from augment.core.seeding import derive_seed
from augment.faces.licences import LicenceLine
from augment.faces.splits import read_folds
from augment.parsing.network import load_parsing
from augment.training.distances import DISTANCES_FILE, DistanceLog
from augment.training.loop import train_translator
from augment.training.validation import checkpoint_validation
from augment.translators import create_translator, translator_class
from augment.translators.base import CannotTranslateError, LearnedTranslator, Translator, UsesParsing
from pipeline.core.sections import Name, named
from pipeline.core.stage import CommonParameters, prepared_inputs, run_folds, stage_scratch, start
from pipeline.core.stage_inputs import StageInput, check_inputs
from pipeline.core.workspace import (
    LICENCE_FILE,
    REFUSAL_FILE,
    Artifacts,
    fold_directory,
    move_into_place,
)
from pipeline.measured_fields import take_measurements
from pipeline.parameters.translators import TranslatorEntry
from pipeline.stages.cards import read_licence
from pipeline.stages.folds import faces_of_fold, fold_numbers

LOG = logging.getLogger(__name__)


class TrainParameters(CommonParameters):
    """The parameters that this stage reads."""

    translators: dict[Name, TranslatorEntry]


def train(root: Path, name: str) -> None:
    """Trains a translator on each fold, or writes why it can't be trained on these faces."""
    parameters, artifacts, device = start(root, TrainParameters)
    entry = named(parameters.translators, name, "translator")
    earlier = [StageInput(artifacts.judge, "s2l judge"), StageInput(artifacts.parsing, "s2l parsing")]
    check_inputs([*prepared_inputs(artifacts), *earlier], [artifacts.translator(name)])
    values = {"seed": parameters.seed, "name": name, "translator": entry.model_dump(mode="json")}
    inputs = {
        "faces": artifacts.faces,
        "folds": artifacts.folds,
        "judge": artifacts.judge,
        "parsing": artifacts.parsing,
    }
    with stage_scratch("train", artifacts, parameters, values, inputs, name) as scratch:
        built = scratch / "out"
        built.mkdir(exist_ok=True)
        licence = read_licence(artifacts.faces / "report.json")
        try:
            numbers = fold_numbers(read_folds(artifacts.folds))
            if issubclass(translator_class(entry.method), UsesParsing):
                for fold in numbers:
                    network = fold_directory(artifacts.parsing, fold)
                    if (network / "weights.safetensors").is_file():
                        licence = licence.with_lines(_parsing_terms(network / "report.json"))
            calls = [
                {
                    "parameters": parameters,
                    "root": root,
                    "name": name,
                    "fold": fold,
                    "out": fold_directory(built, fold),
                    "scratch": fold_directory(scratch / "checkpoints", fold),
                    "device": str(device),
                }
                for fold in numbers
            ]
            _train_folds(calls, parameters, device, translator_class(entry.method))
            write_json(built / LICENCE_FILE, {"licence": licence.model_dump(mode="json")})
        except CannotTranslateError as error:
            if entry.on_refusal == "stop":
                raise InputError(Problem(f"translators.{name}", str(error))) from error
            LOG.warning(f"translator {name} is refused: {error}")
            write_json(built / REFUSAL_FILE, {"name": name, "reason": str(error)})
        write_json(artifacts.measurements(f"train-{name}"), take_measurements(built))
        move_into_place(built, artifacts.translator(name))


def _train_folds(
    calls: Sequence[Mapping[str, Any]], parameters: TrainParameters, device: torch.device, method: type[Translator]
) -> None:
    """Trains the folds at once, in processes of their own, or one after another where ranks share each training."""
    runtime = parameters.runtime
    if runtime.ranks == 1 or not issubclass(method, LearnedTranslator):  # one fitted at once has no batches to divide
        run_folds(_train_fold, calls, parameters, device)
        return
    for call in calls:
        run_on_ranks(_train_fold, call, count=runtime.ranks, threads=runtime.threads)


def _train_fold(
    *, parameters: TrainParameters, root: Path, name: str, fold: int, out: Path, scratch: Path, device: str
) -> None:
    """Trains a translator on a fold's training faces; its checkpoint is chosen on the validation faces."""
    artifacts, entry = Artifacts(root), named(parameters.translators, name, "translator")
    faces = faces_of_fold(artifacts, fold)
    seed = derive_seed(parameters.seed, "translator", name, fold)
    translator = create_translator(
        entry.method,
        num_classes=len(faces["train"].class_names),
        channels=faces["train"].channels,
        size=faces["train"].size,
        settings=entry.settings,
        seed=seed,
    ).to(device)
    weights = fold_directory(artifacts.parsing, fold) / "weights.safetensors"
    if weights.is_file() and isinstance(translator, UsesParsing):
        translator.attach_parsing(load_parsing(weights, device))
    validation = faces["validation"].to(device)
    validate = None
    if isinstance(translator, LearnedTranslator):
        from classifiers.judge import load_judge  # a slow import that fitted translators don't need

        judge = load_judge(artifacts.judge, fold, device)
        validate = checkpoint_validation(
            judge,
            validation,
            seed=seed,
            train=faces["train"].to(device),
            rule=entry.training.checkpoint_rule,
        )
        if validate is not None and entry.training.log_distances:
            validate = DistanceLog(validate, judge, validation, out / DISTANCES_FILE, seed=seed)
    train_translator(
        translator,
        faces["train"].to(device),
        validation,
        entry.training,
        out=out,
        scratch=scratch,
        seed=seed,
        device=device,
        validate=validate,
        precision_cache=artifacts.precision,
    )


def _parsing_terms(report: Path) -> tuple[LicenceLine, ...]:
    """The terms of the faces that a parsing network was trained on, other than the run's own or embedded ones."""
    return tuple(LicenceLine.model_validate(line) for line in read_json_object(report).get("teacher_terms", ()))
