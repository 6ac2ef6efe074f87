"""The simulated frontal faces of photographs: how well the head fits, and how near they come to the true frontal face.

    python -m benchmarks.simulated embedded
    python -m benchmarks.simulated fer2013 PATH/fer2013.csv
    python -m benchmarks.simulated sheet

`embedded`: people of three seeds of the preset `bu3dfe`, seven cameras, grey; landmarks exact (the rig's, points of the
head), exact with Gaussian noise of 4 % of the distance between the outer eye corners, and found by dlib. Compared with
the true frontal photograph of the same performance, inside the face: both it and the plain profile are first laid on
the simulated face by a similarity (from their landmarks within the jaw, found in the same way, to its own), and each
picture's mean is brought to the true one's, as the rig lights every picture anew. `fer2013`: counts alone.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import click
import numpy as np
import pandas as pd
from PIL import Image
from skimage.metrics import structural_similarity
from skimage.transform import SimilarityTransform, warp

from augment.core.files import atomic_write_bytes, atomic_write_text
from augment.prepare.landmarks import LandmarkDetector, LandmarkSettings
from augment.rig import FaceSpec, preset, render
from augment.rig.simulated_face import FitSettings, SimulatedFace, simulate_frontal

ROOT = Path(__file__).parent.parent
OUT = ROOT / "docs" / "results" / "photographs"
YAWS = (-45.0, -30.0, -15.0, 0.0, 15.0, 30.0, 45.0)
MOMENTS = (("neutral", None), ("happy", 1.0), ("surprise", 0.8), ("disgust", 0.6))
NOISE = 0.04
Array = np.ndarray
Find = Callable[[Array, Array], Array | None]


def moments(seed: int, people: int) -> list[list[FaceSpec]]:
    """Seven cameras' specifications of each moment, by yaw."""
    groups: dict[tuple[int, str, float | None], list[FaceSpec]] = {}
    for spec in preset("bu3dfe", seed=seed, subjects=people).specs:
        if (spec.expression, spec.intensity) in MOMENTS:
            groups.setdefault((spec.subject, spec.expression, spec.intensity), []).append(spec)
    return list(groups.values())


def laid_on(face: SimulatedFace, image: Array, landmarks: Array, *, order: int) -> Array:
    """An image [S, S] laid on a simulated face by the similarity between their landmarks within the jaw."""
    size = len(image)
    found = SimilarityTransform.from_estimate(landmarks[17:] * size, face.landmarks[17:] * size)
    # Landmarks count from the picture's corner, `warp` from the middle of the first pixel.
    half = SimilarityTransform(translation=(0.5, 0.5))
    back = SimilarityTransform(matrix=half.inverse.params @ found.inverse.params @ half.params)
    return warp(image.astype(np.float64), back, order=order, mode="edge", preserve_range=True)


@dataclass(frozen=True)
class Row:
    """One face."""

    landmarks: str
    size: int
    yaw: float
    found: bool
    error: float = np.nan
    fitted_yaw: float = np.nan
    silhouette: float = np.nan
    seen: float = np.nan
    simulated_difference: float = np.nan
    profile_difference: float = np.nan
    simulated_ssim: float = np.nan
    profile_ssim: float = np.nan
    milliseconds: float = np.nan


def compare(picture: Array, true: Array, region: Array) -> tuple[float, float]:
    """Mean absolute difference (grey levels) and SSIM inside a region, with the means there made equal."""
    scaled = picture.astype(np.float64) * (true[region].mean() / max(picture[region].mean(), 1.0))
    difference = float(np.abs(scaled - true)[region].mean())
    blank = [np.where(region, values, 0.0) for values in (scaled, true)]
    _, where = structural_similarity(*blank, data_range=255.0, gaussian_weights=True, sigma=1.5, full=True)
    return difference, float(where[region].mean())


