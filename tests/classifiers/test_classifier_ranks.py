"""Classifiers whose training ranks share: the steps of one process, and an arm's cells by them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from striped_faces import tensors, write_dataset
from torch import nn

from augment.core.errors import InputError
from augment.core.ranks import run_on_ranks
from augment.networks.batch_norm import share_batch_norms
from classifiers.arms import run_arm
from classifiers.evaluation import read_predictions
from classifiers.models import ModelSettings
from classifiers.settings import Arm
from classifiers.training import ClassifierSettings, train_classifier

pytestmark = pytest.mark.slow

NETWORKS = [
    ModelSettings(name="resnet18_narrow", stem="half", width=4),
    ModelSettings(name="resnet18", stem="half"),
    ModelSettings(name="plain_cnn", dropout=0.0),
]


def steps(*, model: ModelSettings, **changes: Any) -> dict[str, Any]:
    """A few steps of plain gradient descent, whose weights differ by no more than their gradients do."""
    settings = ClassifierSettings(
        model=model,
        steps=4,
        batch_size=12,
        optimizer="sgd",
        learning_rate=2e-3,
        schedule="constant",
        warmup_share=0.0,
        validate_every=2,
        select_by="last",
        ema_decay=0.9,
        **changes,
    )
    trained = train_classifier(
        settings,
        real=tensors(np.arange(30) % 3, seed=0),
        synthetic=tensors(np.arange(24) % 3, seed=2),
        validation=tensors(np.arange(15) % 3, seed=1),
        synthetic_share=0.25,
        progress=False,
    )
    return {"weights": trained.model.state_dict(), "history": trained.history}


def several_steps(*, calls: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of several trainings by one start of the processes, which import torch for seconds."""
    return [steps(**call) for call in calls]


@pytest.mark.parametrize(
    "calls",
    [
        pytest.param([{"model": NETWORKS[0]}, {"model": NETWORKS[2]}], id="narrow and plain"),
        pytest.param(
            [{"model": NETWORKS[1]}, {"model": NETWORKS[0], "augmentation": "mixup", "label_smoothing": 0.0}],
            id="resnet18 and mixup",
            marks=pytest.mark.nightly,
        ),
    ],
)
def test_steps_are_those_of_one_process(calls: list[dict[str, Any]]) -> None:
    for call, shared in zip(calls, run_on_ranks(several_steps, {"calls": calls}, count=2), strict=True):
        alone, model = steps(**call), call["model"].name
        # Rounding lets a largest-value pooling take another of two cells; statistics of each rank alone make 10 to 30
        # times the difference.
        tolerance = 1e-3 if model == "plain_cnn" else 1e-5
        for one, other in zip(alone["history"], shared["history"], strict=True):
            assert one == pytest.approx(other, rel=2e-3), model
        for name, value in alone["weights"].items():
            found = shared["weights"][name]
            torch.testing.assert_close(value, found, rtol=1e-3, atol=tolerance, msg=f"{model}: {name}")


def statistics_of_each_rank_alone(**call: Any) -> dict[str, Any]:
    """The wrong way: batch normalization by a rank's own rows."""
    import classifiers.training as training

    training.share_batch_norms = lambda network: None
    return steps(**call)


@pytest.mark.nightly
def test_the_comparison_would_see_statistics_of_each_rank_alone() -> None:
    wrong = run_on_ranks(statistics_of_each_rank_alone, {"model": NETWORKS[0]}, count=2)
    right = steps(model=NETWORKS[0])
    apart = [
        name
        for name, value in right["weights"].items()
        if not torch.allclose(value.double(), wrong["weights"][name].double(), rtol=1e-3, atol=1e-5)
    ]
    assert any("running_var" in name for name in apart) and any("conv" in name for name in apart)


@pytest.mark.nightly  # a killed rank of a translator is not
def test_an_arm_by_ranks_goes_on_where_it_was_and_says_who_made_it(tmp_path: Path) -> None:
    write_dataset(tmp_path)
    settings = ClassifierSettings(model=NETWORKS[0], steps=6, batch_size=8, learning_rate=1e-2, validate_every=3)

    def run(ranks: int, **changes: Any) -> Any:
        return run_arm(
            "real",
            Arm(kind="real"),
            faces_dir=tmp_path / "faces",
            folds_path=tmp_path / "folds.parquet",
            classifier_settings=settings,
            seeds=(0, 1),
            out=tmp_path / f"{ranks}.parquet",
            history_out=tmp_path / f"{ranks}.jsonl",
            scratch=tmp_path / "scratch",
            weights_out=tmp_path / f"weights-{ranks}",
            progress=False,
            ranks=ranks,
            **changes,
        )

    report = run(2)
    assert len(report.cells) == 4 and report.resumed == 0
    cell = json.loads((tmp_path / "scratch" / "fold-0-seed-0" / "cell.json").read_text())
    assert cell["about"]["ranks"] == 2
    first = (tmp_path / "2.parquet").read_bytes()
    assert run(2).resumed == 4 and (tmp_path / "2.parquet").read_bytes() == first
    assert run(1).resumed == 0  # of another number of ranks: made again
    shared, alone = (read_predictions(tmp_path / f"{ranks}.parquet")[0].to_pylist() for ranks in (2, 1))
    assert [row["face_id"] for row in shared] == [row["face_id"] for row in alone]
    gaps = [
        np.abs(np.subtract(a["probabilities"], b["probabilities"])).max() for a, b in zip(shared, alone, strict=True)
    ]
    assert np.median(gaps) < 0.02
    assert sorted(path.name for path in (tmp_path / "weights-2").rglob("*.safetensors")) == [
        *("seed-0.safetensors",) * 2,
        *("seed-1.safetensors",) * 2,
    ]


def fail(**_: Any) -> None:
    steps(model=NETWORKS[2], augmentation="flip", precision="float16")


def test_an_error_on_the_ranks_is_the_callers() -> None:
    with pytest.raises(InputError, match="float16 needs a GPU"):
        run_on_ranks(fail, {}, count=2)


def test_other_batch_normalization_is_refused() -> None:
    with pytest.raises(InputError, match=r"Sequential.0: is a BatchNorm1d.*set runtime.ranks to 1"):
        share_batch_norms(nn.Sequential(nn.BatchNorm1d(3)))
