"""How much work a stage has, as params.yaml says: what its time and its outputs grow with.

A stage's cost is taken from records of stages of the same kind, and scaled by the amount of work, a product:

| stage | grows with |
| --- | --- |
| `train`, `judge`, `parsing` | steps x faces per batch x folds (a translator that is fitted without steps: folds) |
| `synthesize`, `assess` | faces per class x classes x folds |
| `classify` | steps x faces per batch x seeds x folds (without a network: folds) |
| `prepare`, `report` | nothing; `prepare` is compared with the same data set alone |
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as parquet

from augment.core.errors import InputError
from augment.core.json_files import read_json_object
from classifiers.settings import CLASSICAL_KINDS
from pipeline.core.workspace import Artifacts
from pipeline.flow.schedule import gpu_count, has_gpu

# Settings that change how much is computed in all, and no step's cost by much.
_AMOUNTS = ("steps", "batch_size")
_SIZES = 3  # places of a kind that name the stage and the pictures' size; what follows is of the work itself
_INTERVALS = ("log_every", "sample_every", "validate_every", "checkpoint_every")


@dataclass(frozen=True)
class FaceCounts:
    """What `prepare` found, on which other stages' amounts depend.

    Attributes:
        faces: Real faces in all splits.
        classes: Number of classes.
        folds: Number of folds.
    """

    faces: int
    classes: int
    folds: int


@dataclass(frozen=True)
class Work:
    """The work of one stage.

    Attributes:
        kind: What records must have in common with it to serve at all: stage, method, picture size.
        settings: A hash of all settings that a step's cost may depend on; records with the same one serve best.
        amount: What the time grows with; None: not known before `prepare` has run.
        makes_faces: Whether its outputs grow with the amount.
        holds_faces: Whether its memory grows with the amount.
        tasks: Folds and seeds that processes of their own work on, as many at once as there are cores; 1: none are.
        most_processes: At most so many at once, whatever the cores; 0: no limit.
        held: Bytes of pixels that one of its processes holds in memory; None: not known.
    """

    kind: str
    settings: str
    amount: float | None
    makes_faces: bool = False
    holds_faces: bool = False
    tasks: int = 1
    most_processes: int = 0
    held: int | None = None

    def processes(self, cores: int) -> int:
        """How many processes compute at once on so many cores."""
        return max(1, min(self.tasks, self.most_processes or cores))

    def busy_cores(self, cores: int) -> float:
        """How many cores are kept busy at most, on average: the last round of tasks may not fill them."""
        processes = self.processes(cores)
        return self.tasks / math.ceil(self.tasks / processes) if processes > 1 else 1.0

    def processes_in_all(self, cores: int) -> int:
        """How many processes there are, with the one that waits for the others."""
        processes = self.processes(cores)
        return processes + 1 if processes > 1 else 1


@dataclass(frozen=True)
class _Parts:
    kind: Sequence[Any]
    settings: Any = None
    factors: Sequence[float | None] = ()
    makes_faces: bool = False
    tasks: int = 1
    synthetic_per_class: int = 0


def stage_and_name(stage: str) -> tuple[str, str | None]:
    """The stage of `pipeline.stages` and the translator or arm: `train`, `warp` for DVC's `train@warp`."""
    base, _, name = stage.partition("@")
    return base.partition("_")[0], name or None


def stages_of(parameters: Mapping[str, Any]) -> Iterator[str]:
    """Names, as DVC has them, of the stages that a params.yaml describes.

    Args:
        parameters: The content of params.yaml, unchecked.
    """
    yield from ("prepare", "parsing", "judge")
    for name in _mapping(parameters.get("translators")):
        yield from (f"{stage}@{name}" for stage in ("train", "synthesize", "assess"))
    for group, arms in _mapping(parameters.get("arms")).items():
        yield from (f"classify_{group}@{name}" for name in _mapping(arms))
    yield "report"


def counts_the_same(kind: str, other: str) -> bool:
    """Whether two kinds of `prepare` find the same classes and folds: one data set, at whatever picture size."""
    return json.loads(kind)[_SIZES:] == json.loads(other)[_SIZES:]


def count_faces(root: Path) -> FaceCounts | None:
    """What `prepare` has left in a workspace; None where it has not run."""
    artifacts = Artifacts(root)
    try:
        report = read_json_object(artifacts.faces / "report.json")
        folds = parquet.read_table(artifacts.folds, columns=["fold"])["fold"]
        return FaceCounts(faces=int(report["faces"]), classes=len(report["class_names"]), folds=len(folds.unique()))
    except (InputError, KeyError, TypeError, ValueError, OSError):
        return None


def work_of(stage: str, parameters: Mapping[str, Any], counts: FaceCounts | None) -> Work:
    """The work of a stage.

    Args:
        stage: As DVC names it: `train@warp`.
        parameters: The content of params.yaml, unchecked: what a section lacks counts as the same wherever it lacks.
        counts: What `prepare` found, or will; None: not known.
    """
    base, name = stage_and_name(stage)
    dataset = _mapping(parameters.get("dataset"))
    size, channels = dataset.get("image_size"), dataset.get("channels")
    parts = _parts(base, name, parameters, counts)
    known = [factor for factor in parts.factors if factor is not None]
    amount = math.prod(known) if len(known) == len(parts.factors) else None
    held = None
    if counts is not None and isinstance(size, int) and isinstance(channels, int):
        held = (counts.faces + parts.synthetic_per_class * counts.classes) * size * size * channels
    return Work(
        kind=json.dumps([base, size, channels, *parts.kind], default=str),
        settings=_hash(parts.settings),
        amount=amount,
        makes_faces=parts.makes_faces,
        holds_faces=base == "assess",  # synthesis writes its faces by blocks
        tasks=parts.tasks,
        most_processes=_most_processes(_mapping(parameters.get("runtime"))),
        held=held,
    )


