"""Classical rows: HOG or LBP features and a support vector machine.

Dalal & Triggs 2005 (histograms of oriented gradients); Ojala et al. 2002 (local binary patterns); Shan, Gong & McOwan
2009 (facial expressions by LBP histograms on a grid and a support vector machine). Features are scikit-image's, the
machine is scikit-learn's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field
from scipy.special import softmax
from skimage.feature import hog, local_binary_pattern
from sklearn.metrics import accuracy_score, f1_score, recall_score
from sklearn.model_selection import GridSearchCV, PredefinedSplit
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, LinearSVC

from augment.core.errors import InputError, Problem
from augment.faces.tensors import FaceTensors

BaselineKind = Literal["hog", "lbp"]

_PENALTIES = {"linear": (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0), "rbf": (1.0, 3.0, 10.0)}
_LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R 601, as Pillow converts to grey


class BaselineSettings(BaseModel):
    """Settings of the classical rows."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    hog_cells: int = Field(default=6, ge=2, le=32, description="Cells an edge of the picture; 48 px: 8 px a cell.")
    hog_orientations: int = Field(default=9, ge=2, le=36, description="Bins of the gradient's direction, unsigned.")
    hog_block: int = Field(
        default=2, ge=1, le=4, description="Cells an edge of a block, within which contrast is normalized."
    )
    lbp_grid: int = Field(default=6, ge=1, le=32, description="Regions an edge of the picture, a histogram each.")
    lbp_points: int = Field(default=8, ge=4, le=24, description="Neighbours of a pixel that make its pattern.")
    lbp_radius: float = Field(default=2.0, gt=0, le=16, description="Their distance in pixels.")
    kernel: Literal["linear", "rbf"] = Field(
        default="linear", description="Of the machine; rbf's cost grows with the square of the number of faces."
    )
    penalties: tuple[Annotated[float, Field(gt=0)], ...] | None = Field(
        default=None,
        min_length=1,
        description="Values of C, each tried on the validation faces; null: from 0.0003 to 1 for linear, 1 to 10 for "
        "rbf.",
    )
    choice_faces: int = Field(
        default=4_000,
        ge=50,
        description="At most so many training faces take part in the choice of C; all in the last fit.",
    )
    select_by: Literal["accuracy", "balanced_accuracy", "macro_f1"] = Field(
        default="balanced_accuracy", description="The validation score that picks C; of equals the smallest C."
    )
    class_balanced: bool = Field(default=True, description="Weight classes by the inverse of their number of faces.")
    iterations: int = Field(default=2_000, ge=1, description="Bound on the machine's iterations.")


@dataclass(frozen=True)
class Baseline:
    """A trained classical row.

    Attributes:
        kind: hog or lbp.
        settings: As it was trained.
        class_names: K names.
        penalty: The C that was chosen.
        validation_score: By `settings.select_by`, of the machine that is kept.
        validation_scores: Of every C that was tried, on at most `choice_faces` training faces; empty if there was no
            choice.
        machine: Scaler and machine.
    """

    kind: BaselineKind
    settings: BaselineSettings
    class_names: tuple[str, ...]
    penalty: float
    validation_score: float
    validation_scores: dict[float, float]
    machine: Pipeline

    def decision_scores(self, faces: FaceTensors) -> np.ndarray:
        """Signed distances from each class's boundary, float64 [N, K]; -inf for classes without a training face."""
        return _decision_scores(self.machine, extract(self.kind, faces, self.settings), len(self.class_names))

    def softmaxed_scores(self, faces: FaceTensors) -> np.ndarray:
        """Soft-max of the decision scores, float32 [N, K]; rows sum to 1.

        A support vector machine has no probabilities. These stand in where a table wants some; their order is the
        machine's, their size is not calibrated.
        """
        return softmax(self.decision_scores(faces), axis=1).astype(np.float32) if len(faces) else self._none()

    def predictions(self, faces: FaceTensors) -> dict[str, np.ndarray]:
        """What it says of faces.

        Returns:
            `face_ids` [N], `labels` [N], `predicted` [N], `softmaxed_scores` [N, K].
        """
        scores = self.softmaxed_scores(faces)
        return {
            "face_ids": np.asarray(faces.face_ids, dtype=object),
            "labels": faces.labels.cpu().numpy(),
            "predicted": scores.argmax(axis=1) if len(faces) else np.zeros(0, np.int64),
            "softmaxed_scores": scores,
        }

    def _none(self) -> np.ndarray:
        return np.zeros((0, len(self.class_names)), np.float32)


