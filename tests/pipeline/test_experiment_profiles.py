"""The papers' experiments in conf/: each has the rows of its table at every scale, and no arm of the scale's."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from augment.parsing.network import ParsingNetwork, ParsingSettings
from augment.training.settings import TrainingSettings
from augment.translators.lssl import LsslSettings
from classifiers.training import ClassifierSettings
from pipeline.commands.experiments import SCALES
from pipeline.experiments import Wanted
from pipeline.parameters.whole import parse_parameters
from pipeline.profile import compose_profile
from reports.experiments.catalogue import REAL_TEST_FACES, TURNED_FACES, read_experiments

ROOT = Path(__file__).parent.parent.parent
VERDICT_SCALES = [scale for scale in SCALES if scale != "smoke"]  # whose ten steps say nothing of faces
EXPERIMENTS = read_experiments()
AT_SOME_SCALES = dict.fromkeys(("warp_10000", "warp_60000"), ("long", "gpu", "paper"))


@cache
def profile(scale: str, dataset: str, experiment: str = "standard") -> dict[str, Any]:
    return yaml.safe_load(compose_profile(ROOT, [f"scale={scale}", f"dataset={dataset}", f"experiment={experiment}"]))


@cache
def composed(name: str, scale: str, dataset: str | None = None) -> dict[str, Any]:
    return yaml.safe_load(compose_profile(ROOT, Wanted(EXPERIMENTS[name], scale, dataset).overrides))


def arms_of(values: dict[str, Any]) -> dict[str, Any]:
    return {name: arm for arms in values["arms"].values() for name, arm in arms.items()}


def sources_of(values: dict[str, Any]) -> list[str]:
    """The data set's source; of a joint one those of its parts."""
    dataset = values["dataset"]
    return [part["source"] for part in dataset["settings"].get("parts", [dataset])]


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_row_is_an_arm_or_a_translator(name: str, scale: str) -> None:
    values = composed(name, scale)
    there = {*arms_of(values), *values["translators"], REAL_TEST_FACES, *TURNED_FACES}
    wanted = {row for row in EXPERIMENTS[name].rows if scale in AT_SOME_SCALES.get(row, SCALES)}
    assert wanted <= there
    # No scale's own arms beside them, which would cost time and be adjusted for.
    assert set(arms_of(values)) - set(EXPERIMENTS[name].rows) <= {"real", "real_double_steps"}
    translated = {arm["translator"] for arm in arms_of(values).values() if arm.get("translator")}
    assert translated <= set(values["translators"]) <= {*EXPERIMENTS[name].rows, *translated}


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_synthetic_faces_are_compared_with_real_ones_in_twice_the_steps(name: str, scale: str) -> None:
    """What more steps with real faces alone give is no gain by synthetic ones."""
    arms = composed(name, scale)["arms"]
    assert arms["real"]["real"] == {"kind": "real", "augmentation": "classical"}
    assert ("real_double_steps" in arms["real"]) == bool(arms["synthetic"])
    if arms["synthetic"]:
        assert arms["real"]["real_double_steps"] == arms["real"]["real"] | {"steps_factor": 2}


@pytest.mark.parametrize("name", [name for name, experiment in EXPERIMENTS.items() if experiment.data.own])
def test_the_papers_own_data_is_an_option(name: str) -> None:
    own = EXPERIMENTS[name].data.own
    assert "_".join(sources_of(composed(name, "cpu", own))) == own
    assert set(sources_of(composed(name, "cpu"))) == {"rig"}


def test_the_list_of_arms_to_take_out_is_that_of_the_scales() -> None:
    listed = yaml.safe_load((ROOT / "conf" / "experiment" / "base" / "own_arms.yaml").read_text())["arms"]
    there: dict[str, set[str]] = {kind: set() for kind in listed}
    for scale in SCALES:
        for dataset in ("rig_mug", "fer2013"):  # which has arms of its own at some scales
            for kind, arms in profile(scale, dataset)["arms"].items():
                there[kind] |= set(arms)
    assert {kind: set(arms) for kind, arms in listed.items()} == there


