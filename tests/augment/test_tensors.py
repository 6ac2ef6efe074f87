"""Faces as tensors."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small_faces import CLASSES, face_row, face_table, noise

from augment.core.errors import InputError
from augment.faces.images import encode_png
from augment.faces.tensors import MIRROR_LANDMARKS, face_tensors, mirror_landmarks, to_bytes_range, to_unit_range


def test_a_table_becomes_tensors() -> None:
    mask = np.zeros((16, 16), np.uint8)
    mask[:8] = 2
    points = np.random.default_rng(0).random((68, 2), np.float32)
    rows = [face_row(0, 1, subject="a", landmarks=points, mask=encode_png(mask)), face_row(1, 2)]
    faces = face_tensors(face_table(rows))
    assert faces.images.shape == (2, 1, 16, 16) and faces.images.dtype == torch.uint8
    assert np.array_equal(faces.images[0, 0].numpy(), noise(0))
    assert faces.labels.tolist() == [1, 2]
    assert faces.landmarks is not None and torch.equal(faces.landmarks[0], torch.from_numpy(points))
    assert faces.landmarks[1].isnan().all()
    assert faces.masks is not None and np.array_equal(faces.masks[0].numpy(), mask)
    assert (faces.masks[1] == 255).all()
    assert faces.subjects == ("a", None) and faces.class_names == CLASSES


def test_other_sizes_and_channels_are_fitted() -> None:
    mask = np.kron(np.array([[0, 1], [2, 3]], np.uint8), np.ones((8, 8), np.uint8))
    faces = face_tensors(face_table([face_row(0, mask=encode_png(mask))]), size=8, channels=3)
    assert faces.images.shape == (1, 3, 8, 8)
    assert faces.masks is not None
    assert faces.masks[0].tolist() == np.kron([[0, 1], [2, 3]], np.ones((4, 4), int)).tolist()


@pytest.mark.parametrize(
    ("damaged", "said"),
    [
        ({"image": {"bytes": b"no picture", "path": None}}, "its picture can't be decoded"),
        ({"mask": b"no picture"}, "its mask can't be decoded"),
        ({"simulated": b"no picture"}, "its simulated face can't be decoded"),
    ],
)
def test_what_can_not_be_decoded_is_named_with_its_face(damaged: dict[str, object], said: str) -> None:
    rows = [face_row(0), {**face_row(1), **damaged}]
    with pytest.raises(InputError, match=rf"row 1 of the table of faces \({rows[1]['face_id']}\): {said}"):
        face_tensors(face_table(rows))


def test_take_keeps_everything_together() -> None:
    rows = [face_row(number, number % 3, subject=str(number)) for number in range(5)]
    faces = face_tensors(face_table(rows)).take([3, 1])
    assert faces.face_ids == ("made/3", "made/1") and faces.subjects == ("3", "1")
    assert faces.labels.tolist() == [0, 1]
    assert np.array_equal(faces.images[0, 0].numpy(), noise(3))
    assert len(faces.take([])) == 0
    assert faces.to("cpu").face_ids == faces.face_ids


@given(st.integers(0, 255))
def test_ranges_go_there_and_back(value: int) -> None:
    picture = torch.tensor([[value]], dtype=torch.uint8)
    assert -1 <= to_unit_range(picture).item() <= 1
    assert to_bytes_range(to_unit_range(picture)).item() == value


def test_mirroring_twice_is_nothing_and_sides_change_names() -> None:
    points = torch.rand(2, 68, 2, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(mirror_landmarks(mirror_landmarks(points)), points)
    assert sorted(MIRROR_LANDMARKS.tolist()) == list(range(68))
    # The outer corner of one eye (36) becomes that of the other (45), and the chin and the nose stay.
    mirrored = mirror_landmarks(points)
    assert torch.allclose(mirrored[:, 36], torch.stack([1 - points[:, 45, 0], points[:, 45, 1]], -1))
    assert all(MIRROR_LANDMARKS[fixed] == fixed for fixed in (8, 27, 28, 29, 30, 33, 51, 57, 62, 66))
