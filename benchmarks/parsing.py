"""What the parsing network learns from each teacher: `python -m benchmarks.parsing train|page`.

`train --fer2013 PATH` trains P on embedded faces plainly, with strong augmentation, and with polygons of FER2013's
landmarks beside them, a few minutes each at 48 px in grey, and scores it on embedded faces of people who taught nothing
and on FER2013's validation faces: there by areas, by failures, and by its agreement with the polygons of the landmarks
that dlib finds in them. No picture of them leaves. `page` writes the table into docs/results/photographs and
its README.md, and docs/parsing-maps.png, which shows embedded faces only.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import torch

from augment.core.errors import Problem
from augment.core.files import atomic_path, atomic_write_text
from augment.faces.images import fit_image, fit_landmarks
from augment.faces.table import MASK_CLASSES, NO_MASK
from augment.faces.tensors import FaceTensors, to_unit_range
from augment.parsing.network import ParsingNetwork, ParsingSettings, load_parsing, save_parsing
from augment.parsing.polygons import polygon_masks
from augment.parsing.scores import intersection_over_union, parsing_statistics
from augment.parsing.teachers import TeacherSettings, embedded_faces
from augment.parsing.training import Teacher, train_parsing
from augment.prepare.annotation import annotated
from augment.sources import RawFace, Source, open_source
from benchmarks.photographs import CACHE, DLIB, RESULTS, ROOT, write_page, write_table

SIZE = 48
OUT = ROOT / "artifacts" / "benchmarks" / "parsing"
PICTURE = ROOT / "docs" / "parsing-maps.png"
SETTINGS = ParsingSettings(width=16, levels=3, steps=1500, batch_size=32, learning_rate=5e-3)
HELD_OUT = 600
TAUGHT, TRIED = 3000, 1000  # FER2013's first faces: of Training for polygons, of PublicTest for the scores
TEACHERS = ("embedded", "embedded_strong", "embedded_strong_polygons")
TITLES = {
    "embedded": "embedded faces, mild augmentation",
    "embedded_strong": "embedded faces, strong augmentation",
    "embedded_strong_polygons": "embedded faces, strong augmentation, and polygons",
    "mean_map": "one map for all: the polygons of the mean landmarks",
}
COLOURS = np.array([[30, 34, 44], [232, 190, 160], [206, 60, 70], [60, 150, 90]], np.uint8)


class OneSplit:
    """The faces of one split."""

    def __init__(self, source: Source, split: str) -> None:
        self.source, self.split = source, split
        self.name, self.class_names = source.name, source.class_names

    def faces(self) -> Iterator[RawFace | Problem]:
        return (face for face in self.source.faces() if not isinstance(face, RawFace) or face.split == self.split)


def photographs(path: Path, split: str, count: int, workers: int) -> FaceTensors:
    """FER2013's faces with the landmarks that dlib finds and the polygons of these for masks."""
    source = OneSplit(open_source("fer2013", path, limit=count), split)
    found = annotated(source, DLIB, cache=CACHE, workers=workers)
    images, landmarks = [], []
    for face in found.faces():
        if isinstance(face, Problem):
            raise SystemExit(str(face))
        images.append(fit_image(face.image, SIZE, 1))
        missing = np.full((68, 2), np.nan, np.float32)
        landmarks.append(missing if face.landmarks is None else fit_landmarks(face.landmarks, *face.image.shape[:2]))
    points = torch.from_numpy(np.stack(landmarks))
    return FaceTensors(
        images=torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous(),
        labels=torch.zeros(len(images), dtype=torch.int64),
        landmarks=points,
        masks=polygon_masks(points, SIZE),
        face_ids=tuple(f"{split}/{row}" for row in range(len(images))),
        subjects=(None,) * len(images),
        class_names=("any",),
    )


def held_out_faces() -> FaceTensors:
    return embedded_faces(HELD_OUT, size=SIZE, channels=1, people="held out")


