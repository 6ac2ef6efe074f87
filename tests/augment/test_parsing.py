from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from drawn_faces import drawn_faces

from augment.core.errors import InputError
from augment.core.sealed_tensors import load_tensors
from augment.faces.table import NO_MASK
from augment.faces.tensors import FaceTensors, to_unit_range
from augment.parsing.augmentation import AppearanceAugmentation
from augment.parsing.network import (
    DepthwiseSeparableBlock,
    ParsingNetwork,
    ParsingSettings,
    load_parsing,
    save_parsing,
)
from augment.parsing.scores import intersection_over_union, parsing_statistics
from augment.parsing.training import Teacher, _augment, train_parsing

pytestmark = pytest.mark.slow

SMALL = ParsingSettings(width=8, levels=2, steps=120, batch_size=8, learning_rate=1e-2)


@pytest.fixture(scope="module")
def trained() -> tuple[ParsingNetwork, dict]:
    return train_parsing(drawn_faces(24), drawn_faces(12, seed=1), SMALL, seed=0, device="cpu")


def test_learns_the_parts_of_faces_it_has_not_seen(trained: tuple[ParsingNetwork, dict]) -> None:
    _, report = trained
    assert report["scored_on"] == "validation" and report["faces"] == 12 and report["steps"] == 120
    assert all(value > 0.6 for value in report["intersection_over_union"].values()), report
    untrained = ParsingNetwork(channels=1, size=16, settings=SMALL).eval()
    faces = drawn_faces(12, seed=1)
    assert faces.masks is not None
    guess = intersection_over_union(untrained, faces.images, faces.masks)
    assert min(guess.values()) < 0.3


def test_is_frozen_but_lets_gradients_through_to_the_picture(trained: tuple[ParsingNetwork, dict]) -> None:
    network, _ = trained
    assert not network.training and not any(p.requires_grad for p in network.parameters())
    picture = to_unit_range(drawn_faces(1).images).requires_grad_()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    network(picture).logsumexp(1).mean().backward()
    assert picture.grad is not None and picture.grad.abs().sum() > 0
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())


def test_saved_and_loaded_is_the_same(trained: tuple[ParsingNetwork, dict], tmp_path: Path) -> None:
    network, _ = trained
    save_parsing(network, tmp_path / "parsing.safetensors")
    loaded = load_parsing(tmp_path / "parsing.safetensors")
    picture = to_unit_range(drawn_faces(2).images)
    assert torch.equal(network(picture), loaded(picture))
    assert loaded.settings == SMALL and not any(p.requires_grad for p in loaded.parameters())


def test_same_seed_same_weights_and_no_trace_in_the_global_state() -> None:
    settings = SMALL.model_copy(update={"steps": 3})
    torch.manual_seed(5)
    state = torch.random.get_rng_state()
    first, _ = train_parsing(drawn_faces(6), None, settings, seed=1, device="cpu")
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.manual_seed(6)
    second, report = train_parsing(drawn_faces(6), None, settings, seed=1, device="cpu")
    other, _ = train_parsing(drawn_faces(6), None, settings, seed=2, device="cpu")
    assert report["scored_on"] == "train"
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    assert not torch.equal(first.stem.weight, other.stem.weight)


def test_unmasked_faces_and_pixels_teach_nothing() -> None:
    faces = drawn_faces(8)
    assert faces.masks is not None
    masks = faces.masks.clone()
    masks[4:] = 255
    noise = faces.images.clone()
    noise[4:] = torch.randint(0, 256, noise[4:].shape, dtype=torch.uint8)
    settings = SMALL.model_copy(update={"steps": 3})
    args = dict(landmarks=None, face_ids=faces.face_ids, subjects=faces.subjects, class_names=faces.class_names)
    some = FaceTensors(images=noise, labels=faces.labels, masks=masks, **args)
    first, _ = train_parsing(some, None, settings, seed=0, device="cpu")
    second, _ = train_parsing(faces.take(range(4)), None, settings, seed=0, device="cpu")
    assert torch.equal(first.head.weight, second.head.weight)
    network = ParsingNetwork(channels=1, size=16, settings=SMALL).eval()
    half = faces.masks.clone()
    half[:, 8:] = 255
    whole = intersection_over_union(network, faces.images, faces.masks)
    assert intersection_over_union(network, faces.images, half) != whole
    assert intersection_over_union(network, faces.images, torch.full_like(half, 255)) == dict.fromkeys(whole, 1.0)


def test_masks_are_mirrored_with_their_pictures() -> None:
    faces = drawn_faces(16)
    assert faces.masks is not None
    quiet = ParsingSettings(brightness=0, contrast=0, noise=0)
    pictures = to_unit_range(faces.images)
    images, masks = _augment(pictures, faces.masks.long(), quiet, torch.Generator().manual_seed(0))
    mirrored = [not torch.allclose(a, b, atol=1e-5) for a, b in zip(images, pictures, strict=True)]
    assert 3 < sum(mirrored) < 13
    for row, flipped in enumerate(mirrored):
        assert torch.allclose(images[row], pictures[row].flip(2) if flipped else pictures[row], atol=1e-5)
        expected = faces.masks[row].long()
        assert torch.equal(masks[row], expected.flip(1) if flipped else expected)


