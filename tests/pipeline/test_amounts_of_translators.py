"""How many faces each translator makes: one number for all, or for some a number of their own."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import yaml

from augment.core.files import sha256_of_file
from augment.core.seals import seal_folder
from pipeline.check import check
from pipeline.core.stage_runs import run_stage
from pipeline.core.workspace import Artifacts
from pipeline.profile import compose_profile

ROOT = Path(__file__).parent.parent.parent


def write_parameters(root: Path, values: dict[str, Any], **synthesis: Any) -> None:
    values = values | {"synthesis": values["synthesis"] | synthesis}
    (root / "params.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")


def bytes_of(folder: Path) -> dict[str, str]:
    return {str(file.relative_to(folder)): sha256_of_file(file) for file in folder.rglob("*") if file.is_file()}


@pytest.mark.slow
def test_faces_are_the_same_whoever_else_makes_how_many(tmp_path: Path) -> None:
    values = yaml.safe_load(compose_profile(ROOT, ["scale=smoke", "runtime.threads=1"]))
    write_parameters(tmp_path, values, per_class=12)
    for stage in ("prepare", "parsing"):
        run_stage(stage, tmp_path)
    artifacts = Artifacts(tmp_path)
    artifacts.judge.mkdir()  # `warp` asks no judge
    seal_folder(artifacts.judge)
    for stage in ("train", "synthesize"):
        run_stage(stage, tmp_path, name="warp")
    made = bytes_of(artifacts.synthetic("warp"))
    for per_class, of_warp in ((3, 12), (12, 3)):
        write_parameters(tmp_path, values, per_class=per_class, per_class_of={"warp": of_warp})
        run_stage("synthesize", tmp_path, name="warp")
        assert (bytes_of(artifacts.synthetic("warp")) == made) == (of_warp == 12)


@pytest.mark.parametrize(
    ("synthesis", "said"),
    [
        (
            {"per_class": 500},
            ["synthesis.per_class makes 500", "no arm learns from more than 300 of those by app"],
        ),
        (
            {"per_class_of": {"lssl_flow": 400}},
            ["synthesis.per_class_of.lssl_flow makes 400", "no arm learns from more than 300 of those by lssl_flow ("],
        ),
        ({}, []),
    ],
)
def test_faces_that_no_arm_learns_from_are_named(
    tmp_path: Path, synthesis: dict[str, Any], said: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    write_parameters(tmp_path, yaml.safe_load(compose_profile(ROOT, [])), **synthesis)
    check(tmp_path)
    assert all(part in caplog.text for part in said) and ("faces of each class" in caplog.text) == bool(said)


def test_what_fills_classes_up_may_need_them_all(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    filled = "+arms.synthetic.filled={kind: synthetic, translator: warp, fill_to: 20}"
    write_parameters(tmp_path, yaml.safe_load(compose_profile(ROOT, ["scale=smoke", filled])), per_class=30)
    check(tmp_path)
    assert "faces of each class" not in caplog.text
