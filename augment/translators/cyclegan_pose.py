"""CycleGAN (Zhu et al. 2017, arXiv 1703.10593) between simulated frontal faces and real ones, for LSSL's table 3.

The LSSL paper gives no more than the row's name. Its own method and SimGAN make simulated frontal faces realistic, so
one pair of generators does so here: `leaving` makes real faces of simulated ones, `returning` simulated faces of real
ones. Neither sees the photograph or a class; a face keeps the class of its simulated face.
"""

from __future__ import annotations

from typing import ClassVar

import torch

from augment.faces.tensors import FaceTensors, to_bytes_range
from augment.translators.base import Batch, TranslatorSettings
from augment.translators.cyclegan import CycleGanModel, CycleGanNetworkSettings
from augment.translators.simulated_faces import FromSimulatedFaces, SimulatedFacesSettings


class CycleGanPoseSettings(SimulatedFacesSettings, CycleGanNetworkSettings):
    """Settings of CycleGAN between simulated and real frontal faces; the defaults are the published values."""


class CycleGanPose(FromSimulatedFaces, CycleGanModel):
    """One CycleGAN from simulated frontal faces to real ones, and back.

    Real faces are `Batch.examples`, simulated ones `Batch.side_input`; the photograph in `Batch.images` is not used.

    Args:
        num_classes: Number of classes.
        channels: 1 or 3.
        size: Edge of the pictures in pixels.
        settings: The method's settings.

    Raises:
        UnsuitableSizeError: The size is too small or can't be halved as often as the settings ask.
    """

    name: ClassVar[str] = "cyclegan_pose"
    Settings: ClassVar[type[TranslatorSettings]] = CycleGanPoseSettings
    settings: CycleGanPoseSettings

    def __init__(self, *, num_classes: int, channels: int, size: int, settings: CycleGanPoseSettings) -> None:
        super().__init__(pairs=1, num_classes=num_classes, channels=channels, size=size, settings=settings)

    @property
    def keeps_class(self) -> bool:
        """True: what comes out has the class of its simulated face."""
        return True

    def pair_of(self, batch: Batch) -> int:
        """The only one."""
        return 0

    def sides_of(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """Simulated faces, and real frontal ones.

        Raises:
            CannotTranslateError: The batch lacks either.
        """
        return self.simulated_of(batch), self.examples_of(batch)

    @torch.no_grad()
    def translate(
        self, faces: FaceTensors, targets: torch.Tensor, generator: torch.Generator | None = None
    ) -> torch.Tensor:
        """Makes the faces' simulated faces real; it is deterministic.

        Args:
            faces: Sources with simulated faces.
            targets: Ignored.
            generator: Ignored.

        Raises:
            CannotTranslateError: A source has no simulated face, or another form than the networks are made for.
        """
        self.check_sources(faces)
        leaving = self.generators[0].leaving

        def make(rows: slice) -> torch.Tensor:
            part = faces.take(torch.arange(rows.start, rows.stop))
            return to_bytes_range(leaving(self.side_input(part)))

        return self.made_in_batches(len(faces), make)
