"""Every method's translator through every stage of the run, by its own recipe cut to a few steps."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import yaml

from augment.faces.table import read_faces
from augment.translators import translator_class, translator_names
from pipeline.core.stage_runs import run_stage
from pipeline.parameters.whole import load_parameters
from pipeline.profile import compose_profile
from pipeline.whole_run import stages_in_order

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent.parent
IN_ARMS = ("warp", "lssl_pose", "bicogan", "flow_matching")


def test_every_method_goes_through_every_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Every method's figures are drawn. To render them, in two themes, takes a third of the time and looks at no method.
    for module in ("figures", "build"):
        monkeypatch.setattr(f"reports.{module}.png_bytes", lambda figure: b"")
    values = yaml.safe_load(
        compose_profile(
            ROOT,
            [
                "scale=smoke",
                "experiment=translators",
                "dataset.image_size=48",  # the least that the discriminators of all recipes take
                "dataset.settings.test_subjects=2",
                "dataset.settings.validation_subjects=1",
                "+dataset.settings.simulated=true",
                "parsing.enabled=true",
                "runtime.threads=1",
            ],
        )
    )
    entries = values["translators"]
    ours = {name for name in translator_names() if translator_class(name).__module__.startswith("augment.")}
    assert {entry["method"] for entry in entries.values()} == ours
    for entry in entries.values():
        if entry["method"] != "warp":
            entry["training"] |= {
                "steps": 6,
                "batch_size": 4,
                "sample_faces": 2,
                "generator_learning_rate": 0.02,
                "log_every": 3,
                "validate_every": 6,
                "checkpoint_every": 6,
                # The same on every processor, and no trainings on trial, which are more than six steps.
                "precision": "float32",
            }
        if entry["method"] == "flow_matching":
            # Else so few steps leave copies of the sources, which are refused.
            entry["settings"] |= {"source_noise": 1.0, "integration_steps": 2, "strength": [3.0, 3.0]}
            entry["training"] |= {"steps": 12, "generator_learning_rate": 0.005}
    values["synthesis"] = {"per_class": 2, "block_size": 2}  # blocks are made whole
    values["report"]["bootstrap"] = {"resamples": 200}
    # Of every kind of learned translator one: what an arm does with selected faces does not depend on who made them.
    arms = {name: values["arms"]["synthetic"][name] | {"per_class": 2} for name in IN_ARMS}
    values["arms"]["synthetic"] = arms
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")

    for stage, arguments in stages_in_order(load_parameters(tmp_path / "params.yaml")):
        run_stage(stage, tmp_path, **arguments)
    for name in entries:
        made = read_faces(
            tmp_path / "artifacts" / "selected" / f"{name}.s2l" / "fold-0", columns=["label_name", "translator"]
        )
        assert made.num_rows == 14 and set(made.column("translator").to_pylist()) == {name}

    tables = tmp_path / "artifacts" / "report" / "tables"
    scores = pd.read_csv(tables / "scores.csv").set_index("translator")
    assert set(scores.index) == set(entries) and scores["recognition"].notna().all()
    assert {*values["arms"]["real"], *arms} <= set(pd.read_csv(tables / "accuracy.csv")["arm"])
