"""What a design can see: the detectable difference by hand, by simulation, and against the wrong standard error."""

import json
from dataclasses import replace

import made_up_run
import numpy as np
import pandas as pd
import pytest
from scipy import stats

from reports.build import report_metrics
from reports.inputs import find_headline, load_report_data
from reports.page import render_page
from reports.predictions import Predictions
from reports.settings import BootstrapSettings, ReportSettings
from reports.shortfalls import find_shortfalls
from reports.statistics import HELPED, HURT, UNCLEAR, Interval, compare_arms, detectable_difference, holm
from reports.tables import format_detectable, recall_table

pytestmark = pytest.mark.slow

NAMES = ("a", "b")
FACES_ALONE = BootstrapSettings(resamples=4000, by_subject=False, resample_seeds=False)


def pair(random: np.random.Generator, gain: float, loss: float, faces: int = 400) -> tuple[Predictions, Predictions]:
    """A baseline that is right on half of the faces, and an arm that wins `gain` and loses `loss` of all faces."""
    draw = random.random(faces)
    base = np.arange(faces) % 2 == 0
    arm = np.where(base, draw >= 2 * loss, draw < 2 * gain)
    rows = pd.DataFrame({"fold": 0, "seed": 0, "face_id": [f"f{i}" for i in range(faces)], "subject": None, "label": 0})

    def predictions(name: str, right: np.ndarray) -> Predictions:
        return Predictions(name, NAMES, rows.assign(predicted=np.where(right, 0, 1)))

    return predictions("arm", arm), predictions("real", base)


def test_the_detectable_difference_by_hand() -> None:
    """(1.959964 + 0.841621) standard errors: Cohen, Statistical Power Analysis, two-sided 5 %, power 80 %."""
    assert detectable_difference(0.01, level=0.95) == pytest.approx(0.0280159, abs=1e-6)
    assert detectable_difference(0.01, level=0.95, power=0.9) == pytest.approx(0.0324152, abs=1e-6)
    assert detectable_difference(0.01, level=0.99) == pytest.approx(0.0341745, abs=1e-6)


def test_it_rests_on_the_paired_standard_error() -> None:
    """By hand, from the faces' differences; the unpaired standard error is another, far larger number."""
    arm, real = pair(np.random.default_rng(0), gain=0.12, loss=0.04)
    right = (arm.rows.predicted == 0).astype(float).to_numpy()
    base = (real.rows.predicted == 0).astype(float).to_numpy()
    differences = right - base
    paired = differences.std() / np.sqrt(len(differences))
    unpaired = np.sqrt(right.var() / len(right) + base.var() / len(base))
    found = compare_arms(arm, real, FACES_ALONE).accuracy.detectable
    assert found == pytest.approx(2.801585 * paired, rel=0.05)
    assert 2.801585 * unpaired > 1.5 * found  # negative control


def seen_share(difference: float, loss: float, worlds: int = 150) -> float:
    random = np.random.default_rng(1)
    settings = BootstrapSettings(resamples=300, by_subject=False, resample_seeds=False)
    verdicts = [compare_arms(*pair(random, difference + loss, loss), settings).verdict for _ in range(worlds)]
    return verdicts.count(HELPED) / worlds


def test_a_difference_of_that_size_is_seen_four_times_in_five() -> None:
    """Of made-up worlds; negative control: the unpaired formula's is seen always, so it is no limit."""
    loss, faces = 0.05, 400
    differences = np.linspace(0.01, 0.2, 2000)
    errors = np.sqrt((differences + 2 * loss - differences**2) / faces)
    wanted = differences[np.argmin(np.abs(differences - 2.801585 * errors))]
    assert 0.68 < seen_share(wanted, loss) < 0.9
    unpaired = 2.801585 * np.sqrt(2 * 0.25 / faces)
    assert unpaired > 1.5 * wanted and seen_share(unpaired, loss) > 0.97


def test_fewer_faces_see_less() -> None:
    random = np.random.default_rng(2)
    few, many = (compare_arms(*pair(random, 0.1, 0.1, faces), FACES_ALONE).accuracy.detectable for faces in (100, 1600))
    assert few / many == pytest.approx(4, rel=0.25)


def test_the_adjusted_interval_asks_for_more() -> None:
    arm, real = pair(np.random.default_rng(3), 0.1, 0.1)
    comparison = compare_arms(arm, real, FACES_ALONE, candidates=5)
    ratio = comparison.accuracy_adjusted.detectable / comparison.accuracy.detectable
    quantile = stats.t(399).ppf  # of 400 faces
    assert ratio == pytest.approx((quantile(0.995) + quantile(0.8)) / (quantile(0.975) + quantile(0.8)))
    assert comparison.recalls_adjusted[0].low < comparison.recalls[0].low


