"""Ctrl-C during a training: the step is finished, a checkpoint is written, then the run ends."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any


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
