"""What is found in photographs, and how well: `python -m benchmarks.photographs landmarks|crops`.

`landmarks --fer2013 PATH` counts the faces of FER2013 that are found, by detector, class and split; no picture leaves.
`landmarks --embedded` compares what is found in embedded faces with their own landmarks. Both write a table into
docs/results/photographs and the lines between their markers in its README.md. `crops` draws docs/crops.png.
"""

from __future__ import annotations

import argparse
import csv
import io
import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from PIL import Image, ImageDraw

from augment.core.errors import Problem
from augment.core.files import atomic_write_text
from augment.core.progress import track
from augment.faces.crops import CropSettings, FaceSquare, crop_image, face_square
from augment.prepare.annotation import AnnotatedSource, AnnotationSettings, annotated
from augment.prepare.landmarks import LandmarkDetector, LandmarkSettings
from augment.rig import FaceSpec, render
from augment.rig.action_units import EXPRESSIONS
from augment.sources import RawFace, Source, open_source
from tools.rig_sheet import grid

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "docs" / "results" / "photographs"
PAGE = RESULTS / "README.md"
CACHE = ROOT / ".ckpt" / "annotation"
DLIB = AnnotationSettings(landmarks=LandmarkSettings(detector="dlib", faces="all"))
YAWS = (0.0, 15.0, 30.0, 45.0)


