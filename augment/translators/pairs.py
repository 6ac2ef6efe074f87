"""Pairs of one person's faces: a source, and a target of another class laid on it and lit as it is.

Two pictures of a person differ by more than the expression: the head has moved, and so has the lamp. A network that
learns from them as they are spends itself on both. Here the target is laid on the source by the similarity of the
points that expressions hardly move, and its light is made the source's by the ratio of the two blurred pictures, an
old way of taking low frequencies for light (Shashua & Riklin-Raviv, "The Quotient Image", IEEE PAMI 2001; Liu, Shan &
Zhang, "Expressive Expression Mapping with Ratio Images", SIGGRAPH 2001). What is left is the expression.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from augment.faces.landmark_shapes import (
    STABLE_POINTS,
    Similarity,
    alignment,
    face_outline,
    pose,
    procrustes_mean,
    soft_polygon,
    to_picture_range,
    with_mirrored,
)
from augment.faces.table import Attribute
from augment.faces.tensors import FaceTensors, has_valid_landmarks, to_bytes_range, to_unit_range
from augment.translators.base import CannotTranslateError
from augment.translators.thin_plate_spline import pixel_centres, warp_to

BLUR = 8 / 48  # standard deviation of the blur that takes a picture for its light, as a share of the edge
POSE_DIFFERENCE = 0.15  # in face widths (`augment.faces.landmark_shapes.pose`): about 8 degrees of yaw
LANDMARK_ADVICE = (  # to users of faces without any
    "Let them be found (`s2l profile landmarks=dlib`), or use a learned translator that needs none "
    "(stargan, or lssl with side_input=false)."
)
_MASK_SOFTNESS = 0.12  # of the face's outline, in units of half an edge
_RATIO_BOUNDS = (0.35, 2.8)
_CHUNK = 64


@dataclass(frozen=True)
class FacePairs:
    """P pairs of one person's faces, in the sources' frames.

    Attributes:
        sources: int64 [P], rows of the faces.
        targets: int64 [P], rows of the faces: the same person, another class.
        images: uint8 [P, C, H, W], the targets laid on the sources and lit as they are.
        masks: uint8 [P, 1, H, W], where the face is, in source or target: 255 inside, soft at the edge, 0 outside.
            Hair, shoulders and background differ for other reasons than the expression; a loss should not count them.
        landmarks: float32 [P, 68, 2], the targets' landmarks in the sources' frames, x y in -1..1.
    """

    sources: torch.Tensor
    targets: torch.Tensor
    images: torch.Tensor
    masks: torch.Tensor
    landmarks: torch.Tensor

    def __len__(self) -> int:
        return len(self.sources)


# What classes may say where pairs are learned from: each target is relit as its source (`lay_on_sources`), and heads
# that are turned otherwise are no pair (`find_pairs`).
LEARNED_FROM_PAIRS: frozenset[Attribute] = frozenset({"expression"})


def check_pairs(faces: FaceTensors, method: str, *, pose_difference: float = POSE_DIFFERENCE) -> torch.Tensor:
    """Refuses faces among which there are no pairs.

    Args:
        faces: Training faces.
        method: Who needs the pairs, for the message.
        pose_difference: See `find_pairs`.

    Returns:
        The pairs, as `find_pairs` lists them; there is at least one.

    Raises:
        CannotTranslateError: No face has landmarks, no face's person is known, or nobody shows two classes.
    """
    needs = f"{method} learns from pairs of one person's faces that show two classes"
    if faces.landmarks is None or not bool(has_valid_landmarks(faces.landmarks).any()):
        raise CannotTranslateError(
            f"{needs}, laid on each other by 68 landmarks, and no training face has landmarks. {LANDMARK_ADVICE}"
        )
    if all(subject is None for subject in faces.subjects):
        raise CannotTranslateError(
            f"{needs}, and of no training face the person is known (FER2013, for one, names no subjects). "
            "Name the subjects, for a folder by `subject_pattern`, let embedded people teach (appearance_flow with "
            "teacher: embedded), or use a translator that needs no pairs (warp, stargan, lssl)."
        )
    found = find_pairs(faces, pose_difference=pose_difference)
    if not len(found):
        people = len({subject for subject in faces.subjects if subject is not None})
        raise CannotTranslateError(
            f"{needs}, and of {people} people none does, on faces with landmarks whose heads are turned alike. "
            "Add such faces, use fewer folds, or use a translator that needs no pairs (warp, stargan, lssl)."
        )
    return found


def find_pairs(
    faces: FaceTensors, *, pose_difference: float = POSE_DIFFERENCE, most: int | None = None, seed: int = 0
) -> torch.Tensor:
    """Lists pairs (source, target) of one person's faces of two classes.

    Every face with landmarks and a known person is a source once for each other class that the person shows; the
    target is that class's face nearest in pose and light, of equals the first. So a person with hundreds of frames has
    as many pairs for each class as frames, and not their square.

    Args:
        faces: N training faces.
        pose_difference: Pairs whose heads are turned more differently are left out, in face widths
            (`augment.faces.landmark_shapes.pose`; 0.1 is about 5 degrees of yaw): no similarity lays one on the other.
        most: At most this many, drawn with `seed`; all by default.
        seed: Of that draw.

    Returns:
        int64 [P, 2] on the faces' device, rows of sources and targets, by rising source, then the target's class; P is
        0 where there are no landmarks or no subjects.
    """
    device = faces.labels.device
    none = torch.zeros(0, 2, dtype=torch.int64, device=device)
    if faces.landmarks is None:
        return none
    usable = has_valid_landmarks(faces.landmarks)
    labels = faces.labels.tolist()
    people = _people(faces.subjects, usable.tolist())
    several = [rows for rows in people.values() if len({labels[row] for row in rows}) > 1]
    if not several:
        return none
    shapes = to_picture_range(faces.landmarks)
    turned = pose(shapes)
    stable = alignment(shapes, mean_shape(faces)).apply(shapes)[:, list(STABLE_POINTS)].flatten(1)
    small = F.interpolate(to_unit_range(faces.images), size=(12, 12), mode="area").flatten(1)
    pairs: list[tuple[int, int, int]] = []
    for rows in several:
        geometry = torch.cdist(stable[rows], stable[rows]) / len(STABLE_POINTS) ** 0.5
        light = torch.cdist(small[rows], small[rows], p=1) / small.shape[1]
        apart = (turned[rows][:, None] - turned[rows][None]).abs() > pose_difference
        distance = (geometry / 0.05 + light / 0.1).masked_fill(apart, torch.inf).cpu()
        own = torch.tensor([labels[row] for row in rows])
        for label in sorted(set(own.tolist())):
            columns = torch.nonzero(own == label)[:, 0]
            nearest, position = distance[:, columns].min(dim=1)
            for place in torch.nonzero((own != label) & nearest.isfinite())[:, 0].tolist():
                pairs.append((rows[place], label, rows[int(columns[position[place]])]))
    listed = torch.tensor([(source, target) for source, _, target in sorted(pairs)], dtype=torch.int64).view(-1, 2)
    if most is not None and len(listed) > most:
        drawn = torch.randperm(len(listed), generator=torch.Generator().manual_seed(seed))[:most]
        listed = listed[drawn.sort().values]
    return listed.to(device)


def _people(subjects: Sequence[str | None], usable: Sequence[bool]) -> Mapping[str, list[int]]:
    """Rows of each person's usable faces, people in the order in which they come."""
    people: dict[str, list[int]] = {}
    for row, subject in enumerate(subjects):
        if subject is not None and usable[row]:
            people.setdefault(subject, []).append(row)
    return people


