"""Oulu-CASIA NIR&VIS (Zhao et al., "Facial expression recognition from near-infrared videos", 2011).

80 people (P001 to P080) show six expressions under three lights before a visible-light camera (VL) and a near-infrared
one (NI), 320 x 240 pixels, 25 frames per second; a sequence starts from the neutral face and ends with the peak.

Layout: `OriginalImg/VL/Strong/P001/Anger/000.jpeg`, in `B_OriginalImg` where the archive was unpacked into a folder of
its name, and `PreProcess Img/VL_Acropped/Strong/P001/Anger/000.jpeg` for the holders' own crops. (The reader of
varshanth/AuVi_Buddy_-_A_Synergy_of_FER-MER, of `OriginalImg` and the crops; others write `PreProcess_Img` or
`PreProcessImg`, so that folder may have any name.)
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field, field_validator

from augment.core.errors import InputError, Problem
from augment.faces.licences import Terms
from augment.sources.base import PublishedCount, SourceSettings
from augment.sources.exact_names import below
from augment.sources.listed import ListedFace, ListedSource
from augment.sources.sequences import (
    NameRule,
    enumerate_names,
    find_bases,
    last_frames,
    match_folders,
    read_frames,
    sequence_count,
    several_copies,
    too_few_frames,
    unknown_layout,
)

EXPRESSIONS = {
    "Anger": "angry",
    "Disgust": "disgust",
    "Fear": "fear",
    "Happiness": "happy",
    "Sadness": "sad",
    "Surprise": "surprise",
}
SUBJECTS = tuple(f"P{number:03d}" for number in range(1, 81))
LIGHTS = ("Strong", "Weak", "Dark")
CAMERAS = ("VL", "NI")
_CROPPED = "_Acropped"
_FRAME = NameRule(re.compile(r"(?P<number>\d{3})\.jpeg"), "a frame (000.jpeg)", str.lower)
_READ_AT = "Zhao et al. 2011: 80 people, six expressions, three lights; LSSL, section 5.1: 480 sequences a light"

Camera = Literal["VL", "NI"]
Light = Literal["Strong", "Weak", "Dark"]


class OuluCasiaSettings(SourceSettings):
    """Settings of the source `oulu_casia`.

    Attributes:
        cameras: VL (visible light), NI (near infrared). The papers use VL.
        lights: Strong (the normal light; LSSL, section 5.1), Weak, Dark.
        pictures: `original`: the whole frames. `cropped`: the holders' crops of the faces.
        peak_frames: So many last frames of a sequence are faces of its expression.
        first_is_neutral: Whether the first frame of every sequence is a face of the class neutral.
    """

    cameras: Annotated[tuple[Camera, ...], Field(min_length=1)] = ("VL",)
    lights: Annotated[tuple[Light, ...], Field(min_length=1)] = ("Strong", "Weak", "Dark")
    pictures: Literal["original", "cropped"] = "original"
    peak_frames: int = Field(3, ge=1)
    first_is_neutral: bool = False

    @field_validator("cameras", "lights")
    @classmethod
    def _are_different(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(names)) != len(names):
            raise ValueError("names one twice")
        return names


class OuluCasiaSource(ListedSource):
    """Sequences of posed expressions under three lights.

    The faces' intensity is None: nobody measured it, and a frame's place in its sequence is an order, no measure. Their
    illumination is the light's name, with `NI ` before it for the near-infrared camera.

    Args:
        root: The folder that holds `OriginalImg` (or `PreProcess Img`), or a folder above it.
        settings: The settings.

    Raises:
        InputError: There is no such folder, or more than one.
    """

    name: ClassVar[str] = "oulu_casia"
    Settings: ClassVar[type[SourceSettings]] = OuluCasiaSettings
    title: ClassVar[str] = "Oulu-CASIA NIR&VIS"
    description: ClassVar[str] = (
        "The Oulu-CASIA NIR&VIS facial expression database (Zhao et al., 2011): 80 people of 23 to 58 years, six posed "
        "expressions, each as a sequence from the neutral face to the peak, under strong, weak and dark light."
    )
    layout: ClassVar[str] = (
        "OriginalImg/\n"
        "  VL/                        visible light; NI: near infrared\n"
        "    Strong/                  also Weak, Dark\n"
        "      P001/                  to P080\n"
        "        Anger/               also Disgust, Fear, Happiness, Sadness, Surprise\n"
        "          000.jpeg ...       from the neutral face to the peak\n"
        "PreProcess Img/VL_Acropped/Strong/P001/Anger/000.jpeg    the holders' crops, where they are asked for"
    )
    terms: ClassVar[Terms] = Terms(
        holder="Center for Machine Vision and Signal Analysis, University of Oulu",
        ask="the center's page of its databases at oulu.fi, with a signed agreement",
        use="For research by those who signed the holder's agreement.",
        derived="Whether synthetic faces made from it may be passed on is not known: don't without the holder's word.",
        read_at="Not read: the agreement is not public. This is what the data set's users write of it.",
    )

    def __init__(self, root: Path, settings: OuluCasiaSettings) -> None:
        super().__init__(root, settings)
        self.settings: OuluCasiaSettings = settings
        expressions = list(EXPRESSIONS.values()) + ["neutral"] * settings.first_is_neutral
        self.class_names = tuple(sorted(expressions))
        ending = _CROPPED if settings.pictures == "cropped" else ""
        self._camera_folders = {camera: camera + ending for camera in settings.cameras}
        known = {camera + ending for camera in CAMERAS}
        lower = {name.lower() for name in known}
        bases = find_bases(root, lambda names: any(name.lower() in lower for name in names))
        folder = "PreProcess Img" if ending else "OriginalImg"
        if not bases:
            looked_for = f"{folder}/VL{ending}/Strong/P001/Anger/000.jpeg, here and in the folders below"
            raise InputError(unknown_layout(root, self.title, looked_for))
        if len(bases) > 1:
            raise several_copies(root, bases)
        self._base = bases[0]
        self.published = self._published()
        what = f"a camera ({', '.join(sorted(known))})"
        self._cameras = NameRule.of_names(
            self._camera_folders.values(), what, known - set(self._camera_folders.values())
        )

    def _published(self) -> list[PublishedCount]:
        """What the whole data set holds of what the settings ask for."""
        lights = len(self.settings.lights)
        per_light = len(SUBJECTS) * len(EXPRESSIONS) * len(self.settings.cameras)
        counts = {"subjects": len(SUBJECTS), "sequences": per_light * lights}
        if self.settings.peak_frames <= 3:  # of longer stretches no publication says that every sequence has them
            kept = self.settings.peak_frames + self.settings.first_is_neutral
            counts["faces"] = per_light * lights * kept
            of_class = per_light * lights // len(EXPRESSIONS) * self.settings.peak_frames
            counts |= {f"class {name}": of_class for name in EXPRESSIONS.values()}
            if self.settings.first_is_neutral:
                counts["class neutral"] = per_light * lights
            for light in self.settings.lights:
                for camera in self.settings.cameras:
                    counts[f"light {_illumination(camera, light)}"] = len(SUBJECTS) * len(EXPRESSIONS) * kept
        return [PublishedCount(what, count, _READ_AT) for what, count in counts.items()]

    def list_faces(self) -> Iterator[ListedFace | Problem]:
        """Yields the faces by camera, light, subject, expression and frame, and every problem."""
        cameras, problems = match_folders(self._base, below(self.root, self._base), self._cameras, files_matter=False)
        yield from problems
        wanted = {folder: camera for camera, folder in self._camera_folders.items()}
        lights = NameRule.of_names(LIGHTS, f"a light ({', '.join(LIGHTS)})")
        for camera in cameras:
            found, problems = match_folders(camera, below(self.root, camera), lights)
            yield from problems
            for light in found:
                if light.name in self.settings.lights:
                    yield from self._light_faces(light, _illumination(wanted[camera.name], light.name))

    def _light_faces(self, light: Path, illumination: str) -> Iterator[ListedFace | Problem]:
        subjects, problems = match_folders(
            light, below(self.root, light), NameRule.of_names(SUBJECTS, "a subject (P001 to P080)")
        )
        yield from problems
        expressions = NameRule.of_names(EXPRESSIONS, f"an expression ({', '.join(EXPRESSIONS)})")
        for subject in subjects:
            sequences, problems = match_folders(subject, below(self.root, subject), expressions)
            yield from problems
            for sequence in sequences:
                yield from self._sequence_faces(sequence, subject.name, illumination)

    def _sequence_faces(self, sequence: Path, subject: str, illumination: str) -> Iterator[ListedFace | Problem]:
        where = below(self.root, sequence)
        frames = read_frames(sequence, where, _FRAME)
        yield from frames.problems
        numbers = list(frames.names)
        needed = self.settings.peak_frames + self.settings.first_is_neutral
        if not numbers:
            return
        if len(numbers) < needed:
            yield too_few_frames(where, len(numbers), needed)
            return
        kept = [(number, EXPRESSIONS[sequence.name]) for number in last_frames(numbers, self.settings.peak_frames)]
        if self.settings.first_is_neutral:
            if numbers[0] != 0:
                why = f"starts with frame {numbers[0]}, so its neutral face is not there"
                yield Problem(f"{where}/", why, "copy the sequence again, or set first_is_neutral to false")
            else:
                kept.insert(0, (0, "neutral"))
        for number, label_name in kept:
            path = sequence / frames.names[number]
            yield ListedFace(
                path=below(self.root, path),
                label_name=label_name,
                name=path.relative_to(self._base).as_posix(),
                subject=subject,
                illumination=illumination,
            )

    def missing(self) -> Iterator[Problem]:
        """Lights, subjects and expressions without a sequence; a subject's expressions are one line."""
        for folder in self._camera_folders.values():
            for light in self.settings.lights:
                place = self._base / folder / light
                where = f"{folder}/{light}"
                if not place.is_dir():
                    yield Problem(where, "is missing", "480 sequences; unpack it, or leave it out of lights or cameras")
                    continue
                absent = [subject for subject in SUBJECTS if not (place / subject).is_dir()]
                if absent:
                    yield Problem(where, f"lacks the subjects {enumerate_names(absent)}")
                for subject in SUBJECTS:
                    lacks = [name for name in EXPRESSIONS if not (place / subject / name).is_dir()]
                    if lacks and subject not in absent:
                        yield Problem(f"{where}/{subject}", f"lacks {', '.join(lacks)}")

    def further_counts(self) -> Counter[str]:
        """Counts `sequences` that give faces."""
        return Counter(sequences=sequence_count(self.listed_faces()))


def _illumination(camera: str, light: str) -> str:
    return light if camera == "VL" else f"{camera} {light}"
