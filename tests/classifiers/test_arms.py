from __future__ import annotations

import json
import shutil
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import timm
import torch
from pydantic import ValidationError
from recorded_trainings import recorded_calls
from safetensors.torch import save_file
from striped_faces import NAMES, write_dataset, write_synthetic

import classifiers.arms as arms
from augment.core.errors import InputError
from augment.faces.images import decode_image, encode_png
from augment.faces.leakage import LeakageError
from augment.faces.table import faces_from_rows, read_faces
from classifiers.arms import ArmRefusedError, ArmReport, run_arm
from classifiers.evaluation import read_predictions, score_predictions
from classifiers.judge import train_judge
from classifiers.models import ModelSettings, load_classifier
from classifiers.settings import Arm
from classifiers.training import ClassifierDivergedError, ClassifierSettings

pytestmark = pytest.mark.slow

TINY = ClassifierSettings(
    model=ModelSettings(name="resnet18_narrow", stem="half", width=4),
    steps=6,
    batch_size=8,
    learning_rate=1e-2,
    augmentation="flip",
    validate_every=3,
)
# For processes that start anew, for which importing timm is most of the work.
PLAIN = TINY.model_copy(update={"model": ModelSettings(name="plain_cnn", widths=(4, 8), convolutions=(1, 1))})
REAL = Arm(kind="real")
BESIDE = Arm(kind="synthetic", translator="stripes", per_class=4)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    write_dataset(tmp_path)
    for fold, source in ((0, "a-0000"), (1, "test-0000")):
        write_synthetic(tmp_path, fold=fold, per_class=6, source=source)
    return tmp_path


def run(data: Path, name: str = "real", arm: Arm | None = None, **options: Any) -> ArmReport:
    defaults: dict[str, Any] = {
        "faces_dir": data / "faces",
        "folds_path": data / "folds.parquet",
        "synthetic_dirs": [data / "synthetic"] * len((arm or REAL).translators),
        "classifier_settings": TINY,
        "seeds": (0, 1),
        "out": data / "out" / f"{name}.parquet",
        "history_out": data / "out" / f"{name}.jsonl",
        "scratch": data / "scratch" / name,
        "progress": False,
    }
    return run_arm(name, arm or REAL, **{**defaults, **options})


def test_every_fold_and_seed_is_tested_on_its_own_test_faces(data: Path) -> None:
    report = run(data)
    table, names = read_predictions(data / "out" / "real.parquet")
    assert names == NAMES and report.steps == 6 and report.resumed == 0
    assert [(cell.fold, cell.seed) for cell in report.cells] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    rows = table.to_pylist()
    for cell in report.cells:
        of_cell = [row for row in rows if (row["fold"], row["seed"]) == (cell.fold, cell.seed)]
        part = ("test", "b")[cell.fold]
        assert sorted(row["face_id"] for row in of_cell) == [f"{part}-{i:04d}" for i in range((12, 24)[cell.fold])]
        assert all(row["predicted"] == np.argmax(row["probabilities"]) for row in of_cell)
        labels, predicted = (np.array([row[key] for row in of_cell]) for key in ("label", "predicted"))
        assert cell.test == score_predictions(labels, predicted, NAMES)
        assert (cell.real_faces, cell.synthetic_faces) == ((48, 36)[cell.fold], 0)
    assert {row["split"] for row in rows} == {"test"} and {row["arm"] for row in rows} == {"real"}
    curve = [json.loads(line) for line in (data / "out" / "real.jsonl").read_text().splitlines()]
    assert [(row["fold"], row["seed"], row["step"]) for row in curve] == [
        (fold, seed, step) for fold in (0, 1) for seed in (0, 1) for step in (3, 6)
    ]


