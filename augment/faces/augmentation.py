"""Augmentation of the faces that a translator learns from: turned, cropped, scaled, sheared, of another contrast.

The choices are those that the BiCoGAN work compares (Sherman and Mamia, section 4; mirroring, its sixth, is the loop's
`mirror`). There each is a run of its own, with one augmented copy beside every face, made by imgaug; here a share of
the faces is drawn for it and each is augmented anew. Whatever moves a picture moves its landmarks and masks alike.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Literal

import torch
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from augment.faces.affine import Interpolation, Padding, sample_affine
from augment.faces.table import NO_MASK
from augment.faces.tensors import FaceTensors

_PADDING: dict[str, Padding] = {"black": "zeros", "edge": "border", "reflection": "reflection"}


def _range_between(smallest: float, largest: float) -> AfterValidator:
    def check(value: tuple[float, float]) -> tuple[float, float]:
        low, high = value
        if not smallest <= low <= high <= largest:
            raise ValueError(f"give [lowest, highest] with {smallest:g} <= lowest <= highest <= {largest:g}")
        return value

    return AfterValidator(check)


Degrees = Annotated[tuple[float, float], _range_between(-180, 180)]
ShearDegrees = Annotated[tuple[float, float], _range_between(-80, 80)]
SideShare = Annotated[tuple[float, float], _range_between(0, 0.45)]
Factor = Annotated[tuple[float, float], _range_between(0.1, 10)]


class TrainingAugmentation(BaseModel):
    """What is drawn for each augmented face, as [lowest, highest]; null = left alone, the default of all.

    The published values are in the descriptions. Of the shear the text says "0 to 0.2", but the released code says 0 to
    20, and imgaug takes degrees: a fifth of a degree would move no pixel of 48, so the code is followed.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    share: float = Field(
        default=0.5, ge=0, le=1, description="Of the faces, which are augmented; 0.5: a copy beside each."
    )
    rotate: Degrees | None = Field(default=None, description="Degrees clockwise; published [-50, 30].")
    crop: SideShare | None = Field(
        default=None, description="Share of the edge that is cut off, drawn for each side apart; published [0, 0.2]."
    )
    scale_x: Factor | None = Field(default=None, description="Width's factor; published [1, 1.5].")
    scale_y: Factor | None = Field(default=None, description="Height's factor; published [1, 1.5].")
    shear: ShearDegrees | None = Field(
        default=None, description="Degrees by which upright lines lean to the right; published [0, 20]."
    )
    gamma: Factor | None = Field(
        default=None, description="Exponent of grey values 0..1, above 1 darkens; published [2, 2]."
    )
    fill: Literal["black", "edge", "reflection"] = Field(
        default="black", description="What lies beyond the picture; black as published."
    )

    @property
    def moves(self) -> bool:
        """Whether anything changes place."""
        return any(value is not None for value in (self.rotate, self.crop, self.scale_x, self.scale_y, self.shear))

    @property
    def active(self) -> bool:
        """Whether anything is changed at all."""
        return self.share > 0 and (self.moves or self.gamma is not None)


