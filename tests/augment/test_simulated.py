"""Simulated frontal faces: from the source through the table to tensors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from small_faces import face_row, face_table, noise

from augment.core.errors import InputError, Problem
from augment.core.seals import seal_folder
from augment.faces.images import encode_png
from augment.faces.table import data_files, read_faces, validate_faces
from augment.faces.tensors import face_tensors
from augment.prepare.prepare import prepare_faces
from augment.sources import RawFace, open_source

pytestmark = pytest.mark.slow

FEW: dict[str, Any] = {"preset": "bu3dfe", "subjects": 1, "size": 32, "channels": 1}


class MadeSource:
    name = "made"
    licence = "cc0-1.0"
    class_names: tuple[str, ...] = ("calm",)

    def __init__(self, *faces: RawFace) -> None:
        self.items = faces

    def faces(self) -> Iterator[RawFace | Problem]:
        yield from self.items


def test_the_rig_gives_the_same_performance_from_the_front() -> None:
    plain = list(open_source("rig", **FEW).faces())
    faces = [face for face in open_source("rig", simulated=True, **FEW).faces() if isinstance(face, RawFace)]
    assert all(isinstance(face, RawFace) and face.simulated is None for face in plain)
    seen: dict[tuple[str, float | None], list[np.ndarray]] = {}
    for face, without in zip(faces, plain, strict=True):
        assert isinstance(without, RawFace) and np.array_equal(face.image, without.image)
        assert face.simulated is not None and face.simulated.shape == (32, 32) and face.simulated[0, 0] == 0
        seen.setdefault((face.label_name, face.intensity), []).append(face.simulated)
    # Seven cameras see one moment, and it has one simulated face; another moment has another.
    assert {len(pictures) for pictures in seen.values()} == {7}
    assert all(np.array_equal(pictures[0], other) for pictures in seen.values() for other in pictures[1:])
    assert len({pictures[0].tobytes() for pictures in seen.values()}) == len(seen) == 25


def test_they_reach_tensors_at_another_size_and_come_back_from_the_table(tmp_path: Path) -> None:
    source = open_source("rig", simulated=True, **FEW)
    report = prepare_faces(source, tmp_path / "first", image_size=24, channels=3)
    assert report.columns["simulated"] == report.faces == 175
    table = read_faces(tmp_path / "first")
    validate_faces(table)
    faces = face_tensors(table)
    assert faces.simulated is not None and faces.simulated.shape == faces.images.shape == (175, 3, 24, 24)
    assert faces.yaw is not None and sorted(set(faces.yaw.tolist())) == [-45, -30, -15, 0, 15, 30, 45]
    assert faces.sources == ("rig",) * 175
    again = open_source("parquet", tmp_path / "first" / "data")
    prepare_faces(again, tmp_path / "second", image_size=24, channels=3)
    second = face_tensors(read_faces(tmp_path / "second"))
    assert second.simulated is not None and torch.equal(second.simulated, faces.simulated)


def test_faces_without_one_are_null_and_black() -> None:
    rows = [face_row(0, simulated=encode_png(noise(9)), yaw=30.0), face_row(1)]
    faces = face_tensors(face_table(rows))
    assert faces.simulated is not None and faces.yaw is not None
    assert np.array_equal(faces.simulated[0, 0].numpy(), noise(9)) and not faces.simulated[1].any()
    assert faces.yaw[0] == 30 and faces.yaw[1].isnan()
    taken = faces.take([1, 0])
    assert taken.simulated is not None and torch.equal(taken.simulated, faces.simulated.flip(0))
    bare = face_tensors(face_table([face_row(0), face_row(1)]))
    assert bare.simulated is None and bare.yaw is None


def test_one_of_another_form_is_a_problem(tmp_path: Path) -> None:
    face = RawFace("a", noise(0), "calm", simulated=np.zeros((16, 16, 4), np.uint8))
    with pytest.raises(InputError, match="a: the simulated face has 4 channels"):
        prepare_faces(MadeSource(face), tmp_path, image_size=16, channels=1)
    face = replace(face, simulated=np.zeros((16, 16), np.float32))
    with pytest.raises(InputError, match="the simulated face is float32"):
        prepare_faces(MadeSource(face), tmp_path, image_size=16, channels=1)


def test_duplicates_are_of_pictures_alone(tmp_path: Path) -> None:
    faces = [RawFace(str(number), noise(number), "calm", simulated=noise(9)) for number in range(3)]
    report = prepare_faces(MadeSource(*faces), tmp_path, image_size=16, channels=1)
    assert report.duplicate_faces == report.near_duplicate_faces == 0
    assert len(pq.read_table(tmp_path / "duplicates.parquet")) == 0


def test_tables_written_before_the_column_came_are_read(tmp_path: Path) -> None:
    faces = [RawFace(str(number), noise(number), "calm", split=("train", "test")[number]) for number in range(2)]
    prepare_faces(MadeSource(*faces), tmp_path, image_size=16, channels=1)
    older = data_files(tmp_path)[0]
    pq.write_table(pq.read_table(older).drop_columns(["simulated"]), older)
    seal_folder(tmp_path)
    table = read_faces(tmp_path)
    validate_faces(table)
    assert table.column("simulated").null_count == 2 and len(table) == 2
    table = pq.read_table(older)
    validate_faces(table)
    assert "simulated" not in table.column_names and face_tensors(table).simulated is None
    read = list(open_source("parquet", tmp_path / "data").faces())
    assert all(isinstance(face, RawFace) and face.name.startswith("made/") for face in read)
