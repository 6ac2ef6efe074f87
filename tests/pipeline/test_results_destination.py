"""`s2l results DESTINATION` replaces what it wrote itself, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from augment.core.errors import InputError
from augment.core.seals import seal_folder
from pipeline.cli import main
from pipeline.core.workspace import Artifacts
from pipeline.profile import compose_profile
from pipeline.publishing.destinations import check_above, check_destination, check_file

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "params.yaml").write_text(compose_profile(ROOT, ["scale=smoke"]), encoding="utf-8")
    report = tmp_path / "artifacts" / "report"
    (report / "tables").mkdir(parents=True)
    (report / "metrics.json").write_text("{}", encoding="utf-8")
    (report / "tables" / "accuracy.md").write_text("| a | table |\n", encoding="utf-8")
    seal_folder(report)
    for page in ("datasets.md", "results/embedded-cpu/README.md", "results/embedded-cpu/accuracy.png"):
        (tmp_path / "docs" / page).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "docs" / page).write_text("somebody's own")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def everything(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def results(destination: str) -> Result:
    return CliRunner().invoke(main, ["results", destination])


@pytest.mark.parametrize(
    "destination", ["docs", "docs/results", "docs/results/embedded-cpu", ".", "artifacts", "./docs/"]
)
def test_a_folder_that_it_did_not_write_is_refused_and_nothing_is_lost(workspace: Path, destination: str) -> None:
    before = everything(workspace)
    result = results(destination)
    assert result.exit_code == 1 and isinstance(result.exception, SystemExit)
    assert "holds files, and no .s2l that says that this tool wrote them; it is not touched" in result.output
    assert everything(workspace) == before


def test_a_link_to_a_folder_of_somebody_elses_is_refused(workspace: Path) -> None:
    (workspace / "kept").symlink_to(workspace / "docs", target_is_directory=True)
    before = everything(workspace / "docs")
    assert results("kept").exit_code == 1 and everything(workspace / "docs") == before


def test_what_it_wrote_itself_is_replaced_whole_but_not_with_own_notes_in_it(workspace: Path) -> None:
    for turn in ("first", "second"):
        (workspace / "artifacts" / "report" / "tables" / "accuracy.md").write_text(f"| {turn} |\n", encoding="utf-8")
        seal_folder(workspace / "artifacts" / "report")
        result = results("docs/results/mine")
        assert result.exit_code == 0, result.output
        assert f"| {turn} |" in (workspace / "docs/results/mine/README.md").read_text(encoding="utf-8")
    (workspace / "docs/results/mine/notes.md").write_text("mine")
    before = everything(workspace / "docs")
    result = results("docs/results/mine")
    assert result.exit_code == 1 and "did not write: notes.md" in result.output
    assert everything(workspace / "docs") == before


def test_the_committed_results_stay_replaceable() -> None:
    for name in ("embedded-cpu", "fer2013-cpu"):
        assert (ROOT / "docs" / "results" / name / ".s2l").is_file()


@pytest.mark.parametrize("destination", ["artifacts/report", "artifacts/judge"])
def test_another_output_of_the_tool_is_no_place_for_results(workspace: Path, destination: str) -> None:
    judge = workspace / "artifacts" / "judge"
    judge.mkdir()
    (judge / "weights.safetensors").write_bytes(b"weights")
    seal_folder(judge)
    before = everything(workspace)
    result = results(destination)
    assert result.exit_code == 1 and "is another output of this tool" in result.output
    assert everything(workspace) == before


def test_results_that_somebody_edited_are_not_written_over(workspace: Path) -> None:
    assert results("docs/results/mine").exit_code == 0
    page = workspace / "docs" / "results" / "mine" / "README.md"
    page.write_text(page.read_text(encoding="utf-8") + "my remark", encoding="utf-8")
    before = everything(workspace / "docs")
    result = results("docs/results/mine")
    assert result.exit_code == 1 and "was changed since `s2l results` wrote it" in result.output
    assert everything(workspace / "docs") == before


def test_a_place_where_nothing_can_be_made_is_named(workspace: Path) -> None:
    result = results("/proc/results")
    assert result.exit_code == 1 and isinstance(result.exception, SystemExit) and "/proc/results" in result.output


@pytest.mark.parametrize(
    "command",
    [["data", "check", "rig", "--no-pictures", "--json", "notes.txt"], ["prepare", "--quarantine", "notes.txt"]],
)
def test_a_file_of_somebody_elses_is_not_written_over(workspace: Path, command: list[str]) -> None:
    (workspace / "notes.txt").write_text("somebody's own")
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 1 and "notes.txt: would be overwritten" in result.output
    assert (workspace / "notes.txt").read_text() == "somebody's own"


def test_a_place_below_a_file_is_refused_before_the_work(workspace: Path) -> None:
    (workspace / "notes").write_text("somebody's own")
    for place in (check_above, lambda path: check_file(workspace, path)):
        with pytest.raises(InputError, match=r"notes/a/b.*would lie in .*notes, which is a file"):
            place(workspace / "notes" / "a" / "b")
    with pytest.raises(InputError, match="which is a file"):
        check_destination(workspace, workspace / "notes" / "faces", "marker")
    check_above(workspace / "new" / "folder" / "file.json")
    done = CliRunner().invoke(main, ["data", "check", "rig", "--json", str(workspace / "notes" / "counts.json")])
    assert done.exit_code == 1 and "would lie in" in done.output and isinstance(done.exception, SystemExit)


def test_the_precision_that_auto_chose_is_said(workspace: Path) -> None:
    results("kept")
    assert "- precision:" not in (workspace / "kept" / "README.md").read_text()
    artifacts = Artifacts(workspace)
    for file, values in (
        (artifacts.arm("real") / "precision.json", {"asked": "auto", "used": "bfloat16"}),
        (artifacts.arm("warp") / "precision.json", {"asked": "auto", "used": "float32"}),
        (artifacts.arm("gone") / "precision.json", {"asked": "auto", "used": "float16"}),  # of an earlier run
        (
            artifacts.translator("warp") / "fold-0" / "training.json",
            {"precision": {"asked": "auto", "used": "float32"}},
        ),
    ):
        file.parent.mkdir(parents=True)
        file.write_text(json.dumps(values), encoding="utf-8")
    results("kept")
    said = (workspace / "kept" / "README.md").read_text().splitlines()
    assert "- precision: classifiers bfloat16 and float32; translators float32" in said
