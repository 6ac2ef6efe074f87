"""What reaches a classifier's training, for tests that look at it."""

from __future__ import annotations

from typing import Any

import pytest

import classifiers.arms as arms
from classifiers.training import ClassifierSettings


def recorded_calls(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The options of each training that arms do from now on, which are trained as ever."""
    calls: list[dict[str, Any]] = []
    train = arms.train_classifier

    def record(settings: ClassifierSettings, **options: Any) -> Any:
        calls.append(options)
        return train(settings, **options)

    monkeypatch.setattr(arms, "train_classifier", record)
    return calls
