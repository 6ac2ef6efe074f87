"""Cards and licences: what the datasets of a run say of themselves."""

from __future__ import annotations

from pathlib import Path

from filelock import FileLock

from augment.core.errors import InputError, Problem
from augment.core.json_files import read_json_object
from augment.faces.licences import Licence
from augment.faces.parent_card import write_parent_card
from pipeline.core.workspace import Artifacts


def update_card_of_all(artifacts: Artifacts, folder: Path) -> None:
    """Names what lies in the folder of all translators' datasets now: who reads it whole must choose one.

    No stage's output, since every translator's stage writes it, and so DVC ignores it (.dvcignore).
    """
    artifacts.scratch.mkdir(parents=True, exist_ok=True)
    with FileLock(artifacts.scratch / "cards.lock"):  # stages of two translators may end at once
        write_parent_card(folder, title="Synthetic faces of all translators")
        write_parent_card(artifacts.home, title="All faces of a run, real and synthetic")


def read_licence(file: Path) -> Licence:
    """The licence that a stage's report names: its data sets' terms hold for everything made from them."""
    try:
        return Licence.model_validate(read_json_object(file)["licence"])
    except (KeyError, ValueError) as error:
        fix = "run the stage that writes it again"
        raise InputError(Problem(str(file), f"names no licence: {error}", fix)) from error
