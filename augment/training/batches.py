"""Batches for the training loop: which faces, which wanted classes, which are mirrored.

All faces stay on the device as bytes; what a step needs is gathered by index there. All random draws come from one CPU
generator, so that CPU and CUDA runs see the same batches.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from augment.core.errors import InputError, Problem
from augment.faces.augmentation import TrainingAugmentation, augment_faces
from augment.faces.tensors import FaceTensors, mirror_landmarks, to_unit_range
from augment.translators.base import Batch, LearnedTranslator

SIDE_INPUT_BUDGET = 512 * 2**20  # bytes; a larger set's side input is computed batch by batch


class FaceSampler:
    """Draws faces without replacement, one pass after another.

    Args:
        labels: int64 [N], on the CPU.
        balanced: Draw a class first, each as likely, then the next face of that class; else all faces alike.
        only: bool [N], the faces that may be drawn; all by default.

    Raises:
        ValueError: There is nothing to draw from.
    """

    def __init__(self, labels: torch.Tensor, *, balanced: bool, only: torch.Tensor | None = None) -> None:
        allowed = torch.ones(len(labels), dtype=torch.bool) if only is None else only
        if not bool(allowed.any()):
            raise ValueError("there are no faces to draw from")
        self._classes: list[int] | None = labels[allowed].unique().tolist() if balanced else None
        if self._classes is not None:
            self._groups = [torch.nonzero(allowed & (labels == label)).flatten() for label in self._classes]
        else:
            self._groups = [torch.nonzero(allowed).flatten()]
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
        return self._next_of(torch.randint(len(self._groups), (count,), generator=generator).tolist(), generator)

    def draw_in_turn(self, count: int, generator: torch.Generator) -> torch.Tensor:
        """The next faces, of each class in turn, so that a batch has as many of each; a balanced sampler's only.

        Where that can't be, which class has one more is drawn.

        Args:
            count: How many.
            generator: A CPU generator.

        Returns:
            int64 [count], positions of faces.
        """
        groups = len(self._groups)
        first = int(torch.randint(groups, (), generator=generator)) if count % groups else 0
        return self._next_of([(first + place) % groups for place in range(count)], generator)

    def draw_of(self, classes: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """The next faces of these classes; a balanced sampler's only.

        Args:
            classes: int64 [count], on the CPU, of classes that have faces.
            generator: A CPU generator.

        Returns:
            int64 [count], positions of faces.
        """
        assert self._classes is not None, "an unbalanced sampler keeps no classes apart"
        places = {label: group for group, label in enumerate(self._classes)}
        return self._next_of([places[label] for label in classes.tolist()], generator)

    def _next_of(self, groups: list[int], generator: torch.Generator) -> torch.Tensor:
        drawn = torch.empty(len(groups), dtype=torch.int64)
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
    """Mirrors some faces: picture, landmarks, mask, simulated face and yaw together.

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
    return replace(
        faces,
        images=_mirror_pictures(faces.images, mirrored),
        landmarks=landmarks,
        masks=masks,
        yaw=None if faces.yaw is None else torch.where(mirrored, -faces.yaw, faces.yaw),
        simulated=None if faces.simulated is None else _mirror_pictures(faces.simulated, mirrored),
    )


def _mirror_pictures(pictures: torch.Tensor, mirrored: torch.Tensor) -> torch.Tensor:
    """Pictures [N, C, H, W], left and right exchanged where `mirrored`."""
    return torch.where(mirrored[:, None, None, None], pictures.flip(-1), pictures)


