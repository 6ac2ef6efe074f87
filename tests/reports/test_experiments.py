"""The papers' experiments: rows from a run's results, files of rows, the published order, and the page."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import made_up_run
import numpy as np
import pandas as pd
import pytest
from scipy.stats import sem, t
from sklearn.metrics import accuracy_score

from augment.core.errors import InputError
from augment.core.seals import seal_folder
from reports.build import build_report
from reports.experiments.arm_intervals import accuracy_intervals
from reports.experiments.catalogue import Against, Claim, Data, Experiment, Row, find_experiment, read_experiments
from reports.experiments.differences import mcnemar
from reports.experiments.order import Order, compare_order
from reports.experiments.page import FiledRun, experiment_page, experiments_table, filed_runs, rows_table
from reports.experiments.row_figures import RunResults, rows_of_run, write_sheets
from reports.experiments.rows import Difference, ResultRow, RunFacts, read_rows, write_rows
from reports.experiments.statements import Statements, compare_statements
from reports.predictions import Predictions
from reports.settings import BootstrapSettings, ReportSettings

SETTINGS = ReportSettings(bootstrap=BootstrapSettings(resamples=200))
FACTS = RunFacts(
    dataset="rig",
    data="embedded faces (rare)",
    scale="cpu",
    command="s2l experiments run made_up",
    seed=0,
    classifier_seeds=(0, 1, 2),
    device="cpu",
    machine="a machine, 2 cores",
    packages="torch 2.11",
    commit="0" * 40,
    tree="unchanged",
    seconds=90.0,
    peak_memory_mib=512.0,
)
MADE_UP = Experiment(
    name="made_up",
    paper="LSSL",
    shows="Table 1",
    question="Does it help?",
    data=Data(stand_in="rig"),
    measures=("accuracy",),
    rows={
        "classical": Row(title="real faces"),
        "stargan-400": Row(title="StarGAN", published="StarGAN"),
        "warp-400": Row(title="LSSL", published="LSSL"),
        "simgan-400": Row(title="SimGAN"),
        "never": Row(title="never run", published="HOG 3D"),
    },
)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> RunResults:
    folder = tmp_path_factory.mktemp("run")
    return RunResults(
        predictions=made_up_run.write_predictions(folder),
        scores=made_up_run.write_scores(folder),
        refused={"simgan-400": "no simulated faces"},
        arms=made_up_run.ARMS,
        settings=SETTINGS,
    )


# The order


@pytest.mark.parametrize(
    ("values", "smaller", "pairs", "agreeing", "best"),
    [
        ({"a": 3.0, "b": 2.0, "c": 1.0}, False, 3, 3, "a"),
        ({"a": 3.0, "b": 2.0, "c": 1.0}, True, 3, 0, "c"),
        ({"a": 2.0, "b": 3.0, "c": 1.0}, False, 3, 2, "b"),
        ({"a": 2.0, "b": 2.0, "c": 1.0}, False, 3, 2, "ab"),  # a tie is no order
        ({"a": 2.0, "c": 1.0}, False, 1, 1, "a"),  # b was not run
    ],
)
def test_order(values: dict[str, float], smaller: bool, pairs: int, agreeing: int, best: str) -> None:
    order = compare_order(values, [["a"], ["b"], ["c"]], smaller=smaller)
    assert order is not None
    assert (order.pairs, order.agreeing, order.best_ours) == (pairs, agreeing, tuple(best))
    assert order.came_out == (pairs == agreeing)
    words = order.describe({name: name.upper() for name in "abc"})
    assert f"{agreeing} of {pairs}" in words and ("did not come out" in words) == (pairs != agreeing)


def test_a_tie_is_not_won_by_what_the_paper_has_first() -> None:
    order = compare_order({"a": 2.0, "b": 2.0}, [["a"], ["b"]])
    assert order is not None and not order.came_out
    assert "the best is A and B, where the paper has A" in order.describe({"a": "A", "b": "B"})


def test_rows_of_one_group_are_not_compared() -> None:
    order = compare_order({"a": 1.0, "b": 2.0, "c": 0.0}, [["a", "b"], ["c"]])
    assert order is not None and (order.pairs, order.agreeing) == (2, 2)
    assert order.best_published == ("a", "b")
    assert compare_order({"a": 1.0, "b": 2.0}, [["a", "b"], ["c"]]) is None


def test_the_best_is_that_of_the_rows_that_the_paper_ranks() -> None:
    order = compare_order({"a": 2.0, "b": 1.0, "ours": 3.0}, [["a"], ["b"], ["c"]])
    assert order is not None
    assert "the best is A, as published" in order.describe({"a": "A", "b": "B", "c": "C"})
    words = order.describe({"a": "A", "b": "B", "c": "C", "ours": "a row of ours"})
    assert "the best of those that the paper ranks is A, as published" in words


def test_the_order_is_that_of_the_figures_or_else_of_the_claim() -> None:
    groups = find_experiment("lssl_table1").published_groups("accuracy")
    assert groups[0] == ["lssl"] and groups[1] == ["lssl_without_parsing"] and groups[-1] == ["hog"]
    assert find_experiment("ccyclegan_fig3").published_groups("FCD")[0] == [
        "ccyclegan_lr2_cyc1_cl1",
        "ccyclegan_lr2_cyc05_cl1",
        "ccyclegan_lr2_cyc05_cl05",
    ]
    at = find_experiment("lssl_table3").published_groups("accuracy at 30 degrees")
    assert at == [["lssl_pose"], ["lssl_pose_without_parsing"], ["cyclegan_pose"], ["profile"], ["simulated"]]


# Statements on rows beside one other

AGAINST = Against(row="none", better=("turn",), same=("flip", "shear"), worse=("crop", "dark"), no_better=("gan",))
TITLES = {name: name.upper() for name in ("none", *AGAINST.others)}


def row_of(name: str, figure: float, verdict: str | None = None, against: str = "none") -> ResultRow:
    difference = None
    if verdict is not None:
        difference = Difference(against=against, metric="accuracy", value=0.1, low=-1.0, high=1.0, verdict=verdict)
    figures = {"accuracy": figure, "FCD": figure}
    return ResultRow(experiment="e", row=name, title=name, figures=figures, difference=difference, run=FACTS)


def rows_with(verdicts: dict[str, str]) -> dict[str, ResultRow]:
    """Figures say the opposite of most verdicts: differences are what counts."""
    return {"none": row_of("none", 50.0), **{name: row_of(name, 49.9, verdict) for name, verdict in verdicts.items()}}


@pytest.mark.parametrize(
    ("row", "fitting"),
    [
        ("turn", {"helped", "seems to help"}),
        ("flip", {"no clear difference"}),
        ("crop", {"hurt", "seems to hurt"}),
        ("gan", {"no clear difference", "hurt", "seems to hurt"}),
    ],
)
def test_a_statement_is_judged_by_the_verdict_of_its_difference(row: str, fitting: set[str]) -> None:
    for verdict in ("helped", "seems to help", "no clear difference", "seems to hurt", "hurt"):
        found = compare_statements(rows_with({row: verdict}), AGAINST, "accuracy")
        assert found is not None and found.came_out == (verdict in fitting), verdict


def test_statements_in_words() -> None:
    verdicts = {"turn": "seems to hurt", "flip": "no clear difference", "crop": "hurt", "gan": "helped"}
    found = compare_statements(rows_with(verdicts), AGAINST, "accuracy")
    assert found is not None and (found.summary, found.share) == ("2 of 4 statements", 0.5)
    words = found.describe(TITLES)
    assert words.startswith('2 of 4 of the paper\'s statements on rows beside "NONE" came out, each judged by the')
    assert "(better 0 of 1, same 1 of 1, worse 1 of 1, no better 0 of 1)" in words
    assert "Those that did not: TURN (published: better, ours: seems to hurt); GAN (" in words
    assert "Not judged, for want of figures: SHEAR; DARK." in words


def test_without_paired_differences_the_sign_counts_and_nothing_is_the_same() -> None:
    """Less is better of a distance; equal figures are neither better nor worse."""
    figures = {"none": 0.5, "turn": 0.4, "flip": 0.5, "crop": 0.4, "dark": 0.5, "gan": 0.5}
    rows = {name: row_of(name, figure, "helped") for name, figure in figures.items()}
    found = compare_statements(rows, AGAINST, "FCD")
    assert found is not None and found.summary == "2 of 4 statements by sign"
    words = found.describe(TITLES)
    assert "by the sign of the difference alone, however small (better 1 of 1, worse 0 of 2, no better 1 of 1)" in words
    assert "CROP (published: worse, ours: better); DARK (published: worse, ours: same)." in words
    assert "a sign can't say that two are the same: FLIP; SHEAR." in words
    from_another = {name: row_of(name, 50.0, "helped", against="real") for name in ("none", "turn")}
    other = compare_statements(from_another, AGAINST, "accuracy")
    assert other is not None and other.by_sign, "a difference from another row is none from this one"


def test_without_the_row_or_any_other_there_is_nothing_to_judge() -> None:
    assert compare_statements({"turn": row_of("turn", 1.0)}, AGAINST, "FCD") is None
    assert compare_statements({"none": row_of("none", 1.0), "flip": row_of("flip", 1.0)}, AGAINST, "FCD") is None


def test_pairs_that_the_paper_does_not_compare_are_in_no_verdict() -> None:
    """As one order of three groups, mirrored faces that are less near than cropped ones would be a pair that fails."""
    experiment = find_experiment("bicogan_table")
    assert experiment.published_groups("accuracy") == [] and experiment.claim is not None
    assert experiment.claim.against is not None and len(experiment.claim.against.others) == 11
    figures = {"bicogan": 0.5, "bicogan_crop": 0.6, "bicogan_mirror": 0.7}
    assert not compare_order(figures, [["bicogan", "bicogan_mirror"], ["bicogan_crop"]], smaller=True).came_out  # type: ignore[union-attr]
    found = compare_statements(
        {name: row_of(name, figure) for name, figure in figures.items()}, experiment.claim.against, "FCD"
    )
    assert found is not None and found.came_out and len(found.judged) == 1


def test_a_run_says_how_many_statements_came_out(tmp_path: Path) -> None:
    experiment = MADE_UP.model_copy(
        update={
            "measures": ("accuracy", "FCD"),
            "rows": {name: Row(title=title) for name, title in TITLES.items()},
            "claim": Claim(text="?", against=AGAINST),
        }
    )
    write_rows(list(rows_with({"turn": "helped", "flip": "hurt"}).values()), tmp_path / "rig-cpu")
    seal_folder(tmp_path / "rig-cpu")
    runs, problems = filed_runs(experiment, tmp_path)
    page = experiment_page(experiment, runs, problems, run_it="it")
    assert "Accuracy: 1 of 2 of the paper's statements" in page and "FCD: 1 of 1 of the paper's" in page
    assert "order" not in page
    table = experiments_table({"made_up": experiment}, {"made_up": (runs, problems)})
    assert table["outcomes"].tolist() == [
        ["rig-cpu: accuracy: no, 1 of 2 statements, FCD: yes, 1 of 1 statements by sign"]
    ]


def test_an_order_and_a_statement_beside_it_are_said_each() -> None:
    """Soft-max stands beside the grid of CCycleGAN: it is in no pair of its order, and is no best of its groups."""
    experiment = find_experiment("ccyclegan_fig3")
    figures = dict(zip(experiment.rows, [0.5, 0.9, 0.6, 0.4, 0.8, 0.8, 0.8, 0.8, 0.3], strict=True))
    rows = {name: row_of(name, figure) for name, figure in figures.items()}
    order, statements = FiledRun("run", rows, Path()).outcomes(experiment).values()
    assert isinstance(order, Order) and (order.agreeing, order.pairs) == (15, 15)
    assert order.best_ours == ("ccyclegan_lr2_cyc05_cl05",)
    assert isinstance(statements, Statements) and [one.row for one in statements.judged] == ["ccyclegan_softmax"]
    assert not statements.came_out, "nearer than sigmoid's, where the paper has it worse"
    said = " ".join(FiledRun("run", rows, Path()).outcome_sentences(experiment))
    assert "FCD: The published order came out" in said and "FCD, statements: 0 of 1 of the paper's statements" in said


# McNemar


def predictions_of(arm: str, labels: list[int], predicted: list[int]) -> Predictions:
    rows = pd.DataFrame({"label": labels, "predicted": predicted, "fold": 0, "seed": 0})
    return Predictions(arm, ("calm", "happy"), rows.assign(face_id=[f"face-{n}" for n in rows.index], subject=None))


def test_mcnemar_is_the_sign_test_of_the_faces_that_one_alone_recognizes() -> None:
    """8 gained and 2 lost: twice the tail of 10 fair coins, 2 * (1 + 10 + 45) / 1024."""
    labels = [0] * 20
    arm = predictions_of("arm", labels, [0] * 8 + [1] * 2 + [0] * 10)
    baseline = predictions_of("baseline", labels, [1] * 8 + [0] * 2 + [0] * 10)
    assert mcnemar(arm, baseline) == [pytest.approx(2 * 56 / 1024)]
    assert mcnemar(arm, arm) == [1.0]


# Intervals of one arm


def test_the_interval_of_one_training_is_students_over_people() -> None:
    """Seven people of two faces each, one of either class, of whom so many are recognized."""
    hits = [2, 2, 1, 1, 1, 1, 0]
    labels = [0, 1] * 7
    predicted = [label if place < hit else 1 - label for hit in hits for place, label in enumerate((0, 1))]
    arm = predictions_of("arm", labels, predicted)
    rows = arm.rows.assign(subject=[f"p{person}" for person in range(7) for _ in range(2)])
    found = accuracy_intervals(replace(arm, rows=rows), SETTINGS.bootstrap)
    shares = np.array(hits) / 2
    expected = t.interval(0.95, 6, shares.mean(), sem(shares))
    assert found["accuracy"] == pytest.approx([100 * bound for bound in expected], abs=1e-3)


def test_few_faces_have_an_interval_within_what_an_accuracy_can_be() -> None:
    found = accuracy_intervals(predictions_of("arm", [0, 0, 1, 1, 1, 1, 1], [0, 0, 1, 1, 1, 1, 0]), SETTINGS.bootstrap)
    for low, high in found.values():
        assert 0 <= low < high <= 100


def test_an_arm_and_its_difference_have_intervals(results: RunResults) -> None:
    """That of the difference is narrower than of arms with other faces: both are tested on the same."""
    rows = {row.row: row for row in rows_of_run(MADE_UP, results, FACTS)}
    widths = []
    for name in ("classical", "warp-400"):
        for measure in ("accuracy", "balanced accuracy"):
            low, high = rows[name].intervals[measure]
            assert low < rows[name].figures[measure] < high
        widths.append(np.diff(rows[name].intervals["accuracy"]).item())
    difference = rows["warp-400"].difference
    assert difference is not None and difference.high - difference.low < float(np.hypot(*widths))


# Rows


@pytest.mark.usefixtures("undrawn")
def test_rows_have_the_reports_figures(results: RunResults, tmp_path: Path) -> None:
    rows = {row.row: row for row in rows_of_run(MADE_UP, results, FACTS)}
    assert list(rows) == ["classical", "stargan-400", "warp-400", "simgan-400"]  # never: it has no results
    assert rows["simgan-400"].refused == "no simulated faces" and not rows["simgan-400"].figures
    inputs = made_up_run.write_run(tmp_path / "run")
    build_report(inputs, SETTINGS, tmp_path / "report")
    table = pd.read_csv(tmp_path / "report" / "tables" / "accuracy.csv").set_index("arm")
    for name in ("stargan-400", "warp-400"):
        difference = rows[name].difference
        assert difference is not None and difference.against == "classical"
        assert rows[name].figures["accuracy"] == pytest.approx(table.loc[name, "accuracy"], abs=1e-3)
        assert difference.value == pytest.approx(table.loc[name, "difference"], abs=1e-3)
        assert difference.low == pytest.approx(table.loc[name, "low"], abs=1e-3)
        assert len(difference.p_mcnemar) == 3
    assert rows["classical"].difference is None
    assert rows["warp-400"].per_class == 400 and rows["classical"].per_class is None


def test_accuracy_is_scikit_learns(results: RunResults) -> None:
    frame = pd.read_parquet(results.predictions["warp-400"])
    test = frame[frame["split"] == "test"]
    by_seed = [accuracy_score(part["label"], part["predicted"]) for _, part in test.groupby("seed")]
    row = next(row for row in rows_of_run(MADE_UP, results, FACTS) if row.row == "warp-400")
    assert row.figures["accuracy"] == pytest.approx(100 * np.mean(by_seed), abs=1e-3)


def test_a_translators_row(results: RunResults) -> None:
    experiment = Experiment(
        name="other",
        paper="LSSL",
        shows="Table 2",
        question="?",
        data=Data(stand_in="rig"),
        measures=("recognition",),
        rows={
            "real test faces": Row(title="real", published="real test set"),
            "lssl": Row(title="LSSL", published="LSSL"),
        },
    )
    real, lssl = rows_of_run(experiment, results, FACTS)
    scores = json.loads(results.scores["lssl"].read_text())
    seen, labels = (np.array(scores["judged_faces"][key]) for key in ("seen", "label"))
    assert real.figures == {"recognition": pytest.approx(100 * (seen == labels).mean(), abs=1e-3)}
    assert real.confusion is not None and real.classes == tuple(scores["class_names"])
    counts = np.array(real.confusion)
    assert counts.sum(axis=1).tolist() == np.bincount(labels, minlength=len(counts)).tolist()
    assert 100 * counts.trace() / counts.sum() == pytest.approx(real.figures["recognition"], abs=1e-3)
    assert lssl.figures["recognition"] == pytest.approx(100 * scores["recognition"]["accuracy"], abs=1e-3)
    low, high = lssl.intervals["FCD"]
    assert 0 <= low < lssl.figures["FCD"] < high
    assert lssl.figures["FCD disgust"] == pytest.approx(
        scores["distances"][0]["per_class"]["disgust"]["frechet"], abs=1e-3
    )
    assert lssl.confusion is not None and np.array(lssl.confusion).sum() == scores["recognition"]["n"]


def test_recognition_has_an_interval_and_a_paired_difference(results: RunResults) -> None:
    """Of the made-up run LSSL's targets are seen in about half of its pictures, StarGAN's in a third."""
    experiment = find_experiment("lssl_table2")
    rows = {row.row: row for row in rows_of_run(experiment, results, FACTS)}
    for name in ("real test faces", "lssl", "stargan"):
        low, high = rows[name].intervals["recognition"]
        assert low < rows[name].figures["recognition"] < high
    assert rows["lssl"].recognized == {}, "the paper's best row is what the others are compared with"
    assert rows["real test faces"].recognized == {}, "real faces are not the pictures that translators made"
    difference = rows["stargan"].recognized["recognition"]
    expected = rows["stargan"].figures["recognition"] - rows["lssl"].figures["recognition"]
    assert difference.against == "lssl" and difference.value == pytest.approx(expected, abs=1e-3)
    assert difference.high < 0 and difference.verdict == "recognized less often"
    assert len(difference.p_mcnemar) == 1 and difference.p_mcnemar[0] < 0.001
    # of pictures that are not paired the interval would be wider than this by far more than a tenth of a point
    widths = [np.diff(rows[name].intervals["recognition"]).item() for name in ("lssl", "stargan")]
    assert difference.high - difference.low < 1.2 * float(np.hypot(*widths))


def test_turned_faces(results: RunResults, tmp_path: Path) -> None:
    content = json.loads(results.scores["lssl"].read_text())
    right = {"profile": 20, "simulated": 22, "normalized": 24}  # of 40
    content["turned_faces"] = {
        "fold": [0] * 40,
        "face_id": [f"turned-{number:02d}" for number in range(40)],
        "subject": [None] * 40,
        "label": [1] * 40,
        "degrees": [15] * 40,
        **{kind: [1] * count + [2] * (40 - count) for kind, count in right.items()},
    }
    (tmp_path / "scores.json").write_text(json.dumps(content))
    rows = rows_of_run(
        find_experiment("lssl_table3"),
        RunResults({}, {"lssl_pose": tmp_path / "scores.json"}, {}, {}, SETTINGS),
        FACTS,
    )
    at = {row.row: row.figures["accuracy at 15 degrees"] for row in rows}
    assert at == {"profile": 50.0, "simulated": 55.0, "lssl_pose": 60.0}
    differences = {row.row: row.recognized["accuracy at 15 degrees"] for row in rows if row.recognized}
    assert {name: difference.value for name, difference in differences.items()} == {"profile": -10, "simulated": -5}
    assert differences["profile"].p_mcnemar == (pytest.approx(0.125),), "four pictures, all of them one way"


def test_recognition_by_data_set_is_on_the_page(results: RunResults, tmp_path: Path) -> None:
    content = json.loads(results.scores["stargan"].read_text())
    content["recognition_of_data_sets"] = [
        {"source": "photo", "target": "drawn", "n": 70, "accuracy": 0.25},
        {"source": "photo", "target": "photo", "n": 70, "accuracy": 0.5},
        {"source": "drawn", "target": "photo", "n": 0, "accuracy": None},
    ]
    (tmp_path / "scores.json").write_text(json.dumps(content))
    experiment = find_experiment("stargan_joint")
    found = RunResults({}, {"stargan_joint": tmp_path / "scores.json"}, {}, {}, SETTINGS)
    rows = rows_of_run(experiment, found, FACTS)
    write_rows(rows, tmp_path / "filed" / "run")
    write_sheets(rows, found, tmp_path / "filed" / "run")
    seal_folder(tmp_path / "filed" / "run")
    page = experiment_page(experiment, *filed_runs(experiment, tmp_path / "filed"), run_it="it")
    table = page[page.index("Recognition by data set") :]
    assert "| StarGAN | photo | drawn | 70 | 25.0 |" in table and "| StarGAN | photo | photo | 70 | 50.0 |" in table
    assert "| drawn | photo |" not in table, "no face, no figure"


def test_differences_from_a_row_of_the_experiment(results: RunResults) -> None:
    """BiCoGAN's augmentations are compared with none, not with real faces."""
    experiment = MADE_UP.model_copy(update={"compared_with": "stargan-400"})
    rows = {row.row: row for row in rows_of_run(experiment, results, FACTS)}
    warp = rows["warp-400"].difference
    assert warp is not None and warp.against == "stargan-400" and warp.verdict == "helped"
    assert rows["stargan-400"].difference is None


