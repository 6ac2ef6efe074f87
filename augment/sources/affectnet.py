"""AffectNet (Mollahosseini, Hasani and Mahoor, "AffectNet", 2017): faces found by web search, labelled by people.

Two releases go about, and both are read:

- the first: `Manually_Annotated_file_lists/training.csv` and `validation.csv` with the columns `subDirectory_filePath,
  face_x, face_y, face_width, face_height, facial_landmarks, expression, valence, arousal`, and the pictures in
  `Manually_Annotated_Images/<number>/<hash>.jpg`. The landmarks are 68 points `x;y;x;y...` and the box is the face's,
  both in pixels of the picture. (The reader of the package hcai-datasets.) A list without its header line is read by
  the columns' order. The automatically labelled part is not read.
- that of 2021: `train_set/images/0.jpg` of 224 x 224 pixels with `train_set/annotations/0_exp.npy`, `0_lnd.npy` (136
  numbers, x y in pixels), `0_val.npy`, `0_aro.npy`, and the same in `val_set`. It holds the eight expressions only.

Expressions: 0 neutral, 1 happy, 2 sad, 3 surprise, 4 fear, 5 disgust, 6 anger, 7 contempt; 8 none, 9 uncertain and 10
no face are no expressions: these rows are left out, and counted. Valence and arousal have no column in the table of
faces, and are not read. Pictures name no subjects.
"""

from __future__ import annotations

import io
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from augment.core.errors import InputError, Problem
from augment.core.regular_files import open_regular_file, read_regular_file
from augment.faces.landmark_bounds import LANDMARK_COUNT
from augment.faces.licences import Terms
from augment.sources.base import Annotation, PublishedCount, RawFace, SourceSettings
from augment.sources.exact_names import below
from augment.sources.folder import IMAGE_EXTENSIONS, is_ignored
from augment.sources.listed import ListedFace, ListedSource
from augment.sources.sequences import (
    OTHER_CASE,
    enumerate_names,
    find_bases,
    is_archive,
    several_copies,
    stray_file,
    unknown_layout,
)

EXPRESSIONS = ("neutral", "happy", "sad", "surprise", "fear", "disgust", "angry", "contempt")  # ids 0..7
LEFT_OUT = {8: "left out: none", 9: "left out: uncertain", 10: "left out: no face"}
COLUMNS = (
    "subDirectory_filePath",
    "face_x",
    "face_y",
    "face_width",
    "face_height",
    "facial_landmarks",
    "expression",
    "valence",
    "arousal",
)
_LISTS = {"training.csv": "train", "validation.csv": "validation"}
_SETS = {"train_set": "train", "val_set": "validation"}
_TRAINING_COUNTS = (74_874, 134_415, 25_459, 14_090, 6_378, 3_803, 24_882, 3_750)  # 287,651
_VALIDATION_COUNT = 500  # of each
_MOST_BYTES = 2**20  # of an annotation, which has some hundred
_READ_AT = "Mollahosseini et al. 2017, the training and validation sets by expression"
_READ_AT_2021 = "the papers that use the release of 2021: 287,651 and 3,999 faces of eight expressions"
_IMAGE_FOLDERS = ("Manually_Annotated_Images", "Manually_Annotated/Manually_Annotated_Images")
_LIST_FOLDERS = ("Manually_Annotated_file_lists", "Manually_Annotated/Manually_Annotated_file_lists", ".")
_LOOKED_FOR = (
    "Manually_Annotated_file_lists/training.csv and validation.csv (or the two beside the pictures' folder) with "
    "Manually_Annotated_Images, and for train_set/images/0.jpg with train_set/annotations/0_exp.npy, here and in the "
    "folders below"
)


class AffectNetSettings(SourceSettings):
    """Settings of the source `affectnet`.

    Attributes:
        validation_as: What the validation set is for. `test`: it tests, as in the papers (a test set was never given
            out), and the folds take validation faces out of training. `validation`: it validates.
        margin: In the first release, pictures are cut to the face's box, made wider on every side by this share of the
            box's edge, as far as the picture goes; None takes the whole pictures. Rows without a box (of no width)
            take the whole picture. The release of 2021 is cut already, and is left as it is.
        landmarks: Whether to read the landmarks.
        limit: Keep the first so many faces of each set only.
    """

    validation_as: Literal["test", "validation"] = "test"
    margin: float | None = Field(0.15, ge=0, le=2)
    landmarks: bool = True
    limit: int | None = Field(None, ge=1)


