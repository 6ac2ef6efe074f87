from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from skimage.feature import hog
from sklearn.linear_model import LogisticRegression

from augment.faces.images import decode_image
from augment.faces.table import read_faces
from augment.faces.tensors import FaceTensors
from augment.rig import preset, render
from augment.synthesis.generate import SynthesisSettings, synthesize
from augment.translators import create_translator, load_translator, save_translator
from augment.translators.base import CannotTranslateError
from augment.translators.warp import WarpSettings, WarpTranslator

pytestmark = pytest.mark.slow

SIZE = 40
FULL, NEUTRAL_ONLY, TEST = 8, 10, 8
HAPPY, NEUTRAL = 3, 4


@cache
def _all_faces(channels: int = 1) -> tuple[FaceTensors, FaceTensors]:
    """Training faces (8 subjects with all classes, 10 with neutral only) and 8 other subjects."""
    population = preset("rare", seed=0)
    by_subject: dict[int, list] = {}
    for spec in population.specs:
        by_subject.setdefault(spec.subject, []).append(spec)
    train = [s for s in by_subject.values() if s[0].split == "train"]
    full = [s for s in train if len(s) > 1][:FULL]
    neutral_only = [s for s in train if len(s) == 1][:NEUTRAL_ONLY]
    others = [s for s in by_subject.values() if s[0].split == "test"][:TEST]

    def tensors(groups: list) -> FaceTensors:
        specs = [spec for group in groups for spec in group]
        rendered = render(specs, size=SIZE, channels=channels, seed=0)
        return FaceTensors(
            images=torch.from_numpy(np.ascontiguousarray(rendered.images)).permute(0, 3, 1, 2).contiguous(),
            labels=torch.tensor([population.class_names.index(spec.label) for spec in specs]),
            landmarks=torch.from_numpy(np.ascontiguousarray(rendered.landmarks)),
            masks=None,
            face_ids=tuple(spec.face_id for spec in specs),
            subjects=tuple(str(spec.subject) for spec in specs),
            class_names=tuple(population.class_names),
        )

    return tensors(full + neutral_only), tensors(others)


def _warp(size: int = SIZE, channels: int = 1, **settings: object) -> WarpTranslator:
    return WarpTranslator(num_classes=7, channels=channels, size=size, settings=WarpSettings(**settings))


@cache
def _fitted(**settings: object) -> WarpTranslator:
    translator = _warp(**settings)
    translator.fit(_all_faces()[0])
    return translator


def _neutrals(faces: FaceTensors) -> FaceTensors:
    return faces.take(torch.nonzero(faces.labels == NEUTRAL)[:, 0])


def _translate(translator: WarpTranslator, faces: FaceTensors, target: int, seed: int = 0) -> torch.Tensor:
    return translator.translate(faces, torch.full((len(faces),), target), torch.Generator().manual_seed(seed))


def test_the_fit_says_what_it_rests_on() -> None:
    facts = _warp().fit(_all_faces()[0])
    assert facts["reference"] == "neutral"
    assert facts["classes"]["happy"] == {"faces": FULL, "pairs": FULL, "fitted_on": "pairs"}
    assert "neutral" not in facts["classes"]
    assert facts["landmark_noise_in_pixels"] < 0.15


def _accuracy_on_others(images: torch.Tensor, labels: torch.Tensor) -> float:
    """A linear classifier on gradient histograms, learned from these faces, on other subjects' true faces."""

    def features(pictures: torch.Tensor) -> np.ndarray:
        return np.stack(
            [hog(picture[0].numpy(), pixels_per_cell=(5, 5), cells_per_block=(2, 2)) for picture in pictures]
        )

    others = _all_faces()[1]
    classifier = LogisticRegression(C=3.0, max_iter=300).fit(features(images), labels.numpy())
    return float(classifier.score(features(others.images), others.labels.numpy()))


def test_a_classifier_learns_expressions_of_real_faces_from_translated_ones() -> None:
    """Utility in miniature: no test subject's face reached the fit, and no true expression reaches the classifier."""
    sources = _neutrals(_all_faces()[0])
    made = torch.cat([_translate(_fitted(), sources, target, seed) for target in range(7) for seed in range(2)])
    labels = torch.arange(7).repeat_interleave(2 * len(sources))
    accuracy = _accuracy_on_others(made, labels)
    # Chance is 0.14. Negative control: the same pictures with the labels turned by one teach the wrong thing.
    assert accuracy > 0.28
    assert _accuracy_on_others(made, (labels + 1) % 7) < 0.2


