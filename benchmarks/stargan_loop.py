"""Our StarGAN step against the authors' own loop at equal settings, and against what the machine can multiply.

Baseline: `Solver.train` of https://github.com/yunjey/stargan, unchanged, for one generator step and its discriminator
steps. It is not part of this project: clone it and name the folder. Ours is the loop's step, with its checks, batches
and random states. Both have the published networks and losses (a test of equality is the number of parameters), the
same pictures, and as many of them.

The ceiling is the machine's own: a square matrix product, in the same precision and thread. The work of a step is
counted by torch's formulas (`torch.utils.flop_counter`), two operations for a multiplication and an addition.

    git clone https://github.com/yunjey/stargan /tmp/stargan
    python -m benchmarks.stargan_loop --authors /tmp/stargan [--size 64] [--width 64] [--batch 16]
"""

from __future__ import annotations

import argparse
import contextlib
import io
import sys
import tempfile
from argparse import Namespace
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from augment.core.precision import ComputedPrecision
from augment.faces.tensors import FaceTensors, to_unit_range
from augment.training.loop import Run
from augment.training.settings import TrainingSettings
from augment.translators import create_translator
from benchmarks.measurements import Row, embedded_faces, seconds_by_turns

DISCRIMINATOR_STEPS = 5  # of StarGAN's authors
PRECISIONS: tuple[ComputedPrecision, ...] = ("float32", "bfloat16")
PRODUCT_EDGES = (256, 512, 1024, 2048)


class Operations(TorchDispatchMode):
    """Counts floating-point operations; `FlopCounterMode` does so by module, which gradients of gradients forbid."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.total = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        found = function(*args, **kwargs)
        if (formula := flop_registry.get(function._overloadpacket)) is not None:
            self.total += formula(*args, **kwargs, out_val=found)
        return found


def our_round(
    faces: FaceTensors, size: int, width: int, batch: int, precision: ComputedPrecision
) -> tuple[Callable[[], None], int]:
    """A function that makes one generator step with its discriminator steps, and the number of parameters."""
    translator: Any = create_translator(
        "stargan",
        num_classes=len(faces.class_names),
        channels=3,
        size=size,
        settings={"width": width, "discriminator_downs": 6},
        seed=0,
    )
    settings = TrainingSettings.model_validate(
        {
            "steps": 1_000_000,
            "batch_size": batch,
            "discriminator_steps": DISCRIMINATOR_STEPS,
            "precision": precision,
            "ema_decay": 0.0,  # as the authors
        }
    )
    nowhere = Path(tempfile.gettempdir())  # nothing is written before the first log line
    run = Run(translator, faces, settings, nowhere, nowhere, 0, None, {})
    return partial(run.trial_step, precision), sum(parameter.numel() for parameter in translator.parameters())


def authors_round(
    authors: Path, faces: FaceTensors, size: int, width: int, batch: int
) -> tuple[Callable[[], None], int]:
    """The same of the authors' loop."""
    if not (authors / "solver.py").is_file():
        raise SystemExit(f"{authors} is no clone of https://github.com/yunjey/stargan")
    sys.path.insert(0, str(authors))
    from solver import Solver

    pictures = torch.utils.data.TensorDataset(to_unit_range(faces.images), faces.labels)
    loader = torch.utils.data.DataLoader(pictures, batch_size=batch, shuffle=True, drop_last=True)
    config = Namespace(
        c_dim=len(faces.class_names), c2_dim=8, image_size=size, g_conv_dim=width, d_conv_dim=width, g_repeat_num=6,
        d_repeat_num=6, lambda_cls=1, lambda_rec=10, lambda_gp=10, dataset="RaFD", batch_size=batch, g_lr=1e-4,
        d_lr=1e-4, num_iters=DISCRIMINATOR_STEPS, num_iters_decay=1, n_critic=DISCRIMINATOR_STEPS, beta1=0.5,
        beta2=0.999, resume_iters=None, selected_attrs=[], test_iters=0, use_tensorboard=False, log_dir="",
        sample_dir="", model_save_dir="", result_dir="", log_step=10**9, sample_step=10**9, model_save_step=10**9,
        lr_update_step=10**9,
    )  # fmt: skip
    with contextlib.redirect_stdout(io.StringIO()):
        solver = Solver(None, loader, config)

    def step() -> None:
        with contextlib.redirect_stdout(io.StringIO()):
            solver.train()

    networks = (solver.G, solver.D)
    return step, sum(parameter.numel() for network in networks for parameter in network.parameters())


def product_speed(precision: ComputedPrecision) -> float:
    """Operations a second of the fastest square matrix product; edges that would take a second or more are left out."""
    kind = torch.bfloat16 if precision == "bfloat16" else torch.float32
    best = 0.0
    for edge in PRODUCT_EDGES:
        if best and 2 * edge**3 > best:
            break
        first, second = (torch.randn(edge, edge).to(kind) for _ in range(2))
        work = {"product": lambda first=first, second=second: first @ second}
        best = max(best, 2 * edge**3 / seconds_by_turns(work, 3)["product"])
    return best


def speed_words(operations: float) -> str:
    """Of operations a second."""
    billions = operations / 1e9
    return f"{billions:,.0f} Gflop/s" if billions >= 10 else f"{billions:.2g} Gflop/s"


def operations_of_a_face(faces: FaceTensors, size: int, width: int) -> int:
    """Operations of a round for each face of its batches."""
    step, _ = our_round(faces, size, width, 1, "float32")
    step()  # the optimizers' first step
    with Operations() as operations:
        step()
    return operations.total


def measure(authors: Path | None, *, size: int = 64, width: int = 64, batch: int = 16, repeats: int = 2) -> list[Row]:
    """The rows of the table; without the authors' code those against the ceiling alone."""
    faces = embedded_faces(size, 3)
    operations = operations_of_a_face(faces, size, width)
    ceilings = {name: product_speed(name) for name in PRECISIONS}
    rows = []
    for name in PRECISIONS:
        ceiling = ceilings[name]
        # Where bfloat16 is emulated it is ten times slower, and one face says so.
        if ceiling < ceilings["float32"] / 2:
            batch, repeats = 1, 1
        form = f"width {width}, {size} px, batch {batch}, {DISCRIMINATOR_STEPS} D + 1 G"
        ours, parameters = our_round(faces, size, width, batch, name)
        work = {"ours": ours}
        if authors is not None:
            work["authors"], theirs = authors_round(authors, faces, size, width, batch)
            if theirs != parameters:
                raise SystemExit(f"the networks differ: {parameters:,} parameters, the authors' {theirs:,}")
        seconds = seconds_by_turns(work, repeats)
        if authors is not None:
            rows.append(
                Row(
                    f"StarGAN step, {name} ({form})",
                    f"{seconds['ours']:.2f} s",
                    "authors' loop, float32",
                    f"{seconds['authors']:.2f} s",
                    seconds["authors"] / seconds["ours"],
                )
            )
        done = operations * batch / seconds["ours"]
        rows.append(
            Row(
                f"StarGAN step, {name}, share of the ceiling",
                speed_words(done),
                f"matrix product, {name}",
                speed_words(ceiling),
                done / ceiling,
            )
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--authors", type=Path, help="a clone of https://github.com/yunjey/stargan")
    for name, value in (("size", 64), ("width", 64), ("batch", 16), ("repeats", 2)):
        parser.add_argument(f"--{name}", type=int, default=value)
    options = parser.parse_args()
    torch.set_num_threads(1)
    for row in measure(**vars(options)):
        print(" | ".join(row.cells()))


if __name__ == "__main__":
    main()