def test_rows_are_files_that_are_read_back(results: RunResults, tmp_path: Path) -> None:
    rows = rows_of_run(MADE_UP, results, FACTS)
    write_rows(rows, tmp_path)
    assert read_rows(tmp_path) == {row.row: row for row in rows}
    (tmp_path / "rows" / "warp-400.json").write_text('{"experiment": "made_up"}')
    (tmp_path / "rows" / "classical.json").write_text("{")
    with pytest.raises(InputError) as caught:
        read_rows(tmp_path)
    assert "classical.json" in str(caught.value)
    (tmp_path / "rows" / "classical.json").unlink()
    with pytest.raises(InputError, match=r"warp-400\.json: row: Field required"):
        read_rows(tmp_path)


# The page


def test_the_page_keeps_published_figures_apart(results: RunResults, tmp_path: Path) -> None:
    write_rows(rows_of_run(MADE_UP, results, FACTS), tmp_path / "rig-cpu")
    seal_folder(tmp_path / "rig-cpu")
    page = experiment_page(MADE_UP, *filed_runs(MADE_UP, tmp_path), run_it="s2l experiments run made_up")
    head = next(line for line in page.splitlines() if line.startswith("| row |"))
    assert "| ours: accuracy | published (Oulu-CASIA VIS): accuracy |" in head
    lines = {line.split(" | ")[0].removeprefix("| "): line for line in page.splitlines() if line.startswith("| ")}
    assert " 87.40 |" in lines["LSSL"] and lines["LSSL"].count("|") == head.count("|")
    assert lines["never run"].startswith("| never run | – | 70.63 |")  # empty, never a guess
    assert "no simulated faces" in lines["SimGAN"]
    assert "embedded faces (rare)" in page and "0" * 40 in page and "1 min 30 s" in page
    assert "The published order came out: 1 of 1 pairs" in page
    assert "Atlases" in page.partition("Published rows that nothing here reproduces")[2]


