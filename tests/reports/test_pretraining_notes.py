from __future__ import annotations

import json
from pathlib import Path

from reports.pretraining import pretraining_notes


def test_what_the_judge_learned_first_is_said(tmp_path: Path) -> None:
    assert pretraining_notes(tmp_path) == ()
    (tmp_path / "pretraining").mkdir()
    facts = {
        "title": "RaFD",
        "training_faces": 1440,
        "class_names": ["angry", "happy"],
        "steps": 2000,
        "held_out": {"accuracy": 0.875, "count": 168},
    }
    (tmp_path / "pretraining" / "judge.json").write_text(json.dumps(facts))
    assert pretraining_notes(tmp_path) == (
        "The judge was trained on another data set first: RaFD, 1,440 faces of 2 classes, 2,000 steps, after which it "
        "recognized 87.5 % of 168 faces that it had not learned from.",
    )
