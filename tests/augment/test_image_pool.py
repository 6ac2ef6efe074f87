from __future__ import annotations

import pytest
import torch

from augment.networks.image_pool import ImagePool


def numbered(*values: int) -> torch.Tensor:
    """One 1 x 2 x 2 image a value."""
    return torch.tensor(values, dtype=torch.float32).view(-1, 1, 1, 1).expand(-1, 1, 2, 2).contiguous()


def numbers(images: torch.Tensor) -> list[int]:
    return [int(value) for value in images[:, 0, 0, 0]]


def chance(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_it_is_working_memory_and_no_weight() -> None:
    history = ImagePool(3, 1, 2)
    assert not history.state_dict() and not list(history.parameters())
    assert {name for name, _ in history.named_buffers()} == {"images", "count"}
    with torch.device("meta"):
        assert ImagePool(10**6, 3, 256).images.is_meta


def test_swap_shows_the_newest_until_it_is_full() -> None:
    history = ImagePool(4, 1, 2)
    assert numbers(history.swap(numbered(1, 2, 3), chance())) == [1, 2, 3]
    assert int(history.count) == 3 and numbers(history.images) == [1, 2, 3, 0]
    assert numbers(history.swap(numbered(4), chance())) == [4]
    assert numbers(history.images) == [1, 2, 3, 4]


def test_swap_gives_half_from_the_past_and_puts_the_new_in_its_place() -> None:
    history = ImagePool(50, 1, 2)
    history.swap(numbered(*range(50)), chance())
    generator, old = chance(1), 0
    for step in range(50, 2050):
        before = set(numbers(history.images))
        shown = numbers(history.swap(numbered(step), generator))[0]
        after = set(numbers(history.images))
        if shown == step:
            assert after == before
        else:
            old += 1
            assert shown in before and after == before - {shown} | {step}
    assert old / 2000 == pytest.approx(0.5, abs=0.04)
    assert int(history.count) == 50


def test_swap_takes_the_images_one_after_the_other() -> None:
    """With a place for one, an exchanged image of the batch meets the one that came before it."""
    history = ImagePool(1, 1, 2)
    history.swap(numbered(0), chance())
    seed = next(seed for seed in range(100) if bool((torch.rand(2, generator=chance(seed)) > 0.5).all()))
    assert numbers(history.swap(numbered(1, 2), chance(seed))) == [0, 1]
    assert numbers(history.images) == [2]


def test_mix_shows_half_of_the_past_and_keeps_half_of_the_new() -> None:
    history = ImagePool(6, 1, 2)
    assert numbers(history.mix(numbered(1, 2, 3, 4), chance())) == [1, 2, 3, 4]  # nothing is kept yet
    assert int(history.count) == 2 and numbers(history.images)[:2] == [1, 2]
    shown = numbers(history.mix(numbered(5, 6, 7, 8), chance()))
    assert shown[:2] == [5, 6] and sorted(shown[2:]) == [1, 2]
    shown = numbers(history.mix(numbered(9, 10, 11, 12), chance()))
    assert shown[:2] == [9, 10] and set(shown[2:]) <= {1, 2, 5, 6} and len(set(shown)) == 4
    assert numbers(history.images) == [1, 2, 5, 6, 9, 10]
    history.mix(numbered(13, 14, 15, 16), chance())
    kept = set(numbers(history.images))
    assert {13, 14} < kept and len(kept & {1, 2, 5, 6, 9, 10}) == 4 and int(history.count) == 6


def test_mix_of_an_odd_batch_and_one_larger_than_the_history() -> None:
    history = ImagePool(6, 1, 2)
    history.mix(numbered(1, 2, 3, 4), chance())
    shown = numbers(history.mix(numbered(5, 6, 7), chance()))
    assert shown[:2] == [5, 6] and shown[2] in (1, 2)
    small = ImagePool(1, 1, 2)
    small.mix(numbered(1, 2, 3, 4, 5, 6), chance())
    assert numbers(small.mix(numbered(7, 8, 9, 10, 11, 12), chance())) == [7, 8, 9, 10, 11, 1]
    assert numbers(small.images) == [7]
    assert numbers(history.mix(numbered(20), chance())) == [20]  # half of one is none


@pytest.mark.parametrize("method", ["swap", "mix"])
def test_without_places_it_gives_back_what_it_got(method: str) -> None:
    history = ImagePool(0, 1, 2)
    for step in range(3):
        assert numbers(getattr(history, method)(numbered(step, step + 1), chance())) == [step, step + 1]


@pytest.mark.parametrize("method", ["swap", "mix"])
def test_no_gradient_and_the_same_chance_gives_the_same(method: str) -> None:
    found = []
    for _ in range(2):
        history, generator = ImagePool(4, 1, 2), chance(7)
        for step in range(12):
            images = numbered(4 * step, 4 * step + 1, 4 * step + 2, 4 * step + 3).requires_grad_()
            shown = getattr(history, method)(images, generator)
        assert not shown.requires_grad and not history.images.requires_grad
        found.append((shown, history.images))
    assert torch.equal(found[0][0], found[1][0]) and torch.equal(found[0][1], found[1][1])


@pytest.mark.parametrize("method", ["swap", "mix"])
def test_half_precision_images_are_kept_in_float32(method: str) -> None:
    history = ImagePool(2, 1, 2)
    for _ in range(4):
        shown = getattr(history, method)(numbered(1, 2, 3, 4).bfloat16(), chance())
    assert shown.dtype == torch.bfloat16 and history.images.dtype == torch.float32
