"""No test face, and no face that is set aside, reaches a judge, a translator, a checkpoint choice or a selection rule.

Shown from outside: with every such picture replaced by noise, all that these stages make is the same to the byte.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from augment.core.files import sha256_of_file
from augment.core.seals import seal_folder
from augment.faces import leakage
from augment.faces.duplicates import Fingerprints
from augment.faces.images import encode_png
from augment.faces.splits import fold_splits, read_folds
from augment.faces.table import data_files, read_faces
from pipeline.core.stage_runs import run_stage
from pipeline.core.workspace import Artifacts
from pipeline.profile import compose_profile

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent.parent
TRANSLATORS = ("warp", "stargan")
RARE = "dataset.rare=2"


def replace_pictures(root: Path, split: str) -> int:
    """Replaces every picture of a split by noise; says how many there were."""
    splits = fold_splits(read_folds(root / "artifacts" / "folds.parquet"), 0)
    random = np.random.default_rng(0)
    replaced = 0
    for file in data_files(root / "artifacts" / "faces"):
        table = pq.read_table(file)
        rows = table.to_pylist()
        for row in rows:
            if splits[row["face_id"]] == split:
                row["image"] = {"bytes": encode_png(random.integers(0, 256, (32, 32), np.uint8)), "path": None}
                replaced += 1
        images = pa.array([row["image"] for row in rows], type=table.schema.field("image").type)
        pq.write_table(table.set_column(0, table.schema.field("image"), images), file)
    seal_folder(root / "artifacts" / "faces")
    return replaced


def learn(root: Path) -> dict[str, object]:
    """Runs every stage that learns; gives the hashes of what it made."""
    run_stage("parsing", root)
    run_stage("judge", root)
    made: dict[str, object] = {"judge": sha256_of_file(root / "artifacts" / "judge" / "fold-0" / "weights.safetensors")}
    made["parsing"] = sha256_of_file(root / "artifacts" / "parsing" / "fold-0" / "weights.safetensors")
    for name in TRANSLATORS:
        run_stage("train", root, name=name)
        run_stage("synthesize", root, name=name)
        run_stage("assess", root, name=name)
        made[name] = sha256_of_file(
            root / "artifacts" / "translators" / f"{name}.s2l" / "fold-0" / "weights.safetensors"
        )
        faces = read_faces(root / "artifacts" / "selected" / f"{name}.s2l" / "fold-0")
        made[f"{name} faces"] = faces.select(["face_id", "image", "source_id", "confidence", "kept"]).to_pylist()
    return made


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("untouched")
    profile = compose_profile(ROOT, ["scale=smoke", "experiment=tiny_gan", "runtime.threads=1", RARE])
    (root / "params.yaml").write_text(profile, encoding="utf-8")
    run_stage("prepare", root)
    return root


@pytest.fixture(scope="module")
def made(untouched: Path) -> dict[str, object]:
    return learn(untouched)


def changed_copy(untouched: Path, folder: Path, split: str) -> Path:
    shutil.copytree(untouched / "artifacts" / "faces", folder / "artifacts" / "faces")
    shutil.copy2(untouched / "artifacts" / "folds.parquet", folder / "artifacts")
    shutil.copytree(untouched / "artifacts" / "pretraining", folder / "artifacts" / "pretraining")
    shutil.copy2(untouched / "params.yaml", folder)
    assert replace_pictures(folder, split) > 10
    return folder


@pytest.mark.parametrize("split", ["test", "set_aside"])
def test_noise_for_held_out_faces_changes_nothing(
    untouched: Path, made: dict[str, object], tmp_path: Path, split: str
) -> None:
    assert learn(changed_copy(untouched, tmp_path, split)) == made


def test_noise_for_training_faces_changes_everything(untouched: Path, made: dict[str, object], tmp_path: Path) -> None:
    """The control: what the test above compares does depend on pictures."""
    other = learn(changed_copy(untouched, tmp_path, "train"))
    assert all(other[key] != made[key] for key in made)


def test_an_arm_compares_no_picture_that_was_compared_when_it_was_judged(
    untouched: Path, made: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    counts: list[int] = []
    near_pairs = leakage.near_pairs

    def counting(pictures: Fingerprints, held_out: Fingerprints) -> np.ndarray:
        counts.append(len(pictures))
        return near_pairs(pictures, held_out)

    monkeypatch.setattr(leakage, "near_pairs", counting)
    run_stage("classify", untouched, name="warp")
    shutil.rmtree(Artifacts(untouched).cleared)
    run_stage("classify", untouched, name="warp")
    assert counts[0] == 0 < counts[1]
