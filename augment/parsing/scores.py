"""How well the parsing network finds the parts: against masks, and where nobody knows them."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional as F

from augment.faces.table import MASK_CLASSES, NO_MASK
from augment.faces.tensors import to_unit_range
from augment.parsing.network import ParsingNetwork

# With less of a part than this share of the picture, P has not found it: of 48 px, 4 pixels of lips or eyes.
LEAST_SHARES = {"skin": 0.1, "lips": 0.002, "eyes": 0.002}


@torch.no_grad()
def intersection_over_union(
    network: ParsingNetwork, images: torch.Tensor, masks: torch.Tensor, *, batch_size: int = 64
) -> dict[str, float]:
    """Intersection over union of each part, over all pixels of all faces.

    Args:
        network: P, in eval mode.
        images: uint8 [N, C, H, W].
        masks: uint8 [N, H, W]; pixels of 255 are ignored.
        batch_size: Faces at a time.

    Returns:
        One value in 0..1 for each of `MASK_CLASSES`; 1 where a part neither occurs nor is predicted.
    """
    count = len(MASK_CLASSES)
    device = next(network.parameters()).device
    confusion = torch.zeros(count * count, dtype=torch.int64)
    for start in range(0, len(images), batch_size):
        rows = slice(start, start + batch_size)
        predicted = network(to_unit_range(images[rows].to(device))).argmax(1).cpu()
        truth = masks[rows].cpu().long()
        known = truth != NO_MASK
        confusion += torch.bincount(truth[known] * count + predicted[known], minlength=count * count)
    table = confusion.view(count, count).double()
    shared, union = table.diagonal(), table.sum(0) + table.sum(1) - table.diagonal()
    values = torch.where(union > 0, shared / union.clamp(min=1), torch.ones_like(union))
    return dict(zip(MASK_CLASSES, values.tolist(), strict=True))


@torch.no_grad()
def parsing_statistics(network: ParsingNetwork, images: torch.Tensor, *, batch_size: int = 64) -> dict[str, Any]:
    """What P makes of faces whose masks nobody knows: areas, and how often it plainly fails. Counts, no pictures.

    Args:
        network: P, in eval mode.
        images: uint8 [N, C, H, W].
        batch_size: Faces at a time.

    Returns:
        `faces`; `areas`, each part's mean share of the picture; `failures`, the share of faces in which P finds less
        of a part than `LEAST_SHARES` say, for each of skin, lips and eyes and for `any` of them. None in place of the
        shares where there are no faces.
    """
    device = next(network.parameters()).device
    shares = torch.zeros(len(images), len(MASK_CLASSES), dtype=torch.float64)
    for start in range(0, len(images), batch_size):
        rows = slice(start, start + batch_size)
        predicted = network(to_unit_range(images[rows].to(device))).argmax(1)
        found = F.one_hot(predicted, len(MASK_CLASSES)).flatten(1, 2).double().mean(1)
        shares[rows] = found.cpu()
    failed = {part: shares[:, MASK_CLASSES.index(part)] < least for part, least in LEAST_SHARES.items()}
    failed["any"] = torch.stack(list(failed.values())).any(0)
    known = len(images) > 0
    return {
        "faces": len(images),
        "areas": dict(zip(MASK_CLASSES, shares.mean(0).tolist(), strict=True)) if known else None,
        "failures": {part: float(faces.double().mean()) for part, faces in failed.items()} if known else None,
        "least_shares": LEAST_SHARES,
    }
