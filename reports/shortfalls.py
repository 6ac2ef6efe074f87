"""The limitations of a run's results, found in the results themselves."""

from __future__ import annotations

import json

import numpy as np

from reports.baseline import choose_baseline
from reports.crossed_variance import FEWEST_FOLDS
from reports.inputs import Headline, ReportData
from reports.judged_faces import judged_right
from reports.preparation import data_shortfalls
from reports.statistics import (
    FEW_PEOPLE,
    FEWEST_TRAININGS,
    HELPED,
    HURT,
    METRIC_ARTICLES,
    METRIC_WORDS,
    ONE_TRAINING,
    UNCLEAR,
)
from reports.tables import format_detectable, format_difference, signed

# From this multiple of the distance between two halves of the real faces, a Fréchet distance is more than the noise of
# small samples: the floor itself varies by about a fifth between random splits into halves.
FAR_FROM_REAL = 3.0
WELL_RECOGNIZED = 0.5
# In standard deviations of real faces. Real faces of another half, also compressed, blurred, noisy or brighter ones,
# and clean warps are below 0.6; striped outputs of networks trained for minutes are at 1.2 or more.
STRIPED = 1.0
_TOLD = {
    "landmarks": "landmarks of the faces (of embedded faces exact ones)",
    "own_class": "the class of the face that is translated, of test faces too where their recognition is measured",
    "simulated": "simulated frontal faces",
}


def find_shortfalls(data: ReportData, headline: Headline) -> list[str]:
    """All limitations, each in one or two sentences."""
    found = [f"{refusal.name}: refused: {refusal.reason}" for refusal in data.inputs.refused]
    found += [f"Arm {name} was not run: {reason}." for name, reason in data.not_run.items()]
    found += _chance_shortfalls(data, headline)
    found += _arm_shortfalls(headline)
    found += _threshold_shortfalls(data, headline)
    found += _steps_shortfalls(data, headline)
    found += _class_shortfalls(data, headline)
    if headline.verdict == HELPED and not headline.survives:
        found.append(
            f"{headline.arm} is the best of {sum(headline.counts.values())} synthetic arms; adjusted for their number "
            "(Holm), its difference could be chance."
        )
    found += _statistical_shortfalls(data)
    found += _knowledge_shortfalls(data)
    found += _variant_shortfalls(data)
    found += _repeated_shortfalls(data)
    found += _look_shortfalls(data, headline)
    found += _score_shortfalls(data)
    return found + data_shortfalls(data.faces) + list(data.inputs.notes)


def _chance_shortfalls(data: ReportData, headline: Headline) -> list[str]:
    """A reference arm no better than the most common class, so that a comparison with it means little."""
    summary = data.summaries[headline.reference]
    faces = summary.confusion.sum(axis=1)
    constant = float(faces.max() / faces.sum()) if data.metric == "accuracy" else 1 / int((faces > 0).sum())
    score = summary.score(data.metric)
    if score > constant + 0.01:
        return []
    name = data.class_names[int(faces.argmax())]
    return [
        f"{headline.reference} has {METRIC_ARTICLES[data.metric]} {METRIC_WORDS[data.metric]} of "
        f"{100 * score:.1f} %, and always predicting {name} would "
        f"have {100 * constant:.1f} %: its classifiers learned nothing, so no comparison with them is meaningful."
    ]


def _arm_shortfalls(headline: Headline) -> list[str]:
    """Arms that did not clearly help, or by less than the detectable difference."""
    found = []
    for name, comparison in headline.comparisons.items():
        interval = comparison.main
        if interval.verdict == HELPED and comparison.firm:
            continue
        words = {
            UNCLEAR: "made no clear difference",
            HURT: "hurt",
            ONE_TRAINING: "was trained once, which says nothing of other trainings",
        }.get(comparison.cautious_verdict, comparison.cautious_verdict)
        parts = [format_difference(interval), *filter(None, [format_detectable(interval)])]
        found.append(f"{name} {words}, against {headline.reference}: {'; '.join(parts)}.")
    return found


