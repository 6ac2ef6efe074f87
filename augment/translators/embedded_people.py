"""Embedded people as teachers for photographs that show nobody twice.

Most collections of photographs (FER2013, RAF-DB, AffectNet) know no person in two expressions, and without such pairs a
translator must guess what an expression changes. The embedded head (`augment.rig`) shows it: every person with every
class, with exact landmarks. What is learned from it is how pixels move, not what skin looks like, so it carries over
to photographs; their own pixels are moved. Nothing of it is in the papers.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F

from augment.core.progress import track
from augment.core.seeding import derive_seed
from augment.faces.tensors import FaceTensors, has_valid_landmarks, to_bytes_range
from augment.translators.base import CannotTranslateError
from augment.translators.pairs import LANDMARK_ADVICE

_DRAWN = 1.5  # edge of the drawing, in edges of the picture that is cut from it
_SMALLEST_DRAWING = 32
_CHUNK = 512
_YAW, _LARGEST_YAW = 12.0, 35.0  # degrees: its spread over people, and its bound
_WEAK_LIGHT = 0.25  # share of the people
# Independent noise of each landmark, as a share of the eyes' distance, so that what a translator takes for noise
# (`ExpressionShapes.clean`) is there as in detected points. Half a pixel or less of 48.
_LANDMARK_NOISE = 0.02
_GAMMA = 0.25  # standard deviation of its logarithm over people
_DARKEST, _BRIGHTEST = 0.02, 0.98  # quantiles that become black and white: photographs use their whole range
_FIRST_SUBJECT = 900_000_000  # beyond those of every preset, so that no run's embedded faces are of these people
_EYES, _NOSE = slice(36, 48), slice(31, 36)


def classes_not_shown(names: Sequence[str]) -> list[str]:
    """Which of these classes embedded people do not show, in their order."""
    from augment.rig import EXPRESSIONS  # the renderer is slow to import, and other teachers have no need of it

    return [name for name in names if name not in EXPRESSIONS]


def not_shown(method: str, unknown: Sequence[str]) -> str:
    """Says that a method is to be taught by embedded people, and which classes these do not show."""
    from augment.rig import EXPRESSIONS

    return (
        f"{method} is to be taught by embedded people (settings.teacher: embedded), who show "
        f"{', '.join(EXPRESSIONS)}, and not {', '.join(unknown)}"
    )


def check_taught(faces: FaceTensors, method: str) -> None:
    """Refuses photographs that embedded people can't teach a translator for.

    Args:
        faces: Training faces.
        method: Who is to be taught, for the message.

    Raises:
        CannotTranslateError: A class is none that embedded people show, or no face has landmarks.
    """
    unknown = classes_not_shown(sorted(faces.class_names))
    if unknown:
        raise CannotTranslateError(f"{not_shown(method, unknown)}. Leave the class out, or set teacher: own.")
    if faces.landmarks is None or not bool(has_valid_landmarks(faces.landmarks).any()):
        raise CannotTranslateError(
            f"{method} moves pixels by 68 landmarks, and no training face has any. {LANDMARK_ADVICE}"
        )


def embedded_people(like: FaceTensors, *, people: int) -> FaceTensors:
    """Draws people who show every class, framed as some photographs frame their faces.

    A person's pictures are cut so that the place and the size of the resting face are those of one of the photographs,
    drawn at random; the head is turned by a normal angle, the same in all. Each is stretched to its whole range of
    brightness, with a gamma that is the person's.

    Args:
        like: The photographs: their classes, size and channels, and the frames of those that have landmarks.
        people: How many.

    Returns:
        people x K faces with noisy landmarks on the photographs' device, person by person, class by class; the same for
        the same arguments.
    """
    from augment.rig import FaceSpec, render

    assert like.landmarks is not None  # `check_taught` has accepted them
    classes, size, channels = like.class_names, like.size, like.channels
    seed = derive_seed("embedded people")
    random = np.random.default_rng(seed)
    yaws = random.normal(0.0, _YAW, people).clip(-_LARGEST_YAW, _LARGEST_YAW).round(1)
    weak = random.random(people) < _WEAK_LIGHT
    specs = [
        FaceSpec(
            face_id=f"embedded-people/{person:05d}/{name}",
            subject=_FIRST_SUBJECT + person,
            expression=name,
            label=name,
            take=0,
            yaw=float(yaws[person]),
            illumination="weak" if weak[person] else "normal",
            intensity=None,
            split=None,
            subject_name=f"embedded-people-{person:05d}",
        )
        for person in range(people)
        for name in classes
    ]
    edge_drawn = max(_SMALLEST_DRAWING, round(_DRAWN * size))
    drawings = [
        render(specs[first : first + len(classes)], size=edge_drawn, channels=channels, seed=seed)
        for first in track(range(0, len(specs), len(classes)), desc="embedded teachers", unit="people")
    ]
    images = torch.from_numpy(np.concatenate([drawing.images for drawing in drawings])).permute(0, 3, 1, 2)
    points = torch.from_numpy(np.concatenate([drawing.landmarks for drawing in drawings]))
    generator = torch.Generator().manual_seed(seed)
    origin, edge = _frames(points, like, classes, generator)
    gamma = torch.exp(_GAMMA * torch.randn(people, generator=generator)).repeat_interleave(len(classes))
    pictures = [
        _cut(images[rows], origin[rows], edge[rows], gamma[rows], size)
        for rows in torch.arange(len(images)).split(_CHUNK)
    ]
    landmarks = (points - origin[:, None]) / edge[:, None, None]
    between = (landmarks[:, 36:42].mean(1) - landmarks[:, 42:48].mean(1)).norm(dim=1)
    landmarks += _LANDMARK_NOISE * between[:, None, None] * torch.randn(landmarks.shape, generator=generator)
    return FaceTensors(
        images=torch.cat(pictures),
        labels=torch.arange(len(classes)).repeat(people),
        landmarks=landmarks,
        masks=None,
        face_ids=tuple(spec.face_id for spec in specs),
        subjects=tuple(spec.subject_name for spec in specs),
        class_names=classes,
    ).to(like.images.device)


def _frame(landmarks: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Place [N, 2] and size [N] of faces: between eyes and nose, whose distance no expression changes by much."""
    eyes, nose = landmarks[:, _EYES].mean(1), landmarks[:, _NOSE].mean(1)
    return (eyes + nose) / 2, (nose - eyes)[:, 1]


