"""Landmarks of photographs: the 68 points that a detector finds, through dlib (the optional extra `landmarks`).

The weights ship in the package face-recognition-models. Those of the 68 points were trained on iBUG 300-W, whose
licence excludes commercial use, and its makers ask that the trained model be not used in a commercial product (README
of davisking/dlib-models). The two face detectors' weights bear no such note.
"""

from __future__ import annotations

import importlib.util
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field

from augment.core.errors import InputError, Problem
from augment.faces.landmark_bounds import landmarks_fault
from augment.faces.licences import LicenceLine
from augment.faces.table import MIRROR_ORDER

# They hold for the points that the predictor finds, and so go with the faces whose points it found.
PREDICTOR_TERMS = LicenceLine(
    data_set="iBUG 300-W, by the landmark predictor",
    line="The predictor's weights were trained on iBUG 300-W, whose licence excludes commercial use; their makers ask "
    "that they be not used in a commercial product.",
)
INSTALL_COMMAND = "uv sync --extra landmarks"

# The predictor starts from a box and its points move with it: the median over several boxes moves less. Each: edge, and
# how far right and down, in edges of the box.
_BOXES = ((1.0, 0.0, 0.0), (0.95, 0.04, 0.0), (0.95, -0.04, 0.0), (1.05, 0.0, 0.04), (1.05, 0.0, -0.04))
# It was trained on the HOG detector's boxes; the other's lie elsewhere. Of these boxes the promising ones are looked at
# closely, and the one whose points are steadiest is taken: embedded faces from the front then come out as exact as by
# the HOG detector (mean error 6.2 % of the eyes' distance; 11.6 % from the box as it is), those turned by 45 degrees at
# 23 % instead of 44 %.
_OTHER_BOXES = tuple(itertools.product((0.8, 0.95, 1.1), (-0.12, 0.0, 0.12), (-0.1, 0.0, 0.1)))
_PROMISING = 6
_SAME_SIZE = 0.9  # the HOG detector looks in steps of 5/6, so boxes nearer than this are of one size
_MOST_ENLARGED = 3.0


