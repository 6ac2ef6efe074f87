"""Synthetic faces by a network, encoded and written, against its bare forward pass.

Ours looks for copies of training faces, encodes PNG, and writes tables with provenance; the baseline calls the
generator on as many batches and keeps nothing.

    python -m benchmarks.generation [--size 48] [--width 16] [--faces 100]
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import torch

from augment.faces.tensors import to_unit_range
from augment.synthesis.generate import SynthesisSettings, synthesize
from augment.translators import create_translator
from benchmarks.measurements import Row, embedded_faces, seconds_by_turns, speed_row


def measure(*, size: int = 48, width: int = 16, faces: int = 100, repeats: int = 2) -> list[Row]:
    """The row of the table."""
    train = embedded_faces(size, 1)
    names = train.class_names
    translator: Any = create_translator(
        "stargan", num_classes=len(names), channels=1, size=size, settings={"width": width}, seed=0
    ).eval()
    settings = SynthesisSettings(per_class=faces)
    block = settings.block_size
    images = to_unit_range(train.images[torch.arange(block) % len(train)])
    condition = torch.nn.functional.one_hot(torch.arange(block) % len(names), len(names)).float()
    blocks = -(-faces // block) * len(names)

    def ours() -> None:
        with tempfile.TemporaryDirectory() as folder:
            synthesize(
                translator,
                train,
                settings,
                out=Path(folder),
                seed=0,
                fold=0,
                translator_name="stargan",
                weights_sha256=None,
                configuration_hash="benchmark",
                class_names=names,
                licence="cc0-1.0",
            )

    @torch.no_grad()
    def forward() -> None:
        for _ in range(blocks):
            translator.generator(images, condition)

    seconds = seconds_by_turns({"ours": ours, "forward": forward}, repeats)
    made = faces * len(names)
    return [
        speed_row(
            f"synthesis by StarGAN, width {width}, {size} px, written",
            made / seconds["ours"],
            f"bare forward pass, blocks of {block}",
            blocks * block / seconds["forward"],
        )
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in (("size", 48), ("width", 16), ("faces", 100), ("repeats", 2)):
        parser.add_argument(f"--{name}", type=int, default=value)
    torch.set_num_threads(1)
    for row in measure(**vars(parser.parse_args())):
        print(" | ".join(row.cells()))


if __name__ == "__main__":
    main()
