"""Pictures that occur more than once: byte-identical ones by SHA-256, near-identical ones by hash or alignment.

Near-identical means one of two. One picture moved a little, or in the mirror: `augment.faces.near_duplicates`. Or: the
64-bit perceptual hashes (`imagehash.phash`) differ in at most 2 bits, and the 16 x 16 block means of the two grey
pictures correlate by at least 0.95. Both numbers were measured. Of 1,500 FER2013 pictures saved
again as JPEG (quality 90, 75 or 50), scaled by 4/3 or 5/6 and back, brightened by 12 or made noisy (sigma 4), 0 bits
find 64 to 92 %, 2 bits 98.3 to 99.9 %. Among the 35,887 FER2013 pictures 2 bits find 590 pairs that are not
byte-identical; on a sheet of twelve of them, down to a correlation of 0.90, all were copies of one photograph.
Embedded faces of different people (4,300 faces, four populations) never come within 2 bits, but six pairs of dark
pictures come within 4. The correlation guards pictures with so little detail that their hash is random.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import imagehash
import numpy as np
import pyarrow as pa
from PIL import Image

from augment.faces.images import decode_image
from augment.faces.near_duplicates import VIEW_SIZE, near_duplicate_pairs, view_of

HASH_BITS = 2
CORRELATION = 0.95
BLANK_DEVIATION = 1.0  # grey levels; below it a picture shows nothing
_THUMBNAIL = 16
_BANDS = (22, 21, 21)  # two hashes that differ in 2 bits agree in one of three bands
_PAIRS_AT_A_TIME = 1_000_000

DUPLICATE_SCHEMA = pa.schema(
    [
        pa.field("face_id", pa.string()),
        pa.field("exact_group", pa.int64()),
        pa.field("near_group", pa.int64()),
    ]
)


@dataclass(frozen=True)
class Fingerprints:
    """What is kept of N pictures to find duplicates.

    Attributes:
        face_ids: N names.
        digests: N SHA-256 digests of shape and pixels.
        hashes: uint64 [N], perceptual hashes.
        thumbnails: float32 [N, 256], block means without their mean, of unit length; zeros where a picture is blank.
        views: uint8 [N, 48, 48], what moved copies are found by.
    """

    face_ids: tuple[str, ...]
    digests: tuple[bytes, ...]
    hashes: np.ndarray
    thumbnails: np.ndarray
    views: np.ndarray

    def __len__(self) -> int:
        return len(self.face_ids)

    @property
    def blank(self) -> np.ndarray:
        """bool [N]: the picture shows nothing."""
        return np.logical_not(self.thumbnails.any(axis=1))

    def take(self, positions: np.ndarray) -> Fingerprints:
        """Those at some positions, int64 [n]."""
        return Fingerprints(
            tuple(self.face_ids[position] for position in positions),
            tuple(self.digests[position] for position in positions),
            self.hashes[positions],
            self.thumbnails[positions],
            self.views[positions],
        )


class FingerprintCollector:
    """Takes pictures one by one and keeps some 3,500 bytes of each."""

    def __init__(self) -> None:
        self._face_ids: list[str] = []
        self._digests: list[bytes] = []
        self._hashes: list[int] = []
        self._thumbnails: list[np.ndarray] = []
        self._views: list[np.ndarray] = []

    def add(self, face_id: str, pixels: np.ndarray) -> None:
        """Takes one picture, uint8 [H, W], [H, W, 1] or [H, W, 3]."""
        if pixels.ndim == 3 and pixels.shape[2] == 1:
            pixels = pixels[:, :, 0]
        grey = Image.fromarray(pixels).convert("L")
        bits = np.packbits(imagehash.phash(grey).hash.ravel())
        thumbnail = np.asarray(grey.resize((_THUMBNAIL, _THUMBNAIL), Image.Resampling.BOX), np.float32).ravel()
        thumbnail = thumbnail - thumbnail.mean()
        length = np.linalg.norm(thumbnail)
        is_blank = length < BLANK_DEVIATION * _THUMBNAIL
        self._face_ids.append(face_id)
        self._digests.append(hashlib.sha256(str(pixels.shape).encode() + np.ascontiguousarray(pixels).data).digest())
        self._hashes.append(int.from_bytes(bits.tobytes(), "big"))
        self._thumbnails.append(np.zeros_like(thumbnail) if is_blank else thumbnail / length)
        self._views.append(view_of(grey))

    def add_batch(self, batch: pa.RecordBatch) -> None:
        """Takes the pictures of a batch with the columns `face_id` and `image`."""
        for face_id, image in zip(batch.column("face_id"), batch.column("image"), strict=True):
            self.add(face_id.as_py(), decode_image(image.as_py()["bytes"]))

    def fingerprints(self) -> Fingerprints:
        """Everything taken so far."""
        empty = np.zeros((0, _THUMBNAIL**2), np.float32)
        return Fingerprints(
            tuple(self._face_ids),
            tuple(self._digests),
            np.array(self._hashes, np.uint64),
            np.stack(self._thumbnails) if self._thumbnails else empty,
            np.stack(self._views) if self._views else np.zeros((0, VIEW_SIZE, VIEW_SIZE), np.uint8),
        )


def fingerprint_faces(faces: pa.Table | Iterable[pa.RecordBatch]) -> Fingerprints:
    """Fingerprints of a table (or a stream of batches) with the columns `face_id` and `image`."""
    collector = FingerprintCollector()
    batches = faces.to_batches(max_chunksize=1000) if isinstance(faces, pa.Table) else faces
    for batch in batches:
        collector.add_batch(batch)
    return collector.fingerprints()


def exact_pairs(first: Fingerprints, second: Fingerprints) -> set[tuple[str, str]]:
    """Ids of faces whose pictures are the same bytes, blank ones too: one of `first`, one of `second`."""
    by_digest: dict[bytes, list[str]] = {}
    for face_id, digest in zip(second.face_ids, second.digests, strict=True):
        by_digest.setdefault(digest, []).append(face_id)
    return {
        (face_id, other)
        for face_id, digest in zip(first.face_ids, first.digests, strict=True)
        for other in by_digest.get(digest, [])
    }


def near_pairs(first: Fingerprints, second: Fingerprints | None = None) -> np.ndarray:
    """Pairs of near-identical pictures, by hash or alignment; byte-identical ones included unless they are blank.

    Args:
        first: Pictures.
        second: Other pictures; without them the pairs are sought within `first`.

    Returns:
        int64 [P, 2], sorted, each pair once: positions in `first` and `second` (in `first`, ascending, without it).
    """
    moved = near_duplicate_pairs(first.views, None if second is None else second.views)
    return np.unique(np.concatenate([hash_pairs(first, second), moved]), axis=0)


def hash_pairs(first: Fingerprints, second: Fingerprints | None = None) -> np.ndarray:
    """Pairs whose perceptual hashes and thumbnails agree: pictures that were saved, scaled or brightened anew.

    Args:
        first: Pictures.
        second: Other pictures; without them the pairs are sought within `first`.

    Returns:
        int64 [P, 2], sorted, each pair once: positions in `first` and `second` (in `first`, ascending, without it).
    """
    other = first if second is None else second
    found = []
    for left, right in _candidates(first.hashes, other.hashes):
        if second is None:
            ordered = left < right
            left, right = left[ordered], right[ordered]
        differing = np.unpackbits((first.hashes[left] ^ other.hashes[right]).view(np.uint8).reshape(-1, 8), axis=1)
        close = differing.sum(axis=1) <= HASH_BITS
        left, right = left[close], right[close]
        alike = np.einsum("nd,nd->n", first.thumbnails[left], other.thumbnails[right]) >= CORRELATION
        found.append(np.stack([left[alike], right[alike]], axis=1))
    if not found:
        return np.zeros((0, 2), np.int64)
    return np.unique(np.concatenate(found), axis=0)


def _candidates(first: np.ndarray, second: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Positions whose hashes agree in a band, a bounded number at a time."""
    shift = 0
    for width in _BANDS:
        mask = np.uint64(2**width - 1)
        left_keys = (first >> np.uint64(shift)) & mask
        right_keys = (second >> np.uint64(shift)) & mask
        shift += width
        order = np.argsort(right_keys, kind="stable")
        sorted_keys = right_keys[order]
        starts = np.searchsorted(sorted_keys, left_keys, "left")
        counts = np.searchsorted(sorted_keys, left_keys, "right") - starts
        ends = np.cumsum(counts)
        begin = 0
        while begin < len(first):
            done = ends[begin - 1] if begin else 0
            stop = max(begin + 1, int(np.searchsorted(ends, done + _PAIRS_AT_A_TIME, "right")))
            repeats = counts[begin:stop]
            left = np.repeat(np.arange(begin, stop), repeats)
            within = np.arange(repeats.sum()) - np.repeat(np.cumsum(repeats) - repeats, repeats)
            yield left, order[np.repeat(starts[begin:stop], repeats) + within]
            begin = stop


