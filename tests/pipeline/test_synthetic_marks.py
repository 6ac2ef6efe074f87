"""A synthetic picture that comes back from an export is no real face, whatever the folder or table it lies in says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from small_faces import file_bytes, noise

from augment.core.errors import Problem
from augment.faces.images import decode_image, encode_png
from augment.faces.synthetic_mark import TRANSLATED_MARK
from augment.sources import RawFace, open_source
from augment.sources.base import Source
from augment.sources.folder import read_picture
from pipeline.publishing.marks import marked_png

ROW = {"face_id": "warp/1", "label_name": "happy", "translator": "warp", "source_id": "a/1"}
EXPORTED = marked_png(encode_png(noise(1, 16)), ROW)
TRANSLATED = encode_png(noise(2, 16), {TRANSLATED_MARK: "{}"})


def told_apart(source: Source) -> tuple[int, list[Problem]]:
    found = list(source.faces())
    problems = [face for face in found if isinstance(face, Problem)]
    return sum(isinstance(face, RawFace) for face in found), problems


def test_in_a_folder(tmp_path: Path) -> None:
    for name, data in (("real.png", file_bytes(noise(3))), ("made.png", EXPORTED), ("photo_happy.png", TRANSLATED)):
        for label in ("happy", "sad"):
            (tmp_path / label).mkdir(exist_ok=True)
            (tmp_path / label / name).write_bytes(data)
    faces, problems = told_apart(open_source("folder", tmp_path))
    assert faces == 2
    assert [problem.where for problem in problems] == [
        f"{label}/{name}" for label in ("happy", "sad") for name in ("made.png", "photo_happy.png")
    ]
    assert all("is marked as a synthetic face (leave it out" in str(problem) for problem in problems)


def test_in_a_table_that_says_nothing_of_it(tmp_path: Path) -> None:
    pictures = [file_bytes(noise(3)), EXPORTED, TRANSLATED]
    pq.write_table(pa.table({"image": pictures, "label": ["happy", "sad", "sad"]}), tmp_path / "faces.parquet")
    faces, problems = told_apart(open_source("parquet", tmp_path))
    assert faces == 1 and [problem.where for problem in problems] == ["faces.parquet row 1", "faces.parquet row 2"]


def test_one_that_is_to_be_translated_may_be_synthetic(tmp_path: Path) -> None:
    (tmp_path / "made.png").write_bytes(EXPORTED)
    assert isinstance(read_picture(tmp_path / "made.png", "made.png", real=False), np.ndarray)
    assert isinstance(read_picture(tmp_path / "made.png", "made.png"), Problem)


def test_the_pixels_alone_are_no_mark(tmp_path: Path) -> None:
    """What was drawn anew has lost its mark, which no reader can know; verified exports keep it."""
    assert np.array_equal(decode_image(EXPORTED), noise(1, 16))
    (tmp_path / "happy").mkdir()
    (tmp_path / "sad").mkdir()
    for label in ("happy", "sad"):
        (tmp_path / label / "drawn.png").write_bytes(encode_png(decode_image(EXPORTED)))
    assert told_apart(open_source("folder", tmp_path)) == (2, [])
