"""Runs killed with SIGKILL at random moments, and run again: do they end as an undisturbed run does?

python -m benchmarks.kills [--trials 50] [--through stages] [--seed 0] [--page FILE]

Each trial starts a small run (embedded faces, warp and StarGAN) in an empty folder and kills it with all its processes.
Then every sealed folder must be whole, the run is started again, and every output must have the digest that an
undisturbed run gave it, but for times. `--through dvc` kills `dvc repro` itself, in a clone: minutes a trial.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import psutil
import yaml

from augment.core.files import LEFTOVER, atomic_write_text, sha256_of_file
from augment.core.seals import SEAL, seal_problems
from pipeline.core.stage_names import STAGES

ROOT = Path(__file__).parents[1]
WORDS = [
    *("scale=smoke", "+recipe@translators.stargan=stargan", "+recipe/smoke@translators.stargan=stargan"),
    "+arms.synthetic.stargan={kind: synthetic, translator: stargan, per_class: 20, augmentation: classical}",
]
_TIMES = ("timings", "report")  # what is in them differs between equal runs


def whole_run(words: Sequence[str]) -> list[str]:
    """The command of all stages of a profile in one process, in the folder that it is called in."""
    code = f"run_whole(Path.cwd(), Path({str(ROOT)!r}), {list(words)!r})"
    return [sys.executable, "-c", f"from pathlib import Path; from pipeline.whole_run import run_whole; {code}"]


def start(workspace: Path, command: Sequence[str]) -> subprocess.Popen[str]:
    """Starts a run in a process group of its own; what it says goes to `run.log`."""
    log = (workspace / "run.log").open("a")
    scripts = str(Path(sys.executable).parent)
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PATH": scripts + os.pathsep + os.environ["PATH"]}
    return subprocess.Popen(
        command, cwd=workspace, env=environment, stdout=log, stderr=log, text=True, start_new_session=True
    )


def make(folder: Path, through: str) -> Path:
    """An empty workspace."""
    if through == "stages":
        folder.mkdir()
        return folder
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder)], check=True)
    profile = [sys.executable, "-m", "pipeline.cli", "profile", *WORDS]
    subprocess.run(profile, cwd=folder, check=True, capture_output=True)
    return folder


def digests(workspace: Path) -> dict[str, str]:
    """SHA-256 of every output but those with times."""
    artifacts = workspace / "artifacts"
    return {
        str(path.relative_to(artifacts)): sha256_of_file(path)
        for path in sorted(artifacts.rglob("*"))
        if path.is_file() and path.relative_to(artifacts).parts[0] not in _TIMES
    }


def last_stage(workspace: Path) -> str:
    """The stage whose line was the last in the log, as far as it says."""
    words = (workspace / "run.log").read_text(errors="replace").split()
    found = [word.strip(":,'") for word in words if word.strip(":,'").partition("@")[0] in STAGES]
    return found[-1].partition("@")[0] if found else "start"


def trial(workspace: Path, command: Sequence[str], after: float) -> tuple[str, list[str]]:
    """Kills a run after so many seconds and finishes it; returns where it was, and what is wrong."""
    process = start(workspace, command)
    time.sleep(after)
    ended = process.poll() is not None
    where = "the end" if ended else last_stage(workspace)
    if not ended:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    wrong = []
    time.sleep(0.3)
    alive = [other.pid for other in psutil.process_iter() if _works_in(other, workspace)]
    if alive:
        wrong.append(f"{len(alive)} processes live on")
    for seal in workspace.rglob(f"artifacts/**/{SEAL}"):
        wrong += [str(problem) for problem in seal_problems(seal.parent, "")][:3]
    again = start(workspace, command)
    if again.wait() != 0:
        wrong.append(f"the second run failed: {(workspace / 'run.log').read_text(errors='replace')[-400:]}")
    left = [path for path in (workspace / "artifacts").rglob("*") if LEFTOVER.fullmatch(path.name)]
    if left:
        wrong.append(f"left behind: {', '.join(path.name for path in left[:3])}")
    return where, wrong


def _works_in(process: psutil.Process, workspace: Path) -> bool:
    try:
        return Path(process.cwd()).is_relative_to(workspace)
    except (psutil.Error, OSError):
        return False


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=50)
    parser.add_argument("--through", choices=("stages", "dvc"), default="stages")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--page", type=Path, help="where the outcome goes, as YAML")
    options = parser.parse_args()
    chance, home = random.Random(options.seed), Path(tempfile.mkdtemp(prefix="s2l-kills-"))
    began = time.monotonic()
    whole = make(home / "whole", options.through)
    command = whole_run(WORDS) if options.through == "stages" else [sys.executable, "-m", "dvc", "repro"]
    if start(whole, command).wait() != 0:
        sys.exit((whole / "run.log").read_text()[-2000:])
    seconds, wanted = time.monotonic() - began, digests(whole)
    print(f"undisturbed: {seconds:.0f} s, {len(wanted)} files")
    killed: Counter[str] = Counter()
    problems: list[str] = []
    for number in range(options.trials):
        workspace = make(home / f"trial-{number}", options.through)
        where, wrong = trial(workspace, command, chance.uniform(0.5, seconds))
        found = digests(workspace)
        wrong += [f"{name} differs" for name in sorted({*wanted, *found}) if wanted.get(name) != found.get(name)][:3]
        killed[where] += 1
        problems += [f"trial {number}, in {where}: {words}" for words in wrong]
        print(f"trial {number}: killed in {where}: {'; '.join(wrong) or 'as undisturbed'}", flush=True)
        shutil.rmtree(workspace)
    shutil.rmtree(home)
    words = f"--trials {options.trials} --through {options.through} --seed {options.seed}"
    outcome = {
        "command": f"python -m benchmarks.kills {words}",
        "undisturbed run": f"{seconds:.0f} s, {len(wanted)} files compared",
        "killed in": dict(sorted(killed.items())),
        "problems": problems,
    }
    text = yaml.safe_dump(outcome, sort_keys=False, allow_unicode=True, width=120)
    print(text)
    if options.page:
        atomic_write_text(options.page, text)
    sys.exit(bool(problems))


if __name__ == "__main__":
    main()
