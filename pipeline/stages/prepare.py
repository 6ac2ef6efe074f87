"""Converts the data set into the table of faces, and assigns subject-disjoint folds."""

from __future__ import annotations

import logging
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, Field

from augment.core.errors import InputError, Problem
from augment.core.json_files import write_json
from augment.faces.fold_choice import SET_ASIDE, report_folds
from augment.faces.leakage import check_leakage
from augment.faces.other_data_set import people_of_both, pictures_of_both
from augment.faces.rare import set_aside_rare
from augment.faces.splits import FoldSettings, assign_folds, write_folds
from augment.faces.table import SPLITS, read_faces
from augment.prepare.prepare import PreparationReport, prepare_faces, write_report
from augment.prepare.unchanged import unchanged
from augment.sources import Source
from pipeline.core.devices import processes_for
from pipeline.core.stage import CommonParameters, stage_scratch, start
from pipeline.core.stage_inputs import check_inputs
from pipeline.core.workspace import Artifacts, move_into_place
from pipeline.data_set import (
    check_data_set,
    naming_pretraining,
    open_data_set,
    open_pretraining,
    pretraining_data_set,
)
from pipeline.parameters.dataset import DatasetSettings
from pipeline.parameters.pretraining import PretrainingSettings
from pipeline.stages.folds import fold_numbers
from reports.metrics.reference_faces import check_reference_faces
from reports.settings import ScoreSettings

LOG = logging.getLogger(__name__)


class _PretrainingOfJudge(BaseModel):
    """What this stage reads of the judge's section."""

    pretraining: PretrainingSettings = Field(default_factory=PretrainingSettings)


class PrepareParameters(CommonParameters):
    """The parameters that this stage reads."""

    dataset: DatasetSettings
    folds: FoldSettings
    judge: _PretrainingOfJudge
    scores: ScoreSettings


def prepare(root: Path, quarantine: Path | None = None) -> None:
    """Converts the data set into the table of faces and its folds; leakage between splits is refused or counted."""
    parameters, artifacts, _ = start(root, PrepareParameters)
    dataset = parameters.dataset
    source = open_data_set(dataset, root)
    check_data_set(dataset, parameters.folds, source)
    if quarantine is None and dataset.quarantine:
        quarantine = root / dataset.quarantine
    first = pretraining_data_set(parameters.judge.pretraining, dataset)
    other_source = None if first is None else open_pretraining(first, root)
    roots = [root / part.root for part in (dataset, first) if part is not None]
    lists = [] if quarantine is None else [quarantine, _quarantine_of_pretraining(quarantine)]
    check_inputs([], [artifacts.faces, artifacts.pretraining])
    values = parameters.model_dump(mode="json", include={"seed", "dataset", "folds", "judge"})
    with stage_scratch("prepare", artifacts, parameters, values, {}) as scratch:
        workers = processes_for(parameters.runtime.processes, "cpu")
        with unchanged(roots, but=lists):
            report = _convert(source, dataset, scratch / "faces", artifacts, workers, quarantine)
            if there := _classes_to_read_again(report, dataset):
                fewer = dataset.model_copy(update={"classes": there})
                report = _convert(source, fewer, scratch / "faces", artifacts, workers, quarantine)
            _say_what_was_read(report, quarantine)
            faces = read_faces(scratch / "faces")
            _prepare_folds(report, faces, parameters, scratch)
            _prepare_pretraining(
                first, other_source, scratch / "pretraining", artifacts, workers, faces, quarantine, dataset
            )
        move_into_place(scratch / "pretraining", artifacts.pretraining)
        move_into_place(scratch / "faces", artifacts.faces)
        move_into_place(scratch / "folds.parquet", artifacts.folds)


def _prepare_folds(report: PreparationReport, faces: pa.Table, parameters: PrepareParameters, scratch: Path) -> None:
    """Assigns folds, makes classes rare, and refuses what of one split leaks into another."""
    duplicates = pq.read_table(scratch / "faces" / "duplicates.parquet")
    folds = assign_folds(faces, parameters.folds, parameters.seed, duplicates=duplicates)
    if parameters.dataset.rare is not None:
        folds = set_aside_rare(faces, folds, parameters.dataset.rare, report.class_names, parameters.seed)
    write_folds(folds, scratch / "folds.parquet")
    _report_folds(report, faces, folds, parameters, scratch / "faces")
    for fold in fold_numbers(folds):
        check_leakage(faces, folds, fold=fold, pictures=True, duplicates=duplicates)


def _classes_to_read_again(report: PreparationReport, data_set: DatasetSettings) -> list[str]:
    """The classes that have a face, where some have none: translators would be asked for them, and nothing learns them.

    Returns:
        Empty where every class has a face.

    Raises:
        InputError: A class without a face was asked for by name, or fewer than two have one.
    """
    there = [name for name in report.class_names if sum(report.counts.get(name, {}).values())]
    empty = [name for name in report.class_names if name not in there]
    if not empty:
        return []
    why = f"there is no face of {', '.join(empty)}, which nothing can learn"
    if data_set.classes is not None:
        raise InputError(Problem("params.yaml: dataset.classes", why, "take it out of the list"))
    if len(there) < 2:
        raise InputError(Problem("the data set", why, "give faces of two classes or more"))
    LOG.warning(f"{why}: left out, and the others are read again without it")
    return there


