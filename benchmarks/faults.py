"""Faults of the machine in the middle of a small run: what it says, and whether the next run ends as it should.

sudo python -m benchmarks.faults [--page FILE]

Linux, as root (it mounts a small disk); the clock needs `faketime`. Each trial runs embedded faces with warp in a
folder of its own, brings the fault, runs again without it and compares every output with those of an undisturbed run,
but for times.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import yaml

from augment.core.files import atomic_write_text
from benchmarks.kills import ROOT, digests, start, whole_run

RUN = whole_run(["scale=smoke"])
MOST_MEMORY = 500 * 2**20


def run(workspace: Path, *before: str, stage: str = "") -> tuple[int, str]:
    """Runs everything, or one stage by its command; returns the exit status and the last line of what it said."""
    command = [sys.executable, "-m", "pipeline.cli", *stage.split()] if stage else RUN
    environment = os.environ | {"PYTHONPATH": str(ROOT), "S2L_VERBOSITY": "normal"}
    done = subprocess.run(
        [*before, *command], cwd=workspace, env=environment, capture_output=True, text=True, errors="replace"
    )
    lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    return done.returncode, lines[-1].replace(f"{workspace}/", "") if lines else ""


@contextmanager
def disk(folder: Path, megabytes: int) -> Iterator[Path]:
    """A disk of so many megabytes."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}M", "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def remount(folder: Path, options: str) -> None:
    """Changes a mounted disk."""
    subprocess.run(["mount", "-o", f"remount,{options}", str(folder)], check=True)


def full_disk(home: Path) -> tuple[str, Path]:
    """A disk that is full after a megabyte, and then has room."""
    with disk(home / "full", 1) as folder:
        run(folder)
        status, said = run(folder, stage="judge")  # as a user calls it
        remount(folder, "size=500M")
        again, _ = run(folder)
        return f"exit {status}, `{said}`; with room exit {again}", _kept(folder, home / "full-copy")


def read_only(home: Path) -> tuple[str, Path]:
    """A disk that becomes read-only after the first stages."""
    with disk(home / "read", 500) as folder:
        run(folder)
        shutil.rmtree(folder / "artifacts" / "judge")
        remount(folder, "ro")
        status, said = run(folder, stage="judge")
        remount(folder, "rw")
        again, _ = run(folder)
        return f"exit {status}, `{said}`; writable again exit {again}", _kept(folder, home / "read-copy")


def clock_back(home: Path) -> tuple[str, Path]:
    """A clock that goes back by two days between a killed run and the next."""
    folder = home / "clock"
    folder.mkdir()
    started = start(folder, RUN)
    time.sleep(8)
    os.killpg(started.pid, 9)
    started.wait()
    again, _ = run(folder, "faketime", "-f", "-2d")
    return f"killed, then two days earlier: exit {again}", folder


def two_at_once(home: Path) -> tuple[str, Path]:
    """The same stage, started twice in one workspace."""
    folder = home / "two"
    folder.mkdir()
    run(folder)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "pipeline.cli", "judge"]
    pair = [
        subprocess.Popen(
            command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        for _ in range(2)
    ]
    said = [process.communicate()[0] for process in pair]
    ends = sorted(process.returncode for process in pair)
    words = [text.strip().splitlines()[-1] for text, process in zip(said, pair, strict=True) if process.returncode]
    return f"exits {ends}, `{' '.join(words).replace(f'{folder}/', '')}`", folder


def killed_for_memory(home: Path) -> tuple[str, Path]:
    """Processes that are killed as the kernel does where memory ends: without a word, once they hold so much."""
    folder = home / "memory"
    folder.mkdir()
    started = start(folder, RUN)
    process = psutil.Process(started.pid)
    while started.poll() is None:
        if process.memory_info().rss > MOST_MEMORY:
            process.kill()
            break
        time.sleep(0.05)
    status = started.wait()
    again, _ = run(folder)
    return f"exit {status} at {MOST_MEMORY // 2**20} MiB; with memory exit {again}", folder


def _kept(folder: Path, copy: Path) -> Path:
    shutil.copytree(folder / "artifacts", copy / "artifacts")
    return copy


TRIALS: dict[str, Callable[[Path], tuple[str, Path]]] = {
    "disk full": full_disk,
    "read-only disk": read_only,
    "clock set back": clock_back,
    "two at once": two_at_once,
    "killed for memory": killed_for_memory,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--page", type=Path, help="where the outcomes go, as YAML")
    options = parser.parse_args()
    home = Path(tempfile.mkdtemp(prefix="s2l-faults-"))
    (home / "whole").mkdir()
    status, said = run(home / "whole")
    if status:
        sys.exit(said)
    wanted = digests(home / "whole")
    outcomes = {}
    for name, trial in TRIALS.items():
        try:
            words, folder = trial(home)
            found = digests(folder)
            differing = [path for path in sorted({*wanted, *found}) if wanted.get(path) != found.get(path)]
            outcomes[name] = f"{words}; " + (f"differs: {differing[:3]}" if differing else "outputs as undisturbed")
        except (OSError, subprocess.CalledProcessError) as error:
            outcomes[name] = f"not tried here: {error}"
        print(f"{name}: {outcomes[name]}", flush=True)
    shutil.rmtree(home, ignore_errors=True)
    if options.page:
        text = yaml.safe_dump(outcomes, sort_keys=False, allow_unicode=True, width=120)
        atomic_write_text(options.page, text)


if __name__ == "__main__":
    main()
