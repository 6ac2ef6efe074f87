"""The Frechet and kernel distances against other implementations and by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import linalg
from sklearn.metrics import pairwise

from reports.metrics.fid import feature_moments, frechet_distance, frechet_distance_of_features
from reports.metrics.kid import kernel_distance, polynomial_kernel


def gaussian(seed: int, count: int, dimension: int, shift: float = 0.0) -> np.ndarray:
    random = np.random.default_rng(seed)
    mixing = np.eye(dimension) + random.normal(size=(dimension, dimension)) * 0.3
    return random.normal(size=(count, dimension)) @ mixing + shift


def frechet_by_matrix_root(mean1, covariance1, mean2, covariance2) -> float:
    """The published formula as pytorch-fid writes it."""
    root = linalg.sqrtm(covariance1 @ covariance2)
    root = root[0] if isinstance(root, tuple) else root
    return float(((mean1 - mean2) ** 2).sum() + np.trace(covariance1 + covariance2 - 2 * root.real))


@pytest.mark.parametrize("seed", range(4))
def test_frechet_agrees_with_the_matrix_root(seed: int) -> None:
    first, second = gaussian(seed, 400, 24), gaussian(seed + 50, 300, 24, shift=0.4)
    one, two = feature_moments(first), feature_moments(second)
    wanted = frechet_by_matrix_root(one.mean, one.covariance, two.mean, two.covariance)
    found = frechet_distance(one.mean, one.covariance, two.mean, two.covariance)
    assert found == pytest.approx(wanted, rel=1e-6)


def test_wrong_formula_is_caught() -> None:
    """The product of the roots is not the root of the product unless the covariances commute."""
    one, two = feature_moments(gaussian(1, 400, 12)), feature_moments(gaussian(2, 400, 12))

    def wrong(mean1, covariance1, mean2, covariance2):
        def root(covariance):
            values, vectors = np.linalg.eigh(covariance)
            return (vectors * np.sqrt(values)) @ vectors.T

        difference = mean1 - mean2
        roots = root(covariance1) @ root(covariance2)
        return difference @ difference + np.trace(covariance1 + covariance2 - 2 * roots)

    wanted = frechet_by_matrix_root(one.mean, one.covariance, two.mean, two.covariance)
    arguments = (one.mean, one.covariance, two.mean, two.covariance)
    assert abs(wrong(*arguments) - wanted) > 0.05 * wanted
    assert abs(frechet_distance(*arguments) - wanted) < 1e-6 * wanted


def test_eigenvalues_of_the_unsymmetric_product_by_eigvalsh_are_caught() -> None:
    """`eigvalsh` reads one triangle only: on C1 C2, which is not symmetric, it is wrong without a warning."""
    one, two = feature_moments(gaussian(3, 400, 12)), feature_moments(gaussian(4, 400, 12, shift=1.0))
    naive_root = np.sqrt(np.linalg.eigvalsh(one.covariance @ two.covariance).clip(min=0)).sum()
    naive = ((one.mean - two.mean) ** 2).sum() + np.trace(one.covariance + two.covariance) - 2 * naive_root
    wanted = frechet_by_matrix_root(one.mean, one.covariance, two.mean, two.covariance)
    assert abs(naive - wanted) > 1e-3 * wanted


def test_frechet_by_hand() -> None:
    """Diagonal covariances: |m1 - m2|^2 + sum (sqrt(v1) - sqrt(v2))^2 = 9 + 16 + 1 + 4."""
    distance = frechet_distance(np.array([0.0, 1.0]), np.diag([1.0, 9.0]), np.array([3.0, 5.0]), np.diag([4.0, 25.0]))
    assert distance == pytest.approx(9 + 16 + 1 + 4)


def test_frechet_of_one_dimension_by_hand() -> None:
    first, second = np.array([[0.0], [2.0]]), np.array([[1.0], [1.0], [4.0]])
    assert frechet_distance_of_features(first, second) == pytest.approx((1 - 2) ** 2 + (2**0.5 - 3**0.5) ** 2)


@settings(max_examples=25)
@given(seed=st.integers(0, 10_000), count1=st.integers(2, 12), count2=st.integers(2, 12))
def test_few_rows_take_the_short_way_to_the_same_value(seed: int, count1: int, count2: int) -> None:
    first, second = gaussian(seed, count1, 16), gaussian(seed + 1, count2, 16, shift=0.5)
    one, two = feature_moments(first), feature_moments(second)
    long_way = frechet_distance(one.mean, one.covariance, two.mean, two.covariance)
    assert frechet_distance_of_features(first, second) == pytest.approx(long_way, rel=1e-5, abs=1e-5)


def test_frechet_is_symmetric_and_zero_on_itself() -> None:
    first, second = gaussian(7, 60, 8), gaussian(8, 60, 8)
    there, back = frechet_distance_of_features(first, second), frechet_distance_of_features(second, first)
    assert there == pytest.approx(back)
    assert frechet_distance_of_features(first, first) == pytest.approx(0, abs=1e-9)


def test_unlike_or_too_few_features_are_refused() -> None:
    with pytest.raises(ValueError, match="at least two"):
        frechet_distance_of_features(np.zeros((1, 3)), np.zeros((4, 3)))
    with pytest.raises(ValueError, match="different dimensions"):
        frechet_distance_of_features(np.zeros((4, 2)), np.zeros((4, 3)))
    with pytest.raises(ValueError, match="not finite"):
        frechet_distance_of_features(np.full((4, 3), np.nan), np.zeros((4, 3)))
    with pytest.raises(ValueError, match="different shapes"):
        frechet_distance(np.zeros(2), np.eye(2), np.zeros(3), np.eye(3))


def test_kernel_is_the_library_s() -> None:
    first, second = gaussian(1, 20, 6), gaussian(2, 15, 6)
    wanted = pairwise.polynomial_kernel(first, second, degree=3, gamma=1 / 6, coef0=1)
    np.testing.assert_allclose(polynomial_kernel(first, second), wanted)


def test_kernel_distance_by_hand() -> None:
    """x = 0, 1 against y = 2, 3, one dimension: within x 1, within y 7^3, between (1 + 1 + 3^3 + 4^3) / 4."""
    distance = kernel_distance(np.array([[0.0], [1.0]]), np.array([[2.0], [3.0]]))
    assert distance == pytest.approx(1 + 343 - 2 * (1 + 1 + 27 + 64) / 4)


def test_kernel_distance_is_unbiased_and_the_biased_one_is_not() -> None:
    random = np.random.default_rng(0)
    unbiased, biased = [], []
    for _ in range(400):
        first, second = random.normal(size=(8, 4)), random.normal(size=(8, 4))
        unbiased.append(kernel_distance(first, second))
        biased.append(
            polynomial_kernel(first, first).mean()
            + polynomial_kernel(second, second).mean()
            - 2 * polynomial_kernel(first, second).mean()
        )
    error = np.std(unbiased) / len(unbiased) ** 0.5
    assert abs(np.mean(unbiased)) < 4 * error
    assert np.mean(biased) > 10 * error


def test_kernel_distance_over_subsets_nears_the_whole() -> None:
    first, second = gaussian(1, 300, 5), gaussian(2, 300, 5, shift=0.5)
    whole = kernel_distance(first, second)
    parts = kernel_distance(first, second, subset_size=100, subsets=50, seed=3)
    assert parts == pytest.approx(whole, rel=0.1)
    assert parts == kernel_distance(first, second, subset_size=100, subsets=50, seed=3)
    assert parts != whole
