"""Scores of translators whose behaviour is known: one that does all it should, one that does nothing, one refused."""

import io
import json
import shutil
from collections import Counter
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image

import augment.translators
from augment.core.errors import InputError
from augment.faces.images import encode_png
from augment.faces.judge import Judge
from augment.faces.licences import Licence, LicenceLine, card_head
from augment.faces.shards import CardFacts, write_faces
from augment.faces.splits import read_folds, write_folds
from augment.faces.table import read_faces
from augment.translators.base import CannotTranslateError
from reports.metrics.reference_faces import check_reference_faces, split_in_halves
from reports.metrics.scores import (
    feature_distances,
    matched_positions,
    movement,
    read_synthetic,
    recognition_scores,
    score_translator,
    untranslated_baseline,
)
from reports.settings import ScoreSettings

pytestmark = pytest.mark.slow

NAMES = ("happy", "neutral", "sad")
LEVELS = (40, 120, 200)
SIZE = 8


class LevelJudge:
    """Takes a picture's brightness for its class."""

    def probabilities(self, images: torch.Tensor) -> np.ndarray:
        mean = images.float().mean(dim=(1, 2, 3)).numpy()
        distance = np.abs(mean[:, None] - np.array(LEVELS))
        return np.exp(-distance) / np.exp(-distance).sum(axis=1, keepdims=True)

    def features(self, images: torch.Tensor) -> np.ndarray:
        return images.float().flatten(1).numpy()[:, :4] / 255


class Painter:
    """Paints every picture in the target's level."""

    size, channels = SIZE, 1
    keeps_class = False
    data_sets: ClassVar[tuple[str, ...]] = ()
    requires: ClassVar[frozenset[str]] = frozenset()

    def eval(self):
        return self

    def usable_sources(self, faces):
        return torch.ones(len(faces), dtype=torch.bool)

    def translate(self, faces, targets, generator=None):
        return torch.tensor(LEVELS, dtype=torch.uint8)[targets].view(-1, 1, 1, 1).expand_as(faces.images).clone()

    def translate_to(self, faces, targets, domains, generator=None):
        return self.translate(faces, targets, generator)


class JointPainter(Painter):
    """Paints as wanted for the first of two data sets; for the second it leaves its input, and does so by itself."""

    data_sets: ClassVar[tuple[str, ...]] = ("photo", "drawn")

    def translate(self, faces, targets, generator=None):
        return faces.images.clone()

    def translate_to(self, faces, targets, domains, generator=None):
        return torch.where(
            (domains == 0)[:, None, None, None], Painter.translate(self, faces, targets), faces.images
        ).clone()


class Knower(Painter):
    """Is told more than the picture."""

    requires: ClassVar[frozenset[str]] = frozenset({"own_class", "landmarks"})


class Idler(Painter):
    """Does nothing."""

    def translate(self, faces, targets, generator=None):
        return faces.images.clone()


class Refuser(Painter):
    """Needs what these faces lack."""

    def translate(self, faces, targets, generator=None):
        raise CannotTranslateError("faces without landmarks")


def rows(random, *, split, subjects, per_class=2, source="rig", synthetic=False, shift=0):
    for subject in range(subjects):
        for label, name in enumerate(NAMES):
            for number in range(per_class):
                pixels = np.clip(random.normal(LEVELS[label] + shift, 6, (SIZE, SIZE)), 0, 255).astype(np.uint8)
                row = {
                    "image": {"bytes": encode_png(pixels), "path": None},
                    "label": label,
                    "label_name": name,
                    "face_id": f"{split}-{subject}-{name}-{number}{'-made' if synthetic else ''}",
                    "subject": f"{split}-{subject}",
                    "source": source,
                    "split": split,
                }
                if synthetic:
                    row |= {
                        "synthetic": True,
                        "translator": "painter",
                        "seed": 0,
                        "fold": 0,
                        "kept": None,
                        "source_id": "real",
                    }
                yield row


