"""A split of exported faces: filtered, mixed, cut into shards, decoded one by one or in batches."""

from __future__ import annotations

import io
import json
import operator
from collections.abc import Iterable, Iterator, Sequence
from numbers import Real
from pathlib import Path, PurePosixPath
from typing import Any, SupportsIndex, overload

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

SCHEMA_VERSION = "2"
_COLUMNS = [
    *("label", "label_name", "split", "face_id", "subject", "source", "synthetic", "translator", "source_id"),
    *("source_label", "confidence", "identity_shift", "weights_sha256", "seed"),
]


class FacesError(Exception):
    """A folder, a split or a filter that can't be; the message says what to do."""


class _Split:
    """A split of one folder: its columns in memory, its pictures when they are first asked for."""

    def __init__(self, folder: Path, about: dict[str, Any], split: str, keep_pixels: bool) -> None:
        self.folder = folder
        self.files: tuple[str, ...] = tuple(about["files"][split])
        self.shape: tuple[int, int, int] = (about["size"], about["size"], about["channels"])
        self.data: str = about["provenance"]["data_sha256"]  # of which real faces
        self.folds: tuple[str, int] = (about["provenance"]["folds_sha256"], about["provenance"]["fold"])
        self.keep_pixels = keep_pixels
        if not self.files:
            raise FacesError(f"{folder} names no file of this split; see `s2l verify`")
        self.columns: pa.Table = pa.concat_tables([self._read(name, _COLUMNS) for name in self.files]).combine_chunks()
        self._encoded: pa.Array | None = None
        self._pixels: np.ndarray | None = None
        self._decoded: np.ndarray | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Without the pictures: a worker process that is started anew reads them itself."""
        return {**self.__dict__, "_encoded": None, "_pixels": None, "_decoded": None}

    def __len__(self) -> int:
        return len(self.columns)

    def encoded(self, row: int) -> memoryview:
        """A picture's PNG."""
        if self._encoded is None:
            tables = [self._read(name, ["image"]) for name in self.files]
            if any(not pa.types.is_struct(table.schema.field("image").type) for table in tables):
                raise FacesError(f"{self.folder}: the column image holds no pictures; see `s2l verify`")
            chunks = [part.field("bytes") for table in tables for part in table.column("image").chunks]
            found = pa.chunked_array(chunks, pa.binary()).cast(pa.large_binary()).combine_chunks()
            if len(found) != len(self) or found.null_count:
                why = f"{len(found) - found.null_count:,} pictures for {len(self):,} faces"
                raise FacesError(f"{self.folder}: there are {why}; see `s2l verify`")
            self._encoded = found
        return memoryview(self._encoded[row].as_buffer())

    def pixels(self, row: int) -> np.ndarray:
        """A picture, uint8 [height, width, channels]; not to be changed."""
        if not self.keep_pixels:
            return self._decode(row)
        if self._pixels is None or self._decoded is None:
            self._pixels = np.zeros((len(self), *self.shape), np.uint8)
            self._decoded = np.zeros(len(self), bool)
        if not self._decoded[row]:
            self._pixels[row] = self._decode(row)
            self._decoded[row] = True
        return self._pixels[row]

    def _decode(self, row: int) -> np.ndarray:
        try:
            with Image.open(io.BytesIO(self.encoded(row)), formats=("PNG",)) as picture:
                if (picture.height, picture.width) != self.shape[:2]:  # before it is decoded: it may be huge
                    raise ValueError(f"{picture.width}x{picture.height} pixels, not {self.shape[1]}x{self.shape[0]}")
                found = np.asarray(picture)
        except (OSError, ValueError, SyntaxError) as error:
            raise FacesError(f"{self.folder}: picture {row} can't be decoded ({error}); see `s2l verify`") from error
        if found.ndim == 2:
            found = found[:, :, None]
        if found.shape != self.shape:
            raise FacesError(f"{self.folder}: picture {row} is {found.shape}, not {self.shape}; see `s2l verify`")
        return found

    def _read(self, name: str, columns: list[str]) -> pa.Table:
        try:
            return pq.read_table(self.folder / name, columns=columns)
        except (OSError, pa.ArrowException) as error:
            raise FacesError(f"{self.folder / name} can't be read ({error}); see `s2l verify`") from error


