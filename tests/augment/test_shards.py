"""Writing the table: shards, completeness, the card, and who can read it."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pyarrow.dataset
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from small_faces import CARD, CLASSES, face_row, noise

from augment.core.errors import InputError
from augment.faces.images import decode_image
from augment.faces.shards import (
    CardFacts,
    ShardWriter,
    class_shard_path,
    shard_is_complete,
    shard_path,
    write_card,
    write_faces,
    write_shard,
)
from augment.faces.table import face_schema, read_faces, schema_metadata, validate_faces

SYNTHETIC = {"synthetic": True, "translator": "warp", "seed": 7, "fold": 0, "source_id": "made/0"}


def some_rows(count: int = 30) -> list[dict]:
    splits = ("train", "validation", "test", None)
    return [face_row(number, number % 3, split=splits[number % 4]) for number in range(count)]


def test_written_rows_come_back(tmp_path: Path) -> None:
    rows = some_rows()
    counts = write_faces(
        iter(rows), tmp_path, CLASSES, rows_per_shard=2, metadata={"configuration_hash": "h"}, card=CARD
    )
    assert counts == {"train": 15, "validation": 8, "test": 7}
    table = read_faces(tmp_path)
    validate_faces(table)
    assert schema_metadata(table.schema) == {"configuration_hash": "h", "rows": 30, "schema_version": "3"}
    by_id = {row["face_id"]: row for row in table.to_pylist()}
    for row in rows:
        assert {key: by_id[row["face_id"]][key] for key in row} == row
    names = sorted(path.name for path in (tmp_path / "data").iterdir())
    assert names[0] == "all-00000.parquet" and "train-00001.parquet" in names
    assert not list(tmp_path.rglob("*.part")) and not (tmp_path / ".building").exists()


def test_row_groups_of_a_thousand_zstd(tmp_path: Path) -> None:
    row = face_row(0)
    path = write_shard(tmp_path / "s.parquet", [row | {"face_id": str(n)} for n in range(2500)], face_schema(CLASSES))
    footer = pq.read_metadata(path)
    assert [footer.row_group(group).num_rows for group in range(3)] == [1000, 1000, 500]
    assert footer.row_group(0).column(0).compression == "ZSTD"


def test_hugging_face_datasets_decodes_images_and_names_classes(tmp_path: Path) -> None:
    import datasets

    write_faces(some_rows(), tmp_path / "d", CLASSES, card=CardFacts("Made faces", "Noise.", "cc0-1.0"))
    loaded = datasets.load_dataset(str(tmp_path / "d"), cache_dir=str(tmp_path / "cache"))
    assert {split: len(loaded[split]) for split in loaded} == {"train": 15, "validation": 8, "test": 7}
    assert loaded["train"].features["label"].names == list(CLASSES)
    row = next(row for row in loaded["train"] if row["face_id"] == "made/4")
    assert row["image"].size == (16, 16)
    assert (pd.Series(row["image"].tobytes()) == pd.Series(noise(4).tobytes())).all()


def test_hugging_face_datasets_reads_the_files_without_the_card_too(tmp_path: Path) -> None:
    import datasets

    row = face_row(0) | SYNTHETIC
    path = write_shard(tmp_path / "s.parquet", [row], face_schema(CLASSES))
    loaded = datasets.load_dataset("parquet", data_files=str(path), cache_dir=str(tmp_path / "cache"))["train"]
    assert isinstance(loaded.features["image"], datasets.Image)
    assert loaded.features["label"].names == list(CLASSES)
    assert loaded[0]["seed"] == 7


def test_pandas_and_pyarrow_read_it(tmp_path: Path) -> None:
    write_faces(some_rows(), tmp_path, CLASSES, card=CARD)
    frame = pd.read_parquet(tmp_path / "data")
    assert len(frame) == 30 and set(frame["label_name"]) == set(CLASSES)
    assert decode_image(frame["image"][0]["bytes"]).shape == (16, 16)
    dataset = pyarrow.dataset.dataset(tmp_path / "data")
    assert dataset.count_rows(filter=pyarrow.dataset.field("split") == "test") == 7


def test_card_says_what_it_must(tmp_path: Path) -> None:
    write_faces([face_row(0) | SYNTHETIC], tmp_path, CLASSES, synthetic=True, card=CardFacts("T", "D", "Ask *us*."))
    text = (tmp_path / "README.md").read_text(encoding="utf-8")
    front = yaml.safe_load(text.split("---")[1])
    assert front["license"] == "other" and "Licence: Ask *us*." in text
    assert front["configs"] == [
        {"config_name": "default", "data_files": [{"split": "train", "path": ["data/all-*.parquet"]}]}
    ]
    assert front["dataset_info"]["splits"][0]["num_examples"] == 1
    label = next(feature for feature in front["dataset_info"]["features"] if feature["name"] == "label")
    assert label["dtype"]["class_label"]["names"] == {"0": "angry", "1": "happy", "2": "sad"}
    assert "synthetic" in front["tags"] and "These faces are synthetic" in text


def test_a_complete_shard_is_known_and_nothing_else_is(tmp_path: Path) -> None:
    schema = face_schema(CLASSES, metadata={"configuration_hash": "h"})
    path = shard_path(tmp_path, "train", 3)
    assert path == tmp_path / "data" / "train-00003.parquet"
    assert not shard_is_complete(path, 5, "h")
    write_shard(path, [face_row(number) for number in range(5)], schema)
    assert shard_is_complete(path, 5, "h") and shard_is_complete(path, None, None)
    assert not shard_is_complete(path, 4, "h")
    assert not shard_is_complete(path, 5, "other")
    whole = path.read_bytes()
    for cut in (0, 3, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:cut])
        assert not shard_is_complete(path, 5, "h")


def test_a_shard_whose_metadata_disagrees_with_its_footer_is_not_complete(tmp_path: Path) -> None:
    schema = face_schema(CLASSES, metadata={"configuration_hash": "h"})
    path = write_shard(tmp_path / "s.parquet", [face_row(0), face_row(1)], schema)
    table = pq.read_table(path)
    pq.write_table(table.slice(0, 1), path)
    assert json.loads(pq.read_schema(path).metadata[b"s2l"])["rows"] == 2
    assert not shard_is_complete(path, None, "h")


@settings(max_examples=50)
@given(st.lists(st.text(min_size=1, max_size=8), min_size=2, max_size=6, unique=True))
def test_class_names_of_any_kind_get_files_of_their_own(names: list[str]) -> None:
    paths = [class_shard_path(Path("x"), "train", name, 0).name for name in names]
    assert len(set(paths)) == len(names)
    assert all(path.isascii() and "/" not in path and "*" not in path for path in paths)


def test_waiting_rows_are_bounded(tmp_path: Path) -> None:
    rows = [face_row(number, number % 3, split="train") for number in range(60)]
    size = max(len(row["image"]["bytes"]) for row in rows)
    writer = ShardWriter(tmp_path, face_schema(CLASSES), rows_per_shard=1000, buffered_bytes=10 * size)
    with writer:
        for row in rows:
            writer.write(row)
            waiting = sum(len(waited["image"]["bytes"]) for kept in writer._waiting.values() for waited in kept)
            assert waiting <= 10 * size
    assert len(writer.paths) > 5
    assert len(read_faces(tmp_path)) == 60


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label": 9}, "label 9 is not"),
        ({"label_name": "happy"}, "label 0 is not 'happy'"),
        ({"split": "dev"}, "split 'dev'"),
        ({"source": None}, "source is missing"),
        ({"colour": 1}, "no column is called 'colour'"),
        ({"face_id": "made/0"}, "occurs twice"),
    ],
)
def test_bad_rows_are_refused_and_the_old_dataset_stays(tmp_path: Path, change: dict, message: str) -> None:
    write_faces([face_row(5)], tmp_path, CLASSES, card=CARD)
    with pytest.raises(InputError, match=message):
        write_faces([face_row(0), face_row(1) | change], tmp_path, CLASSES, card=CARD)
    assert read_faces(tmp_path).column("face_id").to_pylist() == ["made/5"]
    assert not (tmp_path / ".building").exists()


def test_a_new_dataset_replaces_the_old_one_whole(tmp_path: Path) -> None:
    write_faces(some_rows(), tmp_path, CLASSES, card=CARD)
    write_faces([face_row(99, split="train")], tmp_path, CLASSES, card=CARD)
    assert read_faces(tmp_path).column("face_id").to_pylist() == ["made/99"]


def test_no_rows_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="would hold no faces"):
        write_faces([], tmp_path, CLASSES, card=CARD)


def test_the_same_rows_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_faces(some_rows(), tmp_path / name, CLASSES, card=CARD)
    first, second = (sorted((tmp_path / name).rglob("*.*")) for name in ("a", "b"))
    assert [path.read_bytes() for path in first if path.is_file()] == [
        path.read_bytes() for path in second if path.is_file()
    ]


def test_write_card_leaves_empty_splits_out(tmp_path: Path) -> None:
    write_faces([face_row(0, split="train")], tmp_path, CLASSES, card=CARD)
    arguments = {"title": "T", "description": "D", "licence": "mit", "class_names": CLASSES, "synthetic": False}
    path = write_card(tmp_path, splits={"train": 1, "test": 0}, **arguments)
    assert "data/test" not in path.read_text()
