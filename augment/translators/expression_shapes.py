"""A statistical model of how expressions move landmarks, fitted to training faces and kept in buffers.

Point distribution models (Cootes, Taylor, Cooper & Graham, "Active Shape Models", CVIU 1995) of two things: the resting
face, and the displacement from it. What a class's displacement owes to the resting face is a ridge regression; what it
owes to the person's own style is the residual of that regression, which is drawn from the people of the training set.

Landmarks that were found in photographs are noisy, and the difference of two faces' landmarks is noisier still. Shapes
are few-dimensional: a face's deviation from its class's mean lies near a subspace of few directions, so that most of
the noise can be told from it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import nn

from augment.core.mixed_precision import in_float32
from augment.faces.landmark_shapes import (
    ShapeComponents,
    Similarity,
    Subspace,
    alignment,
    procrustes_mean,
    ridge_regression,
    shape_components,
    signal_shares,
    signal_subspace,
    to_picture_range,
    with_mirrored,
)
from augment.faces.tensors import MIRROR_LANDMARKS, FaceTensors, has_valid_landmarks

_COORDINATES = 2 * len(MIRROR_LANDMARKS)
_SCORE_BOUND = 3.0  # standard deviations: a regression is not asked beyond what it was fitted to


@dataclass(frozen=True)
class DrawnShapes:
    """Shapes that N faces shall take, x y in -1..1.

    Attributes:
        shapes: float32 [N, 68, 2], the faces' own, without the noise of their landmarks.
        wanted: float32 [N, 68, 2], in the same frames.
        displacements: float32 [N, 68, 2], from the one to the other in the aligned frame.
        scores: float32 [N, P], of the faces' resting shapes.
    """

    shapes: torch.Tensor
    wanted: torch.Tensor
    displacements: torch.Tensor
    scores: torch.Tensor


class ExpressionShapes(nn.Module):
    """Resting shapes, displacements by class, and the styles of people.

    All state is in persistent buffers whose shapes do not depend on the data, so that it is saved and loaded with a
    translator's weights. No subject's name is among it.

    Args:
        num_classes: Number of classes.
        components: Principal components of the resting shape.
        style_components: Principal components of the displacements.
        donors: At most this many people's styles are kept for each class.
        ridge: Penalty of the regression, in standardized scores.
    """

    def __init__(
        self,
        num_classes: int,
        *,
        components: int = 8,
        style_components: int = 16,
        donors: int = 64,
        ridge: float = 10.0,
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.ridge = ridge
        self.reference: torch.Tensor
        self.neutral: torch.Tensor
        self.shape_means: torch.Tensor
        self.signal_directions: torch.Tensor
        self.signal_shares: torch.Tensor
        self.signal_rank: torch.Tensor
        self.landmark_noise: torch.Tensor
        self.resting_mean: torch.Tensor
        self.resting_directions: torch.Tensor
        self.resting_deviations: torch.Tensor
        self.style_directions: torch.Tensor
        self.style_scales: torch.Tensor
        self.class_means: torch.Tensor
        self.class_weights: torch.Tensor
        self.donor_styles: torch.Tensor
        self.donor_scores: torch.Tensor
        self.donor_counts: torch.Tensor
        points = len(MIRROR_LANDMARKS)
        self.register_buffer("reference", torch.zeros(points, 2))
        self.register_buffer("neutral", torch.tensor(-1))  # the resting class; -1: the mean of a person's classes
        self.register_buffer("shape_means", torch.zeros(num_classes, points, 2))
        self.register_buffer("signal_directions", torch.zeros(_COORDINATES, _COORDINATES))
        self.register_buffer("signal_shares", torch.zeros(_COORDINATES))
        self.register_buffer("signal_rank", torch.tensor(0))
        self.register_buffer("landmark_noise", torch.tensor(0.0))
        self.register_buffer("resting_mean", torch.zeros(points, 2))
        self.register_buffer("resting_directions", torch.zeros(components, _COORDINATES))
        self.register_buffer("resting_deviations", torch.ones(components))
        self.register_buffer("style_directions", torch.zeros(style_components, _COORDINATES))
        self.register_buffer("style_scales", torch.ones(style_components))
        self.register_buffer("class_means", torch.zeros(num_classes, points, 2))
        self.register_buffer("class_weights", torch.zeros(num_classes, components, _COORDINATES))
        self.register_buffer("donor_styles", torch.zeros(num_classes, donors, _COORDINATES))
        self.register_buffer("donor_scores", torch.zeros(num_classes, donors, components))
        self.register_buffer("donor_counts", torch.zeros(num_classes, dtype=torch.int64))

    # ---- fitting

    @torch.no_grad()
    def fit(self, faces: FaceTensors, neutral: int) -> Mapping[str, float]:
        """Fits to training faces; those without landmarks are left out.

        Args:
            faces: Training faces, some of them of one person's resting face and another class.
            neutral: The resting class, from which displacements are measured; -1: they are measured from the mean of
                each person's classes.

        Returns:
            The number of people whose styles were found, by class, and of components; and the noise of the landmarks,
            as the standard deviation of a coordinate in pixels.
        """
        assert faces.landmarks is not None
        faces = faces.take(torch.nonzero(has_valid_landmarks(faces.landmarks))[:, 0])
        assert faces.landmarks is not None
        for buffer in self.buffers():
            buffer.zero_()
        self.neutral.fill_(neutral)
        shapes = to_picture_range(faces.landmarks)
        is_resting = faces.labels == neutral if neutral >= 0 else torch.ones_like(faces.labels, dtype=torch.bool)
        # Every shape counts twice, once mirrored: people are nearly symmetric, and pairs are few.
        self.reference.copy_(procrustes_mean(with_mirrored(shapes[is_resting])))
        self._fit_noise(self.align(shapes).apply(shapes), faces.labels)
        shapes = self.clean(shapes, faces.labels)
        aligned = self.align(shapes).apply(shapes)
        resting = self._resting_of_people(faces, aligned, neutral)
        base = aligned[is_resting]
        if neutral < 0 and resting:
            base = torch.stack(list(resting.values()))
        found = shape_components(with_mirrored(base), len(self.resting_deviations))
        self.resting_mean.copy_(found.mean)
        self.resting_directions[: len(found.deviations)] = found.directions
        self.resting_deviations.fill_(1.0)
        self.resting_deviations[: len(found.deviations)] = found.deviations
        displacements = {
            label: self._fit_class(label, faces, aligned, resting)
            for label in range(self.num_classes)
            if label != neutral
        }
        self._fit_styles(torch.cat(list(displacements.values())))
        people = {f"people_{faces.class_names[label]}": len(moved) for label, moved in displacements.items()}
        noise = round(float(self.landmark_noise) * faces.size / 2, 2)
        return {"shape_components": len(found.deviations), "landmark_noise_in_pixels": noise, **people}

    def _fit_noise(self, aligned: torch.Tensor, labels: torch.Tensor) -> None:
        """Finds the directions in which faces of a class differ, and what of that is noise."""
        both, twice = with_mirrored(aligned), labels.repeat(2)
        self.shape_means.copy_(both.mean(dim=0).expand_as(self.shape_means))
        for label in twice.unique().tolist():
            self.shape_means[label] = both[twice == label].mean(dim=0)
        deviations = (both - self.shape_means[twice]).flatten(1)
        found = signal_subspace(deviations)
        rank = len(found.directions)
        self.signal_rank.fill_(rank)
        self.signal_directions[:rank] = found.directions
        self.signal_shares[:rank] = signal_shares(deviations, found)
        self.landmark_noise.copy_(found.noise)

    @staticmethod
    def _resting_of_people(faces: FaceTensors, aligned: torch.Tensor, neutral: int) -> dict[str, torch.Tensor]:
        """Each person's aligned resting shape: the mean of the neutral faces, or of all where no class is neutral."""
        rows: dict[str, list[int]] = {}
        labels = faces.labels.tolist()
        for row, subject in enumerate(faces.subjects):
            if subject is not None and (neutral < 0 or labels[row] == neutral):
                rows.setdefault(subject, []).append(row)
        if neutral < 0:
            rows = {name: own for name, own in rows.items() if len({labels[row] for row in own}) > 1}
        return {name: aligned[own].mean(dim=0) for name, own in rows.items()}

    def _fit_class(
        self, label: int, faces: FaceTensors, aligned: torch.Tensor, resting: Mapping[str, torch.Tensor]
    ) -> torch.Tensor:
        """Fits a class's displacement; returns those of its people [n, 68, 2]."""
        rows: dict[str, list[int]] = {}
        for row in torch.nonzero(faces.labels == label)[:, 0].tolist():
            subject = faces.subjects[row]
            if subject is not None and subject in resting:
                rows.setdefault(subject, []).append(row)
        if not rows:
            return aligned[:0]
        bases = torch.stack([resting[name] for name in rows])
        # Of several faces of a person the mean counts: people differ in style, takes in noise.
        moved = torch.stack([aligned[own].mean(dim=0) for own in rows.values()]) - bases
        both = with_mirrored(moved)
        mean = both.mean(dim=0)
        scores = self.scores(with_mirrored(bases))
        deviations = (both - mean).flatten(1)
        weights = ridge_regression(scores, deviations, self.ridge)
        self.class_means[label] = mean
        self.class_weights[label] = weights
        residuals = (deviations - scores @ weights)[: len(moved)]
        residuals = signal_subspace(with_mirrored(residuals.view_as(moved)).flatten(1)).clean(residuals)
        kept = self._some(len(residuals), label)
        self.donor_counts[label] = len(kept)
        self.donor_styles[label, : len(kept)] = residuals[kept]
        self.donor_scores[label, : len(kept)] = scores[: len(moved)][kept]
        return moved

    def _some(self, count: int, label: int) -> list[int]:
        """At most as many positions as there is room for, drawn once and for all."""
        drawn = torch.randperm(count, generator=torch.Generator().manual_seed(label))
        return sorted(drawn[: self.donor_styles.shape[1]].tolist())

    def _fit_styles(self, displacements: torch.Tensor) -> None:
        self.style_scales.fill_(1.0)
        if not len(displacements):
            return
        both = with_mirrored(displacements).flatten(1)
        _, values, directions = torch.linalg.svd(both.double(), full_matrices=False)
        kept = min(len(self.style_scales), int((values > 1e-6 * values[0].clamp(min=1e-12)).sum()))
        deviations = (values[:kept] / len(both) ** 0.5).float()
        self.style_directions[:kept] = directions[:kept].float()
        # Between no and full whitening: small components are louder than they are, and not as loud as the first.
        self.style_scales[:kept] = (deviations.clamp(min=1e-4) * deviations[0]).sqrt()

    # ---- using

    def align(self, shapes: torch.Tensor) -> Similarity:
        """The similarities that lay shapes [N, 68, 2] on the reference."""
        return alignment(shapes, self.reference)

    def clean(self, shapes: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Takes the landmarks' noise away, as far as it can be told from what faces differ by.

        A deviation from the class's mean shape is kept in the directions in which the training faces differ by more
        than noise, less the noise's share (a Wiener filter); of the rest, no more is kept than exceeds the noise
        (`Subspace.clean`). Exact landmarks stay, nearly.

        Args:
            shapes: float32 [N, 68, 2], x y in -1..1.
            labels: int64 [N], the faces' own classes.

        Returns:
            float32 [N, 68, 2], in the same frames.
        """
        maps = self.align(shapes)
        means = self.shape_means[labels]
        deviations = (maps.apply(shapes) - means).flatten(1)
        rank = int(self.signal_rank)
        subspace = Subspace(self.signal_directions[:rank], self.landmark_noise)
        lost = (deviations @ subspace.directions.T) * (1.0 - self.signal_shares[:rank])
        kept = subspace.clean(deviations) - lost @ subspace.directions
        return maps.invert(means + kept.view_as(shapes))

    def cleaned(self, faces: FaceTensors) -> FaceTensors:
        """Faces whose landmarks are without noise (`clean`); one that would leave its picture keeps its own."""
        assert faces.landmarks is not None
        found = to_picture_range(faces.landmarks)
        shapes = self.clean(found, faces.labels)
        # A face that lies partly outside its picture stays usable, as `check` saw it.
        usable = has_valid_landmarks((shapes + 1) / 2)[:, None, None]
        return replace(faces, landmarks=(torch.where(usable, shapes, found) + 1) / 2)

    def scores(self, resting: torch.Tensor) -> torch.Tensor:
        """Standardized scores [N, P] of aligned resting shapes [N, 68, 2], within -3..3."""
        found = ShapeComponents(self.resting_mean, self.resting_directions, self.resting_deviations).scores(resting)
        return found.clamp(-_SCORE_BOUND, _SCORE_BOUND)

    def style(self, displacements: torch.Tensor) -> torch.Tensor:
        """Coordinates [N, S] of displacements [N, 68, 2], about 1 in size."""
        return displacements.flatten(1) @ self.style_directions.T / self.style_scales

    def expected(self, labels: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """The displacements that classes int64 [N] are expected to have on resting shapes of these scores.

        Returns:
            [N, 68, 2]; 0 for the resting class.
        """
        weighted = torch.einsum("np,npq->nq", scores, self.class_weights[labels])
        return self.class_means[labels] + weighted.view(-1, *self.reference.shape)

    def own_displacement(self, aligned: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """How far aligned shapes [N, 68, 2] of classes int64 [N] are expected to be from rest: [N, 68, 2]."""
        return self.expected(labels, self.scores(aligned - self.class_means[labels]))

    def draw_styles(
        self, labels: torch.Tensor, scores: torch.Tensor, generator: torch.Generator, *, mixed: float = 0.5
    ) -> torch.Tensor:
        """Draws what people's styles add to the expected displacement of classes.

        A style is that of one other person, or (with probability `mixed`) of two, weighted at random and scaled so that
        its spread stays. It is mirrored with probability 1/2. A donor whose resting face is the source's own is passed
        over where there are others.

        Args:
            labels: int64 [N], not of the resting class.
            scores: [N, P], of the sources' resting shapes.
            generator: A CPU generator.
            mixed: Probability of two donors.

        Returns:
            [N, 68, 2].
        """
        if not len(labels):
            return self.reference.new_zeros(0, *self.reference.shape)
        uniform = torch.rand(len(labels), 3, generator=generator).to(scores.device)
        places = torch.arange(self.donor_styles.shape[1], device=scores.device)
        allowed = places[None] < self.donor_counts[labels][:, None].clamp(min=1)
        apart = (scores[:, None] - self.donor_scores[labels]).norm(dim=2)
        others = allowed & (apart > 1.0)
        weights = torch.where(others.any(dim=1, keepdim=True), others, allowed).float()
        drawn = torch.multinomial(weights.cpu(), 2, replacement=True, generator=generator).to(scores.device)
        mixes = (uniform[:, 0] < mixed) & (drawn[:, 0] != drawn[:, 1])
        share = torch.where(mixes, uniform[:, 1], torch.ones_like(uniform[:, 1]))[:, None]
        first, second = (self.donor_styles[labels, drawn[:, place]] for place in (0, 1))
        styles = (share * first + (1 - share) * second) / (share.square() + (1 - share).square()).sqrt()
        styles = styles.view(-1, *self.reference.shape)
        return torch.where(uniform[:, 2, None, None] < 0.5, with_mirrored(styles)[len(styles) :], styles)

    @in_float32
    def draw(
        self,
        shapes: torch.Tensor,
        labels: torch.Tensor,
        targets: torch.Tensor,
        generator: torch.Generator,
        *,
        mixed: float = 0.5,
        gain: tuple[float, float] = (0.8, 1.15),
        neutral_variation: float = 0.12,
    ) -> DrawnShapes:
        """Draws the shapes that faces take when they show other classes.

        Args:
            shapes: float32 [N, 68, 2], the faces' landmarks as found, x y in -1..1.
            labels: int64 [N], the faces' own classes.
            targets: int64 [N], the wanted classes.
            generator: A CPU generator.
            mixed: Probability that a style is a mixture of two people's.
            gain: Bounds of the random strength of the expression.
            neutral_variation: Strength of the small random expression that the resting class gets.

        Returns:
            The shapes; faces of their own class get another person's way to show it.
        """
        shapes = self.clean(shapes, labels)
        maps = self.align(shapes)
        aligned = maps.apply(shapes)
        own = self.own_displacement(aligned, labels)
        scores = self.scores(aligned - own)
        neutral = int(self.neutral)
        low, high = gain
        uniform = torch.rand(len(targets), 2, generator=generator).to(scores.device)
        trace = torch.randn(len(targets), generator=generator).abs().clamp(max=1.5).to(scores.device)
        strength = low + (high - low) * uniform[:, 0]
        shown = targets
        if neutral >= 0:
            # A neutral face shows a trace of some other class.
            others = torch.tensor([k for k in range(self.num_classes) if k != neutral], device=scores.device)
            some = others[(uniform[:, 1] * len(others)).long().clamp(max=len(others) - 1)]
            resting = targets == neutral
            shown = torch.where(resting, some, targets)
            strength = torch.where(resting, neutral_variation * trace, strength)
        styles = self.draw_styles(shown, scores, generator, mixed=mixed)
        displacements = (self.expected(shown, scores) + styles) * strength[:, None, None] - own
        return DrawnShapes(shapes, maps.invert(aligned + displacements), displacements, scores)


def neutral_label(class_names: Sequence[str], neutral_class: str) -> int:
    """The label of the resting class; -1 where the data has no such class."""
    return list(class_names).index(neutral_class) if neutral_class in class_names else -1
