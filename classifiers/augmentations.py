"""Classical augmentation of whole batches on the device that learns from them."""

from __future__ import annotations

import math
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator

from augment.core.seeding import seeded
from augment.faces.affine import sample_affine
from classifiers.settings import AugmentationName


class AugmentationSettings(BaseModel):
    """How strong an augmentation is. Everything is drawn anew for each picture in each batch.

    Attributes:
        flip: Probability of mirroring (flip, classical and randaugment).
        rotation: At most this many degrees either way (classical).
        translation: At most this share of the edge, either way and each axis (classical).
        scale: Smallest and largest size of the face, as a factor (classical).
        aspect: Smallest and largest width of the face over its height, as a factor (classical).
        brightness: At most this much is added or taken, of 0..1 (classical).
        contrast: Smallest and largest factor about the picture's mean (classical).
        shading: At most this share of the brightness is taken at one edge and added at the other, in a random
            direction, as by a light from there (classical).
        erasing: Probability that a rectangle of 2 to 20 % of the picture is painted over with the picture's mean
            (classical; random erasing, Zhong et al. 2020).
        operations: RandAugment's N: operations one after the other.
        magnitude: RandAugment's M, 0..30.
        mixup_alpha: Of the Beta distribution that mixup draws the share of a batch's own faces from; 1 draws every
            share alike, less leaves more faces nearly whole.
        cutmix_alpha: Likewise for the area that cutmix leaves.
        groups: RandAugment draws once for each of so many parts of a batch; the batch size draws for each picture
            (dear on a CPU), 1 for the whole batch.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    flip: float = Field(default=0.5, ge=0, le=1)
    rotation: float = Field(default=10.0, ge=0, le=180)
    translation: float = Field(default=0.06, ge=0, le=0.5)
    scale: tuple[float, float] = (0.9, 1.1)
    aspect: tuple[float, float] = (1.0, 1.0)
    brightness: float = Field(default=0.15, ge=0, le=1)
    contrast: tuple[float, float] = (0.75, 1.25)
    shading: float = Field(default=0.0, ge=0, le=1)
    erasing: float = Field(default=0.0, ge=0, le=1)
    operations: int = Field(default=2, ge=1, le=8)
    magnitude: int = Field(default=7, ge=0, le=30)
    groups: int = Field(default=8, ge=1)
    mixup_alpha: float = Field(default=0.2, gt=0, le=10)
    cutmix_alpha: float = Field(default=1.0, gt=0, le=10)

    @model_validator(mode="after")
    def _ranges(self) -> AugmentationSettings:
        for key in ("scale", "aspect", "contrast"):
            low, high = getattr(self, key)
            if not 0 < low <= high:
                raise ValueError(f"{key}: [{low}, {high}] is no range of factors; give 0 < lowest <= highest")
        return self


def augment_images(
    images: torch.Tensor,
    kind: AugmentationName,
    settings: AugmentationSettings,
    generator: torch.Generator,
) -> torch.Tensor:
    """Augments a batch.

    Args:
        images: uint8 [N, C, H, W] on any device.
        kind: none, flip, classical (flip, then aspect, scale, rotation and translation, then contrast, brightness,
            shading and erasing) or randaugment (flip, then RandAugment, Cubuk et al. 2020, by torchvision); mixup and
            cutmix are classical here, and mix faces afterwards (`mix_batch`).
        settings: How strong.
        generator: A CPU generator, the only source of randomness. What picture i gets depends on its place in the batch
            only, so that two arms with one seed augment alike.

    Returns:
        float32 [N, C, H, W] in 0..1 on the same device.
    """
    if kind == "none":
        return images.to(torch.float32) / 255.0
    count = len(images)
    uniform = torch.rand(count, 7, generator=generator)
    images = _mirror(images, uniform[:, 0] < settings.flip)
    if kind == "flip":
        return images.to(torch.float32) / 255.0
    if kind == "randaugment":
        return _randaugment(images, settings, generator).to(torch.float32) / 255.0
    signed = uniform[:, 1:] * 2 - 1
    further = torch.rand(count, 8, generator=generator)
    values = images.to(torch.float32) / 255.0
    values = transform_affine(
        values,
        degrees=signed[:, 0] * settings.rotation,
        # affine coordinates run from -1 to 1: two of them are one edge
        shift=2 * signed[:, 1:3] * settings.translation,
        scale=_between(uniform[:, 4], *settings.scale),
        aspect=_between(further[:, 0], *settings.aspect),
    )
    contrast = _between(uniform[:, 5], *settings.contrast).to(values.device).view(-1, 1, 1, 1)
    brightness = (signed[:, 5] * settings.brightness).to(values.device).view(-1, 1, 1, 1)
    mean = values.mean(dim=(1, 2, 3), keepdim=True)
    values = (values - mean) * contrast + mean + brightness
    if settings.shading:
        values = _shade(values, settings.shading * further[:, 1], 2 * math.pi * further[:, 2])
    values = values.clamp(0, 1)
    if settings.erasing:
        values = _erase(values, further[:, 3] < settings.erasing, further[:, 4:], mean)
    return values


def _shade(values: torch.Tensor, strength: torch.Tensor, direction: torch.Tensor) -> torch.Tensor:
    """Brightens pictures [N, C, H, W] towards a direction [N] in radians, by a strength [N] at the edge."""
    line = torch.linspace(-1, 1, values.shape[-1], device=values.device)
    x, y = (strength * torch.cos(direction)).to(line), (strength * torch.sin(direction)).to(line)
    slope = x.view(-1, 1, 1, 1) * line + y.view(-1, 1, 1, 1) * line.view(-1, 1)
    return values * (1 + slope)


def _erase(values: torch.Tensor, chosen: torch.Tensor, uniform: torch.Tensor, fill: torch.Tensor) -> torch.Tensor:
    """Paints a rectangle over of each chosen picture: [N, C, H, W], bool [N], in 0..1 [N, 4], [N, 1, 1, 1]."""
    size = values.shape[-1]
    area, ratio = _between(uniform[:, 0], 0.02, 0.2), torch.exp(_between(uniform[:, 1], math.log(0.5), math.log(2.0)))
    height, width = size * (area * ratio).sqrt(), size * (area / ratio).sqrt()
    top, left = uniform[:, 2] * (size - height), uniform[:, 3] * (size - width)
    line = torch.arange(size) + 0.5
    rows = (line > top[:, None]) & (line < (top + height)[:, None])
    columns = (line > left[:, None]) & (line < (left + width)[:, None])
    inside = (rows[:, :, None] & columns[:, None] & chosen[:, None, None]).unsqueeze(1)
    return torch.where(inside.to(values.device), fill, values)


def mix_batch(
    images: torch.Tensor,
    labels: torch.Tensor,
    classes: int,
    kind: Literal["mixup", "cutmix"],
    settings: AugmentationSettings,
    generator: torch.Generator,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mixes each face of a batch with another of it, real and synthetic ones alike; by torchvision.

    mixup (Zhang et al. 2018, section 2) averages two faces and their labels with the weights s and 1 - s; cutmix (Yun
    et al. 2019, section 3.1) puts a rectangle of one into the other, and weights the labels by area. One s is drawn
    for a batch, as in both papers' code.

    Args:
        images: float32 [N, C, H, W] in 0..1.
        labels: int64 [N].
        classes: Number of classes K.
        kind: Which of the two.
        settings: How strong.
        generator: A CPU generator, the only source of randomness.

    Returns:
        The mixed faces in random order, float32 [N, C, H, W], and the shares of the classes, float32 [N, K]; rows sum
        to 1.
    """
    from torchvision.transforms import v2

    order = torch.randperm(len(images), generator=generator).to(images.device)
    seed = int(torch.randint(2**62, (), generator=generator))
    mix = (
        v2.MixUp(alpha=settings.mixup_alpha, num_classes=classes)
        if kind == "mixup"
        else v2.CutMix(alpha=settings.cutmix_alpha, num_classes=classes)
    )
    # Faces are mixed with their neighbours, so they are shuffled first: a batch has its real faces in front.
    with seeded(seed):
        mixed, shares = mix(images[order], labels[order])
    return mixed, shares


