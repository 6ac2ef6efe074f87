"""One lock means one result: figures depend on the number of threads, a parameter, and on no number of cores."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml

from augment.core.errors import InputError
from augment.core.files import sha256_of_file
from classifiers.evaluation import read_predictions
from pipeline.core import devices
from pipeline.core.devices import check_ranks_fit, gpus_for, processes_for
from pipeline.core.stage_runs import run_stage
from pipeline.profile import compose_profile

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent.parent
PROFILE = ["scale=smoke", "experiment=tiny_gan", "folds.kind=subjects", "folds.folds=2", "dataset.settings.preset=rare"]


def test_every_stage_that_computes_depends_on_the_number_of_threads() -> None:
    declared = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    without = [name for name, stage in declared.items() if "runtime.threads" not in stage.get("do", stage)["params"]]
    assert without == ["report"]
    with_ranks = [name for name, stage in declared.items() if "runtime.ranks" in stage.get("do", stage)["params"]]
    assert with_ranks == ["train", "classify_real", "classify_synthetic", "classify_mixed"]
    assert not [name for name, stage in declared.items() if "runtime" in stage.get("do", stage)["params"]]


@pytest.mark.parametrize("scale", ["smoke", "cpu", "long", "gpu", "paper"])
def test_no_scale_lets_the_machine_choose_the_threads(scale: str) -> None:
    assert yaml.safe_load(compose_profile(ROOT, [f"scale={scale}"]))["runtime"]["threads"] >= 1


def test_processes_are_for_the_cores_of_a_cpu() -> None:
    assert processes_for(0, "cpu") >= 1 and processes_for(3, "cpu") == 3
    assert (processes_for(0, "cuda"), processes_for(2, "cuda")) == (1, 2)


def test_on_several_gpus_folds_and_seeds_take_one_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "visible_gpus", lambda: ("2", "5", "7"))
    assert processes_for(0, "cuda") == 3 and gpus_for("cuda") == ("2", "5", "7")
    assert processes_for(0, "cuda:1") == 1 and gpus_for("cuda:1") == gpus_for("cpu") == ()


def test_more_ranks_than_gpus_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "visible_gpus", lambda: ("0", "1"))
    for ranks, device in ((1, "cuda"), (2, "cuda"), (8, "cpu"), (1, "cuda:1")):
        check_ranks_fit(ranks, device)
    with pytest.raises(InputError, match=r"runtime.ranks: is 3, but torch sees 2 GPUs here \(set it to at most 2\)"):
        check_ranks_fit(3, "cuda")
    with pytest.raises(InputError, match=r"runtime.device is the one GPU cuda:1 \(set it to cuda\)"):
        check_ranks_fit(2, "cuda:1")


def written(folder: Path) -> dict[str, str]:
    """What a stage wrote: file -> SHA-256."""
    return {
        file.relative_to(folder).as_posix(): sha256_of_file(file)
        for file in sorted(folder.rglob("*"))
        if file.suffix in (".safetensors", ".png")
    }


@pytest.mark.nightly  # that of arms is not
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


@pytest.mark.nightly  # each is compared in test_ranks.py and test_classifier_ranks.py
def test_ranks_share_translators_and_classifiers(tmp_path: Path) -> None:
    """The stages themselves: what is fitted at once is as ever, and another number of ranks is another result."""
    values = yaml.safe_load(compose_profile(ROOT, [*PROFILE[:2], "runtime.ranks=2", "seeds=[0]"]))
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    for stage, name in (
        ("prepare", None),
        ("parsing", None),
        ("judge", None),
        ("train", "stargan"),
        ("train", "warp"),
        ("classify", "real"),
    ):
        run_stage(stage, tmp_path, **({} if name is None else {"name": name}))
    trained = tmp_path / "artifacts" / "translators"
    assert (trained / "stargan.s2l" / "fold-0" / "weights.safetensors").is_file()
    assert (trained / "warp.s2l" / "fold-0" / "weights.safetensors").is_file()
    assert read_predictions(tmp_path / "artifacts" / "arms" / "real.s2l" / "predictions.parquet")[0].num_rows
    before = written(trained / "stargan.s2l")

    values["runtime"]["ranks"] = 1
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    run_stage("train", tmp_path, name="stargan")
    assert written(trained / "stargan.s2l") != before

    entry = values["translators"]["stargan"]["training"]
    values["runtime"]["ranks"], entry["batch_size"] = 2, 5
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    with pytest.raises(InputError, match=r"training.batch_size: 5 faces can't be divided among 2 ranks"):
        run_stage("train", tmp_path, name="stargan")