def teachers(name: str, taught: FaceTensors) -> list[Teacher]:
    settings = TeacherSettings()
    drawn = embedded_faces(settings.faces, size=SIZE, channels=1, people="teachers")
    strong = None if name == "embedded" else settings.augmentation
    if name != "embedded_strong_polygons":
        return [Teacher("embedded faces", drawn, appearance=strong)]
    share = settings.polygon_share
    return [
        Teacher("embedded faces", drawn, 1 - share, strong),
        Teacher("polygons of landmarks", taught, share),
    ]


def agreement(network: ParsingNetwork, tried: FaceTensors) -> dict[str, float]:
    assert tried.masks is not None
    return intersection_over_union(network, tried.images, tried.masks)


def mean_map(taught: FaceTensors, tried: FaceTensors) -> dict[str, float]:
    """What agreement the polygons of the mean landmarks have, which look at no picture: the floor."""
    assert taught.landmarks is not None and tried.masks is not None
    known = torch.isfinite(taught.landmarks).flatten(1).all(1)
    average = polygon_masks(taught.landmarks[known].mean(0)[None], SIZE)
    predicted, truth = average.expand_as(tried.masks), tried.masks
    seen = (truth != NO_MASK) & (predicted != NO_MASK)
    values = {}
    for number, part in enumerate(MASK_CLASSES):
        first, second = (predicted == number) & seen, (truth == number) & seen
        values[part] = float((first & second).sum() / (first | second).sum())
    return values


def train(arguments: argparse.Namespace) -> None:
    taught = photographs(arguments.fer2013, "train", TAUGHT, arguments.workers)
    tried = photographs(arguments.fer2013, "validation", TRIED, arguments.workers)
    settings = SETTINGS.model_copy(update={"steps": arguments.steps})
    for name in arguments.teachers or TEACHERS:
        began = time.process_time()
        network, facts = train_parsing(teachers(name, taught), None, settings, 0, "cpu", held_out_faces())
        seconds = time.process_time() - began
        save_parsing(network, OUT / name / "weights.safetensors")
        result = {
            "teacher": name,
            "steps": settings.steps,
            "seconds": round(seconds),
            "settings": settings.model_dump(mode="json"),
            "taught": facts["teachers"],
            "held_out": facts["held_out"],
            "photographs": parsing_statistics(network, tried.images),
            "agreement": agreement(network, tried),
            "agreement_faces": with_landmarks(tried),
        }
        atomic_write_text(OUT / name / "result.json", json.dumps(result, indent=2) + "\n")
        print(json.dumps(result, indent=2), flush=True)
    floor = {"teacher": "mean_map", "agreement": mean_map(taught, tried), "agreement_faces": with_landmarks(tried)}
    atomic_write_text(OUT / "mean_map" / "result.json", json.dumps(floor, indent=2) + "\n")


def with_landmarks(faces: FaceTensors) -> int:
    assert faces.landmarks is not None
    return int(torch.isfinite(faces.landmarks).flatten(1).all(1).sum())


# The page


def row_of(result: Mapping[str, Any]) -> dict[str, Any]:
    """A line of the table; what was not measured stays empty."""

    def values(scores: Mapping[str, float] | None, parts: Sequence[str], prefix: str) -> dict[str, str]:
        return {f"{prefix}_{part}": "" if scores is None else f"{scores[part]:.4f}" for part in parts}

    held_out, found = result.get("held_out"), result.get("photographs")
    row: dict[str, Any] = {"teacher": result["teacher"]}
    row |= {column: result.get(column, "") for column in ("steps", "seconds")}
    row["held_out_faces"] = held_out["faces"] if held_out else ""
    row |= values(held_out["intersection_over_union"] if held_out else None, MASK_CLASSES, "held_out_iou")
    row["fer2013_faces"] = found["faces"] if found else ""
    row |= values(found["areas"] if found else None, MASK_CLASSES, "fer2013_area")
    row |= values(found["failures"] if found else None, ("skin", "lips", "eyes", "any"), "fer2013_failure")
    row["fer2013_faces_with_landmarks"] = result["agreement_faces"]
    return row | values(result["agreement"], MASK_CLASSES, "fer2013_agreement")


