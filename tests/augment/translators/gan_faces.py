"""Small random faces and batches for the adversarial translators' tests."""

from __future__ import annotations

import torch

from augment.faces.tensors import FaceTensors, to_unit_range
from augment.translators.base import AdversarialTranslator, Batch, LearnedTranslator

CLASS_NAMES = ("angry", "happy", "neutral")

TINY = {"width": 4, "downs": 2, "residual_blocks": 1}


def random_faces(count: int = 4, *, size: int = 16, channels: int = 1, landmarks: bool = True) -> FaceTensors:
    """Noise with labels 0, 1, 2, 0 ... and landmarks."""
    generator = torch.Generator().manual_seed(count * size + channels)
    images = torch.randint(0, 256, (count, channels, size, size), dtype=torch.uint8, generator=generator)
    return FaceTensors(
        images=images,
        labels=torch.arange(count) % len(CLASS_NAMES),
        landmarks=torch.rand(count, 68, 2, generator=generator) if landmarks else None,
        masks=None,
        face_ids=tuple(f"face-{row}" for row in range(count)),
        subjects=(None,) * count,
        class_names=CLASS_NAMES,
    )


def batch_of(translator: LearnedTranslator, faces: FaceTensors, *, step: int = 0) -> Batch:
    """All faces as one batch; each is wanted as the class after its own."""
    return Batch(
        images=to_unit_range(faces.images),
        labels=faces.labels,
        targets=(faces.labels + 1) % len(CLASS_NAMES),
        side_input=translator.side_input(faces),
        step=step,
        total_steps=100,
        generator=torch.Generator().manual_seed(step),
    )


def step_once(
    translator: AdversarialTranslator, batch: Batch, part: str, learning_rate: float = 1e-2
) -> dict[str, float]:
    """One step of `generator` or `discriminator`, the other frozen, as the loop does it."""
    generator, discriminator = list(translator.generator_parameters()), list(translator.discriminator_parameters())
    moving, still = (generator, discriminator) if part == "generator" else (discriminator, generator)
    translator.zero_grad(set_to_none=True)
    for parameter in moving:
        parameter.requires_grad_(True)
    for parameter in still:
        parameter.requires_grad_(False)
    losses = translator.generator_losses if part == "generator" else translator.discriminator_losses
    terms = losses(batch)
    torch.stack(list(terms.values())).sum().backward()
    assert all(parameter.grad is None for parameter in still)
    torch.optim.Adam(moving, lr=learning_rate).step()
    return {name: float(value.detach()) for name, value in terms.items()}


def copy_of(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    """All tensors of a module by name, working memory too."""
    tensors = {**module.state_dict(), **dict(module.named_buffers())}
    return {name: value.clone() for name, value in tensors.items()}


def changed(module: torch.nn.Module, before: dict[str, torch.Tensor]) -> set[str]:
    """Names of the tensors that are no longer as `copy_of` found them."""
    return {name for name, value in copy_of(module).items() if not torch.equal(value, before[name])}