def transform_affine(
    images: torch.Tensor,
    *,
    degrees: torch.Tensor,
    shift: torch.Tensor,
    scale: torch.Tensor,
    aspect: torch.Tensor | None = None,
) -> torch.Tensor:
    """Scales, turns, then shifts pictures about their centres; edges are replicated.

    Args:
        images: float32 [N, C, H, W], square.
        degrees: [N], anticlockwise as one sees the picture.
        shift: [N, 2], x to the right and y downwards, in half edges.
        scale: [N], above 1 makes the face larger.
        aspect: [N], above 1 makes the face wider and, by as much, lower; None: 1.

    Returns:
        float32 [N, C, H, W].
    """
    angle = degrees * (math.pi / 180)
    cosine, sine = torch.cos(angle), torch.sin(angle)
    root = torch.ones_like(scale) if aspect is None else aspect.sqrt()
    # Where an output pixel p comes from: the inverse of p = rotation * diag(width, height) * q + shift. y points down,
    # so an anticlockwise turn has the matrix [[cos, sin], [-sin, cos]], and its inverse [[cos, -sin], [sin, cos]].
    linear = torch.stack([torch.stack([cosine, -sine], 1), torch.stack([sine, cosine], 1)], 1)
    linear = linear / torch.stack([scale * root, scale / root], 1).unsqueeze(2)
    offset = -(linear @ shift.unsqueeze(2))
    return sample_affine(images, torch.cat([linear, offset], dim=2), padding="border")


def _mirror(images: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
    return torch.where(chosen.to(images.device).view(-1, 1, 1, 1), images.flip(-1), images)


def _between(uniform: torch.Tensor, low: float, high: float) -> torch.Tensor:
    return low + (high - low) * uniform


def _randaugment(images: torch.Tensor, settings: AugmentationSettings, generator: torch.Generator) -> torch.Tensor:
    from torchvision.transforms import v2

    transform = v2.RandAugment(
        num_ops=settings.operations,
        magnitude=settings.magnitude,
        interpolation=v2.InterpolationMode.BILINEAR,
        fill=128,
    )
    seed = int(torch.randint(2**62, (), generator=generator))
    groups = min(settings.groups, len(images))
    # torchvision draws from the global CPU generator; fence it, and seed it from ours.
    with seeded(seed):
        parts = [transform(part) for part in images.chunk(groups)]
    return torch.cat(parts)
