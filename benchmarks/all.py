"""All comparisons with named baselines in one table: docs/results/benchmarks.md.

git clone https://github.com/yunjey/stargan /tmp/stargan
python -m benchmarks.all --authors /tmp/stargan [--batch 4] [--page docs/results/benchmarks.md]
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch

from augment.core.files import atomic_write_text
from augment.core.precision_measurement import machine_facts
from benchmarks import distances, generation, loading, stargan_loop
from benchmarks.measurements import Row

PAGE = Path(__file__).parents[1] / "docs" / "results" / "benchmarks.md"
HEAD = """# Benchmarks

Written by `python -m benchmarks.all`; each part is a command of its own in `benchmarks/`. Figures are from processor
seconds of one thread, and what is compared was timed by turns in one process: the ratios hold on a busy machine, the
times do not. A ratio above 1 says that ours is faster. A share of the ceiling is what the step reaches of the speed of
the machine's own matrix product.

"""


def page(rows: list[Row], command: str, seconds: float) -> str:
    """The page's text."""
    facts = machine_facts(torch.device("cpu"))
    machine = f"{facts['device']}, {facts['instructions']}, torch {facts['torch']}"
    lines = ["| work | ours | baseline | the baseline's | ratio |", "| --- | ---: | --- | ---: | ---: |"]
    lines += [f"| {' | '.join(row.cells())} |" for row in rows]
    return f"{HEAD}{machine}. `{command}`, {seconds:.0f} processor seconds.\n\n" + "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--authors", type=Path, help="a clone of https://github.com/yunjey/stargan")
    parser.add_argument("--batch", type=int, default=4, help="faces per StarGAN step (default 4; the authors' is 16)")
    parser.add_argument("--repeats", type=int, default=2, help="of each measurement; the least counts (default 2)")
    parser.add_argument("--page", type=Path, default=PAGE, help="where the table goes")
    options = parser.parse_args()
    torch.set_num_threads(1)
    began = time.process_time()
    rows = [
        *stargan_loop.measure(options.authors, batch=options.batch, repeats=options.repeats),
        *generation.measure(repeats=options.repeats),
        *distances.measure(repeats=options.repeats),
        *loading.measure(repeats=options.repeats),
    ]
    named = "" if options.authors is None else " --authors STARGAN"
    command = f"python -m benchmarks.all{named} --batch {options.batch} --repeats {options.repeats}"
    text = page(rows, command, time.process_time() - began)
    atomic_write_text(options.page, text)
    print(text)


if __name__ == "__main__":
    main()
