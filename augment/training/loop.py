"""The one training loop: every translator goes through `train_translator`.

A translator owns its networks and losses. The loop owns the optimizers, the schedule, precision, averaging, progress,
the log, the sample sheets, checkpoints, and the choice of what is published.
"""

from __future__ import annotations

import json
import math
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict, Field, field_validator
from torch import nn

from augment.core.errors import InputError, Problem
from augment.core.files import atomic_write_bytes, atomic_write_text, sha256_of_file
from augment.core.progress import track
from augment.core.seeding import derive_seed, seeded
from augment.faces.augmentation import TrainingAugmentation
from augment.faces.tensors import FaceTensors
from augment.training.batches import BatchMaker
from augment.training.checkpoints import Checkpoint, clear_leftovers, newest_checkpoint, write_checkpoint
from augment.training.ema import MovingAverage
from augment.training.fingerprint import run_fingerprint
from augment.training.loss_log import LossTerms
from augment.training.samples import choose_rows, sample_sheet
from augment.translators.base import Batch, FittedTranslator, LearnedTranslator, Translator

Validate = Callable[[Translator, int], float]

# Log fields that tell of time; two runs of one seed agree in all others.
TIMING_FIELDS = ("seconds", "images_per_second")


class TrainingSettings(BaseModel):
    """Settings of the training loop; the weights of losses belong to the translator.

    The defaults are LSSL's (section 4: Adam with 1e-4 and betas 0.5 and 0.999, batch 8, five discriminator steps a
    generator step, linear decay to 0 after the first 100 epochs, mirroring). The text gives no run length: it is read
    as 200 epochs of 500 iterations (fig. 11: 100 epochs are 50,000), five iterations a generator step. Later work added
    the moving average of weights and the evenly drawn target classes.

    Steps are generator steps throughout. There is no limit by time: what a clock cuts off can't be repeated.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    # The run
    steps: int = Field(default=20_000, ge=1, description="Generator steps of the run.")
    batch_size: int = Field(default=8, ge=1, description="Faces per batch.")
    discriminator_steps: int = Field(
        default=5, ge=1, description="Discriminator steps, each on its own batch, a generator step."
    )

    # Adam and its schedule
    generator_learning_rate: float = Field(
        default=1e-4, gt=0, le=1, description="Adam's learning rate for the generator."
    )
    discriminator_learning_rate: float = Field(default=1e-4, gt=0, le=1, description="Adam's for the discriminator.")
    betas: tuple[float, float] = Field(
        default=(0.5, 0.999), description="Adam's decay rates of the two moments, 0 <= b < 1."
    )
    decay_start_share: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="Share of the run after which the learning rates fall linearly to 0; 1 = never.",
    )
    average_decay: float = Field(
        default=0.999,
        ge=0,
        lt=1,
        description="Decay of the moving average of the generator's weights, a step; 0 = no average.",
    )

    # The batches
    balanced_targets: bool = Field(
        default=True, description="Wanted classes are drawn evenly; else they are the batch's own labels, shuffled."
    )
    balanced_sources: bool = Field(default=False, description="Faces are drawn evenly over classes; else as they come.")
    mirror: bool = Field(default=True, description="Faces are mirrored at random, picture and landmarks together.")
    augmentation: TrainingAugmentation = Field(
        default_factory=TrainingAugmentation, description="Of the faces that are learned from; none by default."
    )
    precision: Literal["float32", "bfloat16", "float16"] = Field(
        default="float32", description="Of the forward pass; float16 scales its losses and needs a CUDA device."
    )

    # What is written when (in steps)
    log_every: int = Field(default=50, ge=1, description="Steps a line of log.jsonl; terms are means over these steps.")
    sample_every: int = Field(default=1_000, ge=1, description="Steps a sample sheet; one is also drawn at the end.")
    sample_faces: int = Field(default=8, ge=1, le=64, description="Rows of a sample sheet.")
    validate_every: int = Field(
        default=2_000, ge=1, description="Steps between validations; one is also made at the end."
    )
    checkpoint_every: int = Field(
        default=500, ge=1, description="Steps a checkpoint; a killed run loses at most so many."
    )

    @field_validator("betas")
    @classmethod
    def _betas_in_range(cls, betas: tuple[float, float]) -> tuple[float, float]:
        if not all(0 <= beta < 1 for beta in betas):
            raise ValueError("each beta must be at least 0 and below 1, for example [0.5, 0.999]")
        return betas

    def learning_rate_factor(self, step: int, steps: int | None = None) -> float:
        """What the learning rates are multiplied with at a step, from 0: 1, then falling linearly towards 0.

        Args:
            step: The step of the phase.
            steps: The phase's steps; the whole run's by default.
        """
        steps = self.steps if steps is None else steps
        start = self.decay_start_share * steps
        return 1.0 if step < start else (steps - step) / (steps - start)


class TrainingDivergedError(FloatingPointError):
    """A loss, a weight or a score is no longer finite.

    Attributes:
        step: The generator step at which it was seen, from 0.
        term: Which term, for example `discriminator/adversarial`.
        checkpoint: The last good checkpoint's folder; None if there is none yet.
        checkpoint_step: The number of finished steps that it holds.
    """

    def __init__(self, step: int, term: str, value: float, checkpoint: Path | None, checkpoint_step: int) -> None:
        self.step = step
        self.term = term
        self.checkpoint = checkpoint
        self.checkpoint_step = checkpoint_step
        good = (
            f"the last good checkpoint is {checkpoint}, after {checkpoint_step} steps"
            if checkpoint
            else "there is no checkpoint yet"
        )
        super().__init__(
            f"training diverged at step {step}: {term} is {value}; {good}. Lower the learning rates or the weight of "
            "this loss and train anew in an empty scratch folder: the same run would diverge again"
        )


@dataclass(frozen=True)
class TrainingResult:
    """What a training came to.

    Attributes:
        weights: The published weights' file; read it with `augment.translators.load_translator`.
        weights_sha256: Of that file.
        steps: Steps made; 0 for a fitted translator.
        best_step: The steps after which the published weights were taken.
        best_score: Their validation score; None without validation.
        scores: (steps, score) of every validation.
        facts: What `fit` told; empty for a learned translator.
        seconds: Of training, over all sessions of a resumed run.
        resumed_from: The steps that the checkpoint held from which this session went on; None if it began anew.
    """

    weights: Path
    weights_sha256: str
    steps: int
    best_step: int
    best_score: float | None
    scores: tuple[tuple[int, float], ...]
    facts: Mapping[str, Any]
    seconds: float
    resumed_from: int | None


def train_translator(
    translator: Translator,  # on any device; holds the initial weights, holds the published ones afterwards
    train: FaceTensors,  # the fold's training rows, and nothing else
    validation: FaceTensors | None,  # rows that `validate` uses; refused where they overlap `train`
    settings: TrainingSettings,  # of the loop; a fitted translator uses `sample_faces` alone
    *,
    out: Path,  # gets weights.safetensors, training.json, log.jsonl, samples/step-000500.png
    scratch: Path,  # gets the checkpoints; the caller's to delete once `out` is safe
    seed: int,  # of batches, targets, mirroring and all chance within losses
    device: torch.device | str = "cpu",
    validate: Validate | None = None,  # (translator with averaged weights, steps) -> score, higher is better
) -> TrainingResult:
    """Trains or fits a translator, and publishes its best weights.

    Kill it at any moment and call it again with the same arguments: it goes on from its last checkpoint, to weights and
    a log that are bit-identical (CPU; the log but for `TIMING_FIELDS`) to an undisturbed run's. An interrupt (Ctrl-C)
    ends the step, writes a checkpoint, and is raised. A call after the end publishes again and trains nothing.

    The published weights are the averaged ones of the validated step with the highest score, the earlier of two equals;
    without `validate`, of the last step. `validate` must come to the same score for the same weights and step.

    Args:
        translator: The translator. A fitted one (`FittedTranslator`) is fitted at once, without checkpoints. Its
            initial weights are the caller's: make it with `create_translator(..., seed=...)`, so that they depend on a
            seed too.
        train: N training faces, on any device; they are held as bytes on `device`.
        validation: Faces of no training row. The loop itself never learns from them.
        settings: The loop's settings.
        out: Folder of the results. The log and the sample sheets grow during the run and are put back if the folder was
            deleted before a resume; the weights and training.json appear at the end.
        scratch: Folder of the checkpoints, this run's alone.
        seed: The run's seed.
        device: Where to compute.
        validate: Scores the translator in evaluation mode.

    Returns:
        Where the weights lie, and how the run went.

    Raises:
        InputError: The faces do not fit the translator, validation faces are among the training faces, another run
            holds `scratch`, or its checkpoints are another run's (the message names what differs).
        CannotTranslateError: The faces lack what the translator needs.
        TrainingDivergedError: A loss term is not finite.
        KeyboardInterrupt: The run was interrupted; it can be resumed.
    """
    out, scratch, device = Path(out), Path(scratch), torch.device(device)
    _check_faces(translator, train, validation, settings, device)
    translator.check(train)
    out.mkdir(parents=True, exist_ok=True)
    scratch.mkdir(parents=True, exist_ok=True)
    lock = FileLock(scratch / "lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise InputError(
            Problem(
                str(scratch), "another run is writing here", "wait for its end, or give this run its own scratch folder"
            )
        ) from error
    try:
        with seeded(derive_seed(seed, "training"), device), _benchmarked(device):
            if isinstance(translator, LearnedTranslator):
                fingerprint = run_fingerprint(translator, train, validation, settings, seed, device)
                run = _Run(translator.to(device), train.to(device), settings, out, scratch, seed, validate, fingerprint)
                return run.whole()
            if isinstance(translator, FittedTranslator):
                return _fit(translator.to(device), train.to(device), settings, out, seed, validate)
            raise TypeError(f"{type(translator).__name__} is neither a LearnedTranslator nor a FittedTranslator")
    finally:
        lock.release()


class _Run:
    """One training run of a learned translator, from the first step or a checkpoint to the published weights."""

    def __init__(
        self,
        translator: LearnedTranslator,
        train: FaceTensors,
        settings: TrainingSettings,
        out: Path,
        scratch: Path,
        seed: int,
        validate: Validate | None,
        fingerprint: Mapping[str, Any],
    ) -> None:
        self.translator = translator
        self.train = train
        self.settings = settings
        self.out = out
        self.scratch = scratch
        self.seed = seed
        self.validate = validate
        self.fingerprint = fingerprint
        self.device = train.images.device
        self.chance = torch.Generator().manual_seed(derive_seed(seed, "batches"))
        self.networks = _networks(translator, settings, self.device)
        self.batches = BatchMaker(
            translator,
            train,
            batch_size=settings.batch_size,
            balanced_sources=settings.balanced_sources,
            balanced_targets=settings.balanced_targets,
            mirror=settings.mirror,
            augmentation=settings.augmentation,
        )
        self.phases = _phases(translator, settings.steps)
        self.phase = self.phases[0]
        discriminator = set(self.networks["discriminator"].names)
        averaged = [name for name in translator.state_dict() if name not in discriminator]
        self.average = MovingAverage(translator, averaged, settings.average_decay)
        self.averaged_names = averaged
        # Working memory: what is no weight, but what the next step depends on.
        published = set(translator.state_dict())
        self.memory = {name: buffer for name, buffer in translator.named_buffers() if name not in published}
        self.terms = LossTerms(synchronous=self.device.type == "cpu")
        self.step = 0  # finished steps
        self.log = ""
        self.scores: list[tuple[int, float]] = []
        self.best: dict[str, torch.Tensor] | None = None
        self.best_step = 0
        self.best_score: float | None = None
        self.checkpoint: Path | None = None
        self.checkpoint_step = 0
        self.resumed_from: int | None = None
        self.seconds_before = 0.0
        self.began = time.monotonic()
        self.interval_began = self.began
        self.interval_first_step = 0

    # The run

    def whole(self) -> TrainingResult:
        """Resumes or begins, trains, publishes."""
        clear_leftovers(self.scratch)
        checkpoint = newest_checkpoint(self.scratch, self.fingerprint)
        if checkpoint is not None:
            self._restore(checkpoint)
        self._restore_outputs()
        settings = self.settings
        self._set_phase()
        self.began = self.interval_began = time.monotonic()
        self.interval_first_step = self.step
        progress = track(total=settings.steps, initial=self.step, desc=f"train {self.translator.name}", unit="steps")
        try:
            with progress, _deferred_interrupt() as interrupted:
                while self.step < settings.steps:
                    self._one_step()
                    progress.update()
                    ended = self.step == settings.steps
                    if self.step % settings.log_every == 0 or ended:
                        progress.set_postfix(self._write_log_line(), refresh=False)
                    if self.step % settings.sample_every == 0 or ended:
                        self._write_samples()
                    due = self.step % settings.validate_every == 0 and self.step > self.phases[-1].start
                    if self.validate is not None and (due or ended):
                        self._validate()
                    if self.step % settings.checkpoint_every == 0 or ended or interrupted.is_set():
                        self._write_checkpoint()
                    if interrupted.is_set():
                        raise KeyboardInterrupt
        finally:
            for network in self.networks.values():
                network.thaw()
            self.translator.eval()
        return self._publish()

    def _one_step(self) -> None:
        """Some discriminator steps and a generator step."""
        settings = self.settings
        if self.step == self.phase.stop:
            self._set_phase()
        factor = self._learning_rate_factor(self.step)
        for network in self.networks.values():
            if network.optimizer is not None:
                for group in network.optimizer.param_groups:
                    group["lr"] = network.learning_rate * factor
        repeats = settings.discriminator_steps if self.networks["discriminator"].moving(self.phase) else 1
        for repeat in range(repeats):
            batch = self.batches.draw(
                self.chance,
                step=self.step * repeats + repeat,
                total_steps=settings.steps * repeats,
                turn=self.step,
                phase=self.phase.name,
            )
            self._update("discriminator", batch)
        # The generator answers the batch that its discriminator saw last.
        answered = replace(batch, step=self.step, total_steps=settings.steps, epoch=batch.epoch / repeats)
        self._update("generator", answered)
        self.average.update()
        self.step += 1

    def _set_phase(self) -> None:
        """Goes to the phase of the next step: what it does not move is frozen, as its average if it just came to rest.

        It depends on the weights at the phase's first step alone, so that a run killed right before or after is the
        same.
        """
        phase = next(phase for phase in reversed(self.phases) if phase.start <= min(self.step, self.settings.steps - 1))
        if self.step == phase.start and phase is not self.phases[0]:
            before = self.phases[self.phases.index(phase) - 1]
            for name in self.average.values:
                if before.moves_name(name) and not phase.moves_name(name):
                    self.average.settle(name)
            self.average.updates = 0  # what begins to learn now forgets its random beginning as fast as the first did
        self.phase = phase
        self._set_modes()

    def _set_modes(self) -> None:
        self.translator.train()
        for name, child in self.translator.named_children():
            if not self.phase.moves_name(name):
                child.eval()

    def _learning_rate_factor(self, step: int) -> float:
        """Each phase has its own schedule."""
        phase = next(phase for phase in reversed(self.phases) if phase.start <= step)
        return self.settings.learning_rate_factor(step - phase.start, phase.stop - phase.start)

    def _update(self, name: str, batch: Batch) -> None:
        """One step of one network, the other frozen."""
        network = self.networks[name]
        if network.optimizer is None or not network.moving(self.phase):
            return
        for other in self.networks.values():
            other.freeze()
        network.thaw(self.phase)
        # Dropout draws from the global generator: its stream is set anew for each step from our own, whose state is in
        # the checkpoint.
        torch.manual_seed(int(torch.randint(2**62, (), generator=self.chance)))
        losses = self.translator.discriminator_losses if name == "discriminator" else self.translator.generator_losses
        with torch.autocast(
            self.device.type,
            dtype=torch.float16 if self.settings.precision == "float16" else torch.bfloat16,
            enabled=self.settings.precision != "float32",
        ):
            terms = losses(batch)
        if not terms:
            return
        stacked = torch.stack([_scalar(name, term, value) for term, value in terms.items()])
        self.terms.record(self.step, [f"{name}/{term}" for term in terms], stacked.detach())
        self._stop_if_diverged()
        network.optimizer.zero_grad(set_to_none=True)
        network.scaler.scale(stacked.sum()).backward()
        network.scaler.step(network.optimizer)
        network.scaler.update()
        if name == "discriminator":
            with torch.no_grad():
                self.translator.after_discriminator_step()

    def _stop_if_diverged(self, *, flush: bool = False) -> None:
        """Looks at the loss terms that are due; all of them if `flush`."""
        bad = self.terms.look(flush=flush)
        if bad is not None:
            raise TrainingDivergedError(*bad, self.checkpoint, self.checkpoint_step)

    # What is written on the way

    def _write_log_line(self) -> dict[str, str]:
        """Writes the interval's line; returns what the progress bar shows of it."""
        self._stop_if_diverged(flush=True)
        means = self.terms.means_and_reset()
        now = time.monotonic()
        faces = self._faces_drawn(self.step) - self._faces_drawn(self.interval_first_step)
        speed = faces / max(now - self.interval_began, 1e-9)
        self.interval_began, self.interval_first_step = now, self.step
        factor = self._learning_rate_factor(self.step - 1)
        line = {
            "step": self.step,
            **means,
            "generator_learning_rate": self.settings.generator_learning_rate * factor,
            "discriminator_learning_rate": self.settings.discriminator_learning_rate * factor,
            "images_per_second": round(speed, 1),
            "seconds": round(self._seconds(), 3),
        }
        text = json.dumps(line) + "\n"
        self.log += text
        with (self.out / "log.jsonl").open("a", encoding="utf-8") as file:
            file.write(text)
        return {**{term: f"{value:.3g}" for term, value in means.items()}, "images/s": f"{speed:.0f}"}

    def _faces_drawn(self, steps: int) -> int:
        """Faces in the batches of the first so many steps."""
        batches = 0
        for phase in self.phases:
            repeats = self.settings.discriminator_steps if self.networks["discriminator"].moving(phase) else 1
            batches += repeats * max(0, min(steps, phase.stop) - phase.start)
        return batches * self.settings.batch_size

    @contextmanager
    def _averaged(self) -> Iterator[Translator]:
        """The translator with averaged weights, in evaluation mode; as it was afterwards."""
        self.translator.eval()
        try:
            with self.average.swapped():
                yield self.translator
        finally:
            self._set_modes()

    def _write_samples(self) -> None:
        """Draws the sample sheet: always the same training faces, always the same chance."""
        faces = _sheet_faces(self.translator, self.train, self.settings)
        generator = torch.Generator().manual_seed(derive_seed(self.seed, "samples"))
        with self._averaged() as translator:
            png = sample_sheet(translator, faces, generator)
        for folder in (self.scratch / "samples", self.out / "samples"):
            atomic_write_bytes(folder / f"step-{self.step:06d}.png", png)

    def _validate(self) -> None:
        """Scores the averaged weights; keeps them if they are the best so far."""
        assert self.validate is not None
        self._stop_if_diverged(flush=True)
        with self._averaged() as translator:
            score = float(self.validate(translator, self.step))
            if not math.isfinite(score):
                raise TrainingDivergedError(
                    self.step - 1, "the validation score", score, self.checkpoint, self.checkpoint_step
                )
            self.scores.append((self.step, score))
            if self.best_score is None or score > self.best_score:
                self.best_step, self.best_score = self.step, score
                self.best = self._published_now()

    def _published_now(self) -> dict[str, torch.Tensor]:
        """A copy of the tensors that would be published now; call it with averaged weights in place."""
        state = self.translator.state_dict()
        return {name: state[name].detach().to("cpu", copy=True) for name in self.averaged_names}

    # Checkpoints

    def _write_checkpoint(self) -> None:
        self._stop_if_diverged(flush=True)
        weights = self.translator.state_dict()
        self._stop_unless_finite(weights)
        tensors = {f"translator/{name}": value for name, value in weights.items()}
        tensors |= {f"average/{name}": value for name, value in self.average.values.items()}
        tensors |= {f"best/{name}": value for name, value in (self.best or {}).items()}
        for key, network in self.networks.items():
            tensors |= {f"optimizer/{key}/{name}": value for name, value in network.moments().items()}
        tensors |= {f"memory/{name}": value for name, value in self.memory.items()}
        for key, sampler in self.batches.samplers.items():
            tensors |= {f"{key}/{name}": value for name, value in sampler.state().items()}
        tensors["chance"] = self.chance.get_state()
        state = {
            "seconds": self._seconds(),
            "average_updates": self.average.updates,
            "best_step": self.best_step,
            "best_score": self.best_score,
            "scores": self.scores,
            "terms": self.terms.state(),
            "scalers": {key: network.scaler.state_dict() for key, network in self.networks.items()},
        }
        self.checkpoint = write_checkpoint(
            self.scratch, self.step, tensors=tensors, state=state, fingerprint=self.fingerprint, log=self.log
        )
        self.checkpoint_step = self.step

    def _stop_unless_finite(self, weights: Mapping[str, torch.Tensor]) -> None:
        """A finite loss can still have spoiled the weights in the step that followed; such are never a checkpoint."""
        floating = {name: value for name, value in weights.items() if value.is_floating_point()}
        finite = torch.stack([torch.isfinite(value).all() for value in floating.values()]).tolist()
        for name, good in zip(floating, finite, strict=True):
            if not good:
                raise TrainingDivergedError(
                    self.step - 1, f"weight {name}", math.nan, self.checkpoint, self.checkpoint_step
                )

    def _restore(self, checkpoint: Checkpoint) -> None:
        groups: dict[str, dict[str, torch.Tensor]] = {}
        for name, value in checkpoint.tensors.items():
            group, _, rest = name.partition("/")
            groups.setdefault(group, {})[rest] = value
        self.translator.load_state_dict(groups["translator"])
        for name, value in self.average.values.items():
            value.copy_(groups["average"][name])
        self.best = groups.get("best")
        for key, network in self.networks.items():
            prefix = f"{key}/"
            network.load_moments(
                {name[len(prefix) :]: v for name, v in groups.get("optimizer", {}).items() if name.startswith(prefix)}
            )
        for name, buffer in self.memory.items():
            buffer.copy_(groups["memory"][name])
        for key, sampler in self.batches.samplers.items():
            sampler.load_state(groups[key])
        self.chance.set_state(checkpoint.tensors["chance"])
        state = checkpoint.state
        self.seconds_before = state["seconds"]
        self.average.updates = state["average_updates"]
        self.best_step, self.best_score = state["best_step"], state["best_score"]
        self.scores = [(step, score) for step, score in state["scores"]]
        self.terms.load_state(state["terms"])
        for key, network in self.networks.items():
            network.scaler.load_state_dict(state["scalers"][key])
        self.log = checkpoint.log
        self.step = self.checkpoint_step = self.resumed_from = checkpoint.step
        self.checkpoint = checkpoint.path

    def _restore_outputs(self) -> None:
        """Brings log and sample sheets to the step from which the run goes on, whatever lies in `out`."""
        atomic_write_text(self.out / "log.jsonl", self.log)
        kept, shown = self.scratch / "samples", self.out / "samples"
        shutil.rmtree(shown, ignore_errors=True)
        for sheet in sorted(kept.glob("step-*.png")):
            if int(sheet.stem.removeprefix("step-")) > self.step:
                sheet.unlink()
            else:
                atomic_write_bytes(shown / sheet.name, sheet.read_bytes())

    # The end

    def _seconds(self) -> float:
        return self.seconds_before + time.monotonic() - self.began

    def _publish(self) -> TrainingResult:
        """Puts the chosen weights into the translator and writes them."""
        seconds = self._seconds()
        if self.best is None:
            self.best_step = self.step
            with self.average.swapped():
                self.best = self._published_now()
        state = self.translator.state_dict()
        with torch.no_grad():
            for name, value in self.best.items():
                state[name].copy_(value)
        facts = {
            "parameters": {key: sum(p.numel() for p in network.parameters) for key, network in self.networks.items()},
            "images_per_second": round(self._faces_drawn(self.step) / max(seconds, 1e-9), 1),
        }
        digest = _write_results(
            self.translator,
            self.train,
            self.settings,
            self.out,
            self.seed,
            {
                "steps": self.step,
                "best_step": self.best_step,
                "best_score": self.best_score,
                "scores": self.scores,
                "seconds": round(seconds, 3),
                **facts,
            },
        )
        return TrainingResult(
            weights=self.out / "weights.safetensors",
            weights_sha256=digest,
            steps=self.step,
            best_step=self.best_step,
            best_score=self.best_score,
            scores=tuple(self.scores),
            facts={},
            seconds=seconds,
            resumed_from=self.resumed_from,
        )


