"""Recognition of turned faces before and after pose normalization (LSSL, section 4, table 3), by angle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from augment.faces.judge import Judge
from augment.faces.tensors import FaceTensors
from augment.translators.base import Translator

PICTURES = ("profile", "simulated", "normalized")
FRONTAL = 5.0  # degrees below which a face is not turned


def recognition_by_yaw(
    faces: FaceTensors,
    translator: Translator,
    judge: Judge,
    *,
    generator: torch.Generator,
    batch_size: int,
    device: torch.device | str = "cpu",
) -> dict[str, dict[str, int]] | None:
    """Counts the turned faces that a judge recognizes: the photographs, their simulated frontal faces, and the outputs.

    A translator that is conditioned on a class is given the class that the judge sees in the simulated face, never the
    face's own, which nobody knows of a new face. The paper does not say what it was given; with the own class every
    output would be asked to show the answer.

    Args:
        faces: Test faces; those that are not turned, or without a simulated face, do not count.
        translator: Normalizes poses.
        judge: Says which class it sees. As published it was trained on frontal faces (`judge.frontal_yaw`).
        generator: Of the translator's random draws.
        batch_size: Faces per batch.
        device: Of the translator.

    Returns:
        By angle to either side, rounded to degrees ("15", "30"): `n`, and how many of them were recognized as
        `profile` (the photograph), `simulated` and `normalized`. None where no face counts.
    """
    if faces.yaw is None:
        return None
    angles = faces.yaw.abs().cpu()
    rows = torch.nonzero((angles >= FRONTAL) & faces.has_simulated.cpu()).flatten()
    found: dict[str, dict[str, int]] = {}
    for start in range(0, len(rows), batch_size):
        turned = faces.take(rows[start : start + batch_size])
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
        labels = turned.labels.cpu().numpy()
        degrees = np.round(angles[rows[start : start + batch_size]].numpy()).astype(int)
        for angle in np.unique(degrees):
            here = degrees == angle
            counts = found.setdefault(str(angle), {"n": 0, **dict.fromkeys(PICTURES, 0)})
            counts["n"] += int(here.sum())
            for kind, predicted in judged.items():
                counts[kind] += int((predicted == labels)[here].sum())
    return found or None


def combine_yaws(folds: Sequence[Mapping[str, Mapping[str, int]] | None]) -> dict[str, dict[str, Any]] | None:
    """Sums the folds' counts and makes shares of them: by angle `n` and 0..1 of each kind; None where there is none."""
    totals: dict[str, dict[str, int]] = {}
    for fold in folds:
        for angle, counts in (fold or {}).items():
            total = totals.setdefault(angle, dict.fromkeys(counts, 0))
            for key, count in counts.items():
                total[key] += count
    shares = {
        angle: {"n": counts["n"], **{kind: counts[kind] / counts["n"] for kind in PICTURES}}
        for angle, counts in sorted(totals.items(), key=lambda item: int(item[0]))
    }
    return shares or None
