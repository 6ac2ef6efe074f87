"""What is filled in, what is left as it was, what is counted, and that nothing is worked out twice."""

from __future__ import annotations

import hashlib
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
from embedded import embedded_face
from small_faces import noise

from augment.core.errors import InputError, Problem
from augment.faces.crops import crop_image, crop_landmarks, crop_mask, face_square
from augment.prepare import annotation as annotate
from augment.prepare.annotation import AnnotatedSource, AnnotationSettings, annotated, check_annotation
from augment.prepare.landmarks import Detection, LandmarkSettings, landmarks_installed
from augment.sources import RawFace
from augment.sources.attributes import with_attribute

pytestmark = pytest.mark.slow

needs_dlib = pytest.mark.skipif(not landmarks_installed(), reason="the extra `landmarks` is not installed")
CLASSES = ("happy", "neutral", "sad")


class MadeSource:
    name = "made"
    title = "Made faces"
    class_names: tuple[str, ...] = CLASSES

    def __init__(self, items: list[RawFace | Problem]) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def faces(self) -> Iterator[RawFace | Problem]:
        yield from self.items


def photograph(number: int, *, keep: tuple[str, ...] = (), **values: Any) -> RawFace:
    """An embedded face as a photograph: without landmarks and mask, but for those to keep."""
    expression = CLASSES[number % 3]
    image, landmarks, mask = embedded_face(expression, number, size=48, channels=1)
    face = RawFace(f"f{number}", image, expression, path=f"{number}.png", landmarks=landmarks, mask=mask)
    dropped = {name: None for name in ("landmarks", "mask") if name not in keep}
    return replace(face, **{**dropped, **values})


def own(number: int) -> np.ndarray:
    return embedded_face(CLASSES[number % 3], number, size=48, channels=1)[1]


class KnowingDetector:
    """Knows the embedded faces by their pixels, shifts their landmarks a little; finds nothing in other pictures."""

    looked: ClassVar[list[str]] = []

    def __init__(self, settings: LandmarkSettings) -> None:
        self.known = {photograph(number).image.tobytes(): number for number in range(8)}

    def detect(self, image: np.ndarray) -> Detection | None:
        self.looked.append(hashlib.sha256(image.tobytes()).hexdigest())
        number = self.known.get(image.tobytes())
        if number is None:
            return None
        landmarks = own(number) + np.float32(0.001)
        unsteadiness = 0.9 if number == 7 else 0.01
        trusted = None if number == 7 else landmarks
        return Detection((0.1, 0.1, 0.9, 0.9), trusted, "hog" if number % 2 else "cnn", 1 + (number == 4), unsteadiness)