def measure(kind: str, find: Find, size: int, seeds: int, people: int) -> list[Row]:
    rows = []
    for seed in range(seeds):
        for group in moments(seed, people):
            drawn = render(group, size=size, channels=1, seed=seed)
            pictures = drawn.images[:, :, :, 0]
            found = [find(image, exact) for image, exact in zip(pictures, drawn.landmarks, strict=True)]
            front = [spec.yaw for spec in group].index(0.0)
            frontal = found[front]
            for spec, image, landmarks in zip(group, pictures, found, strict=True):
                if landmarks is None or frontal is None:
                    rows.append(Row(kind, size, spec.yaw, False))
                    continue
                started = time.process_time()
                face = simulate_frontal(image, landmarks, size=size)
                spent = time.process_time() - started
                true = laid_on(face, pictures[front], frontal, order=1)
                region = (laid_on(face, drawn.masks[front], frontal, order=0) > 0) & (face.image > 0)
                profile = laid_on(face, image, landmarks, order=1)
                made, made_ssim = compare(face.image, true, region)
                plain, plain_ssim = compare(profile, true, region)
                rows.append(
                    Row(
                        kind,
                        size,
                        spec.yaw,
                        True,
                        face.error,
                        face.yaw,
                        float(face.fit.contour == "silhouette"),
                        face.seen,
                        made,
                        plain,
                        made_ssim,
                        plain_ssim,
                        1000 * spent,
                    )
                )
    return rows


def summary(rows: list[Row]) -> pd.DataFrame:
    """A row a kind of landmarks, size and yaw."""
    table = pd.DataFrame([asdict(row) for row in rows])
    table["off"] = table["fitted_yaw"] - table["yaw"]
    table["turned"] = np.sign(table["yaw"]) * table["fitted_yaw"]
    lines = []
    for (kind, size, yaw), part in table.groupby(["landmarks", "size", "yaw"], sort=True):
        fits = part[part["found"]]
        lines.append(
            {
                "landmarks": kind,
                "size": size,
                "yaw": yaw,
                "faces": len(part),
                "found": len(fits),
                "error_mean": fits["error"].mean(),
                "error_median": fits["error"].median(),
                "error_95": fits["error"].quantile(0.95),
                "yaw_mean": fits["fitted_yaw"].mean(),
                "yaw_off_absolute": fits["off"].abs().mean(),
                "yaw_off_95": fits["off"].abs().quantile(0.95),
                "yaw_sign_wrong": int((fits["turned"] < 0).sum()),
                "silhouette_chosen": fits["silhouette"].mean(),
                "skin_seen": fits["seen"].mean(),
                "difference_simulated": fits["simulated_difference"].mean(),
                "difference_profile": fits["profile_difference"].mean(),
                "ssim_simulated": fits["simulated_ssim"].mean(),
                "ssim_profile": fits["profile_ssim"].mean(),
                "milliseconds": fits["milliseconds"].median(),
            }
        )
    return pd.DataFrame(lines)


def finders(kinds: tuple[str, ...]) -> dict[str, Find]:
    generator = np.random.default_rng(0)

    def noisy(image: Array, exact: Array) -> Array:
        # The distance that a frontal face of this frame has, so that profiles are as noisy.
        return (exact + NOISE * 0.39 * generator.standard_normal(exact.shape)).astype(np.float32)

    known: dict[str, Find] = {"exact": lambda image, exact: exact, "noise": noisy}
    if "dlib" in kinds:
        detector = LandmarkDetector(LandmarkSettings(detector="dlib"))

        def detected(image: Array, exact: Array) -> Array | None:
            found = detector.detect(image)
            return None if found is None else found.landmarks

        known["dlib"] = detected
    return {kind: known[kind] for kind in kinds}


def write(table: pd.DataFrame, path: Path) -> None:
    atomic_write_text(path, table.to_csv(index=False, float_format="%.4g"))
    print(table.to_string(index=False, float_format=lambda value: f"{value:.4g}"))


@click.group()
def main() -> None:
    """Measures the simulated frontal faces."""


@main.command()
@click.option("--size", "sizes", multiple=True, type=int, default=(64, 128), show_default=True)
@click.option("--kind", "kinds", multiple=True, default=("exact", "noise", "dlib"), show_default=True)
@click.option("--seeds", type=int, default=3, show_default=True, help="Seeds of people.")
@click.option("--people", type=int, default=2, show_default=True, help="People a seed.")
@click.option("--out", type=click.Path(path_type=Path), default=OUT / "simulated.csv", show_default=True)
def embedded(sizes: tuple[int, ...], kinds: tuple[str, ...], seeds: int, people: int, out: Path) -> None:
    """Embedded profiles against the true frontal photograph."""
    found = finders(kinds)
    for find in found.values():  # compiles, loads
        measure("", find, sizes[0], 1, 1)
    rows = [row for kind, find in found.items() for size in sizes for row in measure(kind, find, size, seeds, people)]
    write(summary(rows), out)


