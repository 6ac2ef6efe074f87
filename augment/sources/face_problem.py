"""What no face, and no picture's file, may have, whichever source it comes from."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from augment.core.errors import Problem
from augment.faces.frames import frames_problem
from augment.faces.landmark_bounds import LANDMARK_COUNT, landmarks_fault
from augment.faces.synthetic_mark import synthetic_problem
from augment.faces.table import MASK_CLASSES, SPLITS
from augment.sources.base import RawFace


def file_problem(data: bytes, where: str) -> Problem | None:
    """What is wrong with a picture's file that decodes: it holds several pictures, or a synthetic one.

    Args:
        data: The file's bytes.
        where: How the problem names it.
    """
    return frames_problem(data, where) or synthetic_problem(data, where)


def face_problem(face: RawFace, class_names: Sequence[str]) -> Problem | None:
    """What is wrong with a face that its source took for good: label, split, picture, landmarks or mask.

    Args:
        face: The face.
        class_names: The source's classes.

    Returns:
        The first thing that is wrong; None where the face is valid.
    """
    where = face.path or face.name
    if face.label_name not in class_names:
        return Problem(where, f"unknown label {face.label_name!r}", f"known: {', '.join(class_names)}")
    if face.split is not None and face.split not in SPLITS:
        return Problem(where, f"unknown split {face.split!r}", f"known: {', '.join(SPLITS)}")
    for what, pixels in (("picture", face.image), ("simulated face", face.simulated)):
        if pixels is None:
            continue
        if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3) or 0 in pixels.shape:
            return Problem(where, f"the {what} is {pixels.dtype} {list(pixels.shape)}, not 8-bit grey or RGB")
        if pixels.ndim == 3 and pixels.shape[2] != 3:
            return Problem(where, f"the {what} has {pixels.shape[2]} channels, not 1 or 3")
    if face.landmarks is not None:
        if face.landmarks.shape != (LANDMARK_COUNT, 2):
            return Problem(where, f"landmarks are {list(face.landmarks.shape)}, not [{LANDMARK_COUNT}, 2]")
        fault = landmarks_fault(face.landmarks)
        if fault is not None:
            return Problem(where, f"landmarks {fault}", "leave them out where they are unknown")
    if face.mask is not None and (face.mask.ndim != 2 or face.mask.max(initial=0) >= len(MASK_CLASSES)):
        names = ", ".join(f"{number} {name}" for number, name in enumerate(MASK_CLASSES))
        return Problem(where, "the mask is no map of areas", f"areas are {names}")
    return None
