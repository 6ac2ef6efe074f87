"""Geometry first: expression transfer by warping landmarks and adding a texture residual.

The roots are expression ratio images (Liu, Shan & Zhang, "Expressive Expression Mapping with Ratio Images", SIGGRAPH
2001), landmark shape models (Cootes et al., 1995) and thin-plate splines (Bookstein, 1989). It is not one of the
reproduced methods; it is the baseline that every learned translator is compared with.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field

from augment.core.mixed_precision import in_float32
from augment.faces.landmark_shapes import (
    INNER_LIPS,
    STABLE_POINTS,
    ShapeComponents,
    Similarity,
    Subspace,
    alignment,
    face_outline,
    pose,
    procrustes_mean,
    ridge_regression,
    shape_components,
    signal_subspace,
    skin_brightness,
    soft_polygon,
    to_picture_range,
    with_mirrored,
)
from augment.faces.table import Attribute
from augment.faces.tensors import FaceTensors, has_valid_landmarks, to_bytes_range, to_unit_range
from augment.translators.base import CannotTranslateError, FittedTranslator, Requirement, TranslatorSettings
from augment.translators.strength import StrengthRange
from augment.translators.thin_plate_spline import displacement_field, sample_displaced, warp_to

_CHUNK = 32


class WarpSettings(TranslatorSettings):
    """Settings of the warp.

    Attributes:
        neutral_class: The class that expressions are measured from. Where the data has no such class, they are
            measured from the mean of each subject's classes instead.
        components: Principal components of the neutral shape that the displacement of the landmarks depends on.
        ridge: Penalty of that regression (in standardized scores).
        residual: Share of a random donor's own style (its residual of the regression) in the displacement.
        gain: Bounds of the random strength of the expression.
        neutral_variation: Strength of the small random expression that a neutral target gets.
        texture: `difference` adds the donors' expression minus neutral; `none` warps only.
        texture_donors: Random donors averaged in one face's texture. One alone copies the donor's own shadows.
        texture_gain: Factor on the texture.
        paste_mouth: Whether teeth and tongue, which no neutral face shows, come from a donor.
        pose_tolerance: Donors are drawn by how near their pose is, with this standard deviation in face widths (0.1
            is about 5 degrees of yaw).
        max_donors: At most this many donors per class are kept.
        min_pairs: With fewer pairs (neutral and target of one subject), class means take their place.
        regularization: Of the thin-plate spline; more follows noisy landmarks less.
    """

    neutral_class: str = "neutral"
    components: int = Field(default=8, ge=0, le=40)
    ridge: float = Field(default=10.0, gt=0)
    residual: float = Field(default=1.0, ge=0, le=2)
    gain: StrengthRange = (0.8, 1.15)
    neutral_variation: float = Field(default=0.12, ge=0, le=1)
    texture: Literal["difference", "none"] = "difference"
    texture_donors: int = Field(default=5, ge=1)
    texture_gain: float = Field(default=1.0, ge=0, le=2)
    paste_mouth: bool = True
    pose_tolerance: float = Field(default=0.1, gt=0)
    max_donors: int = Field(default=64, ge=1)
    min_pairs: int = Field(default=3, ge=1)
    regularization: float = Field(default=1e-3, ge=0)


def _subject_key(subject: str | None) -> int:
    """A subject's 63-bit hash: donors must be told from the source's own subject without keeping names; 0 unknown."""
    if subject is None:
        return 0
    return int.from_bytes(hashlib.sha256(subject.encode()).digest()[:8], "big") >> 1 or 1


class WarpTranslator(FittedTranslator):
    """Makes expressions by moving landmarks and adding what skin and mouth do meanwhile.

    **How.** Shapes are aligned by a similarity on the points that expressions hardly move. For each class a ridge
    regression gives the displacement of the 68 landmarks from the components of the neutral shape; the residual of a
    random training subject adds style; a random gain adds strength. The picture follows by a thin-plate spline. What
    geometry can't make is added from other training subjects: expression minus neutral, in the frame of the class's
    mean shape, averaged over several random donors, inside the face's outline; and between the lips a donor's mouth.
    The source's own subject is never its donor, where others exist.

    **What it needs.** Landmarks on every face; subjects with both a neutral face and one of the target class (at
    least `min_pairs`), else class means stand in for pairs (the mean shape and mean picture of the class minus the
    neutral ones: no style, and softer skin); else it refuses. Faces that are not neutral can be sources: their own
    class's mean displacement and texture are taken away first, which is less exact; see `preferred_sources`.

    **Noise.** The noise of the landmarks is estimated from the spread of the neutral shapes and taken out of shapes
    and styles (`augment.faces.landmark_shapes.Subspace`).

    **Honesty.** Exact landmarks, as those of procedural faces, flatter it: one pixel of noise on 48 px faces (a
    twentieth of the distance between the outer corners of the eyes) costs a quarter to a half of its gain.

    Everything is learned from the faces given to `fit`: give it the fold's training rows only.
    """

    name: ClassVar[str] = "warp"
    Settings: ClassVar[type[TranslatorSettings]] = WarpSettings
    settings: WarpSettings

    def __init__(
        self, *, num_classes: int, channels: int, size: int, settings: TranslatorSettings | None = None
    ) -> None:
        settings = settings if settings is not None else WarpSettings()
        if not isinstance(settings, WarpSettings):
            raise TypeError(f"settings must be WarpSettings, not {type(settings).__name__}")
        super().__init__(num_classes=num_classes, channels=channels, size=size, settings=settings)
        # Small pictures keep their texture at twice the resolution: warping there and back blurs less.
        self.texture_size = round(size * (2.0 if size <= 64 else 1.25))

    @classmethod
    def attributes_for(cls, settings: TranslatorSettings) -> frozenset[Attribute]:
        """Expressions alone: it draws shapes and their mirror images alike, and shapes have no light."""
        return frozenset({"expression"})

    @classmethod
    def requires_for(cls, settings: TranslatorSettings) -> frozenset[Requirement]:
        """Landmarks, and the sources' own classes, whose expression is taken away first."""
        return frozenset({"landmarks", "own_class"})

    # ---- fitting

    def check(self, faces: FaceTensors) -> None:
        """Refuses faces that can't be fitted to.

        Raises:
            CannotTranslateError: No landmarks, or a class without a face that has them.
        """
        self.check_form(faces)
        if faces.landmarks is None or not bool(has_valid_landmarks(faces.landmarks).any()):
            raise CannotTranslateError(
                "warp needs 68 landmarks on its faces, and these have none (FER2013, for one, comes without). "
                "Let them be found (`s2l profile landmarks=dlib`), or use a learned translator that needs none "
                "(stargan, or lssl with side_input=false)."
            )
        counts = torch.bincount(faces.labels[self._usable(faces)], minlength=self.num_classes)
        missing = [faces.class_names[k] for k in range(self.num_classes) if counts[k] == 0]
        if missing:
            raise CannotTranslateError(
                f"warp needs at least one training face with landmarks of every class; none is {', '.join(missing)}. "
                "Leave the class out, add faces of it, or use fewer folds."
            )

    def usable_sources(self, faces: FaceTensors) -> torch.Tensor:
        """Which faces `translate` accepts: those with landmarks. bool [N]."""
        if faces.landmarks is None:
            return torch.zeros(len(faces), dtype=torch.bool, device=faces.labels.device)
        return self._usable(faces)

    def preferred_sources(self, labels: torch.Tensor, class_names: Sequence[str]) -> torch.Tensor:
        """Which faces are the best sources: neutral ones, or all where the data has no neutral class.

        Args:
            labels: int64 [N].
            class_names: Names of the labels.

        Returns:
            bool [N].
        """
        if self.settings.neutral_class not in class_names:
            return torch.ones_like(labels, dtype=torch.bool)
        return labels == list(class_names).index(self.settings.neutral_class)

    @staticmethod
    def _usable(faces: FaceTensors) -> torch.Tensor:
        assert faces.landmarks is not None
        return has_valid_landmarks(faces.landmarks)

    @torch.no_grad()
    def fit(self, faces: FaceTensors) -> Mapping[str, Any]:
        """Fits to a fold's training faces.

        Args:
            faces: Training faces with landmarks; those without are left out.

        Returns:
            The reference (`neutral` or `mean of the subject's classes`), the number of faces used, and for each
            class its pairs and whether it was fitted on pairs or on class means.

        Raises:
            CannotTranslateError: See `check`.
        """
        self.check(faces)
        left_out = int((~self._usable(faces)).sum())
        faces = faces.take(torch.nonzero(self._usable(faces))[:, 0])
        for buffer in list(dict(self.named_buffers())):
            delattr(self, buffer)
        settings = self.settings
        names = list(faces.class_names)
        neutral = names.index(settings.neutral_class) if settings.neutral_class in names else -1
        assert faces.landmarks is not None
        shapes = to_picture_range(faces.landmarks)
        is_reference = faces.labels == neutral if neutral >= 0 else torch.ones_like(faces.labels, dtype=torch.bool)
        # Every shape counts twice, once mirrored: people are nearly symmetric, and pairs are few.
        reference = procrustes_mean(with_mirrored(shapes[is_reference]))
        maps = alignment(shapes, reference)
        aligned = maps.apply(shapes)
        groups = self._reference_groups(faces, neutral)
        base = aligned[is_reference] if neutral >= 0 else self._group_means(aligned, groups)
        base = with_mirrored(base)
        components = shape_components(base, settings.components)
        resting_noise = signal_subspace((base - components.mean).flatten(1))
        self._put("reference_class", torch.tensor(neutral))
        self._put("alignment_reference", reference)
        self._put("shape_mean", components.mean)
        self._put("shape_directions", components.directions)
        self._put("shape_deviations", components.deviations)
        self._put("resting_directions", resting_noise.directions)
        self._put("resting_noise", resting_noise.noise)
        clean_shapes = maps.invert(self._clean(aligned))
        pairs = {
            label: self._pairs(faces, aligned, torch.nonzero(faces.labels == label)[:, 0], groups, neutral)
            for label in range(self.num_classes)
            if label != neutral
        }
        styles = {
            label: self._fit_shape(label, aligned, found) for label, found in pairs.items() if self._enough(found)
        }
        noise = Subspace(reference.new_zeros(0, 136), reference.new_zeros(()))
        if styles:
            pooled = torch.cat(list(styles.values())).view(-1, *reference.shape)
            noise = signal_subspace(with_mirrored(pooled).flatten(1))
        for label, found in pairs.items():
            if self._enough(found):
                residuals = noise.clean(styles[label])
                self._fit_pairs(label, faces, maps, aligned, clean_shapes, found, residuals)
            else:
                self._fit_means(label, faces, shapes, aligned, is_reference)
        report = {
            names[label]: {
                "faces": int((faces.labels == label).sum()),
                "pairs": len(found),
                "fitted_on": "pairs" if self._enough(found) else "class means",
            }
            for label, found in pairs.items()
        }
        return {
            "reference": settings.neutral_class if neutral >= 0 else "mean of the subject's classes",
            "faces": len(faces),
            "faces_without_landmarks": left_out,
            "shape_components": len(components.deviations),
            "landmark_noise_in_pixels": round(float(resting_noise.noise) * self.size / 2, 2),
            "classes": report,
        }

    def _put(self, name: str, value: torch.Tensor) -> None:
        self.register_buffer(name, value.contiguous())

    def _get(self, name: str) -> torch.Tensor:
        value = getattr(self, name)
        assert isinstance(value, torch.Tensor)
        return value

    @staticmethod
    def _reference_groups(faces: FaceTensors, neutral: int) -> dict[str, list[int]]:
        """The rows that stand for a subject's resting face: its neutral ones, or all where no class is neutral."""
        groups: dict[str, list[int]] = {}
        labels = faces.labels.tolist()
        for row, subject in enumerate(faces.subjects):
            if subject is not None and (neutral < 0 or labels[row] == neutral):
                groups.setdefault(subject, []).append(row)
        if neutral < 0:
            groups = {name: rows for name, rows in groups.items() if len({labels[row] for row in rows}) > 1}
        return groups

    @staticmethod
    def _group_means(aligned: torch.Tensor, groups: Mapping[str, Sequence[int]]) -> torch.Tensor:
        return torch.stack([aligned[list(rows)].mean(0) for rows in groups.values()]) if groups else aligned

    @staticmethod
    def _pairs(
        faces: FaceTensors,
        aligned: torch.Tensor,
        rows: torch.Tensor,
        groups: Mapping[str, Sequence[int]],
        neutral: int,
    ) -> list[tuple[int, list[int]]]:
        """Faces of a class with the rows of their subject's resting face.

        Of several neutral faces the one nearest in pose and light is taken, so that turning the head or moving the
        lamp isn't learned as expression.
        """
        small = F.interpolate(to_unit_range(faces.images), size=(12, 12), mode="area")
        stable = aligned[:, list(STABLE_POINTS)]
        pairs: list[tuple[int, list[int]]] = []
        for row in rows.tolist():
            subject = faces.subjects[row]
            group = groups.get(subject, ()) if subject is not None else ()
            if not group:
                continue
            members = list(group)
            if neutral >= 0:
                geometry = (stable[members] - stable[row]).square().sum(-1).mean(1).sqrt()
                light = (small[members] - small[row]).abs().mean(dim=(1, 2, 3))
                members = [members[int((geometry / 0.05 + light / 0.1).argmin())]]
            pairs.append((row, members))
        return pairs

    def _enough(self, pairs: Sequence[object]) -> bool:
        return len(pairs) >= self.settings.min_pairs

    def _fit_shape(self, label: int, aligned: torch.Tensor, pairs: Sequence[tuple[int, list[int]]]) -> torch.Tensor:
        """Fits a class's displacement; returns what each pair has beyond it, its style: [pairs, 136]."""
        # Cleaned first: a neutral face's noise goes into the displacements of all its subject's expressions alike, and
        # what they share would pass for style.
        resting = self._clean(torch.stack([aligned[members].mean(0) for _, members in pairs]))
        displacements = aligned[[row for row, _ in pairs]] - resting
        both = with_mirrored(displacements)
        mean = both.mean(dim=0)
        scores = self._components().scores(with_mirrored(resting))
        deviations = (both - mean).flatten(1)
        weights = ridge_regression(scores, deviations, self.settings.ridge)
        self._put(f"class{label}_mean", mean)
        self._put(f"class{label}_weights", weights)
        return (deviations - scores @ weights)[: len(pairs)]

    def _fit_pairs(
        self,
        label: int,
        faces: FaceTensors,
        maps: Similarity,
        aligned: torch.Tensor,
        clean_shapes: torch.Tensor,
        pairs: Sequence[tuple[int, list[int]]],
        residuals: torch.Tensor,
    ) -> None:
        donors = self._some(len(pairs), label)
        chosen = [pairs[donor] for donor in donors]
        rows = torch.tensor([row for row, _ in chosen], device=aligned.device)
        residuals = residuals[donors]
        resting = self._clean(torch.stack([aligned[members].mean(0) for _, members in chosen]))
        # The donors' own shapes as the model sees them: a landmark's noise must not smear their texture.
        modelled = resting + self._expected(label, self._components().scores(resting)) + residuals.view_as(resting)
        shapes = Similarity(maps.factor[rows], maps.offset[rows]).invert(modelled)
        frame = self._get("shape_mean") + self._get(f"class{label}_mean")
        self._put(f"class{label}_residuals", residuals)
        self._put_donors(label, faces, rows, shapes)
        deltas = []
        for position, (row, members) in enumerate(chosen):
            expressive = self._in_frame(faces, shapes[position : position + 1], [row], frame)[0]
            deltas.append(expressive - self._in_frame(faces, clean_shapes[members], members, frame).mean(0))
        self._put_texture(label, torch.stack(deltas), frame)

    def _fit_means(
        self, label: int, faces: FaceTensors, shapes: torch.Tensor, aligned: torch.Tensor, is_reference: torch.Tensor
    ) -> None:
        components = self._components()
        rows = torch.nonzero(faces.labels == label)[:, 0]
        mean = aligned[rows].mean(dim=0) - components.mean
        frame = components.mean + mean
        donors = rows[self._some(len(rows), label)]
        resting = torch.nonzero(is_reference)[:, 0]
        resting = resting[self._some(len(resting), label)]
        self._put(f"class{label}_mean", mean)
        self._put(f"class{label}_weights", torch.zeros_like(components.directions))
        self._put(f"class{label}_residuals", torch.zeros_like(aligned[donors].flatten(1)))
        self._put_donors(label, faces, donors, shapes[donors])
        expressive = self._in_frame(faces, shapes[donors], donors, frame).mean(0)
        delta = expressive - self._in_frame(faces, shapes[resting], resting, frame).mean(0)
        self._put_texture(label, delta[None], frame)

    def _some(self, count: int, label: int) -> list[int]:
        """At most `max_donors` positions, drawn once and for all."""
        generator = torch.Generator().manual_seed(label)
        return sorted(torch.randperm(count, generator=generator)[: self.settings.max_donors].tolist())

    def _put_donors(self, label: int, faces: FaceTensors, rows: torch.Tensor, shapes: torch.Tensor) -> None:
        images = to_unit_range(faces.images[rows])
        keys = [_subject_key(faces.subjects[row]) for row in rows.tolist()]
        self._put(f"class{label}_subjects", torch.tensor(keys, dtype=torch.int64, device=shapes.device))
        self._put(f"class{label}_faces", faces.images[rows])
        self._put(f"class{label}_shapes", shapes)
        self._put(f"class{label}_poses", pose(shapes))
        self._put(f"class{label}_brightness", skin_brightness(images, shapes))

    def _put_texture(self, label: int, deltas: torch.Tensor, frame: torch.Tensor) -> None:
        outline = soft_polygon(face_outline(frame[None]), self.texture_size, softness=0.16)
        self._put(f"class{label}_frame", frame)
        self._put(f"class{label}_textures", (deltas * outline).to(torch.float16))

    def _in_frame(
        self, faces: FaceTensors, shapes: torch.Tensor, rows: torch.Tensor | Sequence[int], frame: torch.Tensor
    ) -> torch.Tensor:
        """Faces `rows` with shapes [N, 68, 2] warped to a frame: float32 [N, C, texture_size, texture_size]."""
        listed = torch.as_tensor(rows, device=shapes.device)
        parts = []
        for start in range(0, len(listed), _CHUNK):
            part = slice(start, start + _CHUNK)
            images = to_unit_range(faces.images[listed[part]])
            wanted = frame.expand(len(images), -1, -1)
            regularization = self.settings.regularization
            parts.append(warp_to(images, shapes[part], wanted, self.texture_size, regularization=regularization))
        return torch.cat(parts)

    # ---- state

    def arrays(self) -> dict[str, torch.Tensor]:
        """The fitted state, for a safetensors file; it holds no subject's name."""
        return {name: value.detach() for name, value in self.named_buffers()}

    def load_arrays(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Takes over a fitted state from `arrays`."""
        for buffer in list(dict(self.named_buffers())):
            delattr(self, buffer)
        for name, value in tensors.items():
            self._put(name, value)

    # ---- translating

    @torch.no_grad()
    @in_float32
    def translate(
        self, faces: FaceTensors, targets: torch.Tensor, generator: torch.Generator | None = None
    ) -> torch.Tensor:
        """Makes faces of wanted classes; see the base class.

        Raises:
            CannotTranslateError: Not fitted, or a face has no landmarks.
        """
        if "shape_mean" not in dict(self.named_buffers()):
            raise CannotTranslateError("warp is not fitted; call fit(training faces) first")
        usable = self.usable_sources(faces)
        if not bool(usable.all()):
            lacking = [faces.face_ids[row] for row in torch.nonzero(~usable)[:, 0].tolist()]
            raise CannotTranslateError(
                f"warp needs landmarks on every source; {len(lacking)} have none, the first is {lacking[0]}. "
                "Choose sources with landmarks, or annotate them."
            )
        generator = generator if generator is not None else torch.Generator().manual_seed(0)
        device = faces.images.device
        targets = targets.to(device)
        parts = []
        for start in range(0, len(faces), _CHUNK):
            index = torch.arange(start, min(start + _CHUNK, len(faces)), device=device)
            parts.append(self._translate_chunk(faces.take(index), targets[index], generator))
        return torch.cat(parts) if parts else faces.images.clone()

    def _translate_chunk(self, faces: FaceTensors, targets: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        settings = self.settings
        assert faces.landmarks is not None
        count, device = len(faces), faces.images.device
        neutral = int(self._get("reference_class"))
        shapes = to_picture_range(faces.landmarks)
        images = to_unit_range(faces.images)
        maps: Similarity = alignment(shapes, self._get("alignment_reference"))
        aligned = maps.apply(shapes)
        # Random numbers are drawn first, the same count for every face, whatever its class.
        low, high = settings.gain
        gain = (low + (high - low) * torch.rand(count, generator=generator)).to(device)
        strength = torch.randn(count, generator=generator).abs().clamp(max=1.5).to(device)
        uniform = torch.rand(count, 2, generator=generator)
        keys = torch.tensor([_subject_key(subject) for subject in faces.subjects], device=device)
        poses = pose(shapes)

        resting, own = self._resting_shapes(aligned, faces.labels, neutral)
        scores = self._components().scores(resting)
        shapes = maps.invert(resting + own)
        displacement = torch.zeros_like(aligned)
        # Two layers of texture: what the target adds, and what a source that is not neutral loses.
        texture = images.new_zeros(count, self.channels, self.texture_size, self.texture_size)
        frame = self._get("shape_mean").expand(count, -1, -1).clone()
        mouth = torch.zeros_like(images)
        mouth_shape = shapes.clone()
        mouth_share = images.new_zeros(count)
        for label in sorted(set(targets.tolist())):
            rows = torch.nonzero(targets == label)[:, 0]
            if label == neutral:
                displacement[rows] = self._neutral_variation(strength[rows], uniform[rows.cpu()], neutral)
                continue
            donors = self._draw_donors(label, keys[rows], poses[rows], generator)
            style = donors[:, 0]
            styles = self._get(f"class{label}_residuals")[style].view(-1, *aligned.shape[1:])
            moved = self._expected(label, scores[rows]) + settings.residual * styles
            displacement[rows] = moved * gain[rows, None, None]
            frame[rows] = self._get(f"class{label}_frame")
            if settings.texture == "difference":
                stock = self._get(f"class{label}_textures")
                chosen = donors if len(stock) > 1 else torch.zeros_like(donors)
                texture[rows] = stock[chosen].float().mean(dim=1) * settings.texture_gain
            if settings.paste_mouth:
                donated = to_unit_range(self._get(f"class{label}_faces")[style])
                light = skin_brightness(images[rows], shapes[rows]) + 1.0
                donor_light = self._get(f"class{label}_brightness")[style] + 1.0
                ratio = (light / donor_light.clamp(min=0.05)).clamp(0.4, 1.8)
                mouth[rows] = (donated + 1.0) * ratio[:, None, None, None] - 1.0
                mouth_shape[rows] = self._get(f"class{label}_shapes")[style]
                mouth_share[rows] = 1.0
        wanted = maps.invert(resting + displacement)

        # One spline, three maps: from the result back to the source, to the texture's frame and to the donor.
        values = torch.cat([shapes - wanted, frame - wanted, mouth_shape - wanted], dim=2)
        field = displacement_field(wanted, values, self.size, regularization=settings.regularization)
        result = sample_displaced(images, field[:, 0:2])
        if settings.texture == "difference":
            result = result + sample_displaced(texture, field[:, 2:4], mode="bilinear")
            result = result - self._own_texture(faces.labels, neutral, wanted, result)
        if settings.paste_mouth:
            inner = soft_polygon(wanted[:, list(INNER_LIPS)], self.size, softness=2.0 * 2.0 / self.size)
            # The half-lit rim of a closed mouth would smear the donor over the lips: only an open one is pasted.
            share = ((inner - 0.5) * 2).clamp(min=0.0) * mouth_share[:, None, None, None]
            result = torch.lerp(result, sample_displaced(mouth, field[:, 4:6]), share)
        return to_bytes_range(result)

    def _components(self) -> ShapeComponents:
        return ShapeComponents(self._get("shape_mean"), self._get("shape_directions"), self._get("shape_deviations"))

    def _clean(self, aligned: torch.Tensor) -> torch.Tensor:
        """Takes the landmarks' noise away from aligned resting shapes [N, 68, 2]."""
        mean = self._get("shape_mean")
        noise = Subspace(self._get("resting_directions"), self._get("resting_noise"))
        return mean + noise.clean((aligned - mean).flatten(1)).view_as(aligned)

    def _expected(self, label: int, scores: torch.Tensor) -> torch.Tensor:
        """The displacement that a class's regression expects for neutral shapes of these scores: [N, 68, 2]."""
        mean = self._get(f"class{label}_mean")
        return mean + (scores @ self._get(f"class{label}_weights")).view(-1, *mean.shape)

    def _resting_shapes(
        self, aligned: torch.Tensor, labels: torch.Tensor, neutral: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Parts shapes into the resting face and the displacement that the source's own class is expected to have."""
        own = torch.zeros_like(aligned)
        for label in sorted(set(labels.tolist()) - {neutral}):
            rows = torch.nonzero(labels == label)[:, 0]
            scores = self._components().scores(aligned[rows] - self._get(f"class{label}_mean"))
            own[rows] = self._expected(label, scores)
        return self._clean(aligned - own), own

    def _own_texture(
        self, labels: torch.Tensor, neutral: int, wanted: torch.Tensor, like: torch.Tensor
    ) -> torch.Tensor:
        """The mean texture of the sources' own classes, as it lies in the results."""
        own = torch.zeros_like(like)
        for label in sorted(set(labels.tolist()) - {neutral}):
            rows = torch.nonzero(labels == label)[:, 0]
            stock = self._get(f"class{label}_textures").float().mean(0, keepdim=True) * self.settings.texture_gain
            back = self._get(f"class{label}_frame") - wanted[rows]
            field = displacement_field(wanted[rows], back, self.size, regularization=self.settings.regularization)
            own[rows] = sample_displaced(stock.expand(len(rows), -1, -1, -1), field, mode="bilinear")
        return own

    def _neutral_variation(self, strength: torch.Tensor, uniform: torch.Tensor, neutral: int) -> torch.Tensor:
        """A trace of a random expression, as resting faces have: [n, 68, 2]."""
        others = [label for label in range(self.num_classes) if label != neutral]
        moved = []
        for first, second in uniform.tolist():
            label = others[min(int(first * len(others)), len(others) - 1)]
            residuals = self._get(f"class{label}_residuals")
            donor = min(int(second * len(residuals)), len(residuals) - 1)
            moved.append(self._get(f"class{label}_mean") + residuals[donor].view(-1, 2))
        return torch.stack(moved) * (self.settings.neutral_variation * strength)[:, None, None]

    def _draw_donors(
        self, label: int, keys: torch.Tensor, poses: torch.Tensor, generator: torch.Generator
    ) -> torch.Tensor:
        """Donors for each source, near in pose and of other subjects: int64 [n, K]; the first gives style and mouth."""
        subjects, donor_poses = self._get(f"class{label}_subjects"), self._get(f"class{label}_poses")
        away = (poses[:, None] - donor_poses[None]) / self.settings.pose_tolerance
        weights = torch.exp(-0.5 * away.square().clamp(max=40.0))
        own = (keys[:, None] == subjects[None]) & (keys[:, None] != 0)
        weights = torch.where(own & ~own.all(dim=1, keepdim=True), torch.zeros_like(weights), weights)
        drawn = min(self.settings.texture_donors, len(subjects))
        scarce = bool(((weights > 0).sum(dim=1) < drawn).any())
        return torch.multinomial(weights.cpu(), drawn, replacement=scarce, generator=generator).to(subjects.device)
