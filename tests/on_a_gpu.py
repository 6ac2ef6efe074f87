"""Trains and uses what NAMES name on a pretended GPU, and prints what would fail on a real one, a line of JSON each.

    python tests/on_a_gpu.py stargan "lssl, warm start" classifier parsing control

`tests/test_on_a_gpu.py` calls it with the tests' folders on the path.
"""

from __future__ import annotations

import json
import sys
import tempfile
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import torch
from every_form import CLASS_NAMES, FORMS, SETTINGS, SIZE, create, faces
from pretended_gpu import GPU, pretended_gpu

from augment.faces.table import MASK_CLASSES
from augment.parsing.network import ParsingSettings
from augment.parsing.training import train_parsing
from augment.training.loop import train_translator
from augment.translators.base import Translator
from classifiers.evaluation import extract_features, predict
from classifiers.models import ModelSettings
from classifiers.training import ClassifierSettings, train_classifier

RESUMED = "lssl, pairs and flow"  # whose checkpoint has all that one may hold


def translator(form: str) -> None:
    """Trains, publishes the best, and translates; one form goes on from a checkpoint."""
    made = create(form)
    broken_off = []

    def score(judged: Translator, step: int) -> float:
        if form == RESUMED and step == 2 and not broken_off:
            broken_off.append(step)
            raise ConnectionError("broken off")
        return float(-step)

    def train() -> None:
        train_translator(
            made, faces(), faces(6, seed=9, prefix="other"), settings,
            out=Path(folder, "out"), scratch=Path(folder, "scratch"), seed=3, device=GPU, validate=score,
        )  # fmt: skip

    changes = {"steps": 3, "checkpoint_every": 1, "validate_every": 1, "sample_every": 3}
    settings = SETTINGS.model_copy(update=changes)
    with tempfile.TemporaryDirectory() as folder:
        with suppress(ConnectionError):
            train()
        if broken_off:
            made = create(form)
            train()
    sources = faces(6, seed=9, prefix="other").to(GPU)
    targets = sources.labels if made.keeps_class else (sources.labels + 1) % len(CLASS_NAMES)
    assert made.translate(sources, targets, torch.Generator().manual_seed(0)).device == GPU


def classifier() -> None:
    """Trains on real and synthetic faces, in every way that has code of its own, and answers."""
    train, validation = faces(), faces(6, seed=9, prefix="other")
    small = ModelSettings(name="plain_cnn", widths=(4, 4), convolutions=(1, 1))
    for settings in (
        ClassifierSettings(model=small, ema_decay=0.9),
        ClassifierSettings(model=small, augmentation="randaugment", optimizer="sgd", schedule="cosine"),
        ClassifierSettings(model=small, augmentation="mixup", class_balanced=False),
        ClassifierSettings(model=small, augmentation="cutmix", select_by="last"),
        ClassifierSettings(model=ModelSettings(name="resnet18_narrow", width=4), augmentation="flip"),
        ClassifierSettings(
            model=ModelSettings(name="squeeze_excitation_cnn", widths=(4, 4), convolutions=(1, 1)), augmentation="none"
        ),
    ):
        trained = train_classifier(
            settings.model_copy(update={"steps": 2, "batch_size": 8, "validate_every": 1}),
            real=train, synthetic=validation, validation=validation, device=GPU, progress=False,
        )  # fmt: skip
        assert len(predict(trained.model, validation)) == len(extract_features(trained.model, train.images[:6])) == 6


def parsing() -> None:
    """The parsing network's training and scores."""
    masks = torch.arange(SIZE * SIZE).reshape(1, SIZE, SIZE) % len(MASK_CLASSES)
    with_masks = replace(faces(), masks=masks.repeat(12, 1, 1).to(torch.uint8))
    train_parsing(with_masks, None, ParsingSettings(steps=2, width=4), 0, GPU)


def control() -> None:
    """What must not go unseen."""
    torch.zeros(SIZE, device=GPU) + torch.zeros(SIZE)


CASES: dict[str, Callable[[], None]] = {"classifier": classifier, "parsing": parsing, "control": control}


def main() -> None:
    torch.set_num_threads(1)
    for name in sys.argv[1:] or [*FORMS, *CASES]:
        found = None
        try:
            with pretended_gpu():
                CASES[name]() if name in CASES else translator(name)
        except Exception:
            found = traceback.format_exc()
        print(json.dumps({"name": name, "found": found}), flush=True)


if __name__ == "__main__":
    main()
