"""All of params.yaml, checked before any work: each key, and whether the keys fit together."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError

from augment.core.errors import InputError, Problem
from augment.core.ranks import Ranks
from augment.faces.rare import kept_of
from augment.faces.splits import FoldSettings
from augment.sources import source_names, source_settings
from augment.synthesis.selection import SelectionSettings
from augment.translators import translator_class, translator_names
from augment.translators.base import LearnedTranslator, Translator, TranslatorSettings
from classifiers.settings import CLASSICAL_KINDS, Arm
from classifiers.training import ClassifierSettings
from pipeline.core.runtime import RuntimeSettings
from pipeline.core.sections import Name, Section, parse_sections, read_values
from pipeline.parameters.arms import Arms
from pipeline.parameters.dataset import DatasetSettings
from pipeline.parameters.judge import JudgeSettings
from pipeline.parameters.parsing import ParsingStage
from pipeline.parameters.synthesis import SynthesisSection
from pipeline.parameters.translators import TranslatorEntry
from reports.settings import ReportSettings, ScoreSettings


class Parameters(Section):
    """All sections of params.yaml."""

    seed: int = Field(ge=0, lt=2**31, strict=True)
    seeds: list[Annotated[int, Field(ge=0, lt=2**31, strict=True)]] = Field(
        min_length=1, description="Paired seeds of every arm."
    )
    dataset: DatasetSettings
    folds: FoldSettings
    runtime: RuntimeSettings = Field(default_factory=RuntimeSettings)
    parsing: ParsingStage = Field(default_factory=ParsingStage)
    translators: dict[Name, TranslatorEntry]
    synthesis: SynthesisSection
    selection: SelectionSettings
    judge: JudgeSettings
    classifier: ClassifierSettings
    arms: Arms
    scores: ScoreSettings
    report: ReportSettings = Field(default_factory=ReportSettings)

    def classifiers(self) -> dict[str, ClassifierSettings]:
        """How the judge and the arms are trained, by the key in params.yaml."""
        return {"judge.classifier": self.judge.classifier, "classifier": self.classifier}


def load_parameters(path: Path) -> Parameters:
    """Reads and checks a params.yaml.

    Raises:
        InputError: Lists every key that is unknown, missing, of a wrong type or impossible, with the fix; or the file
            can't be read.
    """
    return parse_parameters(read_values(path), where=Path(path).name)


def parse_parameters(values: Mapping[str, Any], *, where: str) -> Parameters:
    """Checks parameters.

    Args:
        values: Nested mappings as YAML gives them.
        where: Their name in errors.

    Raises:
        InputError: Lists every problem.
    """
    parameters = parse_sections(values, Parameters, where=where)
    if problems := _cross_check(parameters, where):
        raise InputError(list(dict.fromkeys(problems)), f"{where} can't be run:")
    return parameters


def known_settings(values: Mapping[str, Any], location: Sequence[str]) -> list[str]:
    """The settings of the source, or of a translator's method, if the location is that of its settings; else none."""
    if tuple(location) == ("dataset", "settings"):
        source = values["dataset"].get("source")
        return list(source_settings(source).model_fields) if source in source_names() else []
    if len(location) != 3 or location[0] != "translators" or location[2] != "settings":
        return []
    method = values["translators"][location[1]].get("method")
    return list(translator_class(method).Settings.model_fields) if method in translator_names() else []


def _mirrored_poses(parameters: Parameters, methods: Mapping[str, type[Translator]], where: str) -> list[Problem]:
    """Mirroring changes the pose, so nothing may be mirrored if the pose is the class."""
    if parameters.dataset.attribute != "pose":
        return []
    found = [
        f"translators.{name}.training.mirror"
        for name, entry in parameters.translators.items()
        if entry.training.mirror and name in methods and issubclass(methods[name], LearnedTranslator)
    ]
    for key, classifier in parameters.classifiers().items():
        if classifier.augmentation_settings.flip:
            found.append(f"{key}.augmentation_settings.flip")
    why = "mirrors faces, which changes their class where dataset.attribute is pose"
    return [Problem(f"{where}: {key}", why, f"set it to {'false' if 'mirror' in key else 0}") for key in found]


_CHANGES_LIGHT = "changes the light of faces, which is their class where dataset.attribute is illumination"


