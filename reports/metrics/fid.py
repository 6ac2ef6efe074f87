"""The Frechet distance between two sets of features (FID where the features are Inception's).

Heusel et al., "GANs trained by a two time-scale update rule converge to a local Nash equilibrium", 2017, eq. 6
(arXiv:1706.08500); the distance between Gaussians is Dowson and Landau's, 1982.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

SMALL_SAMPLE = 2048
"""Below this many images a 2,048-dimensional covariance is rank-deficient and the distance is badly biased."""


@dataclass(frozen=True)
class Moments:
    """Mean and covariance of a set of features.

    Attributes:
        mean: float64 [D].
        covariance: float64 [D, D], unbiased (divided by n - 1).
        count: Number of feature vectors, n.
    """

    mean: np.ndarray
    covariance: np.ndarray
    count: int


def feature_moments(features: np.ndarray) -> Moments:
    """Mean and unbiased covariance of features [N, D].

    Raises:
        ValueError: There are fewer than two rows, or some are not finite.
    """
    values = _checked(features)
    centred = values - values.mean(axis=0)
    return Moments(values.mean(axis=0), centred.T @ centred / (len(values) - 1), len(values))


def frechet_distance(mean1: np.ndarray, covariance1: np.ndarray, mean2: np.ndarray, covariance2: np.ndarray) -> float:
    """The squared Frechet distance between two Gaussians (Heusel et al. 2017, eq. 6).

    |m1 - m2|^2 + Tr(C1 + C2 - 2 (C1 C2)^(1/2)). The trace of the root is taken by symmetric eigen-decompositions:
    C1 C2 has the eigenvalues of the symmetric C1^(1/2) C2 C1^(1/2), so no root of a non-symmetric matrix is needed,
    and rank-deficient covariances need no jitter.

    Args:
        mean1: [D].
        covariance1: [D, D], symmetric and positive semi-definite.
        mean2: [D].
        covariance2: [D, D], symmetric and positive semi-definite.

    Returns:
        The squared distance, at least 0 (rounding below 0 is clipped).

    Raises:
        ValueError: The shapes don't fit together.
    """
    mean1, mean2 = np.asarray(mean1, np.float64), np.asarray(mean2, np.float64)
    covariance1, covariance2 = np.asarray(covariance1, np.float64), np.asarray(covariance2, np.float64)
    dimension = len(mean1)
    if mean2.shape != (dimension,) or {covariance1.shape, covariance2.shape} != {(dimension, dimension)}:
        raise ValueError(
            f"moments of different shapes: means {mean1.shape} {mean2.shape}, "
            f"covariances {covariance1.shape} {covariance2.shape}"
        )
    values, vectors = np.linalg.eigh(covariance1)
    root = (vectors * np.sqrt(values.clip(min=0))) @ vectors.T
    product = root @ covariance2 @ root
    eigenvalues = np.linalg.eigvalsh((product + product.T) / 2)
    trace_of_root = np.sqrt(eigenvalues.clip(min=0)).sum()
    difference = mean1 - mean2
    distance = difference @ difference + np.trace(covariance1) + np.trace(covariance2) - 2 * trace_of_root
    return max(float(distance), 0.0)


def frechet_distance_of_features(features1: np.ndarray, features2: np.ndarray) -> float:
    """The squared Frechet distance between the Gaussians fitted to two sets of features.

    Exact for any number of rows. With fewer rows than dimensions the trace of the root is the sum of the singular
    values of X1 X2^T / sqrt((n1 - 1)(n2 - 1)), X centred: an n1 x n2 problem instead of a D x D one, which takes
    milliseconds for a rare class.

    Args:
        features1: [N1, D].
        features2: [N2, D].

    Returns:
        The squared distance, at least 0.

    Raises:
        ValueError: A set has fewer than two rows, dimensions differ, or values are not finite.
    """
    values1, values2 = _checked(features1), _checked(features2)
    if values1.shape[1] != values2.shape[1]:
        raise ValueError(f"features of different dimensions: {values1.shape[1]} and {values2.shape[1]}")
    if min(len(values1), len(values2)) >= values1.shape[1]:
        moments1, moments2 = feature_moments(values1), feature_moments(values2)
        return frechet_distance(moments1.mean, moments1.covariance, moments2.mean, moments2.covariance)
    mean1, mean2 = values1.mean(axis=0), values2.mean(axis=0)
    centred1 = (values1 - mean1) / np.sqrt(len(values1) - 1)
    centred2 = (values2 - mean2) / np.sqrt(len(values2) - 1)
    trace_of_root = np.linalg.svd(centred1 @ centred2.T, compute_uv=False).sum()
    difference = mean1 - mean2
    distance = difference @ difference + (centred1**2).sum() + (centred2**2).sum() - 2 * trace_of_root
    return max(float(distance), 0.0)


def _checked(features: np.ndarray) -> np.ndarray:
    values = np.asarray(features, np.float64)
    if values.ndim != 2 or len(values) < 2:
        raise ValueError(f"a Frechet distance needs at least two feature vectors per side, got shape {values.shape}")
    if not np.isfinite(values).all():
        raise ValueError("features are not finite")
    return values
