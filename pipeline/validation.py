"""The choice of a translator's checkpoint: on validation faces, by a judge that saw training faces only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
import torch

from augment.tensors import FaceTensors
from augment.translators.base import Translator
from reports.kid import kernel_distance


class FeatureJudge(Protocol):
    """What the choice needs of the judge."""

    def features(self, images: torch.Tensor) -> np.ndarray:
        """uint8 [N, C, H, W] -> float [N, D]."""
        ...


def checkpoint_validation(
    judge: FeatureJudge, validation: FaceTensors, *, seed: int, max_faces: int = 210, batch_size: int = 128
) -> Callable[[Translator, int], float] | None:
    """Makes the score by which a translator's checkpoint is chosen.

    The score is minus the class-conditional kernel distance on the judge's features: for each class, between the
    validation faces of other classes translated to it and the real validation faces of it, averaged over classes. It
    falls when outputs miss their class, when they look wrong and when they collapse; its estimate is unbiased, so
    the few faces of a validation split do (reports.kid says how). Utility itself, a classifier trained for every
    checkpoint, would cost more than the translator.

    Args:
        judge: Trained on the fold's training faces only.
        validation: The fold's validation faces.
        seed: Of the draw of faces where there are more than `max_faces`.
        max_faces: At most so many source faces.
        batch_size: Faces a batch.

    Returns:
        (translator, step) -> score, higher is better; None where fewer than two classes have two validation faces,
        so that nothing can be chosen by.
    """
    labels = validation.labels.cpu().numpy()
    wanted = [label for label in range(len(validation.class_names)) if (labels == label).sum() >= 2]
    if len(wanted) < 2:
        return None
    order = np.random.default_rng(seed).permutation(len(labels))[:max_faces]
    sources = validation.take(np.sort(order))
    source_labels = sources.labels.cpu().numpy()
    real = judge.features(validation.images)
    # Features are scaled to unit spread, so that the polynomial kernel is not ruled by one large unit.
    scale = real.std(axis=0) + 1e-6

    def score(translator: Translator, step: int) -> float:
        distances = []
        for label in wanted:
            others = np.flatnonzero(source_labels != label)
            outputs = []
            for start in range(0, len(others), batch_size):
                batch = sources.take(others[start : start + batch_size])
                targets = torch.full((len(batch),), label, dtype=torch.int64, device=batch.images.device)
                generator = torch.Generator().manual_seed(seed)
                outputs.append(judge.features(translator.translate(batch, targets, generator)))
            made = np.concatenate(outputs)
            distances.append(kernel_distance(made / scale, real[labels == label] / scale))
        return -float(np.mean(distances))

    return score