def _parts(base: str, name: str | None, parameters: Mapping[str, Any], counts: FaceCounts | None) -> _Parts:
    match base:
        case "prepare":
            return _prepare(parameters)
        case "parsing":
            return _one_network(_mapping(parameters.get("parsing")), "training", counts)
        case "judge":
            return _one_network(_mapping(parameters.get("judge")), "classifier", counts)
        case "train" | "synthesize" | "assess":
            return _translator(base, str(name), parameters, counts)
        case "classify":
            return _arm(str(name), parameters, counts)
        case "report":
            return _Parts([])
        case _:  # a stage that was added to dvc.yaml
            return _Parts([], settings=parameters)


def _prepare(parameters: Mapping[str, Any]) -> _Parts:
    dataset = _mapping(parameters.get("dataset"))
    settings = _without(_mapping(dataset.get("settings")), ("seed",))
    # How many faces a data set has is not known before it is read, so another data set is no measure of it.
    same = {**_without(dataset, ("root", "image_size", "channels")), "settings": settings}
    return _Parts([_hash([same, parameters.get("folds")])])


def _one_network(section: Mapping[str, Any], key: str, counts: FaceCounts | None) -> _Parts:
    """The parsing network and the judge, a network for each fold.

    Args:
        section: Of params.yaml.
        key: Where in it the settings of the training are.
        counts: What prepare found.
    """
    if section.get("enabled") is False:
        return _Parts(["disabled"])
    training = _mapping(section.get(key))
    return _Parts(
        [_mapping(training.get("model")).get("name")],
        settings=[_without(section, (key,)), _per_step(training)],
        factors=[*_amounts(training), _folds(counts)],
        tasks=_folds(counts) or 1,
    )


def _translator(base: str, name: str, parameters: Mapping[str, Any], counts: FaceCounts | None) -> _Parts:
    entry = _mapping(_mapping(parameters.get("translators")).get(name))
    method, network = entry.get("method"), entry.get("settings")
    if base == "train":
        training = _mapping(entry.get("training"))
        if "steps" in training:
            kind, settings = [method], [network, _per_step(training)]
        else:  # fitted: its time depends on the faces
            kind, settings = [method, "fitted"], [network, parameters.get("dataset")]
        factors = [*(_amounts(training) if "steps" in training else []), _folds(counts)]
        return _Parts(kind, settings=settings, factors=factors, tasks=_folds(counts) or 1)
    synthesis = _mapping(parameters.get("synthesis"))
    settings = [
        network,
        _without(synthesis, ("per_class", "per_class_of")),
        parameters.get("scores") if base == "assess" else None,
    ]
    classes = None if counts is None else counts.classes
    own = _mapping(synthesis.get("per_class_of"))
    factors = [
        _number(own if name in own else synthesis, name if name in own else "per_class"),
        classes,
        _folds(counts),
    ]
    return _Parts([method], settings=settings, factors=factors, makes_faces=True)


def _arm(name: str, parameters: Mapping[str, Any], counts: FaceCounts | None) -> _Parts:
    groups = [_mapping(group) for group in _mapping(parameters.get("arms")).values()]
    arm = next((_mapping(group[name]) for group in groups if name in group), {})
    if arm.get("kind") in CLASSICAL_KINDS:
        return _Parts([arm["kind"]], factors=[_folds(counts)])
    classifier, seeds = _mapping(parameters.get("classifier")), parameters.get("seeds")
    number = len(seeds) if isinstance(seeds, list) else 1
    return _Parts(
        [_mapping(classifier.get("model")).get("name")],
        settings=[_per_step(classifier), arm.get("augmentation")],
        factors=[*_amounts(classifier), _number(arm, "steps_factor"), number, _folds(counts)],
        tasks=number * (_folds(counts) or 1),
        synthetic_per_class=int(_number(arm, "per_class", 0) or _number(arm, "fill_to", 0)),
    )


def _folds(counts: FaceCounts | None) -> int | None:
    return None if counts is None else counts.folds


def _most_processes(runtime: Mapping[str, Any]) -> int:
    """As `pipeline.core.devices.processes_for`: as params.yaml says, else one for each GPU, else no limit."""
    device = str(runtime.get("device", "auto"))
    on_gpu = device.startswith("cuda") or (device == "auto" and has_gpu())
    gpus = 1 if ":" in device else max(1, gpu_count())  # one that is named, or all
    return int(_number(runtime, "processes", 0)) or (gpus if on_gpu else 0)


def _amounts(training: Mapping[str, Any]) -> list[float]:
    return [_number(training, key) for key in _AMOUNTS]


def _number(values: Mapping[str, Any], key: str, default: float = 1) -> float:
    """A number of params.yaml; where it is left out, the code's own holds, which is the same in every record."""
    value = values.get(key)
    return value if isinstance(value, int | float) else default


def _per_step(training: Mapping[str, Any]) -> dict[str, Any]:
    return _without(training, _AMOUNTS + _INTERVALS)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _without(values: Mapping[str, Any], keys: tuple[str, ...]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key not in keys}


def _hash(values: Any) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True, default=str).encode()).hexdigest()[:16]