class _Network:
    """The part of a translator that one optimizer moves."""

    def __init__(
        self,
        named: Mapping[str, nn.Parameter],
        learning_rate: float,
        settings: TrainingSettings,
        device: torch.device,
    ) -> None:
        self.names = tuple(named)
        self.parameters = tuple(named.values())
        self.learning_rate = learning_rate
        self.optimizer: torch.optim.Adam | None = None
        if self.parameters:
            # No weight decay, no clipping. The fused form is CUDA's faster one; on the CPU it gained nothing.
            self.optimizer = torch.optim.Adam(
                self.parameters, lr=learning_rate, betas=settings.betas, fused=device.type == "cuda"
            )
        self.scaler = torch.amp.GradScaler(device.type, enabled=settings.precision == "float16")

    def freeze(self) -> None:
        for parameter in self.parameters:
            parameter.requires_grad_(False)

    def thaw(self, phase: _Stretch | None = None) -> None:
        """Lets parameters learn: those that a phase moves, or all."""
        for name, parameter in zip(self.names, self.parameters, strict=True):
            parameter.requires_grad_(phase is None or phase.moves_name(name))

    def moving(self, phase: _Stretch) -> bool:
        """Whether a phase moves any of the parameters."""
        return any(phase.moves_name(name) for name in self.names)

    def moments(self) -> dict[str, torch.Tensor]:
        """Adam's state as `<parameter>/<moment>`; parameters that had no gradient yet have none."""
        if self.optimizer is None:
            return {}
        state = self.optimizer.state_dict()["state"]
        return {
            f"{self.names[index]}/{key}": value for index, moments in state.items() for key, value in moments.items()
        }

    def load_moments(self, moments: Mapping[str, torch.Tensor]) -> None:
        """Puts back what `moments` gave."""
        if self.optimizer is None:
            return
        places = {name: index for index, name in enumerate(self.names)}
        state: dict[int, dict[str, torch.Tensor]] = {}
        for key, value in moments.items():
            name, _, moment = key.rpartition("/")
            state.setdefault(places[name], {})[moment] = value
        self.optimizer.load_state_dict({"state": state, "param_groups": self.optimizer.state_dict()["param_groups"]})


