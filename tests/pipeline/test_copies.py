"""A translator that only copies training faces is refused after its training, and every later stage says so."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from augment.core.errors import InputError
from augment.core.seals import seal_folder
from augment.translators.warp import WarpTranslator
from pipeline.core.stage_runs import run_stage
from pipeline.core.workspace import Artifacts
from pipeline.profile import compose_profile

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent.parent


def test_a_translator_that_only_copies_is_refused_and_passed_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = tmp_path / "params.yaml"
    params.write_text(compose_profile(ROOT, ["scale=smoke", "runtime.threads=1"]), encoding="utf-8")
    run_stage("prepare", tmp_path)
    run_stage("parsing", tmp_path)
    artifacts = Artifacts(tmp_path)
    artifacts.judge.mkdir()
    seal_folder(artifacts.judge)
    run_stage("train", tmp_path, name="warp")
    monkeypatch.setattr(WarpTranslator, "translate", lambda self, faces, targets, generator=None: faces.images.clone())
    run_stage("synthesize", tmp_path, name="warp")
    run_stage("assess", tmp_path, name="warp")
    run_stage("classify", tmp_path, name="warp")
    for place in (artifacts.synthetic("warp"), artifacts.selected("warp"), artifacts.arm("warp")):
        assert {file.name for file in place.iterdir()} == {".s2l", "refused.json"}
        assert "copies training faces" in json.loads((place / "refused.json").read_text())["reason"]
    values = yaml.safe_load(params.read_text(encoding="utf-8"))
    values["translators"]["warp"]["on_refusal"] = "stop"
    params.write_text(yaml.safe_dump(values), encoding="utf-8")
    with pytest.raises(InputError, match="copies training faces"):
        run_stage("synthesize", tmp_path, name="warp")
