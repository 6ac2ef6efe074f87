"""Loss curves of a translator in float32 and bfloat16, side by side, with a second seed of float32 as the measure.

Writes a figure and a table to a folder: each loss term over the steps of the three runs, and how far bfloat16's mean
over the last half of the run is from float32's, beside how far the other seed's is. Where the first is not larger than
the second, the precision changes the run no more than a seed does.

    python -m benchmarks.precision --out /tmp/precision [--translator stargan] [--steps 300]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import matplotlib
import pandas as pd
import torch

from augment.core.files import atomic_write_bytes, atomic_write_text
from augment.training.loop import train_translator
from augment.training.settings import TrainingSettings
from augment.translators import create_translator
from benchmarks.measurements import embedded_faces
from benchmarks.training import SETTINGS
from reports.figures import LIGHT, new_figure, png_bytes
from reports.inputs import loss_terms, read_json_lines

RUNS = {"float32": ("float32", 0), "bfloat16": ("bfloat16", 0), "float32, another seed": ("float32", 1)}


def curves(translator: str, size: int, batch: int, steps: int) -> tuple[dict[str, pd.DataFrame], dict[str, float]]:
    """The log and the processor seconds of each run."""
    faces = embedded_faces(size, 1)
    chosen: dict[str, Any] = SETTINGS | ({"lambda_parsing": 0.0} if translator == "lssl" else {})
    logs, seconds = {}, {}
    # The first run counts for nothing: it imports what an optimizer needs.
    for name, (precision, seed) in {"imports": ("float32", 0), **RUNS}.items():
        settings = TrainingSettings.model_validate(
            {
                "steps": 1 if name == "imports" else steps,
                "batch_size": batch,
                "discriminator_steps": 1,
                "generator_learning_rate": 1e-3,
                "discriminator_learning_rate": 1e-3,
                "log_every": max(1, steps // 30),
                "sample_every": steps,
                "checkpoint_every": steps,
                "precision": precision,
            }
        )
        made = create_translator(
            translator, num_classes=len(faces.class_names), channels=1, size=size, settings=chosen, seed=seed
        )
        with tempfile.TemporaryDirectory() as folder:
            began = time.process_time()
            train_translator(
                made, faces, None, settings, out=Path(folder) / "out", scratch=Path(folder) / "scratch", seed=seed
            )
            seconds[name] = time.process_time() - began
            logs[name] = read_json_lines(Path(folder) / "out" / "log.jsonl")
    del logs["imports"], seconds["imports"]
    return logs, seconds


def table(logs: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Means of the last half of the run by term, and the distances of bfloat16 and of the other seed from float32."""
    rows = []
    for term in loss_terms(logs["float32"]):
        means = {name: log[term][len(log) // 2 :].mean() for name, log in logs.items()}
        exact = means["float32"]
        rows.append(
            {
                "term": term,
                **means,
                "bfloat16 off by": abs(means["bfloat16"] - exact),
                "other seed off by": abs(means["float32, another seed"] - exact),
            }
        )
    return pd.DataFrame(rows)


def draw(logs: dict[str, pd.DataFrame]) -> bytes:
    """One panel for each term, one line for each run."""
    terms = loss_terms(logs["float32"])
    columns = min(3, len(terms))
    rows = -(-len(terms) // columns)
    with matplotlib.rc_context():
        figure, axes = new_figure(3.0 * columns, 2.1 * rows, LIGHT, rows, columns)
        for place, axis in enumerate(axes.flat):
            if place >= len(terms):
                axis.set_visible(False)
                continue
            for number, (name, log) in enumerate(logs.items()):
                style = ("-", "-", ":")[number]
                axis.plot(log["step"], log[terms[place]], style, label=name, linewidth=1.2, color=LIGHT.series[number])
            axis.set_title(terms[place].replace("_", " ").replace("/", ": "), fontsize=8)
            axis.grid()
        axes.flat[0].legend(fontsize=6)
        figure.supxlabel("step", fontsize=8)
        return png_bytes(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="gets curves.png, curves.csv and means.csv")
    parser.add_argument("--translator", default="stargan", choices=("lssl", "stargan"))
    for name, value in (("size", 48), ("batch", 16), ("steps", 300)):
        parser.add_argument(f"--{name}", type=int, default=value)
    options = parser.parse_args()
    torch.set_num_threads(1)
    logs, seconds = curves(options.translator, options.size, options.batch, options.steps)
    means = table(logs)
    joined = pd.concat([log.assign(run=name) for name, log in logs.items()])
    atomic_write_bytes(options.out / "curves.png", draw(logs))
    atomic_write_text(options.out / "curves.csv", joined.to_csv(index=False, float_format="%.6g"))
    atomic_write_text(options.out / "means.csv", means.to_csv(index=False, float_format="%.4g"))
    print(means.to_string(index=False, float_format=lambda value: f"{value:.4f}"))
    print(f"bfloat16 is {seconds['float32'] / seconds['bfloat16']:.2f} times as fast as float32 here")


if __name__ == "__main__":
    main()
