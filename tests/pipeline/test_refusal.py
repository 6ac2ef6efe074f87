"""Faces without landmarks: warp is refused with the reason, the rest of the run goes on, and the report says so."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from augment.core.errors import InputError
from augment.faces.images import encode_png
from pipeline.core.stage_runs import run_stage
from pipeline.profile import compose_profile

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent.parent


def write_folder(root: Path) -> Path:
    """Three classes that differ in brightness, two splits."""
    random = np.random.default_rng(0)
    for split, count in (("train", 12), ("test", 8)):
        for level, name in ((40, "happy"), (120, "neutral"), (200, "sad")):
            for number in range(count):
                path = root / split / name / f"{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                pixels = random.normal(level, 25, (32, 32)).clip(0, 255).astype(np.uint8)
                path.write_bytes(encode_png(pixels))
    return root


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("refusal")
    data = write_folder(root / "faces")
    overrides = ["scale=smoke", "dataset=folder", f"dataset.root={data}", "dataset.licence=mit"]
    overrides += ["folds.kind=source", "folds.folds=1"]
    (root / "params.yaml").write_text(compose_profile(ROOT, overrides), encoding="utf-8")
    run_stage("prepare", root)
    run_stage("parsing", root)
    run_stage("judge", root)
    return root


def test_the_run_goes_on_and_the_report_says_why(workspace: Path) -> None:
    run_stage("train", workspace, name="warp")
    run_stage("synthesize", workspace, name="warp")
    run_stage("assess", workspace, name="warp")
    file = workspace / "params.yaml"
    before = file.read_text(encoding="utf-8")
    values = yaml.safe_load(before)
    values["arms"]["real"]["landmark_lda"] = {"kind": "landmark_lda"}
    file.write_text(yaml.safe_dump(values), encoding="utf-8")
    for arm in ("real", "landmark_lda", "warp"):
        run_stage("classify", workspace, name=arm)
    run_stage("report", workspace)
    file.write_text(before, encoding="utf-8")
    page = (workspace / "artifacts" / "report" / "index.html").read_text(encoding="utf-8")
    assert "warp needs 68 landmarks" in page
    assert "Arm landmark_lda was not run: arms.real.landmark_lda: needs landmarks, and no train face" in page
    assert "Arm warp was not run: its translator warp was refused" in page
    metrics = json.loads((workspace / "artifacts" / "report" / "metrics.json").read_text(encoding="utf-8"))
    assert "real" in json.dumps(metrics)
    assert (
        json.loads((workspace / "artifacts" / "parsing" / "fold-0" / "report.json").read_text())["available"] is False
    )


def test_an_arm_of_synthetic_faces_that_is_refused_for_itself_says_why(tmp_path: Path) -> None:
    overrides = ["experiment=fill", "scale=smoke", "arms.synthetic.warp_half.fill_to=4"]
    overrides += [f"arms.synthetic.{name}=null" for name in ("appearance_flow_half", "appearance_flow_filled")]
    overrides += [f"arms.real.{name}=null" for name in ("real_double_steps", "repeated", "repeated_double_steps")]
    overrides.append("translators.appearance_flow=null")
    (tmp_path / "params.yaml").write_text(compose_profile(ROOT, overrides), encoding="utf-8")
    for stage in ("prepare", "parsing", "judge"):
        run_stage(stage, tmp_path)
    for stage in ("train", "synthesize", "assess"):
        run_stage(stage, tmp_path, name="warp")
    for arm in ("real", "warp_half"):
        run_stage("classify", tmp_path, name=arm)
    run_stage("report", tmp_path)
    page = (tmp_path / "artifacts" / "report" / "index.html").read_text(encoding="utf-8")
    assert "Arm warp_half was not run: arms.synthetic.warp_half.fill_to: no class of fold 0 has fewer than 4" in page


def test_a_refusal_can_stop_the_run(workspace: Path) -> None:
    file = workspace / "params.yaml"
    before = file.read_text(encoding="utf-8")
    values = yaml.safe_load(before)
    values["translators"]["warp"]["on_refusal"] = "stop"
    file.write_text(yaml.safe_dump(values), encoding="utf-8")
    with pytest.raises(InputError, match=r"translators\.warp: warp needs 68 landmarks"):
        run_stage("train", workspace, name="warp")
    file.write_text(before, encoding="utf-8")
