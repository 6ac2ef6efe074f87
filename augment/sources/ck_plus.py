"""CK+, the extended Cohn-Kanade data set (Lucey et al., "The extended Cohn-Kanade dataset (CK+)", 2010).

593 sequences of 123 people, each from the neutral face to the peak; 327 of them, of 118 people, have an emotion label,
and only these are read. Layout and labels are as the data set's own readme has it (phase 1, 28 September 2010):

- `cohn-kanade-images/S005/001/S005_001_00000001.png`, 640 x 490 or 640 x 480 pixels;
- `Emotion/S005/001/S005_001_00000011_emotion.txt`: one number, 0 neutral, 1 anger, 2 contempt, 3 disgust, 4 fear,
  5 happy, 6 sadness, 7 surprise, in a file named after the last frame, the peak; no file means that there is no label;
- `Landmarks/S005/001/S005_001_00000001_landmarks.txt`: 68 rows of x and y in pixels, tracked by an active appearance
  model. The readme does not say whether pixels count from 0 or from 1; x is divided by the width and y by the height,
  which lies between the two and is wrong by half a pixel at most.

`FACS` is not read. Where the archives were unpacked into folders of their names (`Emotion_labels/Emotion`,
`extended-cohn-kanade-images/cohn-kanade-images`, `Landmarks/Landmarks`) they are found there.

Also read is the extract that goes about as CK+48: `CK+48/anger/S010_004_00000017.png`, the last three frames of every
labelled sequence as 48 x 48 grey faces in class folders; it has no landmarks and no neutral faces.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
from pydantic import Field

from augment.core.errors import InputError, Problem
from augment.core.regular_files import read_regular_text
from augment.faces.landmark_bounds import LANDMARK_COUNT
from augment.faces.licences import Terms
from augment.sources.base import Annotation, PublishedCount, RawFace, SourceSettings
from augment.sources.exact_names import below
from augment.sources.folder import is_ignored
from augment.sources.listed import ListedFace, ListedSource
from augment.sources.sequences import (
    OTHER_CASE,
    NameRule,
    enumerate_names,
    find_bases,
    last_frames,
    match_folders,
    printable,
    read_frames,
    stray_file,
    too_few_frames,
    unknown_layout,
)

EMOTIONS = ("neutral", "angry", "contempt", "disgust", "fear", "happy", "sad", "surprise")  # the label files' 0..7
_EXTRACT_FOLDERS = {
    "anger": "angry",
    "contempt": "contempt",
    "disgust": "disgust",
    "fear": "fear",
    "happy": "happy",
    "sadness": "sad",
    "surprise": "surprise",
}
_SEQUENCES_OF = {
    "angry": 45,
    "contempt": 18,
    "disgust": 59,
    "fear": 25,
    "happy": 69,
    "sad": 28,
    "surprise": 83,
}  # 327
_LABELLED_SUBJECTS = 118
_SUBJECTS = NameRule(re.compile(r"S\d{3}"), "a subject (S005)", str.upper)
_SEQUENCES = NameRule(re.compile(r"\d{3}"), "a sequence (001)", str.lower)
_EXTRACT_NAME = re.compile(r"(?P<subject>S\d{3})_(?P<sequence>\d{3})_(?P<number>\d{8})\.png")
_MOST_BYTES = 2**20  # of a label or of landmarks, which have some thousand at most
_READ_AT = "Lucey et al. 2010: 327 sequences with a validated emotion label, by emotion"
_SUBJECTS_READ_AT = "the papers that use CK+: the labelled sequences are of 118 people"


class CkPlusSettings(SourceSettings):
    """Settings of the source `ck_plus`.

    Attributes:
        peak_frames: So many last frames of a labelled sequence are faces of its emotion.
        first_is_neutral: Whether the first frame of every labelled sequence is a face of the class neutral.
    """

    peak_frames: int = Field(3, ge=1)
    first_is_neutral: bool = False


class CkPlusSource(ListedSource):
    """The labelled sequences.

    The faces' intensity is None: a frame's place in its sequence is an order, no measure. Faces whose landmark file is
    missing have no landmarks; `missing` counts them.

    Args:
        root: The folder that holds `cohn-kanade-images` and `Emotion` (or the class folders of CK+48), or a folder
            above.
        settings: The settings.

    Raises:
        InputError: A folder is missing or is there twice, or neutral faces are asked of CK+48.
    """

    name: ClassVar[str] = "ck_plus"
    Settings: ClassVar[type[SourceSettings]] = CkPlusSettings
    title: ClassVar[str] = "CK+"
    description: ClassVar[str] = (
        "The extended Cohn-Kanade data set (Lucey et al., 2010): posed expressions as sequences from the neutral face "
        "to the peak; those with a validated emotion label."
    )
    layout: ClassVar[str] = (
        "cohn-kanade-images/S005/001/S005_001_00000001.png\n"
        "Emotion/S005/001/S005_001_00000011_emotion.txt\n"
        "Landmarks/S005/001/S005_001_00000001_landmarks.txt\n"
        "or the extract of peak frames:\n"
        "CK+48/anger/S010_004_00000017.png"
    )
    terms: ClassVar[Terms] = Terms(
        holder="Affect Analysis Group, University of Pittsburgh",
        ask="http://www.jeffcohn.net/Resources/, with a signed agreement",
        use="For research in automatic facial image analysis and synthesis and for perceptual studies.",
        derived="Whether synthetic faces made from it may be passed on is not known: don't without the holder's word.",
        read_at=(
            "The use: http://www.pitt.edu/~emotion/ck-spread.htm. The agreement itself was not read: it is given on "
            "request."
        ),
    )

    def __init__(self, root: Path, settings: CkPlusSettings) -> None:
        super().__init__(root, settings)
        self.settings: CkPlusSettings = settings
        self.class_names = tuple(sorted(name for name in EMOTIONS if name != "neutral" or settings.first_is_neutral))
        self._unlabelled = 0
        self._no_landmarks: Counter[str] = Counter()
        self._images = self._part("cohn-kanade-images", needed=False)
        self._extract: Path | None = None
        if self._images is None:
            self._extract = self._extract_folder()
        else:
            emotion = self._part("Emotion", needed=True)
            assert emotion is not None
            self._emotion = emotion
            self._landmarks = self._part("Landmarks", needed=False)
        self.published = self._published()

    def _part(self, folder: str, *, needed: bool) -> Path | None:
        """The folder of one of the data set's archives: the nearest one of its name, the deeper one of two nested."""
        bases = find_bases(self.root, lambda names: any(name.lower() == folder.lower() for name in names), depth=3)
        found = [path for base in bases for path in base.iterdir() if path.name.lower() == folder.lower()]
        found = [path / folder if (path / folder).is_dir() else path for path in found if path.is_dir()]
        if len(found) > 1:
            places = [below(self.root, path) for path in sorted(found)]
            why = f"{folder} is there more than once: {enumerate_names(places)}"
            raise InputError(Problem(str(self.root), why, "name the folder of one copy"))
        if found and found[0].name != folder:
            why = OTHER_CASE
            raise InputError(Problem(below(self.root, found[0]), why, f"rename it to {folder}"))
        if not found and needed:
            looked_for = f"{folder}/S005/001/..., here and in the folders below"
            raise InputError(unknown_layout(self.root, self.title, looked_for))
        return found[0] if found else None

    def _extract_folder(self) -> Path:
        classes = set(_EXTRACT_FOLDERS)
        bases = find_bases(self.root, lambda names: len({name.lower() for name in names} & classes) >= 2, depth=3)
        if len(bases) != 1:
            looked_for = (
                "cohn-kanade-images/S005/001/*.png with Emotion/S005/001/*_emotion.txt, and for CK+48/anger/*.png, "
                "here and in the folders below"
            )
            raise InputError(unknown_layout(self.root, self.title, looked_for))
        if self.settings.first_is_neutral:
            why = "CK+48 has no neutral faces"
            raise InputError(Problem("first_is_neutral", why, "set it to false, or use the whole sequences"))
        return bases[0]

    def _published(self) -> list[PublishedCount]:
        """What the whole data set holds of what the settings ask for."""
        labelled = sum(_SEQUENCES_OF.values())
        counts = {"subjects": _LABELLED_SUBJECTS, "sequences": labelled}
        if self._extract is None:
            counts["sequences without a label"] = 593 - labelled
        if self.settings.peak_frames <= 3:  # all are that long, as CK+48 shows; of more nothing is published
            kept = self.settings.peak_frames
            counts["faces"] = labelled * (kept + self.settings.first_is_neutral)
            counts |= {f"class {name}": count * kept for name, count in _SEQUENCES_OF.items()}
            if self.settings.first_is_neutral:
                counts["class neutral"] = labelled
        return [
            PublishedCount(what, count, _SUBJECTS_READ_AT if what == "subjects" else _READ_AT)
            for what, count in counts.items()
        ]

    def list_faces(self) -> Iterator[ListedFace | Problem]:
        """Yields the faces by subject, sequence and frame (of CK+48 by class), and every problem."""
        self._unlabelled = 0
        self._no_landmarks.clear()
        if self._extract is not None:
            yield from self._extract_faces(self._extract)
            return
        assert self._images is not None
        subjects, problems = match_folders(self._images, below(self.root, self._images), _SUBJECTS, files_matter=False)
        yield from problems
        for subject in subjects:
            sequences, problems = match_folders(subject, below(self.root, subject), _SEQUENCES)
            yield from problems
            for sequence in sequences:
                yield from self._sequence_faces(sequence)
        yield from self._labels_without_pictures()

    def _labels_without_pictures(self) -> Iterator[Problem]:
        assert self._images is not None
        subjects, problems = match_folders(
            self._emotion, below(self.root, self._emotion), _SUBJECTS, files_matter=False
        )
        yield from problems
        for subject in subjects:
            sequences, problems = match_folders(subject, below(self.root, subject), _SEQUENCES)
            yield from problems
            lost = [path.name for path in sequences if not (self._images / subject.name / path.name).is_dir()]
            lost = [name for name in lost if any(not is_ignored(path) for path in (subject / name).iterdir())]
            if lost:
                why = f"labels the sequences {enumerate_names(lost)}, whose pictures are not there"
                fix = f"copy {below(self.root, self._images / subject.name)} again"
                yield Problem(f"{below(self.root, subject)}/", why, fix)

    def _sequence_faces(self, sequence: Path) -> Iterator[ListedFace | Problem]:
        where = below(self.root, sequence)
        prefix = f"{sequence.parent.name}_{sequence.name}_"
        emotion = self._emotion / sequence.parent.name / sequence.name
        found = self._label(emotion, prefix)
        if found is None:
            self._unlabelled += 1
            return
        if isinstance(found, Problem):
            yield found
            return
        label_name, peak = found
        rule = NameRule(
            re.compile(rf"{prefix}(?P<number>\d{{8}})\.png"),
            f"a frame of this sequence ({prefix}00000001.png)",
            lambda name: name[:-4].upper() + ".png",
        )
        frames = read_frames(sequence, where, rule)
        yield from frames.problems
        numbers = list(frames.names)
        if not numbers:
            return
        if numbers[-1] != peak:
            why = f"ends with frame {numbers[-1]}, and its label is that of frame {peak}"
            yield Problem(f"{where}/", why, "copy the sequence again")
            return
        needed = self.settings.peak_frames + self.settings.first_is_neutral
        if len(numbers) < needed:
            yield too_few_frames(where, len(numbers), needed)
            return
        kept = [(number, label_name) for number in last_frames(numbers, self.settings.peak_frames)]
        if self.settings.first_is_neutral:
            if numbers[0] != 1:
                why = f"starts with frame {numbers[0]}, so its neutral face is not there"
                yield Problem(f"{where}/", why, "copy the sequence again, or set first_is_neutral to false")
            else:
                kept.insert(0, (1, "neutral"))
        name = f"{sequence.parent.name}/{sequence.name}"
        tracked = self._tracked(sequence)
        for number, label in kept:
            file = frames.names[number]
            if f"{file[:-4]}_landmarks.txt" not in tracked:
                self._no_landmarks[sequence.parent.name] += 1
            yield ListedFace(
                path=f"{where}/{file}", label_name=label, name=f"{name}/{file}", subject=sequence.parent.name
            )

    def _label(self, folder: Path, prefix: str) -> tuple[str, int] | Problem | None:
        """A sequence's label and the frame that has it, None without a label, or what is wrong with it."""
        files = sorted(path for path in folder.iterdir() if not is_ignored(path)) if folder.is_dir() else []
        if not files:
            return None
        where = printable(below(self.root, files[0]))
        if len(files) > 1:
            why = f"holds more than one label: {enumerate_names([path.name for path in files])}"
            return Problem(f"{below(self.root, folder)}/", why, "keep the one that the data set has")
        match = re.fullmatch(rf"{prefix}(\d{{8}})_emotion\.txt", files[0].name)
        if match is None:
            if re.fullmatch(rf"{prefix}\d{{8}}_emotion\.txt", files[0].name, re.I):
                return Problem(where, OTHER_CASE, f"see {prefix}..._emotion.txt")
            return Problem(where, "is not this sequence's label", f"it is called {prefix}00000011_emotion.txt")
        try:
            text = read_regular_text(files[0], encoding="ascii", most_bytes=_MOST_BYTES).strip()
        except OSError as error:
            return Problem(where, f"can't be read: {error.strerror or error}", "copy it again")
        except UnicodeDecodeError:
            text = ""
        try:
            value = float(text)
        except ValueError:
            return Problem(where, f"holds no label, but {text[:20]!r}", "one number of 1 to 7; copy it again")
        if value not in range(1, len(EMOTIONS)):
            return Problem(where, f"holds the label {value:g}", "emotions are 1 to 7; no sequence is labelled neutral")
        return EMOTIONS[int(value)], int(match[1])

    def _tracked(self, sequence: Path) -> set[str]:
        """The names of a sequence's landmark files."""
        if self._landmarks is None:
            return set()
        folder = self._landmarks / sequence.parent.name / sequence.name
        return {path.name for path in folder.iterdir()} if folder.is_dir() else set()

    def _extract_faces(self, base: Path) -> Iterator[ListedFace | Problem]:
        rule = NameRule.of_names(_EXTRACT_FOLDERS, f"an emotion ({', '.join(_EXTRACT_FOLDERS)})")
        folders, problems = match_folders(base, below(self.root, base), rule, files_matter=False)
        yield from problems
        labels: dict[tuple[str, str], str] = {}
        for folder in folders:
            by_sequence: dict[tuple[str, str], list[str]] = {}
            for path in sorted(folder.iterdir()):
                match = _EXTRACT_NAME.fullmatch(path.name)
                if match is not None:
                    by_sequence.setdefault((match["subject"], match["sequence"]), []).append(path.name)
                elif not is_ignored(path):
                    yield self._extract_stranger(path)
            for key, names in sorted(by_sequence.items()):
                if key in labels:
                    why = f"has pictures of the sequence {'_'.join(key)}, and so has {labels[key]}"
                    yield Problem(
                        f"{below(self.root, folder)}/", why, "a sequence has one emotion: delete the wrong ones"
                    )
                    continue
                labels[key] = folder.name
                for name in names[-self.settings.peak_frames :]:
                    yield ListedFace(
                        path=below(self.root, folder / name),
                        label_name=_EXTRACT_FOLDERS[folder.name],
                        name=f"{folder.name}/{name}",
                        subject=key[0],
                    )

    def _extract_stranger(self, path: Path) -> Problem:
        where = printable(below(self.root, path))
        if _EXTRACT_NAME.fullmatch(f"{path.stem.upper()}{path.suffix.lower()}"):
            fix = f"rename it to {path.stem.upper()}{path.suffix.lower()}"
            return Problem(where, OTHER_CASE, fix)
        if path.suffix.lower() == ".png":
            return Problem(where, "names no subject, sequence and frame", "it is called S010_004_00000017.png")
        return stray_file(where, path.name)

    @property
    def annotations(self) -> frozenset[Annotation]:
        """Landmarks, where their folder is there; the extract has none."""
        return frozenset(() if self._extract is not None or self._landmarks is None else {"landmarks"})

    def read(self, listed: ListedFace) -> RawFace | Problem:
        """Reads a picture and its landmarks."""
        face = super().read(listed)
        if isinstance(face, Problem) or self._extract is not None or self._landmarks is None:
            return face
        file = self._landmarks / f"{(listed.name or listed.path)[:-4]}_landmarks.txt"
        if not file.is_file():
            return face
        height, width = face.image.shape[:2]
        points = read_points(file, below(self.root, file), width, height)
        if isinstance(points, Problem):
            return points
        return replace(face, landmarks=points)

    def missing(self) -> Iterator[Problem]:
        """How many labelled sequences are not there by emotion, and the subjects whose faces have no landmarks."""
        found: dict[str, set[str]] = {}
        for face in self.listed_faces():
            sequence = "_".join(Path(face.path).name.split("_")[:2])
            found.setdefault(face.label_name, set()).add(sequence)
        for name, count in _SEQUENCES_OF.items():
            there = len(found.get(name, ()))
            if there < count:
                yield Problem(name, f"{there} of {count} sequences are there")
        if self._extract is None and self._landmarks is None:
            yield Problem("Landmarks", "is missing, so no face has landmarks", "unpack Landmarks.zip")
        elif self._extract is None:
            for subject, count in sorted(self._no_landmarks.items()):
                yield Problem(f"Landmarks/{subject}", f"lacks the landmarks of {count} faces", "unpack it again")

    def further_counts(self) -> Counter[str]:
        """Counts `sequences` that give faces, and those that have no label and give none."""
        faces = self.listed_faces()
        counts = Counter(sequences=len({"_".join(Path(face.path).name.split("_")[:2]) for face in faces}))
        if self._extract is None:
            counts["sequences without a label"] = self._unlabelled
        return counts