def _frames(
    drawn: torch.Tensor, like: FaceTensors, classes: Sequence[str], generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """The cuts' upper left corners [N, 2] and edges [N], in 0..1 of the drawings with landmarks [N, 68, 2]."""
    assert like.landmarks is not None
    points = like.landmarks[has_valid_landmarks(like.landmarks)].float().cpu()
    places, sizes = _frame(points)
    # Heads that lie or look down have next to no such distance; a cut by it would show nothing but a nose.
    least, most = sizes.quantile(0.1), sizes.quantile(0.9)
    resting = classes.index("neutral") if "neutral" in classes else 0
    own_places, own_sizes = (part[resting :: len(classes)] for part in _frame(drawn))
    rows = torch.randint(len(points), (len(own_sizes),), generator=generator)
    edge = own_sizes / sizes[rows].clamp(least, most)
    origin = own_places - places[rows] * edge[:, None]
    return origin.repeat_interleave(len(classes), 0), edge.repeat_interleave(len(classes))


def _cut(
    images: torch.Tensor, origin: torch.Tensor, edge: torch.Tensor, gamma: torch.Tensor, size: int
) -> torch.Tensor:
    """Squares of drawings uint8 [N, C, H, W], whose edge is repeated beyond it, as photographs: uint8 of that size.

    Their dark and bright quantiles become 0 and 1, before gamma.
    """
    centres = (torch.arange(size) + 0.5) / size
    unit = torch.stack(torch.meshgrid(centres, centres, indexing="xy"), dim=-1)
    places = origin[:, None, None] + unit * edge[:, None, None, None]
    cut = F.grid_sample(images.float() / 255, 2 * places - 1, padding_mode="border", align_corners=False)
    low, high = cut.flatten(1).quantile(torch.tensor([_DARKEST, _BRIGHTEST]), dim=1)[:, :, None, None, None]
    stretched = ((cut - low) / (high - low).clamp_min(1e-3)).clamp(0, 1)
    return to_bytes_range(2 * stretched ** gamma[:, None, None, None] - 1)
