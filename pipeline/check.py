"""Checks all of params.yaml and the data set, without running anything."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import torch

from augment.core.errors import InputError, Problem
from augment.faces.fold_choice import choose_folds
from augment.faces.splits import count_apart, too_few_to_part
from augment.sources import Source, open_source
from augment.sources.base import known_splits
from augment.sources.folder import FolderSource
from augment.sources.listed import ListedSource
from augment.translators import translator_settings
from pipeline.core.devices import choose_device
from pipeline.core.messages import RESULT
from pipeline.core.project import git_advice
from pipeline.data_set import check_data_set, open_data_set, open_pretraining, pretraining_data_set
from pipeline.parameters.whole import Parameters, load_parameters
from pipeline.profile import READ_WHOLE
from pipeline.requirements import check_landmark_arms, check_requirements, unmet_requirements

LOG = logging.getLogger(__name__)


def check(root: Path) -> None:
    """Checks all of params.yaml, and that the data set can be opened.

    Raises:
        InputError: Lists what can't be run.
    """
    parameters = load_parameters(root / "params.yaml")
    if not parameters.translators:
        lacking = [name for name in READ_WHOLE if not (root / "artifacts" / name).is_dir()]
        if lacking:
            why = "is not there, and the report of a run without translators reads it whole"
            raise InputError([Problem(f"artifacts/{name}", why, "run `s2l profile`, or make it") for name in lacking])
    device = choose_device(parameters.runtime.device)
    LOG.debug("torch %s on %s", torch.__version__, device)
    source = open_data_set(parameters.dataset, root)
    check_data_set(parameters.dataset, parameters.folds, source)
    for problem in _split_problems(parameters, source):
        LOG.warning(f"`s2l prepare` will refuse these faces: {problem}")
    check_requirements(parameters, source)
    check_landmark_arms(parameters, source)
    _check_classifiers(parameters, root, device)
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
    if not parameters.translators:
        LOG.info(
            "no translator: nothing will be synthesized, and the report compares arms of real faces alone (choose a "
            "scale or an experiment with translators otherwise: scale=cpu has some that need no landmarks)"
        )
    elif not set(parameters.translators) - set(unmet_requirements(parameters, source)):
        LOG.warning(
            "no translator can work on these faces: nothing will be synthesized (give what is named above, or choose "
            "scale=cpu, which has some that need no landmarks)"
        )
    for names in _same_trainings(parameters):
        LOG.warning(
            f"translators {', '.join(names)}: the same method, settings and training; what lies between their rows will"
            " be chance (leave out all but one)"
        )
    for line in _faces_that_nobody_asks_for(parameters):
        LOG.info(line)
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


def _faces_that_nobody_asks_for(parameters: Parameters) -> Iterator[str]:
    """A line on each number of faces of each class that is made, and of which no arm learns from all."""
    found: dict[tuple[str, int, int], list[str]] = {}
    for name in parameters.translators:
        arms = [arm for arm in parameters.arms.all().values() if name in arm.translators and arm.selected]
        asked = [arm.per_class for arm in arms if arm.per_class is not None]
        made = parameters.synthesis.of(name).per_class
        # How many fill a class up, the faces say, which are not read yet.
        if asked and len(asked) == len(arms) and made > max(asked):
            found.setdefault((parameters.synthesis.key_of(name), made, max(asked)), []).append(name)
    for (key, made, most), names in found.items():
        yield (
            f"{key} makes {made:,} faces of each class, and no arm learns from more than {most:,} of those by "
            f"{', '.join(names)} (arms.*.per_class; synthesis.per_class_of gives a translator a number of its own)"
        )


def _split_problems(parameters: Parameters, source: Source) -> list[Problem]:
    """Why new folds can't be made, of sources that know classes and people beforehand.

    Nobody knows yet which pictures are near-identical, or can be read: these may be fewer than they are counted here.
    """
    dataset = parameters.dataset
    if not isinstance(source, FolderSource | ListedSource):
        return []
    if dataset.attribute != "expression" or dataset.classes is not None:  # other classes than are listed
        return []
    if choose_folds(known_splits(source) or {}, parameters.folds).kind != "subjects":
        return []
    labels, subjects = list(source.attribute_values("label_name")), list(source.attribute_values("subject"))
    people_known = any(subject is not None for subject in subjects)
    apart = count_apart([str(number) for number in range(len(labels))], labels, subjects)
    return too_few_to_part(Counter(labels), apart, parameters.folds, people_known=people_known)


def _same_trainings(parameters: Parameters) -> list[list[str]]:
    """Names of translators that differ in nothing else."""
    alike: dict[tuple[str, str, str], list[str]] = {}
    for name, entry in parameters.translators.items():
        settings = translator_settings(entry.method, entry.settings)
        key = (entry.method, settings.model_dump_json(), entry.training.model_dump_json())
        alike.setdefault(key, []).append(name)
    return [names for names in alike.values() if len(names) > 1]


def _check_classifiers(parameters: Parameters, root: Path, device: str) -> None:
    """Checks what classifiers are trained with on this machine.

    Raises:
        InputError: float16 without a GPU, or weights that are not there.
    """
    problems = []
    for key, classifier in parameters.classifiers().items():
        if classifier.precision == "float16" and device == "cpu":
            why = "float16 needs a GPU, and this run is on the CPU"
            problems.append(Problem(f"params.yaml: {key}.precision", why, "use auto, bfloat16 or float32"))
        weights = classifier.model.weights
        if weights is not None and not (root / weights).is_file():
            why = f"{weights} is not there"
            fix = "name a .safetensors file in timm's form of the network, or leave it out"
            problems.append(Problem(f"params.yaml: {key}.model.weights", why, fix))
    if problems:
        raise InputError(problems)


def _count(number: int, unit: str) -> str:
    return f"{number:,} {unit}{'s' if number != 1 else ''}"
