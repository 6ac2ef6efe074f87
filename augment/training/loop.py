"""The training loop: every translator goes through `train_translator`.

A translator owns its networks and losses. The loop owns the optimizers, the schedule, precision, averaging, progress,
the log, the sample sheets, checkpoints, and the choice of what is published.
"""

from __future__ import annotations

import copy
import math
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from augment.core.checkpoints import Checkpoint, clear_leftovers, newest_checkpoint, write_checkpoint
from augment.core.mixed_precision import autocast
from augment.core.precision import ComputedPrecision
from augment.core.precision_measurement import choose_precision
from augment.core.progress import track
from augment.core.ranks import ALONE, Ranks, current_ranks
from augment.core.seeding import derive_seed, seeded
from augment.faces.tensors import FaceTensors
from augment.networks.batch_norm import share_batch_norms
from augment.training.batches import BatchMaker
from augment.training.best import BestWeights
from augment.training.checks import check_training
from augment.training.contexts import cudnn_benchmark, deferred_interrupt, only_run_in
from augment.training.divergence import TrainingDivergedError, first_non_finite
from augment.training.ema import MovingAverage
from augment.training.fingerprint import network_facts, run_fingerprint
from augment.training.fit import fit_translator
from augment.training.loss_log import LossTerms
from augment.training.optimizers import trained_networks
from augment.training.outputs import RunOutputs
from augment.training.phases import ScheduledPhase, phase_at, schedule_phases
from augment.training.publish import TrainingResult, publish
from augment.training.samples import sample_sheet, sheet_faces
from augment.training.settings import TrainingSettings
from augment.training.stopwatch import Stopwatch
from augment.translators.base import DISCRIMINATOR, Batch, FittedTranslator, LearnedTranslator, Translator

Validate = Callable[[Translator, int], float]
TRIAL_STEPS = 4  # timed together: some loss terms are computed every fourth step


def train_translator(
    translator: Translator,  # on any device; holds the initial weights, holds the published ones afterwards
    train: FaceTensors,  # the fold's training rows, and nothing else
    validation: FaceTensors | None,  # rows that `validate` uses; refused where they overlap `train`
    settings: TrainingSettings,  # of the loop; a fitted translator uses `sample_faces` alone
    *,
    out: Path,  # gets weights.safetensors, training.json, log.jsonl, samples/step-000500.png
    scratch: Path,  # gets the checkpoints; the caller's to delete once `out` is safe
    seed: int,  # of batches, targets, mirroring and all randomness within losses
    device: torch.device | str = "cpu",
    validate: Validate | None = None,  # (translator with averaged weights, steps) -> score, higher is better
    precision_cache: Path | None = None,  # keeps what precision `auto` chose, over runs
) -> TrainingResult:
    """Trains or fits a translator, and publishes its best weights.

    Where torch's process group is set up, its ranks share the training (`augment.core.ranks`): call it on every rank
    with the same arguments. The first one writes; an interrupt is raised at once, and the run goes on from its last
    checkpoint.

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
        out: Folder of the results. The log and the sample sheets grow during the run and are restored if the folder was
            deleted before a resume; the weights and training.json appear at the end.
        scratch: Folder of the checkpoints, this run's alone.
        seed: The run's seed.
        device: Where to compute.
        validate: Scores the translator in evaluation mode.
        precision_cache: A folder that keeps the choices of precision `auto` over runs
            (`augment.core.precision_measurement`); None keeps them in `scratch` alone.

    Returns:
        Where the weights are, and how the run went.

    Raises:
        InputError: The faces do not fit the translator, validation faces are among the training faces, another run
            holds `scratch`, or its checkpoints are another run's (the message names what differs).
        CannotTranslateError: The faces lack what the translator needs.
        TrainingDivergedError: A loss term is not finite.
        KeyboardInterrupt: The run was interrupted; it can be resumed.
    """
    out, scratch, device = Path(out), Path(scratch), torch.device(device)
    ranks = current_ranks()
    check_training(translator, train, validation, settings, device, ranks)
    out.mkdir(parents=True, exist_ok=True)
    with (
        only_run_in(scratch) if ranks.first else nullcontext(),
        seeded(derive_seed(seed, "training"), device),
        cudnn_benchmark(device),
    ):
        if isinstance(translator, LearnedTranslator):
            translator, held = translator.to(device), train.to(device)
            choice = ranks.from_first(
                lambda: choose_precision(
                    settings.precision,
                    _trial_steps(translator, held, settings, scratch),
                    device=device,
                    network=network_facts(translator, settings),
                    steps=TRIAL_STEPS,
                    cache=precision_cache,
                    kept=scratch / "precision.json",
                )
            )
            settings = settings.model_copy(update={"precision": choice.used})
            fingerprint = run_fingerprint(translator, train, validation, settings, seed, device, ranks.count)
            run = Run(translator, held, settings, out, scratch, seed, validate, fingerprint, ranks)
            run.choices = {"precision": choice.model_dump(mode="json")}
            return run.complete()
        if isinstance(translator, FittedTranslator):
            return fit_translator(
                translator.to(device), train.to(device), settings, out=out, seed=seed, validate=validate
            )
        raise TypeError(f"{type(translator).__name__} is neither a LearnedTranslator nor a FittedTranslator")


