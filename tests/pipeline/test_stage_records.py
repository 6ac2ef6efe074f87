"""Wall time and memory of stages: kept beside the results, of the results that are there, never in what DVC hashes."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from augment.core.errors import InputError, Problem
from pipeline.core import stage_records
from pipeline.core.stage_records import MEASURED, measured, record_file, results_hash, stage_results
from pipeline.core.workspace import Artifacts, fingerprint
from pipeline.parameters.whole import Parameters, load_parameters
from pipeline.run_record import read_run_record
from reports.cost import RunRecord
from reports.environment import describe_environment

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def parameters():
    return load_parameters(ROOT / "params.yaml")


def write_arm(root: Path, text: str = "right") -> None:
    folder = Artifacts(root).arm("real")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "predictions.parquet").write_text(text)


def run_arm(root: Path, seconds: float = 0.0) -> None:
    with measured(root, "classify", "real"):
        time.sleep(seconds)
        write_arm(root)


def records(root: Path, parameters: Parameters) -> RunRecord:
    arms = parameters.arms.all()
    return read_run_record(Artifacts(root), parameters.translators, arms)


def test_a_stage_s_time_memory_and_code_are_kept(tmp_path, parameters) -> None:
    run_arm(tmp_path, 0.3)
    record = records(tmp_path, parameters)
    [stage] = record.stages
    assert stage.name == "classify@real" and 0.3 <= stage.seconds < 20 and stage.sessions == 1
    assert stage.peak_memory is not None and 10 * 2**20 < stage.peak_memory < 2**36 and stage.gpu_memory is None
    assert stage.machine == describe_environment()["machine"]
    assert stage.code == record.code
    planned = 3 + 3 * len(parameters.translators) + len(parameters.arms.all())
    assert len(record.unmeasured) == planned - 1 and "train@lssl_flow" in record.unmeasured


def test_times_never_enter_what_dvc_hashes(tmp_path) -> None:
    """Two runs that differ in time alone leave the same bytes wherever a stage looks or writes."""
    hashes = []
    for folder, seconds in (("one", 0.0), ("other", 0.2)):
        run_arm(tmp_path / folder, seconds)
        hashes.append(fingerprint({}, {"arms": Artifacts(tmp_path / folder).home / "arms"}))
    assert hashes[0] == hashes[1]
    files = [record_file(Artifacts(tmp_path / folder), "classify@real").read_text() for folder in ("one", "other")]
    assert files[0] != files[1]  # negative control: the records do differ
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"].values()
    blocks = [stage.get("do", stage) for stage in stages]
    paths = [str(path) for block in blocks for key in ("deps", "outs") for path in block.get(key, ())]
    timings = Artifacts(Path()).timings.as_posix()
    assert "artifacts/faces" in paths
    assert not [path for path in paths if timings.startswith(path.rstrip("/")) or path.startswith(timings)]


def test_the_hashed_results_are_the_stages_outs(parameters) -> None:
    """What a record vouches for is what dvc.yaml declares."""
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    for stage in MEASURED:
        block = stages.get(stage) or stages[f"{stage}_real"]
        outs = {str(out).replace("${key}", "NAME") for out in block.get("do", block)["outs"]}
        assert {path.as_posix() for path in stage_results(Artifacts(Path()), stage, "NAME")} == outs


def test_results_from_elsewhere_get_no_time(tmp_path, parameters) -> None:
    """A cache brings back other results: the time of those that lay there before is not theirs."""
    run_arm(tmp_path)
    write_arm(tmp_path, "wrong")
    record = records(tmp_path, parameters)
    assert record.stages == () and "classify@real" in record.unmeasured
    write_arm(tmp_path)
    assert len(records(tmp_path, parameters).stages) == 1


def test_a_stage_that_was_broken_off_says_so(tmp_path, parameters) -> None:
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt), measured(tmp_path, "classify", "real"):
            raise KeyboardInterrupt
    assert records(tmp_path, parameters).stages == ()
    run_arm(tmp_path)
    assert records(tmp_path, parameters).stages[0].sessions == 3
    run_arm(tmp_path)
    assert records(tmp_path, parameters).stages[0].sessions == 1


def test_a_refusal_is_no_broken_session_and_leaves_nothing(tmp_path) -> None:
    with pytest.raises(InputError), measured(tmp_path, "classify", "real"):
        raise InputError(Problem("params.yaml", "is wrong"))
    assert not list(tmp_path.iterdir())
    run_arm(tmp_path)
    kept = record_file(Artifacts(tmp_path), "classify@real").read_text()
    with pytest.raises(InputError), measured(tmp_path, "classify", "real"):
        raise InputError(Problem("params.yaml", "is wrong"))
    assert record_file(Artifacts(tmp_path), "classify@real").read_text() == kept


@pytest.mark.parametrize(
    "text",
    ["", "{", "[1]", '{"results": "x"}', '{"results": "SAME", "record": {"seconds": -1}}', '{"results": "SAME"}'],
)
def test_a_damaged_record_is_as_none(tmp_path, parameters, text) -> None:
    run_arm(tmp_path)
    same = results_hash(Artifacts(tmp_path), "classify", "real")
    record_file(Artifacts(tmp_path), "classify@real").write_text(text.replace("SAME", same))
    assert "classify@real" in records(tmp_path, parameters).unmeasured
    run_arm(tmp_path)  # and is no hindrance


def test_a_record_that_can_not_be_written_costs_no_work(tmp_path, monkeypatch, capsys) -> None:
    def full(*_) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(stage_records, "atomic_write_text", full)
    run_arm(tmp_path)
    assert (Artifacts(tmp_path).arm("real") / "predictions.parquet").read_text() == "right"
    assert "time and memory could not be recorded" in capsys.readouterr().err


def test_what_is_no_stage_is_let_be(tmp_path) -> None:
    for stage in ("check", "report", "results"):
        with measured(tmp_path, stage):
            pass
    assert not list(tmp_path.iterdir())


def test_peak_memory_is_the_process_s_own_peak() -> None:
    """Held and let go again, and not what the parent held."""
    code = "import sys; from pipeline.core.stage_records import peak_memory as p; a = p(); x = bytearray(300_000_000); "
    code += "x[::4096] = b'1' * len(x[::4096]); del x; print(a, p())"
    ballast = bytearray(400_000_000)
    ballast[::4096] = b"1" * len(ballast[::4096])
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    before, after = map(int, done.stdout.split())
    assert after - before > 250_000_000
    if sys.platform == "linux":
        assert before < 300_000_000


def test_the_command_keeps_the_record(tmp_path, monkeypatch) -> None:
    """`s2l classify real`, as DVC calls it."""
    from click.testing import CliRunner

    from pipeline.cli import main

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("pipeline.stages.classify.classify", lambda root, name: write_arm(root))
    monkeypatch.setattr("pipeline.requirements.check_run", lambda root: None)
    (tmp_path / "params.yaml").write_text("{}")
    result = CliRunner().invoke(main, ["classify", "real"])
    assert result.exit_code == 0, result.output
    kept = json.loads(record_file(Artifacts(tmp_path), "classify@real").read_text())
    assert kept["record"]["seconds"] >= 0 and kept["results"]