def _threshold_shortfalls(data: ReportData, headline: Headline) -> list[str]:
    """Arms that helped, and might have by their thresholds between classes alone."""
    found = []
    for name, calibrated in headline.calibrated.items():
        comparison = headline.comparisons.get(name)
        if comparison is None or comparison.verdict != HELPED or calibrated.cautious_verdict == HELPED:
            continue
        if comparison.trained_once:
            continue  # nothing is said of its gain, either
        words = {UNCLEAR: "makes no clear difference", HURT: "hurts"}.get(
            calibrated.verdict, calibrated.cautious_verdict
        )
        reference = str(data.calibrated.reference)
        without = "" if reference == headline.reference else f" from {headline.reference}, the strongest then"
        found.append(
            f"{name} {words} once {reference} and it have class biases fitted on other test people: "
            f"{format_difference(calibrated.main)}, and {format_difference(comparison.main)} without{without}."
        )
    return found


def _steps_shortfalls(data: ReportData, headline: Headline) -> list[str]:
    """Losses against a reference that trained for longer, which are partly of the steps."""
    longer = _steps_factor(data, headline.reference)
    shorter = {
        name: comparison
        for name, comparison in headline.comparisons.items()
        if comparison.verdict == HURT and _steps_factor(data, name) < longer
    }
    if not shorter:
        return []
    least = min(_steps_factor(data, arm) for arm in shorter)
    summaries = {name: summary for name, summary in data.summaries.items() if _steps_factor(data, name) <= least}
    strongest = choose_baseline(data.inputs.arms, summaries, data.metric)
    words = (
        f"{headline.reference} trained for {longer:g} times the steps: part of what {', '.join(shorter)} lost may be"
    )
    if strongest is None:
        return [f"{words} the steps, and no arm of real faces has as few."]
    base = summaries[strongest.arm].score(data.metric)
    each = ", ".join(
        f"{name} {signed(100 * (data.summaries[name].score(data.metric) - base))} points" for name in shorter
    )
    return [f"{words} the steps. From {strongest.arm}, which has no more than they: {each}."]


def _steps_factor(data: ReportData, arm: str) -> float:
    return float(data.arm(arm).get("steps_factor") or 1.0)


def _class_shortfalls(data: ReportData, headline: Headline) -> list[str]:
    """The class in which each synthetic arm lost most recall, whatever its overall accuracy."""
    found = []
    for name, comparison in headline.comparisons.items():
        losses = [interval.value for interval in comparison.recalls]
        if np.isnan(losses).all() or np.nanmin(losses) >= 0:
            continue
        label = int(np.nanargmin(losses))
        interval, adjusted = comparison.recalls[label], comparison.recalls_adjusted[label]
        verdict = {HURT: "still a clear loss", UNCLEAR: "no clear difference"}.get(adjusted.verdict, "")
        if comparison.trained_once:
            verdict = ONE_TRAINING
        found.append(
            f"{name} lost most on {data.class_names[label]}: recall {format_difference(interval)} against "
            f"{headline.reference}; adjusted for picking the worst of {len(losses)} classes, "
            f"{format_difference(adjusted, value=False)}: {verdict}."
        )
    return found


