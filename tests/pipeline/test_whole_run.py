"""A whole run in a folder of its own reads the data of the project."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from pipeline import whole_run

ROOT = Path(__file__).parents[2]


def test_every_relative_path_of_data_is_below_the_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whole_run, "check_parameters", lambda _: None)
    monkeypatch.setattr(whole_run, "stages_in_order", lambda _: iter(()))
    words = ["judge.pretraining.source=folder", "judge.pretraining.root=data/other", "parsing.teacher.root=data/helen"]
    whole_run.run_whole(tmp_path, ROOT, ["scale=smoke", *words])
    values = yaml.safe_load((tmp_path / "params.yaml").read_text(encoding="utf-8"))
    assert values["judge"]["pretraining"]["root"] == str(ROOT / "data" / "other")
    assert values["parsing"]["teacher"]["root"] == str(ROOT / "data" / "helen")
    assert Path(values["dataset"]["root"]).is_relative_to(ROOT)