@dataclass(frozen=True, slots=True)
class _Row:
    """Where a face of the first release stands in its list."""

    file: Path
    offset: int  # in bytes: landmarks of 300,000 rows are not kept in memory
    line: int


class AffectNetSource(ListedSource):
    """Faces in the wild with eight expressions.

    Args:
        root: The folder that holds one release.
        settings: The settings.

    Raises:
        InputError: The folder holds neither, or both; a list has other columns.
    """

    name: ClassVar[str] = "affectnet"
    Settings: ClassVar[type[SourceSettings]] = AffectNetSettings
    class_names = tuple(sorted(EXPRESSIONS))
    title: ClassVar[str] = "AffectNet"
    description: ClassVar[str] = (
        "AffectNet (Mollahosseini et al., 2017): faces found by web search in six languages, each labelled by one "
        "person. It names no subjects."
    )
    layout: ClassVar[str] = (
        "Manually_Annotated_file_lists/training.csv, validation.csv\n"
        "Manually_Annotated_Images/1/<hash>.jpg\n"
        "or the release of 2021:\n"
        "train_set/images/0.jpg\n"
        "train_set/annotations/0_exp.npy, 0_lnd.npy\n"
        "val_set/ ..."
    )
    terms: ClassVar[Terms] = Terms(
        holder="M. H. Mahoor, University of Denver",
        ask="https://mohammadmahoor.com/pages/databases/affectnet/, by a lab manager or professor, with a licence",
        use="For research only.",
        derived=(
            "The data set may not be given to others, in part or whole, and is kept at the licensee's institution; of "
            "synthetic faces nothing is known: don't pass them on without the holder's word."
        ),
        read_at=(
            "The holder's page, and the holder's account of sections 4 and 6 of the AffectNet Academic Use License "
            "(v2.1, May 2024) at https://huggingface.co/datasets/Piro17/affectnethq/discussions/1. The licence itself "
            "was not read."
        ),
    )

    def __init__(self, root: Path, settings: AffectNetSettings) -> None:
        super().__init__(root, settings)
        self.settings: AffectNetSettings = settings
        self._left_out: Counter[str] = Counter()
        self._rows: dict[str, _Row] = {}
        self._without_landmarks = 0
        bases = find_bases(root, lambda names: bool(names & {*_SETS, *_IMAGE_FOLDERS, "Manually_Annotated"}))
        sets = [base / name for base in bases for name in _SETS if (base / name).is_dir()]
        # The archives of the two sets unpack into a folder each: together they are one copy.
        in_parts = len(sets) == len(bases) and len({path.name for path in sets}) == len(bases)
        if len(bases) > 1 and not in_parts:
            raise several_copies(root, bases)
        self._base = bases[0] if bases else root
        self._lists = {split: file for name, split in _LISTS.items() if (file := self._first(_LIST_FOLDERS, name))}
        self._sets = {_SETS[path.name]: path for path in sorted(sets)}
        self._images = next((self._base / name for name in _IMAGE_FOLDERS if (self._base / name).is_dir()), None)
        if self._lists and self._sets:
            why = "holds both releases, whose pictures are the same"
            raise InputError(Problem(str(root), why, "move one away, or name a folder that holds one"))
        if self._lists and self._images is None:
            problems = unknown_layout(root, self.title, _LOOKED_FOR)[1:]
            why = "is missing, and the lists name its pictures"
            raise InputError([Problem(_IMAGE_FOLDERS[0], why, "unpack the pictures beside the lists"), *problems])
        if not self._lists and not self._sets:
            problems = unknown_layout(root, self.title, _LOOKED_FOR)
            for right in (*_SETS, *_IMAGE_FOLDERS[:1], *_LIST_FOLDERS[:1]):
                problems += [
                    Problem(path.name, OTHER_CASE, f"rename it to {right}")
                    for path in sorted(root.iterdir())
                    if path.name.lower() == right.lower() and path.name != right
                ]
            raise InputError(problems)
        self._columns = {file: _check_columns(file, below(self.root, file)) for file in self._lists.values()}
        self.published = self._published()

    def _first(self, folders: Sequence[str], name: str) -> Path | None:
        return next((self._base / folder / name for folder in folders if (self._base / folder / name).is_file()), None)

    def _split(self, split: str) -> str:
        return self.settings.validation_as if split == "validation" else split

    def _published(self) -> list[PublishedCount]:
        """Faces of the eight expressions; the release of 2021 lacks one of the validation faces."""
        if self.settings.limit is not None:
            return []
        training, validation = sum(_TRAINING_COUNTS), _VALIDATION_COUNT * len(EXPRESSIONS)
        if self._lists:
            counts = {"faces": training + validation}
            counts |= {
                f"class {name}": count + _VALIDATION_COUNT
                for name, count in zip(EXPRESSIONS, _TRAINING_COUNTS, strict=True)
            }
        else:
            validation -= 1
            counts = {"faces": training + validation}
        counts |= {"split train": training, f"split {self._split('validation')}": validation}
        read_at = _READ_AT if self._lists else _READ_AT_2021
        return [PublishedCount(what, count, read_at) for what, count in counts.items()]

    def list_faces(self) -> Iterator[ListedFace | Problem]:
        """Yields the faces in the order of the lists (of the release of 2021, of the numbers), and every problem."""
        self._left_out.clear()
        self._rows.clear()
        self._without_landmarks = 0
        if self._lists:
            yield from self._listed_faces_of_lists()
        else:
            for split, folder in self._sets.items():
                yield from self._numbered_faces(folder, split)

    # The first release.

    def _listed_faces_of_lists(self) -> Iterator[ListedFace | Problem]:
        assert self._images is not None
        there = _files_below(self._images)
        named: dict[str, str] = {}
        for split, file in self._lists.items():
            absent: dict[str, list[str]] = {}
            other_case: dict[str, list[str]] = {}
            taken = 0
            for found in self._rows_of(file):
                if isinstance(found, Problem):
                    yield found
                    continue
                path, expression, row = found
                where = f"{below(self.root, file)} line {row.line}"
                if path in named:
                    yield Problem(where, f"names {path}, and so does {named[path]}", "delete one of the rows")
                    continue
                named[path] = where
                if expression in LEFT_OUT:
                    self._left_out[LEFT_OUT[expression]] += 1
                    continue
                folder, _, name = path.rpartition("/")
                names = there.get(folder, {})
                if names.get(name.lower()) != name:
                    missing = other_case if name.lower() in names else absent
                    missing.setdefault(folder, []).append(name)
                    continue
                taken += 1
                if self.settings.limit is not None and taken > self.settings.limit:
                    continue
                self._rows[path] = row
                yield ListedFace(
                    path=f"{below(self.root, self._images)}/{path}",
                    label_name=EXPRESSIONS[expression],
                    name=path,
                    split=self._split(split),
                )
            for folder, lost in absent.items():
                why = f"lacks {len(lost)} of the pictures that {file.name} names: {enumerate_names(lost)}"
                yield Problem(f"{below(self.root, self._images / folder)}/", why, "unpack the pictures again")
            for folder, lost in other_case.items():
                why = f"has {len(lost)} names in another case than in {file.name}: {enumerate_names(lost)}"
                yield Problem(
                    f"{below(self.root, self._images / folder)}/", why, "rename the files as the list has them"
                )
        if len(self._lists) == len(_LISTS):
            yield from self._strangers(there, named)

    def _strangers(self, there: dict[str, dict[str, str]], named: dict[str, str]) -> Iterator[Problem]:
        """Files among the pictures that no list names, one line a folder."""
        assert self._images is not None
        lower = {path.lower() for path in named}
        for folder, names in there.items():
            extra = [name for name in names.values() if f"{folder}/{name}".lstrip("/").lower() not in lower]
            if extra:
                archives = " (archives are to be unpacked)" if any(map(is_archive, extra)) else ""
                why = f"holds {len(extra)} files that no list names: {enumerate_names(sorted(extra))}"
                where = f"{below(self.root, self._images / folder)}/"
                yield Problem(where, why, f"move them away, or quarantine them{archives}")

    def _rows_of(self, file: Path) -> Iterator[tuple[str, int, _Row] | Problem]:
        """The picture's path, the expression's id and the place of every row of a list."""
        where = below(self.root, file)
        columns = self._columns[file]
        path_at, expression_at = columns["subDirectory_filePath"], columns["expression"]
        width = max(columns.values()) + 1
        offset, found = 0, False
        with open_regular_file(file) as lines:
            for number, line in enumerate(lines, 1):
                row = _Row(file, offset, number)
                offset += len(line)
                cells = line.rstrip(b"\r\n").split(b",")
                if (number == 1 and _is_header(cells)) or cells == [b""]:
                    continue
                found = True
                here = f"{where} line {number}"
                if len(cells) != width:
                    yield Problem(here, f"has {len(cells)} columns, not {width}", "download the list again")
                    continue
                expression = cells[expression_at].strip()
                if not re.fullmatch(rb"\d{1,9}", expression) or int(expression) >= len(EXPRESSIONS) + len(LEFT_OUT):
                    shown = expression.decode("utf-8", "replace")[:20]
                    yield Problem(here, f"unknown expression {shown!r}", "ids are 0 to 10")
                    continue
                yield cells[path_at].strip().decode("utf-8", "replace").replace("\\", "/"), int(expression), row
        if not found:
            yield Problem(where, "holds no rows", "download it again")

    def _place(self, row: _Row) -> dict[str, str]:
        """The cells of a row, by column, read again."""
        with open_regular_file(row.file) as lines:
            lines.seek(row.offset)
            cells = lines.readline().decode("utf-8", "replace").rstrip("\r\n").split(",")
        return {name: cells[at].strip() for name, at in self._columns[row.file].items()}

    # The release of 2021.

    def _numbered_faces(self, folder: Path, split: str) -> Iterator[ListedFace | Problem]:
        images, annotations = folder / "images", folder / "annotations"
        lacking = [path for path in (images, annotations) if not path.is_dir()]
        for path in lacking:
            yield Problem(below(self.root, path), "is missing", "unpack the set again")
        if lacking:
            return
        pictures, problems = _numbered(images, r"(\d+)\.jpg", below(self.root, images), "a picture (0.jpg)")
        yield from problems
        files, problems = _numbered(
            annotations, r"(\d+)_(?:exp|lnd|val|aro)\.npy", below(self.root, annotations), "an annotation (0_exp.npy)"
        )
        yield from problems
        unlabelled = [f"{stem}.jpg" for stem in pictures if f"{stem}_exp.npy" not in files]
        labelled = {name.partition("_")[0] for name in files if name.endswith("_exp.npy")}
        lost = sorted(labelled - pictures.keys(), key=int)
        if unlabelled:
            why = f"lacks the expressions of {len(unlabelled)} pictures: {enumerate_names(unlabelled)}"
            yield Problem(f"{below(self.root, annotations)}/", why, "unpack the annotations again")
        if lost:
            why = f"lacks {len(lost)} pictures that have an expression: {enumerate_names([f'{n}.jpg' for n in lost])}"
            yield Problem(f"{below(self.root, images)}/", why, "unpack the pictures again")
        taken = 0
        for stem in sorted(pictures, key=int):
            if f"{stem}_exp.npy" not in files:
                continue
            if self.settings.limit is not None and taken >= self.settings.limit:
                break
            label = annotations / f"{stem}_exp.npy"
            expression = _read_expression(label, below(self.root, label))
            if isinstance(expression, Problem):
                yield expression
            elif expression in LEFT_OUT:
                self._left_out[LEFT_OUT[expression]] += 1
            else:
                taken += 1
                self._without_landmarks += f"{stem}_lnd.npy" not in files
                path = images / f"{stem}.jpg"
                yield ListedFace(
                    path=below(self.root, path),
                    label_name=EXPRESSIONS[expression],
                    name=f"{folder.name}/{stem}.jpg",
                    split=self._split(split),
                )

    @property
    def annotations(self) -> frozenset[Annotation]:
        """Landmarks, where the settings ask for them."""
        return frozenset({"landmarks"} if self.settings.landmarks else ())

    def read(self, listed: ListedFace) -> RawFace | Problem:
        """Reads a picture, cuts it to its face where its release does not, and reads its landmarks."""
        face = super().read(listed)
        if isinstance(face, Problem):
            return face
        height, width = face.image.shape[:2]
        row = self._rows.get(face.name)
        if row is None:
            picture = self.root / listed.path
            file = picture.parent.parent / "annotations" / f"{picture.stem}_lnd.npy"
            if not self.settings.landmarks or not file.is_file():
                return face
            points = _read_landmark_array(file, below(self.root, file), width, height)
            return points if isinstance(points, Problem) else replace(face, landmarks=points)
        cells = self._place(row)
        where = f"{below(self.root, row.file)} line {row.line}"
        box = _face_box(cells, where, width, height, self.settings.margin)
        if isinstance(box, Problem):
            return box
        left, top, right, bottom = box
        face = replace(face, image=np.ascontiguousarray(face.image[top:bottom, left:right]))
        if not self.settings.landmarks or not cells["facial_landmarks"]:
            return face
        try:
            values = np.array([float(word) for word in cells["facial_landmarks"].strip(";").split(";")])
        except ValueError:
            return Problem(where, "holds landmarks that are no numbers", "download the list again")
        points = _landmarks(values, where, width, height)
        if isinstance(points, Problem):
            return points
        points = (points * (width, height) - (left, top)) / (right - left, bottom - top)
        return replace(face, landmarks=points.astype(np.float32))

    def missing(self) -> Iterator[Problem]:
        """Lists and sets that are not there, and faces without landmarks."""
        if self._lists:
            for name, split in _LISTS.items():
                if split not in self._lists:
                    yield Problem(name, "is missing", f"{_amount(split)}; unpack the lists again")
        else:
            for name, split in _SETS.items():
                if split not in self._sets:
                    yield Problem(name, "is missing", f"{_amount(split)}; unpack it beside the other")
        self.listed()
        if self._without_landmarks:
            yield Problem("annotations", f"{self._without_landmarks} faces have no landmark file (0_lnd.npy)")

    def further_counts(self) -> Counter[str]:
        """Counts the rows that are left out because they have no expression."""
        self.listed()
        return Counter(self._left_out)


