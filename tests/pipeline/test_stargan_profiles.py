"""The experiments on StarGAN's variants and on two data sets, at every scale."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from augment.faces.table import read_faces
from augment.translators.stargan import StarGanSettings
from pipeline.check import check
from pipeline.core.stage_runs import run_stage
from pipeline.profile import compose_profile

ROOT = Path(__file__).parent.parent.parent
SCALES = ["smoke", "cpu", "long", "gpu", "paper"]
# Table 2's rows, and what makes each of them.
VARIANTS: dict[str, dict[str, Any]] = {
    "stargan_perceptual": {"perceptual": True},
    "stargan_perceptual_skip": {"perceptual": True, "skip": True},
    "stargan_dropout": {"dropout": 0.5},
    "stargan_skip": {"skip": True},
    "stargan_skip_dropout": {"skip": True, "dropout": 0.5},
    "stargan_dropout_in_training": {"dropout": 0.5, "dropout_when_translating": False},
    "stargan_skip_dropout_in_training": {"skip": True, "dropout": 0.5, "dropout_when_translating": False},
}
COMPARED = {"perceptual", "skip", "dropout", "dropout_when_translating"}
SWITCHES = COMPARED | {"perceptual_after", "lambda_perceptual", "data_sets", "cross_data_sets"}


def composed(*overrides: str) -> dict[str, Any]:
    return yaml.safe_load(compose_profile(ROOT, overrides))


def switches_of(settings: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in settings.items() if key in COMPARED}


@pytest.mark.parametrize("scale", SCALES)
def test_the_variants_are_rows_at_every_scale(scale: str) -> None:
    values = composed(f"scale={scale}", "experiment=stargan_table2")
    assert {"stargan", *VARIANTS} <= set(values["translators"])
    for name, switches in {"stargan": {}, **VARIANTS}.items():
        assert values["arms"]["synthetic"][name]["translator"] == name
        entry = values["translators"][name]
        assert entry["method"] == "stargan" and switches_of(entry["settings"]) == switches


@pytest.mark.parametrize("scale", SCALES)
def test_a_variant_is_the_scales_stargan_but_for_its_switches(scale: str) -> None:
    translators = composed(f"scale={scale}", "experiment=stargan_table2")["translators"]
    plain = translators["stargan"]
    for name in VARIANTS:
        entry = translators[name]
        assert entry["training"] == plain["training"]
        one, other = (
            {key: value for key, value in part["settings"].items() if key not in SWITCHES} for part in (entry, plain)
        )
        assert one == other
    if scale == "gpu":  # the scale's own, which the experiment repeats
        own = composed("scale=gpu")["translators"]["stargan"]
        assert plain["training"] == own["training"]
        plain_settings = {key: value for key, value in plain["settings"].items() if key not in SWITCHES}
        assert plain_settings == own["settings"] | {"image_skip": False, "lambda_rec": 10.0}


@pytest.mark.parametrize("scale", SCALES)
def test_no_variant_adds_its_input_by_another_way_than_the_published_skip(scale: str) -> None:
    translators = composed(f"scale={scale}", "experiment=stargan_table2")["translators"]
    for name in ("stargan", *VARIANTS):
        settings = StarGanSettings(**translators[name]["settings"])
        assert not settings.image_skip
        if scale != "smoke":  # the published weights
            assert (settings.lambda_rec, settings.lambda_perceptual) == (10, 10)


def test_the_paper_scale_is_as_published() -> None:
    values = composed("scale=paper", "experiment=stargan_table2")
    assert values["dataset"]["image_size"] == 64
    entry = values["translators"]["stargan_perceptual"]
    assert StarGanSettings(**entry["settings"]) == StarGanSettings(discriminator_downs=6, perceptual=True)
    batches = -(-28709 // 32)  # of an epoch, each fifth of which is the generator's too
    assert entry["training"]["steps"] == 200 * (batches // 5) == 35800
    left = -(-round(0.9 * 28709) // 32) // 5  # generator steps of an epoch without the validation faces
    assert (35800 // left, round(0.2 * 35800) // left) == (222, 44)  # as the scale's file says


@pytest.mark.parametrize("scale", SCALES)
def test_table_2_tests_on_all_published_test_faces(scale: str) -> None:
    values = composed(f"scale={scale}", "experiment=stargan_table2", "dataset=fer2013")
    assert values["dataset"]["settings"]["test_on"] == "both" and values["folds"]["kind"] == "source"
    assert values["folds"]["validation_share"] == 0.1


@pytest.mark.parametrize("words", [[], ["dataset=fer2013_ferg"]])
@pytest.mark.parametrize("scale", SCALES)
def test_joint_brings_its_faces_and_names_them(scale: str, words: list[str]) -> None:
    values = composed(f"scale={scale}", "experiment=stargan_joint", *words)
    named = [part["data_set"] for part in values["dataset"]["settings"]["parts"]]
    for name, switches in (("stargan_joint", {}), ("stargan_joint_skip_dropout", {"skip": True, "dropout": 0.5})):
        settings = values["translators"][name]["settings"]
        assert settings["data_sets"] == named and switches_of(settings) == switches
        assert values["arms"]["synthetic"][name]["translator"] == name


def test_joint_faces_are_prepared_at_the_runs_size(tmp_path: Path) -> None:
    profile = composed("scale=smoke", "experiment=stargan_joint")
    photo, drawn = profile["dataset"]["settings"]["parts"]
    photo["settings"] |= {"count": 60}
    drawn["settings"] |= {"faces_per_class": 1}
    profile["dataset"]["root"] = str(ROOT / profile["dataset"]["root"])
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(profile), encoding="utf-8")
    check(tmp_path)
    run_stage("prepare", tmp_path)
    table = read_faces(tmp_path / "artifacts" / "faces")
    assert Counter(table.column("source").to_pylist()) == {"fer2013": 60, "ferg": 42}
    subjects = {name for name in table.column("subject").to_pylist() if name}
    assert len(subjects) == 6 and all(name.startswith("ferg/") for name in subjects)