def read_points(file: Path, where: str, width: int, height: int) -> np.ndarray | Problem:
    """Reads 68 rows of x and y in pixels.

    Args:
        file: The text file.
        where: Its name in problems.
        width: Of the picture, in pixels.
        height: Of the picture, in pixels.

    Returns:
        float32 [68, 2] in 0..1 of the picture, or what is wrong with the file.
    """
    try:
        text = read_regular_text(file, encoding="ascii", most_bytes=_MOST_BYTES)
    except OSError as error:
        return Problem(where, f"can't be read: {error.strerror or error}", "copy it again")
    except UnicodeDecodeError:
        return Problem(where, "holds no text that can be read", "copy it again")
    rows = [line.split() for line in text.splitlines() if line.strip()]
    if len(rows) != LANDMARK_COUNT:
        return Problem(where, f"holds {len(rows)} rows, not {LANDMARK_COUNT} of x and y", "copy it again")
    try:
        points = np.array([(float(x), float(y)) for x, y in rows])
    except ValueError:
        return Problem(where, "holds rows that are not two numbers, x and y", "copy it again")
    points /= (width, height)
    if not np.isfinite(points).all() or points.min() < -1 or points.max() > 2:
        return Problem(where, f"has points far outside the picture of {width} x {height} pixels", "copy it again")
    return points.astype(np.float32)
