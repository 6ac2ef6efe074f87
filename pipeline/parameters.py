"""The parameters of a run: typed, checked whole before any work, refused with the key's path and the fix."""

from __future__ import annotations

import difflib
import math
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from augment.core.errors import InputError, Problem
from augment.faces.licences import EXAMPLES, says_something
from augment.faces.splits import FoldSettings
from augment.parsing.network import ParsingSettings
from augment.parsing.teachers import TeacherSettings
from augment.prepare.annotation import AnnotationSettings
from augment.sources import source_names
from augment.sources.attributes import Attribute
from augment.synthesis.generate import SynthesisSettings
from augment.synthesis.selection import SelectionSettings
from augment.training.settings import TrainingSettings
from augment.translators import translator_class, translator_names
from augment.translators.base import LearnedTranslator, Translator
from classifiers.arms import Arm
from classifiers.training import ClassifierSettings
from pipeline.groups import GROUPS
from pipeline.project import is_project, where_to_run
from pipeline.yaml_text import parse_yaml
from reports.metrics.scores import ScoreSettings
from reports.settings import ReportSettings

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", description="lower-case letters, digits, underscores")]


class Section(BaseModel):
    """A part of params.yaml; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class DatasetSettings(Section):
    """Where the real faces come from, and in what form the run holds them."""

    source: str = Field(description="A source's name; docs/datasets.md lists them.")
    root: str = Field(description="The data set's file or folder; for the embedded faces, the folder of their code.")
    image_size: int = Field(ge=16, le=512, description="Edge of the pictures in pixels.")
    channels: Literal[1, 3] = Field(description="1 grey, 3 colour.")
    classes: list[str] | None = Field(default=None, description="Which classes to use; all by default.")
    attribute: Attribute = Field(
        default="expression",
        description="What the classes are: expression; or illumination or pose, where the source knows them.",
    )
    pose_step: float = Field(default=15.0, gt=0, le=90, description="Degrees between two classes of poses.")
    quarantine: str | None = Field(
        default=None, description="A file for the list of what can't be read; without it such rows end the run."
    )
    licence: str | None = Field(
        default=None,
        description="Under which terms the faces stand; needed where the source can't know (folder, parquet without a "
        "card), added to the terms of data sets that have their own.",
    )
    annotation: AnnotationSettings = Field(
        default_factory=AnnotationSettings,
        description="What is filled in of photographs: landmarks, crops, simulated faces.",
    )
    settings: dict[str, Any] = Field(default_factory=dict, description="The source's own settings.")

    @field_validator("licence")
    @classmethod
    def _is_a_licence(cls, licence: str | None) -> str | None:
        if licence is not None and not says_something(licence):
            raise ValueError(f"{licence!r} says nothing of a licence; write {EXAMPLES}")
        return licence

    @model_validator(mode="after")
    def _known_source(self) -> DatasetSettings:
        if self.source not in source_names():
            raise ValueError(f"source {self.source!r} is none of {', '.join(source_names())}")
        return self


class RuntimeSettings(Section):
    """The machine's part. Results depend on the kind of device and on `threads`, and on nothing else here."""

    device: str = Field(default="auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$", description="auto, cpu, cuda, cuda:1 ...")
    threads: int = Field(
        default=1,
        ge=1,
        le=256,
        description="Threads of a process on the CPU. They decide the order of sums and so the figures: never the "
        "number of cores of the machine at hand.",
    )
    processes: int = Field(
        default=0,
        ge=0,
        le=256,
        description="How many folds and seeds are worked on at once; 0 = as many as there are processors (one on a "
        "GPU). No result depends on it.",
    )


class ParsingStage(Section):
    """The parsing network's stage."""

    enabled: bool = Field(default=True, description="Whether there is one.")
    teacher: TeacherSettings = Field(default_factory=TeacherSettings, description="Whose masks it learns from.")
    training: ParsingSettings = Field(default_factory=ParsingSettings)


class TranslatorEntry(Section):
    """A translator of the run: a method, its own settings, and how long to train it."""

    method: str = Field(description="Which method: " + ", ".join(translator_names()))
    settings: dict[str, Any] = Field(default_factory=dict)
    training: TrainingSettings = Field(default_factory=TrainingSettings)
    on_refusal: Literal["report", "stop"] = Field(
        default="report",
        description="What happens where the faces lack what the method needs: the report says so, or the run stops.",
    )

    @model_validator(mode="after")
    def _known_work(self) -> TranslatorEntry:
        if self.method not in translator_names():
            raise ValueError(f"method {self.method!r} is none of {', '.join(translator_names())}")
        return self


class Arms(Section):
    """The ways to make a classifier's training set that are compared."""

    real: dict[Name, Arm] = Field(min_length=1)
    synthetic: dict[Name, Arm] = Field(default_factory=dict)


