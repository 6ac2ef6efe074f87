"""RAF-DB (Li et al., "Reliable crowdsourcing and deep locality-preserving learning", CVPR 2017): faces of the web.

Read is the part of the seven basic expressions, in either of two forms:

- as its holders give it out, the folder `basic/`: `EmoLabel/list_patition_label.txt` (spelled so) with lines such as
  `train_00001.jpg 5`, and the pictures `Image/aligned/train_00001_aligned.jpg` (100 x 100) or
  `Image/original/train_00001.jpg` (layout: the README of POSTER, which many readers repeat);
  `Annotation/boundingbox/train_00001_boundingbox.txt` holds x0 y0 x1 y1 of the face in the original picture (two public
  readers agree). The five points, gender, race and age of `Annotation/manual/` have no column in the table of faces;
- as it goes about on Kaggle: `DATASET/train/1/train_00001_aligned.jpg` to `DATASET/test/7/`, with `train_labels.csv`
  and `test_labels.csv` (columns image, label) beside `DATASET/`.

Labels 1 to 7 are surprise, fear, disgust, happiness, sadness, anger, neutral. The compound part has the same names with
other labels, and is not read.
"""

from __future__ import annotations

import csv
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field, model_validator

from augment.core.errors import InputError, Problem
from augment.core.regular_files import read_regular_text
from augment.faces.licences import Terms
from augment.sources.base import PublishedCount, RawFace, SourceSettings
from augment.sources.csv_rows import numbered_rows
from augment.sources.exact_names import (
    beside,
    empty_file,
    entries,
    folders_to_search,
    misfit,
    misfit_folder,
    relative,
)
from augment.sources.listed import ListedFace, ListedSource
from augment.sources.sequences import archives_in, unknown_layout

LABELS = {
    "1": "surprise",
    "2": "fear",
    "3": "disgust",
    "4": "happy",
    "5": "sad",
    "6": "angry",
    "7": "neutral",
}
_COUNTS = {  # in the order of the labels
    "train": dict(zip(LABELS.values(), (1_290, 281, 717, 4_772, 1_982, 705, 2_524), strict=True)),
    "test": dict(zip(LABELS.values(), (329, 74, 160, 1_185, 478, 162, 680), strict=True)),
}
_STEM = re.compile(r"(?:(train)_\d{5}|(test)_\d{4})")
_BESIDE = frozenset({"compound", "train_labels.csv", "test_labels.csv"})
_MOST_BYTES = 2**20  # of a box, which has some tens
_LABEL_FILE = "EmoLabel/list_patition_label.txt"
_ALIGNED = "_aligned.jpg"
_LIKE = {"aligned": "train_00001_aligned.jpg", "original": "train_00001.jpg"}
_LOOKED_FOR = (
    f"{_LABEL_FILE} with Image/aligned/{_LIKE['aligned']} or Image/original/{_LIKE['original']}, and "
    f"DATASET/train/1/{_LIKE['aligned']}"
)
_PAGE = "whdeng.cn/RAF/model1.html, as the readers of the set repeat it"
_COUNTED = "counts by split and class that public readers of the set print"


class RafDbSettings(SourceSettings):
    """Settings of the source `raf_db`.

    Attributes:
        pictures: `aligned` takes the holders' crops of 100 x 100 pixels, aligned by five points; `original` the
            pictures as they were found on the web, of any size.
        margin: With `pictures: original`, each is cropped to a square about its box in `Annotation/boundingbox`, whose
            edge is the box's longer one and this share of it more on each side, and which ends where the picture ends.
            None takes the whole picture.
    """

    pictures: Literal["aligned", "original"] = "aligned"
    margin: float | None = Field(None, ge=0, le=2)

    @model_validator(mode="after")
    def _crops_originals_only(self) -> RafDbSettings:
        if self.margin is not None and self.pictures != "original":
            raise ValueError("margin crops original pictures; set pictures to original, or leave margin out")
        return self


