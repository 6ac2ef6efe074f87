"""Generates n faces per class with a translator, each fold from its own training faces."""

from __future__ import annotations

import logging
import shutil
from dataclasses import dataclass
from pathlib import Path

from augment.core.errors import InputError, Problem
from augment.core.files import sha256_of_file
from augment.core.json_files import read_json_object, write_json
from augment.core.precision import PrecisionChoice
from augment.faces.parent_card import write_parent_card
from augment.faces.splits import read_folds
from augment.faces.tensors import FaceTensors
from augment.synthesis.generate import synthesize as synthesize_faces
from augment.translators import load_translator
from augment.translators.base import CannotTranslateError, Translator
from pipeline.core.devices import gpus_for
from pipeline.core.sections import Name, named
from pipeline.core.stage import (
    CommonParameters,
    configuration_hash,
    prepared_inputs,
    processes_of,
    stage_scratch,
    start,
)
from pipeline.core.stage_inputs import StageInput, check_inputs
from pipeline.core.workspace import LICENCE_FILE, REFUSAL_FILE, Artifacts, fold_directory, move_into_place
from pipeline.parameters.synthesis import SynthesisSection
from pipeline.stages.cards import read_licence, update_card_of_all
from pipeline.stages.folds import each_fold, faces_of_fold
from pipeline.stages.refusals import RefusableEntry, pass_refusal_on

LOG = logging.getLogger(__name__)


class SynthesizeParameters(CommonParameters):
    """The parameters that this stage reads."""

    synthesis: SynthesisSection
    translators: dict[Name, RefusableEntry]


def synthesize(root: Path, name: str) -> None:
    """Generates n faces per class, each fold from its own training faces."""
    parameters, artifacts, device = start(root, SynthesizeParameters)
    entry = named(parameters.translators, name, "translator")
    trained = StageInput(artifacts.translator(name), f"s2l train {name}")
    check_inputs([*prepared_inputs(artifacts), trained], [artifacts.synthetic(name)])
    if pass_refusal_on(artifacts.translator(name), artifacts.synthetic(name)):
        update_card_of_all(artifacts, artifacts.all_synthetic)
        return
    settings = parameters.synthesis.of(name)
    values = {"seed": parameters.seed, "synthesis": settings.model_dump(mode="json")}
    inputs = {"folds": artifacts.folds, "translator": artifacts.translator(name)}
    # Shards of one kind of device are not gone on with on another.
    with stage_scratch("synthesize", artifacts, parameters, {**values, "device": device.type}, inputs, name) as scratch:
        licence = read_licence(artifacts.translator(name) / LICENCE_FILE)
        folds = read_folds(artifacts.folds)
        try:
            for fold, faces in each_fold(artifacts):
                weights = fold_directory(artifacts.translator(name), fold) / "weights.safetensors"
                train_faces = faces["train"].to(device)
                report = synthesize_faces(
                    load_translator(weights, device),
                    train_faces,
                    settings,
                    out=fold_directory(scratch / "out", fold),
                    seed=parameters.seed,
                    fold=fold,
                    translator_name=name,
                    weights_sha256=sha256_of_file(weights),
                    configuration_hash=configuration_hash(parameters, values, inputs),
                    class_names=train_faces.class_names,
                    device=device,
                    licence=licence,
                    folds=folds,
                    precision=_precision_of(weights.parent / "training.json"),
                    reload=_Reload(root, name, fold),
                    processes=processes_of(parameters, device),
                    threads=parameters.runtime.threads,
                    gpus=gpus_for(str(device)),
                )
                speed = f", {report.images_per_second:.0f} images/s" if report.images_per_second else ""
                LOG.info(
                    f"{name}, fold {fold}: {sum(report.faces.values())} faces from {report.sources} sources{speed}"
                )
            write_parent_card(scratch / "out", name=name, title=f"Synthetic faces by {name}, fold by fold")
        except CannotTranslateError as error:
            if entry.on_refusal == "stop":
                raise InputError(Problem(f"translators.{name}", str(error))) from error
            LOG.warning(f"translator {name} is refused: {error}")
            shutil.rmtree(scratch / "out", ignore_errors=True)
            write_json(scratch / "out" / REFUSAL_FILE, {"name": name, "reason": str(error)})
        move_into_place(scratch / "out", artifacts.synthetic(name))
    update_card_of_all(artifacts, artifacts.all_synthetic)


@dataclass(frozen=True)
class _Reload:
    """A fold's translator and training faces, read again by a process that makes some of the shards."""

    root: Path
    name: str
    fold: int

    def __call__(self, device: str) -> tuple[Translator, FaceTensors]:
        artifacts = Artifacts(self.root)
        weights = fold_directory(artifacts.translator(self.name), self.fold) / "weights.safetensors"
        return load_translator(weights, device), faces_of_fold(artifacts, self.fold)["train"].to(device)


def _precision_of(training: Path) -> PrecisionChoice | None:
    """In which precision a translator was trained; None for one without networks."""
    found = read_json_object(training).get("precision")
    return None if found is None else PrecisionChoice.model_validate(found)
