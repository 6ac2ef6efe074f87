"""Results are kept under the parameters that they were made with, or not at all."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from augment.core.errors import InputError
from pipeline.lock_parameters import check_parameters_of_results

PARAMETERS = {
    "seed": 0,
    "dataset": {"source": "rig", "root": "conf/dataset/rig.yaml", "settings": {"preset": "rare"}, "licence": None},
    "classifier": {"learning_rate": 1e-05, "widths": [12, 24]},
    "translators": {"warp": {"method": "warp"}},
    "arms": {"real": {"real": {"kind": "real"}}, "synthetic": {"warp": {"kind": "synthetic"}}},
}
LOCK = """
schema: '2.0'
stages:
  prepare:
    cmd: s2l prepare
    params:
      params.yaml:
        dataset:
          source: rig
          root: conf/dataset/rig.yaml
          settings:
            preset: rare
          licence:
        seed: 0
  judge:
    params:
      params.yaml:
        classifier.learning_rate: 1e-05
        classifier.widths: [12, 24]
        classifier.stem: null
  train@warp:
    params:
      params.yaml:
        translators.warp:
          method: warp
  classify_real@hog:
    params:
      params.yaml:
        arms.real.hog:
          kind: hog
"""


def run_at(root: Path, parameters: dict[str, Any], *, by_dvc: bool = True) -> Path:
    """A run whose dvc.lock is newer than its result, as DVC leaves it, and what params.yaml says by now."""
    (root / "dvc.lock").write_text(LOCK, encoding="utf-8")
    (root / "params.yaml").write_text(yaml.safe_dump(parameters), encoding="utf-8")
    result = root / "metrics.json"
    result.touch()
    os.utime(root / "dvc.lock", (1000, 1000))
    os.utime(result, (900, 900) if by_dvc else (1100, 1100))
    return result


def test_the_runs_own_parameters_are_its_own(tmp_path: Path) -> None:
    """1e-05 is text to YAML 1.1, what is not set is null, and arms that were taken out stay in dvc.lock."""
    check_parameters_of_results(tmp_path, run_at(tmp_path, PARAMETERS))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"seed": 9}, ["params.yaml: seed: is not what prepare was run with (0, now 9)"]),
        (
            {"dataset": PARAMETERS["dataset"] | {"settings": {"preset": "mug"}}},  # type: ignore[operator]
            ["params.yaml: dataset.settings.preset: is not what prepare was run with (rare, now mug)"],
        ),
        (
            {"classifier": {"learning_rate": 1e-05, "widths": [12, 48]}, "translators": {"warp": {"method": "lssl"}}},
            [
                "params.yaml: classifier.widths: is not what judge was run with ([12, 24], now [12, 48])",
                "params.yaml: translators.warp.method: is not what train@warp was run with (warp, now lssl)",
            ],
        ),
        (
            {"arms": {"real": {"hog": {"kind": "lbp"}}}},
            ["params.yaml: arms.real.hog.kind: is not what classify_real@hog was run with (hog, now lbp)"],
        ),
    ],
)
def test_another_profile_is_refused_with_every_stage_that_it_is_not_of(
    tmp_path: Path, changes: dict[str, Any], said: list[str]
) -> None:
    with pytest.raises(InputError, match=r"params.yaml is not that of the results here: run `dvc repro`") as error:
        check_parameters_of_results(tmp_path, run_at(tmp_path, PARAMETERS | changes))
    assert [str(problem) for problem in error.value.problems] == said


def test_a_run_without_dvc_is_not_held_against_a_dvc_lock_of_another(tmp_path: Path) -> None:
    """A fresh clone brings dvc.lock of the default; who calls the stages by hand has results that are newer."""
    changed = PARAMETERS | {"seed": 9}
    check_parameters_of_results(tmp_path, run_at(tmp_path, changed, by_dvc=False))
    result = run_at(tmp_path, changed)
    (tmp_path / "dvc.lock").unlink()
    check_parameters_of_results(tmp_path, result)
