"""Settings of the training loop."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from augment.core.precision import Precision
from augment.faces.augmentation import TrainingAugmentation
from augment.translators.base import DISCRIMINATOR

CheckpointRule = Literal["utility", "recognition", "recognition_and_distance"]


class TrainingSettings(BaseModel):
    """Settings of the training loop; the weights of losses belong to the translator.

    The defaults are LSSL's (section 4: Adam with 1e-4 and betas 0.5 and 0.999, batch 8, five discriminator steps per
    generator step, linear decay to 0 after the first 100 epochs, mirroring). The text gives no run length: it is read
    as 200 epochs of 500 iterations (fig. 11: 100 epochs of RaFD are 50,000), five iterations per generator step, on
    every data set, so that all are trained alike. (The released code has 300 epochs, whose last 100 decay.) Later
    papers added the moving average of weights and the evenly drawn target classes.

    Steps are generator steps throughout; a method without a discriminator has no others. There is no limit by time: a
    run that a clock ends can't be repeated.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    # The run
    steps: int = Field(default=20_000, ge=1, description="Generator steps of the run.")
    batch_size: int = Field(default=8, ge=1, description="Faces per batch.")
    discriminator_steps: int = Field(
        default=5, ge=1, description="Discriminator steps per generator step, each on its own batch."
    )

    # Adam and its schedule
    generator_learning_rate: float = Field(
        default=1e-4,
        gt=0,
        le=1,
        description="Adam's learning rate for the generator, and for every other network but the discriminator.",
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
    ema_decay: float = Field(
        default=0.999,
        ge=0,
        lt=1,
        description="Decay per step of the moving average of the generator's weights; 0 = no average.",
    )

    # The batches
    balanced_targets: bool = Field(
        default=True, description="Wanted classes are drawn evenly; else they are the batch's own labels, shuffled."
    )
    balanced_sources: bool = Field(
        default=False,
        description="Faces are drawn evenly over classes; else as they come, of several data sets as many of each.",
    )
    mirror: bool = Field(default=True, description="Faces are mirrored at random, picture and landmarks together.")
    augmentation: TrainingAugmentation = Field(
        default_factory=TrainingAugmentation, description="Of the training faces; none by default."
    )
    precision: Precision = Field(
        default="float32",
        description="Of the forward pass; float16 scales its losses and needs a CUDA device. auto measures a few steps "
        "once per machine, and takes bfloat16 where it is at least 1.15 times as fast, float32 elsewhere.",
    )

    # What is written when (in steps)
    log_every: int = Field(
        default=50, ge=1, description="Log every so many steps, to log.jsonl; terms are means over these steps."
    )
    sample_every: int = Field(
        default=1_000, ge=1, description="Draw a sample sheet every so many steps, and at the end."
    )
    sample_faces: int = Field(default=8, ge=1, le=64, description="Rows of a sample sheet.")
    validate_every: int = Field(default=2_000, ge=1, description="Validate every so many steps, and at the end.")
    checkpoint_rule: CheckpointRule = Field(
        default="utility",
        description="What the published weights are the best by, on validation faces: utility (what a classifier of "
        "their faces knows of real ones), recognition (by the judge), recognition_and_distance (from real faces).",
    )
    log_distances: bool = Field(
        default=False,
        description="At each validation also write how far each class's translated validation faces are from real ones "
        "(distances.jsonl; CCycleGAN, fig. 3).",
    )
    checkpoint_every: int = Field(
        default=500, ge=1, description="Write a checkpoint every so many steps; a killed run loses at most so many."
    )

    @field_validator("betas")
    @classmethod
    def _betas_in_range(cls, betas: tuple[float, float]) -> tuple[float, float]:
        if not all(0 <= beta < 1 for beta in betas):
            raise ValueError("each beta must be at least 0 and below 1, for example [0.5, 0.999]")
        return betas

    def learning_rate_factor(self, step: int, steps: int | None = None) -> float:
        """Factor of the learning rates at a step, from 0: 1, then falling linearly towards 0.

        Args:
            step: The step of the phase.
            steps: The phase's steps; the whole run's by default.
        """
        steps = self.steps if steps is None else steps
        start = self.decay_start_share * steps
        return 1.0 if step < start else (steps - step) / (steps - start)

    def learning_rate(self, network: str) -> float:
        """The initial learning rate of one of a translator's networks."""
        return self.discriminator_learning_rate if network == DISCRIMINATOR else self.generator_learning_rate
