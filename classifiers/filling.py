"""Filling classes up to a number of faces: with synthetic ones, with real ones again, or with some of both."""

from __future__ import annotations

import numpy as np
import torch

from augment.faces.tensors import FaceTensors


def class_counts(faces: FaceTensors) -> list[int]:
    """How many faces of each class there are, in label order."""
    return torch.bincount(faces.labels, minlength=len(faces.class_names)).tolist()


def fill_classes(real: FaceTensors, synthetic: FaceTensors | None, fill_to: int) -> FaceTensors:
    """Real faces, with more of each class that has fewer than a number.

    A class gets the synthetic faces that are there for it; what it lacks then are its real faces again, all of them
    before one comes a third time. A class without a real face has synthetic ones alone.

    Args:
        real: Real training faces.
        synthetic: No more than each class lacks; None: real faces alone fill it up.
        fill_to: The number.

    Returns:
        Pictures and labels, without landmarks and masks: the real faces, real ones again, synthetic ones.
    """
    labels = real.labels.cpu().numpy()
    counts = class_counts(real)
    made = [0] * len(counts) if synthetic is None else class_counts(synthetic)
    positions = [np.arange(len(labels))]
    for label, (count, given) in enumerate(zip(counts, made, strict=True)):
        if count:
            positions.append(np.resize(np.flatnonzero(labels == label), max(fill_to - count - given, 0)))
    parts = [real.take(np.concatenate(positions))] + ([] if synthetic is None else [synthetic])
    return FaceTensors(
        images=torch.cat([part.images for part in parts]),
        labels=torch.cat([part.labels for part in parts]),
        landmarks=None,
        masks=None,
        face_ids=tuple(name for part in parts for name in part.face_ids),
        subjects=tuple(subject for part in parts for subject in part.subjects),
        class_names=real.class_names,
    )