@pytest.fixture
def looked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The detector of the tests that need no real one, and the pictures that it looked at."""
    monkeypatch.setattr(annotate, "LandmarkDetector", KnowingDetector)
    KnowingDetector.looked = []
    return KnowingDetector.looked


def settings_of(**values: Any) -> AnnotationSettings:
    return AnnotationSettings.model_validate({"landmarks": {"detector": "dlib"}, **values})


def drawn(source: Any) -> list[Any]:
    return list(source.faces())


def same(one: RawFace, other: RawFace) -> bool:
    for name in ("image", "landmarks", "mask", "simulated"):
        if not np.array_equal(getattr(one, name), getattr(other, name)):
            return False
    return (one.name, one.label_name, one.path) == (other.name, other.label_name, other.path)


def test_nothing_to_do_gives_the_source_itself() -> None:
    source = MadeSource([photograph(0)])
    assert annotated(source, AnnotationSettings()) is source


def test_landmarks_are_filled_in_where_there_are_none(looked: list[str]) -> None:
    faces = [photograph(0), photograph(1, keep=("landmarks", "mask")), RawFace("blank", noise(1), "sad"), photograph(4)]
    problem = Problem("5.png", "does not decode")
    source = annotated(MadeSource([*faces[:2], problem, *faces[2:]]), settings_of())
    assert isinstance(source, AnnotatedSource) and source.title == "Made faces" and source.class_names == CLASSES
    found = drawn(source)
    assert found[2] is problem
    assert found[0].landmarks == pytest.approx(own(0) + 0.001, abs=1e-6)
    assert same(found[1], faces[1])  # its own stay
    assert same(found[3], faces[2]) and found[3].landmarks is None
    assert len(looked) == 3
    report = source.report()
    assert (report.faces, report.had_landmarks, report.found) == (4, 1, {"cnn": 2})
    assert (report.not_found, report.several_faces, report.without_landmarks) == (1, 1, 1)
    assert report.without_landmarks_shown == ("made/blank",) and report.without_landmarks_by_class == {"sad": 1}
    assert (report.cropped, report.left_whole, report.simulated, report.fit_error) == (0, 0, 0, None)
    # Drawn again, it counts again.
    drawn(source)
    assert source.report() == report


def test_all_faces_may_be_looked_at_and_keep_their_own_where_nothing_is_found(looked: list[str]) -> None:
    points = own(1) * np.float32(0.9)
    faces = [photograph(1, landmarks=points), RawFace("blank", noise(1), "sad", landmarks=points)]
    source = annotated(MadeSource(faces), settings_of(landmarks={"detector": "dlib", "faces": "all"}))  # type: ignore[arg-type]
    first, second = drawn(source)
    assert first.landmarks == pytest.approx(own(1) + 0.001, abs=1e-6)
    assert np.array_equal(second.landmarks, points)
    report = source.report()  # type: ignore[attr-defined]
    assert report.had_landmarks == 2 and report.not_found == 1 and report.without_landmarks == 0


def test_faces_whose_points_are_not_trusted_are_faces_without_landmarks(tmp_path: Path, looked: list[str]) -> None:
    settings = settings_of(crop={"by": "face"})
    for _ in range(2):  # looked at, then from the disk
        source = annotated(MadeSource([photograph(7), photograph(1)]), settings, cache=tmp_path)
        unsure, sure = drawn(source)
        assert same(unsure, photograph(7)) and sure.landmarks is not None
        report = source.report()  # type: ignore[attr-defined]
        assert (report.found, report.unsteady, report.not_found) == ({"hog": 1}, 1, 0)
        assert report.without_landmarks == 1 and report.left_whole == 1
    assert len(looked) == 2
    strict = settings_of(crop={"by": "face", "not_found": "problem"})
    (problem,) = drawn(annotated(MadeSource([photograph(7)]), strict, cache=tmp_path))
    assert isinstance(problem, Problem) and "too unsteady to crop by" in problem.why


def test_every_face_without_landmarks_is_written_down(tmp_path: Path, looked: list[str]) -> None:
    blanks: list[RawFace | Problem] = [
        RawFace(f"blank {number}", noise(number), "sad", path=f"sad/{number}.png", source="web") for number in range(30)
    ]
    source = annotated(MadeSource([photograph(1), *blanks]), settings_of())
    assert isinstance(source, AnnotatedSource)
    assert len(drawn(source)) == 31
    source.write_names(tmp_path / "names.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "names.jsonl").read_text().splitlines()]
    assert lines == [{"face_id": f"web/blank {number}", "path": f"sad/{number}.png"} for number in range(30)]
    assert len(source.report().without_landmarks_shown) == 20


def test_crops_move_picture_landmarks_and_mask_and_nothing_else(looked: list[str]) -> None:
    simulated = noise(3, 20)
    face = photograph(2, keep=("landmarks", "mask"), simulated=simulated, yaw=5.0, subject="s")
    blank = RawFace("blank", noise(1, 48), "sad")
    crop = {"by": "face", "margin": 0.1, "size": 40}
    source = annotated(MadeSource([face, blank, photograph(3)]), settings_of(crop=crop))
    cropped, left, detected = drawn(source)
    square = face_square(own(2), 48, 48, margin=0.1)
    assert square is not None and face.mask is not None
    assert np.array_equal(cropped.image, crop_image(face.image, square, 40))
    assert np.array_equal(cropped.landmarks, crop_landmarks(own(2), square))
    assert np.array_equal(cropped.mask, crop_mask(face.mask, square, 40))
    assert cropped.simulated is simulated and (cropped.yaw, cropped.subject) == (5.0, "s")
    assert same(left, blank)
    square = face_square(own(3) + np.float32(0.001), 48, 48, margin=0.1)
    assert square is not None and np.array_equal(detected.image, crop_image(photograph(3).image, square, 40))
    report = source.report()  # type: ignore[attr-defined]
    assert (report.cropped, report.left_whole) == (2, 1)
    # Without a size of its own a crop has the run's.
    again = annotated(MadeSource([face]), settings_of(crop={"by": "face"}), size=24)
    assert drawn(again)[0].image.shape == (24, 24)


def test_faces_that_can_not_be_cropped_may_be_problems(looked: list[str]) -> None:
    crop = {"by": "face", "not_found": "problem"}
    eyes_in_one_place = own(1).copy()
    eyes_in_one_place[36:48] = 0.5
    degenerate = photograph(1, landmarks=eyes_in_one_place)
    items = [RawFace("blank", noise(1), "sad", path="sad/1.png"), Problem("x", "bad"), degenerate, photograph(0)]
    found = drawn(annotated(MadeSource(items), settings_of(crop=crop), stop_at_problem=True))
    assert [type(item) for item in found] == [Problem, Problem, Problem, RawFace]
    assert found[0].where == "sad/1.png" and "no face is found in it" in found[0].why
    assert "are no face's" in found[2].why
    bare = annotated(MadeSource(items), AnnotationSettings.model_validate({"crop": crop}))
    assert "has no landmarks to crop by" in drawn(bare)[0].why


def test_own_landmarks_are_enough_to_crop_by(looked: list[str]) -> None:
    settings = AnnotationSettings.model_validate({"crop": {"by": "face"}})
    source = annotated(MadeSource([photograph(0, keep=("landmarks",)), photograph(1)]), settings, size=32)
    first, second = drawn(source)
    assert first.image.shape == (32, 32) and same(second, photograph(1)) and not looked


def test_classes_that_are_left_out_are_not_looked_at(looked: list[str]) -> None:
    source = annotated(MadeSource([photograph(0), photograph(1)]), settings_of(), classes=("neutral",))
    first, second = drawn(source)
    assert same(first, photograph(0)) and second.landmarks is not None and len(looked) == 1
    assert source.report().faces == 1  # type: ignore[attr-defined]


def test_no_face_is_looked_at_where_none_will_be_written(looked: list[str]) -> None:
    items = [photograph(0), Problem("x", "bad"), photograph(1), Problem("y", "bad"), photograph(2)]
    found = drawn(annotated(MadeSource(items), settings_of(), stop_at_problem=True))
    assert len(looked) == 1 and [item for item in found if isinstance(item, Problem)] == [items[1], items[3]]
    looked.clear()
    drawn(annotated(MadeSource(items), settings_of()))
    assert len(looked) == 3


@pytest.mark.parametrize(
    "change",
    [
        {"image": np.zeros((4, 4), np.float32)},
        {"image": np.zeros((0, 4), np.uint8)},
        {"image": np.zeros((4, 4, 4), np.uint8)},
        {"landmarks": np.zeros((5, 2), np.float32)},
        {"landmarks": np.full((68, 2), np.nan, np.float32)},
        {"mask": np.zeros(3, np.uint8)},
    ],
)
def test_faces_of_a_wrong_form_are_passed_on_for_prepare_to_name(change: dict[str, Any], looked: list[str]) -> None:
    face = photograph(0, **change)
    source = annotated(MadeSource([face]), settings_of(crop={"by": "face"}))
    assert drawn(source) == [face] and not looked


def test_values_for_another_attribute_are_known_without_looking(looked: list[str]) -> None:
    faces = [photograph(number, yaw=15.0 * (number % 2)) for number in range(4)]
    source = with_attribute(annotated(MadeSource(faces), settings_of()), "pose")  # type: ignore[arg-type]
    assert source.class_names == ("yaw 0", "yaw +15") and not looked
    assert [face.label_name for face in drawn(source)] == ["yaw 0", "yaw +15"] * 2 and len(looked) == 4


# Kept on disk


def test_what_was_found_is_not_looked_for_again(tmp_path: Path, looked: list[str]) -> None:
    faces: list[RawFace | Problem] = [photograph(number) for number in range(5)]
    faces.append(RawFace("blank", noise(1), "sad"))
    first = annotated(MadeSource(faces), settings_of(), cache=tmp_path)
    found = drawn(first)
    assert len(looked) == 6
    again = annotated(MadeSource(faces[::-1]), settings_of(crop={"by": "none"}), cache=tmp_path)
    assert all(map(same, drawn(again), found[::-1])) and len(looked) == 6
    assert again.report().model_dump() == first.report().model_dump()  # type: ignore[attr-defined]
    # Other ways to crop, too, need no other landmarks.
    drawn(annotated(MadeSource(faces), settings_of(crop={"by": "face"}), cache=tmp_path))
    assert len(looked) == 6
    # Other settings of the detector, or another picture, are looked for anew.
    other = settings_of(landmarks={"detector": "dlib", "padding": 0.3})
    drawn(annotated(MadeSource(faces), other, cache=tmp_path))
    assert len(looked) == 12
    changed = photograph(0, image=255 - photograph(0).image)
    drawn(annotated(MadeSource([changed]), settings_of(), cache=tmp_path))
    assert len(looked) == 13


def test_a_run_that_is_ended_early_keeps_what_it_had(tmp_path: Path, looked: list[str]) -> None:
    faces: list[RawFace | Problem] = [photograph(number) for number in range(6)]
    walk = annotated(MadeSource(faces), settings_of(), cache=tmp_path).faces()
    for _ in range(4):
        next(walk)
    walk.close()  # type: ignore[attr-defined]
    looked.clear()
    drawn(annotated(MadeSource(faces), settings_of(), cache=tmp_path))
    assert len(looked) == 2


KILLED_RUN = """
import os, signal, sys
sys.path[:0] = {path!r}
from augment.prepare import annotation as annotate
import test_annotation as made
annotate.LandmarkDetector = made.KnowingDetector