class LandmarkSettings(BaseModel):
    """How landmarks of photographs are found.

    Attributes:
        detector: `none`, or `dlib`: its HOG detector (Dalal & Triggs 2005), where that finds no face its convolutional
            one (King 2015), then its 68-point predictor (Kazemi & Sullivan 2014).
        faces: Which faces are looked at: those that `lack` landmarks, or `all`; where a face's own are not found again
            it keeps them.
        edge: Pictures whose shorter edge is less are enlarged to it, in pixels: the HOG detector sees faces of 80 px
            and more.
        largest: Pictures whose longer edge is more are shrunk to it, in pixels.
        padding: How far the picture's edge is repeated outwards, as a share of its shorter edge: faces that fill their
            picture are found only so.
        second: Edges in pixels that the shorter edge is brought to for the convolutional detector, one after the other
            until a face is found; empty = the HOG detector alone. An edge of more than three times the picture's own
            is passed over.
        steady: Points that are more unsteady (`Detection.unsteadiness`) are not trusted.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    detector: Literal["none", "dlib"] = "none"
    faces: Literal["lack", "all"] = "lack"
    edge: int = Field(default=192, ge=80, le=1024)
    largest: int = Field(default=1024, ge=192, le=8192)
    padding: float = Field(default=0.25, ge=0, le=1)
    second: tuple[int, ...] = (96, 144, 480)
    steady: float = Field(default=0.035, gt=0, le=1)


@dataclass(frozen=True)
class Detection:
    """A face that was found.

    Attributes:
        box: left, top, right, bottom in 0..1 of the picture; may reach beyond it.
        landmarks: float32 [68, 2], x y in 0..1 of the picture (iBUG order); points may lie outside it. None where they
            are too unsteady, or too far outside, to be trusted.
        detector: Which found it: hog or cnn.
        faces: How many faces that detector found in the picture.
        unsteadiness: How far the points move as the detector's box is moved a little, plus how far they lie from those
            of the mirror image; means over the points in edges of the box.
    """

    box: tuple[float, float, float, float]
    landmarks: np.ndarray | None
    detector: Literal["hog", "cnn"]
    faces: int
    unsteadiness: float


def landmarks_installed() -> bool:
    """Whether the extra `landmarks` is there, without importing it."""
    return all(importlib.util.find_spec(name) is not None for name in ("dlib", "face_recognition_models"))


def _weights_folder() -> Path:
    # The package is never imported: it wants pkg_resources, which current setuptools no longer have.
    spec = importlib.util.find_spec("face_recognition_models")
    for place in (spec.submodule_search_locations or ()) if spec is not None else ():
        folder = Path(place) / "models"
        if folder.is_dir():
            return folder
    raise InputError(
        Problem("landmarks.detector: dlib", "the package face-recognition-models is not installed", INSTALL_COMMAND)
    )


class LandmarkDetector:
    """Finds a picture's face and its 68 points.

    What it finds depends on the picture's pixels and the settings alone. The turn of a head (`yaw`) is not made up.

    Args:
        settings: How to look; `detector` is dlib.

    Raises:
        InputError: The extra `landmarks` is not installed, or its weights can't be read.
    """

    def __init__(self, settings: LandmarkSettings) -> None:
        if settings.detector == "none":
            raise InputError(Problem("landmarks.detector", "is none: there is nothing to detect with", "use dlib"))
        try:
            import dlib
        except ImportError as error:
            raise InputError(
                Problem("landmarks.detector: dlib", f"can't be imported: {error}", INSTALL_COMMAND)
            ) from error
        folder = _weights_folder()
        self.settings = settings
        self._dlib: Any = dlib
        self._hog = dlib.get_frontal_face_detector()
        self._cnn: Any = None
        try:
            self._predict = dlib.shape_predictor(str(folder / "shape_predictor_68_face_landmarks.dat"))
            if settings.second:
                self._cnn = dlib.cnn_face_detection_model_v1(str(folder / "mmod_human_face_detector.dat"))
        except RuntimeError as error:
            why = f"the weights can't be read: {error}"
            raise InputError(
                Problem("landmarks.detector: dlib", why, "install face-recognition-models again")
            ) from error

    def detect(self, image: np.ndarray) -> Detection | None:
        """Looks for the picture's face.

        Of several the largest is taken; of several about as large (within a tenth of its edge) the one nearest to the
        picture's centre.

        Args:
            image: uint8 [H, W] or [H, W, 3], any size.

        Returns:
            The face; None where no detector finds one.
        """
        height, width = image.shape[:2]
        seen = self._seen(image, self._scale(height, width))
        kind: Literal["hog", "cnn"] = "hog"
        boxes = [seen.to_picture(_box(found)) for found in self._hog.run(seen.pixels, 0, 0.0)[0]]
        if not boxes:
            kind, boxes = "cnn", self._cnn_boxes(image)
        if not boxes:
            return None
        return self._detection(image, _chosen(boxes, height, width), kind, len(boxes))

    def _scale(self, height: int, width: int) -> float:
        """How much a picture is enlarged or shrunk for the HOG detector and the predictor."""
        return min(max(1.0, self.settings.edge / min(height, width)), self.settings.largest / max(height, width))

    def _cnn_boxes(self, image: np.ndarray) -> list[np.ndarray]:
        shorter = min(image.shape[:2])
        for edge in self.settings.second:
            if edge > _MOST_ENLARGED * shorter:
                continue
            seen = self._seen(image, min(edge / shorter, self.settings.largest / max(image.shape[:2])))
            pixels = seen.pixels if seen.pixels.ndim == 3 else np.repeat(seen.pixels[:, :, None], 3, axis=2)
            found = self._cnn(np.ascontiguousarray(pixels), 0)
            if found:
                return [seen.to_picture(_box(one.rect)) for one in found]
        return []

    def _seen(self, image: np.ndarray, scale: float) -> _Seen:
        """The picture as a detector sees it: scaled, its edge repeated outwards."""
        height, width = image.shape[:2]
        rows, columns = max(1, round(height * scale)), max(1, round(width * scale))
        if (rows, columns) != (height, width):
            image = np.asarray(Image.fromarray(image).resize((columns, rows), Image.Resampling.BICUBIC))
        pad = round(self.settings.padding * min(rows, columns))
        padded = np.pad(image, ((pad, pad), (pad, pad)) + ((0, 0),) * (image.ndim - 2), mode="edge")
        return _Seen(np.ascontiguousarray(padded), np.array([columns / width, rows / height]), pad)

    def _detection(self, image: np.ndarray, box: np.ndarray, detector: Literal["hog", "cnn"], faces: int) -> Detection:
        """The points in a detector's box, left, top, right and bottom in pixels of the picture."""
        height, width = image.shape[:2]
        seen = self._seen(image, self._scale(height, width))
        mirrored = np.ascontiguousarray(seen.pixels[:, ::-1])
        own = box * np.tile(seen.scale, 2) + seen.pad
        fit = self._fit(seen.pixels, mirrored, own)
        if detector == "cnn" or fit.unsteadiness > self.settings.steady:
            others = self._promising(seen.pixels, mirrored, [_moved(own, *move) for move in _OTHER_BOXES])
            fits = (self._fit(seen.pixels, mirrored, other) for other in others)
            fit = min((fit, *fits), key=lambda found: found.unsteadiness)
        extent = np.array([width, height], np.float64)
        # The predictor names pixels, whose centres lie half a pixel further.
        points = (fit.points + 0.5 - seen.pad) / seen.scale / extent
        is_trusted = fit.unsteadiness <= self.settings.steady and landmarks_fault(points) is None
        left, top, right, bottom = (float(value) for value in box / np.tile(extent, 2))
        return Detection(
            box=(left, top, right, bottom),
            landmarks=points.astype(np.float32) if is_trusted else None,
            detector=detector,
            faces=faces,
            unsteadiness=fit.unsteadiness,
        )

    def _promising(self, pixels: np.ndarray, mirrored: np.ndarray, boxes: list[np.ndarray]) -> list[np.ndarray]:
        """The boxes whose points lie near those of the mirror image, and near those of many other boxes.

        The latter keeps a box out whose points are steady and wrong, which no other box leads to.
        """
        pairs = [self._both(pixels, mirrored, box, (_BOXES[0],)) for box in boxes]
        apart = np.array([np.linalg.norm(own - other, axis=1).mean() for (own, _), (other, _) in pairs])
        points = np.array([(own + other) / 2 for (own, _), (other, _) in pairs])
        between = np.linalg.norm(points[:, None] - points[None], axis=3).mean(axis=2)
        nearest = np.sort(between, axis=1)[:, 1 : 1 + _PROMISING].mean(axis=1)
        edges = np.array([box[2] - box[0] for box in boxes])
        order = np.argsort(nearest / edges.mean() + apart / edges, kind="stable")
        return [boxes[row] for row in order[:_PROMISING]]

    def _fit(self, pixels: np.ndarray, mirrored: np.ndarray, box: np.ndarray) -> _Fit:
        """The points about a box, from the picture and from its mirror image."""
        (own, scatter), (other, other_scatter) = self._both(pixels, mirrored, box, _BOXES)
        apart = np.linalg.norm(own - other, axis=1).mean()
        edge = box[2] - box[0]
        return _Fit((own + other) / 2, float(((scatter + other_scatter) / 2 + apart) / edge))

    def _both(
        self, pixels: np.ndarray, mirrored: np.ndarray, box: np.ndarray, moves: Sequence[tuple[float, float, float]]
    ) -> tuple[tuple[np.ndarray, float], tuple[np.ndarray, float]]:
        """`_steadied` of the picture and of its mirror image, the latter's points brought back to the picture."""
        width = pixels.shape[1]
        box_mirrored = np.array([width - box[2], box[1], width - box[0], box[3]])
        other, scatter = self._steadied(mirrored, box_mirrored, moves)
        other = other[list(MIRROR_ORDER)]
        other[:, 0] = width - 1 - other[:, 0]
        return self._steadied(pixels, box, moves), (other, scatter)

    def _steadied(
        self, pixels: np.ndarray, box: np.ndarray, moves: Sequence[tuple[float, float, float]]
    ) -> tuple[np.ndarray, float]:
        """Medians over boxes about a box, float64 [68, 2], and how far the points lie from them on average; pixels."""
        found = []
        for move in moves:
            left, top, right, bottom = np.rint(_moved(box, *move))
            corners = (int(left), int(top), int(right) - 1, int(bottom) - 1)
            shape = self._predict(pixels, self._dlib.rectangle(*corners))
            found.append([(point.x, point.y) for point in shape.parts()])
        points = np.array(found, np.float64)
        middle = np.median(points, axis=0)
        return middle, float(np.linalg.norm(points - middle, axis=2).mean())


