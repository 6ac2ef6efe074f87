from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from reports.parsing import parsing_notes

PARTS = {"background": 0.9, "skin": 0.8, "lips": 0.7, "eyes": 0.6}


def facts(**changes: Any) -> dict[str, Any]:
    scores = {"faces": 200, "intersection_over_union": PARTS, "mean_intersection_over_union": 0.7}
    return {
        "available": True,
        "teachers": [
            {"name": "embedded faces", "faces": 1500, "share": 0.5, "augmentation": "strong"},
            {"name": "polygons of landmarks", "faces": 25000, "share": 0.5, "augmentation": "mild"},
        ],
        "scored_on": "held_out",
        **scores,
        "held_out": scores,
        "own": {
            "faces": 3589,
            "areas": {"background": 0.5, "skin": 0.46, "lips": 0.025, "eyes": 0.015},
            "failures": {"skin": 0.01, "lips": 0.02, "eyes": 0.03, "any": 0.04},
            "least_shares": {"skin": 0.1, "lips": 0.002, "eyes": 0.002},
        },
    } | changes


def notes(folder: Path, *reports: dict[str, Any]) -> tuple[str, ...]:
    for fold, report in enumerate(reports):
        (folder / f"fold-{fold}").mkdir()
        # As the stage writes it: keys in alphabetical order.
        (folder / f"fold-{fold}" / "report.json").write_text(json.dumps(report, sort_keys=True), encoding="utf-8")
    return parsing_notes(folder)


def test_names_the_teachers_and_the_scores(tmp_path: Path) -> None:
    (note,) = notes(tmp_path, facts())
    for part in (
        "fold-0: trained on embedded faces (1,500 faces, 50% of the samples, strong augmentation) and polygons of",
        "200 embedded faces of held-out people: background 0.90, skin 0.80, lips 0.70, eyes 0.60",
        "3,589 validation faces it labels background 50.0%, skin 46.0%, lips 2.5%, eyes 1.5%",
        "fails on 4.0% of them (skin 1.0%, lips 2.0%, eyes 3.0%; ",
        "skin below 10.0%, lips below 0.2%",
    ):
        assert part in note
    assert note.count("intersection over union") == 1


def test_own_masks_are_scored_on_both(tmp_path: Path) -> None:
    own = [{"name": "own masks", "faces": 270, "share": 1.0, "augmentation": "mild"}]
    for number, (where, said) in enumerate(
        (("validation", "70 validation faces with masks"), ("train", "70 training faces"))
    ):
        (tmp_path / str(number)).mkdir()
        (note,) = notes(tmp_path / str(number), facts(teachers=own, scored_on=where, faces=70))
        assert "own masks (270 faces, mild augmentation)" in note and said in note and "200 embedded faces" in note
        assert note.count("intersection over union") == 2


def test_what_there_is_not_is_not_said(tmp_path: Path) -> None:
    absent = {"available": False, "reason": "the faces have no masks"}
    first, second, third = notes(
        tmp_path,
        absent,
        facts(own=None),
        facts(own={"faces": 0, "areas": None, "failures": None, "least_shares": {"skin": 0.1}}),
    )
    assert first == "No parsing network (fold-0): the faces have no masks."
    assert "validation" not in second and "validation" not in third
