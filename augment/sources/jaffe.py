"""JAFFE (Lyons et al., "Coding facial expressions with Gabor wavelets", 1998): ten women, posed, 256 x 256 grey.

Layout: `KA.AN1.39.tiff` is the person, the expression with its take, and a number that runs through the whole set. The
213 names are those of the list in a public project that carries them all; they follow one rule (`_names` below): the
numbers 1 to 219 go person by person and expression by expression, and six pictures were taken out. The rating table of
README_FIRST.txt still has the six (KM-HA5, KM-SA4, KM-DI2, KR-HA3, NM-DI2, TM-HA4), and calls YM-HA2 by mistake YN-HA2;
it is not read. As the number alone says which picture it is, a misnamed file (a dot too many, a wrong person) can be
told its right name.

Files lie in one folder, `jaffe/` or `jaffedbase/`; folders below the root (one per class, say) are read too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

from augment.core.errors import InputError, Problem
from augment.faces.licences import Terms
from augment.sources.base import PublishedCount, SourceSettings
from augment.sources.exact_names import empty_file, files_below, misfit, relative
from augment.sources.listed import ListedFace, ListedSource
from augment.sources.sequences import unknown_layout

EXPRESSIONS = {  # in the order of the numbers
    "NE": "neutral",
    "HA": "happy",
    "SA": "sad",
    "SU": "surprise",
    "AN": "angry",
    "DI": "disgust",
    "FE": "fear",
}
PEOPLE = ("KM", "KA", "YM", "KR", "NM", "MK", "UY", "KL", "TM", "NA")  # in the order of the numbers
_MORE_TAKES = {"KM.HA": 5, "KM.SA": 5, "KA.HA": 4, "KA.FE": 4, "YM.FE": 4, "KL.DI": 4, "TM.HA": 4}  # the others: 3
_TAKEN_OUT = frozenset({8, 12, 21, 76, 108, 183})


def _names() -> dict[int, str]:
    """The set's names by their numbers."""
    names = {}
    number = 0
    for person in PEOPLE:
        for expression in EXPRESSIONS:
            for take in range(1, _MORE_TAKES.get(f"{person}.{expression}", 3) + 1):
                number += 1
                if number not in _TAKEN_OUT:
                    names[number] = f"{person}.{expression}{take}.{number}.tiff"
    return names


NAMES = _names()
_KNOWN = frozenset(NAMES.values())
_NUMBER = re.compile(r"[A-Z]{2}\b.*?\b(\d{1,3})\.+tiff?", re.IGNORECASE)
_NOTES = re.compile(r"(A_)?README(_FIRST)?(\.txt)?", re.IGNORECASE)
_LIKE = "KA.AN1.39.tiff"
_LOOKED_FOR = f"{_LIKE} and the like, in the folder and below it"
_RECORD = "zenodo.org/record/3451524"
_COUNTED = "counts by class of zenodo.org/records/14974867 in a public evaluation"
_BY_CLASS = {"angry": 30, "disgust": 29, "fear": 32, "happy": 31, "neutral": 30, "sad": 31, "surprise": 30}


class JaffeSettings(SourceSettings):
    """Settings of the source `jaffe`: none."""


class JaffeSource(ListedSource):
    """Ten people, seven expressions, two to four pictures of each; no splits.

    Args:
        root: The folder that holds the pictures, or folders of them.
        settings: None.

    Raises:
        InputError: No picture of JAFFE is there.
    """

    name: ClassVar[str] = "jaffe"
    Settings: ClassVar[type[SourceSettings]] = JaffeSettings
    class_names: tuple[str, ...] = tuple(sorted(EXPRESSIONS.values()))
    title: ClassVar[str] = "JAFFE"
    description: ClassVar[str] = (
        "The Japanese Female Facial Expression set (Lyons et al., 1998): 213 grey pictures of ten women who posed "
        "seven expressions. It was made to study perception; labels are what was posed, not what was felt."
    )
    layout: ClassVar[str] = "jaffedbase/\n  KA.AN1.39.tiff             person, expression and take, number"
    terms: ClassVar[Terms] = Terms(
        holder="Michael Lyons, Miyuki Kamachi and Jiro Gyoba",
        ask=f"https://{_RECORD}",
        use="For non-commercial scientific research only; publications must cite Lyons et al. (1998).",
        derived="Redistribution, pictures on web pages or social media, exhibition and broadcast are forbidden; "
        "nothing was found on images made from them: treat those the same.",
        read_at=f"{_RECORD}, whose text was only read in part; the prohibitions as a public evaluation sums up "
        "those of zenodo.org/records/14974867, which could not be read itself",
    )
    published: Sequence[PublishedCount] = (
        PublishedCount("faces", 213, _RECORD),
        PublishedCount("subjects", 10, _RECORD),
        *(PublishedCount(f"class {name}", count, _COUNTED) for name, count in _BY_CLASS.items()),
    )

    def __init__(self, root: Path, settings: Any) -> None:
        super().__init__(root, settings)
        if not any(_right_name(path.name) for path in files_below(root)):
            raise InputError(unknown_layout(root, self.title, _LOOKED_FOR))

    def list_faces(self) -> Iterator[ListedFace | Problem]:
        """Yields every picture in the order of the paths, and every problem."""
        first: dict[str, str] = {}
        paths = list(files_below(self.root))
        names = {path.name for path in paths}
        for path in paths:
            where = relative(path, self.root)
            if _NOTES.fullmatch(path.name):
                continue
            if path.name not in _KNOWN:
                yield self._misnamed(path.name, where, names)
                continue
            if path.name in first:
                yield Problem(where, f"lies there twice, also as {first[path.name]}", "delete one of the two")
                continue
            first[path.name] = where
            person, expression, _, _ = path.name.split(".")
            yield empty_file(path, where) or ListedFace(
                where, EXPRESSIONS[expression[:2]], name=path.stem, subject=person
            )

    def _misnamed(self, name: str, where: str, names: set[str]) -> Problem:
        right = _right_name(name)
        if right is None or name.lower() == right.lower():
            return misfit(where, self.title, _LIKE, right)
        fix = "which is there too: compare them" if right in names else "rename it"
        return Problem(where, "has a name that JAFFE does not have", f"its number is that of {right}: {fix}")

    def missing(self) -> Iterator[Problem]:
        """People without a picture, and which pictures of the others are missing."""
        found = {f"{face.name}.tiff" for face in self.listed_faces()}
        for person in sorted(PEOPLE):
            names = [name for name in NAMES.values() if name.startswith(f"{person}.")]
            lacking = [name for name in names if name not in found]
            if len(lacking) == len(names):
                yield Problem(f"person {person}", f"all {len(names)} pictures are missing")
            elif lacking:
                yield Problem(
                    f"person {person}", f"{len(lacking)} of {len(names)} pictures are missing", ", ".join(lacking)
                )


def _right_name(name: str) -> str | None:
    """The name of the picture whose number a file's name ends with; None where it ends with none."""
    match = _NUMBER.fullmatch(name)
    return NAMES.get(int(match[1])) if match else None
