"""Processor time and memory of a process and all that it starts."""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress
from dataclasses import dataclass

import psutil

_EVERY = 0.5  # seconds; shorter peaks of memory may be missed


@dataclass(frozen=True)
class Usage:
    """What a process and its descendants used.

    Attributes:
        seconds: Wall time.
        processor_seconds: Of all their cores together.
        peak_memory: Largest sum of their resident sets, in bytes, of samples half a second apart. Pages that processes
            share count for each of them, so it is rather too much than too little. None: no sample was taken.
    """

    seconds: float
    processor_seconds: float
    peak_memory: int | None


class UsageMeter:
    """Watches a process until `finish`.

    Args:
        process: Its id.
    """

    def __init__(self, process: int) -> None:
        self._process = psutil.Process(process)
        self._began = time.monotonic()
        self._processor_seconds = 0.0
        self._peak_memory: int | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    @property
    def peak_memory(self) -> int | None:
        """As in `Usage`, so far."""
        return self._peak_memory

    def finish(self) -> Usage:
        """Waits until the process ends, without taking its exit status from whoever else waits for it."""
        with suppress(ChildProcessError, AttributeError):  # another thread was first; not on every system
            os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT)
        self._ended.set()
        self._thread.join()
        self._sample()  # on Linux an ended process still knows the time of all that it waited for
        return Usage(time.monotonic() - self._began, self._processor_seconds, self._peak_memory)

    def _watch(self) -> None:
        while not self._ended.wait(_EVERY) and self._process.is_running():
            self._sample()

    def _sample(self) -> None:
        try:
            processes = [self._process, *self._process.children(recursive=True)]
        except psutil.Error:
            return
        seconds, memory = 0.0, 0
        for process in processes:
            with suppress(psutil.Error):
                times = process.cpu_times()
                # With the time of children that it waited for, who are no longer in the list.
                seconds += times.user + times.system + times.children_user + times.children_system
                memory += process.memory_info().rss
        self._processor_seconds = max(self._processor_seconds, seconds)
        if memory:
            self._peak_memory = max(self._peak_memory or 0, memory)
