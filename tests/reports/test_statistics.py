"""Means, spreads and paired intervals against libraries, with the wrong (unpaired) interval as a negative control."""

import json
from dataclasses import astuple, replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy import stats
from sklearn import metrics

from augment.core.errors import InputError
from reports.crossed_variance import crossed_estimates
from reports.predictions import Predictions, read_all_predictions, read_predictions
from reports.settings import BootstrapSettings
from reports.statistics import (
    HELPED,
    HURT,
    ONE_TRAINING,
    UNCLEAR,
    Interval,
    accuracy_interval,
    compare_arms,
    compare_with,
    holm,
    interval_of,
    macro_f1_of,
    summarize_arm,
)

NAMES = ("angry", "happy", "sad")


def make(
    arm: str, accuracy: float, *, seeds=(0, 1, 2), folds=1, subjects=30, per_subject=6, spread=0.25, seed=0, known=True
) -> Predictions:
    """Predictions whose difficulty is shared by a subject's faces and, through `seed`, by arms."""
    shared = np.random.default_rng(seed)
    own = np.random.default_rng([seed, sum(arm.encode())])
    rows = []
    for fold in range(folds):
        ease = shared.normal(0, spread, subjects)
        labels = shared.integers(0, 3, (subjects, per_subject))
        hardness = shared.random((subjects, per_subject))
        for run in seeds:
            # A face is right where its hardness lies below the arm's skill: two arms agree on most faces.
            skill = accuracy + ease[:, None] + own.normal(0, 0.03) + own.normal(0, 0.05, (subjects, per_subject))
            right = hardness < skill
            wrong = (labels + 1 + own.integers(0, 2, labels.shape)) % 3
            predicted = np.where(right, labels, wrong)
            for s in range(subjects):
                for f in range(per_subject):
                    subject = f"f{fold}s{s}" if known else None
                    rows.append((fold, run, f"f{fold}s{s}-{f}", subject, labels[s, f], predicted[s, f]))
    return Predictions(
        arm, NAMES, pd.DataFrame(rows, columns=["fold", "seed", "face_id", "subject", "label", "predicted"])
    )


def test_summary_agrees_with_scikit_learn() -> None:
    predictions = make("real", 0.6, folds=2)
    summary = summarize_arm(predictions)
    rows = predictions.rows
    by_seed = [part for _, part in rows.groupby("seed")]
    accuracy = [metrics.accuracy_score(part.label, part.predicted) for part in by_seed]
    assert summary.accuracy == pytest.approx(np.mean(accuracy))
    assert summary.accuracy_seed_spread == pytest.approx(np.std(accuracy, ddof=1))
    assert summary.balanced_accuracy == pytest.approx(
        np.mean([metrics.balanced_accuracy_score(part.label, part.predicted) for part in by_seed])
    )
    assert summary.macro_f1 == pytest.approx(
        np.mean([metrics.f1_score(part.label, part.predicted, average="macro") for part in by_seed])
    )
    np.testing.assert_array_equal(summary.confusion, metrics.confusion_matrix(rows.label, rows.predicted))
    np.testing.assert_allclose(summary.recalls, metrics.recall_score(rows.label, rows.predicted, average=None))
    assert (summary.runs, summary.folds, summary.seeds) == (6, 2, 3)
    assert summary.accuracy_fold_spread is not None


def test_macro_f1_counts_a_class_never_predicted_as_nought() -> None:
    labels, predicted = [0, 0, 1, 2], [0, 1, 1, 1]
    wanted = metrics.f1_score(labels, predicted, average="macro", zero_division=0)
    assert macro_f1_of(metrics.confusion_matrix(labels, predicted)) == pytest.approx(wanted)


def test_one_seed_has_no_spread() -> None:
    summary = summarize_arm(make("real", 0.6, seeds=(0,)))
    assert summary.accuracy_seed_spread is None
    assert summary.accuracy_fold_spread is None