def test_what_reaches_training(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = recorded_calls(monkeypatch, arms)
    report = run(data, "beside", BESIDE)
    assert report.cells[0].synthetic_faces == 12
    for call, fold in zip(calls, (0, 0, 1, 1), strict=True):
        assert {face_id.split("-")[0] for face_id in call["real"].face_ids} == ({"a", "b"}, {"a", "test"})[fold]
        assert {face_id.split("-")[0] for face_id in call["validation"].face_ids} == {"validation"}
        expected = [f"synthetic-{name}-{i:04d}" for name in NAMES for i in range(4)]
        assert list(call["synthetic"].face_ids) == expected
    run(data, "only", BESIDE.model_copy(update={"kind": "synthetic_only"}))
    assert calls[4]["real"] is None and len(calls[4]["synthetic"]) == 12
    run(
        data,
        "oversampled",
        Arm(kind="oversampled"),
        classifier_settings=TINY.model_copy(update={"class_balanced": False}),
    )
    run(data, "flip", Arm(kind="real", augmentation="none", class_balanced=False))
    assert [calls[i]["class_balanced"] for i in (8, 12)] == [True, False]
    assert calls[12]["augmentation"] == "none"
    # arms are paired: the same seeds for the same folds, and no two cells of an arm alike
    seeds = [[call["seed"] for call in calls[i : i + 4]] for i in range(0, 16, 4)]
    assert all(row == seeds[0] for row in seeds) and len(set(seeds[0])) == 4


def test_rejected_faces_are_passed_over(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for fold, source in ((0, "a-0000"), (1, "test-0000")):
        write_synthetic(data, fold=fold, per_class=6, rejected=2, source=source)
    calls = recorded_calls(monkeypatch, arms)
    run(data, "kept", BESIDE)
    assert calls[0]["synthetic"].face_ids[0] == "synthetic-angry-0002"
    run(data, "all", BESIDE.model_copy(update={"selected": False}))
    assert calls[4]["synthetic"].face_ids[0] == "synthetic-angry-0000"


def test_too_few_synthetic_faces(data: Path) -> None:
    write_synthetic(data, fold=1, per_class=6, rejected=3, source="test-0000")
    with pytest.raises(InputError) as caught:
        run(data, "beside", BESIDE)
    message = str(caught.value)
    assert "arms.synthetic.beside.per_class asks for 4 faces of each class" in message
    assert "fold 1, happy: 3 kept synthetic faces by stripes" in message
    assert (
        "lower arms.synthetic.beside.per_class to 3, raise synthesis.per_class "
        "(where it is set, synthesis.per_class_of.stripes), loosen the selection (if it is on)" in message
    )


def test_leaks_are_refused(data: Path) -> None:
    write_synthetic(data, fold=0, per_class=6, source="test-0000")
    with pytest.raises(LeakageError):
        run(data, "beside", BESIDE)
    folds = pq.read_table(data / "folds.parquet").to_pylist()
    next(row for row in folds if row["face_id"] == "a-0000" and row["fold"] == 0)["split"] = "test"
    pq.write_table(pa.Table.from_pylist(folds), data / "folds.parquet")
    with pytest.raises(LeakageError):
        run(data)


@pytest.mark.parametrize(("mirrored", "source_id"), [(False, "a-0000"), (True, "a-0000"), (False, None)])
def test_a_test_picture_put_into_a_shard_after_it_was_assessed_is_refused(
    data: Path, monkeypatch: pytest.MonkeyPatch, mirrored: bool, source_id: str | None
) -> None:
    recorded_calls(monkeypatch, arms)
    shard = next((data / "synthetic" / "fold-0" / "data").glob("*happy*"))
    table = pq.read_table(shard)
    rows = table.to_pylist()
    hidden = next(row for row in read_faces(data / "faces").to_pylist() if row["face_id"] == "test-0001")
    pixels = decode_image(hidden["image"]["bytes"])
    bytes_now = encode_png(np.ascontiguousarray(pixels[:, ::-1])) if mirrored else hidden["image"]["bytes"]
    rows[2] |= {"image": {"bytes": bytes_now, "path": None}, "source_id": source_id}
    pq.write_table(faces_from_rows(rows, table.schema), shard)
    with pytest.raises(LeakageError, match="names no source face" if source_id is None else r"picture as test-0001"):
        run(data, "beside", BESIDE)


def test_test_faces_change_nothing_but_their_own_predictions(data: Path) -> None:
    weights = []
    for seed in (3, 77):
        place = data / f"test-{seed}"
        write_dataset(place, folds=1)
        table = pq.read_table(place / "faces" / "data" / "all.parquet")
        if seed == 77:
            rows = table.to_pylist()
            pictures = [row["image"] for row in rows if row["face_id"].startswith("test")]
            for row in rows:
                if row["face_id"].startswith("test"):
                    row["image"], row["label"], row["label_name"] = pictures.pop(), 0, "angry"
            pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), place / "faces" / "data" / "all.parquet")
        run(place, seeds=(0,), weights_out=place / "weights")
        weights.append(load_classifier(place / "weights" / "fold-0" / "seed-0.safetensors")[0].state_dict())
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_finished_cells_are_kept_and_changed_ones_made_again(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = run(data)
    expected = (data / "out" / "real.parquet").read_bytes()
    calls = recorded_calls(monkeypatch, arms)
    (data / "out" / "real.parquet").unlink()
    again = run(data)
    assert not calls and again.resumed == 4 and again.cells == first.cells
    assert (data / "out" / "real.parquet").read_bytes() == expected
    (data / "scratch" / "real" / "fold-1-seed-0" / "predictions.parquet").write_bytes(b"half")
    (data / "scratch" / "real" / "fold-0-seed-1" / "cell.json").unlink()
    run(data)
    assert len(calls) == 2 and (data / "out" / "real.parquet").read_bytes() == expected
    run(data, classifier_settings=TINY.model_copy(update={"label_smoothing": 0.2}))
    assert len(calls) == 6
    run(data, seeds=(0, 1, 2), classifier_settings=TINY.model_copy(update={"label_smoothing": 0.2}))
    assert len(calls) == 8
    run(data, weights_out=data / "weights", seeds=(0,))
    assert len(calls) == 10 and len(list((data / "weights").rglob("*.safetensors"))) == 2


def test_other_weights_under_the_same_name_are_another_start(data: Path) -> None:
    file = data / "start.safetensors"
    model = ModelSettings(name="resnet18", stem="standard", weights=file)
    options = {
        "classifier_settings": TINY.model_copy(update={"model": model, "steps": 1, "validate_every": 1}),
        "seeds": (0,),
    }
    for seed, resumed in ((0, 0), (0, 2), (1, 0)):
        torch.manual_seed(seed)
        save_file(timm.create_model("resnet18", num_classes=1000).state_dict(), file)
        assert run(data, **options).resumed == resumed


def test_weights_that_are_not_there_are_named(data: Path) -> None:
    model = ModelSettings(name="resnet18", stem="standard", weights=data / "absent.safetensors")
    settings = TINY.model_copy(update={"model": model})
    with pytest.raises(InputError, match=r"^classifier\.model\.weights: .*absent\.safetensors can't be read: No such"):
        run(data, classifier_settings=settings)
    with pytest.raises(InputError, match=r"^judge\.classifier\.model\.weights: .*absent\.safetensors can't be read"):
        train_judge(data / "faces", data / "folds.parquet", settings, 0, data / "judge", progress=False)


def test_an_arm_that_was_broken_off_can_be_run_on_other_faces(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def diverge(*words: Any, **options: Any) -> Any:
        raise ClassifierDivergedError("the loss is not finite")

    with monkeypatch.context() as broken:
        broken.setattr(arms, "train_classifier", diverge)
        with pytest.raises(ClassifierDivergedError):
            run(data, "beside", BESIDE)
    shutil.rmtree(data / "synthetic")
    for fold, source in ((0, "a-0000"), (1, "test-0000")):
        write_synthetic(data, fold=fold, per_class=5, source=source)
    assert run(data, "beside", BESIDE).resumed == 0


def test_the_one_cell_that_is_missing_is_trained_with_the_threads_of_the_others(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = []
    make = arms._make_cell

    def noting(**call: Any) -> Any:
        threads.append(torch.get_num_threads())
        return make(**call)

    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)  # as each of several processes does, whose start is a matter of other tests
        run(data, classifier_settings=PLAIN)
        shutil.rmtree(data / "scratch" / "real" / "fold-0-seed-1")
        monkeypatch.setattr(arms, "_make_cell", noting)
        torch.set_num_threads(2)
        assert run(data, classifier_settings=PLAIN, processes=2, threads=1).resumed == 3
        assert threads == [1] and torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("balanced", [True, False])
def test_classical_rows_learn_the_classes_in_the_shares_of_the_networks(
    data: Path, monkeypatch: pytest.MonkeyPatch, balanced: bool
) -> None:
    seen = []
    classical = arms._run_classical
    monkeypatch.setattr(arms, "_run_classical", lambda *words: (seen.append(words[2]), classical(*words))[1])
    settings = TINY.model_copy(update={"class_balanced": balanced})
    run(data, "hog", Arm(kind="hog"), classifier_settings=settings, seeds=(0,))
    assert {(found.class_balanced, found.select_by) for found in seen} == {
        (balanced, "balanced_accuracy" if balanced else "accuracy")
    }


def test_a_killed_run_goes_on_to_the_same_result(data: Path) -> None:
    code = f"""
        import sys, torch
        torch.set_num_threads(1)
        sys.path[:0] = {[str(Path(__file__).parent), str(Path(__file__).parents[2])]!r}
        from pathlib import Path
        from test_arms import run
        run(Path(sys.argv[1]), scratch=Path(sys.argv[2]), out=Path(sys.argv[3]), history_out=Path(sys.argv[4]))
    """
    places = [str(data / name) for name in ("killed", "killed.parquet", "killed.jsonl")]
    command = [sys.executable, "-c", textwrap.dedent(code), str(data), *places]
    process = subprocess.Popen(command, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 300
    while not (data / "killed" / "fold-0-seed-1" / ".s2l").exists() and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.kill()
    _, errors = process.communicate()
    assert not (data / "killed.parquet").exists(), errors
    torch.set_num_threads(1)
    report = run(data, scratch=data / "killed", out=data / "killed.parquet", history_out=data / "killed.jsonl")
    assert 2 <= report.resumed < 4
    run(data)
    for ending in ("parquet", "jsonl"):
        assert (data / f"killed.{ending}").read_bytes() == (data / "out" / f"real.{ending}").read_bytes()


def test_faces_of_two_translators_are_half_and_half(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = recorded_calls(monkeypatch, arms)
    for fold, source in ((0, "a-0000"), (1, "test-0000")):
        write_synthetic(data / "other", fold=fold, per_class=6, source=source)
    mixed = BESIDE.model_copy(update={"second_translator": "dots", "per_class": 5})
    assert mixed.translators == ("stripes", "dots") and mixed.amounts([16, 16, 16]) == ((3, 3, 3), (2, 2, 2))
    folders = [data / "synthetic", data / "other" / "synthetic"]
    report = run(data, "mixed", mixed, synthetic_dirs=folders, seeds=(0,))
    assert report.cells[0].synthetic_faces == 15
    # In turns: each has the fold's sources in one order.
    first, second = ([f"synthetic-{name}-{i:04d}" for name in NAMES for i in places] for places in ((0, 2, 4), (1, 3)))
    assert list(calls[0]["synthetic"].face_ids) == [*first, *second]
    calls.clear()
    run(data, "mixed", mixed.model_copy(update={"per_class": 12}), synthetic_dirs=folders, seeds=(0,))
    used = list(calls[0]["synthetic"].face_ids)
    assert len(used) == 36 and len(set(used)) == 18, "where a turn's own are too few, the others come too"
    with pytest.raises(InputError, match=r"arms\.mixed\.mixed\.per_class.*7 faces of each class by stripes") as error:
        run(data, "mixed", mixed.model_copy(update={"per_class": 13}), synthetic_dirs=folders)
    assert "lower arms.mixed.mixed.per_class to 12" in str(error.value)
    with pytest.raises(InputError, match="of 2 translators"):
        run(data, "mixed", mixed, synthetic_dirs=folders[:1])


@pytest.mark.parametrize("kind", ["hog", "lbp"])
def test_classical_rows(data: Path, kind: Any) -> None:
    from classifiers.baselines import BaselineSettings

    small = BaselineSettings(hog_cells=4, lbp_grid=4, lbp_points=4)
    report = run(data, kind, Arm(kind=kind), baseline_settings=small, seeds=(0,))
    assert report.steps is None and report.cells[0].best_step is None
    assert report.cells[0].test.accuracy > 0.5
    table, _ = read_predictions(data / "out" / f"{kind}.parquet")
    assert table.num_rows == 12 + 24
    assert run(data, kind, Arm(kind=kind), baseline_settings=small, seeds=(0,)).resumed == 2


def give_landmarks(data: Path, *, which: str = "", seed: int = 0) -> None:
    """Landmarks whose mouth says the class, moved and scaled about, to faces whose name starts so."""
    file = next((data / "faces").rglob("*.parquet"))
    table = pq.read_table(file)
    rows = table.to_pylist()
    mean = np.random.default_rng(0).uniform(0.3, 0.7, (68, 2))
    random = np.random.default_rng(seed)
    for row in rows:
        if row["face_id"].startswith(which):
            points = mean.copy()
            points[48:, 1] += 0.06 * row["label"]
            points = points * random.uniform(0.8, 1.2) + random.uniform(-0.1, 0.1, 2) + random.normal(0, 0.005, (68, 2))
            row["landmarks"] = points.astype(np.float32).ravel().tolist()
    pq.write_table(faces_from_rows(rows, table.schema), file)


def test_landmarks_alone(data: Path) -> None:
    give_landmarks(data)
    options: dict[str, Any] = {"name": "lda", "arm": Arm(kind="landmark_lda"), "seeds": (0,)}
    report = run(data, **options)
    assert report.steps is None and report.cells[0].best_step is None
    assert all(cell.test.accuracy > 0.9 and cell.validation_score > 0.7 for cell in report.cells)
    assert (data / "out" / "lda.jsonl").read_text() == ""
    assert run(data, **options).resumed == 2
    # What it works on is part of what a finished cell depends on.
    give_landmarks(data, which="a-0000", seed=1)
    assert run(data, **options).resumed == 0


@pytest.mark.parametrize(("which", "split"), [("none", "train"), ("a", "validation")])
def test_landmarks_alone_are_refused_without_landmarks(data: Path, which: str, split: str) -> None:
    give_landmarks(data, which=which)
    with pytest.raises(ArmRefusedError, match=rf"arms\.real\.lda: needs landmarks, and no {split} face of fold 0"):
        run(data, "lda", Arm(kind="landmark_lda"), seeds=(0,))
    assert not (data / "out" / "lda.parquet").exists()


def test_landmarks_of_no_more_faces_than_classes_are_refused_too(data: Path) -> None:
    give_landmarks(data)
    file = next((data / "faces").rglob("*.parquet"))
    table = pq.read_table(file)
    rows = table.to_pylist()
    known: set[str] = set()
    for row in rows:
        if row["face_id"].startswith("a-") and row["label_name"] not in known:
            known.add(row["label_name"])
        elif not row["face_id"].startswith(("test", "validation")):
            row["landmarks"] = None
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), file)
    with pytest.raises(ArmRefusedError, match=r"training faces of fold 0 with landmarks are 3 of 3 classes, and it"):
        run(data, "lda", Arm(kind="landmark_lda"))


def test_an_arm_trains_as_long_as_it_says(data: Path) -> None:
    report = run(data, "longer", Arm(kind="real", steps_factor=2.0), seeds=(0,))
    assert report.steps == 2 * TINY.steps
    curves = [json.loads(line) for line in (data / "out" / "longer.jsonl").read_text().splitlines()]
    assert [row["step"] for row in curves if row["fold"] == 0] == [3, 6, 9, 12]
    assert Arm(kind="real", steps_factor=0.01).steps(TINY) == 1
    assert Arm(kind="real").steps(TINY) == TINY.steps and Arm(kind="hog").steps(TINY) is None


@pytest.mark.parametrize("augmentation", ["mixup", "cutmix", "randaugment"])
def test_arms_of_stronger_augmentation(data: Path, augmentation: Any) -> None:
    report = run(data, augmentation, Arm(kind="real", augmentation=augmentation), seeds=(0,))
    assert [cell.best_step in (3, 6) for cell in report.cells] == [True, True]
    plain = run(data, "real", seeds=(0,))
    predictions = [
        read_predictions(data / "out" / f"{name}.parquet")[0]["probabilities"] for name in ("real", augmentation)
    ]
    assert plain.steps == report.steps and predictions[0] != predictions[1]


def test_the_last_step_is_kept_where_the_settings_say_so(data: Path) -> None:
    settings = TINY.model_copy(update={"select_by": "last"})
    report = run(data, classifier_settings=settings)
    assert [cell.best_step for cell in report.cells] == [TINY.steps] * 4
    curves = [json.loads(line) for line in (data / "out" / "real.jsonl").read_text().splitlines()]
    last = [row["balanced_accuracy"] for row in curves if row["step"] == TINY.steps]
    assert [cell.validation_score for cell in report.cells] == last


def test_seeds_must_be_distinct(data: Path) -> None:
    for seeds in ((), (1, 1)):
        with pytest.raises(InputError, match="seeds: "):
            run(data, seeds=seeds)
    with pytest.raises(InputError, match="give synthetic_dirs"):
        run(data, arm=BESIDE, synthetic_dirs=())


@pytest.mark.parametrize(
    "settings",
    [
        {"kind": "real"},
        {"kind": "real", "augmentation": "classical", "class_balanced": True},
        {"kind": "real", "translator": None, "per_class": None},
        {"kind": "oversampled"},
        {"kind": "synthetic", "translator": "warp", "per_class": 500, "share": 0.3, "selected": False},
        {"kind": "synthetic_only", "translator": "warp", "per_class": 500},
        {"kind": "hog"},
        {"kind": "landmark_lda"},
        {"kind": "hog", "steps_factor": 1.0},
        {"kind": "real", "augmentation": "mixup", "steps_factor": 2.0},
    ],
)
def test_good_arms(settings: dict) -> None:
    Arm(**settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "synthetic", "per_class": 5}, "translator: kind synthetic needs one"),
        ({"kind": "synthetic", "translator": "warp"}, "per_class: kind synthetic needs a number"),
        ({"kind": "synthetic", "translator": "warp", "per_class": 0}, "greater than or equal to 1"),
        ({"kind": "synthetic", "translator": "warp", "per_class": 5, "share": 1.1}, "less than or equal to 1"),
        ({"kind": "synthetic_only", "translator": "warp", "per_class": 5, "share": 0.5}, "leave it out"),
        ({"kind": "real", "translator": "warp"}, "translator: kind real uses no synthetic faces"),
        ({"kind": "real", "share": 0.4}, "share: kind real uses no synthetic faces"),
        ({"kind": "oversampled", "class_balanced": False}, "use kind real"),
        ({"kind": "hog", "augmentation": "flip"}, "augmentation: kind hog has no batches"),
        ({"kind": "landmark_lda", "augmentation": "mixup"}, "augmentation: kind landmark_lda has no batches"),
        ({"kind": "lbp", "steps_factor": 2.0}, "steps_factor: kind lbp has no steps"),
        ({"kind": "real", "steps_factor": 0}, "greater than 0"),
        ({"kind": "magic"}, "'oversampled'"),
        ({"kind": "real", "n": 5}, "Extra inputs"),
    ],
)
def test_impossible_arms_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Arm(**settings)


