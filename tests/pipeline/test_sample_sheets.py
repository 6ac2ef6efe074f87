"""Which sample sheets of a translator's training are filed, as the conditional DCGAN's figure 5 has them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

import pipeline.experiments
from augment.translators import create_translator, save_translator
from pipeline.core.workspace import fold_directory
from pipeline.profile import compose_profile
from reports.experiments.catalogue import Samples, find_experiment

ROOT = Path(__file__).parents[2]
TINY = {"width": 4, "latent_size": 6}
BATCHES_PER_EPOCH = 28_709 / 64  # FER2013 at the published batch size


def trained(folder: Path, steps: int, every: int, *, share: float = 0.5) -> Path:
    """A translator's folder with a sheet of every so many steps, as a training leaves it."""
    fold = fold_directory(folder, 0)
    (fold / "samples").mkdir(parents=True)
    settings = {**TINY, "encoder_share": share}
    save_translator(
        create_translator("cdcgan", num_classes=2, channels=1, size=32, settings=settings), fold / "weights.safetensors"
    )
    (fold / "training.json").write_text(json.dumps({"steps": steps}))
    for step in sorted({*range(every, steps + 1, every), steps}):
        (fold / "samples" / f"step-{step:06d}.png").touch()
    return folder


def steps_of(sheets: list[Path]) -> list[int]:
    return [int(sheet.stem.removeprefix("step-")) for sheet in sheets]


@pytest.mark.parametrize(
    ("share", "expected"),
    [(0.25, [650, 1300, 1950, 2600]), (0.5, [650, 1300, 1950])],  # the sheet after the phase's last step is of it
)
def test_sheets_of_the_encoders_phase_are_not_taken(tmp_path: Path, share: float, expected: list[int]) -> None:
    shown = Samples(translator="cdcgan", epochs=(0, 1, 2, 3, 4, 5), of=6)
    folder = trained(tmp_path, 3900, 650, share=share)
    assert steps_of(pipeline.experiments._samples(folder, shown)) == expected


def test_of_many_sheets_those_nearest_to_the_papers_epochs_are_taken(tmp_path: Path) -> None:
    """Half of 2,000 steps are the GAN's: 50 epochs of 20 steps each. Two epochs nearest to one sheet are one."""
    folder = trained(tmp_path, 2000, 60)
    shown = Samples(translator="cdcgan", epochs=(0, 6, 12, 39), of=50)
    assert steps_of(pipeline.experiments._samples(folder, shown)) == [60, 120, 240, 780]
    shown = Samples(translator="cdcgan", epochs=(0, 1, 12), of=50)
    assert steps_of(pipeline.experiments._samples(folder, shown)) == [60, 240]


def test_at_the_papers_scale_there_is_a_sheet_of_each_published_epoch_but_the_first(tmp_path: Path) -> None:
    values = yaml.safe_load(compose_profile(ROOT, ["experiment=cdcgan_figs", "dataset=fer2013", "scale=paper"]))
    training, shown = values["translators"]["cdcgan"]["training"], find_experiment("cdcgan_figs").samples
    assert shown is not None and shown.epochs == (0, 6, 12, 18, 24, 39)
    folder = trained(tmp_path, training["steps"], training["sample_every"])
    epochs = [step / BATCHES_PER_EPOCH for step in steps_of(pipeline.experiments._samples(folder, shown))]
    assert epochs == pytest.approx([3, 6, 12, 18, 24, 39], abs=0.05)
