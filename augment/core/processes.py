"""Processes for the cores, and a fixed number of threads in each.

How many threads share a sum decides the order in which it is added, and so the last bits of a convolution; a few
hundred steps of training make a different network of them. So whatever learns uses a number of threads that is a
parameter of the run, and the cores of the machine at hand are used by processes that have nothing to add up together:
folds, seeds. How many of those run at once changes no result.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from typing import Any, TypeVar

Result = TypeVar("Result")

_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def use_threads(threads: int) -> None:
    """Fixes how many threads this process computes with: torch's, and those of NumPy's and SciPy's linear algebra.

    Args:
        threads: 1 and more.
    """
    from threadpoolctl import threadpool_limits

    for variable in _VARIABLES:  # libraries that are not loaded yet, and processes that are started from here
        os.environ[variable] = str(threads)
    threadpool_limits(limits=threads)  # libraries that are
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(threads)


def processors() -> int:
    """How many processors this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on Linux
        return os.cpu_count() or 1


def end_with_parent() -> None:
    """Makes a worker process leave Ctrl-C to its parent, and end with it however it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()

    def wait() -> None:
        assert parent is not None
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def visible_gpus() -> tuple[str, ...]:
    """The GPUs that this process sees, as `CUDA_VISIBLE_DEVICES` names them."""
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    named = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    return tuple(named[:count]) if len(named) >= count else tuple(map(str, range(count)))


def _start_worker(threads: int, gpus: multiprocessing.SimpleQueue[str] | None) -> None:
    end_with_parent()
    if gpus is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpus.get()  # before CUDA is initialised: the worker's `cuda` is this one
    use_threads(threads)


@contextmanager
def threads_here(threads: int) -> Iterator[None]:
    """Computes with so many threads in the block, as a worker of `run_in_processes` does, and with the former after."""
    import torch
    from threadpoolctl import threadpool_limits

    before = torch.get_num_threads()
    with threadpool_limits(limits=threads):
        torch.set_num_threads(threads)
        try:
            yield
        finally:
            torch.set_num_threads(before)


def run_in_processes(
    function: Callable[..., Result],
    calls: Sequence[Mapping[str, Any]],
    *,
    processes: int,
    threads: int = 1,
    gpus: Sequence[str] = (),
) -> Iterator[tuple[int, Result]]:
    """Calls a function several times, in as many processes as are given, and yields results as they come.

    With one process, or one call, the calls are made here, one after another. Otherwise each worker is a fresh
    interpreter (a fork of a process in which threads run may hang), so the function must be importable, and a script's
    own code must stand under `if __name__ == "__main__"`. When the caller stops early, by an error or Ctrl-C, the
    workers are ended at once: what they do must be safe to kill.

    Args:
        function: At the top of a module.
        calls: Keyword arguments of each call; they and the results must be picklable.
        processes: How many calls may run at once.
        threads: Of each worker; a call that is made here keeps this process's own.
        gpus: What `visible_gpus` names; workers take them by turns, and see no other; where none is given, all see all.

    Yields:
        The call's number and what the function returned.

    Raises:
        Exception: What the function raised.
    """
    if processes <= 1 or len(calls) <= 1:
        for number, call in enumerate(calls):
            yield number, function(**call)
        return
    context, workers = multiprocessing.get_context("spawn"), min(processes, len(calls))
    turns = context.SimpleQueue() if len(gpus) > 1 else None
    if turns is not None:
        for number in range(workers):
            turns.put(gpus[number % len(gpus)])
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker, initargs=(threads, turns))
    before = set(multiprocessing.active_children())
    ended = False
    try:
        futures = {pool.submit(function, **call): number for number, call in enumerate(calls)}
        for future in as_completed(futures):
            yield futures[future], future.result()
        ended = True
    finally:
        if not ended:
            for worker in set(multiprocessing.active_children()) - before:
                worker.terminate()
        pool.shutdown(cancel_futures=True)


__all__ = ["end_with_parent", "processors", "run_in_processes", "threads_here", "use_threads", "visible_gpus"]