def mean_shape(faces: FaceTensors) -> torch.Tensor:
    """The mean of the landmarks of all faces that have some, and of their mirror images: [68, 2], x y in -1..1."""
    assert faces.landmarks is not None
    return procrustes_mean(with_mirrored(to_picture_range(faces.landmarks[has_valid_landmarks(faces.landmarks)])))


@torch.no_grad()
def lay_on_sources(
    faces: FaceTensors, pairs: torch.Tensor, *, reference: torch.Tensor | None = None, blur: float = BLUR
) -> FacePairs:
    """Lays the targets of pairs on their sources, and lights them as these are lit.

    Args:
        faces: N faces, with landmarks at least on those that the pairs name.
        pairs: int64 [P, 2], rows of sources and targets, as `find_pairs` lists them.
        reference: float32 [68, 2], the shape that both are aligned with, x y in -1..1; `mean_shape` by default.
        blur: Standard deviation of the blur that light is measured by, as a share of the picture's edge.

    Returns:
        The pairs, on the faces' device. Where the target's picture ends inside the source's, its edge is repeated.
    """
    assert faces.landmarks is not None
    shapes = to_picture_range(faces.landmarks)
    if reference is None:
        reference = mean_shape(faces)
    maps = alignment(shapes, reference)
    own = pixel_centres(faces.size, shapes.device)[None]
    images, masks, landmarks = [], [], []
    for start in range(0, max(len(pairs), 1), _CHUNK):
        source, target = pairs[start : start + _CHUNK].unbind(1)
        count = len(source)
        onto = Similarity(maps.factor[source], maps.offset[source])
        from_target = Similarity(maps.factor[target], maps.offset[target])
        laid_shapes = onto.invert(from_target.apply(shapes[target]))
        places = from_target.invert(onto.apply(own.expand(count, -1, -1).contiguous()))
        grid = places.view(count, faces.size, faces.size, 2).float()
        laid = F.grid_sample(
            to_unit_range(faces.images[target]), grid, mode="bicubic", padding_mode="border", align_corners=False
        ).clamp(-1.0, 1.0)
        mask = torch.maximum(
            soft_polygon(face_outline(laid_shapes), faces.size, _MASK_SOFTNESS),
            soft_polygon(face_outline(shapes[source]), faces.size, _MASK_SOFTNESS),
        )
        # Light is compared where the same skin lies: an open mouth is no shadow.
        moved = warp_to(to_unit_range(faces.images[source]), shapes[source], laid_shapes, faces.size)
        images.append(to_bytes_range(relight(laid, moved, mask, blur * faces.size)))
        masks.append((mask * 255.0).round().to(torch.uint8))
        landmarks.append(laid_shapes)
    sources, targets = pairs.unbind(1)
    return FacePairs(sources, targets, torch.cat(images), torch.cat(masks), torch.cat(landmarks))


