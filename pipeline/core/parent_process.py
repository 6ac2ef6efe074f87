"""Ends a process that DVC or a flow started when that ends, however it ends; only on Linux.

Worker processes of `multiprocessing` have their own way, on every system: `augment.core.processes.end_with_parent`.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
from pathlib import Path

_SET_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG in linux/prctl.h
_SHELLS = {"sh", "ash", "bash", "busybox", "dash", "fish", "ksh", "zsh"}


def end_with_caller() -> None:
    """Asks for SIGTERM when the process that called this one ends, so that a killed `dvc repro` leaves no training.

    DVC calls a stage through a shell. Some shells make way for the command; others (dash) wait for it, and would go on
    waiting without DVC: then the shell's parent is watched too.

    Raises:
        SystemExit: The caller has ended already.
    """
    if sys.platform != "linux":
        return
    ctypes.CDLL(None, use_errno=True).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGTERM)
    if not os.environ.get("DVC_STAGE"):
        return
    parent = os.getppid()
    if parent == 1:  # it died before the request was made
        raise SystemExit(1)
    try:
        name, state = Path(f"/proc/{parent}/stat").read_text(encoding="utf-8").split("(", 1)[1].rsplit(")", 1)
        if name not in _SHELLS:
            return
        handle = os.pidfd_open(int(state.split()[1]))
    except (OSError, ValueError, IndexError) as error:
        if isinstance(error, ProcessLookupError | FileNotFoundError):
            raise SystemExit(1) from error
        return  # a system that does not tell
    threading.Thread(target=_end_after, args=(handle,), daemon=True).start()


def _end_after(handle: int) -> None:
    import select

    select.select([handle], [], [])
    os.kill(os.getpid(), signal.SIGTERM)
