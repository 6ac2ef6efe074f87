"""Helen (Le et al., "Interactive facial feature localization", 2012) with the part labels of Smith et al. 2013.

2,330 photographs, and for each eleven maps that say how probable each part of the face is at each pixel (Smith et al.,
"Exemplar-based face parsing"). Helen teaches the parsing network (LSSL, section 3.1). Its faces have no expressions, no
subjects and no poses; they are of one class, and no run of translators and classifiers can be made of them: name its
folder as `parsing.teacher.root` of a run on another data set.

Layout: `images/232194_1.jpg`, `labels/232194_1/232194_1_lbl00.png` to `_lbl10.png`, and the lists `exemplars.txt`,
`tuning.txt` and `testing.txt` of lines such as `1 , 100032540_1`: that of the labels' README
(http://www.cs.wisc.edu/~lizhang/projects/face-parsing/), which the public readers of its two archives follow, of the
resized and of the original pictures. `images/232194_1.pts`, where there is one, holds the 68 points of 300-W (Sagonas
et al. 2013), which counts from 1: the middle of the first pixel is (1, 1). Helen's own 194 points are not read: they
follow outlines, and which of them would be the 68 nobody says.
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
from augment.faces.table import MASK_CLASSES
from augment.sources.base import Annotation, PublishedCount, RawFace, SourceSettings
from augment.sources.exact_names import below, entries
from augment.sources.folder import read_picture
from augment.sources.listed import ListedFace, ListedSource
from augment.sources.sequences import (
    OTHER_CASE,
    enumerate_names,
    find_bases,
    several_copies,
    stray_file,
    unknown_layout,
)

# Part labels 00 to 10 and the area of the mask that each is a part of. Brows and nose are skin, and so is the inside of
# the mouth: it belongs to the face and is neither lips nor eyes, as in the embedded faces' masks.
PARTS = {
    "background": "background",
    "face skin": "skin",
    "left eyebrow": "skin",
    "right eyebrow": "skin",
    "left eye": "eyes",
    "right eye": "eyes",
    "nose": "skin",
    "upper lip": "lips",
    "inner mouth": "skin",
    "lower lip": "lips",
    "hair": "background",
}
LISTS = {"exemplars.txt": "train", "tuning.txt": "validation", "testing.txt": "test"}
_AREAS = np.array([MASK_CLASSES.index(area) for area in PARTS.values()])
_COUNTS = {"train": 2000, "validation": 230, "test": 100}
_LINE = re.compile(r"\s*(?:\d+\s*,\s*)?(?P<face>[\w-]+)\s*")
_MOST_BYTES = 2**20  # of a file of points, which has some 2,000
_MASK_ROWS = 256  # rows of a mask that are compared at a time
_MOST_OUTSIDE = 0.25  # share of a face's points that may lie outside its picture
_READ_AT = "README of Smith et al.'s part labels: 2,000 exemplars, 230 for tuning, 100 for testing"


class HelenSettings(SourceSettings):
    """Settings of the source `helen`.

    Attributes:
        limit: Keep the first so many faces of each list only.
    """

    limit: int | None = Field(None, ge=1)


class HelenSource(ListedSource):
    """Photographs with masks, for the parsing network.

    A pixel's area is the one whose parts are together the most probable. The exemplars train, the tuning faces
    validate.

    Args:
        root: The folder that holds `images`, `labels` and the lists, or a folder above it.
        settings: The settings.

    Raises:
        InputError: There is no such folder, there are several, or all lists are missing.
    """

    name: ClassVar[str] = "helen"
    Settings: ClassVar[type[SourceSettings]] = HelenSettings
    class_names = ("face",)
    title: ClassVar[str] = "Helen with part labels"
    description: ClassVar[str] = (
        "The Helen data set (Le et al., 2012), portraits found on Flickr, with the part labels of Smith et al. (2013) "
        "as masks of skin, lips and eyes. It teaches a parsing network; its faces have no expressions."
    )
    layout: ClassVar[str] = (
        "SmithCVPR2013_dataset_resized/\n"
        "  exemplars.txt, tuning.txt, testing.txt         1 , 100032540_1\n"
        "  images/100032540_1.jpg                         and .pts with 68 points, where there is one\n"
        "  labels/100032540_1/100032540_1_lbl00.png       to _lbl10.png"
    )
    terms: ClassVar[Terms] = Terms(
        holder="V. Le and others, University of Illinois; part labels: B. Smith and L. Zhang, University of Wisconsin",
        ask="http://www.ifp.illinois.edu/~vuongle2/helen/ and http://www.cs.wisc.edu/~lizhang/projects/face-parsing/",
        use="For research; the photographs belong to the people who put them on Flickr, under terms of their own.",
        derived="Nothing is said of pictures made from them: don't pass such pictures on.",
        read_at="The two pages and the labels' README, which name no licence where they were read (their openings).",
    )
    # What a run that names Helen as its data set is told.
    purpose: ClassVar[str] = "Helen teaches the parsing network: name it as parsing.teacher.root, and other faces here"

    def __init__(self, root: Path, settings: HelenSettings) -> None:
        super().__init__(root, settings)
        self.settings: HelenSettings = settings
        limit = settings.limit
        counts = {split: min(count, limit or count) for split, count in _COUNTS.items()}
        self.published = [
            PublishedCount("faces", sum(counts.values()), _READ_AT),
            *(PublishedCount(f"split {split}", count, _READ_AT) for split, count in counts.items()),
        ]
        bases = find_bases(root, lambda names: {"images", "labels"} <= {name.lower() for name in names})
        if not bases:
            raise InputError(unknown_layout(root, self.title, "images/*.jpg with labels/*/*_lbl00.png beside them"))
        if len(bases) > 1:
            raise several_copies(root, bases)
        self._base = bases[0]
        there = {path.name for path in self._base.iterdir()}
        problems = [
            Problem(below(self.root, self._base / found), "is written in another case", f"rename it to {name}")
            for name in ("images", "labels")
            for found in sorted(there)
            if found.lower() == name and found != name
        ]
        if not there & set(LISTS):
            problems.append(Problem(str(self._base), f"holds none of {', '.join(LISTS)}", "copy the lists too"))
        if problems:
            raise InputError(problems)

    def list_faces(self) -> Iterator[ListedFace | Problem]:
        """Yields the faces in the order of the lists, and every problem."""
        pictures = {path.name: path for path in entries(self._base / "images")}
        told = {path.with_suffix(".jpg").name for path in pictures.values() if path.suffix not in (".jpg", ".pts")}
        folders = {path.name for path in entries(self._base / "labels") if path.is_dir()}
        named: dict[str, str] = {}
        yield from self._strangers(self._base / "labels", pictures=False)
        yield from self._strangers(self._base / "images", pictures=True)
        for list_name, split in LISTS.items():
            if not (self._base / list_name).is_file():
                yield Problem(below(self.root, self._base / list_name), "is missing", "copy it too")
                continue
            no_picture, no_labels, taken = [], [], 0
            for face in self._names(list_name, named):
                if isinstance(face, Problem):
                    yield face
                    continue
                if f"{face}.jpg" not in pictures:
                    no_picture += [face] * (f"{face}.jpg" not in told)
                elif face not in folders:
                    no_labels.append(face)
                elif self.settings.limit is None or taken < self.settings.limit:
                    taken += 1
                    problems = list(self._label_problems(face))
                    yield from problems
                    if not problems:
                        path = below(self.root, pictures[f"{face}.jpg"])
                        yield ListedFace(path, self.class_names[0], name=face, split=split)
            for what, faces in (("picture in images", no_picture), ("folder in labels", no_labels)):
                if faces:
                    why = f"names faces without a {what}: {enumerate_names(faces)}"
                    yield Problem(below(self.root, self._base / list_name), why, "copy them too, or quarantine it")
        unnamed = [path.stem for path in pictures.values() if path.suffix == ".jpg" and path.stem not in named]
        if unnamed:
            why = f"holds pictures that no list names: {enumerate_names(unnamed)}"
            yield Problem(below(self.root, self._base / "images") + "/", why, "copy the lists again, or move them away")

    def _names(self, list_name: str, named: dict[str, str]) -> Iterator[str | Problem]:
        """The faces of a list, and every line that names none, or one that is named already."""
        try:
            text = read_regular_text(self._base / list_name, encoding="utf-8-sig", errors="replace")
        except OSError as error:
            yield Problem(below(self.root, self._base / list_name), f"can't be read: {error.strerror or error}")
            return
        for number, line in enumerate(text.splitlines(), start=1):
            if not line.strip():
                continue
            where = f"{below(self.root, self._base / list_name)} line {number}"
            match = _LINE.fullmatch(line)
            if match is None:
                yield Problem(where, f"names no face: {line.strip()[:40]!r}", "its form is '1 , 100032540_1'")
            elif match["face"] in named:
                why = f"names {match['face']} again, after {named[match['face']]}"
                yield Problem(where, why, "copy the lists again")
            else:
                named[match["face"]] = where
                yield match["face"]

    def _label_problems(self, face: str) -> Iterator[Problem]:
        """What is wrong with the names in a face's folder of labels."""
        folder = self._base / "labels" / face
        wanted = [f"{face}_lbl{number:02d}.png" for number in range(len(PARTS))]
        there = {path.name for path in entries(folder)}
        lower = {name.lower(): name for name in there}
        lacking = [name for name in wanted if name not in there]
        for name in [name for name in lacking if name.lower() in lower]:
            here = below(self.root, folder / lower[name.lower()])
            yield Problem(here, OTHER_CASE, f"rename it to {name}")
        absent = [name for name in lacking if name.lower() not in lower]
        if absent:
            yield Problem(below(self.root, folder) + "/", f"lacks {enumerate_names(absent)}", "copy it again")
        for name in sorted(there - set(wanted) - {lower.get(name.lower(), name) for name in lacking}):
            yield stray_file(below(self.root, folder / name), name)

    def _strangers(self, folder: Path, *, pictures: bool) -> Iterator[Problem]:
        """What lies in `images` and is neither picture nor points, or in `labels` and is no folder."""
        for path in entries(folder):
            where = below(self.root, path)
            if not pictures:
                if not path.is_dir():
                    yield stray_file(where, path.name)
            elif path.is_dir():
                yield Problem(f"{where}/", "is a folder among the pictures", "move it away")
            elif path.suffix.lower() not in (".jpg", ".pts"):
                yield stray_file(where, path.name)
            elif path.suffix != path.suffix.lower():
                fix = f"rename it to {path.stem}{path.suffix.lower()}"
                yield Problem(where, OTHER_CASE, fix)

    def missing(self) -> Iterator[Problem]:
        """Lists that name fewer faces than the whole data set's."""
        for list_name, split in LISTS.items():
            if (self._base / list_name).is_file():
                named = sum(isinstance(face, str) for face in self._names(list_name, {}))
                if named < _COUNTS[split]:
                    where = below(self.root, self._base / list_name)
                    yield Problem(where, f"names {named} of the {_COUNTS[split]} faces", "copy it again")

    def further_counts(self) -> Counter[str]:
        """Counts `landmarks`: faces with a .pts file."""
        pictures = [self.root / face.path for face in self.listed_faces()]
        return Counter(landmarks=sum(path.with_suffix(".pts").is_file() for path in pictures))

    @property
    def annotations(self) -> frozenset[Annotation]:
        """Landmarks."""
        return frozenset({"landmarks"})

    def read(self, listed: ListedFace) -> RawFace | Problem:
        """Reads a picture, its part labels as a mask, and its 68 points where there are any."""
        face = super().read(listed)
        if isinstance(face, Problem):
            return face
        size = face.image.shape[:2]
        mask = self._mask(listed.name, size)
        if isinstance(mask, Problem):
            return mask
        points = (self.root / listed.path).with_suffix(".pts")
        landmarks = read_points(points, below(self.root, points), size) if points.is_file() else None
        if isinstance(landmarks, Problem):
            return landmarks
        return replace(face, landmarks=landmarks, mask=mask)

    def _mask(self, face: str, size: tuple[int, ...]) -> np.ndarray | Problem:
        """The mask uint8 [H, W] of a face's eleven labels, or everything that is wrong with them."""
        folder = self._base / "labels" / face
        areas = np.zeros((len(MASK_CLASSES), *size), np.uint16)
        reasons = []
        for number, area in enumerate(_AREAS):
            name = f"{face}_lbl{number:02d}.png"
            label = read_picture(folder / name, name)
            if isinstance(label, Problem):
                reasons.append(f"{name} {label.why}")
            elif label.shape != size:
                form = " x ".join(map(str, label.shape[1::-1])) + " in colour" * (label.ndim == 3)
                reasons.append(f"{name} is {form}, and the picture is {size[1]} x {size[0]}")
            else:
                areas[area] += label
        if not reasons and not areas[1:].any():
            reasons.append("no part of a face has any pixel")
        if reasons:
            return Problem(below(self.root, folder) + "/", "; ".join(reasons), "copy it again")
        mask = np.zeros(size, np.uint8)
        for top in range(0, size[0], _MASK_ROWS):  # argmax of all at once would take eight bytes a pixel
            mask[top : top + _MASK_ROWS] = areas[:, top : top + _MASK_ROWS].argmax(axis=0)
        return mask


