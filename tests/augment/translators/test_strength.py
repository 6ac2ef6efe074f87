"""Stronger expressions: the factor on what a translation changes."""

from __future__ import annotations

import pytest
import torch
from gan_faces import TINY, random_faces

from augment.core.errors import InputError
from augment.translators import create_translator
from augment.translators.strength import strengthened


def pictures(*values: int) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.uint8).view(-1, 1, 1, 1)


def test_by_hand() -> None:
    sources, made = pictures(100, 100, 20), pictures(120, 80, 10)
    assert strengthened(sources, made, (1.5, 1.5), None).flatten().tolist() == [130, 70, 5]
    assert strengthened(sources, made, (0.0, 0.0), None).flatten().tolist() == [100, 100, 20]
    assert strengthened(sources, made, (4.0, 4.0), None).flatten().tolist() == [180, 20, 0]  # -20 is black
    assert strengthened(sources, made, (1.0, 1.0), None) is made


def test_each_face_has_its_own_and_a_seed_repeats_it() -> None:
    sources, made = pictures(*[100] * 50), pictures(*[200] * 50)
    one, again, other = (
        strengthened(sources, made, (0.5, 1.5), torch.Generator().manual_seed(seed)).flatten() for seed in (1, 1, 2)
    )
    assert torch.equal(one, again) and not torch.equal(one, other)
    assert 150 <= int(one.min()) < 160 and 240 < int(one.max()) <= 250


@pytest.mark.parametrize("method", ["stargan", "lssl", "flow_matching"])
def test_translators_apply_it(method: str) -> None:
    tiny = TINY if method != "flow_matching" else {"width": 4, "source_noise": 0.0}

    def made(strength: list[float]) -> torch.Tensor:
        translator = create_translator(
            method, num_classes=3, channels=1, size=16, settings={**tiny, "strength": strength}, seed=1
        )
        return translator.translate(faces, torch.tensor([1, 2, 0]), torch.Generator().manual_seed(0))

    faces = random_faces(3)
    as_made = made([1.0, 1.0])
    assert torch.equal(made([0.5, 0.5]), strengthened(faces.images, as_made, (0.5, 0.5), None))
    assert torch.equal(made([0.0, 0.0]), faces.images) and not torch.equal(as_made, faces.images)


@pytest.mark.parametrize("strength", [[1.5, 1.0], [-1.0, 1.0], [1.0, 9.0]])
def test_ranges_that_cannot_be_are_refused(strength: list[float]) -> None:
    with pytest.raises(InputError, match="lowest <= highest"):
        create_translator("stargan", num_classes=3, channels=1, size=16, settings={**TINY, "strength": strength})
    with pytest.raises(InputError, match=r"strength must be \[1, 1\]"):
        create_translator("lssl_pose", num_classes=3, channels=1, size=16, settings={**TINY, "strength": [1.0, 2.0]})
