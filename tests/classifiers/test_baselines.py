"""HOG and LBP with a support vector machine."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pydantic import ValidationError
from skimage.feature import local_binary_pattern
from sklearn.metrics import recall_score
from sklearn.svm import LinearSVC

from augment.core.errors import InputError
from augment.faces.tensors import FaceTensors
from classifiers.baselines import BaselineSettings, _choice, _score, extract, grey_pictures, train_baseline

CLASS_NAMES = ("flat", "rising", "upright")


def gratings(
    count: int,
    *,
    seed: int,
    channels: int = 1,
    size: int = 24,
    classes: tuple[int, ...] = (0, 1, 2),
    noise: float = 25.0,
) -> FaceTensors:
    """Noisy stripes whose direction is the class; their place and contrast vary."""
    chance = np.random.default_rng(seed)
    labels = chance.choice(classes, count)
    labels[: len(classes)] = classes
    rows, columns = np.mgrid[:size, :size]
    angle = (labels * np.pi / 3)[:, None, None]
    phase, contrast = chance.uniform(0, 6, (2, count, 1, 1))
    wave = np.sin((rows * np.cos(angle) + columns * np.sin(angle)) * 0.9 + phase) * (20 + 10 * contrast)
    pictures = np.clip(128 + wave + chance.normal(0, noise, (count, size, size)), 0, 255).astype(np.uint8)
    return FaceTensors(
        images=torch.from_numpy(np.repeat(pictures[:, None], channels, axis=1)),
        labels=torch.from_numpy(labels.astype(np.int64)),
        landmarks=None,
        masks=None,
        face_ids=tuple(f"{seed}-{number}" for number in range(count)),
        subjects=(None,) * count,
        class_names=CLASS_NAMES,
    )


SMALL = BaselineSettings(hog_cells=4, lbp_grid=3)


@pytest.mark.parametrize("kind", ["hog", "lbp"])
@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_it_learns_what_the_labels_say(kind: Any, kernel: Any) -> None:
    train, validation, test = (gratings(count, seed=seed) for seed, count in enumerate((150, 60, 90)))
    options = SMALL.model_copy(update={"kernel": kernel})
    row = train_baseline(kind, train, validation, options, seed=0)
    found = row.predictions(test)
    assert (found["predicted"] == found["labels"]).mean() > 0.9
    assert row.validation_score > 0.9 and row.penalty in row.validation_scores


def test_without_a_rule_there_is_nothing_to_learn() -> None:
    """Negative control: with shuffled labels the score is chance, so that no leak does the work above."""
    train, validation, test = (gratings(count, seed=seed) for seed, count in enumerate((150, 60, 90)))
    generator = torch.Generator().manual_seed(0)
    rates = []
    for _ in range(8):
        shuffled = train.labels[torch.randperm(len(train), generator=generator)]
        blind = FaceTensors(**{**vars(train), "labels": shuffled})
        found = train_baseline("hog", blind, validation, BaselineSettings(hog_cells=4, penalties=(0.01,)), seed=0)
        rates.append((found.predictions(test)["predicted"] == test.labels.numpy()).mean())
    assert abs(np.mean(rates) - 1 / 3) < 0.2


def test_predictions_have_the_form_of_the_other_arms() -> None:
    test = gratings(20, seed=2)
    row = train_baseline("hog", gratings(60, seed=0), gratings(30, seed=1), SMALL, seed=0)
    found = row.predictions(test)
    assert found["face_ids"].tolist() == list(test.face_ids)
    assert found["labels"].tolist() == test.labels.tolist()
    assert found["softmaxed_scores"].shape == (20, 3) and found["softmaxed_scores"].dtype == np.float32
    assert np.allclose(found["softmaxed_scores"].sum(axis=1), 1, atol=1e-6)
    assert found["predicted"].tolist() == row.machine.predict(extract("hog", test, SMALL)).tolist()
    empty = row.predictions(test.take([]))
    assert empty["predicted"].shape == (0,) and empty["softmaxed_scores"].shape == (0, 3)


def test_it_is_repeatable() -> None:
    faces = gratings(150, seed=0), gratings(50, seed=1)
    options = BaselineSettings(hog_cells=4, choice_faces=60)
    first, again = (train_baseline("hog", *faces, options, seed=4).softmaxed_scores(faces[1]) for _ in range(2))
    assert np.array_equal(first, again)


def test_validation_faces_choose_and_are_not_learned() -> None:
    """With one C there is no choice, so that other validation faces can't change what is predicted."""
    options = BaselineSettings(hog_cells=4, penalties=(0.01,))
    train, test = gratings(80, seed=0, noise=80), gratings(40, seed=3, noise=80)
    rows = [train_baseline("hog", train, gratings(30, seed=seed, noise=80), options, seed=0) for seed in (1, 2)]
    assert np.array_equal(rows[0].decision_scores(test), rows[1].decision_scores(test))
    assert rows[0].validation_scores == {}
    # With a choice they do matter: the score of every C is theirs.
    checks = [gratings(30, seed=seed, noise=80) for seed in (1, 2)]
    several = BaselineSettings(hog_cells=4, penalties=(1e-5, 0.01))
    scores = [train_baseline("hog", train, faces, several, seed=0).validation_scores for faces in checks]
    assert scores[0] != scores[1]