def test_happy_widens_the_mouth() -> None:
    mean = _fitted().arrays()[f"class{HAPPY}_mean"]
    assert float(mean[54, 0] - mean[48, 0]) > 0.02
    surprise = _fitted().arrays()["class6_mean"]
    assert float(surprise[66, 1] - surprise[62, 1]) > 0.05
    # Mean displacements are symmetric: mirrored shapes count as well.
    torch.testing.assert_close(mean[48, 0], -mean[54, 0], atol=1e-5, rtol=0)


def test_the_same_generator_gives_the_same_faces() -> None:
    sources = _neutrals(_all_faces()[0])
    first, again = (_translate(_fitted(), sources, HAPPY, seed=1) for _ in range(2))
    assert torch.equal(first, again)
    assert not torch.equal(first, _translate(_fitted(), sources, HAPPY, seed=2))
    assert first.dtype == torch.uint8
    assert first.shape == sources.images.shape


def test_a_neutral_target_hardly_moves_a_neutral_face() -> None:
    sources = _neutrals(_all_faces()[0])
    moved = [
        float((_translate(_fitted(), sources, target).float() - sources.images.float()).abs().mean())
        for target in (NEUTRAL, 6)
    ]
    assert 0 < moved[0] < 0.5 * moved[1]


def test_a_source_never_takes_from_its_own_subject() -> None:
    train = _all_faces()[0]
    subject = train.subjects[0]
    images = train.images.clone()
    row = next(k for k in range(len(train)) if train.subjects[k] == subject and int(train.labels[k]) == HAPPY)
    images[row] = 255 - images[row]
    poisoned = _warp()
    poisoned.fit(replace(train, images=images))
    clean = _fitted()
    neutrals = _neutrals(train)
    own = neutrals.take([neutrals.subjects.index(subject)] * 6)
    stranger = neutrals.take([len(neutrals) - 1] * 6)
    assert torch.equal(_translate(clean, own, HAPPY), _translate(poisoned, own, HAPPY))
    # Negative control: another subject does meet the poisoned donor.
    assert not torch.equal(_translate(clean, stranger, HAPPY), _translate(poisoned, stranger, HAPPY))


def test_saved_and_loaded_it_makes_the_same_faces(tmp_path: Path) -> None:
    train = _all_faces()[0]
    path = tmp_path / "warp.safetensors"
    save_translator(_fitted(), path, class_names=train.class_names)
    for subject in set(train.subjects):
        assert subject.encode() not in path.read_bytes()
    loaded = load_translator(path)
    sources = _neutrals(train)
    assert isinstance(loaded, WarpTranslator)
    assert torch.equal(_translate(_fitted(), sources, 0), _translate(loaded, sources, 0))


def test_sources_that_are_not_neutral_lose_their_own_expression() -> None:
    others = _all_faces()[1]
    happy = others.take(torch.nonzero(others.labels == HAPPY)[:, 0])
    aligned_before = happy.landmarks
    assert aligned_before is not None
    out = _translate(_fitted(), happy, NEUTRAL)
    assert (out.float() - happy.images.float()).abs().mean() > 1.0
    preferred = _fitted().preferred_sources(others.labels, others.class_names)
    assert torch.equal(preferred, others.labels == NEUTRAL)


def test_noisy_landmarks_are_noticed_and_do_little_harm() -> None:
    train = _all_faces()[0]
    assert train.landmarks is not None
    noise = 0.5 / SIZE * torch.randn(train.landmarks.shape, generator=torch.Generator().manual_seed(1))
    noisy = replace(train, landmarks=train.landmarks + noise)
    translator = _warp()
    assert 0.3 < translator.fit(noisy)["landmark_noise_in_pixels"] < 0.7
    mean = translator.arrays()["class6_mean"]
    assert (mean - _fitted().arrays()["class6_mean"]).abs().mean() * SIZE / 2 < 0.35


def test_without_pairs_class_means_take_their_place() -> None:
    train = _all_faces()[0]
    strangers = replace(train, subjects=tuple(None for _ in train.subjects))
    translator = _warp()
    facts = translator.fit(strangers)
    assert facts["classes"]["happy"]["fitted_on"] == "class means"
    mean = translator.arrays()[f"class{HAPPY}_mean"]
    assert float(mean[54, 0] - mean[48, 0]) > 0.0
    assert _translate(translator, _neutrals(strangers), HAPPY).shape[0] == FULL + NEUTRAL_ONLY


