"""RaFD, the Radboud Faces Database (Langner et al., Cognition & Emotion 24(8), 2010): people before five cameras.

Layout: `Rafd090_01_Caucasian_female_angry_frontal.jpg` is camera angle, person, group, gender, expression and gaze
(rafd.socsci.ru.nl/FAQ.html); `Kid` stands where adults have Caucasian or Moroccan. Files lie in one folder; folders
below the root (one a camera, say) are read too. Who has which number is in the list of names of zhangzjn/FReeNet.

Cameras stand on a half circle from 000 to 180, with 090 in front. At 000 and 045 the face is turned to the picture's
right, the nose pointing there and the person's right cheek in view, so that yaw is 90 minus the angle. Measured on the
landmarks that FReeNet gives: in all 1,608 pictures at 045 the nose lies right of the middle of the face's outline, in
all 1,608 at 135 left of it. The README of a second reader says the same of the cheek in view.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import field_validator

from augment.core.errors import InputError, Problem
from augment.faces.licences import Terms
from augment.sources.attributes import signed_degrees
from augment.sources.base import PublishedCount, SourceSettings
from augment.sources.exact_names import empty_file, files_below, misfit, relative
from augment.sources.listed import ListedFace, ListedSource
from augment.sources.sequences import unknown_layout

ANGLES = (0, 45, 90, 135, 180)
GAZES = ("frontal", "left", "right")
GROUPS = ("Caucasian", "Kid", "Moroccan")
EXPRESSIONS = {
    "angry": "angry",
    "contemptuous": "contempt",
    "disgusted": "disgust",
    "fearful": "fear",
    "happy": "happy",
    "neutral": "neutral",
    "sad": "sad",
    "surprised": "surprise",
}
_NUMBERS = {
    ("Caucasian", "female"): (1, 2, 4, 8, 12, 14, 16, 18, 19, 22, 26, 27, 31, 32, 37, 56, 57, 58, 61),
    ("Caucasian", "male"): (3, 5, 7, 9, 10, 15, 20, 21, 23, 24, 25, 28, 30, 33, 36, 38, 46, 47, 49, 71),
    ("Kid", "female"): (11, 41, 43, 44, 64, 65),
    ("Kid", "male"): (39, 40, 42, 63),
    ("Moroccan", "male"): (29, 35, 45, 48, 50, 51, 52, 53, 54, 55, 59, 60, 67, 68, 69, 70, 72, 73),
}
PEOPLE = {f"{number:02d}": who for who, numbers in sorted(_NUMBERS.items()) for number in numbers}
_NAME = re.compile(
    rf"Rafd(?P<angle>{'|'.join(f'{angle:03d}' for angle in ANGLES)})_(?P<person>\d\d)_(?P<group>{'|'.join(GROUPS)})"
    rf"_(?P<gender>female|male)_(?P<expression>{'|'.join(EXPRESSIONS)})_(?P<gaze>{'|'.join(GAZES)})\.jpg"
)
_NAME_IN_ANY_CASE = re.compile(_NAME.pattern, re.IGNORECASE)
_LIKE = "Rafd090_01_Caucasian_female_angry_frontal.jpg"
_LOOKED_FOR = f"{_LIKE} and the like, in the folder and below it"
_PAGE = "rafd.socsci.ru.nl/Overview.html"


class RafdSettings(SourceSettings):
    """Settings of the source `rafd`.

    Attributes:
        angles: Which cameras' pictures to take, of 0, 45, 90, 135, 180. 45, 90 and 135 make 67 x 8 x 3 x 3 = 4,824
            pictures, the number that LSSL names (section 4), and StarGAN before it; the outer two show profiles.
        gazes: Which gazes to take, of frontal, left, right.
        groups: Which people to take, of Caucasian (adults), Kid, Moroccan (adults).
    """

    angles: tuple[Literal[0, 45, 90, 135, 180], ...] = (45, 90, 135)
    gazes: tuple[Literal["frontal", "left", "right"], ...] = ("frontal", "left", "right")
    groups: tuple[Literal["Caucasian", "Kid", "Moroccan"], ...] = ("Caucasian", "Kid", "Moroccan")

    @field_validator("angles", "gazes", "groups")
    @classmethod
    def _are_different(cls, values: tuple[Any, ...]) -> tuple[Any, ...]:
        if not values or len(set(values)) != len(values):
            raise ValueError("must be different values, at least one")
        return values


class RafdSource(ListedSource):
    """67 people, eight expressions, three gazes, five cameras; no splits.

    Args:
        root: The folder that holds the pictures, or folders of them.
        settings: The settings.

    Raises:
        InputError: No picture of RaFD is there.
    """

    name: ClassVar[str] = "rafd"
    Settings: ClassVar[type[SourceSettings]] = RafdSettings
    class_names: tuple[str, ...] = tuple(sorted(EXPRESSIONS.values()))
    title: ClassVar[str] = "RaFD"
    description: ClassVar[str] = (
        "The Radboud Faces Database (Langner et al., 2010): posed expressions of 67 people, photographed by five "
        "cameras at once, with three directions of gaze; 681 x 1024 pixels."
    )
    layout: ClassVar[str] = (
        "Rafd090_01_Caucasian_female_angry_frontal.jpg\n"
        "    camera (000, 045, 090, 135, 180), person, group, gender, expression, gaze; in one folder or several"
    )
    terms: ClassVar[Terms] = Terms(
        holder="Radboud University Nijmegen, Behavioural Science Institute",
        ask="https://rafd.socsci.ru.nl (researchers of accredited universities, each for themselves)",
        use="For strictly scientific purposes only, by the researcher to whom access was given; cite Langner et al.",
        derived="Pictures may be shown in strictly scientific publications only; nothing was found on images made from "
        "them: redistribute neither.",
        read_at="rafd.socsci.ru.nl/FAQ.html; the terms behind the form for access could not be read",
    )

    def __init__(self, root: Path, settings: RafdSettings) -> None:
        super().__init__(root, settings)
        if not any(_NAME_IN_ANY_CASE.fullmatch(path.name) for path in files_below(root)):
            raise InputError(unknown_layout(root, self.title, _LOOKED_FOR))
        self.published = self._published()

    @property
    def _people(self) -> dict[str, tuple[str, str]]:
        return {person: who for person, who in PEOPLE.items() if who[0] in self.settings.groups}

    def _published(self) -> tuple[PublishedCount, ...]:
        """The counts of the angles, gazes and groups that are asked for."""
        people, angles, gazes = len(self._people), len(self.settings.angles), len(self.settings.gazes)
        each = len(EXPRESSIONS) * people
        counts = {
            "faces": each * angles * gazes,
            "subjects": people,
            **{f"class {name}": people * angles * gazes for name in self.class_names},
            **{f"pose {signed_degrees(_yaw(angle))}": each * gazes for angle in self.settings.angles},
            **{f"gaze {gaze}": each * angles for gaze in self.settings.gazes},
            **{
                f"people {group}": sum(who[0] == group for who in self._people.values())
                for group in self.settings.groups
            },
        }
        return tuple(PublishedCount(what, count, _PAGE) for what, count in counts.items())

    def list_faces(self) -> Iterator[ListedFace | Problem]:
        """Yields every picture that is asked for in the order of the paths, and every problem."""
        first: dict[str, str] = {}
        asked_for = 0
        for path in files_below(self.root):
            where = relative(path, self.root)
            match = _NAME.fullmatch(path.name)
            if match is None:
                yield misfit(where, self.title, _LIKE, _in_right_case(path.name))
                continue
            if path.name in first:
                yield Problem(where, f"lies there twice, also as {first[path.name]}", "delete one of the two")
                continue
            first[path.name] = where
            who = PEOPLE.get(match["person"])
            if who is None:
                yield Problem(where, f"RaFD has no person {match['person']}", "rename it, or move it away")
            elif match.group("group", "gender") != who:
                found = f"{match['group']} {match['gender']}"
                yield Problem(where, f"person {match['person']} is {' '.join(who)}, not {found}", "rename it")
            elif self._is_asked_for(match):
                yield empty_file(path, where) or ListedFace(
                    where,
                    EXPRESSIONS[match["expression"]],
                    name=path.stem,
                    subject=match["person"],
                    yaw=_yaw(int(match["angle"])),
                )
                asked_for += 1
        if first and not asked_for:
            there = sorted({name[4:7] for name in first})
            why = "leave none of the pictures that are there"
            yield Problem("angles, gazes, groups", why, f"there are pictures of the cameras {', '.join(there)}")

    def _is_asked_for(self, match: re.Match[str]) -> bool:
        return (
            int(match["angle"]) in self.settings.angles
            and match["gaze"] in self.settings.gazes
            and match["group"] in self.settings.groups
        )

    def missing(self) -> Iterator[Problem]:
        """Cameras and people without a picture, and how many pictures of the others are missing."""
        found = Counter((face.yaw, face.subject) for face in self.listed_faces())
        each = len(EXPRESSIONS) * len(self.settings.gazes)
        there = []
        for angle in self.settings.angles:
            if any(found[_yaw(angle), person] for person in self._people):
                there.append(angle)
            else:
                yield Problem(
                    f"Rafd{angle:03d}_*", f"all {each * len(self._people):,} pictures of this camera are missing"
                )
        for person, (group, gender) in sorted(self._people.items()):
            whole = each * len(there)
            lacking = whole - sum(found[_yaw(angle), person] for angle in there)
            if lacking:
                amount = f"all {whole}" if lacking == whole else f"{lacking} of {whole}"
                yield Problem(f"person {person} ({group} {gender})", f"{amount} pictures are missing")

    def further_counts(self) -> Counter[str]:
        """Pictures by gaze, people by group."""
        faces = self.listed_faces()
        counts = Counter(f"gaze {face.name.rsplit('_', 1)[1]}" for face in faces)
        counts.update(f"people {PEOPLE[person][0]}" for person in {face.subject for face in faces} if person)
        return counts


def _yaw(angle: int) -> float:
    """Degrees to the picture's right of a face that the camera at this angle sees."""
    return float(90 - angle)


def _in_right_case(name: str) -> str | None:
    if not _NAME_IN_ANY_CASE.fullmatch(name):
        return None
    head, person, group, *rest = name.lower().split("_")
    return "_".join([head.capitalize(), person, group.capitalize(), *rest])
