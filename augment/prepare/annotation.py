"""What photographs lack: landmarks that a detector finds, crops about the face, simulated frontal faces.

A source wrapped here gives the same faces with what could be found filled in. Faces in which nothing is found stay
faces, without landmarks, and are named. Whatever took long is kept on disk as it comes.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import operator
from collections import Counter, deque
from collections.abc import Collection, Iterable, Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import cache as remembered
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from augment.core.errors import InputError, Problem
from augment.core.files import atomic_write_text, sha256_of_file
from augment.core.processes import end_with_parent, use_threads
from augment.faces.crops import CropSettings, crop_image, crop_landmarks, crop_mask
from augment.faces.images import decode_image, encode_png
from augment.faces.landmark_bounds import LANDMARK_COUNT, landmarks_fault
from augment.prepare.cache import ResultCache
from augment.prepare.landmarks import (
    INSTALL_COMMAND,
    Detection,
    LandmarkDetector,
    LandmarkSettings,
    landmarks_installed,
)
from augment.sources.base import RawFace, Source, face_id_of

if TYPE_CHECKING:
    from augment.rig.simulated_face import SimulatedFace

WITHOUT_LANDMARKS_FILE = "faces_without_landmarks.jsonl"
_SHOWN = 20
_ALONE = 32  # faces that are worked on before further processes are started: for fewer they don't pay
_AHEAD = 8  # faces a process that are read ahead
_ABOUT_FACE = 0.75  # of the landmarks' extent: so far about them lies what a simulated face takes its colours from

_DETECTIONS = ("box", "landmarks", "detector", "faces", "unsteadiness")
_SIMULATED = ("image", "error")


class AnnotationSettings(BaseModel):
    """What is filled in of faces whose source does not say it.

    Attributes:
        landmarks: How landmarks are found.
        crop: How pictures are cropped to their faces.
        simulated: Whether a simulated frontal face is fitted to each face that has landmarks and none of its own
            (`augment.rig.simulated_face`).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    landmarks: LandmarkSettings = Field(default_factory=LandmarkSettings)
    crop: CropSettings = Field(default_factory=CropSettings)
    simulated: bool = False

    @property
    def idle(self) -> bool:
        """Whether there is nothing to do."""
        return self.landmarks.detector == "none" and self.crop.by == "none" and not self.simulated


class FitError(BaseModel):
    """How far the fitted heads' points lie from the faces' landmarks.

    Attributes:
        mean: Of the faces' root mean square distances, in units of the eyes' distance.
        median: Of the same.
        percentile_95: Of the same.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    mean: float
    median: float
    percentile_95: float


class AnnotationReport(BaseModel):
    """What was looked for, and what was found.

    Attributes:
        detector: none or dlib.
        faces: Faces that were looked at.
        had_landmarks: Faces that came with landmarks.
        found: Faces that were given the landmarks that were found in them, by detector (hog, cnn).
        unsteady: Faces that were found, with points too unsteady to be trusted.
        not_found: Pictures in which no face was found.
        several_faces: Pictures in which it found several faces, of which one was taken.
        without_landmarks: Faces that have none at last.
        without_landmarks_by_class: The same by class: faces of some expressions are found less often.
        without_landmarks_shown: The first of them, by `face_id`; all are in `faces_without_landmarks.jsonl`.
        cropped: Faces whose picture was cropped to the face.
        left_whole: Faces whose picture was to be cropped and stayed whole.
        had_simulated: Faces that came with a simulated face.
        simulated: Faces that one was fitted to.
        not_fitted: Faces whose landmarks no head has, so that they have no simulated face.
        fit_error: How well those fit; None where there are none.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    detector: str
    faces: int
    had_landmarks: int
    found: dict[str, int]
    unsteady: int
    not_found: int
    several_faces: int
    without_landmarks: int
    without_landmarks_by_class: dict[str, int]
    without_landmarks_shown: tuple[str, ...]
    cropped: int
    left_whole: int
    had_simulated: int
    simulated: int
    not_fitted: int
    fit_error: FitError | None


