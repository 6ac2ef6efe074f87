"""Means, spreads and paired intervals against libraries, with the wrong (unpaired) interval as a negative control."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy import stats
from sklearn import metrics

from augment.core.errors import InputError
from reports.predictions import Predictions, read_all_predictions, read_predictions
from reports.settings import BootstrapSettings
from reports.statistics import (
    HELPED,
    HURT,
    UNCLEAR,
    Interval,
    compare_arms,
    compare_with,
    holm,
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
    """Faces alone, one seed: the plain percentile bootstrap of a mean of face-wise differences."""
    arm, real = make("warp", 0.7, seeds=(0,)), make("real", 0.6, seeds=(0,))
    settings = BootstrapSettings(resamples=8000, by_subject=False, resample_seeds=False, seed=3)
    found = compare_arms(arm, real, settings).accuracy
    joined = arm.rows.merge(real.rows, on=["fold", "seed", "face_id"], suffixes=("", "_real"))
    differences = (joined.predicted == joined.label).astype(float) - (joined.predicted_real == joined.label)
    wanted = stats.bootstrap(
        (differences.to_numpy(),), np.mean, n_resamples=8000, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval
    assert found.low == pytest.approx(wanted.low, abs=0.006)
    assert found.high == pytest.approx(wanted.high, abs=0.006)


def test_cluster_interval_agrees_with_scipy_s_on_subject_means() -> None:
    """Every subject has as many faces, so drawing subjects is drawing subject means."""
    arm, real = make("warp", 0.7), make("real", 0.6)
    settings = BootstrapSettings(resamples=8000, resample_seeds=False)
    found = compare_arms(arm, real, settings).accuracy
    joined = arm.rows.merge(real.rows, on=["fold", "seed", "face_id"], suffixes=("", "_real"))
    joined["difference"] = (joined.predicted == joined.label).astype(float) - (joined.predicted_real == joined.label)
    means = joined.groupby("subject")["difference"].mean().to_numpy()
    wanted = stats.bootstrap(
        (means,), np.mean, n_resamples=8000, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval
    assert found.low == pytest.approx(wanted.low, abs=0.006)
    assert found.high == pytest.approx(wanted.high, abs=0.006)


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
    arm, real = make("warp", 0.7), make("real", 0.6)
    settings = BootstrapSettings(resamples=700, seed=5)
    assert compare_arms(arm, real, settings) == compare_arms(arm, real, settings)
    other = compare_arms(arm, real, BootstrapSettings(resamples=700, seed=6))
    assert other.accuracy != compare_arms(arm, real, settings).accuracy


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
    arm, real = make("warp", 0.72), make("real", 0.6)
    alone = compare_with(real, {"warp": arm}, BootstrapSettings(resamples=1000))["warp"]
    assert alone.survives and alone.verdict == HELPED and alone.cautious_verdict == HELPED
    assert replace(alone, survives=False).cautious_verdict == "seems to help"


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
