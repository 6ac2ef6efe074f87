"""How far synthetic faces moved from the people that they were made from, and whether they copy a training face.

Faces are compared by an embedding that no translator was trained with. Whether it tells these people apart at all is
measured on the real faces first, and said: what it says of synthetic ones is worth no more than that.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from pydantic import BaseModel, ConfigDict, Field
from sklearn.metrics import roc_auc_score
from torch.nn import functional as F

from augment.core.errors import InputError, Problem
from augment.core.progress import track
from augment.faces.tensors import FaceTensors
from augment.prepare.landmarks import INSTALL_COMMAND, _weights_folder, landmarks_installed

EMBEDDINGS = ("pixels", "dlib", "timm")
_EDGE = 48  # of the grey pictures that `pixels` compares
_CHIP = 150  # edge of the pictures that dlib's network reads
_PAIRS = 20_000
_BATCH = 32
COPY_QUANTILE = 0.01

Embed = Callable[[torch.Tensor], np.ndarray]  # uint8 [N, C, H, W] to float32 [N, D]


class IdentityReport(BaseModel):
    """What an embedding says of a translator's faces.

    Attributes:
        embedding: Its name.
        faces: Synthetic faces that were looked at.
        training_faces: Real ones that they were compared with.
        separation: On the real faces, how probable it is that two of one person are nearer than two of two people (the
            area under the ROC curve; 0.5 is chance); None where no person has two faces, or there is one alone.
        same_person: Median distance of two real faces of one person; None as above.
        other_person: Median distance of two real faces of two people; None as above.
        moved: Median distance of a synthetic face from its source.
        moved_far: Share of synthetic faces that are farther from their source than two faces of two people are on
            the median; None as above.
        nearest: Share of synthetic faces whose nearest training face is their source, another one of that person, or of
            somebody else.
        copy_limit: Distance from a training face below which a face is called a copy: only one in a hundred real
            training faces is as near to any other.
        copies: Synthetic faces below it, by face_id.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    embedding: str
    faces: int
    training_faces: int
    separation: float | None
    same_person: float | None
    other_person: float | None
    moved: float
    moved_far: float | None
    nearest: dict[str, float]
    copy_limit: float
    copies: tuple[str, ...] = Field(default=())

    def sentences(self) -> list[str]:
        """The same in words."""
        lines = [f"{self.faces:,} synthetic faces against {self.training_faces:,} training faces, by {self.embedding}."]
        if self.separation is None:
            lines.append("People are not known, or have one face each: nobody can say what a distance means.")
        else:
            worth = "tells these people apart" if self.separation >= 0.9 else "tells these people apart poorly"
            lines.append(
                f"The embedding {worth}: two faces of one person are nearer than two of two people with probability "
                f"{self.separation:.2f} (median distances {self.same_person:.3f} and {self.other_person:.3f})."
            )
        far = "" if self.moved_far is None else f"; {self.moved_far:.1%} are farther than two people are"
        lines.append(f"From its source a synthetic face is {self.moved:.3f} away on the median{far}.")
        shares = ", ".join(f"{share:.1%} {who}" for who, share in self.nearest.items())
        lines.append(f"The nearest training face is: {shares}.")
        lines.append(
            f"{len(self.copies):,} are nearer to a training face than {self.copy_limit:.3f}, as one in a hundred real "
            "faces is to another: look at them."
        )
        return lines


@dataclass(frozen=True)
class SyntheticFaces:
    """Faces that a translator made.

    Attributes:
        images: uint8 [N, C, H, W].
        face_ids: N names.
        source_ids: N names of training faces.
        label_names: N classes.
    """

    images: torch.Tensor
    face_ids: tuple[str, ...]
    source_ids: tuple[str, ...]
    label_names: tuple[str, ...]


