"""The detector on embedded faces, whose landmarks are known; each picture is small, and there are few."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from embedded import embedded_face
from PIL import Image

from augment.core.errors import InputError
from augment.faces.tensors import MIRROR_LANDMARKS
from augment.prepare import landmarks as landmark_detection
from augment.prepare.landmarks import Detection, LandmarkDetector, LandmarkSettings, landmarks_installed

pytestmark = pytest.mark.slow

needs_dlib = pytest.mark.skipif(not landmarks_installed(), reason="the extra `landmarks` is not installed")


@pytest.fixture(scope="module")
def detector() -> LandmarkDetector:
    return LandmarkDetector(LandmarkSettings(detector="dlib"))


def error_of(found: np.ndarray, own: np.ndarray) -> float:
    """Mean distance as a share of the eyes' distance."""
    eyes = np.linalg.norm(own[36:42].mean(axis=0) - own[42:48].mean(axis=0))
    return float(np.linalg.norm(found - own, axis=1).mean() / eyes)


@needs_dlib
@pytest.mark.parametrize(("size", "channels"), [(48, 1), (128, 3)])
def test_the_68_points_of_faces_from_the_front(detector: LandmarkDetector, size: int, channels: int) -> None:
    errors, mirrored = [], []
    for subject, expression in enumerate(("neutral", "happy", "surprise", "angry", "sad")):
        image, own, _ = embedded_face(expression, subject, size=size, channels=channels)
        found = detector.detect(image)
        assert found is not None and found.faces == 1, (subject, expression)
        assert found.landmarks.shape == (68, 2) and found.landmarks.dtype == np.float32
        left, top, right, bottom = found.box
        inside = (found.landmarks > [left, top]) & (found.landmarks < [right, bottom])
        assert inside.mean() > 0.8
        errors.append(error_of(found.landmarks, own))
        mirrored.append(error_of(found.landmarks[MIRROR_LANDMARKS.numpy()], own))
    assert np.mean(errors) < 0.09
    assert np.mean(mirrored) > 0.5  # left and right are not exchanged, nor is any other order's point


@needs_dlib
def test_a_turned_face_is_found_by_the_second_detector(detector: LandmarkDetector) -> None:
    image, own, _ = embedded_face("neutral", 3, yaw=45.0, size=128)
    found = detector.detect(image)
    assert found is not None and found.detector == "cnn"
    assert found.landmarks is not None and error_of(found.landmarks, own) < 0.3
    alone = LandmarkDetector(LandmarkSettings(detector="dlib", second=()))
    assert alone.detect(image) is None


class FindsNone:
    """A HOG detector that leaves every face to the second one."""

    def run(self, *arguments: object) -> tuple[list[object], list[float], list[int]]:
        return [], [], []


@needs_dlib
def test_turned_faces_need_other_boxes_than_the_second_detectors(monkeypatch: pytest.MonkeyPatch) -> None:
    """With them the points lie where they should; from its own box they are off by half the eyes' distance."""
    detector = LandmarkDetector(LandmarkSettings(detector="dlib", steady=1.0))
    monkeypatch.setattr(detector, "_hog", FindsNone())
    frontal = embedded_face("neutral", 1, size=64, channels=1)[1]
    eyes = np.linalg.norm(frontal[36:42].mean(axis=0) - frontal[42:48].mean(axis=0))  # apart as seen from the front

    def mean_error() -> float:
        errors = []
        for subject in (0, 1, 3):
            image, own, _ = embedded_face("neutral", subject, yaw=45.0, size=64, channels=1)
            found = detector.detect(image)
            assert found is not None and found.detector == "cnn" and found.landmarks is not None
            errors.append(np.linalg.norm(found.landmarks - own, axis=1).mean() / eyes)
        return float(np.mean(errors))

    assert mean_error() < 0.2
    monkeypatch.setattr(detector, "_promising", lambda *arguments: [])
    assert mean_error() > 0.4


@needs_dlib
def test_unsteady_points_are_not_trusted() -> None:
    image, _, _ = embedded_face("happy", 1, size=48, channels=1)
    found = LandmarkDetector(LandmarkSettings(detector="dlib")).detect(image)
    assert found is not None and found.landmarks is not None and 0.005 < found.unsteadiness < 0.03
    strict = LandmarkDetector(LandmarkSettings(detector="dlib", steady=0.001)).detect(image)
    assert strict is not None and strict.landmarks is None and strict.box == found.box
    assert strict.unsteadiness <= found.unsteadiness  # it looked at other boxes


@needs_dlib
@pytest.mark.parametrize("shape", [(1, 1), (2, 700), (700, 2, 3), (48, 48), (30, 60, 3)])
def test_pictures_without_a_face(detector: LandmarkDetector, shape: tuple[int, ...]) -> None:
    chance = np.random.default_rng(0)
    assert detector.detect(np.full(shape, 127, np.uint8)) is None
    assert detector.detect(chance.integers(0, 256, shape, np.uint8)) is None