class JudgeSettings(Section):
    """The judge: a classifier of the fold's real training faces only."""

    classifier: ClassifierSettings


class Parameters(Section):
    """All of params.yaml."""

    seed: int = Field(ge=0, lt=2**31, strict=True)
    seeds: list[Annotated[int, Field(ge=0, lt=2**31, strict=True)]] = Field(
        min_length=1, description="Paired seeds of every arm."
    )
    dataset: DatasetSettings
    folds: FoldSettings
    runtime: RuntimeSettings = Field(default_factory=RuntimeSettings)
    parsing: ParsingStage = Field(default_factory=ParsingStage)
    translators: dict[Name, TranslatorEntry]
    synthesis: SynthesisSettings
    selection: SelectionSettings
    judge: JudgeSettings
    classifier: ClassifierSettings
    arms: Arms
    scores: ScoreSettings
    report: ReportSettings = Field(default_factory=ReportSettings)

    def arm(self, name: str) -> Arm:
        """The arm of this name.

        Raises:
            InputError: There is none.
        """
        arms = {**self.arms.real, **self.arms.synthetic}
        if name not in arms:
            raise InputError(Problem(f"arm {name}", f"is none of {', '.join(arms)}"))
        return arms[name]

    def translator(self, name: str) -> TranslatorEntry:
        """The translator of this name.

        Raises:
            InputError: There is none.
        """
        if name not in self.translators:
            raise InputError(Problem(f"translator {name}", f"is none of {', '.join(self.translators)}"))
        return self.translators[name]


def load_parameters(path: Path) -> Parameters:
    """Reads and checks a params.yaml.

    Raises:
        InputError: Lists every key that is unknown, missing, of a wrong type or impossible, with the fix; or the file
            can't be read.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        folder = path.resolve().parent
        fix = "write it with `s2l profile`"
        if not is_project(folder):
            fix = f"{where_to_run(folder)}, where `s2l profile` writes it"
        raise InputError(Problem(str(path), "is not there", fix)) from error
    except UnicodeDecodeError as error:
        raise InputError(Problem(str(path), f"is not UTF-8: {error.reason}", "write it with `s2l profile`")) from error
    except OSError as error:
        raise InputError(Problem(str(path), f"can't be read: {error.strerror}")) from error
    values = parse_yaml(text, path.name)
    if not isinstance(values, dict):
        raise InputError(Problem(str(path), "holds no mapping of keys", "write it with `s2l profile`"))
    return parse_parameters(values, where=Path(path).name)


def parse_parameters(values: Mapping[str, Any], *, where: str) -> Parameters:
    """Checks parameters.

    Args:
        values: Nested mappings as YAML gives them.
        where: How to name them in errors.

    Raises:
        InputError: Lists every problem.
    """
    try:
        parameters = Parameters.model_validate(values)
    except ValidationError as error:
        problems = [_problem_of(details, where) for details in error.errors()]
        raise InputError(problems, f"{where} can't be run:") from error
    problems = [*_not_finite(parameters.model_dump(), where), *_cross_check(parameters, where)]
    if problems:
        raise InputError(list(dict.fromkeys(problems)), f"{where} can't be run:")
    return parameters


def _problem_of(details: Any, where: str) -> Problem:
    """One of pydantic's errors in our words."""
    location = [str(part) for part in details["loc"] if part != "[key]"]
    path = ".".join(location)
    given = details.get("input")
    if location and location[0] in GROUPS and len(location) == 1 and isinstance(given, str):
        fix = f"`s2l profile {location[0]}={given}` chooses from conf/{location[0]} and composes params.yaml anew"
        return Problem(f"{where}: {path}", f"{given!r} is the name of a group's member, not a value of a key", fix)
    if details["type"] == "extra_forbidden":
        known = keys_at(Parameters, location[:-1])
        close = difflib.get_close_matches(location[-1], known, n=1)
        fix = f"did you mean {close[0]}?" if close else f"known keys: {', '.join(sorted(known))}"
        return Problem(f"{where}: {path}", "unknown key", fix)
    if details["type"] == "missing":
        return Problem(f"{where}: {path}", "is missing", "`s2l profile` writes every key")
    message = details["msg"].removeprefix("Value error, ")
    shown = f", not {given!r}" if isinstance(given, (str, int, float, bool)) and repr(given) not in message else ""
    return Problem(f"{where}: {path}", message[:1].lower() + message[1:] + shown)


def _not_finite(values: Any, path: str, joint: str = ": ") -> list[Problem]:
    """Infinities and NaN, which a bound such as "greater than 0" lets pass; `1e999` is one."""
    if isinstance(values, float) and not math.isfinite(values):
        return [Problem(path, f"{values} is no number to work with")]
    inner: list[tuple[Any, Any]] = []
    if isinstance(values, Mapping):
        inner = list(values.items())
    elif isinstance(values, (list, tuple)):
        inner = list(enumerate(values))
    return [problem for key, value in inner for problem in _not_finite(value, f"{path}{joint}{key}", ".")]


