"""One synthetic face made again from its translator, its fold's training faces and its number."""

from __future__ import annotations

import re
from dataclasses import dataclass

import torch

from augment.core.errors import InputError, Problem
from augment.faces.tensors import FaceTensors
from augment.synthesis.generate import SynthesisSettings, _BlockMaker, _source_pools
from augment.translators.base import Translator

_FACE_ID = re.compile(r"(?P<translator>.+)-f(?P<fold>\d+)-(?P<label>.+)-(?P<number>\d{6,})")


@dataclass(frozen=True)
class FaceName:
    """What a synthetic face's id says.

    Attributes:
        translator: Its name.
        fold: The fold.
        label_name: The class.
        number: Of the face among its class, from 0.
    """

    translator: str
    fold: int
    label_name: str
    number: int


def parse_face_id(face_id: str) -> FaceName | None:
    """What a synthetic face's id says; None where it is none, as of a real face."""
    match = _FACE_ID.fullmatch(face_id)
    if match is None:
        return None
    return FaceName(match["translator"], int(match["fold"]), match["label"], int(match["number"]))


def remake_face(
    translator: Translator, train: FaceTensors, settings: SynthesisSettings, name: FaceName, *, seed: int
) -> tuple[torch.Tensor, str]:
    """Makes one face again, as `augment.synthesis.generate.synthesize` made it.

    A face is made in its whole block, since a translator's random numbers and a network's rounding are of a batch.

    Args:
        translator: With the weights that made it, in evaluation mode.
        train: The fold's training faces.
        settings: Of the synthesis.
        name: Which face.
        seed: Of the run.

    Returns:
        The picture, uint8 [C, H, W], and the face_id of its source.

    Raises:
        InputError: There is no such class.
        CannotTranslateError: As in `synthesize`.
    """
    if name.label_name not in train.class_names:
        why = f"is no class of these faces: {', '.join(train.class_names)}"
        raise InputError(Problem(name.label_name, why, "name a face of this run"))
    label = train.class_names.index(name.label_name)
    block, position = divmod(name.number, settings.block_size)
    blocks = _BlockMaker(translator, train, _source_pools(translator, train, settings), settings, seed, name.fold)
    outputs, sources, _ = blocks.make(label, block, position + 1)
    return outputs[position].cpu(), sources.face_ids[position]
