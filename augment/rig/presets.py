"""Populations: lists of faces that imitate the composition of well-known data sets.

No picture is made here; `render` makes them. Subject numbers of different presets never meet, so their people differ.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from augment.rig.action_units import EXPRESSIONS
from augment.rig.lighting import ILLUMINATIONS
from augment.rig.render import FaceSpec

SIX = ("angry", "disgust", "fear", "happy", "sad", "surprise")
SEVEN = ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")
SUBJECT_STRIDE = 1_000_000  # subject numbers of the presets are this far apart

# Training images of FER2013 by class.
FER2013_COUNTS = {
    "angry": 3995, "disgust": 436, "fear": 4097, "happy": 7215, "neutral": 4965, "sad": 4830, "surprise": 3171,
}  # fmt: skip


@dataclass(frozen=True)
class Population:
    """A list of faces, the names of their classes, and the image format that suits them."""

    specs: list[FaceSpec]
    class_names: tuple[str, ...]
    default_size: int
    default_channels: int


Builder = Callable[..., Population]
_BUILDERS: dict[str, Builder] = {}


def _preset(builder: Builder) -> Builder:
    _BUILDERS[builder.__name__.lstrip("_")] = builder
    return builder


def preset_names() -> tuple[str, ...]:
    """Names of the presets, alphabetical."""
    return tuple(sorted(_BUILDERS))


def preset(name: str, *, seed: int, **settings: object) -> Population:
    """Build a population.

    Args:
        name: one of `preset_names()`.
        seed: seed of whatever the population draws (splits, label noise, wild poses). Pass the same seed to `render`.
        settings: settings of the preset; every preset has `subjects` or another count that makes it smaller.

    Raises:
        ValueError: for an unknown preset or setting, or a setting out of range; the message lists what exists.
    """
    if name not in _BUILDERS:
        raise ValueError(f"unknown preset {name!r}; there are {', '.join(preset_names())}")
    builder = _BUILDERS[name]
    known = [parameter for parameter in inspect.signature(builder).parameters if parameter not in ("seed", "first")]
    unknown = sorted(set(settings) - set(known))
    if unknown:
        raise ValueError(f"preset {name!r} has no setting {', '.join(unknown)}; there are {', '.join(known)}")
    for setting, value in settings.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)) or value < 0:
            raise ValueError(f"setting {setting}={value!r} of preset {name!r} must be a number of at least 0")
    first = SUBJECT_STRIDE * (1 + list(preset_names()).index(name))
    population = builder(seed=seed, first=first, **settings)
    if not population.specs:
        raise ValueError(f"preset {name!r} is empty with {settings}")
    return population


def _face(
    population: str,
    subject: int,
    first: int,
    expression: str,
    *,
    take: int = 0,
    yaw: float = 0.0,
    illumination: str = "normal",
    intensity: float | None = None,
    split: str | None = None,
    style: str = "photo",
    gaze: float | None = None,
) -> FaceSpec:
    """A face of a population with subjects, with a name that says what it is."""
    parts = [population, f"s{subject:04d}", expression, f"t{take}"]
    parts += [f"y{yaw:+.0f}"] * (yaw != 0)
    parts += [illumination] * (illumination != "normal")
    parts += [f"i{round(100 * intensity):03d}"] if intensity is not None else []
    parts += [f"g{gaze:+.1f}"] if gaze is not None else []
    return FaceSpec(
        face_id="/".join(parts),
        subject=first + subject,
        expression=expression,
        label=expression,
        take=take,
        yaw=yaw,
        illumination=illumination,
        intensity=intensity,
        split=split,
        subject_name=f"{population}-{subject:04d}",
        style=style,
        gaze=gaze,
    )


@_preset
def _rare(
    *,
    seed: int,
    first: int,
    subjects: int = 20,
    neutral_subjects: int = 130,
    validation_subjects: int = 10,
    test_subjects: int = 80,
    takes: int = 1,
) -> Population:
    """Few people show all 7 classes, many only a neutral face; splits are subject-disjoint."""
    specs: list[FaceSpec] = []
    subject = 0
    for count, classes, split in (
        (subjects, SEVEN, "train"),
        (neutral_subjects, ("neutral",), "train"),
        (validation_subjects, SEVEN, "validation"),
        (test_subjects, SEVEN, "test"),
    ):
        for _ in range(count):
            specs += [
                _face("rare", subject, first, expression, take=take, split=split)
                for expression in classes
                for take in range(takes)
            ]
            subject += 1
    return Population(specs, SEVEN, 48, 1)


@_preset
def _oulu_casia(*, seed: int, first: int, subjects: int = 80, frames: int = 3) -> Population:
    """Oulu-CASIA: 80 subjects, 6 expressions, 3 lights, the last frames of each sequence (near the peak)."""
    specs = [
        _face(
            "oulu_casia",
            subject,
            first,
            expression,
            # A take is one sequence under one light; its frames differ in intensity.
            take=10 * ILLUMINATIONS.index(illumination) + frame,
            illumination=illumination,
            intensity=max(0.4, 1.0 - 0.06 * (frames - 1 - frame)),
        )
        for subject in range(subjects)
        for expression in SIX
        for illumination in ILLUMINATIONS
        for frame in range(frames)
    ]
    return Population(specs, SIX, 64, 1)


@_preset
def _mug(*, seed: int, first: int, subjects: int = 52, takes: int = 1) -> Population:
    """MUG: 52 subjects, 7 expressions, frontal, studio light."""
    specs = [
        _face("mug", subject, first, expression, take=take)
        for subject in range(subjects)
        for expression in SEVEN
        for take in range(takes)
    ]
    return Population(specs, SEVEN, 64, 3)


@_preset
def _bu3dfe(*, seed: int, first: int, subjects: int = 100) -> Population:
    """BU-3DFE: 100 subjects, 6 expressions at 4 intensities and neutral, 7 yaws of each moment.

    Every spec's `simulated_frontal` is the frontal simulated face of the same moment.
    """
    moments: list[tuple[str, float | None]] = [("neutral", None)]
    moments += [(expression, intensity) for expression in SIX for intensity in (0.4, 0.6, 0.8, 1.0)]
    specs = [
        _face("bu3dfe", subject, first, expression, yaw=yaw, intensity=intensity)
        for subject in range(subjects)
        for expression, intensity in moments
        for yaw in (-45.0, -30.0, -15.0, 0.0, 15.0, 30.0, 45.0)
    ]
    return Population(specs, SEVEN, 64, 3)


@_preset
def _rafd(*, seed: int, first: int, subjects: int = 67) -> Population:
    """RaFD: 67 people, 8 expressions, cameras at -45, 0 and 45 degrees, 3 gazes."""
    specs = [
        _face("rafd", subject, first, expression, yaw=yaw, gaze=gaze, intensity=0.9, take=int(gaze) + 1)
        for subject in range(subjects)
        for expression in EXPRESSIONS
        for gaze in (-1.0, 0.0, 1.0)
        for yaw in (-45.0, 0.0, 45.0)
    ]
    return Population(specs, EXPRESSIONS, 64, 3)


@_preset
def _ferg(*, seed: int, first: int, subjects: int = 6, faces_per_class: int = 100) -> Population:
    """FERG: 6 drawn characters with many faces each, 7 expressions, small changes of pose."""
    generator = np.random.default_rng([seed, first])
    specs = []
    for subject in range(subjects):
        for expression in SEVEN:
            yaws = generator.normal(0, 8, faces_per_class).clip(-25, 25)
            intensities = generator.uniform(0.6, 1.0, faces_per_class)
            for take in range(faces_per_class):
                specs.append(
                    _face(
                        "ferg",
                        subject,
                        first,
                        expression,
                        take=take,
                        yaw=round(float(yaws[take]), 1),
                        intensity=round(float(intensities[take]), 3),
                        style="drawn",
                    )
                )
    return Population(specs, SEVEN, 64, 3)


def _wild_faces(population: str, labels: list[str], seed: int, first: int) -> Iterator[tuple[FaceSpec, float]]:
    """One new person for each label, in a wild pose and light; also a uniform number for the population's own use."""
    generator = np.random.default_rng([seed, first])
    for number, expression in enumerate(labels):
        draw = generator.random(3)
        yaw = round(float(np.clip(generator.normal(0, 18), -45, 45)), 1)
        illumination = "normal" if draw[0] < 0.68 else "weak" if draw[0] < 0.9 else "dark"
        spec = FaceSpec(
            face_id=f"{population}/{number:06d}",
            subject=first + number,
            expression=expression,
            label=expression,
            take=0,
            yaw=yaw,
            illumination=illumination,
            intensity=None,
            split=None,
            subject_name=None,
            wildness=1.0,
        )
        yield spec, float(draw[1])


