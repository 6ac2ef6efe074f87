"""Settings of the report. They stand apart from what uses them: reading params.yaml should not load pandas."""

from __future__ import annotations

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