def _trial_steps(
    translator: LearnedTranslator, train: FaceTensors, settings: TrainingSettings, scratch: Path
) -> Callable[[ComputedPrecision], Callable[[], None]]:
    """Gives functions that make one step of a copy of the translator and leave torch's random state as it was.

    One copy serves every precision: what a step costs does not depend on the weights, and pairs of many faces take
    long to prepare.
    """
    copies: list[Run] = []

    def make_step(precision: ComputedPrecision) -> Callable[[], None]:
        if not copies:
            tried = settings.model_copy(update={"precision": "float32", "steps": max(settings.steps, 1000)})
            with seeded(0, train.images.device):
                copies.append(Run(copy.deepcopy(translator), train, tried, scratch, scratch, 0, None, {}))

        def step() -> None:
            with seeded(0, train.images.device):
                copies[0].trial_step(precision)

        return step

    return make_step


class Run:
    """One training run of a learned translator, from the first step or a checkpoint to the published weights.

    Args:
        translator: On the device that trains.
        train: The training faces, on the same device.
        settings: The loop's settings.
        out: Folder of the results.
        scratch: Folder of the checkpoints.
        seed: The run's seed.
        validate: Scores the translator; None: the last weights are published.
        fingerprint: What tells this run's checkpoints from others'.
        ranks: Those that share the training, and which of them this process is.
    """

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
        ranks: Ranks = ALONE,
    ) -> None:
        self.translator = translator
        self.train = train
        self.settings = settings
        self.out = out
        self.scratch = scratch
        self.seed = seed
        self.validate = validate
        self.fingerprint = fingerprint
        self.ranks = ranks
        self.choices: Mapping[str, Any] = {}  # what was chosen for this run; fields of training.json
        self.device = train.images.device
        self.generator = torch.Generator().manual_seed(derive_seed(seed, "batches"))
        if not ranks.alone:
            share_batch_norms(translator)
        # Before anything is copied or averaged: it fills buffers.
        self.facts = dict(translator.prepare_training(train))
        self.networks = trained_networks(translator, settings, self.device)
        self.batches = BatchMaker(
            translator,
            train,
            batch_size=settings.batch_size,
            balanced_sources=settings.balanced_sources,
            balanced_targets=settings.balanced_targets,
            mirror=settings.mirror,
            augmentation=settings.augmentation,
        )
        self.phases = schedule_phases(translator, settings.steps)
        self.phase = self.phases[0]
        discriminator = self.networks.get(DISCRIMINATOR)
        not_averaged = set() if discriminator is None else set(discriminator.names)
        self.averaged_names = [name for name in translator.state_dict() if name not in not_averaged]
        self.average = MovingAverage(translator, self.averaged_names, settings.ema_decay)
        # Working memory: what is no weight, but what the next step depends on.
        published = set(translator.state_dict())
        self.memory = {name: buffer for name, buffer in translator.named_buffers() if name not in published}
        self.terms = LossTerms(synchronous=self.device.type == "cpu")
        self.outputs = RunOutputs(out, scratch)
        self.best = BestWeights()
        self.step = 0  # finished steps
        self.checkpoint: Path | None = None
        self.checkpoint_step = 0
        self.resumed_from: int | None = None
        self.stopwatch = Stopwatch()

    def complete(self) -> TrainingResult:
        """Resumes or begins, trains, publishes."""
        settings = self.settings
        self.ranks.from_first(lambda: clear_leftovers(self.scratch))
        checkpoint = newest_checkpoint(self.scratch, self.fingerprint)
        if checkpoint is not None:
            self._restore(checkpoint)
        if self.ranks.first:
            self.outputs.restore(self.step)
        self._set_phase()
        self.stopwatch.start(self._faces_drawn())
        progress = track(
            total=settings.steps,
            initial=self.step,
            desc=f"train {self.translator.name}",
            unit="steps",
            disable=not self.ranks.first,
        )
        try:
            # Ranks would notice it at different steps, and wait for each other.
            deferred = deferred_interrupt() if self.ranks.alone else nullcontext(threading.Event())
            with progress, deferred as interrupted:
                while self.step < settings.steps:
                    self._one_step()
                    progress.update()
                    ended = self.step == settings.steps
                    if self.step % settings.log_every == 0 or ended:
                        progress.set_postfix(self._write_log_line(), refresh=False)
                    if (self.step % settings.sample_every == 0 or ended) and self.ranks.first:
                        self._write_samples()
                    due = self.step % settings.validate_every == 0 and self.phase.usable
                    if self.validate is not None and (due or ended):
                        self._validate()
                    if self.step % settings.checkpoint_every == 0 or ended or interrupted.is_set():
                        self._write_checkpoint()
                    if interrupted.is_set():
                        raise KeyboardInterrupt
        finally:
            for network in self.networks.values():
                network.unfreeze()
            self.translator.eval()
        return self._publish()

    # A step

    def trial_step(self, precision: ComputedPrecision) -> None:
        """One step that counts for nothing, of a run that is never completed: of the phase that takes most steps.

        Args:
            precision: To compute in.

        Raises:
            TrainingDivergedError: A loss term is not finite.
        """
        self.settings = self.settings.model_copy(update={"precision": precision})
        longest = max(self.phases, key=lambda phase: phase.stop - phase.start)
        if self.phase is not longest:
            self.step = longest.start
            self._set_phase()
        self._set_modes()
        self._one_step()
        self._stop_if_diverged(flush=True)

    def _one_step(self) -> None:
        """The discriminator's steps, where there is one, each on its own batch; then a step of every other network."""
        if self.step == self.phase.stop:
            self._set_phase()
        factor = self._learning_rate_factor(self.step)
        for network in self.networks.values():
            network.set_learning_rate(factor)
        repeats = self._batches_per_step(self.phase)
        for repeat in range(repeats):
            batch = self.batches.draw(
                self.generator,
                step=self.step * repeats + repeat,
                total_steps=self.settings.steps * repeats,
                turn=self.step,
                phase=self.phase.name,
            ).of_rows(self.ranks.own)
            if DISCRIMINATOR in self.networks:
                self._update(DISCRIMINATOR, batch)
        # The generator trains on the batch that its discriminator saw last.
        last = replace(batch, step=self.step, total_steps=self.settings.steps, epoch=batch.epoch / repeats)
        for name in self.networks:
            if name != DISCRIMINATOR:
                self._update(name, last)
        self.average.update()
        self.step += 1

    def _update(self, name: str, batch: Batch) -> None:
        """One step of one network, the others frozen."""
        network = self.networks[name]
        if network.optimizer is None or not network.is_trained(self.phase):
            return
        for other in self.networks.values():
            other.freeze()
        network.unfreeze(self.phase)
        # Dropout draws from the global generator: it is seeded anew for each step from our own generator, whose state
        # is in the checkpoint. Ranks have masks of their own.
        torch.manual_seed(int(torch.randint(2**62, (), generator=self.generator)) + self.ranks.rank)
        with self.ranks.sharing():
            with autocast(self.device, self.settings.precision):
                terms = self.translator.losses(name, batch)
            if not terms:
                return
            stacked = torch.stack([_scalar(name, term, value) for term, value in terms.items()])
            gradients = network.backward(stacked.sum())
        means = stacked.detach()
        self.ranks.average_([*gradients, means])  # the terms too: all ranks log the same, and stop at the same step
        self.terms.record(self.step, [f"{name}/{term}" for term in terms], means)
        self._stop_if_diverged()
        network.step()
        with torch.no_grad():
            self.translator.after_step(name)

    def _set_phase(self) -> None:
        """Goes to the phase of the next step: what it does not train is frozen, with its averaged weights.

        It depends on the weights at the phase's first step alone, so that a run killed right before or after is the
        same.
        """
        phase = phase_at(self.phases, min(self.step, self.settings.steps - 1))
        if self.step == phase.start and phase is not self.phases[0]:
            before = self.phases[self.phases.index(phase) - 1]
            for name in self.average.values:
                if before.trains_name(name) and not phase.trains_name(name):
                    self.average.settle(name)
            self.average.updates = 0  # modules that are trained from now on forget their initial weights as fast
        self.phase = phase
        self._set_modes()

    def _set_modes(self) -> None:
        self.translator.train()
        for name, child in self.translator.named_children():
            if not self.phase.trains_name(name):
                child.eval()

    def _learning_rate_factor(self, step: int) -> float:
        """Each phase has its own schedule."""
        phase = phase_at(self.phases, step)
        factor = self.settings.learning_rate_factor(step - phase.start, phase.stop - phase.start)
        return phase.learning_rate * factor

    def _batches_per_step(self, phase: ScheduledPhase) -> int:
        """Batches of a generator step: one per discriminator step where a discriminator is trained, else one."""
        discriminator = self.networks.get(DISCRIMINATOR)
        trained = discriminator is not None and discriminator.is_trained(phase)
        return self.settings.discriminator_steps if trained else 1

    def _stop_if_diverged(self, *, flush: bool = False) -> None:
        """Looks at the loss terms that are due; all of them if `flush`."""
        bad = self.terms.look(flush=flush)
        if bad is not None:
            raise TrainingDivergedError(*bad, self.checkpoint, self.checkpoint_step)

    # Log, samples, validation

    def _write_log_line(self) -> dict[str, str]:
        """Writes the interval's line; returns what the progress bar shows of it."""
        self._stop_if_diverged(flush=True)
        means = self.terms.means_and_reset()
        speed = self.stopwatch.interval_speed(self._faces_drawn())
        factor = self._learning_rate_factor(self.step - 1)
        rates = {
            f"{name}_learning_rate": network.learning_rate * factor
            for name, network in reversed(self.networks.items())  # the discriminator's last
        }
        timing = {"images_per_second": round(speed, 1), "seconds": round(self.stopwatch.seconds, 3)}
        if self.ranks.first:
            self.outputs.write_line({"step": self.step, **means, **rates, **timing})
        return {**{term: f"{value:.3g}" for term, value in means.items()}, "images/s": f"{speed:.0f}"}

    def _faces_drawn(self) -> int:
        """Faces in the batches of all finished steps."""
        batches = sum(
            self._batches_per_step(phase) * max(0, min(self.step, phase.stop) - phase.start) for phase in self.phases
        )
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
        """Draws the sample sheet: always the same training faces, always the same random draws."""
        faces = sheet_faces(self.translator, self.train, self.settings.sample_faces)
        generator = torch.Generator().manual_seed(derive_seed(self.seed, "samples"))
        with self._averaged() as translator:
            phase = phase_at(self.phases, max(self.step - 1, 0))
            png = sample_sheet(translator, faces, generator, phase=phase.name)
        self.outputs.write_sheet(self.step, png)

    def _validate(self) -> None:
        """Scores the averaged weights; keeps them if they are the best so far."""
        assert self.validate is not None
        self._stop_if_diverged(flush=True)
        with self._averaged() as translator:
            validate = self.validate
            score = self.ranks.from_first(lambda: float(validate(translator, self.step)))
            if not math.isfinite(score):
                raise TrainingDivergedError(
                    self.step - 1, "the validation score", score, self.checkpoint, self.checkpoint_step
                )
            self.best.offer(self.step, score, self._published_now)

    def _published_now(self) -> dict[str, torch.Tensor]:
        """A copy of the tensors that would be published now; call it with averaged weights in place."""
        state = self.translator.state_dict()
        return {name: state[name].detach().to("cpu", copy=True) for name in self.averaged_names}

    # Checkpoints

    def _write_checkpoint(self) -> None:
        self._stop_if_diverged(flush=True)
        weights = self.translator.state_dict()
        if (bad := first_non_finite(weights)) is not None:
            raise TrainingDivergedError(self.step - 1, *bad, self.checkpoint, self.checkpoint_step)
        groups: dict[str, Mapping[str, torch.Tensor]] = {
            "translator": weights,
            "average": self.average.values,
            "best": self.best.weights or {},
            **{f"optimizer/{name}": network.moments() for name, network in self.networks.items()},
            "memory": self.memory,
            **{name: sampler.state() for name, sampler in self.batches.samplers.items()},
        }
        tensors = {f"{group}/{name}": value for group, values in groups.items() for name, value in values.items()}
        tensors["chance"] = self.generator.get_state()
        kept = ("translator/", "average/", "memory/", "chance")
        self.ranks.check_agreement(
            {name: tensor for name, tensor in tensors.items() if name.startswith(kept)}, f"train {self.translator.name}"
        )
        state = {
            "seconds": self.stopwatch.seconds,
            "average_updates": self.average.updates,
            **self.best.state(),
            "terms": self.terms.state(),
            "scalers": {name: network.scaler.state_dict() for name, network in self.networks.items()},
        }
        self.checkpoint = self.ranks.from_first(
            lambda: write_checkpoint(
                self.scratch,
                self.step,
                tensors=tensors,
                state=state,
                fingerprint=self.fingerprint,
                log=self.outputs.log,
            )
        )
        self.checkpoint_step = self.step

    def _restore(self, checkpoint: Checkpoint) -> None:
        state = checkpoint.state
        self.translator.load_state_dict(checkpoint.group("translator"))
        for values, group in ((self.average.values, "average"), (self.memory, "memory")):
            found = checkpoint.group(group)
            for name, value in values.items():
                value.copy_(found[name])
        self.average.updates = state["average_updates"]
        self.best.load(state, checkpoint.group("best") or None)
        for name, network in self.networks.items():
            network.load_moments(checkpoint.group(f"optimizer/{name}"))
            network.scaler.load_state_dict(state["scalers"][name])
        for name, sampler in self.batches.samplers.items():
            sampler.load_state(checkpoint.group(name))
        self.generator.set_state(checkpoint.tensors["chance"])
        self.terms.load_state(state["terms"])
        self.stopwatch.before = state["seconds"]
        self.outputs.log = checkpoint.log
        self.step = self.checkpoint_step = self.resumed_from = checkpoint.step
        self.checkpoint = checkpoint.path

    # The end

    def _publish(self) -> TrainingResult:
        """Puts the chosen weights into the translator and writes them."""
        seconds = self.stopwatch.seconds
        best = self.best
        if best.weights is None:
            best.step = self.step
            with self.average.swapped():
                best.weights = self._published_now()
        state = self.translator.state_dict()
        with torch.no_grad():
            for name, value in best.weights.items():
                state[name].copy_(value)
        counts = {name: sum(p.numel() for p in network.parameters) for name, network in self.networks.items()}
        speed = round(self._faces_drawn() / max(seconds, 1e-9), 1)
        return self.ranks.from_first(
            lambda: publish(
                self.translator,
                self.train,
                self.settings,
                out=self.out,
                seed=self.seed,
                steps=self.step,
                best_step=best.step,
                best_score=best.score,
                scores=best.scores,
                seconds=seconds,
                facts=self.facts,
                measured={
                    "parameters": counts,
                    "images_per_second": speed,
                    **({"facts": self.facts} if self.facts else {}),
                    **self.choices,
                },
                resumed_from=self.resumed_from,
            )
        )


def _scalar(network: str, term: str, value: torch.Tensor) -> torch.Tensor:
    """A loss term as a float32 scalar."""
    if value.ndim != 0:
        raise ValueError(f"losses of {network}: the term {term!r} has shape {tuple(value.shape)}; a term is one number")
    return value.float()
