"""The choice of a translator's checkpoint: on validation faces, by a judge trained on training faces only."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from augment.faces.judge import Judge
from augment.faces.tensors import FaceTensors
from augment.training.settings import CheckpointRule
from augment.translators.base import Translator

Validate = Callable[[Translator, int], float]

_PENALTY = 1e-2  # of the logistic regression's squared weights, beside the mean over faces of its loss
_ITERATIONS = 1000  # of L-BFGS at most; tens are needed


def checkpoint_validation(
    judge: Judge,
    validation: FaceTensors,
    *,
    seed: int,
    train: FaceTensors | None = None,
    rule: CheckpointRule = "recognition",
    max_faces: int = 210,
    batch_size: int = 128,
) -> Validate | None:
    """Makes the score by which a translator's checkpoint is chosen.

    `recognition`: each class in turn is the target of the validation faces of all other classes (of its own class,
    where a translator keeps its sources' class); the score is the judge's probability of the target, averaged over
    faces, then over classes. A pattern that the judge takes for the class scores as high as the class.

    `recognition_and_distance`: recognition divided by 1 + d, where d is the distance of translated faces from real
    validation faces of the target class, in the judge's features, in units of the same distance before the translation
    (`relative_distance`). The distance alone is at its best early in a training, where faces are disturbed but not yet
    translated (tried on embedded faces: the step it chose had an agreement of 12 % where the last had 55 %).

    `utility`: training faces are translated to every class, a logistic regression on the judge's features learns the
    classes from them alone, and the score is its probability of the right class on real validation faces, averaged over
    faces, then over classes ("train on synthetic, test on real"; Ravuri & Vinyals 2019, arXiv 1905.10887). A pattern
    teaches nothing that is found in real faces. A classifier trained from pictures for every checkpoint would cost more
    than the translator.

    Measured on embedded faces (preset rare, seed 101), every 100 to 200 steps of a StarGAN, an LSSL and a flow matching
    that learned from pairs: there the three rules rose together at every checkpoint and chose the same step. They part
    where patterns are made, which a test shows on made-up faces: `recognition` prefers the pattern, the others do not.
    Whether they part in a training that is adversarial from its first step has not been measured.

    Args:
        judge: Trained on the fold's training faces only.
        validation: The fold's validation faces.
        seed: Of the draw of faces where there are more than `max_faces`, and of the translator's random draws.
        train: The fold's training faces, the sources of `utility`; other rules need none.
        rule: Which of the above.
        max_faces: At most so many source faces (`utility`: for all classes together).
        batch_size: Faces per batch.

    Returns:
        (translator, step) -> score in 0..1, higher is better; None where there are no validation faces of two classes,
        so that nothing can be chosen by.

    Raises:
        ValueError: The rule is `utility`, and there are no training faces.
    """
    if len(np.unique(validation.labels.cpu().numpy())) < 2:
        return None
    order = np.random.default_rng(seed).permutation(len(validation))[:max_faces]
    sources = validation.take(np.sort(order))
    if rule == "utility":
        if train is None:
            raise ValueError("the rule utility translates training faces: give train")
        return _utility(judge, train, validation, seed, max_faces, batch_size)
    classes = len(validation.class_names)
    real_features = judge.features(validation.images) if rule == "recognition_and_distance" else None
    real_labels = validation.labels.cpu().numpy()

    def score(translator: Translator, step: int) -> float:
        probabilities, distances = [], []
        for target in range(classes):
            rows = sources_of(translator, sources, target)
            if not len(rows):
                continue
            made = translate_rows(translator, sources, rows, target, seed, batch_size)
            probabilities.append(float(judge.probabilities(made)[:, target].mean()))
            real = real_labels == target
            if real_features is not None and real.sum() > 1 and len(rows) > 1:
                before = judge.features(sources.take(rows).images)
                distances.append(relative_distance(judge.features(made), before, real_features[real]))
        # No face of all these can be a source: no checkpoint is better than another.
        recognition = float(np.mean(probabilities)) if probabilities else 0.0
        return recognition / (1.0 + float(np.mean(distances))) if distances else recognition

    return score


def relative_distance(translated: np.ndarray, sources: np.ndarray, real: np.ndarray) -> float:
    """How far translated faces are from real ones, in units of how far their sources are.

    By `diagonal_distance`: of some dozens of faces no full covariance can be estimated.

    Args:
        translated: Features [N, D], N > 1.
        sources: Features [M, D] of the untranslated faces, M > 1.
        real: Features [R, D] of real faces of the target class, R > 1.

    Returns:
        0 where the moments agree, 1 where the translation brought them no closer, more where it led away.
    """

    before, after = diagonal_distance(sources, real), diagonal_distance(translated, real)
    return after / before if before > 0 else float(after > 0)


def diagonal_distance(features: np.ndarray, real: np.ndarray) -> float:
    """The Frechet distance between Gaussians with diagonal covariances, |m1 - m2|^2 + |s1 - s2|^2.

    Args:
        features: [N, D], N > 1.
        real: [R, D], R > 1.
    """
    features = features.astype(np.float64)
    mean, spread = features.mean(axis=0) - real.mean(axis=0), features.std(axis=0) - real.std(axis=0)
    return float((mean**2).sum() + (spread**2).sum())


def _utility(
    judge: Judge, train: FaceTensors, validation: FaceTensors, seed: int, max_faces: int, batch_size: int
) -> Validate:
    """The rule `utility` of `checkpoint_validation`."""
    classes = len(validation.class_names)
    real_features, real_labels = judge.features(validation.images), validation.labels.cpu().numpy()
    each = max(1, max_faces // classes)

    def score(translator: Translator, step: int) -> float:
        features, labels = [], []
        for target in range(classes):
            rows = sources_of(translator, train, target)
            rows = np.sort(np.random.default_rng(seed).permutation(rows)[:each])
            if len(rows):
                features.append(judge.features(translate_rows(translator, train, rows, target, seed, batch_size)))
                labels += [target] * len(rows)
        if not features:
            return 0.0
        probabilities = class_probabilities(np.concatenate(features), np.array(labels), real_features, classes)
        right = probabilities[np.arange(len(real_labels)), real_labels]
        return float(np.mean([right[real_labels == label].mean() for label in np.unique(real_labels)]))

    return score


def class_probabilities(features: np.ndarray, labels: np.ndarray, others: np.ndarray, classes: int) -> np.ndarray:
    """Learns classes from features by multinomial logistic regression, and says those of other features.

    Features are standardized by those that are learned from. No random draw.

    Args:
        features: [N, D].
        labels: int64 [N].
        others: [M, D].
        classes: K.

    Returns:
        Probabilities float64 [M, K]; 0 for a class that is not among the labels.
    """
    from sklearn.linear_model import LogisticRegression  # takes seconds to import, and only the rule `utility` needs it

    found = np.zeros((len(others), classes))
    known = np.unique(labels)
    if len(known) == 1:
        found[:, known] = 1.0
        return found
    mean, spread = features.mean(axis=0), features.std(axis=0) + 1e-6
    scale = spread * features.shape[1] ** 0.5
    learned, asked = (((part - mean) / scale).astype(np.float64) for part in (features, others))
    regression = LogisticRegression(C=1 / (_PENALTY * len(labels)), tol=1e-6, max_iter=_ITERATIONS)
    found[:, known] = regression.fit(learned, labels).predict_proba(asked)
    return found


def sources_of(translator: Translator, faces: FaceTensors, target: int) -> np.ndarray:
    """Rows of the faces that may be translated to a class: all others', or its own where the class is kept."""
    labels = faces.labels.cpu().numpy()
    usable = translator.usable_sources(faces).cpu().numpy()
    return np.flatnonzero(usable & ((labels == target) if translator.keeps_class else (labels != target)))


def translate_rows(
    translator: Translator, faces: FaceTensors, rows: np.ndarray, target: int, seed: int, batch_size: int = 128
) -> torch.Tensor:
    """These rows translated to a class, uint8 [N, C, H, W]; each batch by the same random draws."""
    made = []
    for start in range(0, len(rows), batch_size):
        batch = faces.take(rows[start : start + batch_size])
        targets = torch.full((len(batch),), target, dtype=torch.int64, device=batch.images.device)
        made.append(translator.translate(batch, targets, torch.Generator().manual_seed(seed)))
    return torch.cat(made)