def _amount(split: str) -> str:
    count = sum(_TRAINING_COUNTS) if split == "train" else _VALIDATION_COUNT * len(EXPRESSIONS)
    return f"{count:,} faces"


def _is_header(cells: Sequence[bytes]) -> bool:
    return cells[0].removeprefix(b"\xef\xbb\xbf").strip() == COLUMNS[0].encode()


def _check_columns(file: Path, where: str) -> dict[str, int]:
    """Where the columns stand.

    Raises:
        InputError: The list is empty or is none.
    """
    with open_regular_file(file) as lines:
        cells = lines.readline().rstrip(b"\r\n").split(b",")
    if cells == [b""]:
        raise InputError(Problem(where, "is empty", "download it again"))
    if not _is_header(cells):
        if len(cells) == len(COLUMNS) and b"/" in cells[0]:
            return {name: at for at, name in enumerate(COLUMNS)}
        raise InputError(Problem(where, "is no list of AffectNet", f"its columns are {', '.join(COLUMNS)}"))
    found = [cell.removeprefix(b"\xef\xbb\xbf").strip().decode("utf-8", "replace") for cell in cells]
    problems = [
        Problem(where, f"column {name} is missing", f"it has {', '.join(found)}") for name in COLUMNS[:7]
        if name not in found
    ]  # fmt: skip
    if problems:
        raise InputError(problems)
    return {name: at for at, name in enumerate(found)}