@pytest.mark.parametrize(
    ("interval", "words", "firm"),
    [
        (Interval(0.10, 0.05, 0.15, 0.07), HELPED, True),
        (Interval(0.06, 0.01, 0.11, 0.07), "seems to help", False),
        (Interval(-0.10, -0.15, -0.05, 0.07), HURT, True),
        (Interval(-0.06, -0.11, -0.01, 0.07), "seems to hurt", False),
        (Interval(0.03, -0.02, 0.08, 0.07), UNCLEAR, False),
        (Interval(0.08, -0.02, 0.18, 0.07), UNCLEAR, False),
    ],
)
def test_helped_and_hurt_are_not_said_of_less_than_the_design_sees(interval, words, firm) -> None:
    assert (interval.softened_verdict(), interval.firm) == (words, firm)
    assert ("7.0 points" in format_detectable(interval)) is not firm


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    return made_up_run.write_run(tmp_path_factory.mktemp("run"), seeds=2, subjects=12)


def test_no_clear_difference_says_what_the_design_can_detect(inputs) -> None:
    kept = ("real", "lssl-400")
    inputs = inputs.model_copy(
        update={
            "predictions": {name: inputs.predictions[name] for name in kept},
            "arms": {name: inputs.arms[name] for name in kept},
        }
    )
    data = load_report_data(inputs, ReportSettings(bootstrap=BootstrapSettings(resamples=500)))
    headline = find_headline(data)
    assert headline.verdict == UNCLEAR
    seen = f"{100 * headline.comparisons['lssl-400'].accuracy.detectable:.1f} points"
    page = render_page(data, figures={})
    assert f"<h2>No clear difference; this design can detect {seen}.</h2>" in page
    assert f"this design can detect {seen} with 80 % power" in page[page.index('id="short"') :]
    assert "(24 subjects, 2 seeds, 2 folds)" in page


def test_arms_that_always_answer_alike_see_nothing_and_are_at_chance(inputs) -> None:
    """Equal predictions give every resample the same difference: that is no design that sees everything."""
    data = load_report_data(inputs, ReportSettings(bootstrap=BootstrapSettings(resamples=200)))
    real = data.predictions["real"]
    comparison = compare_arms(real, real, data.settings.bootstrap)
    assert np.isnan(comparison.accuracy.detectable)
    headline = find_headline(data)
    assert not [line for line in find_shortfalls(data, headline) if "learned nothing" in line]
    summary = data.summaries[headline.reference]
    always = np.zeros_like(summary.confusion)
    always[:, 0] = summary.confusion.sum(axis=1)
    at_chance = replace(summary, accuracy=float(always[0, 0] / always.sum()), confusion=always)
    data = replace(data, summaries={**data.summaries, headline.reference: at_chance})
    assert [line for line in find_shortfalls(data, headline) if "learned nothing" in line]


def test_an_unknown_detectable_difference_is_not_shown(inputs) -> None:
    data = load_report_data(inputs, ReportSettings(bootstrap=BootstrapSettings(resamples=200)))
    real = data.predictions["real"]
    name = next(iter(data.comparisons))
    data = replace(data, comparisons={**data.comparisons, name: compare_arms(real, real, data.settings.bootstrap)})
    page = render_page(data, figures={})
    assert "detects nan" not in page.lower() and "detects" in page
    figures = report_metrics(data)["arms"][name]
    assert "detectable" not in figures and {"difference", "low", "high"} <= figures.keys()
    json.dumps(report_metrics(data), allow_nan=False)


@pytest.mark.parametrize(
    ("people", "said"),
    [(5, "so few can show no difference"), (9, "the intervals say little"), (10, None)],
)
def test_few_people_are_a_limitation(inputs, people: int, said: str | None) -> None:
    data = load_report_data(inputs, ReportSettings())
    few = {name: replace(comparison, clusters=people) for name, comparison in data.comparisons.items()}
    lines = find_shortfalls(replace(data, comparisons=few), find_headline(data))
    assert [line for line in lines if "The test set has" in line] == (
        [] if said is None else [f"The test set has {people} people: {said}."]
    )


def test_translators_that_were_trained_once_are_a_limitation(inputs) -> None:
    data = load_report_data(inputs, ReportSettings())
    data = replace(data, trainings={"lssl": {"steps": 500}, "warp": {"steps": 0}})
    (line,) = [line for line in find_shortfalls(data, find_headline(data)) if "trained once in each fold" in line]
    assert line.startswith("lssl: "), "what is fitted at once has no training that could come out otherwise"


def test_verdicts_on_recalls_survive_the_number_of_arms_and_classes(tmp_path) -> None:
    """And, of losses, the choice of the baseline; negative control: without the adjustment there are more."""
    data = load_report_data(made_up_run.write_run(tmp_path, seeds=4, subjects=40), ReportSettings())
    table = recall_table(data)
    table = table[table["verdict"] != ""]
    intervals = [data.comparisons[row.arm].recalls[data.class_names.index(row["class"])] for _, row in table.iterrows()]
    among = next(iter(data.comparisons.values())).chosen_among
    assert among > 1
    raw = [min(1.0, found.p_value * (among if found.value < 0 else 1)) for found in intervals]
    assert table["p_holm"].tolist() == pytest.approx(holm(raw))
    said = table["verdict"].isin([HELPED, HURT])
    assert (table.loc[said, "p_holm"] < 0.05).all()
    assert 0 < said.sum() < sum(found.firm for found in intervals)
    seems = [found.firm and p >= 0.05 for found, p in zip(intervals, table["p_holm"], strict=True)]
    assert all(verdict.startswith("seems") for verdict in table.loc[seems, "verdict"])