def _changed_light(parameters: Parameters, where: str) -> list[Problem]:
    """A change of light changes the class where the light is the class, so nothing may be lit anew."""
    if parameters.dataset.attribute != "illumination":
        return []
    unchanged: dict[str, object] = {"brightness": 0.0, "contrast": (1.0, 1.0), "shading": 0.0}
    classifiers = parameters.classifiers()
    found = {
        f"{key}.augmentation_settings.{name}": f"set it to {json.dumps(value)}"
        for key, classifier in classifiers.items()
        for name, value in unchanged.items()
        if getattr(classifier.augmentation_settings, name) != value
    }
    learners = {f"arms.{arm.group}.{name}": arm.augmentation for name, arm in parameters.arms.all().items()}
    learners |= {key: classifier.augmentation for key, classifier in classifiers.items()}
    found |= {f"{key}.augmentation": "use classical" for key, kind in learners.items() if kind == "randaugment"}
    found |= {
        f"translators.{name}.training.augmentation.gamma": "set it to null"
        for name, entry in parameters.translators.items()
        if entry.training.augmentation.gamma is not None
    }
    return [Problem(f"{where}: {path}", _CHANGES_LIGHT, fix) for path, fix in found.items()]


def _unlearnable_classes(
    parameters: Parameters, name: str, method: type[Translator], settings: TranslatorSettings, where: str
) -> list[Problem]:
    """Why a translator with these settings can't learn what the classes say."""
    attribute, problems = parameters.dataset.attribute, []
    if attribute not in method.attributes_for(settings):
        why = f"{parameters.translators[name].method} with these settings can't learn classes that say the {attribute} "
        arms = parameters.arms.all()
        its = [f"arms.{arm.group}.{key}=null" for key, arm in arms.items() if name in arm.translators]
        fix = f"leave it out: {' '.join([f'translators.{name}=null', *its])}"
        problems.append(Problem(f"{where}: translators.{name}", f"{why}of a face", fix))
    lit_anew = getattr(settings, "class_network_share", 0) and getattr(settings, "class_network_variation", 0)
    if attribute == "illumination" and lit_anew:
        path = f"{where}: translators.{name}.settings.class_network_variation"
        problems.append(Problem(path, _CHANGES_LIGHT, "set it to 0"))
    return problems


def _undivided_batches(parameters: Parameters, methods: Mapping[str, type[Translator]], where: str) -> list[Problem]:
    """Batches that `runtime.ranks` can't divide, of what ranks would train."""
    ranks = Ranks(0, parameters.runtime.ranks)
    sizes = {
        f"translators.{name}.training.batch_size": parameters.translators[name].training.batch_size
        for name, method in methods.items()
        if issubclass(method, LearnedTranslator)
    }
    arms = [*parameters.arms.real.values(), *parameters.arms.synthetic.values(), *parameters.arms.mixed.values()]
    if any(arm.kind not in CLASSICAL_KINDS for arm in arms):
        sizes["classifier.batch_size"] = parameters.classifier.batch_size
    return [problem for key, size in sizes.items() for problem in ranks.why_not_divided(size, f"{where}: {key}")]


def _filling_problems(path: str, arm: Arm, parameters: Parameters) -> list[Problem]:
    """What `dataset.rare` tells of an arm's `fill_to` before a face is read: more faces asked for than are made."""
    if arm.fill_to is None or not arm.is_synthetic or not parameters.dataset.rare:
        return []
    names = parameters.dataset.classes or parameters.dataset.rare
    kept = {name: number for name in names if (number := kept_of(parameters.dataset.rare, name)) is not None}
    rarest = min(kept, key=lambda name: kept[name], default=None)  # it lacks the most
    if rarest is None:
        return []
    fewest = min(arm.translators, key=lambda name: parameters.synthesis.of(name).per_class)
    made = parameters.synthesis.of(fewest).per_class
    needed = max(max(amounts) for amounts in arm.amounts([kept[rarest]]))
    if needed <= made:
        return []
    why = (
        f"{needed:,} faces by each of its translators would fill the {kept[rarest]:,} of dataset.rare.{rarest} up to "
        f"{arm.fill_to:,}, and {made:,} per class are made"
    )
    raised = parameters.synthesis.key_of(fewest)
    fix = f"raise {raised} to {needed} or more, or lower this to {arm.most_to_fill(kept[rarest], made)}"
    return [Problem(f"{path}.fill_to", why, fix)]


def _too_deep(parameters: Parameters, where: str) -> Iterator[Problem]:
    """Networks that halve a picture more often than it can be halved."""
    size = parameters.dataset.image_size
    for key, classifier in parameters.classifiers().items():
        if (least := classifier.model.least_edge) > size:
            why = f"{classifier.model.name} needs pictures of {least} px with these settings, and they have {size} px"
            fix = "raise dataset.image_size, or use fewer stages (widths, convolutions), stem: small or a ResNet"
            yield Problem(f"{where}: {key}.model", why, fix)