def _networks(translator: LearnedTranslator, settings: TrainingSettings, device: torch.device) -> dict[str, _Network]:
    """Generator and discriminator by their parameters' names; parameters that came frozen stay so."""
    names = {id(parameter): name for name, parameter in translator.named_parameters()}
    rates = {
        "discriminator": (translator.discriminator_parameters(), settings.discriminator_learning_rate),
        "generator": (translator.generator_parameters(), settings.generator_learning_rate),
    }
    networks = {}
    taken: set[str] = set()
    for key, (parameters, rate) in rates.items():
        found = [parameter for parameter in parameters if parameter.requires_grad]
        if any(id(parameter) not in names for parameter in found):
            raise ValueError(f"{type(translator).__name__}: a parameter of the {key} is not registered in the module")
        named = {names[id(parameter)]: parameter for parameter in found}
        if shared := taken & set(named):
            raise ValueError(f"{type(translator).__name__}: both networks claim {sorted(shared)[0]}")
        taken |= set(named)
        networks[key] = _Network(named, rate, settings, device)
    if not networks["generator"].parameters:
        raise ValueError(f"{type(translator).__name__}: the generator has no parameters to train")
    return networks


@dataclass(frozen=True)
class _Stretch:
    """A phase in steps: from `start` to before `stop`."""

    name: str
    start: int
    stop: int
    moves: tuple[str, ...] | None

    def moves_name(self, name: str) -> bool:
        """Whether a parameter, buffer or child module of this dotted name learns."""
        return self.moves is None or name.partition(".")[0] in self.moves


