"""One lock means one result: figures depend on the number of threads, a parameter, and on no number of cores."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml

from augment.core.files import sha256_of_file
from pipeline.core.devices import processes_for
from pipeline.core.stage_runs import run_stage
from pipeline.profile import compose_profile

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent.parent
PROFILE = ["scale=smoke", "experiment=tiny_gan", "folds.kind=subjects", "folds.folds=2", "dataset.settings.preset=rare"]


def test_every_stage_that_computes_depends_on_the_number_of_threads() -> None:
    declared = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    without = [name for name, stage in declared.items() if "runtime.threads" not in stage.get("do", stage)["params"]]
    assert without == ["report"]
    assert not [name for name, stage in declared.items() if "runtime" in stage.get("do", stage)["params"]]


@pytest.mark.parametrize("scale", ["smoke", "cpu", "long", "gpu", "paper"])
def test_no_scale_lets_the_machine_choose_the_threads(scale: str) -> None:
    assert yaml.safe_load(compose_profile(ROOT, [f"scale={scale}"]))["runtime"]["threads"] >= 1


def test_processes_are_for_the_cores_of_a_cpu() -> None:
    assert processes_for(0, "cpu") >= 1 and processes_for(3, "cpu") == 3
    assert (processes_for(0, "cuda"), processes_for(2, "cuda")) == (1, 2)


def written(folder: Path) -> dict[str, str]:
    """What a stage wrote: file -> SHA-256."""
    return {
        file.relative_to(folder).as_posix(): sha256_of_file(file)
        for file in sorted(folder.rglob("*"))
        if file.suffix in (".safetensors", ".png")
    }


def test_processes_change_nothing_that_is_learned(tmp_path: Path) -> None:
    """Of translators; parsing networks go the same way, judges and arms are in tests/classifiers."""

    def use(processes: int) -> None:
        profile = compose_profile(ROOT, [*PROFILE, f"runtime.processes={processes}"])
        (tmp_path / "params.yaml").write_text(profile, encoding="utf-8")
        torch.set_num_threads(2)  # a stage sets its own, whatever was set before

    use(1)
    run_stage("prepare", tmp_path)
    run_stage("parsing", tmp_path)
    run_stage("judge", tmp_path)
    run_stage("train", tmp_path, name="stargan")
    artifacts = tmp_path / "artifacts"
    alone = written(artifacts / "translators")
    assert sum(file.endswith("weights.safetensors") for file in alone) == 2
    use(2)
    run_stage("train", tmp_path, name="stargan")
    assert written(artifacts / "translators") == alone