def _cross_check(parameters: Parameters, where: str) -> list[Problem]:
    """Checks across keys: networks with the image size, arms with translators and amounts, and so on."""
    problems = list(_too_deep(parameters, where))
    methods: dict[str, type[Translator]] = {}
    for name, entry in parameters.translators.items():
        try:
            methods[name] = translator_class(entry.method)
        except InputError as error:  # a plug-in that can't be loaded
            problems.append(Problem(f"{where}: translators.{name}.method", str(error)))
    if (source := parameters.judge.pretraining.source) not in source_names():
        fix = f"use one of {', '.join(source_names())}"
        problems.append(Problem(f"{where}: judge.pretraining.source", f"{source!r} is no source", fix))
    problems += _mirrored_poses(parameters, methods, where)
    problems += _changed_light(parameters, where)
    problems += _undivided_batches(parameters, methods, where)
    for name, method in methods.items():
        entry = parameters.translators[name]
        try:
            settings = method.Settings.model_validate(entry.settings)
        except ValidationError as error:
            for details in error.errors():
                key = ".".join(str(part) for part in details["loc"])
                path = f"{where}: translators.{name}.settings.{key}"
                if details["type"] == "extra_forbidden":
                    known = list(method.Settings.model_fields)
                    close = difflib.get_close_matches(key, known, n=1)
                    fix = f"did you mean {close[0]}?" if close else f"settings of {entry.method}: {', '.join(known)}"
                    problems.append(Problem(path, f"unknown setting of {entry.method}", fix))
                else:
                    problems.append(Problem(path, details["msg"].removeprefix("Value error, ")))
            continue
        problems += _unlearnable_classes(parameters, name, method, settings, where)
        try:
            method.check_size(parameters.dataset.image_size, settings)
        except (InputError, ValueError) as error:
            problems.append(Problem(f"{where}: dataset.image_size", f"translator {name}: {error}"))
    arms: dict[str, str] = {}
    for group, found in (
        ("real", parameters.arms.real),
        ("synthetic", parameters.arms.synthetic),
        ("mixed", parameters.arms.mixed),
    ):
        for name in found:
            if name in arms:
                problems.append(Problem(f"{where}: arms.{group}.{name}", f"is also in arms.{arms[name]}", "rename it"))
            arms[name] = group
    for name, arm in parameters.arms.real.items():
        if arm.translators:
            fix = "move it to arms.synthetic"
            problems.append(
                Problem(f"{where}: arms.real.{name}.translator", "an arm of real faces has no translator", fix)
            )
    choices = f"one of {', '.join(parameters.translators)}"
    for name, arm in (parameters.arms.synthetic | parameters.arms.mixed).items():
        path = f"{where}: arms.{arms[name]}.{name}"
        for key, needed in (("translator", True), ("second_translator", name in parameters.arms.mixed)):
            translator = getattr(arm, key)
            if translator is None and needed:
                problems.append(Problem(f"{path}.{key}", "is missing", choices))
            elif translator is not None and not needed:
                problems.append(Problem(f"{path}.{key}", "is for arms of two translators", "move it to arms.mixed"))
            elif translator is not None and translator not in parameters.translators:
                problems.append(Problem(f"{path}.{key}", f"{translator!r} is not a translator of this run", choices))
        for translator in arm.translators:
            made = parameters.synthesis.of(translator).per_class
            if arm.per_class is not None and arm.per_class > made:
                why = f"{arm.per_class} is more than the {made} faces per class that are made by {translator}"
                raised = parameters.synthesis.key_of(translator)
                problems.append(Problem(f"{path}.per_class", why, f"raise {raised}"))
        problems += _filling_problems(path, arm, parameters)
    for name in parameters.synthesis.per_class_of:
        if name not in parameters.translators:
            key = f"{where}: synthesis.per_class_of.{name}"
            fix = choices if parameters.translators else "leave it out"
            problems.append(Problem(key, f"{name!r} is not a translator of this run", fix))
    baseline = parameters.report.baseline_arm
    real_only = [name for name, arm in parameters.arms.all().items() if not arm.is_synthetic]
    if baseline is not None and baseline not in real_only:
        why = "learns from synthetic faces, and what they gain or cost is against real ones alone"
        fix = f"one of {', '.join(real_only)}" if real_only else "leave it out"
        problems.append(
            Problem(
                f"{where}: report.baseline_arm", f"{baseline!r} {why if baseline in arms else 'is not an arm'}", fix
            )
        )
    if len(set(parameters.seeds)) != len(parameters.seeds):
        problems.append(Problem(f"{where}: seeds", "a seed occurs twice", "paired seeds must differ"))
    return problems
