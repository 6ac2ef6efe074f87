"""Finding pictures that occur more than once."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from small_faces import face_row, face_table, noise

from augment.faces import duplicates as module
from augment.faces.duplicates import (
    DisjointSets,
    FingerprintCollector,
    Fingerprints,
    find_duplicates,
    hash_pairs,
    near_pairs,
)
from augment.faces.images import encode_png
from augment.rig import preset, render


def prints_of(pictures: list[np.ndarray]) -> Fingerprints:
    collector = FingerprintCollector()
    for number, pixels in enumerate(pictures):
        collector.add(str(number), pixels)
    return collector.fingerprints()


@pytest.fixture(scope="module")
def drawn() -> np.ndarray:
    specs = preset("rare", seed=3, subjects=2, neutral_subjects=20, validation_subjects=1, test_subjects=1).specs
    return render(specs, size=48, channels=3, seed=3).images


def as_jpeg(pixels: np.ndarray, quality: int) -> np.ndarray:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer))


def rescaled(pixels: np.ndarray, size: int) -> np.ndarray:
    return np.asarray(Image.fromarray(pixels).resize((size, size), Image.Resampling.LANCZOS))


def test_copies_in_another_form_are_near_identical(drawn: np.ndarray) -> None:
    copies = [
        lambda p: as_jpeg(p, 85),
        lambda p: rescaled(p, 64),
        lambda p: np.clip(p.astype(int) + 5, 0, 255).astype(np.uint8),
        lambda p: np.asarray(Image.fromarray(p).convert("L")),
    ]
    first = prints_of(list(drawn))
    for change in copies:
        pairs = near_pairs(first, prints_of([change(pixels) for pixels in drawn]))
        hits = {(left, right) for left, right in pairs.tolist()}
        assert sum((number, number) in hits for number in range(len(drawn))) >= 0.9 * len(drawn)
        assert all(left == right for left, right in hits)


def test_different_embedded_faces_raise_no_alarm(drawn: np.ndarray) -> None:
    assert len(near_pairs(prints_of(list(drawn)))) == 0
    dark = (drawn // 16).astype(np.uint8)  # little is left to tell them apart
    assert len(near_pairs(prints_of(list(dark)))) == 0


def test_blank_pictures_resemble_nothing_but_are_byte_identical() -> None:
    grey = np.full((16, 16), 100, np.uint8)
    almost = grey.copy()
    almost[0, 0] = 101
    prints = prints_of([grey, grey, almost, np.zeros((16, 16), np.uint8)])
    assert prints.blank.all()
    table = find_duplicates(prints)
    assert table.column("face_id").to_pylist() == ["0", "1"]
    # Without the check of the pixels the hash alone would call them alike.
    assert (prints.hashes[0] ^ prints.hashes[3]).item().bit_count() <= 2


def test_groups() -> None:
    repeated = noise(1, 32)
    near = np.clip(repeated.astype(int) + 4, 0, 255).astype(np.uint8)
    images = [noise(7, 32), repeated, noise(8, 32), near, repeated, noise(9, 32)]
    table = face_table([face_row(n, image={"bytes": encode_png(p), "path": None}) for n, p in enumerate(images)])
    assert find_duplicates(table).to_pylist() == [
        {"face_id": "made/1", "exact_group": 0, "near_group": 0},
        {"face_id": "made/3", "exact_group": None, "near_group": 0},
        {"face_id": "made/4", "exact_group": 0, "near_group": 0},
    ]
    assert find_duplicates(table.to_batches(max_chunksize=2)).equals(find_duplicates(table))
    assert len(find_duplicates(table.slice(0, 0))) == 0


def test_a_grey_and_a_colour_picture_of_the_same_bytes_are_not_exact_duplicates() -> None:
    flat = np.arange(48, dtype=np.uint8)
    assert prints_of([flat.reshape(4, 4, 3)]).digests != prints_of([flat.reshape(6, 8)]).digests


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.integers(1, 60), st.integers(1, 5))
def test_bands_find_every_pair_that_comparing_all_would_find(seed: int, count: int, at_a_time: int) -> None:
    generator = np.random.default_rng(seed)
    base = generator.integers(0, 2**63, 3).astype(np.uint64)
    flips = np.zeros(count, np.uint64)
    for _ in range(3):  # up to 3 bits, one more than is allowed
        flips ^= np.uint64(1) << generator.integers(0, 64, count).astype(np.uint64)
    hashes = base[generator.integers(0, 3, count)] ^ flips
    same = np.full((count, 256), 1 / 16, np.float32)
    prints = Fingerprints(
        tuple(map(str, range(count))), (b"",) * count, hashes, same, np.zeros((count, 48, 48), np.uint8)
    )
    expected = {
        (i, j)
        for i in range(count)
        for j in range(count)
        if i < j and (int(hashes[i]) ^ int(hashes[j])).bit_count() <= module.HASH_BITS
    }
    previous, module._PAIRS_AT_A_TIME = module._PAIRS_AT_A_TIME, at_a_time
    try:
        assert {tuple(pair) for pair in hash_pairs(prints).tolist()} == expected
        both = {tuple(pair) for pair in hash_pairs(prints, prints).tolist()}
    finally:
        module._PAIRS_AT_A_TIME = previous
    assert both == expected | {(j, i) for i, j in expected} | {(i, i) for i in range(count)}


def test_disjoint_sets() -> None:
    sets = DisjointSets(6)
    sets.join(4, 5)
    sets.join(5, 2)
    assert [sets.root(position) for position in range(6)] == [0, 1, 2, 3, 2, 2]