def test_the_paper_scale_trains_lssl_as_long_as_published() -> None:
    """200 epochs of 500 iterations, in every fifth of which the generator steps: what the settings start from."""
    published = TrainingSettings().steps
    for name in ("lssl_table1", "lssl_table2", "lssl_fig8", "lssl_figs", "lssl_fig2a", "lssl_fig2b", "lssl_table3"):
        for translator, entry in composed(name, "paper")["translators"].items():
            if translator.startswith("lssl"):
                assert entry["training"]["steps"] == published, (name, translator)


def test_the_paper_scale_trains_stargan_as_lssl() -> None:
    for name in ("lssl_table1", "lssl_table2"):
        entries = composed(name, "paper")["translators"]
        assert entries["stargan"]["training"] == entries["lssl"]["training"], name
        assert entries["lssl"]["training"]["batch_size"] == 8


def test_the_paper_scale_has_the_published_folds() -> None:
    for name, folds in (("lssl_table1", 10), ("lssl_fig8", 10), ("lssl_table3", 5)):
        assert composed(name, "paper")["folds"]["folds"] == folds, name


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_the_papers_judge_learns_as_published_and_arms_as_strongly_as_they_can(name: str) -> None:
    values = composed(name, "paper")
    judge, arms = (ClassifierSettings(**part) for part in (values["judge"]["classifier"], values["classifier"]))
    assert (judge.augmentation, judge.class_balanced, judge.label_smoothing) == ("flip", False, 0)
    assert arms.class_balanced and arms.label_smoothing > 0
    assert {arm["augmentation"] for arm in arms_of(values).values() if "augmentation" in arm} <= {"classical", "flip"}


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_the_papers_parsing_network_suits_the_pictures(name: str) -> None:
    values = composed(name, "paper")
    training = ParsingSettings(**values["parsing"]["training"])
    assert (training.width, training.levels, training.blocks) == (64, 4, 2)
    ParsingNetwork(channels=3, size=values["dataset"]["image_size"], settings=training)


@pytest.mark.parametrize("dataset", ["mug", "oulu_casia"])
def test_ablations_of_what_faces_lack_are_no_second_lssl(dataset: str) -> None:
    """Without landmarks and masks they need them, and are refused; with both they are what the paper compares."""
    for words, lacking in (([], True), (["landmarks=dlib", "masks=taught"], False)):
        text = compose_profile(ROOT, ["experiment=lssl_table1", "scale=paper", f"dataset={dataset}", *words])
        entries = yaml.safe_load(text)["translators"]
        made = {name: LsslSettings(**entry.get("settings", {})) for name, entry in entries.items() if "lssl" in name}
        assert (made["lssl"].side_input, bool(made["lssl"].lambda_parsing)) == (not lacking, not lacking)
        assert made["lssl_without_side"] == LsslSettings(side_input=False)
        assert made["lssl_without_parsing"] == LsslSettings(lambda_parsing=0)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_rows_of_one_published_table_have_weights_averaged_alike(name: str) -> None:
    entries = composed(name, "paper")["translators"].values()
    learned = [TrainingSettings.model_validate(entry.get("training", {})) for entry in entries if "training" in entry]
    assert len({training.ema_decay for training in learned}) <= 1


@pytest.mark.parametrize("name", ["cdcgan_figs", "bicogan_table", "lssl_table2"])
def test_conditional_gans_see_real_and_made_faces_of_the_same_classes(name: str) -> None:
    """Made of evenly drawn classes beside real faces of the data's own, a class alone would tell D what is made."""
    for translator, entry in composed(name, "paper")["translators"].items():
        if entry["method"] in ("cdcgan", "icgan", "bicogan"):
            training = TrainingSettings.model_validate(entry["training"])
            assert training.balanced_targets == training.balanced_sources, translator


def test_the_conditional_dcgan_has_the_published_size() -> None:
    assert composed("cdcgan_figs", "paper")["dataset"]["image_size"] == 48


