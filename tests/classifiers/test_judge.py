from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from recorded_trainings import recorded_calls
from striped_faces import NAMES, tensors, write_dataset

import classifiers.judge as judges
from augment.core.errors import InputError
from augment.faces.leakage import LeakageError
from classifiers.judge import load_judge, train_judge
from classifiers.models import ModelSettings
from classifiers.training import ClassifierDivergedError, ClassifierSettings

pytestmark = pytest.mark.slow

TINY = ClassifierSettings(
    model=ModelSettings(name="resnet18_narrow", stem="half", width=4),
    steps=60,
    batch_size=12,
    learning_rate=1e-2,
    class_balanced=False,
    augmentation="none",
    augmentation_settings={"translation": 0.0, "rotation": 5.0},  # type: ignore[arg-type]
    validate_every=20,
)
# For processes that start anew, for which importing timm is most of the work.
PLAIN = TINY.model_copy(update={"model": ModelSettings(name="plain_cnn", widths=(4, 8), convolutions=(1, 1))})


def train(root: Path, settings: ClassifierSettings = TINY, **options: object) -> judges.JudgeReport:
    return train_judge(
        root / "faces",
        root / "folds.parquet",
        settings,
        3,
        root / "judge",
        **{"progress": False} | options,  # type: ignore[arg-type]
    )


def test_a_judge_for_each_fold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = recorded_calls(monkeypatch, judges)
    write_dataset(tmp_path)
    report = train(tmp_path, scratch=tmp_path / "scratch")
    for fold, parts in enumerate(({"a", "b"}, {"a", "test"})):
        assert {face_id.split("-")[0] for face_id in calls[fold]["real"].face_ids} == parts
        assert {face_id.split("-")[0] for face_id in calls[fold]["validation"].face_ids} == {"validation"}
        assert calls[fold].get("synthetic") is None
        assert report.folds[fold].settings == TINY and not {"class_balanced", "augmentation"} & set(calls[fold])
        facts = json.loads((tmp_path / "judge" / f"fold-{fold}" / "judge.json").read_text())
        assert facts == report.folds[fold].model_dump(mode="json")
        assert facts["validation"]["count"] == 9
    judge = load_judge(tmp_path / "judge", 1)
    assert judge.class_names == NAMES
    faces = tensors(np.arange(30) % 3, seed=9)
    probabilities = judge.probabilities(faces.images)
    assert (probabilities.argmax(1) == faces.labels.numpy()).mean() > 0.8
    assert judge.features(faces.images).shape == (30, 32)

    weights = (tmp_path / "judge" / "fold-0" / "weights.safetensors").read_bytes()
    (tmp_path / "judge" / "fold-0" / "weights.safetensors").unlink()
    assert train(tmp_path, scratch=tmp_path / "scratch") == report and len(calls) == 2
    assert (tmp_path / "judge" / "fold-0" / "weights.safetensors").read_bytes() == weights
    (tmp_path / "scratch" / "fold-0" / "weights.safetensors").write_bytes(weights[:100])
    train(tmp_path, scratch=tmp_path / "scratch")
    assert len(calls) == 3
    assert (tmp_path / "judge" / "fold-0" / "weights.safetensors").read_bytes() == weights


def test_judges_differ_by_fold_and_not_by_run(tmp_path: Path) -> None:
    write_dataset(tmp_path)
    train(tmp_path)
    first = load_judge(tmp_path / "judge", 0).model.state_dict()
    other = load_judge(tmp_path / "judge", 1).model.state_dict()
    train(tmp_path)
    again = load_judge(tmp_path / "judge", 0).model.state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["network.conv1.weight"], other["network.conv1.weight"])


def test_a_subject_on_both_sides_is_refused(tmp_path: Path) -> None:
    write_dataset(tmp_path, folds=1)
    folds = pq.read_table(tmp_path / "folds.parquet").to_pylist()
    next(row for row in folds if row["face_id"] == "a-0000")["split"] = "validation"
    pq.write_table(pa.Table.from_pylist(folds), tmp_path / "folds.parquet")
    with pytest.raises(LeakageError):
        train(tmp_path)


def test_a_judge_that_was_not_trained(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is missing"):
        load_judge(tmp_path, 0)


@pytest.mark.nightly  # that of arms is not
def test_the_number_of_processes_changes_no_judge(tmp_path: Path) -> None:
    for processes in (1, 2):
        place = tmp_path / str(processes)
        write_dataset(place)
        train(place, PLAIN, processes=processes)
    files = [f"judge/fold-{fold}/weights.safetensors" for fold in (0, 1)]
    assert [(tmp_path / "1" / file).read_bytes() for file in files] == [
        (tmp_path / "2" / file).read_bytes() for file in files
    ]


def test_judges_of_several_folds_show_their_steps_together(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_dataset(tmp_path)
    for _ in range(2):  # the second time they lie finished
        train(tmp_path, PLAIN, processes=2, scratch=tmp_path / "scratch", progress=True)
        steps = 2 * TINY.steps
        assert f"judge: {steps} of {steps} steps in" in capsys.readouterr().err


def test_a_judge_of_frontal_faces_sees_no_turned_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = recorded_calls(monkeypatch, judges)
    write_dataset(tmp_path, folds=1)
    file = tmp_path / "faces" / "data" / "all.parquet"
    table = pq.read_table(file)
    yaw = [(0.0, 30.0, None)[row // 3 % 3] for row in range(table.num_rows)]  # None: not known, which counts as frontal
    at = table.schema.get_field_index("yaw")
    pq.write_table(table.set_column(at, table.schema.field("yaw"), pa.array(yaw, pa.float32())), file)
    train(tmp_path, frontal_yaw=5.0)
    turned = {face for face, angle in zip(table.column("face_id").to_pylist(), yaw, strict=True) if angle == 30.0}
    for split in ("real", "validation"):
        faces = set(seen[0][split].face_ids)
        assert faces and not faces & turned
    train(tmp_path)
    assert set(seen[1]["real"].face_ids) & turned


def test_errors_name_the_judges_own_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_dataset(tmp_path)
    with pytest.raises(InputError, match=r"^judge\.classifier\.precision: float16 needs a GPU"):
        train(tmp_path, TINY.model_copy(update={"precision": "float16"}))

    def diverge(*words: object, **options: object) -> None:
        raise ClassifierDivergedError("lower classifier.learning_rate (now 0.1) or raise classifier.warmup_share")

    monkeypatch.setattr(judges, "train_classifier", diverge)
    with pytest.raises(
        ClassifierDivergedError, match=r"lower judge\.classifier\.learning_rate .* raise judge\.classifier\.warmup"
    ):
        train(tmp_path)


def test_a_class_without_a_frontal_face_is_refused(tmp_path: Path) -> None:
    write_dataset(tmp_path, folds=1)
    file = tmp_path / "faces" / "data" / "all.parquet"
    table = pq.read_table(file)
    yaw = [30.0 if name == "happy" else 0.0 for name in table.column("label_name").to_pylist()]
    at = table.schema.get_field_index("yaw")
    pq.write_table(table.set_column(at, table.schema.field("yaw"), pa.array(yaw, pa.float32())), file)
    with pytest.raises(InputError, match=r"judge\.frontal_yaw: no train face of happy is turned by at most 5 degrees"):
        train(tmp_path, frontal_yaw=5.0)
