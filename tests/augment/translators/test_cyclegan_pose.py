"""CycleGAN between simulated and real frontal faces."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from gan_faces import changed, copy_of, random_faces, step_once
from torch.nn import functional as F

from augment.faces.tensors import FaceTensors, to_bytes_range, to_unit_range
from augment.translators import create_translator
from augment.translators.base import Batch, CannotTranslateError
from augment.translators.cyclegan import CycleGan
from augment.translators.cyclegan_pose import CycleGanPose

pytestmark = pytest.mark.slow

SETTINGS = {"width": 4, "residual_blocks": 1, "discriminator_downs": 1, "image_pool_size": 0}


def tiny() -> CycleGanPose:
    made = create_translator("cyclegan_pose", num_classes=3, channels=1, size=16, settings=SETTINGS)
    assert isinstance(made, CycleGanPose)
    return made


def turned_faces(count: int = 6) -> FaceTensors:
    """Noise with simulated faces of noise; every other face is turned by 30 degrees."""
    faces = random_faces(count, size=16, channels=1)
    return replace(faces, simulated=faces.images.flip(0).bitwise_or(1), yaw=torch.tensor([0.0, 30.0] * count)[:count])


def batch_of(translator: CycleGanPose, faces: FaceTensors) -> Batch:
    """All faces as one batch; the mirror pictures of the photographs are the real frontal faces."""
    return Batch(
        images=to_unit_range(faces.images),
        labels=faces.labels,
        targets=faces.labels,
        side_input=translator.side_input(faces),
        step=0,
        total_steps=100,
        generator=torch.Generator().manual_seed(0),
        examples=to_unit_range(faces.images.flip(-1)),
    )


def test_the_losses_are_cyclegans_of_simulated_and_real_faces() -> None:
    """Least squares both ways, and ten times the mean absolute difference of both ways back (eq. 1 and 2)."""
    translator, faces = tiny(), turned_faces()
    batch = batch_of(translator, faces)
    simulated, real = batch.side_input, batch.examples
    assert simulated is not None and real is not None
    pair, judges = translator.generators[0], translator.discriminators[0]
    made_real, made_simulated = pair.leaving(simulated), pair.returning(real)
    terms = translator.generator_losses(batch)
    torch.testing.assert_close(terms["leaving"], (judges.leaving(made_real) - 1).square().mean())
    torch.testing.assert_close(terms["returning"], (judges.returning(made_simulated) - 1).square().mean())
    way_back = F.l1_loss(pair.returning(made_real), simulated) + F.l1_loss(pair.leaving(made_simulated), real)
    torch.testing.assert_close(terms["cycle"], 10 * way_back)


def test_the_losses_are_those_of_a_bundle_of_one_pair() -> None:
    """Beside `cyclegan`: the same pair, whose sides are other pictures."""
    translator, faces = tiny(), turned_faces()
    batch = batch_of(translator, faces)
    bundle = create_translator("cyclegan", num_classes=2, channels=1, size=16, settings=SETTINGS)
    assert isinstance(bundle, CycleGan) and batch.side_input is not None
    bundle.load_state_dict(translator.state_dict())
    none, all_ = torch.zeros(6, dtype=torch.int64), torch.ones(6, dtype=torch.int64)
    same = replace(batch, images=batch.side_input, labels=none, targets=all_)
    bundle._hub = 0
    for ours, theirs in (
        (translator.generator_losses(batch), bundle.generator_losses(same)),
        (translator.discriminator_losses(batch), bundle.discriminator_losses(same)),
    ):
        assert ours.keys() == theirs.keys()
        for name, value in ours.items():
            torch.testing.assert_close(value, theirs[name])


def test_it_translates_simulated_faces_and_no_photograph() -> None:
    translator, faces = tiny(), turned_faces()
    assert faces.simulated is not None and translator.keeps_class
    made = translator.translate(faces, faces.labels)
    with torch.no_grad():
        expected = to_bytes_range(translator.eval().generators[0].leaving(to_unit_range(faces.simulated)))
    assert torch.equal(made, expected)
    others = replace(faces, images=255 - faces.images)
    assert torch.equal(translator.translate(others, faces.labels.flip(0)), made), "neither photograph nor class matters"


def test_a_step_trains_its_own_networks() -> None:
    translator, faces = tiny(), turned_faces()
    batch = batch_of(translator, faces)
    for network in ("discriminator", "generator"):
        before = copy_of(translator)
        step_once(translator, batch, network)
        assert changed(translator, before) == {name for name in before if name.startswith(f"{network}.")}


def test_faces_without_simulated_or_frontal_ones_are_refused() -> None:
    translator, faces = tiny(), turned_faces()
    translator.check(faces)
    with pytest.raises(CannotTranslateError, match="cyclegan_pose: 6 of 6 faces have no simulated frontal face"):
        translator.check(replace(faces, simulated=None))
    with pytest.raises(CannotTranslateError, match="cyclegan_pose: no real face is turned by at most 10 degrees"):
        translator.check(replace(faces, yaw=torch.full((6,), 40.0)))
    with pytest.raises(CannotTranslateError, match="the batch has no simulated faces"):
        translator.generator_losses(replace(batch_of(translator, faces), side_input=None))
    with pytest.raises(CannotTranslateError, match="the batch has no examples"):
        translator.generator_losses(replace(batch_of(translator, faces), examples=None))
