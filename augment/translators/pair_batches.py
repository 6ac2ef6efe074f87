"""Batches of same-person pairs (`augment.translators.pairs`) for losses that compare a translation with its target."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from augment.core import row_draws
from augment.core.mixed_precision import in_float32
from augment.core.ranks import sharing_ranks
from augment.faces.affine import Interpolation, sample_affine
from augment.faces.tensors import FaceTensors, mirror_landmarks, to_unit_range
from augment.translators.pairs import FacePairs, find_pairs, lay_on_sources

# What `variation=1` draws: degrees, share of the edge, share of the size, and of the range -1..1.
_DEGREES, _SHIFT, _SCALE, _CONTRAST, _BRIGHTNESS = 6.0, 0.05, 0.06, 0.2, 0.15


@dataclass(frozen=True)
class PairBatch:
    """N pairs, source and target changed alike.

    Attributes:
        sources: float32 [N, C, H, W], -1..1.
        wanted: float32 [N, C, H, W], -1..1: the source outside the face, the laid and relit target inside. Hair and
            background of the target's own picture differ for other reasons than the class.
        masks: float32 [N, 1, H, W], 0..1, where the face is.
        labels: int64 [N], the sources' classes.
        targets: int64 [N], the targets' classes.
        source_landmarks: float32 [N, 68, 2], x y in 0..1.
        target_landmarks: float32 [N, 68, 2], x y in 0..1, in the source's frame.
    """

    sources: torch.Tensor
    wanted: torch.Tensor
    masks: torch.Tensor
    labels: torch.Tensor
    targets: torch.Tensor
    source_landmarks: torch.Tensor
    target_landmarks: torch.Tensor


class PairBatches:
    """Draws batches of all pairs of some faces.

    Sources are drawn by how often their class occurs among the faces, since a synthesis draws them so; targets evenly
    from the classes for which such a source has a pair.

    Args:
        faces: N training faces, on the device that trains.
        most: At most this many pairs are laid and kept, drawn by a fixed seed.

    Raises:
        ValueError: There is no pair; `augment.translators.pairs.check_pairs` refuses that with a reason.
    """

    def __init__(self, faces: FaceTensors, *, most: int = 5_000) -> None:
        listed = find_pairs(faces, most=most)
        if not len(listed):
            raise ValueError("there are no pairs to draw from")
        self.faces = faces
        self.pairs: FacePairs = lay_on_sources(faces, listed)
        labels = faces.labels.cpu()
        source_labels = labels[self.pairs.sources.cpu()]
        target_labels = labels[self.pairs.targets.cpu()]
        frequency = torch.bincount(labels, minlength=len(faces.class_names)).double()
        kinds = torch.stack([source_labels, target_labels], dim=1)
        found, kind, count = torch.unique(kinds, dim=0, return_inverse=True, return_counts=True)
        targets_of_source = torch.bincount(found[:, 0], minlength=len(faces.class_names)).double()
        weight = frequency[found[:, 0]] / targets_of_source[found[:, 0]] / count
        self.weights = weight[kind]

    def __len__(self) -> int:
        return len(self.pairs)

    @torch.no_grad()
    @in_float32
    def draw(
        self,
        count: int,
        generator: torch.Generator | None,
        *,
        mirror: bool = True,
        variation: float = 0.0,
        interpolation: Interpolation = "bilinear",
    ) -> PairBatch:
        """Draws pairs with replacement.

        Args:
            count: How many; of all ranks, where ranks share the batch, each of which gets its own.
            generator: A CPU generator, the only source of randomness.
            mirror: Whether a pair is mirrored with probability 1/2.
            variation: 0 = pairs as they are; 1 = both faces of a pair are turned by up to 6 degrees, moved by up to
                5 % of the edge, scaled by up to 6 %, and contrast and brightness changed by up to 20 % and 0.15.
            interpolation: Of pictures that are turned; `bicubic` keeps them sharper.

        Returns:
            The batch, on the faces' device.
        """
        pairs, faces = self.pairs, self.faces
        ranks = sharing_ranks()
        rows = ranks.own(torch.multinomial(self.weights, count, replacement=True, generator=generator))
        uniform = ranks.own(torch.rand(count, 7, generator=generator))
        device = faces.images.device
        rows, uniform = rows.to(device), uniform.to(device)
        mirrored = (uniform[:, 0] < 0.5) & mirror
        sources = to_unit_range(faces.images[pairs.sources[rows]])
        masks = pairs.masks[rows].to(torch.float32) / 255.0
        wanted = sources + masks * (to_unit_range(pairs.images[rows]) - sources)
        assert faces.landmarks is not None  # `find_pairs` found some
        own, laid = faces.landmarks[pairs.sources[rows]], (pairs.landmarks[rows] + 1.0) / 2.0
        flip = mirrored[:, None, None]
        own = torch.where(flip, mirror_landmarks(own), own)
        laid = torch.where(flip, mirror_landmarks(laid), laid)
        stacked = torch.cat([sources, wanted, masks], dim=1)
        stacked = torch.where(mirrored[:, None, None, None], stacked.flip(-1), stacked)
        if variation:
            linear, offset = _similarities(uniform[:, 1:5], variation)
            origins = torch.cat([linear, offset[:, :, None]], dim=2)
            stacked = sample_affine(stacked, origins, padding="border", interpolation=interpolation)
            inverse = torch.linalg.inv(linear)
            own, laid = (
                (((points * 2 - 1) - offset[:, None]) @ inverse.transpose(1, 2) + 1) / 2 for points in (own, laid)
            )
        channels = faces.channels
        pictures, masks = stacked[:, : 2 * channels], stacked[:, 2 * channels :]
        if variation:
            pictures = _lit(pictures, uniform[:, 5:7], variation)
        return PairBatch(
            sources=pictures[:, :channels],
            wanted=pictures[:, channels:],
            masks=masks.clamp(0, 1),
            labels=faces.labels[pairs.sources[rows]],
            targets=faces.labels[pairs.targets[rows]],
            source_landmarks=own,
            target_landmarks=laid,
        )


@torch.no_grad()
def varied(images: torch.Tensor, generator: torch.Generator | None, variation: float) -> torch.Tensor:
    """Pictures [N, C, H, W] in -1..1, turned, moved, scaled and lit at random as those of `PairBatches.draw`."""
    if not variation:
        return images
    uniform = row_draws.rand(len(images), 6, generator=generator).to(images.device)
    linear, offset = _similarities(uniform[:, :4], variation)
    moved = sample_affine(images, torch.cat([linear, offset[:, :, None]], dim=2), padding="border")
    return _lit(moved, uniform[:, 4:6], variation)


def _lit(pictures: torch.Tensor, uniform: torch.Tensor, variation: float) -> torch.Tensor:
    """Pictures [N, C, H, W] of another contrast and brightness, by uniform draws [N, 2]."""
    signed = variation * (2 * uniform - 1)
    contrast, brightness = 1 + _CONTRAST * signed[:, :1], _BRIGHTNESS * signed[:, 1:]
    return (pictures * contrast[:, :, None, None] + brightness[:, :, None, None]).clamp(-1, 1)


def _similarities(uniform: torch.Tensor, variation: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Maps from the new picture to the old in -1..1, linear [N, 2, 2] and offset [N, 2], of uniform draws [N, 4]."""
    signed = variation * (2 * uniform - 1)
    angle = torch.deg2rad(_DEGREES * signed[:, 0])
    scale = 1 + _SCALE * signed[:, 1]
    cosine, sine = scale * torch.cos(angle), scale * torch.sin(angle)
    linear = torch.stack([torch.stack([cosine, -sine], dim=1), torch.stack([sine, cosine], dim=1)], dim=1)
    return linear, 2 * _SHIFT * signed[:, 2:4]