def _say_what_was_read(report: PreparationReport, quarantine: Path | None) -> None:
    if report.problems:
        LOG.warning(f"{report.problems:,} problems of the source are left out, and listed in {quarantine}")
    for name, others in report.subject_spellings.items():
        LOG.info(f"subject {name!r} is also written {', '.join(map(repr, others))}: taken for one person")


def _convert(
    source: Source, data_set: DatasetSettings, out: Path, artifacts: Artifacts, workers: int, quarantine: Path | None
) -> PreparationReport:
    return prepare_faces(
        source,
        out,
        image_size=data_set.image_size,
        channels=data_set.channels,
        classes=data_set.classes,
        attribute=data_set.attribute,
        pose_step=data_set.pose_step,
        licence=data_set.licence,
        annotation=data_set.annotation,
        annotation_cache=artifacts.scratch / "annotation",
        workers=workers,
        quarantine=quarantine,
    )


def _prepare_pretraining(
    data_set: DatasetSettings | None,
    source: Source | None,
    out: Path,
    artifacts: Artifacts,
    workers: int,
    own: pa.Table,
    quarantine: Path | None,
    run: DatasetSettings,
) -> None:
    """Converts the faces that the judge learns from first; of none it writes that there are none.

    Raises:
        InputError: A face can't be read and there is no quarantine, or people or all pictures are the run's own.
    """
    out.mkdir(parents=True, exist_ok=True)
    if data_set is None or source is None:
        write_json(out / "about.json", {"title": None})
        return
    title = getattr(source, "title", f"{data_set.source}: {Path(data_set.root).name}")
    if quarantine is not None:
        quarantine = _quarantine_of_pretraining(quarantine)
    with naming_pretraining():
        _convert(source, data_set, out / "faces", artifacts, workers, quarantine)
    other = read_faces(out / "faces", columns=["face_id", "image", "subject", "source"])
    if people := people_of_both(other, own, _parts_of(data_set), _parts_of(run)):
        shown = ", ".join(people[:3]) + (", ..." if len(people) > 3 else "")
        why = f"{len(people):,} people are the run's own ({shown}), whose test faces must not be learned"
        raise InputError(Problem("params.yaml: judge.pretraining", why, "choose another data set"))
    both = pictures_of_both(other, own)
    if len(both) == len(other):
        why = f"all of its {len(other):,} pictures are the run's own, whose test faces must not be learned"
        raise InputError(Problem("params.yaml: judge.pretraining", why, "choose another data set"))
    if both:
        LOG.warning(
            f"judge.pretraining: {len(both):,} of {len(other):,} pictures of {title} are left out, as they are the "
            f"same as pictures of the run's own, or look so; {next(iter(both))} looks like {next(iter(both.values()))}"
        )
    write_json(out / "about.json", {"title": title, "left_out": both})


def _quarantine_of_pretraining(quarantine: Path) -> Path:
    return quarantine.with_name(f"pretraining-{quarantine.name}")


def _parts_of(data_set: DatasetSettings) -> dict[str, str]:
    """The source of each part of a joint data set, by the part's name; empty for others."""
    if data_set.source != "joint":
        return {}
    return {part["data_set"]: part["source"] for part in data_set.settings["parts"]}


def _report_folds(
    report: PreparationReport, faces: pa.Table, folds: pa.Table, parameters: PrepareParameters, directory: Path
) -> None:
    """Adds the run's folds to the preparation's report; logs their origin, and warns if they are too small for scores.

    The table of faces is useful without scores, so too few faces are not an error here; the judge's stage refuses them.
    """
    found = report_folds(faces, folds, parameters.folds, report.class_names)
    write_report(report.model_copy(update={"folds": found}), directory)
    LOG.info(f"folds: {found.choice.sentence}")
    for fold, counts in enumerate(found.counts):
        totals = {split: sum(by_split.get(split, 0) for by_split in counts.values()) for split in (*SPLITS, SET_ASIDE)}
        aside = totals.pop(SET_ASIDE)
        LOG.info(
            f"fold {fold}: "
            + ", ".join(f"{split} {total:,}" for split, total in totals.items())
            + (f"; set aside {aside:,} (dataset.rare)" if aside else "")
        )
        for split in ("validation", "test"):
            if absent := [name for name in report.class_names if not counts.get(name, {}).get(split)]:
                LOG.warning(
                    f"fold {fold} has no {split} face of {', '.join(absent)}, so that nothing is measured of it there: "
                    "pictures of more people are needed"
                )
    if found.choice.kind == "subjects" and faces.column("subject").null_count == len(faces):
        LOG.warning(
            "no person is known: one person's faces may both teach and test, which flatters every arm (where paths or "
            "a column tell people apart, say how: dataset.settings)"
        )
    try:
        check_reference_faces(faces, folds, report.class_names, parameters.scores)
    except InputError as error:
        LOG.info(f"warning: no translator can be scored on these folds: {error}")
