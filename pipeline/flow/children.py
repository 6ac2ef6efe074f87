"""Stages as child processes: `dvc repro` of one stage each, with a share of the cores; none outlives the flow."""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from augment.core.errors import InputError
from pipeline.flow.graph import open_workspace
from pipeline.flow.records import keep_record
from pipeline.flow.usage import Usage, UsageMeter
from pipeline.running_stages import is_alive, list_of_files_in_use

# The child ends with the flow even where the flow is killed and can stop nothing itself. It ends by an exception: DVC
# then takes back its entry in the list of files in use, which would block the next run. It tells its whole group
# first: between it and the stage stands a shell, and where that is not bash (`SHELL` in a container or a unit of
# systemd) it would wait on, and the stage with it.
_DVC = """
import os, signal, sys

def end(*_):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.killpg(0, signal.SIGTERM)
    sys.exit(143)

signal.signal(signal.SIGTERM, end)
from pipeline.core.parent_process import end_with_caller
end_with_caller()
from dvc.cli import main
sys.exit(main(sys.argv[1:]))
"""
_KILLED = 128 + signal.SIGKILL
# A stage whose worker process is killed ends by itself: so say concurrent.futures, and ranks whose peer is gone.
_LOST_PROCESS = ("terminated abruptly", "connection reset by peer", "connection closed by peer")
# As the system, torch, Python and numpy say it.
_NO_MEMORY = ("out of memory", "cannot allocate memory", "memoryerror", "unable to allocate")
_TRANSIENT = (*_NO_MEMORY, "database is locked", "stale file handle", *_LOST_PROCESS)
_SHOWN = 2  # problems of an error that lists more
_NOT_TRANSFERRED = "ERROR: failed to transfer"


Outcome = Literal["ran", "cached"]


class StageFailedError(Exception):
    """A stage ended with an error; the message is the last that it printed.

    Attributes:
        transient: Whether another try may succeed: memory was short, or the process was killed.
    """

    def __init__(self, message: str, *, transient: bool) -> None:
        super().__init__(message)
        self.transient = transient


class Children:
    """Runs stages in one workspace.

    Args:
        root: The workspace.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._running: dict[str, subprocess.Popen[str]] = {}
        self._lock = threading.Lock()
        self._stopped = False

    def run(
        self, name: str, *, cores: Collection[int], log: Callable[[str], object], arguments: Collection[str] = ()
    ) -> Outcome:
        """Runs a stage, and nothing that it reads from.

        Args:
            name: Of the stage.
            cores: Which processor cores it may use. What a stage computes does not depend on it.
            log: Called with each line that it prints.
            arguments: Further words of `dvc repro`.

        Returns:
            `ran`; `cached` where DVC found nothing changed or had the result of the same run before.

        Raises:
            StageFailedError: The stage ended with an error, its result is not in DVC's cache, or `stop` was called.
        """
        lines, usage = self.dvc(name, "repro", "--single-item", *arguments, name, cores=cores, log=log)
        unchanged = any("didn't change, skipping" in line or "is cached - skipping run" in line for line in lines)
        if unchanged:
            return "cached"
        if lost := _not_in_cache(lines):
            why = f"{name} ran, but DVC's cache lacks its result: {lost}"
            fix = f"free space, then `dvc commit --force {name}`, which trains nothing again"
            raise StageFailedError(f"{why} ({fix})", transient=False)
        try:
            keep_record(self._root, name, usage, cores=len(cores))
        except (InputError, OSError) as error:  # only a time is lost
            log(f"what it cost could not be recorded: {error}")
        return "ran"

    def dvc(
        self, name: str, *words: str, cores: Collection[int] = (), log: Callable[[str], object]
    ) -> tuple[list[str], Usage]:
        """Runs a command of DVC for a stage.

        Args:
            name: Of the stage.
            words: After `dvc`.
            cores: Which processor cores it may use; none given: all that this process may.
            log: Called with each line that it prints.

        Returns:
            The lines that it printed, and what it used.

        Raises:
            StageFailedError: It ended with an error, or `stop` was called.
        """
        command = [sys.executable, "-c", _DVC, "--wait-for-lock", *words]
        environment = {key: value for key, value in os.environ.items() if key != "DVC_STAGE"}
        if shutil.which("s2l") is None:  # which DVC calls; it lies beside an interpreter that was not activated
            environment["PATH"] = environment.get("PATH", "") + os.pathsep + str(Path(sys.executable).parent)
        # `s2l` is this environment's, and the code that DVC hashes the workspace's, which is to be what runs.
        ahead = (str(self._root.resolve()), environment.get("PYTHONPATH"))
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, ahead))
        with self._lock:
            if self._stopped:
                raise StageFailedError("stopped before it began", transient=False)
            child = subprocess.Popen(
                command,
                cwd=self._root,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,  # so that `stop` reaches all of its processes at once
            )
            self._running[name] = child
        if cores and hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(child.pid, cores)  # inherited by what DVC starts, which it does seconds later
        meter = UsageMeter(child.pid)
        lines: list[str] = []
        try:
            assert child.stdout is not None
            for line in child.stdout:
                if text := line.rstrip():
                    lines.append(text)
                    log(text)
            usage = meter.finish()
            status = child.wait()
        finally:
            with self._lock:
                self._running.pop(name, None)
            _end(child, wait=5.0)
        if status != 0:
            raise StageFailedError(_reason(name, status, lines), transient=not self._stopped and is_transient(lines))
        return lines, usage

    @property
    def stopped(self) -> bool:
        """Whether `stop` was called."""
        return self._stopped

    def stop(self) -> None:
        """Ends every stage that runs, with all of its processes, and lets no other begin."""
        with self._lock:
            self._stopped = True
            children = list(self._running.values())
        for child in children:
            _signal(child, signal.SIGTERM)
        for child in children:
            _end(child, wait=10.0)


def is_transient(lines: Collection[str]) -> bool:
    """Whether what a stage printed says that another try may succeed.

    Args:
        lines: Of its output.
    """
    text = "\n".join(lines).lower()
    codes = [int(code) for code in re.findall(r"exited with (-?\d+)", text)]
    return _KILLED in codes or -signal.SIGKILL in codes or any(words in text for words in _TRANSIENT)


def _not_in_cache(lines: list[str]) -> str:
    """DVC's error where it could not copy a result into its cache, such as on a full disk; it ends with status 0."""
    # What it could not fetch before it ran the stage is no loss.
    begin = max((at for at, line in enumerate(lines) if line.startswith("Running stage ")), default=0)
    failed = (line.removeprefix("ERROR:").strip() for line in lines[begin:] if line.startswith(_NOT_TRANSFERRED))
    return next(failed, "")


