"""What benchmarks share: processor seconds, embedded faces, and rows of the table that `benchmarks.all` writes.

Times are processor seconds of one thread, so that a busy machine disturbs them little; what is compared is timed by
turns in one process, so that a ratio holds where a time does not.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch

from augment.faces.tensors import FaceTensors
from augment.rig import preset, render


@dataclass(frozen=True)
class Row:
    """One comparison.

    Attributes:
        what: The work, with the sizes that matter.
        ours: Our figure, with its unit.
        baseline: The other's name.
        theirs: The other's figure, with its unit.
        ratio: How many times as fast ours is (of a share: our share of the baseline).
    """

    what: str
    ours: str
    baseline: str
    theirs: str
    ratio: float

    def cells(self) -> tuple[str, ...]:
        """For a table."""
        return self.what, self.ours, self.baseline, self.theirs, f"{self.ratio:.2f}"


def speed_row(what: str, ours: float, baseline: str, theirs: float, *, unit: str = "images/s", digits: int = 0) -> Row:
    """A row of two speeds."""
    return Row(what, f"{ours:,.{digits}f} {unit}", baseline, f"{theirs:,.{digits}f} {unit}", ours / theirs)


def seconds_by_turns(work: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Processor seconds of each piece of work: the least of some repeats, by turns, after one that doesn't count."""
    for function in work.values():
        function()
    best = dict.fromkeys(work, float("inf"))
    for _ in range(repeats):
        for name, function in work.items():
            began = time.process_time()
            function()
            best[name] = min(best[name], time.process_time() - began)
    return best


def embedded_faces(size: int, channels: int) -> FaceTensors:
    """The training faces of the preset `rare`, drawn at a size."""
    population = preset("rare", seed=0)
    specs = [spec for spec in population.specs if spec.split == "train"]
    rendered = render(specs, size=size, channels=channels, seed=0)
    return FaceTensors(
        images=torch.from_numpy(np.ascontiguousarray(rendered.images)).permute(0, 3, 1, 2).contiguous(),
        labels=torch.tensor([population.class_names.index(spec.label) for spec in specs]),
        landmarks=torch.from_numpy(np.ascontiguousarray(rendered.landmarks)),
        masks=None,
        face_ids=tuple(spec.face_id for spec in specs),
        subjects=tuple(str(spec.subject) for spec in specs),
        class_names=tuple(population.class_names),
    )
