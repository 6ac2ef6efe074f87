"""Settings of the report, in a file of their own, so that reading params.yaml does not import pandas."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Metric = Literal["accuracy", "balanced_accuracy"]

SCORES_VERSION = 4  # of scores.json; defined here so that reading one does not import torch


class BootstrapSettings(BaseModel):
    """Settings of the intervals."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    resamples: int = Field(default=5000, ge=200, description="Bootstrap resamples, of recognition's interval.")
    level: float = Field(default=0.95, gt=0.5, lt=1, description="Coverage of the intervals.")
    resample_seeds: bool = Field(
        default=True,
        description="Intervals are over other trainings of the classifiers too, not over other test faces alone. Each "
        "translator is trained once in a fold, which no interval includes. false: faces (or subjects) only.",
    )
    by_subject: bool = Field(
        default=True, description="Intervals are over whole subjects if every test face has a known subject."
    )
    seed: int = Field(default=0, ge=0, description="Random seed of the resamples.")


class ReportSettings(BaseModel):
    """Settings of the report."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str = Field(default="Do the synthetic faces help?", description="The page's heading.")
    baseline_arm: str | None = Field(
        default=None,
        description="The arm that all differences are from; null: the strongest that sees pictures (one that is given "
        "landmarks is shown, and not compared with) and no synthetic face. The main "
        "result on the page is always against the strongest one.",
    )
    metric: Literal["auto", "accuracy", "balanced_accuracy"] = Field(
        default="auto",
        description="What the page leads with, and what differences, intervals and verdicts are of: accuracy, or "
        "balanced_accuracy (mean recall of the classes). auto: balanced_accuracy if a class has more than 1.5 times as "
        "many test faces as another, else accuracy.",
    )
    split: str = Field(default="test", pattern="^(validation|test)$", description="The split that is evaluated.")
    bootstrap: BootstrapSettings = Field(default_factory=BootstrapSettings)


class ScoreSettings(BaseModel):
    """Settings of the scores. Counts are in images."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    reference_split: str = Field(
        default="test",
        pattern="^(train|validation|test)$",
        description="Split of the real faces for distances; two halves are made of it, one for the floor.",
    )
    max_images: int = Field(default=10_000, ge=2, description="Maximum number of faces per set for distances.")
    max_inception_images: int | None = Field(
        default=None,
        ge=2,
        description="The same for Inception only, which processes about 5 images/s on a CPU core.",
    )
    inception_weights: Path | None = Field(
        default=None, description="pytorch-fid's weights; null: search $TORCH_HOME/hub/checkpoints."
    )
    allow_download: bool = Field(default=False, description="Download missing Inception weights once.")
    inception_precision: Literal["auto", "float32", "bfloat16"] = Field(
        default="float32",
        description="Of Inception's forward pass. float32 is what published figures are computed in; bfloat16 moves "
        "FID a little. auto measures once per machine, and takes bfloat16 where it is at least 1.15 times as fast.",
    )
    inception_batch_size: int = Field(default=32, ge=1, description="Images per batch of Inception.")
    kernel_subset_size: int | None = Field(
        default=1000, ge=2, description="Subset size of the kernel distance; null: all pairs at once."
    )
    max_test_faces: int | None = Field(
        default=None,
        ge=1,
        description="Maximum number of test faces to translate per fold, stratified; null: all.",
    )
    batch_size: int = Field(default=64, ge=1, description="Test faces per batch.")
    moved_threshold: float = Field(
        default=0.01, ge=0, le=1, description="Outputs below this mean absolute difference (0..1) count as unmoved."
    )
    gallery: bool = Field(default=True, description="Save an image of inputs and outputs.")
    gallery_faces: int = Field(default=6, ge=1, le=64, description="Rows of that image.")
    seed: int = Field(default=0, ge=0, description="Random seed of the samples of faces and of the two halves.")
