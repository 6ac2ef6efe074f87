from collections import Counter, defaultdict

import numpy as np
import pytest

from augment.rig import EXPRESSIONS, preset, preset_names, render
from augment.rig.presets import FER2013_COUNTS

SMALL = {
    "bu3dfe": {"subjects": 2},
    "fer2013": {"count": 300},
    "ferg": {"faces_per_class": 2},
    "helen": {"count": 20},
    "mug": {"subjects": 3},
    "oulu_casia": {"subjects": 2},
    "rafd": {"subjects": 2},
    "rare": {"subjects": 2, "neutral_subjects": 3, "validation_subjects": 1, "test_subjects": 2},
}


def test_there_are_eight_presets() -> None:
    assert preset_names() == tuple(sorted(SMALL))


@pytest.mark.parametrize("name", sorted(SMALL))
def test_presets_are_sound(name: str) -> None:
    population = preset(name, seed=3, **SMALL[name])
    specs = population.specs
    assert len({spec.face_id for spec in specs}) == len(specs)
    assert {spec.label for spec in specs} <= set(population.class_names) <= set(EXPRESSIONS)
    assert population.class_names == tuple(sorted(population.class_names))
    splits = defaultdict(set)
    for spec in specs:
        splits[spec.subject].add(spec.split)
    assert all(len(found) == 1 for found in splits.values())
    assert preset(name, seed=3, **SMALL[name]).specs == specs
    faces = render(specs[:3], size=48, channels=population.default_channels, seed=3)
    assert faces.images.std() > 10


def test_rare_has_the_documented_counts() -> None:
    specs = preset("rare", seed=0).specs
    assert Counter(spec.split for spec in specs) == {"train": 20 * 7 + 130, "validation": 70, "test": 560}
    train = Counter(spec.label for spec in specs if spec.split == "train")
    assert train["neutral"] == 150 and train["happy"] == 20
    assert len({spec.subject for spec in specs}) == 240


def test_studio_presets_have_the_documented_counts() -> None:
    assert len(preset("oulu_casia", seed=0).specs) == 80 * 6 * 3 * 3
    assert Counter(s.illumination for s in preset("oulu_casia", seed=0, subjects=1).specs) == {
        "normal": 18, "weak": 18, "dark": 18,
    }  # fmt: skip
    assert "neutral" not in preset("oulu_casia", seed=0).class_names
    assert len(preset("mug", seed=0).specs) == 52 * 7
    bu3dfe = preset("bu3dfe", seed=0)
    assert len(bu3dfe.specs) == 100 * 25 * 7
    assert sorted({spec.yaw for spec in bu3dfe.specs}) == [-45, -30, -15, 0, 15, 30, 45]
    rafd = preset("rafd", seed=0)
    assert len(rafd.specs) == 67 * 8 * 3 * 3 and rafd.class_names == EXPRESSIONS
    ferg = preset("ferg", seed=0)
    assert len({spec.subject for spec in ferg.specs}) == 6 and {spec.style for spec in ferg.specs} == {"drawn"}
    assert len(preset("helen", seed=0).specs) == 2330


def test_fer2013_is_unbalanced_noisy_and_without_subjects() -> None:
    specs = preset("fer2013", seed=0).specs
    assert Counter(spec.label for spec in specs) == FER2013_COUNTS
    assert all(spec.subject_name is None for spec in specs)
    noise = np.mean([spec.label != spec.expression for spec in specs])
    assert 0.09 < noise < 0.11
    shares = Counter(spec.split for spec in specs)
    assert 0.79 < shares["train"] / len(specs) < 0.81 and abs(shares["validation"] - shares["test"]) < 30
    small = Counter(spec.label for spec in preset("fer2013", seed=0, count=1000).specs)
    assert sum(small.values()) == 1000 and small["happy"] == max(small.values())
    assert preset("fer2013", seed=1, count=300).specs != preset("fer2013", seed=0, count=300).specs


def test_people_of_different_presets_differ() -> None:
    subjects = [{spec.subject for spec in preset(name, seed=0, **SMALL[name]).specs} for name in preset_names()]
    assert sum(map(len, subjects)) == len(set().union(*subjects))


def test_cameras_of_one_moment_show_one_performance() -> None:
    specs = [s for s in preset("bu3dfe", seed=0, subjects=1).specs if s.expression == "happy" and s.intensity == 1.0]
    points = render(specs, size=64, channels=1, seed=0).landmarks
    heights = points[:, 57, 1] - points[:, 51, 1]
    assert np.ptp(heights) < 0.02


def test_errors_list_what_exists() -> None:
    with pytest.raises(ValueError, match="oulu_casia"):
        preset("ck", seed=0)
    with pytest.raises(ValueError, match="neutral_subjects"):
        preset("rare", seed=0, people=3)
    with pytest.raises(ValueError, match="subjects"):
        preset("mug", seed=0, subjects=-1)
    with pytest.raises(ValueError, match="empty"):
        preset("mug", seed=0, subjects=0)
