"""Landmarks that can be no face's are named by every reader, and reach no translator; those of cut-off faces pass."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from embedded import embedded_face
from small_faces import CARD, CLASSES, face_row

from augment.core.errors import InputError, Problem
from augment.faces.crops import CropSettings, crop_landmarks, face_square
from augment.faces.images import encode_png, fit_landmarks
from augment.faces.landmark_bounds import LANDMARK_COUNT, LEAST_SPREAD, MARGIN, STILL_POINTS, landmarks_fault
from augment.faces.landmark_shapes import STABLE_POINTS
from augment.faces.shards import write_faces
from augment.faces.table import face_schema, faces_from_rows, read_faces, validate_faces
from augment.faces.tensors import face_tensors, has_valid_landmarks
from augment.prepare import annotation as annotate
from augment.prepare.annotation import AnnotationSettings, annotated
from augment.prepare.cache import ResultCache
from augment.prepare.landmarks import Detection, LandmarkSettings
from augment.prepare.prepare import prepare_faces
from augment.sources import RawFace, open_source
from augment.sources.face_problem import face_problem
from augment.translators.base import CannotTranslateError
from augment.translators.warp import WarpTranslator
from pipeline.photos.photographs import PhotographReader

IMAGE, OWN, _ = embedded_face("happy", 1, size=48, channels=1)


def with_point(value: float, point: int = 8, axis: int = 1) -> np.ndarray:
    """A face's landmarks, one coordinate of which is wrong."""
    points = OWN.copy()
    points[point, axis] = value
    return points