def test_every_penalty_is_tried_as_if_by_hand() -> None:
    """Learned from the training faces alone, scored on the validation faces; of equals the smallest is kept."""
    train, validation = gratings(60, seed=0, noise=60), gratings(40, seed=1, noise=60)
    penalties = (1.0, 1e-5, 0.003, 0.01, 30.0, 0.01)
    row = train_baseline("hog", train, validation, BaselineSettings(hog_cells=4, penalties=penalties), seed=3)
    features, checks = (extract("hog", faces, SMALL) for faces in (train, validation))
    expected = {}
    for penalty in sorted(set(penalties)):
        machine = LinearSVC(C=penalty, class_weight="balanced", dual=True, tol=1e-3, max_iter=2000, random_state=3)
        machine.fit(features - features.mean(axis=0), train.labels.numpy())
        predicted = machine.predict(checks - features.mean(axis=0))
        expected[penalty] = recall_score(validation.labels.numpy(), predicted, average="macro")
    assert row.validation_scores == pytest.approx(expected)
    best = max(expected.values())
    assert row.penalty == min(penalty for penalty, score in expected.items() if score == pytest.approx(best))
    assert row.validation_score == pytest.approx(best)  # the kept machine learned from no validation face


def test_of_equal_penalties_the_smallest_is_kept() -> None:
    easy = gratings(60, seed=0, noise=0), gratings(30, seed=1, noise=0)
    row = train_baseline("hog", *easy, BaselineSettings(hog_cells=4, penalties=(1.0, 0.1)), seed=0)
    assert row.validation_scores == {0.1: 1.0, 1.0: 1.0} and row.penalty == 0.1


def test_two_classes_and_a_class_without_a_face() -> None:
    train, validation = gratings(60, seed=0, classes=(0, 2)), gratings(30, seed=1, classes=(0, 2))
    row = train_baseline("hog", train, validation, SMALL, seed=0)
    scores = row.decision_scores(validation)
    assert np.isneginf(scores[:, 1]).all()
    assert np.array_equal(scores[:, 0], -scores[:, 2])
    found = row.predictions(validation)
    assert (found["softmaxed_scores"][:, 1] == 0).all() and np.isfinite(found["softmaxed_scores"]).all()
    assert (found["predicted"] == found["labels"]).mean() > 0.9


def test_a_rare_class_is_found_when_balanced() -> None:
    """15 to 1: unweighted, the rare class is seldom said."""
    faces = gratings(700, seed=0, noise=60)
    rare = torch.nonzero(faces.labels == 2).flatten()[:15]
    train = faces.take(torch.cat([torch.nonzero(faces.labels != 2).flatten(), rare]))
    test = gratings(300, seed=5, noise=60)
    recalls = []
    for balanced in (True, False):
        options = BaselineSettings(hog_cells=4, penalties=(0.003,), class_balanced=balanced)
        found = train_baseline("hog", train, test, options, seed=0).predictions(test)
        recalls.append((found["predicted"] == 2)[found["labels"] == 2].mean())
    assert recalls[0] > recalls[1] + 0.2


