"""The parsing stage on faces without masks: pictures in folders, as a user has them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from embedded import write_face
from killed_trainings import Killed, KilledError

import augment.parsing.training as training
import pipeline.stages.parsing as stage
from augment.core.files import sha256_of_file
from augment.core.seals import seal_folder
from augment.faces.splits import fold_splits, read_folds
from augment.faces.table import read_faces
from augment.parsing.network import load_parsing
from pipeline.core.stage_runs import run_stage
from pipeline.parameters.whole import parse_parameters
from pipeline.profile import compose_profile
from reports.parsing import parsing_notes

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent.parent
TINY = [
    "scale=smoke",
    "dataset=folder",
    "dataset.licence=cc0-1.0",
    "dataset.image_size=32",
    "folds.kind=source",
    "folds.folds=1",
    "parsing.enabled=true",
    "+parsing.teacher.faces=30",
    "+parsing.teacher.held_out_faces=12",
    "runtime.threads=1",
]


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("photographs")
    for split, people in (("train", range(4)), ("validation", range(4, 6)), ("test", range(6, 8))):
        for subject in people:
            for expression in ("happy", "neutral"):
                write_face(root / split / expression / f"{subject}.png", expression, subject, size=40)
    return root


def prepared(folder: Path, faces: Path, *overrides: str) -> Path:
    folder.mkdir(exist_ok=True)
    profile = compose_profile(ROOT, [*TINY, f"dataset.root={faces}", *overrides])
    (folder / "params.yaml").write_text(profile, encoding="utf-8")
    run_stage("prepare", folder)
    return folder


def change(root: Path, **teacher: Any) -> None:
    file = root / "params.yaml"
    values = yaml.safe_load(file.read_text(encoding="utf-8"))
    values["parsing"]["teacher"] |= teacher
    file.write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")


def learn(root: Path) -> dict[str, Any]:
    run_stage("parsing", root)
    return json.loads((root / "artifacts" / "parsing" / "fold-0" / "report.json").read_text(encoding="utf-8"))


def weights(root: Path) -> Path:
    return root / "artifacts" / "parsing" / "fold-0" / "weights.safetensors"


@pytest.fixture(scope="module")
def workspace(faces: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepared(tmp_path_factory.mktemp("workspace"), faces)


def test_embedded_faces_teach_pictures_without_masks(workspace: Path) -> None:
    assert read_faces(workspace / "artifacts" / "faces").column("mask").null_count == 16
    facts = learn(workspace)
    assert [(teacher["name"], teacher["augmentation"]) for teacher in facts["teachers"]] == [
        ("embedded faces", "strong")
    ]
    assert facts["scored_on"] == "held_out" and facts["held_out"]["faces"] == 12
    assert set(facts["held_out"]["intersection_over_union"]) == {"background", "skin", "lips", "eyes"}
    assert facts["own"]["faces"] == 4 and sum(facts["own"]["areas"].values()) == pytest.approx(1)
    network = load_parsing(weights(workspace))
    assert (network.channels, network.size) == (1, 32)
    (note,) = parsing_notes(workspace / "artifacts" / "parsing")
    assert "trained on embedded faces (30 faces, strong augmentation)" in note and "4 validation faces" in note


def test_a_killed_stage_goes_on_in_the_middle_of_a_network(
    workspace: Path, faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    learn(workspace)
    root = prepared(tmp_path, faces)
    with monkeypatch.context() as killing:
        killing.setattr(stage, "TrainingCheckpoints", lambda folder, about: Killed(folder, about, 5))
        with pytest.raises(KilledError):
            run_stage("parsing", root)
    kept = [path.name for path in sorted(root.glob(".ckpt/**/checkpoint-*"))]
    assert kept == ["checkpoint-00000004", "checkpoint-00000005"]
    steps = []
    draw = training._draw_batch
    monkeypatch.setattr(training, "_draw_batch", lambda *rest: steps.append(1) or draw(*rest))
    report = learn(root)
    assert len(steps) == report["steps"] - 5
    assert weights(root).read_bytes() == weights(workspace).read_bytes()
    assert not list(root.glob(".ckpt/**/checkpoint-*"))


def with_landmarks(root: Path) -> None:
    """Gives the prepared faces the landmarks of the embedded ones, as a detector would."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    from embedded import embedded_face

    for file in sorted((root / "artifacts" / "faces" / "data").glob("*.parquet")):
        table = pq.read_table(file)
        values = []
        for row in table.to_pylist():
            subject = int(Path(row["image"]["path"]).stem)
            values.append(embedded_face(row["label_name"], subject, size=40)[1].reshape(-1).tolist())
        column = table.column_names.index("landmarks")
        field = table.schema.field("landmarks")
        pq.write_table(table.set_column(column, field, pa.array(values, type=field.type)), file)
    seal_folder(root / "artifacts" / "faces")