def write_run(folder, *, source="rig", licence="cc0-1.0", test_subjects=8, synthetic_subjects=8):
    random = np.random.default_rng(0)
    faces = [*rows(random, split="train", subjects=3, source=source)]
    faces += [*rows(random, split="validation", subjects=2, source=source)]
    faces += [*rows(random, split="test", subjects=test_subjects, source=source)]
    write_faces(iter(faces), folder / "faces", NAMES, card=CardFacts("T", "D", licence))
    folds = [{"face_id": row["face_id"], "fold": 0, "split": row["split"]} for row in faces]
    write_folds(pa.Table.from_pylist(folds), folder / "folds.parquet")
    made = rows(random, split="train", subjects=synthetic_subjects, synthetic=True, shift=40)
    write_faces(made, folder / "synthetic" / "fold-0", NAMES, synthetic=True, card=CardFacts("T", "D", licence))
    return folder


def score(folder, translator, monkeypatch, judge=None, **settings):
    monkeypatch.setattr(augment.translators, "load_translator", lambda path, device: translator)
    return score_translator(
        "painter",
        faces_dir=folder / "faces",
        folds_path=folder / "folds.parquet",
        synthetic_dir=folder / "synthetic",
        translator_dir=folder / "translators" / "painter",
        judge_for_fold=lambda fold: judge or LevelJudge(),
        settings=ScoreSettings(**settings),
        out=folder / "scores" / "painter.json",
    )


@pytest.fixture(autouse=True)
def no_inception(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))


def test_the_judge_fits_the_protocol() -> None:
    judge: Judge = LevelJudge()
    assert judge.probabilities(torch.zeros(2, 1, 4, 4, dtype=torch.uint8)).shape == (2, 3)


def test_a_translator_that_does_all(tmp_path, monkeypatch) -> None:
    result = score(write_run(tmp_path), Painter(), monkeypatch)
    assert result["recognition"]["accuracy"] == 1.0 == result["recognition"]["accuracy_changed"]
    assert result["recognition"]["n"] == 8 * 6 * 3
    assert np.array(result["recognition"]["confusion"]).tolist() == (48 * np.eye(3, dtype=int)).tolist()
    assert result["untranslated"]["accuracy"] == pytest.approx(1 / 3)
    assert result["untranslated"]["accuracy_changed"] == 0
    assert result["judge_on_real"] == {"n": 48, "accuracy": 1.0}
    steps = [abs(a - b) / 255 for a in LEVELS for b in LEVELS if a != b]
    assert result["movement"]["mean"] == pytest.approx(np.mean(steps), abs=0.02)
    assert result["movement"]["unmoved_share"] == 0
    assert result["movement"]["mean_to_own_class"] < 0.03
    assert result["movement"]["real_pairs"] == pytest.approx(np.mean(steps), abs=0.06)
    assert 0 < result["movement"]["real_pairs_n"] <= 48
    assert result["translated_faces"] == {"n": 48, "accepted": 48, "of": 48}
    assert json.loads((tmp_path / "scores" / "painter.json").read_text()) == result
    assert result["requires"] == []


def test_what_a_translator_must_be_told_stands_beside_its_scores(tmp_path, monkeypatch) -> None:
    assert score(write_run(tmp_path), Knower(), monkeypatch)["requires"] == ["landmarks", "own_class"]


def test_a_translator_that_does_nothing_scores_chance(tmp_path, monkeypatch) -> None:
    result = score(write_run(tmp_path), Idler(), monkeypatch)
    assert result["recognition"]["accuracy"] == pytest.approx(1 / 3)
    assert result["recognition"]["accuracy_changed"] == 0 == result["untranslated"]["accuracy_changed"]
    assert result["lines"] is None  # pictures of 8 px
    assert result["movement"]["mean"] == 0 and result["movement"]["unmoved_share"] == 1


def test_a_translator_that_keeps_its_sources_class_is_asked_for_that_class_alone(tmp_path, monkeypatch) -> None:
    idler = Idler()
    idler.keeps_class = True
    result = score(write_run(tmp_path), idler, monkeypatch)
    assert result["recognition"]["accuracy"] == 1.0 and result["recognition"]["n"] == 8 * 6
    assert result["recognition"]["accuracy_changed"] is None


def test_faces_that_a_translator_does_not_accept_are_left_out_on_both_sides(tmp_path, monkeypatch) -> None:
    painter = Painter()
    painter.usable_sources = lambda faces: torch.tensor([name.endswith("-0") for name in faces.face_ids])
    result = score(write_run(tmp_path), painter, monkeypatch)
    assert result["recognition"]["n"] == 8 * 3 * 3 and result["recognition"]["accuracy"] == 1.0
    assert sum(result["untranslated"]["per_class"]) == pytest.approx(1)