class Killed(made.MadeSource):
    def faces(self):
        for number in range(8):
            if number == 5:
                os.kill(os.getpid(), signal.SIGKILL)
            yield made.photograph(number)

for face in annotate.annotated(Killed([]), made.settings_of(), cache=made.Path({cache!r})).faces():
    pass
"""


def test_a_killed_run_goes_on_where_it_was(tmp_path: Path, looked: list[str]) -> None:
    """Killed after five faces: the same faces come out, and those five are not looked at again."""
    path = [str(Path(__file__).parents[2]), *(part for part in sys.path if part)]
    code = KILLED_RUN.format(path=path, cache=str(tmp_path / "cache"))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    faces: list[RawFace | Problem] = [photograph(number) for number in range(8)]
    whole = drawn(annotated(MadeSource(faces), settings_of(), cache=tmp_path / "other"))
    looked.clear()
    resumed = drawn(annotated(MadeSource(faces), settings_of(), cache=tmp_path / "cache"))
    assert len(looked) == 3 and all(map(same, resumed, whole))


@needs_dlib
def test_real_faces_by_processes_are_those_of_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the real detector; what two processes find is what one finds, in the same order."""
    monkeypatch.setattr(annotate, "_ALONE", 0)
    faces: list[RawFace | Problem] = [photograph(number) for number in range(6)]
    faces.insert(3, Problem("x", "bad"))
    faces.append(RawFace("blank", noise(2, 24), "sad"))
    settings = settings_of(landmarks={"detector": "dlib", "second": (96,)}, crop={"by": "face"})
    both = annotated(MadeSource(faces), settings, size=32, cache=tmp_path, workers=2)
    alone = annotated(MadeSource(faces), settings, size=32)
    found, expected = drawn(both), drawn(alone)
    assert found[3] is faces[3]
    pairs = [pair for pair in zip(found, expected, strict=True) if isinstance(pair[0], RawFace)]
    assert len(pairs) == 7 and all(same(*pair) for pair in pairs)
    assert both.report() == alone.report()  # type: ignore[attr-defined]
    assert both.report().cropped >= 5 and both.report().not_found >= 1  # type: ignore[attr-defined]
    # And from the disk, without any process.
    monkeypatch.setattr(annotate, "_work_in_worker", None)
    again = drawn(annotated(MadeSource(faces), settings, size=32, cache=tmp_path, workers=2))
    assert all(same(one, other) for one, other in zip(again, found, strict=True) if isinstance(one, RawFace))


