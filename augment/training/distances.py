"""How far translated faces are from real ones in the course of a training (CCycleGAN, fig. 3)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from augment.core.files import atomic_write_text
from augment.faces.judge import Judge
from augment.faces.tensors import FaceTensors
from augment.training.validation import Validate, diagonal_distance, sources_of, translate_rows
from augment.translators.base import Translator

DISTANCES_FILE = "distances.jsonl"


class DistanceLog:
    """A validation that also writes, for each class, the distance of translated faces from real ones of the class.

    Validation faces of all other classes are translated to the class (of its own class, where a translator keeps it),
    and compared with its real validation faces: the Frechet distance between Gaussians with diagonal covariances in the
    judge's features. The paper's is Inception's FID on the test set; neither its test faces nor 5 pictures a second of
    a CPU would do here.

    All classes have as many real faces, and as many translated ones, as the class that has the fewest: the distance of
    two samples of one distribution falls with their number (Chong and Forsyth 2020, arXiv 1911.07023), so that a rare
    class would else look harder than a frequent one. Fewer faces are the first of more.
    """

    def __init__(
        self, validate: Validate, judge: Judge, validation: FaceTensors, file: Path, *, seed: int, max_faces: int = 210
    ) -> None:
        """Takes in what is compared.

        Args:
            validate: The validation that chooses the checkpoint, whose score is returned unchanged.
            judge: Trained on the fold's training faces only.
            validation: The fold's validation faces.
            file: Gets one JSON line a validation: `step`, and `distances`, one by each class's name.
            seed: Of the translator's random draws, and of the order in which faces are taken.
            max_faces: At most so many sources.
        """
        order = np.random.default_rng(seed).permutation(len(validation))
        labels = validation.labels.cpu().numpy()[order]
        rows = {name: order[labels == label] for label, name in enumerate(validation.class_names)}
        features = judge.features(validation.images)
        self._validate, self._judge, self._file, self._seed = validate, judge, file, seed
        self._sources = validation.take(order[:max_faces])
        self._real = {name: features[some] for name, some in _as_many_of_each(rows).items()}

    def __call__(self, translator: Translator, step: int) -> float:
        """The score, after the line is written. A step that a resumed training comes to again is written once."""
        labels = {name: self._sources.class_names.index(name) for name in self._real}
        sources = {name: sources_of(translator, self._sources, label) for name, label in labels.items()}
        distances: dict[str, float] = {}
        for name, rows in _as_many_of_each(sources).items():
            made = translate_rows(translator, self._sources, rows, labels[name], self._seed)
            distances[name] = round(diagonal_distance(self._judge.features(made), self._real[name]), 6)
        before = self._file.read_text(encoding="utf-8").splitlines() if self._file.is_file() else []
        lines = [kept for kept in before if json.loads(kept)["step"] < step]
        atomic_write_text(self._file, "\n".join([*lines, json.dumps({"step": step, "distances": distances})]) + "\n")
        return self._validate(translator, step)


def _as_many_of_each(rows: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The first rows of each class, as many as that with the fewest; a class of one has no spread, and is left out."""
    there = {name: some for name, some in rows.items() if len(some) > 1}
    count = min(map(len, there.values()), default=0)
    return {name: some[:count] for name, some in there.items()}