def augment_faces(faces: FaceTensors, settings: TrainingAugmentation, generator: torch.Generator) -> FaceTensors:
    """Augments a share of the faces: crop, scale, shear and turn about the centre in one step, then contrast.

    Args:
        faces: N faces on any device.
        settings: What is drawn for each.
        generator: A CPU generator, the only source of randomness; untouched where the settings change nothing.

    Returns:
        The faces, images, simulated faces, landmarks and masks changed together. Landmarks may come to lie outside 0..1
        with the part of the face that is cut off; masks are background there. The others are as they were, to the bit.
    """
    if not settings.active or not len(faces):
        return faces
    # A fixed amount for each face, so that a run differs from another by what is switched on, and by nothing else.
    uniform = torch.rand(len(faces), 10, generator=generator)
    device = faces.images.device
    chosen = (uniform[:, 0] < settings.share).to(device)
    images, simulated, landmarks, masks = faces.images, faces.simulated, faces.landmarks, faces.masks
    if settings.moves:
        linear, centre = _draw_affine(settings, uniform[:, 1:9])
        # Where an output pixel comes from: the inverse map.
        origins = torch.cat([torch.linalg.inv(linear), centre[:, :, None]], dim=2).to(device)
        images = _sample(images, origins, settings.fill)
        if simulated is not None:
            simulated = _sample(simulated, origins, settings.fill)
        if masks is not None:
            moved = _sample(masks[:, None], origins, settings.fill, interpolation="nearest")[:, 0]
            has_mask = (masks != NO_MASK).flatten(1).any(dim=1)
            masks = torch.where(has_mask[:, None, None], moved, masks)
        if landmarks is not None:
            landmarks = _move_landmarks(landmarks, linear.to(device), centre.to(device))
    if settings.gamma is not None:
        exponents = _between(uniform[:, 9], settings.gamma).to(device)
        images = _gamma_contrast(images, exponents)
        simulated = None if simulated is None else _gamma_contrast(simulated, exponents)
    return replace(
        faces,
        images=torch.where(chosen[:, None, None, None], images, faces.images),
        simulated=_where(chosen, simulated, faces.simulated),
        landmarks=_where(chosen, landmarks, faces.landmarks),
        masks=_where(chosen, masks, faces.masks),
    )


def _move_landmarks(landmarks: torch.Tensor, linear: torch.Tensor, centre: torch.Tensor) -> torch.Tensor:
    """Landmarks [N, 68, 2] in 0..1 moved by p -> linear (p - centre) in -1..1; rows of NaN stay NaN."""
    points = landmarks * 2 - 1 - centre[:, None]
    return (points @ linear.transpose(1, 2) + 1) / 2


def _draw_affine(settings: TrainingAugmentation, uniform: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The maps p -> linear (p - centre) in -1..1, y downwards: float32 [N, 2, 2] and [N, 2]; `uniform` is [N, 8]."""
    sides = _between(uniform[:, 0:4], settings.crop or (0.0, 0.0))
    left, right, top, bottom = sides.unbind(1)
    centre = torch.stack([left - right, top - bottom], dim=1)
    width = _between(uniform[:, 4], settings.scale_x or (1.0, 1.0)) / (1 - left - right)
    height = _between(uniform[:, 5], settings.scale_y or (1.0, 1.0)) / (1 - top - bottom)
    lean = torch.tan(torch.deg2rad(_between(uniform[:, 6], settings.shear or (0.0, 0.0))))
    angle = torch.deg2rad(_between(uniform[:, 7], settings.rotate or (0.0, 0.0)))
    cosine, sine = torch.cos(angle), torch.sin(angle)
    # [[cos, -sin], [sin, cos]] [[1, -lean], [0, 1]] diag(width, height); y points down, so this turns clockwise.
    first = torch.stack([cosine * width, sine * width], dim=1)
    second = torch.stack([-(cosine * lean + sine) * height, (cosine - sine * lean) * height], dim=1)
    return torch.stack([first, second], dim=2), centre


def _sample(
    pictures: torch.Tensor, origins: torch.Tensor, fill: str, interpolation: Interpolation = "bilinear"
) -> torch.Tensor:
    """uint8 [N, C, H, W], each pixel taken from where its affine map [N, 2, 3] says."""
    moved = sample_affine(pictures.to(torch.float32), origins, padding=_PADDING[fill], interpolation=interpolation)
    return moved.round().clamp(0, 255).to(torch.uint8)


def _gamma_contrast(pictures: torch.Tensor, exponents: torch.Tensor) -> torch.Tensor:
    """uint8 [N, C, H, W] to 255 (v / 255) ^ exponent."""
    values = (pictures.to(torch.float32) / 255).pow(exponents.view(-1, 1, 1, 1))
    return (values * 255).round().to(torch.uint8)


def _between(uniform: torch.Tensor, limits: tuple[float, float]) -> torch.Tensor:
    return limits[0] + (limits[1] - limits[0]) * uniform


def _where(chosen: torch.Tensor, new: torch.Tensor | None, old: torch.Tensor | None) -> torch.Tensor | None:
    if new is None or old is None:
        return None
    return torch.where(chosen.view(-1, *[1] * (old.ndim - 1)), new, old)
