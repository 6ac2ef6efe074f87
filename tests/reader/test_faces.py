"""The reader of exported faces: what it gives is what the folder has, filtered, mixed, cut and batched."""

from __future__ import annotations

import ast
import json
import pickle
import shutil
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from made_up_faces import PER_CLASS, write_workspace
from s2l_data import Faces, FacesError, split_names
from small_faces import CLASSES

from augment.core.seals import seal_folder
from augment.faces.images import decode_image, encode_png
from augment.faces.splits import FoldSettings, assign_folds, write_folds
from augment.faces.table import read_faces
from pipeline.core.workspace import Artifacts
from pipeline.publishing.columns import DATA_NAMES
from pipeline.publishing.export import ExportSettings, export_faces

KEPT = PER_CLASS - 1
PACKAGE = Path(__file__).parent.parent.parent / "reader" / "s2l_data"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("reader")
    export_faces(write_workspace(home / "run"), home / "out", ExportSettings(with_real=True))
    return home / "out"


@pytest.fixture
def train(folder: Path) -> Faces:
    return Faces(folder)


def ids(faces: Faces) -> list[str]:
    return list(faces.column("face_id"))


def test_faces_are_those_of_the_folder(folder: Path, train: Faces) -> None:
    rows = pq.read_table(folder / "data" / "train-00000-of-00001.parquet").to_pylist()
    assert len(train) == len(rows) and train.class_names == CLASSES and train.shape == (16, 16, 1)
    for place in (0, 5, len(rows) - 1):
        pixels, label = train[place]
        assert np.array_equal(pixels[:, :, 0], decode_image(rows[place]["image"]["bytes"]))
        assert label == rows[place]["label"] and pixels.dtype == np.uint8
        assert train.row(place) == {name: rows[place][name] for name in DATA_NAMES}
    assert ids(train) == [row["face_id"] for row in rows]
    assert train.counts() == {name: [row["label_name"] for row in rows].count(name) for name in CLASSES}
    assert np.array_equal(train[-1][0], train[len(train) - 1][0]) and len(list(train)) == len(rows)
    with pytest.raises(IndexError):
        train[len(rows)]


def test_filters(train: Faces) -> None:
    made = train.where(synthetic=True)
    assert len(made) == 2 * 3 * KEPT and len(train.where(synthetic=False)) == len(train) - len(made)
    warp = train.where(translators=["warp"], classes=["sad"])
    assert len(warp) == KEPT and set(warp.column("translator")) == {"warp"} and set(warp.labels) == {2}
    sure = train.where(least_confidence=0.6)
    least = sure.column("confidence").astype(float)
    assert np.nanmin(least) >= np.float32(0.6) and np.isnan(least).sum() == len(train) - len(made)  # real ones pass
    assert ids(train.where()) == ids(train)
    assert len(train.where(classes=[])) == 0


def test_a_share_of_synthetic_faces(train: Faces) -> None:
    real = len(train.where(synthetic=False))
    found = {share: train.with_share(share, seed=1) for share in (0.0, 0.2, 0.5)}
    assert [int(faces.column("synthetic").sum()) for faces in found.values()] == [0, round(real / 4), real]
    assert set(ids(found[0.2])) < set(ids(found[0.5])) < set(ids(train))
    assert ids(train.with_share(0.2, seed=1)) == ids(found[0.2]) != ids(train.with_share(0.2, seed=2))
    places = [ids(train).index(face_id) for face_id in ids(found[0.5])]
    assert places == sorted(places)
    with pytest.raises(FacesError, match="there are 42"):
        train.with_share(0.9)
    with pytest.raises(FacesError, match="no real faces"):
        train.where(synthetic=True).with_share(0.5)
    with pytest.raises(FacesError, match="is none"):
        train.with_share(1.0)


def test_shards_are_all_faces_once(train: Faces) -> None:
    for of in (1, 3, 7):
        parts = [train.shard(number, of) for number in range(of)]
        together = [face_id for part in parts for face_id in ids(part)]
        assert sorted(together) == sorted(ids(train)) and max(map(len, parts)) - min(map(len, parts)) <= 1
    with pytest.raises(FacesError):
        train.shard(3, 3)


