"""The report of a made-up run: every figure recomputed, the page self-contained and honest."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import made_up_run
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from sklearn import metrics

from augment.core.errors import InputError
from augment.core.precision import PrecisionChoice
from augment.core.seals import seal_folder
from reports.build import build_report, report_metrics
from reports.environment import describe_environment
from reports.inputs import find_headline, load_report_data, loss_terms, read_json_lines
from reports.page import _training_facts, render_page
from reports.settings import BootstrapSettings, ReportSettings
from reports.statistics import HELPED, HURT
from reports.tables import accuracy_against_n, format_cell, markdown_table, signed

pytestmark = pytest.mark.slow

SETTINGS = ReportSettings(bootstrap=BootstrapSettings(resamples=1000), baseline_arm="real")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    inputs = made_up_run.write_run(folder)
    build_report(inputs, SETTINGS, folder / "report", date="1 May 2026")
    return folder, inputs


@pytest.fixture(scope="module")
def data(run):
    return load_report_data(run[1], SETTINGS)


@pytest.fixture(scope="module")
def page(run):
    return (run[0] / "report" / "index.html").read_text(encoding="utf-8")


def test_rows(inputs, arm) -> pd.DataFrame:
    table = pq.read_table(inputs.predictions[arm]).to_pandas()
    return table[table.split == "test"]


test_rows.__test__ = False  # a helper, not a test


def test_every_accuracy_can_be_recomputed(run) -> None:
    folder, inputs = run
    table = pd.read_csv(folder / "report" / "tables" / "accuracy.csv").set_index("arm")
    assert list(table.index) == list(made_up_run.SKILLS)
    real = test_rows(inputs, "real")
    for arm, row in table.iterrows():
        rows = test_rows(inputs, arm)
        seeds = [part for _, part in rows.groupby("seed")]
        accuracy = [100 * metrics.accuracy_score(part.label, part.predicted) for part in seeds]
        balanced = [100 * metrics.balanced_accuracy_score(part.label, part.predicted) for part in seeds]
        f1 = [100 * metrics.f1_score(part.label, part.predicted, average="macro") for part in seeds]
        assert row.accuracy == pytest.approx(np.mean(accuracy), rel=1e-4)
        assert row.seed_spread == pytest.approx(np.std(accuracy, ddof=1), rel=1e-4)
        assert row.balanced_accuracy == pytest.approx(np.mean(balanced), rel=1e-4)
        assert row.macro_f1 == pytest.approx(np.mean(f1), rel=1e-4)
        assert row.runs == 6 and row.test_faces == 560
        if arm == "real":
            assert np.isnan(row.difference)
            continue
        difference = 100 * (
            metrics.accuracy_score(rows.label, rows.predicted) - metrics.accuracy_score(real.label, real.predicted)
        )
        assert row.difference == pytest.approx(difference, rel=1e-4, abs=1e-4)
        assert row.low < row.difference < row.high


def test_every_recall_can_be_recomputed(run) -> None:
    folder, inputs = run
    table = pd.read_csv(folder / "report" / "tables" / "recall.csv")
    for arm, part in table.groupby("arm"):
        rows = test_rows(inputs, arm)
        wanted = 100 * metrics.recall_score(rows.label, rows.predicted, average=None)
        np.testing.assert_allclose(part.recall, wanted, rtol=1e-4)
        assert part["class"].tolist() == list(made_up_run.NAMES) and (part.test_faces == 80).all()


def test_metrics_and_plots_for_dvc(run) -> None:
    folder, inputs = run
    found = json.loads((folder / "report" / "metrics.json").read_text())
    rows = test_rows(inputs, "warp-400")
    assert found["arms"]["warp-400"]["accuracy"] == pytest.approx(
        metrics.accuracy_score(rows.label, rows.predicted), abs=1e-5
    )
    assert set(found["arms"]["warp-400"]) >= {"accuracy", "balanced_accuracy", "macro_f1", "difference", "low", "high"}
    assert "difference" not in found["arms"]["real"]
    assert found["translators"]["warp"]["FCD"] > 0 and "FID" not in found["translators"]["warp"]
    plots = folder / "report" / "plots"
    confusion = pd.read_csv(plots / "confusion" / "warp-400.csv")
    assert list(confusion.columns) == ["actual", "predicted"] and len(confusion) == len(rows)
    counts = pd.crosstab(confusion.actual, confusion.predicted).loc[sorted(made_up_run.NAMES)]
    np.testing.assert_array_equal(counts, metrics.confusion_matrix(rows.label, rows.predicted))
    losses = pd.read_csv(plots / "losses" / "lssl.csv")
    assert next(iter(losses.columns)) == "step" and "generator/cycle" in losses and "seconds" not in losses
    assert not (plots / "losses" / "warp.csv").exists()
    assert set(pd.read_csv(plots / "classifiers.csv").columns) == {"arm", "step", "accuracy"}


def test_accuracy_against_n_begins_with_real_only(data) -> None:
    table = accuracy_against_n(data)
    warp = table[table.series == "warp, selected"]
    assert warp.n.tolist() == [0, 200, 400] and warp.arm.tolist() == ["real", "warp-200", "warp-400"]
    assert (warp.accuracy_low <= warp.accuracy + 1e-9).all() and (warp.accuracy <= warp.accuracy_high + 1e-9).all()
    assert "warp-only" not in table.arm.tolist()


def test_files_are_all_there_and_no_others_are_left(run) -> None:
    folder = run[0]
    report = folder / "report"
    for name in ("accuracy", "recall", "scores", "distances", "accuracy_against_n", "published"):
        assert (report / "tables" / f"{name}.csv").is_file() and (report / "tables" / f"{name}.md").is_file()
    for name in ("differences", "confusions", "accuracy_against_n", "classifiers", "losses-lssl", "gallery-warp"):
        assert (report / "figures" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    assert not [path for path in folder.iterdir() if path.name.endswith(".part")]


class Reader(HTMLParser):
    """Gathers what a browser would fetch, ids, links, and unlabelled pictures."""

    void = frozenset(("meta", "link", "img", "source", "br", "hr", "input"))

    def __init__(self) -> None:
        super().__init__()
        self.references, self.ids, self.anchors, self.unlabelled, self.open, self.text = [], [], [], [], [], []
        self.tags = set()

    def handle_starttag(self, tag, attributes) -> None:
        values = dict(attributes)
        self.tags.add(tag)
        if tag not in self.void:
            self.open.append(tag)
        for name in ("src", "srcset", "href", "data", "poster", "action", "xlink:href"):
            if name in values:
                (self.anchors if tag == "a" else self.references).append(values[name])
        if "id" in values:
            self.ids.append(values["id"])
        if tag == "img" and not values.get("alt"):
            self.unlabelled.append(values)

    def handle_endtag(self, tag) -> None:
        assert self.open and self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data) -> None:
        self.text.append(data)


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    reader.close()
    assert reader.open == []
    return reader


def test_the_page_needs_nothing_from_outside(page) -> None:
    reader = read(page)
    assert reader.references and all(reference.startswith("data:image/png;base64,") for reference in reader.references)
    assert "script" not in reader.tags and "link" not in reader.tags and "iframe" not in reader.tags
    assert not re.search(r"url\(|@import|https?://", page)
    assert len(page) < 6_000_000


def test_the_page_is_whole_and_labelled(page) -> None:
    reader = read(page)
    assert all(anchor[1:] in reader.ids for anchor in reader.anchors)
    assert len(set(reader.ids)) == len(reader.ids)
    assert reader.unlabelled == []
    assert '<html lang="en">' in page and 'name="viewport"' in page and "prefers-color-scheme: dark" in page


def visible(page: str) -> str:
    return re.sub(r"\s+", " ", " ".join(read(re.sub(r"<style>.*?</style>", "", page, flags=re.S)).text))


def test_the_answer_comes_first_with_its_interval(page, data) -> None:
    text = visible(page)
    comparison = find_headline(data).comparisons["warp-400"].accuracy
    start = text.index(
        "Yes, those of warp-200 and warp-400 helped; those of lssl-400 made no clear difference; "
        "those of stargan-400 hurt."
    )
    answer = text[start : text.index("Differences and their intervals", start)]
    for part in (comparison.value, comparison.low, comparison.high):
        assert signed(100 * part) in answer
    assert "80 subjects and 3 seeds" in answer
    assert "Of 4 arms with synthetic faces" in answer and "Adjusted for the number of arms (Holm), p is" in answer
    assert "classical is the strongest of 4 arms without synthetic faces" in answer
    assert "real faces only, arm classical" in answer


def test_the_page_says_its_limitations(page) -> None:
    text = visible(page)
    short = text[text.index("Limitations", text.index("The data")) :]
    assert "simgan: refused: needs simulated faces" in short
    assert "Arm simgan-400 was not run: its translator simgan was refused" in short
    assert "FID and KID: not available" in short
    assert "stargan-400 hurt" in short
    assert "stargan: 31 % of its outputs hardly differ" in short
    assert "3 rows of the source could not be read as faces and are in quarantine" in short
    assert "2 test faces are near-identical to one of train (1 byte-identical)" in short
    assert "Fewer than 2,048 faces per set (n = 210)" in text
    assert "No FID:" in text and "FCD is shown instead" in text


def test_a_judge_that_knows_nothing_is_told(run, tmp_path) -> None:
    scores = json.loads(run[1].scores["warp"].read_text())
    scores["judge_on_real"]["accuracy"] = 0.16
    (tmp_path / "warp.json").write_text(json.dumps(scores))
    inputs = only(run[1], "real", "warp-400").model_copy(update={"scores": {"warp": tmp_path / "warp.json"}})
    text = visible(render_page(load_report_data(inputs, SETTINGS), figures={}))
    assert "The judge has an accuracy of 16.0 % on all 560 real test faces, little more than chance" in text


def test_published_figures_stand_apart_with_their_data(page, run) -> None:
    text = visible(page)
    assert "87.40 Oulu-CASIA VIS: LSSL (LSSL, Table 1)" in text
    table = pd.read_csv(run[0] / "report" / "tables" / "accuracy.csv").set_index("arm")
    assert table.loc["lssl-400", "data"] == "embedded faces (rare)"
    assert table.loc["lssl-400", "published"] == 87.40 and "Oulu-CASIA" in table.loc["lssl-400", "published_data"]
    assert pd.isna(table.loc["warp-400", "published"])


def test_the_same_results_give_the_same_bytes(run, tmp_path) -> None:
    whole = run[1]
    inputs = only(whole, "real", "warp-400").model_copy(
        update={"scores": {"warp": whole.scores["warp"]}, "translators": {"lssl": whole.translators["lssl"]}}
    )
    for name in ("one", "other"):
        build_report(inputs, SETTINGS, tmp_path / name, date="1 May 2026")
    paths = [path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*") if path.is_file()]
    assert len(paths) > 15
    for path in paths:
        assert (tmp_path / "one" / path).read_bytes() == (tmp_path / "other" / path).read_bytes(), path


@pytest.mark.usefixtures("undrawn")
def test_what_lay_in_the_folder_is_replaced(run, tmp_path) -> None:
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "stale.txt").write_text("old")
    seal_folder(tmp_path / "report")
    left = tmp_path / ".report.999999999.part"
    left.mkdir()
    (left / "index.html").write_text("half")
    inputs = only(run[1], "real", "warp-400")
    build_report(inputs, SETTINGS, tmp_path / "report")
    assert not (tmp_path / "report" / "stale.txt").exists() and not left.exists()
    text = visible((tmp_path / "report" / "index.html").read_text(encoding="utf-8"))
    assert "Scores of the translators" not in text and "Yes: the synthetic faces helped." in text


def test_a_failed_report_leaves_the_old_one(run, tmp_path) -> None:
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "index.html").write_text("old")
    seal_folder(tmp_path / "report")
    inputs = only(run[1], "real", "warp-400").model_copy(update={"scores": {"warp": tmp_path / "absent.json"}})
    with pytest.raises(InputError, match=r"absent\.json: no such file"):
        build_report(inputs, SETTINGS, tmp_path / "report")
    assert (tmp_path / "report" / "index.html").read_text() == "old"


@pytest.mark.usefixtures("undrawn")
def test_licensed_faces_are_marked(run, tmp_path) -> None:
    scores = made_up_run.write_scores(tmp_path, publishable=False)
    inputs = only(run[1], "real", "warp-400").model_copy(update={"scores": scores})
    build_report(inputs, SETTINGS, tmp_path / "report")
    page = (tmp_path / "report" / "index.html").read_text(encoding="utf-8")
    assert visible(page).count("Do not publish.") == 3
    names = [path.name for path in (tmp_path / "report" / "figures").glob("gallery*")]
    assert names and all(name.endswith("-do-not-publish.png") for name in names)


def only(inputs, *arms):
    return inputs.model_copy(
        update={
            "predictions": {arm: inputs.predictions[arm] for arm in arms},
            "arms": {arm: inputs.arms[arm] for arm in arms},
            "scores": {},
            "translators": {},
            "histories": {},
            "selections": {},
            "refused": (),
        }
    )


def test_where_synthetic_faces_hurt_the_page_says_no(run) -> None:
    data = load_report_data(only(run[1], "real", "stargan-400"), SETTINGS)
    assert find_headline(data).verdict == HURT
    text = visible(render_page(data, figures={}))
    assert "No: the synthetic faces hurt." in text and "helped." not in text.split("Differences and their intervals")[0]


def test_where_nothing_synthetic_was_run_the_page_says_so(run) -> None:
    data = load_report_data(only(run[1], "real", "classical"), SETTINGS)
    assert "No result: no arm of real and synthetic faces was run." in visible(render_page(data, figures={}))
    alone = load_report_data(only(run[1], "real"), SETTINGS)
    assert (
        "No result" in visible(render_page(alone, figures={}))
        and "difference" not in report_metrics(alone)["arms"]["real"]
    )


def test_a_pick_that_luck_could_explain_is_not_called_yes(data, monkeypatch) -> None:
    headline = find_headline(data)
    assert headline.arm == "warp-400" and headline.verdict == HELPED and headline.survives
    from reports import page as page_module

    monkeypatch.setattr(page_module, "find_headline", lambda _: replace(headline, survives=False))
    text = visible(render_page(data, figures={}))
    assert "Probably" in text and "Yes: the synthetic faces helped." not in text and "Yes, those" not in text
    assert "adjusted for their number (Holm), its difference could be chance" in text


def test_names_in_the_data_can_not_break_the_page(run) -> None:
    inputs = only(run[1], "real", "warp-400").model_copy(update={"data_name": "<script>alert(1)</script> & faces"})
    page = render_page(load_report_data(inputs, SETTINGS), figures={})
    assert "<script>" not in page and "&lt;script&gt;" in page


def test_a_baseline_that_was_not_run_is_refused(run) -> None:
    with pytest.raises(InputError, match=r"report\.baseline_arm"):
        load_report_data(run[1], ReportSettings(baseline_arm="absent"))
    with pytest.raises(InputError, match="no baseline to compare with"):
        load_report_data(only(run[1], "warp-400"), ReportSettings())


def test_json_lines_forgive_a_killed_run_s_last_line_only(tmp_path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text('{"step": 1}\n{"step": 2}\n{"st')
    assert read_json_lines(path).step.tolist() == [1, 2]
    path.write_text('{"st\n{"step": 2}\n')
    with pytest.raises(InputError, match="line 1"):
        read_json_lines(path)


def test_loss_terms_are_terms_only() -> None:
    log = pd.DataFrame({"step": [1], "generator/cycle": [0.1], "generator_learning_rate": [1e-3], "seconds": [2.0]})
    assert loss_terms(log.assign(facts="x")) == ["generator/cycle"]


def test_markdown_and_cells() -> None:
    table = pd.DataFrame({"arm": ["a|b"], "accuracy": [70.16], "low": [-0.04], "n": [1200], "FID": [None]})
    assert markdown_table(table).splitlines()[2] == "| a\\|b | 70.2 | 0.0 | 1,200 | – |"
    assert markdown_table(table.iloc[:0]) == "_No rows._\n"
    assert [signed(value) for value in (1.26, -3.0, 0.01)] == ["+1.3", "−3.0", "0.0"]
    assert format_cell("KID", 0.01234) == "0.0123" and format_cell("small_sample", True) == "yes"


def test_the_environment_names_versions_without_importing_them() -> None:
    found = describe_environment("cpu")
    assert found["device"] == "cpu" and "torch 2." in found["packages"] and "cores" in found["machine"]


def test_the_precision_of_arms_and_translators(data) -> None:
    def text_with(**precisions: PrecisionChoice) -> str:
        return render_page(replace(data, inputs=data.inputs.model_copy(update={"precisions": precisions})), figures={})

    slow = PrecisionChoice(asked="auto", used="float32", bfloat16_speed=0.6)
    text = text_with(**{"real": slow, "warp-400": slow})
    assert "precision of the classifiers</dt><dd>float32 (auto: bfloat16 was 0.6 times as fast)" in text
    assert "trained in different precisions" not in text
    text = text_with(**{"real": slow, "warp-400": PrecisionChoice(asked="bfloat16", used="bfloat16")})
    assert "trained in different precisions (float32: real; bfloat16: warp-400)" in text
    training = {"steps": 5, "precision": {"asked": "auto", "used": "float32"}, "precision.bfloat16_speed": 0.62}
    assert _training_facts(training) == "5 steps, in float32 (auto: bfloat16 was 0.62 times as fast) (fold 0)."