def test_difference_is_the_difference_of_means() -> None:
    arm, real = make("warp", 0.75), make("real", 0.6)
    comparison = compare_arms(arm, real, BootstrapSettings(resamples=500))
    assert comparison.accuracy.value == pytest.approx(summarize_arm(arm).accuracy - summarize_arm(real).accuracy)
    assert comparison.balanced_accuracy.value == pytest.approx(
        summarize_arm(arm).balanced_accuracy - summarize_arm(real).balanced_accuracy, abs=1e-12
    )
    assert comparison.verdict == HELPED
    assert compare_arms(real, arm, BootstrapSettings(resamples=500)).verdict == HURT
    assert comparison.by_subject and comparison.clusters == 30 and comparison.faces == 180 and comparison.seeds == 3


def test_interval_agrees_with_scipy_s() -> None:
    """Faces alone, one seed: Student's interval and p-value of face-wise differences; a bootstrap's are close."""
    arm, real = make("warp", 0.7, seeds=(0,)), make("real", 0.6, seeds=(0,))
    settings = BootstrapSettings(by_subject=False, resample_seeds=False)
    found = compare_arms(arm, real, settings).accuracy
    joined = arm.rows.merge(real.rows, on=["fold", "seed", "face_id"], suffixes=("", "_real"))
    differences = (joined.predicted == joined.label).astype(float) - (joined.predicted_real == joined.label)
    test = stats.ttest_1samp(differences, 0)
    wanted = test.confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((wanted.low, wanted.high), rel=1e-9)
    assert found.p_value == pytest.approx(test.pvalue, rel=1e-9)
    drawn = stats.bootstrap(
        (differences.to_numpy(),), np.mean, n_resamples=8000, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval
    assert (found.low, found.high) == pytest.approx((drawn.low, drawn.high), abs=0.008)


def test_cluster_interval_is_student_s_on_subject_means() -> None:
    """Every subject has as many faces, so over subjects alone it is the t interval of subject means, to the digit."""
    arm, real = make("warp", 0.7), make("real", 0.6)
    settings = BootstrapSettings(resample_seeds=False)
    found = compare_arms(arm, real, settings).accuracy
    joined = arm.rows.merge(real.rows, on=["fold", "seed", "face_id"], suffixes=("", "_real"))
    joined["difference"] = (joined.predicted == joined.label).astype(float) - (joined.predicted_real == joined.label)
    test = stats.ttest_1samp(joined.groupby("subject")["difference"].mean(), 0)
    wanted = test.confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((wanted.low, wanted.high), rel=1e-9)
    assert found.p_value == pytest.approx(test.pvalue, rel=1e-9)


def cells_of(arm: Predictions, real: Predictions) -> pd.DataFrame:
    """The mean difference of each subject (row) and seed (column)."""
    joined = arm.rows.merge(real.rows, on=["fold", "seed", "face_id"], suffixes=("", "_real"))
    joined["difference"] = (joined.predicted == joined.label).astype(float) - (joined.predicted_real == joined.label)
    return joined.pivot_table(index="subject", columns="seed", values="difference")


@pytest.mark.parametrize("lift", [0.0, 0.3])  # trainings alike, and trainings that differ much
def test_the_standard_error_is_that_of_an_analysis_of_variance(lift: float) -> None:
    """(MS people + MS seeds - MS both) / (people x seeds), by hand, and Satterthwaite's degrees of freedom."""
    arm, real = make("warp", 0.7, seeds=range(4)), make("real", 0.6, seeds=range(4))
    rows = arm.rows.copy()
    lucky = np.random.default_rng(0).random(len(rows)) < lift * rows.seed / 3
    arm = Predictions("warp", NAMES, rows.assign(predicted=np.where(lucky, rows.label, rows.predicted)))
    cells = cells_of(arm, real).to_numpy()
    people, seeds = cells.shape
    mean = cells.mean()
    of_people = seeds * ((cells.mean(axis=1) - mean) ** 2).sum() / (people - 1)
    of_seeds = people * ((cells.mean(axis=0) - mean) ** 2).sum() / (seeds - 1)
    rest = cells - cells.mean(axis=1, keepdims=True) - cells.mean(axis=0) + mean
    of_both = (rest**2).sum() / ((people - 1) * (seeds - 1))
    whole = max(of_people + of_seeds - of_both, of_people, of_seeds)
    freedom = whole**2 / (
        of_people**2 / (people - 1) + of_seeds**2 / (seeds - 1) + of_both**2 / ((people - 1) * (seeds - 1))
    )
    half = stats.t.ppf(0.975, freedom) * np.sqrt(whole / (people * seeds))
    found = compare_arms(arm, real, BootstrapSettings()).accuracy
    assert (found.low, found.high) == pytest.approx((mean - half, mean + half), rel=1e-9)
    assert found.detectable == pytest.approx(
        half * (1 + stats.t.ppf(0.8, freedom) / stats.t.ppf(0.975, freedom)), rel=1e-9
    )


def test_balanced_accuracy_s_error_is_that_of_people_drawn_again() -> None:
    """Over people alone: the linearization agrees with a bootstrap of the whole figure, faces of classes uneven."""
    arm, real = make("warp", 0.7, seeds=(0,), subjects=60), make("real", 0.6, seeds=(0,), subjects=60)
    joined = arm.rows.merge(real.rows, on=["fold", "seed", "face_id"], suffixes=("", "_real"))
    joined = joined[(joined.label != 2) | (joined.index % 3 == 0)]  # a class of a third as many faces
    gains = np.zeros((60, 3, 2))
    places = pd.factorize(joined.subject, sort=True)[0]
    gain = (joined.predicted == joined.label).astype(float) - (joined.predicted_real == joined.label)
    np.add.at(gains, (places, joined.label.to_numpy(), 0), gain.to_numpy())
    np.add.at(gains, (places, joined.label.to_numpy(), 1), 1)
    random = np.random.default_rng(0)
    drawn = random.multinomial(60, np.full(60, 1 / 60), size=8000) @ gains.reshape(60, -1)
    ratios = drawn.reshape(-1, 3, 2)[:, :, 0] / drawn.reshape(-1, 3, 2)[:, :, 1]
    counts = np.zeros((60, 1, 3, 3))
    counts[:, 0, 0], counts[:, 0, 2] = gains[:, :, 0], gains[:, :, 1]
    _, balanced, *recalls = crossed_estimates([counts], over_trainings=False)
    figures = [ratios.mean(axis=1), *ratios.T]
    for estimate, replicates in zip((balanced, *recalls), figures, strict=True):
        assert estimate.standard_error == pytest.approx(replicates.std(), rel=0.06)
    # of the class of few faces some people have two and others none, which is worth fewer people
    assert recalls[2].degrees_of_freedom < recalls[0].degrees_of_freedom < balanced.degrees_of_freedom < 59


def test_folds_share_no_training_and_their_errors_add_up() -> None:
    """Of two folds with people of their own, each mean has half the weight."""
    arm, real = make("warp", 0.7, folds=2), make("real", 0.6, folds=2)
    both = compare_arms(arm, real, BootstrapSettings(resample_seeds=False)).accuracy
    cells = cells_of(arm, real).mean(axis=1)
    wanted = stats.ttest_1samp(cells, 0).confidence_interval(0.95)
    assert (both.low, both.high) == pytest.approx((wanted.low, wanted.high), rel=1e-9)
    with_seeds = compare_arms(arm, real, BootstrapSettings()).accuracy
    assert with_seeds.high - with_seeds.low >= 0.99 * (both.high - both.low)


def test_crossed_resampling_counts_what_one_training_does_with_one_person_too_often() -> None:
    """Negative control: where only that differs, the replaced bootstrap's interval is half as wide again."""
    random = np.random.default_rng(0)
    counts = np.full((200, 5, 3, 1), 7.0)
    counts[:, :, 0, 0] = random.binomial(7, 0.6, (200, 5))
    counts[:, :, 1, 0] = random.binomial(7, 0.6, (200, 5))
    gains = counts[:, :, 0, 0] - counts[:, :, 1, 0]
    people = random.multinomial(200, np.full(200, 1 / 200), size=4000)
    seeds = random.multinomial(5, np.full(5, 1 / 5), size=4000)
    replicates = np.einsum("bs,bs->b", people @ gains, seeds) / (7 * 200 * 5)
    estimate = crossed_estimates([counts], over_trainings=True)[0]
    exact = np.sqrt(2 * 0.6 * 0.4 / (7 * 200 * 5))
    assert estimate.standard_error == pytest.approx(exact, rel=0.25)
    assert replicates.std() > 1.4 * exact


@pytest.mark.parametrize(("training", "people"), [(0.0, 60), (0.08, 60), (0.02, 20)])
def test_intervals_hold_the_true_difference(training: float, people: int) -> None:
    """Of 300 worlds without a difference at most one in twelve is missed, with three trainings that differ much too."""
    random = np.random.default_rng(1)
    missed = 0
    for _ in range(300):
        counts = np.full((people, 3, 3, 1), 7.0)
        for arm in range(2):
            skill = 0.6 + random.normal(0, 0.05, (people, 1)) + random.normal(0, training, (1, 3))
            counts[:, :, arm, 0] = random.binomial(7, skill.clip(0, 1))
        interval = interval_of(crossed_estimates([counts], over_trainings=True)[0], 0.95)
        missed += not interval.low <= 0 <= interval.high
    assert missed <= 25


@pytest.mark.parametrize(("people", "clear"), [(5, False), (6, True)])
def test_so_few_people_that_no_sign_test_could_tell_have_no_verdict(people: int, clear: bool) -> None:
    """All of them gain, nearly alike: of five, chance alone would give that once in sixteen times."""
    counts = np.full((people, 3, 3, 1), 50.0)
    counts[:, :, 0, 0] = 40 + np.arange(people)[:, None] % 2
    counts[:, :, 1, 0] = 30
    interval = interval_of(crossed_estimates([counts], over_trainings=True)[0], 0.95)
    assert interval.p_value >= 2.0 ** (1 - people) and (interval.verdict == HELPED) is clear


def test_people_without_a_difference_are_none_of_a_sign_test_s() -> None:
    """Of 3,500 faces four are gained and none lost: chance alone would give that once in eight times."""
    counts = np.ones((3500, 1, 3, 1))
    counts[:, :, 0] = counts[:, :, 1] = 0
    counts[:4, :, 0] = 1
    interval = interval_of(crossed_estimates([counts], over_trainings=False)[0], 0.95)
    assert interval.p_value == 0.125 and interval.verdict == UNCLEAR
    counts[:6, :, 0] = 1
    assert interval_of(crossed_estimates([counts], over_trainings=False)[0], 0.95).verdict == HELPED


@pytest.mark.parametrize("people", [2, 200])
def test_arms_that_agree_in_all_may_differ_in_people_who_were_not_there(people: int) -> None:
    counts = np.full((people, 2, 3, 1), 7.0)
    counts[:, :, 0] = counts[:, :, 1] = 5
    interval = interval_of(crossed_estimates([counts], over_trainings=True)[0], 0.95)
    half = 1 - 0.05 ** (1 / people)  # with this probability at each, all people alike would be seen once in twenty
    assert (interval.low, interval.high) == pytest.approx((-half, half)) and interval.p_value == 1


def test_one_person_with_many_faces_makes_the_interval_wider() -> None:
    """Half of the faces are one person's: the sample variance of people's sums would miss how far he pulls the mean."""
    random = np.random.default_rng(0)
    missed, plain = 0, 0
    for _ in range(400):
        faces = np.full(20, 7.0)
        faces[0] = 133
        gains = faces * random.normal(0, 0.1, 20)
        counts = np.zeros((20, 1, 3, 1))
        counts[:, 0, 2, 0], counts[:, 0, 0, 0] = faces, gains
        interval = interval_of(crossed_estimates([counts], over_trainings=False)[0], 0.95)
        missed += not interval.low <= 0 <= interval.high
        value = gains.sum() / faces.sum()
        error = np.sqrt(20 / 19 * np.sum(((gains - value * faces) / faces.sum()) ** 2))
        plain += abs(value) > stats.t.ppf(0.975, 19) * error
    assert missed <= 20 < 60 <= plain


def test_one_person_says_nothing_of_others() -> None:
    counts = np.full((1, 3, 3, 1), 50.0)
    counts[:, :, 1, 0] = 30
    interval = interval_of(crossed_estimates([counts], over_trainings=True)[0], 0.95)
    assert (interval.low, interval.high, interval.p_value) == (-1, 1, 1) and interval.verdict == UNCLEAR


def test_the_interval_excludes_nought_where_p_says_so() -> None:
    """At any level, of any number of arms; a share of replicates can't be below one in all."""
    arm, real = make("warp", 0.68), make("real", 0.6)
    found = compare_arms(arm, real, BootstrapSettings()).accuracy
    for level in (1 - found.p_value - 1e-9, 1 - found.p_value + 1e-9):
        held = compare_arms(arm, real, BootstrapSettings(level=level)).accuracy
        assert (held.verdict == HELPED) is (held.p_value < 1 - level)


def test_a_loss_against_the_best_of_several_arms_is_adjusted_for_that_choice() -> None:
    """The best of six equal arms is better than each by chance: p-values of losses count six times, of gains once."""
    real, worse, better = make("real", 0.65), make("worse", 0.6), make("better", 0.7)
    arms = {"worse": worse, "better": better}
    plain = compare_with(real, arms, BootstrapSettings())
    chosen = compare_with(real, arms, BootstrapSettings(), chosen_among=6)
    losses = plain["worse"].main.p_value, plain["better"].main.p_value
    assert plain["worse"].main.value < 0 < plain["better"].main.value
    assert [found.adjusted_p_value for found in plain.values()] == holm(losses)
    assert [found.adjusted_p_value for found in chosen.values()] == holm([min(1.0, 6 * losses[0]), losses[1]])


def test_unpaired_interval_is_wider() -> None:
    """Negative control: draw each arm's subjects apart, and what both find hard no longer cancels."""
    arm, real = make("warp", 0.7), make("real", 0.6)
    paired = compare_arms(arm, real, BootstrapSettings(resamples=4000, resample_seeds=False)).accuracy
    random = np.random.default_rng(0)

    def replicates(predictions: Predictions) -> np.ndarray:
        rows = predictions.rows
        means = (rows.predicted == rows.label).groupby(rows.subject).mean().to_numpy()
        return means[random.integers(0, len(means), (4000, len(means)))].mean(axis=1)

    low, high = np.quantile(replicates(arm) - replicates(real), [0.025, 0.975])
    assert high - low > 1.5 * (paired.high - paired.low)


def test_drawing_faces_where_people_err_together_is_too_narrow() -> None:
    """Negative control for the clusters: the arm's gain differs from person to person."""
    real = make("real", 0.5, subjects=20, per_subject=20)
    gains = dict(zip(sorted(real.rows.subject.unique()), np.linspace(0, 0.6, 20), strict=True))
    random = np.random.default_rng(0)
    rows = real.rows.copy()
    lucky = random.random(len(rows)) < rows.subject.map(gains)
    rows["predicted"] = np.where(lucky, rows.label, rows.predicted)
    arm = Predictions("warp", NAMES, rows)
    widths = []
    for by_subject in (True, False):
        settings = BootstrapSettings(resamples=3000, by_subject=by_subject, resample_seeds=False)
        interval = compare_arms(arm, real, settings).accuracy
        widths.append(interval.high - interval.low)
    assert widths[0] > 1.3 * widths[1]


def test_drawing_seeds_widens_the_interval() -> None:
    """Seeds that disagree are part of how sure one can be."""
    real = make("real", 0.5)
    rows = real.rows.copy()
    lift = rows.seed.map({0: 0.0, 1: 0.1, 2: 0.5})
    rows["predicted"] = np.where(np.random.default_rng(0).random(len(rows)) < lift, rows.label, rows.predicted)
    arm = Predictions("warp", NAMES, rows)
    with_seeds = compare_arms(arm, real, BootstrapSettings(resamples=3000))
    without = compare_arms(arm, real, BootstrapSettings(resamples=3000, resample_seeds=False))
    assert with_seeds.seeds_drawn and not without.seeds_drawn
    assert with_seeds.accuracy.value == without.accuracy.value
    assert with_seeds.accuracy.high - with_seeds.accuracy.low > 1.5 * (without.accuracy.high - without.accuracy.low)


def test_coverage_of_the_interval() -> None:
    """Of 60 worlds without any difference the 95 % interval should miss nought in about three, never in many."""
    missed = 0
    for world in range(60):
        one = make("a", 0.6, seed=world, spread=0.2, subjects=25)
        other = make("b", 0.6, seed=world, spread=0.2, subjects=25)
        missed += compare_arms(one, other, BootstrapSettings(resamples=400)).verdict != UNCLEAR
    assert missed <= 9


def test_same_seed_same_interval_and_other_seed_another() -> None:
    """Of one classifier, whose people are drawn again; a difference's interval has nothing that is drawn."""
    arm, real = make("warp", 0.7, seeds=(0,)), make("real", 0.6, seeds=(0,))
    settings, other = (BootstrapSettings(resamples=700, seed=seed) for seed in (5, 6))
    one, again, elsewhere = (accuracy_interval(arm, each) for each in (settings, settings, other))
    # Some p-values are not a number, which Python 3.13 calls unequal to itself in a dataclass.
    np.testing.assert_equal(astuple(one), astuple(again))
    assert (one.low, one.high) != (elsewhere.low, elsewhere.high)
    with_one, with_another = (compare_arms(arm, real, each) for each in (settings, other))
    np.testing.assert_equal(astuple(with_one), astuple(with_another))


def test_best_of_many_has_the_wider_interval() -> None:
    arm, real = make("warp", 0.7), make("real", 0.6)
    comparison = compare_arms(arm, real, BootstrapSettings(), candidates=6)
    assert comparison.accuracy_adjusted.low < comparison.accuracy.low
    assert comparison.accuracy_adjusted.high > comparison.accuracy.high


def test_holm_by_hand() -> None:
    """Holm 1979: the i-th smallest times m - i + 1, never below the one before; Bonferroni multiplies all by m."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([0.04]) == [0.04]
    adjusted = holm([0.02, float("nan"), 0.03])
    assert adjusted[0] == pytest.approx(0.04) and np.isnan(adjusted[1]) and adjusted[2] == pytest.approx(0.04)


def test_of_many_arms_without_a_difference_holm_calls_one_in_twenty_families_not_most() -> None:
    """40 families of eight arms that are as good as the baseline; negative control: unadjusted verdicts."""
    adjusted = unadjusted = 0
    settings = BootstrapSettings(resamples=400)
    for world in range(40):
        real = make("real", 0.6, seed=world, subjects=25)
        arms = {f"a{i}": make(f"a{i}", 0.6, seed=world, subjects=25) for i in range(8)}
        found = compare_with(real, arms, settings).values()
        adjusted += any(comparison.verdict != UNCLEAR and comparison.survives for comparison in found)
        unadjusted += any(comparison.verdict != UNCLEAR for comparison in found)
    assert adjusted <= 8 < unadjusted


def test_a_verdict_that_does_not_survive_is_softened() -> None:
    arm, real = make("warp", 0.72, seeds=range(5)), make("real", 0.6, seeds=range(5))
    alone = compare_with(real, {"warp": arm}, BootstrapSettings(resamples=1000))["warp"]
    assert alone.survives and alone.verdict == HELPED and alone.cautious_verdict == HELPED
    assert replace(alone, survives=False).cautious_verdict == "seems to help"


@pytest.mark.parametrize(
    ("seeds", "folds", "verdict"),
    [(5, 1, HELPED), (4, 1, "seems to help"), (1, 1, ONE_TRAINING), (2, 2, "seems to help"), (2, 3, HELPED)],
)
def test_a_verdict_takes_five_trainings_and_one_training_gives_none(seeds: int, folds: int, verdict: str) -> None:
    arm, real = (make(name, skill, seeds=range(seeds), folds=folds) for name, skill in (("warp", 0.8), ("real", 0.6)))
    settings = BootstrapSettings(resamples=300)
    found = compare_with(real, {"warp": arm}, settings)["warp"]
    assert found.trainings == seeds * folds and found.verdict == HELPED
    assert found.cautious_verdict == verdict and found.firm == (verdict == HELPED)
    assert found.verdict_on(found.accuracy, survives=True) == verdict
    # What one judge sees in two kinds of pictures is of no training.
    of_pictures = compare_with(real, {"warp": arm}, settings, of_trainings=False)["warp"]
    assert of_pictures.trainings is None and of_pictures.cautious_verdict == HELPED


def test_a_class_without_test_faces_has_no_verdict() -> None:
    arm, real = (make(name, skill, seeds=range(5)) for name, skill in (("warp", 0.8), ("real", 0.6)))
    arm, real = (replace(one, rows=one.rows[one.rows.label != 2]) for one in (arm, real))
    found = compare_arms(arm, real, BootstrapSettings(resamples=300))
    assert np.isnan(found.recalls[2].value) and found.verdict_on(found.recalls[2], survives=True) == ""
    assert found.verdict_on(found.recalls[0], survives=True) == HELPED
    once = replace(found, trainings=1)
    assert once.verdict_on(found.recalls[2], survives=True) == ""
    assert once.verdict_on(found.recalls[0], survives=True) == ONE_TRAINING


def test_folds_that_differ_widen_the_interval_by_hand() -> None:
    """Four folds of ten people, in whom the arm gains 1, 3, 5 and 1 of ten faces: SD 0.1915, error of the mean half."""
    folds = []
    for number, gain in enumerate((1, 3, 5, 1)):
        counts = np.zeros((40, 2, 3, 1))
        people = slice(10 * number, 10 * number + 10)
        counts[people, :, 2, 0], counts[people, :, 1, 0], counts[people, :, 0, 0] = 10, 4, 4 + gain
        folds.append(counts)
    found = crossed_estimates(folds, over_trainings=True)[0]
    assert found.value == pytest.approx(0.25) and found.degrees_of_freedom == 3
    assert found.standard_error == pytest.approx(0.19149 / 2, rel=1e-3)
    # Negative control: people alone, who in a fold all gain alike, are taken for forty independent ones.
    people = crossed_estimates(folds, over_trainings=False, over_folds=False)[0]
    assert people.standard_error == pytest.approx(0.19149 * np.sqrt(3 / 4 * 40 / 39) / np.sqrt(40), rel=1e-3)
    # Where folds differ by no more than their people, nothing changes; of one fold nothing can.
    same = [np.zeros_like(folds[0]) for _ in range(3)]
    for number, fold in enumerate(same):
        fold[10 * number : 10 * number + 10] = folds[0][:10]
    of_both = crossed_estimates(same, over_trainings=True)[0]
    assert of_both == crossed_estimates(same, over_trainings=True, over_folds=False)[0]
    # Of two folds it can't be told how folds differ, and of one there is nothing to tell.
    for few in (folds[:2], folds[:1]):
        assert crossed_estimates(few, over_trainings=True) == crossed_estimates(
            few, over_trainings=True, over_folds=False
        )


def test_one_persons_accuracy_says_nothing_of_others() -> None:
    one = make("warp", 0.7, subjects=1)
    found = accuracy_interval(one, BootstrapSettings(resamples=300))
    assert (found.low, found.high) == (0.0, 1.0) and 0 < found.value < 1


def test_seeds_that_only_one_arm_has_are_left_out() -> None:
    arm, real = make("hog", 0.5, seeds=(0,)), make("real", 0.6, seeds=(0, 1, 2))
    comparison = compare_arms(arm, real, BootstrapSettings(resamples=300))
    first = Predictions("real", NAMES, real.rows[real.rows.seed == 0])
    assert comparison.seeds == 1 and not comparison.seeds_drawn
    assert comparison.accuracy.value == pytest.approx(summarize_arm(arm).accuracy - summarize_arm(first).accuracy)


def test_unknown_subjects_are_drawn_face_by_face() -> None:
    arm, real = make("warp", 0.7, known=False), make("real", 0.6, known=False)
    comparison = compare_arms(arm, real, BootstrapSettings(resamples=300))
    assert not comparison.by_subject and comparison.clusters == comparison.faces


def test_arms_that_share_nothing_or_disagree_are_refused() -> None:
    arm, real = make("warp", 0.7, seeds=(7,)), make("real", 0.6, seeds=(0,))
    with pytest.raises(InputError, match="share no test face"):
        compare_arms(arm, real, BootstrapSettings())
    rows = real.rows.copy()
    rows["label"] = (rows["label"] + 1) % 3
    with pytest.raises(InputError, match="disagree about the label"):
        compare_arms(Predictions("warp", NAMES, rows), real, BootstrapSettings())


@pytest.mark.parametrize(
    ("low", "high", "word"), [(0.01, 0.1, HELPED), (-0.2, -0.1, HURT), (-0.1, 0.1, UNCLEAR), (0.0, 0.1, UNCLEAR)]
)
def test_verdicts(low: float, high: float, word: str) -> None:
    assert Interval((low + high) / 2, low, high).verdict == word


def write(path, rows: list[dict], names=NAMES, drop=()) -> None:
    table = pa.Table.from_pylist(rows).drop_columns(list(drop))
    metadata = {b"s2l": json.dumps({"class_names": list(names)}).encode()} if names else {}
    pq.write_table(table.replace_schema_metadata(metadata), path)


def row(**changes) -> dict:
    base = dict(
        arm="real",
        fold=0,
        seed=0,
        split="test",
        face_id="a",
        subject="s",
        label=0,
        predicted=1,
        probabilities=[0.2] * 3,
    )
    return {**base, **changes}


def test_reading_keeps_the_test_split_only(tmp_path) -> None:
    write(tmp_path / "real.parquet", [row(), row(split="validation", face_id="b")])
    assert read_predictions(tmp_path / "real.parquet", arm="real").rows.face_id.tolist() == ["a"]


@pytest.mark.parametrize(
    ("rows", "keywords", "message"),
    [
        ([row(split="train")], {}, "contains no test predictions"),
        ([row(), row()], {}, "occur twice in a run, first 'a'"),
        ([row(predicted=3)], {}, r"column predicted: contains values outside 0\.\.2"),
        ([row()], {"drop": ["label"]}, "lacks the columns label"),
        ([row()], {"names": None}, "contains no class names"),
    ],
)
def test_bad_predictions_are_refused(tmp_path, rows, keywords, message) -> None:
    write(tmp_path / "real.parquet", rows, **keywords)
    with pytest.raises(InputError, match=message):
        read_predictions(tmp_path / "real.parquet", arm="real")


def test_absent_or_foreign_files_are_refused(tmp_path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_predictions(tmp_path / "real.parquet", arm="real")
    (tmp_path / "real.parquet").write_text("not parquet")
    with pytest.raises(InputError, match="not a Parquet file"):
        read_predictions(tmp_path / "real.parquet", arm="real")


def test_arms_of_other_classes_are_refused(tmp_path) -> None:
    write(tmp_path / "a.parquet", [row()])
    write(tmp_path / "b.parquet", [row()], names=("x", "y", "z"))
    with pytest.raises(InputError, match="different classes"):
        read_all_predictions({"a": tmp_path / "a.parquet", "b": tmp_path / "b.parquet"})
