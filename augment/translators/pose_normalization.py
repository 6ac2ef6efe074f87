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

from dataclasses import replace
from typing import ClassVar

import torch
from pydantic import model_validator

from augment.faces.tensors import FaceTensors
from augment.translators.attribute_gan import attribute_discriminator_losses
from augment.translators.base import Batch, CannotTranslateError, TranslatorSettings
from augment.translators.lssl import LsslModel, LsslNetworkSettings
from augment.translators.simulated_faces import FromSimulatedFaces, SimulatedFacesSettings


class LsslPoseSettings(SimulatedFacesSettings, LsslNetworkSettings):
    """Settings of pose normalization; the defaults are the published values, those of LSSL itself."""

    @model_validator(mode="after")
    def _no_warm_start(self) -> LsslPoseSettings:
        if self.warm_start_share or self.class_network_share:
            raise ValueError("warm_start_share and class_network_share must be 0: its outputs are frontal faces")
        if self.output != "picture":
            raise ValueError("output must be picture: no flow leads from a simulated face to a photograph")
        if self.strength != (1.0, 1.0):
            raise ValueError("strength must be [1, 1]: what it makes is no change of the photograph")
        return self


class LsslPose(FromSimulatedFaces, LsslModel):
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
        examples = self.examples_of(batch)
        pictures = self.pictures(self.simulated_of(batch), batch.images)  # (x, s)
        with torch.no_grad():
            translated = self.generator(pictures, self.condition(batch.targets)).to(pictures.dtype)
        return attribute_discriminator_losses(
            self.discriminator,
            self.settings,
            real=examples.to(pictures.dtype),
            labels=batch.targets,
            fake=translated[:, : self.channels],
            batch=batch,
        )

    def generator_losses(self, batch: Batch) -> dict[str, torch.Tensor]:
        """LSSL's five terms, with the simulated face as x and the photograph as s.

        `identity` and `parsing` compare x' with x, `bidirectional` comes back to x and s, with the face's own class.
        """
        return super().generator_losses(replace(batch, images=self.simulated_of(batch), side_input=batch.images))

    def translate_by(self, faces: FaceTensors, conditions: torch.Tensor) -> torch.Tensor:
        """Normalizes N faces by conditions [N, K]: uint8 [N, C, H, W], made in evaluation mode."""
        if faces.simulated is None:  # there is no face at all, else check_sources would have refused
            return super().translate_by(faces, conditions)
        return super().translate_by(replace(faces, images=faces.simulated, simulated=faces.images), conditions)

    def check(self, faces: FaceTensors) -> None:
        """Refuses training faces without simulated or without frontal faces, and a parsing loss without a network.

        Raises:
            CannotTranslateError: Says what is missing and what would fix it.
        """
        super().check(faces)
        self.check_parsing()