@main.command()
@click.argument("csv", type=click.Path(path_type=Path, exists=True))
@click.option("--count", type=int, default=500, show_default=True)
@click.option("--noise", type=float, default=None, help="The fit's landmark_noise.")
@click.option("--out", type=click.Path(path_type=Path), default=OUT / "simulated_fer2013.csv", show_default=True)
def fer2013(csv: Path, count: int, noise: float | None, out: Path) -> None:
    """How well the head fits a sample of FER2013's photographs, with dlib's landmarks."""
    pixels = pd.read_csv(csv, usecols=["pixels"])["pixels"]
    chosen = np.sort(np.random.default_rng(0).choice(len(pixels), count, replace=False))
    detector = LandmarkDetector(LandmarkSettings(detector="dlib"))
    settings = FitSettings() if noise is None else FitSettings(landmark_noise=noise)
    faces: list[SimulatedFace] = []
    spent = 0.0
    for row in chosen:
        image = np.array(pixels[row].split(), np.uint8).reshape(48, 48)
        found = detector.detect(image)
        if found is not None and found.landmarks is not None:
            started = time.process_time()
            faces.append(simulate_frontal(image, found.landmarks, size=48, settings=settings))
            spent += time.process_time() - started
    error = np.array([face.error for face in faces])
    yaw = np.array([face.yaw for face in faces])
    line = {
        "faces": count,
        "found": len(faces),
        "error_mean": error.mean(),
        "error_median": np.median(error),
        "error_95": np.quantile(error, 0.95),
        "error_largest": error.max(),
        "yaw_absolute_median": np.median(np.abs(yaw)),
        "yaw_absolute_95": np.quantile(np.abs(yaw), 0.95),
        "pitch_mean": np.mean([face.pitch for face in faces]),
        "identity_spread": np.mean([np.sqrt((face.identity**2).mean()) for face in faces]),
        "action_units_at_bound": np.mean([(face.action_units > 1.29).sum() for face in faces]),
        "silhouette_chosen": np.mean([face.fit.contour == "silhouette" for face in faces]),
        "skin_seen_median": np.median([face.seen for face in faces]),
        "milliseconds": 1000 * spent / len(faces),
    }
    write(pd.DataFrame([line]), out)


@main.command()
@click.option("--size", type=int, default=112, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=ROOT / "docs" / "simulated-faces.png")
def sheet(size: int, out: Path) -> None:
    """Embedded faces turned by -45, -15 and 30 degrees, each with its simulated faces (landmarks exact, then dlib's).

    On the right the true frontal face, and the rig's own simulated one.
    """
    detect = finders(("dlib",))["dlib"]
    lines = []
    for subject, (expression, intensity) in enumerate(
        [("happy", 1.0), ("neutral", None), ("surprise", 0.8), ("angry", 1.0), ("disgust", 1.0), ("sad", 0.8)]
    ):
        specs = [
            spec
            for spec in preset("bu3dfe", seed=0, subjects=subject + 1).specs[-25 * 7 :]
            if (spec.expression, spec.intensity) == (expression, intensity)
        ]
        by_yaw = {spec.yaw: spec for spec in specs}
        front = by_yaw[0.0]
        drawn = render([*by_yaw.values(), front.simulated_frontal], size=size, channels=3, seed=0)
        index = list(by_yaw).index
        cells = []
        for yaw in (-45.0, -15.0, 30.0):
            image, exact = drawn.images[index(yaw)], drawn.landmarks[index(yaw)]
            cells += [image, simulate_frontal(image, exact, size=size).image]
            found = detect(image, exact)
            cells.append(np.zeros_like(image) if found is None else simulate_frontal(image, found, size=size).image)
        cells += [drawn.images[index(0.0)], drawn.images[-1]]
        lines.append(np.concatenate(cells, axis=1))
    buffer = io.BytesIO()
    Image.fromarray(np.concatenate(lines)).quantize(256, dither=Image.Dither.NONE).save(buffer, "PNG", optimize=True)
    atomic_write_bytes(out, buffer.getvalue())


if __name__ == "__main__":
    main()