def _statistical_shortfalls(data: ReportData) -> list[str]:
    found = []
    seeds = min(summary.seeds for summary in data.summaries.values())
    if seeds < 3:
        names = [name for name, summary in data.summaries.items() if summary.seeds < 3]
        found.append(
            f"Fewer than three seeds in {', '.join(names)}: "
            + (
                "the interval does not include the randomness of training."
                if seeds == 1
                else "the standard deviation is a rough estimate, and the interval too narrow if trainings differ much."
            )
        )
    comparisons = list(data.comparisons.values())
    trainings = min((found.trainings for found in comparisons if found.trainings is not None), default=None)
    if trainings is not None and 1 < trainings < FEWEST_TRAININGS:
        found.append(
            f"Each arm was trained {trainings} times, over all seeds and folds: of fewer than {FEWEST_TRAININGS} an "
            "arm only seems to help or hurt, however clear its interval."
        )
    if comparisons and not comparisons[0].by_subject and data.settings.bootstrap.by_subject:
        found.append(
            "The subjects are unknown: faces of one person may both teach and test, which flatters every arm, and the "
            "intervals are over single faces, too narrow if several show one person."
        )
    units = min((comparison.clusters for comparison in comparisons), default=FEW_PEOPLE)
    if units < FEW_PEOPLE:
        people = "people" if comparisons[0].by_subject else "faces"
        none = 2.0 ** (1 - units) >= 1 - data.settings.bootstrap.level  # the least p-value of a sign test
        words = "so few can show no difference" if none else "the intervals say little"
        found.append(f"The test set has {units} {people}: {words}.")
    learned = [name for name, log in data.trainings.items() if log.get("steps")]
    if learned and comparisons:
        found.append(
            f"{', '.join(learned)}: trained once in each fold. The intervals are of these pictures, and leave out what "
            "another training of the translator would give."
        )
    folds = len({fold for arm in data.predictions.values() for fold in arm.rows["fold"].unique()})
    if folds == 1 and comparisons:
        found.append(
            "All of it was trained on one set of faces. The intervals are of other test faces, and leave out what "
            "other training faces would give; folds, or another draw, show it."
        )
    elif folds < FEWEST_FOLDS and comparisons:
        found.append(
            f"{folds} folds can't tell how folds differ: the intervals are of these sets of training faces, and leave "
            "out what others would give. Three and more show it."
        )
    elif comparisons:
        found.append(
            f"The {folds} folds share training faces: how they differ is in the intervals, but data sets of their own "
            "would differ more."
        )
    precisions: dict[str, list[str]] = {}
    for name, choice in data.inputs.precisions.items():
        precisions.setdefault(choice.used, []).append(name)
    if len(precisions) > 1:
        shown = "; ".join(f"{precision}: {', '.join(names)}" for precision, names in precisions.items())
        found.append(
            f"The classifiers of the arms were trained in different precisions ({shown}): a difference may be due to "
            "that. Set classifier.precision, and run the arms again."
        )
    if data.settings.split != "test":
        found.append(
            f"These are {data.settings.split} faces, on which checkpoints were chosen: the results are optimistic."
        )
    return found


def _knowledge_shortfalls(data: ReportData) -> list[str]:
    """What translators were told of the faces that arms of real faces are not."""
    told: dict[tuple[str, ...], list[str]] = {}
    for name, scores in data.scores.items():
        # Scores of earlier commits don't say it.
        if words := tuple(text for need, text in _TOLD.items() if need in scores.get("requires", [])):
            told.setdefault(words, []).append(name)
    found = [
        f"{', '.join(names)}: given {' and '.join(words)}, where arms of real faces see pictures alone."
        for words, names in told.items()
    ]
    for name, training in data.trainings.items():
        settings = training.get("translator_settings") or {}
        if settings.get("teacher") == "embedded":
            found.append(
                f"{name} learned what an expression moves from {settings['teacher_people']:,} embedded people, drawn "
                "and labelled exactly, beside this data set: its gain is of both."
            )
    return found


def _variant_shortfalls(data: ReportData) -> list[str]:
    """Translators that are not made or trained as the method that they are of was published."""
    found = []
    for name, entry in data.inputs.params.get("translators", {}).items():
        settings = entry.get("settings") or {}
        if name not in data.scores:
            continue
        differs = []
        if settings.get("output") == "flow":
            differs.append(
                "its generator is given the source warped to landmarks of the wanted class, moves its pixels and paints"
                " inside a mask (output: flow)"
            )
        if share := settings.get("warm_start_share", 0):
            differs.append(
                f"for {100 * share:.0f} % of the steps its generator learns without a discriminator (warm_start_share)"
            )
        if differs:
            found.append(
                f"{name} is not {entry['method']} as it was published: {', and '.join(differs)}. Published figures are "
                "of the published form."
            )
    return found


def _repeated_shortfalls(data: ReportData) -> list[str]:
    """Translators that are one training by several names, as ablations are of what a run does without anyway."""
    alike: dict[str, list[str]] = {}
    for name, training in data.trainings.items():
        if training:
            made = [training.get(key) for key in ("translator", "translator_settings", "settings")]
            alike.setdefault(json.dumps(made, sort_keys=True), []).append(name)
    return [
        f"{', '.join(names)}: the same method, settings and training. What lies between their rows is chance."
        for names in alike.values()
        if len(names) > 1
    ]


def _look_shortfalls(data: ReportData, headline: Headline) -> list[str]:
    """That no metric here measures whether a face looks real, and signs of faces that may not."""
    if not data.scores:
        return []
    found = [
        "This report can't measure whether a synthetic face looks real. The judge's recognition is no evidence: "
        "a classifier also recognizes images that no person would. Look at the galleries."
    ]
    for name in data.scores:
        if signs := _signs_of_unlike_faces(data, headline, name):
            found.append(f"{name}: signs that its faces may not look real: {'; '.join(signs)}. See its gallery.")
    return found