def keys_at(model: type[BaseModel], location: Sequence[str]) -> list[str]:
    """The keys that a section takes, following a path through models and mappings of models.

    Args:
        model: The outermost section.
        location: The section's path, as `["translators", "lssl", "training"]`.
    """
    current: Any = model
    for part in location:
        if isinstance(current, type) and issubclass(current, BaseModel):
            field = current.model_fields.get(part)
            current = _model_in(field.annotation) if field else None
        else:
            current = _model_in(typing.get_args(current)[1]) if typing.get_args(current) else None
    if isinstance(current, type) and issubclass(current, BaseModel):
        return list(current.model_fields)
    return []


def known_settings(values: Mapping[str, Any], location: Sequence[str]) -> list[str]:
    """The settings of the method that a translator names, where the location is that of its settings."""
    if len(location) != 3 or location[0] != "translators" or location[2] != "settings":
        return []
    method = values["translators"][location[1]].get("method")
    return list(translator_class(method).Settings.model_fields) if method in translator_names() else []


def _model_in(annotation: Any) -> Any:
    """Strips Annotated and optional from a field's annotation."""
    if typing.get_origin(annotation) is Annotated:
        return _model_in(typing.get_args(annotation)[0])
    for part in typing.get_args(annotation):
        if isinstance(part, type) and issubclass(part, BaseModel) and typing.get_origin(annotation) is not dict:
            return part
    return annotation


def _mirrored_poses(parameters: Parameters, methods: Mapping[str, type[Translator]], where: str) -> list[Problem]:
    """A mirrored face has the other side's pose, so nothing may be mirrored where the pose is the class."""
    if parameters.dataset.attribute != "pose":
        return []
    found = [
        f"translators.{name}.training.mirror"
        for name, entry in parameters.translators.items()
        if entry.training.mirror and name in methods and issubclass(methods[name], LearnedTranslator)
    ]
    for key, classifier in (("judge.classifier", parameters.judge.classifier), ("classifier", parameters.classifier)):
        if classifier.augmentation_settings.flip:
            found.append(f"{key}.augmentation_settings.flip")
    why = "mirrors faces, which changes their class where dataset.attribute is pose"
    return [Problem(f"{where}: {key}", why, f"set it to {'false' if 'mirror' in key else 0}") for key in found]


def _cross_check(parameters: Parameters, where: str) -> list[Problem]:
    """What no single key can tell: translators against the image size, arms against translators and amounts ..."""
    problems = []
    methods: dict[str, type[Translator]] = {}
    for name, entry in parameters.translators.items():
        try:
            methods[name] = translator_class(entry.method)
        except InputError as error:  # a plug-in that can't be used
            problems.append(Problem(f"{where}: translators.{name}.method", str(error)))
    problems += _mirrored_poses(parameters, methods, where)
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
        try:
            method.check_size(parameters.dataset.image_size, settings)
        except (InputError, ValueError) as error:
            problems.append(Problem(f"{where}: dataset.image_size", f"translator {name}: {error}"))
    both = set(parameters.arms.real) & set(parameters.arms.synthetic)
    problems += [
        Problem(f"{where}: arms.synthetic.{name}", "is an arm of real faces too", "rename it") for name in both
    ]
    for name, arm in parameters.arms.real.items():
        if arm.translator is not None:
            fix = "move it to arms.synthetic"
            problems.append(Problem(f"{where}: arms.real.{name}.translator", "an arm of real faces takes none", fix))
    for name, arm in parameters.arms.synthetic.items():
        path = f"{where}: arms.synthetic.{name}"
        if arm.translator is None:
            problems.append(Problem(f"{path}.translator", "is missing", f"one of {', '.join(parameters.translators)}"))
        elif arm.translator not in parameters.translators:
            fix = f"one of {', '.join(parameters.translators)}"
            problems.append(Problem(f"{path}.translator", f"{arm.translator!r} is no translator of this run", fix))
        if arm.per_class is not None and arm.per_class > parameters.synthesis.per_class:
            why = f"{arm.per_class} faces per class are more than the {parameters.synthesis.per_class} that are made"
            problems.append(Problem(f"{path}.per_class", why, "raise synthesis.per_class"))
    arms = [*parameters.arms.real, *parameters.arms.synthetic]
    baseline = parameters.report.baseline_arm
    if baseline is not None and baseline not in arms:
        fix = f"one of {', '.join(arms)}"
        problems.append(Problem(f"{where}: report.baseline_arm", f"{baseline!r} is no arm", fix))
    if len(set(parameters.seeds)) != len(parameters.seeds):
        problems.append(Problem(f"{where}: seeds", "a seed occurs twice", "paired seeds must differ"))
    return problems
