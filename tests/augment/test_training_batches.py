"""Batches: drawn fairly, mirrored together; and the sample sheet."""

from __future__ import annotations

import io
from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from tiny_translators import SIZE, TinyFit, TinySettings, tiny_faces, tiny_gan

from augment.core.seeding import derive_seed, seeded
from augment.faces.tensors import to_unit_range
from augment.training.batches import BatchMaker, FaceSampler, mirror_faces
from augment.training.samples import choose_rows, draw_sheet, sample_sheet


def maker(faces: Any = None, **changes: Any) -> BatchMaker:
    options: dict[str, Any] = {
        "batch_size": 8,
        "balanced_sources": False,
        "balanced_targets": True,
        "mirror": True,
    }
    return BatchMaker(tiny_gan(), faces or tiny_faces(), **(options | changes))


def draws(batches: BatchMaker, count: int, seed: int = 0) -> list[Any]:
    generator = torch.Generator().manual_seed(seed)
    return [batches.draw(generator, step=step, total_steps=count) for step in range(count)]


@settings(max_examples=40)
@given(
    labels=st.lists(st.integers(0, 3), min_size=1, max_size=20),
    counts=st.lists(st.integers(1, 9), min_size=1, max_size=8),
    balanced=st.booleans(),
)
def test_the_sampler_passes_over_all_and_goes_on_where_it_was(
    labels: list[int], counts: list[int], balanced: bool
) -> None:
    label_tensor = torch.tensor(labels)
    sampler = FaceSampler(label_tensor, balanced=balanced)
    generator = torch.Generator().manual_seed(1)
    drawn: list[int] = []
    for count in counts:
        drawn += sampler.draw(count, generator).tolist()
    seen = Counter(drawn)
    groups = [np.flatnonzero(np.array(labels) == label) for label in set(labels)] if balanced else [range(len(labels))]
    for group in groups:  # without replacement: within a group no face is two passes ahead of another
        times = [seen[int(member)] for member in group]
        assert max(times) - min(times) <= 1

    other = FaceSampler(label_tensor, balanced=balanced)
    other.load_state(sampler.state())
    state = generator.get_state()
    expected = sampler.draw(25, generator)
    generator.set_state(state)
    assert torch.equal(other.draw(25, generator), expected)


def test_balanced_sources_come_evenly() -> None:
    labels = torch.tensor([0] * 97 + [1, 1, 2])
    generator = torch.Generator().manual_seed(0)
    even = labels[FaceSampler(labels, balanced=True).draw(3000, generator)].bincount()
    assert (even - 1000).abs().max() < 130  # 5 standard deviations of a binomial count
    plain = labels[FaceSampler(labels, balanced=False).draw(3000, generator)].bincount()
    assert plain.tolist() == [2910, 60, 30]


def test_balanced_targets_come_evenly_from_the_classes_that_have_faces() -> None:
    faces = tiny_faces(40)
    without_happy = faces.take(torch.nonzero(faces.labels != 1).flatten())
    targets = torch.cat([batch.targets for batch in draws(maker(without_happy, batch_size=50), 40)]).bincount()
    assert targets[1] == 0
    assert abs(targets[0] - 1000) < 112 and targets[0] + targets[2] == 2000
    for batch in draws(maker(balanced_targets=False), 5):
        assert batch.targets.sort().values.tolist() == batch.labels.sort().values.tolist()


@pytest.mark.parametrize("budget", [10**9, 0], ids=["kept", "batch by batch"])
def test_picture_and_side_input_are_mirrored_together(budget: int) -> None:
    """Each face of a batch is either as it lies in the table or wholly mirrored: picture and side input agree."""
    faces = tiny_faces()
    translator = tiny_gan()
    everyone = torch.ones(len(faces), dtype=torch.bool)
    plain = (to_unit_range(faces.images), translator.side_input(faces))
    turned = (to_unit_range(faces.images.flip(-1)), translator.side_input(mirror_faces(faces, everyone)))
    assert plain[1] is not None and turned[1] is not None
    # The trap: a flipped map is not the map of the flipped face, for left and right planes change places.
    assert not torch.allclose(turned[1], plain[1].flip(-1), atol=1e-3)
    ways = Counter()
    for batch in draws(maker(faces, side_input_budget=budget), 20):
        for image, side in zip(batch.images, batch.side_input, strict=True):
            as_plain = [torch.equal(image, other) for other in plain[0]]
            as_turned = [torch.equal(image, other) for other in turned[0]]
            assert sum(as_plain) + sum(as_turned) == 1
            way = plain if any(as_plain) else turned
            position = (as_plain if any(as_plain) else as_turned).index(True)
            assert torch.allclose(side, way[1][position], atol=1e-6)
            ways["plain" if way is plain else "turned"] += 1
    assert abs(ways["plain"] - 80) < 32  # 5 standard deviations