# Simulated faces


@pytest.fixture
def fitted(monkeypatch: pytest.MonkeyPatch) -> list[tuple[tuple[int, ...], int]]:
    """A stand-in for the fit, which says what it was asked."""
    asked: list[tuple[tuple[int, ...], int]] = []

    def simulate_frontal(image: np.ndarray, landmarks: np.ndarray, *, size: int) -> SimpleNamespace:
        assert landmarks.shape == (68, 2) and landmarks.dtype == np.float32
        asked.append((image.shape, size))
        if image.mean() > 250:
            raise InputError(Problem("landmarks", "show no face"))
        return SimpleNamespace(image=np.full((size, size), int(image.mean()), np.uint8), error=len(asked) / 10)

    monkeypatch.setitem(sys.modules, "augment.rig.simulated_face", SimpleNamespace(simulate_frontal=simulate_frontal))
    return asked


def test_simulated_faces_are_fitted_to_the_picture_as_it_came(
    tmp_path: Path, looked: list[str], fitted: list[Any]
) -> None:
    has_one = photograph(1, simulated=noise(2))
    no_face = photograph(3, image=np.full((48, 48), 255, np.uint8), keep=("landmarks",))
    faces = [photograph(0), has_one, RawFace("blank", noise(1), "sad"), no_face]
    settings = settings_of(simulated=True, crop={"by": "face", "size": 36})
    source = annotated(MadeSource(faces), settings, size=40, cache=tmp_path)  # type: ignore[arg-type]
    first, second, third, fourth = drawn(source)
    assert fitted == [((48, 48), 40), ((48, 48), 40)]
    assert np.array_equal(first.simulated, np.full((40, 40), int(photograph(0).image.mean()), np.uint8))
    assert second.simulated is has_one.simulated and third.simulated is None and fourth.simulated is None
    report = source.report()  # type: ignore[attr-defined]
    assert (report.had_simulated, report.simulated, report.not_fitted) == (1, 1, 1)
    assert report.fit_error is not None and report.fit_error.model_dump() == pytest.approx(
        {"mean": 0.1, "median": 0.1, "percentile_95": 0.1}
    )
    # Kept on disk with their errors, those that could not be fitted too.
    again = annotated(MadeSource(faces), settings, size=40, cache=tmp_path)  # type: ignore[arg-type]
    assert all(map(same, drawn(again), [first, second, third, fourth])) and len(fitted) == 2
    assert again.report() == report  # type: ignore[attr-defined]
    # Cropped otherwise they are the same; of another size they are others.
    drawn(annotated(MadeSource(faces), settings_of(simulated=True), size=40, cache=tmp_path))  # type: ignore[arg-type]
    assert len(fitted) == 2
    drawn(annotated(MadeSource(faces), settings_of(simulated=True), size=44, cache=tmp_path))  # type: ignore[arg-type]
    assert fitted[2:] == [((48, 48), 44), ((48, 48), 44)]


