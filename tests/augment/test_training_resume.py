"""The kill test: a training is really killed (SIGKILL), run again, and must end bit-identical to an undisturbed one."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import multiprocessing.process
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import tiny_translators
import torch
from safetensors.torch import load_file, save_file

from augment.core.checkpoints import checkpoint_folders
from augment.core.seals import seal_folder
from augment.training.outputs import TIMING_FIELDS

pytestmark = [pytest.mark.skipif(sys.platform == "win32", reason="kills with SIGKILL"), pytest.mark.slow]

Start = Callable[..., multiprocessing.process.BaseProcess]


@pytest.fixture(scope="module")
def start() -> Iterator[Start]:
    """Starts `train_child` in a new process. A fork server has torch imported once, and has computed nothing yet."""
    context = multiprocessing.get_context("forkserver")
    patch = pytest.MonkeyPatch()
    patch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=":")
    # Making an optimizer imports torch._dynamo, which takes longer than all else that a child does.
    context.set_forkserver_preload(["torch._dynamo", "tiny_translators"])
    children = []

    def start(*arguments: Any, **keywords: Any) -> multiprocessing.process.BaseProcess:
        child = context.Process(target=tiny_translators.train_child, args=arguments, kwargs=keywords)
        child.start()
        children.append(child)
        return child

    yield start
    for child in children:
        if child.is_alive():
            child.kill()
            child.join()
    patch.undo()


def results(out: Path) -> dict[str, Any]:
    """All that a run writes, but for the fields of time."""
    log = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    report = json.loads((out / "training.json").read_text())
    for line in [*log, report]:
        for field in (*TIMING_FIELDS, "peak_memory_bytes"):
            line.pop(field, None)
    files = sorted(path for path in out.rglob("*") if path.suffix in (".safetensors", ".png"))
    digests = {str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    return {"log": log, "report": report, "files": digests, "all": sorted(path.name for path in out.rglob("*"))}


@pytest.fixture(scope="module")
def undisturbed(start: Start, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("undisturbed")
    child = start(str(folder / "out"), str(folder / "scratch"))
    child.join()
    assert child.exitcode == 0
    found = results(folder / "out")
    assert [line["step"] for line in found["log"]] == [4, 8, 12, 16, 20, 23]
    assert len(found["files"]) == 5  # the weights and four sheets
    return found


def run_to_the_end(start: Start, folder: Path) -> dict[str, Any]:
    child = start(str(folder / "out"), str(folder / "scratch"))
    child.join()
    assert child.exitcode == 0
    return results(folder / "out")


PLACES = [
    ("tensors", 1),
    ("tensors", 5),
    ("state", 1),
    ("state", 10),
    ("rename", 4),
    ("prune", 1),
    ("prune", 4),
    ("log", 3),
    ("sample", 3),
    ("publish", 1),
    ("report", 1),
]


@pytest.mark.parametrize(("place", "count"), PLACES, ids=[f"{place}-{count}" for place, count in PLACES])
def test_killed_at_a_place_and_run_again(
    start: Start, undisturbed: dict[str, Any], tmp_path: Path, place: str, count: int
) -> None:
    child = start(str(tmp_path / "out"), str(tmp_path / "scratch"), place, count)
    child.join()
    assert child.exitcode == -signal.SIGKILL
    assert not (tmp_path / "out" / "training.json").exists()
    assert run_to_the_end(start, tmp_path) == undisturbed
    assert [folder.name for folder in checkpoint_folders(tmp_path / "scratch")] == [
        "checkpoint-00000021",
        "checkpoint-00000023",
    ]
    assert not list((tmp_path / "scratch").glob(".checkpoint-*"))  # no leftovers


def test_killed_again_and_again_from_outside(start: Start, undisturbed: dict[str, Any], tmp_path: Path) -> None:
    """The parent kills whenever it sees something: the first checkpoint, one half-written, and after random waits."""
    scratch = tmp_path / "scratch"

    def wait_for(pattern: str, child: multiprocessing.process.BaseProcess) -> None:
        deadline = time.monotonic() + 60
        while not list(scratch.glob(pattern)):
            assert child.is_alive() and time.monotonic() < deadline
            time.sleep(0.001)

    kills = 0
    for pattern in ("checkpoint-00000003", ".checkpoint-*.part", "checkpoint-00000012", ".checkpoint-*.part"):
        child = start(str(tmp_path / "out"), str(scratch), slow=0.05)
        wait_for(pattern, child)
        child.kill()
        child.join()
        kills += child.exitcode == -signal.SIGKILL
    assert kills == 4
    for delay in (0.05, 0.1, 0.2):
        child = start(str(tmp_path / "out"), str(scratch), slow=0.01)
        time.sleep(delay)
        child.kill()
        child.join()
    assert run_to_the_end(start, tmp_path) == undisturbed


@pytest.mark.parametrize("method", ["lssl", "stargan"])
def test_real_methods_are_killed_and_run_again(start: Start, tmp_path: Path, method: str) -> None:
    whole = start(str(tmp_path / "whole" / "out"), str(tmp_path / "whole" / "scratch"), method=method)
    whole.join()
    killed = start(str(tmp_path / "cut" / "out"), str(tmp_path / "cut" / "scratch"), "rename", 2, method=method)
    killed.join()
    again = start(str(tmp_path / "cut" / "out"), str(tmp_path / "cut" / "scratch"), method=method)
    again.join()
    assert [whole.exitcode, killed.exitcode, again.exitcode] == [0, -signal.SIGKILL, 0]
    assert results(tmp_path / "cut" / "out") == results(tmp_path / "whole" / "out")


def test_resumes_though_the_outputs_were_deleted(start: Start, undisturbed: dict[str, Any], tmp_path: Path) -> None:
    """DVC deletes a stage's outputs before it runs it again; the log and the sheets must come back."""
    child = start(str(tmp_path / "out"), str(tmp_path / "scratch"), "rename", 6)
    child.join()
    assert child.exitcode == -signal.SIGKILL
    for path in sorted((tmp_path / "out").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    assert run_to_the_end(start, tmp_path) == undisturbed


def test_a_damaged_checkpoint_is_passed_over(start: Start, undisturbed: dict[str, Any], tmp_path: Path) -> None:
    child = start(str(tmp_path / "out"), str(tmp_path / "scratch"), "publish", 1)
    child.join()
    newest = checkpoint_folders(tmp_path / "scratch")[-1]
    tensors = newest / "tensors.safetensors"
    tensors.write_bytes(tensors.read_bytes()[:-100])
    assert run_to_the_end(start, tmp_path) == undisturbed


def test_an_interrupt_writes_a_checkpoint(start: Start, undisturbed: dict[str, Any], tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    child = start(str(tmp_path / "out"), str(scratch), slow=0.3)
    deadline = time.monotonic() + 60
    while not checkpoint_folders(scratch):
        assert child.is_alive() and time.monotonic() < deadline
        time.sleep(0.001)
    time.sleep(0.02)
    assert child.pid is not None
    os.kill(child.pid, signal.SIGINT)
    child.join()
    assert child.exitcode == 1  # KeyboardInterrupt was raised, not swallowed
    last = int(checkpoint_folders(scratch)[-1].name.removeprefix("checkpoint-"))
    assert 3 < last < 23
    assert run_to_the_end(start, tmp_path) == undisturbed


def test_the_comparison_would_see_a_lost_random_state(
    start: Start, undisturbed: dict[str, Any], tmp_path: Path
) -> None:
    """A negative control: a resume that forgets the random state ends elsewhere."""
    child = start(str(tmp_path / "out"), str(tmp_path / "scratch"), "rename", 4)
    child.join()
    newest = checkpoint_folders(tmp_path / "scratch")[-1]
    tensors = load_file(newest / "tensors.safetensors")
    tensors["chance"] = torch.Generator().manual_seed(0).get_state()
    save_file(tensors, newest / "tensors.safetensors")
    seal_folder(newest)
    found = run_to_the_end(start, tmp_path)
    assert found["files"]["weights.safetensors"] != undisturbed["files"]["weights.safetensors"]
    assert found["log"] != undisturbed["log"]


@pytest.mark.parametrize("moment", ["exp_avg", "exp_avg_sq", "step"])
def test_the_comparison_would_see_lost_moments(
    start: Start, undisturbed: dict[str, Any], tmp_path: Path, moment: str
) -> None:
    """A negative control: a resume that forgets one of Adam's moments ends elsewhere."""
    child = start(str(tmp_path / "out"), str(tmp_path / "scratch"), "rename", 4)
    child.join()
    newest = checkpoint_folders(tmp_path / "scratch")[-1]
    tensors = load_file(newest / "tensors.safetensors")
    lost = [name for name in tensors if name.endswith(f"/{moment}")]
    assert lost
    save_file({name: v * 0 if name in lost else v for name, v in tensors.items()}, newest / "tensors.safetensors")
    seal_folder(newest)
    assert run_to_the_end(start, tmp_path)["files"] != undisturbed["files"]
