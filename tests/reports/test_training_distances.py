"""Distances in the course of several trainings: smoothing by hand, and the rule by which the paper picks the best."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from augment.core.errors import InputError
from reports.experiments.distances import distance_figures, draw_distances, read_distances, smoothed
from reports.figures import png_bytes


def test_smoothing_by_hand() -> None:
    """0.6; 0.4 * 0.6 + 0.6 * 2; 0.4 * 1.44 + 0.6 * 4; divided by 1 - 0.4, 1 - 0.16, 1 - 0.064."""
    values = smoothed(np.array([1.0, 2.0, 4.0]))
    assert values == pytest.approx([1.0, 1.44 / 0.84, 2.976 / 0.936])
    assert values[0] != pytest.approx(0.6)  # what it would be without the correction


def test_without_smoothing_values_stay() -> None:
    values = np.array([[3.0, 1.0], [2.0, 5.0]])
    assert (smoothed(values, beta=0.0) == values).all()


def write(file: Path, rows: dict[int, dict[str, float]]) -> Path:
    lines = [json.dumps({"step": step, "distances": distances}) for step, distances in rows.items()]
    file.write_text("\n".join(lines) + "\n")
    return file


def test_a_file_is_read_and_smoothed_and_an_absent_one_left_out(tmp_path: Path) -> None:
    file = write(tmp_path / "a.jsonl", {10: {"happy": 1.0, "sad": 4.0}, 20: {"happy": 2.0, "sad": 4.0}})
    curves = read_distances({"a": file, "b": tmp_path / "absent.jsonl"})
    assert list(curves) == ["a"]
    assert curves["a"].index.tolist() == [10, 20] and curves["a"].columns.tolist() == ["happy", "sad"]
    assert curves["a"]["happy"].tolist() == pytest.approx([1.0, 1.44 / 0.84])
    assert curves["a"]["sad"].tolist() == pytest.approx([4.0, 4.0])


def test_a_file_of_the_form_that_was_once_written_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    for lines in (
        '{"step": 10, "happy": 1.0}\n',
        '{"step": 10, "happy": 1.0}\n{"step": 20, "distances": {"happy": 1}}\n',
    ):
        file.write_text(lines)
        with pytest.raises(InputError, match=r"was written by older code \(run s2l train a again\)"):
            read_distances({"a": file})


def test_the_share_of_steps_and_classes_in_which_each_is_the_best() -> None:
    steps = pd.Index([10, 20], name="step")
    curves = {
        "one": pd.DataFrame({"happy": [1.0, 1.0], "sad": [1.0, 9.0]}, index=steps),
        "other": pd.DataFrame({"happy": [2.0, 2.0], "sad": [3.0, 3.0]}, index=steps),
        "longer": pd.DataFrame({"happy": [5.0, 5.0, 0.0], "sad": [5.0, 5.0, 0.0]}, index=[10, 20, 30]),
    }
    figures = distance_figures(curves)
    shares = {name: found["share of the smallest distances"] for name, found in figures.items()}
    assert shares == {"one": 75.0, "other": 25.0, "longer": 0.0}  # a step that the others lack does not count
    assert figures["one"]["distance"] == 5.0 and figures["longer"]["distance"] == 0.0
    figure = draw_distances(curves, {"one": "One", "longer": "Longer training", "absent": "Absent"})
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["One", "other", "Longer training"]
    assert png_bytes(figure).startswith(b"\x89PNG")
    assert "share of the smallest distances" not in distance_figures({"one": curves["one"]})["one"]
