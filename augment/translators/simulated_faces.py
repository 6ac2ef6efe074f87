"""Translators whose input is a simulated frontal face, and whose real faces are frontal ones (LSSL, section 3.2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

import torch
from pydantic import Field

from augment.faces.tensors import FaceTensors, to_unit_range
from augment.translators.base import (
    AdversarialTranslator,
    Batch,
    CannotTranslateError,
    Requirement,
    TranslatorSettings,
)


class SimulatedFacesSettings(TranslatorSettings):
    """What such translators have in common."""

    frontal_yaw: float | None = Field(
        default=10.0,
        ge=0,
        le=90,
        description="real faces for the discriminator are those turned by at most so many degrees, and those whose "
        "turn is not known; null = all",
    )


class FromSimulatedFaces(AdversarialTranslator):
    """A translator of simulated frontal faces, which are a batch's side input; its examples are real frontal faces."""

    settings: SimulatedFacesSettings

    @classmethod
    def requires_for(cls, settings: TranslatorSettings) -> frozenset[Requirement]:
        """Simulated faces."""
        return frozenset({"simulated"})

    def side_input(self, faces: FaceTensors) -> torch.Tensor:
        """The simulated frontal faces, float32 [N, C, H, W] in -1..1.

        Raises:
            CannotTranslateError: No face has one.
        """
        if faces.simulated is None:
            self._refuse(faces.face_ids, len(faces))
        return to_unit_range(faces.simulated)

    def usable_sources(self, faces: FaceTensors) -> torch.Tensor:
        """Faces with a simulated face (one that is black all over is none): bool [N]."""
        return faces.has_simulated

    def example_faces(self, faces: FaceTensors) -> torch.Tensor:
        """The real faces that the discriminator may see, the frontal ones: bool [N]."""
        return faces.turned_at_most(self.settings.frontal_yaw)

    def check(self, faces: FaceTensors) -> None:
        """Refuses training faces of which none has a simulated face, or some class has no frontal one.

        Raises:
            CannotTranslateError: Says what is missing and what would fix it.
        """
        self.check_form(faces)
        if not bool(self.usable_sources(faces).any()):
            self._refuse(faces.face_ids, len(faces))
        if missing := faces.classes_without(self.example_faces(faces)):
            raise CannotTranslateError(
                f"{self.name}: no real face is turned by at most {self.settings.frontal_yaw:g} degrees in "
                f"{', '.join(missing)}. Add frontal faces, or set the translator's frontal_yaw higher, or to null for "
                "faces of any pose"
            )

    def check_sources(self, faces: FaceTensors) -> None:
        """Refuses source faces that lack a simulated face.

        Raises:
            CannotTranslateError: Says how many, and what would fix it.
        """
        self.check_form(faces)
        lacking = torch.nonzero(~self.usable_sources(faces))[:, 0].tolist()
        if lacking:
            self._refuse([faces.face_ids[row] for row in lacking], len(faces))

    def simulated_of(self, batch: Batch) -> torch.Tensor:
        """The batch's simulated faces.

        Raises:
            CannotTranslateError: It has none.
        """
        if batch.side_input is None:
            raise CannotTranslateError(f"{self.name}: the batch has no simulated faces; give it side_input(faces)")
        return batch.side_input

    def examples_of(self, batch: Batch) -> torch.Tensor:
        """The batch's real frontal faces.

        Raises:
            CannotTranslateError: It has none.
        """
        if batch.examples is None:
            raise CannotTranslateError(
                f"{self.name}: the batch has no examples; give it real faces of the wanted classes, out of "
                "example_faces"
            )
        return batch.examples

    def _refuse(self, lacking: Sequence[str], count: int) -> NoReturn:
        first = f", the first is {lacking[0]}" if lacking else ""
        raise CannotTranslateError(
            f"{self.name}: {len(lacking)} of {count} faces have no simulated frontal face{first}. Use a source that "
            "has them (embedded faces: dataset.settings.simulated=true), or take the faces that usable_sources allows"
        )