def test_distances_bear_their_own_name_and_are_matched(tmp_path, monkeypatch) -> None:
    result = score(write_run(tmp_path), Painter(), monkeypatch)
    [space] = result["distances"]
    assert (space["frechet_name"], space["kernel_name"]) == ("FCD", "KCD")
    assert "FID" in result["unavailable"][0]["name"] and "missing" in result["unavailable"][0]["reason"]
    assert space["overall"]["n"] == 8 * 6 // 2 and space["overall"]["small_sample"]
    assert [space["per_class"][name]["n"] for name in NAMES] == [8, 8, 8]
    assert not space["short_of_synthetic"]
    # The synthetic faces are 40 levels too bright; the other half of the real ones is not.
    assert space["overall"]["frechet"] > 3 * space["overall"]["frechet_floor"]
    assert space["overall"]["kernel"] > abs(space["overall"]["kernel_floor"])


def test_too_few_synthetic_faces_cut_both_sides_and_are_told(tmp_path, monkeypatch) -> None:
    result = score(write_run(tmp_path, synthetic_subjects=2), Painter(), monkeypatch)
    [space] = result["distances"]
    assert space["short_of_synthetic"] and space["overall"]["n"] == 12


def test_inception_is_used_where_it_can_be_had(tmp_path, monkeypatch) -> None:
    from augment.core.precision import PrecisionChoice
    from reports.metrics import scores
    from reports.metrics.features import InceptionLookup

    class Inception:
        key = "inception-test"
        precision = PrecisionChoice(asked="auto", used="float32")
        seen: ClassVar[Counter] = Counter()

        def __init__(self, path, **_) -> None:
            pass

        def __call__(self, images):
            self.seen["calls"] += 1
            return images.float().flatten(1).numpy()[:, :6]

    monkeypatch.setattr(scores, "find_inception_weights", lambda *_, **__: InceptionLookup(tmp_path / "weights"))
    monkeypatch.setattr(scores, "InceptionFeatures", Inception)
    result = score(write_run(tmp_path), Painter(), monkeypatch, max_inception_images=9)
    fid, fcd = result["distances"]
    assert (fid["frechet_name"], fcd["frechet_name"]) == ("FID", "FCD")
    assert fid["overall"]["n"] == 9 and fcd["overall"]["n"] == 24
    assert result["unavailable"] == []
    assert Inception.seen["calls"] == 3


def test_a_refusal_is_a_reason_not_a_number(tmp_path, monkeypatch) -> None:
    result = score(write_run(tmp_path), Refuser(), monkeypatch)
    assert result["recognition"] is None and result["movement"] is None and result["gallery"] is None
    assert {"name": "recognition and movement", "reason": "faces without landmarks"} in result["unavailable"]


def test_the_gallery_shows_input_then_every_class(tmp_path, monkeypatch) -> None:
    import base64

    result = score(write_run(tmp_path), Painter(), monkeypatch, gallery_faces=4)
    gallery = result["gallery"]
    sheet = np.asarray(Image.open(io.BytesIO(base64.b64decode(gallery["png"]))))
    assert sheet.shape == (4 * SIZE, 4 * SIZE)
    assert gallery["columns"] == ["input", *NAMES] and gallery["row_labels"][:2] == ["neutral", "neutral"]
    for row, label in enumerate(gallery["row_labels"]):
        line = sheet[row * SIZE : (row + 1) * SIZE]
        assert abs(line[:, :SIZE].mean() - LEVELS[NAMES.index(label)]) < 8
        for column, level in enumerate(LEVELS, 1):
            assert (line[:, column * SIZE : (column + 1) * SIZE] == level).all()
    assert gallery["publishable"]


