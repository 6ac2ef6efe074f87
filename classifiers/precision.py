"""The precision of a classifier: `auto` is chosen once for all arms, folds and seeds that train the same network."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

from augment.core.errors import InputError, Problem
from augment.core.mixed_precision import autocast
from augment.core.precision import ComputedPrecision, PrecisionChoice
from augment.core.precision_measurement import Step, choose_precision
from augment.core.seeding import seeded
from classifiers.models import create_classifier

if TYPE_CHECKING:
    from classifiers.training import ClassifierSettings


def chosen_precision(
    settings: ClassifierSettings,
    *,
    num_classes: int,
    channels: int,
    size: int,
    device: torch.device | str,
    cache: Path | None = None,
) -> tuple[ClassifierSettings, PrecisionChoice]:
    """The settings with the precision to compute in.

    What is measured is the network's training step on noise of the batch's shape: forward pass, loss, backward pass
    and update. Augmentation is the same in every precision.

    Args:
        settings: Of the classifier.
        num_classes: Number of classes.
        channels: 1 or 3.
        size: Edge of the pictures in pixels.
        device: Where it trains.
        cache: A folder that keeps choices over runs (`augment.core.precision_measurement`); None measures each time.

    Returns:
        The settings with a precision other than `auto`, and the choice.

    Raises:
        InputError: float16 without a GPU.
    """
    device = torch.device(device)
    if settings.precision == "float16" and device.type == "cpu":
        raise InputError(
            Problem("classifier.precision", "float16 needs a GPU, not a CPU", "use auto, bfloat16 or float32")
        )

    def make_step(precision: ComputedPrecision) -> Step:
        model = create_classifier(settings.model, num_classes=num_classes, channels=channels, seed=0)
        model = model.to(device).to(memory_format=torch.channels_last).train()
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-6, fused=True)
        generator = torch.Generator().manual_seed(0)
        images = torch.rand((settings.batch_size, channels, size, size), generator=generator).to(device)
        labels = torch.randint(num_classes, (settings.batch_size,), generator=generator).to(device)

        def step() -> None:
            with seeded(0, device):  # dropout
                with autocast(device, precision):
                    loss = F.cross_entropy(model(images), labels)
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()

        return step

    choice = choose_precision(
        settings.precision,
        make_step,
        device=device,
        network={
            "classifier": settings.model.model_dump(mode="json"),
            "batch_size": settings.batch_size,
            "form": {"num_classes": num_classes, "channels": channels, "size": size},
        },
        cache=cache,
    )
    return settings.model_copy(update={"precision": choice.used}), choice