def read_points(path: Path, where: str, size: tuple[int, ...]) -> np.ndarray | Problem:
    """Reads a `.pts` file of 68 points.

    Args:
        path: The file.
        where: Its name in problems.
        size: Height and width of its picture in pixels.

    Returns:
        float32 [68, 2] in 0..1 of the picture, or what is wrong with the file.
    """
    try:
        text = read_regular_text(path, errors="replace", most_bytes=_MOST_BYTES)
    except OSError as error:
        return Problem(where, f"can't be read: {error.strerror or error}")
    found = re.fullmatch(r"\s*version:\s*\S+\s+n_points:\s*(\d+)\s*\{([^{}]*)\}\s*", text)
    if found is None:
        return Problem(where, "is no file of points, or is cut off", "its form is version, n_points, { x y ... }")
    words = found[2].split()
    if found[1].lstrip("0") != str(LANDMARK_COUNT) or len(words) != 2 * LANDMARK_COUNT:
        why = f"says {found[1][:20]} points and holds {len(words)} numbers, not {LANDMARK_COUNT} points"
        return Problem(where, why, "use the points of 300-W, or move it away")
    try:
        points = np.array(words, dtype=np.str_).astype(np.float64).reshape(-1, 2)
    except ValueError as error:
        return Problem(where, f"holds what is no number: {error}", "copy it again")
    height, width = size
    scaled = (points - 0.5) / (width, height)
    outside = ~((scaled >= 0) & (scaled <= 1)).all(axis=1)
    if not np.isfinite(scaled).all() or outside.mean() > _MOST_OUTSIDE:
        fix = "the points may be those of the picture in another size"
        return Problem(where, f"has {int(outside.sum())} points outside its picture of {width} x {height} pixels", fix)
    return scaled.astype(np.float32)
