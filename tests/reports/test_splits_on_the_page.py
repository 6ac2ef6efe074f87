"""The page counts the folds that the run used, and says where a user's own splits were not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from made_up_run import NAMES, write_faces_report, write_run
from small_faces import fer_pixels

from augment.faces.fold_choice import FoldsReport, choose_folds
from augment.faces.splits import FoldSettings
from augment.prepare.prepare import PreparationReport, prepare_faces
from augment.sources import open_source
from reports.inputs import load_report_data
from reports.page import render_page
from reports.preparation import data_counts, data_facts, data_shortfalls
from reports.settings import BootstrapSettings, ReportSettings

OWN = {"train": 210, "validation": 40, "test": 320}


def report(folder: Path, kind: str, folds: int) -> dict[str, Any]:
    settings = FoldSettings.model_validate({"kind": kind, "folds": folds})
    counts = tuple(
        {name: {"train": 100 + fold, "validation": 7, "test": 20 - fold} for name in NAMES} for fold in range(folds)
    )
    subjects = tuple({"train": 12, "validation": 3, "test": 5 + fold} for fold in range(folds))
    found = FoldsReport(choice=choose_folds(OWN, settings), counts=counts, subjects=subjects)
    before = PreparationReport.model_validate_json(write_faces_report(folder).read_text())
    return json.loads(before.model_copy(update={"folds": found, "reading": ("read so",)}).model_dump_json())


@pytest.mark.parametrize(("folds", "train", "test"), [(1, "100", "20"), (3, "100 to 102", "18 to 20")])
def test_the_counts_are_those_of_the_folds_that_were_used(tmp_path: Path, folds: int, train: str, test: str) -> None:
    counts = data_counts(report(tmp_path, "subjects", folds))
    assert counts is not None and counts["folds"] == folds
    assert counts["splits"] == ["train", "validation", "test"]
    assert [row["cells"] for row in counts["rows"][:-1]] == [[train, "7", test]] * len(NAMES)
    assert {row["total"] for row in counts["rows"][:-1]} == {"127"}


def test_a_split_that_was_not_used_is_held_against_the_figures(tmp_path: Path) -> None:
    ignored = report(tmp_path, "subjects", 1)
    said = "The data set's own splits were not used: it has train 210, validation 40, test 320; folds.kind is subjects"
    assert dict(data_facts(ignored))["splits"].startswith(said)
    assert any(line.startswith(said) for line in data_shortfalls(ignored))
    assert not any("in the source's own splits" in line for line in data_shortfalls(ignored))
    assert "duplicates across the source's own splits (not used)" in dict(data_facts(ignored))
    kept = report(tmp_path, "auto", 1)
    assert dict(data_facts(kept))["splits"].startswith("The data set's own splits are kept")
    assert not any("splits were not used" in line for line in data_shortfalls(kept))
    assert any("in the source's own splits" in line for line in data_shortfalls(kept))


def test_subjects_and_how_the_root_was_read(tmp_path: Path) -> None:
    facts = dict(data_facts(report(tmp_path, "subjects", 2)))
    assert facts["subjects"] == "train 12, validation 3, test 5 to 6" and facts["how the source was read"] == "read so"


@pytest.mark.parametrize(("test_on", "tested"), [("private", 1), ("both", 2)])
def test_the_page_says_which_test_faces_chose_settings(tmp_path: Path, test_on: str, tested: int) -> None:
    """FER2013's PublicTest chose conf/'s settings, and is tested on where the papers' faces are wanted."""
    usages = ("Training", "PublicTest", "PrivateTest")
    rows = [
        f"{label},{fer_pixels(3 * label + number)},{name}" for label in (3, 4) for number, name in enumerate(usages)
    ]
    (tmp_path / "fer2013.csv").write_text("\n".join(["emotion,pixels,Usage", *rows]), encoding="utf-8")
    source = open_source("fer2013", tmp_path / "fer2013.csv", test_on=test_on)
    prepared = prepare_faces(source, tmp_path / "out", image_size=48, channels=1, classes=["happy", "sad"])
    assert prepared.counts["happy"]["test"] == tested
    said = dict(data_facts(json.loads(prepared.model_dump_json()))).get("how the source was read", "")
    assert ("PublicTest is tested on too (test_on=both), whose faces chose" in said) == (test_on == "both")


def test_a_report_without_folds_counts_the_sources_splits(tmp_path: Path) -> None:
    before = json.loads(write_faces_report(tmp_path).read_text())
    counts = data_counts(before)
    assert counts is not None and counts["rows"][-1]["name"] == "all" and counts["folds"] == 1
    assert "splits" not in dict(data_facts(before)) and data_counts({}) is None


def test_the_page_says_it_twice(tmp_path: Path) -> None:
    inputs = write_run(tmp_path)
    assert inputs.faces_report is not None
    inputs.faces_report.write_text(json.dumps(report(tmp_path / "other", "subjects", 3)))
    settings = ReportSettings(bootstrap=BootstrapSettings(resamples=200))
    page = render_page(load_report_data(inputs, settings), figures={})
    assert "as used in the run: minimum and maximum over 3 folds." in page and "<td>100 to 102</td>" in page
    assert page.count("own splits were not used: it has train 210, validation 40, test 320") == 2


def test_training_faces_that_were_set_aside_are_counted_and_held_against_the_figures(tmp_path: Path) -> None:
    before = report(tmp_path, "auto", 2)
    first, second = NAMES[:2]
    for fold, counts in enumerate(before["folds"]["counts"]):
        for name, by_split in counts.items():
            aside = {first: 1000 + fold, second: 40}.get(name, 0)
            by_split |= {"train": by_split["train"], "set_aside": aside}
    counts = data_counts(before)
    assert counts is not None and counts["splits"] == ["train", "validation", "test", "set aside"]
    assert counts["rows"][0]["cells"][-1] == "1,000 to 1,001"
    said = dict(data_facts(before))["training faces set aside"]
    whole = 100 * len(NAMES) + 1040, 101 * len(NAMES) + 1041
    assert said == (
        f"1,040 to 1,041 of {whole[0]:,} to {whole[1]:,} real training faces were set aside and used by no stage "
        f"(dataset.rare): {first} 1,000 to 1,001 of 1,100 to 1,102, {second} 40 of 140 to 141."
    )
    assert any(line.startswith(said) for line in data_shortfalls(before))
    assert "training faces set aside" not in dict(data_facts(report(tmp_path, "auto", 2)))