def test_far_from_the_face_a_photograph_is_cut_off_before_the_fit(fitted: list[Any]) -> None:
    image = np.zeros((900, 1200), np.uint8)
    points = np.tile(np.array([[0.5, 0.5]], np.float32), (68, 1))
    points[0], points[1] = (450 / 1200, 400 / 900), (550 / 1200, 500 / 900)
    face = annotate.simulated_face_of(image, points, 64)
    assert face is not None and fitted == [((326, 376), 64)]  # 112.5 about 150 x 100


def test_small_runs_get_the_smallest_simulated_face_that_can_be_drawn(looked: list[str], fitted: list[Any]) -> None:
    settings = AnnotationSettings(simulated=True)
    drawn(annotated(MadeSource([photograph(0, keep=("landmarks",))]), settings, size=16))
    assert fitted == [((48, 48), 32)]


def test_an_embedded_profile_without_a_simulated_face_gets_one() -> None:
    image, landmarks, _ = embedded_face("happy", 2, yaw=45.0, size=64)
    face = RawFace("profile", image, "happy", yaw=45.0, landmarks=landmarks)
    source = annotated(MadeSource([face]), AnnotationSettings(simulated=True), size=48)
    (found,) = drawn(source)
    assert found.simulated.shape == (48, 48, 3) and found.simulated.dtype == np.uint8
    assert same(replace(found, simulated=None), face)
    report = source.report()  # type: ignore[attr-defined]
    assert report.simulated == 1 and report.fit_error is not None and report.fit_error.mean < 0.2


def test_what_is_not_installed_is_said_before_any_face(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(annotate, "landmarks_installed", lambda: False)
    with pytest.raises(InputError, match="uv sync --extra landmarks"):
        check_annotation(settings_of())
    check_annotation(AnnotationSettings(simulated=True))
