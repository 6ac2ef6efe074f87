"""The metric that the page leads with: balanced accuracy where the test classes differ in size, accuracy elsewhere."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from reports.build import build_report
from reports.inputs import ReportInputs, find_headline, load_report_data
from reports.predictions import Predictions
from reports.settings import BootstrapSettings, ReportSettings
from reports.statistics import HELPED, HURT, choose_metric, compare_arms, summarize_arm

NAMES = ("neutral", "happy")
SETTINGS = ReportSettings(bootstrap=BootstrapSettings(resamples=400))
COLUMNS = ["fold", "seed", "face_id", "subject", "label", "predicted"]


def predictions(arm: str, right: tuple[int, int], of: tuple[int, int] = (300, 60)) -> Predictions:
    """So many of each class's faces are right, with each of two seeds."""
    rows = [
        (0, seed, f"{label}-{number}", None, label, label if number < right[label] else 1 - label)
        for seed in (0, 1)
        for label in (0, 1)
        for number in range(of[label])
    ]
    return Predictions(arm, NAMES, pd.DataFrame(rows, columns=COLUMNS))


# The synthetic arm gains 60 of 300 neutral faces and loses 24 of 60 happy ones: accuracy
# +36/360, recalls +0.2 and -0.4.
REAL, SYNTHETIC = predictions("real", (180, 48)), predictions("warp", (240, 24))


def test_by_hand() -> None:
    assert summarize_arm(REAL).score("accuracy") == pytest.approx(228 / 360)
    assert summarize_arm(REAL).score("balanced_accuracy") == pytest.approx((0.6 + 0.8) / 2)
    by_accuracy = compare_arms(SYNTHETIC, REAL, SETTINGS.bootstrap, candidates=3)
    balanced = compare_arms(SYNTHETIC, REAL, SETTINGS.bootstrap, candidates=3, metric="balanced_accuracy")
    assert by_accuracy.main.value == pytest.approx(36 / 360) and by_accuracy.verdict == HELPED
    assert balanced.main.value == pytest.approx((0.2 - 0.4) / 2) and balanced.verdict == HURT
    assert balanced.main == by_accuracy.balanced_accuracy and balanced.accuracy == by_accuracy.main
    assert balanced.main_adjusted.low < balanced.main.low < balanced.main.high < balanced.main_adjusted.high


@pytest.mark.parametrize(
    ("of", "metric"),
    [((300, 60), "balanced_accuracy"), ((90, 60), "accuracy"), ((91, 60), "balanced_accuracy"), ((60, 60), "accuracy")],
)
def test_auto_looks_at_the_test_faces(of: tuple[int, int], metric: str) -> None:
    assert choose_metric(predictions("real", (10, 10), of), ReportSettings()) == metric


def test_what_was_asked_for_holds() -> None:
    assert choose_metric(REAL, ReportSettings(metric="accuracy")) == "accuracy"
    even = predictions("real", (10, 10), (60, 60))
    assert choose_metric(even, ReportSettings(metric="balanced_accuracy")) == "balanced_accuracy"


def written(folder: Path) -> ReportInputs:
    """A run of two arms of real faces and one with synthetic ones."""
    # By accuracy `large` is the strongest arm without synthetic faces, by balanced accuracy `real` is.
    arms = {"large": predictions("large", (270, 0)), "real": REAL, "warp": SYNTHETIC}
    paths = {}
    for name, found in arms.items():
        table = pa.Table.from_pandas(found.rows.assign(arm=name, split="test"), preserve_index=False)
        table = table.append_column("probabilities", pa.array([[0.5, 0.5]] * len(table), pa.list_(pa.float32())))
        metadata = {b"s2l": json.dumps({"class_names": list(NAMES)}).encode()}
        paths[name] = folder / f"{name}.parquet"
        pq.write_table(table.replace_schema_metadata(metadata), paths[name])
    return ReportInputs(
        data_name="made up",
        predictions=paths,
        arms={
            "large": {"kind": "real"},
            "real": {"kind": "real"},
            "warp": {"kind": "synthetic", "translator": "warp", "per_class": 10},
        },
    )


@pytest.mark.usefixtures("undrawn")
def test_reference_headline_tables_and_page_follow_the_metric(tmp_path: Path) -> None:
    inputs = written(tmp_path)
    data = load_report_data(inputs, SETTINGS)
    assert data.metric == "balanced_accuracy" and data.baseline == "real"
    headline = find_headline(data)
    assert headline.reference == "real" and headline.verdict == HURT
    build_report(inputs, SETTINGS, tmp_path / "balanced")
    page = (tmp_path / "balanced" / "index.html").read_text(encoding="utf-8")
    assert "have a balanced accuracy of 60.0 % on real test faces, those of real 70.0 %" in page
    assert "the largest class has 5.0 times as many test faces as the smallest" in page
    table = pd.read_csv(tmp_path / "balanced" / "tables" / "accuracy.csv").set_index("arm")
    assert table.loc["warp", "metric"] == "balanced_accuracy" and table.loc["warp", "difference"] == pytest.approx(-10)
    assert table.loc["warp", "accuracy_difference"] == pytest.approx(10)
    found = json.loads((tmp_path / "balanced" / "metrics.json").read_text())
    assert found["metric"] == "balanced_accuracy" and found["arms"]["warp"]["difference"] == pytest.approx(-0.1)

    asked = ReportSettings(metric="accuracy", bootstrap=SETTINGS.bootstrap)
    data = load_report_data(inputs, asked)
    assert data.baseline == "large" and data.metric == "accuracy"
    build_report(inputs, asked, tmp_path / "accuracy")
    page = (tmp_path / "accuracy" / "index.html").read_text(encoding="utf-8")
    assert "have an accuracy of 73.3 % on real test faces, those of large 75.0 %" in page
    assert "comes first" not in page
