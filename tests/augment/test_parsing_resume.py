"""Parsing networks that are killed in the middle of their training, and go on."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from drawn_faces import drawn_faces
from killed_trainings import Killed, KilledError

import augment.parsing.training as training
from augment.core.training_checkpoints import TrainingCheckpoints
from augment.parsing.augmentation import AppearanceAugmentation
from augment.parsing.network import ParsingNetwork, ParsingSettings
from augment.parsing.training import Teacher, train_parsing

pytestmark = pytest.mark.slow

SETTINGS = ParsingSettings(width=4, levels=2, steps=64, batch_size=4, learning_rate=1e-2)
THIS = {"training": "this"}


def train(checkpoints: TrainingCheckpoints | None = None, *, seed: int = 3) -> tuple[ParsingNetwork, dict[str, Any]]:
    teachers = [
        Teacher("mild", drawn_faces(9)),
        Teacher("strong", drawn_faces(9, seed=1), appearance=AppearanceAugmentation()),
    ]
    return train_parsing(teachers, drawn_faces(6, seed=2), SETTINGS, seed, "cpu", checkpoints=checkpoints)


@cache
def undisturbed(seed: int = 3) -> tuple[ParsingNetwork, dict[str, Any]]:
    return train(seed=seed)


def train_and_kill(folder: Path, *, after: int) -> None:
    with pytest.raises(KilledError):
        train(Killed(folder, THIS, after))


def same(one: tuple[ParsingNetwork, dict], other: tuple[ParsingNetwork, dict]) -> bool:
    weights, others = one[0].state_dict(), other[0].state_dict()
    return one[1] == other[1] and all(torch.equal(weights[name], others[name]) for name in weights)


@pytest.mark.parametrize("killed_after", [1, 30, 57, 64])  # in the schedule's rise and fall; before 50 losses and after
def test_a_killed_training_goes_on_to_the_same_network(
    killed_after: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, of_another_seed = undisturbed(), undisturbed(4)
    train_and_kill(tmp_path, after=killed_after)
    steps = []
    draw = training._draw_batch
    monkeypatch.setattr(training, "_draw_batch", lambda *rest: steps.append(1) or draw(*rest))
    resumed = train(TrainingCheckpoints(tmp_path, THIS))
    assert len(steps) == 64 - killed_after and same(whole, resumed)
    assert not same(whole, of_another_seed)  # negative control


def test_what_the_schedule_set_is_put_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its momentum too, which a schedule of one cycle moves: without it the network is another."""
    load = training._State.load

    def forget_momentum(state: Any, checkpoint: Any) -> None:
        load(state, checkpoint)
        state.optimizer.param_groups[0]["betas"] = (0.9, 0.999)

    train_and_kill(tmp_path, after=30)
    monkeypatch.setattr(training._State, "load", forget_momentum)
    assert not same(undisturbed(), train(TrainingCheckpoints(tmp_path, THIS)))


def test_what_another_training_left_is_deleted(tmp_path: Path) -> None:
    train_and_kill(tmp_path, after=30)
    resumed = train(TrainingCheckpoints(tmp_path, {"training": "another"}))
    assert same(undisturbed(), resumed) and not list(tmp_path.glob("checkpoint-*"))
