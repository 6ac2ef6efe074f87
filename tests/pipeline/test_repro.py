"""The whole pipeline, tiny, through real `dvc repro`, as a user runs it."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml
from dvc_workspaces import clone, commit, make_workspace, run

from augment.faces.splits import fold_splits, read_folds
from augment.faces.table import read_faces

pytestmark = pytest.mark.slow

# The network that needs no timm: its import takes three seconds of each of the five stages that have one.
PLAIN = [
    word
    for classifier in ("judge.classifier", "classifier")
    for word in (
        f"{classifier}.model.name=plain_cnn",
        f"~{classifier}.model.width",
        f"+{classifier}.model.widths=[8,8,16]",
        f"+{classifier}.model.convolutions=[1,1,1]",
    )
]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_workspace(tmp_path_factory.mktemp("smoke"), "scale=smoke", "experiment=tiny_gan", *PLAIN)
    done = run(folder, "dvc", "repro")
    (folder / ".dvc" / "tmp" / "repro.log").write_text(done.stdout + done.stderr, encoding="utf-8")
    return folder


def test_the_report_is_there(workspace: Path) -> None:
    report = workspace / "artifacts" / "report"
    page = (report / "index.html").read_text(encoding="utf-8")
    assert "embedded faces (rare)" in page
    assert list((report / "tables").glob("*.csv")) and list((report / "tables").glob("*.md"))
    assert list((report / "figures").glob("*.png"))
    metrics = json.loads((report / "metrics.json").read_text(encoding="utf-8"))
    assert metrics


def test_the_log_off_a_terminal_is_some_kilobytes_of_short_lines(workspace: Path) -> None:
    log = (workspace / ".dvc" / "tmp" / "repro.log").read_text(encoding="utf-8")
    assert "prepare: done in " in log and "train warp: done in " in log and "report is written" in log
    assert "\r" not in log and "\x1b" not in log and len(log) < 20_000
    assert max(len(line) for line in log.splitlines() if str(workspace) not in line) < 120


def test_the_folder_of_all_translators_must_be_told_which(
    workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path)
    for place in ("selected", "synthetic"):
        folder = workspace / "artifacts" / place
        with pytest.raises(ValueError, match="warp-fold-0"):
            datasets.load_dataset(str(folder))
        faces = datasets.load_dataset(str(folder), "stargan-fold-0", split="train")
        assert set(faces["translator"]) == {"stargan"} and len(faces) == 7 * 20
        assert sorted(faces["label"][:7]) == list(range(7))
        assert len(datasets.load_dataset(str(folder / "warp.s2l"), split="train")) == 7 * 20  # one fold: no choice
    # The card is no output of a stage: whatever it says, nothing runs again.
    card = workspace / "artifacts" / "selected" / "README.md"
    said = card.read_text(encoding="utf-8")
    card.unlink()
    try:
        assert json.loads(run(workspace, "dvc", "status", "--json").stdout) == {}
    finally:
        card.write_text(said, encoding="utf-8")


def test_nothing_changed_runs_nothing(workspace: Path) -> None:
    done = run(workspace, "dvc", "repro")
    assert "Running stage" not in done.stdout
    assert "up to date" in done.stdout


def test_another_threshold_runs_selection_and_what_follows_only(workspace: Path) -> None:
    file = workspace / "params.yaml"
    before = file.read_text(encoding="utf-8")
    values = yaml.safe_load(before)
    values["selection"]["min_shift"] = 0.001
    file.write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")
    status = json.loads(run(workspace, "dvc", "status", "--json").stdout)
    file.write_text(before, encoding="utf-8")
    stages = {stage.split("@")[0] for stage in status}
    assert "assess" in stages
    assert not {"prepare", "judge", "train", "synthesize", "classify_real"} & stages


def test_dvc_shows_metrics_and_plots(workspace: Path) -> None:
    show_metrics_and_plots(workspace)


def test_a_fresh_clone_has_metrics_and_plots(workspace: Path, tmp_path: Path) -> None:
    commit(workspace)
    show_metrics_and_plots(clone(workspace, tmp_path / "clone"))


def show_metrics_and_plots(folder: Path) -> None:
    shown = json.loads(run(folder, "dvc", "metrics", "show", "--json").stdout)
    assert "metrics.json" in json.dumps(shown) and "accuracy" in json.dumps(shown)
    run(folder, "dvc", "plots", "show", "--out", "plots_out")
    page = (folder / "plots_out" / "index.html").read_text(encoding="utf-8")
    assert "confusion" in page and "predicted" in page and "accuracy_against_n" in page


def test_synthetic_faces_come_from_training_faces_only(workspace: Path) -> None:
    splits = fold_splits(read_folds(workspace / "artifacts" / "folds.parquet"), 0)
    for translator in ("warp", "stargan"):
        faces = read_faces(workspace / "artifacts" / "selected" / f"{translator}.s2l" / "fold-0")
        assert faces.num_rows == 7 * 20
        assert {splits[source] for source in faces.column("source_id").to_pylist()} == {"train"}
        assert faces.column("confidence").null_count == 0


def test_predictions_are_kept_for_every_seed_and_test_face(workspace: Path) -> None:
    splits = fold_splits(read_folds(workspace / "artifacts" / "folds.parquet"), 0)
    tested = {face for face, split in splits.items() if split == "test"}
    for arm in ("real", "warp"):
        table = pq.read_table(workspace / "artifacts" / "arms" / f"{arm}.s2l" / "predictions.parquet").to_pandas()
        assert set(table.loc[table["split"] == "test", "face_id"]) == tested


def test_wrong_parameters_are_refused_before_any_work(workspace: Path) -> None:
    file = workspace / "params.yaml"
    before = file.read_text(encoding="utf-8")
    file.write_text(
        before.replace("per_class: 20", "per_class: 0", 1).replace("seed: 0", "seed: 1", 1), encoding="utf-8"
    )
    done = run(workspace, "dvc", "repro", check=False)
    file.write_text(before, encoding="utf-8")
    assert done.returncode != 0
    assert "synthesis.per_class" in done.stdout + done.stderr


def test_results_are_kept_with_data_machine_seed_and_command(workspace: Path) -> None:
    run(workspace, "s2l", "results", "kept/smoke", "--note", "a tiny run")
    text = (workspace / "kept" / "smoke" / "README.md").read_text(encoding="utf-8")
    for part in ("embedded faces (preset rare", "`s2l profile scale=smoke", "classifiers 0", "cores", "a tiny run"):
        assert part in text
    assert list((workspace / "kept" / "smoke").glob("*.png"))


def test_no_picture_and_no_path_of_other_data_is_kept(workspace: Path) -> None:
    file, lock, away = (workspace / name for name in ("params.yaml", "dvc.lock", "away"))
    before = file.read_text(encoding="utf-8")
    values = yaml.safe_load(before)
    values["dataset"] |= {"source": "folder", "root": "/secret/faces", "settings": {}}
    file.write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")
    try:
        refused = run(workspace, "s2l", "results", "kept/folder", check=False)
        assert refused.returncode == 1
        assert "dataset.source: is not what report was run with (rig, now folder)" in refused.stderr
        lock.rename(away)  # as where stages were called without DVC, which nothing is compared with
        run(workspace, "s2l", "results", "kept/folder")
    finally:
        file.write_text(before, encoding="utf-8")
        if away.exists():
            away.rename(lock)
    kept = workspace / "kept" / "folder"
    assert (kept / "README.md").is_file() and not list(kept.glob("*.png"))
    assert not any("/secret" in text.read_text(encoding="utf-8") for text in kept.iterdir())
