"""Faces per second of the embedded rig on one core: `python benchmarks/rig.py [--faces N] [--channels 1|3]`.

Processor time is what counts (a shared machine makes the wall clock jump); both are printed. "new people" renders every
person once, so the cost of making a person is in it; "known people" renders them again.
"""

from __future__ import annotations

import argparse
import time

from augment.rig import preset, render


def measure(size: int, channels: int, faces: int, repeats: int) -> None:
    population = preset("rare", seed=0)
    specs = [spec for spec in population.specs if spec.split == "test"][:faces]
    render(specs[:2], size=size, channels=channels, seed=99)  # compiles, builds the mesh
    for name in ("new people", "known people"):
        best_processor, best_wall = float("inf"), float("inf")
        for repeat in range(repeats):
            seed = repeat if name == "new people" else 0
            processor, wall = time.process_time(), time.perf_counter()
            render(specs, size=size, channels=channels, seed=seed)
            best_processor = min(best_processor, time.process_time() - processor)
            best_wall = min(best_wall, time.perf_counter() - wall)
        print(
            f"{size:4d} px  {channels} channel(s)  {name:12s}"
            f"  {len(specs) / best_processor:6.0f} images/s of processor time"
            f"  {len(specs) / best_wall:6.0f} images/s by the clock"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faces", type=int, default=280, help="images a measurement (7 per person)")
    parser.add_argument("--channels", type=int, default=1, choices=(1, 3))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--sizes", type=int, nargs="+", default=[48, 64, 128])
    arguments = parser.parse_args()
    for size in arguments.sizes:
        measure(size, arguments.channels, arguments.faces, arguments.repeats)


if __name__ == "__main__":
    main()