class RafDbSource(ListedSource):
    """The single-label part: 15,339 faces in the holders' own splits, train and test; it names no subjects.

    Args:
        root: The folder `basic/`, or the one that holds `DATASET/`, or one or two above it.
        settings: The settings.

    Raises:
        InputError: The layout is neither of the two, or the label file or the folder of pictures is missing.
    """

    name: ClassVar[str] = "raf_db"
    Settings: ClassVar[type[SourceSettings]] = RafDbSettings
    class_names: tuple[str, ...] = tuple(sorted(LABELS.values()))
    title: ClassVar[str] = "RAF-DB"
    description: ClassVar[str] = (
        "The basic expressions of the Real-world Affective Faces Database (Li et al., 2017): faces found on the web, "
        "each labelled by about 40 people. It names no subjects; happy is the largest class, fear the smallest."
    )
    layout: ClassVar[str] = (
        "basic/\n"
        "  EmoLabel/list_patition_label.txt               train_00001.jpg 5\n"
        "  Image/aligned/train_00001_aligned.jpg          or Image/original/train_00001.jpg\n"
        "  Annotation/boundingbox/train_00001_boundingbox.txt\n"
        "or, as it goes about on Kaggle:\n"
        "train_labels.csv, test_labels.csv\n"
        "DATASET/train/1/train_00001_aligned.jpg"
    )
    terms: ClassVar[Terms] = Terms(
        holder="PRIS, Beijing University of Posts and Telecommunications",
        ask="http://www.whdeng.cn/RAF/model1.html",
        use="For non-commercial research purposes only.",
        derived="The images and derived data may not be copied or exploited for any commercial purpose, nor the set be "
        "copied further, published or distributed.",
        read_at="the holders' pages of the sister sets RAF-ML and RAF-CE (whdeng.cn/RAF/model4.html); RAF-DB's own "
        "page, model1.html, could not be read as far as its terms",
    )
    published: Sequence[PublishedCount] = (
        PublishedCount("faces", 15_339, _PAGE),
        *(PublishedCount(f"split {split}", sum(by_class.values()), _PAGE) for split, by_class in _COUNTS.items()),
        *(
            PublishedCount(f"class {name}", _COUNTS["train"][name] + _COUNTS["test"][name], _COUNTED)
            for name in sorted(LABELS.values())
        ),
    )

    def __init__(self, root: Path, settings: RafDbSettings) -> None:
        super().__init__(root, settings)
        for folder in folders_to_search(root):
            names = {path.name.lower() for path in entries(folder) if path.is_dir()}
            self._base = folder
            if names & {"emolabel", "image"}:
                self._is_kaggle = False
                self._check_layout()
                return
            if any((folder / split / label).is_dir() for split in _COUNTS for label in LABELS):
                self._is_kaggle = True
                if settings.pictures != "aligned":
                    fix = "use pictures: aligned, or the set as its holders give it out"
                    raise InputError(Problem("pictures", "the form of Kaggle has no original pictures", fix))
                return
        raise InputError(unknown_layout(root, self.title, _LOOKED_FOR))

    def list_faces(self) -> Iterator[ListedFace | Problem]:
        """Yields every picture in the order of the label file (or of the folders), and every problem."""
        return self._list_kaggle() if self._is_kaggle else self._list_labelled()

    # As the holders give it out.

    def _check_layout(self) -> None:
        problems = []
        pictures = f"Image/{self.settings.pictures}"
        for where, there in ((_LABEL_FILE, Path.is_file), (pictures, Path.is_dir)):
            path = self._base / where
            if not (there(path) and _is_spelled_so(self._base, where)):
                fix = _mend_of_absent(self._base, where)
                problems.append(Problem(relative(path, self.root) + "/" * (where == pictures), "is missing", fix))
        if problems:
            for name in archives_in(self._base):
                where = relative(self._base / name, self.root)
                problems.append(Problem(where, "is an archive that is not unpacked", "unpack it"))
            raise InputError(problems)

    def _list_labelled(self) -> Iterator[ListedFace | Problem]:
        yield from beside(self.root, self._base, self.title, _LIKE["aligned"], _BESIDE)
        for folder in (self._base, self._base / "Image"):
            for path in entries(folder):
                if not path.is_dir() and path.suffix.lower() != ".txt":
                    yield misfit(relative(path, self.root), self.title, _LIKE["aligned"])
        labels: dict[str, str] = {}
        for found in self._label_lines():
            if isinstance(found, Problem):
                yield found
            else:
                labels[found[0]] = found[1]
        ending = _ALIGNED if self.settings.pictures == "aligned" else ".jpg"
        folder = self._base / "Image" / self.settings.pictures
        there = {path.name: path for path in entries(folder)}
        absent: dict[str, list[str]] = {}
        for stem, label in labels.items():
            if stem + ending in there:
                yield self._face(there[stem + ending], stem, label)
            else:
                absent.setdefault(_split_of(stem), []).append(stem + ending)
        for path in there.values():
            where = relative(path, self.root)
            if _stem_of(path.name, ending) in labels:
                continue
            if _stem_of(path.name, ending):
                yield Problem(where, f"is not in {_LABEL_FILE}", "delete it, or take the label file of the same copy")
            else:
                right = path.name.lower() if _stem_of(path.name.lower(), ending) else None
                yield misfit(where, self.title, _LIKE[self.settings.pictures], right)
        yield from _absent_problems(absent, relative(folder, self.root), _LABEL_FILE)

    def _label_lines(self) -> Iterator[tuple[str, str] | Problem]:
        """Yields a picture's stem and label number for every good line."""
        where = relative(self._base / _LABEL_FILE, self.root)
        first: dict[str, int] = {}
        try:
            text = read_regular_text(self._base / _LABEL_FILE, encoding="utf-8-sig", errors="replace")
        except OSError as error:
            yield Problem(where, f"can't be read: {error.strerror or error}")
            return
        for number, line in enumerate(text.splitlines(), start=1):
            words = line.split()
            if not words:
                continue
            at = f"{where} line {number}"
            stem = _stem_of(words[0], ".jpg")
            if len(words) != 2:
                yield Problem(at, f"has {len(words)} words, not 2", "lines are like train_00001.jpg 5")
            elif stem is None:
                yield Problem(at, f"{words[0]!r} is no picture's name", "names are like train_00001.jpg, test_0001.jpg")
            elif words[1] not in LABELS:
                yield Problem(
                    at, f"unknown label {words[1][:20]!r}", "labels are 1 to 7; the compound part is not read"
                )
            elif stem in first:
                yield Problem(at, f"names {words[0]} again, after line {first[stem]}", "delete one of the two lines")
            else:
                first[stem] = number
                yield stem, words[1]
        if not first:
            yield Problem(where, "names no picture", "download it again")

    # As it goes about on Kaggle.

    def _list_kaggle(self) -> Iterator[ListedFace | Problem]:
        splits = tuple(_COUNTS)
        yield from beside(self.root, self._base, self.title, _LIKE["aligned"], _BESIDE)
        for path in entries(self._base):
            where = relative(path, self.root)
            if path.is_dir() and path.name not in splits:
                yield misfit_folder(path, where, self.title, splits)
            elif not path.is_dir() and path.name not in _BESIDE and path.suffix.lower() != ".txt":
                yield misfit(where, self.title, _LIKE["aligned"])
        for split in splits:
            csv_file = self._csv_file(split)
            labels: dict[str, str] | None = None
            if csv_file is not None:
                labels = {}
                for found in self._csv_rows(csv_file, split):
                    if isinstance(found, Problem):
                        yield found
                    else:
                        labels[found[0]] = found[1]
            if (self._base / split).is_dir():
                yield from self._list_split(self._base / split, split, labels)

    def _csv_file(self, split: str) -> Path | None:
        """The labels of a split, beside `DATASET/` or in it; None where they are not there."""
        folders = [self._base] if self._base == self.root else [self._base.parent, self._base]
        return next((path for folder in folders if (path := folder / f"{split}_labels.csv").is_file()), None)

    def _csv_rows(self, file: Path, split: str) -> Iterator[tuple[str, str] | Problem]:
        where = relative(file, self.root)
        with file.open(encoding="utf-8-sig", errors="replace", newline="") as lines:
            reader = csv.reader(line.replace("\0", "�") for line in lines)
            try:
                header = [name.strip() for name in next(reader, [])]
            except csv.Error as error:
                yield Problem(where, f"is no CSV: {error}", "download it again")
                return
            if header != ["image", "label"]:
                have = ", ".join(name[:40] for name in header[:10]) or "none"
                yield Problem(where, f"has the columns {have}", "they should be image, label")
                return
            for found in numbered_rows(reader, where):
                if isinstance(found, Problem):
                    yield found
                    continue
                row, at = found
                stem = _stem_of(row[0].strip(), _ALIGNED) if len(row) == 2 else None
                if stem is None or _split_of(stem) != split:
                    yield Problem(at, f"names no picture of {split}", f"rows are like {split}_..._aligned.jpg,5")
                elif row[1].strip() not in LABELS:
                    yield Problem(at, f"unknown label {row[1][:20]!r}", "labels are 1 to 7")
                else:
                    yield stem, row[1].strip()

    def _list_split(self, folder: Path, split: str, labels: Mapping[str, str] | None) -> Iterator[ListedFace | Problem]:
        first: dict[str, str] = {}
        for entry in entries(folder):
            where = relative(entry, self.root)
            if not entry.is_dir():
                yield misfit(where, self.title, _LIKE["aligned"])
                continue
            if entry.name not in LABELS:
                yield misfit_folder(entry, where, self.title, tuple(LABELS))
                continue
            paths = entries(entry)
            if not paths:
                yield Problem(where + "/", "is a class folder without pictures", "unpack it again")
            for path in paths:
                where = relative(path, self.root)
                stem = _stem_of(path.name, _ALIGNED)
                if stem is None or path.is_dir():
                    right = path.name.lower() if _stem_of(path.name.lower(), _ALIGNED) else None
                    yield misfit(where, self.title, _LIKE["aligned"], right)
                elif _split_of(stem) != split:
                    yield Problem(where, f"lies in {split}/, but its name says {_split_of(stem)}", "move it there")
                elif stem in first:
                    yield Problem(
                        where, f"lies there twice, also as {first[stem]}", "delete the one of the wrong class"
                    )
                elif labels is not None and labels.get(stem, entry.name) != entry.name:
                    fix = f"move it to {split}/{labels[stem]}/, or fix the table"
                    yield Problem(where, f"lies in {entry.name}/, but {split}_labels.csv says {labels[stem]}", fix)
                    first[stem] = where
                else:
                    first[stem] = where
                    yield self._face(path, stem, entry.name)
        absent = [stem + _ALIGNED for stem in labels or () if stem not in first]
        yield from _absent_problems(
            {split: absent} if absent else {}, relative(folder, self.root), f"{split}_labels.csv"
        )

    # Both.

    def _face(self, path: Path, stem: str, label: str) -> ListedFace | Problem:
        where = relative(path, self.root)
        return empty_file(path, where) or ListedFace(where, LABELS[label], name=stem, split=_split_of(stem))

    def missing(self) -> Iterator[Problem]:
        """Splits and classes that lack pictures; for the form of Kaggle also the tables of labels."""
        found = Counter((face.split, face.label_name) for face in self.listed_faces())
        for split, by_class in _COUNTS.items():
            if self._is_kaggle and self._csv_file(split) is None:
                yield Problem(f"{split}_labels.csv", "is missing; the folders alone say the labels")
            if not any(found[split, name] for name in by_class):
                yield Problem(f"split {split}", f"all {sum(by_class.values()):,} pictures are missing")
                continue
            for name, whole in by_class.items():
                lacking = whole - found[split, name]
                if lacking > 0:
                    yield Problem(f"split {split}, class {name}", f"{lacking:,} of {whole:,} pictures are missing")

    def read(self, listed: ListedFace) -> RawFace | Problem:
        """Reads one picture, and crops it where a margin is set."""
        found = super().read(listed)
        if isinstance(found, Problem) or self.settings.margin is None:
            return found
        box = self._box(listed.name)
        if isinstance(box, Problem):
            return box
        cropped = _crop(found.image, box, self.settings.margin)
        if cropped is None:
            return Problem(listed.path, "its box lies outside the picture", "delete its box and the picture")
        return replace(found, image=cropped)

    def _box(self, stem: str) -> tuple[float, ...] | Problem:
        path = self._base / "Annotation" / "boundingbox" / f"{stem}_boundingbox.txt"
        where = relative(path, self.root)
        try:
            words = read_regular_text(path, errors="replace", most_bytes=_MOST_BYTES).split()
        except OSError as error:
            return Problem(where, f"can't be read: {error.strerror or error}", "unpack it, or leave margin out")
        try:
            box = tuple(float(word) for word in words)
        except ValueError:
            box = ()
        if len(box) != 4 or not all(map(math.isfinite, box)) or box[0] >= box[2] or box[1] >= box[3]:
            return Problem(where, "is no box", "it should hold x0 y0 x1 y1, in pixels of the original picture")
        return box


