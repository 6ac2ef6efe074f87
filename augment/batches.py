"""Batches for the training loop: which faces, which wanted classes, which are mirrored.

All faces stay on the device as bytes; what a step needs is gathered by index there. All chance comes from one CPU
generator, so that CPU and CUDA runs see the same batches.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from augment.tensors import FaceTensors, mirror_landmarks, to_unit_range
from augment.translators.base import Batch, LearnedTranslator

SIDE_INPUT_BUDGET = 512 * 2**20  # bytes; a larger set's side input is computed batch by batch


class FaceSampler:
    """Draws faces without replacement, one pass after another.

    Args:
        labels: int64 [N], on the CPU.
        balanced: Draw a class first, each as likely, then the next face of that class; else all faces alike.
    """

    def __init__(self, labels: torch.Tensor, *, balanced: bool) -> None:
        if len(labels) == 0:
            raise ValueError("there are no faces to draw from")
        if balanced:
            self._groups = [torch.nonzero(labels == label).flatten() for label in labels.unique().tolist()]
        else:
            self._groups = [torch.arange(len(labels))]
        self._orders = [group.clone() for group in self._groups]
        self._positions = [len(group) for group in self._groups]  # used up: the first draw shuffles

    def draw(self, count: int, generator: torch.Generator) -> torch.Tensor:
        """The next faces.

        Args:
            count: How many; may exceed a pass.
            generator: A CPU generator.

        Returns:
            int64 [count], positions of faces.
        """
        groups = torch.randint(len(self._groups), (count,), generator=generator).tolist()
        drawn = torch.empty(count, dtype=torch.int64)
        for place, group in enumerate(groups):
            if self._positions[group] == len(self._orders[group]):
                members = self._groups[group]
                self._orders[group] = members[torch.randperm(len(members), generator=generator)]
                self._positions[group] = 0
            drawn[place] = self._orders[group][self._positions[group]]
            self._positions[group] += 1
        return drawn

    def state(self) -> dict[str, torch.Tensor]:
        """Where each pass stands, as tensors."""
        return {"order": torch.cat(self._orders), "positions": torch.tensor(self._positions)}

    def load_state(self, state: dict[str, torch.Tensor]) -> None:
        """Goes on where `state` was taken."""
        self._orders = list(state["order"].split([len(group) for group in self._groups]))
        self._positions = state["positions"].tolist()


def mirror_faces(faces: FaceTensors, mirrored: torch.Tensor) -> FaceTensors:
    """Mirrors some faces, picture, landmarks and mask together.

    Args:
        faces: N faces.
        mirrored: bool [N], on the faces' device.

    Returns:
        The faces, left and right exchanged where `mirrored`.
    """
    landmarks, masks = faces.landmarks, faces.masks
    if landmarks is not None:
        landmarks = torch.where(mirrored[:, None, None], mirror_landmarks(landmarks), landmarks)
    if masks is not None:
        masks = torch.where(mirrored[:, None, None], masks.flip(-1), masks)
    images = torch.where(mirrored[:, None, None, None], faces.images.flip(-1), faces.images)
    return replace(faces, images=images, landmarks=landmarks, masks=masks)


class BatchMaker:
    """Makes the training loop's batches.

    Args:
        translator: Gives the side input.
        faces: N training faces on the device that learns.
        batch_size: Faces a batch.
        balanced_sources: See `augment.training.TrainingSettings`, as for the next two.
        balanced_targets: Wanted classes are drawn evenly from those that have faces; else they are the batch's own
            labels, shuffled.
        mirror: Whether each face is mirrored with probability 1/2.
        side_input_budget: Bytes up to which the side input of all faces is kept.
    """

    def __init__(
        self,
        translator: LearnedTranslator,
        faces: FaceTensors,
        *,
        batch_size: int,
        balanced_sources: bool,
        balanced_targets: bool,
        mirror: bool,
        side_input_budget: int = SIDE_INPUT_BUDGET,
    ) -> None:
        self.translator = translator
        self.faces = faces
        self.batch_size = batch_size
        self.balanced_targets = balanced_targets
        self.mirror = mirror
        labels = faces.labels.cpu()
        self.sampler = FaceSampler(labels, balanced=balanced_sources)
        self._labels = labels
        self._classes = labels.unique()
        with torch.no_grad():
            probe = translator.side_input(faces.take([0]))
        self._has_side = probe is not None
        self._side: torch.Tensor | None = None
        if probe is not None:
            versions = 2 if mirror else 1
            if versions * len(faces) * probe.numel() * probe.element_size() <= side_input_budget:
                self._side = torch.stack([self._whole_side_input(bool(version)) for version in range(versions)])

    @torch.no_grad()
    def _whole_side_input(self, mirrored: bool, chunk: int = 256) -> torch.Tensor:
        """Side input of all faces [N, S, H, W]; of their mirror pictures if `mirrored`."""
        parts = []
        for start in range(0, len(self.faces), chunk):
            part = self.faces.take(range(start, min(start + chunk, len(self.faces))))
            if mirrored:
                part = mirror_faces(part, torch.ones(len(part), dtype=torch.bool, device=part.images.device))
            parts.append(self.translator.side_input(part))
        return torch.cat([part for part in parts if part is not None])

    @torch.no_grad()
    def draw(self, generator: torch.Generator, *, step: int, total_steps: int) -> Batch:
        """Draws the next batch.

        Args:
            generator: A CPU generator; also handed to the batch.
            step: The stepping network's step.
            total_steps: Its last step + 1.

        Returns:
            The batch, on the faces' device.
        """
        device = self.faces.images.device
        index = self.sampler.draw(self.batch_size, generator)
        own = self._labels[index]
        if self.balanced_targets:
            wanted = self._classes[torch.randint(len(self._classes), (self.batch_size,), generator=generator)]
        else:
            wanted = own[torch.randperm(self.batch_size, generator=generator)]
        mirrored = torch.zeros(self.batch_size, dtype=torch.bool)
        if self.mirror:
            mirrored = torch.rand(self.batch_size, generator=generator) < 0.5
        index, mirrored = index.to(device, non_blocking=True), mirrored.to(device, non_blocking=True)

        images = self.faces.images[index]
        if self.mirror:
            images = torch.where(mirrored[:, None, None, None], images.flip(-1), images)
        side = None
        if self._side is not None:
            side = self._side[mirrored.long(), index]
        elif self._has_side:
            # The landmarks are mirrored, not the finished map: a side input with a plane for every landmark must
            # exchange left and right planes too.
            side = self.translator.side_input(mirror_faces(self.faces.take(index), mirrored))
        return Batch(
            images=to_unit_range(images),
            labels=own.to(device, non_blocking=True),
            targets=wanted.to(device, non_blocking=True),
            side=side,
            step=step,
            total_steps=total_steps,
            generator=generator,
        )