def test_a_row_that_was_changed_after_it_was_filed_is_left_out_and_named(results: RunResults, tmp_path: Path) -> None:
    for name in ("rig-cpu", "rig-long"):
        write_rows(rows_of_run(MADE_UP, results, FACTS), tmp_path / name)
        seal_folder(tmp_path / name)
    file = tmp_path / "rig-cpu" / "rows" / "warp-400.json"
    file.write_text(file.read_text().replace('"accuracy": ', '"accuracy": 9'))
    runs, problems = filed_runs(MADE_UP, tmp_path)
    assert [run.name for run in runs] == ["rig-long"]
    assert len(problems) == 1 and "warp-400.json" in str(problems[0]) and "run the experiment again" in str(problems[0])
    assert "Left out: " in experiment_page(MADE_UP, runs, problems, run_it="it")


def test_an_experiment_that_was_not_run(tmp_path: Path) -> None:
    page = experiment_page(MADE_UP, *filed_runs(MADE_UP, tmp_path), run_it="s2l experiments run made_up")
    assert "It was not run yet." in page and "| LSSL | – | 87.40 |" in page
    table = experiments_table({"made_up": MADE_UP}, {"made_up": ([], [])})
    assert table["runs"].tolist() == ["none"]


def test_a_measure_that_no_row_of_a_run_has_is_no_column(tmp_path: Path) -> None:
    """Without Inception's weights there is no FID; where some rows have it, the others have a dash."""
    experiment = find_experiment("bicogan_table")
    rows = {"with": [row_of("gan", 0.5), row_of("cgan", 0.5)], "without": [row_of("gan", 0.5), row_of("cgan", 0.5)]}
    rows["with"][0] = rows["with"][0].model_copy(update={"figures": {"FCD": 0.5, "FID": 71.234}})
    for name, found in rows.items():
        write_rows(found, tmp_path / name)
        seal_folder(tmp_path / name)
    runs = {run.name: run for run in filed_runs(experiment, tmp_path)[0]}
    table = rows_table(experiment, runs["with"]).set_index("row")
    assert table.columns.tolist() == ["ours: accuracy", "ours: FCD", "ours: FID"]
    assert table["ours: FID"].tolist()[:2] == ["71.23", "–"] and table.loc["GAN", "ours: accuracy"] == "–"
    assert rows_table(experiment, runs["without"]).columns.tolist() == ["row", "ours: accuracy", "ours: FCD"]
    assert rows_table(experiment, None).columns.tolist() == ["row", "ours: accuracy", "ours: FCD"]
    assert find_experiment("ccyclegan_fig3").measures[-1] == "FID"


