"""The contact sheet of an exported folder: a few faces of each class, by who made them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from matplotlib.figure import Figure

from pipeline.publishing.description import REAL
from reports.face_sheets import draw_face_sheet

FACES = 2  # of each maker and class


class ContactSheet:
    """Takes the first faces of each maker and class as they pass.

    Args:
        class_names: In label order.
    """

    def __init__(self, class_names: Sequence[str]) -> None:
        self.class_names = tuple(class_names)
        self._faces: dict[str, dict[int, list[torch.Tensor]]] = {}

    def wants(self, maker: str, label: int) -> bool:
        """Whether there is room for a face."""
        return len(self._faces.get(maker, {}).get(label, [])) < FACES

    def add(self, maker: str, label: int, face: torch.Tensor) -> None:
        """Takes a face, uint8 [C, H, W], if there is room."""
        if self.wants(maker, label):
            self._faces.setdefault(maker, {}).setdefault(label, []).append(face)

    def draw(self) -> Figure:
        """The sheet: a column for each class, rows for each maker; a white field where a class has no more faces."""
        some = next(face for found in self._faces.values() for faces in found.values() for face in faces)
        blank = torch.full_like(some, 255)
        rows, labels = [], []
        for maker in sorted(self._faces, key=lambda maker: (maker != REAL, maker)):
            for number in range(FACES):
                faces = [self._faces[maker].get(label, [])[number:] for label in range(len(self.class_names))]
                if any(faces):
                    rows.append([found[0] if found else blank for found in faces])
                    labels.append(maker)
        return draw_face_sheet(rows, self.class_names, labels)