@pytest.mark.parametrize("keep_pixels", [False, True])
def test_batches_are_the_faces(folder: Path, keep_pixels: bool) -> None:
    faces = Faces(folder, keep_pixels=keep_pixels)
    for _ in range(2):  # the second time from memory, where pixels are kept
        images, labels = (np.concatenate(parts) for parts in zip(*faces.batches(16), strict=True))
        assert np.array_equal(labels, faces.labels)
        assert all(np.array_equal(images[place], faces[place][0]) for place in range(len(faces)))
    one = [labels.tolist() for _, labels in faces.batches(16, shuffle=True, seed=3)]
    assert one == [labels.tolist() for _, labels in faces.batches(16, shuffle=True, seed=3)]
    assert one != [labels.tolist() for _, labels in faces.batches(16, shuffle=True, seed=4)]
    assert {len(labels) for _, labels in faces.batches(16, drop_last=True)} == {16}


def test_two_sets_together(folder: Path, train: Faces, tmp_path: Path) -> None:
    test = Faces(folder, "test")
    both = train.where(synthetic=True) + test
    assert len(both) == 42 + len(test) and ids(both)[42:] == ids(test)
    assert np.array_equal(both[42][0], test[0][0]) and both.row(42) == test.row(0)
    assert np.array_equal(both.labels[42:], test.labels)
    assert len(both.where(synthetic=False)) == len(test)
    real = train.where(synthetic=False)
    assert len((both + real).shard(1, 2)) == (42 + len(test) + len(real)) // 2
    with pytest.raises(FacesError, match=r"42 faces are in both, such as lssl-f0-angry-000000"):
        both + train  # which `where(synthetic=True)` is of
    with pytest.raises(TypeError):
        _ = train + 1  # type: ignore[operator]
    shutil.copytree(folder, tmp_path / "other")
    about = json.loads((tmp_path / "other" / "dataset.json").read_text())
    for change in ({"class_names": ["a", "b", "c"]}, {"size": 32}):
        (tmp_path / "other" / "dataset.json").write_text(json.dumps(about | change))
        with pytest.raises(FacesError, match="differ"):
            train + Faces(tmp_path / "other")


def test_two_folds_of_one_data_set_do_not_add_up(folder: Path, train: Faces, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "other")
    path = tmp_path / "other" / "dataset.json"
    about = json.loads(path.read_text())
    made = about["provenance"]
    for other in ({"fold": 1}, {"folds_sha256": "0" * 64}):  # also the same fold, of folds that another seed drew
        path.write_text(json.dumps({**about, "provenance": made | other}))
        with pytest.raises(FacesError, match="of two folds of one data set"):
            train.where(synthetic=True) + Faces(tmp_path / "other").where(synthetic=False)
    path.write_text(json.dumps({**about, "provenance": made | {"data_sha256": "0" * 64}}))
    assert len(train + Faces(tmp_path / "other")) == 2 * len(train)  # of other faces: their names are their own


def test_the_data_is_the_same_whatever_folds_were_made_of_it(tmp_path: Path) -> None:
    """Beside the faces lies a report that counts the folds: of other folds the faces are the same ones."""
    found = []
    for seed in (0, 1):
        run = write_workspace(tmp_path / str(seed))
        artifacts = Artifacts(run)
        values = yaml.safe_load((run / "params.yaml").read_text())
        (run / "params.yaml").write_text(yaml.safe_dump({**values, "translators": {}}))
        table = read_faces(artifacts.faces)
        write_folds(assign_folds(table, FoldSettings(), seed=seed), artifacts.folds)
        (artifacts.faces / "report.json").write_text(json.dumps({"folds": seed}))
        seal_folder(artifacts.faces)
        export_faces(run, run / "out", ExportSettings(with_real=True))
        found.append(Faces(run / "out"))
    with pytest.raises(FacesError, match="of two folds of one data set"):
        found[0] + found[1]


def test_shards_have_every_class_and_translator(train: Faces) -> None:
    """Classes take turns in an export, and so do translators: every second or third face would be of one."""
    made = train.where(synthetic=True)
    for of in (2, 3):
        for number in range(of):
            part = made.shard(number, of)
            assert set(part.labels) == {0, 1, 2} and set(part.column("translator")) == {"lssl", "warp"}
            assert ids(part) == [face_id for face_id in ids(made) if face_id in set(ids(part))]


