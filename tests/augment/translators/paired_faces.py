"""Small faces of people who show every class, with landmarks that can be a face's."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch.nn import functional as F

from augment.faces.tensors import FaceTensors, to_bytes_range

CLASS_NAMES = ("angry", "happy", "neutral")


def face_shape() -> torch.Tensor:
    """68 points somewhat as a face has them, x y in 0..1: jaw, brows, nose, eyes, lips."""
    jaw = torch.linspace(0, math.pi, 17)
    points = [torch.stack([0.5 - 0.3 * jaw.cos(), 0.45 + 0.4 * jaw.sin()], 1)]
    for centre in (0.37, 0.63):
        points.append(torch.stack([torch.linspace(centre - 0.08, centre + 0.08, 5), torch.full((5,), 0.35)], 1))
    points.append(torch.stack([torch.full((4,), 0.5), torch.linspace(0.42, 0.57, 4)], 1))
    points.append(torch.stack([torch.linspace(0.45, 0.55, 5), torch.full((5,), 0.6)], 1))

    def ring(count: int, x: float, y: float, width: float, height: float) -> torch.Tensor:
        turn = math.pi + torch.arange(count) * (2 * math.pi / count)
        return torch.stack([x + width * turn.cos(), y + height * turn.sin()], 1)

    points += [ring(6, 0.37, 0.43, 0.05, 0.02), ring(6, 0.63, 0.43, 0.05, 0.02)]
    points += [ring(12, 0.5, 0.72, 0.12, 0.05), ring(8, 0.5, 0.72, 0.08, 0.02)]
    return torch.cat(points)


def paired_faces(people: int = 4, *, size: int = 48, brightness: Sequence[int] = (0, 0, 0)) -> FaceTensors:
    """Smooth pictures, a person's alike but for the class: a square of the class's brightness at the mouth."""
    generator = torch.Generator().manual_seed(0)
    count = people * len(CLASS_NAMES)
    coarse = 0.8 * torch.rand(people, 1, 6, 6, generator=generator) - 0.4
    smooth = F.interpolate(coarse, size=(size, size), mode="bicubic", align_corners=False).clamp(-1, 1)
    pictures = smooth.repeat_interleave(len(CLASS_NAMES), dim=0)
    labels = torch.arange(count) % len(CLASS_NAMES)
    low, high = round(0.62 * size), round(0.82 * size)
    left, right = round(0.36 * size), round(0.64 * size)
    pictures[:, :, low:high, left:right] += torch.tensor(brightness)[labels].view(-1, 1, 1, 1) / 127.5
    return FaceTensors(
        images=to_bytes_range(pictures),
        labels=labels,
        landmarks=face_shape() + 0.002 * torch.randn(count, 68, 2, generator=generator),
        masks=None,
        face_ids=tuple(f"face-{row}" for row in range(count)),
        subjects=tuple(f"person-{row // len(CLASS_NAMES)}" for row in range(count)),
        class_names=CLASS_NAMES,
    )
