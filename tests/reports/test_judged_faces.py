"""What a judge saw, face by face: written, read back, and counted by people."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from augment.faces.tensors import FaceTensors
from reports.judged_faces import (
    NOT_ASKED,
    columns_of,
    judged_faces,
    judged_right,
    real_predictions,
    translation_predictions,
)
from reports.predictions import Predictions
from reports.settings import BootstrapSettings
from reports.statistics import accuracy_interval

NAMES = ("happy", "sad as sad", "neutral")  # a name that has the word between a face and its class


def faces(subjects: list[str | None]) -> FaceTensors:
    count = len(subjects)
    return FaceTensors(
        images=torch.zeros(count, 1, 4, 4, dtype=torch.uint8),
        labels=torch.arange(count) % 3,
        landmarks=None,
        masks=None,
        face_ids=tuple(f"known as {number}" for number in range(count)),
        subjects=tuple(subjects),
        class_names=NAMES,
    )


def written(subjects: list[str | None], seen: list[int], translated: dict[str, list[int]]) -> dict[str, Any]:
    rows = judged_faces(
        2, faces(subjects), np.array(seen), {face: np.array(classes) for face, classes in translated.items()}
    )
    scores = {
        "translator": "lssl",
        "class_names": NAMES,
        "recognition": {"accuracy": 0.5},
        "judged_faces": columns_of(rows),
        "turned_faces": columns_of([]),
    }
    return dict(json.loads(json.dumps(scores)))


def test_translations_are_a_row_for_each_face_and_class() -> None:
    scores = written(["anna", "anna", "bert"], [0, 2, 2], {"known as 0": [0, 2, 2], "known as 2": [-1, -1, 1]})
    found = translation_predictions(scores)
    assert found is not None
    rows = found.rows[["fold", "face_id", "subject", "label", "predicted"]].values.tolist()
    assert rows == [
        [2, "known as 0 as happy", "anna", 0, 0],
        [2, "known as 0 as sad as sad", "anna", 1, 2],
        [2, "known as 0 as neutral", "anna", 2, 2],
        [2, "known as 2 as neutral", "bert", 2, 1],
    ]
    real = real_predictions(scores).rows
    assert real["predicted"].tolist() == [0, 2, 2] and real["subject"].tolist() == ["anna", "anna", "bert"]


def test_translations_of_a_face_of_an_unknown_person_stay_together() -> None:
    scores = written(["anna", None], [0, 1], {"known as 0": [0, 0, 0], "known as 1": [1, 1, 1]})
    found = translation_predictions(scores)
    assert found is not None and found.rows["subject"].tolist() == ["known as 0"] * 3 + ["known as 1"] * 3


def test_refused_translations_are_none() -> None:
    assert translation_predictions(written(["anna"], [0], {}) | {"recognition": None}) is None


def predictions(hits_of_people: list[list[bool]]) -> Predictions:
    rows = [
        {
            "fold": 0,
            "seed": 0,
            "face_id": f"{person}-{number}",
            "subject": str(person),
            "label": 0,
            "predicted": 1 - hit,
        }
        for person, hits in enumerate(hits_of_people)
        for number, hit in enumerate(hits)
    ]
    return Predictions("arm", NAMES, pd.DataFrame(rows))


def test_the_interval_is_of_people_not_of_pictures() -> None:
    """Forty people, each recognized in all of 25 pictures or in none: as uncertain as 40 throws, not as 1,000."""
    found = accuracy_interval(predictions([[person % 2 == 0] * 25 for person in range(40)]), BootstrapSettings())
    assert found.value == 0.5
    error = 1.96 * np.sqrt(0.25 / 40)
    assert found.low == pytest.approx(0.5 - error, abs=0.03) and found.high == pytest.approx(0.5 + error, abs=0.03)
    by_picture = accuracy_interval(
        predictions([[person % 2 == 0] * 25 for person in range(40)]), BootstrapSettings(by_subject=False)
    )
    assert by_picture.high - by_picture.low == pytest.approx(2 * 1.96 * np.sqrt(0.25 / 1000), abs=0.01)


def test_people_with_more_pictures_weigh_more() -> None:
    found = accuracy_interval(predictions([[True] * 9, [False]]), BootstrapSettings())
    assert found.value == 0.9 and (found.low, found.high) == (0.0, 1.0)


def test_recognition_compares_with_the_judge_on_the_faces_that_were_translated() -> None:
    """Of four faces it knows three; of the two that were translated, one."""
    subjects: list[str | None] = ["a", "b", "c", "d"]
    translated = {"known as 0": [0, 1, 2], "known as 1": [0, 1, NOT_ASKED]}
    scores = written(subjects, [0, 0, 2, 0], translated)
    assert judged_right(scores) == 0.5
    every = {f"known as {number}": [0, 1, 2] for number in range(4)}
    assert judged_right(written(subjects, [0, 0, 2, 0], every)) == 0.75
    assert np.isnan(judged_right(written(subjects, [0, 0, 2, 0], {})))