def test_without_mirroring_nothing_is_mirrored() -> None:
    faces = tiny_faces()
    known = {image.numpy().tobytes() for image in to_unit_range(faces.images)}
    for batch in draws(maker(faces, mirror=False), 10):
        assert all(image.numpy().tobytes() in known for image in batch.images)


def test_kept_side_input_equals_that_of_a_batch() -> None:
    kept, fresh = draws(maker(), 6), draws(maker(side_input_budget=0), 6)
    for one, other in zip(kept, fresh, strict=True):
        assert torch.equal(one.images, other.images) and torch.equal(one.targets, other.targets)
        assert torch.allclose(one.side_input, other.side_input, atol=1e-6)


def test_mirroring_twice_gives_the_face_again() -> None:
    faces = tiny_faces()
    which = torch.arange(len(faces)) % 2 == 0
    twice = mirror_faces(mirror_faces(faces, which), which)
    assert torch.equal(twice.images, faces.images)
    assert faces.landmarks is not None and twice.landmarks is not None
    assert torch.allclose(twice.landmarks, faces.landmarks, atol=1e-6, equal_nan=True)


def test_seeds_for_different_purposes_differ() -> None:
    seeds = {derive_seed(1, "a"), derive_seed(1, "b"), derive_seed(2, "a"), derive_seed("1", "a"), derive_seed("1a")}
    assert len(seeds) == 5 and all(0 <= seed < 2**63 for seed in seeds)
    with seeded(3):
        first = torch.rand(2)
    with seeded(3):
        assert torch.equal(torch.rand(2), first)


# The sample sheet


def test_rows_show_every_class_first() -> None:
    labels = torch.tensor([2, 2, 2, 0, 2, 1, 0])
    assert sorted(choose_rows(labels, 3)) == [0, 3, 5]
    assert choose_rows(labels, 100) and sorted(choose_rows(labels, 100)) == list(range(7))


@pytest.mark.parametrize("channels", [1, 3])
def test_a_sheet_shows_input_and_outputs_in_place(channels: int) -> None:
    inputs = torch.full((2, channels, 72, 72), 10, dtype=torch.uint8)
    outputs = torch.zeros(2, 3, channels, 72, 72, dtype=torch.uint8)
    for row in range(2):
        for column in range(3):
            outputs[row, column] = 50 + 60 * row + 20 * column
    sheet = np.asarray(draw_sheet(inputs, outputs, [0, 2], ("angry", "happy", "an-endless-name")))
    for row in range(2):
        for column in range(4):
            centre = sheet[20 + row * 74 + 36, 2 + column * 74 + 36]
            wanted = 10 if column == 0 else 50 + 60 * row + 20 * (column - 1)
            assert centre.tolist() == [wanted] * 3
    blue = (sheet == (0, 114, 178)).all(-1)
    assert blue[20:92].any() and not blue[20:92, 150:].any()  # the first row's own class is column 1
    assert blue[94:166, 222:].any() and not blue[94:166, :222].any()


def test_a_sheet_names_data_sets_above_the_classes_and_may_lack_inputs() -> None:
    outputs = torch.full((2, 3, 1, 72, 72), 90, dtype=torch.uint8)
    one_line = np.asarray(draw_sheet(None, outputs, (), ("angry", "happy", "sad")))
    two_lines = np.asarray(draw_sheet(None, outputs, (), ("photo: angry", "photo: sad", "drawn: sad")))
    assert one_line.shape == (2 + 2 * 74 + 18, 2 + 3 * 74, 3), "three columns, none of inputs"
    assert two_lines.shape[0] == one_line.shape[0] + 11
    assert not (one_line == (0, 114, 178)).all(-1).any(), "nothing is an input's own class"


def test_a_sheet_is_a_png_of_the_translator(tmp_path: Any) -> None:
    translator = TinyFit(num_classes=3, channels=1, size=SIZE, settings=TinySettings())
    translator.fit(tiny_faces())
    png = sample_sheet(translator, tiny_faces().take([0, 1]), torch.Generator().manual_seed(0))
    with Image.open(io.BytesIO(png)) as picture:
        assert picture.format == "PNG" and picture.mode == "RGB"