def _stem_of(name: str, ending: str) -> str | None:
    """`train_00001` of `train_00001` + ending; None where the name is none of the set's."""
    if not name.endswith(ending):
        return None
    stem = name.removesuffix(ending)
    return stem if _STEM.fullmatch(stem) else None


def _split_of(stem: str) -> str:
    return stem.split("_")[0]


def _is_spelled_so(base: Path, where: str) -> bool:
    """Whether every part of a path has this very case; file systems that ignore case would find others too."""
    for part in where.split("/"):
        if part not in {path.name for path in base.iterdir()}:
            return False
        base /= part
    return True


def _mend_of_absent(base: Path, where: str) -> str:
    """What to do about a missing file or folder: rename a part that is spelled otherwise, else unpack."""
    for part in where.split("/"):
        others = entries(base) if base.is_dir() else []
        if part not in (path.name for path in others):
            near = {part.lower(), part.lower().replace("patition", "partition")}
            other = next((path.name for path in others if path.name.lower() in near), None)
            return f"rename {other} to {part}" if other else "unpack it again"
        base /= part
    return "unpack it again"


def _absent_problems(absent: Mapping[str, Sequence[str]], folder: str, file: str) -> Iterator[Problem]:
    """One problem a split, however many of its pictures are not there."""
    for split, names in absent.items():
        shown = ", ".join(names[:3]) + (" ..." if len(names) > 3 else "")
        why = f"{len(names):,} pictures of {split} that {file} names are not there: {shown}"
        yield Problem(f"{folder}/", why, "unpack the pictures again")


def _crop(image: np.ndarray, box: tuple[float, ...], margin: float) -> np.ndarray | None:
    """The square about a box, widened by a share of its longer edge on each side; None where nothing of it is there."""
    x0, y0, x1, y1 = box
    half = max(x1 - x0, y1 - y0) * (0.5 + margin)
    height, width = image.shape[:2]
    left, right = (min(max(round((x0 + x1) / 2 + side), 0), width) for side in (-half, half))
    top, bottom = (min(max(round((y0 + y1) / 2 + side), 0), height) for side in (-half, half))
    return image[top:bottom, left:right].copy() if left < right and top < bottom else None