@pytest.mark.parametrize(
    ("train", "validation", "options", "message"),
    [
        (gratings(10, seed=0).take([]), gratings(10, seed=1), SMALL, "training faces: there are none"),
        (gratings(10, seed=0), gratings(10, seed=1).take([]), SMALL, "validation faces: there are none"),
        (gratings(10, seed=0, classes=(1,)), gratings(10, seed=1), SMALL, "are all of one class"),
        (gratings(10, seed=0, size=10), gratings(10, seed=1, size=10), BaselineSettings(), "lower hog_cells"),
        (gratings(10, seed=0), gratings(10, seed=1, size=32), SMALL, "validation faces: have 32 px"),
    ],
)
def test_what_cannot_be_trained_is_refused(
    train: FaceTensors, validation: FaceTensors, options: BaselineSettings, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        train_baseline("hog", train, validation, options, seed=0)


@pytest.mark.parametrize(("key", "value"), [("penalties", (0.0,)), ("penalties", ()), ("lbp_grid", 0), ("gamma", 1)])
def test_impossible_settings_are_refused(key: str, value: Any) -> None:
    with pytest.raises(ValidationError, match=key):
        BaselineSettings(**{key: value})


# Features


def test_grey_is_pillows() -> None:
    chance = np.random.default_rng(0)
    pixels = chance.integers(0, 256, (2, 3, 8, 8), dtype=np.uint8)
    faces = FaceTensors(**{**vars(gratings(2, seed=0, classes=(0, 1))), "images": torch.from_numpy(pixels)})
    for picture, grey in zip(pixels, grey_pictures(faces), strict=True):
        wanted = np.asarray(Image.fromarray(picture.transpose(1, 2, 0)).convert("L"))
        assert np.abs(wanted.astype(int) - grey.astype(int)).max() <= 1
    alike = gratings(4, seed=0, channels=3)
    assert np.array_equal(grey_pictures(alike), grey_pictures(gratings(4, seed=0)))


def test_hog_tells_directions_and_ignores_brightness() -> None:
    """The gradient of upright stripes is horizontal: all energy lies in the bin of angle 0, wherever they are."""
    stripes = np.tile(np.where(np.arange(24) % 8 < 4, 60, 180).astype(np.uint8), (24, 1))
    faces = gratings(3, seed=0)
    images = torch.from_numpy(np.stack([stripes, stripes.T, stripes // 2])[:, None])
    features = extract("hog", FaceTensors(**{**vars(faces), "images": images}), SMALL)
    assert features.shape == (3, 3 * 3 * 2 * 2 * 9)
    by_bin = np.square(features.reshape(3, -1, 9)).sum(axis=1)
    assert by_bin[0].argmax() == 0 and by_bin[0, 0] > 0.99 * by_bin[0].sum()
    assert by_bin[1].argmax() == 4 and by_bin[1, 4] > 0.99 * by_bin[1].sum()
    assert np.allclose(features[0], features[2], atol=0.02)


@pytest.mark.parametrize("size", [16, 17, 23, 28, 48, 64])
def test_hog_has_as_many_cells_as_it_says_at_every_size(size: int) -> None:
    faces = gratings(3, seed=0)
    images = torch.randint(0, 256, (3, 1, size, size), dtype=torch.uint8)
    features = extract("hog", FaceTensors(**{**vars(faces), "images": images}), BaselineSettings())
    assert features.shape == (3, 5 * 5 * 2 * 2 * 9)  # blocks of 2 x 2 among 6 x 6 cells, 9 bins each
    # What is over is left out on all sides alike: a mirrored picture has the mirrored features' energy.
    mirrored = extract("hog", FaceTensors(**{**vars(faces), "images": images.flip(-1)}), BaselineSettings())
    if size % 2 == 0 and (size - 6 * (size // 6)) % 2 == 0:
        energy, other = (np.square(found.reshape(3, 5, 5, -1)).sum(-1) for found in (features, mirrored))
        assert np.allclose(energy, other[:, :, ::-1], atol=1e-4)


def test_lbp_histograms_are_those_of_the_regions() -> None:
    faces = gratings(3, seed=0, size=25)  # 25 px do not part evenly into 3
    features = extract("lbp", faces, SMALL).reshape(3, 9, 59)
    assert np.allclose(np.square(features).sum(axis=2), 1, atol=1e-5)
    patterns = local_binary_pattern(faces.images[1, 0].numpy(), 8, 2.0, method="nri_uniform").astype(int)
    rows, columns = slice(9, 17), slice(17, 25)  # floor(i * 3 / 25): 0..8, 9..16, 17..24
    counts = np.bincount(patterns[rows, columns].ravel(), minlength=59)
    assert np.allclose(features[1, 1 * 3 + 2], np.sqrt(counts / 64), atol=1e-6)


# The choice of C


@settings(max_examples=50)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=60), st.integers(5, 40), st.integers(0, 9))
def test_the_faces_of_the_choice_stand_for_all(labels: list[int], count: int, seed: int) -> None:
    array = np.array(labels)
    kept = _choice(array, count, seed)
    assert len(kept) == len(set(kept.tolist())) == min(count, len(array))
    assert set(array[kept]) == set(labels)  # no class is lost
    for label in set(labels):  # in proportion
        share = (array[kept] == label).sum() - min(count, len(array)) * (array == label).mean()
        assert abs(share) <= 5
    assert np.array_equal(kept, _choice(array, count, seed))


def test_scores_by_hand() -> None:
    labels, predicted = np.array([0, 0, 0, 1]), np.array([0, 0, 2, 1])
    assert _score("accuracy", labels, predicted) == 0.75
    assert _score("balanced_accuracy", labels, predicted) == pytest.approx((2 / 3 + 1) / 2)
    assert _score("macro_f1", labels, predicted) == pytest.approx((0.8 + 1 + 0) / 3)
