"""Checks all of params.yaml and the data set, without running anything."""

from __future__ import annotations

import logging
from pathlib import Path

import torch

from augment.core.errors import InputError, Problem
from augment.sources import open_source
from pipeline.core.devices import choose_device
from pipeline.core.messages import RESULT
from pipeline.core.project import git_advice
from pipeline.data_set import check_data_set, open_data_set, open_pretraining, pretraining_data_set
from pipeline.parameters.whole import load_parameters
from pipeline.requirements import check_requirements

LOG = logging.getLogger(__name__)


def check(root: Path) -> None:
    """Checks all of params.yaml, and that the data set can be opened.

    Raises:
        InputError: Lists what can't be run. That includes a run without translators, of which only the stages before
            them can be.
    """
    parameters = load_parameters(root / "params.yaml")
    if not parameters.translators:
        why = "is empty, and the report reads the folders that a translator's stages write"
        raise InputError(Problem("params.yaml: translators", why, "keep warp, which costs seconds; no arm needs it"))
    device = choose_device(parameters.runtime.device)
    LOG.debug("torch %s on %s", torch.__version__, device)
    source = open_data_set(parameters.dataset, root)
    check_data_set(parameters.dataset, parameters.folds, source)
    check_requirements(parameters, source)
    teacher = parameters.parsing.teacher
    if parameters.parsing.enabled and teacher.has_helen:
        open_source("helen", root / teacher.root, **teacher.settings)
    if (first := pretraining_data_set(parameters.judge.pretraining, parameters.dataset)) is not None:
        open_pretraining(first, root)
    for name, arm in parameters.arms.all().items():
        if arm.kind == "oversampled" and parameters.classifier.class_balanced:
            why = "draws every class alike, and so do all arms by classifier.class_balanced"
            LOG.warning(f"arm {name}: {why}; it is a `real` arm over again (leave one out)")
        elif arm.fill_to is not None and arm.balanced(parameters.classifier):
            why = "fills classes up, and by class_balanced draws every class alike however many faces it has"
            LOG.warning(
                f"arm {name}: {why}; what it shows is not what comes of more faces of a class (set it to false)"
            )
    learned_from = {translator for arm in parameters.arms.all().values() for translator in arm.translators}
    if unused := [name for name in parameters.translators if name not in learned_from]:
        LOG.warning(
            f"no arm learns from the faces of {', '.join(unused)}: the report will say how they look, not whether they"
            " help"
        )
    counts = ", ".join(
        _count(number, unit)
        for number, unit in ((len(parameters.translators), "translator"), (len(parameters.arms.all()), "arm"))
    )
    LOG.log(
        RESULT,
        f"params.yaml is valid: source {parameters.dataset.source}, {counts} with "
        f"{_count(len(parameters.seeds), 'seed')} each, on {device}",
    )
    if advice := git_advice(root):
        LOG.warning(advice)


def _count(number: int, unit: str) -> str:
    return f"{number:,} {unit}{'s' if number != 1 else ''}"
