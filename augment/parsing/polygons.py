"""Masks of photographs from their 68 landmarks: skin, lips and eyes as polygons, and what no landmark tells as unknown.

Landmarks say where lips, eyes and jaw are. They don't say where the forehead ends and the hair begins, nor what hair,
ears and neck cover beside the jaw; the more a face is turned, the less they say. Such pixels are `NO_MASK`, and teach
nothing. The rule, in face heights (from the brows to the chin):

- skin: the convex hull of the points, with the brows lifted by `LIFT_OF_SKIN`, less a rim of `RIM` inside its edge;
- background: what lies outside the hull with the brows lifted by `LIFT_OF_HAIR`, by more than `RIM_OUTSIDE`;
- between the two: unknown. Both rims grow by `RIM_TURNED` times the turn (`landmark_model.pose`, at most 0.5);
- lips: inside the outer and outside the inner line of the lips, whose inside is skin (the mouth's inside, as in the
  masks of the embedded faces); eyes: inside the six points of each. A pixel belongs to them from `LEAST_COVER` of its
  area on: chords between points cut off what the curves of lips and lids hold.

The numbers were chosen on embedded faces with exact landmarks (seed 3), whose masks are exact too.
"""

from __future__ import annotations

import math

import torch

from augment.faces.landmark_shapes import face_outline, pose, soft_polygon, to_picture_range
from augment.faces.table import MASK_CLASSES, NO_MASK

LIFT_OF_SKIN = 0.1
LIFT_OF_HAIR = 0.75
RIM = 0.02
RIM_OUTSIDE = 0.10
RIM_TURNED = 0.30
LEAST_COVER = 0.3
_DIRECTIONS = 48  # of the hull's support function: an arc of a face's radius is known to 0.2 % of it
_BATCH = 256
_EYES = (slice(36, 42), slice(42, 48))
_OUTER_LIPS, _INNER_LIPS = slice(48, 60), slice(60, 68)
_BACKGROUND, _SKIN, _LIPS, _EYE = (MASK_CLASSES.index(name) for name in ("background", "skin", "lips", "eyes"))


def polygon_masks(landmarks: torch.Tensor, size: int) -> torch.Tensor:
    """Draws masks from landmarks.

    Args:
        landmarks: float [N, 68, 2], x y in 0..1 of the picture, in iBUG order; a face with a missing (NaN) point has
            no mask.
        size: Edge of the masks in pixels.

    Returns:
        uint8 [N, size, size] on the landmarks' device, indices into `MASK_CLASSES`; 255 where nothing is known, and
        throughout for faces without landmarks.
    """
    masks = torch.full((len(landmarks), size, size), NO_MASK, dtype=torch.uint8, device=landmarks.device)
    known = torch.isfinite(landmarks).flatten(1).all(1).nonzero()[:, 0]
    for rows in known.split(_BATCH):
        masks[rows] = _draw(to_picture_range(landmarks[rows].float()), size)
    return masks


def _draw(shapes: torch.Tensor, size: int) -> torch.Tensor:
    """Masks of shapes [N, 68, 2] in -1..1."""
    brows, chin = shapes[:, 17:27].mean(1), shapes[:, 8]
    height = (chin - brows).norm(dim=1).clamp(min=1e-3)
    turned = RIM_TURNED * pose(shapes).abs().clamp(max=0.5)
    features = shapes[:, 27:]
    inside = _hull_distance(torch.cat([face_outline(shapes, LIFT_OF_SKIN), features], dim=1), size)
    outside = _hull_distance(torch.cat([face_outline(shapes, LIFT_OF_HAIR), features], dim=1), size)
    masks = torch.full(inside.shape, NO_MASK, dtype=torch.uint8, device=shapes.device)
    masks[outside > ((RIM_OUTSIDE + turned) * height)[:, None, None]] = _BACKGROUND
    masks[inside < -((RIM + turned) * height)[:, None, None]] = _SKIN
    outer, inner = _covered(shapes[:, _OUTER_LIPS], size), _covered(shapes[:, _INNER_LIPS], size)
    masks[(outer > LEAST_COVER) & (inner < 1 - LEAST_COVER)] = _LIPS
    masks[(outer > LEAST_COVER) & (inner >= 1 - LEAST_COVER)] = _SKIN
    for eye in _EYES:
        masks[_covered(shapes[:, eye], size) > LEAST_COVER] = _EYE
    return masks


def _covered(corners: torch.Tensor, size: int) -> torch.Tensor:
    """About which share of each pixel a polygon [N, K, 2] covers: float32 [N, size, size]."""
    return soft_polygon(corners, size, softness=2.0 / size)[:, 0]


def _hull_distance(points: torch.Tensor, size: int) -> torch.Tensor:
    """Signed distance of each pixel's centre to the convex hull of points [N, K, 2]: float32 [N, size, size].

    Negative inside. The hull is the meeting of the half-planes that its support function names; outside, near a corner,
    the distance comes out a little short.
    """
    angles = torch.arange(_DIRECTIONS, device=points.device) * (2 * math.pi / _DIRECTIONS)
    directions = torch.stack([angles.cos(), angles.sin()], dim=1)
    reach = (points @ directions.T).amax(1)
    line = (torch.arange(size, device=points.device) + 0.5) * (2.0 / size) - 1.0
    distance = torch.full((len(points), size, size), -torch.inf, device=points.device)
    for number, (right, down) in enumerate(directions.tolist()):
        along = right * line[None, :] + down * line[:, None]
        torch.maximum(distance, along - reach[:, number, None, None], out=distance)
    return distance