def annotated(
    source: Source,
    settings: AnnotationSettings,
    *,
    size: int = 128,
    cache: Path | None = None,
    workers: int = 1,
    classes: Collection[str] | None = None,
    stop_at_problem: bool = False,
) -> Source:
    """The same faces, with landmarks, crops and simulated faces filled in as the settings say.

    Args:
        source: An open source.
        settings: What to fill in; where that is nothing, the source is given back as it is.
        size: Edge in pixels of crops that don't say their own, and of simulated faces.
        cache: A folder in which detections and simulated faces are kept, by the picture's bytes and the settings; a
            run that was killed, or that changes other settings, finds them there. Without it nothing is kept.
        workers: Processes that work; the result does not depend on them. With more than one they are spawned, so that
            a script's own code must stand under `if __name__ == "__main__"`.
        classes: Faces of other classes are passed on as they are; None = all are looked at.
        stop_at_problem: Look at no further face after the source's first problem, where no face is going to be
            written anyhow.

    Returns:
        A source whose faces are annotated as they are drawn.

    Raises:
        InputError: The detector's packages are not installed.
    """
    if settings.idle:
        return source
    return AnnotatedSource(source, settings, size, cache, workers, classes, stop_at_problem)


class _Task(NamedTuple):
    """One face's work, as it goes to a process."""

    image: np.ndarray
    landmarks: np.ndarray | None
    mask: np.ndarray | None
    detect: bool
    detection: Detection | None
    simulate: bool
    crop: CropSettings
    size: int


@dataclass(frozen=True)
class _Done:
    """The result for a face; `fitted` is None where no simulated face was asked for."""

    image: np.ndarray
    landmarks: np.ndarray | None
    mask: np.ndarray | None
    detection: Detection | None
    cropped: bool
    simulated: np.ndarray | None = None
    error: float | None = None
    fitted: bool | None = None


def _work(task: _Task, detector: LandmarkDetector | None) -> _Done:
    """Detects, crops, fits: what a task asks for. The head is fitted to the picture as it came."""
    detection = task.detection
    if task.detect:
        assert detector is not None
        detection = detector.detect(task.image)
    landmarks = _landmarks(detection, task.landmarks)
    done = _cropped(task, landmarks, detection)
    if not task.simulate or landmarks is None:
        return done
    fitted = simulated_face_of(task.image, landmarks, task.size)
    if fitted is None:
        return replace(done, fitted=False)
    return replace(done, simulated=fitted.image, error=float(fitted.error), fitted=True)


def simulated_face_of(image: np.ndarray, landmarks: np.ndarray, size: int) -> SimulatedFace | None:
    """The simulated frontal face of a photograph, whatever its framing and size.

    Args:
        image: uint8 [H, W] or [H, W, 3].
        landmarks: [68, 2], x y in 0..1 of the picture.
        size: Edge in pixels; brought into what the head can be drawn at.

    Returns:
        The face; None where no head has such landmarks.
    """
    from augment.rig.render import LARGEST, SMALLEST
    from augment.rig.simulated_face import simulate_frontal

    # What lies far from the face adds nothing but time.
    height, width = image.shape[:2]
    points = landmarks.astype(np.float64) * [width, height]
    reach = _ABOUT_FACE * float(np.ptp(points, axis=0).max())
    left, top = np.clip(np.floor(points.min(axis=0) - reach), 0, [width - 1, height - 1]).astype(int)
    right, bottom = np.clip(np.ceil(points.max(axis=0) + reach), [left + 1, top + 1], [width, height]).astype(int)
    moved = (points - [left, top]) / [right - left, bottom - top]
    try:
        return simulate_frontal(
            image[top:bottom, left:right], moved.astype(np.float32), size=min(max(size, SMALLEST), LARGEST)
        )
    except InputError:
        return None


def _landmarks(detection: Detection | None, own: np.ndarray | None) -> np.ndarray | None:
    """Those that were found; where none were, the face's own."""
    return own if detection is None or detection.landmarks is None else detection.landmarks


def _cropped(task: _Task, landmarks: np.ndarray | None, detection: Detection | None) -> _Done:
    image, mask = task.image, task.mask
    height, width = image.shape[:2]
    square = task.crop.square(landmarks, height, width)
    if square is None or landmarks is None:
        return _Done(image, landmarks, mask, detection, cropped=False)
    size = task.crop.size or task.size
    return _Done(
        image=crop_image(image, square, size),
        landmarks=crop_landmarks(landmarks, square),
        mask=None if mask is None else crop_mask(mask, square, size),
        detection=detection,
        cropped=True,
    )


_detector: LandmarkDetector | None = None  # a worker process's own


def _start_worker(settings: LandmarkSettings | None) -> None:
    """Loads the detector."""
    global _detector
    end_with_parent()
    use_threads(1)
    _detector = None if settings is None else LandmarkDetector(settings)


def _work_in_worker(task: _Task) -> _Done:
    return _work(task, _detector)