def find_embedding(name: str, weights: Path | None = None) -> Embed:
    """An embedding by name.

    Args:
        name: `pixels`: grey pictures of 48 x 48, standardized; nothing is learned. `dlib`: the network of dlib's models
            that recognizes people (King 2017), of the extra `landmarks`. `timm:MODEL`: a network of timm with the
            user's own weights; without its classifier.
        weights: The safetensors file of timm's network.

    Raises:
        InputError: There is no such embedding, its packages are not installed, or its weights can't be read.
    """
    kind, _, model = name.partition(":")
    if kind not in EMBEDDINGS or bool(model) != (kind == "timm"):
        raise InputError(Problem(f"--embedding {name}", "is none", "use pixels, dlib or timm:MODEL, as timm:resnet18"))
    if kind == "pixels":
        return embed_pixels
    return _dlib_embedding() if kind == "dlib" else _timm_embedding(model, weights)


def embed_pixels(images: torch.Tensor) -> np.ndarray:
    """Grey pictures of 48 x 48 with mean 0 and length 1: a distance of 0 is a copy, whatever its light and contrast."""
    grey = images.float().mean(dim=1, keepdim=True)
    rows = F.interpolate(grey, size=(_EDGE, _EDGE), mode="bilinear", antialias=True).flatten(1)
    return F.normalize(rows - rows.mean(dim=1, keepdim=True), dim=1).numpy()


def _dlib_embedding() -> Embed:
    if not landmarks_installed():
        raise InputError(Problem("--embedding dlib", "the extra `landmarks` is not installed", INSTALL_COMMAND))
    import dlib

    network = dlib.face_recognition_model_v1(str(_weights_folder() / "dlib_face_recognition_resnet_model_v1.dat"))

    def embed(images: torch.Tensor) -> np.ndarray:
        found = []
        with track(range(0, len(images), _BATCH), desc="identities", unit="batches") as starts:
            for start in starts:
                part = images[start : start + _BATCH].expand(-1, 3, -1, -1).float()
                chips = F.interpolate(part, size=(_CHIP, _CHIP), mode="bicubic", antialias=True).clamp(0, 255)
                pixels = chips.round().to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()
                found.append(np.asarray(network.compute_face_descriptor(list(pixels)), np.float32))
        return np.concatenate(found)

    return embed


def _timm_embedding(model: str, weights: Path | None) -> Embed:
    if weights is None:
        why = "has no weights, and drawn ones know nothing of faces"
        raise InputError(Problem(f"--embedding timm:{model}", why, "name a safetensors file: --weights FILE"))
    import timm
    from safetensors.torch import load_file

    where = f"--embedding timm:{model}"
    try:
        network: Any = timm.create_model(model, pretrained=False, num_classes=0)
    except RuntimeError as error:
        raise InputError(Problem(where, f"is no model of timm: {error}", "see timm.list_models()")) from error
    try:
        missing, _ = network.load_state_dict(load_file(weights), strict=False)
    except Exception as error:  # safetensors and torch raise whatever a file makes them
        why = f"can't be read as weights of {model}: {error}"
        raise InputError(Problem(str(weights), why, "name the file of this model")) from error
    if missing:
        why = f"lacks {len(missing)} parts of {model}, such as {missing[0]}"
        raise InputError(Problem(str(weights), why, "name the file of this model"))
    network.eval()
    config = network.pretrained_cfg
    mean, deviation = (torch.tensor(config[key]).view(1, 3, 1, 1) for key in ("mean", "std"))

    def embed(images: torch.Tensor) -> np.ndarray:
        found = []
        with torch.no_grad():
            for start in range(0, len(images), _BATCH):
                part = images[start : start + _BATCH].expand(-1, 3, -1, -1).float() / 255
                part = F.interpolate(part, size=config["input_size"][1:], mode="bicubic", antialias=True)
                found.append(F.normalize(network((part - mean) / deviation), dim=1).numpy())
        return np.concatenate(found)

    return embed


