"""The parsing network P: which pixels are skin, lips, eyes. Trained first on masks, then frozen (LSSL section 3.1).

A U-Net (Ronneberger et al. 2015) of depthwise-separable blocks (Howard et al. 2017; Sandler et al. 2018). Whose masks
teach it, `augment.parsing.teachers` says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import nn
from torch.nn import functional as F

from augment.core.errors import InputError, Problem
from augment.core.progress import track
from augment.core.sealed_tensors import load_tensors, save_tensors
from augment.faces.table import MASK_CLASSES
from augment.faces.tensors import FaceTensors, to_unit_range
from augment.networks.layers import check_halvings
from augment.networks.schedules import one_cycle
from augment.parsing.augmentation import AppearanceAugmentation, augment_appearance

NO_MASK = 255
# With less of a part than this share of the picture, P has not found it: of 48 px, 4 pixels of lips or eyes.
LEAST_SHARES = {"skin": 0.1, "lips": 0.002, "eyes": 0.002}


class ParsingSettings(BaseModel):
    """How the parsing network is built and trained."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    width: int = Field(
        default=32, ge=4, le=256, description="features of the first level; each level below has twice as many"
    )
    levels: int = Field(default=3, ge=1, le=6, description="halvings between the top and the bottom of the U")
    blocks: int = Field(
        default=1, ge=1, le=8, description="blocks of each level, on the way down and on the way up; U-Net's are 2"
    )
    steps: int = Field(default=2000, ge=1, description="optimizer steps")
    batch_size: int = Field(default=16, ge=1, description="faces per step")
    learning_rate: float = Field(default=3e-3, gt=0, le=1, description="peak of a one-cycle schedule of AdamW")
    brightness: float = Field(
        default=0.3, ge=0, le=1, description="greatest shift of brightness, in units of the range -1..1"
    )
    contrast: float = Field(default=0.4, ge=0, lt=1, description="greatest relative change of contrast")
    noise: float = Field(
        default=0.05, ge=0, le=1, description="greatest standard deviation of added noise, range -1..1"
    )


class _ParsingForm(BaseModel):
    """What a file of weights says of its network."""

    model_config = ConfigDict(strict=True)

    channels: Literal[1, 3]
    size: int = Field(ge=1, le=4096)
    settings: dict[str, Any]


class DepthwiseSeparableBlock(nn.Module):
    """3x3 depthwise convolution -> batch norm -> ReLU -> 1x1 convolution -> batch norm -> ReLU (MobileNet)."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(in_features, in_features, 3, padding=1, groups=in_features, bias=False)
        self.depthwise_norm = nn.BatchNorm2d(in_features)
        self.pointwise = nn.Conv2d(in_features, out_features, 1, bias=False)
        self.pointwise_norm = nn.BatchNorm2d(out_features)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """[N, in_features, H, W] to [N, out_features, H, W]."""
        hidden = F.relu(self.depthwise_norm(self.depthwise(features)))
        return F.relu(self.pointwise_norm(self.pointwise(hidden)))


def _level(in_features: int, out_features: int, blocks: int) -> nn.Module:
    """The blocks of one level: the first changes the number of features."""
    first = DepthwiseSeparableBlock(in_features, out_features)
    if blocks == 1:  # by itself: its weights keep the names that they have in files
        return first
    return nn.Sequential(first, *(DepthwiseSeparableBlock(out_features, out_features) for _ in range(blocks - 1)))


class ParsingNetwork(nn.Module):
    """P: pictures to a score for each part and pixel.

    Args:
        channels: 1 or 3.
        size: Edge of the pictures in pixels, divisible by 2 ** levels.
        settings: Width, levels and blocks.

    Raises:
        InputError: The size can't be halved so often.
    """

    def __init__(self, *, channels: int, size: int, settings: ParsingSettings) -> None:
        super().__init__()
        check_halvings(size, settings.levels, "parsing.levels")
        self.channels = channels
        self.size = size
        self.settings = settings
        widths = [settings.width * 2**level for level in range(settings.levels + 1)]
        # The first convolution is a plain one: a depthwise one would see one or three features only.
        self.stem = nn.Conv2d(channels, widths[0], 3, padding=1)
        self.down = nn.ModuleList(
            _level(widths[max(level - 1, 0)], width, settings.blocks) for level, width in enumerate(widths)
        )
        self.up = nn.ModuleList(
            _level(widths[level] + widths[level + 1], widths[level], settings.blocks)
            for level in reversed(range(settings.levels))
        )
        self.head = nn.Conv2d(widths[0], len(MASK_CLASSES), 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Scores (logits) [N, 4, H, W] in the order of `MASK_CLASSES`, of images float [N, C, H, W] in -1..1."""
        features = F.relu(self.stem(images))
        passed: list[torch.Tensor] = []
        for level, block in enumerate(self.down):
            features = block(F.max_pool2d(features, 2) if level else features)
            passed.append(features)
        passed.pop()
        for block in self.up:
            # Nearest neighbours where U-Net convolves upwards: the 3x3 convolution of the block comes next anyway.
            wider = F.interpolate(features, scale_factor=2.0, mode="nearest")
            features = block(torch.cat([passed.pop(), wider], dim=1))
        return self.head(features)