class AnnotatedSource:
    """A source whose faces are annotated; made by `annotated`.

    Whatever else the source has (`title`, `licence` ...) is delegated. `report()` and `write_names()` tell of the
    faces that were drawn last, `detection` of the one that was yielded last (None where no face was found).
    """

    def __init__(
        self,
        source: Source,
        settings: AnnotationSettings,
        size: int,
        cache: Path | None,
        workers: int,
        classes: Collection[str] | None,
        stop_at_problem: bool,
    ) -> None:
        self.source = source
        self.settings = settings
        self.size = size
        self.workers = max(1, workers)
        self.name = source.name
        self.class_names = tuple(source.class_names)
        self._cache = cache
        self._classes = None if classes is None else frozenset(classes)
        # Where faces without a face are problems too, every one of them is to be listed.
        self._stops = stop_at_problem and settings.crop.not_found != "problem"
        self._looks = settings.landmarks.detector != "none"
        self._own = LandmarkDetector(settings.landmarks) if self._looks else None  # says at once what is not installed
        self._pool: ProcessPoolExecutor | None = None
        self._tasks = 0
        self._tally = _Tally(settings.landmarks.detector)
        self.detection: Detection | None = None

    def __length_hint__(self) -> int:
        return operator.length_hint(self.source)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["source"], name)

    def attribute_values(self, field: str) -> Iterable[Any]:
        """A field of every face (None where unknown); nothing is looked for in the pictures for it."""
        known = getattr(self.source, "attribute_values", None)
        if known is not None:
            return known(field)
        return (None if isinstance(face, Problem) else getattr(face, field) for face in self.source.faces())

    def report(self) -> AnnotationReport:
        """What was found in the faces that were drawn last."""
        return self._tally.report()

    def write_names(self, path: Path) -> None:
        """Writes every face that has no landmarks, as JSON lines (`face_id`, `path`), atomically."""
        atomic_write_text(path, "".join(json.dumps(line) + "\n" for line in self._tally.without))

    def faces(self) -> Iterator[RawFace | Problem]:
        """Yields the source's faces in its order, annotated, and its problems."""
        self._tally = _Tally(self.settings.landmarks.detector)
        detections, simulated = self._open_caches()
        waiting: deque[_Waiting] = deque()
        broken = False
        try:
            for found in self.source.faces():
                broken |= isinstance(found, Problem)
                waiting.append(self._begin(found, detections, simulated, passes=broken and self._stops))
                while len(waiting) > (self.workers * _AHEAD if self._pool is not None else 0):
                    yield self._finish(waiting.popleft(), detections, simulated)
            while waiting:
                yield self._finish(waiting.popleft(), detections, simulated)
        finally:
            if self._pool is not None:
                self._pool.shutdown(cancel_futures=True)
                self._pool = None
            for kept in (detections, simulated):
                if kept is not None:
                    kept.close()

    def _open_caches(self) -> tuple[ResultCache | None, ResultCache | None]:
        if self._cache is None:
            return None, None
        detections = simulated = None
        if self._looks:
            name = f"landmarks-{_detection_key(self.settings.landmarks)}.sqlite"
            detections = ResultCache(self._cache / name, _DETECTIONS)
        if self.settings.simulated:
            name = f"simulated-{_hash({'size': self.size}, _package_files('rig'))}.sqlite"
            simulated = ResultCache(self._cache / name, _SIMULATED)
        return detections, simulated

    def _begin(
        self, found: RawFace | Problem, detections: ResultCache | None, simulated: ResultCache | None, *, passes: bool
    ) -> _Waiting:
        if isinstance(found, Problem) or passes or self._is_left_out(found) or not _has_form(found):
            return _Waiting(found)
        looks = self._looks and (found.landmarks is None or self.settings.landmarks.faces == "all")
        key = _picture_key(found.image) if detections is not None and looks else None
        known = detections.get(key) if detections is not None and key is not None else None
        known = known if known is not None and _is_valid(known) else None
        task = _Task(
            image=found.image,
            landmarks=found.landmarks,
            mask=found.mask,
            detect=looks and known is None,
            detection=None if known is None else _detection(known),
            simulate=self.settings.simulated and found.simulated is None,
            crop=self.settings.crop,
            size=self.size,
        )
        held = None
        if task.simulate and simulated is not None and not task.detect:
            landmarks = _landmarks(task.detection, task.landmarks)
            if landmarks is not None:
                held = simulated.get(_picture_key(found.image, landmarks))
        if held is not None:
            task = task._replace(simulate=False)
        if not task.detect and not task.simulate:
            done = _work(task, None)
            if held is not None and held["image"]:
                done = replace(done, simulated=decode_image(held["image"]), error=held["error"], fitted=True)
            elif held is not None:
                done = replace(done, fitted=False)
            return _Waiting(found, done, looks=looks)
        self._tasks += 1
        return _Waiting(found, self._submit(task), looks=looks, key=key if task.detect else None, fits=task.simulate)

    def _is_left_out(self, face: RawFace) -> bool:
        return self._classes is not None and face.label_name not in self._classes

    def _submit(self, task: _Task) -> _Done | Future[_Done]:
        if self.workers == 1 or self._tasks <= _ALONE:
            return _work(task, self._own)
        if self._pool is None:
            # Spawned, as a fork of a process in which threads run may hang.
            self._pool = ProcessPoolExecutor(
                self.workers,
                mp_context=multiprocessing.get_context("spawn"),
                initializer=_start_worker,
                initargs=(self.settings.landmarks if self._looks else None,),
            )
        return self._pool.submit(_work_in_worker, task)

    def _finish(
        self, waiting: _Waiting, detections: ResultCache | None, simulated: ResultCache | None
    ) -> RawFace | Problem:
        found = waiting.found
        self.detection = None
        if isinstance(found, Problem) or waiting.done is None:
            return found
        done = waiting.done.result() if isinstance(waiting.done, Future) else waiting.done
        if detections is not None and waiting.key is not None:
            detections.put(waiting.key, _detection_row(done.detection))
        if simulated is not None and waiting.fits and done.fitted is not None:
            landmarks = _landmarks(done.detection, found.landmarks)
            assert landmarks is not None
            row = {"image": b"" if done.simulated is None else encode_png(done.simulated), "error": done.error}
            simulated.put(_picture_key(found.image, landmarks), row)
        self.detection = done.detection
        face_id = face_id_of(found, self.source.name)
        whole = self.settings.crop.by == "face" and not done.cropped
        self._tally.add(found, done, face_id, looked=waiting.looks, whole=whole)
        if whole and self.settings.crop.not_found == "problem":
            return _not_cropped(found, done, looked=waiting.looks)
        return replace(
            found,
            image=done.image,
            landmarks=done.landmarks,
            mask=done.mask,
            simulated=found.simulated if done.simulated is None else done.simulated,
        )


