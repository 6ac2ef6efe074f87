"""A user's photographs in a translator's form: what is looked for in them, and how they are cut."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from augment.core.errors import Problem
from augment.faces.crops import CropSettings, crop_image, crop_landmarks
from augment.faces.images import fit_image, fit_landmarks
from augment.faces.landmark_bounds import landmarks_fault
from augment.prepare.annotation import simulated_face_of
from augment.prepare.landmarks import Detection, LandmarkDetector, LandmarkSettings
from augment.sources.folder import read_picture

_DETECTORS = {"hog": "HOG", "cnn": "the second detector"}


@dataclass(frozen=True)
class Photograph:
    """A picture in the translator's form.

    Attributes:
        pixels: uint8 [size, size, channels].
        done: What was done to it, in words.
        landmarks: float32 [68, 2] in 0..1 of the pixels; None where they were not looked for or no face was found.
        simulated: uint8 [size, size, channels], the simulated frontal face; None as the landmarks are, or where it was
            not asked for.
    """

    pixels: np.ndarray
    done: str
    landmarks: np.ndarray | None = None
    simulated: np.ndarray | None = None


class PhotographReader:
    """Brings photographs to one form.

    Args:
        size: Edge in pixels.
        channels: 1 or 3.
        crop: How to crop to the face, where one is looked for; without one the central square is taken.
    """

    def __init__(self, size: int, channels: int, crop: CropSettings) -> None:
        self.size = size
        self.channels = channels
        self.crop = crop
        self._detector: LandmarkDetector | None = None
        self._found: dict[Path, Detection | None] = {}

    def read(self, path: Path, *, looks: bool, simulate: bool = False) -> Photograph | Problem:
        """Reads one.

        Args:
            path: The file.
            looks: Whether a face and its landmarks are looked for; what was found in a file is remembered.
            simulate: Whether a simulated frontal face is fitted to a face that is found.

        Raises:
            InputError: The packages that find landmarks are not installed.
        """
        image = read_picture(path, str(path))
        if isinstance(image, Problem):
            return image
        height, width = image.shape[:2]
        steps = [f"{width}x{height} {_colour(image.ndim == 3)}"]
        landmarks = simulated = None
        if looks:
            found = self._detect(path, image)
            landmarks = None if found is None else found.landmarks
            steps.append(_found_words(found))
        if simulate and landmarks is not None:
            face = simulated_face_of(image, landmarks, self.size)
            if face is None:
                steps.append("no simulated face fits it")
            else:
                simulated = fit_image(face.image, self.size, self.channels)
        square = self.crop.square(landmarks, height, width)
        if square is not None and landmarks is not None:
            landmarks = crop_landmarks(landmarks, square)
            image = crop_image(image, square, self.size)
            turn = f" turned by {abs(np.degrees(square.angle)):.0f}°" if abs(square.angle) > np.radians(0.5) else ""
            steps.append(f"its {square.edge:.0f}x{square.edge:.0f}{turn}")
        else:
            landmarks = None if landmarks is None else fit_landmarks(landmarks, height, width)
            if width != height:
                steps.append(f"central {min(width, height)}x{min(width, height)}")
        if landmarks is not None and landmarks_fault(landmarks) is not None:
            landmarks = simulated = None
            steps.append("its face lies outside")
        steps.append(f"{self.size}x{self.size} {_colour(self.channels == 3)}")
        return Photograph(fit_image(image, self.size, self.channels), " -> ".join(steps), landmarks, simulated)

    def _detect(self, path: Path, image: np.ndarray) -> Detection | None:
        if path not in self._found:
            if self._detector is None:
                self._detector = LandmarkDetector(LandmarkSettings(detector="dlib"))
            self._found[path] = self._detector.detect(image)
        return self._found[path]


def _found_words(found: Detection | None) -> str:
    if found is None:
        return "no face found"
    if found.landmarks is None:
        return "face found, its points not sure"
    others = f", the largest of {found.faces}" if found.faces > 1 else ""
    return f"face found by {_DETECTORS[found.detector]}{others}"


def _colour(is_colour: bool) -> str:
    return "colour" if is_colour else "grey"
