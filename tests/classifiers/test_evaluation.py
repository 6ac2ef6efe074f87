from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from sklearn.metrics import accuracy_score, balanced_accuracy_score, confusion_matrix, f1_score, recall_score
from striped_faces import NAMES, tensors

from augment.core.errors import InputError
from classifiers.evaluation import (
    extract_features,
    predict,
    predictions_table,
    read_predictions,
    score_predictions,
    write_predictions,
)
from classifiers.models import create_classifier


def test_scores_by_hand() -> None:
    labels = np.array([0, 0, 0, 0, 0, 1, 1, 2])
    predicted = np.array([0, 0, 0, 0, 2, 1, 0, 2])
    scores = score_predictions(labels, predicted, NAMES)
    assert scores.accuracy == pytest.approx(6 / 8)
    assert scores.recall == pytest.approx({"angry": 4 / 5, "happy": 1 / 2, "neutral": 1.0})
    assert scores.balanced_accuracy == pytest.approx((4 / 5 + 1 / 2 + 1) / 3)
    # precision 4/5, 1, 1/2 beside that recall
    assert scores.macro_f1 == pytest.approx((4 / 5 + 2 / 3 + 2 / 3) / 3)
    assert scores.confusion == [[4, 0, 1], [1, 1, 0], [0, 0, 1]]


def test_scores_agree_with_scikit_learn() -> None:
    random = np.random.default_rng(0)
    labels, predicted = random.integers(0, 3, 200), random.integers(0, 3, 200)
    scores = score_predictions(labels, predicted, NAMES)
    assert scores.balanced_accuracy == pytest.approx(balanced_accuracy_score(labels, predicted))
    assert list(scores.recall.values()) == pytest.approx(list(recall_score(labels, predicted, average=None)))


def test_a_class_without_faces_has_no_recall() -> None:
    scores = score_predictions(np.array([0, 0, 1]), np.array([0, 2, 1]), NAMES)
    assert scores.recall == {"angry": 0.5, "happy": 1.0, "neutral": None}
    assert scores.balanced_accuracy == pytest.approx(0.75)


def test_no_faces_are_refused() -> None:
    with pytest.raises(InputError, match="no face"):
        score_predictions(np.empty(0, int), np.empty(0, int), NAMES)


def test_prediction_is_in_evaluation_mode_and_in_order() -> None:
    faces = tensors(np.arange(30) % 3, seed=0)
    model = create_classifier("resnet18_narrow", num_classes=3, channels=1, seed=0).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    whole = predict(model, faces)
    assert model.training and all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert whole.shape == (30, 3) and whole.dtype == np.float32
    np.testing.assert_allclose(whole.sum(1), 1, atol=1e-5)
    np.testing.assert_allclose(predict(model, faces.images, batch_size=7), whole, atol=1e-5)
    with torch.no_grad():
        expected = torch.softmax(model.eval()(faces.images), 1).numpy()
    np.testing.assert_allclose(whole, expected, atol=1e-6)
    assert extract_features(model, faces.images, batch_size=11).shape == (30, 128)
    assert predict(model, faces.images[:0]).shape == (0, 3)


def table(subjects: list[str | None]) -> pa.Table:
    probabilities = np.array([[0.7, 0.2, 0.1], [0.1, 0.2, 0.7]], np.float32)
    return predictions_table(
        arm="real",
        fold=1,
        seed=2,
        split="test",
        face_ids=["x", "y"],
        subjects=subjects,
        labels=np.array([0, 1]),
        probabilities=probabilities,
        class_names=NAMES,
    )


def test_predictions_go_round(tmp_path: Path) -> None:
    write_predictions(table(["one", None]), tmp_path / "real.parquet")
    read, names = read_predictions(tmp_path / "real.parquet")
    assert names == NAMES
    assert read.to_pylist() == [
        {
            "arm": "real",
            "fold": 1,
            "seed": 2,
            "split": "test",
            "face_id": face_id,
            "subject": subject,
            "label": label,
            "predicted": predicted,
            "probabilities": pytest.approx(probabilities),
        }
        for face_id, subject, label, predicted, probabilities in (
            ("x", "one", 0, 0, [0.7, 0.2, 0.1]),
            ("y", None, 1, 2, [0.1, 0.2, 0.7]),
        )
    ]


def test_wrong_prediction_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is missing"):
        read_predictions(tmp_path / "none.parquet")
    (tmp_path / "text.parquet").write_text("no table")
    with pytest.raises(InputError, match="is no table of predictions"):
        read_predictions(tmp_path / "text.parquet")
    pq.write_table(table([None, None]).drop_columns(["seed"]), tmp_path / "short.parquet")
    with pytest.raises(InputError, match="lacks the columns seed"):
        read_predictions(tmp_path / "short.parquet")
    with pytest.raises(ValueError, match="probabilities are"):
        predictions_table(
            arm="a",
            fold=0,
            seed=0,
            split="test",
            face_ids=["x"],
            subjects=[None],
            labels=np.array([0]),
            probabilities=np.zeros((1, 2)),
            class_names=NAMES,
        )


@pytest.mark.parametrize("classes", [2, 5, 7])
def test_scores_are_scikit_learns(classes: int) -> None:
    random = np.random.default_rng(classes)
    labels, predicted = random.integers(0, classes - 1, 200), random.integers(0, classes, 200)  # the last never occurs
    scores = score_predictions(labels, predicted, [f"c{number}" for number in range(classes)])
    assert scores.confusion == confusion_matrix(labels, predicted, labels=np.arange(classes)).tolist()
    assert scores.accuracy == pytest.approx(accuracy_score(labels, predicted))
    assert scores.macro_f1 == pytest.approx(f1_score(labels, predicted, average="macro", zero_division=0))