def test_intersection_over_union_by_hand() -> None:
    class Fixed(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.anchor = torch.nn.Parameter(torch.zeros(1))

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return torch.nn.functional.one_hot(torch.tensor([[[0, 1], [1, 2]]]), 4).permute(0, 3, 1, 2).float()

    truth = torch.tensor([[[0, 1], [2, 2]]], dtype=torch.uint8)
    values = intersection_over_union(Fixed(), torch.zeros(1, 1, 2, 2, dtype=torch.uint8), truth)  # type: ignore[arg-type]
    assert values == pytest.approx({"background": 1.0, "skin": 0.5, "lips": 0.5, "eyes": 1.0})


@pytest.mark.parametrize(("channels", "size"), [(1, 48), (3, 64), (1, 128)])
def test_shapes_and_parameter_count(channels: int, size: int) -> None:
    network = ParsingNetwork(channels=channels, size=size, settings=ParsingSettings(width=8, levels=3))
    assert network(torch.zeros(2, channels, size, size)).shape == (2, 4, size, size)

    def block(inner: int, outer: int) -> int:
        return inner * 9 + 2 * inner + inner * outer + 2 * outer

    expected = channels * 9 * 8 + 8 + 8 * 4 + 4
    expected += block(8, 8) + block(8, 16) + block(16, 32) + block(32, 64)
    expected += block(32 + 64, 32) + block(16 + 32, 16) + block(8 + 16, 8)
    assert sum(p.numel() for p in network.parameters()) == expected


def test_further_blocks_of_a_level_keep_its_features(tmp_path: Path) -> None:
    settings = ParsingSettings(width=4, levels=2, blocks=2)
    network = ParsingNetwork(channels=1, size=16, settings=settings)
    assert network(torch.zeros(2, 1, 16, 16)).shape == (2, 4, 16, 16)
    names = [name for name, part in network.named_modules() if isinstance(part, DepthwiseSeparableBlock)]
    assert len(names) == 2 * (3 + 2)
    second = network.get_submodule("down.2.1")
    assert second.depthwise.in_channels == second.pointwise.out_channels == 16
    save_parsing(network, tmp_path / "parsing.safetensors")
    assert load_parsing(tmp_path / "parsing.safetensors").settings == settings


def test_a_file_of_single_blocks_says_nothing_of_them(trained: tuple[ParsingNetwork, dict], tmp_path: Path) -> None:
    """So it is the same, byte for byte, as before a level could have several."""
    save_parsing(trained[0], tmp_path / "parsing.safetensors")
    tensors, header = load_tensors(tmp_path / "parsing.safetensors", "parsing network", "train it again")
    assert "levels" in header["settings"] and "blocks" not in header["settings"]
    assert "down.0.depthwise.weight" in tensors


def test_bad_input_says_its_fix(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="multiples of 8"):
        ParsingNetwork(channels=1, size=44, settings=ParsingSettings(levels=3))
    faces = drawn_faces(2)
    args = dict(landmarks=None, face_ids=faces.face_ids, subjects=faces.subjects, class_names=faces.class_names)
    for masks in (None, torch.full((2, 16, 16), 255, dtype=torch.uint8)):
        bare = FaceTensors(images=faces.images, labels=faces.labels, masks=masks, **args)
        with pytest.raises(InputError, match="lambda_parsing=0"):
            train_parsing(bare, None, SMALL, seed=0, device="cpu")
    with pytest.raises(InputError, match=r"absent\.safetensors"):
        load_parsing(tmp_path / "absent.safetensors")
    (tmp_path / "broken.safetensors").write_bytes(b"not a file of tensors")
    with pytest.raises(InputError, match="no readable parsing network"):
        load_parsing(tmp_path / "broken.safetensors")


# Several teachers


def noise_faces(count: int, seed: int, masks: torch.Tensor | None = None) -> FaceTensors:
    faces = drawn_faces(count, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    pictures = torch.randint(0, 256, faces.images.shape, dtype=torch.uint8, generator=generator)
    return replace(faces, images=pictures, masks=faces.masks if masks is None else masks)


def test_teachers_are_drawn_by_their_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: dict[int, int] = {}

    def count_faces(images: torch.Tensor, masks: torch.Tensor, *_: object) -> tuple[torch.Tensor, torch.Tensor]:
        drawn[int(masks[0, 0, 0])] = drawn.get(int(masks[0, 0, 0]), 0) + len(images)
        return images, masks

    monkeypatch.setattr("augment.parsing.training._augment", count_faces)
    size = (3, 16, 16)
    teachers = [
        Teacher(name, replace(drawn_faces(3), masks=torch.full(size, part, dtype=torch.uint8)), weight)
        for part, (name, weight) in enumerate((("first", 1.0), ("second", 3.0), ("never", 0.0)))
    ]
    settings = SMALL.model_copy(update={"steps": 50, "batch_size": 16})
    _, report = train_parsing(teachers, None, settings, 0, "cpu")
    assert set(drawn) == {0, 1} and sum(drawn.values()) == 800
    assert drawn[1] == pytest.approx(600, abs=50)
    assert [(teacher["name"], teacher["share"]) for teacher in report["teachers"]] == [
        ("first", 0.25),
        ("second", 0.75),
    ]


def test_two_teachers_teach_what_neither_does_alone() -> None:
    """One knows the left half of each face, the other the right half; ignored pixels teach nothing wrong."""
    faces = drawn_faces(24)
    assert faces.masks is not None
    left, right = faces.masks.clone(), faces.masks.clone()
    left[:, :, 8:], right[:, :, :8] = NO_MASK, NO_MASK
    halves = [Teacher("left", replace(faces, masks=left)), Teacher("right", replace(faces, masks=right))]
    _, report = train_parsing(halves, drawn_faces(12, seed=1), SMALL, 0, "cpu")
    assert all(value > 0.6 for value in report["intersection_over_union"].values()), report


def test_a_strongly_augmented_teacher_is_augmented_so() -> None:
    settings = SMALL.model_copy(update={"steps": 3})
    mild, _ = train_parsing([Teacher("a", drawn_faces(6))], None, settings, 0, "cpu")
    look = AppearanceAugmentation()
    strong, report = train_parsing([Teacher("a", drawn_faces(6), appearance=look)], None, settings, 0, "cpu")
    assert report["teachers"][0]["augmentation"] == "strong"
    assert not torch.equal(mild.head.weight, strong.head.weight)
    plain, _ = train_parsing(drawn_faces(6), None, settings, 0, "cpu")
    assert torch.equal(mild.head.weight, plain.head.weight)


def test_only_teachers_teach() -> None:
    """Neither validation nor held-out faces change a weight, whatever they show."""
    settings = SMALL.model_copy(update={"steps": 3})
    networks, reports = [], []
    for seed in (1, 2):
        others = noise_faces(6, seed)
        network, report = train_parsing(drawn_faces(6), others, settings, 0, "cpu", noise_faces(5, seed + 5))
        networks.append(network)
        reports.append(report)
    assert all(torch.equal(a, b) for a, b in zip(networks[0].parameters(), networks[1].parameters(), strict=True))
    assert reports[0]["intersection_over_union"] != reports[1]["intersection_over_union"]
    assert reports[0]["held_out"] != reports[1]["held_out"] and reports[0]["held_out"]["faces"] == 5
    other, _ = train_parsing(noise_faces(6, 1), None, settings, 0, "cpu")
    assert not torch.equal(other.head.weight, networks[0].head.weight)  # the control


def test_scored_on_the_best_that_there_is() -> None:
    settings = SMALL.model_copy(update={"steps": 1})
    bare = replace(drawn_faces(4, seed=2), masks=None)
    for validation, held_out, expected in (
        (drawn_faces(4, seed=1), drawn_faces(5, seed=3), ("validation", 4)),
        (bare, drawn_faces(5, seed=3), ("held_out", 5)),
        (None, None, ("train", 6)),
    ):
        _, report = train_parsing(drawn_faces(6), validation, settings, 0, "cpu", held_out)
        assert (report["scored_on"], report["faces"]) == expected
        assert (report["held_out"] is None) == (held_out is None)


def test_teachers_of_different_forms_are_refused() -> None:
    teachers = [Teacher("a", drawn_faces(2)), Teacher("b", drawn_faces(2, channels=3))]
    with pytest.raises(InputError, match="differ in form: 1 x 16 px, 3 x 16 px"):
        train_parsing(teachers, None, SMALL, 0, "cpu")


def test_areas_and_failures_by_hand() -> None:
    class Told(torch.nn.Module):
        """Finds what the picture's grey value says, so that faces can be made up."""

        def __init__(self) -> None:
            super().__init__()
            self.anchor = torch.nn.Parameter(torch.zeros(1))

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            parts = ((images[:, 0] + 1) * 127.5 / 80).round().long()
            return torch.nn.functional.one_hot(parts, 4).permute(0, 3, 1, 2).float()

    parts = torch.zeros(4, 1, 32, 32, dtype=torch.uint8)
    parts[:, :, :16] = 1  # half is skin
    parts[:, :, 2:4, :16] = 3  # 1/32 is eyes
    parts[:3, :, 10, :8] = 2  # 1/128 is lips; the last face has none
    parts[1, :, 2:4] = 1  # no eyes
    parts[2] = 0
    parts[2, :, 0, :2], parts[2, :, 1, :2] = 2, 3  # two pixels each are too few, and no skin
    found = parsing_statistics(Told(), parts * 80)  # type: ignore[arg-type]
    assert found["faces"] == 4
    assert found["failures"] == {"skin": 0.25, "lips": 0.5, "eyes": 0.5, "any": 0.75}
    areas = {name: float((parts == number).float().mean()) for number, name in enumerate(found["areas"])}
    assert found["areas"] == pytest.approx(areas)
    empty = parsing_statistics(Told(), parts[:0])  # type: ignore[arg-type]
    assert empty["faces"] == 0 and empty["areas"] is None and empty["failures"] is None