class Faces:
    """Faces of one split; it never changes: filters give another one.

    Args:
        folder: What `s2l export` wrote, as Parquet.
        split: train, validation or test.
        keep_pixels: Whether pictures are decoded once and kept: faster from the second epoch on, one byte a pixel and
            channel. Each worker process of a loader keeps its own, and only as long as it lives
            (`persistent_workers=True`).

    Raises:
        FacesError: The folder is no such export, or has no such split.
    """

    def __init__(self, folder: str | Path, split: str = "train", *, keep_pixels: bool = False) -> None:
        folder = Path(folder)
        about = _read_description(folder)
        if split not in about["files"]:
            raise FacesError(f"{folder} has no split {split!r}; it has {', '.join(about['files'])}")
        found = _Split(folder, about, split, keep_pixels)
        self.class_names: tuple[str, ...] = tuple(about["class_names"])
        labels = found.columns.column("label")
        if not pa.types.is_integer(labels.type) or labels.null_count or not _within(labels, len(self.class_names)):
            raise FacesError(f"{folder}: there are labels that are none of the classes; see `s2l verify`")
        self._splits: tuple[_Split, ...] = (found,)
        self._of = np.zeros(len(found), np.int32)  # which of the splits a face is in
        self._rows = np.arange(len(found))

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, place: slice | list[int]) -> Faces: ...
    @overload
    def __getitem__(self, place: SupportsIndex) -> tuple[np.ndarray, int]: ...
    def __getitem__(self, place: Any) -> Any:
        """A face: uint8 [height, width, channels] in 0..255, and its label; of several places their `Faces`.

        Args:
            place: A number, from the end where it is negative; or a slice, a list of numbers, an array of numbers or of
                one bool a face.
        """
        if isinstance(place, (slice, list)) or (isinstance(place, np.ndarray) and place.ndim):
            chosen = place if isinstance(place, slice) else np.asarray(place if len(place) else np.empty(0, np.int64))
            try:
                places = np.arange(len(self))[chosen]
            except (IndexError, TypeError) as error:
                raise IndexError(f"these are no places among {len(self):,} faces: {error}") from error
            if places.ndim != 1:
                raise IndexError(f"these are no places among {len(self):,} faces: give numbers, and no lists of them")
            return self._take(places)
        split, row = self._find(place)
        return split.pixels(row).copy(), int(split.columns.column("label")[row].as_py())

    def __iter__(self) -> Iterator[tuple[np.ndarray, int]]:
        return (self[place] for place in range(len(self)))

    def __add__(self, other: Faces) -> Faces:
        """The faces of both, these first.

        Raises:
            FacesError: Their classes or the forms of their pictures differ; a face is in both; or they are of two folds
                of one data set, where a face that teaches in one tests in the other.
        """
        if not isinstance(other, Faces):
            return NotImplemented
        for what, mine, others in (
            ("classes", self.class_names, other.class_names),
            ("size and channels", self.shape, other.shape),
        ):
            if mine != others:
                raise FacesError(f"{what} differ: {mine} and {others}")
        self._check_apart(other)
        both = self._with(np.concatenate([self._rows, other._rows]))
        both._splits = self._splits + other._splits
        both._of = np.concatenate([self._of, other._of + len(self._splits)])
        return both

    def _check_apart(self, other: Faces) -> None:
        for one in self._splits:
            for two in other._splits:
                if one.data == two.data and one.folds != two.folds:
                    why = "of two folds of one data set"
                    raise FacesError(f"{one.folder} and {two.folder} are {why}: what teaches in one tests in the other")
        twice = self._keys() & other._keys()
        if twice:
            example = min(face_id for _, face_id, _ in twice)
            why = f"{len(twice):,} faces are in both, such as {example}"
            raise FacesError(f"{why}; leave them out of one, as by .where(synthetic=True), or give faces `weights`")

    def _keys(self) -> set[tuple[str, str, str | None]]:
        """What tells each face from all others: the data, its name there, and who made it."""
        data = [split.data for split in self._splits]
        names, weights = self.column("face_id"), self.column("weights_sha256")
        return {(data[of], name, made) for of, name, made in zip(self._of, names, weights, strict=True)}

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels of every picture."""
        return self._splits[0].shape

    @property
    def labels(self) -> np.ndarray:
        """int64 [N], indices into `class_names`."""
        return self.column("label").astype(np.int64)

    def column(self, name: str) -> np.ndarray:
        """A column by name, [N]; null is NaN in `confidence` and `identity_shift`, else None in an array of objects.

        Raises:
            FacesError: There is no such column.
        """
        if name not in _COLUMNS:
            raise FacesError(f"there is no column {name!r}; there are {', '.join(_COLUMNS)}")
        columns = [split.columns.column(name) for split in self._splits]
        if name == "seed":  # null beside whole numbers: floats would round them
            parts = [np.array(column.to_pylist(), object) for column in columns]
        else:
            parts = [column.to_numpy(zero_copy_only=False) for column in columns]
        found = np.empty(len(self), np.result_type(*parts))
        for number, part in enumerate(parts):
            found[self._of == number] = part[self._rows[self._of == number]]
        return found

    def row(self, place: int) -> dict[str, Any]:
        """All columns of a face but the picture."""
        split, row = self._find(place)
        return split.columns.slice(row, 1).to_pylist()[0]

    def counts(self) -> dict[str, int]:
        """Class -> number of faces."""
        counts = np.bincount(self.labels, minlength=len(self.class_names))
        return dict(zip(self.class_names, counts.tolist(), strict=True))

    def where(
        self,
        *,
        classes: Iterable[str] | None = None,
        translators: Iterable[str] | None = None,
        synthetic: bool | None = None,
        least_confidence: float | None = None,
    ) -> Faces:
        """The faces that pass every filter that is given, in their order. Labels stay as they are.

        Args:
            classes: Names.
            translators: Names. Real faces have none, and pass no such filter.
            synthetic: Only synthetic faces, or only real ones.
            least_confidence: Of synthetic faces the least confidence; real faces have none, and pass.

        Raises:
            FacesError: A class or translator that there is not.
        """
        if least_confidence is not None and not (isinstance(least_confidence, Real) and 0 <= least_confidence <= 1):
            raise FacesError(f"a confidence of {least_confidence!r} is none; give one in 0..1")
        passed = np.ones(len(self), bool)
        if classes is not None:
            classes = _known("class", classes, self.class_names)
            passed &= np.isin(self.labels, [self.class_names.index(name) for name in classes])
        if translators is not None:
            found = self.column("translator")
            translators = _known("translator", translators, sorted({name for name in found if name is not None}))
            passed &= np.array([name in translators for name in found], bool)
        made = self.column("synthetic").astype(bool)
        if synthetic is not None:
            passed &= made == synthetic
        if least_confidence is not None:
            passed &= ~made | (self.column("confidence").astype(float) >= least_confidence)
        return self._take(np.flatnonzero(passed))

    def with_share(self, share: float, *, seed: int = 0) -> Faces:
        """All real faces, and as many synthetic ones that they are this share of the whole; in the order they had.

        Args:
            share: Of synthetic faces, 0 <= share < 1.
            seed: Of the choice among them. Of one seed a smaller share's faces are among a larger one's.

        Raises:
            FacesError: There are no real faces, or too few synthetic ones.
        """
        if not isinstance(share, Real) or not 0 <= share < 1:
            raise FacesError(f"a share of {share!r} is none; give one from 0 on, below 1")
        made = self.column("synthetic").astype(bool)
        real, synthetic = np.flatnonzero(~made), np.flatnonzero(made)
        wanted = round(len(real) * share / (1 - share))
        if not len(real) or wanted > len(synthetic):
            most = len(synthetic) / max(len(self), 1)
            raise FacesError(
                f"a share of {share} of {len(real):,} real faces takes {wanted:,} synthetic ones, and there are "
                f"{len(synthetic):,} (a share of {most:.2f})"
                if len(real)
                else "there are no real faces to mix with"
            )
        chosen = _draws(seed).permutation(synthetic)[:wanted]
        return self._take(np.sort(np.concatenate([real, chosen])))

    def weights(self, *, share: float | None = None) -> np.ndarray:
        """How often to draw each face, in the proportions of a run's classifiers: float64 [N], of sum 1.

        Every class is drawn as often as every other, and within it every face; with a share, so it is among the real
        faces and among the synthetic ones. For `torch.utils.data.WeightedRandomSampler`. `with_share` leaves synthetic
        faces out instead.

        Args:
            share: Of synthetic faces among those that are drawn, 0 < share < 1; None: they count as real ones.

        Raises:
            FacesError: There are no real, or no synthetic faces to give a share.
        """
        labels, made = self.labels, self.column("synthetic").astype(bool)
        groups = [(np.ones(len(self), bool), 1.0)]
        if share is not None:
            if not isinstance(share, Real) or not 0 < share < 1:
                raise FacesError(f"a share of {share!r} is none; give one between 0 and 1")
            if made.all() or not made.any():
                raise FacesError(f"there are no {'real' if made.any() else 'synthetic'} faces to mix with")
            groups = [(made, float(share)), (~made, 1 - float(share))]
        found = np.zeros(len(self))
        for group, part in groups:
            counts = np.bincount(labels[group], minlength=len(self.class_names))
            classes = np.count_nonzero(counts)
            found[group] = part / (classes * counts[labels[group]])
        return found

    def shard(self, number: int, of: int) -> Faces:
        """One part of several, for one worker or machine, in the order they had.

        The parts have no face in common and are all faces together; their lengths differ by one at most; and they are
        the same in every run. They are drawn: classes and translators take turns in an export, and every `of`-th face
        would be of one class.
        """
        number, of = _whole("a shard's number", number), _whole("a number of shards", of)
        if not 0 <= number < of:
            raise FacesError(f"there is no shard {number} of {of}; they are numbered from 0, and fewer than {of}")
        return self._take(np.sort(np.random.default_rng(0).permutation(len(self))[number::of]))

    def batches(
        self, size: int, *, shuffle: bool = False, seed: int = 0, drop_last: bool = False
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Pictures uint8 [B, height, width, channels] and labels int64 [B].

        Args:
            size: Faces of a batch; the last may have fewer.
            shuffle: Whether in an order of `seed`, or as they are.
            seed: Of the order; give another one for each epoch.
            drop_last: Whether a last batch with fewer faces is left out.
        """
        size = _whole("a batch's size", size)
        if size < 1:
            raise FacesError(f"a batch of {size} faces is none; give 1 or more")
        order = _draws(seed).permutation(len(self)) if shuffle else np.arange(len(self))
        labels = self.labels
        for start in range(0, len(order), size):
            places = order[start : start + size]
            if drop_last and len(places) < size:
                return
            images = np.empty((len(places), *self.shape), np.uint8)
            for position, place in enumerate(places):
                split, row = self._find(int(place))
                images[position] = split.pixels(row)
            yield images, labels[places]

    def _find(self, place: SupportsIndex) -> tuple[_Split, int]:
        place = _whole("a face's place", place)
        if not -len(self) <= place < len(self):
            raise IndexError(f"{place} of {len(self)} faces")
        return self._splits[self._of[place]], int(self._rows[place])

    def _take(self, places: np.ndarray) -> Faces:
        taken = self._with(self._rows[places])
        taken._of = self._of[places]
        return taken

    def _with(self, rows: np.ndarray) -> Faces:
        other = object.__new__(Faces)
        other.__dict__ = {**self.__dict__, "_rows": rows}
        return other


