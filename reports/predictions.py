"""Reads the arms' predictions, from which the report computes all accuracies."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from augment.core.errors import InputError, Problem

COLUMNS = ("arm", "fold", "seed", "split", "face_id", "subject", "label", "predicted")
PROBABILITIES = "probabilities"  # of each class; tables that others wrote may lack it


@dataclass(frozen=True)
class Predictions:
    """One arm's predictions of real faces.

    Attributes:
        arm: The arm's name.
        class_names: Names of the labels.
        rows: Columns fold, seed, face_id, subject, label, predicted, and probabilities [K] where the file has them; one
            row per face, fold and seed of one split.
    """

    arm: str
    class_names: tuple[str, ...]
    rows: pd.DataFrame

    def confusion(self) -> np.ndarray:
        """Counts [K, K], actual by predicted class, summed over folds and seeds."""
        return confusion_counts(self.rows["label"], self.rows["predicted"], len(self.class_names))

    def runs(self) -> int:
        """Number of trained classifiers: folds times seeds."""
        return int(self.rows.groupby(["fold", "seed"]).ngroups)


def confusion_counts(labels: pd.Series, predicted: pd.Series, num_classes: int) -> np.ndarray:
    """Counts [K, K] of actual by predicted class."""
    flat = labels.to_numpy(int) * num_classes + predicted.to_numpy(int)
    return np.bincount(flat, minlength=num_classes**2).reshape(num_classes, num_classes)


def read_predictions(path: Path, *, arm: str, split: str = "test") -> Predictions:
    """Reads one arm's predictions.

    Args:
        path: The Parquet file that the arm wrote.
        arm: The arm's name.
        split: The split whose rows to keep.

    Raises:
        InputError: The file is missing, lacks columns or class names, has labels out of range, no rows of the split,
            or contains a face twice in one run.
    """
    fix = f"run the stage that trains arm {arm!r} again"
    try:
        schema = pq.read_schema(path)
    except FileNotFoundError as error:
        raise InputError(Problem(str(path), "no such file", fix)) from error
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(Problem(str(path), f"is not a Parquet file: {error}", fix)) from error
    missing = [column for column in COLUMNS if column not in schema.names]
    if missing:
        raise InputError(Problem(str(path), f"lacks the columns {', '.join(missing)}", fix))
    try:
        names = tuple(json.loads((schema.metadata or {})[b"s2l"])["class_names"])
    except (KeyError, ValueError) as error:
        raise InputError(Problem(str(path), "its metadata contains no class names", fix)) from error
    there = [column for column in (*COLUMNS, PROBABILITIES) if column in schema.names]
    frame = pq.read_table(path, columns=there).to_pandas()
    frame = frame[frame["split"] == split].drop(columns=["arm", "split"])
    frame = frame.sort_values(["fold", "seed", "face_id"], kind="stable").reset_index(drop=True)
    problems = []
    if frame.empty:
        problems.append(Problem(str(path), f"contains no {split} predictions", fix))
    for column in ("label", "predicted"):
        if not frame[column].between(0, len(names) - 1).all():
            problems.append(Problem(f"{path}, column {column}", f"contains values outside 0..{len(names) - 1}", fix))
    twice = frame.duplicated(["fold", "seed", "face_id"])
    if twice.any():
        face = frame.loc[twice, "face_id"].iloc[0]
        problems.append(Problem(str(path), f"{int(twice.sum())} faces occur twice in a run, first {face!r}", fix))
    if problems:
        raise InputError(problems)
    return Predictions(arm, names, frame)


def read_all_predictions(paths: Mapping[str, Path], *, split: str = "test") -> dict[str, Predictions]:
    """Reads several arms' predictions, and checks that they have the same classes.

    Raises:
        InputError: See `read_predictions`; or two arms have different classes.
    """
    found = {arm: read_predictions(path, arm=arm, split=split) for arm, path in paths.items()}
    all_names = {predictions.class_names for predictions in found.values()}
    if len(all_names) > 1:
        raise InputError(
            [
                Problem(str(paths[arm]), f"has the classes {', '.join(predictions.class_names)}")
                for arm, predictions in found.items()
            ],
            "the arms' predictions have different classes; run all arms again on the same faces:",
        )
    return found
