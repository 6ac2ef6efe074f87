"""LSSL's pose normalization (Bozorgtabar et al. 2019, arXiv 1905.00286), section 3.2, "synthesize to learn".

The image x is a simulated frontal face, the side input s the photograph of the same performance from any side; the
outputs are a realistic frontal face x' of the wanted class, and s'. Networks and losses are LSSL's, except that the
discriminator sees one picture (fig. 3b). Where the text is silent:

- What the discriminator takes for real. Real frontal faces of the wanted classes here, as the output is to be one of
  them. Section 2 does without: `frontal_yaw: null` takes real faces of any pose, the profiles among them.
- Whose class the discriminator learns, and what the way back decodes with. The photograph s is "unlabelled", so its
  label is used nowhere: the discriminator learns the classes of those real frontal faces, and the way back decodes with
  the simulated face's class, which is known because the simulated face was made to show it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar, NoReturn

import torch
from pydantic import Field, model_validator

from augment.faces.tensors import FaceTensors, to_unit_range
from augment.translators.attribute_gan import attribute_discriminator_losses
from augment.translators.base import Batch, CannotTranslateError, Requirement, TranslatorSettings
from augment.translators.lssl import LsslModel, LsslNetworkSettings


class LsslPoseSettings(LsslNetworkSettings):
    """Settings of pose normalization; the defaults are the published values, those of LSSL itself."""

    frontal_yaw: float | None = Field(
        default=10.0,
        ge=0,
        le=90,
        description="real faces for the discriminator are those turned by at most so many degrees, and those whose "
        "turn is not known; null = all",
    )

    @model_validator(mode="after")
    def _no_warm_start(self) -> LsslPoseSettings:
        if self.warm_start_share or self.class_network_share:
            raise ValueError("warm_start_share and class_network_share must be 0: its outputs are frontal faces")
        if self.output != "picture":
            raise ValueError("output must be picture: no flow leads from a simulated face to a photograph")
        if self.strength != (1.0, 1.0):
            raise ValueError("strength must be [1, 1]: what it makes is no change of the photograph")
        return self


class LsslPose(LsslModel):
    """A simulated frontal face and a real face of any pose to a realistic frontal face of the wanted class.

    A batch's images are the photographs s, its side input the simulated faces x, its examples real frontal faces.
    """

    name: ClassVar[str] = "lssl_pose"
    Settings: ClassVar[type[TranslatorSettings]] = LsslPoseSettings
    settings: LsslPoseSettings

    @property
    def side_channels(self) -> int:
        """Channels of s, a picture like x."""
        return self.channels

    @property
    def judged_channels(self) -> int:
        """Channels of what the discriminator sees: one picture."""
        return self.channels

    @classmethod
    def requires_for(cls, settings: TranslatorSettings) -> frozenset[Requirement]:
        """Simulated faces, which are x."""
        return frozenset({"simulated"})

    def pictures(self, images: torch.Tensor, side_input: torch.Tensor | None) -> torch.Tensor:
        """(x, s) stacked, float [N, 2 C, H, W], from the simulated faces and the photographs."""
        if side_input is None:
            raise CannotTranslateError(
                "lssl_pose: a simulated face is translated beside a photograph, and there is none"
            )
        return torch.cat([images, side_input.to(images.dtype)], dim=1)

    def discriminator_losses(self, batch: Batch) -> dict[str, torch.Tensor]:
        """LSSL's terms; real are the examples, real frontal faces of the wanted classes, and those classes.

        Raises:
            CannotTranslateError: The batch has no examples or no simulated faces.
        """
        if batch.examples is None:
            raise CannotTranslateError(
                "lssl_pose: the batch has no examples; give it real faces of the wanted classes, out of example_faces"
            )
        pictures = self.pictures(_simulated(batch), batch.images)  # (x, s)
        with torch.no_grad():
            translated = self.generator(pictures, self.condition(batch.targets)).to(pictures.dtype)
        return attribute_discriminator_losses(
            self.discriminator,
            self.settings,
            real=batch.examples.to(pictures.dtype),
            labels=batch.targets,
            fake=translated[:, : self.channels],
            batch=batch,
        )

    def generator_losses(self, batch: Batch) -> dict[str, torch.Tensor]:
        """LSSL's five terms, with the simulated face as x and the photograph as s.

        `identity` and `parsing` compare x' with x, `bidirectional` comes back to x and s, with the face's own class.
        """
        return super().generator_losses(replace(batch, images=_simulated(batch), side_input=batch.images))

    def translate_by(self, faces: FaceTensors, conditions: torch.Tensor) -> torch.Tensor:
        """Normalizes N faces by conditions [N, K]: uint8 [N, C, H, W], made in evaluation mode."""
        if faces.simulated is None:  # there is no face at all, else check_sources would have refused
            return super().translate_by(faces, conditions)
        return super().translate_by(replace(faces, images=faces.simulated, simulated=faces.images), conditions)

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
        """Refuses training faces without simulated or without frontal faces, and a parsing loss without a network.

        Raises:
            CannotTranslateError: Says what is missing and what would fix it.
        """
        super().check_sources(faces)
        if not bool(self.usable_sources(faces).any()):
            self._refuse(faces.face_ids, len(faces))
        if missing := faces.classes_without(self.example_faces(faces)):
            raise CannotTranslateError(
                f"lssl_pose: no real face is turned by at most {self.settings.frontal_yaw:g} degrees in "
                f"{', '.join(missing)}. Add frontal faces, or set the translator's frontal_yaw higher, or to null for "
                "faces of any pose"
            )
        self.check_parsing()

    def check_sources(self, faces: FaceTensors) -> None:
        """Refuses source faces that lack a simulated face.

        Raises:
            CannotTranslateError: Says how many, and what would fix it.
        """
        super().check_sources(faces)
        lacking = torch.nonzero(~self.usable_sources(faces))[:, 0].tolist()
        if lacking:
            self._refuse([faces.face_ids[row] for row in lacking], len(faces))

    def _refuse(self, lacking: Sequence[str], count: int) -> NoReturn:
        first = f", the first is {lacking[0]}" if lacking else ""
        raise CannotTranslateError(
            f"lssl_pose: {len(lacking)} of {count} faces have no simulated frontal face{first}. Use a source that has "
            "them (embedded faces: dataset.settings.simulated=true), or take the faces that usable_sources allows"
        )


def _simulated(batch: Batch) -> torch.Tensor:
    """The batch's simulated faces."""
    if batch.side_input is None:
        raise CannotTranslateError("lssl_pose: the batch has no simulated faces; give it side_input(faces)")
    return batch.side_input
