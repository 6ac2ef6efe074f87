"""What stages cost, filed with results: written, read elsewhere, and used for runs that nobody has made yet."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from test_plan import COUNTS, make_workspace, parameters, record

import pipeline.experiments
from pipeline.core.stage_records import record_file, results_hash
from pipeline.core.workspace import REFUSAL_FILE, Artifacts
from pipeline.experiments import UNKNOWN, Wanted, expected_times
from pipeline.flow.estimates import estimate
from pipeline.flow.filed_costs import COSTS, costs_of_run, file_costs, filed_costs, recorded_counts, run_time
from pipeline.flow.records import CostRecord, append_record, keep_record, read_records, this_machine, written
from pipeline.flow.usage import Usage
from pipeline.flow.work import FaceCounts, counts_the_same, stages_of, work_of
from pipeline.profile import compose_profile
from reports.experiments.catalogue import find_experiment

ROOT = Path(__file__).parents[2]
STAGES = (
    *("prepare", "parsing", "judge", "train@warp", "synthesize@warp", "assess@warp"),
    *("train@lssl", "synthesize@lssl", "assess@lssl"),
    *("classify_real@real", "classify_real@hog", "classify_synthetic@lssl", "report"),
)


def test_the_stages_of_a_params_file() -> None:
    assert tuple(stages_of(parameters())) == STAGES
    assert tuple(stages_of({})) == ("prepare", "parsing", "judge", "report")


def time_stage(root: Path, stage: str, name: str, seconds: float) -> None:
    """Writes what a stage that `dvc repro` ran leaves of its cost."""
    artifacts = Artifacts(root)
    file = record_file(artifacts, f"{stage}@{name}")
    file.parent.mkdir(parents=True, exist_ok=True)
    kept = {"results": results_hash(artifacts, stage, name), "record": {"seconds": seconds, "peak_memory": 10**8}}
    file.write_text(json.dumps(kept), encoding="utf-8")


def of_stage(stage: str, **changed: object) -> CostRecord:
    """A record of a stage of `parameters()`, here, with the work that it had to do."""
    work = work_of(stage, parameters(), COUNTS)
    own = {"kind": work.kind, "settings": work.settings, "amount": work.amount, "counts": COUNTS}
    return record(**{"stage": stage, "machine": this_machine(), **own, **changed})


def test_a_runs_costs_are_filed_and_serve_elsewhere(tmp_path: Path) -> None:
    made, elsewhere, results = make_workspace(tmp_path / "made"), tmp_path / "elsewhere", tmp_path / "results"
    time_stage(made, "synthesize", "lssl", 30.0)
    (results / "first").mkdir(parents=True)
    file_costs(made, results / "first")
    (found,) = filed_costs(results)
    assert (found.stage, found.seconds, found.filed, found.counts) == ("synthesize@lssl", 30.0, "first", COUNTS)
    assert str(tmp_path) not in (results / "first" / COSTS).read_text(encoding="utf-8")
    twice = work_of("synthesize@lssl", parameters(synthesis={"per_class": 600}), COUNTS)
    expected = estimate(twice, [found], machine=this_machine())
    assert expected is not None and expected.processor_seconds == 60.0
    assert expected.basis == "1 record, filed with first, 2 times the work, rather less"
    # A line that was cut short costs one time; a folder without costs, or none, nothing.
    with (results / "first" / COSTS).open("a", encoding="utf-8") as file:
        file.write('{"stage": "trai')
    (results / "second").mkdir()
    assert [one.stage for one in filed_costs(results)] == ["synthesize@lssl"]
    assert filed_costs(elsewhere) == []
    (made / "artifacts" / "synthetic" / "lssl.s2l" / "fold-0" / "shard.parquet").write_bytes(b"another run's")
    assert costs_of_run(made) == []
    file_costs(made, results / "second")
    assert not (results / "second" / COSTS).exists()


def test_the_flows_own_record_is_filed_where_it_is_of_these_parameters(tmp_path: Path) -> None:
    place = make_workspace(tmp_path)
    time_stage(place, "synthesize", "lssl", 30.0)
    other = of_stage("synthesize@lssl", amount=99.0, seconds=7.0)
    for one in (of_stage("synthesize@lssl", seconds=20.0), other, of_stage("synthesize@lssl", whole=False)):
        append_record(place, written(one))
    assert [one.seconds for one in costs_of_run(place)] == [20.0]


def test_a_refused_stage_is_no_measure(tmp_path: Path) -> None:
    place = make_workspace(tmp_path)
    made = Artifacts(place).synthetic("lssl")
    time_stage(place, "synthesize", "lssl", 30.0)
    assert [one.stage for one in costs_of_run(place)] == ["synthesize@lssl"]
    (made / REFUSAL_FILE).write_text(json.dumps({"name": "lssl", "reason": "copies"}), encoding="utf-8")
    time_stage(place, "synthesize", "lssl", 0.1)
    assert costs_of_run(place) == []
    keep_record(place, "synthesize@lssl", Usage(seconds=0.1, processor_seconds=0.1, peak_memory=None), cores=1)
    assert [one.whole for one in read_records(place)] == [False]


def test_own_records_come_before_filed_ones() -> None:
    work = work_of("train@lssl", parameters(), COUNTS)
    filed = of_stage("train@lssl", machine="elsewhere", processor_seconds=500.0, filed="first", ended=9.0)
    own = of_stage("train@lssl", processor_seconds=110.0, ended=1.0)
    found = estimate(work, [filed, own], machine=this_machine())
    assert found is not None and (found.processor_seconds, found.machine) == (110.0, this_machine())
    alone = estimate(work, [filed], machine=this_machine())
    assert alone is not None and (alone.processor_seconds, alone.machine) == (500.0, "elsewhere")
    assert "filed with first" in alone.basis and "another machine" in alone.basis


def test_classes_and_folds_are_the_same_at_another_picture_size_alone() -> None:
    def kind(**changed: object) -> str:
        return work_of("prepare", parameters(**changed), None).kind

    large = kind(dataset=parameters()["dataset"] | {"image_size": 128, "channels": 3})
    assert large != kind() and counts_the_same(large, kind())
    assert not counts_the_same(kind(folds={"folds": 10}), kind())
    of_prepare = of_stage("prepare")
    assert recorded_counts(parameters(dataset=parameters()["dataset"] | {"image_size": 128}), [of_prepare]) == COUNTS
    assert recorded_counts(parameters(folds={"folds": 10}), [of_prepare]) is None


def test_a_run_that_nobody_made_is_the_sum_of_its_stages() -> None:
    # 100 s each, at so many steps and faces; lssl's training has twice the steps here: a part that does not grow, the
    # least that a stage of another kind took (50 s of prepare), is not doubled.
    known = [of_stage(stage, seconds=100.0, processor_seconds=100.0) for stage in STAGES if "lssl" in stage]
    known.append(of_stage("prepare", seconds=50.0, processor_seconds=50.0))
    lssl = parameters()["translators"]["lssl"]
    longer = lssl | {"training": lssl["training"] | {"steps": 200}}
    wanted = parameters(translators={"lssl": longer}, seeds=[0, 1, 2])
    found = run_time(wanted, known, machine=this_machine(), cores=1)
    assert found.seconds == pytest.approx(50 + (50 + 2 * 50) + 100 + 100 + (50 + 2 * 50) + 100)
    # classify_real@real is of the same kind as classify_synthetic@lssl, and has twice its steps.
    assert found.unknown == ("parsing", "judge", "classify_real@hog") and found.known == 6
    assert found.machines == (this_machine(),)
    # Without a record of `prepare` its classes can be told, and folds are as params.yaml says.
    without = run_time(wanted, known[:-1], machine=this_machine(), cores=1)
    assert without.known == 0
    told = run_time(wanted, known[:-1], machine=this_machine(), cores=1, classes=7)
    assert told.unknown == ("prepare", *found.unknown) and told.seconds == 5 * 100
    nobody = run_time(wanted, [], machine=this_machine(), cores=1)
    assert (nobody.seconds, nobody.known, nobody.machines) == (0, 0, ())


@pytest.mark.slow
def test_the_time_of_an_experiment_at_a_scale_that_was_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    experiment, results = find_experiment("lssl_table2"), tmp_path / "results"
    scales = {experiment.name: ["long", "gpu"]}
    monkeypatch.setattr(pipeline.experiments, "read_all_records", lambda *_: [])
    assert expected_times(ROOT, {experiment.name: experiment}, scales, results, {experiment.name: []}) == {
        experiment.name: {"long": UNKNOWN, "gpu": UNKNOWN}
    }
    values = yaml.safe_load(compose_profile(ROOT, Wanted(experiment, "cpu").overrides))
    counts = FaceCounts(faces=364, classes=7, folds=1)
    lines = []
    for stage in stages_of(values):
        work = work_of(stage, values, counts)
        own = {"kind": work.kind, "settings": work.settings, "amount": work.amount, "counts": counts}
        lines.append(written(record(stage=stage, machine="an old one", seconds=60.0, processor_seconds=60.0, **own)))
    (results / "made").mkdir(parents=True)
    (results / "made" / COSTS).write_text("\n".join(lines), encoding="utf-8")
    words = expected_times(ROOT, {experiment.name: experiment}, scales, results, {experiment.name: []})[experiment.name]
    assert words["long"].startswith("about ") and words["long"].endswith("by records of an old one")
    assert words["gpu"] == UNKNOWN  # another picture size
    (results / "made" / COSTS).write_text("\n".join(lines[:4]), encoding="utf-8")
    words = expected_times(ROOT, {experiment.name: experiment}, scales, results, {experiment.name: []})[experiment.name]
    assert words["long"].startswith("not known: ") and words["long"].endswith(" stages are on no record")
    (results / "made" / COSTS).write_text("\n".join(lines[:2] + lines[3:]), encoding="utf-8")
    words = expected_times(ROOT, {experiment.name: experiment}, scales, results, {experiment.name: []})[experiment.name]
    assert words["long"].startswith("at least ") and words["long"].endswith("; no record of judge")