def find_duplicates(faces: pa.Table | Iterable[pa.RecordBatch] | Fingerprints) -> pa.Table:
    """Groups pictures that occur more than once.

    Args:
        faces: A table (or batches) with `face_id` and `image`, or its fingerprints.

    Returns:
        `DUPLICATE_SCHEMA`: one row for each face that has a duplicate. Faces of one `exact_group` are byte-identical
        (null: none is); faces of one `near_group` are linked by byte-identical or near-identical pictures.
    """
    prints = faces if isinstance(faces, Fingerprints) else fingerprint_faces(faces)
    by_digest: dict[bytes, list[int]] = {}
    for position, digest in enumerate(prints.digests):
        by_digest.setdefault(digest, []).append(position)
    # One picture of each byte-identical group is enough to find its near-identical ones.
    representatives = np.array([members[0] for members in by_digest.values()], np.int64)
    pairs = representatives[near_pairs(prints.take(representatives))]
    groups = DisjointSets(len(prints))
    exact: dict[int, int] = {}
    for members in by_digest.values():
        if len(members) > 1:
            for position in members:
                exact[position] = members[0]
                groups.join(members[0], position)
    for left, right in pairs:
        groups.join(int(left), int(right))
    members_of: dict[int, list[int]] = {}
    for position in {*exact, *pairs.ravel().tolist()}:
        members_of.setdefault(groups.root(position), []).append(position)
    near = {position: number for number, root in enumerate(sorted(members_of)) for position in members_of[root]}
    exact_numbers = {root: number for number, root in enumerate(sorted(set(exact.values())))}
    rows = [
        {
            "face_id": prints.face_ids[position],
            "exact_group": exact_numbers[exact[position]] if position in exact else None,
            "near_group": near[position],
        }
        for position in sorted(near)
    ]
    return pa.Table.from_pylist(rows, schema=DUPLICATE_SCHEMA)


class DisjointSets:
    """Sets of positions 0..N-1 that grow together (union-find); a set's root is its smallest position."""

    def __init__(self, count: int) -> None:
        self._parents = list(range(count))

    def root(self, position: int) -> int:
        """The smallest position of the set that holds `position`."""
        while self._parents[position] != position:
            self._parents[position] = self._parents[self._parents[position]]
            position = self._parents[position]
        return position

    def join(self, first: int, second: int) -> None:
        """Makes one set of the two that hold these positions."""
        low, high = sorted((self.root(first), self.root(second)))
        self._parents[high] = low
