"""The MUG facial expression database (Aifanti, Papachristou and Delopoulos, 2010).

86 people (those of 52 are given to licensees; LSSL, section 5.1), seven expressions with the neutral one, several takes
of each, 896 x 896 pixels. A take rises from the neutral face to the apex and falls back.

Layout: `subjects3/001/anger/take000/img_0000.jpg`; some people have `subjects3/001/session0/anger/take000`, and where
an archive was unpacked into a folder of its name it is `subjects3/001/001/anger/...`. Takes whose name holds `nsg` are
those that readers leave out. It is as the public readers have it (raahii/mocogan-chainer, azencot-group/DiffSDA).

Which frames show the peak: there is no public description of a file that says it for all takes. What the holders did
annotate by hand (80 points per face, `manual.tar`) they named so that subject, expression, take and frame are known:
`manual/images/001_an_001_0000.jpg` (the reader of FEDC, the facial expressions databases
classifier). So there are two rules, a setting: the frames that the holders annotated, or the frames about the middle of
each take, as several public readers take them. The 80 points have no documented way to the project's 68, and are not
read.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from augment.core.errors import InputError, Problem
from augment.faces.licences import Terms
from augment.sources.base import PublishedCount, SourceSettings
from augment.sources.exact_names import below
from augment.sources.folder import is_ignored
from augment.sources.listed import ListedFace, ListedSource
from augment.sources.sequences import (
    OTHER_CASE,
    NameRule,
    find_bases,
    is_archive,
    match_folders,
    middle_frames,
    printable,
    read_frames,
    sequence_count,
    several_copies,
    stray_file,
    too_few_frames,
    unknown_layout,
)

EXPRESSIONS = {
    "anger": "angry",
    "disgust": "disgust",
    "fear": "fear",
    "happiness": "happy",
    "neutral": "neutral",
    "sadness": "sad",
    "surprise": "surprise",
}
PUBLIC_SUBJECTS = 52
_LETTERS = {name[:2]: label_name for name, label_name in EXPRESSIONS.items()}
_SUBJECT = re.compile(r"\d{3}")
_SUBJECTS = NameRule(_SUBJECT, "a subject (001 to 086)", str.lower)
_SESSION = re.compile(r"session\d+", re.I)
_TAKES = NameRule(re.compile(r"take\d{3}[^/]*"), "a take (take000)", lambda name: "take" + name[4:])
_FRAME = NameRule(re.compile(r"(?:img_)?(?P<number>\d{4})\.jpg"), "a frame (img_0000.jpg)", str.lower)
_ANNOTATED = NameRule(
    re.compile(
        rf"(?P<subject>\d{{3}})_(?P<expression>{'|'.join(_LETTERS)})_(?P<take>\d{{3}})_(?P<number>\d{{4}})\.jpg"
    ),
    "an annotated picture (001_an_001_0000.jpg)",
    str.lower,
)
_READ_AT = "LSSL, section 5.1: the sequences of 52 subjects are available"


class MugSettings(SourceSettings):
    """Settings of the source `mug`.

    Attributes:
        peak: Which frames are faces. `middle`: those about the middle of each take. `annotation`: the pictures that the
            holders annotated by hand (`manual/images`), and no takes.
        peak_frames: With `middle`, how many of a take.
        min_frames: With `middle`, a take of fewer frames is a problem: where its end is cut off, its middle is no
            apex. (Tulyakov et al. 2018, MoCoGAN: a take has 50 to 160 frames.)
    """

    peak: Literal["middle", "annotation"] = "middle"
    peak_frames: int = Field(3, ge=1)
    min_frames: int = Field(20, ge=1)


class MugSource(ListedSource):
    """Takes of posed expressions, each from neutral to neutral.

    The faces' intensity is None: the data set does not measure it.

    Args:
        root: The folder that holds `subjects3` (with `peak: annotation`, `manual`), or a folder above it.
        settings: The settings.

    Raises:
        InputError: There is no such folder, or more than one.
    """

    name: ClassVar[str] = "mug"
    Settings: ClassVar[type[SourceSettings]] = MugSettings
    class_names = tuple(sorted(EXPRESSIONS.values()))
    title: ClassVar[str] = "MUG facial expression database"
    description: ClassVar[str] = (
        "The MUG facial expression database (Aifanti et al., 2010): people before a blue screen, six posed expressions "
        "and the neutral face, several takes of each, 896 x 896 pixels."
    )
    layout: ClassVar[str] = (
        "subjects3/\n"
        "  001/                       some people: 001/session0/\n"
        "    anger/                   also disgust, fear, happiness, neutral, sadness, surprise\n"
        "      take000/\n"
        "        img_0000.jpg ...     neutral, apex, neutral\n"
        "manual/images/001_an_001_0000.jpg    the annotated frames, where they are asked for"
    )
    terms: ClassVar[Terms] = Terms(
        holder="Multimedia Understanding Group, Aristotle University of Thessaloniki",
        ask="https://mug.ee.auth.gr/fed/",
        use="For research by those who signed the holder's licence.",
        derived=(
            "The data set, and faces cut from it, may not be passed on; of synthetic faces nothing is known: "
            "don't pass them on without the holder's word."
        ),
        read_at="Not read: the licence is given on request. This is what the data set's users write of it (DiffSDA).",
    )

    def __init__(self, root: Path, settings: MugSettings) -> None:
        super().__init__(root, settings)
        self.settings: MugSettings = settings
        self._set_aside = 0
        if settings.peak == "annotation":
            bases = find_bases(root, lambda names: "images" in names and "subjects3" not in names)
            bases = [base / "images" for base in bases if (base / "images").is_dir()]
            looked_for = (
                "manual/images/001_an_001_0000.jpg, here and in the folders below; peak: middle reads the takes"
            )
        else:
            bases = find_bases(root, lambda names: any(_SUBJECT.fullmatch(name) for name in names))
            bases = [base for base in bases if base.name == "subjects3"] or bases  # other parts may number people too
            looked_for = "subjects3/001/anger/take000/img_0000.jpg, here and in the folders below"
        if not bases:
            raise InputError(unknown_layout(root, self.title, looked_for))
        if len(bases) > 1:
            raise several_copies(root, bases)
        self._base = bases[0]
        if settings.peak == "middle":  # how many takes each subject has is not published
            self.published = (PublishedCount("subjects", PUBLIC_SUBJECTS, _READ_AT),)

    def list_faces(self) -> Iterator[ListedFace | Problem]:
        """Yields the faces by subject, session, expression, take and frame, and every problem."""
        if self.settings.peak == "annotation":
            yield from self._annotated_faces()
            return
        self._set_aside = 0
        subjects, problems = match_folders(self._base, below(self.root, self._base), _SUBJECTS, files_matter=False)
        yield from problems
        for subject in subjects:
            seen: dict[tuple[str, ...], str] = {}
            for place, session in self._sessions(subject):
                if isinstance(place, Problem):
                    yield place
                else:
                    yield from self._session_faces(place, subject.name, session, seen)

    def _sessions(self, subject: Path) -> Iterator[tuple[Path | Problem, str]]:
        """The folders that hold a subject's expressions, with the session's name."""
        inside = sorted(path for path in subject.iterdir() if not is_ignored(path) and path.is_dir())
        deeper = [path for path in inside if path.name == subject.name or _SESSION.fullmatch(path.name)]
        if len(deeper) < len(inside) or not inside:
            yield subject, ""
        for path in deeper:
            session = "" if path.name == subject.name else path.name
            if session != session.lower():
                why = OTHER_CASE
                yield Problem(f"{below(self.root, path)}/", why, f"rename it to {session.lower()}"), session
            elif session:
                yield path, session
            else:
                yield from self._sessions(path)

    def _session_faces(
        self, place: Path, subject: str, session: str, seen: dict[tuple[str, ...], str]
    ) -> Iterator[ListedFace | Problem]:
        deeper = {path.name for path in place.iterdir() if _SESSION.fullmatch(path.name) or path.name == subject}
        rule = NameRule.of_names(EXPRESSIONS, f"an expression ({', '.join(EXPRESSIONS)})", deeper)
        expressions, problems = match_folders(place, below(self.root, place), rule)
        yield from problems
        if not expressions and not problems:
            yield Problem(f"{below(self.root, place)}/", "holds no expressions", "copy it again")
        for expression in expressions:
            takes, problems = match_folders(expression, below(self.root, expression), _TAKES)
            yield from problems
            if not takes and not problems:
                yield Problem(f"{below(self.root, expression)}/", "holds no takes", "copy it again")
            for take in takes:
                key = (session, expression.name, take.name)
                if "nsg" in take.name:
                    self._set_aside += 1
                elif key in seen:
                    why = f"is a take of subject {subject} that lies in {seen[key]} too"
                    yield Problem(f"{below(self.root, take)}/", why, "keep one of them")
                else:
                    seen[key] = below(self.root, take)
                    yield from self._take_faces(take, subject, "/".join(filter(None, (subject, *key))))

    def _take_faces(self, take: Path, subject: str, name: str) -> Iterator[ListedFace | Problem]:
        where = below(self.root, take)
        frames = read_frames(take, where, _FRAME)
        yield from frames.problems
        numbers = list(frames.names)
        needed = max(self.settings.peak_frames, self.settings.min_frames)
        if not numbers:
            return
        if len(numbers) < needed:
            problem = too_few_frames(where, len(numbers), needed)
            yield Problem(problem.where, problem.why, "copy it again, or lower min_frames (and peak_frames)")
            return
        for number in middle_frames(numbers, self.settings.peak_frames):
            yield ListedFace(
                path=f"{where}/{frames.names[number]}",
                label_name=EXPRESSIONS[take.parent.name],
                name=f"{name}/{frames.names[number]}",
                subject=subject,
            )

    def _annotated_faces(self) -> Iterator[ListedFace | Problem]:
        for path in sorted(self._base.iterdir()):
            if is_ignored(path):
                continue
            where = below(self.root, path)
            right = None if path.is_dir() else _ANNOTATED.judge(path.name)
            if right is None:
                if is_archive(path.name):
                    yield stray_file(where, path.name)
                else:
                    yield Problem(printable(where), f"is not {_ANNOTATED.what}", "rename it, or move it away")
            elif right != path.name:
                yield Problem(where, OTHER_CASE, f"rename it to {right}")
            else:
                match = _ANNOTATED.pattern.fullmatch(path.name)
                assert match is not None
                yield ListedFace(
                    path=where,
                    label_name=_LETTERS[match["expression"]],
                    name=f"manual/{path.name}",
                    subject=match["subject"],
                )

    def missing(self) -> Iterator[Problem]:
        """How many of the public subjects are not there, and which expressions a subject lacks, one line each."""
        shown: dict[str, set[str]] = {}
        for face in self.listed_faces():
            shown.setdefault(face.subject or "", set()).add(face.label_name)
        if self.settings.peak == "annotation":
            return
        if len(shown) < PUBLIC_SUBJECTS:
            why = f"{len(shown)} subjects of the {PUBLIC_SUBJECTS} that are given to licensees have faces"
            yield Problem(below(self.root, self._base) or ".", why, "their numbers, 001 to 086, have gaps")
        for subject, names in sorted(shown.items()):
            lacks = [folder for folder, name in EXPRESSIONS.items() if name not in names]
            if lacks:
                yield Problem(subject, f"has no faces of {', '.join(lacks)}")

    def further_counts(self) -> Counter[str]:
        """Counts `sequences` that give faces, and the takes that are set aside by their name."""
        counts = Counter(sequences=sequence_count(self.listed_faces()))
        if self.settings.peak == "annotation":
            return Counter({"annotated pictures": len(self)})
        if self._set_aside:
            counts["takes set aside (nsg)"] = self._set_aside
        return counts
