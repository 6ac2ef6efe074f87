"""What landmarks may be, for everything that reads some: sources, tables, caches, detectors.

Points may well lie outside. A face that fills its picture loses chin, jaw or brows at the frame, and who marked it
marked on (embedded faces in all poses: to 0.07 of the picture's edge). Crops go further: of the tightest that
`augment.faces.crops` makes, an open mouth's chin lies 1.2 edges below, and the central square of a picture four times
as wide as high lies 1.5 edges from its ends. Points beyond are those of another picture, of another size or in pixels,
or they are damaged. Numbers as large as 1e30 leave NaN in whatever squares them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

LANDMARK_COUNT = 68
MARGIN = 1.5  # edges of the picture, to each side
LEAST_SPREAD = 1e-3  # edges of the picture; of the points that no expression moves
STILL_POINTS = (0, 16, 27, 30, 36, 45)  # ends of the jaw line, bridge and tip of the nose, outer corners of the eyes


def row_landmarks(values: Sequence[float | None]) -> np.ndarray:
    """Landmarks of a row of a table, x y x y ...: float32 [68, 2]; flat where there are more or fewer.

    None becomes NaN.
    """
    found = np.array(values, np.float32)
    return found.reshape(LANDMARK_COUNT, 2) if found.shape == (2 * LANDMARK_COUNT,) else found


def landmarks_fault(landmarks: np.ndarray) -> str | None:
    """Why points can't be a face's in its picture.

    Args:
        landmarks: [68, 2], x y in 0..1 of the picture (iBUG order).

    Returns:
        The reason, to follow `landmarks`; None where they may be.
    """
    if landmarks.dtype.kind not in "fiu":
        return f"are {landmarks.dtype}, not numbers"
    if landmarks.shape != (LANDMARK_COUNT, 2):
        return f"are {landmarks.size} numbers, not {2 * LANDMARK_COUNT}"
    points = landmarks.astype(np.float64)
    if not np.isfinite(points).all():
        return "are not finite"
    beyond = np.maximum(points - 1, -points).max(axis=0)
    if beyond.max() > MARGIN:
        axis = int(beyond.argmax())
        values = points[:, axis]
        return (
            f"lie far outside the picture: {'xy'[axis]} is {values.min():.3g} to {values.max():.3g}, where 0 to 1 is "
            f"the picture and {-MARGIN:g} to {1 + MARGIN:g} the most"
        )
    if np.ptp(points[list(STILL_POINTS)], axis=0).max() < LEAST_SPREAD:
        return "lie all in one place"
    return None