@dataclass(frozen=True)
class Teacher:
    """Faces with masks that a parsing network learns from.

    Attributes:
        name: Whose masks they are, as reports say it.
        faces: The faces; those without a mask teach nothing. Training faces only.
        weight: Which share of the draws is theirs, beside the other teachers' weights.
        appearance: The strong augmentation; None for the mild one of `ParsingSettings`.
    """

    name: str
    faces: FaceTensors
    weight: float = 1.0
    appearance: AppearanceAugmentation | None = None


def train_parsing(
    teachers: FaceTensors | Sequence[Teacher],
    validation: FaceTensors | None,
    settings: ParsingSettings,
    seed: int,
    device: torch.device | str,
    held_out: FaceTensors | None = None,
) -> tuple[ParsingNetwork, dict[str, Any]]:
    """Trains the parsing network on faces with masks and freezes it.

    Each step draws faces by index, mirrors half of them together with their masks and varies brightness, contrast
    and noise; a teacher's faces may be augmented more strongly. Faces without a mask are left out, single pixels of 255
    are ignored.

    Args:
        teachers: Whose masks teach, or the fold's training faces, which then teach alone. No validation or test face.
        validation: Faces that the scores are computed on; where None, or where none has a mask, `held_out` is, else
            the first teacher's faces are, and the report says so.
        settings: How.
        seed: Seeds the weights and the draws.
        device: Where to train.
        held_out: Further faces with masks, of people who teach nothing, that are scored beside them.

    Returns:
        The frozen network (eval mode, no parameter wants a gradient) on `device`, and a report: `steps`, `loss` (mean
        of the last 50 steps), `teachers` (each one's `name`, `faces`, `share` of the draws and `augmentation`),
        `scored_on` (validation, held_out or train), `faces`, `intersection_over_union` by part, and
        `mean_intersection_over_union` of the parts other than background; `held_out` with the last three for the
        further faces, None without them.

    Raises:
        InputError: No face has a mask, the size can't be halved, or the teachers' pictures differ in form.
    """
    device = torch.device(device)
    if isinstance(teachers, FaceTensors):
        teachers = [Teacher("own masks", teachers)]
    usable = _usable_teachers(teachers)
    if not usable:
        raise InputError(
            Problem(
                "parsing",
                "no training face has a mask, so the parsing network can't be trained",
                "use a source with masks (rig, helen), another parsing.teacher.source, or set the translator's "
                "lambda_parsing=0",
            )
        )
    usable = [replace(teacher, faces=teacher.faces.to(device)) for teacher in usable]
    shares = torch.tensor([teacher.weight for teacher in usable], dtype=torch.float64)
    shares = shares / shares.sum()
    form = usable[0].faces
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = ParsingNetwork(channels=form.channels, size=form.size, settings=settings).to(device)
    generator = torch.Generator().manual_seed(seed)
    weights = _part_weights([_masks_of(teacher.faces) for teacher in usable], shares.tolist())
    # LSSL trains "all networks" by Adam at 1e-4, and does not say for how long P; AdamW in one cycle needs few steps.
    optimizer = torch.optim.AdamW(network.parameters(), lr=settings.learning_rate, weight_decay=1e-4)
    schedule = one_cycle(
        optimizer, peak=settings.learning_rate, steps=max(settings.steps, 2), rise=0.2, cycle_momentum=True
    )
    losses: list[torch.Tensor] = []
    network.train()
    progress = track(range(settings.steps), desc="parsing network", unit="steps")
    for step in progress:
        batch, target = _draw_batch(usable, shares, settings, generator)
        loss = F.cross_entropy(network(batch), target, weight=weights, ignore_index=NO_MASK)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(loss.detach())
        if step % 50 == 49:
            progress.set_postfix(loss=f"{float(torch.stack(losses[-50:]).mean()):.3f}")
    frozen = freeze_parsing(network)
    seen = _with_masks(validation) if validation is not None else None
    beside = None if held_out is None else _scores(frozen, held_out)
    if seen is not None:
        scores = {"scored_on": "validation", **_scores(frozen, seen)}
    elif beside is not None:
        scores = {"scored_on": "held_out", **beside}
    else:
        scores = {"scored_on": "train", **_scores(frozen, form)}
    report = {
        "steps": settings.steps,
        "loss": float(torch.stack(losses[-50:]).mean()),
        "teachers": [
            {
                "name": teacher.name,
                "faces": len(teacher.faces),
                "share": share,
                "augmentation": "strong" if teacher.appearance else "mild",
            }
            for teacher, share in zip(usable, shares.tolist(), strict=True)
        ],
        **scores,
        "held_out": beside,
    }
    return frozen, report