def split_names(folder: str | Path) -> tuple[str, ...]:
    """The splits that a folder has.

    Args:
        folder: What `s2l export` wrote, as Parquet.

    Raises:
        FacesError: The folder is no such export.
    """
    return tuple(_read_description(Path(folder))["files"])


def _within(labels: pa.ChunkedArray, classes: int) -> bool:
    numbers = labels.to_numpy()
    return not len(numbers) or bool(numbers.min() >= 0 and numbers.max() < classes)


def _read_description(folder: Path) -> dict[str, Any]:
    path = folder / "dataset.json"
    try:
        if path.exists() and not path.is_file():
            raise OSError("it is no file")  # a pipe would never end
        about = json.loads(path.read_text(encoding="utf-8"))
        version, form = about["schema_version"], about["format"]
        made = about["provenance"]
        names = [name for found in about["files"].values() for name in list(found)]
        whole = all(type(about[key]) is int and 0 < about[key] < 2**16 for key in ("size", "channels"))
        whole &= all(isinstance(name, str) and name for name in [*names, *about["class_names"]])
        whole &= all(isinstance(found, list) for found in [about["class_names"], *about["files"].values()])
        whole &= all(len(set(found)) == len(found) for found in about["files"].values())
        whole &= 0 < len(set(about["class_names"])) == len(about["class_names"])
        whole &= all(isinstance(made[key], str) for key in ("data_sha256", "folds_sha256"))
        whole &= type(made["fold"]) is int
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise FacesError(f"{path} can't be read ({error}); name a folder that `s2l export` wrote") from error
    if version != SCHEMA_VERSION:
        fix = "update it, or export the faces again"
        raise FacesError(f"{path} is of version {version}; this reader knows {SCHEMA_VERSION}: {fix}")
    if form != "parquet":
        raise FacesError(f"{folder} is an export as {form}; this reader reads Parquet: `s2l export --format parquet`")
    if not whole:
        raise FacesError(f"{path} names no size, classes or files that there can be; see `s2l verify`")
    for name in names:
        if PurePosixPath(name).is_absolute() or "\\" in name or ":" in name or ".." in PurePosixPath(name).parts:
            raise FacesError(f"{path}: {name!r} leads out of the folder")
    if not all(name.endswith(".parquet") for name in names):
        raise FacesError(f"{path} names files that are no Parquet; see `s2l verify`")
    return about


def _known(what: str, wanted: Iterable[str], known: Sequence[str]) -> list[str]:
    if isinstance(wanted, str):
        raise FacesError(f"{wanted!r} is one name; give a list of them")
    names = list(wanted)
    unknown = [name for name in names if name not in known]
    if unknown:
        raise FacesError(f"there is no {what} {', '.join(map(repr, unknown))}; there are {', '.join(known) or 'none'}")
    return names


def _whole(what: str, value: Any) -> int:
    try:
        return operator.index(value)
    except TypeError as error:
        raise FacesError(f"{what} is a whole number, and {value!r} is none") from error


def _draws(seed: Any) -> np.random.Generator:
    if _whole("a seed", seed) < 0:
        raise FacesError(f"a seed is 0 or more, and {seed} is not")
    return np.random.default_rng(seed)
