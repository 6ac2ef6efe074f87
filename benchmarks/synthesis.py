"""Synthetic faces per second of one core, and the warp against scikit-image's thin-plate spline.

Baseline of the warp: `skimage.transform.ThinPlateSplineTransform` and `skimage.transform.warp`, face by face, between
the same landmarks (68 and the same anchors). The two do not regularize alike, so the benchmark also says how far their
pictures differ. Ours warps and samples three layers (picture, texture, mouth); the baseline one. Times are processor
seconds of one thread, so that a busy machine disturbs them little.

    python -m benchmarks.synthesis [--size 48] [--channels 1] [--faces 200]
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from skimage.transform import ThinPlateSplineTransform, warp

from augment.faces.landmark_shapes import to_picture_range
from augment.faces.tensors import FaceTensors, to_unit_range
from augment.synthesis.generate import SynthesisSettings, synthesize
from augment.translators.thin_plate_spline import border_anchors, warp_to
from augment.translators.warp import WarpSettings, WarpTranslator
from benchmarks.measurements import embedded_faces


def compare_with_scikit_image(faces: FaceTensors, count: int) -> None:
    assert faces.landmarks is not None
    sources = faces.take(torch.arange(count) % len(faces))
    assert sources.landmarks is not None
    shapes = to_picture_range(sources.landmarks)
    wanted = shapes + 0.03 * torch.sin(7 * shapes.flip(-1))
    images = to_unit_range(sources.images)
    started = time.process_time()
    ours = warp_to(images, shapes, wanted, faces.size, regularization=0.0)
    our_seconds = time.process_time() - started
    anchors = border_anchors()
    started = time.process_time()
    difference = []
    for row in range(count):
        pixels = ((torch.cat([points[row], anchors]) + 1) * faces.size / 2 - 0.5 for points in (wanted, shapes))
        spline = ThinPlateSplineTransform.from_estimate(*(points.numpy() for points in pixels))
        theirs = warp(images[row].permute(1, 2, 0).numpy(), spline, order=3, mode="edge", clip=False)
        difference.append(np.abs(theirs - ours[row].permute(1, 2, 0).numpy()).mean())
    their_seconds = time.process_time() - started
    print(
        f"thin-plate warp: {count / our_seconds:.0f} images/s, scikit-image {count / their_seconds:.0f} images/s, "
        f"ratio {their_seconds / our_seconds:.1f}; mean difference {np.mean(difference) / 2:.4f} of the range"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=48)
    parser.add_argument("--channels", type=int, default=1, choices=(1, 3))
    parser.add_argument("--faces", type=int, default=200, help="faces per class")
    options = parser.parse_args()
    torch.set_num_threads(1)
    faces = embedded_faces(options.size, options.channels)
    print(f"{options.size} px, {options.channels} channel(s), {len(faces)} training faces, one thread")
    compare_with_scikit_image(faces, min(options.faces, 100))

    names = faces.class_names
    translator = WarpTranslator(
        num_classes=len(names), channels=options.channels, size=options.size, settings=WarpSettings()
    )
    started = time.process_time()
    translator.fit(faces)
    print(f"warp fit: {time.process_time() - started:.2f} s")
    with tempfile.TemporaryDirectory() as directory:
        started = time.process_time()
        synthesize(
            translator,
            faces,
            SynthesisSettings(per_class=options.faces),
            out=Path(directory),
            seed=0,
            fold=0,
            translator_name="warp",
            weights_sha256=None,
            configuration_hash="benchmark",
            class_names=names,
            licence="cc0-1.0",
        )
        seconds = time.process_time() - started
        written = sum(file.stat().st_size for file in Path(directory).rglob("*") if file.is_file())
    made = options.faces * len(names)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    speed = f"{made / seconds:.0f} images/s ({made} in {seconds:.1f} s)"
    print(f"warp faces, encoded and written: {speed}, {written / made:.0f} bytes each, peak {peak:.0f} MiB")


if __name__ == "__main__":
    main()