def _files_below(folder: Path) -> dict[str, dict[str, str]]:
    """The files one level below a folder: names by lower-case names, by folder. One scan a folder, no stat a file."""
    found: dict[str, dict[str, str]] = {}
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if is_ignored(Path(entry.name)):
                continue
            if entry.is_dir():
                with os.scandir(entry.path) as inside:
                    names = [file.name for file in inside]
                found[entry.name] = {name.lower(): name for name in names if not is_ignored(Path(name))}
            else:
                found.setdefault("", {})[entry.name.lower()] = entry.name
    return found


def _numbered(folder: Path, pattern: str, where: str, what: str) -> tuple[dict[str, str], list[Problem]]:
    """A folder's files of one form, by the name without the picture's ending, and problems for everything else."""
    right, other_case = re.compile(pattern), re.compile(pattern, re.I)
    found: dict[str, str] = {}
    problems: list[Problem] = []
    strangers: list[str] = []
    wrong: list[str] = []
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries]
    for name in names:
        if right.fullmatch(name):
            found[name.removesuffix(".jpg")] = name
        elif not is_ignored(Path(name)):
            (wrong if other_case.fullmatch(name) else strangers).append(name)
    problems += [stray_file(f"{where}/{name}", name) for name in sorted(strangers) if is_archive(name)]
    strangers = [name for name in sorted(strangers) if not is_archive(name)]
    if strangers:
        kind = "pictures" if all(Path(name).suffix.lower() in IMAGE_EXTENSIONS for name in strangers) else "files"
        why = f"holds {len(strangers)} {kind} that are not {what}: {enumerate_names(strangers)}"
        problems.append(Problem(f"{where}/", why, "rename them, or move them away"))
    if wrong:
        why = f"holds {len(wrong)} names in another case than the data set's: {enumerate_names(sorted(wrong))}"
        problems.append(Problem(f"{where}/", why, "write them in small letters"))
    return found, problems