def identity_report(
    made: SyntheticFaces, train: FaceTensors, embed: Embed, *, name: str, seed: int = 0
) -> tuple[IdentityReport, pd.DataFrame]:
    """Compares synthetic faces with the training faces.

    Args:
        made: Synthetic faces, of training faces of `train`.
        train: The fold's training faces; at least two.
        embed: The embedding.
        name: Of the embedding.
        seed: Of the pairs of real faces that are drawn.

    Returns:
        The report, and a row for each synthetic face: face_id, label_name, source_id, distance_to_source, nearest_id,
        nearest_distance, nearest_is, copy.

    Raises:
        InputError: There are fewer than two training faces, or a source is none of them.
    """
    if len(train) < 2 or not len(made.images):
        raise InputError(Problem("the faces", "are too few to be compared", "two training faces and a synthetic one"))
    place = {face_id: position for position, face_id in enumerate(train.face_ids)}
    strangers = [source for source in made.source_ids if source not in place]
    if strangers:
        why = f"is no training face of this fold, and {len(strangers):,} synthetic faces name such a source"
        raise InputError(Problem(strangers[0], why, "compare the faces with their own fold"))
    real, synthetic = embed(train.images.cpu()), embed(made.images.cpu())
    # A face without a known person is one of its own.
    people = np.array([person or f"face {face}" for person, face in zip(train.subjects, train.face_ids, strict=True)])
    separation, same, other = _separation(real, people, seed)
    sources = np.array([place[source] for source in made.source_ids])
    away = np.linalg.norm(synthetic - real[sources], axis=1)
    nearest, distances = _nearest(synthetic, real)
    kinds = np.where(nearest == sources, "the source", "somebody else").astype(object)
    kinds[(nearest != sources) & (people[nearest] == people[sources])] = "the same person"
    _, among_real = _nearest(real, real, skip_self=True)
    limit = float(np.quantile(among_real, COPY_QUANTILE))
    copy = distances < limit
    table = pd.DataFrame(
        {
            "face_id": made.face_ids,
            "label_name": made.label_names,
            "source_id": made.source_ids,
            "distance_to_source": away,
            "nearest_id": [train.face_ids[position] for position in nearest],
            "nearest_distance": distances,
            "nearest_is": kinds,
            "copy": copy,
        }
    )
    report = IdentityReport(
        embedding=name,
        faces=len(table),
        training_faces=len(train),
        separation=separation,
        same_person=same,
        other_person=other,
        moved=float(np.median(away)),
        moved_far=None if other is None else float((away > other).mean()),
        nearest={who: float((kinds == who).mean()) for who in ("the source", "the same person", "somebody else")},
        copy_limit=limit,
        copies=tuple(table["face_id"][copy]),
    )
    return report, table


def _separation(real: np.ndarray, people: np.ndarray, seed: int) -> tuple[float | None, float | None, float | None]:
    """How well distances tell people apart, and the median distances of one person's faces and of two people's."""
    random = np.random.default_rng(seed)
    first, second = random.integers(0, len(real), (2, _PAIRS))
    order = np.argsort(people, kind="stable")
    numbers = people[order]
    # Faces of one person lie side by side: a neighbour in the order that is of the same person makes a pair.
    beside = np.flatnonzero(numbers[1:] == numbers[:-1])
    if not len(beside) or len(np.unique(people)) < 2:
        return None, None, None
    chosen = random.choice(beside, min(_PAIRS, len(beside)), replace=False)
    same = np.linalg.norm(real[order[chosen]] - real[order[chosen + 1]], axis=1)
    apart = people[first] != people[second]
    other = np.linalg.norm(real[first[apart]] - real[second[apart]], axis=1)
    truth = np.concatenate([np.ones(len(same)), np.zeros(len(other))])
    area = roc_auc_score(truth, -np.concatenate([same, other]))
    return float(area), float(np.median(same)), float(np.median(other))


def _nearest(points: np.ndarray, others: np.ndarray, *, skip_self: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """The nearest of `others` to each point, and its distance; a thousand points at a time."""
    found, distances = [], []
    for start in range(0, len(points), 1000):
        # Not by a product of matrices, which rounds small distances away: they are what is sought.
        part = torch.cdist(
            torch.from_numpy(points[start : start + 1000]),
            torch.from_numpy(others),
            compute_mode="donot_use_mm_for_euclid_dist",
        )
        if skip_self:
            rows = torch.arange(len(part))
            part[rows, rows + start] = float("inf")
        least = part.min(dim=1)
        found.append(least.indices.numpy())
        distances.append(least.values.numpy())
    return np.concatenate(found), np.concatenate(distances)
