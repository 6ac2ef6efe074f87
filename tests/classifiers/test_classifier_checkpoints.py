"""Classifiers that are killed in the middle of a training, and go on."""

from __future__ import annotations

import json
from functools import cache
from itertools import count
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from killed_trainings import Killed, KilledError
from striped_faces import tensors, write_dataset

import augment.core.training_checkpoints as checkpoints
import classifiers.arms as arms
import classifiers.judge as judge
import classifiers.training as training
from augment.core.ranks import current_ranks, run_on_ranks
from augment.core.training_checkpoints import TrainingCheckpoints
from classifiers.models import ModelSettings
from classifiers.settings import Arm
from classifiers.training import ClassifierSettings, TrainedClassifier, train_classifier
from classifiers.training_state import TrainingState

pytestmark = pytest.mark.slow

NARROW = ModelSettings(name="resnet18_narrow", stem="half", width=4)
THIS = {"training": "this"}
PLAIN = ModelSettings(name="plain_cnn", widths=(4, 8), convolutions=(1, 1), dropout=0.5)


def settings(**changes: Any) -> ClassifierSettings:
    few = {"model": NARROW, "steps": 30, "batch_size": 12, "learning_rate": 1e-2, "validate_every": 6}
    return ClassifierSettings(**few | changes)


def train(
    given: ClassifierSettings, checkpoints: TrainingCheckpoints | None = None, *, seed: int = 3
) -> TrainedClassifier:
    return train_classifier(
        given,
        real=tensors(np.arange(31) % 3, seed=0),
        synthetic=tensors(np.arange(24) % 3, seed=2),
        validation=tensors(np.arange(15) % 3, seed=1),
        synthetic_share=0.25,
        seed=seed,
        progress=False,
        checkpoints=checkpoints,
    )


@cache
def undisturbed(given: ClassifierSettings, seed: int = 3) -> TrainedClassifier:
    """A training that nothing kills; many tests compare with it."""
    return train(given, seed=seed)


def train_and_kill(given: ClassifierSettings, folder: Path, *, after: int) -> None:
    with pytest.raises(KilledError):
        train(given, Killed(folder, THIS, after))


def same(one: TrainedClassifier, other: TrainedClassifier) -> bool:
    weights, others = one.model.state_dict(), other.model.state_dict()
    chosen = (
        (one.history, one.best_step, one.validation_score),
        (other.history, other.best_step, other.validation_score),
    )
    return chosen[0] == chosen[1] and all(torch.equal(weights[name], others[name]) for name in weights)


