"""What reaches a classifier's training, for tests that look at it."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest

from classifiers.training import ClassifierSettings


def recorded_calls(monkeypatch: pytest.MonkeyPatch, module: ModuleType) -> list[dict[str, Any]]:
    """The options of each training that a module does from now on, which are trained as ever."""
    calls: list[dict[str, Any]] = []
    train = module.train_classifier

    def record(settings: ClassifierSettings, **options: Any) -> Any:
        calls.append(options)
        return train(settings, **options)

    monkeypatch.setattr(module, "train_classifier", record)
    return calls