def _signs_of_unlike_faces(data: ReportData, headline: Headline, translator: str) -> list[str]:
    scores = data.scores[translator]
    signs = []
    recognition, real = scores["recognition"], judged_right(scores)
    if recognition and recognition["accuracy"] > real:
        signs.append(
            f"the judge recognizes them more often ({100 * recognition['accuracy']:.1f} %) than the real faces that "
            f"they were made from ({100 * real:.1f} %)"
        )
    for space in scores["distances"]:
        distance, floor = space["overall"]["frechet"], space["overall"]["frechet_floor"]
        if distance is not None and floor and distance >= FAR_FROM_REAL * floor:
            signs.append(
                f"their {space['frechet_name']} is {distance / floor:.0f} times that of two halves of the real faces"
            )
    lines = scores["lines"]
    if lines and lines["excess"] >= STRIPED:
        signs.append(
            f"stripes or grids: energy along rows and columns is {lines['excess']:.1f} standard deviations above "
            f"that of real faces (two halves of these differ by {abs(lines['excess_floor']):.1f})"
        )
    changed = recognition["accuracy_changed"] if recognition else None
    compared = {
        name: comparison
        for name, comparison in headline.comparisons.items()
        if data.arm(name).get("translator") == translator and not data.arm(name).get("second_translator")
    }
    if changed is not None and changed >= WELL_RECOGNIZED and compared:
        name, best = max(compared.items(), key=lambda item: item[1].main.value)
        if best.verdict != HELPED and not best.trained_once:
            words = "made no clear difference" if best.verdict == UNCLEAR else best.cautious_verdict
            signs.append(
                f"the judge recognizes the target class in {100 * changed:.1f} % of them, but arm {name} {words} "
                f"({format_difference(best.main)})"
            )
    return signs


def _score_shortfalls(data: ReportData) -> list[str]:
    found: dict[str, None] = {}
    for name, scores in data.scores.items():
        for item in scores["unavailable"]:
            prefix = "" if item["name"].startswith("FID") else f"{name}: "
            found[f"{prefix}{item['name']}: not available: {item['reason']}."] = None
        recognition, moved = scores["recognition"], scores["movement"]
        untranslated, judge = scores["untranslated"], scores["judge_on_real"]
        if judge["accuracy"] < 1.5 / len(scores["class_names"]):
            found[
                f"The judge has an accuracy of {100 * judge['accuracy']:.1f} % on all {judge['n']:,} real test faces, "
                "little more than chance: recognition, FCD and KCD mean little. Train it longer."
            ] = None
        if recognition and recognition["accuracy_changed"] is not None:
            gain = recognition["accuracy_changed"] - untranslated["accuracy_changed"]
            if gain < 0.05:
                found[
                    f"{name}: the judge recognizes the target in {100 * recognition['accuracy_changed']:.1f} % of "
                    f"faces translated to another class, in {100 * untranslated['accuracy_changed']:.1f} % without "
                    f"translation: its outputs hardly show it. Translated: {describe_sample(scores)}."
                ] = None
        if moved and moved["unmoved_share"] is not None and moved["unmoved_share"] > 0.2:
            found[
                f"{name}: {100 * moved['unmoved_share']:.0f} % of its outputs hardly differ from the input. "
                f"Translated: {describe_sample(scores)}."
            ] = None
        for space in scores["distances"]:
            if space["short_of_synthetic"]:
                found[
                    f"{name}: fewer synthetic than real faces in some class; its {space['frechet_name']} is on "
                    f"{space['overall']['n']:,} faces."
                ] = None
    return list(found)


def describe_sample(scores: dict[str, dict[str, int]]) -> str:
    """The real test faces that were translated for recognition and movement: all, or a number of them."""
    faces = scores["translated_faces"]
    if faces["n"] == faces["of"]:
        return f"all {faces['of']:,} real test faces"
    words = f"{faces['n']:,} of {faces['of']:,} real test faces"
    if faces["n"] < faces["accepted"]:
        words = f"a sample of {words} (scores.max_test_faces)"
    if faces["accepted"] < faces["of"]:
        words += f"; the translator accepts {faces['accepted']:,} of them"
    return words
