"""Training a classifier: a fixed number of optimizer steps; the last step is kept, or the one that validation picks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field, model_validator

from augment.core.errors import InputError, Problem
from augment.core.mixed_precision import autocast
from augment.core.precision import Precision
from augment.core.progress import track
from augment.core.ranks import current_ranks
from augment.core.seeding import derive_seed, seeded
from augment.core.training_checkpoints import TrainingCheckpoints
from augment.faces.tensors import FaceTensors
from augment.networks.batch_norm import share_batch_norms
from augment.networks.schedules import one_cycle
from augment.training.ema import MovingAverage
from augment.training.stopwatch import Stopwatch
from classifiers.augmentations import AugmentationSettings, augment_images, mix_batch
from classifiers.evaluation import ScoreName, predict, score_predictions
from classifiers.models import FaceClassifier, ModelSettings, create_classifier
from classifiers.precision import chosen_precision
from classifiers.pretraining import PretrainedClassifier, start_from
from classifiers.sampling import DrawStream
from classifiers.settings import AugmentationName
from classifiers.training_state import TrainingState


class ClassifierDivergedError(ArithmeticError):
    """The loss is not finite; the message says at which step, and what to change."""


class ClassifierSettings(BaseModel):
    """How a classifier is trained. All arms of a comparison share these.

    Attributes:
        model: The network.
        steps: Optimizer steps, the same in every arm that does not say otherwise.
        batch_size: Faces per step, real and synthetic together.
        optimizer: adamw, or sgd with Nesterov momentum 0.9.
        learning_rate: The schedule's peak.
        weight_decay: On weights of convolutions and of the last layer; not on norms and biases.
        schedule: one_cycle (up for `warmup_share`, then down to nought; cosine both ways), cosine (a linear rise for
            `warmup_share`, then a half cosine down to 0) or constant.
        warmup_share: Share of the steps in which the learning rate rises.
        label_smoothing: Probability that is spread over all classes in the target.
        class_balanced: Whether a batch draws every class alike; an arm may say otherwise.
        augmentation: Of training faces; an arm may say otherwise.
        augmentation_settings: How strong.
        select_by: The score on validation faces that picks the step; of equals the earlier. `last` keeps the last step
            whatever the validation faces say: for few of them, whose best step is chance, and a schedule that ends at
            a low learning rate.
        validate_every: Steps between looks at the validation faces; the last step is always looked at.
        ema_decay: Decay of a moving average of the weights, which is then what is validated and kept; 0 is off.
        precision: float32, or autocast to bfloat16 or, on a GPU, to float16 (with loss scaling). auto measures a few
            steps once per machine, and takes bfloat16 where it is at least 1.15 times as fast (recent GPUs, CPUs with
            AMX), float32 elsewhere.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: ModelSettings = ModelSettings()
    steps: int = Field(default=1000, ge=1)
    batch_size: int = Field(default=64, ge=2)
    optimizer: Literal["adamw", "sgd"] = "adamw"
    learning_rate: float = Field(default=2e-3, gt=0)
    weight_decay: float = Field(default=0.02, ge=0)
    schedule: Literal["one_cycle", "cosine", "constant"] = "one_cycle"
    warmup_share: float = Field(default=0.2, ge=0, lt=1)
    label_smoothing: float = Field(default=0.1, ge=0, lt=1)
    class_balanced: bool = True
    augmentation: AugmentationName = "classical"
    augmentation_settings: AugmentationSettings = AugmentationSettings()
    select_by: ScoreName | Literal["last"] = "balanced_accuracy"
    validate_every: int = Field(default=100, ge=1)
    ema_decay: float = Field(default=0.0, ge=0, lt=1)
    precision: Precision = "float32"

    @model_validator(mode="after")
    def _one_cycle_has_a_rise(self) -> ClassifierSettings:
        if self.schedule == "one_cycle" and self.warmup_share == 0:
            raise ValueError("warmup_share: one_cycle needs a rise; give more than 0 (0.2), or schedule: cosine")
        return self


