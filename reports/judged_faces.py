"""What a judge saw in each test face and in each of its translations, kept so that intervals can be drawn from it.

Translations of one person's faces are no independent trials: who is hard to recognize is hard in all of them, and in
all translators' pictures alike. So scores.json keeps what was seen face by face, and the report draws whole people
again (`reports.statistics`), for one translator and for the difference of two.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from reports.predictions import Predictions

if TYPE_CHECKING:  # to read scores needs no torch
    from augment.faces.tensors import FaceTensors

NOT_ASKED = -1  # for this class, of a translator that keeps its sources' class; or a face that was not translated
TURNED = ("profile", "simulated", "normalized")


def judged_faces(
    fold: int, faces: FaceTensors, seen: np.ndarray, translated: Mapping[str, np.ndarray]
) -> list[dict[str, Any]]:
    """One row for each real test face of a fold.

    Args:
        fold: Its number.
        faces: The fold's N test faces.
        seen: int [N], the class that the judge saw in each.
        translated: Face id -> int [K], the class that it saw in the face's translation to each class; `NOT_ASKED`
            where there is none.
    """
    nowhere = np.full(len(faces.class_names), NOT_ASKED)
    return [
        {**row, "seen": int(found), "seen_in_translations": translated.get(row["face_id"], nowhere).tolist()}
        for row, found in zip(_about(fold, faces), seen, strict=True)
    ]


def turned_faces(
    fold: int, faces: FaceTensors, degrees: np.ndarray, seen: Mapping[str, np.ndarray]
) -> list[dict[str, Any]]:
    """One row for each turned test face of a fold.

    Args:
        fold: Its number.
        faces: N turned faces.
        degrees: int [N], to either side.
        seen: Kind of picture (`TURNED`) -> int [N], the class that the judge saw.
    """
    return [
        {**row, "degrees": int(degrees[position]), **{kind: int(seen[kind][position]) for kind in TURNED}}
        for position, row in enumerate(_about(fold, faces))
    ]


def _about(fold: int, faces: FaceTensors) -> list[dict[str, Any]]:
    labels = faces.labels.tolist()
    return [
        {"fold": fold, "face_id": face, "subject": subject, "label": label}
        for face, subject, label in zip(faces.face_ids, faces.subjects, labels, strict=True)
    ]


def columns_of(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Rows as columns, which take less room as JSON; lists of classes as words."""
    frame = {key: [row[key] for row in rows] for key in (rows[0] if rows else {})}
    if "seen_in_translations" in frame:
        frame["seen_in_translations"] = [" ".join(map(str, seen)) for seen in frame["seen_in_translations"]]
    return frame


def real_predictions(scores: Mapping[str, Any]) -> Predictions:
    """What the judge saw in the real test faces, of scores as written."""
    faces = _frame(scores["judged_faces"])
    return _predictions(scores, faces.assign(predicted=faces["seen"]))


def translation_predictions(scores: Mapping[str, Any]) -> Predictions | None:
    """What it saw in their translations: a row for each face and class; None where the translator refused them."""
    if not scores["recognition"]:
        return None
    faces = _frame(scores["judged_faces"])
    seen = _seen_in_translations(faces)
    place, target = np.nonzero(seen != NOT_ASKED)
    asked = faces.iloc[place].reset_index(drop=True)
    names = np.array(scores["class_names"])[target]
    return _predictions(
        scores, asked.assign(face_id=asked["face_id"] + " as " + names, label=target, predicted=seen[place, target])
    )


def judged_right(scores: Mapping[str, Any]) -> float:
    """Share of real test faces whose class the judge sees, 0..1, of those that were translated.

    It is what recognition of their translations compares with; NaN where none was translated.
    """
    faces = _frame(scores["judged_faces"])
    right = (faces["seen"] == faces["label"])[(_seen_in_translations(faces) != NOT_ASKED).any(axis=1)]
    return float(right.mean()) if len(right) else float("nan")


def turned_predictions(scores: Mapping[str, Any], kind: str) -> dict[int, Predictions]:
    """What it saw in turned faces, by degrees in ascending order; empty where none was turned to the front.

    Args:
        scores: As written.
        kind: One of `TURNED`.
    """
    if not scores["turned_faces"]:
        return {}
    faces = _frame(scores["turned_faces"])
    return {
        int(str(degrees)): _predictions(scores, part.assign(predicted=part[kind]))
        for degrees, part in faces.groupby("degrees", sort=True)
    }


def _seen_in_translations(faces: pd.DataFrame) -> np.ndarray:
    """int [N, K], the class that the judge saw in each face's translation to each class."""
    return np.array([[int(word) for word in words.split()] for words in faces["seen_in_translations"]])


def _frame(columns: Mapping[str, list[Any]]) -> pd.DataFrame:
    """The faces; each its own person where people are unknown, so that the translations of one face stay together."""
    faces = pd.DataFrame(columns)
    return faces.assign(subject=faces["face_id"]) if faces["subject"].isna().any() else faces


def _predictions(scores: Mapping[str, Any], faces: pd.DataFrame) -> Predictions:
    """As an arm's predictions, by one classifier."""
    rows = faces[["fold", "face_id", "subject", "label", "predicted"]].reset_index(drop=True)
    return Predictions(scores["translator"], tuple(scores["class_names"]), rows.assign(seed=0))
