"""Statistics of the arms' predictions: means, standard deviations, and intervals of paired differences.

Every difference is from one arm of real faces only. Both arms are tested on the same faces with the same seeds, so the
difference is computed face by face, and the difficulty of a face or a subject cancels. Its standard error is over other
people and other trainings (`reports.crossed_variance`), its interval that of Student's t.

Efron and Tibshirani, "An Introduction to the Bootstrap", 1993 (percentile interval of one classifier's accuracy,
chapter 13); Field and Welsh, "Bootstrapping clustered data", 2007 (whole subjects are drawn, because errors on faces of
one person are correlated); Holm, "A simple sequentially rejective multiple test procedure", 1979 (verdicts about
several arms).
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import pandas as pd
from scipy.stats import t as students_t

from augment.core.errors import InputError, Problem
from reports.crossed_variance import Estimate, crossed_estimates
from reports.predictions import Predictions, confusion_counts
from reports.settings import BootstrapSettings, Metric, ReportSettings

Key = TypeVar("Key", bound=Hashable)

HELPED = "helped"
HURT = "hurt"
UNCLEAR = "no clear difference"
ONE_TRAINING = "not known from one training"
SEEMS = {HELPED: "seems to help", HURT: "seems to hurt", UNCLEAR: UNCLEAR}
POWER = 0.8
FEWEST_TRAININGS = 5  # of each arm, for a verdict that is not softened: fewer tell little of how trainings differ
FEW_PEOPLE = 10  # with fewer in the test set an interval over people says little, and reports say so
UNBALANCED = 1.5  # times as many test faces of one class as of another, from which on `auto` is balanced accuracy
METRIC_WORDS: dict[Metric, str] = {"accuracy": "accuracy", "balanced_accuracy": "balanced accuracy"}
METRIC_ARTICLES: dict[Metric, str] = {"accuracy": "an", "balanced_accuracy": "a"}


@dataclass(frozen=True)
class Interval:
    """A value with its interval.

    Attributes:
        value: The estimate.
        low: The interval's lower end.
        high: Its upper end.
        detectable: The smallest difference that the design detects (see `detectable_difference`); NaN if unknown.
        p_value: Of a difference: two-sided, below 1 - level exactly where the interval excludes 0; NaN if unknown.
    """

    value: float
    low: float
    high: float
    detectable: float = float("nan")
    p_value: float = float("nan")

    @property
    def verdict(self) -> str:
        """Of a difference: helped (interval above 0), hurt (below), or no clear difference."""
        if self.low > 0:
            return HELPED
        if self.high < 0:
            return HURT
        return UNCLEAR

    @property
    def firm(self) -> bool:
        """Whether the observed difference is clear and at least the detectable one."""
        return self.verdict != UNCLEAR and not abs(self.value) < self.detectable

    def softened_verdict(self, *, survives: bool = True) -> str:
        """The verdict, softened for a clear difference below the detectable one: it *seems* to help or hurt.

        Empty where there is no difference, as in a class without test faces.

        The design detects fewer than four in five true differences that small, and overestimates those that it detects
        (Gelman and Carlin, "Beyond Power Calculations", 2014).

        Args:
            survives: Whether the verdict stands after the adjustment for several comparisons; softened if not.
        """
        if np.isnan(self.value):
            return ""
        return self.verdict if self.firm and survives else SEEMS[self.verdict]


def detectable_difference(
    standard_error: float, *, level: float, degrees_of_freedom: float = float("inf"), power: float = POWER
) -> float:
    """The smallest true difference whose interval excludes zero with the given power.

    (t of the interval + t of the power) times the standard error of the *paired* difference, which is smaller than that
    of an unpaired one.

    Args:
        standard_error: Of the paired difference.
        level: Of the two-sided interval, 0..1.
        degrees_of_freedom: Of the standard error's square.
        power: Probability of detecting a difference of this size, 0..1.
    """
    quantiles = students_t.ppf([(1 + level) / 2, power], degrees_of_freedom)
    return float(quantiles.sum() * standard_error)


@dataclass(frozen=True)
class Comparison:
    """An arm against the baseline arm, paired over the same faces and seeds. All in 0..1.

    Attributes:
        accuracy: Difference of accuracy.
        accuracy_adjusted: The same value with the interval for picking the best of several arms: Holm's first step,
            which is Bonferroni's.
        balanced_accuracy: Difference of balanced accuracy.
        balanced_accuracy_adjusted: As `accuracy_adjusted`.
        recalls: Difference of each class's recall; NaN for a class without test faces.
        recalls_adjusted: The same values with the interval for picking one of all classes (Bonferroni).
        faces: Number of test faces that were paired.
        seeds: Number of seeds that were paired.
        clusters: Number of units that the standard error is over: subjects, or faces.
        by_subject: Whether the units are subjects.
        seeds_drawn: Whether it is over trainings too.
        trainings: How many trainings of each arm it is of, over all folds; None where it is of one judge's, as of what
            a judge recognizes.
        metric: What verdicts are of.
        candidates: The number of arms among which the adjusted intervals allow for picking the best.
        chosen_among: The number of arms of which the baseline is the best on these faces.
        adjusted_p_value: The p-value of `main`, adjusted for the number of arms (Holm) and, of a loss, for the choice
            of the baseline; NaN if it is unknown.
        survives: Whether the verdict stands after that adjustment.
    """

    accuracy: Interval
    accuracy_adjusted: Interval
    balanced_accuracy: Interval
    balanced_accuracy_adjusted: Interval
    recalls: tuple[Interval, ...]
    recalls_adjusted: tuple[Interval, ...]
    faces: int
    seeds: int
    clusters: int
    by_subject: bool
    seeds_drawn: bool
    trainings: int | None = None
    metric: Metric = "accuracy"
    candidates: int = 1
    chosen_among: int = 1
    adjusted_p_value: float = float("nan")
    survives: bool = True

    @property
    def main(self) -> Interval:
        """The difference of the metric that the report leads with."""
        return self.accuracy if self.metric == "accuracy" else self.balanced_accuracy

    @property
    def main_adjusted(self) -> Interval:
        """The same value with the interval for picking the best of several arms (Holm's first step, Bonferroni's)."""
        return self.accuracy_adjusted if self.metric == "accuracy" else self.balanced_accuracy_adjusted

    @property
    def verdict(self) -> str:
        """See `Interval.verdict`; by `main`."""
        return self.main.verdict

    @property
    def firm(self) -> bool:
        """Whether the difference is firm (`Interval.firm`), survives the adjustment, and is of enough trainings."""
        return self.main.firm and self.stands

    @property
    def cautious_verdict(self) -> str:
        """As `verdict_on` says of `main`."""
        return self.verdict_on(self.main, survives=self.survives)

    @property
    def stands(self) -> bool:
        """Whether a verdict survives the adjustment for several arms, and is of enough trainings."""
        return self.survives and self.trained_enough

    @property
    def trained_once(self) -> bool:
        """Whether each arm was trained once, so that there is no verdict."""
        return self.trainings == 1

    @property
    def trained_enough(self) -> bool:
        """Whether its trainings, where it is of any, tell how trainings differ."""
        return self.trainings is None or self.trainings >= FEWEST_TRAININGS

    def verdict_on(self, difference: Interval, *, survives: bool) -> str:
        """The verdict on one of its differences: see `Interval.softened_verdict`.

        Of fewer than five trainings an arm only *seems* to help or hurt. Of one training there is none: how trainings
        differ can't be told, and the interval leaves it out (`benchmarks.interval_coverage`).

        Args:
            difference: One of its intervals.
            survives: Whether it stands after the adjustment for several comparisons.
        """
        if self.trained_once:
            return "" if np.isnan(difference.value) else ONE_TRAINING
        return difference.softened_verdict(survives=survives and self.trained_enough)


@dataclass(frozen=True)
class ArmSummary:
    """One arm's results. All in 0..1; spreads are sample standard deviations, None for fewer than two values.

    Attributes:
        arm: Its name.
        runs: Trained classifiers, folds times seeds.
        folds: Number of folds.
        seeds: Number of seeds.
        accuracy: Mean over seeds of the accuracy over all folds' test faces.
        accuracy_seed_spread: Over seeds.
        accuracy_fold_spread: Over folds, each the mean of its seeds.
        balanced_accuracy: Mean recall, as `accuracy`.
        balanced_accuracy_seed_spread: Over seeds.
        macro_f1: Mean F1 of the classes, as `accuracy`.
        macro_f1_seed_spread: Over seeds.
        recalls: By class; NaN for a class without test faces.
        confusion: Counts [K, K], actual by predicted, over all runs.
    """

    arm: str
    runs: int
    folds: int
    seeds: int
    accuracy: float
    accuracy_seed_spread: float | None
    accuracy_fold_spread: float | None
    balanced_accuracy: float
    balanced_accuracy_seed_spread: float | None
    macro_f1: float
    macro_f1_seed_spread: float | None
    recalls: tuple[float, ...]
    confusion: np.ndarray

    def score(self, metric: Metric) -> float:
        """The mean over seeds of a metric."""
        return self.accuracy if metric == "accuracy" else self.balanced_accuracy

    def spread(self, metric: Metric) -> float | None:
        """The sample standard deviation over seeds of a metric."""
        return self.accuracy_seed_spread if metric == "accuracy" else self.balanced_accuracy_seed_spread


def choose_metric(predictions: Predictions, settings: ReportSettings) -> Metric:
    """The metric that the report leads with: the settings', or for `auto` the one that suits the test faces.

    Where the classes differ in size, accuracy is mostly that of the largest, and an arm that gives up the rare classes
    may win by it.
    """
    if settings.metric != "auto":
        return settings.metric
    counts = predictions.rows.drop_duplicates("face_id")["label"].value_counts()
    return "balanced_accuracy" if counts.max() > UNBALANCED * counts.min() else "accuracy"


def recalls_of(confusion: np.ndarray) -> np.ndarray:
    """Recall of each class [K] from counts [K, K]; NaN for a class that never occurs."""
    totals = confusion.sum(axis=1).astype(float)
    return np.divide(np.diag(confusion), totals, out=np.full(len(totals), np.nan), where=totals > 0)


def macro_f1_of(confusion: np.ndarray) -> float:
    """Mean F1 over the classes that occur or are predicted (scikit-learn's `f1_score(average="macro")`)."""
    occurring = confusion.sum(axis=1) + confusion.sum(axis=0)
    present = occurring > 0
    return float((2 * np.diag(confusion)[present] / occurring[present]).mean())


def summarize_arm(predictions: Predictions) -> ArmSummary:
    """Computes the means and standard deviations of one arm."""
    num_classes = len(predictions.class_names)
    rows = predictions.rows
    by_seed = np.stack(
        [confusion_counts(part["label"], part["predicted"], num_classes) for _, part in rows.groupby("seed")]
    )
    accuracies = np.array([np.trace(confusion) / confusion.sum() for confusion in by_seed])
    recalls = np.stack([recalls_of(confusion) for confusion in by_seed])
    balanced = np.nanmean(recalls, axis=1)
    f1 = np.array([macro_f1_of(confusion) for confusion in by_seed])
    by_fold = (rows["label"] == rows["predicted"]).groupby(rows["fold"]).mean().to_numpy()
    total = by_seed.sum(axis=0)
    return ArmSummary(
        arm=predictions.arm,
        runs=predictions.runs(),
        folds=len(by_fold),
        seeds=len(by_seed),
        accuracy=float(accuracies.mean()),
        accuracy_seed_spread=_spread(accuracies),
        accuracy_fold_spread=_spread(by_fold),
        balanced_accuracy=float(balanced.mean()),
        balanced_accuracy_seed_spread=_spread(balanced),
        macro_f1=float(f1.mean()),
        macro_f1_seed_spread=_spread(f1),
        recalls=tuple(recalls_of(total).tolist()),
        confusion=total,
    )


def _spread(values: np.ndarray) -> float | None:
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


def compare_arms(
    arm: Predictions,
    baseline: Predictions,
    settings: BootstrapSettings,
    *,
    candidates: int = 1,
    metric: Metric = "accuracy",
    of_trainings: bool = True,
) -> Comparison:
    """The paired difference of an arm from the baseline arm, with intervals.

    Args:
        arm: The arm to compare.
        baseline: The arm to compare it with.
        settings: Of the intervals.
        candidates: The number of arms among which the best is picked, for the adjusted intervals.
        metric: What the verdict is of.
        of_trainings: False: it is of what one judge sees in other pictures, and of no training.

    Raises:
        InputError: The two arms share no (fold, seed, face), or disagree about a face's label.
    """
    key = ["fold", "seed", "face_id"]
    paired = arm.rows.merge(baseline.rows, on=key, suffixes=("", "_baseline"), validate="one_to_one")
    if paired.empty:
        raise InputError(
            Problem(
                f"arms {arm.arm} and {baseline.arm}",
                "share no test face with the same fold and seed, so no difference can be paired",
                "run both with the same folds and seeds",
            )
        )
    differing = paired["label"] != paired["label_baseline"]
    if differing.any():
        face = paired.loc[differing, "face_id"].iloc[0]
        raise InputError(
            Problem(f"arms {arm.arm} and {baseline.arm}", f"disagree about the label of {face!r}", "run both again")
        )
    by_subject = settings.by_subject and bool(paired["subject"].notna().all())
    clusters = pd.factorize(paired["subject"] if by_subject else paired["face_id"], sort=True)[0]
    num_clusters = int(clusters.max()) + 1
    counts = _count_cells(paired, clusters, num_clusters, len(arm.class_names))
    draws_seeds = settings.resample_seeds and int(paired.groupby("fold")["seed"].nunique().min()) > 1
    over_folds = of_trainings and settings.resample_seeds
    accuracy, balanced, *recalls = crossed_estimates(counts, over_trainings=draws_seeds, over_folds=over_folds)
    one_of_all = 1 - (1 - settings.level) / len(arm.class_names)

    adjusted = 1 - (1 - settings.level) / max(candidates, 1)
    return Comparison(
        accuracy=interval_of(accuracy, settings.level),
        accuracy_adjusted=interval_of(accuracy, adjusted),
        balanced_accuracy=interval_of(balanced, settings.level),
        balanced_accuracy_adjusted=interval_of(balanced, adjusted),
        recalls=tuple(interval_of(recall, settings.level) for recall in recalls),
        recalls_adjusted=tuple(interval_of(recall, one_of_all) for recall in recalls),
        faces=int(paired["face_id"].nunique()),
        seeds=int(paired["seed"].nunique()),
        clusters=num_clusters,
        by_subject=by_subject,
        seeds_drawn=draws_seeds,
        trainings=len(paired[["fold", "seed"]].drop_duplicates()) if of_trainings else None,
        metric=metric,
        candidates=max(candidates, 1),
    )


def accuracy_interval(predictions: Predictions, settings: BootstrapSettings) -> Interval:
    """The accuracy of one classifier (fold by fold, of one seed) with its percentile interval over people.

    Subjects are drawn again where all are known and the settings say so, faces otherwise. Of one of them nothing tells
    how others would do: the interval is all there is, 0 to 1.
    """
    rows = predictions.rows
    by_subject = settings.by_subject and bool(rows["subject"].notna().all())
    clusters = pd.factorize(rows["subject"] if by_subject else rows["face_id"], sort=True)[0]
    faces = np.bincount(clusters).astype(float)
    hits = np.bincount(clusters, weights=rows["predicted"] == rows["label"])
    if len(faces) < 2:
        return Interval(float(hits.sum() / faces.sum()), 0.0, 1.0)
    random = np.random.default_rng(settings.seed)
    drawn = random.multinomial(len(faces), np.full(len(faces), 1 / len(faces)), size=settings.resamples)
    low, high = np.quantile((drawn @ hits) / (drawn @ faces), [(1 - settings.level) / 2, (1 + settings.level) / 2])
    return Interval(float(hits.sum() / faces.sum()), float(low), float(high))


def compare_with(
    baseline: Predictions,
    arms: Mapping[str, Predictions],
    settings: BootstrapSettings,
    *,
    metric: Metric = "accuracy",
    chosen_among: int = 1,
    of_trainings: bool = True,
) -> dict[str, Comparison]:
    """Compares several arms with one, with verdicts adjusted for their number (`holm`).

    Args:
        baseline: The arm that all are compared with.
        arms: The others, by name.
        settings: Of the intervals.
        metric: What verdicts are of.
        chosen_among: The number of arms of which the baseline is the best on these faces.
        of_trainings: As of `compare_arms`.

    Raises:
        InputError: See `compare_arms`.
    """
    pairs = {name: (arm, baseline) for name, arm in arms.items()}
    return compare_pairs(pairs, settings, metric=metric, chosen_among=chosen_among, of_trainings=of_trainings)


def compare_pairs(
    pairs: Mapping[Key, tuple[Predictions, Predictions]],
    settings: BootstrapSettings,
    *,
    metric: Metric = "accuracy",
    chosen_among: int = 1,
    of_trainings: bool = True,
) -> dict[Key, Comparison]:
    """Compares the first of each pair with its second, with verdicts adjusted for the number of pairs (`holm`).

    Args:
        pairs: An arm and the one that it is compared with.
        settings: Of the intervals.
        metric: What verdicts are of.
        chosen_among: The number of arms of which the second is the best on these faces.
        of_trainings: As of `compare_arms`.

    Raises:
        InputError: See `compare_arms`.
    """
    count = len(pairs)
    found = {
        key: compare_arms(arm, baseline, settings, candidates=count, metric=metric, of_trainings=of_trainings)
        for key, (arm, baseline) in pairs.items()
    }
    adjusted = holm([p_value_of(comparison.main, chosen_among) for comparison in found.values()])
    return {
        key: replace(comparison, adjusted_p_value=p, survives=bool(p < 1 - settings.level), chosen_among=chosen_among)
        for (key, comparison), p in zip(found.items(), adjusted, strict=True)
    }


def p_value_of(difference: Interval, chosen_among: int) -> float:
    """The p-value of a difference from an arm that is the best of so many on the same faces.

    The best of several equal arms is better than each by chance. That makes "helped" rarer than it should be, which is
    kept, and "hurt" more frequent: so the p-value of a loss is multiplied by the number of arms (Bonferroni).
    """
    return float(np.minimum(1.0, difference.p_value * (chosen_among if difference.value < 0 else 1)))


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values adjusted for their number: the i-th smallest of m times m - i + 1, at least the one before, at most 1.

    Holm 1979. The chance of any false verdict among all is then at most the level. A NaN stays, and does not count.
    """
    values = np.asarray(p_values, float)
    order = [index for index in np.argsort(values, kind="stable") if not np.isnan(values[index])]
    adjusted = np.full(len(values), np.nan)
    highest = 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, values[index] * (len(order) - rank)))
        adjusted[index] = highest
    return [float(value) for value in adjusted]


def _count_cells(paired: pd.DataFrame, clusters: np.ndarray, num_clusters: int, num_classes: int) -> list[np.ndarray]:
    """For each fold counts [clusters, seeds, 3, K] of the arm's hits, the baseline's hits, and all faces, by class."""
    counts = []
    labels = paired["label"].to_numpy(int)
    hits = (paired["predicted"] == paired["label"]).to_numpy(float)
    baseline_hits = (paired["predicted_baseline"] == paired["label"]).to_numpy(float)
    for _, index in paired.groupby("fold").indices.items():
        seeds = pd.factorize(paired["seed"].to_numpy()[index], sort=True)[0]
        num_seeds = int(seeds.max()) + 1
        cell = np.zeros((num_clusters, num_seeds, 3, num_classes))
        for kind, values in enumerate((hits, baseline_hits, np.ones(len(labels)))):
            np.add.at(cell[:, :, kind], (clusters[index], seeds, labels[index]), values[index])
        counts.append(cell)
    return counts


def interval_of(estimate: Estimate, level: float) -> Interval:
    """The interval, p-value and detectable difference of a paired difference, by Student's t.

    A verdict that no exact test could give is none: if all of the n people for whom there is a difference gained,
    chance alone would give that with a probability of 2 to the power of 1 - n (the sign test, two-sided), and the
    p-value is no smaller. So the interval holds 0 with fewer than six, at a level of 0.95. Where nobody differs from
    anybody, it is what so many people can exclude (for 0 known as the rule of three); of one person it is all that a
    difference can be.
    """
    value, error = estimate.value, estimate.standard_error
    if np.isnan(value):
        return Interval(value, float("nan"), float("nan"))
    if np.isnan(error):
        return Interval(value, -1.0, 1.0, p_value=1.0)
    detectable = float("nan")  # unknown without any spread
    if error > 0:
        freedom = estimate.degrees_of_freedom
        half = float(students_t.ppf((1 + level) / 2, freedom)) * error
        detectable = detectable_difference(error, level=level, degrees_of_freedom=freedom)
        chance = 2 * float(students_t.sf(abs(value) / error, freedom))
    else:
        half = float(1 - (1 - level) ** (1 / estimate.people))
        chance = float(abs(value) <= half)
    low, high = max(value - half, -1.0), min(value + half, 1.0)
    p_value = min(1.0, max(chance, 2.0 ** (1 - estimate.moved)))
    if p_value >= 1 - level:
        low, high = min(low, 0.0), max(high, 0.0)
    return Interval(value, low, high, detectable, p_value)