def test_a_measure_that_is_published_is_a_column_whatever_ours_has(tmp_path: Path) -> None:
    write_rows([row_of("classical", 0.5).model_copy(update={"figures": {"FCD": 0.5}})], tmp_path / "rig-cpu")
    seal_folder(tmp_path / "rig-cpu")
    table = rows_table(MADE_UP, filed_runs(MADE_UP, tmp_path)[0][0])
    assert table.columns.tolist() == ["row", "ours: accuracy", "published (Oulu-CASIA VIS): accuracy"]


# The list


def test_every_experiment_has_a_file_and_published_rows_that_exist() -> None:
    conf = Path(__file__).parents[2] / "conf" / "experiment"
    assert {f"{name}.yaml" for name in read_experiments()} <= {file.name for file in conf.glob("*.yaml")}
    with_figures = [name for name, experiment in read_experiments().items() if len(experiment.published())]
    assert with_figures == ["lssl_table1", "lssl_fig8", "lssl_table2", "lssl_table3", "stargan_table2"]


def test_a_published_row_that_is_not_there_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "experiments.yaml"
    file.write_text(
        "a: {paper: LSSL, shows: Table 1, question: '?', data: {stand_in: rig}, measures: [accuracy],\n"
        "  rows: {lssl: {title: LSSL, published: LSLS}}}\n"
        "b: {paper: LSSL, shows: Table 1, question: '?', data: {stand_in: rig}, measures: [accuracy], rows: {},\n"
        "  claim: {text: '?', groups: [[nothing]]}}\n"
    )
    with pytest.raises(InputError) as caught:
        read_experiments(file)
    assert "no published row 'LSLS'" in str(caught.value) and "nothing is no row" in str(caught.value)
    with pytest.raises(InputError, match="is no experiment of the papers"):
        find_experiment("lssl_table9")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("lssl_tabel1", r"did you mean lssl_table1\? There are lssl_table1, "),
        ("StarGAN_joint", r"did you mean stargan_joint\?"),
        ("nothing", r"papers \(there are lssl_table1, "),
    ],
)
def test_a_misspelt_experiment_gets_the_nearest(name: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        find_experiment(name)


def test_unknown_names_in_a_claim() -> None:
    with pytest.raises(ValueError, match="b is no row"):
        MADE_UP.model_validate(MADE_UP.model_dump() | {"claim": Claim(text="?", groups=(("b",),)).model_dump()})
    claim = Claim(text="?", against=Against(row="classical", same=("b",)))
    with pytest.raises(ValueError, match="b is no row"):
        MADE_UP.model_validate(MADE_UP.model_dump() | {"claim": claim.model_dump()})


def test_a_claim_has_a_form_and_each_row_once_in_it() -> None:
    with pytest.raises(ValueError, match="groups, against, or both"):
        Claim(text="?")
    with pytest.raises(ValueError, match="a stands in a claim twice"):
        Claim(text="?", groups=(("a",), ("a", "b")))
    assert Claim(text="?", groups=(("none",), ("b",)), against=AGAINST).names[:2] == ["none", "b"]
    with pytest.raises(ValueError, match="flip stands in a claim twice"):
        Claim(text="?", against=Against(row="none", same=("flip",), no_better=("flip",)))


def test_a_row_says_how_it_was_made() -> None:
    assert set(ResultRow.model_fields) >= {"figures", "difference", "run"}
    assert set(RunFacts.model_fields) >= {"data", "machine", "commit", "command", "classifier_seeds"}