@dataclass(frozen=True)
class _Waiting:
    """A face in the order of its source, and its work: done, under way, or none."""

    found: RawFace | Problem
    done: _Done | Future[_Done] | None = None
    looks: bool = False
    key: bytes | None = None
    fits: bool = False


class _Tally:
    """Counts of one pass over the faces."""

    def __init__(self, detector: str) -> None:
        self.detector = detector
        self.counts: Counter[str] = Counter()
        self.found: Counter[str] = Counter()
        self.without: list[dict[str, str | None]] = []
        self.without_by_class: Counter[str] = Counter()
        self.errors: list[float] = []

    def add(self, face: RawFace, done: _Done, face_id: str, *, looked: bool, whole: bool) -> None:
        self.counts["faces"] += 1
        self.counts["had_landmarks"] += face.landmarks is not None
        if done.detection is None:
            self.counts["not_found"] += looked
        elif done.detection.landmarks is None:
            self.counts["unsteady"] += 1
        else:
            self.found[done.detection.detector] += 1
            self.counts["several_faces"] += done.detection.faces > 1
        if done.landmarks is None:
            self.without.append({"face_id": face_id, "path": face.path})
            self.without_by_class[face.label_name] += 1
        self.counts["cropped"] += done.cropped
        self.counts["left_whole"] += whole
        self.counts["had_simulated"] += face.simulated is not None
        self.counts["not_fitted"] += done.fitted is False
        if done.error is not None:
            self.errors.append(done.error)

    def report(self) -> AnnotationReport:
        fit_error = None
        if self.errors:
            median, high = np.percentile(self.errors, [50, 95])
            fit_error = FitError(mean=float(np.mean(self.errors)), median=float(median), percentile_95=float(high))
        return AnnotationReport(
            detector=self.detector,
            faces=self.counts["faces"],
            had_landmarks=self.counts["had_landmarks"],
            found=dict(sorted(self.found.items(), reverse=True)),
            unsteady=self.counts["unsteady"],
            not_found=self.counts["not_found"],
            several_faces=self.counts["several_faces"],
            without_landmarks=len(self.without),
            without_landmarks_by_class=dict(sorted(self.without_by_class.items())),
            without_landmarks_shown=tuple(str(line["face_id"]) for line in self.without[:_SHOWN]),
            cropped=self.counts["cropped"],
            left_whole=self.counts["left_whole"],
            had_simulated=self.counts["had_simulated"],
            simulated=len(self.errors),
            not_fitted=self.counts["not_fitted"],
            fit_error=fit_error,
        )


