"""What the tool calls a judge: a classifier that looks at faces and was never taught by a synthetic one."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch


class Judge(Protocol):
    """A classifier of one fold's real training faces, as far as selection and scores need it."""

    def probabilities(self, images: torch.Tensor) -> np.ndarray:
        """Class probabilities [N, K] of uint8 images [N, C, H, W]."""
        ...

    def features(self, images: torch.Tensor) -> np.ndarray:
        """Penultimate features [N, D] of uint8 images [N, C, H, W]."""
        ...
