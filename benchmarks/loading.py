"""Batches of training faces: ours against a `DataLoader` of PNG files, for translators and for classifiers.

python -m benchmarks.loading [--size 48] [--batch 32]
"""

from __future__ import annotations

import argparse

import torch

from augment.training.batches import BatchMaker
from augment.translators import create_translator
from benchmarks.classifier import loader_batches, our_batches
from benchmarks.measurements import Row, embedded_faces, seconds_by_turns, speed_row
from benchmarks.training import Files

BATCHES = 20


def translator_row(size: int, batch: int, repeats: int) -> Row:
    """Batches with mirroring and landmarks, as a translator's training draws them."""
    faces = embedded_faces(size, 1)
    translator = create_translator(
        "stargan", num_classes=len(faces.class_names), channels=1, size=size, settings={"width": 16}
    )
    maker = BatchMaker(translator, faces, batch_size=batch, balanced_sources=True, balanced_targets=True, mirror=True)  # type: ignore[arg-type]
    generator = torch.Generator().manual_seed(0)
    loader = torch.utils.data.DataLoader(Files(faces), batch, shuffle=True, drop_last=True)

    def ours() -> None:
        for step in range(BATCHES):
            maker.draw(generator, step=step, total_steps=BATCHES)

    def theirs() -> None:
        done = 0
        while done < BATCHES:
            for _ in loader:
                done += 1
                if done == BATCHES:
                    return

    return _row(f"batches of {batch} for translators, {size} px, mirrored", ours, theirs, batch, repeats)


def classifier_row(size: int, batch: int, repeats: int) -> Row:
    """Batches with classical augmentation."""
    pictures = embedded_faces(size, 1).images[:, 0].numpy()
    ours, theirs = our_batches(pictures, batch, "classical"), loader_batches(pictures, batch)

    def several(take: object) -> None:
        for _ in range(BATCHES):
            take()  # type: ignore[operator]

    what = f"batches of {batch} for classifiers, {size} px, mirror + affine + brightness"
    return _row(what, lambda: several(ours), lambda: several(theirs), batch, repeats)


def _row(what: str, ours: object, theirs: object, batch: int, repeats: int) -> Row:
    seconds = seconds_by_turns({"ours": ours, "theirs": theirs}, repeats)  # type: ignore[dict-item]
    speeds = {name: BATCHES * batch / value for name, value in seconds.items()}
    return speed_row(what, speeds["ours"], "DataLoader, PNG files", speeds["theirs"])


def measure(*, size: int = 48, batch: int = 32, repeats: int = 3) -> list[Row]:
    """The rows of the table."""
    return [translator_row(size, batch, repeats), classifier_row(size, batch, repeats)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in (("size", 48), ("batch", 32), ("repeats", 3)):
        parser.add_argument(f"--{name}", type=int, default=value)
    torch.set_num_threads(1)
    for row in measure(**vars(parser.parse_args())):
        print(" | ".join(row.cells()))


if __name__ == "__main__":
    main()