def _load(file: Path, where: str) -> np.ndarray | Problem:
    """Reads an .npy file; objects, which would have to be unpickled, are refused."""
    try:
        data = io.BytesIO(read_regular_file(file, most_bytes=_MOST_BYTES))
        return np.asarray(np.lib.format.read_array(data, allow_pickle=False))
    except OSError as error:
        return Problem(where, f"can't be read: {error.strerror or error}")
    except Exception as error:  # NumPy evaluates the header: damaged, it raises whatever it leads to, MemoryError too
        why = (str(error).splitlines() or [type(error).__name__])[0]
        return Problem(where, f"is no .npy file that can be read: {why}", "copy it again")


def _read_expression(file: Path, where: str) -> int | Problem:
    """The id in an `_exp.npy` file: one number, or its text."""
    array = _load(file, where)
    if isinstance(array, Problem):
        return array
    if array.size == 1:
        try:
            value = float(array.reshape(-1)[0])
        except ValueError:
            value = float("nan")
        if value in range(len(EXPRESSIONS) + len(LEFT_OUT)):
            return int(value)
        return Problem(where, f"unknown expression {str(array.reshape(-1)[0])[:20]!r}", "ids are 0 to 10")
    return Problem(where, f"holds {array.size} values, not one expression", "copy it again")


