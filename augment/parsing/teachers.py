"""Whose masks teach the parsing network: the faces' own, Helen's, or those of embedded faces and landmarks' polygons.

Photographs have no masks. LSSL takes P from Helen (section 3.1), which few can give out again; where there is no copy,
embedded faces teach, drawn so variously that photographs are one more look (`augment.parsing.augmentation`), and
beside them, where a detector found landmarks, the photographs themselves by polygons (`augment.parsing.polygons`).

The embedded faces here are people of their own, whom no run's data set has: one lot teaches, another is scored on.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator

from augment.core.errors import InputError, Problem
from augment.core.seeding import derive_seed
from augment.faces.crops import FaceSquare, crop_image, crop_landmarks, crop_mask
from augment.faces.images import fit_image, fit_mask, plain_grey
from augment.faces.landmark_bounds import LANDMARK_COUNT
from augment.faces.licences import LicenceLine
from augment.faces.table import NO_MASK
from augment.faces.tensors import FaceTensors
from augment.parsing.augmentation import AppearanceAugmentation
from augment.parsing.polygons import polygon_masks
from augment.parsing.training import Teacher
from augment.sources.helen import HelenSource
from augment.sources.opening import open_class

# Where no copy of Helen is: the file that describes embedded faces. DVC takes no null for a path to depend on.
EMBEDDED = "conf/dataset/rig.yaml"
HELEN = "Helen"  # the teacher's name in reports: its terms hold for what its network helps to make
# Shares of the photograph-like faces: in the wild, turned by known angles, under three lights, of eight expressions and
# three gazes, in the studio.
_POPULATIONS = {"helen": 0.4, "bu3dfe": 0.2, "oulu_casia": 0.15, "rafd": 0.15, "mug": 0.1}
_DRAWN = "ferg"
_SMALLEST_DRAWING = 32
_ROOM = 1.23  # edge of a crop in longer sides of the face on it, as embedded faces have it


class TeacherSettings(BaseModel):
    """Whose masks teach the parsing network."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: Literal["auto", "own", "helen", "rig"] = Field(
        default="auto",
        description="own: the faces' own masks; helen: a copy of Helen at root; rig: embedded faces; auto: the first "
        "of these that there is.",
    )
    root: str = Field(
        default=EMBEDDED,
        description="Helen's folder; without one, its default, the file that describes embedded faces.",
    )
    settings: dict[str, Any] = Field(default_factory=dict, description="Of the source helen.")
    polygons: bool = Field(
        default=True, description="Whether training faces with landmarks teach too, where embedded faces do."
    )
    polygon_share: float = Field(default=0.5, gt=0, lt=1, description="Which share of the draws is theirs then.")
    faces: int = Field(default=1500, ge=1, le=100_000, description="Embedded faces that teach.")
    drawn_share: float = Field(default=0.1, ge=0, le=1, description="Of the embedded faces, that are drawn characters.")
    held_out_faces: int = Field(default=200, ge=1, le=10_000, description="Other embedded faces that are scored on.")
    augmentation: AppearanceAugmentation = Field(
        default_factory=AppearanceAugmentation, description="Of embedded faces that teach."
    )

    @model_validator(mode="after")
    def _helen_has_a_root(self) -> TeacherSettings:
        if self.source == "helen" and self.root == EMBEDDED:
            raise ValueError("source helen needs a root: name the folder that holds Helen")
        if self.source in ("own", "rig") and self.root != EMBEDDED:
            raise ValueError(f"source {self.source} reads no root: use helen or auto, or leave root {EMBEDDED}")
        return self

    @property
    def has_helen(self) -> bool:
        """Whether root names a copy of Helen."""
        return self.root != EMBEDDED


@dataclass(frozen=True)
class Lesson:
    """What a parsing network is trained with.

    Attributes:
        teachers: Whose masks teach, the most trusted first.
        validation: Faces with masks of the same kind that teach nothing; None where there are none.
        held_out: Embedded faces of people who teach nothing.
    """

    teachers: tuple[Teacher, ...]
    validation: FaceTensors | None
    held_out: FaceTensors


