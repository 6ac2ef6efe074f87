from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from striped_faces import NAMES, face_rows, tensors, write_dataset, write_table

import classifiers.judge as judges
import classifiers.training as training
from augment.core.errors import InputError
from classifiers.judge import Pretraining, load_judge, train_judge
from classifiers.models import ModelSettings, create_classifier
from classifiers.pretraining import PretrainedClassifier, hold_out, start_from
from classifiers.training import ClassifierSettings

FEW_STEPS = ClassifierSettings(
    model=ModelSettings(name="resnet18_narrow", stem="half", width=4),
    steps=2,
    batch_size=12,
    learning_rate=1e-4,
    augmentation_settings={"flip": 0.0},  # type: ignore[arg-type]
    select_by="last",
)


def network(model: ModelSettings, classes: int, seed: int) -> torch.nn.Module:
    return create_classifier(model, num_classes=classes, channels=1, seed=seed)


@pytest.mark.parametrize(
    ("model", "last"),
    [
        (ModelSettings(name="plain_cnn", widths=(4, 8), convolutions=(1, 1)), "network.fc"),
        (ModelSettings(name="squeeze_excitation_cnn", widths=(4, 8), convolutions=(1, 1)), "network.fc"),
        (ModelSettings(name="resnet18_narrow", width=4), "network.fc"),
        (ModelSettings(name="vgg16_bn"), "network.head.fc"),
    ],
)
def test_all_but_the_rows_of_other_classes_is_taken_over(model: ModelSettings, last: str) -> None:
    before, after = network(model, 3, 0), network(model, 4, 1)
    drawn = {name: values.clone() for name, values in after.state_dict().items()}
    start_from(after, PretrainedClassifier(before, ("sad", "happy", "fear")), ("angry", "fear", "happy", "neutral"))  # type: ignore[arg-type]
    old, new = before.state_dict(), after.state_dict()
    assert f"{last}.weight" in new
    for name, values in new.items():
        if name.startswith(f"{last}."):
            # fear and happy are known before, at other places; angry and neutral are not.
            assert torch.equal(values[[1, 2]], old[name][[2, 1]])
            assert torch.equal(values[[0, 3]], drawn[name][[0, 3]])
        else:
            assert torch.equal(values, old[name])


def test_another_network_is_refused() -> None:
    small, large = (
        network(ModelSettings(name="plain_cnn", widths=(width,), convolutions=(1,)), 2, 0) for width in (4, 8)
    )
    with pytest.raises(InputError, match=r"stages\.0\.weight is \[8, 1, 3, 3\], and \[4, 1, 3, 3\]"):
        start_from(large, PretrainedClassifier(small, ("a", "b")), ("a", "b"))  # type: ignore[arg-type]


def test_people_are_held_out_whole() -> None:
    faces = replace(tensors(np.arange(60) % 3, seed=0), subjects=tuple(f"person-{row % 20:02d}" for row in range(60)))
    train, held = hold_out(faces)
    assert set(held.subjects) == {"person-00", "person-10"}
    assert len(train) + len(held) == 60 and not set(train.subjects) & set(held.subjects)
    one, other = hold_out(replace(faces, subjects=(None, *faces.subjects[1:])))
    assert len(other) == 6 and len(one) == 54
    with pytest.raises(InputError, match="fewer than two people"):
        hold_out(replace(faces, subjects=("someone",) * 60))


def write_other(root: Path, seed: int = 9) -> Path:
    """Faces of other people with the same classes."""
    folder = root / "other"
    write_table(folder / "data" / "all.parquet", face_rows(np.arange(120) % 3, seed, "other"))
    return folder


def train(root: Path, **options: object) -> judges.JudgeReport:
    return train_judge(
        root / "faces",
        root / "folds.parquet",
        FEW_STEPS,
        3,
        root / "judge",
        progress=False,
        **options,  # type: ignore[arg-type]
    )


@pytest.mark.slow
def test_judges_start_from_what_was_learned_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_dataset(tmp_path)
    first = Pretraining(write_other(tmp_path), 60, "Other stripes")
    trained: list[set[str]] = []
    original = training.train_classifier

    def record(settings: ClassifierSettings, **options: object) -> object:
        trained.append({face.split("-")[0] for face in options["real"].face_ids})  # type: ignore[attr-defined]
        return original(
            settings.model_copy(update={"learning_rate": 1e-2}) if settings.steps == 60 else settings,
            **options,  # type: ignore[arg-type]
        )

    monkeypatch.setattr(judges, "train_classifier", record)
    plain = train(tmp_path)
    assert not (tmp_path / "judge" / "pretraining").exists() and trained == [{"a", "b"}, {"a", "test"}]
    report = train(tmp_path, pretraining=first, scratch=tmp_path / "scratch")
    assert trained[2:] == [{"other"}, {"a", "b"}, {"a", "test"}]
    # Two steps teach nothing; sixty on other people do, and what they taught is still there after two more.
    for before, after in zip(plain.folds, report.folds, strict=True):
        assert before.pretraining is None and before.validation.accuracy < 0.7
        assert after.pretraining is not None and after.pretraining.held_out.accuracy > 0.9
        assert after.validation.accuracy > 0.9
        assert (after.pretraining.title, after.pretraining.steps) == ("Other stripes", 60)
        assert after.pretraining.class_names == NAMES
    facts = json.loads((tmp_path / "judge" / "pretraining" / "judge.json").read_text())
    assert facts["training_faces"] + facts["held_out"]["count"] == 120
    kept = load_judge(tmp_path / "judge", 0).model.state_dict()

    assert train(tmp_path, pretraining=first, scratch=tmp_path / "scratch") == report and len(trained) == 5
    assert all(
        torch.equal(kept[name], value) for name, value in load_judge(tmp_path / "judge", 0).model.state_dict().items()
    )
    write_other(tmp_path, seed=10)
    train(tmp_path, pretraining=first, scratch=tmp_path / "scratch")
    assert len(trained) == 8  # what the judges started from is another network


@pytest.mark.slow
def test_pictures_of_the_run_itself_are_refused(tmp_path: Path) -> None:
    write_dataset(tmp_path)
    folder = write_other(tmp_path)
    rows = pq.read_table(folder / "data" / "all.parquet").to_pylist()
    test = next(row for row in pq.read_table(tmp_path / "faces" / "data").to_pylist() if row["face_id"] == "test-0004")
    rows[7]["image"] = test["image"]
    write_table(folder / "data" / "all.parquet", rows)
    with pytest.raises(InputError, match=r"1 pictures of Other stripes are the run's own.*other-0007 is test-0004"):
        train(tmp_path, pretraining=Pretraining(folder, 5, "Other stripes"))
    left_out = frozenset({"other-0007"})
    report = train(tmp_path, pretraining=Pretraining(folder, 5, "Other stripes", left_out))
    first = report.folds[0].pretraining
    assert first is not None and first.training_faces + first.held_out.count == 119


@pytest.mark.slow
def test_no_frontal_face_is_refused(tmp_path: Path) -> None:
    write_dataset(tmp_path)
    folder = write_other(tmp_path)
    table = pq.read_table(folder / "data" / "all.parquet")
    rows = [{**row, "yaw": 40.0 if row["label_name"] == "happy" else 0.0} for row in table.to_pylist()]
    write_table(folder / "data" / "all.parquet", rows)
    with pytest.raises(InputError, match=r"judge\.pretraining: judge\.frontal_yaw: no face of happy"):
        train(tmp_path, pretraining=Pretraining(folder, 5, "Other stripes"), frontal_yaw=5.0)