def _read_landmark_array(file: Path, where: str, width: int, height: int) -> np.ndarray | Problem:
    array = _load(file, where)
    if isinstance(array, Problem):
        return array
    try:
        values = array.astype(np.float64).reshape(-1)
    except ValueError:
        return Problem(where, "holds landmarks that are no numbers", "copy it again")
    return _landmarks(values, where, width, height)


def _landmarks(values: np.ndarray, where: str, width: int, height: int) -> np.ndarray | Problem:
    """136 numbers in pixels as float32 [68, 2] in 0..1 of the picture."""
    if values.size != 2 * LANDMARK_COUNT:
        return Problem(where, f"holds {values.size} numbers for landmarks, not {2 * LANDMARK_COUNT}", "copy it again")
    if not np.isfinite(values).all():
        return Problem(where, "holds landmarks that are not finite", "copy it again")
    return (values.reshape(LANDMARK_COUNT, 2) / (width, height)).astype(np.float32)


def _face_box(
    cells: dict[str, str], where: str, width: int, height: int, margin: float | None
) -> tuple[int, int, int, int] | Problem:
    """What to cut from a picture: left, top, right, bottom in pixels, within it."""
    if margin is None:
        return 0, 0, width, height
    try:
        x, y, box_width, box_height = (float(cells[f"face_{name}"]) for name in ("x", "y", "width", "height"))
    except ValueError:
        return Problem(where, "has no numbers for the face's box", "download the list again, or set margin to null")
    if box_width <= 0 or box_height <= 0:
        return 0, 0, width, height
    left, right = max(x - margin * box_width, 0), min(x + (1 + margin) * box_width, width)
    top, bottom = max(y - margin * box_height, 0), min(y + (1 + margin) * box_height, height)
    if right - left < 1 or bottom - top < 1:
        why = f"has a face's box outside its picture of {width} x {height} pixels"
        return Problem(where, why, "copy the picture again, or set margin to null")
    return round(left), round(top), round(right), round(bottom)