def _phases(translator: LearnedTranslator, steps: int) -> list[_Stretch]:
    """A translator's phases in steps of this run; each gets at least one."""
    wanted = translator.phases()
    children = {name for name, _ in translator.named_children()}
    for phase in wanted:
        if unknown := set(phase.moves or ()) - children:
            why = f"{type(translator).__name__}: the phase {phase.name!r} moves {sorted(unknown)[0]!r}"
            raise ValueError(f"{why}, which is none of its modules {sorted(children)}")
    if not wanted or abs(sum(phase.share for phase in wanted) - 1) > 1e-6 or min(p.share for p in wanted) <= 0:
        raise ValueError(f"{type(translator).__name__}: the phases' shares must be above 0 and sum to 1")
    if steps < len(wanted):
        why = f"{steps} are too few for the {len(wanted)} phases of {translator.name}"
        raise InputError(Problem("training.steps", why, f"use at least {len(wanted)}, better thousands"))
    stretches: list[_Stretch] = []
    done = 0.0
    for index, phase in enumerate(wanted):
        done += phase.share
        start = stretches[-1].stop if stretches else 0
        left = len(wanted) - index - 1
        stop = steps if not left else min(max(round(done * steps), start + 1), steps - left)
        stretches.append(_Stretch(phase.name, start, stop, phase.moves))
    return stretches