def test_several_places_give_their_faces(train: Faces) -> None:
    names = ids(train)
    assert ids(train[2:9:3]) == names[2:9:3] and ids(train[-2:]) == names[-2:] and len(train[5:5]) == 0
    assert ids(train[[4, 0, -1]]) == [names[4], names[0], names[-1]] and len(train[[]]) == 0
    assert ids(train[np.array([1, 3])]) == [names[1], names[3]]  # type: ignore[call-overload]
    assert ids(train[train.labels == 1]) == [names[place] for place in np.flatnonzero(train.labels == 1)]  # type: ignore[call-overload]
    assert train[np.int64(2)][1] == train[2][1]
    assert ids(train[np.flatnonzero(train.labels == 1).tolist()]) == ids(train.where(classes=["happy"]))
    for wrong in ([len(names)], [0.5], np.array([True]), [[0, 1], [2, 3]], np.argwhere(train.labels == 1)):
        with pytest.raises(IndexError, match="no places among"):
            train[wrong]  # type: ignore[call-overload]
    for odd in (None, np.where(train.labels == 1)):
        with pytest.raises(FacesError, match="a face's place is a whole number"):
            train[odd]  # type: ignore[call-overload]


def test_weights_draw_classes_and_kinds_alike(train: Faces) -> None:
    some = train.where(synthetic=False) + train.where(translators=["warp"], classes=["angry", "sad"])
    labels, made = some.labels, some.column("synthetic").astype(bool)
    even = some.weights()
    assert [even[labels == label].sum() for label in range(3)] == pytest.approx([1 / 3] * 3)
    assert np.ptp(even[labels == 1]) == 0
    mixed = some.weights(share=0.25)
    assert mixed[made].sum() == pytest.approx(0.25) and mixed.sum() == pytest.approx(1)
    assert [mixed[made & (labels == label)].sum() for label in range(3)] == pytest.approx([0.125, 0, 0.125])
    assert [mixed[~made & (labels == label)].sum() for label in range(3)] == pytest.approx([0.25] * 3)
    for part, missing in ((some.where(synthetic=True), "real"), (some.where(synthetic=False), "synthetic")):
        with pytest.raises(FacesError, match=f"no {missing} faces"):
            part.weights(share=0.5)
    with pytest.raises(FacesError, match="is none"):
        some.weights(share=1.0)


def test_splits_and_columns(folder: Path, train: Faces) -> None:
    assert split_names(folder) == ("train", "validation", "test")
    for split in split_names(folder):
        assert set(Faces(folder, split).column("split")) == {split}
    seeds = train.column("seed")
    assert set(seeds[train.column("synthetic").astype(bool)]) == {0} and None in seeds  # whole, beside nulls


def test_whole_numbers_of_any_kind(train: Faces) -> None:
    assert ids(train.shard(np.int64(0), np.int32(2))) == ids(train.shard(0, 2))  # type: ignore[arg-type]
    assert len(next(train.batches(np.int64(4)))[1]) == 4  # type: ignore[arg-type]
    assert ids(train.where(least_confidence=np.float32(0.6))) == ids(train.where(least_confidence=0.6))  # type: ignore[arg-type]
    assert ids(train.where(classes=(name for name in ["sad"]))) == ids(train.where(classes=["sad"]))
    with pytest.raises(FacesError, match="a seed is 0 or more"):
        next(train.batches(4, shuffle=True, seed=-1))


def test_workers_get_it_whole_by_pickle(train: Faces) -> None:
    train[0]  # pictures are read, and don't travel
    sent = pickle.dumps(train)
    assert len(sent) < 20_000
    other = pickle.loads(sent)
    assert ids(other) == ids(train) and np.array_equal(other[3][0], train[3][0])


