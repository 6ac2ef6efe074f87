"""Arms of two translators against arms of one of them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from made_up_run import ARMS, SKILLS, write_run
from test_statistics import make

from reports.build import build_report
from reports.mixtures import compare_mixtures, mixtures_and_parts
from reports.settings import BootstrapSettings, ReportSettings
from reports.statistics import compare_arms

BOOTSTRAP = BootstrapSettings(resamples=400)
BOTH = {"kind": "synthetic", "translator": "warp", "second_translator": "flow", "per_class": 300, "share": 0.5}


def alone(translator: str, **changes: Any) -> dict[str, Any]:
    return BOTH | {"translator": translator, "second_translator": None} | changes


def test_parts_are_trained_alike() -> None:
    arms = {
        "real": {"kind": "real", "translator": None, "second_translator": None},
        "warp": alone("warp"),
        "flow": alone("flow"),
        "flow-400": alone("flow", per_class=400),
        "warp-randaugment": alone("warp", augmentation="randaugment"),
        "lssl": alone("lssl"),
        "both": BOTH,
    }
    assert mixtures_and_parts(arms) == [("both", "warp"), ("both", "flow")]


def test_differences_are_from_the_parts_and_adjusted_for_their_number() -> None:
    arms = {"warp": alone("warp"), "flow": alone("flow"), "both": BOTH, "missing": alone("flow")}
    predictions = {name: make(name, skill) for name, skill in (("warp", 0.60), ("flow", 0.50), ("both", 0.64))}
    found = compare_mixtures(predictions, arms, BOOTSTRAP)
    assert list(found) == [("both", "warp"), ("both", "flow")]
    for (_, part), comparison in found.items():
        single = compare_arms(predictions["both"], predictions[part], BOOTSTRAP)
        assert comparison.main == single.main and comparison.main.value > 0
        assert comparison.adjusted_p_value >= single.main.p_value
    assert found["both", "flow"].main.value > found["both", "warp"].main.value
    assert compare_mixtures(predictions, {"warp": alone("warp")}, BOOTSTRAP) == {}


@pytest.mark.usefixtures("undrawn")
def test_the_page_has_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    both = ARMS["warp-400"] | {"second_translator": "lssl"}
    monkeypatch.setitem(ARMS, "warp-lssl-400", both)
    monkeypatch.setitem(SKILLS, "warp-lssl-400", 0.75)
    build_report(write_run(tmp_path / "run"), ReportSettings(), tmp_path / "report")
    table = pd.read_csv(tmp_path / "report" / "tables" / "mixtures.csv")
    assert table[["arm", "than"]].values.tolist() == [["warp-lssl-400", "warp-400"], ["warp-lssl-400", "lssl-400"]]
    assert (table["difference"] > 0).all() and (table["low"] < table["difference"]).all()
    page = (tmp_path / "report" / "index.html").read_text()
    section = page[page.index('<section id="mixtures">') :].partition("</section>")[0]
    assert "warp-lssl-400" in section and f"{table['difference'][0]:+.1f}" in section
    assert re.findall(r'<section id="(\w+)"', page) == re.findall(r'<li><a href="#(\w+)">', page)


@pytest.mark.usefixtures("undrawn")
def test_a_run_without_mixtures_has_no_table(tmp_path: Path) -> None:
    build_report(write_run(tmp_path / "run"), ReportSettings(), tmp_path / "report")
    assert not (tmp_path / "report" / "tables" / "mixtures.csv").exists()
    assert "Two translators against one" not in (tmp_path / "report" / "index.html").read_text()
