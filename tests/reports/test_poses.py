"""Recognition of turned faces by angle, of pictures whose brightness is their class."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from augment.faces.tensors import FaceTensors
from reports.metrics.poses import combine_yaws, recognition_by_yaw

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


def measured(found: FaceTensors, painter: Painter | None = None) -> dict[str, dict[str, int]] | None:
    return recognition_by_yaw(
        found,
        painter or Painter(),
        LevelJudge(),
        generator=torch.Generator(),
        batch_size=2,  # type: ignore[arg-type]
    )


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
        "15": {"n": 3, "profile": 1, "simulated": 2, "normalized": 2},
        "45": {"n": 1, "profile": 0, "simulated": 1, "normalized": 1},
    }


def test_a_translator_is_never_given_the_true_class() -> None:
    """It is given what the judge sees in the simulated face: here always wrong, and so are its outputs."""
    painter = Painter()
    counts = measured(faces([0, 1, 2], [0, 1, 2], [1, 2, 0], [30.0, 30.0, 30.0]), painter)
    assert painter.asked == [1, 2, 0]
    assert counts == {"30": {"n": 3, "profile": 3, "simulated": 0, "normalized": 0}}


def test_faces_without_a_turn_or_of_unknown_turn_do_not_count() -> None:
    assert measured(faces([0, 1], [0, 1], [0, 1], [0.0, float("nan")])) is None
    bare = faces([0], [0], [0], [15.0])
    assert measured(FaceTensors(**{**vars(bare), "yaw": None})) is None
    assert measured(FaceTensors(**{**vars(bare), "simulated": None})) is None


def test_folds_are_summed_before_shares_are_made() -> None:
    one = {"15": {"n": 1, "profile": 1, "simulated": 0, "normalized": 1}}
    other = {
        "45": {"n": 2, "profile": 1, "simulated": 1, "normalized": 2},
        "15": {"n": 3, "profile": 0, "simulated": 3, "normalized": 3},
    }
    combined = combine_yaws([one, None, other])
    assert combined is not None and list(combined) == ["15", "45"]
    assert combined["15"] == {"n": 4, "profile": 0.25, "simulated": pytest.approx(0.75), "normalized": 1.0}
    assert combine_yaws([None, None]) is None