def train_baseline(
    kind: BaselineKind,
    train: FaceTensors,
    validation: FaceTensors,
    settings: BaselineSettings | None = None,
    *,
    seed: int,
) -> Baseline:
    """Trains a classical row on real faces; the validation faces choose C and are not learned from.

    Args:
        kind: `hog` or `lbp`.
        train: N training faces, grey or colour.
        validation: Faces that choose C.
        settings: Defaults if None.
        seed: Of the draw of `choice_faces`, and of the machine.

    Returns:
        The row; call `predictions` on it.

    Raises:
        InputError: There are no faces, only one class, or pictures too small for the grid.
    """
    settings = settings or BaselineSettings()
    problems = [
        Problem(f"{name} faces", "there are none", "check the folds")
        for name, faces in (("training", train), ("validation", validation))
        if not len(faces)
    ]
    if len(train.labels.unique()) == 1:
        problems.append(Problem("training faces", "are all of one class", "give at least two classes"))
    edge = settings.hog_cells if kind == "hog" else settings.lbp_grid
    if len(train) and train.size < 2 * edge:
        key = "hog_cells" if kind == "hog" else "lbp_grid"
        problems.append(Problem(key, f"{edge} cells on {train.size} px leave under 2 px a cell", f"lower {key}"))
    if len(train) and len(validation) and train.size != validation.size:
        problems.append(
            Problem(
                "validation faces", f"have {validation.size} px, the training faces {train.size}", "decode them alike"
            )
        )
    if problems:
        raise InputError(problems)
    features, labels = extract(kind, train, settings), train.labels.cpu().numpy()
    held_out, held_out_labels = extract(kind, validation, settings), validation.labels.cpu().numpy()

    def score(machine: Pipeline, features: np.ndarray, labels: np.ndarray) -> float:
        predicted = _decision_scores(machine, features, len(train.class_names)).argmax(axis=1)
        return _score(settings.select_by, labels, predicted)

    machine = _machine(settings, seed)
    candidates = sorted(set(settings.penalties or _PENALTIES[settings.kernel]))
    scores: dict[float, float] = {}
    if len(candidates) > 1:
        chosen = _choice(labels, settings.choice_faces, seed)
        # -1: always learned from; 0: the one fold that is held out.
        folds = PredefinedSplit(np.repeat([-1, 0], [len(chosen), len(held_out)]))
        search = GridSearchCV(
            machine, {"machine__C": candidates}, scoring=score, cv=folds, refit=False, error_score="raise"
        )
        search.fit(np.concatenate([features[chosen], held_out]), np.concatenate([labels[chosen], held_out_labels]))
        scores = dict(zip(candidates, search.cv_results_["mean_test_score"].tolist(), strict=True))
    # Of equals the smallest: candidates rise, and `max` keeps the first.
    penalty = max(scores, key=scores.__getitem__) if scores else candidates[0]
    # Not by the search's own `refit`, which would learn from the validation faces too.
    machine.set_params(machine__C=penalty).fit(features, labels)
    return Baseline(
        kind=kind,
        settings=settings,
        class_names=train.class_names,
        penalty=penalty,
        validation_score=score(machine, held_out, held_out_labels),
        validation_scores=scores,
        machine=machine,
    )


def extract(kind: BaselineKind, faces: FaceTensors, settings: BaselineSettings) -> np.ndarray:
    """Features of faces.

    Args:
        kind: `hog`: block-normalized (L2-Hys) histograms of gradients. `lbp`: the square root of the histogram of
            uniform patterns of each region, so that a linear machine compares histograms by Hellinger's distance.
        faces: N faces.
        settings: Grid and bins.

    Returns:
        float32 [N, D].
    """
    pictures = grey_pictures(faces)
    one = _hog if kind == "hog" else _lbp
    if not len(pictures):
        return np.zeros((0, one(np.zeros((faces.size, faces.size)), settings).size), np.float32)
    return np.stack([one(picture, settings) for picture in pictures])