def test_without_a_neutral_class_expressions_are_measured_from_the_subjects_mean() -> None:
    train = _all_faces()[0]
    rows = torch.nonzero(train.labels != NEUTRAL)[:, 0]
    six = train.take(rows)
    names = tuple(name for name in train.class_names if name != "neutral")
    six = replace(six, labels=torch.where(six.labels > NEUTRAL, six.labels - 1, six.labels), class_names=names)
    translator = WarpTranslator(num_classes=6, channels=1, size=SIZE, settings=WarpSettings())
    facts = translator.fit(six)
    assert facts["reference"] == "mean of the subject's classes"
    assert facts["classes"]["happy"]["pairs"] == FULL
    assert bool(translator.preferred_sources(six.labels, six.class_names).all())
    out = translator.translate(six, torch.full((len(six),), 5), torch.Generator().manual_seed(0))
    moved = (out.float() - six.images.float()).abs().mean(dim=(1, 2, 3))
    assert float(moved[six.labels != 5].mean()) > float(moved[six.labels == 5].mean())


def test_colour_and_other_sizes() -> None:
    train = _all_faces(channels=3)[0]
    translator = _warp(channels=3)
    translator.fit(train)
    assert _translate(translator, _neutrals(train), 0).shape == (FULL + NEUTRAL_ONLY, 3, SIZE, SIZE)
    large = replace(train, images=torch.nn.functional.interpolate(train.images, size=(80, 80)))
    translator = _warp(size=80, channels=3, max_donors=3)
    translator.fit(large)
    assert translator.arrays()["class0_faces"].shape == (3, 3, 80, 80)
    assert _translate(translator, _neutrals(large), 0).shape == (FULL + NEUTRAL_ONLY, 3, 80, 80)


def test_mixed_precision_around_it_changes_nothing() -> None:
    sources = _neutrals(_all_faces()[0])
    plain = _translate(_fitted(), sources, 1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(plain, _translate(_fitted(), sources, 1))


def test_geometry_alone_adds_no_texture() -> None:
    translator = _fitted(texture="none", paste_mouth=False)
    flat = replace(
        _neutrals(_all_faces()[0]), images=torch.full((FULL + NEUTRAL_ONLY, 1, SIZE, SIZE), 90, dtype=torch.uint8)
    )
    assert torch.equal(_translate(translator, flat, 6), flat.images)
    assert not torch.equal(_translate(_fitted(), flat, 6), flat.images)


def test_it_refuses_what_it_cannot_use() -> None:
    train = _all_faces()[0]
    with pytest.raises(CannotTranslateError, match=r"FER2013.*learned translator"):
        _warp().fit(replace(train, landmarks=None))
    with pytest.raises(CannotTranslateError, match="happy"):
        _warp().fit(train.take(torch.nonzero(train.labels != HAPPY)[:, 0]))
    with pytest.raises(CannotTranslateError, match="fit"):
        _translate(_warp(), train, HAPPY)
    assert train.landmarks is not None
    landmarks = train.landmarks.clone()
    landmarks[2] = float("nan")
    partly = replace(train, landmarks=landmarks)
    with pytest.raises(CannotTranslateError, match=train.face_ids[2]):
        _translate(_fitted(), partly, HAPPY)
    assert _fitted().usable_sources(partly).tolist() == [k != 2 for k in range(len(train))]
    assert _warp().fit(partly)["faces_without_landmarks"] == 1


@pytest.mark.parametrize("bad", [{"gain": (1.2, 0.8)}, {"ridge": 0}, {"texture_donors": 0}, {"grain": 1}])
def test_settings_are_checked(bad: dict) -> None:
    with pytest.raises(ValidationError):
        WarpSettings(**bad)


def test_the_registry_knows_it() -> None:
    translator = create_translator("warp", num_classes=7, channels=1, size=SIZE, settings={"components": 4})
    assert isinstance(translator, WarpTranslator)
    assert translator.settings.components == 4


def test_neutral_faces_are_made_from_expressions_and_none_is_a_training_face(tmp_path: Path) -> None:
    train, _ = _all_faces()
    report = synthesize(
        _fitted(),
        train,
        SynthesisSettings(per_class=30),
        out=tmp_path,
        seed=0,
        fold=0,
        translator_name="warp",
        weights_sha256=None,
        configuration_hash="",
        class_names=train.class_names,
        licence="cc0-1.0",
    )
    rows = read_faces(tmp_path).to_pylist()
    sources = {(row["label_name"] == "neutral", row["source_label"]) for row in rows}
    assert sources == {(True, name) for name in train.class_names if name != "neutral"} | {(False, "neutral")}
    known = {picture.tobytes() for picture in train.images[:, 0].numpy()}
    assert not known & {decode_image(row["image"]["bytes"]).tobytes() for row in rows}
    assert min(report.identity_shift.values()) > 0.01
