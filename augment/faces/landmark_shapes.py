"""Shapes of 68 landmarks (iBUG order): alignment, principal components, pose, soft polygons.

Everything here is in picture coordinates of -1..1 (x to the right, y down).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from augment.faces.tensors import MIRROR_LANDMARKS

# What an expression moves least: the upper jaw line, the bridge of the nose, the corners of the eyes.
STABLE_POINTS = (0, 1, 2, 3, 13, 14, 15, 16, 27, 28, 29, 30, 36, 39, 42, 45)
INNER_LIPS = (60, 61, 62, 63, 64, 65, 66, 67)
_JAW = slice(0, 17)
_BROWS = slice(17, 27)
_NOSE_TIP = 30


def to_picture_range(landmarks: torch.Tensor) -> torch.Tensor:
    """0..1 to -1..1."""
    return landmarks * 2.0 - 1.0


def with_mirrored(shapes: torch.Tensor) -> torch.Tensor:
    """Shapes (or displacements) [N, 68, 2] and, after them, their mirror images about x = 0: [2N, 68, 2]."""
    mirrored = shapes[:, MIRROR_LANDMARKS.to(shapes.device)] * shapes.new_tensor([-1.0, 1.0])
    return torch.cat([shapes, mirrored])


@dataclass(frozen=True)
class Similarity:
    """Rotation, scale and translation of N shapes: z -> factor * z + offset on x + iy.

    Attributes:
        factor: complex [N].
        offset: complex [N].
    """

    factor: torch.Tensor
    offset: torch.Tensor

    def apply(self, shapes: torch.Tensor) -> torch.Tensor:
        """Maps shapes [N, K, 2]."""
        moved = self.factor[:, None] * _as_complex(shapes) + self.offset[:, None]
        return torch.view_as_real(moved)

    def invert(self, shapes: torch.Tensor) -> torch.Tensor:
        """Maps shapes [N, K, 2] back."""
        moved = (_as_complex(shapes) - self.offset[:, None]) / self.factor[:, None]
        return torch.view_as_real(moved)


def _as_complex(points: torch.Tensor) -> torch.Tensor:
    return torch.complex(points[..., 0], points[..., 1])


def alignment(shapes: torch.Tensor, reference: torch.Tensor) -> Similarity:
    """The least-squares similarity that lays each shape's stable points on the reference's.

    Args:
        shapes: float32 [N, 68, 2].
        reference: float32 [68, 2].

    Returns:
        The N maps.
    """
    stable = list(STABLE_POINTS)
    points, wanted = _as_complex(shapes[:, stable]), _as_complex(reference[stable])
    centre, wanted_centre = points.mean(dim=1, keepdim=True), wanted.mean()
    spread = (points - centre).abs().square().sum(dim=1).clamp(min=1e-12)
    factor = ((wanted - wanted_centre) * (points - centre).conj()).sum(dim=1) / spread
    return Similarity(factor, wanted_centre - factor * centre[:, 0])


def procrustes_mean(shapes: torch.Tensor, iterations: int = 4) -> torch.Tensor:
    """The mean of aligned shapes, kept at the shapes' own average size and place.

    Args:
        shapes: float32 [N, 68, 2].
        iterations: Rounds of aligning and averaging.

    Returns:
        float32 [68, 2].
    """
    mean = shapes.mean(dim=0)
    for _ in range(iterations):
        maps = alignment(shapes, mean)
        mean = maps.apply(shapes).mean(dim=0)
        # Each round shrinks the mean towards the shapes' common part; undo it.
        grown = Similarity(
            (1.0 / maps.factor.abs()).mean()[None].to(maps.factor.dtype), torch.zeros_like(maps.offset[:1])
        )
        mean = grown.apply((mean - mean.mean(dim=0))[None])[0] + shapes.mean(dim=(0, 1))
    return mean


@dataclass(frozen=True)
class ShapeComponents:
    """Principal components of aligned shapes.

    Attributes:
        mean: float32 [68, 2].
        directions: float32 [P, 136], orthonormal.
        deviations: float32 [P], standard deviations along them.
    """

    mean: torch.Tensor
    directions: torch.Tensor
    deviations: torch.Tensor

    def scores(self, shapes: torch.Tensor) -> torch.Tensor:
        """Standardized scores [N, P] of aligned shapes [N, 68, 2]."""
        return (shapes - self.mean).flatten(1) @ self.directions.T / self.deviations


def shape_components(shapes: torch.Tensor, count: int) -> ShapeComponents:
    """Fits principal components.

    Args:
        shapes: float32 [N, 68, 2], aligned.
        count: At most this many components; fewer where N shapes span fewer.

    Returns:
        The components, by falling deviation.
    """
    mean = shapes.mean(dim=0)
    _, values, directions = torch.linalg.svd((shapes - mean).flatten(1).double(), full_matrices=False)
    kept = int((values[:count] > 1e-6 * values[:1].clamp(min=1e-12)).sum())
    kept = min(kept, max(len(shapes) - 1, 0))
    deviations = values[:kept] / max(len(shapes) - 1, 1) ** 0.5
    return ShapeComponents(mean, directions[:kept].float(), deviations.float())


@dataclass(frozen=True)
class Subspace:
    """Where deviations of shapes hold signal rather than noise of the landmarks.

    Attributes:
        directions: float32 [R, 136], orthonormal.
        noise: Estimated standard deviation of one coordinate's noise, a scalar tensor.
    """

    directions: torch.Tensor
    noise: torch.Tensor

    def clean(self, deviations: torch.Tensor) -> torch.Tensor:
        """Takes noise away from deviations [N, 136].

        The part inside the subspace stays. The part outside is shrunk by the positive-part James-Stein factor: exact
        landmarks keep theirs, noisy ones lose it.
        """
        inside = deviations @ self.directions.T @ self.directions
        outside = deviations - inside
        energy = outside.square().sum(dim=1, keepdim=True)
        expected = self.noise.square() * (deviations.shape[1] - len(self.directions))
        return inside + outside * (1.0 - expected / energy.clamp(min=1e-12)).clamp(min=0.0)


def signal_subspace(deviations: torch.Tensor) -> Subspace:
    """Finds the subspace by the optimal hard threshold of singular values (Gavish & Donoho 2014).

    Args:
        deviations: float32 [N, 136], centred.

    Returns:
        The subspace; with fewer than four rows it is empty and the noise 0, so that nothing is taken away.
    """
    if len(deviations) < 4:
        return Subspace(deviations[:0], deviations.new_zeros(()))
    _, values, directions = torch.linalg.svd(deviations.double(), full_matrices=False)
    small, large = sorted(deviations.shape)
    ratio = small / large
    median = values.median()
    # Sections II and III.E: the threshold for a known noise, and the fit of its ratio to the median singular value.
    root = (ratio**2 + 14 * ratio + 1) ** 0.5
    known = (2 * (ratio + 1) + 8 * ratio / (ratio + 1 + root)) ** 0.5
    unknown = 0.56 * ratio**3 - 0.95 * ratio**2 + 1.82 * ratio + 1.43
    noise = median * unknown / (known * large**0.5)
    kept = values > unknown * median
    return Subspace(directions[kept].float(), noise.float())


def signal_shares(deviations: torch.Tensor, subspace: Subspace) -> torch.Tensor:
    """The signal's share of the variance along each direction of a subspace: the factors of a Wiener filter.

    Noise makes the variances v of a sample of N rows larger than those of the population, l + s^2. In the spiked model
    (Baik & Silverstein 2006, eq. 1.1; s^2 the noise, g = 136 / N) v = (l + s^2) (1 + g s^2 / l), which is solved for l.

    Args:
        deviations: float32 [N, 136], what the subspace was found in.
        subspace: As `signal_subspace` gives it.

    Returns:
        float32 [R], l / (l + s^2): 1 without noise, 0 where noise alone gives such a variance.
    """
    variances = (deviations @ subspace.directions.T).double().square().mean(dim=0)
    noise = subspace.noise.double().square()
    # With t = l + s^2 the equation is t^2 - (v + s^2 - g s^2) t + v s^2 = 0; the larger root is the spike.
    half = (variances + noise - noise * deviations.shape[1] / max(len(deviations), 1)) / 2
    total = half + (half.square() - variances * noise).clamp(min=0.0).sqrt()
    return (1.0 - noise / total.clamp(min=1e-24)).clamp(0.0, 1.0).float()


def ridge_regression(inputs: torch.Tensor, outputs: torch.Tensor, penalty: float) -> torch.Tensor:
    """Ridge regression without an intercept.

    Args:
        inputs: float32 [N, P], centred.
        outputs: float32 [N, Q], centred.
        penalty: On the squared weights; above 0.

    Returns:
        float32 [P, Q], the weights W that minimize |inputs W - outputs|^2 + penalty |W|^2.
    """
    x, y = inputs.double(), outputs.double()
    system = x.T @ x + penalty * torch.eye(x.shape[1], dtype=x.dtype, device=x.device)
    return torch.linalg.solve(system, x.T @ y).float()


def pose(shapes: torch.Tensor) -> torch.Tensor:
    """How far the tip of the nose lies beside the middle of the upper jaw line, in face widths.

    It grows with the head's yaw: of embedded faces 0.09 at 5 degrees, 0.19 at 10, 0.28 at 15, 0.37 at 20.

    Args:
        shapes: float32 [N, 68, 2].

    Returns:
        float32 [N], positive where the nose points to the picture's right.
    """
    left, right = shapes[:, 0:3, 0].mean(dim=1), shapes[:, 14:17, 0].mean(dim=1)
    return (shapes[:, _NOSE_TIP, 0] - (left + right) / 2) / (right - left).abs().clamp(min=1e-3)


def face_outline(shapes: torch.Tensor, forehead: float = 0.2) -> torch.Tensor:
    """The jaw line closed by the brows, lifted so that the lines of the forehead lie inside: [N, 27, 2]."""
    brows = shapes[:, _BROWS].flip(1).clone()
    brows[..., 1] -= forehead * (shapes[:, _JAW, 1].amax(1) - brows[..., 1].mean(1))[:, None].clamp(min=0)
    return torch.cat([shapes[:, _JAW], brows], dim=1)


def skin_brightness(images: torch.Tensor, shapes: torch.Tensor) -> torch.Tensor:
    """Mean brightness of the cheeks and chin, measured between the nose and the jaw line.

    Args:
        images: float32 [N, C, H, W].
        shapes: float32 [N, 68, 2].

    Returns:
        float32 [N].
    """
    nose, jaw = shapes[:, _NOSE_TIP, None], shapes[:, _JAW]
    points = torch.cat([nose + share * (jaw - nose) for share in (0.45, 0.6, 0.75)], dim=1)
    found = F.grid_sample(images, points[:, :, None], mode="bilinear", padding_mode="border", align_corners=False)
    return found.mean(dim=(1, 2, 3))


def soft_polygon(corners: torch.Tensor, size: int, softness: float) -> torch.Tensor:
    """Masks of polygons with soft edges.

    Args:
        corners: float32 [N, K, 2], x y in -1..1, in order around the polygon.
        size: Edge of the mask in pixels.
        softness: Width of the edge's ramp, in the same units as the corners (a pixel is 2 / size).

    Returns:
        float32 [N, 1, size, size]: 1 inside, 0 outside, a half on the edge itself.
    """
    line = (torch.arange(size, device=corners.device, dtype=torch.float32) + 0.5) * (2.0 / size) - 1.0
    y, x = line[None, :, None], line[None, None, :]
    inside = torch.zeros(len(corners), size, size, dtype=torch.bool, device=corners.device)
    nearest = torch.full((len(corners), size, size), torch.inf, device=corners.device)
    following = corners.roll(-1, dims=1)
    for k in range(corners.shape[1]):
        x1, y1 = (corners[:, k, axis, None, None] for axis in (0, 1))
        x2, y2 = (following[:, k, axis, None, None] for axis in (0, 1))
        rise = torch.where((y2 - y1).abs() < 1e-9, torch.full_like(y1, 1e-9), y2 - y1)
        inside ^= ((y1 > y) != (y2 > y)) & (x < (x2 - x1) * (y - y1) / rise + x1)
        run, climb = x2 - x1, y2 - y1
        along = ((x - x1) * run + (y - y1) * climb) / (run.square() + climb.square()).clamp(min=1e-12)
        along = along.clamp(0.0, 1.0)
        squared = (x - x1 - along * run).square() + (y - y1 - along * climb).square()
        nearest = torch.minimum(nearest, squared)
    distance = nearest.sqrt()
    signed = torch.where(inside, distance, -distance)
    return (0.5 + signed / softness).clamp(0.0, 1.0)[:, None]
