"""Precision of classifiers: `auto` is chosen once for all arms, and bfloat16 is computed on a CPU."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from striped_faces import tensors, write_dataset

from augment.core import precision_measurement as module
from augment.core.errors import InputError
from augment.core.precision import PrecisionChoice
from classifiers.arms import ArmReport, run_arm
from classifiers.models import ModelSettings
from classifiers.settings import Arm
from classifiers.training import ClassifierSettings, TrainedClassifier, train_classifier

TINY: dict[str, Any] = {
    "model": ModelSettings(name="resnet18_narrow", stem="half", width=4),
    "steps": 6,
    "batch_size": 8,
    "learning_rate": 1e-2,
    "augmentation": "flip",
    "validate_every": 3,
}


def train(**update: Any) -> TrainedClassifier:
    return train_classifier(
        ClassifierSettings(**{**TINY, **update}),
        real=tensors(np.arange(30) % 3, seed=0),
        validation=tensors(np.arange(15) % 3, seed=1),
        progress=False,
    )


def weights(trained: TrainedClassifier) -> str:
    digest = hashlib.sha256()
    for value in trained.model.state_dict().values():
        digest.update(value.numpy().tobytes())
    return digest.hexdigest()


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], list[float]]:
    """Lets bfloat16 be so many times as fast, whatever this machine is; gives the list of measurements."""
    made: list[float] = []

    def set_speed(speed: float) -> list[float]:
        def measure(make_step: Callable[[Any], Callable[[], None]], *_: object) -> PrecisionChoice:
            for precision in ("float32", "bfloat16"):
                make_step(precision)()
            made.append(speed)
            used = "bfloat16" if speed > 1.15 else "float32"
            return PrecisionChoice(asked="auto", used=used, bfloat16_speed=speed)  # type: ignore[arg-type]

        monkeypatch.setattr(module, "_measure", measure)
        return made

    return set_speed


@pytest.mark.parametrize(("speed", "used"), [(3.0, "bfloat16"), (0.6, "float32")])
def test_auto_trains_as_if_its_choice_had_been_set(
    measured: Callable[[float], list[float]], speed: float, used: str
) -> None:
    measured(speed)
    automatic, set_so = train(precision="auto"), train(precision=used)
    other = train(precision={"bfloat16": "float32", "float32": "bfloat16"}[used])
    assert weights(automatic) == weights(set_so) != weights(other)


def test_bfloat16_is_computed_on_a_cpu_and_learns_the_same() -> None:
    exact, coarse = train(steps=60), train(steps=60, precision="bfloat16")
    assert weights(exact) != weights(coarse)
    assert coarse.history[-1]["loss"] == pytest.approx(exact.history[-1]["loss"], rel=0.2)


def test_float16_needs_a_gpu() -> None:
    with pytest.raises(InputError, match=r"classifier\.precision: float16 needs a GPU"):
        train(precision="float16")


def run(data: Path, name: str, **options: Any) -> ArmReport:
    return run_arm(
        name,
        options.pop("arm", Arm(kind="real")),
        faces_dir=data / "faces",
        folds_path=data / "folds.parquet",
        classifier_settings=ClassifierSettings(**{**TINY, "precision": "auto"}),
        seeds=(0, 1),
        out=data / "out" / f"{name}.parquet",
        scratch=data / "scratch" / name,
        progress=False,
        precision_cache=data / "precision",
        **options,
    )


def test_all_arms_folds_and_seeds_have_one_choice(tmp_path: Path, measured: Callable[[float], list[float]]) -> None:
    write_dataset(tmp_path)
    made = measured(3.0)
    first = run(tmp_path, "real")
    measured(0.6)  # noise that would turn the choice
    second = run(tmp_path, "flipped", arm=Arm(kind="real", augmentation="flip"))
    assert made == [3.0]
    assert first.precision == second.precision == PrecisionChoice(asked="auto", used="bfloat16", bfloat16_speed=3.0)
    # Finished cells go on being finished; in another precision they are trained again.
    assert run(tmp_path, "real").resumed == 4
    for file in (tmp_path / "precision").iterdir():
        file.unlink()
    assert run(tmp_path, "real").resumed == 0