def freeze_parsing(network: ParsingNetwork) -> ParsingNetwork:
    """Puts the network in eval mode and takes its parameters out of every gradient."""
    return network.eval().requires_grad_(False)


@torch.no_grad()
def intersection_over_union(
    network: ParsingNetwork, images: torch.Tensor, masks: torch.Tensor, *, batch_size: int = 64
) -> dict[str, float]:
    """Intersection over union of each part, over all pixels of all faces.

    Args:
        network: P, in eval mode.
        images: uint8 [N, C, H, W].
        masks: uint8 [N, H, W]; pixels of 255 are ignored.
        batch_size: Faces at a time.

    Returns:
        One value in 0..1 for each of `MASK_CLASSES`; 1 where a part neither occurs nor is predicted.
    """
    count = len(MASK_CLASSES)
    device = next(network.parameters()).device
    confusion = torch.zeros(count * count, dtype=torch.int64)
    for start in range(0, len(images), batch_size):
        rows = slice(start, start + batch_size)
        predicted = network(to_unit_range(images[rows].to(device))).argmax(1).cpu()
        truth = masks[rows].cpu().long()
        known = truth != NO_MASK
        confusion += torch.bincount(truth[known] * count + predicted[known], minlength=count * count)
    table = confusion.view(count, count).double()
    shared, union = table.diagonal(), table.sum(0) + table.sum(1) - table.diagonal()
    values = torch.where(union > 0, shared / union.clamp(min=1), torch.ones_like(union))
    return dict(zip(MASK_CLASSES, values.tolist(), strict=True))


@torch.no_grad()
def parsing_statistics(network: ParsingNetwork, images: torch.Tensor, *, batch_size: int = 64) -> dict[str, Any]:
    """What P makes of faces whose masks nobody knows: areas, and how often it plainly fails. Counts, no pictures.

    Args:
        network: P, in eval mode.
        images: uint8 [N, C, H, W].
        batch_size: Faces at a time.

    Returns:
        `faces`; `areas`, each part's mean share of the picture; `failures`, the share of faces in which P finds less
        of a part than `LEAST_SHARES` say, for each of skin, lips and eyes and for `any` of them. None in place of the
        shares where there are no faces.
    """
    device = next(network.parameters()).device
    shares = torch.zeros(len(images), len(MASK_CLASSES), dtype=torch.float64)
    for start in range(0, len(images), batch_size):
        rows = slice(start, start + batch_size)
        predicted = network(to_unit_range(images[rows].to(device))).argmax(1)
        found = F.one_hot(predicted, len(MASK_CLASSES)).flatten(1, 2).double().mean(1)
        shares[rows] = found.cpu()
    failed = {part: shares[:, MASK_CLASSES.index(part)] < least for part, least in LEAST_SHARES.items()}
    failed["any"] = torch.stack(list(failed.values())).any(0)
    known = len(images) > 0
    return {
        "faces": len(images),
        "areas": dict(zip(MASK_CLASSES, shares.mean(0).tolist(), strict=True)) if known else None,
        "failures": {part: float(faces.double().mean()) for part, faces in failed.items()} if known else None,
        "least_shares": LEAST_SHARES,
    }


def save_parsing(network: ParsingNetwork, path: Path) -> None:
    """Writes weights and settings as safetensors, atomically."""
    # One block is left unsaid, so that a file is the same as before there could be more.
    unsaid = {"blocks"} if network.settings.blocks == 1 else None
    header = {
        "kind": "parsing",
        "channels": network.channels,
        "size": network.size,
        "settings": network.settings.model_dump(mode="json", exclude=unsaid),
    }
    save_tensors(network.state_dict(), path, header)


def load_parsing(path: Path, device: torch.device | str = "cpu") -> ParsingNetwork:
    """Reads a network written by `save_parsing`; it comes frozen.

    Raises:
        InputError: The file is absent, damaged, or holds something else.
    """
    tensors, header = load_tensors(path, "readable parsing network", "train it again")
    if header.get("kind") != "parsing":
        raise InputError(Problem(str(path), "holds no parsing network", "give the file that save_parsing wrote"))
    try:
        form = _ParsingForm.model_validate(header)
        settings = ParsingSettings.model_validate(form.settings)
        network = ParsingNetwork(channels=form.channels, size=form.size, settings=settings)
        network.load_state_dict(tensors)
    except (ValidationError, RuntimeError) as error:
        raise InputError(Problem(str(path), f"is no readable parsing network: {error}", "train it again")) from error
    return freeze_parsing(network).to(device)


