"""What all tests share: no network, one thread, no telemetry, the same chance."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

# Dozens of tests start processes that import torch: without byte code each compiles it anew, for seconds.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
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
# How long an example takes, the machine says and what else it does: no property is refuted by that.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")
ROOMS = ("augment", "classifiers", "reports", "pipeline")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files go first, so that the workers end together."""
    long = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: (item.path not in long, not {"pipeline", "plugin"} & set(item.path.parts)))


@pytest.fixture(autouse=True)
def _same_chance_in_every_run() -> None:
    """A test that draws from torch's own stream sees the same numbers alone, in a file, and beside others."""
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)


@pytest.fixture(autouse=True)
def _environment_as_it_was() -> Iterator[None]:
    """What a command sets for its own process and those that it starts (`--quiet` does) ends with its test."""
    environment = dict(os.environ)
    root = logging.getLogger()
    handlers = root.handlers[:]
    levels = {name: logging.getLogger(name).level for name in ("", *ROOMS)}
    yield
    if dict(os.environ) != environment:
        os.environ.clear()
        os.environ.update(environment)
    root.handlers[:] = handlers
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)