@dataclass(frozen=True)
class TrainedClassifier:
    """A trained network and how it came about.

    Attributes:
        model: With the weights of `best_step`, in evaluation mode, on the device that it was trained on.
        history: A row each look at the validation faces: step, learning_rate, loss (mean since the last look),
            train_accuracy (likewise, on augmented faces; of mixed ones the larger part counts), and accuracy,
            balanced_accuracy, macro_f1 on validation.
        best_step: Optimizer steps done when validation was best; all of them where `select_by` is last.
        validation_score: The score there, by `select_by`; balanced accuracy where that is last.
        seconds: Wall time, over all sessions of a training that was killed.
        processor_seconds: Processor time of this process in the same spans; what to compare on a busy machine.
    """

    model: FaceClassifier
    history: list[dict[str, float]]
    best_step: int
    validation_score: float
    seconds: float
    processor_seconds: float


def train_classifier(
    settings: ClassifierSettings,
    *,
    real: FaceTensors | None,  # real training faces of the fold
    synthetic: FaceTensors | None = None,  # synthetic faces made from them
    validation: FaceTensors,  # real faces of the history's scores, which may pick the step; never test faces
    synthetic_share: float = 0.5,  # of each batch, where there are both; rounded to whole faces
    class_balanced: bool | None = None,  # None: as the settings say
    augmentation: AugmentationName | None = None,  # None: as the settings say
    steps: int | None = None,  # None: as the settings say
    seed: int = 0,
    device: torch.device | str = "cpu",
    pretrained: PretrainedClassifier | None = None,  # what to start from; None: from drawn weights
    progress: bool = True,
    on_validation: Callable[[dict[str, float]], None] | None = None,
    on_step: Callable[[int], None] | None = None,
    checkpoints: TrainingCheckpoints | None = None,  # None: a training that is killed begins anew
) -> TrainedClassifier:
    """Trains a classifier for a fixed number of steps.

    The pictures lie on the device as bytes; batches are drawn by index and augmented there. Two calls with one seed
    start from the same weights and see the same real faces in the same order, whatever else they train on. On one
    CPU with one thread count, the same call gives the same weights bit for bit.

    Where torch's process group is set up, its ranks share every batch (`augment.core.ranks`): call it on every rank
    with the same arguments; all get the same network.

    Args:
        settings: Network, optimizer, schedule.
        real: Real training faces; None for synthetic only.
        synthetic: Synthetic training faces; None for real only.
        validation: Faces that pick the step, and that the history's scores are of.
        synthetic_share: In 0..1, the share of a batch that is synthetic where both are given.
        class_balanced: Overrides the settings.
        augmentation: Overrides the settings.
        steps: Overrides the settings; the schedule stretches with it.
        seed: Seeds initial weights, draws and augmentation.
        device: Where to train.
        pretrained: A classifier of another data set, of the same network, whose weights are started from.
        progress: Whether to show a bar on stderr.
        on_validation: Called with each new row of the history; not again with rows of before a training was killed.
        on_step: Called with the number of steps that are done, after each.
        checkpoints: Where the training is kept: killed at any moment and called again with the same arguments, it goes
            on to the same network. The caller deletes them.

    Returns:
        The network at its best or last step, and its history.

    Raises:
        InputError: Nothing to train on, no validation faces, sets that do not fit together, ranks that can't divide a
            batch, or a pretrained network of another form.
        ClassifierDivergedError: The loss was not finite.
    """
    stopwatch = Stopwatch()
    if steps is not None:
        settings = settings.model_copy(update={"steps": steps})
    device = torch.device(device)
    balanced = settings.class_balanced if class_balanced is None else class_balanced
    augmentation = augmentation or settings.augmentation
    real, synthetic = _nonempty(real), _nonempty(synthetic)
    first = _check_sets(real, synthetic, validation, synthetic_share)
    ranks = current_ranks()
    if problems := ranks.why_not_divided(settings.batch_size, "classifier.batch_size"):
        raise InputError(problems)
    synthetic_count = _synthetic_count(settings.batch_size, synthetic_share, real, synthetic)
    streams = [
        (faces.images.to(device), faces.labels.to(device), draws, count)
        for faces, count, draws in (
            (real, settings.batch_size - synthetic_count, _stream(real, balanced, derive_seed(seed, "real draws"))),
            (synthetic, synthetic_count, _stream(synthetic, balanced, derive_seed(seed, "synthetic draws"))),
        )
        if faces is not None and draws is not None and count
    ]
    validation_images = validation.images.to(device)
    validation_labels = validation.labels.cpu().numpy()

    model = create_classifier(
        settings.model,
        num_classes=len(first.class_names),
        channels=first.channels,
        seed=derive_seed(seed, "initial weights"),
    )
    if pretrained is not None:
        start_from(model, pretrained, first.class_names)
    model = model.to(device)
    if not ranks.alone:
        share_batch_norms(model)
    settings, choice = ranks.from_first(
        lambda: chosen_precision(
            settings, num_classes=len(first.class_names), channels=first.channels, size=first.size, device=device
        )
    )
    precision = choice.used
    # A fifth faster on a CPU too (narrow ResNet18, 48 px, batch 32: 21 against 26 ms per step on two cores).
    model = model.to(memory_format=torch.channels_last)
    optimizer, scheduler = _optimizer(model, settings)
    scaler = torch.amp.GradScaler(device.type, enabled=precision == "float16")
    average = MovingAverage(model, model.state_dict(), settings.ema_decay)
    generator = torch.Generator().manual_seed(derive_seed(seed, "augmentation"))
    state = TrainingState(model, optimizer, scheduler, scaler, average, generator, stopwatch)
    if checkpoints is not None:
        checkpoints.resume(state)
    for _, _, draws, count in streams:
        for _ in range(state.step):
            draws.take(count)

    score_name = "balanced_accuracy" if settings.select_by == "last" else settings.select_by
    model.train()
    bar = track(
        range(state.step + 1, settings.steps + 1),
        total=settings.steps,
        initial=state.step,
        desc="classifier",
        unit="steps",
        leave=False,
        disable=not (progress and ranks.first),
    )
    for step in bar:
        drawn = [(images, labels, torch.from_numpy(draws.take(count))) for images, labels, draws, count in streams]
        batch = torch.cat([images[positions.to(device)] for images, _, positions in drawn])
        labels = torch.cat([labels[positions.to(device)] for _, labels, positions in drawn])
        inputs = augment_images(batch, augmentation, settings.augmentation_settings, generator)
        targets = labels
        if augmentation == "mixup" or augmentation == "cutmix":
            inputs, targets = mix_batch(
                inputs, labels, len(first.class_names), augmentation, settings.augmentation_settings, generator
            )
            labels = targets.argmax(1)
        inputs, targets, labels = map(ranks.own, (inputs, targets, labels))
        learning_rate = float(scheduler.get_last_lr()[0])
        # Dropout draws from the global generator: fenced, and the same at this step in every arm. Ranks have their own.
        dropout_seed = derive_seed(seed, "dropout", step) + ranks.rank
        with ranks.sharing():
            with seeded(dropout_seed, device), autocast(device, precision):
                logits = model(inputs)
                loss = F.cross_entropy(logits, targets, label_smoothing=settings.label_smoothing)
            optimizer.zero_grad(set_to_none=True)
            scaler.scale(loss).backward()
        right = (logits.detach().argmax(1) == labels).float().mean()
        loss = loss.detach().float()
        ranks.average_([*(value.grad for value in model.parameters() if value.grad is not None), loss, right])
        scaler.step(optimizer)
        scaler.update()
        scheduler.step()
        average.update()
        state.add(loss, right)
        if on_step is not None and ranks.first:
            on_step(step)
        if step % settings.validate_every == 0 or step == settings.steps:
            since = state.steps_since_look
            if first_bad := int(state.sums["first_bad"]):
                raise ClassifierDivergedError(
                    f"the classifier's loss is not finite at step {first_bad} of {settings.steps}; lower"
                    f" classifier.learning_rate (now {settings.learning_rate:g}) or raise classifier.warmup_share"
                )
            with average.swapped():  # where there is an average, it is what is looked at and kept
                predicted = ranks.from_first(
                    lambda: predict(model, validation_images, precision=precision).argmax(axis=1)
                )
                scores = score_predictions(validation_labels, predicted, first.class_names)
                score = float(getattr(scores, score_name))
                if step == settings.steps if settings.select_by == "last" else score > state.best_score:
                    state.best_step, state.best_score = step, score
                    state.best = {name: value.detach().clone() for name, value in model.state_dict().items()}
            row = {
                "step": step,
                "learning_rate": learning_rate,
                "loss": float(state.sums["loss"]) / since,
                "train_accuracy": float(state.sums["right"]) / since,
                "accuracy": scores.accuracy,
                "balanced_accuracy": scores.balanced_accuracy,
                "macro_f1": scores.macro_f1,
            }
            state.look(row)
            bar.set_postfix(loss=f"{row['loss']:.3f}", validation=f"{score:.3f}")
            if on_validation is not None and ranks.first:
                on_validation(row)
        # Ranks would have to ask each other at each step whether it is time; they do at looks alone.
        if checkpoints is not None and (ranks.alone or not state.steps_since_look):
            checkpoints.keep(state)
    model.load_state_dict(state.best)
    return TrainedClassifier(
        model=model.eval(),
        history=state.history,
        best_step=state.best_step,
        validation_score=state.best_score,
        seconds=stopwatch.seconds,
        processor_seconds=stopwatch.processor_seconds,
    )


