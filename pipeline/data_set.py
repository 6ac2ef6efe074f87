"""Opens the run's data set and refuses what can be refused before a picture is read."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from augment.core.errors import InputError, Problem
from augment.faces.fold_choice import choose_folds
from augment.faces.rare import rare_problems
from augment.faces.splits import FoldSettings
from augment.prepare.annotation import check_annotation
from augment.prepare.prepare import wanted_classes
from augment.sources import Source, open_source, source_names
from augment.sources.base import known_splits, reading_notes
from augment.sources.terms import licence_of
from pipeline.parameters.dataset import DatasetSettings
from pipeline.parameters.pretraining import PretrainingSettings

LOG = logging.getLogger(__name__)


def open_data_set(dataset: DatasetSettings, root: Path) -> Source:
    """Opens the data set of a run.

    Args:
        dataset: The section of params.yaml.
        root: The workspace, to which `dataset.root` is relative.

    Raises:
        InputError: A setting is unknown, the data is missing, or it has another layout.
    """
    settings = dict(dataset.settings)
    if dataset.source in ("rig", "joint"):
        # Embedded faces are drawn at the run's size rather than scaled to it.
        settings = {"size": dataset.image_size, "channels": dataset.channels, **settings}
    if dataset.source == "rig":
        return open_source("rig", None, **settings)
    return open_source(dataset.source, root / dataset.root, **settings)


def pretraining_data_set(pretraining: PretrainingSettings, dataset: DatasetSettings) -> DatasetSettings | None:
    """The data set that the judge learns from first, read as the run's own is; None where it learns from none.

    Raises:
        InputError: There is no such source.
    """
    if not pretraining.steps:
        return None
    if pretraining.source not in source_names():
        why = f"{pretraining.source!r} is no source"
        fix = f"use one of {', '.join(source_names())}"
        raise InputError(Problem("params.yaml: judge.pretraining.source", why, fix))
    return DatasetSettings(
        source=pretraining.source,
        root=pretraining.root,
        image_size=dataset.image_size,
        channels=dataset.channels,
        classes=pretraining.classes,
        licence=pretraining.licence,
        annotation=dataset.annotation.model_copy(update={"simulated": False}),
        settings=pretraining.settings,
    )


@contextmanager
def naming_pretraining() -> Iterator[None]:
    """Says of problems of the block that they are the pretraining's, not the run's own data set's."""
    try:
        yield
    except InputError as error:
        problems = [replace(problem, where=f"judge.pretraining: {problem.where}") for problem in error.problems]
        raise InputError(problems or f"judge.pretraining: {error}") from error


def open_pretraining(pretraining: DatasetSettings, root: Path) -> Source:
    """Opens the data set that the judge learns from first, and refuses what can be refused before a picture is read.

    Raises:
        InputError: It can't be opened, its licence is unknown, a wanted class is unknown, or fewer than two are wanted.
    """
    with naming_pretraining():
        source = open_data_set(pretraining, root)
        licence_of(source, pretraining.licence, where="licence")
        classes = wanted_classes(source, pretraining.classes)
        if len(classes) < 2:
            why = f"{len(classes)} class{'' if len(classes) == 1 else 'es'}, of which nothing can be told apart"
            raise InputError(Problem("classes", why, "name two or more, or null for all"))
    return source


def check_data_set(dataset: DatasetSettings, folds: FoldSettings, source: Source) -> None:
    """Checks the data set before any picture is read, and logs which splits will be used.

    Raises:
        InputError: The licence of the faces is unknown, the packages that find landmarks are not installed, a class of
            `classes` is unknown, there is only one class, `rare` names an unknown one, the source's own splits can't be
            kept, or there are more folds than subjects (where the source knows its splits and subjects beforehand).
    """
    problems: list[Problem] = []
    try:
        licence_of(source, dataset.licence, where="params.yaml: dataset.licence")
    except InputError as error:
        problems += error.problems
    try:
        check_annotation(dataset.annotation)
    except InputError as error:
        problems += error.problems
    if dataset.attribute == "expression":  # classes of another attribute are known once faces are read
        problems += _class_problems(dataset, source)
    for note in reading_notes(source):
        LOG.info(f"{dataset.source}: {note}")
    choice = None
    own = known_splits(source) if dataset.classes is None else None
    if own is not None:
        try:
            choice = choose_folds(own, folds)
            LOG.info(f"folds: {choice.sentence}")
        except InputError as error:
            problems += [replace(problem, where=f"params.yaml: {problem.where}") for problem in error.problems]
    population = getattr(source, "population", None)
    if population is not None and choice is not None and choice.kind == "subjects":
        subjects = {spec.subject_name for spec in population.specs} - {None}
        if subjects and folds.folds > len(subjects):
            why = f"{folds.folds} folds of {len(subjects)} subjects"
            problems.append(Problem("params.yaml: folds.folds", why, f"use at most {len(subjects)}, or more subjects"))
    if problems:
        raise InputError(problems)


def _class_problems(dataset: DatasetSettings, source: Source) -> list[Problem]:
    """What is wrong with the classes of the run, and with those that it makes rare."""
    try:
        classes = wanted_classes(source, dataset.classes, where="params.yaml: dataset.classes")
    except InputError as error:
        return list(error.problems)
    problems = []
    if len(classes) < 2 and dataset.classes is None:
        why = f"{dataset.source} has one class, {', '.join(classes)}: nothing to translate or classify"
        fix = getattr(source, "purpose", "use faces of two or more classes")
        problems.append(Problem("params.yaml: dataset.source", why, fix))
    elif len(classes) < 2:
        why = f"one class, {classes[0]}: nothing to translate or classify"
        problems.append(Problem("params.yaml: dataset.classes", why, "name two or more, or null for all"))
    if dataset.rare is not None:
        problems += [
            replace(problem, where=f"params.yaml: {problem.where}") for problem in rare_problems(dataset.rare, classes)
        ]
    return problems
