"""Refusals of faces and settings that can't be trained on."""

from __future__ import annotations

import torch

from augment.core.errors import InputError, Problem
from augment.core.ranks import Ranks
from augment.faces.tensors import FaceTensors
from augment.training.settings import TrainingSettings
from augment.translators.base import FittedTranslator, Translator


def check_training(
    translator: Translator,
    train: FaceTensors,
    validation: FaceTensors | None,
    settings: TrainingSettings,
    device: torch.device,
    ranks: Ranks,
) -> None:
    """Refuses what can't be trained on, before anything is written.

    Raises:
        InputError: There are no faces, they have another form than the translator, validation faces are among the
            training faces, the precision needs another device, or ranks can't share the training; lists every problem.
        CannotTranslateError: The training faces lack what the translator needs.
    """
    problems = []
    for name, faces in (("train", train), ("validation", validation)):
        if faces is None:
            continue
        if len(faces) == 0:
            problems.append(Problem(name, "holds no faces", "check the folds and the fold's number"))
            continue
        wanted = (translator.channels, translator.size, translator.num_classes)
        found = (faces.channels, faces.size, len(faces.class_names))
        for what, want, have in zip(("channels", "pixels' edge", "classes"), wanted, found, strict=True):
            if want != have:
                problems.append(
                    Problem(
                        f"{name} faces",
                        f"have {what} {have}, {translator.name} was made for {want}",
                        "make the translator for these faces, or decode them to its form with face_tensors",
                    )
                )
    if validation is not None and (shared := set(train.face_ids) & set(validation.face_ids)):
        problems.append(
            Problem(
                "validation faces",
                f"{len(shared)} are training faces too, for example {min(shared)}",
                "split them by fold first",
            )
        )
    if settings.precision == "float16" and device.type != "cuda":
        problems.append(
            Problem("precision", f"float16 needs a CUDA device, not {device.type}", "use bfloat16 or float32")
        )
    problems += ranks.why_not_divided(settings.batch_size, "training.batch_size")
    if not ranks.alone and isinstance(translator, FittedTranslator):
        why = f"{translator.name} is fitted at once: there are no batches to divide"
        problems.append(Problem("ranks", why, "call it in one process"))
    if problems:
        raise InputError(problems)
    translator.check(train)