def test_landmarks_of_training_faces_teach_beside_them_and_no_others(
    faces: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = prepared(tmp_path_factory.mktemp("landmarks"), faces)
    with_landmarks(root)
    facts = learn(root)
    assert [(teacher["name"], teacher["faces"]) for teacher in facts["teachers"]] == [
        ("embedded faces", 30),
        ("polygons of landmarks", 8),  # of sixteen: the training faces alone
    ]
    before = sha256_of_file(weights(root))
    for split, same in (("test", True), ("validation", True), ("train", False)):
        turn_upside_down(root, split)
        learn(root)
        assert (sha256_of_file(weights(root)) == before) is same, split
    change(root, polygons=False)
    assert [teacher["name"] for teacher in learn(root)["teachers"]] == ["embedded faces"]


def turn_upside_down(root: Path, split: str) -> None:
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    from augment.faces.images import decode_image, encode_png

    splits = fold_splits(read_folds(root / "artifacts" / "folds.parquet"), 0)
    turned = 0
    for file in sorted((root / "artifacts" / "faces" / "data").glob("*.parquet")):
        table = pq.read_table(file)
        rows = table.select(["image", "face_id"]).to_pylist()
        for row in rows:
            if splits[row["face_id"]] == split:
                picture = np.ascontiguousarray(decode_image(row["image"]["bytes"])[::-1])
                row["image"]["bytes"] = encode_png(picture)
                turned += 1
        field = table.schema.field("image")
        images = pa.array([row["image"] for row in rows], type=field.type)
        pq.write_table(table.set_column(table.column_names.index("image"), field, images), file)
    seal_folder(root / "artifacts" / "faces")
    assert turned >= 4


def test_own_masks_alone_are_not_there(workspace: Path) -> None:
    change(workspace, source="own")
    assert learn(workspace) == {"available": False, "reason": "the faces have no masks"}
    change(workspace, source="auto")


@pytest.mark.parametrize("dataset", ["fer2013", "folder", "ck_plus"])
@pytest.mark.parametrize("scale", ["smoke", "cpu", "long", "gpu", "paper"])
def test_one_choice_switches_parsing_on_where_there_are_no_masks(dataset: str, scale: str) -> None:
    def composed(*overrides: str) -> tuple[bool, set[float]]:
        parameters = parse_parameters(
            yaml.safe_load(compose_profile(ROOT, [f"dataset={dataset}", f"scale={scale}", *overrides])), where="profile"
        )
        entries = {name: entry for name, entry in parameters.translators.items() if entry.method == "lssl"}
        entries.pop("lssl_without_parsing", None)  # an ablation
        weights = {entry.settings.get("lambda_parsing", 10.0) for entry in entries.values()}
        return parameters.parsing.enabled, weights

    off, weights_off = composed()
    on, weights_on = composed("masks=taught")
    assert (off, on) == (False, True)
    if scale != "smoke":  # which has no translator that wants it
        assert 0.0 in weights_off and weights_on == ({10.0} if scale == "paper" else {0.1})


def test_another_root_is_a_dependency_of_the_stage() -> None:
    declared = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]["parsing"]["deps"]
    assert "${parsing.teacher.root}" in declared and "augment/parsing" in declared
    composed = yaml.safe_load(compose_profile(ROOT, ["parsing.teacher.root=/data/helen"]))
    assert composed["parsing"]["teacher"]["root"] == "/data/helen"
