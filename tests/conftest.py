"""What all tests share: no network, one thread, no telemetry."""

from __future__ import annotations

import os

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