def choose_teachers(
    train: FaceTensors, validation: FaceTensors | None, settings: TeacherSettings, *, workspace: Path
) -> Lesson | str:
    """Finds the teachers of one fold.

    Args:
        train: The fold's training faces; of the run's own faces these alone may teach.
        validation: The fold's validation faces; own masks are scored on them.
        settings: Whose masks.
        workspace: The folder that a relative root starts from.

    Returns:
        The teachers and what is scored on, or the reason why there are none.

    Raises:
        InputError: Helen can't be read; lists every problem.
    """
    size, channels = train.size, train.channels
    own = train.masks is not None and bool((train.masks != NO_MASK).any())
    if settings.source == "own" and not own:
        return "the faces have no masks"
    held_out = embedded_faces(
        settings.held_out_faces, size=size, channels=channels, people="held out", drawn_share=settings.drawn_share
    )
    if settings.source == "own" or (settings.source == "auto" and own):
        return Lesson((Teacher("own masks", train),), validation, held_out)
    if settings.source == "helen" or (settings.source == "auto" and settings.has_helen):
        helen = helen_faces(workspace / settings.root, settings.settings, size=size, channels=channels)
        return Lesson((Teacher(HELEN, helen["train"]),), helen.get("held out"), held_out)
    drawn = embedded_faces(
        settings.faces, size=size, channels=channels, people="teachers", drawn_share=settings.drawn_share
    )
    teachers = [Teacher("embedded faces", drawn, appearance=settings.augmentation)]
    if settings.polygons and train.landmarks is not None:
        shown = replace(train, masks=polygon_masks(train.landmarks, size))
        found = int((shown.masks != NO_MASK).flatten(1).any(1).sum()) if shown.masks is not None else 0
        if found:
            teachers[0] = replace(teachers[0], weight=1 - settings.polygon_share)
            teachers.append(Teacher("polygons of landmarks", shown, weight=settings.polygon_share))
    return Lesson(tuple(teachers), None, held_out)


@lru_cache(maxsize=4)
def embedded_faces(count: int, *, size: int, channels: int, people: str, drawn_share: float = 0.1) -> FaceTensors:
    """Draws embedded faces of several populations: wild and studio, turned, under three lights, drawn characters.

    Args:
        count: How many.
        size: Edge in pixels; under 32 they are drawn larger and scaled.
        channels: 1 or 3.
        people: Whose faces; another name gives other people, none of which any run's data set has.
        drawn_share: Share of drawn characters.

    Returns:
        The faces with landmarks and masks, on the CPU; the same for the same arguments. Not to be changed in place.
    """
    from augment.rig import EXPRESSIONS, FaceSpec, preset, render  # a renderer, which other teachers have no need of

    seed = derive_seed("parsing network", people)
    shares = {name: share * (1 - drawn_share) for name, share in _POPULATIONS.items()} | {_DRAWN: drawn_share}
    chosen: list[FaceSpec] = []
    random = np.random.default_rng(seed)
    reached = 0.0
    for name, share in shares.items():
        reached += share
        wanted = round(count * reached) - len(chosen)
        if wanted:
            specs = preset(name, seed=seed, **_preset_size(name, wanted)).specs
            chosen += [specs[row] for row in np.sort(random.choice(len(specs), wanted, replace=False))]
    edge = size * math.ceil(_SMALLEST_DRAWING / size)
    drawn = render(chosen, size=edge, channels=channels, seed=seed)
    images = np.stack([fit_image(plain_grey(image), size, channels) for image in drawn.images])
    masks = np.stack([fit_mask(mask, size) for mask in drawn.masks])
    return FaceTensors(
        images=torch.from_numpy(images).permute(0, 3, 1, 2).contiguous(),
        labels=torch.tensor([EXPRESSIONS.index(spec.expression) for spec in chosen]),
        landmarks=torch.from_numpy(drawn.landmarks),
        masks=torch.from_numpy(masks),
        face_ids=tuple(f"{people}/{spec.face_id}" for spec in chosen),
        subjects=tuple(f"{people}/{spec.subject}" for spec in chosen),
        class_names=tuple(EXPRESSIONS),
        yaw=torch.tensor([spec.yaw for spec in chosen], dtype=torch.float32),
        sources=tuple(spec.style for spec in chosen),
    )


