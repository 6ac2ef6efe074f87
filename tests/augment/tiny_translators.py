"""Tiny translators for tests of the training loop, and the child processes that the tests kill."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from augment.core import checkpoints
from augment.core.seeding import seeded
from augment.faces.tensors import FaceTensors, to_bytes_range, to_unit_range
from augment.training import loop, outputs, publish
from augment.training.loop import train_translator
from augment.training.settings import TrainingSettings
from augment.translators import create_translator
from augment.translators.base import AdversarialTranslator, Batch, FittedTranslator, TranslatorSettings

CLASS_NAMES = ("angry", "happy", "neutral")
SIZE = 16


def tiny_faces(count: int = 24, *, seed: int = 0, prefix: str = "face", landmarks: bool = True) -> FaceTensors:
    """Noise pictures whose mean tells the class; unbalanced; one face lacks landmarks."""
    chance = np.random.default_rng(seed)
    labels = np.minimum(chance.integers(0, 5, count), 2)
    labels[:3] = (0, 1, 2)
    images = np.clip(chance.normal(60 + 60 * labels[:, None, None, None], 30, (count, 1, SIZE, SIZE)), 0, 255)
    points = chance.uniform(0.1, 0.9, (count, 68, 2)).astype(np.float32)
    points[3:4] = np.nan
    return FaceTensors(
        images=torch.from_numpy(images.astype(np.uint8)),
        labels=torch.from_numpy(labels.astype(np.int64)),
        landmarks=torch.from_numpy(points) if landmarks else None,
        masks=None,
        face_ids=tuple(f"{prefix}-{number}" for number in range(count)),
        subjects=(None,) * count,
        class_names=CLASS_NAMES,
    )


class TinySettings(TranslatorSettings):
    width: int = 4
    explode_at: int | None = None  # generator step whose reconstruction term is infinite
    spoil_at: int | None = None  # generator step whose gradient is infinite though its loss is finite


class TinyGan(AdversarialTranslator):
    """A GAN of a few convolutions that has all that makes resuming hard.

    Dropout (the global generator), a drawn interpolation (the batch's generator), batch norm (buffers), a lazy term,
    and a parameter that belongs to neither network.
    """

    name = "tiny"
    Settings = TinySettings
    settings: TinySettings

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        width = self.settings.width
        inputs = self.channels + 2 + self.num_classes
        self.body = nn.Sequential(
            nn.Conv2d(inputs, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(), nn.Dropout(0.3)
        )
        self.head = nn.Conv2d(width, self.channels, 3, padding=1)
        self.critic = nn.Sequential(nn.Conv2d(self.channels, width, 4, 2, 1), nn.LeakyReLU(0.1), nn.Flatten())
        self.scores = nn.Linear(width * (self.size // 2) ** 2, 1 + self.num_classes)
        self.untouched = nn.Parameter(torch.ones(2))

    def generator_parameters(self) -> Iterable[nn.Parameter]:
        return [*self.body.parameters(), *self.head.parameters()]

    def discriminator_parameters(self) -> Iterable[nn.Parameter]:
        return [*self.critic.parameters(), *self.scores.parameters()]

    def side_input(self, faces: FaceTensors) -> torch.Tensor | None:
        """Two planes: how far left and right halves' landmarks lie; exchanged when a face is mirrored."""
        if faces.landmarks is None:
            return torch.zeros(len(faces), 2, self.size, self.size)
        columns = torch.arange(self.size) / self.size
        halves = torch.stack([faces.landmarks[:, :8, 0].mean(1), faces.landmarks[:, 9:17, 0].mean(1)], 1).nan_to_num(
            0.5
        )
        return (columns - halves[..., None])[:, :, None, :].expand(-1, -1, self.size, -1).contiguous()

    def generate(self, images: torch.Tensor, side: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
        planes = F.one_hot(classes, self.num_classes).to(images)[:, :, None, None].expand(-1, -1, self.size, self.size)
        return torch.tanh(self.head(self.body(torch.cat([images, side, planes], 1))))

    def judge(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        scores = self.scores(self.critic(images))
        return scores[:, 0], scores[:, 1:]

    def discriminator_losses(self, batch: Batch) -> dict[str, torch.Tensor]:
        assert batch.side_input is not None
        with torch.no_grad():
            fake = self.generate(batch.images, batch.side_input, batch.targets)
        share = torch.rand(len(fake), 1, 1, 1, generator=batch.generator)
        mixed = self.judge(share * fake + (1 - share) * batch.images)[0]
        real, classes = self.judge(batch.images)
        terms = {
            "adversarial": F.softplus(-real).mean() + F.softplus(self.judge(fake)[0]).mean(),
            "classification": F.cross_entropy(classes, batch.labels),
            "mixed": 0.1 * mixed.square().mean(),
        }
        if batch.step % 3 == 0:
            terms["lazy"] = 0.1 * real.square().mean()
        return terms

    def generator_losses(self, batch: Batch) -> dict[str, torch.Tensor]:
        assert batch.side_input is not None
        fake = self.generate(batch.images, batch.side_input, batch.targets)
        real, classes = self.judge(fake)
        reconstruction = (fake - batch.images).abs().mean()
        if batch.step == self.settings.explode_at:
            reconstruction = reconstruction / 0
        if batch.step == self.settings.spoil_at:
            reconstruction = reconstruction + 0 * (fake[0, 0, 0, 0] * 0).sqrt()  # finite, but its gradient is 0 * inf
        return {
            "adversarial": F.softplus(-real).mean(),
            "classification": F.cross_entropy(classes, batch.targets),
            "reconstruction": reconstruction,
        }

    @torch.no_grad()
    def translate(
        self, faces: FaceTensors, targets: torch.Tensor, generator: torch.Generator | None = None
    ) -> torch.Tensor:
        side = self.side_input(faces)
        assert side is not None
        return to_bytes_range(self.generate(to_unit_range(faces.images), side, targets))


class TinyFit(FittedTranslator):
    """Adds the difference of class means."""

    name = "tiny-fit"
    Settings = TinySettings

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.register_buffer("means", torch.zeros(self.num_classes))
        self.fits = 0

    def fit(self, faces: FaceTensors) -> Mapping[str, Any]:
        self.fits += 1
        for label in range(self.num_classes):
            self.means[label] = faces.images[faces.labels == label].float().mean()
        return {"means": [round(value, 3) for value in self.means.tolist()]}

    def translate(
        self, faces: FaceTensors, targets: torch.Tensor, generator: torch.Generator | None = None
    ) -> torch.Tensor:
        shift = self.means[targets] - self.means[faces.labels]
        return (faces.images + shift[:, None, None, None]).clamp(0, 255).to(torch.uint8)


def tiny_gan(seed: int = 5, **settings: Any) -> TinyGan:
    with seeded(seed):
        return TinyGan(num_classes=3, channels=1, size=SIZE, settings=TinySettings(**settings))


def tiny_training(**changes: Any) -> TrainingSettings:
    settings: dict[str, Any] = {
        "steps": 23,
        "batch_size": 4,
        "discriminator_steps": 2,
        "generator_learning_rate": 2e-3,
        "discriminator_learning_rate": 1e-3,
        "ema_decay": 0.9,
        "log_every": 4,
        "sample_every": 6,
        "sample_faces": 3,
        "validate_every": 5,
        "checkpoint_every": 3,
    }
    return TrainingSettings(**(settings | changes))


def closeness(translator: Any, step: int) -> float:
    """A score that rises and falls: which step is best is not the last one."""
    faces = tiny_faces(12, seed=9, prefix="validation")
    if translator.size != SIZE:
        faces = larger(faces)
    moved = (translator.translate(faces, faces.labels).float() - faces.images.float()).abs().mean().item()
    return -moved - 40.0 * (step > 15)


def tiny_method(name: str) -> Any:
    """A real method, made small; 32 px are the least that its discriminator takes."""
    settings: dict[str, Any] = {"width": 4, "downs": 2, "residual_blocks": 1, "cycle_every": 2, "lambda_r1": 0.1}
    if name == "lssl":
        settings["lambda_parsing"] = 0.0
    return create_translator(name, num_classes=3, channels=1, size=32, settings=settings, seed=1)


def larger(faces: FaceTensors) -> FaceTensors:
    return replace(faces, images=faces.images.repeat_interleave(2, -1).repeat_interleave(2, -2))


def train_tiny(out: Path, scratch: Path, method: str = "tiny", **changes: Any) -> publish.TrainingResult:
    faces, validation = tiny_faces(), tiny_faces(12, seed=9, prefix="validation")
    if method != "tiny":
        faces, validation = larger(faces), larger(validation)
    return train_translator(
        tiny_gan() if method == "tiny" else tiny_method(method),
        faces,
        validation,
        tiny_training(**changes),
        out=out,
        scratch=scratch,
        seed=3,
        validate=closeness,
    )


def _kill_self(*_: Any, **__: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def train_child(
    out: str, scratch: str, kill_where: str = "", kill_count: int = 0, slow: float = 0.0, method: str = "tiny"
) -> None:
    """Trains in a child process, and kills it with SIGKILL at a place in the code, at the n-th time.

    Args:
        out: As for `train_translator`.
        scratch: As for `train_translator`.
        kill_where: `tensors` (half the tensors' file is written), `state` (the tensors are whole, the rest is not),
            `rename` (all but the rename), `prune` (the old checkpoint is half deleted), `log` (half a line),
            `sample` (a sheet is half written), `publish` (before the weights are written), `report` (after).
        kill_count: At which time, from 1.
        slow: Seconds that each checkpoint takes longer, for a parent that waits for one.
        method: `tiny`, or the name of a real translator.
    """
    torch.set_num_threads(1)
    left = [kill_count]

    def due() -> bool:
        left[0] -= 1
        return left[0] == 0

    def before(module: Any, name: str, act: Any) -> None:
        original = getattr(module, name)

        def patched(*arguments: Any, **keywords: Any) -> Any:
            if due():
                act(original, *arguments, **keywords)
                _kill_self()
            return original(*arguments, **keywords)

        setattr(module, name, patched)

    def half_the_tensors(original: Any, tensors: Any, path: Path) -> None:
        original(tensors, path)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    def half_a_deletion(original: Any, folder: Path, **_: Any) -> None:
        next(iter(sorted(folder.iterdir()))).unlink()

    if kill_where == "tensors":
        before(checkpoints, "save_file", half_the_tensors)
    elif kill_where == "state":
        before(checkpoints, "_flush", _kill_self)
    elif kill_where == "rename":
        original_rename = Path.rename
        Path.rename = lambda path, target: (  # type: ignore[method-assign, assignment]
            _kill_self() if path.suffix == ".part" and due() else original_rename(path, target)
        )
    elif kill_where == "prune":
        original_remove = shutil.rmtree

        def remove(folder: Any, **keywords: Any) -> None:
            if str(folder).endswith(".old") and Path(folder).exists() and due():
                half_a_deletion(original_remove, Path(folder))
                _kill_self()
            original_remove(folder, **keywords)

        checkpoints.shutil.rmtree = remove  # type: ignore[assignment]
    elif kill_where == "log":
        original_line = outputs.RunOutputs.write_line

        def half_a_line(self: Any, values: Any) -> None:
            if due():
                with (self.out / "log.jsonl").open("a") as file:
                    file.write('{"step": 9')
                _kill_self()
            original_line(self, values)

        outputs.RunOutputs.write_line = half_a_line  # type: ignore[method-assign]
    elif kill_where == "sample":
        before(outputs, "atomic_write_bytes", lambda original, path, data: path.write_bytes(data[:20]))
    elif kill_where == "publish":
        before(loop, "publish", lambda original, *_, **__: None)
    elif kill_where == "report":
        before(publish, "sha256_of_file", lambda original, *_: None)
    if slow:
        import time

        original_save = checkpoints.save_file

        def slow_save(tensors: Any, path: Path) -> None:
            original_save(tensors, path)
            time.sleep(slow)

        checkpoints.save_file = slow_save
    train_tiny(Path(out), Path(scratch), method, **({} if method == "tiny" else {"steps": 9}))
