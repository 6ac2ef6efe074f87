"""Settings of the report. They stand apart from what uses them: reading params.yaml should not load pandas."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

SCORES_VERSION = 2  # of scores.json; it stands here because reading one should not load torch


class BootstrapSettings(BaseModel):
    """Settings of the intervals."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    resamples: int = Field(default=5000, ge=200, description="Bootstrap resamples.")
    level: float = Field(default=0.95, gt=0.5, lt=1, description="Coverage of the percentile interval.")
    resample_seeds: bool = Field(
        default=True,
        description="Draw the training seeds too, so that the interval covers the chance of training as well as that "
        "of the test faces. Off: faces (or subjects) alone.",
    )
    by_subject: bool = Field(default=True, description="Draw whole subjects where every test face names its subject.")
    seed: int = Field(default=0, ge=0, description="Of the resamples.")


class ReportSettings(BaseModel):
    """Settings of the report."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str = Field(default="Do the synthetic faces help?", description="The page's heading.")
    baseline_arm: str | None = Field(
        default=None,
        description="The arm that all differences are taken from; null: the strongest arm without synthetic faces. The "
        "answer on the page is always against the strongest, whatever is named here.",
    )
    split: str = Field(default="test", pattern="^(validation|test)$", description="The faces that are scored.")
    bootstrap: BootstrapSettings = Field(default_factory=BootstrapSettings)


class ScoreSettings(BaseModel):
    """Settings of the scores. Counts are in pictures."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    reference_split: str = Field(
        default="test",
        pattern="^(train|validation|test)$",
        description="Real faces that the distances are taken to; split into two halves, one of them for the floor.",
    )
    max_images: int = Field(default=10_000, ge=2, description="At most so many faces per side for distances.")
    max_inception_images: int | None = Field(
        default=None,
        ge=2,
        description="The same for Inception alone, which makes about 5 images/s on a CPU core.",
    )
    inception_weights: Path | None = Field(
        default=None, description="pytorch-fid's weights; $TORCH_HOME/hub/checkpoints is searched where null."
    )
    allow_download: bool = Field(default=False, description="Fetch the Inception weights once where they are absent.")
    inception_batch_size: int = Field(default=32, ge=1, description="Pictures per batch of Inception.")
    kernel_subset_size: int | None = Field(
        default=1000, ge=2, description="Subset size of the kernel distance; null takes all pairs at once."
    )
    max_test_faces: int | None = Field(
        default=None,
        ge=1,
        description="Translate at most so many test faces per fold, stratified; all where null.",
    )
    batch_size: int = Field(default=64, ge=1, description="Test faces per batch.")
    moved_threshold: float = Field(
        default=0.01, ge=0, le=1, description="An output counts as unmoved below this mean absolute difference (0..1)."
    )
    gallery: bool = Field(default=True, description="Keep a sheet of inputs and outputs.")
    gallery_faces: int = Field(default=6, ge=1, le=64, description="Rows of that sheet.")
    seed: int = Field(default=0, ge=0, description="Of the draws of faces and of the two halves.")
