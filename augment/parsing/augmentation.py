"""Strong augmentation of drawn faces' looks, so that what is learned of them holds for photographs too.

Where a renderer's faces teach, all that differs between its pictures and a camera's is drawn at random, so that no
look of the renderer is worth learning (domain randomization; Tobin et al. 2017, "Domain randomization for transferring
deep neural networks from simulation to the real world"). Small moves, another background, occluders; then light,
colour, contrast, sharpness, noise, compression. Only the first three change masks; the others the picture alone.
"""

from __future__ import annotations

import math
from functools import cache

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch.nn import functional as F

from augment.faces.augmentation import Factor, TrainingAugmentation, augment_faces
from augment.faces.table import MASK_CLASSES, NO_MASK
from augment.faces.tensors import FaceTensors

_BACKGROUND = MASK_CLASSES.index("background")
_LUMA = (0.299, 0.587, 0.114)  # ITU-R 601, as the prepared faces' grey
# Luminance steps at quality 50 (JPEG, ITU-T T.81, annex K, table K.1).
_QUANTIZATION = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)


class AppearanceAugmentation(BaseModel):
    """How far each face's look may go; every effect is drawn for each face apart, with the same probability."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    probability: float = Field(default=0.5, ge=0, le=1, description="Of each effect, that a face gets it.")
    mirror: bool = Field(default=True, description="Whether half of the faces are mirrored.")
    geometry: TrainingAugmentation = Field(
        default=TrainingAugmentation(
            share=0.8,
            rotate=(-20, 20),
            crop=(0.0, 0.12),
            scale_x=(0.9, 1.25),
            scale_y=(0.9, 1.25),
            shear=(-8, 8),
            fill="edge",
        ),
        description="Moves of picture and mask alike.",
    )
    background: bool = Field(default=True, description="Whether what the mask calls background may be replaced.")
    occluders: int = Field(default=2, ge=0, le=8, description="At most so many things in front; background there.")
    occluder_size: float = Field(
        default=0.35, gt=0, le=1, description="Greatest length of one, as a share of the edge."
    )
    light: float = Field(default=0.9, ge=0, le=3, description="Greatest log of the light from one side to the other.")
    grey: float = Field(default=0.3, ge=0, le=1, description="Share of colour pictures that turn grey.")
    tint: float = Field(default=0.3, ge=0, le=1, description="Greatest log of one colour's light against the others.")
    gamma: Factor = Field(default=(0.55, 1.8), description="Exponent of values 0..1; above 1 darkens.")
    contrast: Factor = Field(default=(0.4, 1.4), description="Factor about the picture's mean.")
    brightness: float = Field(default=0.2, ge=0, le=1, description="Greatest shift, as a share of the range.")
    blur: float = Field(default=0.02, ge=0, le=0.2, description="Greatest deviation, as a share of the edge.")
    resample: float = Field(
        default=0.4, gt=0, le=1, description="Smallest size that a picture is brought to and back from; 1: none."
    )
    noise: float = Field(default=0.05, ge=0, le=1, description="Greatest deviation, as a share of the range.")
    quality: int = Field(default=15, ge=1, le=100, description="Least quality of JPEG-like blocks; 100: none.")


def augment_appearance(
    images: torch.Tensor, masks: torch.Tensor, settings: AppearanceAugmentation, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Draws another look for each face.

    Args:
        images: uint8 [N, C, H, W] on any device.
        masks: uint8 [N, H, W], indices into `MASK_CLASSES`; 255 where unknown.
        settings: How far.
        generator: A CPU generator, the only source of randomness.

    Returns:
        Pictures float32 [N, C, H, W] in -1..1, and masks uint8. Masks move with their pictures; occluded pixels become
        background, unknown ones stay unknown.
    """
    if settings.geometry.active:
        images, masks = _move(images, masks, settings.geometry, generator)
    draw = _Draw(len(images), images.device, settings.probability, generator)
    pictures = images.to(torch.float32) / 255
    if settings.mirror:
        flipped = draw.uniform(0, 1) < 0.5
        pictures = torch.where(flipped, pictures.flip(3), pictures)
        masks = torch.where(flipped[:, 0], masks.flip(2), masks)
    if settings.background:
        pictures = _replace_background(pictures, masks, draw)
    if settings.occluders:
        pictures, masks = _occlude(pictures, masks, settings, draw)
    if settings.light:
        pictures = pictures * _light(pictures, settings.light, draw)
    if pictures.shape[1] == 3:
        pictures = _recolour(pictures, settings, draw)
    exponent = draw.happens(draw.uniform(*settings.gamma, logarithmic=True), 1.0)
    pictures = pictures.clamp(1e-4, 1).pow(exponent)
    mean = pictures.mean((1, 2, 3), keepdim=True)
    pictures = mean + (pictures - mean) * draw.happens(draw.uniform(*settings.contrast, logarithmic=True), 1.0)
    pictures = pictures + draw.happens(draw.uniform(-settings.brightness, settings.brightness), 0.0)
    if settings.blur:
        pictures = _blur(pictures, draw.happens(draw.uniform(0, settings.blur), 0.0))
    if settings.resample < 1:
        pictures = _resample(pictures, draw.happens(draw.uniform(settings.resample, 1), 1.0))
    if settings.noise:
        deviation = draw.happens(draw.uniform(0, settings.noise), 0.0)
        pictures = pictures + deviation * draw.normal(*pictures.shape[1:])
    if settings.quality < 100:
        quality = draw.happens(draw.uniform(settings.quality, 95), 100.0)
        pictures = _block_artefacts(pictures.clamp(0, 1), quality, draw.integers(8, 2))
    return pictures.clamp(0, 1) * 2 - 1, masks


