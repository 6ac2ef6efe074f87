"""The page praises no win over a weak rival, keeps no loss to itself, and names the sample of every figure."""

import json
import re
from dataclasses import replace

import made_up_run
import numpy as np
import pyarrow.parquet as pq
import pytest

from augment.core.errors import InputError
from reports.build import build_report
from reports.figures import LIGHT, RenderedFigure, draw_accuracy_against_n, draw_classifier_curves
from reports.inputs import ReportData, ReportInputs, describe_arm, find_headline, load_report_data
from reports.page import render_page
from reports.settings import BootstrapSettings, ReportSettings
from reports.shortfalls import find_shortfalls
from reports.statistics import HELPED, HURT
from reports.tables import accuracy_against_n, accuracy_table, recall_table, signed

pytestmark = pytest.mark.slow

SETTINGS = ReportSettings(bootstrap=BootstrapSettings(resamples=600))


@pytest.fixture(scope="module")
def inputs(tmp_path_factory) -> ReportInputs:
    return made_up_run.write_run(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def data(inputs) -> ReportData:
    """Of the whole run: two seconds of a processor, for tests that read it or `replace` a part."""
    return load_report_data(inputs, SETTINGS)


@pytest.fixture(scope="module")
def pair(inputs) -> ReportData:
    """Of an arm that helped and the arm that it is compared with, without scores."""
    return load_report_data(only(inputs, "real", "warp-400"), SETTINGS)


def only(inputs: ReportInputs, *arms: str, **update) -> ReportInputs:
    kept = {
        "predictions": {arm: inputs.predictions[arm] for arm in arms},
        "arms": {arm: inputs.arms[arm] for arm in arms},
    }
    return inputs.model_copy(update={"scores": {}, "refused": (), **kept, **update})


def text_of(page: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", re.sub(r"<style>.*?</style>", "", page, flags=re.S)))


def with_scores(inputs: ReportInputs, folder, name: str, change) -> dict:
    """One translator's scores, changed."""
    scores = json.loads(inputs.scores[name].read_text())
    change(scores)
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(scores))
    return {name: folder / f"{name}.json"}


# Against what


def test_the_strongest_real_only_arm_is_the_measure(data) -> None:
    real_only = {name: data.summaries[name].accuracy for name in ("real", "classical", "oversampled", "hog")}
    assert data.baseline == max(real_only, key=real_only.__getitem__) == "classical"
    assert find_headline(data).reference == "classical"


def test_an_arm_that_is_given_landmarks_is_no_measure_of_pictures(inputs, data) -> None:
    """The strongest arm of all is called one of landmarks: it is shown, and the reference stays."""
    arms = {**inputs.arms, "warp-400": {"kind": "landmark_lda"}}
    assert data.summaries["warp-400"].accuracy > data.summaries["classical"].accuracy
    of_landmarks = load_report_data(inputs.model_copy(update={"arms": arms}), SETTINGS)
    assert find_headline(of_landmarks).reference == of_landmarks.baseline == "classical"
    assert "warp-400" in of_landmarks.summaries
    said = "warp-400 is given the landmarks of a test face in place of its picture"
    assert said in render_page(of_landmarks, figures={}) and said not in render_page(data, figures={})
    # Negative control: as a row of pictures it is the reference.
    arms["warp-400"] = {"kind": "hog"}
    assert load_report_data(inputs.model_copy(update={"arms": arms}), SETTINGS).baseline == "warp-400"


def test_arms_are_described_by_what_sets_them_apart() -> None:
    longer = {"kind": "real", "augmentation": "classical", "steps_factor": 2.0}
    assert describe_arm("longer", longer) == "real faces, classical augmentation, 2 times the steps"
    assert describe_arm("real", {**longer, "steps_factor": 1.0}) == "real faces, classical augmentation"
    assert "landmarks alone" in describe_arm("lda", {"kind": "landmark_lda"})
    assert describe_arm("all", {"kind": "oversampled"}) == "real faces, rare classes repeated to balance"
    repeated = {"kind": "oversampled", "fill_to": 1400, "share": 0.5}
    assert describe_arm("repeated", repeated) == "real faces, classes of fewer than 1,400 repeated up to it"
    filled = "real faces, classes of fewer than 1,400 filled up to it by warp"
    half = {"kind": "synthetic", "translator": "warp", "per_class": None, "fill_to": 1400, "share": 0.5}
    assert describe_arm("half", half) == f"{filled} (50 %) and by repeated ones"
    assert describe_arm("filled", half | {"share": 1.0}) == filled


@pytest.mark.usefixtures("undrawn")
def test_arms_that_fill_classes_up_have_no_one_number_of_faces(inputs, tmp_path) -> None:
    """They are compared like any, the repeated one as an arm of real faces; no line over n has them."""
    arms = {
        **inputs.arms,
        "oversampled": {"kind": "oversampled", "fill_to": 500},
        "lssl-400": {"kind": "synthetic", "translator": "lssl", "fill_to": 500, "share": 1.0},
    }
    filling = only(inputs.model_copy(update={"arms": arms}), "real", "oversampled", "lssl-400")
    data = load_report_data(filling, SETTINGS)
    assert data.baseline in ("real", "oversampled") and data.synthetic_arms() == ["lssl-400"]
    assert accuracy_table(data).set_index("arm").published["lssl-400"] == ""  # of LSSL's faces, 87.40 are of other arms
    assert accuracy_against_n(data).empty and draw_accuracy_against_n(data, LIGHT) is None
    assert "filled up to it by lssl" in text_of(render_page(data, figures={}))
    build_report(filling, SETTINGS, tmp_path / "report")
    lines = (tmp_path / "report" / "tables" / "accuracy.md").read_text().splitlines()
    per_class = {cells[1].strip(): cells[3].strip() for cells in (line.split("|") for line in lines[2:])}
    assert per_class == {"real": "0", "oversampled": "–", "lssl-400": "–"}
    beside = load_report_data(inputs.model_copy(update={"arms": arms}), SETTINGS)
    assert "lssl-400" not in set(accuracy_against_n(beside).arm) and "warp-400" in set(accuracy_against_n(beside).arm)


def test_a_refused_arm_is_a_limitation_with_its_reason(inputs) -> None:
    arms = {**inputs.arms, "lda": {"kind": "landmark_lda"}}
    refused = {"lda": "arms.real.lda: needs landmarks, and no train face of fold 0 has any"}
    data = load_report_data(inputs.model_copy(update={"arms": arms, "refused_arms": refused}), SETTINGS)
    assert data.not_run["lda"] == refused["lda"]


def test_a_win_over_a_weaker_rival_is_no_headline(inputs) -> None:
    """lssl-400 beats `hog` by far and `real` clearly, but not `classical`; nothing praises it."""
    for named in (None, "real", "hog"):
        settings = SETTINGS.model_copy(update={"baseline_arm": named})
        data = load_report_data(only(inputs, "real", "classical", "hog", "lssl-400"), settings)
        headline = find_headline(data)
        assert headline.reference == "classical" and headline.verdict not in (HELPED,)
        text = text_of(render_page(data, figures={}))
        answer = text[: text.index("Differences and their intervals")]
        assert "helped" not in answer and "better" not in answer
        assert "classical is the strongest of 3 arms without synthetic faces" in answer
        assert ("differences below are from" in answer) is (named is not None)
    # Negative control: against the weak arm alone the same arm does help.
    assert data.comparisons["lssl-400"].verdict == HELPED


def test_a_loss_against_more_steps_is_partly_of_the_steps(inputs, data) -> None:
    arms = {**inputs.arms, "classical": inputs.arms["classical"] | {"steps_factor": 2.0}}
    longer = load_report_data(inputs.model_copy(update={"arms": arms}), SETTINGS)
    score = {name: 100 * summary.accuracy for name, summary in longer.summaries.items()}
    assert score["real"] < score["oversampled"] < score["classical"]  # `oversampled` is the strongest of as many steps
    said = (
        "classical trained for 2 times the steps: part of what stargan-400 lost may be the steps. From oversampled, "
        f"which has no more than they: stargan-400 {signed(score['stargan-400'] - score['oversampled'])} points."
    )
    assert said in find_shortfalls(longer, find_headline(longer))
    assert not any("the steps" in text for text in find_shortfalls(data, find_headline(data)))
    alone = only(inputs, "classical", "stargan-400", arms={key: arms[key] for key in ("classical", "stargan-400")})
    found = load_report_data(alone, SETTINGS)
    assert any("no arm of real faces has as few" in text for text in find_shortfalls(found, find_headline(found)))


def test_a_gain_that_thresholds_explain_is_a_limitation(data) -> None:
    headline = find_headline(data)
    assert headline.arm == "warp-400" and data.calibrated.comparisons["warp-400"].cautious_verdict == HELPED
    assert not any("class biases" in text for text in find_shortfalls(data, headline))
    assert "class biases fitted on other test people for all" in text_of(render_page(data, figures={}))
    unclear = replace(
        data.calibrated.comparisons["warp-400"], accuracy=replace(headline.comparisons["warp-400"].main, low=-0.01)
    )
    found = replace(data.calibrated, comparisons={**data.calibrated.comparisons, "warp-400": unclear})
    changed = replace(data, calibrated=found)
    said = [text for text in find_shortfalls(changed, find_headline(changed)) if "class biases" in text]
    assert len(said) == 1 and said[0].startswith("warp-400 makes no clear difference once classical and it have")


def test_the_accuracies_table_has_the_calibrated_difference_and_the_recalls_what_is_predicted(data) -> None:
    table = accuracy_table(data).set_index("arm")
    found = data.calibrated.comparisons["warp-400"].accuracy
    row = table.loc["warp-400"]
    assert (row["calibrated_difference"], row["calibrated_low"]) == (100 * found.value, 100 * found.low)
    assert np.isnan(table.loc["classical", "calibrated_difference"]) and table.loc["classical", "calibrated"] > 0
    recalls = recall_table(data)
    assert recalls.groupby("arm")["predicted_share"].sum().to_numpy() == pytest.approx(100)
    rows = data.predictions["hog"].rows
    sad = recalls[(recalls["arm"] == "hog") & (recalls["class"] == "sad")]["predicted_share"].item()
    assert sad == pytest.approx(100 * (rows["predicted"] == made_up_run.NAMES.index("sad")).mean())


def test_what_translators_are_told_beyond_pictures_is_a_limitation(data) -> None:
    assert not any("see pictures alone" in text for text in find_shortfalls(data, find_headline(data)))
    needs = {"warp": ["landmarks", "own_class"], "lssl": ["landmarks"], "stargan": []}
    scores = {name: found | {"requires": needs[name]} for name, found in data.scores.items()}
    flow = {"translator": "appearance_flow", "translator_settings": {"teacher": "embedded", "teacher_people": 1234}}
    found = replace(data, scores=scores, trainings={**data.trainings, "flow": flow})
    said = find_shortfalls(found, find_headline(found))
    told = [text for text in said if "see pictures alone" in text]
    assert len(told) == 2 and told[1].startswith("lssl: given landmarks of the faces") and "the class" not in told[1]
    assert told[0].startswith("warp: given landmarks of the faces") and "and the class of the face" in told[0]
    assert any(text.startswith("flow learned") and "1,234 embedded people" in text for text in said)
    own = replace(found, trainings={"flow": flow | {"translator_settings": {"teacher": "own", "teacher_people": 1234}}})
    assert not any("embedded people" in text for text in find_shortfalls(own, find_headline(own)))


def test_a_calibrated_gain_is_said_to_be_from_the_arm_that_it_is_from(data) -> None:
    headline = find_headline(data)
    unclear = replace(
        data.calibrated.comparisons["warp-400"], accuracy=replace(headline.comparisons["warp-400"].main, low=-0.01)
    )
    for reference, said in (
        (headline.reference, " without."),
        ("real", f" without from {headline.reference}, the strongest then."),
    ):
        found = replace(data.calibrated, reference=reference, comparisons={"warp-400": unclear})
        changed = replace(data, calibrated=found)
        told = [text for text in find_shortfalls(changed, find_headline(changed)) if "class biases" in text]
        assert len(told) == 1 and f"once {reference} and it have" in told[0] and told[0].endswith(said)


@pytest.mark.parametrize("trainings", [1, 3, 5])
def test_few_trainings_are_said_and_one_gives_no_verdict_anywhere(data, trainings: int) -> None:
    few = {name: replace(comparison, trainings=trainings) for name, comparison in data.comparisons.items()}
    calibrated = {name: replace(found, trainings=trainings) for name, found in data.calibrated.comparisons.items()}
    found = replace(data, comparisons=few, calibrated=replace(data.calibrated, comparisons=calibrated))
    headline = find_headline(found)
    page, said = text_of(render_page(found, figures={})), find_shortfalls(found, headline)
    assert ("Not known: each classifier was trained once" in page) == (trainings == 1)
    assert ("the verdict holds" in page) == (trainings != 1) and (" helped" in page[:2000]) == (trainings == 5)
    assert any(text.startswith(f"Each arm was trained {trainings} times") for text in said) == (trainings == 3)
    assert any("was trained once, which says nothing of other trainings, against" in text for text in said) == (
        trainings == 1
    )
    assert any("still a clear loss" in text for text in said) == (trainings != 1)


def test_one_set_of_training_faces_is_said(data) -> None:
    said = "All of it was trained on one set of faces"
    of_both = find_shortfalls(data, find_headline(data))
    assert not any(said in text for text in of_both)
    assert any(text.startswith("2 folds can't tell how folds differ") for text in of_both)
    one = {name: replace(arm, rows=arm.rows[arm.rows["fold"] == 0]) for name, arm in data.predictions.items()}
    found = replace(data, predictions=one)
    of_one = find_shortfalls(found, find_headline(found))
    assert any(said in text for text in of_one) and not any("how folds differ" in text for text in of_one)
    three = {
        name: replace(arm, rows=arm.rows.assign(fold=np.arange(len(arm.rows)) % 3))
        for name, arm in data.predictions.items()
    }
    of_three = find_shortfalls(replace(data, predictions=three), find_headline(data))
    assert any(text.startswith("The 3 folds share training faces") for text in of_three)


def test_a_named_baseline_keeps_the_differences_and_not_the_answer(inputs) -> None:
    data = load_report_data(inputs, SETTINGS.model_copy(update={"baseline_arm": "real"}))
    headline = find_headline(data)
    assert data.baseline == "real" and headline.reference == "classical"
    lead = data.comparisons["warp-400"].accuracy.value - headline.comparisons["warp-400"].accuracy.value
    assert lead == pytest.approx(data.summaries["classical"].accuracy - data.summaries["real"].accuracy)


# What was lost


def test_the_class_that_lost_most_is_named_with_its_interval(inputs, tmp_path) -> None:
    """An arm that wins in all and loses one class whole: the page must not keep that to itself."""
    table = pq.read_table(inputs.predictions["warp-400"])
    frame = table.to_pandas()
    neutral = made_up_run.NAMES.index("neutral")
    lost = (frame.label == neutral) & (frame.split == "test") & (np.arange(len(frame)) // 2 % 2 == 0)
    frame.loc[lost, "predicted"] = 0
    changed = table.set_column(
        table.schema.get_field_index("predicted"), table.schema.field("predicted"), [frame.predicted.to_numpy()]
    )
    pq.write_table(changed, tmp_path / "warp.parquet")
    arms = only(inputs, "classical", "warp-400")
    arms.predictions["warp-400"] = tmp_path / "warp.parquet"
    data = load_report_data(arms, SETTINGS)
    headline = find_headline(data)
    assert headline.verdict == HELPED
    interval, adjusted = (
        getattr(headline.comparisons["warp-400"], key)[neutral] for key in ("recalls", "recalls_adjusted")
    )
    assert interval.verdict == HURT and adjusted.low < interval.low
    [found] = [line for line in find_shortfalls(data, headline) if "lost most" in line]
    assert found.startswith("warp-400 lost most on neutral: recall ")
    for value in (interval.value, interval.low, interval.high, adjusted.low, adjusted.high):
        assert signed(100 * value) in found
    assert "worst of 7 classes" in found and found.endswith("still a clear loss.")


def test_an_arm_that_lost_no_class_is_not_blamed(pair) -> None:
    assert min(interval.value for interval in pair.comparisons["warp-400"].recalls) > 0
    assert not [line for line in find_shortfalls(pair, find_headline(pair)) if "lost most" in line]


# What the judge can't know


def test_agreement_is_never_sold_as_likeness(data, pair) -> None:
    found = find_shortfalls(data, find_headline(data))
    assert any("The judge's recognition is no evidence" in line and "galleries" in line for line in found)
    assert not any("no evidence" in line for line in find_shortfalls(pair, find_headline(pair)))


def test_signs_of_faces_that_no_person_would_take_for_one(inputs, tmp_path) -> None:
    def unlike(scores) -> None:
        scores["recognition"] |= {"accuracy": 0.9, "accuracy_changed": 0.88}
        scores["distances"][0]["overall"] |= {"frechet": 16.05, "frechet_floor": 1.14}
        scores["lines"] |= {"excess": 1.27}

    scores = with_scores(inputs, tmp_path, "stargan", unlike)
    data = load_report_data(only(inputs, "real", "stargan-400", scores=scores), SETTINGS)
    [found] = [line for line in find_shortfalls(data, find_headline(data)) if line.startswith("stargan: signs")]
    assert "recognizes them more often (90.0 %) than the real faces that they were made from (63.8 %)" in found
    assert "FCD is 14 times that of two halves of the real faces" in found
    assert "stripes or grids: energy along rows and columns is 1.3 standard deviations" in found
    assert "target class in 88.0 % of them, but arm stargan-400 hurt" in found
    assert found.endswith("See its gallery.")


def test_agreement_without_a_clear_difference_is_not_called_worse(data) -> None:
    [found] = [line for line in find_shortfalls(data, find_headline(data)) if line.startswith("lssl: signs")]
    assert "but arm lssl-400 made no clear difference" in found and "worse" not in found


def test_a_translator_near_the_floor_bears_no_such_sign(inputs, tmp_path) -> None:
    """Negative control: recognized less than real faces, at the floor, and its arm gained."""

    def near(scores) -> None:
        scores["recognition"] |= {"accuracy": 0.6, "accuracy_changed": 0.55}
        scores["distances"][0]["overall"] |= {"frechet": 2.85, "frechet_floor": 1.14}
        scores["lines"] |= {"excess": 0.6}

    scores = with_scores(inputs, tmp_path, "warp", near)
    data = load_report_data(only(inputs, "real", "warp-400", scores=scores), SETTINGS)
    assert not [line for line in find_shortfalls(data, find_headline(data)) if "signs that" in line]


# Of how many


def test_the_judge_s_accuracy_and_every_sample_are_said_with_their_size(data) -> None:
    text = text_of(render_page(data, figures={}))
    assert "The judge has an accuracy of 65.5 % on all 560 real test faces." in text
    assert text.count("a sample of 210 of 560 real test faces (scores.max_test_faces)") >= 6
    assert "n 210 of 280" in text and "real pairs 7.2 (480)" in text
    assert re.search(r"hardly differ from the input\. Translated: a sample of 210 of 560", text)


def test_all_faces_are_called_no_sample(inputs, tmp_path) -> None:
    def whole(scores) -> None:
        scores["translated_faces"] = {"n": 560, "accepted": 560, "of": 560}
        scores["distances"][0]["of"] = scores["distances"][0]["overall"]["n"]

    scores = with_scores(inputs, tmp_path, "warp", whole)
    text = text_of(render_page(load_report_data(only(inputs, "real", "warp-400", scores=scores), SETTINGS), figures={}))
    assert (
        "all 560 real test faces" in text and "a sample of" not in text and "n 210 of" not in text.replace("n 150", "")
    )


def test_scores_of_an_older_version_are_refused_by_name(inputs, tmp_path) -> None:
    scores = with_scores(inputs, tmp_path, "warp", lambda scores: scores.update(version=1))
    with pytest.raises(InputError, match=r"warp\.json: is of version 1.*assess"):
        load_report_data(only(inputs, "real", "warp-400", scores=scores), SETTINGS)


# Lines

# The page's words beside this figure are looked at, not its pictures: to draw them all takes seconds.
DRAWN = {"accuracy_against_n": RenderedFigure(b"", b"", 1, 1)}


def courses(figure) -> list:
    return [line for line in figure.axes[0].lines if line.get_linestyle() == "-" and len(set(line.get_xdata())) > 1]


def test_no_line_is_drawn_through_one_n(inputs) -> None:
    data = load_report_data(only(inputs, "real", "lssl-400", "stargan-400"), SETTINGS)
    figure = draw_accuracy_against_n(data, LIGHT)
    assert figure is not None and courses(figure) == [] and len(figure.axes[0].containers) == 2
    assert "Every translator was run with only one number of faces" in text_of(render_page(data, figures=DRAWN))


def test_a_line_is_drawn_through_two_and_more(data) -> None:
    """Negative control; lssl and stargan have one n in the same figure."""
    figure = draw_accuracy_against_n(data, LIGHT)
    assert figure is not None and len(courses(figure)) == 1
    text = text_of(render_page(data, figures=DRAWN))
    assert (
        "A series with only one number of faces is a point without a line." in text
        and "Every translator was run" not in text
    )


def test_one_look_at_the_validation_faces_is_a_point(pair) -> None:
    assert len(courses(draw_classifier_curves(pair, LIGHT))) == len(pair.histories) > 1
    short = replace(pair, histories={name: rows[rows.step == 50] for name, rows in pair.histories.items()})
    figure = draw_classifier_curves(short, LIGHT)
    assert figure is not None and courses(figure) == [] and len(figure.axes[0].lines) == len(pair.histories)
    assert all(line.get_marker() == "o" for line in figure.axes[0].lines)


@pytest.mark.usefixtures("undrawn")
def test_bounds_of_accuracies_bear_no_sign(inputs, pair, tmp_path) -> None:
    """They are accuracies and no differences: `54.4`, not `+54.4`."""
    build_report(only(inputs, "real", "warp-400", histories={}, translators={}), SETTINGS, tmp_path / "report")
    table = accuracy_against_n(pair)
    lines = (tmp_path / "report" / "tables" / "accuracy_against_n.md").read_text().splitlines()
    assert lines[-1].endswith(f"| {table.accuracy_low.iloc[-1]:.1f} | {table.accuracy_high.iloc[-1]:.1f} |")


# What it cost


@pytest.mark.usefixtures("undrawn")
def test_the_page_and_the_metrics_name_commit_time_and_memory(inputs, tmp_path) -> None:
    build_report(only(inputs, "real", "warp-400"), SETTINGS, tmp_path / "report")
    text = text_of((tmp_path / "report" / "index.html").read_text(encoding="utf-8"))
    assert f"{made_up_run.CODE.commit}, and changed since: params.yaml" in text
    assert f"stages run with other commits {made_up_run.OLDER.commit}" in text
    assert "wall time 3 min 06 s, the sum of 2 stages" in text and "peak memory 1,200 MiB" in text
    assert "train@lssl 2 min 05 s; resumed, without the time of 1 interrupted before" in text
    assert "not measured train@stargan: their results were not made here" in text
    run = json.loads((tmp_path / "report" / "metrics.json").read_text())["run"]
    assert run["commit"] == made_up_run.CODE.commit and run["tree"] == "changed"
    assert run["seconds"] == 186.5 and run["peak_memory_mib"] == 1200
    assert "stages" not in run  # a table of forty columns; the page has them


def test_without_a_record_nothing_is_made_up(inputs, tmp_path) -> None:
    data = load_report_data(only(inputs, "real", "warp-400", record=None), SETTINGS)
    text = text_of(render_page(data, figures={}))
    assert "git commit" not in text and "wall time" not in text.lower().replace("wall time of", "")
