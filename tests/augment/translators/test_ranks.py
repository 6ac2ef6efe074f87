"""Ranks that share a training step as one process does: gradients, penalties, statistics, average, resume."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from every_form import LEARNED, SETTINGS, create, faces
from safetensors.torch import load_file
from tiny_translators import TinyGan, train_tiny
from torch.nn import functional as F

from augment.core import ranks as ranks_module
from augment.core.errors import InputError
from augment.core.ranks import ALONE, Ranks, current_ranks, run_on_ranks
from augment.networks.batch_norm import BatchNorm2d
from augment.training import loop
from augment.training.divergence import TrainingDivergedError
from augment.training.optimizers import TrainedNetwork
from augment.training.outputs import TIMING_FIELDS

pytestmark = pytest.mark.slow

Tensors = dict[str, torch.Tensor]


def first_gradients(*, forms: list[str], shared: bool = True) -> dict[str, Tensors]:
    """What the first step of every phase does, by form: gradients, loss terms, buffers, state of the generator.

    The process is afterwards as it was.

    Args:
        forms: Of `FORMS`.
        shared: False lets ranks draw and normalize each for itself: the wrong way.
    """
    with pytest.MonkeyPatch.context() as patched:
        if not shared:
            patched.setattr(ranks_module.Ranks, "sharing", lambda self: nullcontext())
        patched.setattr(F, "dropout", lambda features, *_, **__: features)  # its masks are each rank's own
        patched.setattr(TrainedNetwork, "step", TrainedNetwork.step)  # which `_first_gradients` replaces
        return {form: _first_gradients(form) for form in forms}


def _first_gradients(form: str) -> Tensors:
    found: Tensors = {}

    def note(self: TrainedNetwork) -> None:
        """In place of the optimizer's step: the weights stay."""
        for name, parameter in zip(self.names, self.parameters, strict=True):
            if parameter.grad is not None:
                found[f"{place}/gradient of {name}"] = parameter.grad.clone()

    TrainedNetwork.step = note  # type: ignore[method-assign]
    settings = SETTINGS.model_copy(update={"batch_size": 16, "steps": 30, "mirror": True})
    folder = Path("/nonexistent")
    translator = create(form)
    translator.check(faces())
    run = loop.Run(translator, faces(), settings, folder, folder, 3, None, {}, current_ranks())
    for phase in run.phases:
        # Steps in which terms are computed that come every so many steps, and one between.
        for step in (phase.start, phase.start + 1):
            place = f"{phase.name} {step}"
            run.step = step
            run._set_phase()
            run._one_step()
            means = run.terms.means_and_reset()
            found |= {f"{place}/{term}": torch.tensor(value) for term, value in means.items()}
            found |= {f"{place}/{name}": buffer.clone() for name, buffer in run.translator.named_buffers()}
            found[f"{place}/chance"] = run.generator.get_state()
    return found


def differences(one: Tensors, other: Tensors, tolerance: float = 2e-4) -> list[str]:
    """Names of what differs by more than a share of its largest value."""
    assert one.keys() == other.keys() and one
    apart = []
    for name, value in one.items():
        scale = float(value.double().abs().max()) if value.numel() else 0.0
        error = float((value.double() - other[name].double()).abs().max()) if value.numel() else 0.0
        if error > tolerance * scale + 1e-7:
            apart.append(f"{name}: {error / max(scale, 1e-12):.2g}")
    return apart


# What only random draws, batch statistics or a pool of all ranks make right.
BY_ALL_ROWS = ["bicogan, gradient penalty", "cdcgan", "cyclegan", "flow_matching", "simgan", "stargan"]


def whatever_ends_well(*, folder: Path) -> dict[str, Any]:
    """All that is asked of two ranks that nothing ends, by one start of processes, which import for seconds."""
    train(folder=folder)
    return {
        "statistics": statistics(rows=ROWS),
        "who was alone": alone_within(folder=folder),
        "gradients": first_gradients(forms=LEARNED),
        "gradients of ranks apart": first_gradients(forms=BY_ALL_ROWS, shared=False),
    }


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("two")
    return run_on_ranks(whatever_ends_well, {"folder": folder}, count=2) | {"folder": folder}


@pytest.fixture(scope="module")
def gradients_alone() -> dict[str, Tensors]:
    """Those of this process."""
    return first_gradients(forms=LEARNED)


def assert_gradients_are_alike(one: dict[str, Tensors], other: dict[str, Tensors]) -> None:
    apart = {form: differences(one[form], other[form]) for form in LEARNED}
    assert not {form: (len(names), names[:3]) for form, names in apart.items() if names}


def test_gradients_are_those_of_one_process(gradients_alone: dict[str, Tensors], two_ranks: dict[str, Any]) -> None:
    assert_gradients_are_alike(gradients_alone, two_ranks["gradients"])


