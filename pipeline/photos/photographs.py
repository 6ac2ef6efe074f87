"""Reads a user's photographs as a translator expects them: landmark detection, cropping, scaling."""

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
    """A picture as the translator expects it.

    Attributes:
        pixels: uint8 [size, size, channels].
        steps: A description of the preprocessing steps.
        landmarks: float32 [68, 2] in 0..1 of the pixels; None if they were not looked for or no face was found.
        simulated: uint8 [size, size, channels], the simulated frontal face; None if the landmarks are, or if it was
            not requested.
    """

    pixels: np.ndarray
    steps: str
    landmarks: np.ndarray | None = None
    simulated: np.ndarray | None = None


class PhotographReader:
    """Reads photographs as pictures of one size and number of channels.

    Args:
        size: Edge in pixels.
        channels: 1 or 3.
        crop: How to crop to the face, if one is looked for; otherwise the central square is taken.
    """

    def __init__(self, size: int, channels: int, crop: CropSettings) -> None:
        self.size = size
        self.channels = channels
        self.crop = crop
        self._detector: LandmarkDetector | None = None
        self._found: dict[Path, Detection | None] = {}

    def read(self, path: Path, *, detect: bool, simulate: bool = False) -> Photograph | Problem:
        """Reads a photograph.

        Args:
            path: The file.
            detect: Whether to look for a face and its landmarks; detections are cached by file.
            simulate: Whether to fit a simulated frontal face to a detected face.

        Raises:
            InputError: The packages that find landmarks are not installed.
        """
        image = read_picture(path, str(path), real=False)  # exported faces may be translated, too
        if isinstance(image, Problem):
            return image
        height, width = image.shape[:2]
        steps = [f"{width}x{height} {_colour(image.ndim == 3)}"]
        landmarks = simulated = None
        if detect:
            found = self._detect(path, image)
            landmarks = None if found is None else found.landmarks
            steps.append(_describe_detection(found))
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


def _describe_detection(found: Detection | None) -> str:
    if found is None:
        return "no face found"
    if found.landmarks is None:
        return "face found, its landmarks unreliable"
    others = f", the largest of {found.faces}" if found.faces > 1 else ""
    return f"face found by {_DETECTORS[found.detector]}{others}"


def _colour(is_colour: bool) -> str:
    return "colour" if is_colour else "grey"
