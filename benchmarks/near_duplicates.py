"""How many moved copies `augment.faces.near_duplicates` finds, how near different faces come, and what it costs on one
core.

    OMP_NUM_THREADS=1 python -m benchmarks.near_duplicates [--faces DATASET_DIRECTORY]

On embedded faces of 48 px, or on a prepared data set's (`artifacts/faces`). Times are processor seconds of one thread.
"""

from __future__ import annotations

import argparse
import io
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from scipy import ndimage

from augment.faces.duplicates import fingerprint_faces
from augment.faces.near_duplicates import NEAR_DUPLICATE_LIKENESS, VIEW_SIZE, likeness, near_duplicate_pairs
from augment.faces.table import read_faces
from augment.rig import preset, render

Change = Callable[[np.ndarray], np.ndarray]


def shift(right: int, down: int) -> Change:
    return lambda view: ndimage.shift(view, (down, right), order=0, mode="constant")


def crop(pixels: int) -> Change:
    box = (pixels, pixels, VIEW_SIZE - pixels, VIEW_SIZE - pixels)
    size = (VIEW_SIZE, VIEW_SIZE)
    return lambda view: np.asarray(Image.fromarray(view).crop(box).resize(size, Image.Resampling.BICUBIC))


def turn(degrees: float) -> Change:
    return lambda view: np.asarray(Image.fromarray(view).rotate(degrees, Image.Resampling.BICUBIC))


def mirror(view: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(view[:, ::-1])


def jpeg(quality: int) -> Change:
    def save(view: np.ndarray) -> np.ndarray:
        buffer = io.BytesIO()
        Image.fromarray(view).save(buffer, "JPEG", quality=quality)
        return np.asarray(Image.open(buffer, formats=("JPEG",)))

    return save


CHANGES: dict[str, Change] = {
    "shift 1, 0": shift(1, 0),
    "shift 2, 0": shift(2, 0),
    "shift 2, -2": shift(2, -2),
    "shift 3, 0": shift(3, 0),
    "shift 3, 3": shift(3, 3),
    "mirror": mirror,
    "crop 4 %": crop(1),
    "crop 8 %": crop(2),
    "crop 12 %": crop(3),
    "turn 2 degrees": turn(2),
    "turn 4 degrees": turn(4),
    "turn 6 degrees": turn(6),
    "mirror, turn 2 degrees": lambda view: turn(2)(mirror(view)),
    "crop 4 %, shift 1, -1, turn 2 degrees": lambda view: turn(2)(shift(1, -1)(crop(1)(view))),
    "JPEG, quality 40": jpeg(40),
    "shift 2, -1, JPEG, quality 50": lambda view: jpeg(50)(shift(2, -1)(view)),
}


def embedded() -> tuple[np.ndarray, np.ndarray]:
    specs = preset("rare", seed=1).specs
    views = render(specs, size=VIEW_SIZE, channels=1, seed=1).images[:, :, :, 0]
    return views, np.array([spec.subject_name for spec in specs])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faces", type=Path, help="a dataset directory, in place of embedded faces")
    arguments = parser.parse_args()
    if arguments.faces is None:
        views, subjects = embedded()
    else:
        table = read_faces(arguments.faces, columns=["face_id", "image", "subject"])
        views, subjects = fingerprint_faces(table).views, np.array(table.column("subject").to_pylist(), dtype=object)
    random = np.random.default_rng(0)
    began = time.process_time()
    pairs = near_duplicate_pairs(views)
    print(f"{len(views)} faces: {len(pairs)} pairs of near-duplicates in {time.process_time() - began:.1f} s")
    left, right = random.integers(len(views), size=(2, 20_000))
    known = np.array(
        [one is not None and other is not None for one, other in zip(subjects[left], subjects[right], strict=True)]
    )
    strangers = np.stack([left, right], axis=1)[known & (subjects[left] != subjects[right])]
    if len(strangers):
        print(f"most alike of {len(strangers)} pairs of two people: {likeness(views, views, strangers).max():.3f}")
    shows = views.std(axis=(1, 2)) > 10
    others = views[shows][random.permutation(int(shows.sum()))[:3000]]
    chosen = random.choice(len(others), min(300, len(others)), replace=False)
    print(f"found of {len(chosen)} among {len(others)} (from {NEAR_DUPLICATE_LIKENESS} on), %")
    for name, change in CHANGES.items():
        found = near_duplicate_pairs(np.stack([change(others[place]) for place in chosen]), others)
        hits = np.unique(found[chosen[found[:, 0]] == found[:, 1], 0])
        print(f"  {name:40s}{100 * len(hits) / len(chosen):6.1f}")


if __name__ == "__main__":
    main()