@dataclass(frozen=True)
class _Fit:
    """Points in pixels, float64 [68, 2], and how unsteady they are, in edges of their box."""

    points: np.ndarray
    unsteadiness: float


@dataclass(frozen=True)
class _Seen:
    """A scaled and padded picture: its pixels, the scale of x and y, and the padding in its pixels."""

    pixels: np.ndarray
    scale: np.ndarray
    pad: int

    def to_picture(self, box: np.ndarray) -> np.ndarray:
        """A box of these pixels in the picture's."""
        return (box - self.pad) / np.tile(self.scale, 2)


def _moved(box: np.ndarray, size: float, right: float, down: float) -> np.ndarray:
    """A box scaled about its centre and shifted, in units of itself."""
    centre, extent = (box[:2] + box[2:]) / 2, box[2:] - box[:2]
    centre = centre + extent * np.array([right, down])
    return np.concatenate([centre - extent * size / 2, centre + extent * size / 2])


def _box(rectangle: Any) -> np.ndarray:
    """dlib's rectangle (its last pixels belong to it) as left, top, right, bottom."""
    corners = (rectangle.left(), rectangle.top(), rectangle.right() + 1, rectangle.bottom() + 1)
    return np.array(corners, np.float64)


def _chosen(boxes: list[np.ndarray], height: int, width: int) -> np.ndarray:
    """The largest box; of those about as large the one nearest to the picture's centre."""
    edges = np.array([np.sqrt(max(0.0, (box[2] - box[0]) * (box[3] - box[1]))) for box in boxes])
    centre = np.array([width, height]) / 2
    large = [box for box, edge in zip(boxes, edges, strict=True) if edge >= _SAME_SIZE * edges.max()]
    return min(large, key=lambda box: float(np.linalg.norm((box[:2] + box[2:]) / 2 - centre)))
