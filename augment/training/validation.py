"""The choice of a translator's checkpoint: on validation faces, by a judge trained on training faces only."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from augment.faces.judge import Judge
from augment.faces.tensors import FaceTensors
from augment.translators.base import Translator


def checkpoint_validation(
    judge: Judge, validation: FaceTensors, *, seed: int, max_faces: int = 210, batch_size: int = 128
) -> Callable[[Translator, int], float] | None:
    """Makes the score by which a translator's checkpoint is chosen: recognition of translated validation faces.

    Each class in turn is the target of the validation faces of all other classes (of its own class, where a translator
    keeps its sources' class); the score is the judge's probability of the target, averaged over faces, then over
    classes. Utility itself, a classifier trained for every checkpoint, would cost more than the translator. A kernel
    distance on the judge's features was tried in its place: early in a training, where faces are disturbed but not yet
    translated, it is at its best (tried on embedded faces: the step it chose had an agreement of 12 % where the last
    had 55 %).

    Args:
        judge: Trained on the fold's training faces only.
        validation: The fold's validation faces.
        seed: Of the draw of faces where there are more than `max_faces`, and of the translator's random draws.
        max_faces: At most so many source faces.
        batch_size: Faces per batch.

    Returns:
        (translator, step) -> score in 0..1, higher is better; None where there are no validation faces of two classes,
        so that nothing can be chosen by.
    """
    if len(np.unique(validation.labels.cpu().numpy())) < 2:
        return None
    order = np.random.default_rng(seed).permutation(len(validation))[:max_faces]
    sources = validation.take(np.sort(order))
    labels = sources.labels.cpu().numpy()

    def score(translator: Translator, step: int) -> float:
        probabilities = []
        usable = translator.usable_sources(sources).cpu().numpy()
        for target in range(len(validation.class_names)):
            others = np.flatnonzero(usable & ((labels == target) if translator.keeps_class else (labels != target)))
            found = []
            for start in range(0, len(others), batch_size):
                batch = sources.take(others[start : start + batch_size])
                targets = torch.full((len(batch),), target, dtype=torch.int64, device=batch.images.device)
                generator = torch.Generator().manual_seed(seed)
                found.append(judge.probabilities(translator.translate(batch, targets, generator))[:, target])
            if found:
                probabilities.append(float(np.concatenate(found).mean()))
        # No face of all these can be a source: no checkpoint is better than another.
        return float(np.mean(probabilities)) if probabilities else 0.0

    return score
