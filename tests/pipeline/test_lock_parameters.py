"""Results are kept under the parameters that they were made with, or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from dvc_workspaces import run_by_stand_in

from augment.core.errors import InputError
from pipeline.lock_parameters import check_parameters_of_results
from pipeline.profile import write_parameters

PARAMETERS = {
    "seed": 0,
    "dataset": {"source": "rig", "settings": {"preset": "rare", "parts": [{"share": 1e-05}]}, "licence": None},
    "classifier": {"learning_rate": 1e-05, "widths": [12, 24]},
    "translators": {"warp": {"method": "warp"}},
    "report": {"title": "yes", "time": "12:30", "text": "nan"},
    "arms": {"real": {"real": {"kind": "real"}, "on": {"kind": "real"}}, "synthetic": {"warp": {"kind": "synthetic"}}},
}
# As DVC writes it, in YAML 1.2: yes, on and 12:30 are texts without quotes.
LOCK = """
schema: '2.0'
stages:
  prepare:
    params:
      params.yaml:
        dataset:
          source: rig
          settings:
            preset: rare
            parts:
            - share: 1e-05
          licence:
        seed: 0
    outs:
    - {path: artifacts/folds.parquet, hash: md5, md5: 0cc175b9c0f1b6a831c399e269772661, size: 1}
  judge:
    params:
      params.yaml:
        classifier.learning_rate: 1e-05
        classifier.widths: [12, 24]
        classifier.stem: null
    outs:
    - {path: artifacts/judge, hash: md5, md5: JUDGE.dir, size: 1, nfiles: 1}
  train@warp:
    params:
      params.yaml:
        translators.warp:
          method: warp
    outs:
    - {path: artifacts/translators/warp.s2l, hash: md5, md5: 0cc175b9c0f1b6a831c399e269772661, size: 1}
  classify_real@on:
    params:
      params.yaml:
        arms.real.on:
          kind: real
    outs:
    - {path: artifacts/arms/on.s2l, hash: md5, md5: 0cc175b9c0f1b6a831c399e269772661, size: 1}
  classify_real@hog:
    params:
      params.yaml:
        arms.real.hog:
          kind: hog
    outs:
    - {path: artifacts/arms/hog.s2l, hash: md5, md5: 0cc175b9c0f1b6a831c399e269772661, size: 1}
  report:
    params:
      params.yaml:
        report:
          title: yes
          time: 12:30
          text: nan
    outs:
    - {path: artifacts/report, hash: md5, md5: 0cc175b9c0f1b6a831c399e269772661, size: 1}
    - {path: metrics.json, hash: md5, md5: 0cc175b9c0f1b6a831c399e269772661, size: 1}
"""
# The hash of a folder in whose file `a` is an `a`, as DVC 3 has it (the last test asks DVC itself).
FOLDER = "580614454446a0c6c4af2f3dae1f8d2b"


def run_at(root: Path, parameters: dict[str, Any]) -> None:
    """A run of DVC's, and what params.yaml says by now."""
    for name in ("folds.parquet", "translators/warp.s2l", "arms/on.s2l", "arms/hog.s2l", "report", "judge/a"):
        (root / "artifacts" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "artifacts" / name).write_text("a")
    (root / "dvc.lock").write_text(LOCK.replace("JUDGE", FOLDER), encoding="utf-8")
    (root / "params.yaml").write_text(yaml.safe_dump(parameters), encoding="utf-8")


def test_the_runs_own_parameters_are_its_own(tmp_path: Path) -> None:
    """What YAML 1.1 and 1.2 read differently is the same, and arms that were taken out stay in dvc.lock."""
    run_at(tmp_path, PARAMETERS)
    check_parameters_of_results(tmp_path)


