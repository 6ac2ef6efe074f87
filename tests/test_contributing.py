"""CONTRIBUTING.md's example translator works as it is written: its code, its line of the registry, its test."""

from __future__ import annotations

import importlib
import re
import shlex
from pathlib import Path

import pytest
import torch
import yaml

import augment.translators as registry
from augment.faces.tensors import FaceTensors
from augment.training.loop import TrainingSettings, train_translator
from augment.translators import create_translator, load_translator
from pipeline.parameters.whole import parse_parameters
from pipeline.profile import compose_profile

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, flags=re.DOTALL)


@pytest.fixture(autouse=True)
def class_mean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The example's file, importable, and its line in the registry."""
    code, line, *_ = blocks("python")
    (entry,) = yaml.safe_load("{" + line + "}").items()
    name, place = entry
    module, _, attribute = place.rpartition(":")
    (tmp_path / f"{module.rpartition('.')[2]}.py").write_text(code, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    monkeypatch.setitem(registry._BUILT_IN, name, f"{module.rpartition('.')[2]}:{attribute}")


def test_the_examples_own_test_passes() -> None:
    values: dict = {}
    exec(compile(blocks("python")[2], "CONTRIBUTING.md", "exec"), values)
    tests = [value for name, value in values.items() if name.startswith("test_")]
    assert len(tests) == 1
    tests[0]()


def test_it_is_fitted_saved_and_loaded_by_the_training_loop(tmp_path: Path) -> None:
    faces = FaceTensors(
        images=torch.randint(0, 256, (12, 1, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)),
        labels=torch.arange(12) % 3,
        landmarks=None,
        masks=None,
        face_ids=tuple(f"face-{row}" for row in range(12)),
        subjects=(None,) * 12,
        class_names=("angry", "happy", "neutral"),
    )
    translator = create_translator("class_mean", num_classes=3, channels=1, size=32)
    out = tmp_path / "out"
    train_translator(translator, faces, None, TrainingSettings(), out=out, scratch=tmp_path / "scratch", seed=1)
    loaded = load_translator(out / "weights.safetensors")
    targets = (faces.labels + 1) % 3
    one, two = (part.translate(faces, targets, torch.Generator().manual_seed(2)) for part in (translator, loaded))
    assert torch.equal(one, two) and not torch.equal(one, faces.images)


def test_its_recipe_and_its_run_are_accepted() -> None:
    recipe = yaml.safe_load(blocks("yaml")[0])
    command = next(block for block in blocks("sh") if "arms.synthetic.class_mean" in block)
    overrides = shlex.split(command.replace("\\\n", " "), comments=True)
    overrides = overrides[overrides.index("profile") + 1 : overrides.index("&&")]
    values = yaml.safe_load(compose_profile(ROOT, overrides))
    assert values["arms"]["synthetic"]["class_mean"]["translator"] == "class_mean"
    values["translators"]["class_mean"] = recipe
    parse_parameters(values, where="the recipe")