def _preset_size(name: str, wanted: int) -> dict[str, int]:
    """Settings that make a population large enough, of as many people as the number of faces is worth."""
    if name == "helen":
        return {"count": wanted}
    if name == _DRAWN:
        return {"faces_per_class": math.ceil(wanted / 42)}
    return {"subjects": math.ceil(wanted / (3 if name == "mug" else 6))}


def teacher_terms(teachers: Iterable[Teacher]) -> tuple[LicenceLine, ...]:
    """The terms of what taught a network beside the run's own faces and embedded ones: Helen's, where it did.

    They hold for whatever the network helps to make.
    """
    if not any(teacher.name == HELEN for teacher in teachers):
        return ()
    terms = HelenSource.terms
    return (LicenceLine(data_set=HelenSource.title, line=terms.licence, terms=terms),)


def helen_faces(root: Path, settings: Mapping[str, Any], *, size: int, channels: int) -> dict[str, FaceTensors]:
    """Reads a copy of Helen for the parsing network, cropped to the faces by their masks.

    Args:
        root: Its folder.
        settings: The source's settings.
        size: Edge in pixels to which crops and masks are brought.
        channels: 1 or 3.

    Returns:
        `train`: the faces of its training split, or all where it has no splits; `held out`: the others, where there
        are any.

    Raises:
        InputError: It can't be read whole, or holds no face with a mask; lists every problem.
    """
    source = open_class(HelenSource, "helen", root, settings)
    problems: list[Problem] = []
    rows: dict[str, list[dict[str, Any]]] = {"train": [], "held out": []}
    for face in source.faces():
        if isinstance(face, Problem):
            problems.append(face)
        elif face.mask is not None:
            square = _square_about(face.mask, *face.image.shape[:2])
            picture = crop_image(face.image, square, size)
            points = np.full((LANDMARK_COUNT, 2), np.nan, np.float32)
            if face.landmarks is not None:
                points = crop_landmarks(face.landmarks, square)
            # Whole photographs are large: only what is learned from stays.
            rows["train" if face.split in ("train", None) else "held out"].append(
                {
                    "name": f"helen/{face.name}",
                    "subject": face.subject,
                    "label": source.class_names.index(face.label_name),
                    "image": fit_image(picture, size, channels),
                    "mask": crop_mask(face.mask, square, size),
                    "landmarks": points,
                }
            )
    if problems:
        count = len(problems)
        raise InputError(problems, f"parsing.teacher: {count} problem{'s' * (count != 1)} in {root}:")
    if not rows["train"]:
        fix = "name a copy with its training faces, or set parsing.teacher.source to rig"
        raise InputError(Problem(str(root), "holds no training face with a mask", fix))
    return {
        split: FaceTensors(
            images=torch.from_numpy(np.stack([row["image"] for row in faces])).permute(0, 3, 1, 2).contiguous(),
            labels=torch.tensor([row["label"] for row in faces]),
            landmarks=torch.from_numpy(np.stack([row["landmarks"] for row in faces])),
            masks=torch.from_numpy(np.stack([row["mask"] for row in faces])),
            face_ids=tuple(row["name"] for row in faces),
            subjects=tuple(row["subject"] for row in faces),
            class_names=tuple(source.class_names),
        )
        for split, faces in rows.items()
        if faces
    }


def _square_about(mask: np.ndarray, height: int, width: int) -> FaceSquare:
    """The square about what a mask [h, w] calls a face, on a picture of height x width; the central one without any."""
    rows, columns = np.nonzero(mask)
    if not len(rows):
        return FaceSquare((width / 2, height / 2), float(min(height, width)), 0.0, height, width)
    # Single pixels that a labelling left about don't count.
    top, bottom = (np.quantile(rows, [0.005, 0.995]) + 0.5) * height / mask.shape[0]
    left, right = (np.quantile(columns, [0.005, 0.995]) + 0.5) * width / mask.shape[1]
    edge = _ROOM * max(bottom - top, right - left, 1.0)
    return FaceSquare((float(left + right) / 2, float(top + bottom) / 2), float(edge), 0.0, height, width)
