"""FERG-DB (Aneja et al., "Modeling stylized character expressions via deep learning", ACCV 2016): drawn characters.

Layout: `<character>/<character>_<expression>/<character>_<expression>_<n>.png`, as the archive FERG_DB_256.zip unpacks;
its page (grail.cs.washington.edu/projects/deepexpr/ferg-2d-db.html) names the characters and expressions, and public
readers the folders (DCAN-Labs/auto-label-emotions). Counts by character and expression: the archive's README.txt, as
BanuSelinTosun/TakeAPic keeps it. The pictures are RGBA; what is transparent is laid over grey.

The "cardinal expressions" of the paper are the seven classes. Neither that README nor the page nor a public reader
names a file of scores or its layout, so none is read, and `intensity` stays unknown; text files beside the characters'
folders are passed over.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from augment.core.errors import InputError, Problem
from augment.faces.licences import Terms
from augment.sources.base import PublishedCount, RawFace, SourceSettings
from augment.sources.exact_names import (
    beside,
    empty_file,
    entries,
    misfit,
    misfit_folder,
    relative,
)
from augment.sources.listed import ListedFace, ListedSource
from augment.sources.sequences import find_bases, unknown_layout

CHARACTERS = ("aia", "bonnie", "jules", "malcolm", "mery", "ray")
EXPRESSIONS = {
    "anger": "angry",
    "disgust": "disgust",
    "fear": "fear",
    "joy": "happy",
    "neutral": "neutral",
    "sadness": "sad",
    "surprise": "surprise",
}
_NAME = re.compile(rf"({'|'.join(CHARACTERS)})_({'|'.join(EXPRESSIONS)})_([1-9]\d*)\.png")
_LIKE = "aia_anger_1.png"
_LOOKED_FOR = (
    "<character>/<character>_<expression>/<character>_<expression>_<n>.png "
    f"(characters: {', '.join(CHARACTERS)}; expressions: {', '.join(EXPRESSIONS)})"
)
# Readers of the whole archive pass over this one: it does not decode.
_BROKEN_AS_DISTRIBUTED = "bonnie_surprise_1389.png"
_PAGE = "grail.cs.washington.edu/projects/deepexpr/ferg-2d-db.html"
_README = "the archive's README.txt"
_PICTURES = {  # by character, in the order of EXPRESSIONS
    "aia": (1644, 1596, 1116, 1232, 1200, 1469, 1746),
    "bonnie": (2059, 2088, 1255, 1438, 1243, 1506, 1682),
    "jules": (1479, 1321, 1858, 1317, 1344, 1475, 1961),
    "malcolm": (1100, 1190, 1018, 1089, 1083, 1034, 1065),
    "mery": (1428, 911, 1035, 1140, 941, 1045, 1058),
    "ray": (1459, 1465, 1137, 1114, 1128, 1098, 1200),
}


class FergSettings(SourceSettings):
    """Settings of the source `ferg`: none."""


class FergSource(ListedSource):
    """Six characters, each with seven expressions; the characters are the subjects, and there are no splits.

    Args:
        root: The folder that holds the characters' folders, or one or two above it.
        settings: None.

    Raises:
        InputError: No character's folder is there.
    """

    name: ClassVar[str] = "ferg"
    Settings: ClassVar[type[SourceSettings]] = FergSettings
    class_names: tuple[str, ...] = tuple(sorted(EXPRESSIONS.values()))
    title: ClassVar[str] = "FERG-DB"
    description: ClassVar[str] = (
        "The Facial Expression Research Group 2D Database (Aneja et al., 2016): renders of six stylized characters, "
        "256 x 256 pixels, each in seven expressions. The pictures are very alike, and easy for a classifier."
    )
    layout: ClassVar[str] = (
        "FERG_DB_256/\n"
        "  aia/                       also bonnie, jules, malcolm, mery, ray\n"
        "    aia_anger/               also _disgust, _fear, _joy, _neutral, _sadness, _surprise\n"
        "      aia_anger_1.png"
    )
    terms: ClassVar[Terms] = Terms(
        holder="Facial Expression Research Group, University of Washington",
        ask=f"https://{_PAGE} (a form)",
        use="For the use that the form for access grants; publications must cite Aneja et al. (2016).",
        derived="Treat images made from it as the set itself, and redistribute neither, unless the form allows it.",
        read_at=f"{_PAGE} says how to ask and what to cite; the terms behind its form could not be read",
    )
    published: Sequence[PublishedCount] = (
        PublishedCount("faces", 55_767, _PAGE),
        PublishedCount("subjects", 6, _PAGE),
        *(
            PublishedCount(f"class {label_name}", sum(counts), _README)
            for label_name, counts in zip(EXPRESSIONS.values(), zip(*_PICTURES.values(), strict=True), strict=True)
        ),
        *(PublishedCount(f"character {name}", sum(counts), _README) for name, counts in _PICTURES.items()),
    )

    def __init__(self, root: Path, settings: Any) -> None:
        super().__init__(root, settings)
        known = set(CHARACTERS)
        bases = find_bases(root, lambda names: not known.isdisjoint(name.lower() for name in names), depth=3)
        if not bases:
            raise InputError(unknown_layout(root, self.title, _LOOKED_FOR))
        self._base = bases[0]

    def list_faces(self) -> Iterator[ListedFace | Problem]:
        """Yields every picture by character, expression and name, and every problem."""
        yield from beside(self.root, self._base, self.title, _LIKE)
        for path in entries(self._base):
            if not path.is_dir():
                if path.suffix.lower() != ".txt":
                    yield misfit(relative(path, self.root), self.title, _LIKE)
            elif path.name in CHARACTERS:
                yield from self._list_character(path)
            else:
                yield misfit_folder(path, relative(path, self.root), self.title, CHARACTERS)

    def _list_character(self, folder: Path) -> Iterator[ListedFace | Problem]:
        known = {f"{folder.name}_{expression}": expression for expression in EXPRESSIONS}
        for path in entries(folder):
            where = relative(path, self.root)
            if not path.is_dir():
                yield misfit(where, self.title, _LIKE)
            elif path.name in known:
                yield from self._list_expression(path, folder.name, known[path.name])
            else:
                yield misfit_folder(path, where, self.title, known)

    def _list_expression(self, folder: Path, character: str, expression: str) -> Iterator[ListedFace | Problem]:
        paths = entries(folder)
        if not paths:
            yield Problem(relative(folder, self.root) + "/", "is a folder without pictures", "unpack it again")
        for path in paths:
            where = relative(path, self.root)
            match = _NAME.fullmatch(path.name)
            if path.is_dir():
                yield Problem(where + "/", "is a folder among pictures", "move it away, or quarantine it")
            elif match is None:
                right = path.name.lower() if _NAME.fullmatch(path.name.lower()) else None
                yield misfit(where, self.title, _LIKE, right)
            elif match.group(1, 2) != (character, expression):
                belongs = f"{match[1]}/{match[1]}_{match[2]}/"
                yield Problem(where, f"lies in {folder.name}/, but its name says {belongs}", "move it, or rename it")
            else:
                yield empty_file(path, where) or ListedFace(
                    where, EXPRESSIONS[expression], name=path.stem, subject=character
                )

    def missing(self) -> Iterator[Problem]:
        """How many pictures each character lacks, by expression."""
        found = Counter((face.subject, face.label_name) for face in self.listed_faces())
        for character, counts in _PICTURES.items():
            lacking = [
                (expression, count - found[character, label_name], count)
                for (expression, label_name), count in zip(EXPRESSIONS.items(), counts, strict=True)
                if found[character, label_name] < count
            ]
            lack, whole = sum(missing for _, missing, _ in lacking), sum(counts)
            if lack == whole:
                yield Problem(f"{character}/", f"all {whole:,} pictures are missing")
            elif lack:
                where = ", ".join(
                    f"{name} {'all' if missing == count else format(missing, ',')}" for name, missing, count in lacking
                )
                yield Problem(f"{character}/", f"{lack:,} of {whole:,} pictures are missing: {where}")

    def further_counts(self) -> Counter[str]:
        """Pictures by character."""
        return Counter(f"character {face.subject}" for face in self.listed_faces())

    def read(self, listed: ListedFace) -> RawFace | Problem:
        """Reads one picture."""
        found = super().read(listed)
        if isinstance(found, Problem) and listed.path.endswith("/" + _BROKEN_AS_DISTRIBUTED):
            return replace(found, fix="it is broken in the archive itself: delete it")
        return found