def grey_pictures(faces: FaceTensors) -> np.ndarray:
    """Pictures as uint8 [N, H, W]; colour by luma."""
    images = faces.images.cpu().numpy()
    if images.shape[1] == 1:
        return images[:, 0]
    return np.rint(np.einsum("nchw,c->nhw", images, _LUMA)).astype(np.uint8)


def _hog(picture: np.ndarray, settings: BaselineSettings) -> np.ndarray:
    cell = picture.shape[0] // settings.hog_cells
    edge = settings.hog_cells * cell  # else what is over makes cells of its own, or is cut off at the right and below
    first = (picture.shape[0] - edge) // 2
    picture = picture[first : first + edge, first : first + edge]
    block = min(settings.hog_block, settings.hog_cells)
    return hog(
        picture,
        orientations=settings.hog_orientations,
        pixels_per_cell=(cell, cell),
        cells_per_block=(block, block),
        block_norm="L2-Hys",
    ).astype(np.float32)


def _lbp(picture: np.ndarray, settings: BaselineSettings) -> np.ndarray:
    patterns = local_binary_pattern(picture, settings.lbp_points, settings.lbp_radius, method="nri_uniform")
    patterns = patterns.astype(int)
    bins = settings.lbp_points * (settings.lbp_points - 1) + 3
    size, grid = picture.shape[0], settings.lbp_grid
    region = np.arange(size) * grid // size
    place = region[:, None] * grid + region[None, :]
    counts = np.bincount((place * bins + patterns).ravel(), minlength=grid * grid * bins).reshape(grid * grid, bins)
    return np.sqrt(counts / counts.sum(axis=1, keepdims=True)).astype(np.float32).ravel()


def _machine(settings: BaselineSettings, seed: int) -> Pipeline:
    weight = "balanced" if settings.class_balanced else None
    # Only centred: each feature is a share of a histogram already, and scaling rare patterns up to the spread of common
    # ones would hand the machine their noise.
    scaler = StandardScaler(with_std=False)
    if settings.kernel == "rbf":
        machine = SVC(class_weight=weight, decision_function_shape="ovr")
    else:
        # The dual is the faster form at the small C that win here, for few faces and for many.
        machine = LinearSVC(
            class_weight=weight, dual=True, tol=1e-3, max_iter=settings.iterations, random_state=seed % 2**32
        )
    return Pipeline([("scaler", scaler), ("machine", machine)])


def _decision_scores(machine: Pipeline, features: np.ndarray, classes: int) -> np.ndarray:
    """Decision scores [N, K] in label order, whatever classes the machine has seen."""
    scores = np.full((len(features), classes), -np.inf)
    if len(features):
        found = machine.decision_function(features)
        scores[:, machine.classes_] = np.stack([-found, found], axis=1) if found.ndim == 1 else found
    return scores


def _score(name: str, labels: np.ndarray, predicted: np.ndarray) -> float:
    if name == "accuracy":
        return float(accuracy_score(labels, predicted))
    present = np.unique(labels)
    if name == "balanced_accuracy":  # scikit-learn's warns of classes that are predicted and have no face
        return float(recall_score(labels, predicted, labels=present, average="macro"))
    return float(f1_score(labels, predicted, average="macro", zero_division=0))


def _choice(labels: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Positions of at most `count` faces, class by class in proportion, each class at least once."""
    if len(labels) <= count:
        return np.arange(len(labels))
    generator = np.random.default_rng(seed)
    shuffled = generator.permutation(len(labels))
    ranks = np.empty(len(labels))
    for label in np.unique(labels):
        members = shuffled[labels[shuffled] == label]
        ranks[members] = np.arange(len(members)) / len(members)  # the first of each class comes first of all
    return np.sort(np.lexsort((shuffled, ranks))[:count])
