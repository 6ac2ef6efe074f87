"""The kernel distance between two sets of features (KID where the features are Inception's).

Binkowski et al., "Demystifying MMD GANs", 2018, section 4 (arXiv:1801.01401). Unlike the Frechet distance, its
estimate is unbiased for any n, so it is the better one for rare classes.
"""

from __future__ import annotations

import numpy as np


def polynomial_kernel(
    features1: np.ndarray, features2: np.ndarray, *, degree: int = 3, coefficient: float = 1.0
) -> np.ndarray:
    """k(x, y) = (x.y / D + coefficient)^degree for all pairs: [N1, D], [N2, D] -> float64 [N1, N2]."""
    dimension = features1.shape[1]
    product = np.asarray(features1, np.float64) @ np.asarray(features2, np.float64).T
    return (product / dimension + coefficient) ** degree


def kernel_distance(
    features1: np.ndarray,
    features2: np.ndarray,
    *,
    degree: int = 3,
    coefficient: float = 1.0,
    subset_size: int | None = None,
    subsets: int = 100,
    seed: int = 0,
) -> float:
    """The unbiased estimate of the squared maximum mean discrepancy with a polynomial kernel.

    Args:
        features1: [N1, D].
        features2: [N2, D].
        degree: Of the polynomial; 3 as published.
        coefficient: The kernel's constant; 1 as published.
        subset_size: Average over random subsets of this size (1,000 in the published KID) to bound memory; None, or a
            size not below that of the smaller set, uses every pair once.
        subsets: Number of random subsets.
        seed: Of the random subsets.

    Returns:
        The estimate; it can be negative by random variation, and is not clipped, because clipping would bias it.

    Raises:
        ValueError: A set has fewer than two rows, dimensions differ, or values are not finite.
    """
    for features in (features1, features2):
        if features.ndim != 2 or len(features) < 2:
            raise ValueError(f"a kernel distance needs at least two feature vectors per side, got {features.shape}")
        if not np.isfinite(features).all():
            raise ValueError("features are not finite")
    if features1.shape[1] != features2.shape[1]:
        raise ValueError(f"features of different dimensions: {features1.shape[1]} and {features2.shape[1]}")
    if subset_size is None or subset_size >= min(len(features1), len(features2)):
        return _unbiased_discrepancy(features1, features2, degree, coefficient)
    if subset_size < 2:
        raise ValueError(f"subset_size must be at least 2, not {subset_size}")
    random = np.random.default_rng(seed)
    estimates = [
        _unbiased_discrepancy(
            features1[random.choice(len(features1), subset_size, replace=False)],
            features2[random.choice(len(features2), subset_size, replace=False)],
            degree,
            coefficient,
        )
        for _ in range(subsets)
    ]
    return float(np.mean(estimates))


def _unbiased_discrepancy(features1: np.ndarray, features2: np.ndarray, degree: int, coefficient: float) -> float:
    count1, count2 = len(features1), len(features2)
    within1 = polynomial_kernel(features1, features1, degree=degree, coefficient=coefficient)
    within2 = polynomial_kernel(features2, features2, degree=degree, coefficient=coefficient)
    between = polynomial_kernel(features1, features2, degree=degree, coefficient=coefficient)
    # Pairs of a face with itself are excluded: the diagonal would bias the estimate upwards.
    return float(
        (within1.sum() - np.trace(within1)) / (count1 * (count1 - 1))
        + (within2.sum() - np.trace(within2)) / (count2 * (count2 - 1))
        - 2 * between.mean()
    )
