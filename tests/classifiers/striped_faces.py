"""Tiny pictures whose class can be learned in a few steps: a bright bar at the height of the class, and noise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from augment.faces.images import encode_png
from augment.faces.table import face_schema, faces_from_rows
from augment.faces.tensors import FaceTensors

NAMES = ("angry", "happy", "neutral")
SIZE = 16


def pictures(labels: np.ndarray, seed: int) -> np.ndarray:
    """uint8 [N, 16, 16]."""
    random = np.random.default_rng(seed)
    images = random.integers(0, 60, (len(labels), SIZE, SIZE))
    for image, label in zip(images, labels, strict=True):
        image[5 * label + 1 : 5 * label + 4] += 150
    return images.astype(np.uint8)


def tensors(labels: list[int] | np.ndarray, seed: int, prefix: str = "face") -> FaceTensors:
    labels = np.asarray(labels)
    return FaceTensors(
        images=torch.from_numpy(pictures(labels, seed)).unsqueeze(1),
        labels=torch.from_numpy(labels.astype(np.int64)),
        landmarks=None,
        masks=None,
        face_ids=tuple(f"{prefix}-{row}" for row in range(len(labels))),
        subjects=tuple(f"subject-{row}" for row in range(len(labels))),
        class_names=NAMES,
    )


def write_table(path: Path, rows: list[dict]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(faces_from_rows(rows, face_schema(NAMES)), path)


def face_rows(labels: np.ndarray, seed: int, prefix: str) -> list[dict]:
    return [
        {
            "image": {"bytes": encode_png(picture), "path": None},
            "label": int(label),
            "label_name": NAMES[label],
            "face_id": f"{prefix}-{row:04d}",
            "subject": f"{prefix}-person-{row // len(NAMES)}",
            "source": "stripes",
        }
        for row, (label, picture) in enumerate(zip(labels, pictures(labels, seed), strict=True))
    ]


def write_dataset(root: Path, *, folds: int = 2, train: int = 24, validation: int = 9, test: int = 12) -> None:
    """Real faces under root/faces, folds in root/folds.parquet; a fold tests on what the others train on."""
    rows = {}
    for part, count in {"a": train, "b": train, "validation": validation, "test": test}.items():
        rows[part] = face_rows(np.arange(count) % len(NAMES), len(rows), part)
    write_table(root / "faces" / "data" / "all.parquet", [row for found in rows.values() for row in found])
    roles = [{"a": "train", "b": "train", "validation": "validation", "test": "test"}]
    roles.append({"a": "train", "b": "test", "validation": "validation", "test": "train"})
    listed = [
        {"face_id": row["face_id"], "fold": fold, "split": roles[fold][part]}
        for fold in range(folds)
        for part, found in rows.items()
        for row in found
    ]
    schema = pa.schema([("face_id", pa.string()), ("fold", pa.int64()), ("split", pa.string())])
    pq.write_table(pa.Table.from_pylist(listed, schema=schema), root / "folds.parquet")


def write_synthetic(
    root: Path, *, fold: int, per_class: int, rejected: int = 0, source: str = "a-0000", seed: int = 50
) -> None:
    """Synthetic faces under root/synthetic/fold-<k>; of each class the first `rejected` are not kept."""
    for label, name in enumerate(NAMES):
        rows = face_rows(np.full(per_class, label), seed + label, f"synthetic-{name}")
        for number, row in enumerate(rows):
            row |= {
                "split": "train",
                "subject": "a-person-0",
                "synthetic": True,
                "source_id": source,
                "source_label": "angry",
                "translator": "stripes",
                "seed": 0,
                "fold": fold,
                "kept": number >= rejected,
            }
        write_table(root / "synthetic" / f"fold-{fold}" / "data" / f"train-{name}-00000.parquet", rows)