def test_what_can_not_be_is_refused(folder: Path, tmp_path: Path, train: Faces) -> None:
    with pytest.raises(FacesError, match="it has train, validation, test"):
        Faces(folder, "valid")
    with pytest.raises(FacesError, match="s2l export"):
        Faces(tmp_path)
    with pytest.raises(FacesError, match="there are angry, happy, sad"):
        train.where(classes=["glad"])
    with pytest.raises(FacesError, match="is one name"):
        train.where(translators="warp")
    with pytest.raises(FacesError, match="there is no translator 'nobody'; there are lssl, warp"):
        train.where(translators=["nobody"])
    with pytest.raises(FacesError, match="no column"):
        train.column("image")
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    about = json.loads((copy / "dataset.json").read_text())
    for change, said in (
        ({"schema_version": "1"}, "this reader knows 2: update it, or export the faces again"),
        ({"format": "webdataset"}, "reads Parquet"),
    ):
        (copy / "dataset.json").write_text(json.dumps(about | change))
        with pytest.raises(FacesError, match=said):
            Faces(copy)
    for name in ("../out/data/train-00000-of-00001.parquet", "/etc/passwd"):
        (copy / "dataset.json").write_text(json.dumps(about | {"files": {"train": [name]}}))
        with pytest.raises(FacesError, match="leads out of the folder"):
            Faces(copy)
    odd = [{"size": 0}, {"class_names": []}, {"files": 3}, {"size": "big"}, {"size": 1e400}, {"size": True}]
    odd += [{"class_names": "abc"}, {"class_names": ["a", "a"]}, {"files": {"train": []}}, {"files": {"train": [""]}}]
    odd += [{"files": {"train": ["data"]}}, {"files": {"train": 2 * about["files"]["train"]}}]
    odd += [{"class_names": ["only", "two"]}]
    for change in odd:
        (copy / "dataset.json").write_text(json.dumps(about | change))
        with pytest.raises(FacesError):
            Faces(copy)
    (copy / "dataset.json").write_text(json.dumps(about))
    (copy / "data" / "train-00000-of-00001.parquet").write_bytes(b"no Parquet")
    with pytest.raises(FacesError, match="s2l verify"):
        Faces(copy)


def test_a_damaged_picture_is_named(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "copy")
    path = tmp_path / "copy" / "data" / "test-00000-of-00001.parquet"
    table = pq.read_table(path)
    rows = table.to_pylist()
    rows[2]["image"]["bytes"] = rows[2]["image"]["bytes"][:70]
    rows[3]["image"]["bytes"] = encode_png(np.zeros((4000, 4000), np.uint8))  # small as a file, and large decoded
    pq.write_table(type(table).from_pylist(rows, schema=table.schema), path)
    faces = Faces(tmp_path / "copy", "test")
    faces[1]
    with pytest.raises(FacesError, match="picture 2 can't be decoded"):
        faces[2]
    with pytest.raises(FacesError, match=r"picture 3 .*4000x4000 pixels, not 16x16"):
        faces[3]


def test_words_and_numbers_that_are_none_are_refused(train: Faces) -> None:
    for wrong in (
        lambda: train.where(least_confidence=float("nan")),
        lambda: train.where(least_confidence="0.5"),  # type: ignore[arg-type]
        lambda: train.where(least_confidence=5),
        lambda: train.with_share("a"),  # type: ignore[arg-type]
        lambda: train.shard(0.5, 2),  # type: ignore[arg-type]
        lambda: train.shard(0, 0),
    ):
        with pytest.raises(FacesError):
            wrong()


def test_a_face_that_is_changed_stays_as_it_is_in_the_set(folder: Path) -> None:
    faces = Faces(folder, keep_pixels=True)
    before = faces[0][0].copy()
    faces[0][0][:] = 0
    assert np.array_equal(faces[0][0], before)


@pytest.mark.parametrize("size", [0, -3])
def test_no_batch_is_empty(train: Faces, size: int) -> None:
    with pytest.raises(FacesError, match="is none"):
        next(train.batches(size))


@pytest.mark.parametrize("label", [None, 99, -1])
def test_labels_that_are_none_are_refused(folder: Path, tmp_path: Path, label: int | None) -> None:
    shutil.copytree(folder, tmp_path / "copy")
    path = tmp_path / "copy" / "data" / "test-00000-of-00001.parquet"
    table = pq.read_table(path)
    rows = table.to_pylist()
    rows[2]["label"] = label
    pq.write_table(type(table).from_pylist(rows, schema=table.schema), path)
    with pytest.raises(FacesError, match="none of the classes"):
        Faces(tmp_path / "copy", "test")


def test_a_face_without_a_picture_is_refused(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "copy")
    path = tmp_path / "copy" / "data" / "test-00000-of-00001.parquet"
    table = pq.read_table(path)
    rows = table.to_pylist()
    rows[2]["image"] = None
    pq.write_table(type(table).from_pylist(rows, schema=table.schema), path)
    with pytest.raises(FacesError, match=f"{len(rows) - 1} pictures for {len(rows)} faces"):
        Faces(tmp_path / "copy", "test")[0]


def test_it_needs_nothing_of_this_project() -> None:
    imported = set()
    for file in PACKAGE.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                imported.add(str(node.module).split(".")[0])
    assert imported - set(sys.stdlib_module_names) <= {"numpy", "PIL", "pyarrow", "s2l_data"}