def page_lines(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    def cell(value: str, percent: bool) -> str:
        return "" if value == "" else f"{float(value):.1%}" if percent else f"{float(value):.2f}"

    lines = [
        "| P learned from | embedded, held out: IoU skin | lips | eyes | FER2013: area skin | lips | eyes | it fails | "
        "agreement with polygons: lips | eyes |",
        "| --- |" + " ---: |" * 9,
    ]
    for row in rows:
        cells = [cell(row[f"held_out_iou_{part}"], False) for part in MASK_CLASSES[1:]]
        cells += [cell(row[f"fer2013_area_{part}"], True) for part in MASK_CLASSES[1:]]
        cells.append(cell(row["fer2013_failure_any"], True))
        cells += [cell(row[f"fer2013_agreement_{part}"], False) for part in ("lips", "eyes")]
        lines.append("| " + " | ".join([TITLES[row["teacher"]], *cells]) + " |")
    return lines


def page(arguments: argparse.Namespace) -> None:
    names = [name for name in (*TEACHERS, "mean_map") if (OUT / name / "result.json").is_file()]
    results = [json.loads((OUT / name / "result.json").read_text(encoding="utf-8")) for name in names]
    rows = [row_of(result) for result in results]
    write_table(RESULTS / "parsing.csv", rows)
    draw_picture([name for name in names if name in TEACHERS])
    write_page("parsing by teacher", page_lines(rows))


def shown_faces() -> tuple[FaceTensors, list[str]]:
    """Held-out faces to look at: two from the front, two turned, two dark, two drawn; and what each is."""
    faces = held_out_faces()
    assert faces.yaw is not None and faces.sources is not None
    brightness = faces.images.float().mean((1, 2, 3))
    drawn = torch.tensor([style == "drawn" for style in faces.sources])
    turned, still = faces.yaw.abs() >= 30, faces.yaw.abs() <= 8
    dark = brightness < brightness.quantile(0.08)
    kinds = {"frontal": still & ~dark & ~drawn, "turned": turned & ~dark, "dark": dark & ~drawn, "drawn": drawn}
    rows, titles = [], []
    for title, chosen in kinds.items():
        found = chosen.nonzero()[:, 0].tolist()
        rows += [found[len(found) // 3], found[2 * len(found) // 3]]
        titles += [title, title]
    return faces.take(rows), titles


def draw_picture(names: Sequence[str]) -> None:
    faces, titles = shown_faces()
    assert faces.masks is not None
    lines = [("face", np.repeat(faces.images.numpy()[:, 0, :, :, None], 3, 3)), ("exact mask", COLOURS[faces.masks])]
    for name in names:
        network = load_parsing(OUT / name / "weights.safetensors")
        with torch.no_grad():
            found = network(to_unit_range(faces.images)).argmax(1).numpy()
        lines.append((TITLES[name].replace(", ", ",\n"), COLOURS[found]))
    figure, axes = plt.subplots(len(lines), len(faces), figsize=(1.25 * len(faces) + 2, 1.3 * len(lines)))
    for row, (title, pictures) in enumerate(lines):
        for column, picture in enumerate(pictures):
            axis = axes[row, column]
            axis.imshow(picture, interpolation="nearest")
            axis.set_xticks([])
            axis.set_yticks([])
            if row == 0:
                axis.set_title(titles[column], fontsize=9)
        axes[row, 0].set_ylabel(title, rotation=0, ha="right", va="center", fontsize=9)
    figure.tight_layout(pad=0.3)
    with atomic_path(PICTURE) as scratch:
        figure.savefig(scratch, dpi=100, format="png")
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("train", help="train and score P by teacher")
    command.add_argument("teachers", nargs="*", choices=[[], *TEACHERS], metavar="TEACHER", help=", ".join(TEACHERS))
    command.add_argument("--fer2013", type=Path, required=True, metavar="PATH", help="the data set's file or folder")
    command.add_argument("--steps", type=int, default=SETTINGS.steps)
    command.add_argument("--workers", type=int, default=1, help="processes that look for landmarks")
    command.set_defaults(run=train)
    command = commands.add_parser("page", help="the table, the page's lines and the picture")
    command.set_defaults(run=page)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    arguments.run(arguments)


if __name__ == "__main__":
    main()
