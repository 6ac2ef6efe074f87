from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import psutil
import pytest

from augment.core.errors import InputError, Problem
from augment.core.processes import processors, run_in_processes, visible_gpus

pytestmark = pytest.mark.slow

# Spawned workers import what they call by name: the functions below, from this file.


def square(*, number: int) -> tuple[int, int]:
    return number * number, os.getpid()


def fail(*, number: int) -> int:
    if number == 1:
        raise InputError(Problem("fold 1", "has no faces", "use fewer folds"))
    time.sleep(60)
    return number


def gpu_of_this_process(*, again: int) -> tuple[str | None, int]:
    time.sleep(0.5)  # so that no worker takes two calls
    return os.environ.get("CUDA_VISIBLE_DEVICES"), os.getpid()


def threads_of_this_process(*, again: int) -> list[int]:
    import numpy as np
    import torch
    from threadpoolctl import threadpool_info

    np.ones((4, 4)) @ np.ones((4, 4))
    return [torch.get_num_threads(), *(int(pool["num_threads"]) for pool in threadpool_info())]


def sleep_and_tell(*, folder: str, number: int) -> None:
    (Path(folder) / f"{number}-{os.getpid()}").touch()
    time.sleep(120)


CALLS = [{"number": number} for number in range(5)]


def test_one_process_calls_here_and_in_order() -> None:
    results = list(run_in_processes(square, CALLS, processes=1))
    assert results == [(number, (number * number, os.getpid())) for number in range(5)]


def test_several_processes_give_the_same_results() -> None:
    results = dict(run_in_processes(square, CALLS, processes=2))
    assert {number: value for number, (value, _) in results.items()} == {n: n * n for n in range(5)}
    assert os.getpid() not in {process for _, process in results.values()}


def test_an_error_of_a_worker_is_raised_here_and_ends_the_others_at_once() -> None:
    started = time.monotonic()
    with pytest.raises(InputError, match=r"fold 1: has no faces \(use fewer folds\)"):
        list(run_in_processes(fail, CALLS[:2], processes=2))
    assert time.monotonic() - started < 50


@pytest.mark.parametrize("threads", [1, 2])
def test_workers_compute_with_the_threads_of_the_run(threads: int) -> None:
    for _, found in run_in_processes(
        threads_of_this_process, [{"again": 0}, {"again": 1}], processes=2, threads=threads
    ):
        assert found and set(found) == {threads}


@pytest.mark.parametrize("before", ["import numpy, torch", "import sys"])
def test_threads_are_those_of_the_run_whatever_the_environment_says(before: str) -> None:
    code = f"""
        {before}
        from augment.core.processes import use_threads
        use_threads(1)
        from test_processes import threads_of_this_process
        import json
        print(json.dumps(threads_of_this_process(again=0)))
    """
    environment = os.environ | {"OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2", "MKL_NUM_THREADS": "2"}
    paths = [str(Path(__file__).parent), str(Path(__file__).parents[2])]
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = {paths!r}\n{textwrap.dedent(code)}"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert set(json.loads(done.stdout)) == {1}


def test_workers_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    code = f"""
        import sys
        sys.path[:0] = {[str(Path(__file__).parent), str(Path(__file__).parents[2])]!r}
        from test_processes import sleep_and_tell
        from augment.core.processes import run_in_processes
        calls = [dict(folder={str(tmp_path)!r}, number=number) for number in range(2)]
        list(run_in_processes(sleep_and_tell, calls, processes=2))
    """
    script = tmp_path / "parent.py"
    body = textwrap.indent(textwrap.dedent(code), "    ")
    script.write_text(f"if __name__ == '__main__':\n{body}", encoding="utf-8")
    parent = subprocess.Popen([sys.executable, str(script)])
    deadline = time.monotonic() + 200
    while len(workers := [int(file.name.split("-")[1]) for file in tmp_path.glob("[0-9]-*")]) < 2:
        assert time.monotonic() < deadline and parent.poll() is None
        time.sleep(0.05)
    parent.kill()
    parent.wait()
    while any(psutil.pid_exists(worker) for worker in workers):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_there_is_a_processor() -> None:
    assert 1 <= processors() <= (os.cpu_count() or 1)


def test_workers_take_gpus_by_turns() -> None:
    calls = [{"again": number} for number in range(6)]
    found = dict(run_in_processes(gpu_of_this_process, calls, processes=3, gpus=("3", "GPU-5f"))).values()
    by_worker = {process: gpu for gpu, process in found}
    assert sorted(str(gpu) for gpu in by_worker.values()) == ["3", "3", "GPU-5f"]
    assert len(set(found)) == len(by_worker), "a worker changed its GPU"
    alone = run_in_processes(gpu_of_this_process, calls[:2], processes=2, gpus=("0",))
    assert {gpu for _, (gpu, _) in alone} == {os.environ.get("CUDA_VISIBLE_DEVICES")}


@pytest.mark.parametrize(
    ("shown", "count", "names"),
    [(None, 2, ("0", "1")), ("3,1", 2, ("3", "1")), ("GPU-a, GPU-b", 2, ("GPU-a", "GPU-b")), ("", 0, ()), ("1", 0, ())],
)
def test_visible_gpus_are_named_as_the_environment_names_them(
    monkeypatch: pytest.MonkeyPatch, shown: str | None, count: int, names: tuple[str, ...]
) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    if shown is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", shown)
    assert visible_gpus() == names