def test_a_joint_translator_is_shown_and_asked_for_every_data_set(tmp_path, monkeypatch) -> None:
    import base64

    folder = write_run(tmp_path, source="photo")
    names = read_faces(folder / "faces").column("source").to_pylist()
    drawn = [place % 6 in (0, 1) for place in range(len(names))]  # the first class of each subject: 16 of 48 test faces
    faces = list(rows(np.random.default_rng(0), split="train", subjects=3))
    faces += rows(np.random.default_rng(1), split="validation", subjects=2)
    faces += rows(np.random.default_rng(2), split="test", subjects=8)
    for row, of_second in zip(faces, drawn, strict=True):
        row["source"] = "drawn" if of_second else "photo"
    shutil.rmtree(folder / "faces")
    write_faces(iter(faces), folder / "faces", NAMES, card=CardFacts("T", "D", "cc0-1.0"))
    result = score(folder, JointPainter(), monkeypatch, gallery_faces=3)
    assert result["recognition_of_data_sets"] == [
        {"source": "photo", "target": "photo", "n": 32 * 3, "accuracy": 1.0},
        {"source": "photo", "target": "drawn", "n": 32 * 3, "accuracy": pytest.approx(1 / 3)},
        {"source": "drawn", "target": "photo", "n": 16 * 3, "accuracy": 1.0},
        {"source": "drawn", "target": "drawn", "n": 16 * 3, "accuracy": pytest.approx(1 / 3)},
    ]
    assert result["recognition"]["accuracy"] == pytest.approx(1 / 3), "the published measure: by the settings alone"
    gallery = result["gallery"]
    assert gallery["columns"] == ["input", *(f"{of}: {name}" for of in ("photo", "drawn") for name in NAMES)]
    sheet = np.asarray(Image.open(io.BytesIO(base64.b64decode(gallery["png"]))))
    assert sheet.shape == (3 * SIZE, 7 * SIZE)
    for column, level in enumerate(LEVELS, 1):
        assert (sheet[:, column * SIZE : (column + 1) * SIZE] == level).all()
    assert all(np.array_equal(sheet[:, :SIZE], sheet[:, place * SIZE : (place + 1) * SIZE]) for place in (4, 5, 6))
    assert "recognition_of_data_sets" not in score(folder, Painter(), monkeypatch)
    monkeypatch.setattr(JointPainter, "data_sets", ("photo", "comic"))  # drawn faces are of neither
    unlisted = score(folder, JointPainter(), monkeypatch)["recognition_of_data_sets"]
    assert [row["n"] for row in unlisted] == [32 * 3, 32 * 3, 0, 0] and unlisted[2]["accuracy"] is None


@pytest.mark.parametrize("licence", ["cc0-1.0", "cc-by-4.0", "For research, cc0-1.0 it is not."])
@pytest.mark.parametrize("source", ["rig", "ferg"])
def test_the_licence_says_what_may_be_published_not_the_source(tmp_path, monkeypatch, source, licence) -> None:
    result = score(write_run(tmp_path, source=source, licence=licence), Painter(), monkeypatch)
    assert result["gallery"]["publishable"] is (licence == "cc0-1.0")


def test_what_taught_the_translator_binds_its_gallery_too(tmp_path, monkeypatch) -> None:
    """A parsing network's teacher may forbid what the real faces' licence allows."""
    folder = write_run(tmp_path)
    card = folder / "synthetic" / "fold-0" / "README.md"
    licence = Licence.model_validate("cc0-1.0").with_lines([LicenceLine(data_set="Helen", line="Don't pass these on.")])
    card.write_text("\n".join(card_head(licence.front_matter(), "T")))
    assert score(folder, Painter(), monkeypatch)["gallery"]["publishable"] is False


def test_faces_without_a_card_are_not_publishable(tmp_path, monkeypatch) -> None:
    folder = write_run(tmp_path)
    (folder / "faces" / "README.md").unlink()
    assert score(folder, Painter(), monkeypatch)["gallery"]["publishable"] is False


def test_the_same_run_gives_the_same_scores(tmp_path, monkeypatch) -> None:
    folder = write_run(tmp_path)
    assert score(folder, Painter(), monkeypatch) == score(folder, Painter(), monkeypatch)


def test_a_cap_on_test_faces_keeps_the_classes_shares(tmp_path, monkeypatch) -> None:
    result = score(write_run(tmp_path), Painter(), monkeypatch, max_test_faces=10)
    assert result["recognition"]["n"] == 30
    confusion = np.array(result["recognition"]["confusion"])
    assert confusion.sum() == 30
    assert result["translated_faces"] == {"n": 10, "accepted": 48, "of": 48}