def write_table(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    atomic_write_text(path, text.getvalue())


def between_markers(page: str, name: str, lines: Sequence[str]) -> str:
    """The page with the lines between `<!-- NAME -->` and `<!-- /NAME -->`."""
    start, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    before, rest = page.split(start)
    _, after = rest.split(end)
    return before + "\n".join([start, *lines, end]) + after


def write_page(name: str, lines: Sequence[str]) -> None:
    atomic_write_text(PAGE, between_markers(PAGE.read_text(encoding="utf-8"), name, lines))


def draw_annotated(source: Source, cache: Path | None, workers: int) -> Iterator[tuple[RawFace, Any]]:
    """Every face of a source with what was detected in it."""
    found = annotated(source, DLIB, cache=cache, workers=workers)
    assert isinstance(found, AnnotatedSource)
    for face in track(found.faces(), desc="faces", unit="faces"):
        if isinstance(face, Problem):
            raise SystemExit(str(face))
        yield face, found.detection


# FER2013


def count_fer2013(path: Path, workers: int) -> list[dict[str, Any]]:
    counts: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for face, detection in draw_annotated(open_source("fer2013", path), CACHE, workers):
        found = counts[face.split or "none", face.label_name]
        found["faces"] += 1
        kind = "not_found" if detection is None else "unsteady" if detection.landmarks is None else detection.detector
        found[kind] += 1
        found["several"] += detection is not None and detection.faces > 1
    columns = ("faces", "hog", "cnn", "unsteady", "not_found", "several")
    order = {"train": 0, "validation": 1, "test": 2}
    return [
        {"split": split, "class": name, **{column: counts[split, name][column] for column in columns}}
        for split, name in sorted(counts, key=lambda key: (order[key[0]], key[1]))
    ]


def fer2013_lines(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    def line(name: str, part: Sequence[Mapping[str, Any]]) -> str:
        columns = ("faces", "hog", "cnn", "unsteady", "not_found")
        total = {column: sum(row[column] for row in part) for column in columns}
        found = total["hog"] + total["cnn"]
        shares = [f"{total['hog'] / total['faces']:.1%}", f"{total['cnn'] / total['faces']:.1%}"]
        cells = [name, f"{total['faces']:,}", f"{found:,}", f"{found / total['faces']:.1%}", *shares]
        return "| " + " | ".join([*cells, f"{total['unsteady']:,}", f"{total['not_found']:,}"]) + " |"

    heading = ["FER2013", "faces", "with landmarks", "", "by HOG", "by the second", "points not sure", "not found"]
    names = list(dict.fromkeys(row["class"] for row in rows))
    splits = list(dict.fromkeys(row["split"] for row in rows))
    return [
        "| " + " | ".join(heading) + " |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
        line("all", rows),
        *(line(split, [row for row in rows if row["split"] == split]) for split in splits),
        *(line(name, [row for row in rows if row["class"] == name]) for name in names),
    ]


# Embedded faces


class TurnedFaces:
    """Embedded faces at several angles: `subjects` people, every expression."""

    name = "turned"
    class_names = EXPRESSIONS
    licence: ClassVar[str] = "cc0-1.0"

    def __init__(self, size: int, channels: int, subjects: int) -> None:
        self.size, self.channels = size, channels
        self.specs = [
            FaceSpec(f"{subject}/{name}/{yaw:g}", subject, name, name, 0, yaw, "normal", None, None, None)
            for subject in range(subjects)
            for name in EXPRESSIONS
            for yaw in YAWS
        ]

    def __len__(self) -> int:
        return len(self.specs)

    def faces(self) -> Iterator[RawFace | Problem]:
        for spec in self.specs:
            drawn = render([spec], size=self.size, channels=self.channels, seed=0)
            image = drawn.images[0]
            yield RawFace(
                name=spec.face_id,
                image=image[:, :, 0] if self.channels == 1 else image,
                label_name=spec.label,
                yaw=spec.yaw,
                landmarks=drawn.landmarks[0],
            )


def eyes_distance(landmarks: np.ndarray) -> float:
    return float(np.linalg.norm(landmarks[36:42].mean(axis=0) - landmarks[42:48].mean(axis=0)))


def measure_embedded(subjects: int, workers: int) -> list[dict[str, Any]]:
    rows = []
    for size, channels in ((48, 1), (128, 3)):
        faces = TurnedFaces(size, channels, subjects)
        own = [(face.yaw, face.landmarks) for face in faces.faces() if isinstance(face, RawFace)]
        # From the front the eyes are as far apart as they are; of a turned face their distance on the picture is less.
        frontal = float(np.mean([eyes_distance(points) for yaw, points in own if yaw == 0 and points is not None]))
        found = [detection for _, detection in draw_annotated(faces, CACHE, workers)]
        for yaw in YAWS:
            errors: dict[str, list[float]] = {"hog": [], "cnn": []}
            count = not_found = 0
            for (turned, points), detection in zip(own, found, strict=True):
                if turned != yaw or points is None:
                    continue
                count += 1
                not_found += detection is None
                if detection is not None and detection.landmarks is not None:
                    distance = np.linalg.norm(detection.landmarks - points, axis=1).mean()
                    errors[detection.detector].append(float(distance) / frontal)
            both = errors["hog"] + errors["cnn"]
            rows.append(
                {
                    "size": size,
                    "yaw": f"{yaw:g}",
                    "faces": count,
                    "hog": len(errors["hog"]),
                    "cnn": len(errors["cnn"]),
                    "unsteady": count - len(both) - not_found,
                    "not_found": not_found,
                    "error_mean": f"{np.mean(both):.4f}",
                    "error_median": f"{np.median(both):.4f}",
                    "error_95": f"{np.percentile(both, 95):.4f}",
                }
            )
    return rows


def embedded_lines(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    lines = [
        "| size | yaw | faces | by HOG | by the second | points not sure | not found | mean error | 95th percentile |",
        "| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in rows:
        counts = [f"{row[column] / row['faces']:.0%}" for column in ("hog", "cnn", "unsteady", "not_found")]
        errors = [f"{float(row[column]):.1%}" for column in ("error_mean", "error_95")]
        cells = [f"{row['size']} px", f"{row['yaw']}°", f"{row['faces']}", *counts, *errors]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def landmarks(arguments: argparse.Namespace) -> None:
    if arguments.fer2013 is None and not arguments.embedded:
        raise SystemExit("name --fer2013 PATH, --embedded or both")
    if arguments.fer2013 is not None:
        rows = count_fer2013(arguments.fer2013, arguments.workers)
        write_table(RESULTS / "landmarks-fer2013.csv", rows)
        write_page("landmarks of FER2013", fer2013_lines(rows))
    if arguments.embedded:
        rows = measure_embedded(arguments.subjects, arguments.workers)
        write_table(RESULTS / "landmarks-embedded.csv", rows)
        write_page("landmarks of embedded faces", embedded_lines(rows))


# Crops

CROPS: dict[str, CropSettings] = {
    "cropped": CropSettings(by="face"),
    "not turned": CropSettings(by="face", align=False),
    "margin 0": CropSettings(by="face", margin=0.0),
    "margin 0.6": CropSettings(by="face", margin=0.6),
}
# Subject, expression, yaw; then where the face's middle lies, how large and how far turned it is in the photograph.
PHOTOGRAPHS: tuple[tuple[int, str, float, tuple[float, float], float, float], ...] = (
    (1, "neutral", 0.0, (0.5, 0.5), 0.9, 0.0),
    (2, "happy", 0.0, (0.35, 0.55), 0.6, 18.0),
    (3, "surprise", 10.0, (0.62, 0.45), 0.45, -25.0),
    (4, "angry", -25.0, (0.55, 0.6), 0.7, 10.0),
    (6, "sad", 35.0, (0.4, 0.5), 0.8, -8.0),
    (7, "fear", 0.0, (0.15, 0.5), 0.8, 5.0),
    (8, "happy", 0.0, (0.5, 0.5), 0.5, 95.0),
)


def photograph_of(
    subject: int, expression: str, yaw: float, middle: tuple[float, float], share: float, degrees: float, size: int
) -> np.ndarray:
    """An embedded face as a photograph shows it: anywhere, of any size, tilted to the right by degrees."""
    spec = FaceSpec(f"{subject}/{expression}", subject, expression, expression, 0, yaw, "normal", None, None, None)
    face = render([spec], size=size, channels=3, seed=0).images[0]
    edge, angle = size / share, math.radians(-degrees)
    # The photograph is a square about the drawn face, whose edge is repeated: the inverse of a crop.
    away = (np.array([0.5, 0.5]) - middle) * edge
    turned = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]) @ away
    x, y = np.array([size / 2, size / 2]) + turned
    square = FaceSquare(centre=(float(x), float(y)), edge=edge, angle=angle, height=size, width=size)
    return crop_image(face, square, size)


def crops_sheet(size: int = 128) -> Image.Image:
    """Photographs, what is found in them, and their crops by several settings."""
    detector = LandmarkDetector(LandmarkSettings(detector="dlib"))
    rows, names = [], []
    for subject, expression, yaw, middle, share, degrees in PHOTOGRAPHS:
        picture = photograph_of(subject, expression, yaw, middle, share, degrees, 2 * size)
        small = np.asarray(Image.fromarray(picture).resize((size, size), Image.Resampling.LANCZOS))
        found = detector.detect(picture)
        shown = Image.fromarray(small)
        cells = [small]
        landmarks = None if found is None else found.landmarks
        if landmarks is not None:
            draw = ImageDraw.Draw(shown)
            for x, y in landmarks * size:
                draw.ellipse((x - 1, y - 1, x + 1, y + 1), "yellow")
        cells.append(np.asarray(shown))
        for crop in CROPS.values():
            square = None
            if landmarks is not None:
                square = face_square(landmarks, 2 * size, 2 * size, align=crop.align, margin=crop.margin)
            cells.append(small if square is None else crop_image(picture, square, size))
        rows.append(np.stack(cells))
        names.append(expression if found is None else f"{expression} ({found.detector})")
    return grid(rows, ("photograph", "found", *CROPS), tuple(names))


def crops(arguments: argparse.Namespace) -> None:
    crops_sheet().quantize(128, dither=Image.Dither.NONE).save(ROOT / "docs" / "crops.png", optimize=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("landmarks", help="how many faces are found, and how exactly")
    command.add_argument("--fer2013", type=Path, metavar="PATH", help="the data set's file or folder")
    command.add_argument("--embedded", action="store_true")
    command.add_argument("--subjects", type=int, default=15, help="people among the embedded faces")
    command.add_argument("--workers", type=int, default=2)
    command.set_defaults(run=landmarks)
    command = commands.add_parser("crops", help="docs/crops.png: embedded faces as photographs, and their crops")
    command.set_defaults(run=crops)
    arguments = parser.parse_args()
    arguments.run(arguments)


if __name__ == "__main__":
    main()
