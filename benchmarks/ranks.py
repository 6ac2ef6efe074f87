"""What ranks save: a training shared by several processes, against one process with one thread, and with several.

Wall time of the steps alone, by turns, the least of some repeats; the machine must be idle. On CUDA a GPU each.

    python -m benchmarks.ranks [--translator stargan] [--width 16] [--size 48] [--batch 16] [--ranks 2] [--device cpu]
"""

from __future__ import annotations

import argparse
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import torch

from augment.core.precision_measurement import machine_facts
from augment.core.processes import use_threads
from augment.core.ranks import run_on_ranks
from augment.training.loop import train_translator
from augment.training.settings import TrainingSettings
from augment.translators import create_translator
from benchmarks.measurements import embedded_faces
from benchmarks.training import SETTINGS


def seconds_of_steps(*, method: str, width: int, size: int, batch: int, steps: int, device: str) -> float:
    """Trains from the start, and returns the wall time of the steps."""
    faces = embedded_faces(size, 1)
    own = {"width": width, **({"lambda_parsing": 0.0} if method == "lssl" else {})}
    translator = create_translator(
        method, num_classes=len(faces.class_names), channels=1, size=size, settings=SETTINGS | own, seed=0
    )
    settings = TrainingSettings(
        steps=steps,
        batch_size=batch,
        discriminator_steps=1,
        log_every=steps,
        sample_every=steps,
        checkpoint_every=steps,
    )
    # A folder on every rank: only the first one writes, and none reads what another wrote.
    with tempfile.TemporaryDirectory() as folder:
        out, scratch = Path(folder) / "out", Path(folder) / "scratch"
        return train_translator(
            translator.to(device), faces, None, settings, out=out, scratch=scratch, seed=0, device=device
        ).seconds


def with_threads(threads: int, call: dict[str, Any]) -> float:
    """In this process."""
    use_threads(threads)
    return seconds_of_steps(**call)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--translator", default="stargan", choices=("lssl", "stargan"))
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--size", type=int, default=48)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    call = {
        "method": options.translator,
        "width": options.width,
        "size": options.size,
        "batch": options.batch,
        "steps": options.steps,
        "device": options.device,
    }
    ways = {
        "one process": partial(with_threads, 1, call),
        f"one process, {options.ranks} threads": partial(with_threads, options.ranks, call),
        f"{options.ranks} ranks": partial(run_on_ranks, seconds_of_steps, call, count=options.ranks, threads=1),
    }
    if options.device != "cpu":
        del ways[f"one process, {options.ranks} threads"]
    best = dict.fromkeys(ways, float("inf"))
    for _ in range(options.repeats):
        for name, run in ways.items():
            best[name] = min(best[name], run())
    facts = machine_facts(torch.device(options.device))
    print(f"{', '.join(str(value) for value in facts.values())}: {options.translator}, width {options.width}, ", end="")
    print(f"{options.size} px, batch {options.batch}, {options.steps} steps")
    for name, seconds in best.items():
        speed = options.steps * options.batch / seconds
        print(f"{name:24} {seconds:8.2f} s {speed:8.1f} faces/s {best['one process'] / seconds:6.2f} times as fast")


if __name__ == "__main__":
    main()