def test_the_number_of_processes_changes_no_result(data: Path) -> None:
    synthetic = {"name": "beside", "arm": BESIDE, "classifier_settings": PLAIN}
    one = run(data, **synthetic)
    expected = [(data / "out" / f"beside.{ending}").read_bytes() for ending in ("parquet", "jsonl")]
    two = run(
        data, **synthetic, scratch=data / "scratch-2", processes=2, out=data / "2.parquet", history_out=data / "2.jsonl"
    )
    assert [(data / f"2.{ending}").read_bytes() for ending in ("parquet", "jsonl")] == expected
    assert [cell.test for cell in two.cells] == [cell.test for cell in one.cells]
    assert run(data, **synthetic, scratch=data / "scratch-2", processes=2).resumed == 4


def test_several_trainings_show_their_steps_together(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A training of half an hour is not silent until it ends; 4 trainings of 6 steps here, of which 2 are done."""
    run(data, seeds=(0,), classifier_settings=PLAIN)
    assert run(data, classifier_settings=PLAIN, progress=True, processes=2).resumed == 2
    assert "real: 24 of 24 steps in" in capsys.readouterr().err


def test_another_number_of_threads_is_another_result(data: Path) -> None:
    """A cell that was trained with other threads is not taken for this run's."""
    before = torch.get_num_threads()
    try:
        options: dict[str, Any] = {"classifier_settings": PLAIN, "seeds": (0,)}
        torch.set_num_threads(1)
        run(data, **options)
        torch.set_num_threads(2)
        assert run(data, **options).resumed == 0
        assert run(data, **options).resumed == 2
    finally:
        torch.set_num_threads(before)


def test_faces_that_change_after_the_guard_has_looked_at_them_are_not_trained_on(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    look = arms.check_leakage

    def look_then_change(faces: Any, folds: Any, **options: Any) -> Any:
        report = look(faces, folds, **options)
        if options["fold"] == 1:
            file = next((data / "synthetic").rglob("fold-0/data/*.parquet"))
            table = pq.read_table(file)
            rows = table.to_pylist()
            rows[0]["image"], rows[-1]["image"] = rows[-1]["image"], rows[0]["image"]
            pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), file)
        return report

    monkeypatch.setattr(arms, "check_leakage", look_then_change)
    with pytest.raises(InputError, match="files changed while the arm ran"):
        run(data, name="beside", arm=BESIDE)
