"""Teaches the parsing network (`augment.parsing.network`) on faces with masks."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch.nn import functional as F

from augment.core.checkpoints import Checkpoint
from augment.core.errors import InputError, Problem
from augment.core.progress import track
from augment.core.training_checkpoints import TrainingCheckpoints
from augment.faces.table import MASK_CLASSES, NO_MASK
from augment.faces.tensors import FaceTensors, to_unit_range
from augment.networks.moments import read_moments, restore_moments
from augment.networks.schedules import one_cycle
from augment.parsing.augmentation import AppearanceAugmentation, augment_appearance
from augment.parsing.network import ParsingNetwork, ParsingSettings, freeze_parsing
from augment.parsing.scores import intersection_over_union

_LOSSES = 50  # steps whose mean loss is shown


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


@dataclass
class _State:
    """All that changes in the training."""

    network: ParsingNetwork
    optimizer: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LRScheduler
    generator: torch.Generator
    step: int = 0
    losses: deque[torch.Tensor] = field(default_factory=lambda: deque(maxlen=_LOSSES))

    def mean_loss(self) -> float:
        """Of the last 50 steps, or of all where they are fewer."""
        return float(torch.stack(list(self.losses)).mean())

    def tensors(self) -> dict[str, torch.Tensor]:
        """Weights, moments, the last losses, and the generator's state."""
        weights = {f"network/{name}": value for name, value in self.network.state_dict().items()}
        moments = {f"optimizer/{name}": value for name, value in read_moments(self.optimizer, self._names).items()}
        return weights | moments | {"losses": torch.stack(list(self.losses)), "chance": self.generator.get_state()}

    def values(self) -> dict[str, Any]:
        """The schedule, and what it has set."""
        group = self.optimizer.param_groups[0]
        return {"schedule": self.schedule.state_dict(), "lr": group["lr"], "betas": group["betas"]}

    def log(self) -> list[dict[str, float]]:
        """Nothing: the report says the last losses."""
        return []

    def load(self, checkpoint: Checkpoint) -> None:
        """Puts everything back to where it was."""
        self.network.load_state_dict(checkpoint.group("network"))
        restore_moments(self.optimizer, self._names, checkpoint.group("optimizer"))
        self.schedule.load_state_dict(checkpoint.state["schedule"])
        # The schedule sets both at a step; the optimizer, made anew, has those of the first.
        self.optimizer.param_groups[0]["lr"] = checkpoint.state["lr"]
        self.optimizer.param_groups[0]["betas"] = tuple(checkpoint.state["betas"])
        self.generator.set_state(checkpoint.tensors["chance"])
        device = next(self.network.parameters()).device
        self.losses.extend(checkpoint.tensors["losses"].to(device).unbind())
        self.step = checkpoint.step

    @property
    def _names(self) -> list[str]:
        return [name for name, _ in self.network.named_parameters()]


def train_parsing(
    teachers: FaceTensors | Sequence[Teacher],
    validation: FaceTensors | None,
    settings: ParsingSettings,
    seed: int,
    device: torch.device | str,
    held_out: FaceTensors | None = None,
    checkpoints: TrainingCheckpoints | None = None,
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
        checkpoints: Where the training is kept: killed at any moment and called again with the same arguments, it goes
            on to the same network. The caller deletes them. None: a training that is killed begins anew.

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
    state = _State(network, optimizer, schedule, generator)
    if checkpoints is not None:
        checkpoints.resume(state)
    network.train()
    progress = track(
        range(state.step + 1, settings.steps + 1),
        total=settings.steps,
        initial=state.step,
        desc="parsing network",
        unit="steps",
    )
    for step in progress:
        batch, target = _draw_batch(usable, shares, settings, generator)
        loss = F.cross_entropy(network(batch), target, weight=weights, ignore_index=NO_MASK)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
        state.losses.append(loss.detach())
        state.step = step
        if step % _LOSSES == 0:
            progress.set_postfix(loss=f"{state.mean_loss():.3f}")
        if checkpoints is not None:
            checkpoints.keep(state)
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
        "loss": state.mean_loss(),
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