def pasted(faces: list[tuple[int, int, int]], height: int = 240, width: int = 400) -> tuple[np.ndarray, np.ndarray]:
    """A grey picture with a face of this edge at each x, y; and the last one's landmarks in 0..1."""
    picture = np.full((height, width, 3), 128, np.uint8)
    image, own, _ = embedded_face("happy", 1, size=128)
    points = own
    for x, y, edge in faces:
        small = Image.fromarray(image).resize((edge, edge), Image.Resampling.LANCZOS)
        picture[y : y + edge, x : x + edge] = np.asarray(small)
        points = (own * edge + [x, y]) / [width, height]
    return picture, points.astype(np.float32)


@needs_dlib
def test_a_face_somewhere_in_a_picture_that_is_not_square(detector: LandmarkDetector) -> None:
    picture, own = pasted([(230, 70, 150)])
    found = detector.detect(picture)
    assert found is not None and found.faces == 1
    scaled = np.array([400, 240]) / 240  # in units of the height, so that distances are the picture's
    assert error_of(found.landmarks * scaled, own * scaled) < 0.1


@needs_dlib
def test_of_several_faces_the_largest_then_the_most_central(detector: LandmarkDetector) -> None:
    larger, own = pasted([(5, 10, 128), (200, 30, 190)])
    found = detector.detect(larger)
    assert found is not None and found.faces == 2
    assert np.abs(found.landmarks.mean(axis=0) - own.mean(axis=0)).max() < 0.03
    alike, own = pasted([(5, 50, 140), (190, 50, 140)])
    found = detector.detect(alike)
    assert found is not None and found.faces == 2
    assert np.abs(found.landmarks.mean(axis=0) - own.mean(axis=0)).max() < 0.03


def test_the_rule_for_several_boxes_by_hand() -> None:
    boxes = [np.array(box, np.float64) for box in ([0, 0, 50, 50], [60, 0, 107, 47], [80, 60, 120, 100])]
    # 47 is within a tenth of 50 and nearer to the middle (60, 50); 40 is not, though it is nearest.
    assert np.array_equal(landmark_detection._chosen(boxes, 100, 120), boxes[1])
    assert np.array_equal(landmark_detection._chosen(boxes[::2], 100, 120), boxes[0])


@needs_dlib
def test_a_face_depends_on_its_pixels_and_the_settings_only(detector: LandmarkDetector) -> None:
    image, _, _ = embedded_face("fear", 6, size=48, channels=1)
    first = detector.detect(image)
    detector.detect(embedded_face("happy", 7, size=64)[0])
    again, other = detector.detect(image.copy()), LandmarkDetector(LandmarkSettings(detector="dlib")).detect(image)
    for found in (again, other):
        assert first is not None and found is not None
        assert found.box == first.box and np.array_equal(found.landmarks, first.landmarks)


def test_without_the_extra_the_mend_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "dlib", None)  # an import of it fails
    with pytest.raises(InputError, match=r"can.t be imported.*uv sync --extra landmarks"):
        LandmarkDetector(LandmarkSettings(detector="dlib"))
    monkeypatch.setitem(sys.modules, "dlib", SimpleNamespace())
    real = importlib.util.find_spec
    places: list[Any] = [None, SimpleNamespace(submodule_search_locations=[str(tmp_path)])]
    for place in places:

        def spec(name: str, *rest: Any, place: Any = place) -> Any:
            return place if name == "face_recognition_models" else real(name, *rest)

        monkeypatch.setattr(importlib.util, "find_spec", spec)
        with pytest.raises(InputError, match=r"face-recognition-models is not installed .*uv sync --extra landmarks"):
            LandmarkDetector(LandmarkSettings(detector="dlib"))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert not landmarks_installed()


@needs_dlib
def test_weights_that_can_not_be_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("shape_predictor_68_face_landmarks.dat", "mmod_human_face_detector.dat"):
        (tmp_path / name).write_bytes(b"half a download")
    monkeypatch.setattr(landmark_detection, "_weights_folder", lambda: tmp_path)
    with pytest.raises(InputError, match="the weights can't be read"):
        LandmarkDetector(LandmarkSettings(detector="dlib"))


def test_no_detector_detects_nothing() -> None:
    with pytest.raises(InputError, match="is none"):
        LandmarkDetector(LandmarkSettings())


def test_settings_refuse_what_can_not_be() -> None:
    for wrong in ({"detector": "mediapipe"}, {"edge": 10}, {"padding": -0.1}, {"colour": True}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            LandmarkSettings.model_validate(wrong)


def test_a_detection_is_a_value() -> None:
    found = Detection((0.0, 0.0, 1.0, 1.0), np.zeros((68, 2), np.float32), "hog", 1, 0.0)
    with pytest.raises(AttributeError):
        found.faces = 2  # type: ignore[misc]