def _reason(name: str, status: int, lines: list[str]) -> str:
    """The stage's own error in place of DVC's, which only says that there was one."""
    for at, line in enumerate(lines):
        if line.lower().startswith("error:") and "failed to reproduce" not in line.lower():
            return _with_problems(line, lines[at + 1 :])
    if any(words in line.lower() for line in lines for words in _LOST_PROCESS):
        return f"{name}: one of its processes was killed, as the system does where memory is short"
    return f"{name} ended with status {status}" + (f": {lines[-1]}" if lines else "")


def _with_problems(heading: str, rest: list[str]) -> str:
    """An error in one line, with the first of the problems that an InputError lists below it, each indented."""
    problems = [line.strip() for line in itertools.takewhile(lambda line: line.startswith("  "), rest)]
    if not problems:
        return heading
    more = ["and more, in the log"] if len(problems) > _SHOWN else []
    return f"{heading.removesuffix(':')}: {'; '.join([*problems[:_SHOWN], *more])}"


def _signal(child: subprocess.Popen[str], number: int) -> None:
    try:
        os.killpg(child.pid, number)
    except (ProcessLookupError, PermissionError):
        return


def _end(child: subprocess.Popen[str], wait: float) -> None:
    """Waits for a child that should end by itself, then kills its processes."""
    with suppress(subprocess.TimeoutExpired):
        child.wait(wait)
    _signal(child, signal.SIGKILL)
    child.wait()


def remove_broken_list(root: Path) -> str:
    """Removes from DVC's list of files in use what protects nothing, and would stop the next run.

    That is the whole list where it can't be read: DVC was killed while it wrote it, and refuses to run. A process that
    writes one just now is waited for. Else it is what a process noted that has ended: DVC itself takes it for alive
    where another one has its number now, as after a reboot or in a container.

    Args:
        root: The workspace, which the caller holds.

    Returns:
        What was removed, in a sentence; empty: nothing.

    Raises:
        InputError: DVC can't open the workspace.
    """
    place = list_of_files_in_use(root)
    for _ in range(10):
        try:
            listed = json.loads(place.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return ""
        except ValueError:
            time.sleep(0.2)
        else:
            return _remove_dead_entries(root, place) if _has_dead_entries(listed, place.stat().st_mtime) else ""
    place.unlink(missing_ok=True)
    return f"DVC's list of files in use ({place}) could not be read, and was removed"


def _has_dead_entries(listed: Any, written: float) -> bool:
    try:
        entries = [*listed.get("write", {}).values(), *itertools.chain(*listed.get("read", {}).values())]
        return not all(is_alive(int(entry["pid"]), written) for entry in entries)
    except (AttributeError, KeyError, TypeError, ValueError):  # in a form that DVC will name
        return False


def _remove_dead_entries(root: Path, place: Path) -> str:
    from dvc.rwlock import _edit_rwlock  # holds the lock under which every process of DVC changes the list

    with open_workspace(root) as repository:
        hard_link = repository.config["core"].get("hardlink_lock", False)
        with _edit_rwlock(str(place.parent), repository.fs, hard_link) as listed:
            written = place.stat().st_mtime
            alive = {
                path: [entry for entry in entries if is_alive(entry["pid"], written)]
                for path, entries in listed["read"].items()
            }
            listed["read"] = {path: entries for path, entries in alive.items() if entries}
            listed["write"] = {
                path: entry for path, entry in listed["write"].items() if is_alive(entry["pid"], written)
            }
    return f"what processes that have ended had noted in DVC's list of files in use ({place}) was removed"