def relight(images: torch.Tensor, lit: torch.Tensor, masks: torch.Tensor, sigma: float) -> torch.Tensor:
    """Gives pictures the light of others of the same shape.

    Args:
        images: float32 [N, C, H, W], -1..1.
        lit: float32 [N, C, H, W], -1..1, whose light is wanted.
        masks: float32 [N, 1, H, W], 0..1, what the light is measured on.
        sigma: Standard deviation of the blur, in pixels.

    Returns:
        float32 [N, C, H, W], -1..1: (v + 1) times the ratio of the blurred pictures, channel by channel, the ratio kept
        within 0.35..2.8.
    """
    wanted = gaussian_blur((lit + 1.0) * masks, sigma) + 1e-3
    found = gaussian_blur((images + 1.0) * masks, sigma) + 1e-3
    return ((images + 1.0) * (wanted / found).clamp(*_RATIO_BOUNDS) - 1.0).clamp(-1.0, 1.0)


def gaussian_blur(images: torch.Tensor, sigma: float) -> torch.Tensor:
    """Blurs float32 [N, C, H, W] with a Gaussian of `sigma` pixels cut at 2 sigma, the border repeated."""
    reach = max(1, round(2 * sigma))
    line = torch.arange(-reach, reach + 1, device=images.device, dtype=images.dtype)
    weights = torch.exp(-0.5 * (line / sigma).square())
    weights = weights / weights.sum()
    count, channels, height, width = images.shape
    planes = images.reshape(count * channels, 1, height, width)
    planes = F.conv2d(F.pad(planes, (reach, reach, 0, 0), mode="replicate"), weights.view(1, 1, 1, -1))
    planes = F.conv2d(F.pad(planes, (0, 0, reach, reach), mode="replicate"), weights.view(1, 1, -1, 1))
    return planes.view(count, channels, height, width)