@pytest.mark.nightly
def test_gradients_of_four_ranks_are_those_of_one_process(gradients_alone: dict[str, Tensors]) -> None:
    assert_gradients_are_alike(gradients_alone, run_on_ranks(first_gradients, {"forms": LEARNED}, count=4))


def test_the_comparison_would_see_draws_and_statistics_of_each_rank_alone(
    gradients_alone: dict[str, Tensors], two_ranks: dict[str, Any]
) -> None:
    wrong = two_ranks["gradients of ranks apart"]
    for form in BY_ALL_ROWS:
        assert differences(gradients_alone[form], wrong[form], tolerance=1e-2), form


def train(*, folder: Path, method: str = "tiny", end: str | None = None, at: int = 0, **changes: Any) -> None:
    """A method's whole run; on rank 1 it may come to an end within a step.

    Args:
        folder: Gets `out` and `scratch`.
        method: `tiny`, or a real one made small.
        end: `error` or `kill`.
        at: The generator step, from 0.
        **changes: Of the training's settings.
    """
    ranks, losses = current_ranks(), TinyGan.losses

    def ending(self: TinyGan, network: str, batch: Any) -> Any:
        if ranks.rank == 1 and network == "generator" and batch.step == at:
            if end == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            raise ConnectionError("ended")
        return losses(self, network, batch)

    if end is not None:
        TinyGan.losses = ending  # type: ignore[method-assign]
    train_tiny(folder / "out", folder / "scratch", method, **changes)


def results(folder: Path) -> dict[str, Any]:
    """All that a run leaves, but for times."""
    out = folder / "out"
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    report = json.loads((out / "training.json").read_text())
    return {
        "weights": {name: value.tolist() for name, value in load_file(out / "weights.safetensors").items()},
        "log": [{key: value for key, value in line.items() if key not in TIMING_FIELDS} for line in lines],
        "scores": report["scores"],
        "sheets": {path.name: path.read_bytes() for path in sorted((out / "samples").iterdir())},
    }


@pytest.fixture(scope="module")
def on_two_ranks(two_ranks: dict[str, Any]) -> dict[str, Any]:
    return results(two_ranks["folder"])


def train_to_two_ends(folder: Path, end: str) -> None:
    """Two runs whose second rank ends in the middle, the second of which goes on from what the first one left."""
    before = set(psutil.Process().children(recursive=True))
    for at in (4, 13):
        with pytest.raises(Exception, match=r"ended|terminated abruptly|Connection"):
            run_on_ranks(train, {"folder": folder, "end": end, "at": at}, count=2)
        left = set(psutil.Process().children(recursive=True)) - before
        _, alive = psutil.wait_procs(
            [child for child in left if "resource_tracker" not in " ".join(child.cmdline())], 10
        )
        assert not alive
    assert list((folder / "scratch").glob("checkpoint-*")), "the first runs left nothing to go on from"


