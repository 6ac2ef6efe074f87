"""The benchmark of gain against training time: whose faces are made, and what it writes at which mark."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from augment.core.errors import InputError
from augment.faces.tensors import FaceTensors
from augment.training.settings import TrainingSettings
from augment.translators.base import Translator, TranslatorSettings
from benchmarks.learning_curves import COLUMNS, curve, made_faces
from pipeline.parameters.translators import TranslatorEntry

pytestmark = pytest.mark.slow

LABELS = [0, 0, 0, 1, 1, 2, 2, 2]


def some_faces() -> FaceTensors:
    """A picture is its row's number, everywhere."""
    rows = torch.arange(len(LABELS), dtype=torch.uint8)
    return FaceTensors(
        images=rows.view(-1, 1, 1, 1).expand(-1, 1, 16, 16).contiguous(),
        labels=torch.tensor(LABELS),
        landmarks=None,
        masks=None,
        face_ids=tuple(f"face-{row}" for row in rows.tolist()),
        subjects=(None,) * len(LABELS),
        class_names=("angry", "happy", "neutral"),
    )


class Copier(Translator):
    name = "copier"
    Settings = TranslatorSettings

    def __init__(self, prefers: int | None = None) -> None:
        super().__init__(num_classes=3, channels=1, size=16, settings=TranslatorSettings())
        self.prefers = prefers

    def preferred_sources(self, labels, class_names):
        return None if self.prefers is None else labels == self.prefers

    def translate(self, faces, targets, generator=None):
        return faces.images


def sources_by_target(prefers: int | None) -> list[list[int]]:
    made = made_faces(Copier(prefers), some_faces(), 6, seed=0)
    assert made.labels.tolist() == [0] * 6 + [1] * 6 + [2] * 6
    return [sorted(made.images[made.labels == target, 0, 0, 0].tolist()) for target in range(3)]


def test_sources_are_of_other_classes_each_before_any_again() -> None:
    angry, happy, neutral = sources_by_target(None)
    assert set(angry) == {3, 4, 5, 6, 7} and max(map(angry.count, angry)) == 2
    assert set(happy) == {0, 1, 2, 5, 6, 7}
    assert set(neutral) == {0, 1, 2, 3, 4}


def test_preferred_sources_are_taken_where_there_are_any() -> None:
    angry, happy, neutral = sources_by_target(2)
    assert set(angry) == set(happy) == {5, 6, 7}
    assert set(neutral) == {0, 1, 2, 3, 4}  # none of another class is preferred


class Asked:
    """Stands for `Utility`: notes what it is given."""

    def __init__(self, killed_at: int | None = None) -> None:
        self.faces = {"train": some_faces(), "validation": some_faces()}
        self.seen: list[FaceTensors] = []
        self.killed_at = killed_at

    def measure(self, synthetic: FaceTensors) -> dict[str, float]:
        self.seen.append(synthetic)
        if len(self.seen) == self.killed_at:
            raise KeyboardInterrupt
        return {"gain": 1.0, "real_accuracy": 50.0, "frechet_distance": 2.0, "recognition": 0.5}


def rows_of(
    tmp_path: Path, marks: list[float], rows: list[dict[str, Any]] | None = None, killed_at: int | None = None
) -> tuple[list[dict[str, Any]], Asked]:
    rows = [] if rows is None else rows
    asked = Asked(killed_at)
    curve(
        "flow",
        TranslatorEntry(
            method="flow_matching",
            settings={"width": 8, "residual_blocks": 1},
            training=TrainingSettings(steps=8, batch_size=4, sample_faces=1),
        ),
        asked,  # type: ignore[arg-type]
        marks=marks,
        attach=lambda _: None,
        people=9,
        per_class=2,
        seed=0,
        sheets=tmp_path,
        write=rows.append,
    )
    return rows, asked


def test_a_row_is_written_at_a_mark_that_has_passed(tmp_path: Path) -> None:
    """Two marks at nought seconds are passed together, at the first look."""
    rows, asked = rows_of(tmp_path, [0.0, 0.0])
    assert len(rows) == 1 and set(rows[0]) == set(COLUMNS)
    assert rows[0]["step"] >= 1 and rows[0]["seconds"] > 0
    assert len(asked.seen[0]) == 6
    assert len(list(tmp_path.glob("flow-9-*.png"))) == 1
    assert not list((tmp_path / "unfinished").iterdir())


def test_a_curve_that_was_killed_goes_on_and_writes_no_row_again(tmp_path: Path) -> None:
    """Three marks, killed as the second row is made: the first stays, and the time goes on where it was."""
    rows: list[dict[str, Any]] = []
    marks = [0.01, 0.5, 1.0]
    with pytest.raises(KeyboardInterrupt):
        rows_of(tmp_path, marks, rows, killed_at=2)
    first = list(rows)
    assert len(first) == 1
    with pytest.raises(InputError, match=r"a curve with marks \[0.01, 0.5, 1.0\] was broken off"):
        rows_of(tmp_path, [0.01, 2.0], rows)
    rows, asked = rows_of(tmp_path, marks, rows)
    assert rows[:1] == first and len(asked.seen) == len(rows) - 1
    assert 2 <= len(rows) <= 3  # the last step may come before the last mark, by the probe
    steps, seconds = [row["step"] for row in rows], [row["seconds"] for row in rows]
    assert steps == sorted(set(steps)) and seconds == sorted(seconds)
    assert not list((tmp_path / "unfinished").iterdir())