# The values of the report, and what reaches farther than one edge.
WRONG: dict[str, np.ndarray] = {
    "5": with_point(5.0),
    "10,000": with_point(1e4),
    "1e30": with_point(1e30),
    "just beyond, below": with_point(2.501),
    "just beyond, left": with_point(-1.501, axis=0),
    "infinite": with_point(math.inf),
    "NaN": with_point(math.nan),
    "pixels": OWN * 48,
    "all zero": np.zeros_like(OWN),
    "all in one place": np.full_like(OWN, 0.4),
    "a mouth, and all else in one place": np.where(np.arange(68)[:, None] >= 48, OWN, np.float32(0.5)),
}
RIGHT: dict[str, np.ndarray] = {
    "a face": OWN,
    "its chin below the picture": OWN + np.float32([0, 0.4]),
    "an edge and a half outside": with_point(2.5),
    "an edge and a half outside, left": with_point(-1.5, axis=0),
    "small in a large picture": OWN * np.float32(0.01),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_can_be_no_face_is_named_by_every_reader(tmp_path: Path, name: str) -> None:
    landmarks = WRONG[name].astype(np.float32)
    assert landmarks_fault(landmarks)
    assert not has_valid_landmarks(torch.from_numpy(landmarks)[None])[0]
    # Any source, plug-ins too.
    problem = face_problem(RawFace("f", IMAGE, "happy", landmarks=landmarks, path="a/f.png"), CLASSES)
    assert problem is not None and problem.where == "a/f.png" and problem.why.startswith("landmarks ")
    # The own table: as a source, and as what translators read.
    table = faces_from_rows([face_row(0, landmarks=landmarks), face_row(1)], face_schema(CLASSES))
    pq.write_table(table, tmp_path / "own.parquet")
    with pytest.raises(InputError, match=r"made/0|own.parquet row 0"):
        prepare_faces(
            open_source("parquet", tmp_path / "own.parquet"), tmp_path / "out", image_size=16, channels=1, licence="mit"
        )
    with pytest.raises(InputError, match=r"row 0 .*\(made/0\): landmarks "):
        face_tensors(table)
    with pytest.raises(InputError, match="row 0: landmarks "):
        validate_faces(table)


@pytest.mark.parametrize("name", RIGHT)
def test_what_lies_a_little_outside_passes_every_reader(tmp_path: Path, name: str) -> None:
    landmarks = RIGHT[name].astype(np.float32)
    assert landmarks_fault(landmarks) is None
    assert has_valid_landmarks(torch.from_numpy(landmarks)[None])[0]
    table = faces_from_rows([face_row(0, landmarks=landmarks), face_row(1)], face_schema(CLASSES))
    pq.write_table(table, tmp_path / "own.parquet")
    validate_faces(table)
    found = face_tensors(table).landmarks
    assert found is not None and has_valid_landmarks(found).tolist() == [True, False]
    report = prepare_faces(
        open_source("parquet", tmp_path / "own.parquet"), tmp_path / "out", image_size=16, channels=1, licence="mit"
    )
    assert report.columns["landmarks"] == 1


@pytest.mark.parametrize("count", [0, 1, 66, 134, 137, 166])
def test_more_or_fewer_numbers_than_68_points_have_are_named(tmp_path: Path, count: int) -> None:
    """The column's type is a list of any length, so nothing but these looks at it."""
    row = face_row(0, landmarks=[0.25] * count)
    said = f"landmarks are {count} numbers, not 136"
    table = faces_from_rows([row, face_row(1)], face_schema(CLASSES))
    with pytest.raises(InputError, match=rf"row 0 .*\(made/0\): {said}"):
        face_tensors(table)
    with pytest.raises(InputError, match=f"row 0: {said}"):
        validate_faces(table)
    with pytest.raises(InputError, match=f"row 0: {said}"):
        write_faces([row], tmp_path / "faces", CLASSES, card=CARD)


def test_landmarks_of_numbers_that_are_none_are_named() -> None:
    fault = landmarks_fault(np.full((68, 2), "x", object))
    assert fault == "are object, not numbers"


def test_points_that_no_expression_moves_decide_about_the_spread() -> None:
    assert set(STILL_POINTS) <= set(STABLE_POINTS)
    assert 0 < LEAST_SPREAD < 0.01


def test_the_margin_lets_the_tightest_crop_and_the_central_square_of_wide_pictures_through() -> None:
    for expression in ("fear", "surprise", "neutral"):
        for number in range(6):
            landmarks = embedded_face(expression, number, size=48, channels=1)[1]
            square = face_square(landmarks, 48, 48, margin=-0.3)  # the least that CropSettings takes
            assert square is not None
            assert landmarks_fault(crop_landmarks(landmarks, square)) is None
    with pytest.raises(ValueError, match=r"greater than or equal to -0\.3"):
        CropSettings(margin=-0.31)
    corners = np.clip(OWN, 0, 1)
    for edge in (0.0, 1.0):
        corners[0, 0] = edge
        assert landmarks_fault(fit_landmarks(corners, 100, 400)) is None  # four to one: exactly the margin
        assert landmarks_fault(fit_landmarks(corners, 100, 410)) is not None
    assert MARGIN == 1.5


def test_a_face_that_the_central_square_cuts_away_is_a_problem_and_not_a_picture_without_a_face(tmp_path: Path) -> None:
    wide = np.tile(IMAGE, (1, 8))
    landmarks = OWN * np.float32([1 / 8, 1])  # in the first of eight squares

    class WideSource:
        name, class_names, licence = "wide", ("happy",), "mit"

        def faces(self) -> Iterator[RawFace | Problem]:
            yield RawFace("f", wide, "happy", landmarks=landmarks, path="wide.png")

    with pytest.raises(InputError, match=r"wide.png: its face is not in the central square.*crop.by to face"):
        prepare_faces(WideSource(), tmp_path / "out", image_size=24, channels=1)
    crop = AnnotationSettings(crop=CropSettings(by="face"))
    assert prepare_faces(WideSource(), tmp_path / "out", image_size=24, channels=1, annotation=crop).faces == 1


# Caches and detectors.


class CountingDetector:
    looked: ClassVar[int] = 0
    landmarks: ClassVar[np.ndarray] = OWN

    def __init__(self, settings: LandmarkSettings) -> None:
        pass

    def detect(self, image: np.ndarray) -> Detection | None:
        CountingDetector.looked += 1
        return Detection((0.1, 0.1, 0.9, 0.9), self.landmarks, "hog", 1, 0.01)


class OneFace:
    name, class_names = "one", ("happy",)

    def faces(self) -> Iterator[RawFace | Problem]:
        yield RawFace("f", IMAGE, "happy")


def good_row() -> dict[str, Any]:
    return annotate._detection_row(Detection((0.1, 0.1, 0.9, 0.9), OWN, "hog", 1, 0.01))


@pytest.mark.parametrize(
    "spoilt",
    [
        *({"landmarks": points.astype(np.float32).tobytes()} for points in WRONG.values()),
        {"landmarks": OWN.tobytes()[:-4]},
        {"landmarks": OWN.tobytes() + b"\0"},
        {"box": np.array([0.1, 0.1, 0.9]).tobytes()},
        {"box": np.array([0.1, math.nan, 0.9, 0.9]).tobytes()},
        {"detector": "nobody"},
        {"unsteadiness": None},
    ],
)
def test_what_no_detector_found_is_not_read_back_from_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spoilt: dict[str, Any]
) -> None:
    monkeypatch.setattr(annotate, "LandmarkDetector", CountingDetector)
    monkeypatch.setattr(annotate, "_detection_key", lambda settings: "key")
    for row, looks in ((good_row(), 0), (good_row() | spoilt, 1)):
        cache = ResultCache(tmp_path / str(looks) / "landmarks-key.sqlite", annotate._DETECTIONS)
        cache.put(annotate._picture_key(IMAGE), row)
        cache.close()
        CountingDetector.looked = 0
        settings = AnnotationSettings(landmarks=LandmarkSettings(detector="dlib"))
        (face,) = annotated(OneFace(), settings, cache=tmp_path / str(looks)).faces()
        assert CountingDetector.looked == looks
        assert isinstance(face, RawFace) and face.landmarks is not None
        assert np.array_equal(face.landmarks, OWN)