class _Draw:
    """Random numbers for N faces: values [N, 1, 1, 1], drawn on the CPU so that every device sees the same."""

    def __init__(self, count: int, device: torch.device, probability: float, generator: torch.Generator) -> None:
        self.count, self.device, self.probability, self.generator = count, device, probability, generator

    def uniform(self, low: float, high: float, logarithmic: bool = False, columns: int = 1) -> torch.Tensor:
        values = torch.rand(self.count, columns, 1, 1, generator=self.generator)
        if logarithmic:
            return torch.exp(math.log(low) + (math.log(high) - math.log(low)) * values).to(self.device)
        return (low + (high - low) * values).to(self.device)

    def normal(self, *shape: int) -> torch.Tensor:
        return torch.randn(self.count, *shape, generator=self.generator).to(self.device)

    def integers(self, below: int, count: int) -> list[int]:
        return torch.randint(below, (count,), generator=self.generator).tolist()

    def happens(self, value: torch.Tensor, otherwise: float) -> torch.Tensor:
        """The value for the faces that get the effect, what changes nothing for the others."""
        drawn = torch.rand(self.count, 1, 1, 1, generator=self.generator) < self.probability
        return torch.where(drawn.to(self.device), value, torch.full_like(value, otherwise))

    def texture(self, channels: int, size: int) -> torch.Tensor:
        """Smooth random pictures [N, C, size, size] in 0..1: noise of four octaves about a random colour."""
        picture = self.uniform(0, 1, columns=channels).expand(-1, -1, size, size)
        for cells in (2, 4, 8, 16):
            noise = self.normal(channels, cells, cells) * self.uniform(0, 0.25)
            picture = picture + F.interpolate(noise, size=(size, size), mode="bilinear", align_corners=False)
        return picture.clamp(0, 1)


