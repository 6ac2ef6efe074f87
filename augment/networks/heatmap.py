"""Landmark heatmaps: landmarks drawn as a picture, the side input of networks."""

from __future__ import annotations

import torch


def landmark_heatmap(landmarks: torch.Tensor, size: int, sigma: float = 0.02) -> torch.Tensor:
    """Draws landmarks as Gaussians in one picture: LSSL's side condition s (section 3.1 and 5.3).

    Where Gaussians overlap the greatest counts. The released code sums them and scales by the result's maximum; then
    the densely marked mouth is brighter than the jaw, its points melt into one blob, and opening it dims the rest
    of the face. It draws 49 points, without the jaw and two of the mouth, in three equal channels.

    Args:
        landmarks: [N, 68, 2], x y in 0..1 of the picture; a face with a missing (NaN) point has no heatmap.
        size: Edge in pixels.
        sigma: Standard deviation as a share of the edge (the released code has 10 px whatever the photograph's size).

    Returns:
        float32 [N, 1, size, size] on the landmarks' device: 1 at a point, -1 far from all; -1 throughout for faces
        without landmarks.
    """
    centres = (torch.arange(size, device=landmarks.device, dtype=torch.float32) + 0.5) / size
    known = torch.isfinite(landmarks).flatten(1).all(1)
    points = torch.where(known[:, None, None], landmarks.float(), -1e3)
    # A 2-D Gaussian is the product of two 1-D ones, so exponentials are needed for 2 x size values a point only; one
    # point at a time keeps memory at one picture per face.
    profiles = torch.exp(-0.5 * ((points[..., None] - centres) / sigma).square())
    heat = torch.zeros(len(points), size, size, device=points.device)
    for index in range(points.shape[1]):
        torch.maximum(heat, profiles[:, index, 1, :, None] * profiles[:, index, 0, None, :], out=heat)
    return (2.0 * heat - 1.0)[:, None]