def test_the_first_of_more_faces_are_those_of_fewer() -> None:
    """Figure 8 draws nested sets: one translator's faces, of which arms take the first n."""
    for scale in SCALES:
        values = composed("lssl_fig8", scale)
        amounts = [values["arms"]["synthetic"][f"lssl_{n}"] for n in (500, 1000, 2000, 5000, 10000)]
        assert {arm["translator"] for arm in amounts} == {"lssl"}
        assert [arm["per_class"] for arm in amounts] == sorted({arm["per_class"] for arm in amounts})
        assert amounts[-1]["per_class"] == values["synthesis"]["per_class"]
        if scale != "smoke":
            assert [arm["per_class"] for arm in amounts] == [500, 1000, 2000, 5000, 10000]


@pytest.mark.parametrize("dataset", ["rig", "fer2013"])
@pytest.mark.parametrize("scale", SCALES)
def test_real_faces_alone_learn_as_beside_synthetic_ones(scale: str, dataset: str) -> None:
    alone, beside = (profile(scale, dataset, name) for name in ("real_only", "standard"))
    parse_parameters(alone, where="params.yaml")
    assert set(arms_of(alone)) == {"real", "real_double_steps"} and set(alone["translators"]) == {"warp"}
    assert scale == "smoke" or alone["arms"]["real"]["real"] == beside["arms"]["real"]["real"]
    assert (alone["classifier"], alone["seeds"], alone["dataset"]) == tuple(
        beside[key] for key in ("classifier", "seeds", "dataset")
    )


@pytest.mark.parametrize(
    ("dataset", "experiment"),
    [
        ("rig", "standard"),
        ("rig", "few_people"),
        ("rig", "fill"),
        ("fer2013", "standard"),
        ("fer2013", "rare"),
        ("fer2013", "fill"),
    ],
)
@pytest.mark.parametrize("scale", VERDICT_SCALES)
def test_verdicts_are_from_real_faces_in_more_steps_too_and_of_five_seeds(
    scale: str, dataset: str, experiment: str
) -> None:
    values = profile(scale, dataset, experiment)
    assert len(values["seeds"]) >= 5
    real = values["arms"]["real"]
    for name, arm in real.items():
        if name == "real" or (arm["kind"] == "oversampled" and "steps_factor" not in arm):
            assert real[f"{name}_double_steps"] == arm | {"steps_factor": 2}


@pytest.mark.parametrize("scale", VERDICT_SCALES)
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_of_the_papers_experiments_no_verdict_is_of_fewer_than_five_trainings(name: str, scale: str) -> None:
    own = EXPERIMENTS[name].data.own if scale == "cpu" else None  # where some have settings of their own data
    for values in (composed(name, scale), composed(name, scale, own)):
        assert len(values["seeds"]) * values["folds"]["folds"] >= 5


@pytest.mark.parametrize("dataset", ["rig", "fer2013"])
@pytest.mark.parametrize("scale", SCALES)
def test_arms_that_fill_classes_up_differ_in_what_fills_them(scale: str, dataset: str) -> None:
    values = profile(scale, dataset, "fill")
    filling = [arm for arm in arms_of(values).values() if "fill_to" in arm]
    assert len(filling) == 5 and len({(arm["fill_to"], arm["augmentation"]) for arm in filling}) == 1
    assert {arm.get("share") for arm in filling} == {None, 0.5, 1.0}
    assert set(values["translators"]) == {"warp", "appearance_flow"}
    assert not values["classifier"]["class_balanced"]  # else a class is repeated anyway
    assert filling[0]["fill_to"] <= 2 * values["synthesis"]["per_class"]  # half of what is lacking is always there


def test_few_photographs_are_learned_from_alike_at_both_scales() -> None:
    """What `long` has for all of FER2013 is not for 2,600 faces."""
    cpu, long = (profile(scale, "fer2013", "rare") for scale in ("cpu", "long"))
    assert ClassifierSettings(**long["classifier"]) == ClassifierSettings(**cpu["classifier"])
    assert ClassifierSettings(**long["judge"]["classifier"]) == ClassifierSettings(**cpu["judge"]["classifier"])
    assert long["translators"] != cpu["translators"]
