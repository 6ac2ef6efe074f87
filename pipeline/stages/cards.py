"""Dataset cards and licences of a run's datasets."""

from __future__ import annotations

from pathlib import Path

from filelock import FileLock

from augment.core.errors import InputError, Problem
from augment.core.json_files import read_json_object
from augment.faces.licences import Licence
from augment.faces.parent_card import write_parent_card
from pipeline.core.workspace import Artifacts


def update_card_of_all(artifacts: Artifacts, folder: Path) -> None:
    """Updates the card of the folder of all translators' datasets, which lists them as configurations to choose from.

    The card is not a stage's output, because every translator's stage writes it; DVC ignores it (.dvcignore).
    """
    artifacts.scratch.mkdir(parents=True, exist_ok=True)
    with FileLock(artifacts.scratch / "cards.lock"):  # stages of two translators may end at the same time
        write_parent_card(folder, title="Synthetic faces of all translators")
        write_parent_card(artifacts.home, title="All faces of a run, real and synthetic")


def read_licence(file: Path) -> Licence:
    """The licence in a stage's report: the data sets' terms apply to everything made from them."""
    try:
        return Licence.model_validate(read_json_object(file)["licence"])
    except (KeyError, ValueError) as error:
        fix = "run the stage that writes it again"
        raise InputError(Problem(str(file), f"names no licence: {error}", fix)) from error
