"""The landmarks alone: linear discriminant analysis of 68 points, without a look at the picture.

It says how much of an expression lies in the geometry of the face. Fisher 1936; the covariance of the classes is
shrunk as Ledoit & Wolf 2004 derive it, since 136 coordinates outnumber the faces of rare classes. The analysis is
scikit-learn's.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from augment.core.errors import InputError, Problem
from augment.faces.landmark_shapes import alignment, procrustes_mean, to_picture_range
from augment.faces.tensors import FaceTensors, has_valid_landmarks
from classifiers.evaluation import score_predictions


@dataclass(frozen=True)
class LandmarkBaseline:
    """A trained analysis.

    Attributes:
        class_names: K names.
        reference: float32 [68, 2], the mean shape of the training faces, which all shapes are laid on.
        machine: The analysis.
        validation_score: Its balanced accuracy on the validation faces.
    """

    class_names: tuple[str, ...]
    reference: torch.Tensor
    machine: LinearDiscriminantAnalysis
    validation_score: float

    def probabilities(self, faces: FaceTensors) -> np.ndarray:
        """Class probabilities, float32 [N, K]; rows sum to 1, classes without a training face get 0.

        A face without landmarks is taken for one of the mean shape.
        """
        return _probabilities(self.machine, aligned_shapes(faces, self.reference), len(self.class_names))


def with_landmarks(faces: FaceTensors) -> torch.Tensor:
    """Which faces have landmarks that can be a face's: bool [N]."""
    if faces.landmarks is None:
        return torch.zeros(len(faces), dtype=torch.bool)
    return has_valid_landmarks(faces.landmarks).cpu()


def aligned_shapes(faces: FaceTensors, reference: torch.Tensor) -> np.ndarray:
    """Deviations of the shapes from the reference, after the similarity that lays their stable points on it.

    Place, size and rotation of the head in the picture so say nothing; what the face itself does is left.

    Args:
        faces: N faces.
        reference: float32 [68, 2] in -1..1.

    Returns:
        float64 [N, 136]; 0 for a face without landmarks.
    """
    deviations = torch.zeros(len(faces), reference.numel(), dtype=torch.float64)
    known = with_landmarks(faces)
    if faces.landmarks is not None and known.any():
        shapes = to_picture_range(faces.landmarks.cpu()[known])
        deviations[known] = (alignment(shapes, reference).apply(shapes) - reference).flatten(1).double()
    return deviations.numpy()


def why_not_learned(train: FaceTensors) -> str | None:
    """Why training faces are too few for the analysis; None where they are not."""
    labels = train.labels.cpu()[with_landmarks(train)]
    classes = len(labels.unique())
    if classes < 2:
        return "with landmarks are of fewer than two classes"
    if len(labels) <= classes:
        return f"with landmarks are {len(labels)} of {classes} classes, and it needs more faces than classes"
    return None


def train_landmark_lda(train: FaceTensors, validation: FaceTensors, *, class_balanced: bool = True) -> LandmarkBaseline:
    """Trains the analysis on the real faces that have landmarks. It has nothing to choose, and draws nothing.

    Args:
        train: Training faces.
        validation: Faces of the validation score.
        class_balanced: Whether classes are taken to be equally frequent, else as frequent as among the training faces.

    Returns:
        The analysis.

    Raises:
        InputError: Fewer than two classes have training faces with landmarks, or there are no more such faces than
            classes, or there are no validation faces.
    """
    known = torch.nonzero(with_landmarks(train))[:, 0]
    problems = []
    if why := why_not_learned(train):
        fix = "have landmarks detected (`s2l profile landmarks=dlib`), or leave the arm out"
        problems.append(Problem("training faces", why, fix))
    if not len(validation):
        problems.append(Problem("validation faces", "there are none", "check the folds"))
    if problems:
        raise InputError(problems)
    faces = train.take(known)
    assert faces.landmarks is not None
    reference = procrustes_mean(to_picture_range(faces.landmarks.cpu()))
    labels = faces.labels.cpu().numpy()
    present = len(np.unique(labels))
    machine = LinearDiscriminantAnalysis(
        solver="lsqr", shrinkage="auto", priors=np.full(present, 1 / present) if class_balanced else None
    )
    machine.fit(aligned_shapes(faces, reference), labels)
    found = _probabilities(machine, aligned_shapes(validation, reference), len(train.class_names)).argmax(axis=1)
    scores = score_predictions(validation.labels.cpu().numpy(), found, train.class_names)
    return LandmarkBaseline(
        class_names=train.class_names,
        reference=reference,
        machine=machine,
        validation_score=scores.balanced_accuracy,
    )


def _probabilities(machine: LinearDiscriminantAnalysis, shapes: np.ndarray, classes: int) -> np.ndarray:
    found = np.zeros((len(shapes), classes), np.float32)
    if len(shapes):
        found[:, machine.classes_] = machine.predict_proba(shapes)
    return found
