"""Recognition of turned faces by angle, of pictures whose brightness is their class."""

from __future__ import annotations

import numpy as np
import torch

from augment.faces.tensors import FaceTensors
from reports.judged_faces import TURNED, columns_of, turned_predictions
from reports.metrics.poses import judge_turned_faces

LEVELS = (40, 120, 200)


class LevelJudge:
    """Takes a picture's brightness for its class."""

    def probabilities(self, images: torch.Tensor) -> np.ndarray:
        mean = images.float().mean(dim=(1, 2, 3)).numpy()
        return -np.abs(mean[:, None] - np.array(LEVELS))

    def features(self, images: torch.Tensor) -> np.ndarray:
        return images.float().flatten(1).numpy()


class Painter:
    """Paints the class that it is given, and remembers which."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def translate(self, faces: FaceTensors, targets: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        self.asked += targets.tolist()
        return torch.tensor(LEVELS, dtype=torch.uint8)[targets].view(-1, 1, 1, 1).expand_as(faces.images).clone()


def pictures(classes: list[int | None]) -> torch.Tensor:
    """One picture a class; None is black, no picture."""
    levels = torch.tensor([0 if label is None else LEVELS[label] for label in classes], dtype=torch.uint8)
    return levels.view(-1, 1, 1, 1).expand(-1, 1, 4, 4).clone()


def faces(labels: list[int], shown: list[int], simulated: list[int | None], yaw: list[float]) -> FaceTensors:
    return FaceTensors(
        images=pictures(list(shown)),
        labels=torch.tensor(labels),
        landmarks=None,
        masks=None,
        face_ids=tuple(f"face-{n}" for n in range(len(labels))),
        subjects=(None,) * len(labels),
        class_names=("a", "b", "c"),
        yaw=torch.tensor(yaw),
        simulated=pictures(simulated),
    )


def measured(found: FaceTensors, painter: Painter | None = None) -> dict[int, dict[str, tuple[int, int]]]:
    """By degrees and kind of picture: how many of how many were recognized."""
    rows = judge_turned_faces(
        0,
        found,
        painter or Painter(),  # type: ignore[arg-type]
        LevelJudge(),
        generator=torch.Generator(),
        batch_size=2,
    )
    scores = {"translator": "painter", "class_names": ["a", "b", "c"], "turned_faces": columns_of(rows)}
    shares: dict[int, dict[str, tuple[int, int]]] = {}
    for kind in TURNED:
        for degrees, seen in turned_predictions(scores, kind).items():
            right = int((seen.rows["predicted"] == seen.rows["label"]).sum())
            shares.setdefault(degrees, {})[kind] = (right, len(seen.rows))
    return shares


def test_counts_by_angle_to_either_side() -> None:
    counts = measured(
        faces(
            labels=[0, 1, 2, 0, 1, 2],
            shown=[0, 0, 0, 0, 0, 0],  # the photographs all look like the first class
            simulated=[0, 1, 0, 0, 1, None],
            yaw=[15.0, -15.0, 15.2, 0.0, -45.0, 45.0],  # the fourth is not turned, the last has no simulated face
        )
    )
    assert counts == {
        15: {"profile": (1, 3), "simulated": (2, 3), "normalized": (2, 3)},
        45: {"profile": (0, 1), "simulated": (1, 1), "normalized": (1, 1)},
    }


def test_a_translator_is_never_given_the_true_class() -> None:
    """It is given what the judge sees in the simulated face: here always wrong, and so are its outputs."""
    painter = Painter()
    counts = measured(faces([0, 1, 2], [0, 1, 2], [1, 2, 0], [30.0, 30.0, 30.0]), painter)
    assert painter.asked == [1, 2, 0]
    assert counts == {30: {"profile": (3, 3), "simulated": (0, 3), "normalized": (0, 3)}}


def test_faces_without_a_turn_or_of_unknown_turn_do_not_count() -> None:
    assert measured(faces([0, 1], [0, 1], [0, 1], [0.0, float("nan")])) == {}
    bare = faces([0], [0], [0], [15.0])
    assert measured(FaceTensors(**{**vars(bare), "yaw": None})) == {}
    assert measured(FaceTensors(**{**vars(bare), "simulated": None})) == {}
