"""Training on another data set first, and starting from what was learned there.

LSSL's classifier of table 3 is VGG-Face, trained on RaFD before it sees BU-3DFE (section 4.3). The other data set may
have other people, classes and poses; what carries over are the features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import nn

from augment.core.errors import InputError, Problem
from augment.faces.tensors import FaceTensors
from classifiers.models import FaceClassifier

_HELD_OUT = 10  # one in so many people, or faces where nobody is known, is looked at and not learned from


@dataclass(frozen=True)
class PretrainedClassifier:
    """A classifier of another data set.

    Attributes:
        model: The network.
        class_names: What its columns mean.
    """

    model: FaceClassifier
    class_names: tuple[str, ...]


@torch.no_grad()
def start_from(model: FaceClassifier, pretrained: PretrainedClassifier, class_names: Sequence[str]) -> None:
    """Gives a new network what another one has learned.

    All weights and running statistics are copied. Of the last layer those rows are whose class both know; the others
    stay as they were drawn.

    Args:
        model: The new network, of the same settings and channels.
        pretrained: The other one.
        class_names: What the new network's columns mean.

    Raises:
        InputError: The networks differ in more than their classes.
    """
    own, other = model.state_dict(), pretrained.model.state_dict()
    last = _last_layer(model)
    pairs = [
        (row, pretrained.class_names.index(name))
        for row, name in enumerate(class_names)
        if name in pretrained.class_names
    ]
    into, out = ([pair[place] for pair in pairs] for place in (0, 1))
    for name, values in own.items():
        found = other.get(name)
        if found is None or found.shape[1:] != values.shape[1:] or (name not in last and found.shape != values.shape):
            before = "absent" if found is None else str(list(found.shape))
            why = f"{name} is {list(values.shape)}, and {before} in the network that was trained before"
            raise InputError(Problem("judge.pretraining", why, "use one network for both"))
        if name in last:
            values[into] = found[out].to(values)
        else:
            values.copy_(found)


def _last_layer(model: FaceClassifier) -> set[str]:
    """Names of the weights that have a row for each class."""
    network = cast(Any, model.network)
    layer: nn.Module = network.get_classifier() if hasattr(network, "get_classifier") else network.fc
    place = next(name for name, module in model.named_modules() if module is layer)
    return {f"{place}.{name}" for name, _ in layer.named_parameters()}


def hold_out(faces: FaceTensors) -> tuple[FaceTensors, FaceTensors]:
    """Parts faces to learn from, and those of every tenth person (every tenth face, where one has no person).

    Raises:
        InputError: There are too few people.
    """
    known = all(subject is not None for subject in faces.subjects)
    names: Sequence[str] = [str(subject) for subject in faces.subjects] if known else faces.face_ids
    apart = set(sorted(set(names))[::_HELD_OUT])
    held = torch.tensor([name in apart for name in names], dtype=torch.bool)
    if not len(faces) or bool(held.all()):
        raise InputError(Problem("judge.pretraining", "has faces of fewer than two people", "use a larger data set"))
    return faces.take(torch.nonzero(~held)[:, 0]), faces.take(torch.nonzero(held)[:, 0])