def _nonempty(faces: FaceTensors | None) -> FaceTensors | None:
    return faces if faces is not None and len(faces) else None


def _check_sets(
    real: FaceTensors | None, synthetic: FaceTensors | None, validation: FaceTensors, synthetic_share: float
) -> FaceTensors:
    """Refuses sets that can't be trained on together; returns the first of the training sets."""
    if not 0 <= synthetic_share <= 1:
        raise InputError(Problem("share", f"{synthetic_share} is no share of a batch", "give a number in 0..1"))
    given = {"real": real, "synthetic": synthetic, "validation": validation}
    first = real if real is not None else synthetic
    if first is None:
        raise InputError(Problem("training faces", "there are none", "check the folds and the arm"))
    if not len(validation):
        raise InputError(
            Problem("validation faces", "there are none to follow the training on", "raise folds.validation_share")
        )
    problems = []
    for name, faces in given.items():
        if faces is None:
            continue
        if (faces.channels, faces.size) != (first.channels, first.size):
            found, wanted = f"{faces.channels} x {faces.size} px", f"{first.channels} x {first.size} px"
            problems.append(
                Problem(f"{name} faces", f"are {found}, the training faces {wanted}", "read both at one size")
            )
        if faces.class_names != first.class_names:
            problems.append(
                Problem(
                    f"{name} faces", f"have the classes {faces.class_names}, not {first.class_names}", "use one set"
                )
            )
    if problems:
        raise InputError(problems, "sets of faces that do not fit together:")
    return first


