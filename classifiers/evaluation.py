"""What a classifier says of faces: probabilities, scores, and the table of predictions that all figures come from."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from pydantic import BaseModel, ConfigDict

from augment.core.errors import InputError, Problem
from augment.core.files import atomic_path
from augment.core.mixed_precision import autocast
from augment.core.precision import Precision
from augment.faces.tensors import FaceTensors
from classifiers.models import FaceClassifier

ScoreName = Literal["accuracy", "balanced_accuracy", "macro_f1"]

PREDICTION_FIELDS: tuple[pa.Field, ...] = (
    pa.field("arm", pa.string(), nullable=False),
    pa.field("fold", pa.int64(), nullable=False),
    pa.field("seed", pa.int64(), nullable=False),
    pa.field("split", pa.string(), nullable=False),
    pa.field("face_id", pa.string(), nullable=False),
    pa.field("subject", pa.string()),
    pa.field("label", pa.int64(), nullable=False),
    pa.field("predicted", pa.int64(), nullable=False),
    pa.field("probabilities", pa.list_(pa.float32()), nullable=False),
)


class Scores(BaseModel):
    """Scores of predictions against labels.

    Attributes:
        count: Number of faces.
        accuracy: Share of right predictions.
        balanced_accuracy: Mean recall of the classes that occur among the labels.
        macro_f1: Mean F1 of the classes that occur among labels or predictions; no prediction of a class counts 0.
        recall: By class name; None for a class with no face.
        confusion: Counts; rows are labels, columns predictions, in class order.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    count: int
    accuracy: float
    balanced_accuracy: float
    macro_f1: float
    recall: dict[str, float | None]
    confusion: list[list[int]]


def score_predictions(labels: np.ndarray, predicted: np.ndarray, class_names: Sequence[str]) -> Scores:
    """Scores predictions.

    Counting takes three lines here; scikit-learn's metrics, which a test compares with, would cost every stage three
    seconds of import.

    Args:
        labels: int [N], the true classes.
        predicted: int [N].
        class_names: Names of the classes.

    Raises:
        InputError: There is no face to score.
    """
    if len(labels) == 0:
        raise InputError(Problem("predictions", "no face to score", "check the folds: this split is empty"))
    classes = len(class_names)
    pairs = np.asarray(labels, np.int64) * classes + np.asarray(predicted, np.int64)
    matrix = np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)
    totals = matrix.sum(axis=1)
    right = np.diag(matrix)
    present = totals > 0
    occurring = totals + matrix.sum(axis=0)
    recall = np.divide(right, totals, out=np.zeros(len(totals)), where=present)
    return Scores(
        count=len(labels),
        accuracy=float(right.sum() / totals.sum()),
        balanced_accuracy=float(recall[present].mean()),
        macro_f1=float((2 * right[occurring > 0] / occurring[occurring > 0]).mean()),
        recall={
            name: float(value) if there else None
            for name, value, there in zip(class_names, recall, present, strict=True)
        },
        confusion=matrix.tolist(),
    )


@torch.no_grad()
def predict(
    model: FaceClassifier,
    images: FaceTensors | torch.Tensor,
    *,
    batch_size: int = 256,
    precision: Precision = "float32",
) -> np.ndarray:
    """Class probabilities, in evaluation mode; the model's mode is put back.

    Args:
        model: The classifier, on any device.
        images: Faces, or uint8 [N, C, H, W], on any device.
        batch_size: Faces at a time.
        precision: float32, bfloat16 or float16 (the latter two by autocast).

    Returns:
        float32 [N, num_classes]; rows sum to 1.
    """
    pictures = images.images if isinstance(images, FaceTensors) else images
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    parts = []
    try:
        with autocast(device, precision):
            for part in pictures.split(batch_size):
                parts.append(torch.softmax(model(part.to(device)).float(), dim=1).cpu())
    finally:
        model.train(was_training)
    return torch.cat(parts).numpy() if parts else np.zeros((0, model.num_classes), np.float32)


@torch.no_grad()
def extract_features(model: FaceClassifier, images: torch.Tensor, *, batch_size: int = 256) -> np.ndarray:
    """Pooled features, float32 [N, D], of uint8 [N, C, H, W], in evaluation mode; the model's mode is put back."""
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    try:
        parts = [model.features(part.to(device)).float().cpu() for part in images.split(batch_size)]
    finally:
        model.train(was_training)
    return torch.cat(parts).numpy()


def predictions_table(
    *,
    arm: str,
    fold: int,
    seed: int,
    split: str,
    face_ids: Sequence[str],
    subjects: Sequence[str | None],
    labels: np.ndarray,
    probabilities: np.ndarray,
    class_names: Sequence[str],
) -> pa.Table:
    """One cell's predictions as a table.

    Args:
        arm: The arm's name.
        fold: The fold.
        seed: The seed, as the user gave it.
        split: Of these faces; `test` in what arms write.
        face_ids: N names.
        subjects: N names, None where unknown.
        labels: int [N].
        probabilities: float [N, K].
        class_names: K names; kept in the schema's metadata.

    Returns:
        Columns arm, fold, seed, split, face_id, subject, label, predicted, probabilities.
    """
    count = len(labels)
    if probabilities.shape != (count, len(class_names)):
        raise ValueError(f"probabilities are {probabilities.shape}, not {(count, len(class_names))}")
    columns = {
        "arm": [arm] * count,
        "fold": [fold] * count,
        "seed": [seed] * count,
        "split": [split] * count,
        "face_id": list(face_ids),
        "subject": list(subjects),
        "label": np.asarray(labels, np.int64),
        "predicted": probabilities.argmax(axis=1).astype(np.int64) if count else np.zeros(0, np.int64),
        "probabilities": list(probabilities.astype(np.float32)),
    }
    metadata = {b"s2l": json.dumps({"class_names": list(class_names)}).encode()}
    schema = pa.schema(PREDICTION_FIELDS, metadata=metadata)
    return pa.Table.from_arrays([pa.array(columns[field.name], type=field.type) for field in schema], schema=schema)


def write_predictions(table: pa.Table, path: Path) -> None:
    """Writes a table of predictions as Parquet (zstd), atomically."""
    with atomic_path(path) as scratch:
        pq.write_table(table, scratch, compression="zstd")


def read_predictions(path: Path) -> tuple[pa.Table, tuple[str, ...]]:
    """Reads a table of predictions and its class names.

    Raises:
        InputError: The file is missing, damaged, or holds no predictions.
    """
    try:
        table = pq.read_table(path)
        names = tuple(json.loads((table.schema.metadata or {})[b"s2l"])["class_names"])
    except FileNotFoundError as error:
        raise InputError(Problem(str(path), "is missing", "run the arm that writes it")) from error
    except (pa.ArrowInvalid, KeyError, ValueError) as error:
        raise InputError(Problem(str(path), f"is no table of predictions: {error}", "run the arm again")) from error
    missing = [field.name for field in PREDICTION_FIELDS if field.name not in table.column_names]
    if missing:
        raise InputError(Problem(str(path), f"lacks the columns {', '.join(missing)}", "run the arm again"))
    return table, names
