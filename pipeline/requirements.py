"""Compares what a run's translators require with what its data set provides, before any face is read."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ValidationError

from augment.core.errors import InputError, Problem
from augment.sources import Source
from augment.sources.base import known_annotations
from augment.translators import translator_class
from augment.translators.base import unknown_neutral_class
from pipeline.data_set import open_data_set
from pipeline.parameters.dataset import DatasetSettings
from pipeline.parameters.whole import Parameters, load_parameters

LOG = logging.getLogger(__name__)

# `own_class` is always met: every training face has a label.
_MISSING = {
    "landmarks": (
        "needs landmarks, and no face of this data set will have any",
        "detect them (add landmarks=dlib to the words of `s2l profile`), or use a translator or settings without",
    ),
    "simulated": (
        "needs simulated frontal faces, and no face of this data set will have one",
        "fit them (dataset.annotation.simulated=true, which needs landmarks), or use embedded faces with "
        "dataset.settings.simulated=true",
    ),
}


def available_annotations(dataset: DatasetSettings, source: Source) -> frozenset[str] | None:
    """Which of `landmarks` and `simulated` the table of faces can contain.

    Args:
        dataset: The data set's settings; annotations that they compute count as available.
        source: The open source; no picture of it is read.

    Returns:
        None if the source does not know its faces' annotations beforehand.
    """
    known = known_annotations(source)
    if known is None:
        return None
    found = set(known)
    if dataset.annotation.landmarks.detector != "none":
        found.add("landmarks")
    if dataset.annotation.simulated and "landmarks" in found:
        found.add("simulated")
    return frozenset(found)


def classes_not_taught(settings: BaseModel, classes: Sequence[str]) -> list[str]:
    """Classes that a translator is to learn from embedded people (`teacher: embedded`), and that these do not show.

    Args:
        settings: Of the translator.
        classes: Names of the run's classes.

    Returns:
        Their names; empty for a translator that learns from the training faces.
    """
    if getattr(settings, "teacher", "own") != "embedded":
        return []
    from augment.translators.embedded_people import classes_not_shown  # torch, which most runs have no need of here

    return classes_not_shown(classes)


def _teach_problem(where: str, method: str, unknown: Sequence[str]) -> Problem:
    """Says which classes embedded people do not show, and under which name they may."""
    from augment.rig import EXPRESSIONS
    from augment.translators.embedded_people import not_shown

    pairs = [(name, difflib.get_close_matches(name.lower(), EXPRESSIONS, n=1, cutoff=0.8)) for name in unknown]
    renamed = [f"{name} to {close[0]}" for name, close in pairs if close]
    rename = f"rename {', '.join(renamed)}" if renamed else "give the classes those names if they are the same"
    return Problem(where, not_shown(method, unknown), f"{rename}, or choose among theirs (dataset.classes)")


def unmet_requirements(parameters: Parameters, source: Source) -> dict[str, list[Problem]]:
    """The requirements of each translator that no face of the data set can meet, and classes that nobody can teach it.

    Args:
        parameters: The run's parameters; translators with invalid settings are skipped.
        source: The open source; no picture of it is read.

    Returns:
        Problems by the translator's name in the run, only for translators that have some. What can't be known without
        reading the faces is left out.
    """
    available = available_annotations(parameters.dataset, source)
    unmet: dict[str, list[Problem]] = {}
    for name, entry in parameters.translators.items():
        try:
            method = translator_class(entry.method)
            settings = method.Settings.model_validate(entry.settings)
        except (InputError, ValidationError):  # reported by the check of the parameters
            continue
        where = f"params.yaml: translators.{name}"
        required = method.requires_for(settings) - available if available is not None else frozenset()
        problems = [
            Problem(where, f"{entry.method} {why}", fix) for item, (why, fix) in _MISSING.items() if item in required
        ]
        names = parameters.dataset.classes or source.class_names
        unknown = classes_not_taught(settings, names)
        if unknown:
            problems.append(_teach_problem(where, entry.method, unknown))
        # Classes of another attribute are known once the faces are read.
        if parameters.dataset.attribute == "expression" and (why := unknown_neutral_class(settings, names)):
            problems.append(Problem(where, why, "name one of these, or leave the setting out"))
        if problems:
            unmet[name] = problems
    return unmet


def check_requirements(parameters: Parameters, source: Source) -> None:
    """Reports translators whose requirements this data set can't meet, according to their `on_refusal`.

    Args:
        parameters: The run's parameters.
        source: The open source; no picture of it is read.

    Raises:
        InputError: A translator with `on_refusal: stop` can't work on this data set. For one with `on_refusal: report`
            a warning is logged, and the run continues without it.
    """
    stopping = []
    for name, problems in unmet_requirements(parameters, source).items():
        if parameters.translators[name].on_refusal == "stop":
            stopping += problems
        else:
            for problem in problems:
                LOG.warning(f"translator {name} will be refused: {problem.why} ({problem.fix})")
    if stopping:
        raise InputError(stopping)


def check_run(root: Path) -> None:
    """Checks params.yaml whole, and what its translators require of its data set.

    Args:
        root: The workspace. A data set that can't be opened is the business of the stage that reads it: the later ones
            may run on another machine.

    Raises:
        InputError: As `check_requirements`; or params.yaml can't be run.
    """
    parameters = load_parameters(root / "params.yaml")
    try:
        source = open_data_set(parameters.dataset, root)
    except InputError:
        return
    check_requirements(parameters, source)


def check_landmark_arms(parameters: Parameters, source: Source) -> None:
    """Warns of arms that learn from landmarks where no face will have any, which are refused when they are run.

    Args:
        parameters: The run's parameters.
        source: The open source; no picture of it is read.

    Raises:
        InputError: All others are compared with such an arm (`report.baseline_arm`), or there is no other.
    """
    available = available_annotations(parameters.dataset, source)
    arms = parameters.arms.all()
    refused = [name for name, arm in arms.items() if arm.kind == "landmark_lda"]
    if available is None or "landmarks" in available or not refused:
        return
    _, fix = _MISSING["landmarks"]
    why = "learns from landmarks, and no face of this data set will have any"
    if parameters.report.baseline_arm in refused:
        baseline = parameters.report.baseline_arm
        raise InputError(Problem("params.yaml: report.baseline_arm", f"{baseline} {why}", "name another, or none"))
    if len(refused) == len(arms):
        raise InputError([Problem(f"params.yaml: arms.{arms[name].group}.{name}", why, fix) for name in refused])
    for name in refused:
        LOG.warning(f"arm {name} will be refused: it {why} ({fix})")