@_preset
def _helen(*, seed: int, first: int, count: int = 2330) -> Population:
    """Helen: varied people in the wild, one picture each; made for parsing, so the classes are incidental."""
    generator = np.random.default_rng([seed, first, 1])
    probabilities = np.array([0.06, 0.05, 0.05, 0.35, 0.34, 0.07, 0.08])
    labels = [SEVEN[index] for index in generator.choice(len(SEVEN), size=count, p=probabilities)]
    specs = [spec for spec, _ in _wild_faces("helen", labels, seed, first)]
    return Population(specs, SEVEN, 128, 3)


def _shares(total: int, weights: dict[str, int]) -> dict[str, int]:
    """Split `total` in proportion to `weights`, by largest remainder, at least one each where possible."""
    whole = sum(weights.values())
    exact = {name: total * weight / whole for name, weight in weights.items()}
    counts = {name: int(value) for name, value in exact.items()}
    for name in sorted(exact, key=lambda name: (counts[name] - exact[name], name))[: total - sum(counts.values())]:
        counts[name] += 1
    return counts


@_preset
def _fer2013(*, seed: int, first: int, count: int = 28709, label_noise: float = 0.10) -> Population:
    """FER2013: no subjects, wild poses and lights, unbalanced classes, noisy labels, splits 8:1:1 within each class."""
    if label_noise > 1:
        raise ValueError(f"label_noise is a share 0..1, not {label_noise}")
    counts = _shares(count, FER2013_COUNTS)
    labels = [expression for expression in SEVEN for _ in range(counts[expression])]
    generator = np.random.default_rng([seed, first, 1])
    order = generator.permutation(len(labels))
    rank = dict.fromkeys(SEVEN, 0)
    specs = []
    for spec, uniform in _wild_faces("fer2013", [labels[index] for index in order], seed, first):
        # `label` is what the table says; the counts above are of labels, so the picture is what noise changes.
        shown = spec.label
        if uniform < label_noise:
            others = [name for name in SEVEN if name != spec.label]
            shown = others[int(generator.integers(len(others)))]
        position = rank[spec.label] % 10
        rank[spec.label] += 1
        split = "validation" if position == 8 else "test" if position == 9 else "train"
        specs.append(FaceSpec(**{**spec.__dict__, "expression": shown, "split": split}))
    return Population(specs, SEVEN, 48, 1)
