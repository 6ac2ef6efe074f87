"""A file per stage: it reads its parameters, calls the room that does the work, and puts the result in its place."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

STAGES = ("prepare", "parsing", "judge", "train", "synthesize", "assess", "classify", "report")


def run_stage(stage: str, root: Path, **arguments: Any) -> None:
    """Runs a stage in a workspace.

    Args:
        stage: One of `STAGES`; its module holds a function of the same name.
        root: The workspace.
        **arguments: Of that function: `name` of the translator or arm for stages that have one.
    """
    # By name, so that a stage depends on its own module alone, and not on those of all others.
    getattr(importlib.import_module(f"pipeline.stages.{stage}"), stage)(root, **arguments)