@pytest.fixture(scope="module")
def left_by_a_kill(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder to copy."""
    folder = tmp_path_factory.mktemp("killed")
    train_to_two_ends(folder, "kill")
    return folder


@pytest.mark.nightly
def test_a_whole_run_is_that_of_one_process(tmp_path: Path) -> None:
    """Its first steps, and all that it writes. Adam divides by a gradient's size, so that where it is rounding alone
    (a bias before a normalization) every step differs, and later ones with it."""
    train(folder=tmp_path / "one", method="stargan", log_every=1)
    run_on_ranks(train, {"folder": tmp_path / "two", "method": "stargan", "log_every": 1}, count=2)
    alone, shared = results(tmp_path / "one"), results(tmp_path / "two")
    assert len(alone["log"]) == len(shared["log"]) == 23
    for one, other in zip(alone["log"][:4], shared["log"][:4], strict=True):
        assert one == pytest.approx(other, rel=2e-3, abs=1e-5)
    assert dict(alone["scores"]) == pytest.approx(dict(shared["scores"]), rel=5e-2)
    assert alone["weights"].keys() == shared["weights"].keys()
    assert alone["sheets"].keys() == shared["sheets"].keys()


def test_a_run_whose_rank_is_killed_goes_on_to_the_same_bits(
    left_by_a_kill: Path, on_two_ranks: dict[str, Any], tmp_path: Path
) -> None:
    shutil.copytree(left_by_a_kill, tmp_path, dirs_exist_ok=True)
    run_on_ranks(train, {"folder": tmp_path}, count=2)
    assert results(tmp_path) == on_two_ranks


@pytest.mark.nightly
def test_a_run_whose_rank_fails_goes_on_to_the_same_bits(on_two_ranks: dict[str, Any], tmp_path: Path) -> None:
    train_to_two_ends(tmp_path, "error")
    run_on_ranks(train, {"folder": tmp_path}, count=2)
    assert results(tmp_path) == on_two_ranks


def test_a_checkpoint_of_another_number_of_ranks_is_refused(left_by_a_kill: Path, tmp_path: Path) -> None:
    shutil.copytree(left_by_a_kill, tmp_path, dirs_exist_ok=True)
    with pytest.raises(InputError, match="ranks: 2 in the checkpoint"):
        train(folder=tmp_path)


@pytest.mark.nightly
def test_torchrun_gives_the_same_bits(on_two_ranks: dict[str, Any], tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        f"""
import sys
sys.path[:0] = {sys.path!r}
from pathlib import Path
import torch.distributed
from test_ranks import train
torch.set_num_threads({torch.get_num_threads()})
torch.distributed.init_process_group("gloo")
train(folder=Path({str(tmp_path)!r}))
torch.distributed.destroy_process_group()
"""
    )
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(script)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert results(tmp_path) == on_two_ranks


def drift(*, folder: Path) -> None:
    """A method whose losses depend on the rank; gradients are averaged, buffers are not."""
    losses = TinyGan.losses

    def drifting(self: TinyGan, network: str, batch: Any) -> Any:
        if current_ranks().rank == 1:
            torch.rand(1, generator=batch.generator)
        return losses(self, network, batch)

    TinyGan.losses = drifting  # type: ignore[method-assign]
    train_tiny(folder / "out", folder / "scratch")


def test_ranks_that_drift_apart_are_found_at_the_next_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"chance differs between the 2 ranks.*row_draws"):
        run_on_ranks(drift, {"folder": tmp_path}, count=2)


def diverge(*, folder: Path) -> None:
    losses = TinyGan.losses

    def diverging(self: TinyGan, network: str, batch: Any) -> Any:
        terms = losses(self, network, batch)
        if current_ranks().rank == 1 and network == "generator" and batch.step == 7:
            terms["reconstruction"] = terms["reconstruction"] * torch.nan
        return terms

    TinyGan.losses = diverging  # type: ignore[method-assign]
    train_tiny(folder / "out", folder / "scratch")


def test_one_rank_that_diverges_ends_all_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(TrainingDivergedError, match=r"step 7: generator/reconstruction is nan; the last good"):
        run_on_ranks(diverge, {"folder": tmp_path}, count=2)


def test_a_batch_that_cannot_be_divided_is_refused() -> None:
    with pytest.raises(InputError, match=r"training.batch_size: 4 faces can't be divided among 3 ranks.*\(3\)"):
        raise InputError(Ranks(0, 3).why_not_divided(4, "training.batch_size"))
    assert not ALONE.why_not_divided(5, "training.batch_size")


def statistics(*, rows: torch.Tensor) -> Tensors:
    """Batch normalization as a discriminator under a penalty sees it: differentiated twice."""
    ranks = current_ranks()
    norm = BatchNorm2d(3).double()
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([1.0, 2.0, -1.0]))
    own = ranks.own(rows).clone().requires_grad_()
    with ranks.sharing():
        made = norm(own)
        slope = torch.autograd.grad(made.pow(3).sum(), own, create_graph=True)[0]
        loss = slope.square().mean() + made.sin().mean()
        loss.backward()
    assert own.grad is not None and norm.weight.grad is not None
    ranks.average_([norm.weight.grad])
    return {
        "made": ranks.gather(made.detach()),
        "slope": ranks.gather(slope.detach()),
        # Each rank's loss is a mean over its rows, and the whole's a mean over theirs.
        "gradient of rows": ranks.gather(own.grad) / ranks.count,
        "gradient of gain": norm.weight.grad,
        "running mean": norm.running_mean.clone(),
        "running variance": norm.running_var.clone(),
        "batches": norm.num_batches_tracked.clone(),
    }


ROWS = torch.randn(8, 3, 2, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 3 + 1


def test_batch_normalization_is_that_of_all_rows(two_ranks: dict[str, Any]) -> None:
    assert not differences(statistics(rows=ROWS), two_ranks["statistics"], tolerance=1e-5)


def alone_within(*, folder: Path) -> list[Any]:
    """What the first rank makes for all, by something that would itself share its work."""
    ranks = current_ranks()
    made = ranks.from_first(lambda: (current_ranks(), (folder / "by").write_text(str(ranks.rank))))
    assert current_ranks() == ranks
    return [made[0], ranks]


def test_the_first_rank_is_alone_while_the_others_wait(two_ranks: dict[str, Any]) -> None:
    assert two_ranks["who was alone"] == [ALONE, Ranks(0, 2)]
    assert (two_ranks["folder"] / "by").read_text() == "0"
