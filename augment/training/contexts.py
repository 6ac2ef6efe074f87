"""Contexts of a run: its scratch folder is its own, Ctrl-C waits for the step's end, cuDNN tries its algorithms."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout

from augment.core.errors import InputError, Problem


@contextmanager
def only_run_in(scratch: Path) -> Iterator[None]:
    """Within the block no other run may use the scratch folder, which is made if it is not there.

    Raises:
        InputError: Another run is using it.
    """
    scratch.mkdir(parents=True, exist_ok=True)
    lock = FileLock(scratch / "lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        fix = "wait for its end, or give this run its own scratch folder"
        raise InputError(Problem(str(scratch), "another run is writing here", fix)) from error
    try:
        yield
    finally:
        lock.release()


@contextmanager
def deferred_interrupt() -> Iterator[threading.Event]:
    """Within the block the first Ctrl-C sets the event; the second interrupts at once."""
    event = threading.Event()
    with ExitStack() as stack:
        if threading.current_thread() is threading.main_thread():

            def handler(number: int, frame: Any) -> None:
                if event.is_set():
                    raise KeyboardInterrupt
                event.set()

            before = signal.signal(signal.SIGINT, handler)
            stack.callback(signal.signal, signal.SIGINT, before)
        yield event


@contextmanager
def cudnn_benchmark(device: torch.device) -> Iterator[None]:
    """Lets cuDNN try its algorithms: shapes never change in a training. The caller's choice is restored."""
    if device.type != "cuda":
        yield
        return
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = True
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before
