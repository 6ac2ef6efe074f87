"""Every error of ours survives the way from one process to another: else a worker's error would break its pool."""

from __future__ import annotations

import importlib
import pickle
import pkgutil
from pathlib import Path

import pytest

from augment.core.errors import InputError, Problem
from augment.training.divergence import TrainingDivergedError

PACKAGES = ("augment", "classifiers", "reports")  # what worker processes run
PROBLEMS = [Problem("row 3", "is empty", "fill it"), Problem("row 4", "is empty too")]


def errors() -> dict[str, type[Exception]]:
    found = {}
    for package in PACKAGES:
        for module in pkgutil.walk_packages(importlib.import_module(package).__path__, f"{package}."):
            for value in vars(importlib.import_module(module.name)).values():
                if isinstance(value, type) and issubclass(value, Exception) and value.__module__.startswith(PACKAGES):
                    found[f"{value.__module__}.{value.__qualname__}"] = value
    return found


@pytest.mark.slow
def test_every_error_is_the_same_after_the_way() -> None:
    found = errors()
    assert len(found) > 10
    for name, kind in found.items():
        if kind is TrainingDivergedError:
            error: Exception = TrainingDivergedError(7, "generator/cycle", float("inf"), Path("scratch/x"), 5)
        elif issubclass(kind, InputError):
            error = kind(PROBLEMS, "two rows can't be read:")
        else:
            error = kind("a reason")
        back = pickle.loads(pickle.dumps(error))
        assert type(back) is kind and str(back) == str(error), name
        assert vars(back).keys() == vars(error).keys(), name