def _with_masks(faces: FaceTensors) -> FaceTensors | None:
    """The faces that have a mask; None where none has."""
    if faces.masks is None:
        return None
    has_mask = (faces.masks != NO_MASK).flatten(1).any(1)
    if bool(has_mask.all()):
        return faces if len(faces) else None
    return faces.take(has_mask.nonzero()[:, 0]) if bool(has_mask.any()) else None


def _masks_of(faces: FaceTensors) -> torch.Tensor:
    assert faces.masks is not None
    return faces.masks


def _usable_teachers(teachers: Sequence[Teacher]) -> list[Teacher]:
    """The teachers that have masks, with the faces that do.

    Raises:
        InputError: Their pictures differ in size or channels.
    """
    usable = []
    for teacher in teachers:
        faces = _with_masks(teacher.faces)
        if faces is not None and teacher.weight > 0:
            usable.append(replace(teacher, faces=faces))
    forms = {(teacher.faces.channels, teacher.faces.size) for teacher in usable}
    if len(forms) > 1:
        shown = ", ".join(f"{channels} x {size} px" for channels, size in sorted(forms))
        raise InputError(Problem("parsing", f"the teachers' pictures differ in form: {shown}", "bring them to one"))
    return usable


def _draw_batch(
    teachers: Sequence[Teacher], shares: torch.Tensor, settings: ParsingSettings, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """A batch's pictures float [N, C, H, W] in -1..1 and masks int64 [N, H, W], each teacher's augmented its way."""
    counts = [settings.batch_size]
    if len(teachers) > 1:
        drawn = torch.multinomial(shares, settings.batch_size, replacement=True, generator=generator)
        counts = torch.bincount(drawn, minlength=len(teachers)).tolist()
    pictures, targets = [], []
    for teacher, count in zip(teachers, counts, strict=True):
        if not count:
            continue
        faces, masks = teacher.faces, _masks_of(teacher.faces)
        chosen = torch.randint(len(faces), (count,), generator=generator).to(masks.device)
        if teacher.appearance is None:
            picture, mask = _augment(to_unit_range(faces.images[chosen]), masks[chosen], settings, generator)
        else:
            picture, mask = augment_appearance(faces.images[chosen], masks[chosen], teacher.appearance, generator)
        pictures.append(picture)
        targets.append(mask.long())
    return torch.cat(pictures), torch.cat(targets)


def _scores(network: ParsingNetwork, faces: FaceTensors) -> dict[str, Any]:
    """`faces`, `intersection_over_union` by part and its mean over the parts other than background."""
    scores = intersection_over_union(network, faces.images, _masks_of(faces))
    mean = sum(scores[part] for part in MASK_CLASSES[1:]) / (len(MASK_CLASSES) - 1)
    return {"faces": len(faces), "intersection_over_union": scores, "mean_intersection_over_union": mean}


def _part_weights(masks: Sequence[torch.Tensor], shares: Sequence[float]) -> torch.Tensor:
    """Weights that let the small parts count: 1 / sqrt(share of the known pixels drawn), with mean 1 over them."""
    share = torch.zeros(len(MASK_CLASSES), device=masks[0].device)
    for areas, drawn in zip(masks, shares, strict=True):
        counts = torch.bincount(areas.flatten().long(), minlength=NO_MASK + 1)[: len(MASK_CLASSES)].float()
        share += drawn * counts / counts.sum()
    share = share.clamp(min=1e-4)
    weights = share.rsqrt()
    return weights / (weights * share).sum()


def _augment(
    images: torch.Tensor, masks: torch.Tensor, settings: ParsingSettings, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mirrors half of the faces with their masks, and varies contrast, brightness and noise."""
    count, device = len(images), images.device

    def uniform(low: float, high: float) -> torch.Tensor:
        return (low + (high - low) * torch.rand(count, 1, 1, 1, generator=generator)).to(device)

    mirrored = uniform(0, 1) < 0.5
    images = torch.where(mirrored, images.flip(3), images)
    masks = torch.where(mirrored[:, 0], masks.flip(2), masks)
    mean = images.mean((1, 2, 3), keepdim=True)
    images = mean + (images - mean) * uniform(1 - settings.contrast, 1 + settings.contrast)
    images = images + uniform(-settings.brightness, settings.brightness)
    deviation = uniform(0, settings.noise)
    images = images + deviation * torch.randn(images.shape, generator=generator).to(device)
    return images.clamp(-1, 1), masks
