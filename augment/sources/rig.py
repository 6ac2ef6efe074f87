"""The embedded faces: drawn by `augment.rig`, with exact landmarks and masks, and without any file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import ConfigDict, Field

from augment.core.errors import InputError, Problem
from augment.faces.images import plain_grey
from augment.rig import FaceSpec, preset, preset_names, render
from augment.sources.base import Annotation, RawFace, SourceSettings

_CHUNK = 64  # faces rendered at a time: enough to keep the renderer busy, little to hold


class RigSettings(SourceSettings):
    """Settings of the source `rig`; further keys go to the preset, which refuses what it does not know.

    Attributes:
        preset: Which population, one of `augment.rig.preset_names()`.
        seed: The same seed gives the same faces.
        size: Edge in pixels; the preset's own by default.
        channels: 1 or 3; the preset's own by default.
        simulated: Whether each face comes with its simulated frontal face: the same performance, seen from the front in
            the plain look of a 3-D face model's render.
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    preset: str = "rare"
    seed: int = Field(0, ge=0)
    size: int | None = Field(None, ge=32, le=512)
    channels: Literal[1, 3] | None = None
    simulated: bool = False


class RigSource:
    """A population of embedded faces.

    Args:
        settings: The settings.

    Raises:
        InputError: The preset is unknown or refuses a setting.
    """

    name: ClassVar[str] = "rig"
    needs_root: ClassVar[bool] = False
    Settings: ClassVar[type[SourceSettings]] = RigSettings
    licence: ClassVar[str] = "cc0-1.0"

    def __init__(self, settings: RigSettings) -> None:
        if settings.preset not in preset_names():
            fix = f"use one of {', '.join(preset_names())}"
            raise InputError(Problem("preset", f"{settings.preset!r} is no preset of the embedded faces", fix))
        further: dict[str, Any] = dict(settings.model_extra or {})
        try:
            self.population = preset(settings.preset, seed=settings.seed, **further)
        except (TypeError, ValueError) as error:
            raise InputError(Problem(f"preset {settings.preset}", f"refuses its settings: {error}")) from error
        self.settings = settings
        self.class_names: tuple[str, ...] = tuple(self.population.class_names)
        self.size = settings.size or self.population.default_size
        self.channels = settings.channels or self.population.default_channels
        self.title = f"Embedded faces: {settings.preset}"
        self.description = (
            f"Faces drawn by a 3-D head model (preset `{settings.preset}`, seed {settings.seed}). They show no real "
            "person; landmarks and masks are exact by construction."
        )

    def __len__(self) -> int:
        return len(self.population.specs)

    @property
    def annotations(self) -> frozenset[Annotation]:
        """Landmarks always, simulated faces where the settings ask for them."""
        return frozenset(("landmarks", "simulated") if self.settings.simulated else ("landmarks",))

    def attribute_values(self, field: str) -> Iterator[Any]:
        """A field of `RawFace` (yaw, illumination ...) of every face in order, without drawing any."""
        return (getattr(spec, field) for spec in self.population.specs)

    def faces(self) -> Iterator[RawFace | Problem]:
        """Yields the faces in the population's order."""
        specs = self.population.specs
        for start in range(0, len(specs), _CHUNK):
            chunk = specs[start : start + _CHUNK]
            drawn = render(chunk, size=self.size, channels=self.channels, seed=self.settings.seed)
            rows = zip(chunk, drawn.images, drawn.landmarks, drawn.masks, self._simulated(chunk), strict=True)
            for spec, image, landmarks, mask, simulated in rows:
                yield RawFace(
                    name=spec.face_id,
                    image=plain_grey(image),
                    label_name=spec.label,
                    subject=spec.subject_name,
                    split=spec.split,
                    yaw=float(spec.yaw),
                    illumination=spec.illumination,
                    intensity=None if spec.intensity is None else float(spec.intensity),
                    landmarks=landmarks,
                    mask=mask,
                    simulated=simulated,
                )

    def _simulated(self, chunk: Sequence[FaceSpec]) -> Sequence[np.ndarray | None]:
        """The simulated frontal face of each face; None each where they are not asked for."""
        if not self.settings.simulated:
            return [None] * len(chunk)
        # Several cameras' faces share one performance, and so one simulated face: each is drawn once.
        shown = [replace(spec.simulated_frontal, face_id="") for spec in chunk]
        different = list(dict.fromkeys(shown))
        drawn = render(different, size=self.size, channels=self.channels, seed=self.settings.seed)
        pictures = dict(zip(different, map(plain_grey, drawn.images), strict=True))
        return [pictures[spec] for spec in shown]
