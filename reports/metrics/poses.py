"""Recognition of turned faces before and after pose normalization (LSSL, section 4, table 3)."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from augment.faces.judge import Judge
from augment.faces.tensors import FaceTensors
from augment.translators.base import Translator
from reports.judged_faces import turned_faces

FRONTAL = 5.0  # degrees below which a face is not turned


def judge_turned_faces(
    fold: int,
    faces: FaceTensors,
    translator: Translator,
    judge: Judge,
    *,
    generator: torch.Generator,
    batch_size: int,
    device: torch.device | str = "cpu",
) -> list[dict[str, Any]]:
    """What a judge sees in turned faces: in the photographs, their simulated frontal faces, and the outputs.

    A translator that is conditioned on a class is given the class that the judge sees in the simulated face, never the
    face's own, which nobody knows of a new face. The paper does not say what it was given; with the own class every
    output would be asked to show the answer.

    Args:
        fold: The fold's number.
        faces: Test faces; those that are not turned, or without a simulated face, do not count.
        translator: Normalizes poses.
        judge: Says which class it sees. As published it was trained on frontal faces (`judge.frontal_yaw`).
        generator: Of the translator's random draws.
        batch_size: Faces per batch.
        device: Of the translator.

    Returns:
        A row for each face that counts, with the degrees to either side, and the class seen in the `profile` (the
        photograph), `simulated` and `normalized` picture; empty where no face counts.
    """
    if faces.yaw is None:
        return []
    angles = faces.yaw.abs().cpu()
    rows = torch.nonzero((angles >= FRONTAL) & faces.has_simulated.cpu()).flatten()
    found: list[dict[str, Any]] = []
    for start in range(0, len(rows), batch_size):
        chosen = rows[start : start + batch_size]
        turned = faces.take(chosen)
        assert turned.simulated is not None  # `has_simulated` says so
        seen = judge.probabilities(turned.simulated.cpu()).argmax(axis=1)
        batch = turned.to(device)
        with torch.no_grad():
            outputs = translator.translate(batch, torch.as_tensor(seen, device=batch.labels.device), generator)
        judged = {
            "profile": judge.probabilities(turned.images.cpu()).argmax(axis=1),
            "simulated": seen,
            "normalized": judge.probabilities(outputs.cpu()).argmax(axis=1),
        }
        found += turned_faces(fold, turned, np.round(angles[chosen].numpy()).astype(int), judged)
    return found