class MistakenJudge(LevelJudge):
    """Right on the first test subject's faces alone, which no small sample shows."""

    def __init__(self, right: torch.Tensor) -> None:
        self.right = right

    def probabilities(self, images: torch.Tensor) -> np.ndarray:
        found = super().probabilities(images)
        known = [any(torch.equal(image, face) for face in self.right) for image in images]
        return np.where(np.array(known)[:, None], found, np.roll(found, 1, axis=1))


def test_the_judge_s_accuracy_is_of_all_test_faces_whatever_is_translated(tmp_path, monkeypatch) -> None:
    from augment.faces.table import read_faces
    from augment.faces.tensors import face_tensors

    folder = write_run(tmp_path)
    faces = face_tensors(read_faces(folder / "faces"), size=SIZE, channels=1)
    first = torch.tensor([name.startswith("test-0-") for name in faces.face_ids])
    judge = MistakenJudge(faces.images[first])
    found = {
        cap: score(folder, Painter(), monkeypatch, judge, max_test_faces=cap)["judge_on_real"] for cap in (None, 6, 12)
    }
    assert found[None] == found[6] == found[12] == {"n": 48, "accuracy": 6 / 48}


def test_distances_say_how_many_faces_there_would_have_been(tmp_path, monkeypatch) -> None:
    [space] = score(write_run(tmp_path), Painter(), monkeypatch, max_images=9)["distances"]
    assert (space["overall"]["n"], space["of"]) == (9, 24)
    [space] = score(write_run(tmp_path / "again"), Painter(), monkeypatch)["distances"]
    assert space["overall"]["n"] == space["of"] == 24


def test_no_synthetic_faces_are_an_error_that_says_so(tmp_path, monkeypatch) -> None:
    folder = write_run(tmp_path)
    for file in (folder / "synthetic" / "fold-0" / "data").glob("*.parquet"):
        file.unlink()
    with pytest.raises(InputError, match=r"holds no data"):
        score(folder, Painter(), monkeypatch)


@pytest.mark.parametrize(
    ("made", "settings", "message"),
    [
        ({"test_subjects": 1}, {}, r"fold 0: has too few real test faces .*use at least four test faces"),
        ({"synthetic_subjects": 1}, {}, "fold 0: has fewer than two synthetic faces .*synthesize more"),
        ({}, {"max_images": 2}, "fold 0: fewer than two faces per set are left by scores.max_images: 2 .*raise"),
    ],
)
def test_too_few_faces_are_an_error_with_the_fix_of_its_cause(tmp_path, monkeypatch, made, settings, message) -> None:
    folder = write_run(tmp_path, **made)
    if "synthetic_subjects" in made:  # one face, of one class
        faces = list(rows(np.random.default_rng(0), split="train", subjects=1, per_class=1, synthetic=True))[:1]
        write_faces(
            iter(faces),
            folder / "synthetic" / "fold-0",
            NAMES,
            synthetic=True,
            card=CardFacts("T", "D", "cc0-1.0"),
        )
    with pytest.raises(InputError, match=message):
        score(folder, Painter(), monkeypatch, **settings)


def test_too_few_real_faces_are_found_before_any_training(tmp_path) -> None:
    for subjects, enough in ((1, False), (2, True)):
        folder = write_run(tmp_path / str(subjects), test_subjects=subjects)
        arguments = read_faces(folder / "faces"), read_folds(folder / "folds.parquet"), NAMES
        if enough:
            check_reference_faces(*arguments, ScoreSettings())
            continue
        with pytest.raises(InputError, match="fold 0: has too few real test faces"):
            check_reference_faces(*arguments, ScoreSettings())
        check_reference_faces(*arguments, ScoreSettings(reference_split="train"))


def test_refused_rows_are_passed_over_and_reading_stops_early(tmp_path) -> None:
    random = np.random.default_rng(0)
    made = [*rows(random, split="train", subjects=6, synthetic=True)]
    for number, row in enumerate(made):
        row["kept"] = number % 2 == 0
    write_faces(iter(made), tmp_path, NAMES, synthetic=True, card=CardFacts("T", "D", "cc0-1.0"))
    found = read_synthetic(tmp_path, [2, 0, 100], size=SIZE, channels=1)
    assert Counter(found.labels.tolist()) == {0: 2, 2: 6}
    kept = [row["face_id"] for row in made if row["kept"] and row["label"] == 0]
    assert [f for f, label in zip(found.face_ids, found.labels.tolist(), strict=True) if label == 0] == kept[:2]


