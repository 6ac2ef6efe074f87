"""FID: ours against pytorch-fid, the distance on given features, and the features of given pictures.

Both have the same Inception (with random weights: speed does not depend on them) and the same pictures; pytorch-fid
reads them from PNG files, ours has them as bytes.

    python -m benchmarks.distances [--images 16] [--vectors 2500]
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch
from pytorch_fid.fid_score import calculate_frechet_distance, get_activations
from pytorch_fid.inception import fid_inception_v3

from augment.faces.images import encode_png
from benchmarks.measurements import Row, embedded_faces, seconds_by_turns, speed_row
from reports.metrics.features import INCEPTION_DIMENSION, InceptionFeatures, build_inception
from reports.metrics.fid import frechet_distance_of_features


def random_inception() -> torch.nn.Module:
    """pytorch-fid's network with random weights: nothing is downloaded."""
    from pytorch_fid import inception

    loader = inception.load_state_dict_from_url
    inception.load_state_dict_from_url = lambda *_, **__: {}
    original = torch.nn.Module.load_state_dict
    torch.nn.Module.load_state_dict = lambda *_, **__: None  # type: ignore[assignment,method-assign]
    try:
        weights = fid_inception_v3()
    finally:
        inception.load_state_dict_from_url = loader
        torch.nn.Module.load_state_dict = original  # type: ignore[method-assign]
    return build_inception(weights.state_dict())


def distance_row(vectors: int, dimension: int, repeats: int) -> Row:
    """The Frechet distance of two sets of features."""
    random = np.random.default_rng(0)
    first, second = random.normal(size=(vectors, dimension)), random.normal(0.1, 1.1, (vectors, dimension))
    found = {}

    def ours() -> None:
        found["ours"] = frechet_distance_of_features(first, second)

    def theirs() -> None:
        moments = [
            value for features in (first, second) for value in (features.mean(axis=0), np.cov(features, rowvar=False))
        ]
        found["theirs"] = float(calculate_frechet_distance(*moments))

    seconds = seconds_by_turns({"ours": ours, "theirs": theirs}, repeats)
    off = abs(found["ours"] / found["theirs"] - 1)
    if off > 1e-6:
        raise SystemExit(f"the distances differ by {off:.1e}: {found}")
    return Row(
        f"Frechet distance of 2 x {vectors:,} vectors of {dimension:,}",
        f"{seconds['ours']:.2f} s",
        "pytorch-fid",
        f"{seconds['theirs']:.2f} s",
        seconds["theirs"] / seconds["ours"],
    )


def feature_rows(images: int, repeats: int) -> list[Row]:
    """Inception's features of pictures, in float32 and in what `auto` chooses."""
    network = random_inception()
    faces = embedded_faces(48, 3).take(range(images))
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "weights.pth"
        weights.write_bytes(b"random")
        files = [Path(folder) / f"{number}.png" for number in range(images)]
        for file, picture in zip(files, faces.images, strict=True):
            file.write_bytes(encode_png(picture.permute(1, 2, 0).numpy()))

        extractors = {"float32": InceptionFeatures(weights, batch_size=images, network=network)}
        chosen = InceptionFeatures(weights, batch_size=images, network=network, precision="auto").precision
        if chosen.used != "float32":
            extractors[chosen.used] = InceptionFeatures(
                weights, batch_size=images, network=network, precision=chosen.used
            )
        work = {name: lambda extractor=extractor: extractor(faces.images) for name, extractor in extractors.items()}
        seconds = seconds_by_turns(
            {
                **work,
                "theirs": lambda: get_activations(
                    files, network, batch_size=images, dims=INCEPTION_DIMENSION, device="cpu", num_workers=0
                ),
            },
            repeats,
        )
    return [
        speed_row(
            f"Inception's features, {name}; bfloat16 is {chosen.bfloat16_speed or 0:.2g} times as fast as float32",
            images / seconds[name],
            "pytorch-fid, PNG files",
            images / seconds["theirs"],
            digits=1,
        )
        for name in extractors
    ]


def measure(
    *, images: int = 16, vectors: int = 2500, dimension: int = INCEPTION_DIMENSION, repeats: int = 1
) -> list[Row]:
    """The rows of the table."""
    return [distance_row(vectors, dimension, repeats), *feature_rows(images, repeats)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in (("images", 16), ("vectors", 2500), ("dimension", INCEPTION_DIMENSION), ("repeats", 1)):
        parser.add_argument(f"--{name}", type=int, default=value)
    torch.set_num_threads(1)
    for row in measure(**vars(parser.parse_args())):
        print(" | ".join(row.cells()))


if __name__ == "__main__":
    main()
