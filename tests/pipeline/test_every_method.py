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


def test_every_work_goes_through_every_stage(tmp_path: Path) -> None:
    values = yaml.safe_load(
        compose_profile(
            ROOT,
            [
                "scale=smoke",
                "experiment=translators",
                "dataset.image_size=48",
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
                "generator_learning_rate": 0.02,
                "log_every": 3,
                "validate_every": 6,
                "checkpoint_every": 6,
            }
        if entry["method"] == "flow_matching":
            entry["settings"]["source_noise"] = 1.0  # else so few steps leave copies of the sources, which are refused
            # As large a step as the others' gave the sources back too, on one kind of processor and not on another.
            entry["training"] |= {"steps": 12, "generator_learning_rate": 0.005}
    values["synthesis"]["per_class"] = 2
    values["report"]["bootstrap"] = {"resamples": 200}
    arms = values["arms"]["synthetic"]
    for name in set(entries) - {arm["translator"] for arm in arms.values()}:
        arms[name] = arms["warp"] | {"translator": name}
    for arm in arms.values():
        arm["per_class"] = 2
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
