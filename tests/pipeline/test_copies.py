"""A translator that only copies training faces is refused after its training, and every later stage says so."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from augment.core.errors import InputError
from augment.core.seals import seal_folder
from augment.translators.warp import WarpTranslator
from pipeline import stages
from pipeline.profile import compose_profile
from pipeline.workspace import Artifacts

ROOT = Path(__file__).parent.parent.parent


def test_a_translator_that_only_copies_is_refused_and_passed_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = tmp_path / "params.yaml"
    params.write_text(compose_profile(ROOT, ["scale=smoke", "runtime.threads=1"]), encoding="utf-8")
    stages.prepare(tmp_path)
    stages.parsing(tmp_path)
    artifacts = Artifacts(tmp_path)
    artifacts.judge.mkdir()
    seal_folder(artifacts.judge)
    stages.train(tmp_path, "warp")
    monkeypatch.setattr(WarpTranslator, "translate", lambda self, faces, targets, generator=None: faces.images.clone())
    stages.synthesize(tmp_path, "warp")
    stages.assess(tmp_path, "warp")
    stages.classify(tmp_path, "warp")
    for place in (artifacts.synthetic("warp"), artifacts.selected("warp"), artifacts.arm("warp")):
        assert {file.name for file in place.iterdir()} == {".s2l", "refused.json"}
        assert "copies training faces" in json.loads((place / "refused.json").read_text())["reason"]
    values = yaml.safe_load(params.read_text(encoding="utf-8"))
    values["translators"]["warp"]["on_refusal"] = "stop"
    params.write_text(yaml.safe_dump(values), encoding="utf-8")
    with pytest.raises(InputError, match="copies training faces"):
        stages.synthesize(tmp_path, "warp")