def _not_cropped(face: RawFace, done: _Done, *, looked: bool) -> Problem:
    where = face.path or face.name
    fix = "leave it out by a quarantine, or set crop.not_found to whole"
    if done.landmarks is not None:
        return Problem(where, "its landmarks are no face's, so that it can't be cropped by them", fix)
    if done.detection is not None:
        return Problem(where, "the points of its face are too unsteady to crop by", fix)
    if looked:
        return Problem(where, "no face is found in it, so that it can't be cropped to one", fix)
    return Problem(where, "has no landmarks to crop by", "set landmarks.detector to dlib")


def _has_form(face: RawFace) -> bool:
    """Whether a face can be looked at; what is wrong with others, `prepare` says."""
    image, landmarks = face.image, face.landmarks
    if image.dtype != np.uint8 or image.ndim not in (2, 3) or 0 in image.shape or image.shape[2:] not in ((), (3,)):
        return False
    if face.mask is not None and (face.mask.ndim != 2 or 0 in face.mask.shape):
        return False
    return landmarks is None or landmarks_fault(landmarks) is None


def _picture_key(image: np.ndarray, landmarks: np.ndarray | None = None) -> bytes:
    digest = hashlib.sha256(repr(image.shape).encode())
    digest.update(np.ascontiguousarray(image).data)
    if landmarks is not None:
        digest.update(np.ascontiguousarray(landmarks, np.float32).data)
    return digest.digest()


def _package_files(folder: str, *names: str) -> list[Path]:
    home = Path(__file__).parent.parent / folder
    return [home / f"{name}.py" for name in names] if names else sorted(home.glob("*.py"))


def _hash(values: Mapping[str, Any], code: Iterable[Path]) -> str:
    """Names a folder of results by all that determines them beside the faces: settings and code."""
    digest = hashlib.sha256(json.dumps(values, sort_keys=True).encode())
    for file in code:
        digest.update(sha256_of_file(file).encode())
    return digest.hexdigest()[:16]


@remembered
def _detection_key(settings: LandmarkSettings) -> str:
    import dlib

    values = {"dlib": dlib.__version__, **settings.model_dump(mode="json", exclude={"faces"})}
    return _hash(values, _package_files("prepare", "landmarks"))


def _detection_row(detection: Detection | None) -> dict[str, Any]:
    """A detection as the cache keeps it; an empty box: no face was found."""
    if detection is None:
        return {"box": b"", "landmarks": b"", "detector": "", "faces": 0, "unsteadiness": 0.0}
    points = detection.landmarks
    return {
        "box": np.array(detection.box, np.float64).tobytes(),
        "landmarks": b"" if points is None else np.ascontiguousarray(points, np.float32).tobytes(),
        "detector": detection.detector,
        "faces": detection.faces,
        "unsteadiness": float(detection.unsteadiness),
    }


def _is_valid(row: Mapping[str, Any]) -> bool:
    """Whether a row of the cache can have come from a detector; what can't is looked for again."""
    if not row["box"]:
        return True
    if len(row["box"]) != 4 * 8 or row["detector"] not in ("hog", "cnn") or row["faces"] is None:
        return False
    numbers = np.array([*np.frombuffer(row["box"], np.float64), row["unsteadiness"]], np.float64)  # None becomes NaN
    if not np.isfinite(numbers).all():
        return False
    if not row["landmarks"]:
        return True
    if len(row["landmarks"]) != LANDMARK_COUNT * 2 * 4:
        return False
    return landmarks_fault(np.frombuffer(row["landmarks"], np.float32).reshape(LANDMARK_COUNT, 2)) is None


def _detection(row: Mapping[str, Any]) -> Detection | None:
    if not row["box"]:
        return None
    left, top, right, bottom = np.frombuffer(row["box"], np.float64).tolist()
    points = np.frombuffer(row["landmarks"], np.float32).reshape(-1, 2) if row["landmarks"] else None
    return Detection((left, top, right, bottom), points, row["detector"], row["faces"], row["unsteadiness"])


def check_annotation(settings: AnnotationSettings) -> None:
    """Whether what the settings ask for can be done here.

    Raises:
        InputError: The detector's packages are not installed.
    """
    if settings.landmarks.detector != "none" and not landmarks_installed():
        why = "the packages dlib-bin and face-recognition-models are not installed"
        raise InputError(Problem("landmarks.detector: dlib", why, INSTALL_COMMAND))