def test_halves_share_no_subject_and_have_like_classes() -> None:
    labels = np.tile([0, 1, 2, 2], 20)
    subjects = [f"s{number // 4}" for number in range(80)]
    halves = split_in_halves(labels, subjects, seed=3)
    one, other = ({subjects[row] for row in half} for half in (halves.first, halves.second))
    assert not one & other and len(one) == len(other) == 10
    np.testing.assert_array_equal(np.bincount(labels[halves.first]), np.bincount(labels[halves.second]))
    alone = split_in_halves(labels, [None] * 80, seed=3)
    assert sorted([*alone.first, *alone.second]) == list(range(80))
    np.testing.assert_array_equal(np.bincount(labels[alone.first]), np.bincount(labels[alone.second]))


def test_matched_sets_hold_the_same_number_of_each_class() -> None:
    sets = [np.array([0, 0, 0, 1, 1, 2]), np.array([2, 2, 1, 0, 0]), np.array([1, 1, 0, 0, 0, 0])]
    positions = matched_positions(sets, 3, limit=100)
    assert [labels[rows].tolist() for labels, rows in zip(sets, positions, strict=True)] == [[0, 0, 1]] * 3
    assert all(len(rows) <= 2 for rows in matched_positions(sets, 3, limit=2))


def test_recognition_by_hand() -> None:
    by_source = np.zeros((2, 2, 2), int)
    by_source[0, 0] = [3, 1]
    by_source[0, 1] = [2, 2]
    by_source[1, 0] = [1, 3]
    by_source[1, 1] = [0, 4]
    found = recognition_scores(by_source.sum(axis=0), by_source)
    assert found["accuracy"] == (3 + 1 + 2 + 4) / 16
    assert found["accuracy_changed"] == (2 + 1) / 8
    assert found["per_class"] == [4 / 8, 6 / 8]
    assert found["confusion"] == [[4, 4], [2, 6]]


def test_untranslated_baseline_by_counting() -> None:
    random = np.random.default_rng(0)
    labels, judged = random.integers(0, 4, 50), random.integers(0, 4, 50)
    found = untranslated_baseline(labels, judged, 4)
    pairs = [(label, target, said) for label, said in zip(labels, judged, strict=True) for target in range(4)]
    assert found["accuracy"] == pytest.approx(np.mean([said == target for _, target, said in pairs]))
    changed = [said == target for label, target, said in pairs if label != target]
    assert found["accuracy_changed"] == pytest.approx(np.mean(changed))
    assert found["per_class"] == pytest.approx([np.mean(judged == target) for target in range(4)])


def test_what_keeps_its_class_is_measured_by_what_the_judge_says_of_its_own_class() -> None:
    """Each face is asked for its own class alone, of which a judge knows more than one in K untranslated."""
    labels, judged = np.array([0, 0, 1, 2]), np.array([0, 1, 1, 0])
    found = untranslated_baseline(labels, judged, 3, own_class_alone=True)
    assert found == {"accuracy": 0.5, "accuracy_changed": None, "per_class": [0.5, 1.0, 0.0]}


def test_movement_does_not_wrap_around() -> None:
    """Negative control: uint8 arithmetic would take 250 -> 0 for 6 levels."""
    inputs = torch.tensor([[[[250, 0]]], [[[10, 10]]]], dtype=torch.uint8)
    outputs = torch.tensor([[[[0, 250]]], [[[10, 20]]]], dtype=torch.uint8)
    np.testing.assert_allclose(movement(inputs, outputs), [250 / 255, 5 / 255])


def test_a_class_with_one_face_has_no_distance() -> None:
    random = np.random.default_rng(0)
    sets = [random.normal(size=(5, 3)) for _ in range(3)]
    people = [["p", "p", "q", "q", "r"]] * 3
    labels = np.array([0, 0, 0, 0, 1])
    found = feature_distances(*sets, labels, ("a", "b"), people=people, kernel_subset_size=None, seed=0)
    assert found["per_class"]["b"]["frechet"] is None and found["per_class"]["b"]["n"] == 1
    assert found["per_class"]["a"]["frechet"] > 0


def test_bad_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="max_images"):
        ScoreSettings(max_images=1)
    with pytest.raises(ValueError, match="extra"):
        ScoreSettings(fid=True)
