"""What all tests share: no network, one thread, no telemetry, the same chance."""

from __future__ import annotations

import os
import sys

import pytest

# Set before torch, timm, datasets or Prefect is imported anywhere.
os.environ.update(
    OMP_NUM_THREADS="1",
    HF_HUB_OFFLINE="1",
    HF_DATASETS_OFFLINE="1",
    HF_HUB_DISABLE_TELEMETRY="1",
    DO_NOT_TRACK="1",
    PREFECT_SERVER_ANALYTICS_ENABLED="false",
    MPLBACKEND="Agg",
)


@pytest.fixture(autouse=True)
def _same_chance_in_every_run() -> None:
    """A test that draws from torch's own stream sees the same numbers alone, in a file, and beside others."""
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)
