"""Prefect's temporary server ends with the process that it was started for, however that ends."""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
from prefect.settings import (
    PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS,
    get_current_settings,
    temporary_settings,
)

from augment.core.errors import InputError, Problem

_SERVER = "prefect.server.api.server:create_app"
# A line says that we ended by ourselves, and stop the server as Prefect does; no line, that we were killed.
_WATCH = 'read -r line || kill "$0"'
_PATIENCE = 180  # seconds
_watched: set[int] = set()
_lock = threading.Lock()


def end_server_with_process() -> None:
    """Lets a shell wait for the end of this process, and end its temporary server where this process was killed.

    Prefect stops the server when the process ends, which it can't where the process is killed: 200 MB would stay for
    each such run. Does nothing where there is no temporary server, or no `sh`.
    """
    shell = shutil.which("sh")
    for child in psutil.Process().children():
        try:
            serves = _SERVER in child.cmdline()
        except psutil.Error:
            continue
        with _lock:
            if not serves or shell is None or child.pid in _watched:
                continue
            _watched.add(child.pid)
        # The pipe's other end is ours alone: what we start does not inherit it. Ctrl-C is not for the watch.
        watch = subprocess.Popen(
            [shell, "-c", _WATCH, str(child.pid)], stdin=subprocess.PIPE, start_new_session=os.name == "posix"
        )
        atexit.register(_dismiss, watch)


@contextmanager
def patient_with_temporary_server() -> Iterator[None]:
    """Within the block a temporary server may take minutes to start, and ends with this process from its first moment.

    Prefect gives it 20 seconds, which a busy machine does not keep.

    Raises:
        InputError: It did not start.
    """
    setting = PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS
    seconds = max(_PATIENCE, int(setting.value()))

    def look() -> None:
        end = time.monotonic() + seconds
        while not _watched and time.monotonic() < end:
            end_server_with_process()
            time.sleep(0.1)

    # What ends with this process has no operator who could have agreed to report on it.
    os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
    if not get_current_settings().api.url:
        threading.Thread(target=look, daemon=True).start()
    try:
        with temporary_settings({setting: seconds}):
            yield
    except RuntimeError as error:
        if "ephemeral Prefect API server" not in str(error):
            raise
        fix = "try again when the machine is less busy, or start one (`prefect server start`) and set PREFECT_API_URL"
        why = f"did not start within {seconds} s"
        raise InputError(Problem("the temporary Prefect server", why, fix)) from error


def _dismiss(watch: subprocess.Popen[bytes]) -> None:
    try:
        watch.communicate(b"ended\n", timeout=5)
    except (OSError, subprocess.TimeoutExpired):
        watch.kill()
