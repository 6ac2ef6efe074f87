"""Judges a translator's faces: selects those to keep, and scores the translator."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from augment.faces.leakage import check_leakage
from augment.faces.parent_card import write_parent_card
from augment.faces.splits import read_folds
from augment.faces.table import iterate_faces, read_class_names, read_faces
from augment.synthesis.selection import SelectionSettings, select
from classifiers.judge import load_judge
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
from pipeline.core.workspace import fold_directory, move_into_place
from pipeline.stages.cards import update_card_of_all
from pipeline.stages.folds import fold_numbers
from pipeline.stages.refusals import pass_refusal_on
from reports.metrics.scores import score_translator
from reports.settings import ScoreSettings

LOG = logging.getLogger(__name__)


class AssessParameters(CommonParameters):
    """The parameters that this stage reads."""

    selection: SelectionSettings
    scores: ScoreSettings
    translators: dict[Name, Any]


def assess(root: Path, name: str) -> None:
    """Judges a translator's faces: selection first, then the scores."""
    parameters, artifacts, device = start(root, AssessParameters)
    named(parameters.translators, name, "translator")
    earlier = [
        StageInput(artifacts.judge, "s2l judge"),
        StageInput(artifacts.translator(name), f"s2l train {name}"),
        StageInput(artifacts.synthetic(name), f"s2l synthesize {name}"),
    ]
    check_inputs([*prepared_inputs(artifacts), *earlier], [artifacts.selected(name), artifacts.scores(name)])
    if pass_refusal_on(artifacts.synthetic(name), artifacts.selected(name), artifacts.scores(name)):
        update_card_of_all(artifacts, artifacts.all_selected)
        return
    faces = read_faces(artifacts.faces, columns=["face_id", "subject", "image"])
    folds, names = read_folds(artifacts.folds), read_class_names(artifacts.faces)
    judges = {fold: load_judge(artifacts.judge, fold, device) for fold in fold_numbers(folds)}
    values = parameters.model_dump(mode="json", include={"selection", "scores"})
    inputs = {"synthetic": artifacts.synthetic(name), "judge": artifacts.judge}
    with stage_scratch("assess", artifacts, parameters, {**values, "device": device.type}, inputs, name) as scratch:
        selected = scratch / "selected"
        for fold, fold_judge in judges.items():
            out = fold_directory(selected, fold)
            report = select(
                fold_directory(artifacts.synthetic(name), fold),
                out,
                fold_judge,
                parameters.selection,
                fold=fold,
                class_names=names,
                configuration_hash=configuration_hash(parameters, values, inputs),
            )
            kept = sum(report.kept.values())
            LOG.info(f"{name}, fold {fold}: {kept} of {sum(report.faces.values())} faces are kept")
            synthetic = iterate_faces(out, columns=["face_id", "source_id", "fold", "image"])
            checked = check_leakage(
                faces, folds, synthetic=synthetic, fold=fold, pictures="synthetic", cleared=artifacts.cleared
            )
            if near := checked.synthetic_near_held_out:
                LOG.warning(
                    f"{name}, fold {fold}: {near:,} of {checked.synthetic_faces:,} faces look like a validation or "
                    "test face, and so do the training faces that they were made from"
                )
        score_translator(
            name,
            faces_dir=artifacts.faces,
            folds_path=artifacts.folds,
            synthetic_dir=selected,
            translator_dir=artifacts.translator(name),
            judge_for_fold=judges.__getitem__,
            settings=parameters.scores,
            out=scratch / "scores" / "scores.json",
            device=device,
            cache=artifacts.scratch / "features",
            precision_cache=artifacts.precision,
            processes=processes_of(parameters, device),
            threads=parameters.runtime.threads,
            gpus=gpus_for(str(device)),
        )
        write_parent_card(selected, name=name, title=f"Selected synthetic faces by {name}, fold by fold")
        move_into_place(selected, artifacts.selected(name))
        move_into_place(scratch / "scores", artifacts.scores(name))
    update_card_of_all(artifacts, artifacts.all_selected)
