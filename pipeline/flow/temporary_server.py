"""Prefect's temporary server ends with the process that it was started for, however that ends."""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess

import psutil

_SERVER = "prefect.server.api.server:create_app"
# A line says that we ended by ourselves, and stop the server as Prefect does; no line, that we were killed.
_WATCH = 'read -r line || kill "$0"'
_watched: set[int] = set()


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
        if not serves or shell is None or child.pid in _watched:
            continue
        _watched.add(child.pid)
        # The pipe's other end is ours alone: what we start does not inherit it. Ctrl-C is not for the watch.
        watch = subprocess.Popen(
            [shell, "-c", _WATCH, str(child.pid)], stdin=subprocess.PIPE, start_new_session=os.name == "posix"
        )
        atexit.register(_dismiss, watch)


def _dismiss(watch: subprocess.Popen[bytes]) -> None:
    try:
        watch.communicate(b"ended\n", timeout=5)
    except (OSError, subprocess.TimeoutExpired):
        watch.kill()
