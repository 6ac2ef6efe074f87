"""Runs a stage as a command: checks all of params.yaml, records time and memory, and prints the result."""

from __future__ import annotations

import hashlib
import importlib
import logging
import os
import time
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from pydantic import Field

from augment.core import plug_ins
from augment.core.files import atomic_write_text
from augment.core.seals import file_digest
from pipeline.core.code import HOME, PACKAGES
from pipeline.core.messages import RESULT
from pipeline.core.parent_process import end_with_caller
from pipeline.core.project import check_place_of_artifacts
from pipeline.core.sections import Name, StageParameters, load_sections
from pipeline.core.stage_records import measured
from pipeline.core.workspace import Artifacts

LOG = logging.getLogger(__name__)


def run_in_workspace(stage: str, root: Path, **arguments: Any) -> None:
    """Runs a stage as `s2l` does.

    Args:
        stage: One of `pipeline.core.stage_names`.
        root: The workspace.
        **arguments: `name` of the translator or arm for stages that have one.

    Raises:
        InputError: params.yaml can't be run, an earlier stage's output is missing or damaged, or the stage refuses.
    """
    began = time.monotonic()
    os.environ.setdefault(
        "HF_HUB_OFFLINE", "1"
    )  # timm would otherwise look up the network for models that are installed
    if os.environ.get("DVC_STAGE"):
        end_with_caller()
        check_place_of_artifacts(root)
    check_parameters(root)
    with measured(root, stage, arguments.get("name")):
        run_stage(stage, root, **arguments)
    if stage != "report":  # which prints the path of its page
        minutes, seconds = divmod(round(time.monotonic() - began), 60)
        name = f" {arguments['name']}" if "name" in arguments else ""
        LOG.log(RESULT, "%s%s: done in %d:%02d", stage, name, minutes, seconds)


def run_stage(stage: str, root: Path, **arguments: Any) -> None:
    """Runs a stage in a workspace.

    Args:
        stage: One of `pipeline.core.stage_names`; its module holds a function of the same name.
        root: The workspace.
        **arguments: Of that function: `name` of the translator or arm for stages that have one.
    """
    # Imported by name, so that a stage depends on its own module and not on those of all other stages.
    getattr(importlib.import_module(f"pipeline.stages.{stage}"), stage)(root, **arguments)


class _Names(StageParameters):
    """The names that users give, of translators and of arms."""

    translators: dict[Name, Any] = Field(default_factory=dict)
    arms: dict[str, dict[Name, Any]] = Field(default_factory=dict)


def check_parameters(root: Path) -> None:
    """Checks all of params.yaml, not only the sections that a stage reads, so that errors show before any work.

    So are translators refused that require what no face of the data set has, where the data set is at hand. The check
    imports the settings of every package, which takes seconds, so its result is cached by content, unless there are
    plug-ins, whose code may be anywhere.

    Raises:
        InputError: params.yaml can't be run, or the data set can't serve a translator that must not be refused.
    """
    file, checked = root / "params.yaml", Artifacts(root).scratch / "parameters-checked"
    content = _content(file) if file.is_file() else None
    known = content is not None and checked.is_file() and checked.read_text(encoding="utf-8") == content
    if not known:
        load_sections(file, _Names)  # they stand in paths, and cost milliseconds to check: the rest loads torch
        # Imported by name: it can refuse a run but never change a result, so no stage should depend on its code.
        importlib.import_module("pipeline.requirements").check_run(root)
        if content is not None and not entry_points(group=plug_ins.TRANSLATORS):
            atomic_write_text(checked, content)


def _content(file: Path) -> str:
    """A hash of params.yaml and of all code that could check it."""
    digest = hashlib.sha256(file.read_bytes())
    for package in PACKAGES:
        for code in sorted((HOME / package).rglob("*.py")):
            digest.update(f"{code.relative_to(HOME)} {file_digest(code)}\n".encode())
    return digest.hexdigest()