def changed(section: str, **values: Any) -> dict[str, Any]:
    return {section: PARAMETERS[section] | values}  # type: ignore[operator]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"seed": 9}, ["seed: is not what prepare was run with (0, now 9)"]),
        (
            changed("dataset", settings={"preset": "mug", "parts": [{"share": 1e-05}]}),
            ["dataset.settings.preset: is not what prepare was run with (rare, now mug)"],
        ),
        (
            changed("dataset", settings={"preset": "rare", "parts": [{"share": 2e-05}]}),
            ["dataset.settings.parts[0].share: is not what prepare was run with (1e-05, now 2.0e-05)"],
        ),
        (
            {"classifier": {"learning_rate": 1e-05, "widths": [12, 48]}, "translators": {"warp": {"method": "lssl"}}},
            [
                "classifier.widths[1]: is not what judge was run with (24, now 48)",
                "translators.warp.method: is not what train@warp was run with (warp, now lssl)",
            ],
        ),
        (
            {"arms": {"real": {"hog": {"kind": "lbp"}}}},
            ["arms.real.hog.kind: is not what classify_real@hog was run with (hog, now lbp)"],
        ),
        (changed("report", title="no"), ["report.title: is not what report was run with (yes, now no)"]),
    ],
)
def test_another_profile_is_refused_with_every_stage_that_it_is_not_of(
    tmp_path: Path, changes: dict[str, Any], said: list[str]
) -> None:
    run_at(tmp_path, PARAMETERS | changes)
    with pytest.raises(InputError, match=r"params.yaml is not that of the results here: run `dvc repro`") as error:
        check_parameters_of_results(tmp_path)
    assert [str(problem) for problem in error.value.problems] == [f"params.yaml: {line}" for line in said]


def test_exported_faces_come_from_no_arm_no_report_and_no_other_translator(tmp_path: Path) -> None:
    changes = {"arms": {"real": {"on": {"kind": "hog"}}}, "translators": {"warp": {"method": "lssl"}}}
    run_at(tmp_path, PARAMETERS | changes | changed("report", text="x"))
    check_parameters_of_results(tmp_path, [])
    with pytest.raises(InputError) as error:
        check_parameters_of_results(tmp_path, ["warp"])
    assert [problem.where for problem in error.value.problems] == ["params.yaml: translators.warp.method"]
    with pytest.raises(InputError) as error:
        check_parameters_of_results(tmp_path)
    assert len(error.value.problems) == 3


def test_results_that_dvc_did_not_note_are_let_be(tmp_path: Path) -> None:
    """A fresh clone brings dvc.lock of the default; who calls the stages by hand has other files."""
    run_at(tmp_path, PARAMETERS | {"seed": 9, "classifier": {}})
    (tmp_path / "artifacts" / "folds.parquet").write_text("b")
    (tmp_path / "artifacts" / "judge" / "b").touch()
    check_parameters_of_results(tmp_path)
    (tmp_path / "dvc.lock").unlink()
    check_parameters_of_results(tmp_path)


@pytest.mark.parametrize("text", ["<<<<<<< HEAD\nstages: {", "stages: {prepare: {params: , outs: }, judge: }", ""])
def test_a_damaged_lock_is_named_or_notes_nothing(tmp_path: Path, text: str) -> None:
    run_at(tmp_path, PARAMETERS | {"seed": 9})
    (tmp_path / "dvc.lock").write_text(text)
    if text.startswith("<"):
        with pytest.raises(InputError, match=r"dvc.lock: can't be read: .*\(restore it"):
            check_parameters_of_results(tmp_path)
    else:
        check_parameters_of_results(tmp_path)


@pytest.mark.slow
def test_what_dvc_itself_notes_is_known_again(tmp_path: Path) -> None:
    """Hashes of files and folders are DVC's, before and after `dvc checkout`; a restored profile is taken again."""
    workspace, _ = run_by_stand_in(tmp_path, "scale=smoke")
    check_parameters_of_results(workspace)
    before = (workspace / "params.yaml").read_text()
    write_parameters(workspace, before.replace("\nseed: 0\n", "\nseed: 7\n"))
    with pytest.raises(InputError) as error:
        check_parameters_of_results(workspace)
    stages = {str(problem).split(" was run")[0].split("is not what ")[1] for problem in error.value.problems}
    assert {"prepare", "judge", "train@warp"} <= stages
    write_parameters(workspace, before)
    check_parameters_of_results(workspace)