def _move(
    images: torch.Tensor, masks: torch.Tensor, settings: TrainingAugmentation, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """The geometry of `augment.faces.augmentation`, on pictures and masks alone."""
    count = len(images)
    labels = torch.zeros(count, dtype=torch.int64, device=images.device)
    faces = FaceTensors(images, labels, None, masks, ("",) * count, (None,) * count, ())
    moved = augment_faces(faces, settings, generator)
    assert moved.masks is not None
    return moved.images, moved.masks


def _replace_background(pictures: torch.Tensor, masks: torch.Tensor, draw: _Draw) -> torch.Tensor:
    """Puts a random texture behind some of the faces; the edge is as soft as a pixel."""
    behind = (masks == _BACKGROUND).to(torch.float32)[:, None]
    # Not across the edge: a pixel of the face keeps its value.
    share = behind * F.avg_pool2d(F.pad(behind, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    share = share * draw.happens(torch.ones(draw.count, 1, 1, 1, device=draw.device), 0.0)
    return pictures + share * (draw.texture(*pictures.shape[1:3]) - pictures)


def _occlude(
    pictures: torch.Tensor, masks: torch.Tensor, settings: AppearanceAugmentation, draw: _Draw
) -> tuple[torch.Tensor, torch.Tensor]:
    """Lays turned bars and discs of random texture over some of the faces."""
    size = pictures.shape[2]
    line = (torch.arange(size, device=pictures.device) + 0.5) / size
    y, x = line[:, None], line[None, :]
    for _ in range(settings.occluders):
        centre, angle = draw.uniform(0, 1, columns=2), draw.uniform(0, math.pi)
        half = draw.uniform(0.03, max(0.5 * settings.occluder_size, 0.03), columns=2)
        right, down = x - centre[:, :1], y - centre[:, 1:]
        along = (angle.cos() * right + angle.sin() * down) / half[:, :1]
        across = (angle.cos() * down - angle.sin() * right) / half[:, 1:]
        round_ones = draw.uniform(0, 1) < 0.5
        extent = torch.where(round_ones, along.square() + across.square(), torch.maximum(along.abs(), across.abs()))
        covered = (extent < 1) & (draw.happens(torch.ones_like(angle), 0.0) > 0)
        pictures = torch.where(covered, draw.texture(*pictures.shape[1:3]), pictures)
        masks = torch.where(covered[:, 0] & (masks != NO_MASK), torch.full_like(masks, _BACKGROUND), masks)
    return pictures, masks


def _light(pictures: torch.Tensor, greatest: float, draw: _Draw) -> torch.Tensor:
    """Factors [N, 1, H, W] of a light that falls from one side, 1 in the middle."""
    size = pictures.shape[2]
    line = (torch.arange(size, device=pictures.device) + 0.5) / size - 0.5
    angle = draw.uniform(0, 2 * math.pi)
    strength = draw.happens(draw.uniform(0, greatest), 0.0)
    return torch.exp(strength * (angle.cos() * line[None, :] + angle.sin() * line[:, None]))


def _recolour(pictures: torch.Tensor, settings: AppearanceAugmentation, draw: _Draw) -> torch.Tensor:
    tint = draw.uniform(-settings.tint, settings.tint, columns=3)
    pictures = pictures * torch.exp(draw.happens(tint, 0.0))
    luma = (pictures * pictures.new_tensor(_LUMA).view(1, 3, 1, 1)).sum(1, keepdim=True)
    return torch.where(draw.uniform(0, 1) < settings.grey, luma.expand_as(pictures), pictures)


def _blur(pictures: torch.Tensor, deviations: torch.Tensor) -> torch.Tensor:
    """Gaussian blur of each picture by its own deviation [N, 1, 1, 1], a share of the edge; 0 changes nothing."""
    count, channels, size, _ = pictures.shape
    sigma = (deviations.view(count, 1) * size).clamp(min=1e-3)
    reach = max(1, math.ceil(2.5 * float(sigma.max())))
    offsets = torch.arange(-reach, reach + 1, device=pictures.device)
    kernel = torch.exp(-0.5 * (offsets / sigma).square())
    kernel = (kernel / kernel.sum(1, keepdim=True)).repeat_interleave(channels, 0)
    stacked = F.pad(pictures.reshape(1, count * channels, size, size), (reach,) * 4, mode="replicate")
    stacked = F.conv2d(stacked, kernel[:, None, None, :], groups=count * channels)
    return F.conv2d(stacked, kernel[:, None, :, None], groups=count * channels).view_as(pictures)


def _resample(pictures: torch.Tensor, factors: torch.Tensor) -> torch.Tensor:
    """Each picture scaled down by its factor [N, 1, 1, 1] and up again, as small photographs are."""
    size = pictures.shape[2]
    small = (factors.flatten() * size).round().clamp(1, size).int().tolist()
    rows = []
    for picture, edge in zip(pictures.split(1), small, strict=True):
        if edge < size:
            picture = F.interpolate(picture, size=(edge, edge), mode="bilinear", antialias=True, align_corners=False)
            picture = F.interpolate(picture, size=(size, size), mode="bilinear", align_corners=False)
        rows.append(picture)
    return torch.cat(rows)


@cache
def _cosines() -> torch.Tensor:
    """The orthonormal 8-point DCT-II, [8, 8]; rows are frequencies."""
    n = torch.arange(8, dtype=torch.float64)
    matrix = torch.cos(math.pi * (2 * n + 1) * n[:, None] / 16) * 0.5
    matrix[0] *= math.sqrt(0.5)
    return matrix.float()


def _block_artefacts(pictures: torch.Tensor, qualities: torch.Tensor, shift: list[int]) -> torch.Tensor:
    """What JPEG's quantization of 8 x 8 blocks does, channel by channel.

    Args:
        pictures: float32 [N, C, H, W] in 0..1.
        qualities: [N, 1, 1, 1], 1..100 as libjpeg counts; 100 changes nothing.
        shift: Where the first block begins, rows and columns beyond the picture, 0..7 each.

    Returns:
        float32 [N, C, H, W].
    """
    size = pictures.shape[2]
    top, left = shift
    padding = (left, -(size + left) % 8, top, -(size + top) % 8)
    padded = F.pad(pictures, padding, mode="replicate") * 255 - 128
    high, wide = padded.shape[2] // 8, padded.shape[3] // 8
    blocks = padded.unflatten(3, (wide, 8)).unflatten(2, (high, 8)).transpose(3, 4)
    cosines = _cosines().to(pictures.device)
    frequencies = cosines @ blocks @ cosines.T
    scale = torch.where(qualities < 50, 5000 / qualities.clamp(min=1), 200 - 2 * qualities) / 100
    steps = (pictures.new_tensor(_QUANTIZATION) * scale.view(-1, 1, 1, 1, 1, 1) + 0.5).floor().clamp(min=1)
    restored = cosines.T @ ((frequencies / steps).round() * steps) @ cosines
    restored = restored.transpose(3, 4).flatten(2, 3).flatten(3, 4)
    restored = (restored[:, :, top : top + size, left : left + size] + 128) / 255
    return torch.where(qualities < 100, restored, pictures)