def _scalar(network: str, term: str, value: torch.Tensor) -> torch.Tensor:
    """A loss term as a float32 scalar."""
    if value.ndim != 0:
        raise ValueError(f"{network}_losses: the term {term!r} has shape {tuple(value.shape)}; a term is one number")
    return value.float()


def _sheet_faces(translator: Translator, train: FaceTensors, settings: TrainingSettings) -> FaceTensors:
    """The training faces of the sample sheets, always the same: of those that the translator accepts."""
    usable = torch.nonzero(translator.usable_sources(train).cpu())[:, 0]
    return train.take(usable[choose_rows(train.labels.cpu()[usable], settings.sample_faces)])


def _fit(
    translator: FittedTranslator,
    train: FaceTensors,
    settings: TrainingSettings,
    out: Path,
    seed: int,
    validate: Validate | None,
) -> TrainingResult:
    """Fits a translator without gradient steps, and publishes it."""
    began = time.monotonic()
    facts = dict(translator.fit(train))
    seconds = time.monotonic() - began
    translator.eval()
    atomic_write_text(out / "log.jsonl", json.dumps({"step": 0, "facts": facts, "seconds": round(seconds, 3)}) + "\n")
    shutil.rmtree(out / "samples", ignore_errors=True)
    generator = torch.Generator().manual_seed(derive_seed(seed, "samples"))
    sheet = sample_sheet(translator, _sheet_faces(translator, train, settings), generator)
    atomic_write_bytes(out / "samples" / "step-000000.png", sheet)
    score = float(validate(translator, 0)) if validate is not None else None
    scores = [] if score is None else [(0, score)]
    digest = _write_results(
        translator,
        train,
        settings,
        out,
        seed,
        {
            "steps": 0,
            "best_step": 0,
            "best_score": score,
            "scores": scores,
            "seconds": round(seconds, 3),
            "facts": facts,
        },
    )
    return TrainingResult(
        weights=out / "weights.safetensors",
        weights_sha256=digest,
        steps=0,
        best_step=0,
        best_score=score,
        scores=tuple(scores),
        facts=facts,
        seconds=seconds,
        resumed_from=None,
    )