class BatchMaker:
    """Makes the training loop's batches.

    Args:
        translator: Gives the side input, and says what else its batches shall hold.
        faces: N training faces on the device that learns.
        batch_size: Faces per batch.
        balanced_sources: Faces are drawn evenly over classes (`augment.training.settings.TrainingSettings`, as for the
            next two); else as they come, of several data sets as many of each.
        balanced_targets: Wanted classes are drawn evenly from those that have faces; else they are the batch's own
            labels, shuffled within each data set.
        mirror: Whether each face is mirrored with probability 1/2.
        augmentation: How faces and examples are augmented after that.
        side_input_budget: Bytes up to which the side input of all faces is kept.

    Raises:
        InputError: The translator wants examples of classes, or batches of a class, that have no faces.
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
        augmentation: TrainingAugmentation | None = None,
        side_input_budget: int = SIDE_INPUT_BUDGET,
    ) -> None:
        self.translator = translator
        self.faces = faces
        self.batch_size = batch_size
        self.balanced_targets = balanced_targets
        self.mirror = mirror
        self.augmentation = augmentation or TrainingAugmentation()
        labels = faces.labels.cpu()
        usable = translator.usable_sources(faces).cpu()
        if not bool(usable.any()):
            why = f"none of the {len(faces)} faces can be a source of {translator.name}"
            raise InputError(Problem("train", why, "annotate what it needs, or use another translator"))
        # By class only where the translator may ask for one, so that other methods' draws don't depend on it.
        by_class = translator.batch_classes(0) is not None
        self._domains = translator.domains(faces)
        # Of several data sets as many faces of each, as the StarGAN variants' code reads them: drawn by data set.
        self._domain_of = None if self._domains is None else self._domains.cpu()
        self._by_domain = self._domain_of is not None and not (balanced_sources or by_class)
        groups = self._domain_of if self._by_domain and self._domain_of is not None else labels
        self.sampler = FaceSampler(groups, balanced=balanced_sources or by_class or self._by_domain, only=usable)
        self._labels = labels
        self._classes = labels.unique()
        self._examples = self._example_sampler(labels)
        with torch.no_grad():
            probe = translator.side_input(faces.take([0]))
        self._has_side_input = probe is not None
        self._side_input: torch.Tensor | None = None
        if probe is not None:
            versions = 2 if mirror else 1
            if (
                not self.augmentation.active
                and versions * len(faces) * probe.numel() * probe.element_size() <= side_input_budget
            ):
                self._side_input = torch.stack([self._whole_side_input(bool(version)) for version in range(versions)])

    def _example_sampler(self, labels: torch.Tensor) -> FaceSampler | None:
        """Draws examples by class; None where the translator wants none. Wanted classes must have examples then."""
        wanted = self.translator.example_faces(self.faces)
        if wanted is None:
            return None
        if missing := self.faces.classes_without(wanted):
            why = f"{self.translator.name} finds no examples among the training faces of: {', '.join(missing)}"
            raise InputError(Problem("train", why, "add such faces, or leave the classes out"))
        return FaceSampler(labels, balanced=True, only=wanted.cpu())

    @property
    def samplers(self) -> dict[str, FaceSampler]:
        """All whose state a checkpoint must hold."""
        return {"sampler": self.sampler} | ({} if self._examples is None else {"examples": self._examples})

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
    def draw(
        self, generator: torch.Generator, *, step: int, total_steps: int, turn: int | None = None, phase: str = ""
    ) -> Batch:
        """Draws the next batch.

        Args:
            generator: A CPU generator; also handed to the batch.
            step: The stepping network's step.
            total_steps: Its last step + 1.
            turn: The generator's step, by which the translator may choose classes; `step` by default.
            phase: The phase's name.

        Returns:
            The batch, on the faces' device.
        """
        device = self.faces.images.device
        pair = self.translator.batch_classes(step if turn is None else turn)
        if pair is not None:
            index = self.sampler.draw_of(torch.full((self.batch_size,), pair[0]), generator)
        elif self._by_domain:
            index = self.sampler.draw_in_turn(self.batch_size, generator)
        else:
            index = self.sampler.draw(self.batch_size, generator)
        own = self._labels[index]
        if pair is not None:
            wanted = torch.full((self.batch_size,), pair[1])
        elif self.balanced_targets:
            wanted = self._classes[torch.randint(len(self._classes), (self.batch_size,), generator=generator)]
        else:
            wanted = self._shuffled(own, index, generator)
        mirrored = self._draw_mirrored(generator)
        index, mirrored = index.to(device, non_blocking=True), mirrored.to(device, non_blocking=True)

        side_input = None
        if self._side_input is not None or not (self._has_side_input or self.augmentation.active):
            images = self._images(index, mirrored)
            landmarks = self.faces.landmarks
            if landmarks is not None:
                own_points = landmarks[index]
                landmarks = torch.where(mirrored[:, None, None], mirror_landmarks(own_points), own_points)
            side_input = None if self._side_input is None else self._side_input[mirrored.long(), index]
        else:
            # The landmarks are moved, not the finished map: a side input with a plane for every landmark must exchange
            # left and right planes too.
            part = self._faces(index, mirrored, generator)
            images, landmarks, side_input = part.images, part.landmarks, self.translator.side_input(part)
        examples = domains = target_domains = None
        if self._examples is not None:
            chosen = self._examples.draw_of(wanted, generator).to(device, non_blocking=True)
            turned = self._draw_mirrored(generator).to(device, non_blocking=True)
            drawn = self._faces(chosen, turned, generator).images if self.augmentation.active else None
            examples = to_unit_range(self._images(chosen, turned) if drawn is None else drawn)
        if self._domains is not None:
            domains = self._domains[index]
            target_domains = domains[torch.randperm(self.batch_size, generator=generator).to(device)]
        return Batch(
            images=to_unit_range(images),
            labels=own.to(device, non_blocking=True),
            targets=wanted.to(device, non_blocking=True),
            side_input=side_input,
            step=step,
            total_steps=total_steps,
            generator=generator,
            epoch=step * self.batch_size / len(self.faces),
            phase=phase,
            examples=examples,
            domains=domains,
            target_domains=target_domains,
            landmarks=landmarks,
            mirror=self.mirror,
        )

    def _shuffled(self, own: torch.Tensor, index: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """A batch's labels, shuffled: of several data sets each for itself, for a class may be rare in one of them."""
        order = torch.randperm(self.batch_size, generator=generator)
        if self._domain_of is None:
            return own[order]
        of = self._domain_of[index]
        wanted = own.clone()
        for domain in of.unique():
            wanted[of == domain] = own[order[of[order] == domain]]
        return wanted

    def _draw_mirrored(self, generator: torch.Generator) -> torch.Tensor:
        """Which of a batch's faces are mirrored: bool, on the CPU."""
        if not self.mirror:
            return torch.zeros(self.batch_size, dtype=torch.bool)
        return torch.rand(self.batch_size, generator=generator) < 0.5

    def _faces(self, index: torch.Tensor, mirrored: torch.Tensor, generator: torch.Generator) -> FaceTensors:
        """Faces whole, mirrored and augmented."""
        return augment_faces(mirror_faces(self.faces.take(index), mirrored), self.augmentation, generator)

    def _images(self, index: torch.Tensor, mirrored: torch.Tensor) -> torch.Tensor:
        """Pictures uint8 [batch, C, H, W] of faces."""
        images = self.faces.images[index]
        return _mirror_pictures(images, mirrored) if self.mirror else images