@pytest.mark.parametrize(
    "given",
    [
        pytest.param(settings(), id="one cycle"),
        pytest.param(settings(model=PLAIN, ema_decay=0.9, select_by="last", class_balanced=False), id="average"),
        pytest.param(settings(optimizer="sgd", schedule="cosine", augmentation="mixup"), id="sgd"),
        pytest.param(settings(model=PLAIN, precision="bfloat16", augmentation="cutmix"), id="bfloat16"),
    ],
)
@pytest.mark.parametrize("killed_after", [6, 17, 30])
def test_a_killed_training_goes_on_to_the_same_network(
    given: ClassifierSettings, killed_after: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, of_another_seed = undisturbed(given), undisturbed(given, seed=4)
    train_and_kill(given, tmp_path / "kept", after=killed_after)
    steps = []
    augment = training.augment_images
    monkeypatch.setattr(training, "augment_images", lambda *rest: steps.append(1) or augment(*rest))
    resumed = train(given, TrainingCheckpoints(tmp_path / "kept", THIS))
    assert len(steps) == 30 - killed_after and same(whole, resumed)
    assert not same(whole, of_another_seed)  # negative control


def test_time_of_earlier_sessions_counts(tmp_path: Path) -> None:
    train_and_kill(settings(), tmp_path, after=24)
    state = max(tmp_path.glob("checkpoint-*")) / "state.json"
    earlier = json.loads(state.read_text())["state"]
    resumed = train(settings(), TrainingCheckpoints(tmp_path, THIS))
    assert earlier["seconds"] > 0 and earlier["processor_seconds"] > 0
    assert resumed.seconds > earlier["seconds"] and resumed.processor_seconds > earlier["processor_seconds"]


def test_short_trainings_write_nothing(tmp_path: Path) -> None:
    train(settings(), TrainingCheckpoints(tmp_path / "kept", THIS))
    assert not (tmp_path / "kept").exists()


def test_writing_takes_a_twentieth_of_the_time_at_most(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that stands but for steps of a second and checkpoints of four: a slow disk."""
    now = 0.0
    written: list[float] = []

    def write(*rest: Any, **others: Any) -> None:
        nonlocal now
        written.append(now)
        now += 4

    monkeypatch.setattr(checkpoints, "write_checkpoint", write)
    monkeypatch.setattr(checkpoints, "time", SimpleNamespace(monotonic=lambda: now))
    kept = TrainingCheckpoints(tmp_path, THIS, seconds=10)
    state = TrainingState.__new__(TrainingState)
    state.step, state.history = 0, []
    monkeypatch.setattr(TrainingState, "tensors", lambda self: {})
    monkeypatch.setattr(TrainingState, "values", lambda self: {})
    for _ in range(200):
        now += 1
        kept.keep(state)
    assert written == [10, 90, 170]


def test_what_another_training_left_is_deleted(tmp_path: Path) -> None:
    train_and_kill(settings(), tmp_path, after=24)
    resumed = train(settings(), TrainingCheckpoints(tmp_path, {"training": "another"}))
    assert same(undisturbed(settings()), resumed) and not list(tmp_path.glob("checkpoint-*"))


def test_a_damaged_checkpoint_is_passed_over(tmp_path: Path) -> None:
    train_and_kill(settings(), tmp_path, after=24)
    newest = max(tmp_path.glob("checkpoint-*"))
    (newest / "tensors.safetensors").write_bytes(b"torn")
    with pytest.warns(UserWarning, match=f"{newest.name} is damaged and is passed over"):
        resumed = train(settings(), TrainingCheckpoints(tmp_path, THIS))
    assert same(undisturbed(settings()), resumed)


def run_arm(data: Path, name: str) -> arms.ArmReport:
    return arms.run_arm(
        "real",
        Arm(kind="real"),
        faces_dir=data / "faces",
        folds_path=data / "folds.parquet",
        classifier_settings=settings(model=PLAIN),
        seeds=(0, 1),
        out=data / f"{name}.parquet",
        history_out=data / f"{name}.jsonl",
        scratch=data / name,
        progress=False,
    )


def kill_a_training(monkeypatch: pytest.MonkeyPatch, module: ModuleType, *, number: int) -> None:
    """Kills the training of that number, from 0, between its second look and its third."""
    begun = count()
    monkeypatch.setattr(
        module,
        "TrainingCheckpoints",
        lambda folder, about: Killed(folder, about, 14 if next(begun) == number else 0),
    )


def test_an_arm_goes_on_in_the_middle_of_a_cell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_dataset(tmp_path, folds=1)
    run_arm(tmp_path, "whole")
    kill_a_training(monkeypatch, arms, number=1)
    with pytest.raises(KilledError):
        run_arm(tmp_path, "killed")
    kept = tmp_path / "killed" / "fold-0-seed-1-training"
    assert [path.name for path in sorted(kept.glob("checkpoint-*"))] == ["checkpoint-00000013", "checkpoint-00000014"]
    report = run_arm(tmp_path, "killed")
    assert report.resumed == 1
    for ending in ("parquet", "jsonl"):
        assert (tmp_path / f"killed.{ending}").read_bytes() == (tmp_path / f"whole.{ending}").read_bytes()
    assert not list((tmp_path / "killed").glob("*-training"))


def test_a_judge_goes_on_in_the_middle_of_a_fold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_dataset(tmp_path)

    def run(name: str) -> bytes:
        out = tmp_path / name
        place = {"scratch": tmp_path / f"{name}-scratch", "progress": False}
        judge.train_judge(tmp_path / "faces", tmp_path / "folds.parquet", settings(model=PLAIN), 0, out, **place)
        return (out / "fold-1" / "weights.safetensors").read_bytes()

    whole = run("whole")
    kill_a_training(monkeypatch, judge, number=1)
    with pytest.raises(KilledError):
        run("killed")
    assert list((tmp_path / "killed-scratch" / "fold-1-training").glob("checkpoint-*"))
    assert run("killed") == whole
    assert not list((tmp_path / "killed-scratch").glob("*-training"))


def by_ranks(folder: Path | None, after: int = 0) -> dict[str, Any] | None:
    """A training that ranks share; None where it was killed."""
    try:
        trained = train(settings(model=PLAIN, ema_decay=0.9), None if folder is None else Killed(folder, THIS, after))
    except KilledError:
        return None
    return {"weights": trained.model.state_dict(), "history": trained.history, "ranks": current_ranks().count}


@pytest.mark.nightly
def test_ranks_go_on_together(tmp_path: Path) -> None:
    whole = run_on_ranks(by_ranks, {"folder": None}, count=2)
    assert run_on_ranks(by_ranks, {"folder": tmp_path, "after": 12}, count=2) is None
    resumed = run_on_ranks(by_ranks, {"folder": tmp_path}, count=2)
    assert resumed["ranks"] == 2 and resumed["history"] == whole["history"]
    assert all(torch.equal(value, resumed["weights"][name]) for name, value in whole["weights"].items())