def test_a_photograph_whose_face_the_square_cuts_away_has_no_landmarks_for_a_translator(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "wide.png").write_bytes(encode_png(np.tile(IMAGE, (1, 8))))
    monkeypatch.setattr("pipeline.photos.photographs.LandmarkDetector", CountingDetector)
    for landmarks, known in ((OWN * np.float32([1 / 8, 1]), False), (OWN * np.float32([1 / 8, 1]) + 7 / 16, True)):
        landmarks = landmarks - np.float32([0, 7 / 16 if known else 0])
        monkeypatch.setattr(CountingDetector, "landmarks", landmarks.astype(np.float32))
        found = PhotographReader(24, 1, CropSettings()).read(tmp_path / "wide.png", detect=True)
        assert not isinstance(found, Problem)
        assert (found.landmarks is not None) == known
        assert ("its face lies outside" in found.steps) == (not known)


# What learns from landmarks.


@pytest.mark.parametrize("name", WRONG)
def test_warp_fits_to_the_other_faces_and_keeps_no_nan(tmp_path: Path, name: str) -> None:
    rows = []
    for number in range(12):
        image, landmarks, _ = embedded_face(("neutral", "happy")[number % 2], number // 2, size=32, channels=1)
        row = face_row(number, number % 2, subject=f"s{number // 2}", landmarks=landmarks)
        rows.append(row | {"image": {"bytes": encode_png(image), "path": None}})
    rows = [row | {"label_name": ("neutral", "happy")[row["label"]]} for row in rows]
    write_faces(rows, tmp_path, ("neutral", "happy"), card=CARD)
    faces = face_tensors(read_faces(tmp_path))
    assert faces.landmarks is not None
    spoilt = faces.landmarks.clone()
    spoilt[3] = torch.from_numpy(WRONG[name].astype(np.float32))
    translator = WarpTranslator(num_classes=2, channels=1, size=32)
    report = translator.fit(replace(faces, landmarks=spoilt))
    assert report["faces"] == 11 and report["faces_without_landmarks"] == 1
    for buffer_name, value in translator.named_buffers():
        assert not value.is_floating_point() or bool(torch.isfinite(value).all()), buffer_name
    everywhere = torch.from_numpy(WRONG[name].astype(np.float32)).expand(12, LANDMARK_COUNT, 2)
    with pytest.raises(CannotTranslateError, match="warp needs 68 landmarks"):
        translator.fit(replace(faces, landmarks=everywhere))


def test_null_coordinates_in_a_table_are_named() -> None:
    table = faces_from_rows([face_row(0, landmarks=OWN)], face_schema(CLASSES))
    kind = table.schema.field("landmarks").type
    broken = pa.array([[None, *OWN.reshape(-1).tolist()[1:]]], kind)
    table = table.set_column(table.schema.get_field_index("landmarks"), table.schema.field("landmarks"), broken)
    with pytest.raises(InputError, match="landmarks are not finite"):
        face_tensors(table)
    with pytest.raises(InputError, match="landmarks are not finite"):
        validate_faces(table)
