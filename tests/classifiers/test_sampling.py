from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from classifiers.sampling import DrawStream

label_lists = st.lists(st.integers(0, 4), min_size=1, max_size=60)


@given(
    labels=label_lists, balanced=st.booleans(), seed=st.integers(0, 9), sizes=st.lists(st.integers(0, 50), max_size=6)
)
@settings(max_examples=50)
def test_the_sequence_does_not_depend_on_how_much_is_taken(
    labels: list[int], balanced: bool, seed: int, sizes: list[int]
) -> None:
    whole = DrawStream(np.array(labels), balanced=balanced, seed=seed).take(sum(sizes))
    stream = DrawStream(np.array(labels), balanced=balanced, seed=seed)
    parts = [stream.take(size) for size in sizes]
    assert np.array_equal(np.concatenate(parts) if parts else np.empty(0), whole)


@given(labels=label_lists, seed=st.integers(0, 9))
@settings(max_examples=50)
def test_unbalanced_draws_are_shuffled_passes(labels: list[int], seed: int) -> None:
    drawn = DrawStream(np.array(labels), balanced=False, seed=seed).take(3 * len(labels))
    for turn in drawn.reshape(3, -1):
        assert sorted(turn) == list(range(len(labels)))


@given(labels=label_lists, seed=st.integers(0, 9))
@settings(max_examples=50)
def test_balanced_draws_hold_each_class_alike_and_each_face_alike(labels: list[int], seed: int) -> None:
    array = np.array(labels)
    present = np.unique(array)
    rounds = 2 * len(labels)
    drawn = DrawStream(array, balanced=True, seed=seed).take(rounds * len(present))
    for block in array[drawn].reshape(rounds, -1):
        assert sorted(block) == sorted(present)
    uses = np.bincount(drawn, minlength=len(labels))
    for label in present:
        of_class = uses[array == label]
        assert of_class.max() - of_class.min() <= 1


def test_seeds_differ() -> None:
    labels = np.arange(40) % 4
    one, two = (DrawStream(labels, balanced=True, seed=seed).take(40) for seed in (0, 1))
    assert not np.array_equal(one, two)


def test_no_face_is_refused() -> None:
    with pytest.raises(ValueError, match="no face"):
        DrawStream(np.empty(0, np.int64), balanced=True, seed=0)