def _synthetic_count(batch_size: int, share: float, real: FaceTensors | None, synthetic: FaceTensors | None) -> int:
    if synthetic is None:
        return 0
    if real is None:
        return batch_size
    # A share that is neither nought nor all leaves at least one face of either kind.
    least, most = (0, batch_size) if share in (0, 1) else (1, batch_size - 1)
    return min(max(round(batch_size * share), least), most)


def _stream(faces: FaceTensors | None, balanced: bool, seed: int) -> DrawStream | None:
    if faces is None:
        return None
    return DrawStream(faces.labels.cpu().numpy(), balanced=balanced, seed=seed)


def _optimizer(
    model: FaceClassifier, settings: ClassifierSettings
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    # Vectors are biases, and scales and shifts of norms.
    parameters = list(model.parameters())
    groups = [
        {"params": [values for values in parameters if values.ndim <= 1], "weight_decay": 0.0},
        {"params": [values for values in parameters if values.ndim > 1], "weight_decay": settings.weight_decay},
    ]
    optimizer: torch.optim.Optimizer
    if settings.optimizer == "adamw":
        optimizer = torch.optim.AdamW(groups, lr=settings.learning_rate, fused=True)
    else:
        optimizer = torch.optim.SGD(groups, lr=settings.learning_rate, momentum=0.9, nesterov=True, fused=True)
    scheduler: torch.optim.lr_scheduler.LRScheduler
    if settings.schedule == "one_cycle":
        # one more than there are steps: the scheduler is stepped once after the last, and refuses beyond its end
        scheduler = one_cycle(
            optimizer, peak=settings.learning_rate, steps=settings.steps + 1, rise=settings.warmup_share
        )
    else:
        rise = round(settings.warmup_share * settings.steps)

        def factor(step: int) -> float:
            if step < rise:
                return (step + 1) / (rise + 1)
            if settings.schedule == "constant":
                return 1.0
            done = (step - rise) / max(1, settings.steps - rise)
            return 0.5 * (1 + float(np.cos(np.pi * min(1.0, done))))

        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
    return optimizer, scheduler