def _write_results(
    translator: Translator,
    train: FaceTensors,
    settings: TrainingSettings,
    out: Path,
    seed: int,
    report: Mapping[str, Any],
) -> str:
    """Writes weights.safetensors and training.json; returns the weights' SHA-256."""
    from augment.translators import save_translator  # the registry imports the methods; a loop needs none of them

    save_translator(translator, out / "weights.safetensors", class_names=train.class_names)
    digest = sha256_of_file(out / "weights.safetensors")
    device = train.images.device
    counts = torch.bincount(train.labels.cpu(), minlength=len(train.class_names)).tolist()
    content = {
        "translator": translator.name,
        "translator_settings": translator.settings.model_dump(mode="json"),
        "settings": settings.model_dump(mode="json") if isinstance(translator, LearnedTranslator) else None,
        "seed": seed,
        "faces": dict(zip(train.class_names, counts, strict=True)),
        **report,
        "weights_sha256": digest,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "torch": torch.__version__,
        "peak_memory_bytes": _peak_memory(device),
    }
    atomic_write_text(out / "training.json", json.dumps(content, indent=1) + "\n")
    return digest


def _peak_memory(device: torch.device) -> int:
    """Bytes: the device's allocations on CUDA, the process's resident set on the CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        import resource
    except ImportError:  # Windows
        import psutil

        return psutil.Process().memory_info().peak_wset
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return resident if sys.platform == "darwin" else resident * 1024


def _check_faces(
    translator: Translator,
    train: FaceTensors,
    validation: FaceTensors | None,
    settings: TrainingSettings,
    device: torch.device,
) -> None:
    """Refuses faces and settings that can't be trained on."""
    problems = []
    for name, faces in (("train", train), ("validation", validation)):
        if faces is None:
            continue
        if len(faces) == 0:
            problems.append(Problem(name, "holds no faces", "check the folds and the fold's number"))
            continue
        wanted = (translator.channels, translator.size, translator.num_classes)
        found = (faces.channels, faces.size, len(faces.class_names))
        for what, want, have in zip(("channels", "pixels' edge", "classes"), wanted, found, strict=True):
            if want != have:
                problems.append(
                    Problem(
                        f"{name} faces",
                        f"have {what} {have}, {translator.name} was made for {want}",
                        "make the translator for these faces, or decode them to its form with face_tensors",
                    )
                )
    if validation is not None and (shared := set(train.face_ids) & set(validation.face_ids)):
        problems.append(
            Problem(
                "validation faces",
                f"{len(shared)} are training faces too, for example {min(shared)}",
                "split them by fold first",
            )
        )
    if settings.precision == "float16" and device.type != "cuda":
        problems.append(
            Problem("precision", f"float16 needs a CUDA device, not {device.type}", "use bfloat16 or float32")
        )
    if problems:
        raise InputError(problems)


@contextmanager
def _benchmarked(device: torch.device) -> Iterator[None]:
    """Lets cuDNN try its algorithms: shapes never change here. The caller's choice is put back."""
    if device.type != "cuda":
        yield
        return
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = True
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before


@contextmanager
def _deferred_interrupt() -> Iterator[threading.Event]:
    """Within the block the first Ctrl-C sets the event; the second interrupts at once."""
    event = threading.Event()
    with ExitStack() as stack:
        if threading.current_thread() is threading.main_thread():

            def handler(number: int, frame: Any) -> None:
                if event.is_set():
                    raise KeyboardInterrupt
                event.set()

            before = signal.signal(signal.SIGINT, handler)
            stack.callback(signal.signal, signal.SIGINT, before)
        yield event
