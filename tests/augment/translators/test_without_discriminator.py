"""A method without a discriminator, flow matching, is trained by the loop as every other translator."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tiny_translators import SIZE, tiny_faces, tiny_training
from torch import nn

from augment.core.checkpoints import checkpoint_folders
from augment.training.loop import train_translator
from augment.training.outputs import TIMING_FIELDS
from augment.translators import Batch, create_translator, load_translator
from augment.translators.flow_matching import FlowMatching, FlowMatchingSettings

pytestmark = pytest.mark.slow


def flow_matching() -> FlowMatching:
    settings = {"width": 8, "residual_blocks": 1}
    translator = create_translator("flow_matching", num_classes=3, channels=1, size=SIZE, settings=settings, seed=5)
    assert isinstance(translator, FlowMatching)
    return translator


def train(folder: Path, translator: FlowMatching | None = None, **changes: Any) -> FlowMatching:
    translator = translator or flow_matching()
    settings = tiny_training(**({"discriminator_steps": 5, "mirror": False} | changes))
    faces = tiny_faces()
    train_translator(translator, faces, None, settings, out=folder / "out", scratch=folder / "scratch", seed=3)
    return translator


def log_lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "out" / "log.jsonl").read_text().splitlines()]


def test_it_learns_and_its_log_speaks_of_its_own_network(tmp_path: Path) -> None:
    translator = flow_matching()
    seen: list[tuple[str, int, int]] = []
    losses = translator.losses

    def noting(network: str, batch: Batch) -> dict[str, torch.Tensor]:
        seen.append((network, batch.step, batch.total_steps))
        return losses(network, batch)

    translator.losses = noting  # type: ignore[method-assign]
    train(tmp_path, translator, steps=60, log_every=20, generator_learning_rate=1e-2)
    assert seen == [("flow", step, 60) for step in range(60)]  # one batch per step, whatever discriminator_steps says
    lines = log_lines(tmp_path)
    assert set(lines[0]) == {"step", "flow/velocity", "flow_learning_rate", *TIMING_FIELDS}
    assert lines[0]["flow_learning_rate"] == pytest.approx(1e-2)
    assert lines[-1]["flow/velocity"] < 0.8 * lines[0]["flow/velocity"]
    report = json.loads((tmp_path / "out" / "training.json").read_text())
    assert report["parameters"] == {"flow": sum(parameter.numel() for parameter in translator.parameters())}


def test_every_weight_is_averaged_and_the_average_is_published(tmp_path: Path) -> None:
    train(tmp_path, steps=6)
    last = load_file(checkpoint_folders(tmp_path / "scratch")[-1] / "tensors.safetensors")
    published = load_file(tmp_path / "out" / "weights.safetensors")
    for name, value in published.items():
        assert torch.equal(value, last[f"average/{name}"]) and not torch.equal(value, last[f"translator/{name}"]), name


def test_broken_off_at_every_step_and_resumed_is_bit_identical(tmp_path: Path) -> None:
    train(tmp_path / "undisturbed", steps=6, checkpoint_every=1)
    breaks = 0
    while not (tmp_path / "broken" / "out" / "training.json").exists():
        translator = flow_matching()
        losses, left = translator.losses, iter([True])

        def breaking(network: str, batch: Batch, losses: Any = losses, left: Any = left) -> dict[str, torch.Tensor]:
            if next(left, None) is None:
                raise ConnectionError("broken off")
            return losses(network, batch)

        translator.losses = breaking  # type: ignore[method-assign]
        try:
            train(tmp_path / "broken", translator, steps=6, checkpoint_every=1)
        except ConnectionError:
            breaks += 1
        assert breaks < 10
    assert breaks == 5
    one, other = ((tmp_path / run / "out" / "weights.safetensors").read_bytes() for run in ("undisturbed", "broken"))
    assert one == other
    timeless = [
        [{key: value for key, value in line.items() if key not in TIMING_FIELDS} for line in log_lines(tmp_path / run)]
        for run in ("undisturbed", "broken")
    ]
    assert timeless[0] == timeless[1]


def test_what_is_published_can_be_loaded(tmp_path: Path) -> None:
    translator = train(tmp_path, steps=6)
    faces = tiny_faces()
    targets = (faces.labels + 1) % 3
    loaded = load_translator(tmp_path / "out" / "weights.safetensors")
    assert torch.equal(loaded.translate(faces, targets), translator.translate(faces, targets))
    assert not torch.equal(loaded.translate(faces, targets), faces.images)


def test_a_method_without_networks_is_refused(tmp_path: Path) -> None:
    class Nothing(FlowMatching):
        def networks(self) -> Mapping[str, Iterable[nn.Parameter]]:
            return {}

    nothing = Nothing(num_classes=3, channels=1, size=SIZE, settings=FlowMatchingSettings())
    with pytest.raises(ValueError, match="Nothing: names no network to train"):
        train(tmp_path, nothing)
