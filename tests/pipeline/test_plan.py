"""Plans of a flow: amounts of work, estimates, when stages would run; through real DVC in test_flow.py."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from augment.core.processes import processors
from pipeline.flow.estimates import estimate, scaled
from pipeline.flow.graph import Stage
from pipeline.flow.plan import Plan, PlannedStage, describe_plan, size
from pipeline.flow.records import (
    CostRecord,
    keep_record,
    read_all_records,
    read_records,
    records_file,
    stage_table,
    this_machine,
)
from pipeline.flow.schedule import Slots, Span, critical_path, largest_sum, ready, schedule
from pipeline.flow.usage import Usage, UsageMeter
from pipeline.flow.work import FaceCounts, Work, count_faces, work_of

COUNTS = FaceCounts(faces=900, classes=7, folds=2)


def parameters(**changed: Any) -> dict[str, Any]:
    training = {"steps": 100, "batch_size": 16, "log_every": 10, "betas": [0.5, 0.9]}
    return {
        "dataset": {"source": "rig", "image_size": 48, "channels": 1, "settings": {"preset": "rare", "seed": 1}},
        "folds": {"folds": 2},
        "seeds": [0, 1, 2],
        "parsing": {"enabled": False},
        "judge": {"classifier": {"steps": 50, "batch_size": 8}},
        "translators": {
            "warp": {"method": "warp"},
            "lssl": {"method": "lssl", "settings": {"width": 16}, "training": training},
        },
        "synthesis": {"per_class": 300},
        "classifier": {"model": {"name": "plain_cnn"}, "steps": 4000, "batch_size": 16},
        "arms": {
            "real": {"real": {"kind": "real", "steps_factor": 2}, "hog": {"kind": "hog"}},
            "synthetic": {"lssl": {"kind": "synthetic", "translator": "lssl", "per_class": 300}},
        },
    } | changed


@pytest.mark.parametrize(
    ("stage", "amount"),
    [
        ("prepare", 1),
        ("parsing", 1),
        ("judge", 50 * 8 * 2),
        ("train@lssl", 100 * 16 * 2),
        ("train@warp", 2),
        ("synthesize@warp", 300 * 7 * 2),
        ("assess@lssl", 300 * 7 * 2),
        ("classify_real@real", 4000 * 16 * 2 * 3 * 2),
        ("classify_real@hog", 2),
        ("classify_synthetic@lssl", 4000 * 16 * 3 * 2),
        ("report", 1),
    ],
)
def test_the_amount_of_work_by_hand(stage: str, amount: int) -> None:
    assert work_of(stage, parameters(), COUNTS).amount == amount


def test_what_prepare_has_not_counted_is_not_guessed() -> None:
    assert work_of("synthesize@warp", parameters(), None).amount is None
    assert work_of("train@lssl", parameters(), None).amount is None
    assert work_of("prepare", parameters(), None).amount == 1


def test_which_settings_make_another_kind_of_work() -> None:
    def changed(**values: Any) -> dict[str, Any]:
        entry = parameters()["translators"]["lssl"]
        return parameters(translators={"lssl": entry | values})

    training = parameters()["translators"]["lssl"]["training"]
    known = work_of("train@lssl", parameters(), COUNTS)
    longer = work_of("train@lssl", changed(training=training | {"steps": 400, "log_every": 50}), COUNTS)
    wider = work_of("train@lssl", changed(settings={"width": 64}), COUNTS)
    other = work_of("train@lssl", changed(method="stargan"), COUNTS)
    assert (longer.kind, longer.settings, longer.amount) == (known.kind, known.settings, 4 * 3200)
    assert wider.kind == known.kind and wider.settings != known.settings
    assert other.kind != known.kind
    large = parameters(dataset=parameters()["dataset"] | {"image_size": 64})
    assert work_of("train@lssl", large, COUNTS).kind != known.kind
    # Another seed of the embedded faces is the same work; another preset may be more faces.
    of_prepare = [
        work_of("prepare", parameters(dataset=parameters()["dataset"] | {"settings": settings}), None).kind
        for settings in ({"preset": "rare", "seed": 1}, {"preset": "rare", "seed": 2}, {"preset": "ck_plus", "seed": 1})
    ]
    assert of_prepare[0] == of_prepare[1] != of_prepare[2]


def test_pixels_in_memory_and_processes_by_hand() -> None:
    real = work_of("classify_real@real", parameters(), COUNTS)
    synthetic = work_of("classify_synthetic@lssl", parameters(), COUNTS)
    assert real.held == 900 * 48 * 48 and synthetic.held == (900 + 7 * 300) * 48 * 48
    # 3 seeds x 2 folds: on 4 cores a round of 4 and one of 2, and a fifth process that waits for them.
    assert synthetic.processes(4) == 4 and synthetic.processes_in_all(4) == 5 and synthetic.busy_cores(4) == 3
    assert synthetic.processes_in_all(1) == 1 and synthetic.busy_cores(1) == 1
    one = work_of("classify_real@real", parameters(runtime={"processes": 1}), COUNTS)
    assert one.processes(4) == 1


def record(**changed: Any) -> CostRecord:
    values: dict[str, Any] = {
        "stage": "train@lssl",
        "ended": 1.0,
        "machine": "here",
        "cores": 2,
        "seconds": 100.0,
        "processor_seconds": 110.0,
        "peak_memory": 10**9,
        "output_bytes": 5000,
        "by_flow": True,
        "whole": True,
        "kind": "lssl",
        "settings": "same",
        "amount": 1000.0,
        "held": None,
        "counts": None,
    }
    return CostRecord.model_validate(values | changed)


LSSL = Work(kind="lssl", settings="same", amount=2000.0)
SHORT = record(stage="train@warp", kind="warp", processor_seconds=10.0, seconds=10.0)


def test_one_amount_on_record_scales_all_but_the_start() -> None:
    assert scaled([(4, 10)], 8, start=2) == 18  # 2 + 8 x 2; in proportion it would be 20
    assert scaled([(4, 10)], 8, start=0) == 20
    assert scaled([(4, 10)], 8, start=12) == 10  # no stage starts for longer than it takes
    assert scaled([(4, 99), (4, 10)], 8, start=2) == 18  # the newest


def test_two_amounts_on_record_make_a_line_that_never_falls_below_0() -> None:
    assert scaled([(10, 7), (30, 17)], 50, start=5) == pytest.approx(27)  # 2 + 0.5 x 50
    assert scaled([(10, 7), (30, 5)], 50, start=5) == pytest.approx(6)
    # Least squares would give -8 + 0.9 a, so -7.1 at 1; through 0 the slope is (10 + 200) / (100 + 400).
    assert scaled([(10, 1), (20, 10)], 1, start=0) == pytest.approx(0.42)


def test_an_estimate_by_hand() -> None:
    found = estimate(LSSL, [SHORT, record()], machine="here")
    assert found is not None
    assert found.processor_seconds == 10 + 100 * 2
    assert found.seconds(1) == 210 and found.seconds(2) == pytest.approx(210 / 1.1)
    assert found.memory(2) == 10**9 and found.disk == 5000
    assert found.basis == "1 record, 2 times the work, rather less"


def test_synthetic_faces_take_disk_in_proportion() -> None:
    faces = Work(kind="lssl", settings="same", amount=2000.0, makes_faces=True)
    found = estimate(faces, [record()], machine="here")
    assert found is not None and found.disk == 10_000


def test_memory_grows_with_processes_and_with_what_each_holds() -> None:
    work = Work(kind="lssl", settings="same", amount=1000.0, tasks=5, held=3 * 10**8)
    known = record(cores=2, peak_memory=3 * 10**9, held=10**8)  # two processes that compute, and one that waits
    found = estimate(work, [known], machine="here")
    assert found is not None
    assert found.memory(1) == 10**9 + 2 * 10**8
    assert found.memory(2) == 3 * (10**9 + 2 * 10**8)


def test_memory_of_what_holds_all_synthetic_faces_follows_the_line() -> None:
    work = Work(kind="lssl", settings="same", amount=4000.0, holds_faces=True, held=10**12)
    known = [record(amount=1000.0, peak_memory=10**9), record(amount=2000.0, peak_memory=15 * 10**8)]
    found = estimate(work, known, machine="here")
    assert found is not None and found.memory(1) == 25 * 10**8
    found = estimate(work, known[:1], machine="here")
    assert found is not None and found.memory(1) == 10**9


def test_the_records_that_are_nearest_to_the_work_serve() -> None:
    there = record(machine="there", processor_seconds=1.0)
    wider = record(settings="other", processor_seconds=2.0)
    broken_off = record(whole=False, processor_seconds=3.0)

    def cost(*records: CostRecord) -> tuple[float, str] | None:
        found = estimate(Work("lssl", "same", 1000.0), records, machine="here")
        return None if found is None else (found.processor_seconds, found.basis)

    assert cost(SHORT, broken_off) is None
    assert cost(record(amount=4000.0)) == (27.5, "1 record, 0.25 times the work, rather more")
    assert cost(record(amount=500.0), record(amount=4000.0)) == (110.0, "2 records, 2 times the work")
    assert cost(there) == (1.0, "1 record, another machine (there)")
    assert cost(there, wider) == (2.0, "1 record, other settings")
    assert cost(record(), there, wider, broken_off) == (110.0, "1 record")
    assert estimate(Work("lssl", "same", None), [record()], machine="here") is None


GRAPH = {
    name: Stage(name, frozenset(upstream), gpu=name in "bc")
    for name, upstream in {"a": "", "b": "a", "c": "a", "d": "a", "e": "bcd"}.items()
}
TIMES = {"a": 4.0, "b": 3.0, "c": 5.0, "d": 1.0, "e": 2.0}


def take(name: str, cores: int) -> float:
    return TIMES[name] / 2 if name == "a" and cores == 2 else TIMES[name]


def test_stages_run_side_by_side_and_alone_with_all_cores() -> None:
    # a alone on both cores: 2 s; b and c; d where b was; e alone.
    assert schedule(GRAPH, take, cores=2, slots=2) == {
        "a": Span(0, 2, 2),
        "b": Span(2, 5, 1),
        "c": Span(2, 7, 1),
        "d": Span(5, 6, 1),
        "e": Span(7, 9, 2),
    }
    assert schedule(GRAPH, take, cores=2, slots=1)["e"].end == 2 + 3 + 5 + 1 + 2
    assert schedule({}, take, cores=2, slots=2) == {}


def test_the_last_stage_may_use_every_core_though_another_still_runs() -> None:
    slots = Slots(GRAPH, (4, 7), slots=2)
    assert list(slots.begin()) == [("a", (4, 7))]  # all others read from it
    slots.end("a")
    assert list(slots.begin()) == [("b", (4,)), ("c", (7,))]
    slots.end("b")
    assert list(slots.begin()) == [("d", (4, 7))]  # only e waits, and reads from it
    slots.end("c")
    assert list(slots.begin()) == []


def test_the_stage_on_which_the_longest_chain_waits_begins_first() -> None:
    reads = {
        "arm_1": "",
        "arm_2": "",
        "parsing": "",
        "train": "parsing",
        "score": "train",
        "report": "arm_1 arm_2 score",
    }
    graph = {name: Stage(name, frozenset(upstream.split()), gpu=False) for name, upstream in reads.items()}
    times = {"arm_1": 6.0, "arm_2": 6.0, "parsing": 1.0, "train": 6.0, "score": 1.0, "report": 1.0}
    assert ready(graph, graph, []) == ["parsing", "arm_1", "arm_2"]
    assert ready(graph, ["arm_2", "train", "score", "report"], ["arm_1"]) == ["train", "arm_2"]
    assert ready(graph, ["arm_2", "score", "report"], ["arm_1", "train"]) == ["arm_2"]
    # parsing, train and score until 8, arms beside them until 12; with both arms first it would end at 15.
    assert schedule(graph, lambda name, _: times[name], cores=2, slots=2)["report"] == Span(12, 13, 2)


def test_stages_that_use_the_gpu_wait_for_each_other() -> None:
    spans = schedule(GRAPH, take, cores=2, slots=2, gpus=1)
    assert spans["b"] == Span(2, 5, 1) and spans["d"] == Span(2, 3, 1) and spans["c"] == Span(5, 10, 2)


def test_the_critical_path_by_hand() -> None:
    assert critical_path(GRAPH, TIMES) == (["a", "c", "e"], 4 + 5 + 2)
    assert critical_path(GRAPH, TIMES | {"b": 6.0}) == (["a", "b", "e"], 12)
    partly = {name: GRAPH[name] for name in "de"}  # what they read is up to date
    assert critical_path(partly, TIMES) == (["d", "e"], 3)
    assert critical_path({}, {}) == ([], 0)


def test_memory_at_once_is_the_sum_of_what_runs_at_the_same_time() -> None:
    spans = {"a": Span(0, 2, 1), "b": Span(1, 4, 1), "c": Span(2, 3, 1)}
    assert largest_sum(spans, {"a": 5, "b": 1, "c": 3}) == 6
    assert largest_sum(spans, {"b": 1, "c": 9}) == 10  # a ends as c begins
    assert largest_sum({}, {}) == 0


def make_plan(states: Mapping[str, Any], free_disk: int = 10**12) -> str:
    stages = []
    for name, state in states.items():
        work = Work(kind=name, settings="same", amount=1000.0)
        known = [record(kind=name, processor_seconds=60 * TIMES[name], seconds=60 * TIMES[name], output_bytes=10**9)]
        found = estimate(work, known, machine="here") if state.startswith("runs") and name != "d" else None
        stages.append(PlannedStage(name, state, found))
    return describe_plan(Plan(tuple(stages), GRAPH, "here", cores=2, slots=2, gpus=None, free_disk=free_disk))


def test_a_plan_in_words() -> None:
    said = make_plan({"a": "up to date", "b": "restored", "c": "runs", "d": "runs", "e": "runs if changed"})
    assert "5 stages: 1 up to date, 1 restored, 2 runs, 1 runs if changed" in said
    assert "without an estimate, and in no sum: 1 of 3 that run" in said
    assert "time: at least 7 min 00 s with 2 at once" in said
    assert "critical path: at least 7 min 00 s: c -> e" in said
    assert "memory: at least 1.0 GB at once" in said and "disk: at least 2.0 GB" in said
    assert "warning" not in said and "warning" in make_plan({"c": "runs"}, free_disk=10**9)
    rows = {line.split()[0]: line for line in said.splitlines() if line[:1] in GRAPH}
    assert "5 min 00 s" in rows["c"] and rows["d"].endswith("no record") and "min" not in rows["b"]
    assert "nothing to compute" in make_plan(dict.fromkeys(GRAPH, "up to date"))


@pytest.mark.parametrize(("amount", "said"), [(3_000, "3 kB"), (35_900_000, "35.9 MB"), (12 * 10**12, "12.0 TB")])
def test_sizes_in_words(amount: int, said: str) -> None:
    assert size(amount) == said


def make_workspace(folder: Path) -> Path:
    faces = folder / "artifacts" / "faces"
    faces.mkdir(parents=True)
    (folder / "params.yaml").write_text(json.dumps(parameters()), encoding="utf-8")
    (faces / "report.json").write_text(json.dumps({"faces": 900, "class_names": list("abcdefg")}), encoding="utf-8")
    pyarrow.parquet.write_table(pyarrow.table({"fold": [0, 1, 1]}), folder / "artifacts" / "folds.parquet")
    made = folder / "artifacts" / "synthetic" / "lssl.s2l" / "fold-0"
    made.mkdir(parents=True)
    (made / "shard.parquet").write_bytes(bytes(1234))
    return folder


def test_what_a_stage_used_is_kept_with_what_it_had_to_do(tmp_path: Path) -> None:
    place = make_workspace(tmp_path)
    assert count_faces(place) == COUNTS
    keep_record(place, "synthesize@lssl", Usage(seconds=20.0, processor_seconds=18.0, peak_memory=10**8), cores=1)
    with records_file(place).open("a", encoding="utf-8") as file:
        file.write('{"stage": "cut short')
    (found,) = read_records(place)
    assert (found.amount, found.output_bytes, found.seconds, found.cores) == (4200, 1234, 20.0, 1)
    assert found.machine == this_machine() and found.counts == COUNTS and found.whole
    work = work_of("synthesize@lssl", parameters(synthesis={"per_class": 600}), COUNTS)
    of_twice = estimate(work, [found], machine=this_machine())
    assert of_twice is not None and (of_twice.processor_seconds, of_twice.disk) == (36.0, 2468)

    own = {"per_class": 300, "per_class_of": {"lssl": 1200, "warp": 1}}
    of_four_times = estimate(
        work_of("synthesize@lssl", parameters(synthesis=own), COUNTS), [found], machine=this_machine()
    )
    assert of_four_times is not None and of_four_times.processor_seconds == 72.0

    rows = stage_table({"prepare": "cached", "synthesize@lssl": "ran"}, [found], since=found.ended - 1)
    assert [row["seconds"] for row in rows] == [None, 20.0] and rows[1]["peak memory, MiB"] == 95
    rows = stage_table({"synthesize@lssl": "ran"}, [found], since=found.ended + 1)  # a record of an earlier flow
    assert rows[0]["seconds"] is None


def test_what_dvc_repro_left_serves_where_the_flow_has_no_record(tmp_path: Path) -> None:
    from pipeline.core.stage_records import record_file, results_hash
    from pipeline.core.workspace import Artifacts

    place = make_workspace(tmp_path)
    own = parameters()
    lock = {
        "prepare": {"dataset": own["dataset"], "folds": own["folds"]},
        "train@lssl": {"translators.lssl": own["translators"]["lssl"]},
        "synthesize@lssl": {"seed": 0, "synthesis": {"per_class": 100}},
    }
    stages = {name: {"params": {"params.yaml": values}} for name, values in lock.items()}
    (place / "dvc.lock").write_text(json.dumps({"stages": stages}), encoding="utf-8")
    artifacts = Artifacts(place)
    file = record_file(artifacts, "synthesize@lssl")
    file.parent.mkdir(parents=True)
    cost = {"seconds": 30.0, "peak_memory": 10**8, "sessions": 1}
    file.write_text(
        json.dumps({"results": results_hash(artifacts, "synthesize", "lssl"), "record": cost}), encoding="utf-8"
    )
    (found,) = read_all_records(place, list(stages))
    # As it was made: 100 per class, though params.yaml says 300 by now.
    assert (found.stage, found.amount, found.processor_seconds) == ("synthesize@lssl", 100 * 7 * 2, 30.0)
    now = work_of("synthesize@lssl", own, COUNTS)
    assert not found.by_flow and (found.kind, found.settings) == (now.kind, now.settings)

    keep_record(place, "synthesize@lssl", Usage(20.0, 18.0, None), cores=processors())
    assert [record.by_flow for record in read_all_records(place, list(stages))] == [True]
    records_file(place).unlink()
    (artifacts.synthetic("lssl") / "fold-0" / "shard.parquet").write_bytes(b"another run's")
    assert read_all_records(place, list(stages)) == []


@pytest.mark.slow
def test_a_process_is_measured_with_all_that_it_starts() -> None:
    inner = (
        "import sys, time\n"
        "held = bytearray(100 * 2**20)\n"
        "while time.process_time() < 0.5: pass\n"
        "sys.stdin.readline()\n"
        "print(time.process_time(), flush=True)"
    )
    outer = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {inner!r}])"
    process = subprocess.Popen([sys.executable, "-c", outer], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    meter = UsageMeter(process.pid)
    end = time.monotonic() + 60
    while (meter.peak_memory or 0) < 100 * 2**20 and time.monotonic() < end:
        time.sleep(0.1)
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write("\n")
    process.stdin.flush()
    usage = meter.finish()
    said = process.stdout.read()
    assert process.wait() == 0
    assert usage.peak_memory is not None and usage.peak_memory >= 100 * 2**20
    # The system counts in hundredths; the outer process alone takes far less.
    assert usage.processor_seconds >= float(said) - 0.02 >= 0.48
