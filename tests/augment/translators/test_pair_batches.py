"""Batches of pairs: which are drawn, and that source, target, mask and landmarks are changed alike."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
import torch
from gan_faces import TINY, random_faces
from paired_faces import paired_faces

from augment.faces.tensors import mirror_landmarks, to_unit_range
from augment.training.batches import BatchMaker
from augment.translators import create_translator
from augment.translators.attribute_gan import WARM_START
from augment.translators.pair_batches import PairBatches, varied


def test_sources_are_drawn_as_often_as_their_class_occurs() -> None:
    """Six faces of one more class 2: of ten faces a person 1/10, 1/10 and 8/10."""
    people = paired_faces(1)
    extra = replace(people.take([2] * 7), subjects=(None,) * 7)
    faces = replace(
        people,
        images=torch.cat([people.images, extra.images]),
        labels=torch.cat([people.labels, extra.labels]),
        landmarks=torch.cat([people.landmarks, extra.landmarks]),  # type: ignore[list-item]
        face_ids=tuple(f"face-{row}" for row in range(10)),
        subjects=(*people.subjects, *extra.subjects),
    )
    batches = PairBatches(faces)
    pairs = batches.pairs
    found = {
        (int(faces.labels[source]), int(faces.labels[target])): float(weight / batches.weights.sum())
        for source, target, weight in zip(pairs.sources, pairs.targets, batches.weights, strict=True)
    }
    assert found == pytest.approx({(0, 1): 0.05, (0, 2): 0.05, (1, 0): 0.05, (1, 2): 0.05, (2, 0): 0.4, (2, 1): 0.4})


def test_outside_the_face_the_source_is_wanted() -> None:
    faces = paired_faces(brightness=(-60, 60, 0))
    drawn = PairBatches(faces).draw(16, torch.Generator().manual_seed(0), mirror=False)
    outside = drawn.masks == 0
    assert bool(outside.any()) and torch.equal(drawn.wanted[outside], drawn.sources[outside])
    # At the mouth it is the target's: the brightness of its class, as far as the light's correction leaves it.
    mouth = (slice(None), 0, slice(33, 36), slice(20, 28))
    change = (drawn.wanted - drawn.sources)[mouth].mean(dim=(1, 2))
    expected = torch.tensor([-60.0, 60.0, 0.0])
    difference = (expected[drawn.targets] - expected[drawn.labels]) / 127.5
    assert bool((change.sign() == difference.sign()).all()) and bool((change.abs() > 0.3 * difference.abs()).all())


def test_half_precision_moves_no_landmark_and_no_pixel() -> None:
    """A step of mixed precision draws in its midst: products of coordinates must not be rounded to three digits."""
    batches = PairBatches(paired_faces(brightness=(-60, 60, 0)))
    plain = batches.draw(8, torch.Generator().manual_seed(0), variation=1.0)
    moved = varied(plain.sources, torch.Generator().manual_seed(1), 1.0)
    with torch.autocast("cpu", torch.bfloat16):
        drawn = batches.draw(8, torch.Generator().manual_seed(0), variation=1.0)
        again = varied(plain.sources, torch.Generator().manual_seed(1), 1.0)
        rounded = plain.source_landmarks @ torch.eye(2)
    for part in fields(plain):
        assert torch.equal(getattr(drawn, part.name), getattr(plain, part.name)), part.name
    assert torch.equal(again, moved)
    assert not torch.equal(rounded.float(), plain.source_landmarks), "outside of them half precision is computed in"


def test_a_mirrored_pair_is_mirrored_whole() -> None:
    faces = paired_faces(brightness=(-60, 60, 0))
    batches = PairBatches(faces)
    plain = batches.draw(32, torch.Generator().manual_seed(0), mirror=False)
    mirrored = batches.draw(32, torch.Generator().manual_seed(0), mirror=True)
    turned = [row for row in range(32) if not torch.equal(plain.sources[row], mirrored.sources[row])]
    assert 5 < len(turned) < 27
    for row in turned:
        for part in ("sources", "wanted", "masks"):
            assert torch.equal(getattr(plain, part)[row].flip(-1), getattr(mirrored, part)[row]), part
        for part in ("source_landmarks", "target_landmarks"):
            expected = mirror_landmarks(getattr(plain, part)[row : row + 1])[0]
            assert torch.allclose(getattr(mirrored, part)[row], expected, atol=1e-6), part


def test_variation_moves_pictures_and_landmarks_together() -> None:
    """A bright spot at a landmark stays at it."""
    faces = paired_faces(2)
    assert faces.landmarks is not None
    images = torch.full_like(faces.images, 30)
    for row, (x, y) in enumerate(faces.landmarks[:, 30].tolist()):
        images[row, 0, round(48 * y - 0.5), round(48 * x - 0.5)] = 255
    batches = PairBatches(replace(faces, images=images))
    drawn = batches.draw(16, torch.Generator().manual_seed(0), variation=2.0)
    own = batches.draw(16, torch.Generator().manual_seed(0)).source_landmarks
    moved = (drawn.source_landmarks - own).norm(dim=2).mean()
    assert moved > 0.02  # of the edge: about a pixel
    spots = drawn.sources[:, 0].flatten(1).argmax(dim=1)
    found = torch.stack([spots % 48 + 0.5, spots // 48 + 0.5], dim=1) / 48
    assert (found - drawn.source_landmarks[:, 30]).abs().max() < 2 / 48


def test_without_variation_sources_are_training_faces() -> None:
    faces = paired_faces()
    drawn = PairBatches(faces).draw(8, torch.Generator().manual_seed(0), mirror=False)
    known = to_unit_range(faces.images)
    assert all(any(torch.equal(source, face) for face in known) for source in drawn.sources)


def test_no_pairs_are_refused() -> None:
    with pytest.raises(ValueError, match="no pairs"):
        PairBatches(random_faces(4))


@pytest.mark.parametrize("mirror", [True, False])
@pytest.mark.parametrize("method", ["stargan", "stargan, flow", "flow_matching"])
def test_pairs_of_a_training_are_mirrored_where_its_faces_are(
    method: str, mirror: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    draw = PairBatches.draw

    def noting(self: PairBatches, *rest: object, mirror: bool, **others: object) -> object:
        asked.append(mirror)
        return draw(self, *rest, mirror=mirror, **others)  # type: ignore[arg-type]

    monkeypatch.setattr(PairBatches, "draw", noting)
    faces = paired_faces(4)
    settings = {
        "stargan": {**TINY, "warm_start_share": 0.5},
        "stargan, flow": {**TINY, "warm_start_share": 0.5, "output": "flow", "conditioning": "instance_norm"},
        "flow_matching": {"width": 4, "downs": 1, "residual_blocks": 1, "coupling": "pairs"},
    }[method]
    translator = create_translator(
        method.split(",")[0],
        num_classes=3,
        channels=1,
        size=faces.size,
        settings=settings,  # type: ignore[arg-type]
    )
    translator.prepare_training(faces)
    made = BatchMaker(translator, faces, batch_size=6, balanced_sources=False, balanced_targets=True, mirror=mirror)
    batch = made.draw(torch.Generator().manual_seed(0), step=0, total_steps=2, phase=WARM_START)
    assert batch.mirror is mirror
    translator.losses("generator", batch)
    assert asked == [mirror]
